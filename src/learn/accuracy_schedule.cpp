#include "bilevel/learn/accuracy_schedule.hpp"

#include <algorithm>
#include <cmath>

#include "bilevel/core/error.hpp"

namespace bilevel {
inline namespace v0 {

void ScheduleOptions::validate() const {
  const auto require = [](bool good, const char* what) {
    if (!good) throw ConfigError(what);
  };
  const auto positive = [](double v) { return v > 0 && std::isfinite(v); };
  require(positive(epsilon0), "epsilon0 must be positive and finite.");
  require(positive(delta0), "delta0 must be positive and finite.");
  require(positive(step0), "step0 must be positive and finite.");
  require(rho > 0 && rho < 1, "rho must lie between 0 and 1.");
  require(rho_up >= 1 && std::isfinite(rho_up), "rho-up must be at least 1.");
  require(nu > 0 && nu < 1, "nu must lie between 0 and 1.");
  require(nu_up >= 1 && std::isfinite(nu_up), "nu-up must be at least 1.");
  require(eta > 0 && eta < 1, "eta must lie between 0 and 1.");
  require(lambda > 0 && lambda < eta, "lambda must lie between 0 and eta.");
  require(non_monotone >= 0 && non_monotone < 1, "non-monotone must be at least 0 and below 1.");
  require(max_backtracks >= 1, "max-backtracks must be at least 1.");
  require(max_rounds >= 1, "the number of refinements of a line search must be at least 1.");
  require(tolerance >= 0 && std::isfinite(tolerance), "tolerance must not be negative.");
}

AccuracySchedule::AccuracySchedule(const ScheduleOptions& options, double first_step)
    : options_(options), state_{options.epsilon0, options.delta0, first_step} {}

GradientVerdict AccuracySchedule::judge_gradient(double stationarity, double omega, double slope,
                                                 double direction_error, bool at_floor) const {
  if (stationarity + omega <= options_.tolerance) return GradientVerdict::stationary;
  if (slope > 0 && direction_error <= (1 - options_.eta) * slope) return GradientVerdict::descend;
  if (options_.fixed_accuracy || at_floor) return GradientVerdict::accuracy_limit;
  return GradientVerdict::refine;
}

void AccuracySchedule::refine(double omega, double part_epsilon, double part_delta, double target,
                              double floor_epsilon, double floor_delta) {
  const double share = 0.5 * target;
  // Without a usable target or split, both fall by nu.
  const auto next = [&](double accuracy, double part, double floor) {
    double factor = options_.nu;
    if (omega > target && part > share && target > 0) factor = std::min(factor, share / part);
    return std::max({accuracy * factor, floor, accuracy * 1e-3});
  };
  state_.epsilon = next(state_.epsilon, part_epsilon, floor_epsilon);
  state_.delta = next(state_.delta, part_delta, floor_delta);
}

TrialVerdict AccuracySchedule::judge_trial(double lower_k, double upper_k, double lower_new, double upper_new,
                                           double slope) const {
  if (upper_new <= lower_k - options_.lambda * slope) return TrialVerdict::accept;
  if (lower_new > upper_k - options_.lambda * slope) return TrialVerdict::backtrack;
  return TrialVerdict::undecided;
}

void AccuracySchedule::start_search() {
  state_.backtracks = 0;
  state_.round = 0;
  first_step_of_search_ = state_.step;
}

SearchVerdict AccuracySchedule::next_trial(TrialVerdict verdict, double gap) {
  const bool refine_now =
      verdict == TrialVerdict::undecided && options_.refine_undecided && !options_.fixed_accuracy;
  if (!refine_now) {
    state_.backtracks += 1;
    state_.step *= options_.rho;
    if (state_.backtracks < options_.max_backtracks + state_.round) return SearchVerdict::try_step;
    state_.backtracks = 0;
    state_.step = first_step_of_search_;
  }
  state_.round += 1;
  if (options_.fixed_accuracy || state_.round >= options_.max_rounds) return SearchVerdict::give_up;
  const double factor = refine_now && gap > 0 ? std::clamp(gap, 1e-3, options_.nu) : options_.nu;
  state_.epsilon *= factor;
  state_.delta *= options_.nu;
  return SearchVerdict::refine;
}

void AccuracySchedule::accept(double used) {
  state_.step = used * options_.rho_up;
  state_.backtracks = 0;
  state_.round = 0;
  if (options_.fixed_accuracy) return;
  state_.epsilon *= options_.nu_up;
  state_.delta *= options_.nu_up;
}

}  // namespace v0
}  // namespace bilevel
