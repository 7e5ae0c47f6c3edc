#pragma once

#include <algorithm>
#include <cmath>
#include <span>

namespace bilevel {
inline namespace v0 {

/// Euclidean norm; of numbers whose squares leave the range of double precision too, since a bound must not
/// vanish before what it bounds.
inline double norm_of(std::span<const double> v) {
  double sum = 0, most = 0;
  for (double e : v) {
    sum += e * e;
    most = std::max(most, std::abs(e));
  }
  if (most == 0 || !std::isfinite(most) || (most > 1e-140 && most < 1e140)) return std::sqrt(sum);
  sum = 0;
  for (double e : v) sum += (e / most) * (e / most);
  return most * std::sqrt(sum);
}

}  // namespace v0
}  // namespace bilevel
