#include "apps/common/tile_image.hpp"

#include <algorithm>
#include <cmath>

namespace bilevel_app {
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

bilevel::HostImage tile_image(int count, int height, int width, std::span<const double> values) {
  constexpr int gap = 4, tile = 56;  // pixels, about
  const int longest = std::max(height, width), zoom = std::max(1, (tile + longest / 2) / longest);
  const int down = zoom * height, across = zoom * width;
  const int columns = columns_for(count), rows = (count + columns - 1) / columns;
  bilevel::HostImage image{1, rows * (down + gap) + gap, columns * (across + gap) + gap, {}};
  image.pixels.assign(static_cast<std::size_t>(image.height) * image.width, 1.0);
  const auto area = static_cast<std::size_t>(height) * width;
  for (int k = 0; k < count; ++k) {
    const std::span one = values.subspan(k * area, area);
    const double largest = *std::max_element(one.begin(), one.end(),
                                             [](double a, double b) { return std::abs(a) < std::abs(b); });
    const double scale = largest == 0 ? 0 : 0.4 / std::abs(largest);
    const int top = gap + k / columns * (down + gap), left = gap + k % columns * (across + gap);
    for (int i = 0; i < down; ++i)
      for (int j = 0; j < across; ++j)
        image.pixels[static_cast<std::size_t>(top + i) * image.width + left + j] =
            0.5 + scale * one[static_cast<std::size_t>(i / zoom) * width + j / zoom];
  }
  return image;
}

}  // namespace bilevel_app
