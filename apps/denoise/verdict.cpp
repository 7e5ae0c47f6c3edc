#include "apps/denoise/verdict.hpp"

#include <cmath>
#include <limits>

namespace bilevel_app::denoise {

double dot(const Vector& a, const Vector& b) {
  double sum = 0;
  for (std::size_t k = 0; k < a.size(); ++k) sum += a[k] * b[k];
  return sum;
}
double norm(const Vector& a) { return std::sqrt(dot(a, a)); }
Vector plus(Vector a, double t, const Vector& b) {
  for (std::size_t k = 0; k < a.size(); ++k) a[k] += t * b[k];
  return a;
}

double relative(double error, double scale) { return error == 0 ? 0 : error / scale; }

double rounding(double sum, double terms) {
  return (terms + 2) * std::numeric_limits<double>::epsilon() * sum;
}

Verdict compare(const std::string& what, const Vector& derivative, double scale, double limit, double step,
                const std::function<Sample(double)>& f, double derivative_error) {
  const Difference d = differentiate(f, step, 0.1 * limit * scale);
  const double error = d.error + derivative_error;
  if (!std::isfinite(error)) return {what, std::numeric_limits<double>::quiet_NaN(), limit};
  const double off = norm(plus(d.value, -1, derivative));
  return {what, relative(off, scale + error / limit), limit, off == 0 ? 0 : error / scale};
}

}  // namespace bilevel_app::denoise
