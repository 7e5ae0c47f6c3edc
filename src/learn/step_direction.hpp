#pragma once

#include <span>
#include <vector>

#include "bilevel/learn/hypergradient.hpp"
#include "bilevel/model/parameters.hpp"
#include "learn/lbfgs_memory.hpp"

namespace bilevel {
inline namespace v0 {

/// theta+ = theta + direction with the predicted decrease s (`slope`) and `error` >= |<grad f - z,
/// direction>|.
struct Step {
  std::vector<double> theta, direction;
  double slope = 0;
  double error = 0;
};

double step_norm(std::span<const double> v);

/// >= |<grad f - z, direction>| from the bounds of z, block by block or as a whole.
double direction_error(const HypergradientResult& result, std::span<const double> direction);

/// |P(theta - z) - theta|, P the projection to the bounds; |z| without active bounds.
double projected_gradient_norm(const Parameters& parameters, std::span<const double> theta,
                               std::span<const double> z);

/// d = P(theta - a z) - theta, s = |d|^2 / a (algorithms.md section 5.1).
Step gradient_step(const Parameters& parameters, std::span<const double> theta,
                   const HypergradientResult& result, double a);

/// d = -a H^{-1} z with H the Gauss-Newton matrix damped on its diagonal, restricted to the entries that no
/// bound blocks; s = -<z, d>. A step cut by a bound in a way that is no descent becomes a gradient step.
Step gauss_newton_step(const Parameters& parameters, std::span<const double> theta,
                       const HypergradientResult& result, double a);

/// d = P(theta - H z) - theta with H of the pairs and the diagonal its recursion starts from (empty: I), no
/// entry moved by more than 1, or by more than 0.1 before there are pairs; s = -<z, d>. A direction that is
/// no descent becomes a gradient step of that length.
Step lbfgs_step(const Parameters& parameters, std::span<const double> theta,
                const HypergradientResult& result, const LbfgsMemory& memory,
                std::span<const double> diagonal = {});

/// The same with (G + damping g I) d = -z solved by conjugate gradients, G the Gauss-Newton matrix by
/// products and g its Rayleigh quotient at z: until the residual has fallen by `forcing` or after `most`
/// products.
Step gauss_newton_step(const Parameters& parameters, std::span<const double> theta,
                       const HypergradientResult& result, const GaussNewtonProduct& product, double damping,
                       double forcing, int most);

/// The diagonal that gives every entry of theta the same influence on the lower level: the inverse of its
/// share in |B_b|^2 (mean over the images), b its block, bounded by 1e4 times the smallest.
std::vector<double> block_scaling(const HypergradientResult& result);

/// theta + a d, a <= 1.
Step shortened(const Step& full, std::span<const double> theta, double a);

/// <s,s>/<s,y> when <s,y> > (omega + omega_previous) |s|, so that its sign is certain; else 0.
double barzilai_borwein(std::span<const double> theta, std::span<const double> z, double omega,
                        std::span<const double> previous_theta, std::span<const double> previous_z,
                        double previous_omega);

}  // namespace v0
}  // namespace bilevel
