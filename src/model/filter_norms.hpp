#pragma once

#include <span>
#include <vector>

#include "bilevel/model/regularisers.hpp"

namespace bilevel {
inline namespace v0 {

/// Rigorous bounds of the correlations C_k with K filters of size x size taps, for images of any size that
/// the padding allows. They come from the filters' symbols on a grid of
/// frequencies; what the grid misses is covered by a lemma of M. Riesz: a real trigonometric polynomial of
/// degree n is at least cos(n d) times its maximum at distance d from it.
class FilterNorms {
 public:
  /// `filters` [K][size][size], row-major.
  FilterNorms(std::span<const double> filters, int size, FilterPadding padding);

  /// |C_k| <= operators()[k].
  const std::vector<double>& operators() const { return operators_; }
  /// Lambda >= |sum_k a_k C_k^T C_k| for weights a_k >= 0.
  double joint(std::span<const double> a) const;
  /// |e_d| = 2 for symmetric padding, 1 for valid: factor of the reflected image's norm.
  double extension() const { return padding_ == FilterPadding::symmetric ? 2 : 1; }

 private:
  struct Peaks;
  Peaks peaks(std::span<const double> a) const;
  double bound(const Peaks& peaks) const;

  std::size_t count_;
  int size_;
  FilterPadding padding_;
  std::vector<double> squares_;  // [K][6][grid points]: |symbol|^2 on two quarters, then the parity parts
  std::vector<double> operators_;
};

/// max over outputs of the norm of a row of C_k, folded at the borders of a height x width image for
/// symmetric padding: |(C_k e)_p| <= row_norms()[k] |e|.
std::vector<double> row_norms(std::span<const double> filters, int size, FilterPadding padding, int height,
                              int width);

}  // namespace v0
}  // namespace bilevel
