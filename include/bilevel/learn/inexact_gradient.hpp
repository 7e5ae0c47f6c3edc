#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bilevel/learn/upper_optimiser.hpp"

namespace bilevel {
inline namespace v0 {

/// The error allowed of the hypergradient of iteration k = 0, 1, ...: E_0, E_0/(k+1), E_0 10^(-rate k), or a
/// list whose last entry stays.
enum class ErrorSequence { constant, harmonic, exponential, list };
BILEVEL_API const char* name_of(ErrorSequence sequence);
/// "constant", "harmonic", "exponential", "list". Throws ConfigError for another name.
BILEVEL_API ErrorSequence error_sequence(const std::string& name);

/// What is compared with E_k. corrected: omega_adjoint of HypergradientResult,
///   sum_i (|B~_i| + L_B eps_i) rho_i + L_B eps_i |q_i|,  rho_i = (R_i + L_g eps_i + L_H eps_i |q_i|)/mu,
/// with measured eps_i, R_i and constants that hold. best: omega, the least of all forms. printed: as
/// corrected, with the accuracies asked for unless more was measured, and with constants of the caller;
/// whether it bounds the error is for the caller to know.
enum class GradientBound { printed, corrected, best };
BILEVEL_API const char* name_of(GradientBound bound);
/// "printed", "corrected", "best". Throws ConfigError for another name.
BILEVEL_API GradientBound gradient_bound(const std::string& name);

struct BILEVEL_API InexactGradientOptions {
  ErrorSequence sequence = ErrorSequence::harmonic;
  double error0 = 200;              ///< E_0, of all but a list
  double rate = 0.25;               ///< of the exponential sequence
  std::vector<double> errors = {};  ///< of a list
  double floor = 0;                 ///< no E_k is smaller
  GradientBound bound = GradientBound::best;
  /// Factors of epsilon and delta when a bound is too large, and after a step; neither exceeds its first
  /// value.
  double epsilon_down = 0.9, epsilon_up = 10, delta_down = 0.9, delta_up = 10;
  /// A point whose loss is certainly larger than that of the point before is taken back, and the step becomes
  /// shorter by schedule.rho; steps that are accepted at once lengthen it by rho_up, up to step0.
  bool safeguard = true;
  /// The run ends once |z|^2 is below this, which certifies nothing; 0: never.
  double published_stop = 0;
  /// mu and L_H of `printed` in place of those of the energy. epsilon is then that of this mu: |grad Phi| <=
  /// mu epsilon.
  std::optional<double> strong_convexity = {}, hessian_lipschitz = {};

  double error(int k) const;  ///< E_k
  /// Throws ConfigError naming the option that is outside its range.
  void validate() const;
};

/// Gradient descent with errors prescribed in advance (Pawley 2021, algorithm 1): accuracies epsilon of the
/// reconstructions and delta of the linear systems are refined until the error bound of z is at most E_k,
/// then theta <- P(theta - tau z), tau = schedule.step0. For summable E_k and tau below 1/L_f the iterates
/// tend to stationarity; a decrease of the loss is not certified. Records hold the certified omega and its
/// forms whatever the bound compared with E_k, so that what is said of the end is true: it is stationary when
/// |P(theta - z) - theta| + omega <= schedule.tolerance; a run that published_stop ends has the status
/// accuracy_limit. Of the options, schedule.epsilon0, delta0 (the first accuracies), step0, rho, rho_up and
/// tolerance, columns, the solvers and the limits count. Throws ConfigError for options outside their range.
template <class T>
BILEVEL_API std::unique_ptr<UpperOptimiser<T>> make_inexact_gradient(const InexactGradientOptions& own,
                                                                     const UpperOptions& options,
                                                                     const UpperSolvers<T>& solvers = {});

}  // namespace v0
}  // namespace bilevel
