#pragma once

// Trials of a step whose acceptance is certified, and accuracies that follow them.

#include <algorithm>
#include <functional>

#include "bilevel/core/error.hpp"
#include "bilevel/learn/upper_method.hpp"

namespace bilevel {
inline namespace v0 {

/// Solves at trial.theta from trial.x to `epsilon`, or until the enclosure of the loss decides. Where the
/// model has no such theta or the solve fails: backtrack.
template <class T>
TrialVerdict solve_trial(UpperOracle<T>& oracle, UpperPoint<T>& trial, double epsilon,
                         const std::function<TrialVerdict(const LossEnclosure&)>& judge) {
  try {
    oracle.bind(trial.theta);
  } catch (const ConfigError&) {
    return TrialVerdict::backtrack;
  }
  const double penalty = oracle.penalty(trial.theta);
  const auto decided = [&](Context&, View<const T> x, std::span<const double> certificate) {
    return judge(enclose_loss(oracle.problem().loss(), oracle.measure(x), certificate, penalty)) !=
           TrialVerdict::undecided;
  };
  oracle.solve(trial, epsilon, decided);
  return trial.status == SolveStatus::failed ? TrialVerdict::backtrack : judge(trial.loss);
}

/// An epsilon that was refined already and is still above what solvers reached at both points without it
/// decides nothing new: one below that.
template <class T>
void refine_beyond(AccuracySchedule& schedule, const UpperPoint<T>& current, const UpperPoint<T>& trial) {
  double reached = 0;
  for (const UpperPoint<T>* point : {&current, &trial})
    for (const double e : point->epsilon) reached = std::max(reached, e);
  const AccuracySchedule::State& s = schedule.state();
  if (s.epsilon > reached) schedule.set_accuracies(schedule.options().nu * reached, s.delta);
}

/// Whether no finer accuracy would shrink the larger part of a bound: `solve` is how the lower level ended.
inline bool rounding_rules(SolveStatus solve, const HypergradientResult& r, double part_epsilon,
                           double part_delta) {
  return (solve == SolveStatus::rounding_limited && part_epsilon >= part_delta) ||
         (r.status == SolveStatus::rounding_limited && part_delta >= part_epsilon) ||
         r.rounding > 0.5 * r.omega;
}

}  // namespace v0
}  // namespace bilevel
