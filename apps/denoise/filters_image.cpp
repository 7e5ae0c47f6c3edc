#include "apps/denoise/filters_image.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include "apps/common/tile_image.hpp"

namespace bilevel_app::denoise {

using namespace bilevel;

RankedFilters ranked_filters(const Parameters& parameters, std::span<const double> theta, bool zero_mean,
                             const std::string& prefix) {
  const std::vector<double> weight = parameters.values(prefix + "weight", theta);
  std::vector<double> taps = parameters.values(prefix + "filters", theta);
  const std::size_t count = weight.size(), area = taps.size() / count;
  std::vector<double> strength(count);
  for (std::size_t k = 0; k < count; ++k) {
    const std::span filter(taps.data() + k * area, area);
    const double mean = std::accumulate(filter.begin(), filter.end(), 0.0) / static_cast<double>(area);
    if (zero_mean)
      for (double& tap : filter) tap -= mean;
    strength[k] =
        weight[k] * std::sqrt(std::inner_product(filter.begin(), filter.end(), filter.begin(), 0.0));
  }
  RankedFilters ranked{static_cast<int>(count),
                       static_cast<int>(std::lround(std::sqrt(static_cast<double>(area)))),
                       std::vector<std::size_t>(count),
                       {},
                       {}};
  std::iota(ranked.number.begin(), ranked.number.end(), std::size_t{0});
  std::stable_sort(ranked.number.begin(), ranked.number.end(),
                   [&](std::size_t a, std::size_t b) { return strength[a] > strength[b]; });
  for (const std::size_t k : ranked.number) {
    ranked.strength.push_back(strength[k]);
    ranked.taps.insert(ranked.taps.end(), taps.begin() + static_cast<std::ptrdiff_t>(k * area),
                       taps.begin() + static_cast<std::ptrdiff_t>((k + 1) * area));
  }
  return ranked;
}

HostImage filters_image(const RankedFilters& f) {
  std::vector<double> taps = f.taps;
  const auto area = static_cast<std::ptrdiff_t>(f.size) * f.size;
  for (auto filter = taps.begin(); filter != taps.end(); filter += area) {
    const double largest = *std::max_element(filter, filter + area,
                                             [](double a, double b) { return std::abs(a) < std::abs(b); });
    if (largest < 0) std::transform(filter, filter + area, filter, std::negate<>());
  }
  return tile_image(f.count, f.size, f.size, taps);
}

}  // namespace bilevel_app::denoise
