#pragma once

// Arguments of one level of an orthogonal wavelet transform. Coefficients of all levels share one array of
// the size of the image (Mallat's layout): those of a level with finer image [h][w] fill its corner [0,h) x
// [0,w), approximation top left, details along rows (axis 1) top right, along columns (axis 0) bottom left,
// along both bottom right. With h = 1 only rows are transformed.

#include <cstddef>

#include "bilevel/core/active.hpp"

namespace bilevel::kernels {

struct WaveletLevel {
  Active active;
  int taps = 2;                    // 2, 4 or 8
  int channels = 1;                // of an image
  int height = 1, width = 1;       // of the finer image: even; or height 1
  int pitch = 1;                   // of the coefficients: W
  std::size_t plane = 1;           // H W
  int coarse_pitch = 1;            // of the approximation
  std::size_t coarse_plane = 1;    // of one channel
  bool keep_approximation = true;  // false: written and read as zeros
};

/// Finer image -> approximation and details.
template <class T>
struct WaveletAnalyseArgs {
  WaveletLevel level;
  const T* fine = nullptr;  // [n][channels][height][width]
  T* coarse = nullptr;
  T* coefficients = nullptr;
};

/// Its transpose, which is its inverse. `squared`: with the squares of the taps instead, of coefficients that
/// are there as 1/m (`reciprocal_coarse`: the approximation too), an estimate of the diagonal of W^T diag(m)
/// W: exact for one level and for Haar's wavelet, of right trace for all. `inverse` then becomes
/// 1/(1/inverse + fine) where it is given, and fine is not written.
template <class T>
struct WaveletSynthesiseArgs {
  WaveletLevel level;
  const T* coarse = nullptr;
  const T* coefficients = nullptr;
  T* fine = nullptr;
  bool squared = false, reciprocal_coarse = false;
  T* inverse = nullptr;
};

}  // namespace bilevel::kernels
