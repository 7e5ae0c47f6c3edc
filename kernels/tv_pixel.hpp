#pragma once

// What the tiled bodies of tv.cpp and the row-streaming overrides share: the flux of one pixel, and what the
// sums of an image become.

#include "kernels/block.hpp"
#include "kernels/tv_args.hpp"

namespace bilevel::kernels::BILEVEL_BACKEND {

/// rho and |psi|^2 of one pixel from its differences; flux = alpha psi.
template <class T, template <class> class Rho, bool isotropic>
struct EnergyPixel {
  Rho<T> rho;
  T alpha;

  BILEVEL_HD Sums<2> operator()(T zx, T zy, T& fx, T& fy) const {
    T value, wx, wy;
    if constexpr (isotropic) {
      rho.value_weight(zx * zx + zy * zy, value, wx);
      wy = wx;
    } else {
      T value_y;
      rho.value_weight(zx * zx, value, wx);
      rho.value_weight(zy * zy, value_y, wy);
      value += value_y;
    }
    const T px = wx * zx, py = wy * zy;
    fx = alpha * px;
    fy = alpha * py;
    return {{static_cast<double>(value), static_cast<double>(px * px + py * py)}};
  }
};

/// total = sums of rho, |psi|^2, |S(x-y)|^2, |x|^2, |grad|^2. Gives Phi, |grad|^2, and the rounding error of
/// the gradient, u (3|S(x-y)| + 4 xi|x| + 17 alpha |K| |psi|) with |K|^2 <= 8 (13 for charbonnier with exact
/// alpha and nu; 17 also covers huber_c2 and the conversion of alpha and nu, 4
/// that xi may be a product). In single precision the data were rounded, too: u|Sy| <= u (|S(x-y)| + |x|)
/// more.
template <class T>
BILEVEL_HD inline void finish_energy(const TvEnergyArgs<T>& a, int image, const double* total) {
  const TvModel& m = a.model;
  a.value[image] = 0.5 * total[2] + m.alpha * total[0] + 0.5 * m.xi * total[3];
  a.norm2[image] = total[4];
  constexpr double given = conversions<T>;
  const double distance = std::sqrt(total[2]), norm = std::sqrt(total[3]);
  const double rounding = (3 + given) * distance + (4 * m.xi + given) * norm +
                          17 * m.alpha * 2.8284271247461903 * std::sqrt(total[1]);
  a.rounding[image] = bound_where_finite(a.value[image], a.unit * rounding + a.underflow);
}

/// Flux M K p of one pixel.
template <class T, bool isotropic>
BILEVEL_HD inline void hessian_flux(T m11, T m22, T m12, T px, T py, T& fx, T& fy) {
  if constexpr (isotropic) {
    fx = m11 * px + m12 * py;
    fy = m12 * px + m22 * py;
  } else {
    fx = m11 * px;
    fy = m22 * py;
  }
}

}  // namespace bilevel::kernels::BILEVEL_BACKEND
