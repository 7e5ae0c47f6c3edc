#pragma once

#include <complex>
#include <memory>
#include <span>
#include <vector>

#include "bilevel/model/energy.hpp"
#include "bilevel/model/sampling_pattern.hpp"
#include "bilevel/model/tv_energy.hpp"
#include "bilevel/ops/fourier_sampling.hpp"

namespace bilevel {
inline namespace v0 {

/// Phi_i(x) = 1/2 sum_c sum_j w_j |(F sigma_c x - y_ic)_j|^2 + alpha R_nu(x) + xi/2 |x|^2 with the weights w
/// of a sampling pattern and the regulariser R of TvOptions, whose moduli go over real and imaginary part of
/// a complex image. x is [N,1,H,W] (real) or [N,2,H,W] (complex). Parameters named s, alpha, nu and xi are
/// required, see mri_parameters(); any of them may be fixed, but xi must be positive; nu has no effect, and
/// is to be fixed, where the potential is quadratic.
template <class T>
class BILEVEL_API MriEnergy final : public Energy<T> {
 public:
  /// `kspace` [N][coils][H][W] on the host, fully sampled, zero frequency at [0,0]; copied to the device.
  /// Throws ShapeError when the sizes of images, k-space, pattern and maps do not agree, ConfigError for
  /// values that are not finite and for options that do not go together (xi inside alpha among them).
  MriEnergy(Context& context, const Shape& images, std::span<const std::complex<T>> kspace,
            const SamplingPattern& pattern, const Parameters& parameters, const TvOptions& regulariser = {},
            const CoilMaps& maps = {});
  ~MriEnergy() override;

  /// Makes single_precision() (allocates).
  void keep_single_precision(Context& context) requires std::same_as<T, double>;
  const Energy<float>* single_precision() const override;
  const ProximalForm<T>* proximal() const override;

  Shape shape() const override;
  std::size_t parameters() const override;
  const Parameters* layout() const override;
  /// The sampling parameters are one block, the others a block each.
  std::vector<std::size_t> blocks() const override;
  /// Uploads the weights.
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

  const SamplingPattern& pattern() const;
  /// w at the bound theta, one per frequency.
  std::span<const double> weights() const;
  double alpha() const;
  double nu() const;
  double xi() const;
  /// sum over images and coils of |E x - y|_j^2, one per frequency (one host synchronisation).
  std::vector<double> residual_powers(Context&, View<const T> x) const;
  /// Mean over pixels of the diagonal of the regulariser's Hessian at x, per unit of that of K^T K (one host
  /// synchronisation).
  double mean_stiffness(Context&, View<const T> x) const;
  /// Eigenvalue of K^T K at a frequency where that of the Laplacian Dx^T Dx + Dy^T Dy is `laplacian`.
  double symbol(double laplacian) const;
  /// The zero-filled reconstruction sigma^* F^* W y at the bound theta, a start for minimisers.
  void zero_filled(Context&, const Active&, View<T> x) const;

 private:
  template <class>
  friend class MriEnergy;
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace v0
}  // namespace bilevel
