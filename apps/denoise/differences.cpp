#include "apps/denoise/differences.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace bilevel_app::denoise {

namespace {

using Vector = std::vector<double>;

double distance(const Vector& a, const Vector& b) {
  double sum = 0;
  for (std::size_t k = 0; k < a.size(); ++k) sum += (a[k] - b[k]) * (a[k] - b[k]);
  return std::sqrt(sum);
}

}  // namespace

Difference differentiate(const std::function<Sample(double)>& f, double step, double enough) {
  constexpr int kLeastSteps = 3, kMostSteps = 20;
  constexpr double kAmplification = 2;  // sum of the weights of an entry times the errors it is made of
  Difference best{{}, std::numeric_limits<double>::infinity()};
  std::vector<Vector> previous;
  for (int i = 0; i < kMostSteps; ++i, step /= 2) {
    const Sample up = f(step), down = f(-step);
    const double noise = kAmplification * (up.error + down.error) / (2 * step);
    std::vector<Vector> row{up.value};
    for (std::size_t k = 0; k < up.value.size(); ++k) row[0][k] = (up.value[k] - down.value[k]) / (2 * step);
    Difference finest{{}, std::numeric_limits<double>::infinity()};
    double power = 1;
    for (const Vector& coarser : previous) {
      power *= 4;
      Vector next = row.back();
      for (std::size_t k = 0; k < next.size(); ++k) next[k] += (next[k] - coarser[k]) / (power - 1);
      const double error = std::max(distance(next, row.back()), distance(next, coarser)) + noise;
      if (error < finest.error) finest = {next, error};  // a NaN never is
      row.push_back(std::move(next));
    }
    // Steps across a bend can agree on what finer ones disprove.
    const bool better = finest.error < best.error;
    if (better ||
        (std::isfinite(finest.error) && distance(finest.value, best.value) > finest.error + best.error))
      best = std::move(finest);
    if (i + 1 >= kLeastSteps && best.error <= enough) break;
    previous = std::move(row);
  }
  return best;
}

}  // namespace bilevel_app::denoise
