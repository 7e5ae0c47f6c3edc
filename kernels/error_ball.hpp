#pragma once

#include "kernels/math.hpp"

// What is known of the error e of an iterate where |e| <= epsilon and the energy is mu-strongly convex.

namespace bilevel::kernels::BILEVEL_BACKEND {

/// <e, A e> <= |grad| |e| along the segment, hence for a term of weight b with smallest curvature m
/// b m |(Ke)_p|^2 <= energy = max over |e| <= epsilon of |grad| |e| - mu |e|^2.
struct ErrorBall {
  double energy, softness;  ///< softness <= epsilon^2 / energy

  BILEVEL_HD ErrorBall(double epsilon, double gradient, double mu)
      : energy(gradient <= 2 * mu * epsilon ? gradient * gradient / (4 * mu)
                                            : (gradient - mu * epsilon) * epsilon),
        softness(energy * 4 > mu * epsilon * epsilon ? epsilon * epsilon / energy : 4 / mu) {}
};

/// Radius D >= |(Ke)_p|: at most `largest`, and weight m D^2 <= energy with m the smallest curvature within
/// D, which shrinks D at each turn because a smaller ball has a larger m.
template <class T, class Rho>
BILEVEL_HD inline T pixel_radius(const Rho& rho, T r, T largest, T energy, T weight) {
  constexpr T outward = sizeof(T) == 4 ? T(1 + 4e-6) : T(1 + 8e-15);
  T radius = largest;
  for (int turn = 0; turn < 3; ++turn) {
    const T stiff = maximum(weight * rho.softest(r + radius), T(1e-30));
    radius = minimum(radius, std::sqrt(energy / stiff) * outward);
  }
  return radius;
}

}  // namespace bilevel::kernels::BILEVEL_BACKEND
