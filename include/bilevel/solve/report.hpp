#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "bilevel/core/export.hpp"

namespace bilevel {
inline namespace v0 {

/// Numerical outcomes are data. The values per image are ordered by severity.
enum class SolveStatus {
  converged,         ///< the certificate meets the requested tolerance
  decided,           ///< the caller's question was answered before the tolerance was met
  iteration_cap,     ///< the cap was reached; the certificate tells how far it got
  rounding_limited,  ///< the tolerance is below what this precision can certify
  budget,            ///< the caller's budget of operator applications or time was spent
  failed             ///< not descending or not finite
};
BILEVEL_API const char* status_name(SolveStatus status);

/// Operator applications, each to one image: the unit in which work is compared.
struct Work {
  std::uint64_t gradients = 0;
  std::uint64_t hessian_products = 0;
  std::uint64_t other = 0;   ///< linearisations (weights and diagonal), B^T q, B d, bound passes
  std::uint64_t solves = 0;  ///< lower-level solves of the whole batch, not part of total()

  std::uint64_t total() const { return gradients + hessian_products + other; }
  Work& operator+=(const Work& w) {
    gradients += w.gradients;
    hessian_products += w.hessian_products;
    other += w.other;
    solves += w.solves;
    return *this;
  }
  bool operator==(const Work&) const = default;
};

/// What a lower-level or linear solve achieved. `certificate` is measured at the returned point: a bound on
/// |x - xhat| per image, or the recomputed residual |A q - b| (with its rounding) of a linear solve.
struct SolveReport {
  SolveStatus status = SolveStatus::converged;
  std::vector<SolveStatus> image_status;
  std::vector<double> certificate;
  std::vector<double> iterations;
  Work work;
  std::string message;  ///< one sentence with the numbers
};

}  // namespace v0
}  // namespace bilevel
