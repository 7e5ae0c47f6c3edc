#pragma once

// Arguments of the primal-dual hybrid gradient kernels. Images are [N,C,H,W] with C = `components` 1 or 2;
// the dual field w has two arrays of that shape, its horizontal and its vertical components.

#include "bilevel/core/active.hpp"
#include "kernels/tv_model.hpp"

namespace bilevel::kernels {

/// w <- prox_{sigma F*}(w + sigma Kx), F = alpha sum rho_nu(|z|) with one modulus over all 2C differences of
/// a pixel, or one per difference when anisotropic; xi of the model is not used.
template <class T>
struct PdhgDualArgs {
  TvModel model;
  Active active;
  int components;
  const T* x;
  double inverse_step;  // 1/sigma; 0: w = grad F(Kx), w is not read
  T* dual_x;
  T* dual_y;
};

/// x+ = (x + tau (pull S source - K^T w)) / (1 + tau (xi + fit S)), extrapolated = x+ + theta (x+ - x), x =
/// x+: the proximal step of fit/2 |S x - source|^2 + xi/2 |x|^2 for pull = fit = 1 and 0/1 images S.
template <class T>
struct PdhgPrimalArgs {
  TvModel model;
  Active active;
  int components;
  const T* dual_x;
  const T* dual_y;
  const T* source;
  const T* sampling;  // S [H,W], shared by the batch; null: 1
  double pull, fit;
  double step, relaxation;  // tau, theta
  T* x;
  T* extrapolated;
};

}  // namespace bilevel::kernels
