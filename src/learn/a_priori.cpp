#include "bilevel/learn/a_priori.hpp"

#include <cmath>
#include <numeric>

#include "bilevel/core/error.hpp"
#include "bilevel/learn/error_bound.hpp"

namespace bilevel {
inline namespace v0 {

namespace {

double condition(const Curvature& c) { return c.lipschitz / c.mu; }
/// (kappa - 1)/(kappa + 1).
double simple_rate(const Curvature& c) { return (c.lipschitz - c.mu) / (c.lipschitz + c.mu); }
/// (sqrt kappa - 1)/(sqrt kappa + 1).
double accelerated_rate(const Curvature& c) {
  const double root = std::sqrt(condition(c));
  return (root - 1) / (root + 1);
}
double fista_rate(const Curvature& c) { return std::sqrt(1 - std::sqrt(1 / condition(c))); }
double fista_constant(const Curvature& c) {
  return std::sqrt(condition(c) * (1 + std::sqrt(1 / condition(c))));
}

void require_accuracy(double start, double wanted) {
  if (!(start >= 0) || !(wanted >= 0))
    throw ConfigError("an iteration count needs a distance and an accuracy that are not negative.");
}

/// The least k with constant rate^k start <= wanted.
double iterations(double constant, double rate, double start, double wanted) {
  require_accuracy(start, wanted);
  if (constant * start <= wanted) return 0;
  if (wanted == 0) return INFINITY;
  return std::fmax(1, std::ceil(std::log(wanted / (constant * start)) / std::log(rate)));
}

}  // namespace

double gradient_descent_factor(const Curvature& c, int k) { return std::pow(simple_rate(c), k); }
double fista_factor(const Curvature& c, int k) { return fista_constant(c) * std::pow(fista_rate(c), k); }
double richardson_factor(const Curvature& c, double step, int k) {
  return std::pow(std::fmax(std::fabs(1 - step * c.mu), std::fabs(1 - step * c.lipschitz)), k);
}
double heavy_ball_factor(const Curvature& c, int k) {
  const double rate = accelerated_rate(c);
  return std::pow(rate, k) * (1 + k * (1 + rate));
}
double conjugate_gradient_factor(const Curvature& c, int k) {
  return 2 * std::sqrt(condition(c)) * std::pow(accelerated_rate(c), k);
}

double gradient_descent_iterations(const Curvature& c, double distance, double epsilon) {
  return iterations(1, simple_rate(c), distance, epsilon);
}
double fista_iterations(const Curvature& c, double distance, double epsilon) {
  return iterations(fista_constant(c), fista_rate(c), distance, epsilon);
}
double heavy_ball_iterations(const Curvature& c, double residual, double delta) {
  require_accuracy(residual, delta);
  constexpr int most = 1 << 30;
  const auto enough = [&](int k) { return heavy_ball_factor(c, k) * residual <= delta; };
  if (enough(0)) return 0;
  if (delta == 0) return INFINITY;
  int low = 0, high = 1;  // not enough, enough
  for (; !enough(high); high *= 2) {
    if (high == most) return INFINITY;
    low = high;
  }
  while (high - low > 1) (enough(std::midpoint(low, high)) ? high : low) = std::midpoint(low, high);
  return high;
}
double conjugate_gradient_iterations(const Curvature& c, double residual, double delta) {
  return iterations(2 * std::sqrt(condition(c)), accelerated_rate(c), residual, delta);
}

double a_priori_error(const StartInputs& start, double epsilon, double residual) {
  const Curvature& c = start.curvature;
  if (c.mixed_lipschitz.size() != start.norm_mixed.size())
    throw ShapeError("the curvature has " + std::to_string(c.mixed_lipschitz.size()) +
                     " constants of blocks of theta, the start " + std::to_string(start.norm_mixed.size()) +
                     " norms.");
  const double moved = start.distance + epsilon;  // >= |x_0 - x~|
  BoundInputs in;
  in.mu = c.mu;
  in.loss_lipschitz = start.loss_lipschitz;
  in.hessian_lipschitz = c.hessian_lipschitz;
  in.epsilon = epsilon;
  in.norm_b = start.norm_b + start.loss_lipschitz * moved;
  in.residual = residual * in.norm_b;
  in.mixed_lipschitz = c.mixed_lipschitz;
  for (std::size_t b = 0; b < start.norm_mixed.size(); ++b)
    in.norm_mixed.push_back(start.norm_mixed[b] + c.mixed_lipschitz[b] * moved);
  in.q.mixed_q = in.q.energy_mixed = in.q.rounding = std::vector<double>(in.norm_mixed.size(), 0);
  return error_bound(in).theorem;
}

}  // namespace v0
}  // namespace bilevel
