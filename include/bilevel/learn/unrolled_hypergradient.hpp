#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "bilevel/model/bilevel_problem.hpp"
#include "bilevel/solve/report.hpp"

namespace bilevel {
inline namespace v0 {

/// x^{k+1} = x^k - a grad Phi(x^k), with the heavy ball + m (x^k - x^{k-1}), x^{-1} = x^0.
enum class UnrolledMethod { gradient_descent, heavy_ball };

/// reverse: the exact gradient of f_K. inexact: all second derivatives at x^K, which is K steps of the same
/// method for A q = grad g from q = 0, then -B^T q (inexact automatic differentiation; Ehrhardt and Roberts
/// 2023).
enum class UnrolledDerivative { reverse, inexact };

struct BILEVEL_API UnrolledOptions {
  UnrolledMethod method = UnrolledMethod::gradient_descent;
  UnrolledDerivative derivative = UnrolledDerivative::reverse;
  int steps = 100;  ///< K
  /// Of the reverse derivative: x is kept every ceil(sqrt K) steps, and what lies between is computed again
  /// with the same bits; false: all of x^0, ..., x^{K-1} are kept.
  bool checkpoints = false;
  /// a and m; by default 2/(L + mu) and those of Polyak (1964) at the theta bound. They do not depend on
  /// theta as far as derivatives go.
  std::optional<double> step = {}, momentum = {};

  /// The same with a and m as they are by default at this curvature, unless they are set.
  UnrolledOptions fixed_at(const Curvature& curvature) const;
  /// Throws ConfigError naming the option that is outside its range.
  void validate() const;
};

struct UnrolledResult {
  std::vector<double> z;
  double loss = 0;  ///< f_K = 1/N sum_i g_i(x_i^K) + J
  double step = 0, momentum = 0;
  Work work;
};

/// Hypergradients by differentiating K steps of a method, to compare with ImplicitHypergradient. Nothing is
/// certified: z is what it is for f_K, and tells of f only as far as K steps converge; of a step that is too
/// long z and the loss are not finite. With v_K = grad g(x^K)/N, v_{K+1} = 0,
///   v_j = v_{j+1} - a A(x^j) v_{j+1} + m (v_{j+1} - v_{j+2}),  z = -a sum_j B(x^j)^T v_{j+1} + grad J.
/// Cost per image: K gradients (up to twice that with checkpoints), K Hessian products, of reverse also K
/// linearisations and K products B^T v. Kept beside scratch are K arrays of the unknown's size for reverse,
/// about 2 sqrt K (gradient descent) or 3 sqrt K (heavy ball) with checkpoints.
template <class T>
class BILEVEL_API UnrolledHypergradient {
 public:
  UnrolledHypergradient(Context& context, const BilevelProblem<T>& problem, const UnrolledOptions& options);
  ~UnrolledHypergradient();

  /// At the theta bound to the energy, from x^0; x becomes x^K and may be x^0. One host synchronisation.
  /// Throws ShapeError for another shape of x0 and x, or length of theta.
  UnrolledResult compute(Context&, std::span<const double> theta, View<const T> x0, View<T> x);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace v0
}  // namespace bilevel
