#pragma once

#include "bilevel/solve/minimiser.hpp"

namespace bilevel {
inline namespace v0 {

/// Limited-memory BFGS with 10 pairs (Nocedal 1980) and a line search on directional derivatives. Images
/// accept their steps independently: an iteration evaluates the gradient of every active image at its own
/// trial point. Needs 24 image-sized arrays beside x.
template <class T>
class Lbfgs final : public Minimiser<T> {
 public:
  const char* name() const override { return "lbfgs"; }
  SolveReport minimise(Context&, const Energy<T>&, const SolveRequest<T>&, View<T> x) const override;
};

}  // namespace v0
}  // namespace bilevel
