#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "bilevel/learn/error_bound.hpp"
#include "bilevel/model/bilevel_problem.hpp"
#include "bilevel/solve/linear_solver.hpp"

namespace bilevel {
inline namespace v0 {

struct HypergradientResult;

/// d -> sum_i J_i^T H_i J_i d / N with J = -A^{-1} B and H as in UpperLoss::weigh, the Gauss-Newton matrix of
/// the loss: two linear systems and two mixed products per image, to the request's column_tolerance.
using GaussNewtonProduct = std::function<std::vector<double>(std::span<const double> d)>;

struct HypergradientRequest {
  double delta = 0.1;            ///< residual of N A q_i = grad g_i to reach, per image
  bool relative_delta = false;   ///< that relative to |grad g_i| (one host synchronisation more)
  double column_tolerance = .1;  ///< residual of A v_j = B d_j relative to |B d_j|
  bool bounds = true;   ///< false: z alone, from one linear solve; bounds and adjoint_error are infinite
  bool columns = true;  ///< may solve for adjoint columns, see unit_columns(); needs bounds
  /// The cheaper bounds suffice when omega <= sufficient * |z|; negative: always compute every form.
  double sufficient = -1;
  double enough = -1;  ///< nor are more forms computed once omega <= enough
  /// Given z (its bounds are still infinite), a direction d of theta along which the derivative is to be
  /// certified, or nothing. Ignored when columns can be solved for, or without bounds.
  std::function<std::vector<double>(const HypergradientResult&, const GaussNewtonProduct&)> direction = {};
};

/// The derivative of f along a direction d: |slope - <grad f, d>| <= error.
struct DirectionalDerivative {
  double slope = 0, error = 0;
  double part_epsilon = 0, part_delta = 0;  ///< first-order split of the error
};

/// z with |z - grad f| <= omega, and |(z - grad f)_b| <= block_bound_b for the blocks of theta.
struct HypergradientResult {
  std::vector<double> z;
  double omega = 0;
  std::vector<double> block_bound;
  std::vector<std::size_t> block_end;
  std::vector<double> block_norm2;             ///< mean over the images of |B~_b|^2, as bounded
  double rounding = 0;                         ///< part of omega that no accuracy of the solves removes
  double part_epsilon = 0, part_delta = 0;     ///< first-order split of omega: what eps and delta contribute
  bool corrected = false;                      ///< columns were used
  std::vector<double> gauss_newton;            ///< p x p, sum_i V_i^T H_i V_i / N; empty without columns
  std::optional<DirectionalDerivative> along;  ///< the direction of the request, if it gave one
  /// Sums over the images of each form; columns is infinite when not computed.
  double omega_theorem = 0, omega_adjoint = 0, omega_directional = 0, omega_columns = 0;
  std::vector<double> residual;  ///< R_i
  /// What the bounds were made of, one per image; empty without bounds.
  std::vector<BoundInputs> inputs;
  /// <q_i, grad Phi_i(x~)>, with |<b, e> + <q_i, grad>| <= adjoint_error (see enclose_loss): an
  /// estimate of the loss at xhat whose error is of second order in the accuracies. Infinite without bounds.
  std::vector<double> adjoint_product, adjoint_error;
  Work work;
  SolveStatus status = SolveStatus::converged;
  std::string message;
};

/// Implicit differentiation: A q = grad g at x~, z = -B^T q + grad J, with its certified error bound. Keeps q
/// and the adjoint columns v_j = A^{-1} B d_j, d_j the unit vectors (warm starts) or the one direction asked
/// for.
template <class T>
class BILEVEL_API ImplicitHypergradient {
 public:
  static constexpr std::size_t max_columns = 10;

  ImplicitHypergradient(Context& context, const BilevelProblem<T>& problem,
                        const std::string& solver = "pcg");
  /// With a solver of one's own, whose residuals are measured anew. Throws ConfigError for a null pointer.
  ImplicitHypergradient(Context& context, const BilevelProblem<T>& problem,
                        std::shared_ptr<const LinearSolver<T>> solver);
  ~ImplicitHypergradient();

  /// At the theta bound to the energy, points x and certificates epsilon_i of the lower level.
  HypergradientResult compute(Context&, std::span<const double> theta, View<const T> x,
                              std::span<const double> epsilon, const HypergradientRequest&);

  /// x0 = x - sum_j v_j coefficient_j, the first-order prediction of xhat(theta + sum_j coefficient_j d_j).
  /// False without columns.
  bool predict(Context&, View<const T> x, std::span<const double> coefficients, View<T> x0) const;

  /// For checkpoints: q, then the columns of the unit vectors if any; empty before the first computation.
  std::vector<T> save(Context&) const;
  void restore(Context&, std::span<const T> state, bool has_columns);
  bool has_columns() const;  ///< of the unit vectors
  /// Columns are those of the unit vectors: theta has at most max_columns entries, each its own block.
  bool unit_columns() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace v0
}  // namespace bilevel
