#include "model/shifted_data.hpp"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "bilevel/core/error.hpp"
#include "bilevel/model/term.hpp"
#include "core/norm.hpp"
#include "device/backend.hpp"
#include "kernels/krylov_args.hpp"
#include "kernels/precision_args.hpp"
#include "model/checks.hpp"

namespace bilevel {
inline namespace v0 {
namespace {

constexpr const char* name = "shift";

template <class T>
const std::shared_ptr<const LinearOperator<T>>& required(
    const std::shared_ptr<const LinearOperator<T>>& shift, View<const T> y) {
  if (!shift) throw ConfigError("data with a shift need its operator, none is given.");
  if (y.shape().n != 1)
    throw ShapeError("data with a shift are of one image, not of " + std::to_string(y.shape().n) + ".");
  require_view(shift->range(), y, "data with a shift (data and the range of its operator)");
  return shift;
}

}  // namespace

template <class T>
ShiftedData<T>::ShiftedData(Context& context, std::shared_ptr<const LinearOperator<T>> a,
                            std::shared_ptr<const LinearOperator<T>> shift, View<const T> y)
    : a_(std::move(a)),
      shift_(required(shift, y)),
      y_(y),
      rest_(context, y.shape()),
      of_(a_, std::as_const(rest_).view()),
      entries_(static_cast<int>(shift_->domain().image())) {
  require_array(context, y_, "data with a shift");
}

template <class T>
View<T> ShiftedData<T>::stored(Context& context, Frame& frame, std::span<const double> t) const {
  const View<T> out = frame.view<T>(shift_->domain());
  upload<T>(context, std::vector<T>(t.begin(), t.end()), out);
  return out;
}

template <class T>
void ShiftedData<T>::bind(Context& context, const Parameters& parameters, std::span<const double> theta) {
  const std::vector<double> t = parameters.values(name, theta);
  require_count(static_cast<std::size_t>(entries_), t.size(), "data with a shift (its parameter)");
  const int first = parameters.entry(name);
  if (first >= 0 && parameters.learned(static_cast<std::size_t>(first)).transform != Transform::identity)
    throw ConfigError("the parameter 'shift' is learned on its own scale; give it Transform::identity.");
  first_ = first;
  Frame frame(context);
  ActiveSet all(context, frame, 1);
  const View<T> moved = frame.view<T>(y_.shape());
  shift_->apply(context, all.active(), stored(context, frame, t), moved);
  kernel_table<T>(context).combine(
      stream_of(context), {all.active(), y_.shape().image(), y_.device_data(), moved.device_data(), 1, -1,
                           nullptr, nullptr, rest_.view().device_data()});
  const std::vector<T> rest = download(context, rest_);
  if (!std::all_of(rest.begin(), rest.end(), [](T e) { return std::isfinite(e); }))
    throw ConfigError("the data less their shift must be finite.");
  reading_ = (shift_->apply_rounding() + 2 * std::sqrt(shift_->norm2())) * norm_of(t) +
             2 * norm_of(std::vector<double>(rest.begin(), rest.end()));
}

/// Beside the data term's own: |A| times the rounding of y - S t.
template <class T>
UnderflowParts ShiftedData<T>::underflow(double unit) const {
  UnderflowParts parts = of_.underflow(unit);
  parts.beside += unit * std::sqrt(a_->norm2()) * reading_;
  return parts;
}

template <class T>
bool ShiftedData<T>::single_entries() const {
  return static_cast<std::size_t>(entries_) <= measured_columns;
}
template <class T>
double ShiftedData<T>::norm_mixed() const {
  return std::sqrt(a_->norm2() * shift_->norm2());
}

template <class T>
std::vector<std::size_t> ShiftedData<T>::block_ends() const {
  if (first_ < 0) return {};
  if (!single_entries()) return {static_cast<std::size_t>(first_ + entries_)};
  std::vector<std::size_t> ends;
  for (int j = 1; j <= entries_; ++j) ends.push_back(static_cast<std::size_t>(first_ + j));
  return ends;
}
template <class T>
std::vector<BlockConstant> ShiftedData<T>::blocks() const {
  std::vector<BlockConstant> out;
  std::size_t first = first_ < 0 ? 0 : static_cast<std::size_t>(first_);
  for (const std::size_t end : block_ends()) {
    out.push_back({first, 0});
    first = end;
  }
  return out;
}

/// S^T A q.
template <class T>
void ShiftedData<T>::mixed_adjoint(Context& context, const Active& active, View<const T>, View<const T> q,
                                   double* sums) const {
  if (first_ < 0) return;
  Frame frame(context);
  const View<T> z = frame.view<T>(a_->range()), row = frame.view<T>(shift_->domain());
  a_->apply(context, active, q, z);
  shift_->adjoint(context, active, z, row);
  if constexpr (sizeof(T) == sizeof(double))
    copy<double>(context, row, {sums, row.shape()});
  else
    context.impl().scalar_table().widen(stream_of(context),
                                        {active, row.shape().image(), row.device_data(), false, sums});
}
template <class T>
void ShiftedData<T>::mixed(const ImageSums& sums, std::span<double> z) const {
  for (std::size_t j = 0; first_ >= 0 && j < static_cast<std::size_t>(entries_); ++j)
    z[static_cast<std::size_t>(first_) + j] = sums[j];
}
/// A^T S d.
template <class T>
bool ShiftedData<T>::mixed_forward(Context& context, const Active& active, View<const T>,
                                   std::span<const double> direction, View<T> out) const {
  if (first_ < 0) return false;
  Frame frame(context);
  const View<T> z = frame.view<T>(a_->range());
  const std::span<const double> d =
      direction.subspan(static_cast<std::size_t>(first_), static_cast<std::size_t>(entries_));
  shift_->apply(context, active, stored(context, frame, d), z);
  a_->adjoint(context, active, z, out);
  return true;
}

template <class T>
std::vector<BlockBound> ShiftedData<T>::directional(const ImageSums&, const Ball& ball, double) const {
  const double a = std::sqrt(a_->norm2()), s = std::sqrt(shift_->norm2());
  const double rounding =
      ball.unit * (a_->apply_rounding() * s + shift_->rounding() * a + 2 * a * s) * ball.norm_q;
  std::vector<BlockBound> out;
  for (const BlockConstant& b : blocks()) out.push_back({b.first, norm_mixed(), 0, 0, 0, rounding});
  return out;
}

template class ShiftedData<float>;
template class ShiftedData<double>;

}  // namespace v0
}  // namespace bilevel
