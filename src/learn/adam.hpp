#pragma once

#include <cmath>
#include <span>
#include <vector>

namespace bilevel {
inline namespace v0 {

/// Adam (Kingma and Ba 2015, algorithm 1): the moments of the gradients seen.
struct Adam {
  explicit Adam(std::size_t size, double first_weight = 0.9, double second_weight = 0.999)
      : first(size, 0), second(size, 0), b1(first_weight), b2(second_weight) {}

  /// What is subtracted from theta, per unit of step length, at the gradient g of step k = 1, 2, ...:
  ///   m <- b1 m + (1 - b1) g,  v <- b2 v + (1 - b2) g^2,  m / (1 - b1^k) / (sqrt(v / (1 - b2^k)) + 1e-8).
  std::vector<double> scaled(std::span<const double> g, int k) {
    const double c1 = 1 - std::pow(b1, k), c2 = 1 - std::pow(b2, k);
    std::vector<double> d(g.size());
    for (std::size_t j = 0; j < g.size(); ++j) {
      first[j] = b1 * first[j] + (1 - b1) * g[j];
      second[j] = b2 * second[j] + (1 - b2) * g[j] * g[j];
      d[j] = first[j] / c1 / (std::sqrt(second[j] / c2) + least);
    }
    return d;
  }

  static constexpr double least = 1e-8;
  std::vector<double> first, second;  ///< m, v
  double b1, b2;
};

}  // namespace v0
}  // namespace bilevel
