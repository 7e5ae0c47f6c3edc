#include "learn/step_direction.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "learn/box_quadratic.hpp"

namespace bilevel {
inline namespace v0 {
namespace {

constexpr double infinite = std::numeric_limits<double>::infinity();

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

double wanted_omega(const ScheduleOptions& options, const HypergradientResult& r, const Step& step,
                    double stationarity) {
  const double descent =
      step.slope > 0 && step.error > 0 ? r.omega * (1 - options.eta) * step.slope / step.error : 0;
  return 0.8 * std::max(descent, options.tolerance - stationarity);
}

std::vector<double> factor_reach(const Parameters& parameters, double factor) {
  std::vector<double> reach;
  for (std::size_t j = 0; j < parameters.size(); ++j) {
    const Transform t = parameters.learned(j).transform;
    reach.push_back(t == Transform::identity  ? infinite
                    : t == Transform::sigmoid ? std::log(factor)
                                              : to_theta(t, factor));
  }
  return reach;
}

Step gauss_newton_step(const Parameters& parameters, std::span<const double> theta,
                       const HypergradientResult& r, double damping, const std::vector<bool>& moving) {
  const std::size_t p = theta.size();
  std::vector<double> low = parameters.lower(), high = parameters.upper(), matrix = r.gauss_newton;
  const std::vector<double> bottom = low, top = high, reach = factor_reach(parameters, longest_factor);
  bool usable = matrix.size() == p * p;
  for (std::size_t j = 0; j < p && usable; ++j) {
    const bool moves = (moving.empty() || moving[j]) && r.z[j] != 0;
    low[j] = moves ? std::max(low[j] - theta[j], -reach[j]) : 0;
    high[j] = moves ? std::min(high[j] - theta[j], reach[j]) : 0;
    double& diagonal = matrix[j * p + j];
    diagonal *= 1 + damping;
    usable = !moves || (diagonal > 0 && std::isfinite(r.z[j] / diagonal));
    if (!(diagonal > 0)) diagonal = 1;  // it does not move
  }
  BoxQuadratic model(std::move(matrix), r.z, low, high);
  if (!usable || !model.minimise()) return gradient_step(parameters, theta, r, first_damping / damping);
  std::vector<double> target(theta.begin(), theta.end());
  for (std::size_t j = 0; j < p; ++j) {
    const double d = model.solution()[j];
    target[j] += d;
    if (d != 0 && d == bottom[j] - theta[j]) target[j] = bottom[j];  // not beside it by rounding
    if (d != 0 && d == top[j] - theta[j]) target[j] = top[j];
  }
  Step step = finish(parameters, theta, r, target);
  step.slope = -inner(r.z, step.direction);
  return step;
}

double predicted_decrease(const HypergradientResult& r, const Step& step) {
  const std::size_t p = step.direction.size();
  double bend = 0;
  for (std::size_t j = 0; j < p && r.gauss_newton.size() == p * p; ++j)
    bend += step.direction[j] * inner(std::span(r.gauss_newton).subspan(j * p, p), step.direction);
  return step.slope - 0.5 * bend;
}

double raised_damping(double damping, int trials) {
  return trials == 0 ? damping : std::max(damping, first_damping) * std::pow(10.0, trials);
}

double next_damping(double used, double ratio, bool at_once) {
  if (ratio < 0.25) return 4 * std::max(used, first_damping);
  return ratio > 0.75 && at_once ? std::max(0.1 * used, least_damping) : used;
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

/// What counts as a long step of each entry: a factor of e on a logarithmic scale, elsewhere the largest
/// magnitude in its segment, or 1 where all are zero. Scales with theta.
std::vector<double> own_sizes(const Parameters& parameters, std::span<const double> theta) {
  std::vector<double> size = factor_reach(parameters, std::exp(1.0));
  for (std::size_t begin = 0, end = 0; begin < size.size(); begin = end) {
    double largest = 0;
    for (; end < size.size() && &parameters.learned(end) == &parameters.learned(begin); ++end)
      largest = std::max(largest, std::abs(theta[end]));
    if (std::isinf(size[begin]))
      std::fill(size.begin() + static_cast<std::ptrdiff_t>(begin),
                size.begin() + static_cast<std::ptrdiff_t>(end), largest > 0 ? largest : 1);
  }
  return size;
}

/// max |h_j| / size_j
double relative_length(std::span<const double> h, std::span<const double> size) {
  double largest = 0;
  for (std::size_t j = 0; j < h.size(); ++j) largest = std::max(largest, std::abs(h[j]) / size[j]);
  return largest;
}

/// theta - a h, a <= 1 the longest that moves no entry by more than its size.
std::vector<double> limited(const Parameters& parameters, std::span<const double> theta,
                            std::span<const double> h) {
  const double longest = relative_length(h, own_sizes(parameters, theta));
  const double a = longest > 1 ? 1 / longest : 1;
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
    Step step = finish(parameters, theta, r, limited(parameters, theta, h));
    step.slope = -inner(r.z, step.direction);
    if (step.slope > 0) return step;
  }
  std::vector<double> h = LbfgsMemory().apply(z, diagonal);
  const double length = relative_length(h, own_sizes(parameters, theta));
  for (double& e : h) e *= length > 0 ? 0.1 / length : 0;
  Step step = finish(parameters, theta, r, limited(parameters, theta, h));
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
  Step step = finish(parameters, theta, r, limited(parameters, theta, h));
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
