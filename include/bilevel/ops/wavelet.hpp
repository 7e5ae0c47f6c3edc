#pragma once

#include <string>

#include "bilevel/ops/linear_operator.hpp"

namespace bilevel {
inline namespace v0 {

/// Daubechies' orthogonal filters of extremal phase by their names in PyWavelets, dbN with N vanishing
/// moments and 2N taps.
enum class WaveletFilter { haar, db2, db4 };
/// "haar", "db2", "db4". Throws ConfigError for another name.
BILEVEL_API WaveletFilter wavelet_filter(const std::string& name);
BILEVEL_API const char* name_of(WaveletFilter filter);

struct BILEVEL_API WaveletOptions {
  WaveletFilter filter = WaveletFilter::db2;
  int levels = 3;                   ///< at most; fewer where a side is not divisible by 2^levels
  bool keep_approximation = false;  ///< the coarsest averages are seldom to be penalised

  void validate() const;  ///< ConfigError for fewer than 1 level
};

/// W, the orthogonal wavelet transform of every channel (of complex images: real and imaginary parts),
/// periodic at the border, of several levels:
///   a_k = sum_i h_i x_{2k+i-s},  d_k = sum_i g_i x_{2k+i-s},  g_i = (-1)^i h_{L-1-i},  s = L/2 - 1,
/// along rows and columns, then again of the approximation. Coefficients have the shape of the image
/// (Mallat's layout): the approximation in the top left corner [0, H/2^levels) x [0, W/2^levels), and beside
/// each approximation the details along axis 1 (right), axis 0 (below) and both (below right), which
/// PyWavelets calls vertical, horizontal and diagonal: coeffs_to_array of wavedec2(mode="periodization").
/// A side of 1 is left as it is: a signal [1,N] or [N,1] has a one-dimensional transform.
///
/// W^T W = I, so the adjoint is the inverse. Without keep_approximation the approximation is left out: those
/// entries of W x are zero and the adjoint takes them as zero; least2() is then 0.
///
/// One launch a level; 8/3 words of memory traffic per pixel. (I. Daubechies, Ten Lectures on Wavelets, 1992,
/// table 6.1; S. Mallat, A Wavelet Tour of Signal Processing, section 7.7.)
template <class T>
class BILEVEL_API Wavelet : public LinearOperator<T> {
 public:
  /// Throws ShapeError for sides that allow no level, ConfigError for options that do not validate.
  explicit Wavelet(const Shape& images, const WaveletOptions& options = {});
  ~Wavelet() override;

  /// Largest k such that 2^k divides both sides, sides of 1 apart; 0: no transform.
  static int possible_levels(const Shape& images);
  int levels() const { return levels_; }
  const WaveletOptions& options() const { return options_; }
  /// Height and width of the approximation.
  Shape approximation() const;

  Shape domain() const override { return shape_; }
  Shape range() const override { return shape_; }
  void apply(Context&, const Active&, View<const T> x, View<T> z) const override;
  void adjoint(Context&, const Active&, View<const T> z, View<T> x) const override;
  /// A copy where the approximation is kept.
  void normal(Context&, const Active&, View<const T> x, View<T> out) const override;
  double norm2() const override { return 1; }
  double least2() const override { return options_.keep_approximation ? 1 : 0; }
  /// levels times passes (2, of signals 1) times (L+1) sum|h|: an output of a pass is a sum of L products
  /// with rounded taps, |error| <= (L+1) u sum_i |h_i x_i|, and the matrix of absolute values has row and
  /// column sums, so a norm of at most, sum|h|. Passes are orthogonal, so the errors add.
  double rounding() const override;

 private:
  Shape shape_;
  WaveletOptions options_;
  int levels_;
};

}  // namespace v0
}  // namespace bilevel
