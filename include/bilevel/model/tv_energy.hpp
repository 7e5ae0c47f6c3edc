#pragma once

#include <concepts>
#include <memory>
#include <span>
#include <vector>

#include "bilevel/model/energy.hpp"
#include "bilevel/model/parameters.hpp"

namespace bilevel {
inline namespace v0 {

/// rho_nu(r): sqrt(r^2 + nu^2); r^2/nu - r^3/(3 nu^2) for r <= nu and r - nu/3 beyond; r^2/2, without nu.
enum class TvPotential { charbonnier, huber_c2, quadratic };

/// K x, with differences that would reach over the border zero (Neumann): (Dx, Dy), forward differences to
/// the right and down; (Dxx, Dyy, sqrt 2 Dxy), Dxx = -Dx^T Dx; x itself.
enum class TvDifferences { first, second, none };

/// The regulariser R(x) = sum over pixels of rho_nu(|K x|): potential, under one modulus for all components
/// of a pixel (isotropic) or one for each; where the ridge xi/2 |x|^2 stands: beside alpha R(x), or inside
/// alpha (R(x) + xi/2 |x|^2). Differences none are for the quadratic potential, which is isotropic.
struct TvOptions {
  TvPotential potential = TvPotential::charbonnier;
  bool isotropic = true;
  bool xi_inside_alpha = false;
  TvDifferences differences = TvDifferences::first;

  bool smoothed() const { return potential != TvPotential::quadratic; }  ///< whether R depends on a nu
  bool operator==(const TvOptions&) const = default;
};

/// Parameters alpha, nu (without one for the quadratic potential) and xi with the defaults of the apps: alpha
/// and nu learned on a log scale, first 0.05 and 0.01 for first differences, xi 0.001 fixed.
BILEVEL_API Parameters tv_parameters(const TvOptions& options = {});

/// Phi_i(x) = 1/2 |S (x - y_i)|^2 + alpha R_nu(x) + xi/2 |x|^2 with R of TvOptions (smoothed total variation,
/// also of second order, H1, Tikhonov) and a 0/1 sampling image S [H,W] shared by the batch (empty:
/// denoising, S = I). Parameters named alpha, nu (not of the quadratic potential) and xi are required; any of
/// them may be fixed. xi may be a fixed 0 when S = I.
template <class T>
class BILEVEL_API TvEnergy final : public Energy<T> {
 public:
  /// `y` is [N,1,H,W]; the energy keeps the view, not the data. Throws ShapeError for other shapes,
  /// ConfigError for a sampling image that is not 0/1, options that do not go together or a model that is not
  /// strongly convex.
  TvEnergy(Context& context, View<const T> y, const Parameters& parameters, const TvOptions& options = {},
           std::span<const double> sampling = {});
  ~TvEnergy() override;

  /// Makes single_precision(), from a copy of the data as they are now (allocates; one host synchronisation
  /// with a sampling image).
  void keep_single_precision(Context& context) requires std::same_as<T, double>;
  const Energy<float>* single_precision() const override;
  /// G = 1/2 |S (x - y)|^2 + xi/2 |x|^2, F = alpha R_nu of K x.
  const ProximalForm<T>* proximal() const override;

  Shape shape() const override;
  std::size_t parameters() const override;
  const Parameters* layout() const override;
  void bind(std::span<const double> theta) override;
  Curvature curvature() const override;
  void value_and_gradient(Context&, const Active&, View<const T> x, View<T> gradient,
                          const GradientSums&) const override;
  int weight_arrays() const override;
  int dual_arrays() const override;
  void linearise(Context&, const Active&, View<const T> x, View<const float> dual, View<T> weights,
                 View<T> inverse_diagonal) const override;
  void hessian_product(Context&, const Active&, View<const T> weights, View<const T> p, View<T> product,
                       Scalars inner) const override;
  void start_dual(Context&, const Active&, View<const T> x, View<float> dual) const override;
  void update_dual(Context&, const Active&, View<const T> x, View<const T> d, Scalars step,
                   View<float> dual) const override;
  int mixed_sums() const override;
  void mixed_adjoint(Context&, const Active&, View<const T> x, View<const T> q,
                     View<double> sums) const override;
  std::vector<double> mixed(std::span<const double> sums) const override;
  void mixed_forward(Context&, const Active&, View<const T> x, std::span<const double> direction, View<T> out,
                     Scalars norm2) const override;
  int bound_sums() const override;
  void directional_sums(Context&, const Active&, View<const T> x, View<const T> q, View<const T> v,
                        const BallInputs& ball, View<double> sums) const override;
  DirectionalBound directional(std::span<const double> sums, int image, double epsilon, double norm_q,
                               double norm_v) const override;

  /// Values at the bound theta.
  double alpha() const;
  double nu() const;  ///< 1 for the quadratic potential
  double xi() const;

 private:
  template <class>
  friend class TvEnergy;
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace v0
}  // namespace bilevel
