#pragma once

// Arguments of the kernels of analysis regularisers R(x) = sum over pixels and groups of rho_nu(|(K x)_g|), K
// a difference operator of kernels/stencils.hpp. Images are [N,C,H,W], the same K on each of the C
// channels.

#include "bilevel/core/active.hpp"
#include "kernels/analysis_model.hpp"

namespace bilevel::kernels {

/// The gradient of data term, regulariser and ridge. The data term is 1/2 |S(x - y)|^2, or one whose gradient
/// is in `gradient` and whose sums are in `data`; without `data`, terms that are complete in `gradient`,
/// `value`, `norm2` and `rounding`.
template <class T>
struct AnalysisGradientArgs {
  AnalysisModel model;
  Active active;
  const T* x;
  const T* y;         // null: another data term
  const T* sampling;  // S, 0/1 [H,W] shared by the batch; null: 1
  T* gradient;
  double* value;                 // Phi_i
  double* norm2;                 // |grad Phi_i|^2
  double* rounding;              // bound on the norm of the gradient's rounding error (analysis_pixel.hpp)
  double unit;                   // unit roundoff of T
  double underflow = 0;          // what underflow adds to the bound (src/model/underflow.hpp)
  const double* data = nullptr;  // [coils][3][n]: what SpectrumPass::gradient wrote; null: see above
  int coils = 1;
  int n = 1;
  double transform = 0;    // 10 log2(H W): rounding of a transform relative to its norm, in units
  double weight_norm = 0;  // largest weight times largest coil power
  double coil_norm = 1;    // square root of the largest coil power
};

/// The Hessian's weights at x, or those of the primal-dual matrix when `dual` is given, alpha included, and
/// the inverse of the diagonal of K^T M K + xi + data.
template <class T>
struct AnalysisLineariseArgs {
  AnalysisModel model;
  Active active;
  int n;
  const T* x;
  const float* dual;  // null: the exact Hessian
  T* weights;
  T* inverse_diagonal;
  double data = 1;              // diagonal of the data term, times
  const T* data_map = nullptr;  // [H,W], or null: 1
  const T* before = nullptr;    // inverse diagonals of the terms before instead of data; not inverse_diagonal
};

/// product = A p: with `add` beside that of a data term which is there already, else with S.
template <class T>
struct AnalysisHessianArgs {
  AnalysisModel model;
  Active active;
  int n;
  const T* weights;
  const T* p;
  T* product;
  double* inner;  // <p, A p> per image
  bool add = false;
  const T* sampling = nullptr;
};

/// zeta <- projection of w (z + t Kd) - kappa <z, t Kd> zeta to the unit ball; without d: zeta <- psi(z).
template <class T>
struct AnalysisDualArgs {
  AnalysisModel model;
  Active active;
  int n;
  const T* x;
  const T* d;
  const double* step;
  float* dual;
};

/// sum w <z,Kq>, sum w_nu <z,Kq> and <x,q>: three arrays of one double per image. Of the generalised stencil
/// those of D x - v and the same of E v, with <v,q>.
template <class T>
struct AnalysisMixedAdjointArgs {
  AnalysisModel model;
  Active active;
  const T* x;
  const T* q;
  double* weight;
  double* smoothing;
  double* ridge;
  double* field[3] = {};
};

/// out = K^T (weight w + smoothing w_nu) z + ridge x, with `add` beside what is there, and its squared norm.
template <class T>
struct AnalysisMixedForwardArgs {
  AnalysisModel model;
  Active active;
  const T* x;
  double weight, smoothing, ridge;
  T* out;
  double* norm2;
  bool add = false;
  double field_weight = 0, field_smoothing = 0, field_ridge = 0;  // of E v and v
};

/// Sums of the directional error bounds (src/model/tv_constants.hpp derives them) with g = |Kq|, h = |Kv| per
/// group, profiles K, a and smallest curvature m over |z' - z| <= D, and weights W = 1/(2|K|^2) + stiffness m
/// / 2, so that sum W |Ke|^2 <= epsilon^2.
inline constexpr int analysis_bound_sums = 15, analysis_bound_maxima = 5;
template <class T>
struct AnalysisBoundArgs {
  AnalysisModel model;
  Active active;
  const T* x;
  const T* q;
  const T* v;              // may be null
  const double* epsilon;   // |e| <= epsilon
  const double* gradient;  // |grad Phi(x)|
  double mu;
  double row_bound;  // r_K: |(Ke)_g| <= r_K epsilon
  double norm2;      // |K|^2
  double* out;  // [15][n]: |a g|^2, sum g, |K h g|^2, sum a h g, |a h|^2, sum (K h g)^2/W, sum (a g)^2/W,
                // |psi|^2, |psi|^2/W, |x|^2; maxima of K g, K h, K g/W, K h/W, a/W
  int n;
  double field_row_bound = 0, field_norm2 = 0;  // of E; its sums follow those of D x - v
};

/// w <- prox_{sigma F*}(w + sigma Kx), F = alpha R; xi of the model is not used.
template <class T>
struct PdhgDualArgs {
  AnalysisModel model;
  Active active;
  int n;
  const T* x;
  double inverse_step;  // 1/sigma; 0: w = grad F(Kx), w is not read
  T* dual;
};

/// x+ = (x + tau (pull S source - K^T w)) / (1 + tau (xi + fit S)), extrapolated = x+ + theta (x+ - x), x =
/// x+: the proximal step of fit/2 |S x - source|^2 + xi/2 |x|^2 for pull = fit = 1 and 0/1 images S.
template <class T>
struct PdhgPrimalArgs {
  AnalysisModel model;
  Active active;
  int n;
  const T* dual;
  const T* source;
  const T* sampling;  // S [H,W], shared by the batch; null: 1
  double pull, fit;
  double step, relaxation;  // tau, theta
  T* x;
  T* extrapolated;
};

}  // namespace bilevel::kernels
