#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "bilevel/core/error.hpp"
#include "bilevel/model/upper_loss.hpp"
#include "device/backend.hpp"
#include "kernels/krylov_args.hpp"
#include "model/checks.hpp"

namespace bilevel {
inline namespace v0 {
namespace {

/// Measures |r|^2, r = A x - b, and |x|^2. A computed r is off by at most u (rounding() |x| + |r|), a
/// computed A^T r by what that becomes in A^T and rounding() u |r| more.
template <class T>
class ObservedLeastSquares final : public UpperLoss<T> {
 public:
  ObservedLeastSquares(Context& context, std::shared_ptr<const LinearOperator<T>> a, View<const T> b)
      : a_(std::move(a)), b_(b), norm_(std::sqrt(a_->norm2()) * (1 + 1e-15)) {
    require_view(a_->range(), b, "observed least squares (data)");
    const std::vector<T> values = download(context, b);
    const std::size_t each = b.shape().image();
    for (std::size_t first = 0; first < values.size(); first += each) {
      double sum = 0;
      for (std::size_t e = first; e < first + each; ++e)
        sum += static_cast<double>(values[e]) * static_cast<double>(values[e]);
      if (!std::isfinite(sum)) throw ConfigError("the data of observed least squares must be finite.");
      data_ = std::max(data_, std::sqrt(sum) * (1 + 1e-12));
    }
  }

  const char* name() const override { return "observed least squares"; }
  Shape shape() const override { return a_->domain(); }
  double lipschitz() const override { return a_->norm2(); }
  bool convex() const override { return true; }
  double lower_bound() const override { return 0; }
  double gradient_error(double norm) const override {
    const double residual = norm_ * norm + data_;
    return unit * (norm_ * (a_->apply_rounding() * norm + 2 * residual) + a_->rounding() * residual);
  }

  int measures() const override { return 2; }
  void measure(Context& context, const Active& active, View<const T> x, View<double> out) const override {
    const int n = shape().n;
    require_view(shape(), x, "observed least squares (point)");
    require_room(2 * static_cast<std::size_t>(n), out, "observed least squares (numbers)");
    Frame frame(context);
    const View<const T> r = residual(context, frame, active, x);
    const auto square = [&](View<const T> v, double* to) {
      kernel_table<T>(context).dot(stream_of(context),
                                   {active, v.shape().image(), v.device_data(), v.device_data(), false, to});
    };
    square(r, out.device_data());
    square(x, out.device_data() + n);
  }
  void gradient(Context& context, const Active& active, View<const T> x, double scale,
                View<T> out) const override {
    require_view(shape(), x, "observed least squares (point)");
    require_view(shape(), out, "observed least squares (gradient)");
    Frame frame(context);
    a_->adjoint(context, active, residual(context, frame, active, x), out);
    rescale(context, active, scale, out);
  }
  bool weigh(Context& context, const Active& active, View<const T>, View<const T> v,
             View<T> out) const override {
    require_view(shape(), v, "observed least squares (direction)");
    require_view(shape(), out, "observed least squares (weighed)");
    a_->normal(context, active, v, out);
    return true;
  }

  /// |A xhat - b| lies within |A| epsilon of |r|.
  LossEnclosure enclose(std::span<const double> measured, double epsilon) const override {
    const double r = std::sqrt(measured[0]);
    if (std::isinf(epsilon)) return {0, 0.5 * (r * r), epsilon};
    const double reach = norm_ * epsilon + off(measured) + 1e-15 * r;
    const double low = std::max(r - reach, 0.0), high = r + reach;
    return {0.5 * (low * low), 0.5 * (r * r), 0.5 * (high * high)};
  }
  double value_error(std::span<const double> measured) const override {
    const double error = off(measured);
    return error * (std::sqrt(measured[0]) + error);
  }

 private:
  static constexpr double unit = static_cast<double>(std::numeric_limits<T>::epsilon()) / 2;

  /// Rounding of the measured |r|, that of its sum included.
  double off(std::span<const double> measured) const {
    const double r = std::sqrt(measured[0]);
    return unit * (a_->apply_rounding() * std::sqrt(measured[1]) + r) +
           summation_rounding(a_->range().image()) * r;
  }
  View<const T> residual(Context& context, Frame& frame, const Active& active, View<const T> x) const {
    const View<T> r = frame.view<T>(a_->range());
    a_->apply(context, active, x, r);
    kernel_table<T>(context).combine(
        stream_of(context), {active, r.shape().image(), r.device_data(), b_.device_data(), 1, -1, nullptr,
                             nullptr, r.device_data()});
    return r;
  }
  static void rescale(Context& context, const Active& active, double scale, View<T> out) {
    if (scale == 1) return;
    kernel_table<T>(context).combine(
        stream_of(context), {active, out.shape().image(), out.device_data(), nullptr, scale, 0, nullptr,
                             nullptr, out.device_data()});
  }

  std::shared_ptr<const LinearOperator<T>> a_;
  View<const T> b_;
  double norm_ = 1, data_ = 0;  // |A|, largest |b_i|
};

}  // namespace

template <class T>
std::shared_ptr<const UpperLoss<T>> observed_least_squares(Context& context,
                                                           std::shared_ptr<const LinearOperator<T>> a,
                                                           View<const T> b) {
  if (!a) throw ConfigError("observed least squares need an operator, none is given.");
  return std::make_shared<ObservedLeastSquares<T>>(context, std::move(a), b);
}

#define BILEVEL_INSTANTIATE(T)                                                     \
  template BILEVEL_API std::shared_ptr<const UpperLoss<T>> observed_least_squares( \
      Context&, std::shared_ptr<const LinearOperator<T>>, View<const T>);
BILEVEL_INSTANTIATE(float)
BILEVEL_INSTANTIATE(double)
#undef BILEVEL_INSTANTIATE

}  // namespace v0
}  // namespace bilevel
