#pragma once

#include <complex>
#include <concepts>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "bilevel/model/energy.hpp"
#include "bilevel/model/regularisers.hpp"
#include "bilevel/model/sampling_pattern.hpp"
#include "bilevel/ops/fourier_sampling.hpp"
#include "bilevel/ops/linear_operator.hpp"

namespace bilevel {
inline namespace v0 {

/// What an energy of magnetic resonance knows beside others: its sampled Fourier data.
template <class T>
class BILEVEL_API FourierData {
 public:
  virtual ~FourierData();
  virtual const SamplingPattern& pattern() const = 0;
  /// w at the bound theta, one per frequency.
  virtual std::span<const double> weights() const = 0;
  /// sum_ic |E x - y|_j^2, one per frequency (a host synchronisation); x may have further channels behind.
  virtual std::vector<double> residual_powers(Context&, View<const T> x) const = 0;
  /// Mean of the diagonal of the data term's Hessian.
  virtual double mean_diagonal(Context&) const = 0;
  /// The zero-filled reconstruction sigma^* F^* W y at the bound theta, a start for minimisers.
  virtual void zero_filled(Context&, const Active&, View<T> x) const = 0;
};

/// Phi_i(x; theta) = D_i(x; theta) + sum_k R_k(x; theta) + xi/2 |x|^2: a data term, regularisers (see
/// regularisers.hpp), and a ridge. Each finds its numbers in `parameters` by name, any of them may be fixed:
///
///   of differences, wavelets     alpha, nu (not of the quadratic potential)
///   field of experts             weight [K], smoothing [K], filters [K,size,size], which must be there;
///                                alpha, a factor of all weights, may be there
///   generalised variation        alpha1, alpha0, nu, xi_v; x has three channels for each of the image
///   cross entropy                sample_weight [M], where it has weights (cross_entropy_term.hpp)
///   weighted ridge               ridge_weight, one per element (weighted_ridge.hpp)
///   data with a shift            shift [p]
///   ridge                        xi, mu (fixed) where the first regulariser is a field of experts
///   sampled Fourier data         s, one per group of the pattern (mri_parameters())
///
/// Of a sum, the names of the second regulariser begin with "2.", those of the third with "3.", ...
/// Blocks of theta are single numbers, the taps of each filter, and all of s.
template <class T>
class BILEVEL_API ComposedEnergy final : public Energy<T> {
 public:
  /// Denoising and inpainting: D_i = 1/2 |S (x - y_i)|^2, y [N,1,H,W] or, of colour, [N,3,H,W], `sampling` a
  /// 0/1 image [H,W] shared by channels and batch (empty: S = I). Colour takes isotropic total variation of
  /// first differences, H1, Tikhonov, terms of one's own, and sums of these. The energy keeps the context and
  /// the view, not the data. Throws ShapeError for other shapes and images smaller than the filters allow,
  /// ConfigError for a sampling image that is not 0/1, parameters that do not fit, options that do not go
  /// together, or a model that is not strongly convex. xi may be a fixed 0 when S = I.
  ComposedEnergy(Context& context, View<const T> y, const Parameters& parameters,
                 const RegulariserSum& regularisers = {}, std::span<const double> sampling = {});
  /// Magnetic resonance: D_i = 1/2 sum_c sum_j w_j |(F sigma_c x - y_ic)_j|^2 with the weights w of a
  /// sampling pattern. x is [N,1,H,W] (real) or [N,2,H,W] (complex). `kspace` [N][coils][H][W] on the host,
  /// fully sampled, zero frequency at [0,0]; copied to the device. Throws ShapeError when the sizes of
  /// images, k-space, pattern and maps do not agree, ConfigError for values that are not finite and for
  /// options that do not go together (xi inside alpha among them).
  ComposedEnergy(Context& context, const Shape& images, std::span<const std::complex<T>> kspace,
                 const SamplingPattern& pattern, const Parameters& parameters,
                 const RegulariserSum& regularisers = {}, const CoilMaps& maps = {});
  /// Any linear operator (deblurring: ops/blur.hpp): D_i = 1/2 |A x - y_i|^2, x in the domain of A,
  /// [N,1,H,W], [N,2,H,W] or of colour [N,3,H,W], y in its range. The energy keeps the operator, the context
  /// and the view of y. Its certificates are as right as norm2(), least2() and rounding() of the operator. No
  /// single precision twin, no proximal form. Throws what the first one throws, ConfigError without an
  /// operator.
  ComposedEnergy(Context& context, std::shared_ptr<const LinearOperator<T>> a, View<const T> y,
                 const Parameters& parameters, const RegulariserSum& regularisers = {});
  /// A lower level that theta moves: D = 1/2 |A x + S t - y|^2 of one image of any shape, t the parameter
  /// "shift", an array of Transform::identity; terms of one's own may follow. The ridge may be a fixed 0
  /// where least2() of A is positive. y is read when theta is bound. Throws as the one before, ShapeError
  /// when the ranges of A and S differ.
  ComposedEnergy(Context& context, std::shared_ptr<const LinearOperator<T>> a,
                 std::shared_ptr<const LinearOperator<T>> shift, View<const T> y,
                 const Parameters& parameters, std::vector<std::shared_ptr<OwnPart>> terms = {});
  /// No data term: D_i = 0, of an unknown of any shape (of a classifier, say: cross_entropy_term.hpp), where
  /// terms of one's own are all there is; names of the second begin with "2.", ... A segment xi must be
  /// there, positive unless a term makes the energy strongly convex. Throws ShapeError for a shape without
  /// elements or with 2^31 and more in an image.
  ComposedEnergy(Context& context, const Shape& unknown, const Parameters& parameters,
                 std::vector<std::shared_ptr<OwnPart>> terms);
  ~ComposedEnergy() override;

  /// Makes single_precision(), from a copy of the data as they are now (allocates).
  void keep_single_precision(Context& context) requires std::same_as<T, double>;
  const Energy<float>* single_precision() const override;
  /// Of one regulariser of differences; null otherwise.
  const ProximalForm<T>* proximal() const override;

  /// That of the images, with three channels for each of theirs for total generalised variation
  /// (unknown.hpp).
  Shape shape() const override;
  Shape images() const;  ///< shape() without those of the vector field
  std::size_t parameters() const override;
  const Parameters* layout() const override;
  std::vector<std::size_t> blocks() const override;
  /// Theta stays what it was when it throws.
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

  /// The value of a number at the bound theta. Throws ConfigError for an unknown name or an array.
  double value(const std::string& name) const;
  /// The weight of |x|^2 / 2 at the bound theta.
  double ridge() const;
  /// The data of magnetic resonance; null for others.
  const FourierData<T>* fourier() const;
  /// Mean over pixels of the diagonal of the regularisers' Hessian at x, per unit of that of K^T K of the
  /// first, I for wavelets (one host synchronisation, with experts one more for each).
  double mean_stiffness(Context&, View<const T> x) const;
  /// Eigenvalue of the first regulariser's K^T K (I for wavelets) at a frequency where that of the Laplacian
  /// Dx^T Dx + Dy^T Dy is `laplacian`.
  double symbol(double laplacian) const;

 private:
  template <class>
  friend class ComposedEnergy;
  struct Impl;
  explicit ComposedEnergy(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace v0
}  // namespace bilevel
