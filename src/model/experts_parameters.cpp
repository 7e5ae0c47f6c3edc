#include <algorithm>
#include <cmath>
#include <numbers>
#include <random>
#include <tuple>

#include "bilevel/core/error.hpp"
#include "bilevel/model/regularisers.hpp"

namespace bilevel {
inline namespace v0 {
namespace {

using Filter = std::vector<double>;

void normalise(Filter& f) {
  double mean = 0, square = 0;
  for (double v : f) mean += v / static_cast<double>(f.size());
  for (double v : f) square += (v - mean) * (v - mean);
  for (double& v : f) v = (v - mean) / std::sqrt(square);
}

/// The two-dimensional cosine basis (DCT-II) without its constant, from low to high frequencies.
std::vector<Filter> cosine_filters(int size) {
  std::vector<std::pair<int, int>> order;
  for (int a = 0; a < size; ++a)
    for (int b = 0; b < size; ++b)
      if (a + b > 0) order.emplace_back(a, b);
  std::sort(order.begin(), order.end(), [](auto p, auto q) {
    const auto rank = [](auto f) { return std::tuple(f.first * f.first + f.second * f.second, f); };
    return rank(p) < rank(q);
  });
  std::vector<Filter> filters;
  for (auto [a, b] : order) {
    Filter f;
    for (int i = 0; i < size; ++i)
      for (int j = 0; j < size; ++j)
        f.push_back(std::cos(std::numbers::pi * a * (2 * i + 1) / (2 * size)) *
                    std::cos(std::numbers::pi * b * (2 * j + 1) / (2 * size)));
    normalise(f);
    filters.push_back(std::move(f));
  }
  return filters;
}

/// Normal numbers by the method of Box and Muller 1958, the same everywhere.
class Normal {
 public:
  explicit Normal(std::uint64_t seed) : engine_(seed) {}
  double operator()() {
    const double radius = std::sqrt(-2 * std::log(uniform()));
    return radius * std::cos(2 * std::numbers::pi * uniform());
  }

 private:
  double uniform() { return (static_cast<double>(engine_() >> 11) + 0.5) * 0x1p-53; }
  std::mt19937_64 engine_;
};

Filter random_filter(int size, Normal& normal) {
  Filter f(static_cast<std::size_t>(size) * size);
  for (double& v : f) v = normal();
  normalise(f);
  return f;
}

/// x[r,c+1] - x[r,c], or x[r+1,c] - x[r,c].
Filter difference(int size, bool horizontal) {
  Filter f(static_cast<std::size_t>(size) * size, 0);
  const int centre = (size / 2) * size + size / 2;
  f[static_cast<std::size_t>(centre)] = -1;
  f[static_cast<std::size_t>(centre + (horizontal ? 1 : size))] = 1;
  return f;
}

std::vector<Filter> initial_filters(int filters, int size, FilterInit init, std::uint64_t seed) {
  std::vector<Filter> all;
  if (init == FilterInit::tv) all = {difference(size, true), difference(size, false)};
  if (init != FilterInit::random)
    for (Filter& f : cosine_filters(size)) all.push_back(std::move(f));
  Normal normal(seed);
  while (all.size() < static_cast<std::size_t>(filters)) all.push_back(random_filter(size, normal));
  all.resize(static_cast<std::size_t>(filters));
  return all;
}

}  // namespace

Parameters experts_parameters(int filters, int size, FilterInit init, double alpha, double nu,
                              std::uint64_t seed) {
  if (filters < 1 || filters > 64) throw ConfigError(std::to_string(filters) + " filters: use 1 to 64.");
  if (size < 3 || size > 11 || size % 2 == 0)
    throw ConfigError("filters of size " + std::to_string(size) + ": use 3, 5, 7, 9 or 11.");
  const auto count = static_cast<std::size_t>(filters);
  Segment weight{"weight", Transform::exp, 1, 1e-8, 1e2, true, {filters}, std::vector<double>(count, alpha)};
  // Smoothings below a quarter of a grey level cost accuracy and gain nothing.
  Segment smoothing{"smoothing", Transform::exp, 1, 1e-3, 1e1, true, {filters}, {}};
  smoothing.values.assign(count, nu);
  Segment taps{"filters", Transform::identity, 1, -1e2, 1e2, true, {filters, size, size}, {}};
  for (const Filter& f : initial_filters(filters, size, init, seed))
    taps.values.insert(taps.values.end(), f.begin(), f.end());
  if (init == FilterInit::tv)
    for (std::size_t k = 2; k < count; ++k) {
      weight.values[k] = 3e-4;
      smoothing.values[k] = 0.01;
    }
  const Segment ridge{"mu", Transform::exp, 1e-3, 0, 1e2, false};
  return Parameters({weight, smoothing, taps, ridge});
}

}  // namespace v0
}  // namespace bilevel
