#pragma once

// Arguments of the L-BFGS kernels. `size` counts the elements of one image, `n` the images of the batch.

#include <cstddef>
#include <cstdint>

#include "bilevel/core/active.hpp"

namespace bilevel::kernels {

inline constexpr int lbfgs_memory = 10;

/// Per image: the pairs' inner products, the direction as a combination of gradient and pairs, and the line
/// search. The pair of age k (0: newest) lies in slot (head - 1 - k) mod memory; `head` is the slot written
/// next.
struct LbfgsState {
  int head, filled;
  double sy[lbfgs_memory][lbfgs_memory];                // <s_i, y_j> for pairs j not older than i
  double yy[lbfgs_memory][lbfgs_memory];                // <y_i, y_j>
  double first[lbfgs_memory], second[lbfgs_memory];     // of the two-loop recursion
  double on_g, on_s[lbfgs_memory], on_y[lbfgs_memory];  // d = on_g g + sum_j on_s[j] s_j + on_y[j] y_j
  bool gradient_step;                                   // d = -g, accepted as it is
  double value0, slope0;                                // Phi and <d, grad Phi> at step 0
  double step, low, slope_low, high, slope_high;        // the bracket
  int tries;
};

struct LbfgsStartArgs {
  int n;
  const std::uint8_t* mask;
  const double* value;
  LbfgsState* state;
  std::uint8_t* accepted;
  std::uint8_t* redo;
};

/// x = base + step d.
template <class T>
struct LbfgsTrialArgs {
  Active active;
  std::size_t size;
  const T* base;
  const T* d;
  T* x;
  const LbfgsState* state;
};

/// Accepts the trial point with gradient g, or moves the step; after too many trials asks for a gradient
/// step.
template <class T>
struct LbfgsSearchArgs {
  Active active;
  std::size_t size;
  const T* g;
  const T* d;
  const double* value;  // Phi at the trial point
  double slack;         // relative rounding of Phi
  LbfgsState* state;
  std::uint8_t* accepted;
  std::uint8_t* redo;
};

/// Pair s = x - base, y = g - base_g, base <- x, base_g <- g, then the coefficients of the next direction. s
/// and y are [memory][n][size].
template <class T>
struct LbfgsUpdateArgs {
  Active active;  // the accepted images
  std::size_t size;
  int n;
  const T* x;
  const T* g;
  T* base;
  T* base_g;
  T* s;
  T* y;
  double mu;
  LbfgsState* state;
};

/// d from its coefficients; starts the line search, or asks for a gradient step when d is not one of descent.
template <class T>
struct LbfgsDirectionArgs {
  Active active;
  std::size_t size;
  int n;
  const T* base_g;
  const T* s;
  const T* y;
  T* d;
  double gradient_step;  // step length of d = -g
  LbfgsState* state;
  std::uint8_t* accepted;
  std::uint8_t* redo;
};

}  // namespace bilevel::kernels
