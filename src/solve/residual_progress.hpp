#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "bilevel/solve/linear_solver.hpp"
#include "model/underflow.hpp"

namespace bilevel {
inline namespace v0 {

/// What underflow adds to the rounding bound of a residual b - A q with `count` entries of T: a product of A
/// adds up to at most as many products, of numbers up to L.
template <class T>
double residual_underflow(std::size_t count, double lipschitz) {
  return underflow_bound<T>(count, 0, 16 * static_cast<double>(count) * (1 + lipschitz), 0);
}

/// What the rounding of a recomputed residual depends on, see ResidualRoundingArgs.
struct ResidualRounding {
  double unit, lipschitz, underflow;
};
template <class T>
ResidualRounding residual_rounding(const Energy<T>& energy) {
  const double lipschitz = energy.curvature().product_scale();
  return {std::numeric_limits<T>::epsilon() / 2, lipschitz,
          residual_underflow<T>(energy.shape().image(), lipschitz)};
}

/// Per-image progress of a linear solve that recomputes its residual, on the host.
struct ResidualProgress {
  std::vector<double> tolerance, residual, floor, best, iterations, last_run;
  std::vector<int> stalls;
  std::vector<SolveStatus> status;
  std::vector<std::uint8_t> open;

  ResidualProgress(std::size_t n, const LinearRequest& request);

  /// Takes the iterations of a run; returns those of all open images.
  std::uint64_t advance(std::span<const double> done);

  /// Takes |r|^2, |q|^2 and |b|^2 of the recomputed residuals; returns whether any image goes on. An image
  /// that did not halve its residual in two runs of less than `run` iterations ends as `rounding_limited`.
  bool judge(std::span<const double> norms, const ResidualRounding& rounding, int cap, int run);

  /// Iterations of the next run: no open image may exceed the cap.
  int next_run(int longest, int cap) const;
  /// Residual at which the next run may stop: below the tolerance, leaving room for the rounding of the
  /// residual.
  double target(std::size_t i) const;
  void close(std::size_t i, SolveStatus s);

  SolveReport report(const Work& work, const char* name) const;
};

}  // namespace v0
}  // namespace bilevel
