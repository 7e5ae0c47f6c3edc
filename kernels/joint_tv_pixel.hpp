#pragma once

// What the tiled bodies of joint_tv.cpp and the row-streaming overrides share: the weight and the flux of one
// pixel, and what the sums of an image become.

#include "kernels/block.hpp"
#include "kernels/joint_tv_args.hpp"
#include "kernels/math.hpp"

namespace bilevel::kernels::BILEVEL_BACKEND {

/// rho and |psi|^2 of one pixel from the squared modulus of its differences; psi / z = weight / alpha.
template <class T, class Rho>
BILEVEL_HD inline Sums<2> joint_weight(const Rho& rho, T alpha, T modulus2, T& weight) {
  T value, w;
  rho.value_weight(modulus2, value, w);
  weight = alpha * w;
  return {{double(value), double(w * w * modulus2)}};
}

/// total = sums of rho, |psi|^2, |x|^2, |grad|^2. Rounding: 21 u alpha |K| |psi|
/// for moduli of up to four differences, 3 u xi |x|, and those of the transforms, which cover the conversion
/// of maps, weights and data; that of xi is one more.
template <class T>
BILEVEL_HD inline void finish_joint_gradient(const JointTvGradientArgs<T>& a, int image,
                                             const double* total) {
  double residual = 0, weighted = 0, parts = 0;
  for (int coil = 0; coil < a.coils; ++coil) {
    const double* d = a.data + 3 * coil * a.n + image;
    residual += d[0];
    weighted += d[a.n];
    parts += d[2 * a.n];
  }
  const double norm_x = std::sqrt(total[2]);
  a.value[image] = 0.5 * residual + a.model.alpha * total[0] + 0.5 * a.model.xi * total[2];
  a.norm2[image] = total[3];
  const double rounding = (3 + conversions<T>)*a.model.xi * norm_x +
                          21 * a.model.alpha * 2.8284271247461903 * std::sqrt(total[1]) +
                          a.transform * (a.weight_norm * norm_x + a.coil_norm * std::sqrt(weighted)) +
                          (4 + 2 * a.coils) * a.coil_norm * std::sqrt(parts);
  a.rounding[image] = bound_where_finite(a.value[image], a.unit * rounding + a.underflow);
}

/// w, kappa z and zeta at a place of an image (JointTvLineariseArgs::weights), x-components first.
template <class T, int C>
struct JointPlanes {
  const T* w;
  const T* a[2 * C];
  const T* zeta[2 * C];

  BILEVEL_HD JointPlanes(const T* weights, const TvModel& m, int n) {
    const long long size = static_cast<long long>(m.height) * m.width;
    const auto plane = [=](int k) { return weights + (k / C) * size * C * n + (k % C) * size; };
    w = plane(0);
    for (int k = 0; k < 2 * C; ++k) {
      a[k] = plane(1 + k);
      zeta[k] = plane(1 + 2 * C + k);
    }
  }
  /// <kappa z, Kp>/2 and <zeta, Kp>/2 of pixel o.
  template <class Index>
  BILEVEL_HD void turn(Index o, const T (&px)[C], const T (&py)[C], T& along, T& across) const {
    along = 0;
    across = 0;
    BILEVEL_UNROLL
    for (int l = 0; l < C; ++l) {
      along += a[l][o] * px[l] + a[C + l][o] * py[l];
      across += zeta[l][o] * px[l] + zeta[C + l][o] * py[l];
    }
    along *= T(0.5);
    across *= T(0.5);
  }
  /// Component k of M K p at pixel o.
  template <class Index>
  BILEVEL_HD void flux(Index o, int k, T px, T py, T along, T across, T& fx, T& fy) const {
    fx = w[o] * px - (a[k][o] * across + zeta[k][o] * along);
    fy = w[o] * py - (a[C + k][o] * across + zeta[C + k][o] * along);
  }
};

}  // namespace bilevel::kernels::BILEVEL_BACKEND
