#pragma once

#include <chrono>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "bilevel/learn/hypergradient.hpp"
#include "bilevel/learn/upper_optimiser.hpp"

namespace bilevel {
inline namespace v0 {

/// A theta with its inexact reconstructions and what is known about them.
template <class T>
struct UpperPoint {
  std::vector<double> theta;
  Tensor<T> x;
  std::vector<double> epsilon;   ///< >= |x_i - xhat_i|
  std::vector<double> measured;  ///< of the loss at x: [measures][N]
  LossEnclosure loss{0, std::numeric_limits<double>::infinity(), std::numeric_limits<double>::infinity()};
  SolveStatus status = SolveStatus::converged;
};

/// Thrown by a method to end its run with a status and a sentence; never leaves run().
struct UpperStop {
  UpperStatus status;
  std::string message;
};

/// What a method may ask: reconstructions, enclosures of the loss and hypergradients, each at an accuracy of
/// its choice and certified. It counts work and time, and ends the run with UpperStop when a limit is
/// reached, an observer says so or a solve fails.
template <class T>
class BILEVEL_API UpperOracle {
 public:
  using Decide = std::function<bool(Context&, View<const T>, std::span<const double>)>;

  UpperOracle(Context& context, const BilevelProblem<T>& problem, const UpperOptions& options,
              Observer& observer, const UpperSolvers<T>& solvers = {});

  Context& context() const { return context_; }
  const BilevelProblem<T>& problem() const { return problem_; }
  const UpperOptions& options() const { return options_; }
  int iteration() const { return iteration_; }  ///< steps finished

  /// A point with memory for reconstructions, which are zero.
  UpperPoint<T> point() const;
  /// Sets the theta of the energy, which solve() and gradient() do by themselves. Throws ConfigError outside
  /// the model's domain.
  void bind(std::span<const double> theta);
  /// Solves at point.theta from point.x to `epsilon` (see SolveRequest), or until `decided`; fills in the
  /// rest of the point.
  void solve(UpperPoint<T>& point, double epsilon, const Decide& decided = {});
  HypergradientResult gradient(const UpperPoint<T>& point, const HypergradientRequest& request);
  /// Narrows point.loss with the adjoint of its hypergradient, see enclose_loss().
  void enclose(UpperPoint<T>& point, const HypergradientResult& gradient) const;
  /// For predictions along columns.
  const ImplicitHypergradient<T>& hypergradient() const { return hypergradient_; }

  /// What the loss measures at x, [measures][N] (one host synchronisation).
  std::vector<double> measure(View<const T> x) const;
  double penalty(std::span<const double> theta) const;
  /// Throws UpperStop when the observer, the time limit or the budget ends the run.
  void check_limits() const;
  /// Throws UpperStop when the loss has fallen by less than min_progress over the window.
  void watch_progress(double loss);

  const Work& work() const { return work_; }
  void count(const Work& work) { work_ += work; }
  double seconds() const;
  /// The record of a point, but for z and what the method knows.
  IterationRecord record(const UpperPoint<T>& point, const char* status) const;

  // For the loop.
  /// theta0 inside the bounds. Throws ShapeError for another length, ConfigError for what is no number.
  std::vector<double> inside(std::span<const double> theta0) const;
  void finish_step() { iteration_ += 1; }
  /// From now on neither time nor budget ends the run, for what is to be known at its end.
  void lift_limits() { limited_ = false; }
  /// What the oracle and the point hold, and back. Throws ShapeError unless the sizes are those of this
  /// problem, ConfigError for numbers that no run saves.
  void save(const UpperPoint<T>& point, UpperState& state) const;
  void restore(const UpperState& state, UpperPoint<T>& point);
  /// Of these what is neither the point's nor the hypergradient's: iteration, work, seconds and losses; the
  /// way back checks the length of theta.
  void save_progress(UpperState& state) const;
  void restore_progress(const UpperState& state);
  /// The energy may have been bound by others.
  void forget_theta() { bound_.clear(); }
  /// The adjoints q of the images, and back, as a warm start of other images than those of before.
  std::vector<T> adjoints() const;
  void warm_start(std::span<const T> adjoints);

 private:
  Context& context_;
  const BilevelProblem<T>& problem_;
  const UpperOptions& options_;
  Observer& observer_;
  std::shared_ptr<const Minimiser<T>> minimiser_;
  ImplicitHypergradient<T> hypergradient_;
  std::vector<double> bound_;  // theta of the energy; empty: unknown
  Work work_;
  std::vector<double> losses_;  // of the last iterations
  double previous_seconds_ = 0;
  int iteration_ = 0;
  bool limited_ = true;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

/// A way to choose theta, step by step. The loop around it looks at the limits, tells the observers, saves
/// and reports; one object lives for one run.
template <class T>
class BILEVEL_API UpperMethod {
 public:
  explicit UpperMethod(UpperOracle<T>& oracle) : oracle_(oracle) {}
  virtual ~UpperMethod();

  /// Where the method is. Before start() and restore() it holds theta and the reconstructions to begin with.
  virtual UpperPoint<T>& point() = 0;
  virtual void start() {}
  /// What is to be known of the point before the limits are looked at; may find that it is stationary.
  virtual void prepare() {}
  /// Moves point(), to one with a certainly smaller loss where the method promises that, and returns the
  /// record of the point left, with what the step took. Ends the run with UpperStop where there is none.
  virtual IterationRecord step() = 0;
  /// At the end of a run that neither failed nor was interrupted, where time and budget count no longer: what
  /// is to be certified of the point. May tell of it in `end`, or throw another UpperStop.
  virtual void conclude(UpperStop& end) { static_cast<void>(end); }
  /// The record of the present point.
  virtual IterationRecord record(const char* status) { return oracle_.record(point(), status); }
  /// What restore() needs besides the point and the oracle.
  virtual void save(UpperState&) const {}
  virtual void restore(const UpperState&) { start(); }

 protected:
  UpperOracle<T>& oracle() const { return oracle_; }

 private:
  UpperOracle<T>& oracle_;
};

template <class T>
using UpperMethodFactory = std::function<std::unique_ptr<UpperMethod<T>>(UpperOracle<T>&)>;

/// The loop around a method of one's own; `name` tells states of different methods apart. Throws ConfigError
/// for options outside their range, and without a factory.
template <class T>
BILEVEL_API std::unique_ptr<UpperOptimiser<T>> make_upper_optimiser(const std::string& name,
                                                                    const UpperOptions& options,
                                                                    UpperMethodFactory<T> factory,
                                                                    const UpperSolvers<T>& solvers = {});

}  // namespace v0
}  // namespace bilevel
