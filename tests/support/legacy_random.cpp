#include "tests/support/legacy_random.hpp"

#include <cmath>
#include <utility>

namespace bilevel::testing_support {

double LegacyRandom::uniform() {
  const auto a = static_cast<double>(bits_() >> 5), b = static_cast<double>(bits_() >> 6);
  return (a * 0x1p26 + b) * 0x1p-53;
}

double LegacyRandom::normal() {
  if (std::exchange(has_kept_, false)) return kept_;
  double a, b, square;
  do {
    a = 2 * uniform() - 1;
    b = 2 * uniform() - 1;
    square = a * a + b * b;
  } while (square >= 1 || square == 0);
  const double factor = std::sqrt(-2 * std::log(square) / square);
  kept_ = factor * a;
  has_kept_ = true;
  return factor * b;
}

}  // namespace bilevel::testing_support
