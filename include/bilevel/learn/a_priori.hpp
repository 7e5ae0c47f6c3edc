#pragma once

// What is known of iterations before they are run: from mu, L and the start alone. The bounds hold whatever
// the energy, and are loose; certificates measured at the points reached are what the methods go by.

#include <vector>

#include "bilevel/model/energy.hpp"

namespace bilevel {
inline namespace v0 {

// Factors with |x_k - xhat| <= factor |x_0 - xhat|, kappa = L/mu.

/// ((kappa - 1)/(kappa + 1))^k of gradient descent with steps 2/(L + mu); the same of |q_k - q^|.
BILEVEL_API double gradient_descent_factor(const Curvature& curvature, int k);
/// sqrt(kappa (1 + sqrt q)) (1 - sqrt q)^(k/2), q = mu/L, of the points x_k of "fista" (Chambolle and Pock
/// 2016, theorem 4.10), not of those between that it evaluates.
BILEVEL_API double fista_factor(const Curvature& curvature, int k);

// Factors with |b - A q_k| <= factor |b - A q_0|, lambda = (sqrt kappa - 1)/(sqrt kappa + 1).

/// max(|1 - a mu|, |1 - a L|)^k of gradient descent ("gradient-descent", Richardson's iteration) with step a.
BILEVEL_API double richardson_factor(const Curvature& curvature, double step, int k);
/// lambda^k (1 + k (1 + lambda)) of the heavy ball: its residual polynomial is lambda^k (U_k - lambda
/// U_{k-1}) at a point of [-1,1], and |U_k| <= k + 1 there, U_k the Chebyshev polynomials of the second kind.
BILEVEL_API double heavy_ball_factor(const Curvature& curvature, int k);
/// 2 sqrt(kappa) lambda^k of conjugate gradients without preconditioner.
BILEVEL_API double conjugate_gradient_factor(const Curvature& curvature, int k);

// Iterations after which the factors above are at most epsilon/distance and delta/residual: whole numbers,
// infinite for an accuracy of zero. Throw ConfigError for negative arguments.

BILEVEL_API double gradient_descent_iterations(const Curvature& curvature, double distance, double epsilon);
BILEVEL_API double fista_iterations(const Curvature& curvature, double distance, double epsilon);
/// The least that is enough, and every larger one is: the factor rises from 1 at first, then falls.
BILEVEL_API double heavy_ball_iterations(const Curvature& curvature, double residual, double delta);
BILEVEL_API double conjugate_gradient_iterations(const Curvature& curvature, double residual, double delta);

/// What is known of one image at the start x_0 of its lower level.
struct StartInputs {
  Curvature curvature;
  double loss_lipschitz = 1;       ///< that of grad g_i/N
  double distance = 0;             ///< >= |x_0 - xhat|, for one |grad Phi(x_0)| / mu
  double norm_b = 0;               ///< |grad g_i(x_0)| / N
  std::vector<double> norm_mixed;  ///< |B(x_0)_b| per block of theta
};

/// Bound on the error of the hypergradient at any x~ with |x~ - xhat| <= epsilon and a q with |A q - b| <=
/// `residual` |b|: the form T of error_bound(), with |b| and |B| at x~ bounded by |b_0| + L_g (distance +
/// epsilon) and |B_0| + L_B (distance + epsilon) (Ehrhardt and Roberts 2023). Rounding is left out. Throws
/// ShapeError unless the curvature has a constant for every block.
BILEVEL_API double a_priori_error(const StartInputs& start, double epsilon, double residual);

}  // namespace v0
}  // namespace bilevel
