#pragma once

// Arguments of the kernels of the upper level's squared error, on the first `size` elements of each image.

#include <cstddef>

#include "bilevel/core/active.hpp"

namespace bilevel::kernels {

/// out[i] = sum_p w_p (x_p - t_p)^2.
template <class T>
struct MisfitArgs {
  Active active;
  std::size_t size;   // of t and w: the elements compared
  std::size_t image;  // >= size: of x
  const T* x;
  const T* truth;   // null: zeros
  const T* weight;  // shared by the batch; null: ones
  double* out;
};

/// out_p = w_p (scale x_p - scale t_p) for the elements compared, zero for the others of an image.
template <class T>
struct MisfitGradientArgs {
  Active active;
  std::size_t size;
  std::size_t image;  // of x and out
  double scale;
  const T* x;
  const T* truth;   // null: zeros
  const T* weight;  // null: ones
  T* out;
};

}  // namespace bilevel::kernels
