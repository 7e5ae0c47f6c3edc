#include "model/operator_data.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "bilevel/core/error.hpp"
#include "model/analysis_regulariser.hpp"
#include "model/checks.hpp"

namespace bilevel {
inline namespace v0 {

template <class T>
OperatorData<T>::OperatorData(std::shared_ptr<const LinearOperator<T>> a, View<const T> y)
    : a_(std::move(a)), y_(y) {
  if (!a_) throw ConfigError("a data term needs an operator, none is given.");
  require_view(a_->range(), y, "data of an operator");
}

/// The sums are |r|^2 three times, r = A x - y. The gradient that is computed differs from A^T r by at most
/// u (rounding (|A| |x| + |r|) + 2 |A| |r| + |A| (|A| |x| + |r|)), the last for y in T; the formula of sums
/// bounds it by u (transform (weight_norm |x| + coil_norm |r|) + 6 coil_norm |r|).
template <class T>
GradientStart<T> OperatorData<T>::gradient(Context& context, Frame& frame, const Active& active,
                                           View<const T> x, View<T> out) const {
  const Shape range = a_->range();
  const View<T> r = frame.view<T>(range);
  const View<double> sums = frame.view<double>({3, range.n, 1, 1});
  const auto row = [&] { return frame.view<double>({range.n, 1, 1, 1}); };
  const View<double> norm2{sums.device_data(), {range.n, 1, 1, 1}};
  a_->apply(context, active, x, r);
  const Shape rows{range.n, 1, range.c * range.h, range.w};  // a residual has no channels
  complete<T>(context, active, rows, std::as_const(r), r, {row(), norm2, row()}, {y_.device_data()}, {});
  a_->adjoint(context, active, r, out);
  for (int k = 1; k < 3; ++k)
    copy<double>(context, norm2, {sums.device_data() + k * range.n, {range.n, 1, 1, 1}});
  const double norm = std::sqrt(a_->norm2());
  GradientStart<T> start;
  start.sums = sums.device_data();
  start.transform = a_->rounding() + 2;
  start.weight_norm = std::max(a_->norm2(), norm);
  start.coil_norm = std::max(norm, 1.0);
  return start;
}

template <class T>
HessianStart<T> OperatorData<T>::hessian(Context& context, const Active& active, View<const T> p,
                                         View<T> product) const {
  a_->normal(context, active, p, product);
  return {true, nullptr};
}

/// A^T (A p) rounds twice.
template <class T>
double OperatorData<T>::product_rounding() const {
  const double norm = std::sqrt(a_->norm2());
  return 2 * a_->rounding() * norm + 2 * a_->norm2();
}

/// An operator may add up all entries of an image, rounding() times, on both sides of the residual.
template <class T>
UnderflowParts OperatorData<T>::underflow(double) const {
  const double entries = static_cast<double>(std::max(a_->domain().image(), a_->range().image()));
  const double power = 1 + a_->norm2(), times = a_->rounding() + 8;
  return {8 * entries * times * power, times * power, 0};
}

template <class T>
DiagonalStart<T> OperatorData<T>::diagonal() const {
  return {0.5 * (a_->least2() + a_->norm2())};
}

template <class T>
std::unique_ptr<DataTerm<float>> OperatorData<T>::single(Context&) const {
  throw ConfigError(
      "an energy with an operator of its own is not kept in single precision; compute in double.");
}

template class OperatorData<float>;
template class OperatorData<double>;

}  // namespace v0
}  // namespace bilevel
