#pragma once

#include "bilevel/core/tensor.hpp"
#include "model/term.hpp"

namespace bilevel {
inline namespace v0 {

/// 1/2 |S (x - y)|^2, S a 0/1 image shared by the batch (empty: the identity).
template <class T>
class PointwiseData final : public DataTerm<T> {
 public:
  /// Throws ShapeError or ConfigError for a sampling image of another size or with other values.
  PointwiseData(Context& context, View<const T> y, std::span<const double> sampling);
  /// Of its own data, with S as given.
  PointwiseData(Tensor<T> y, Tensor<T> sampling, bool masked);

  Shape shape() const override { return y_.shape(); }
  double mu() const override { return masked_ ? 0 : 1; }
  double lipschitz() const override { return 1; }
  bool pointwise() const override { return true; }
  GradientStart<T> gradient(Context&, Frame&, const Active&, View<const T> x, View<T> out) const override;
  HessianStart<T> hessian(Context&, const Active&, View<const T> p, View<T> product) const override;
  DiagonalStart<T> diagonal() const override;
  /// G = 1/2 |S (x - y)|^2 + xi/2 |x|^2, F = alpha R of K x.
  std::unique_ptr<ProximalForm<T>> split(const AnalysisRegulariser<T>&) const override;
  std::unique_ptr<DataTerm<float>> single(Context&) const override;

  const T* data() const { return y_.device_data(); }
  const T* sampling() const { return masked_ ? sampling_.view().device_data() : nullptr; }

 private:
  Tensor<T> kept_;  // of single()
  View<const T> y_;
  Tensor<T> sampling_;
  bool masked_ = false;
};

}  // namespace v0
}  // namespace bilevel
