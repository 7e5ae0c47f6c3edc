#pragma once

// Arguments of the kernels between precisions. `size` counts the elements of one image.

#include <cstddef>

#include "bilevel/core/active.hpp"

namespace bilevel::kernels {

/// target = source (1 + dither s_e), rounded to nearest, with s_e in [-1,1) from a hash of the element's
/// number.
struct NarrowArgs {
  Active active;
  std::size_t size;
  const double* source;
  double dither;
  float* target;
};

/// target = source, or target += source when `add`.
struct WidenArgs {
  Active active;
  std::size_t size;
  const float* source;
  bool add;
  double* target;
};

/// out[i] = |x_i - y_i|^2.
struct DistanceArgs {
  Active active;
  std::size_t size;
  const double* x;
  const float* y;
  double* out;
};

}  // namespace bilevel::kernels
