#pragma once

// Arguments of the kernels on Fourier coefficients. A spectrum holds the coefficients of one image (of one
// coil) in the order of its transform, see Fft::order(); complex numbers are interleaved. Real images have
// half spectra: coefficient j stands for -j too, and weights and data have two channels, those of j and those
// of -j, the latter conjugated.

#include <cstddef>

#include "bilevel/core/active.hpp"

namespace bilevel::kernels {

/// The size of spectra and of the batch.
struct SpectrumShape {
  int n = 1;      // images
  int coils = 1;  // spectra per image
  int height = 1;
  int columns = 1;         // stored: W, or W/2+1 of real images
  int width = 1;           // W
  bool pair = false;       // half spectra
  bool by_column = false;  // order: column by column
  std::size_t size() const { return static_cast<std::size_t>(height) * columns; }
};

/// In place between a forward and an inverse transform, both unnormalised, X = scale x:
///   gradient  scale w (X - y), with sums[0] = sum w |X-y|^2, sums[1] = sum w^2 |X-y|^2,
///             sums[2] = 2 sum w^2 (|X|^2 + |y|^2), over the whole k-space
///   weigh     the same without sums; w of any sign
///   normal    scale w X
///   dual      scale u, u <- w (X - y + u / sigma) / (1 + w / sigma): the proximal step, at u + sigma X, of
///             the conjugate of 1/2 sum w |X - y|^2; w >= 0
///   multiply  scale m X, or scale conj(m) X with `conjugate`; `data` holds m, one spectrum for the batch
/// For half spectra w (X - y) or u is the mean over the channels; for `normal` w has one channel, the mean.
enum class SpectrumPass : int { gradient = 0, weigh = 1, normal = 2, dual = 3, multiply = 4 };

template <class T>
struct SpectrumArgs {
  SpectrumPass pass = SpectrumPass::normal;
  SpectrumShape shape;
  Active active;
  double scale = 1;
  const T* weight = nullptr;  // [channels][size], shared by the batch
  const T* data = nullptr;    // y: [n coils][channels][size] complex
  T* x = nullptr;             // [n coils][size] complex
  double* sums = nullptr;     // [coils][3][n]
  double inverse_step = 0;    // 1/sigma; 0: u = w (X - y), u is not read
  T* dual = nullptr;          // u, laid out as y
  bool conjugate = false;
};

/// Per frequency j, summed over the coils, into rows of n doubles, channel by channel:
///   product  Re conj(Q_j) (X_j - y_j)
///   powers   |X_j - y_j|^2, then |Q_j|^2
template <class T>
struct SpectrumMixedArgs {
  SpectrumShape shape;
  Active active;
  bool powers = false;
  double scale = 1;
  const T* x = nullptr;
  const T* q = nullptr;
  const T* data = nullptr;
  double* out = nullptr;
};

/// Planes of real and imaginary parts to interleaved complex numbers and back. Packing takes the whole batch
/// (a transform reads it), unpacking the active images. One component: unpacking copies.
template <class T>
struct PlanesArgs {
  Active active;
  int n = 1;      // images
  int coils = 1;  // arrays per image
  int components = 2;
  std::size_t points = 1;
  double factor = 1;
  const T* in = nullptr;
  T* out = nullptr;
};

/// z_c = sigma_c x and its adjoint x = sum_c conj(sigma_c) z_c (real part for one component). maps: [coils]
/// planes of real and imaginary parts. Expanding takes the whole batch.
template <class T>
struct CoilArgs {
  Active active;
  int n = 1;
  int coils = 1;
  int components = 2;
  std::size_t points = 1;
  const T* maps = nullptr;
  const T* in = nullptr;
  T* out = nullptr;
};

/// Complex numbers times a real array shared by the batch, in place: [n][points].
template <class T>
struct ScaleSpectraArgs {
  int n = 1;
  std::size_t points = 1;
  double factor = 1;
  const T* weight = nullptr;
  T* x = nullptr;
};

}  // namespace bilevel::kernels
