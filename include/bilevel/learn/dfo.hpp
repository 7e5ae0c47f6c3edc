#pragma once

#include <memory>

#include "bilevel/learn/upper_optimiser.hpp"

namespace bilevel {
inline namespace v0 {

/// Lengths are in units of the box that the bounds of theta span, its sides scaled to 1 (entries without two
/// finite bounds: in units of theta).
struct BILEVEL_API DfoOptions {
  /// Accuracies follow what the steps need; false: every reconstruction to schedule.epsilon0 of the
  /// UpperOptions, as with schedule.fixed_accuracy.
  bool dynamic = true;
  double radius0 = 0.1;            ///< first radius of the trust region
  double radius_end = 1e-6;        ///< the run ends when the radius falls below
  double radius_max_factor = 1e3;  ///< largest radius over the first; never above the diagonal of the box
  int max_evaluations = 0;  ///< different theta; 0: no limit. Finer solves at the same theta are not counted
  double eta1 = 0.1, eta2 = 0.7;  ///< least ratio of actual to predicted decrease: fair, very good
  double eta1_prime = 0.049;      ///< error of a value over the predicted decrease
  double gamma_dec = 0.5;         ///< factors of the radius: after failure,
  double gamma_inc = 2;           ///< after very good steps,
  double gamma_inc_bar = 4;       ///< and when these were as long as the radius
  double criticality = 1e-6;      ///< slope of the model over f(theta0) below which the radius must follow it
  double lagrange = 10;           ///< largest Lagrange polynomial of points in good position
  /// Error of the residuals at interpolation points: this times radius^2 times their norm at theta0.
  double point_accuracy = 10;

  /// Throws ConfigError naming the option that is outside its range.
  void validate() const;
};

/// Dynamic-accuracy derivative-free least squares (Ehrhardt and Roberts 2021, algorithm 1, after DFO-LS of
/// Cartis, Fiala, Marteau and Roberts 2019): f = sum_i r_i^2 with r_i = sqrt(g_i(xhat_i)/N), the penalty J as
/// one more residual sqrt(J), linear models of r through p + 1 points, and steps that minimise the sum of
/// their squares in a ball and the bounds. No hypergradient is computed. Values at the best point and at
/// trials are certified to eta1_prime of the decrease that the model predicts, reconstructions start at those
/// of the best point. For p = size of theta up to 500; p + 1 evaluations come before the first step. Takes
/// losses that are never negative (lower_bound() >= 0) and ends as `failed` at a penalty that is. Values that
/// are not finite and theta outside the domain of the model count as infinite.
///
/// With dynamic accuracies every step that is accepted certainly lowers the loss, f(theta+) < f(theta); with
/// fixed ones its value at the reconstructions falls. Other than in the paper such a step is accepted however
/// small its ratio, which still decides about the radius, and the radius also falls when the loss rises by
/// more than was predicted to be gained; a run ends at radius_end on fully linear models only.
///
/// An iteration ends with a step that is accepted; `backtracks` of its record counts the other evaluations.
/// Records hold no z: gradient is empty, error_bound infinite, and gradient_norm is the steepest descent of
/// the model along a displacement of length 1 that the bounds allow. A run ends as `converged` when the
/// radius falls below radius_end, as `accuracy_limit` when the value at the best point cannot be certified as
/// finely as the predicted decrease asks for, as `budget` after max_evaluations. Of the UpperOptions,
/// schedule.epsilon0 (the coarsest accuracy), schedule.fixed_accuracy, the minimiser and the limits count.
template <class T>
BILEVEL_API std::unique_ptr<UpperOptimiser<T>> make_dfo(const DfoOptions& dfo, const UpperOptions& options,
                                                        const UpperSolvers<T>& solvers = {});

}  // namespace v0
}  // namespace bilevel
