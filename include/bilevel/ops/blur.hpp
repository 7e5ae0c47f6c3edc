#pragma once

#include <memory>
#include <vector>

#include "bilevel/ops/linear_operator.hpp"

namespace bilevel {
inline namespace v0 {

/// A kernel of a convolution, row-major, its centre at [height/2][width/2].
struct BILEVEL_API BlurKernel {
  int height = 1, width = 1;
  std::vector<double> values = {1};
};

/// exp(-(i^2 + j^2) / (2 sigma^2)) for |i|, |j| <= 4 sigma (rounded to the nearest integer), scaled to the
/// sum 1: the kernel of scipy.ndimage.gaussian_filter. Throws ConfigError unless 0 < sigma <= 1000.
BILEVEL_API BlurKernel gaussian_kernel(double sigma);

/// Convolution of every channel with a kernel of odd sizes, the image mirrored about the edges between pixels
/// (... 2 1 | 1 2 3 | 3 2 ...):
///   (A x)[r,c] = sum_{i,j} k[i,j] x[r - i + height/2, c - j + width/2],
/// as scipy.ndimage.convolve(mode="reflect"); numpy calls the border "symmetric". A = R C E: E mirrors the
/// image to a torus of 2H x 2W, C convolves there by Fourier transforms, R takes the image out. The adjoint
/// convolves the image among zeros with the flipped kernel and folds the mirror images back.
///
/// Two real Fourier transforms of 4HW points per channel, and 10 words of memory traffic per pixel beside
/// them.
template <class T>
class BILEVEL_API Blur : public LinearOperator<T> {
 public:
  /// Throws ConfigError for kernels that are of even size or not finite, ShapeError for kernels larger than
  /// the image, with other than height width values, and for batches too large. Plans transforms for this
  /// context, which must outlive the operator (allocates); others are refused with ConfigError.
  Blur(Context& context, const Shape& images, const BlurKernel& kernel);
  ~Blur() override;

  Shape domain() const override;
  Shape range() const override;
  void apply(Context&, const Active&, View<const T> x, View<T> z) const override;
  void adjoint(Context&, const Active&, View<const T> z, View<T> x) const override;
  /// The smaller one of sum|k| times the largest column sum of |A| (Schur's test; the row sums are at most
  /// sum|k|), and 4 max |k^|^2 (|E| = 2, |R| = 1). Sharp for kernels that are symmetric in rows and in
  /// columns and not negative.
  double norm2() const override;
  /// 2 max|k^| (20 log2(4HW) + 9), and what the rounding of k^ adds: two transforms with |error| <= 10
  /// log2(n) u |x|, the product of spectra (6 u), the sum of mirror images (3 u), and |E| = 2.
  double rounding() const override;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace v0
}  // namespace bilevel
