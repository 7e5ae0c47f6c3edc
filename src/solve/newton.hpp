#pragma once

#include "bilevel/solve/minimiser.hpp"

namespace bilevel {
inline namespace v0 {

/// Primal-dual Newton (Chan, Golub and Mulet 1999): the system K^T M K d = -grad with M from x and a dual
/// field zeta, |zeta| <= 1, by Jacobi-preconditioned CG to eta_k |grad|; Armijo on Phi. Needs 10 image-sized
/// arrays beside x and y.
template <class T>
class Newton final : public Minimiser<T> {
 public:
  const char* name() const override { return "newton"; }
  SolveReport minimise(Context&, const Energy<T>&, const SolveRequest<T>&, View<T> x) const override;
};

/// The same with the linear systems in single precision, those of `single`.
SolveReport newton_with_single(Context&, const Energy<double>&, const Energy<float>& single,
                               const SolveRequest<double>&, View<double> x);

}  // namespace v0
}  // namespace bilevel
