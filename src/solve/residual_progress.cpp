#include "solve/residual_progress.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace bilevel {
inline namespace v0 {

ResidualProgress::ResidualProgress(std::size_t n, const LinearRequest& request)
    : tolerance(n, request.tolerance),
      residual(n, std::numeric_limits<double>::infinity()),
      floor(n, 0),
      best(n, std::numeric_limits<double>::infinity()),
      iterations(n, 0),
      last_run(n, 0),
      stalls(n, 0),
      status(n, SolveStatus::iteration_cap),
      open(n, 1) {
  if (!request.per_image.empty()) tolerance.assign(request.per_image.begin(), request.per_image.end());
}

std::uint64_t ResidualProgress::advance(std::span<const double> done) {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < open.size(); ++i) {
    if (!open[i]) continue;
    iterations[i] += done[i];
    last_run[i] = done[i];
    sum += static_cast<std::uint64_t>(done[i]);
  }
  return sum;
}

bool ResidualProgress::judge(std::span<const double> norms, const ResidualRounding& of, int cap, int run) {
  const std::size_t n = tolerance.size();
  bool any = false;
  for (std::size_t i = 0; i < n; ++i) {
    if (!open[i]) continue;
    const double rr = norms[i], qq = norms[n + i], bb = norms[2 * n + i];
    // Rounding of b - A q: at most u (20 L |q| + 4 |b|), and underflow.
    floor[i] = of.unit * (20 * of.lipschitz * std::sqrt(qq) + 4 * std::sqrt(bb)) + of.underflow;
    residual[i] = std::sqrt(rr) * (1 + 1e-6) + floor[i];
    if (!std::isfinite(residual[i])) {
      residual[i] = std::numeric_limits<double>::infinity();
      close(i, SolveStatus::failed);
    } else if (residual[i] <= tolerance[i]) {
      close(i, SolveStatus::converged);
    } else if (floor[i] > tolerance[i] && std::sqrt(rr) <= floor[i]) {
      close(i, SolveStatus::rounding_limited);
    } else if (iterations[i] >= cap) {
      close(i, SolveStatus::iteration_cap);
    } else {
      // A run that was cut to replace the residual says nothing about progress.
      const bool stalled = residual[i] > 0.5 * best[i] && last_run[i] < run;
      stalls[i] = stalled ? stalls[i] + 1 : 0;
      if (stalls[i] >= 2)
        close(i, SolveStatus::rounding_limited);
      else
        any = true;
    }
    best[i] = std::min(best[i], residual[i]);
  }
  return any;
}

int ResidualProgress::next_run(int longest, int cap) const {
  double left = longest;
  for (std::size_t i = 0; i < open.size(); ++i)
    if (open[i]) left = std::min(left, cap - iterations[i]);
  return static_cast<int>(left);
}

double ResidualProgress::target(std::size_t i) const {
  return std::max(0.9 * (tolerance[i] - floor[i]), 0.25 * floor[i]);
}

void ResidualProgress::close(std::size_t i, SolveStatus s) {
  status[i] = s;
  open[i] = 0;
}

SolveReport ResidualProgress::report(const Work& work, const char* name) const {
  SolveReport out;
  out.image_status = status;
  out.certificate = residual;
  out.iterations = iterations;
  out.work = work;
  out.status = *std::max_element(status.begin(), status.end());
  const double worst = *std::max_element(residual.begin(), residual.end());
  out.message = std::string(name) + ": " + status_name(out.status) + ", largest residual " +
                std::to_string(worst) + ".";
  return out;
}

}  // namespace v0
}  // namespace bilevel
