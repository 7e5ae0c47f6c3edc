#pragma once

#include "bilevel/solve/minimiser.hpp"

namespace bilevel {
inline namespace v0 {

/// x <- x - 2/(L+mu) grad: |x_k - xhat| <= ((kappa-1)/(kappa+1))^k |x_0 - xhat|. Needs one image-sized array
/// beside x.
template <class T>
class GradientDescent final : public Minimiser<T> {
 public:
  const char* name() const override { return "gradient-descent"; }
  SolveReport minimise(Context&, const Energy<T>&, const SolveRequest<T>&, View<T> x) const override;
};

/// x <- x - a grad + b (x - previous) (Polyak 1964). Converges near the minimiser only; an image whose
/// smallest gradient does not halve in 10 sqrt(kappa) iterations goes on with FISTA and constant momentum.
/// Needs two arrays.
template <class T>
class HeavyBall final : public Minimiser<T> {
 public:
  const char* name() const override { return "heavy-ball"; }
  SolveReport minimise(Context&, const Energy<T>&, const SolveRequest<T>&, View<T> x) const override;
};

/// FISTA for strongly convex energies (Chambolle and Pock 2016, algorithm 5), which evaluates and returns the
/// extrapolated points: Phi(x_k) - min Phi <= (1 + sqrt q)(1 - sqrt q)^k L/2 |x_0 - xhat|^2, q = mu/L. Needs
/// two arrays.
template <class T>
class Fista final : public Minimiser<T> {
 public:
  const char* name() const override { return "fista"; }
  SolveReport minimise(Context&, const Energy<T>&, const SolveRequest<T>&, View<T> x) const override;
};

/// Fista that forgets its momentum, image by image, where the step was no descent: <grad Phi(v_k), x_{k+1} -
/// x_k> > 0 gives t = 0, v_{k+1} = x_{k+1} (O'Donoghue and Candes 2015). Adapts to a curvature near the
/// minimiser far above mu. Needs two arrays.
template <class T>
class FistaRestart final : public Minimiser<T> {
 public:
  const char* name() const override { return "fista-restart"; }
  SolveReport minimise(Context&, const Energy<T>&, const SolveRequest<T>&, View<T> x) const override;
};

}  // namespace v0
}  // namespace bilevel
