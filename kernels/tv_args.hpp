#pragma once

// Arguments of the smoothed total variation kernels.

#include <cstddef>
#include <cstdint>

#include "bilevel/core/active.hpp"
#include "kernels/tv_model.hpp"

namespace bilevel::kernels {

/// Phi = 1/2 |S(x-y)|^2 + alpha R_nu(x) + xi/2 |x|^2; S null means the identity, else a 0/1 image shared by
/// the batch.
template <class T>
struct TvEnergyArgs {
  TvModel model;
  Active active;
  const T* x;
  const T* y;
  const T* sampling;
  T* gradient;
  double* value;         // Phi_i
  double* norm2;         // |grad Phi_i|^2
  double* rounding;      // bound on the norm of the gradient's rounding error (tv_pixel.hpp)
  double unit;           // unit roundoff of T
  double underflow = 0;  // what underflow adds to the bound (src/model/underflow.hpp)
};

/// Per-pixel weights M (alpha included) of the Hessian K^T M K, or of the primal-dual matrix when `dual` is
/// given.
template <class T>
struct TvLineariseArgs {
  TvModel model;
  Active active;
  const T* x;
  const T* sampling;
  const float* dual_x;  // null: the exact Hessian
  const float* dual_y;
  T* m11;
  T* m22;
  T* m12;  // null when anisotropic
  T* inverse_diagonal;
};

template <class T>
struct TvHessianArgs {
  TvModel model;
  Active active;
  const T* m11;
  const T* m22;
  const T* m12;
  const T* sampling;
  const T* p;
  T* product;
  double* inner;  // <p, A p> per image
};

/// zeta <- projection of w (z + t Kd) - kappa <z, t Kd> zeta to the unit ball; without d: zeta <- psi(z).
template <class T>
struct TvDualArgs {
  TvModel model;
  Active active;
  const T* x;
  const T* d;
  const double* step;
  float* dual_x;
  float* dual_y;
};

/// sums[0] = sum w <z,Kq>, sums[1] = sum w_nu <z,Kq>, sums[2] = <x,q>: three arrays of one double per image.
template <class T>
struct TvMixedAdjointArgs {
  TvModel model;
  Active active;
  const T* x;
  const T* q;
  double* weight;
  double* smoothing;
  double* ridge;
};

/// out = K^T (weight w + smoothing w_nu) z + ridge x, and its squared norm.
template <class T>
struct TvMixedForwardArgs {
  TvModel model;
  Active active;
  const T* x;
  double weight, smoothing, ridge;
  T* out;
  double* norm2;
};

/// Sums of the directional error bounds (src/model/tv_constants.hpp derives them) with g = |Kq|, h = |Kv| per
/// pixel (per component when anisotropic), profiles K, a and smallest curvature m over |z' - z| <= D_p, and
/// weights W = 1/(2|K|^2) + stiffness m / 2, so that sum W |Ke|^2 <= epsilon^2. v may be null.
template <class T>
struct TvBoundArgs {
  TvModel model;
  Active active;
  const T* x;
  const T* q;
  const T* v;
  const double* epsilon;   // |e| <= epsilon
  const double* gradient;  // |grad Phi(x)|
  double mu;
  double row_bound;  // r_K: |(Ke)_p| <= r_K epsilon
  double norm2;      // |K|^2
  double* out;  // [12][n]: |a g|^2, sum g, |K h g|^2, sum a h g, |a h|^2, sum (K h g)^2/W, sum (a g)^2/W;
                // maxima of K g, K h, K g/W, K h/W, a/W
  int n;
};

}  // namespace bilevel::kernels
