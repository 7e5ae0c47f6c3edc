#pragma once

#include <vector>

#include "tests/oracle/tv_oracle.hpp"

namespace bilevel::oracle {

struct Minimiser {
  Image x;                   ///< the minimiser rounded to double
  ExtendedImage extended_x;  ///< the minimiser in extended precision
  double gradient_norm = 0;  ///< at extended_x
  int iterations = 0;
};

/// Minimises Phi by primal-dual Newton steps with Armijo backtracking, Phi and its gradient in extended
/// precision, the steps by a band Cholesky factorisation in double, to ||grad Phi|| <= max(tolerance, 4e-19 L
/// (1 + ||x||)), so that the distance to the true minimiser is at most gradient_norm / mu. Starts from
/// `start`, or from the masked data if it is empty. Throws std::runtime_error if this is out of reach.
Minimiser minimise(const TvModel& model, const Image& y, const Image& start = {}, double tolerance = 1e-14);

/// Solves Hess Phi(x) q = rhs directly, in extended precision.
Image solve_adjoint(const TvModel& model, const Image& x, const Image& rhs);
ExtendedImage solve_adjoint(const TvModel& model, const ExtendedImage& x, const ExtendedImage& rhs);

/// f(theta) = 1/(2N) sum_i ||xhat_i - truth_i||^2 and its derivatives.
struct UpperResult {
  double f = 0;
  std::vector<double> hypergradient;               ///< sum over the images
  std::vector<std::vector<double>> contributions;  ///< -B_i^T q_i per image
  std::vector<Image> xhat, adjoint;                ///< minimisers and exact q_i (with the factor 1/N)
  std::vector<ExtendedImage> extended_xhat;        ///< the minimisers in extended precision
};
UpperResult exact_hypergradient(const TvModel& model, const std::vector<Parameter>& parameters,
                                const std::vector<Image>& y, const std::vector<Image>& truth);

}  // namespace bilevel::oracle
