#pragma once

#include <memory>
#include <optional>
#include <string>

#include "bilevel/learn/accuracy_schedule.hpp"
#include "bilevel/model/bilevel_problem.hpp"
#include "bilevel/observe/observer.hpp"
#include "bilevel/solve/linear_solver.hpp"
#include "bilevel/solve/minimiser.hpp"

namespace bilevel {
inline namespace v0 {

/// How a step follows from z: -a z, or -a P z with P the inverse of the damped Gauss-Newton matrix of the
/// loss (for long theta by conjugate gradients), or the inverse Hessian of L-BFGS.
enum class StepScaling { none, gauss_newton, lbfgs };

struct BILEVEL_API UpperOptions {
  ScheduleOptions schedule;
  StepScaling scaling = StepScaling::gauss_newton;
  bool barzilai_borwein =
      true;  ///< step length of plain gradient steps from the last two z, when its sign is certified
  /// Error bound by adjoint columns (for long theta: the one along the step), prediction of xhat along the
  /// step.
  bool columns = true;
  /// For long theta: a step may be tried along a direction whose descent is not certified yet. It is accepted
  /// when the decrease of the loss is certified, which is all that counts; when it fails, z is refined first.
  bool try_uncertified = true;
  std::string minimiser = "newton";
  std::string linear_solver = "pcg";
  int max_iterations = 200;
  double min_progress =
      0;  ///< stop when the loss falls by less than this fraction over progress_window steps
  int progress_window = 20;
  double time_limit = 0;     ///< seconds; 0: none
  std::uint64_t budget = 0;  ///< operator applications to one image; 0: none
  int max_lower_iterations = 10000;

  void validate() const;
};

/// Solvers of one's own in place of those that the options name. What they claim is measured anew at the
/// points they return.
template <class T>
struct UpperSolvers {
  std::shared_ptr<const Minimiser<T>> minimiser = {};
  std::shared_ptr<const LinearSolver<T>> linear = {};
};

/// Chooses theta. See upper_method.hpp for a method of one's own.
template <class T>
class BILEVEL_API UpperOptimiser {
 public:
  virtual ~UpperOptimiser();
  virtual const char* name() const = 0;
  /// Starts at `theta0` (entries of theta) with the lower level at `first` (for denoising: the data), or goes
  /// on from `resume`.
  virtual UpperReport run(Context&, const BilevelProblem<T>&, std::span<const double> theta0,
                          View<const T> first, Observer&, const UpperState* resume = nullptr) = 0;
  /// Reconstructions at the report's theta, valid after run().
  virtual View<const T> reconstructions() const = 0;
};

/// MAID, the adaptively inexact first-order method; with schedule.fixed_accuracy, its fixed-accuracy twin.
template <class T>
BILEVEL_API std::unique_ptr<UpperOptimiser<T>> make_maid(const UpperOptions& options,
                                                         const UpperSolvers<T>& solvers = {});

/// L-BFGS-B (Byrd, Lu, Nocedal, Zhu 1995; the library L-BFGS-B 3.0) for long theta with bounds, on values and
/// hypergradients whose accuracies follow the progress: the loss is enclosed with the adjoint's help (see
/// enclose_loss), every step accepted has a certified decrease, and what the enclosures leave undecided
/// refines the accuracies. Of the options, the schedule's epsilon0, delta0, nu,
/// nu_up, max_rounds, tolerance and fixed_accuracy, the solvers and the limits count.
template <class T>
BILEVEL_API std::unique_ptr<UpperOptimiser<T>> make_lbfgsb(const UpperOptions& options,
                                                           const UpperSolvers<T>& solvers = {});

}  // namespace v0
}  // namespace bilevel
