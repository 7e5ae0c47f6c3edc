#include "model/tv_constants.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "bilevel/core/error.hpp"

namespace bilevel {
inline namespace v0 {

kernels::Stencil stencil_of(const TvOptions& options, const Shape& shape) {
  if (options.differences == TvDifferences::none) return kernels::Stencil::identity;
  if (options.differences == TvDifferences::second) return kernels::Stencil::second;
  const bool joint = options.isotropic || !options.smoothed() || shape.h == 1;
  return joint ? kernels::Stencil::gradient : kernels::Stencil::gradient_separate;
}

void require_options(const TvOptions& o) {
  if (o.differences == TvDifferences::none && o.smoothed())
    throw ConfigError("a regulariser without differences is for the quadratic potential alone.");
  if (o.differences == TvDifferences::second && (!o.smoothed() || !o.isotropic))
    throw ConfigError("second differences are isotropic, with the potential charbonnier or huber_c2.");
}

namespace {

/// |K|^2 and r_K^2. A line has no vertical differences; second ones are bounded through K^T K = (D^T D)^2,
/// and by the Gram matrix of the stencils of a pixel.
struct Norms {
  double norm2, row2;
};
Norms norms_of(kernels::Stencil stencil, bool line) {
  switch (stencil) {
    case kernels::Stencil::gradient:
      return line ? Norms{4, 2} : Norms{8, 3};
    case kernels::Stencil::gradient_separate:
      return {line ? 4.0 : 8.0, 2};
    case kernels::Stencil::second:
      return line ? Norms{16, 6} : Norms{64, 9 + std::sqrt(37.0)};
    case kernels::Stencil::identity:
    case kernels::Stencil::generalised:
      break;
  }
  return {1, 1};
}

}  // namespace

TvConstants tv_constants(const TvOptions& options, const Shape& shape, bool masked, const TvValues& v) {
  const bool huber = options.potential == TvPotential::huber_c2, quadratic = !options.smoothed();
  const kernels::Stencil stencil = stencil_of(options, shape);
  const Norms norms = norms_of(stencil, shape.h == 1);
  TvConstants c{};
  c.norm2 = norms.norm2;
  c.row_norm = std::sqrt(norms.row2);
  c.curvature = kernels::steepest(static_cast<kernels::Potential>(options.potential), v.nu);
  const double change = quadratic ? 0 : (huber ? 2.0 : 48.0 / (25 * std::sqrt(5.0))) / (v.nu * v.nu);  // l_2
  const double ridge = v.ridge(options);
  c.mu = ridge + (masked ? 0 : 1);  // of Tikhonov, too: the bounds count alpha |Ke|^2 beside mu |e|^2
  c.lipschitz = 1 + ridge + v.alpha * c.curvature * c.norm2;
  c.hessian_lipschitz = v.alpha * change * c.norm2 * c.row_norm;
  c.reading = stencil == kernels::Stencil::second ? 8 : 0;
  const double inside = options.xi_inside_alpha ? 1 : 0;
  // alpha: |Hessian of R|; nu: alpha/nu times the Lipschitz constant of d psi / d ln nu (1/nu, huber 2/nu).
  c.mixed_lipschitz = {c.curvature * c.norm2 + inside * v.xi,
                       quadratic ? 0 : v.alpha / v.nu * c.norm2 * c.curvature,
                       options.xi_inside_alpha ? v.alpha : 1.0};
  return c;
}

TvDirectional tv_directional(const TvConstants& c, const TvOptions& options, const TvValues& v,
                             std::span<const double> s, double epsilon, double norm_q, double norm_v,
                             double unit) {
  const bool huber = options.potential == TvPotential::huber_c2, quadratic = !options.smoothed();
  const bool inside = options.xi_inside_alpha;
  const double norm_k = std::sqrt(c.norm2), slack = 1 + 64 * unit;
  const double ag = std::sqrt(s[0]), g = s[1], khg = std::sqrt(s[2]), ahg = s[3], ah = std::sqrt(s[4]),
               khg_w = std::sqrt(s[5]), ag_w = std::sqrt(s[6]);
  const double psi = std::sqrt(s[7]), norm_x = std::sqrt(s[9]);
  const double kg = s[10], kh = s[11], kg_w = s[12], kh_w = s[13], a_w = s[14];
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
  const double most = quadratic ? std::numeric_limits<double>::infinity() : 2 * g;  // |psi| <= 1
  d.mixed_q = {slack * (std::min(moved, most) + (inside ? v.xi * ridge_change : 0)),
               slack * v.alpha / v.nu * std::min(moved_nu, 2 * bound_nu * g),
               slack * (inside ? v.alpha : 1) * ridge_change};
  // The ridge parts are bounded with |f|; energy forms are left out for xi.
  d.energy_mixed = {slack * epsilon * a_w, slack * v.alpha / v.nu * epsilon * energy_nu,
                    std::numeric_limits<double>::infinity()};
  if (inside) d.energy_mixed[0] = std::numeric_limits<double>::infinity();
  // Of the terms psi Kq (of up to six components 16: their sum and product 7, w 6, z and Kq 2, nu 1), and
  // what rounding does to Kq and to z, whose psi and d psi / d ln nu follow by a (huber_c2: 2/nu).
  const double terms = 16 * (quadratic ? psi * ag : g);
  const double read = c.reading * (norm_q * psi + norm_x * ag),
               read_nu = c.reading * (norm_q * psi + norm_x * (huber ? 2 / v.nu * norm_k * norm_q : ag));
  d.rounding = {unit * (terms + read), unit * v.alpha / v.nu * (terms + read_nu), 0};
  return d;
}

}  // namespace v0
}  // namespace bilevel
