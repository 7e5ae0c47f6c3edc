#pragma once

// Arguments of the per-image decisions of the solvers, one element per image.

#include <cstddef>
#include <cstdint>

#include "bilevel/core/active.hpp"

namespace bilevel::kernels {

/// Per-image decisions of the lower-level solvers, one element per image.
struct CertifyArgs {
  Active active;  // joint: the whole batch
  const double* norm2;
  const double* rounding;
  double mu;
  const double* tolerance;
  bool joint;
  int n;
  double* error_bound;  // epsilon_i = ((1 + 1e-6) |grad| + rounding) / mu
  double* iterations;   // += 1 while active; null: not counted
  double* status;       // ImageStatus
  std::uint8_t* mask;
};

struct NewtonBeginArgs {
  Active active;
  const double* norm2;
  const double* tolerance;
  double mu, eta;
  double share;  // of the tolerance that one image may leave: 1, or 1/sqrt(N) when the tolerance is joint
  bool first;    // remembers |grad_0|
  double* norm2_first;
  double* target;  // max(eta_k |grad|, share mu tolerance / 2)
};

/// Armijo on Phi, or a halved gradient when Phi does not rise beyond rounding.
struct NewtonDecideArgs {
  Active active;
  double* value;
  double* norm2;
  double* rounding;
  const double* trial_value;
  const double* trial_norm2;
  const double* trial_rounding;
  const double* slope;
  double slack;  // relative rounding of Phi
  double* step;
  double* backtracks;
  double cap;
  std::uint8_t* searching;
  std::uint8_t* active_mask;  // cleared, with a status, where no step is found
  double* status;
};

/// Between two iterations of a method with one evaluation per iteration: remembers the smallest gradient and
/// charges the next evaluation of every active image to the budget.
struct ProgressArgs {
  Active active;
  bool joint;  // one image that failed ends the batch
  int n;
  const double* norm2;
  double* best;   // smallest |grad|^2 of the window
  double* spent;  // evaluations of the batch
  double budget;  // 0: none
  double* status;
  std::uint8_t* mask;
  double cost = 1;  // applications that an iteration takes
};

/// At the end of a window of iterations: an image (joint: the batch) whose smallest gradient did not halve
/// since the window before ends, `rounding_limited` at the level rounding + noise |x|, else `failed`. With
/// `guard`, the image is switched to the safe step instead, and ends when that brings nothing: at once at the
/// rounding level, else after two windows.
struct StallArgs {
  Active active;
  bool joint;
  int n;
  const double* norm2;
  double* best;
  double* reference;  // `best` of the window before
  const double* rounding;
  const double* point2;  // |x|^2
  double noise;
  double* guard;  // null: none; windows without progress, plus one, since the switch
  double* status;
  std::uint8_t* mask;
};

/// Roundings of a Hessian product with stored weights: |fl(A p) - A p| <= product_roundings unit L |p|. Of
/// total variation with w = |psi|/|z|: weights 16 w (`lift`) + 26 w, the differences of p and their products
/// 4, the adjoint and the sum with data and ridge 6; of colour, six components with w, kappa z and zeta
/// stored: 16 w + 8 w, kappa z and zeta 23 with their inner products 9, of which the largest w takes half, 2
/// + 2 of w and p, and 6, together 50. Fields of experts (up to 49 taps) and transforms are counted with the
/// same number, which measurements on adversarial data stay far below; a proof would have to count each tap,
/// with the sum of absolute values.
inline constexpr double product_roundings = 56;

/// rounding = unit (product_roundings lipschitz |x| + 4 |b|) + underflow of a recomputed residual b - A x.
struct ResidualRoundingArgs {
  Active active;
  const double* xx;
  const double* bb;
  double unit, lipschitz;
  double* rounding;
  double underflow = 0;
};

/// index = the images with mask != 0, in order; left[0] = how many, left[1] = sum of `tally`.
struct CompactArgs {
  const std::uint8_t* mask;
  std::int32_t* index;
  int n;
  const double* tally;  // null: 0
  double* left;
};

enum class ImageStatus : int {
  active = 0,
  converged = 1,
  iteration_cap = 2,
  rounding_limited = 3,
  failed = 4,
  budget = 5
};

}  // namespace bilevel::kernels
