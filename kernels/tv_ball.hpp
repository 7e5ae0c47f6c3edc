#pragma once

// What one pixel contributes to the directional bounds of total variation (TvBoundArgs).

#include "kernels/error_ball.hpp"
#include "kernels/tv_tile.hpp"

namespace bilevel::kernels::BILEVEL_BACKEND {

template <class T, class Rho>
struct TvBall {
  Rho rho;
  T nu, radius, alpha, energy, floor, stiffness;
  bool one_component;

  /// `args` of TvBoundArgs or JointTvBoundArgs.
  template <class Args>
  BILEVEL_HD static TvBall around(const Args& args, int image, bool one_component) {
    const double eps = args.epsilon[image];
    const ErrorBall error(eps, args.gradient[image], args.mu);
    const double outward = 1 + 2e-6, inward = 1 - 2e-6;
    return {Rho(args.model.nu),
            T(args.model.nu),
            T(args.row_bound * eps * outward),
            T(args.model.alpha),
            T(maximum(error.energy * outward, 1e-36)),
            T(0.5 / args.norm2 * inward),
            T(0.5 * args.model.alpha * error.softness * inward),
            one_component};
  }

  /// z2, g2, h2: the squares of |z|, |Kq|, |Kv|; `w` becomes 1/W.
  BILEVEL_HD Sums<tv_bound_sums> operator()(T z2, T g2, T h2, double& w) const {
    const T r = std::sqrt(z2), g = std::sqrt(g2), h = std::sqrt(h2);
    const T d = pixel_radius(rho, r, radius, energy, alpha);
    T k, l;
    rho.profile(z2, d / nu, one_component, k, l);
    w = 1 / double(floor + stiffness * rho.softest(r + d));
    const double kg = double(k) * g, kh = double(k) * h, ag = double(l) * g, ah = double(l) * h, khg = kh * g;
    return {{ag * ag, double(g), khg * khg, ag * h, ah * ah, khg * khg * w, ag * ag * w, kg, kh, kg * w,
             kh * w, double(l) * w}};
  }
};

}  // namespace bilevel::kernels::BILEVEL_BACKEND
