#pragma once

#include <memory>
#include <span>
#include <string>

#include "bilevel/model/energy.hpp"
#include "bilevel/solve/report.hpp"

namespace bilevel {
inline namespace v0 {

/// The Hessian of an energy at a point: what linearise() wrote.
template <class T>
struct HessianAt {
  const Energy<T>* energy = nullptr;
  View<T> weights;
  View<T> inverse_diagonal;
};

struct BILEVEL_API LinearRequest {
  double tolerance = 1e-3;                 ///< absolute bound on |A q_i - b_i|, per image
  std::span<const double> per_image = {};  ///< N tolerances instead of one
  bool warm_start = false;                 ///< start at the q given instead of zero
  int max_iterations = 20000;
  int check_every = 4;

  void validate(int images) const;
};

/// Solves A q = b for a batch, A the Hessian of an energy. The certificate is the residual recomputed at the
/// returned q plus a bound on its rounding error.
template <class T>
class BILEVEL_API LinearSolver {
 public:
  virtual ~LinearSolver();
  virtual const char* name() const = 0;
  virtual SolveReport solve(Context&, const HessianAt<T>&, const LinearRequest&, View<const T> b,
                            View<T> q) const = 0;
};

/// "pcg" (Jacobi-preconditioned conjugate gradients, the default), "cg", "gradient-descent", "heavy-ball"
/// (the last two are inexact automatic differentiation); with T = double also "mixed:" before any of these:
/// iterative refinement with that solver in single precision, for an energy with single_precision(). Throws
/// ConfigError for another name.
template <class T>
BILEVEL_API std::unique_ptr<LinearSolver<T>> make_linear_solver(const std::string& name = "pcg");

}  // namespace v0
}  // namespace bilevel
