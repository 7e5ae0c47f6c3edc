#include "apps/denoise/filters_image.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace bilevel_app::denoise {

using namespace bilevel;

namespace {

/// Between one and two times as many columns as rows, with few empty places.
int columns_for(int count) {
  const double root = std::sqrt(count);
  const int first = static_cast<int>(std::ceil(root));
  const auto empty = [count](int columns) { return (count + columns - 1) / columns * columns - count; };
  int best = first;
  for (int c = first; c <= static_cast<int>(2 * root); ++c)
    if (empty(c) < empty(best)) best = c;
  return best;
}

}  // namespace

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
  constexpr int gap = 4, tile = 56;  // pixels, about
  const int zoom = (tile + f.size / 2) / f.size, side = zoom * f.size;
  const int columns = columns_for(f.count), rows = (f.count + columns - 1) / columns;
  HostImage image{1, rows * (side + gap) + gap, columns * (side + gap) + gap, {}};
  image.pixels.assign(static_cast<std::size_t>(image.height) * image.width, 1.0);
  const auto area = static_cast<std::size_t>(f.size) * f.size;
  for (int k = 0; k < f.count; ++k) {
    const std::span taps(f.taps.data() + k * area, area);
    const double largest = *std::max_element(taps.begin(), taps.end(),
                                             [](double a, double b) { return std::abs(a) < std::abs(b); });
    const double scale = largest == 0 ? 0 : 0.4 / largest;  // the gaps are white
    const int top = gap + k / columns * (side + gap), left = gap + k % columns * (side + gap);
    for (int i = 0; i < side; ++i)
      for (int j = 0; j < side; ++j)
        image.pixels[static_cast<std::size_t>(top + i) * image.width + left + j] =
            0.5 + scale * taps[static_cast<std::size_t>(i / zoom) * f.size + j / zoom];
  }
  return image;
}

}  // namespace bilevel_app::denoise
