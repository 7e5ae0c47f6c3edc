#pragma once

// Arguments of the kernels between precisions. `size` counts the elements of one image.

#include <cstddef>

#include "bilevel/core/active.hpp"

namespace bilevel::kernels {

/// target = source, rounded to nearest.
struct NarrowArgs {
  Active active;
  std::size_t size;
  const double* source;
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
