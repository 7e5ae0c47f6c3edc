#pragma once

#include <utility>
#include <vector>

namespace bilevel::oracle {

/// weight sum_p rho_nu(|z_p|), z_p the linear forms of point p: charbonnier, or huber_c2.
struct PotentialTerm {
  using Form = std::vector<std::pair<int, long double>>;  ///< entries of x and their coefficients
  long double weight = 0, nu = 1;
  bool huber = false;
  std::vector<std::vector<Form>> points;
};

/// Phi(x) = 1/2 sum_j w_j (e_j^T x - t_j)^2 + sum over terms, mu-strongly convex, everything dense and in
/// extended precision: a reference for small problems of any scale that shares nothing with the library.
struct DenseProblem {
  struct Square {
    long double weight = 1;
    PotentialTerm::Form form;
    long double target = 0;
  };
  int unknowns = 0;
  long double mu = 0;
  std::vector<Square> squares;
  std::vector<PotentialTerm> terms;
};

struct DenseMinimiser {
  std::vector<long double> x;
  long double distance = 0;  ///< >= |x - xhat|: (|grad| + its rounding) / mu
};

/// Primal-dual Newton steps with dense Cholesky factorisations from `start`, until rounding stops them or the
/// distance is at most `enough`.
DenseMinimiser minimise(const DenseProblem& problem, const std::vector<double>& start, long double enough);

/// The gradient at x and a bound on the norm of its rounding error.
struct DenseGradient {
  std::vector<long double> gradient;
  long double norm = 0, rounding = 0, value = 0;
};
DenseGradient gradient(const DenseProblem& problem, const std::vector<long double>& x);

/// Forward differences with zero last difference of a height x width image whose first pixel is unknown
/// `first`: the horizontal and vertical form of every pixel (no vertical ones for height 1).
std::vector<std::vector<PotentialTerm::Form>> differences(int height, int width, int first);

/// Dxx, Dyy and sqrt 2 Dxy of every pixel, differences across the border zero (Dxx = -Dx^T Dx).
std::vector<std::vector<PotentialTerm::Form>> second_differences(int height, int width);

}  // namespace bilevel::oracle
