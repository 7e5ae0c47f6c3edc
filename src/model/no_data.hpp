#pragma once

#include "device/backend.hpp"
#include "kernels/krylov_args.hpp"
#include "model/term.hpp"

namespace bilevel {
inline namespace v0 {

/// D = 0.
template <class T>
class NoData final : public DataTerm<T> {
 public:
  explicit NoData(const Shape& unknown) : shape_(unknown) {}

  Shape shape() const override { return shape_; }
  double mu() const override { return 0; }
  double lipschitz() const override { return 0; }
  GradientStart<T> gradient(Context& context, Frame& frame, const Active& active, View<const T> x,
                            View<T> out) const override {
    const View<double> sums = frame.view<double>({3, shape_.n, 1, 1});
    fill<double>(context, sums, 0);
    zero(context, active, x, out);
    GradientStart<T> start;
    start.sums = sums.device_data();
    start.coil_norm = 0;
    return start;
  }
  HessianStart<T> hessian(Context& context, const Active& active, View<const T> p,
                          View<T> product) const override {
    zero(context, active, p, product);
    return {true, nullptr};
  }
  DiagonalStart<T> diagonal() const override { return {0}; }
  std::unique_ptr<DataTerm<float>> single(Context&) const override {
    return std::make_unique<NoData<float>>(shape_);
  }

 private:
  /// Of the active images.
  static void zero(Context& context, const Active& active, View<const T> x, View<T> out) {
    kernel_table<T>(context).combine(stream_of(context), {active, x.shape().image(), x.device_data(), nullptr,
                                                          0, 0, nullptr, nullptr, out.device_data()});
  }

  Shape shape_;
};

}  // namespace v0
}  // namespace bilevel
