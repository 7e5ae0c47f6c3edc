#pragma once

// Potentials rho with smoothing nu, and the pieces of their derivatives, as functions of r2 = |t|^2.
//   gradient   psi = w t
//   Hessian    w I - kappa sym(t psi^T), kappa = w1 / w      (w1 of the usual form w I - w1 t t^T)
//   d psi / d ln nu = w_nu t
// The profile K and the local curvature a bound the Hessian's change and size over |t' - t| <= delta nu.

#include <cmath>
#include <type_traits>
#include <utility>

#include "kernels/potential.hpp"

// Marks what runs where the kernels of this back end run.
#ifdef __CUDACC__
#define BILEVEL_HD __device__
#else
#define BILEVEL_HD
#endif
// Before a loop over the components of an image, which both compilers shall unroll, each by its own pragma.
#ifdef __CUDACC__
#define BILEVEL_UNROLL _Pragma("unroll")
#else
#define BILEVEL_UNROLL _Pragma("GCC unroll 8")
#endif

// Before a function or behind the parameters of a lambda that loops over pixels must have inline, to be
// vectors on a CPU.
#ifdef __CUDACC__
#define BILEVEL_PIXEL __device__ __forceinline__
#define BILEVEL_PIXEL_LAMBDA
#else
#define BILEVEL_PIXEL [[gnu::always_inline]] inline
#define BILEVEL_PIXEL_LAMBDA __attribute__((always_inline))
#endif

namespace bilevel::kernels::BILEVEL_BACKEND {

/// f(0), ..., f(N - 1) as constants.
template <int N, class F>
BILEVEL_PIXEL void unrolled(F f) {
  [&f]<int... I>(std::integer_sequence<int, I...>) BILEVEL_PIXEL_LAMBDA {
    (f(std::integral_constant<int, I>{}), ...);
  }
  (std::make_integer_sequence<int, N>{});
}

/// 1 - 8u: covers the rounding of t before a difference is taken of it.
template <class T>
inline constexpr T below_one = sizeof(T) == 4 ? T(1) - T(4.8e-7) : T(1) - T(9e-16);

/// 16u: added to 1 in the diagonal of a Hessian whose exact value may be 0, so that rounding leaves it
/// semidefinite.
template <class T>
inline constexpr T lift = sizeof(T) == 4 ? T(9.6e-7) : T(1.8e-15);

/// Roundings of a number that was given in double before the kernels see it: data, parameters.
template <class T>
inline constexpr double conversions = sizeof(T) == 4 ? 1 : 0;

/// `bound` of a gradient whose energy is `value`, infinite where the value is not finite: a potential that
/// overflowed has no gradient left.
BILEVEL_HD inline double bound_where_finite(double value, double bound) {
  return std::fabs(value) < HUGE_VAL ? bound : HUGE_VAL;
}

template <class T>
BILEVEL_HD inline T maximum(T a, T b) {
  return a < b ? b : a;
}
template <class T>
BILEVEL_HD inline T minimum(T a, T b) {
  return b < a ? b : a;
}

/// rho = sqrt(r^2 + nu^2).
template <class T>
struct Charbonnier {
  static constexpr Potential kind = Potential::charbonnier;
  T nu, nu2;
  BILEVEL_HD explicit Charbonnier(double smoothing) : nu(T(smoothing)), nu2(T(smoothing) * T(smoothing)) {}

  BILEVEL_HD void value_weight(T r2, T& value, T& w) const {
    value = std::sqrt(r2 + nu2);
    w = T(1) / value;
  }
  BILEVEL_HD void hessian(T r2, T& w, T& kappa) const {
    w = T(1) / std::sqrt(r2 + nu2);
    kappa = w * w;
  }
  BILEVEL_HD void weight_nu(T r2, T& w, T& w_nu) const {
    w = T(1) / std::sqrt(r2 + nu2);
    w_nu = -nu2 * w * w * w;
  }
  /// Smallest eigenvalue of the Hessian at modulus r: radial, nu^2 / s^3.
  BILEVEL_HD T softest(T r) const {
    const T w = T(1) / std::sqrt(r * r + nu2);
    return nu2 * w * w * w;
  }
  /// K: largest of 3t(1+t^2)^{-5/2} (t <= 1/sqrt 2 or one component), 2/sqrt 3 (1+t^2)^{-1} (beyond) over
  /// [t - delta, t + delta], both rising to t = 1/2 and falling after; a = (1 + (t - delta)_+^2)^{-1/2} / nu.
  BILEVEL_HD void profile(T r2, T delta, bool one_component, T& k, T& a) const {
    const T t = std::sqrt(r2) / nu;
    const T low = maximum(t * below_one<T> - delta, T(0)), high = t + delta;
    const T at = low > T(0.5) ? low : minimum(high, T(0.5));
    const T q = T(1) / (T(1) + at * at);
    const T inner = T(3) * at * q * q * std::sqrt(q);
    k = (one_component || at * at <= T(0.5)) ? inner : T(1.1547005383792517) * q;
    a = T(1) / (nu * std::sqrt(T(1) + low * low));
  }
};

/// rho = r^2/nu - r^3/(3 nu^2) for r <= nu, r - nu/3 beyond.
template <class T>
struct HuberC2 {
  static constexpr Potential kind = Potential::huber_c2;
  T nu, inv;
  BILEVEL_HD explicit HuberC2(double smoothing) : nu(T(smoothing)), inv(T(1) / T(smoothing)) {}

  BILEVEL_HD void value_weight(T r2, T& value, T& w) const {
    const T r = std::sqrt(r2), tau = r * inv;
    const bool inside = r <= nu;
    value = inside ? r2 * inv * (T(1) - tau / T(3)) : r - nu / T(3);
    w = inside ? inv * (T(2) - tau) : T(1) / maximum(r, nu);
  }
  BILEVEL_HD void hessian(T r2, T& w, T& kappa) const {
    const T r = std::sqrt(r2);
    const bool inside = r <= nu;
    w = inside ? inv * (T(2) - r * inv) : T(1) / maximum(r, nu);
    const T tiny = nu * T(1e-18);  // kappa t psi^T -> 0 as r -> 0
    kappa = inside ? T(1) / (maximum(r, tiny) * (T(2) * nu - minimum(r, nu))) : T(1) / maximum(r2, nu * nu);
  }
  BILEVEL_HD void weight_nu(T r2, T& w, T& w_nu) const {
    const T r = std::sqrt(r2), tau = r * inv;
    const bool inside = r <= nu;
    w = inside ? inv * (T(2) - tau) : T(1) / maximum(r, nu);
    w_nu = inside ? T(2) * inv * (tau - T(1)) : T(0);
  }
  BILEVEL_HD T softest(T r) const { return maximum(T(2) * inv * (T(1) - r * inv), T(0)); }
  BILEVEL_HD void profile(T r2, T delta, bool, T& k, T& a) const {
    const T tau = maximum(std::sqrt(r2) * inv * below_one<T> - delta, T(0));
    const T outside = T(1) / maximum(tau, T(1));
    k = tau < T(1) ? T(2) : T(1.1547005383792517) * outside * outside;
    a = inv * (tau <= T(1) ? maximum(T(2) - tau, T(0)) : outside);
  }
};

/// rho = r^2/2, without nu.
template <class T>
struct Quadratic {
  static constexpr Potential kind = Potential::quadratic;
  BILEVEL_HD explicit Quadratic(double) {}

  BILEVEL_HD void value_weight(T r2, T& value, T& w) const {
    value = T(0.5) * r2;
    w = T(1);
  }
  BILEVEL_HD void hessian(T, T& w, T& kappa) const {
    w = T(1);
    kappa = T(0);
  }
  BILEVEL_HD void weight_nu(T, T& w, T& w_nu) const {
    w = T(1);
    w_nu = T(0);
  }
  BILEVEL_HD T softest(T) const { return T(1); }
  BILEVEL_HD void profile(T, T, bool, T& k, T& a) const {
    k = T(0);
    a = T(1);
  }
};

}  // namespace bilevel::kernels::BILEVEL_BACKEND
