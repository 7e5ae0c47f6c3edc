#pragma once

#include <string>

#include "bilevel/core/export.hpp"

namespace bilevel {
inline namespace v0 {

/// Numbers of MAID (Salehi, Mukherjee, Roberts, Ehrhardt 2024, algorithm 1).
struct BILEVEL_API ScheduleOptions {
  double epsilon0 = 0.1;    ///< first lower-level accuracy
  double delta0 = 0.1;      ///< first linear-solver accuracy
  double step0 = 1e-2;      ///< first step of plain gradient steps; scaled steps start at 1
  double rho = 0.5;         ///< step factor of a backtrack
  double rho_up = 1.2;      ///< step factor after an accepted step
  double nu = 0.5;          ///< accuracy factor of a refinement
  double nu_up = 1.1;       ///< accuracy factor after an accepted step
  double eta = 0.5;         ///< descent: error <= (1 - eta) of the gradient
  double lambda = 0.1;      ///< sufficient decrease; 0 < lambda < eta < 1
  int max_backtracks = 10;  ///< J_0: trials before the accuracies are refined
  int max_rounds = 12;      ///< refinements of one line search before it is given up
  /// Weight eta of earlier losses in the decrease that is asked for (Zhang and Hager 2004), below 1: a step
  /// is accepted when f(theta+) <= C_k - lambda s is certain, C_k = (eta Q_{k-1} C_{k-1} + f(theta_k))/Q_k,
  /// Q_k = eta Q_{k-1} + 1. 0: every step certainly decreases the loss.
  double non_monotone = 0;
  double tolerance = 1e-6;  ///< stop when |z| + omega <= tolerance
  /// A trial that the enclosures leave undecided refines the accuracies at once; false: a shorter step is
  /// tried first and only a search without success refines, as in the paper.
  bool refine_undecided = true;
  bool fixed_accuracy = false;  ///< neither refine nor relax; a failed test ends the run

  /// Throws ConfigError naming the option that is outside its range.
  void validate() const;
};

enum class GradientVerdict { stationary, descend, refine, accuracy_limit };
enum class TrialVerdict { accept, backtrack, undecided };
enum class SearchVerdict { try_step, refine, give_up };

/// The decisions of MAID: a state machine on doubles that knows no images.
class BILEVEL_API AccuracySchedule {
 public:
  struct State {
    double epsilon, delta, step;
    int backtracks = 0;  ///< in this round
    int round = 0;       ///< refinements of this line search
    bool operator==(const State&) const = default;
  };

  explicit AccuracySchedule(const ScheduleOptions& options, double first_step);
  AccuracySchedule(const ScheduleOptions& options, const State& state) : options_(options), state_(state) {}

  const State& state() const { return state_; }
  const ScheduleOptions& options() const { return options_; }

  /// Is z good enough? `stationarity` is |z| (or |P(theta - z) - theta| with bounds); `slope` = s > 0 and
  /// `direction_error` >= |<grad f - z, d>| for the step's direction d = theta+ - theta with s = -<z,d> (or
  /// |d|^2/a).
  GradientVerdict judge_gradient(double stationarity, double omega, double slope, double direction_error,
                                 bool at_floor) const;

  /// Balanced refinement: omega = part_epsilon + part_delta (first order) is to fall to `target`; both
  /// accuracies fall at least by nu, to not less than their floors.
  void refine(double omega, double part_epsilon, double part_delta, double target, double floor_epsilon,
              double floor_delta);

  /// Accept when upper+ <= lower_k - lambda s; a backtrack is certain when lower+ > upper_k - lambda s, the
  /// loss at theta_k (or C_k of non_monotone) being between lower_k and upper_k.
  TrialVerdict judge_trial(double lower_k, double upper_k, double lower_new, double upper_new,
                           double slope) const;

  /// After a trial that was not accepted: shorter step, finer accuracies (after J trials, or when undecided),
  /// or the end. `gap` in (0,1]: how much the enclosures must shrink to decide, as far as the values tell; 0:
  /// unknown.
  SearchVerdict next_trial(TrialVerdict verdict, double gap = 0);
  void start_search();
  /// `used`: the accepted step. Relaxes the accuracies and lengthens the next step.
  void accept(double used);
  void set_step(double step) { state_.step = step; }
  void set_accuracies(double epsilon, double delta) {
    state_.epsilon = epsilon;
    state_.delta = delta;
  }

 private:
  ScheduleOptions options_;
  State state_;
  double first_step_of_search_ = 0;
};

}  // namespace v0
}  // namespace bilevel
