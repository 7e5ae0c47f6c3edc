#include "apps/experiments/legacy_random.hpp"

#include <cmath>
#include <utility>

namespace bilevel_app::experiments {

double LegacyRandom::uniform() {
  const std::uint_fast32_t a = generator_() >> 5, b = generator_() >> 6;
  return (static_cast<double>(a) * 67108864.0 + static_cast<double>(b)) / 9007199254740992.0;
}

double LegacyRandom::normal() {
  if (kept_) return *std::exchange(kept_, std::nullopt);
  double u = 0, v = 0, r2 = 0;
  do {
    u = 2 * uniform() - 1;
    v = 2 * uniform() - 1;
    r2 = u * u + v * v;
  } while (r2 >= 1 || r2 == 0);
  const double factor = std::sqrt(-2 * std::log(r2) / r2);
  kept_ = factor * u;
  return factor * v;
}

std::vector<double> LegacyRandom::uniform_vector(std::size_t count) {
  std::vector<double> out(count);
  for (double& v : out) v = uniform();
  return out;
}
std::vector<double> LegacyRandom::normal_vector(std::size_t count) {
  std::vector<double> out(count);
  for (double& v : out) v = normal();
  return out;
}

}  // namespace bilevel_app::experiments
