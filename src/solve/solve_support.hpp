#pragma once

#include <optional>

#include "bilevel/solve/linear_solver.hpp"
#include "bilevel/solve/minimiser.hpp"

namespace bilevel {
inline namespace v0 {

/// One sentence: how many images have report.status, the largest certificate (called `measure`), the
/// iterations.
std::string solve_message(const char* solver, const SolveReport& report, const char* measure);

/// Throws ShapeError unless x has the energy's shape, ConfigError for a bad request or an energy whose mu and
/// L are not positive and finite, with which nothing could be certified. Names the solver.
template <class T>
void require_problem(const Energy<T>& energy, const SolveRequest<T>& request, View<const T> x,
                     const char* solver);
/// The same for A q = b; the energy and its linearisation must be there.
template <class T>
void require_system(const HessianAt<T>& hessian, const LinearRequest& request, View<const T> b,
                    View<const T> q, const char* solver);

/// What every lower-level solver keeps per image, on the device: sums at the point last evaluated,
/// certificate, status, tolerance, and the set of unfinished images. Scratch comes from the frame.
template <class T>
class LowerState {
 public:
  LowerState(Context& context, Frame& frame, int images, const SolveRequest<T>& request);

  /// value, norm2 and rounding for another point.
  GradientSums new_sums(Frame& frame) const;

  /// epsilon_i = ((1 + 1e-6) |grad Phi_i| + rounding_i) / mu from `sums`; counts an evaluation of every
  /// active image and freezes those that are done (enqueues only).
  void measure(Context& context, double mu);
  /// measure(), then compacts the active set; returns how many images are left (one host synchronisation).
  int certify(Context& context, double mu);

  /// Whether a solve that has spent `work` in `iteration` iterations must stop at the point just certified:
  /// cap, budget, or the caller's decision (one host synchronisation when `decided` is set).
  std::optional<SolveStatus> interrupted(Context& context, View<const T> x, const Work& work, int iteration);
  /// Asks `decided` about the certificates at x, which must have been measured there.
  bool decided(Context& context, View<const T> x);

  /// Statuses, certificates, iterations (evaluations after the first) and a sentence; images still active get
  /// `unfinished` (one host synchronisation). Counts one gradient per evaluation unless `work` is given.
  /// `measure` names the certificate in the sentence.
  SolveReport report(Context& context, std::optional<Work> work, const char* solver, SolveStatus unfinished,
                     const char* measure = "distance bound") const;

  int images;
  const SolveRequest<T>& request;
  ActiveSet active;
  GradientSums sums;
  Scalars error_bound, iterations, status, tolerance;

 private:
  View<double> results_;  // error_bound, iterations, status: one fetch
};

}  // namespace v0
}  // namespace bilevel
