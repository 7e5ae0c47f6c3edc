#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "bilevel/solve/linear_solver.hpp"

namespace bilevel {
inline namespace v0 {

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
  bool judge(std::span<const double> norms, double unit, double lipschitz, int cap, int run);

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
