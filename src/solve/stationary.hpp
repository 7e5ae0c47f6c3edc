#pragma once

#include "bilevel/solve/linear_solver.hpp"

namespace bilevel {
inline namespace v0 {

/// Richardson's iteration q <- q + a (b - A q), a = 2/(L+mu): |r_k| <= ((kappa-1)/(kappa+1))^k |r_0|. K
/// iterations from q = 0 are inexact automatic differentiation of K steps of gradient descent (Ehrhardt and
/// Roberts 2023). The residual is computed afresh at every iterate, so its certificate costs nothing. Needs
/// two image-sized arrays beside b and q.
template <class T>
class RichardsonSolver final : public LinearSolver<T> {
 public:
  const char* name() const override { return "gradient-descent"; }
  SolveReport solve(Context&, const HessianAt<T>&, const LinearRequest&, View<const T> b,
                    View<T> q) const override;
};

/// q_{k+1} = q_k + a (b - A q_k) + m (q_k - q_{k-1}) (Polyak 1964): inexact automatic differentiation with
/// momentum. Needs three image-sized arrays beside b and q.
template <class T>
class HeavyBallSolver final : public LinearSolver<T> {
 public:
  const char* name() const override { return "heavy-ball"; }
  SolveReport solve(Context&, const HessianAt<T>&, const LinearRequest&, View<const T> b,
                    View<T> q) const override;
};

}  // namespace v0
}  // namespace bilevel
