#pragma once

// What every upper-level method needs of the lower level: inexact reconstructions with their certificates,
// limits, counts and time.

#include <chrono>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "bilevel/learn/hypergradient.hpp"
#include "bilevel/learn/upper_optimiser.hpp"
#include "bilevel/solve/minimiser.hpp"

namespace bilevel {
inline namespace v0 {

/// A theta with its inexact reconstructions and what is known about them.
template <class T>
struct Point {
  std::vector<double> theta;
  Tensor<T> x;
  std::vector<double> epsilon, measured;  // of the loss: [measures][N]
  LossEnclosure loss{0, std::numeric_limits<double>::infinity(), std::numeric_limits<double>::infinity()};
  SolveStatus status = SolveStatus::converged;
};

/// Thrown inside a run to leave it with a status; never leaves run().
struct Stop {
  UpperStatus status;
  std::string message;
};

std::string short_number(double value);

/// Before z is computed at a theta nothing is known of it.
HypergradientResult unknown_gradient();

template <class T>
class LowerLevel {
 public:
  using Decide = std::function<bool(Context&, View<const T>, std::span<const double>)>;

  LowerLevel(Context& context, const BilevelProblem<T>& problem, const UpperOptions& options,
             Observer& observer);

  /// Solves to epsilon from point.x at the theta bound to the energy, or until `decided`; fills in the point.
  void solve(Point<T>& point, double epsilon, const Decide& decided = {});
  /// What the loss measures at x, [measures][N] (one host synchronisation).
  std::vector<double> measure(View<const T> x);
  double penalty(std::span<const double> theta) const;
  /// Throws Stop when the observer, the time limit or the budget ends the run.
  void check_limits();
  /// Throws Stop when the loss has fallen by less than min_progress over the window; call once an iteration.
  void watch_progress(double loss);

  /// theta0 inside the bounds. Throws ShapeError for another length, ConfigError for what is no number.
  std::vector<double> start(std::span<const double> theta0) const;
  /// Throws ShapeError unless a state's arrays have the sizes of this problem, ConfigError for numbers that
  /// no run saves.
  void require_state(const UpperState& state) const;

  double seconds() const;
  /// The record of a run at `point`, but for z and the schedule.
  IterationRecord record(const Point<T>& point, int iteration, const char* status) const;
  /// Raw bytes of values, and back.
  template <class V>
  static std::vector<std::uint8_t> raw(const std::vector<V>& values);
  template <class V>
  static std::vector<V> values(const std::vector<std::uint8_t>& bytes);

  Work work;
  std::vector<double> losses;  ///< of the last iterations
  double previous_seconds = 0;

 private:
  Context& context_;
  const BilevelProblem<T>& problem_;
  const UpperOptions& options_;
  Observer& observer_;
  std::unique_ptr<Minimiser<T>> minimiser_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace v0
}  // namespace bilevel
