#include "learn/step_direction.hpp"

#include <algorithm>
#include <cmath>

namespace bilevel {
inline namespace v0 {
namespace {

constexpr double damping = 1e-3;

double inner(std::span<const double> a, std::span<const double> b) {
  double sum = 0;
  for (std::size_t j = 0; j < a.size(); ++j) sum += a[j] * b[j];
  return sum;
}

/// Projects, measures the direction and what the gradient's error can change along it.
Step finish(const Parameters& parameters, std::span<const double> theta, const HypergradientResult& r,
            std::span<const double> target) {
  Step step;
  step.theta = parameters.project(target);
  step.direction.resize(theta.size());
  for (std::size_t j = 0; j < theta.size(); ++j) step.direction[j] = step.theta[j] - theta[j];
  step.error = direction_error(r, step.direction);
  return step;
}

/// Solves the symmetric positive definite system of the free entries in place (Cholesky); false when it
/// breaks down.
bool cholesky_solve(std::vector<double>& a, std::vector<double>& b) {
  const std::size_t n = b.size();
  for (std::size_t j = 0; j < n; ++j) {
    for (std::size_t i = j; i < n; ++i) {
      double sum = a[i * n + j];
      for (std::size_t k = 0; k < j; ++k) sum -= a[i * n + k] * a[j * n + k];
      if (i == j && !(sum > 0)) return false;
      a[i * n + j] = i == j ? std::sqrt(sum) : sum / a[j * n + j];
    }
  }
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t k = 0; k < i; ++k) b[i] -= a[i * n + k] * b[k];
    b[i] /= a[i * n + i];
  }
  for (std::size_t i = n; i-- > 0;) {
    for (std::size_t k = i + 1; k < n; ++k) b[i] -= a[k * n + i] * b[k];
    b[i] /= a[i * n + i];
  }
  return true;
}

}  // namespace

double step_norm(std::span<const double> v) { return std::sqrt(inner(v, v)); }

double direction_error(const HypergradientResult& r, std::span<const double> direction) {
  double blocks = 0;
  std::size_t begin = 0;
  for (std::size_t b = 0; b < r.block_end.size(); ++b) {
    const double part = step_norm(direction.subspan(begin, r.block_end[b] - begin));
    if (part > 0) blocks += r.block_bound[b] * part;
    begin = r.block_end[b];
  }
  return blocks > 0 ? std::min(blocks, r.omega * step_norm(direction)) : 0;
}

double projected_gradient_norm(const Parameters& parameters, std::span<const double> theta,
                               std::span<const double> z) {
  std::vector<double> moved(theta.begin(), theta.end());
  for (std::size_t j = 0; j < moved.size(); ++j) moved[j] -= z[j];
  moved = parameters.project(moved);
  for (std::size_t j = 0; j < moved.size(); ++j) moved[j] -= theta[j];
  return step_norm(moved);
}

Step gradient_step(const Parameters& parameters, std::span<const double> theta, const HypergradientResult& r,
                   double a) {
  std::vector<double> target(theta.begin(), theta.end());
  for (std::size_t j = 0; j < target.size(); ++j) target[j] -= a * r.z[j];
  Step step = finish(parameters, theta, r, target);
  step.slope = inner(step.direction, step.direction) / a;
  return step;
}

Step gauss_newton_step(const Parameters& parameters, std::span<const double> theta,
                       const HypergradientResult& r, double a) {
  const std::size_t p = theta.size();
  if (r.gauss_newton.size() != p * p) return gradient_step(parameters, theta, r, a);
  const std::vector<double> low = parameters.lower(), high = parameters.upper();
  std::vector<std::size_t> free;
  for (std::size_t j = 0; j < p; ++j)
    if (!(theta[j] <= low[j] && r.z[j] > 0) && !(theta[j] >= high[j] && r.z[j] < 0)) free.push_back(j);
  const std::size_t n = free.size();
  std::vector<double> matrix(n * n), rhs(n);
  for (std::size_t i = 0; i < n; ++i) {
    rhs[i] = r.z[free[i]];
    for (std::size_t k = 0; k < n; ++k)
      matrix[i * n + k] = r.gauss_newton[free[i] * p + free[k]] * (i == k ? 1 + damping : 1);
  }
  if (n == 0 || !cholesky_solve(matrix, rhs)) return gradient_step(parameters, theta, r, a);
  std::vector<double> target(theta.begin(), theta.end());
  for (std::size_t i = 0; i < n; ++i) target[free[i]] -= a * std::clamp(rhs[i], -2.0, 2.0);
  Step step = finish(parameters, theta, r, target);
  step.slope = -inner(r.z, step.direction);
  if (!(step.slope > 0)) return gradient_step(parameters, theta, r, a);
  return step;
}

namespace {

/// z with zeros where theta is on a bound and -z points out.
std::vector<double> without_blocked(const Parameters& parameters, std::span<const double> theta,
                                    std::span<const double> z) {
  const std::vector<double> low = parameters.lower(), high = parameters.upper();
  std::vector<double> free(z.begin(), z.end());
  for (std::size_t j = 0; j < free.size(); ++j)
    if ((theta[j] <= low[j] && z[j] > 0) || (theta[j] >= high[j] && z[j] < 0)) free[j] = 0;
  return free;
}

/// theta - a h, a <= 1 the longest that moves no entry by more than `most`.
std::vector<double> limited(std::span<const double> theta, std::span<const double> h, double most) {
  double largest = 0;
  for (double e : h) largest = std::max(largest, std::abs(e));
  const double a = largest > most ? most / largest : 1;
  std::vector<double> target(theta.begin(), theta.end());
  for (std::size_t j = 0; j < target.size(); ++j) target[j] -= a * h[j];
  return target;
}

}  // namespace

Step lbfgs_step(const Parameters& parameters, std::span<const double> theta, const HypergradientResult& r,
                const LbfgsMemory& memory, std::span<const double> diagonal) {
  const std::vector<double> z = without_blocked(parameters, theta, r.z);
  if (!memory.empty()) {
    const std::vector<double> h = without_blocked(parameters, theta, memory.apply(z, diagonal));
    Step step = finish(parameters, theta, r, limited(theta, h, 1));
    step.slope = -inner(r.z, step.direction);
    if (step.slope > 0) return step;
  }
  std::vector<double> h = LbfgsMemory().apply(z, diagonal);
  double largest = 0;
  for (double e : h) largest = std::max(largest, std::abs(e));
  if (largest > 0)
    for (double& e : h) e *= 0.1 / largest;
  Step step = finish(parameters, theta, r, limited(theta, h, 0.1));
  step.slope = -inner(r.z, step.direction);
  return step;
}

Step gauss_newton_step(const Parameters& parameters, std::span<const double> theta,
                       const HypergradientResult& r, const GaussNewtonProduct& product, double damping,
                       double forcing, int most) {
  const std::size_t p = theta.size();
  std::vector<double> h(p, 0), residual = r.z, direction = r.z;
  double rr = inner(residual, residual);
  const double target = forcing * forcing * rr;
  double shift = 0;
  for (int k = 0; k < most && rr > target; ++k) {
    std::vector<double> bent = product(direction);
    if (k == 0) shift = damping * inner(direction, bent) / rr;
    for (std::size_t j = 0; j < p; ++j) bent[j] += shift * direction[j];
    const double curvature = inner(direction, bent);
    if (!(curvature > 0)) break;  // products are inexact
    const double a = rr / curvature, before = rr;
    for (std::size_t j = 0; j < p; ++j) {
      h[j] += a * direction[j];
      residual[j] -= a * bent[j];
    }
    rr = inner(residual, residual);
    for (std::size_t j = 0; j < p; ++j) direction[j] = residual[j] + rr / before * direction[j];
  }
  Step step = finish(parameters, theta, r, limited(theta, h, 1));
  step.slope = -inner(r.z, step.direction);
  return step.slope > 0 ? step : lbfgs_step(parameters, theta, r, LbfgsMemory());
}

std::vector<double> block_scaling(const HypergradientResult& r) {
  std::vector<double> share(r.block_norm2.size());
  double largest = 0;
  std::size_t begin = 0;
  for (std::size_t b = 0; b < share.size(); ++b) {
    share[b] = r.block_norm2[b] / static_cast<double>(r.block_end[b] - begin);
    begin = r.block_end[b];
    largest = std::max(largest, share[b]);
  }
  std::vector<double> diagonal;
  for (std::size_t b = 0, j = 0; b < share.size(); ++b)
    for (; j < r.block_end[b]; ++j) diagonal.push_back(1 / std::max(share[b], 1e-4 * largest));
  return largest > 0 ? diagonal : std::vector<double>();
}

Step shortened(const Step& full, std::span<const double> theta, double a) {
  Step step = full;
  for (std::size_t j = 0; j < theta.size(); ++j) {
    step.direction[j] *= a;
    step.theta[j] = theta[j] + step.direction[j];
  }
  if (a == 1) step.theta = full.theta;
  step.slope *= a;
  step.error *= a;
  return step;
}

double barzilai_borwein(std::span<const double> theta, std::span<const double> z, double omega,
                        std::span<const double> previous_theta, std::span<const double> previous_z,
                        double previous_omega) {
  std::vector<double> s(theta.begin(), theta.end()), y(z.begin(), z.end());
  for (std::size_t j = 0; j < s.size(); ++j) {
    s[j] -= previous_theta[j];
    y[j] -= previous_z[j];
  }
  const double sy = inner(s, y);
  return sy > (omega + previous_omega) * step_norm(s) ? inner(s, s) / sy : 0;
}

}  // namespace v0
}  // namespace bilevel
