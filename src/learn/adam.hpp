#pragma once

#include <cmath>
#include <span>
#include <vector>

namespace bilevel {
inline namespace v0 {

/// Adam (Kingma and Ba 2015, algorithm 1) with its usual constants: the moments of the gradients seen.
struct Adam {
  explicit Adam(std::size_t size) : first(size, 0), second(size, 0) {}

  /// What theta moves by, per unit of step length, at the gradient g of step k = 1, 2, ...:
  ///   m <- b1 m + (1 - b1) g,  v <- b2 v + (1 - b2) g^2,
  ///   d = -m / (1 - b1^k) / (sqrt(v / (1 - b2^k)) + 1e-8).
  std::vector<double> direction(std::span<const double> g, int k) {
    constexpr double b1 = 0.9, b2 = 0.999, least = 1e-8;
    const double c1 = 1 - std::pow(b1, k), c2 = 1 - std::pow(b2, k);
    std::vector<double> d(g.size());
    for (std::size_t j = 0; j < g.size(); ++j) {
      first[j] = b1 * first[j] + (1 - b1) * g[j];
      second[j] = b2 * second[j] + (1 - b2) * g[j] * g[j];
      d[j] = -first[j] / c1 / (std::sqrt(second[j] / c2) + least);
    }
    return d;
  }

  std::vector<double> first, second;  ///< m, v
};

}  // namespace v0
}  // namespace bilevel
