#pragma once

#include <span>

#include "bilevel/core/tensor.hpp"
#include "bilevel/ops/linear_operator.hpp"

namespace bilevel {
inline namespace v0 {

/// Differences across the edges of a reference image rho only (directional total variation, Ehrhardt and
/// Betcke 2016): at every pixel of every channel
///   K x = (I - zeta zeta^T) (Dx x, Dy x),  zeta = (Dx rho, Dy rho) / sqrt(eta^2 + |D rho|^2),
/// Dx and Dy forward differences to the right and down, zero over the border. Where rho has an edge, a jump
/// of x in the same direction costs nothing; where it has none, K is the gradient.
template <class T>
class BILEVEL_API ProjectedDifferences final : public LinearOperator<T> {
 public:
  /// `reference` [H,W], shared by the batch, or [N,H,W]. Throws ShapeError for another number of values,
  /// ConfigError for those that are not finite, and unless eta is positive and finite.
  ProjectedDifferences(Context& context, const Shape& images, std::span<const double> reference, double eta);

  Shape domain() const override { return images_; }
  Shape range() const override { return {images_.n, 2 * images_.c, images_.h, images_.w}; }
  void apply(Context&, const Active&, View<const T> x, View<T> z) const override;
  void adjoint(Context&, const Active&, View<const T> z, View<T> x) const override;
  double norm2() const override;  ///< of D: 8, 4 with one row or column; |I - zeta zeta^T| <= 1
  /// Differences round once, the projection seven times, zeta twice (to T); |D| <= sqrt 8.
  double rounding() const override { return 40; }

 private:
  void run(Context&, const Active&, View<const T> in, View<T> out, bool adjoint) const;
  Shape images_;
  Tensor<T> zeta_;  // [N,2,H,W]
};

}  // namespace v0
}  // namespace bilevel
