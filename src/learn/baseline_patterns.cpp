#include "bilevel/learn/baseline_patterns.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>

#include "bilevel/core/error.hpp"
#include "bilevel/model/model_file.hpp"

namespace bilevel {
inline namespace v0 {
namespace {

/// SplitMix64, a 64-bit generator. Source: Steele, Lea, Flood, "Fast splittable pseudorandom number
/// generators", OOPSLA 2014.
class SplitMix {
 public:
  explicit SplitMix(std::uint64_t seed) : state_(seed) {}
  std::uint64_t bits() {
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  /// In (0, 1].
  double uniform() { return (static_cast<double>(bits() >> 11) + 1) * 0x1p-53; }

 private:
  std::uint64_t state_;
};

void require_count(std::size_t groups, std::size_t count) {
  if (count < 1 || count > groups)
    throw ConfigError("a sampling pattern of " + std::to_string(groups) + " groups cannot keep " +
                      std::to_string(count) + " of them.");
}

/// 1 for the `count` groups with the smallest keys, ties by index.
std::vector<double> smallest(std::span<const double> keys, std::size_t count) {
  require_count(keys.size(), count);
  for (std::size_t g = 0; g < keys.size(); ++g)
    if (std::isnan(keys[g]))
      throw ConfigError("group " + std::to_string(g) + " is ranked by what is no number.");
  std::vector<int> order(keys.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) {
    return keys[static_cast<std::size_t>(a)] < keys[static_cast<std::size_t>(b)];
  });
  return groups_listed(keys.size(), std::span(order).first(count));
}

double probability(double distance, double power, double radius, double offset) {
  if (distance <= radius) return 1;
  return std::clamp(std::pow(1 - distance, power) + offset, 0.0, 1.0);
}

double expected(std::span<const double> distance, double power, double radius, double offset) {
  double sum = 0;
  for (const double r : distance) sum += probability(r, power, radius, offset);
  return sum;
}

double disc(std::span<const double> distance, double radius) {
  return static_cast<double>(
      std::count_if(distance.begin(), distance.end(), [radius](double r) { return r <= radius; }));
}

double usual_radius(std::span<const double> distance, double count) {
  double radius = 0.1;
  while (disc(distance, radius) > 0.5 * count && radius > 1e-3) radius /= 2;
  return disc(distance, radius) > 0.5 * count ? 0 : radius;
}

/// The smallest integer power whose density does not exceed `count`; above 64 a power of two.
double usual_power(std::span<const double> distance, double count, double radius) {
  double power = 1;
  while (expected(distance, power, radius, 0) > count && power < 64) ++power;
  while (expected(distance, power, radius, 0) > count && power < 1e9) power *= 2;
  return power;
}

double bisect_offset(std::span<const double> distance, double count, double power, double radius) {
  double low = 0, high = 1;
  for (int step = 0; step < 60; ++step) {
    const double middle = 0.5 * (low + high);
    (expected(distance, power, radius, middle) < count ? low : high) = middle;
  }
  return high;
}

}  // namespace

std::size_t groups_at_rate(const SamplingPattern& pattern, double rate) {
  if (!(rate > 0 && rate <= 1))
    throw ConfigError("a sampling rate is above 0 and at most 1, not " + option_text(rate) + ".");
  const auto count = static_cast<std::size_t>(rate * static_cast<double>(pattern.groups()) + 1e-9);
  if (count == 0)
    throw ConfigError("a sampling rate of " + option_text(rate) + " keeps none of the " +
                      std::to_string(pattern.groups()) + " groups of the pattern; one of them is a rate of " +
                      option_text(1 / static_cast<double>(pattern.groups())) + ".");
  return count;
}

std::vector<double> group_distances(const SamplingPattern& pattern) {
  const int h = pattern.height(), w = pattern.width();
  std::vector<double> distance;
  for (std::size_t g = 0; g < pattern.groups(); ++g) {
    double nearest = std::numeric_limits<double>::infinity();
    for (const int j : pattern.group(g)) {
      const double k = std::min(j / w, h - j / w), l = std::min(j % w, w - j % w);
      nearest = std::min(nearest, std::hypot(k / h, l / w));
    }
    distance.push_back(nearest);
  }
  const double largest = *std::max_element(distance.begin(), distance.end());
  if (largest > 0)
    for (double& r : distance) r /= largest;
  return distance;
}

std::vector<double> groups_listed(std::size_t groups, std::span<const int> listed) {
  std::vector<double> s(groups, 0.0);
  for (const int g : listed) {
    if (g < 0 || static_cast<std::size_t>(g) >= groups)
      throw ConfigError("group " + std::to_string(g) + " is listed of " + std::to_string(groups) +
                        " groups.");
    s[static_cast<std::size_t>(g)] = 1;
  }
  return s;
}

std::vector<double> uniform_groups(std::size_t groups, std::size_t count, std::uint64_t seed) {
  SplitMix random(seed);
  std::vector<double> keys(groups);
  for (double& key : keys) key = random.uniform();
  return smallest(keys, count);
}

std::vector<double> low_pass_groups(std::span<const double> distance, std::size_t count) {
  return smallest(distance, count);
}

std::vector<double> largest_groups(std::span<const double> energy, std::size_t count) {
  std::vector<double> keys;
  for (const double e : energy) keys.push_back(-e);
  return smallest(keys, count);
}

VariableDensity variable_density_groups(std::span<const double> distance, std::size_t count,
                                        const VariableDensityOptions& options,
                                        const std::function<double(std::span<const double>)>& side_lobe) {
  require_count(distance.size(), count);
  if (options.draws < 1) throw ConfigError("a variable density needs at least 1 draw.");
  const auto wanted = static_cast<double>(count);
  VariableDensity best;
  best.radius = options.radius < 0 ? usual_radius(distance, wanted) : options.radius;
  best.power = options.power > 0 ? options.power : usual_power(distance, wanted, best.radius);
  if (const double density = expected(distance, best.power, best.radius, 0); density > wanted) {
    const auto least = static_cast<std::size_t>(std::ceil(density));
    throw ConfigError("a density of power " + option_text(best.power) + " outside of the radius " +
                      option_text(best.radius) + " keeps " + std::to_string(least) + " of " +
                      std::to_string(distance.size()) + " groups, more than " + std::to_string(count) +
                      "; use a larger power, a smaller radius, or a rate of at least " +
                      option_text(static_cast<double>(least) / static_cast<double>(distance.size())) + ".");
  }
  best.offset = bisect_offset(distance, wanted, best.power, best.radius);
  best.side_lobe = std::numeric_limits<double>::infinity();
  SplitMix random(options.seed);
  std::vector<double> keys(distance.size()), weighted(distance.size());
  for (int draw = 0; draw < options.draws; ++draw) {
    for (std::size_t g = 0; g < keys.size(); ++g) {
      const double p = probability(distance[g], best.power, best.radius, best.offset);
      const double u = random.uniform();
      keys[g] = p >= 1 ? 0 : u / p;
    }
    std::vector<double> s = smallest(keys, count);
    for (std::size_t g = 0; g < s.size(); ++g)
      weighted[g] = s[g] > 0 ? 1 / probability(distance[g], best.power, best.radius, best.offset) : 0;
    const double lobe = side_lobe(weighted);
    if (lobe >= best.side_lobe) continue;
    best.side_lobe = lobe;
    best.s = std::move(s);
  }
  if (best.s.empty()) throw ConfigError("no pattern of the variable density has a finite side lobe.");
  return best;
}

std::vector<int> greedy_groups(std::size_t groups, std::size_t count, std::vector<int> order,
                               const CandidateLosses& losses,
                               const std::function<bool(std::span<const int>)>& added) {
  require_count(groups, count);
  while (order.size() < count) {
    std::vector<int> candidates;
    for (int g = 0; g < static_cast<int>(groups); ++g)
      if (std::find(order.begin(), order.end(), g) == order.end()) candidates.push_back(g);
    const std::vector<double> loss = losses(order, candidates);
    if (loss.size() != candidates.size()) return order;
    const auto least = std::min_element(loss.begin(), loss.end());
    order.push_back(candidates[static_cast<std::size_t>(least - loss.begin())]);
    if (added && !added(order)) return order;
  }
  return order;
}

}  // namespace v0
}  // namespace bilevel
