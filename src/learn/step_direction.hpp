#pragma once

#include <span>
#include <vector>

#include "bilevel/learn/accuracy_schedule.hpp"
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

/// d = P(theta - a z) - theta, s = |d|^2 / a.
Step gradient_step(const Parameters& parameters, std::span<const double> theta,
                   const HypergradientResult& result, double a);

/// What omega is to fall to so that the step certainly descends, or |z| + omega, |z| the `stationarity`, is
/// below the tolerance: 0.8 of the larger that would just do.
double wanted_omega(const ScheduleOptions& options, const HypergradientResult& result, const Step& step,
                    double stationarity);

/// Per entry of theta how far a change of its value by `factor` moves it on a logarithmic scale; infinite
/// elsewhere.
std::vector<double> factor_reach(const Parameters& parameters, double factor);

/// Levenberg-Marquardt with the scaling of More (1978): d minimises <z,d> + 1/2 <d, (G + damping diag G) d>,
/// G the Gauss-Newton matrix, inside the bounds and where no entry on a logarithmic scale changes its value
/// by more than longest_factor; s = -<z,d> > 0. Scaling an entry of theta scales that of d. `moving`: the
/// entries that may move (empty: all). A gradient step of length first_damping/damping where an entry that is
/// to move has no part in G.
Step gauss_newton_step(const Parameters& parameters, std::span<const double> theta,
                       const HypergradientResult& result, double damping,
                       const std::vector<bool>& moving = {});

/// s - 1/2 <d, G d>: what the loss falls by as far as G tells.
double predicted_decrease(const HypergradientResult& result, const Step& step);

/// By how much a value on a logarithmic scale changes at most in a Gauss-Newton step: e^2.
constexpr double longest_factor = 7.38905609893065;

constexpr double first_damping = 1e-3, least_damping = 1e-10;

/// Damping of a trial after `trials` that failed: tenfold for each, from at least first_damping.
double raised_damping(double damping, int trials);

/// Damping of the next iteration from that of the accepted step and its ratio of actual to predicted
/// decrease: fourfold below 1/4, a tenth above 3/4 when no trial failed before it.
double next_damping(double used, double ratio, bool at_once);

/// d = P(theta - H z) - theta with H of the pairs and the diagonal its recursion starts from (empty: I), cut
/// to the length at which an entry on a logarithmic scale changes its value by a factor of e, or another
/// entry moves by the largest magnitude in its segment (1 where all are zero), or to a tenth of that before
/// there are pairs; s = -<z,d>. A direction that is no descent becomes a gradient step of that length.
Step lbfgs_step(const Parameters& parameters, std::span<const double> theta,
                const HypergradientResult& result, const LbfgsMemory& memory,
                std::span<const double> diagonal = {});

/// (G + damping g I) d = -z solved by conjugate gradients, G the Gauss-Newton matrix by products and g its
/// Rayleigh quotient at z: until the residual has fallen by `forcing` or after `most` products; cut to the
/// same length.
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
