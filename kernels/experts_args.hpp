#pragma once

// Arguments of the fields-of-experts kernels. C_k correlates with filter k; padding `symmetric` reflects the
// image about its edges, edge pixels repeated, by (size-1)/2, `valid` has (H-size+1) x (W-size+1) responses.
// Images have C channels that the filters do not mix: sums of an image are over all of them.
// Maps (one value per response) are [N][C][K][H][W]; valid ones fill the upper left corner of each plane, the
// rest is neither read nor written.

#include <cstddef>
#include <cstdint>

#include "bilevel/core/active.hpp"
#include "kernels/potential.hpp"

namespace bilevel::kernels {

enum class Padding : int { symmetric = 0, valid = 1 };

inline constexpr int most_filters = 64;
inline constexpr int largest_filter = 11;

/// sum_c sum_k b_k sum_p rho_{nu_k}((C_k x_c)_p) + mu/2 |x|^2 on images of height x width pixels.
template <class T>
struct ExpertsModel {
  int height = 0, width = 0;
  int filters = 0;  // K
  int size = 0;     // of a filter: 3, 5, 7, 9 or 11
  Padding padding = Padding::symmetric;
  Potential potential = Potential::charbonnier;
  T mu = 0;
  const T* taps = nullptr;       // device, [K][size][size]
  const T* weight = nullptr;     // device, [K]: b_k
  const T* smoothing = nullptr;  // device, [K]: nu_k
  int channels = 1;
};

/// gradient = S (x - y) + mu x + sum_k b_k C_k^T psi(C_k x); without y, terms that are complete in
/// `gradient`, `value`, `norm2` and `rounding` instead of S (x - y).
template <class T>
struct ExpertsEnergyArgs {
  ExpertsModel<T> model;
  Active active;
  const T* x;
  const T* y;
  T* gradient;
  double* value;     // Phi_i
  double* norm2;     // |grad Phi_i|^2
  double* rounding;  // of the gradient: experts_finish.hpp
  double unit;       // unit roundoff of T; 0: the caller certifies elsewhere
  double rounding_x;
  const double* rounding_psi;   // device, [K]
  double underflow = 0;         // what underflow adds to the bound (src/model/underflow.hpp)
  const T* sampling = nullptr;  // S, [H][W] of 0 and 1; null: the identity
};

/// maps = b (w - kappa t zeta), zeta the dual field; b phi'' without: the Hessian is
/// S + mu I + sum_k C_k^T maps_k C_k. inverse_diagonal is set to 1: no preconditioner; null: not.
template <class T>
struct ExpertsLineariseArgs {
  ExpertsModel<T> model;
  Active active;
  const T* x;
  const float* dual;  // maps; null: the exact Hessian
  T* maps;
  T* inverse_diagonal;
};

template <class T>
struct ExpertsHessianArgs {
  ExpertsModel<T> model;
  Active active;
  const T* maps;
  const T* p;
  T* product;
  double* inner;     // <p, A p> per image
  bool add = false;  // to mu p and what is there, instead of S p + mu p
  const T* sampling = nullptr;
};

/// zeta <- projection of w (t + step C d) - kappa t (step C d) zeta to [-1,1]; without d: zeta <- psi(t).
template <class T>
struct ExpertsDualArgs {
  ExpertsModel<T> model;
  Active active;
  const T* x;
  const T* d;
  const double* step;
  float* dual;  // maps
};

/// With t = C_k x, u = C_k q: rows of one double per image and filter, sums[row * K * n + k * n + image]:
/// row 0: <u, psi>, row 1: <u, w_nu t>, row 2 + tap: <S_tap q, psi> + <S_tap x, phi'' u>, S_tap the shift
/// that picks a tap of every patch. Factors b_k are left to the caller.
template <class T>
struct ExpertsMixedAdjointArgs {
  ExpertsModel<T> model;
  Active active;
  const T* x;
  const T* q;
  double* sums;  // [2 + size^2][K][n]
  int n;
};

/// out = sum_k C_k^T b_k (weight_k psi + smoothing_k w_nu t + phi'' C'_k x) + C'_k^T b_k psi, C' correlating
/// with the tap directions, and its squared norm: B applied to a direction of (beta, gamma, filters).
template <class T>
struct ExpertsMixedForwardArgs {
  ExpertsModel<T> model;
  Active active;
  const T* x;
  const T* taps;       // device, [K][size][size]
  const T* weight;     // device, [K]
  const T* smoothing;  // device, [K]
  T* out;
  double* norm2;
  bool add = false;  // to what is there
};

/// patches_p = |patch_p(x)|^2 over the size x size neighbourhood of every response, or the sum of squared
/// deviations from the patch's mean when `centred`: [N][C][H][W].
template <class T>
struct ExpertsPatchesArgs {
  ExpertsModel<T> model;
  Active active;
  const T* x;
  bool centred;
  T* patches;
};

/// Sums of the directional error bounds (src/model/experts_constants.hpp derives them), per image and filter,
/// out[row * K * n + k * n + image], rounded outwards but for rows 1 and 2: t = C_k x, g = |C_k q|,
/// h = |C_k v|; profile K, local curvature a (1/nu included), smallest curvature m over |t' - t| <= D;
/// D <= row_bound_k epsilon, b_k m D^2 <= energy; W = 1/(2 Lambda) + softness nu_k m / 2; patches X, Q.
/// Rows 0..14: psi^2, (w_nu t)^2, phi''^2 X, (a g)^2, g, a^2 Q, (K g)^2 X, (a h)^2, (K h g)^2, a h g,
/// (K h g)^2/W, (a g)^2/W, a^2 Q/W, (K g)^2 X/W, x^2 (over the image, the same for every k).
/// Rows 15..22, maxima: K g, K h, K g/W, K h/W, a, a/W, K, X.
inline constexpr int experts_bound_sums = 23;
inline constexpr int experts_bound_maxima = 8;
template <class T>
struct ExpertsBoundArgs {
  ExpertsModel<T> model;
  Active active;
  const T* x;
  const T* q;
  const T* v;  // null: h = 0
  const T* patches_x;
  const T* patches_q;
  const double* epsilon;    // |e| <= epsilon
  const double* gradient;   // |grad Phi(x)|
  double mu;                // strong convexity of Phi
  double norm2;             // Lambda >= |sum_k b_k/nu_k C_k^T C_k|
  const double* row_bound;  // device, [K]: |(C_k e)_p| <= row_bound_k |e|
  double* out;              // [23][K][n]
  int n;
};

}  // namespace bilevel::kernels
