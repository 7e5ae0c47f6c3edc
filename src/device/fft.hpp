#pragma once

// Discrete Fourier transforms of batches of images. FFTW and cuFFT stay behind this interface.

#include <complex>
#include <cstddef>
#include <memory>
#include <string>

#include "bilevel/core/context.hpp"
#include "kernels/args.hpp"

namespace bilevel {
inline namespace v0 {

/// n images of height x width points, contiguous and row-major.
struct FftShape {
  int n = 1, height = 1, width = 1;

  std::size_t points() const { return static_cast<std::size_t>(height) * width; }  ///< of one image
  /// Of the half spectrum of one real image: height (width/2 + 1).
  std::size_t half_points() const {
    return static_cast<std::size_t>(height) * static_cast<std::size_t>(width / 2 + 1);
  }
  bool operator==(const FftShape&) const = default;
  /// "3 images of 16x32"
  std::string str() const {
    return std::to_string(n) + (n == 1 ? " image of " : " images of ") + std::to_string(height) + "x" +
           std::to_string(width);
  }
};

enum class FftKind { complex_to_complex, real_to_complex };

/// Where coefficient (k,l) of a spectrum stands: at k row + l column.
struct SpectrumOrder {
  std::size_t row = 1, column = 1;
};

/// Planned two-dimensional transforms of a batch of images, UNNORMALISED, with zero frequency first:
///   forward  X[k,l] = sum_{p,q} x[p,q] exp(-2 pi i (k p/H + l q/W)),
///   inverse  x[p,q] = sum_{k,l} X[k,l] exp(+2 pi i (k p/H + l q/W)),
/// so inverse(forward(x)) = H W x. With the factor scale() = 1/sqrt(H W) both are unitary and adjoint to each
/// other; the neighbouring kernels multiply it in.
///
/// Arrays are device memory, aligned as Tensor and Frame give it; complex numbers are interleaved. A plan
/// belongs to the context it was made with, which must outlive it. Execution enqueues one launch, allocates
/// nothing and never waits; the bits of an image do not depend on the number of threads or on its place in
/// the batch on a CPU. Cost: about 5 H W log2(H W) flops an image (half for real images) and two to four
/// passes over the arrays.
///
/// Execution throws ConfigError for a transform of the other kind or another context, DeviceError when the
/// device library fails.
template <class T>
class Fft {
 public:
  using Complex = std::complex<T>;

  virtual ~Fft() = default;
  Fft(const Fft&) = delete;
  Fft& operator=(const Fft&) = delete;

  const FftShape& shape() const { return shape_; }
  FftKind kind() const { return kind_; }
  double scale() const;  ///< 1/sqrt(H W)

  /// [n][H][W] to [n][H][W]; `out` may be `in`, and otherwise `in` keeps its values. Kind complex_to_complex.
  void forward(Context& context, const Complex* in, Complex* out) const;
  void inverse(Context& context, const Complex* in, Complex* out) const;

  /// Real [n][H][W] to the half spectrum [n][H][W/2+1]; column l stands for W-l too. Out of place. Kind
  /// real_to_complex.
  void forward_real(Context& context, const T* in, Complex* out) const;
  /// Half spectrum to real: the inverse of its Hermitian extension X[-k,-l] = conj X[k,l], which the columns
  /// 0 and W/2 must satisfy by themselves (the result is undefined otherwise). Out of place; `in` is
  /// destroyed. Kind real_to_complex. With scale(), the adjoint of forward_real in the inner product that
  /// counts the columns 0 < l < W/2 twice.
  void inverse_real(Context& context, Complex* in, T* out) const;

  /// Columns that a spectrum stores: W, or W/2+1 of real images.
  int spectrum_columns() const;
  /// The order of spectra in filter() and spectrum(): that in which the device has them when a transform
  /// ends.
  virtual SpectrumOrder order() const = 0;

  /// out = F^-1 (pass of F in) for the active images, both transforms unnormalised. Images are planes of real
  /// and imaginary parts [n][2][H][W], or [n][H][W] for the kind real_to_complex, n = images times coils of
  /// the pass; `out` may be `in`. On a CPU the pass works on columns between their transforms, which spares
  /// two passes over the spectrum. `pass.x` is not looked at.
  void filter(Context& context, const T* in, T* out, kernels::SpectrumArgs<T> pass) const;
  /// Spectra of planar images, in order(), unnormalised: those of the active images on a CPU, else all.
  void spectrum(Context& context, const kernels::SpectrumArgs<T>& batch, const T* in, Complex* out) const;

 protected:
  Fft(Context& context, const FftShape& shape, FftKind kind);

 private:
  virtual void run_filter(Context& context, const T* in, T* out,
                          const kernels::SpectrumArgs<T>& pass) const = 0;
  virtual void run_spectrum(Context& context, const kernels::SpectrumArgs<T>& batch, const T* in,
                            Complex* out) const = 0;
  virtual void run_complex(Context& context, const Complex* in, Complex* out, bool forward) const = 0;
  virtual void run_forward_real(Context& context, const T* in, Complex* out) const = 0;
  virtual void run_inverse_real(Context& context, Complex* in, T* out) const = 0;
  void require(Context& context, FftKind kind, const char* call) const;

  const Context::Impl* context_;
  FftShape shape_;
  FftKind kind_;
};

/// Plans the transforms on the device of the context. Allocates the work area of the plan (CUDA) and may wait
/// for the device. T is float or double. Throws ShapeError for sizes that are not positive, DeviceError when
/// the device library has no plan.
template <class T>
std::unique_ptr<Fft<T>> make_fft(Context& context, const FftShape& shape, FftKind kind);

/// The back ends of make_fft: FFTW, and the library of a CUDA device.
template <class T>
std::unique_ptr<Fft<T>> make_cpu_fft(Context& context, const FftShape& shape, FftKind kind);
template <class T>
std::unique_ptr<Fft<T>> make_library_fft(Context& context, const FftShape& shape, FftKind kind);

}  // namespace v0
}  // namespace bilevel
