#pragma once

#include "bilevel/core/tensor.hpp"
#include "bilevel/model/regularisers.hpp"
#include "kernels/experts_args.hpp"
#include "model/experts_constants.hpp"
#include "model/term.hpp"

namespace bilevel {
inline namespace v0 {

/// sum_k b_k sum_p rho_{nu_k}((C_k x)_p), and the ridge where it comes first; of several channels (real and
/// imaginary part) the sum of each alone, with the same filters.
template <class T>
class ExpertsRegulariser final : public Regulariser<T> {
 public:
  /// Parameters are named `prefix` + weight, smoothing, filters, alpha where one number multiplies all
  /// weights, and mu of the ridge.
  ExpertsRegulariser(Context& context, const ExpertsOptions& options, const Shape& images,
                     const Parameters& parameters, bool carries_ridge, std::string prefix);

  void bind(Context&, const Parameters&, std::span<const double> theta) override;
  double ridge() const override { return value_.mu; }
  RegulariserConstants constants() const override;
  UnderflowParts underflow() const override;
  std::string values() const override;
  void gradient(Context&, const Active&, View<const T> x, View<T> g, const GradientSums&,
                const GradientStart<T>&, const Roundoff&) const override;
  int weight_arrays() const override { return static_cast<int>(count()); }
  int dual_arrays() const override { return static_cast<int>(count()); }
  void linearise(Context&, const Active&, View<const T> x, const float* dual, T* weights, T* inverse_diagonal,
                 const DiagonalStart<T>&) const override;
  void hessian(Context&, const Active&, const T* weights, View<const T> p, View<T> product, Scalars inner,
               const HessianStart<T>&) const override;
  void dual(Context&, const Active&, const T* x, const T* d, const double* step, float* dual) const override;
  std::vector<BlockConstant> blocks() const override;
  std::vector<std::size_t> block_ends() const override;
  int mixed_sums() const override;
  void mixed_adjoint(Context&, const Active&, View<const T> x, View<const T> q, double* sums) const override;
  void mixed(const ImageSums& sums, std::span<double> z) const override;
  void mixed_forward(Context&, const Active&, View<const T> x, std::span<const double> direction, View<T> out,
                     Scalars norm2, bool add) const override;
  int bound_sums() const override;
  void bound(Context&, const Active&, View<const T> x, View<const T> q, View<const T> v,
             const BallInputs& ball, double mu, double* sums) const override;
  TermBound directional(const ImageSums& sums, const Ball& ball) const override;
  bool bounds_columns() const override { return true; }
  double mean_left_out(Context&, const T* maps) const override;
  double diagonal() const override;
  double symbol(double laplacian) const override;
  std::unique_ptr<Regulariser<float>> single(Context&) const override;

 private:
  enum Part : std::size_t { kWeight, kSmoothing, kTaps };
  std::string name(std::size_t part) const;
  std::size_t count() const { return value_.count(); }
  bool learned(std::size_t part) const { return !slope_[part].empty(); }
  double overall_slope() const { return overall_.slope / overall_.value; }  // d ln alpha / d theta
  void require_parameters(const Parameters& parameters) const;
  void require_shape() const;
  /// Values at theta, filters with their mean removed where the model says so.
  ExpertsValues values_at(const Parameters& parameters, std::span<const double> theta) const;
  kernels::ExpertsModel<T> model() const;
  /// Sums of every filter by the kernel experts_bound.
  std::vector<ExpertsSums> sums_of(const ImageSums& sums) const;

  ExpertsOptions options_;
  Shape images_;
  Parameters parameters_;
  bool carries_ridge_;
  std::string prefix_;
  ExpertsValues value_{};  // b_k with alpha
  Number overall_{1};      // alpha
  ExpertsConstants constants_{};
  std::array<std::vector<double>, 3> slope_{};    // d value / d theta of every entry; empty when fixed
  std::array<std::size_t, 3> entry_{};            // first entry of theta
  std::array<Tensor<T>, 3> device_{};             // weight, smoothing, taps
  mutable std::array<Tensor<T>, 3> direction_{};  // and a direction of them
  Tensor<double> rounding_psi_{}, rows_{};
};

}  // namespace v0
}  // namespace bilevel
