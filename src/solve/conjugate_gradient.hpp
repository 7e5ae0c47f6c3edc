#pragma once

#include "bilevel/solve/linear_solver.hpp"
#include "device/launch_list.hpp"

namespace bilevel {
inline namespace v0 {

/// Device arrays of one conjugate-gradient run over a batch.
struct CgScalars {
  CgScalars(Frame& frame, int n);
  Scalars rz, rr, pap, beta, target, slope, iterations;
};

/// Vectors of a run. `inverse_diagonal` empty: no preconditioner.
template <class T>
struct CgVectors {
  View<T> x, r, p, product;
  View<const T> inverse_diagonal;
};

/// Where a run starts.
template <class T>
struct CgStart {
  View<const T> source;  ///< r = sign source; empty: r holds the residual already
  double sign = 1;
  bool zero = true;  ///< x = 0
};

/// Preconditioned conjugate gradients for A x = b until |r| <= target_i or `cap` iterations, per image
/// (Hestenes and Stiefel 1952). Three launches per iteration, and one wait of the host per `check_every`.
/// `active` must have been refreshed; its masks are cleared. active.tally() is the sum of scalars.iterations.
/// `list` keeps what was recorded for the next run on the same vectors.
template <class T>
void run_conjugate_gradient(Context& context, const HessianAt<T>& hessian, ActiveSet& active,
                            const CgStart<T>& start, const CgVectors<T>& vectors, const CgScalars& scalars,
                            LaunchList& list, int cap, int check_every);

/// Conjugate gradients with residual replacement: the recurrence runs to 0.9 of the tolerance, then the
/// residual is recomputed and decides.
template <class T>
class ConjugateGradient final : public LinearSolver<T> {
 public:
  explicit ConjugateGradient(bool jacobi) : jacobi_(jacobi) {}
  const char* name() const override { return jacobi_ ? "pcg" : "cg"; }
  SolveReport solve(Context&, const HessianAt<T>&, const LinearRequest&, View<const T> b,
                    View<T> q) const override;

 private:
  bool jacobi_;
};

}  // namespace v0
}  // namespace bilevel
