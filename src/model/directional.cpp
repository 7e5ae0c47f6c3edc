#include "model/directional.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

#include "kernels/analysis_args.hpp"

namespace bilevel {
inline namespace v0 {
namespace {

/// A sharp bound that rounding of K x changes by at most tau times itself and the plain one, from Lipschitz
/// constants.
double loosened(double sharp, double tau, double plain) {
  return tau > 0 ? std::min(std::max(sharp, plain), sharp * (1 + tau) + tau * plain) : sharp;
}

/// The sums are taken at K x with an error delta, which moves the profiles by at most 4 delta / nu of what
/// the Lipschitz constants of psi'' allow, the weights W = 1/(2|K|^2) + 2 alpha m / mu by 8 alpha l_1 |K|^2 /
/// mu delta / nu, and K q by delta |q| / |x| as well; `change` bounds the norm of A - A~, `shift` that of A~
/// at K x less A~ as it was computed, at K x + delta.
void loosen(TermBound& b, double tau, double change, double shift, const Ball& ball) {
  const double q = change * ball.norm_q, v = change * ball.norm_v;
  const double shift_q = shift * ball.norm_q, shift_v = shift * ball.norm_v;
  b.hessian_q = loosened(b.hessian_q, tau, q) + shift_q;
  b.energy_q = loosened(b.energy_q, tau, q) + shift_q;
  b.hessian_v = loosened(b.hessian_v, tau, v) + shift_v;
  b.energy_v = loosened(b.energy_v, tau, std::numbers::sqrt2 * v) + std::numbers::sqrt2 * shift_v;
  b.hessian_vq = loosened(b.hessian_vq, tau, q * ball.norm_v) + shift_q * ball.norm_v;
  b.hessian_qe = loosened(b.hessian_qe, tau, q * ball.epsilon) + shift_q * ball.epsilon;
  b.linearisation = shift_q;
}

}  // namespace

TermBound value_bounds(const TvConstants& c, const TvOptions& options, const TvValues& values,
                       const ImageSums& sums, const Ball& ball, double moduli) {
  std::array<double, kernels::analysis_bound_sums> s{};
  for (std::size_t k = 0; k < s.size(); ++k) s[k] = sums[k];
  const TvDirectional d =
      tv_directional(c, options, values, s, ball.epsilon, ball.norm_q, ball.norm_v, ball.unit);
  TermBound out{d.hessian_q, d.energy_q, d.hessian_v, d.energy_v, d.hessian_vq, d.hessian_qe, {}};
  const double delta = c.reading * ball.unit * std::sqrt(s[9]);  // of K x, in norm
  double tau = 0;
  if (delta > 0 && options.smoothed()) {
    const double steepest = values.alpha * c.curvature * c.norm2;
    tau = 100 * (1 + steepest / c.mu) * delta / values.nu;
    loosen(out, tau, std::min(c.hessian_lipschitz * ball.epsilon, steepest),
           std::min(c.hessian_lipschitz / c.row_norm * delta, steepest), ball);
  }
  // |<psi, K f>| <= |K| |psi| |f|, and <= |psi/sqrt W| times the energy norm, at most sqrt 2 times |f|'s
  // bound
  const double slack = 1 + 64 * ball.unit, psi = std::min(std::sqrt(c.norm2 * s[7]), std::sqrt(2 * s[8]));
  const double bound_nu = options.potential == TvPotential::huber_c2 ? 0.5 : 2 / (3 * std::sqrt(3.0));
  const bool inside = options.xi_inside_alpha;
  const std::array<double, 3> norms = {
      psi + std::sqrt(c.norm2) * c.curvature * delta + (inside ? values.xi * std::sqrt(s[9]) : 0),
      values.alpha / values.nu * bound_nu * std::sqrt(c.norm2 * moduli),
      (inside ? values.alpha : 1) * std::sqrt(s[9])};
  for (std::size_t k = 0; k < 3; ++k) {
    const double most = c.mixed_lipschitz[k] * ball.epsilon;
    out.blocks.push_back({k, slack * norms[k], c.mixed_lipschitz[k],
                          loosened(d.mixed_q[k], tau, most * ball.norm_q),
                          loosened(d.energy_mixed[k], tau, std::numbers::sqrt2 * most), d.rounding[k]});
  }
  return out;
}

}  // namespace v0
}  // namespace bilevel
