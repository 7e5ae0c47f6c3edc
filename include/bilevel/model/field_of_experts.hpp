#pragma once

#include <concepts>
#include <memory>
#include <span>
#include <vector>

#include "bilevel/model/energy.hpp"
#include "bilevel/model/parameters.hpp"
#include "bilevel/model/tv_energy.hpp"

namespace bilevel {
inline namespace v0 {

/// What a filter sees beyond the border: the image reflected about its edge, edge pixels repeated, or nothing
/// (responses only where the filter fits inside).
enum class FilterPadding { symmetric, valid };

struct ExpertsOptions {
  FilterPadding padding = FilterPadding::symmetric;
  TvPotential potential = TvPotential::charbonnier;
  bool zero_mean = true;  ///< the energy uses c_k - mean(c_k)
};

/// First filters: the cosine basis without its constant, scaled to norm 1; independent normal taps, zero
/// mean, norm 1; or the two differences of total variation followed by the cosine basis, nearly switched off.
enum class FilterInit { dct, random, tv };

/// Segments weight [K], smoothing [K] (both on a log scale, smoothings at least 1e-3), filters [K,size,size]
/// and the fixed ridge mu = 1e-3. For FilterInit::tv the first two filters start with `alpha` and `nu`, the
/// others with weight 3e-4 and smoothing 0.01; otherwise all start with `alpha` and `nu`. Throws ConfigError
/// for a number of filters outside [1,64] or a size other than 3, 5, 7, 9, 11.
BILEVEL_API Parameters experts_parameters(int filters, int size, FilterInit init, double alpha, double nu,
                                          std::uint64_t seed = 0);

/// Phi_i(x) = 1/2 |x - y_i|^2 + sum_k b_k sum_p rho_{nu_k}((C_k x)_p) + mu/2 |x|^2, C_k the cross-correlation
/// with filter k. Needs parameters named weight [K], smoothing [K],
/// filters [K,size,size] and mu; any of them may be fixed. The blocks of theta are the entries of weight and
/// smoothing, and the taps of each filter.
template <class T>
class BILEVEL_API FieldOfExperts final : public Energy<T> {
 public:
  /// `y` is [N,1,H,W]; the energy keeps the view and the context, which must outlive it. Throws ShapeError
  /// for other shapes and images smaller than the filters allow, ConfigError for parameters that do not fit.
  FieldOfExperts(Context& context, View<const T> y, const Parameters& parameters,
                 const ExpertsOptions& options = {});
  ~FieldOfExperts() override;

  /// Makes single_precision(), from a copy of the data as they are now (allocates).
  void keep_single_precision(Context& context) requires std::same_as<T, double>;
  const Energy<float>* single_precision() const override;

  Shape shape() const override;
  std::size_t parameters() const override;
  const Parameters* layout() const override;
  std::vector<std::size_t> blocks() const override;
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

  int filters() const;
  int filter_size() const;

 private:
  template <class>
  friend class FieldOfExperts;
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace v0
}  // namespace bilevel
