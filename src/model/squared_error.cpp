#include <algorithm>
#include <cmath>
#include <string>

#include "bilevel/core/error.hpp"
#include "bilevel/model/upper_loss.hpp"
#include "device/backend.hpp"
#include "kernels/loss_args.hpp"
#include "model/checks.hpp"

namespace bilevel {
inline namespace v0 {
namespace {

/// Measures |x - t|_w^2.
template <class T>
class SquaredError final : public UpperLoss<T> {
 public:
  SquaredError(View<const T> truth, const Shape& unknown) : truth_(truth), unknown_(unknown) {
    const Shape& t = truth.shape();
    const Shape same{unknown.n, t.c, unknown.h, unknown.w};
    require_view(t.c >= 1 && t.c < unknown.c ? same : unknown, truth,
                 "squared error (unknown and true images)");
    pixels_ = static_cast<double>(unknown.h) * unknown.w;
  }
  SquaredError(Context& context, View<const T> truth, std::span<const double> weights, const Shape& unknown)
      : SquaredError(truth, unknown) {
    require_count(truth.shape().image(), weights.size(), "squared error (weights)");
    const std::vector<T> kept(weights.begin(), weights.end());
    double sum = 0;
    lipschitz_ = 0;
    for (const T w : kept) {
      if (!(w >= 0) || !std::isfinite(w))
        throw ConfigError("the weights of a squared error must be finite and not negative.");
      lipschitz_ = std::max(lipschitz_, static_cast<double>(w));
      sum += static_cast<double>(w);
    }
    if (!(sum > 0)) throw ConfigError("a squared error needs a weight that is not zero.");
    pixels_ = sum / truth.shape().c;
    const Shape& t = truth.shape();
    weights_ = Tensor<T>(context, {1, t.c, t.h, t.w}, kept);
  }

  const char* name() const override { return "squared error"; }
  Shape shape() const override { return unknown_; }
  double lipschitz() const override { return lipschitz_; }
  bool convex() const override { return true; }
  double lower_bound() const override { return 0; }
  int measures() const override { return 1; }

  void measure(Context& context, const Active& active, View<const T> x, View<double> out) const override {
    require_view(unknown_, x, "squared error (point)");
    require_room(static_cast<std::size_t>(unknown_.n), out, "squared error (numbers)");
    kernel_table<T>(context).misfit(
        stream_of(context), {active, compared(), unknown_.image(), x.device_data(), truth_.device_data(),
                             weights_.view().device_data(), out.device_data()});
  }
  void gradient(Context& context, const Active& active, View<const T> x, double scale,
                View<T> out) const override {
    require_view(unknown_, x, "squared error (point)");
    require_view(unknown_, out, "squared error (gradient)");
    kernel_table<T>(context).misfit_gradient(
        stream_of(context), {active, compared(), unknown_.image(), scale, x.device_data(),
                             truth_.device_data(), weights_.view().device_data(), out.device_data()});
  }
  bool weigh(Context& context, const Active& active, View<const T>, View<const T> v,
             View<T> out) const override {
    if (compared() == unknown_.image() && !weights_.view()) return false;
    require_view(unknown_, v, "squared error (direction)");
    require_view(unknown_, out, "squared error (weighed)");
    kernel_table<T>(context).misfit_gradient(
        stream_of(context), {active, compared(), unknown_.image(), 1, v.device_data(), nullptr,
                             weights_.view().device_data(), out.device_data()});
    return true;
  }

  /// With r = |x~ - t|_w, |xhat - t|_w lies within sqrt(L) epsilon of r; exact for what is known.
  LossEnclosure enclose(std::span<const double> measured, double epsilon) const override {
    const double r = std::sqrt(measured[0]), reach = std::sqrt(lipschitz_) * epsilon;
    const double low = std::max(r - reach, 0.0), high = r + reach;
    return {0.5 * (low * low), 0.5 * (r * r), 0.5 * (high * high)};
  }
  double mean_square(std::span<const double> measured) const override {
    const double r = std::sqrt(measured[0]);
    return r * r / pixels_;
  }

 private:
  std::size_t compared() const { return truth_.shape().image(); }

  View<const T> truth_;
  Shape unknown_;
  Tensor<T> weights_;  // empty: ones
  double lipschitz_ = 1, pixels_ = 1;
};

}  // namespace

template <class T>
std::shared_ptr<const UpperLoss<T>> squared_error(View<const T> truth, const Shape& unknown) {
  return std::make_shared<SquaredError<T>>(truth, unknown);
}
template <class T>
std::shared_ptr<const UpperLoss<T>> squared_error(Context& context, View<const T> truth,
                                                  std::span<const double> weights, const Shape& unknown) {
  return std::make_shared<SquaredError<T>>(context, truth, weights, unknown);
}

#define BILEVEL_INSTANTIATE(T)                                                                         \
  template BILEVEL_API std::shared_ptr<const UpperLoss<T>> squared_error(View<const T>, const Shape&); \
  template BILEVEL_API std::shared_ptr<const UpperLoss<T>> squared_error(                              \
      Context&, View<const T>, std::span<const double>, const Shape&);
BILEVEL_INSTANTIATE(float)
BILEVEL_INSTANTIATE(double)
#undef BILEVEL_INSTANTIATE

}  // namespace v0
}  // namespace bilevel
