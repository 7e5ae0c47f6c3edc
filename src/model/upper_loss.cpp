#include "bilevel/model/upper_loss.hpp"

#include <algorithm>
#include <cmath>

#include "bilevel/core/error.hpp"
#include "model/checks.hpp"

namespace bilevel {
inline namespace v0 {

template <class T>
UpperLoss<T>::~UpperLoss() = default;

template <class T>
bool UpperLoss<T>::weigh(Context&, const Active&, View<const T>, View<const T>, View<T>) const {
  return false;
}

template <class T>
double UpperLoss<T>::value_error(std::span<const double>) const {
  return 0;
}
template <class T>
double UpperLoss<T>::gradient_error(double) const {
  return 0;
}

template <class T>
LossEnclosure UpperLoss<T>::enclose(std::span<const double> measured, double epsilon) const {
  const double value = measured[0];
  if (std::isinf(epsilon)) return {lower_bound(), value, epsilon};
  const double reach = measured.size() > 2 ? std::sqrt(measured[2]) : 0;
  const double norm = std::sqrt(measured[1]) * (1 + 1e-6) + gradient_error(reach);
  const double bend = 0.5 * lipschitz() * epsilon * epsilon;
  const double rounding = value_error(measured) + 1e-15 * std::abs(value);
  return {std::max(value - norm * epsilon - (convex() ? 0 : bend) - rounding, lower_bound()), value,
          value + norm * epsilon + bend + rounding};
}

template <class T>
double UpperLoss<T>::mean_square(std::span<const double>) const {
  return std::numeric_limits<double>::quiet_NaN();
}

namespace {

/// Of `all`, [rows][N], the numbers of image i.
void column(std::span<const double> all, std::size_t images, std::size_t i, std::span<double> out) {
  for (std::size_t k = 0; k < out.size(); ++k) out[k] = all[k * images + i];
}

template <class T>
void require_images(const UpperLoss<T>& loss, std::span<const double> measured,
                    std::initializer_list<std::size_t> counts) {
  const auto n = static_cast<std::size_t>(loss.shape().n);
  require_count(static_cast<std::size_t>(loss.measures()) * n, measured.size(),
                "enclosure of the loss (measured)");
  for (std::size_t count : counts) require_count(n, count, "enclosure of the loss (images)");
}

}  // namespace

template <class T>
LossEnclosure enclose_loss(const UpperLoss<T>& loss, std::span<const double> measured,
                           std::span<const double> epsilon, double penalty) {
  require_images(loss, measured, {epsilon.size()});
  LossEnclosure sum;
  std::vector<double> own(static_cast<std::size_t>(loss.measures()));
  for (std::size_t i = 0; i < epsilon.size(); ++i) {
    column(measured, epsilon.size(), i, own);
    const LossEnclosure g = loss.enclose(own, epsilon[i]);
    sum.lower += g.lower;
    sum.value += g.value;
    sum.upper += g.upper;
  }
  const double scale = 1 / static_cast<double>(epsilon.size());
  return {scale * sum.lower + penalty, scale * sum.value + penalty, scale * sum.upper + penalty};
}

template <class T>
LossEnclosure enclose_loss(const UpperLoss<T>& loss, std::span<const double> measured,
                           std::span<const double> epsilon, std::span<const double> product,
                           std::span<const double> error, double penalty) {
  require_images(loss, measured, {epsilon.size(), product.size(), error.size()});
  LossEnclosure out{penalty, penalty, penalty};
  const double n = static_cast<double>(epsilon.size()), l = loss.lipschitz();
  std::vector<double> own(static_cast<std::size_t>(loss.measures()));
  for (std::size_t i = 0; i < epsilon.size(); ++i) {
    column(measured, epsilon.size(), i, own);
    const LossEnclosure g = loss.enclose(own, epsilon[i]);
    const double value = g.value / n, estimate = value - product[i];
    const double bend = l * epsilon[i] * epsilon[i] / (2 * n);
    const double rounding = 1e-15 * (std::abs(value) + std::abs(product[i])) + loss.value_error(own) / n;
    out.lower += std::max(g.lower / n, estimate - error[i] - rounding - (loss.convex() ? 0 : bend));
    out.upper += std::min(g.upper / n, estimate + error[i] + rounding + bend);
    out.value += estimate;
  }
  out.value = std::clamp(out.value, out.lower, std::max(out.lower, out.upper));
  return out;
}

#define BILEVEL_INSTANTIATE(T)                                                                      \
  template class BILEVEL_API UpperLoss<T>;                                                          \
  template BILEVEL_API LossEnclosure enclose_loss(const UpperLoss<T>&, std::span<const double>,     \
                                                  std::span<const double>, double);                 \
  template BILEVEL_API LossEnclosure enclose_loss(const UpperLoss<T>&, std::span<const double>,     \
                                                  std::span<const double>, std::span<const double>, \
                                                  std::span<const double>, double);
BILEVEL_INSTANTIATE(float)
BILEVEL_INSTANTIATE(double)
#undef BILEVEL_INSTANTIATE

}  // namespace v0
}  // namespace bilevel
