#pragma once

// Arguments of the kernels between images [n][channels][H][W] and arrays [n][channels][2H][2W] on the torus
// of twice the size.

#include <cstdint>

#include "bilevel/core/active.hpp"

namespace bilevel::kernels {

/// Extension: the image at the rows [0, H) and columns [0, W) and, where `even`, mirrored about the edges
/// between pixels (row 2H-1-r is row r), else zeros. It writes the whole batch, which a transform reads,
/// frozen images as zeros.
template <class T>
struct TorusExtendArgs {
  Active one;                          // any single open image: planes are those of the whole batch
  const std::uint8_t* mask = nullptr;  // of all images
  int n = 1, channels = 1, height = 1, width = 1;  // of the images
  bool even = true;
  const T* in = nullptr;
  T* out = nullptr;
};

/// Its transpose: the sum over the mirrored pixels where `even`, else the image alone.
template <class T>
struct TorusFoldArgs {
  Active active;
  int channels = 1, height = 1, width = 1;
  bool even = true;
  const T* in = nullptr;
  T* out = nullptr;
};

}  // namespace bilevel::kernels
