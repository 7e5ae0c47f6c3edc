#pragma once

#include <complex>
#include <memory>
#include <span>

#include "bilevel/core/scalars.hpp"

namespace bilevel {
inline namespace v0 {

/// Coil sensitivities [coils][H][W] of a parallel acquisition; empty: one coil of sensitivity 1.
struct BILEVEL_API CoilMaps {
  int coils = 1;
  std::span<const std::complex<double>> values = {};
};

/// E = S F sigma: coil sensitivities, unitary two-dimensional Fourier transform, diagonal sampling
/// (s_j multiplies frequency j). Images are [N,1,H,W] (real) or [N,2,H,W] (complex: real and imaginary
/// planes, inner product Re <a,b>); k-space is [N,2 coils,H,W], the planes of each coil in turn, zero
/// frequency at [0,0]. Functions that take a Context only enqueue, but for set_sampling; they throw
/// ShapeError for arrays of other shapes and ConfigError for those that are not of the context.
template <class T>
class BILEVEL_API FourierSampling {
 public:
  /// Throws ShapeError for images with other than 1 or 2 components or maps of another size, ConfigError for
  /// maps that are not finite. Plans the transforms (allocates).
  FourierSampling(Context& context, const Shape& images, const CoilMaps& maps = {});
  ~FourierSampling();

  Shape images() const;
  Shape kspace() const;
  int coils() const;
  /// Smallest and largest sum over the coils of |sigma|^2 at a pixel.
  double least_coil_power() const;
  double most_coil_power() const;

  /// The diagonal of S, H W entries; 1 at first. Throws ShapeError for another number, ConfigError when not
  /// finite or negative. Uploads.
  void set_sampling(Context& context, std::span<const double> s);
  /// |E|^2 <= this: max s^2 times most_coil_power().
  double norm2() const;

  void apply(Context&, const Active&, View<const T> x, View<T> kspace) const;    ///< S F sigma x
  void adjoint(Context&, const Active&, View<const T> kspace, View<T> x) const;  ///< sigma^* F^* S y
  /// E^* E x = sigma^* F^* S^2 F sigma x, the transforms fused with the weights.
  void normal(Context&, const Active&, View<const T> x, View<T> out) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace v0
}  // namespace bilevel
