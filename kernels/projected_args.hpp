#pragma once

// Arguments of differences without their part along a field zeta of vectors, |zeta| < 1:
// K x = (I - zeta zeta^T) D x of every channel, D = (Dx, Dy) forward differences, zero over the border.

#include "bilevel/core/active.hpp"

namespace bilevel::kernels {

/// z = K x, x [n][channels][H][W], z [n][2][channels][H][W]; or out = K^T z in place of x.
template <class T>
struct ProjectedArgs {
  Active active;
  int channels = 1, height = 1, width = 1;
  const T* zeta = nullptr;  // [n][2][H][W]
  const T* in = nullptr;
  T* out = nullptr;
};

}  // namespace bilevel::kernels
