#pragma once

// Arguments of the vector and Krylov kernels. `size` counts the elements of one image.

#include <cstddef>
#include <cstdint>

#include "bilevel/core/active.hpp"

namespace bilevel::kernels {

/// x <- x - step g + momentum (x - previous), previous <- old x: heavy ball; momentum 0 is gradient descent.
template <class T>
struct MomentumArgs {
  Active active;
  std::size_t size;  // elements per image
  T* x;
  T* previous;
  const T* g;
  double step, momentum;
};

/// The heavy-ball step, or for images with `guard` > 0 the extrapolated step with `step` and `momentum`.
template <class T>
struct GuardedArgs {
  MomentumArgs<T> heavy_ball;
  double step, momentum;
  const double* guard;
};

/// FISTA with momentum and gradient restart per image (O'Donoghue and Candes 2015), q = mu/L:
/// t <- t+(t), previous+ = x - step g, x = previous+ + m (previous+ - previous), m = (t - 1)/t+(t) (1 - q
/// t+(t))/(1 - q) with t+(t) = (1 - q t^2 + sqrt((1 - q t^2)^2 + 4 t^2))/2, m = 0 for q >= 1. An image with
/// <g, previous+ - previous> > 0 starts anew: t = 0, and its `restarted` is 1 (else 0).
template <class T>
struct RestartStepArgs {
  Active active;
  std::size_t size;
  T* x;
  T* previous;
  const T* g;
  double step, q;
  double* t;
  double* restarted;
};

/// x = previous for the images with `restarted` > 0.
template <class T>
struct RestartArgs {
  Active active;
  std::size_t size;
  T* x;
  const T* previous;
  const double* restarted;
};

/// Per-image state of conjugate gradients: arrays of one entry per image on the device.
struct CgState {
  double* rz;   // <r, z>
  double* rr;   // |r|^2 of the recurrence
  double* pap;  // <p, A p>
  double* beta;
  double* target;  // stop when |r| <= target
  double* slope;   // accumulates -<b, x>
  double* iterations;
  std::uint8_t* mask;
  double cap;
};

/// r = sign * source (when given), x = 0 when `zero`, p = z = D^{-1} r; sets rr and rz. Slope and iterations
/// start at what the caller gives.
template <class T>
struct CgStartArgs {
  Active active;
  std::size_t size;
  const T* source;
  double sign;
  const T* inverse_diagonal;  // null: no preconditioner
  bool zero;
  T* x;
  T* r;
  T* p;
  CgState state;
};

/// x += a p, r -= a Ap, a = rz/pap; then beta and the stop.
template <class T>
struct CgUpdateArgs {
  Active active;
  std::size_t size;
  const T* p;
  const T* product;
  const T* inverse_diagonal;
  T* x;
  T* r;
  CgState state;
};

/// p = D^{-1} r + beta p.
template <class T>
struct CgDirectionArgs {
  Active active;
  std::size_t size;
  const T* r;
  const T* inverse_diagonal;
  T* p;
  const double* beta;
};

/// r = b - product; |r|^2, |x|^2 and |b|^2 per image.
template <class T>
struct ResidualArgs {
  Active active;
  std::size_t size;
  const T* b;
  const T* product;
  const T* x;
  T* r;
  double* rr;
  double* xx;
  double* bb;
};

/// out = a x + b y with per-image factors a = scale_x * (factor_x ? factor_x[i] : 1), likewise b. y may be
/// null.
template <class T>
struct CombineArgs {
  Active active;
  std::size_t size;
  const T* x;
  const T* y;
  double scale_x, scale_y;
  const double* factor_x;
  const double* factor_y;
  T* out;
};

/// out[i] = <x_i, y_i>, or |x_i - y_i|^2 when `difference`.
template <class T>
struct DotArgs {
  Active active;
  std::size_t size;
  const T* x;
  const T* y;
  bool difference;
  double* out;
};

}  // namespace bilevel::kernels
