#pragma once

#include <concepts>
#include <memory>
#include <span>
#include <vector>

#include "bilevel/model/energy.hpp"
#include "bilevel/model/parameters.hpp"

namespace bilevel {
inline namespace v0 {

enum class TvPotential { charbonnier, huber_c2 };

/// The regulariser: potential of the differences, joint over both components (isotropic) or separate; where
/// the ridge xi/2 |x|^2 stands: beside alpha R(x), or inside alpha (R(x) + xi/2 |x|^2).
struct TvOptions {
  TvPotential potential = TvPotential::charbonnier;
  bool isotropic = true;
  bool xi_inside_alpha = false;
};

/// Parameters alpha, nu, xi with the defaults of the apps: alpha 0.05, nu 0.01 learned on a log scale, xi
/// 0.001 fixed.
BILEVEL_API Parameters tv_parameters();

/// Phi_i(x) = 1/2 |S (x - y_i)|^2 + alpha R_nu(x) + xi/2 |x|^2 with smoothed total variation R
/// and a 0/1 sampling image S [H,W] shared by the batch (empty: denoising, S
/// = I). Parameters named alpha, nu and xi are required; any of them may be fixed. xi may be a fixed 0 when S
/// = I.
template <class T>
class BILEVEL_API TvEnergy final : public Energy<T> {
 public:
  /// `y` is [N,1,H,W]; the energy keeps the view, not the data. Throws ShapeError for other shapes,
  /// ConfigError for a sampling image that is not 0/1 or a model that is not strongly convex.
  TvEnergy(Context& context, View<const T> y, const Parameters& parameters, const TvOptions& options = {},
           std::span<const double> sampling = {});
  ~TvEnergy() override;

  /// Makes single_precision(), from a copy of the data as they are now (allocates; one host synchronisation
  /// with a sampling image).
  void keep_single_precision(Context& context) requires std::same_as<T, double>;
  const Energy<float>* single_precision() const override;
  /// G = 1/2 |S (x - y)|^2 + xi/2 |x|^2, F = alpha R_nu of the differences.
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
  double nu() const;
  double xi() const;

 private:
  template <class>
  friend class TvEnergy;
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace v0
}  // namespace bilevel
