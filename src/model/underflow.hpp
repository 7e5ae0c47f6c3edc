#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "bilevel/core/error.hpp"

namespace bilevel {
inline namespace v0 {

/// What underflow can hide from the norm of a gradient with `count` entries of T and from its rounding bound,
/// beside errors in proportion. With tiny_T the smallest normal number: a product that underflows loses at
/// most tiny_T (also where it is flushed to zero) and reaches an entry with factors that add up to at most
/// `products`; a root of a sum of squares loses at most sqrt(count tiny), with the squares of the gradient in
/// double and those behind the bound in T, whose roots enter it with factors of at most `unit` times `norms`.
template <class T>
double underflow_bound(std::size_t count, double unit, double products, double norms) {
  constexpr double tiny = std::numeric_limits<T>::min();
  return std::sqrt(static_cast<double>(count)) *
         (std::sqrt(std::numeric_limits<double>::min()) + products * tiny + unit * norms * std::sqrt(tiny));
}

/// The square of a smoothing, which potentials add to squares, must be normal in T with digits to spare.
/// Throws ConfigError with the range.
template <class T>
void require_smoothing(double nu, const char* name) {
  const double least = std::sqrt(std::numeric_limits<T>::min() / std::numeric_limits<T>::epsilon()),
               most = std::sqrt(std::numeric_limits<T>::max()) / 4;
  if (nu >= least && nu <= most) return;
  const auto text = [](double v) {
    char digits[32];
    std::snprintf(digits, sizeof digits, "%.3g", v);
    return std::string(digits);
  };
  throw ConfigError(std::string("parameter '") + name + "' = " + text(nu) + " lies outside [" + text(least) +
                    ", " + text(most) + "], where its square is a number of " +
                    (sizeof(T) == 4 ? "single precision; compute in double." : "double precision."));
}

}  // namespace v0
}  // namespace bilevel
