#pragma once

#include "model/operator_data.hpp"

namespace bilevel {
inline namespace v0 {

/// 1/2 |A x + S t - y|^2 of one image, t the parameter "shift", an array, on its own scale. B = A^T S is
/// constant: L_B = 0. Few entries of t are blocks each, many are one.
template <class T>
class ShiftedData final : public DataTerm<T> {
 public:
  /// Reads y when theta is bound. Throws ConfigError without an operator and for y of another context,
  /// ShapeError when ranges differ or there are several images.
  ShiftedData(Context& context, std::shared_ptr<const LinearOperator<T>> a,
              std::shared_ptr<const LinearOperator<T>> shift, View<const T> y);

  Shape shape() const override { return of_.shape(); }
  void bind(Context&, const Parameters&, std::span<const double> theta) override;
  double mu() const override { return of_.mu(); }
  double lipschitz() const override { return of_.lipschitz(); }
  double product_rounding() const override { return of_.product_rounding(); }
  UnderflowParts underflow(double unit) const override;
  GradientStart<T> gradient(Context& c, Frame& f, const Active& active, View<const T> x,
                            View<T> out) const override {
    return of_.gradient(c, f, active, x, out);
  }
  HessianStart<T> hessian(Context& c, const Active& active, View<const T> p, View<T> product) const override {
    return of_.hessian(c, active, p, product);
  }
  DiagonalStart<T> diagonal() const override { return of_.diagonal(); }
  std::vector<BlockConstant> blocks() const override;
  std::vector<std::size_t> block_ends() const override;
  int mixed_sums() const override { return first_ < 0 ? 0 : entries_; }
  void mixed_adjoint(Context&, const Active&, View<const T> x, View<const T> q, double* sums) const override;
  void mixed(const ImageSums& sums, std::span<double> z) const override;
  bool mixed_forward(Context&, const Active&, View<const T> x, std::span<const double> direction,
                     View<T> out) const override;
  std::vector<BlockBound> directional(const ImageSums&, const Ball&, double ridge) const override;
  bool bounds_columns() const override { return first_ >= 0 && !single_entries(); }
  std::unique_ptr<DataTerm<float>> single(Context& context) const override { return of_.single(context); }

 private:
  bool single_entries() const;
  double norm_mixed() const;
  /// t as the image that the shift takes.
  View<T> stored(Context& context, Frame& frame, std::span<const double> t) const;

  std::shared_ptr<const LinearOperator<T>> a_, shift_;
  View<const T> y_;
  Tensor<T> rest_;  // y - S t
  OperatorData<T> of_;
  int entries_;
  int first_ = -1;      // entry of theta
  double reading_ = 0;  // rounding of rest_ in units of T
};

}  // namespace v0
}  // namespace bilevel
