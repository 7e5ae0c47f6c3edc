#pragma once

#include "bilevel/solve/minimiser.hpp"

namespace bilevel {
inline namespace v0 {

/// Primal-dual hybrid gradient with the steps of strongly convex G and F* (Chambolle and Pock 2011, algorithm
/// 3), for energies with a proximal() form: with m = 2 sqrt(gamma delta)/|K|, tau = m/(2 gamma), sigma =
/// m/(2 delta), theta = 1/(1+m) the squared distance to xhat falls by theta per step. An iteration is ten
/// steps and the gradient of Phi that certifies x; each step counts as one other application. Needs two
/// image-sized arrays and the dual variable.
template <class T>
class Pdhg final : public Minimiser<T> {
 public:
  const char* name() const override { return "pdhg"; }
  /// Throws ConfigError for an energy without proximal().
  SolveReport minimise(Context&, const Energy<T>&, const SolveRequest<T>&, View<T> x) const override;
};

}  // namespace v0
}  // namespace bilevel
