#pragma once

#include "bilevel/model/regularisers.hpp"
#include "device/backend.hpp"
#include "kernels/analysis_args.hpp"
#include "model/term.hpp"
#include "model/tv_constants.hpp"

namespace bilevel {
inline namespace v0 {

/// alpha R(x) of TvOptions, and the ridge where it comes first.
template <class T>
class AnalysisRegulariser final : public Regulariser<T> {
 public:
  /// Parameters are named `prefix` + alpha, nu, and xi of the ridge.
  AnalysisRegulariser(const TvOptions& options, const Shape& images, bool carries_ridge, std::string prefix);
  /// Of an operator before it: of K x in its range, without a ridge.
  struct Before {
    double norm2, rounding;
  };
  AnalysisRegulariser(const TvOptions& options, const Shape& range, std::string prefix, const Before& k);
  /// The ridge xi/2 |x|^2 alone.
  static std::unique_ptr<AnalysisRegulariser<T>> ridge_alone(const Shape& images);

  void bind(Context&, const Parameters&, std::span<const double> theta) override;
  double ridge() const override;
  RegulariserConstants constants() const override;
  UnderflowParts underflow() const override;
  std::string values() const override;
  void gradient(Context&, const Active&, View<const T> x, View<T> g, const GradientSums&,
                const GradientStart<T>&, const Roundoff&) const override;
  int weight_arrays() const override;
  int dual_arrays() const override;
  void linearise(Context&, const Active&, View<const T> x, const float* dual, T* weights, T* inverse_diagonal,
                 const DiagonalStart<T>&) const override;
  void hessian(Context&, const Active&, const T* weights, View<const T> p, View<T> product, Scalars inner,
               const HessianStart<T>&) const override;
  void dual(Context&, const Active&, const T* x, const T* d, const double* step, float* dual) const override;
  std::vector<BlockConstant> blocks() const override;
  std::vector<std::size_t> block_ends() const override;
  int mixed_sums() const override { return 3; }
  void mixed_adjoint(Context&, const Active&, View<const T> x, View<const T> q, double* sums) const override;
  void mixed(const ImageSums& sums, std::span<double> z) const override;
  void mixed_forward(Context&, const Active&, View<const T> x, std::span<const double> direction, View<T> out,
                     Scalars norm2, bool add) const override;
  int bound_sums() const override { return kernels::analysis_bound_sums; }
  void bound(Context&, const Active&, View<const T> x, View<const T> q, View<const T> v,
             const BallInputs& ball, double mu, double* sums) const override;
  TermBound directional(const ImageSums& sums, const Ball& ball) const override;
  double diagonal() const override;
  double symbol(double laplacian) const override;
  const AnalysisRegulariser<T>* analysis() const override { return this; }
  std::unique_ptr<Regulariser<float>> single(Context&) const override;

  const Shape& images() const { return images_; }
  double alpha() const { return values_.alpha; }
  double curvature() const { return tv_constants().curvature; }  ///< l_1
  double xi() const { return values_.ridge(options_); }
  TvConstants tv_constants() const;  ///< but mu and lipschitz, which are those without data
  int directions() const { return kernels::directions(stencil_); }
  kernels::AnalysisModel model() const;
  const kernels::AnalysisKernels<T>& table(Context& context) const {
    return kernel_table<T>(context).analysis[static_cast<int>(stencil_)];
  }

 private:
  TvOptions options_;
  Shape images_;
  bool carries_ridge_, carries_weight_ = true;
  std::string prefix_;
  kernels::Stencil stencil_;
  Before before_{1, 0};
  TvValues values_;
  std::array<Number, 3> numbers_{};  // alpha, nu, xi
};

template <class T>
kernels::AnalysisGradientArgs<T> gradient_args(const kernels::AnalysisModel& model, const Active& active,
                                               int n, View<const T> x, View<T> g, const GradientSums& sums,
                                               const GradientStart<T>& start, const Roundoff& roundoff) {
  return {model,
          active,
          x.device_data(),
          start.y,
          start.sampling,
          g.device_data(),
          sums.value.device_data(),
          sums.norm2.device_data(),
          sums.rounding.device_data(),
          roundoff.unit,
          roundoff.underflow,
          start.sums,
          start.coils,
          n,
          start.transform,
          start.weight_norm,
          start.coil_norm};
}

/// Whether this pass is the first: data that a regulariser cannot take in its own are added by a pass without
/// a regulariser, after which terms are complete.
template <class T>
void complete(Context&, const Active&, const Shape& images, View<const T> x, View<T> g, const GradientSums&,
              const GradientStart<T>&, const Roundoff&);

}  // namespace v0
}  // namespace bilevel
