#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "apps/experiments/legacy_random.hpp"
#include "apps/experiments/small_matrix.hpp"
#include "bilevel/learn/upper_optimiser.hpp"

namespace bilevel_app::experiments {

/// min f(theta) = 1/2 |A1 xhat - b1|^2, xhat = argmin 1/2 |A2 x + A3 theta - b2|^2, with the distributions of
/// Salehi et al. (2024): matrices, x1, x2 and theta uniform in [0,1], b1 = A1 x1 and b2 = A2 x2 + A3 theta
/// with noise 0.01.
struct QuadraticDraws {
  QuadraticDraws(std::uint32_t seed, int rows, int columns);

  LegacyRandom random;
  RowMatrix a1, a2, a3;
  std::vector<double> b1, b2;

 private:
  RowMatrix draw(int rows, int columns);
  std::vector<double> observed(const RowMatrix& a, const std::vector<double>& x);
};

/// From normal equations: xhat = x0 - X theta with X = (A2^T A2)^-1 A2^T A3, and f(theta) - f* = 1/2 <theta -
/// theta*, H (theta - theta*)>, H = X^T A1^T A1 X. Keeps a reference to the draws.
class QuadraticSolution {
 public:
  explicit QuadraticSolution(const QuadraticDraws& draws);
  std::vector<double> gradient(std::span<const double> theta) const;
  double gap(std::span<const double> theta) const;  ///< f(theta) - f*
  /// -X^T A1^T (A1 x - b1): the hypergradient of an adjoint solved exactly at x; gradient() at x = xhat.
  std::vector<double> gradient_at(const std::vector<double>& x) const;

 private:
  const QuadraticDraws& draws_;
  RowMatrix x_, h_;
  std::vector<double> best_;
};

/// The draws as a problem of the library; theta starts at 1, x at 0.
struct QuadraticProblem {
  QuadraticProblem(const bilevel::Device& device, const QuadraticDraws& draws);

  bilevel::Context context;
  bilevel::Tensor<double> b1, b2;
  bilevel::Parameters layout;
  bilevel::Tensor<double> start;
  std::unique_ptr<bilevel::BilevelProblem<double>> problem;
};

}  // namespace bilevel_app::experiments
