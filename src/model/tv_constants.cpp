#include "model/tv_constants.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace bilevel {
inline namespace v0 {

TvConstants tv_constants(const TvOptions& options, const Shape& shape, bool masked, const TvValues& v) {
  const bool huber = options.potential == TvPotential::huber_c2;
  const bool line = shape.h == 1;
  TvConstants c{};
  c.norm2 = line ? 4 : 8;
  c.row_norm = std::sqrt(line || !options.isotropic ? 2.0 : 3.0);
  c.curvature = (huber ? 2 : 1) / v.nu;                                                // l_1
  const double change = (huber ? 2.0 : 48.0 / (25 * std::sqrt(5.0))) / (v.nu * v.nu);  // l_2
  const double ridge = v.ridge(options);
  c.mu = ridge + (masked ? 0 : 1);
  c.lipschitz = 1 + ridge + v.alpha * c.curvature * c.norm2;
  c.hessian_lipschitz = v.alpha * change * c.norm2 * c.row_norm;
  const double inside = options.xi_inside_alpha ? 1 : 0;
  // alpha: |Hessian of R|; nu: alpha/nu times the Lipschitz constant of d psi / d ln nu (1/nu, huber 2/nu).
  c.mixed_lipschitz = {c.curvature * c.norm2 + inside * v.xi, v.alpha / v.nu * c.norm2 * c.curvature,
                       options.xi_inside_alpha ? v.alpha : 1.0};
  return c;
}

TvDirectional tv_directional(const TvConstants& c, const TvOptions& options, const TvValues& v,
                             std::span<const double> s, double epsilon, double norm_q, double norm_v,
                             double unit) {
  const bool huber = options.potential == TvPotential::huber_c2;
  const bool inside = options.xi_inside_alpha;
  const double norm_k = std::sqrt(c.norm2), slack = 1 + 64 * unit;
  const double ag = std::sqrt(s[0]), g = s[1], khg = std::sqrt(s[2]), ahg = s[3], ah = std::sqrt(s[4]),
               khg_w = std::sqrt(s[5]), ag_w = std::sqrt(s[6]);
  const double kg = s[7], kh = s[8], kg_w = s[9], kh_w = s[10], a_w = s[11];
  const double sharp = v.alpha / (v.nu * v.nu) * epsilon, change = sharp * norm_k;
  TvDirectional d{};
  // |Delta_A q| <= min{ alpha |K| eps G(K g) / nu^2, alpha |K| |a g|, L_H eps |q| } with G(h) <= |K| max h.
  const double plain_q =
      slack * std::min({change * norm_k * kg, v.alpha * norm_k * ag, c.hessian_lipschitz * epsilon * norm_q});
  d.hessian_q = std::min(plain_q, slack * std::sqrt(2.0) * sharp * kg_w);
  d.energy_q = std::min(plain_q, slack * 2 * sharp * kg_w);
  d.hessian_v =
      slack * std::min({change * norm_k * kh, v.alpha * norm_k * ah, c.hessian_lipschitz * epsilon * norm_v});
  d.energy_v = slack * sharp * kh_w;
  d.hessian_qe = std::min(plain_q, slack * 0.5 * sharp * kg_w) * epsilon;
  d.hessian_vq = slack * std::min({change * khg, v.alpha * ahg, sharp * khg_w});
  // d psi / d ln nu: Lipschitz a (charbonnier), 2/nu (huber_c2); |d psi / d ln nu| <= b_nu.
  const double bound_nu = huber ? 0.5 : 2 / (3 * std::sqrt(3.0));
  const double moved = epsilon * std::min(norm_k * ag, ag_w);
  const double moved_nu = huber ? epsilon * 2 / v.nu * c.norm2 * norm_q : moved;
  const double energy_nu = huber ? 2 / v.nu * 2 * c.norm2 : a_w;
  const double ridge_change = epsilon * norm_q;
  d.mixed_q = {slack * (std::min(moved, 2 * g) + (inside ? v.xi * ridge_change : 0)),
               slack * v.alpha / v.nu * std::min(moved_nu, 2 * bound_nu * g),
               slack * (inside ? v.alpha : 1) * ridge_change};
  // The ridge parts are bounded with |f|; energy forms are left out for xi.
  d.energy_mixed = {slack * epsilon * a_w, slack * v.alpha / v.nu * epsilon * energy_nu,
                    std::numeric_limits<double>::infinity()};
  if (inside) d.energy_mixed[0] = std::numeric_limits<double>::infinity();
  d.rounding = {16 * unit * g, 16 * unit * v.alpha / v.nu * g, 0};
  return d;
}

}  // namespace v0
}  // namespace bilevel
