#pragma once

#include <cstddef>
#include <vector>

namespace bilevel_test {

/// An image of affine pieces with jumps between them, [64][64], values 0 to 1.
inline std::vector<double> affine_pieces() {
  constexpr int size = 64;
  std::vector<double> image;
  for (int r = 0; r < size; ++r)
    for (int c = 0; c < size; ++c) {
      const bool disc = (r - 22) * (r - 22) + (c - 40) * (c - 40) < 17 * 17, low = r >= 44, left = c < 26;
      const double x = c / 64.0, y = r / 64.0;
      image.push_back(disc   ? 0.9 - 1.1 * (x - 0.35) - 0.4 * y
                      : low  ? 0.15 + 0.7 * x
                      : left ? 0.1 + 1.7 * x
                             : 0.95 - 1.1 * y);
    }
  return image;
}

}  // namespace bilevel_test
