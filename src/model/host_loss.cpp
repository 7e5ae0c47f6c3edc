#include <cmath>
#include <utility>

#include "bilevel/core/error.hpp"
#include "bilevel/model/upper_loss.hpp"
#include "model/checks.hpp"
#include "ops/operands.hpp"

namespace bilevel {
inline namespace v0 {

template <class T>
HostLoss<T>::HostLoss(const Shape& unknown, Value value, Gradient gradient, const Constants& constants)
    : unknown_(unknown), value_(std::move(value)), gradient_(std::move(gradient)), constants_(constants) {
  if (!value_ || !gradient_) throw ConfigError("a loss of the host needs two functions, value and gradient.");
  for (double c : {constants.lipschitz, constants.value_error, constants.gradient_error})
    if (!(c >= 0) || !std::isfinite(c))
      throw ConfigError(
          "lipschitz, value_error and gradient_error of a loss must be finite and not negative.");
  if (!(constants.lower_bound < std::numeric_limits<double>::infinity()))
    throw ConfigError("the lower bound of a loss must be a number, or minus infinity.");
}

template <class T>
void HostLoss<T>::measure(Context& context, const Active& active, View<const T> x, View<double> out) const {
  require_operand(context, unknown_, x, "loss of the host (point)");
  const auto n = static_cast<std::size_t>(unknown_.n);
  require_room(2 * n, out, "loss of the host (numbers)");
  const View<double> rows(out.device_data(), {2, unknown_.n, 1, 1});
  const std::vector<T> in = download(context, x);
  std::vector<double> numbers = download(context, rows);
  std::vector<T> b(unknown_.image());
  for (const std::size_t i : open_images(context, active, unknown_.n, "a loss of the host")) {
    const auto image = std::span(in).subspan(i * b.size(), b.size());
    numbers[i] = value_(static_cast<int>(i), image);
    gradient_(static_cast<int>(i), image, b);
    double square = 0;
    for (const T e : b) square += static_cast<double>(e) * static_cast<double>(e);
    numbers[n + i] = square;
  }
  upload<double>(context, numbers, rows);
}

template <class T>
void HostLoss<T>::gradient(Context& context, const Active& active, View<const T> x, double scale,
                           View<T> out) const {
  require_operand(context, unknown_, x, "loss of the host (point)");
  require_operand(context, unknown_, out, "loss of the host (gradient)");
  const std::size_t each = unknown_.image();
  const std::vector<T> in = download(context, x);
  std::vector<T> result = download(context, out);
  for (const std::size_t i : open_images(context, active, unknown_.n, "a loss of the host")) {
    const std::span<T> b = std::span(result).subspan(i * each, each);
    gradient_(static_cast<int>(i), std::span(in).subspan(i * each, each), b);
    for (T& e : b) e = static_cast<T>(scale * static_cast<double>(e));
  }
  upload<T>(context, result, out);
}

template class BILEVEL_API HostLoss<float>;
template class BILEVEL_API HostLoss<double>;

}  // namespace v0
}  // namespace bilevel
