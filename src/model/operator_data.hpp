#pragma once

#include <memory>

#include "bilevel/ops/linear_operator.hpp"
#include "model/term.hpp"

namespace bilevel {
inline namespace v0 {

/// 1/2 |A x - y|^2 of any linear operator.
template <class T>
class OperatorData final : public DataTerm<T> {
 public:
  /// Keeps the view of y [range], not the data. Throws ConfigError without an operator, ShapeError for y of
  /// another shape.
  OperatorData(std::shared_ptr<const LinearOperator<T>> a, View<const T> y);

  Shape shape() const override { return a_->domain(); }
  double mu() const override { return a_->least2(); }
  double lipschitz() const override { return a_->norm2(); }
  double product_rounding() const override;
  UnderflowParts underflow(double unit) const override;
  GradientStart<T> gradient(Context&, Frame&, const Active&, View<const T> x, View<T> out) const override;
  HessianStart<T> hessian(Context&, const Active&, View<const T> p, View<T> product) const override;
  DiagonalStart<T> diagonal() const override;
  std::unique_ptr<DataTerm<float>> single(Context&) const override;

 private:
  std::shared_ptr<const LinearOperator<T>> a_;
  View<const T> y_;
};

}  // namespace v0
}  // namespace bilevel
