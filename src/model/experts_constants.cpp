#include "model/experts_constants.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace bilevel {
inline namespace v0 {
namespace {

double absolute_sum(std::span<const double> v) {
  double sum = 0;
  for (double e : v) sum += std::abs(e);
  return sum;
}

/// Roundings that a term of a computed entry of the gradient goes through: those of psi, the taps of its
/// filter added one after the other, then the filters.
double additions(const ExpertsValues& v) { return static_cast<double>(v.count() + v.taps()) + 16; }

}  // namespace

ExpertsConstants experts_constants(const ExpertsOptions& options, const ExpertsValues& v, int height,
                                   int width) {
  const bool huber = options.potential == TvPotential::huber_c2;
  const double curved = huber ? 2 : 1;                               // l_1 nu
  const double change = huber ? 2.0 : 48.0 / (25 * std::sqrt(5.0));  // l_2 nu^2
  const FilterNorms norms(v.filters, v.size, options.padding);
  const std::size_t count = v.count();
  const double taps = static_cast<double>(v.taps());
  ExpertsConstants c{};
  c.operators = norms.operators();
  c.rows = row_norms(v.filters, v.size, options.padding, height, width);
  c.extension = norms.extension();
  std::vector<double> ratio(count);
  for (std::size_t k = 0; k < count; ++k) ratio[k] = v.weight[k] / v.smoothing[k];
  c.norm2 = norms.joint(ratio);
  c.underflow_products = 8 * (2 + v.mu);
  for (std::size_t k = 0; k < count; ++k) {
    const double nu = v.smoothing[k], square = c.operators[k] * c.operators[k];
    c.hessian_lipschitz += v.weight[k] * change / (nu * nu) * square * c.rows[k];
    c.weight_lipschitz.push_back(curved / nu * square);
    c.smoothing_lipschitz.push_back(v.weight[k] / nu * curved / nu * square);
    // |C_k| with the absolute taps: its norm is at most e times their sum.
    const double absolute = c.extension * absolute_sum(v.filter(k));
    // Taps that are off by `tap_error`: C^T psi(C x) is by |C - C'| (|psi| + |C| l_1 |x|).
    const double off = v.tap_error.empty() ? 0 : c.extension * taps * v.tap_error[k];
    c.reading.push_back((taps + 4) * absolute + off);
    c.rounding_x += v.weight[k] * curved / nu * c.reading[k] * absolute;
    c.rounding_psi.push_back(v.weight[k] * (additions(v) * absolute + off) *
                             std::sqrt(static_cast<double>(count)));
    // Responses, w t, b psi and the adjoint's products, with taps and weights that underflow themselves.
    c.underflow_products += absolute * (v.weight[k] * (curved / nu * taps + 2) + 4) + 4 * taps;
  }
  return c;
}

namespace {

/// The two forms of b sum_p factor_p |(C_k e)_p|: from |C_k e| <= |C_k| epsilon, and from the energy of e.
double moved(double b, double nu, double op, double epsilon, double plain, double weighted) {
  return epsilon * std::min(b * op * plain, std::sqrt(b * nu) * weighted);
}

}  // namespace

ExpertsDirectional experts_directional(const ExpertsConstants& c, const ExpertsOptions& options,
                                       const ExpertsValues& v, std::span<const ExpertsSums> sums,
                                       double epsilon, double norm_q, double norm_v, double unit) {
  const bool huber = options.potential == TvPotential::huber_c2;
  const double bound_nu = huber ? 0.5 : 2 / (3 * std::sqrt(3.0));  // sup |d psi / d ln nu|
  const double taps = static_cast<double>(v.taps()), patches = c.extension * std::sqrt(taps);
  const double slack = 1 + 64 * unit;
  const double infinity = std::numeric_limits<double>::infinity();
  double kg = 0, kh = 0, kg_w = 0, kh_w = 0, ag = 0, ah = 0, khg = 0, ahg = 0, khg_w = 0;
  double ag_w = 0, psi = 0, steepest = 0, steepest_w = 0, moved_all = 0, rounding = 0;
  ExpertsDirectional d{};
  for (std::size_t k = 0; k < v.count(); ++k) {
    const ExpertsSums& s = sums[k];
    const double b = v.weight[k], nu = v.smoothing[k], op = c.operators[k], cube = b / (nu * nu * nu);
    kg = std::max(kg, s.kg / nu);
    kh = std::max(kh, s.kh / nu);
    kg_w = std::max(kg_w, s.kg_max_w / nu);
    kh_w = std::max(kh_w, s.kh_max_w / nu);
    ag += b * nu * s.ag * s.ag;
    ah += b * nu * s.ah * s.ah;
    khg += cube * s.khg * s.khg;
    khg_w += cube * s.khg_w * s.khg_w;
    ahg += b * s.ahg;
    ag_w += b * nu * s.ag_w * s.ag_w;
    psi += b * nu * s.psi * s.psi;
    steepest = std::max(steepest, nu * s.a);
    steepest_w = std::max(steepest_w, nu * s.a_w);

    const double responses = moved(1, nu, op, epsilon, s.ag, s.ag_w / std::sqrt(b));
    const double moved_b = std::min(responses, 2 * s.g);
    const double moved_nu =
        std::min(huber ? epsilon * 2 / nu * op * op * norm_q : responses, 2 * bound_nu * s.g);
    const double moved_c = moved(b, nu, op, epsilon, s.aq, s.aq_w) + b * patches * epsilon * s.ag +
                           moved(b, nu, op, epsilon, s.kgx / (nu * nu), s.kgx_w / (nu * nu));
    const double taps_lipschitz = b * op * (2 * patches * s.a + op * s.k / (nu * nu) * s.patch);
    // Rounding of u = C q and t = C x, of what is formed from them, and of the sums' terms.
    const double reading = unit * c.reading[k], round_u = reading * norm_q, round_t = reading * s.x;
    const double round_b = round_u * s.psi + round_t * s.ag + 16 * unit * s.g;
    const double round_nu =
        round_u * s.psi_nu + round_t * (huber ? 2 / nu * op * norm_q : s.ag) + 16 * unit * s.g;
    const double bent = round_u * s.a + s.k / (nu * nu) * round_t * op * norm_q;
    const double round_c =
        patches * (norm_q * (round_t * s.a + 80 * unit * s.psi) + s.x * (bent + 80 * unit * s.ag));
    moved_all += b * moved_b;
    rounding += b * round_b;
    d.weight.push_back({slack * moved_b, slack * s.a_w * epsilon * nu / b, round_b, slack * op * s.psi,
                        slack * s.a * op * op});
    d.smoothing.push_back({slack * b / nu * moved_nu,
                           slack * b / nu * epsilon * nu / b * (huber ? 4 * c.norm2 / nu : s.a_w),
                           b / nu * round_nu, slack * b / nu * op * s.psi_nu,
                           slack * b / nu * (huber ? 2 / nu : s.a) * op * op});
    d.filters.push_back({slack * moved_c, infinity, b * round_c,
                         slack * b * (patches * s.psi + op * s.bend_x), slack * taps_lipschitz});
  }
  const double lambda = c.norm2, root = std::sqrt(lambda);
  d.overall = {slack * std::min({epsilon * root * std::sqrt(ag), epsilon * std::sqrt(ag_w), moved_all}),
               slack * epsilon * steepest_w, rounding, slack * root * std::sqrt(psi),
               slack * lambda * steepest};
  const double plain_q =
      slack * std::min({lambda * epsilon * kg, root * std::sqrt(ag), c.hessian_lipschitz * epsilon * norm_q});
  d.hessian_q = std::min(plain_q, slack * std::sqrt(2.0) * epsilon * kg_w);
  d.energy_q = std::min(plain_q, slack * 2 * epsilon * kg_w);
  d.hessian_qe = std::min(plain_q, slack * 0.5 * epsilon * kg_w) * epsilon;
  d.hessian_v =
      slack * std::min({lambda * epsilon * kh, root * std::sqrt(ah), c.hessian_lipschitz * epsilon * norm_v});
  d.energy_v = slack * epsilon * kh_w;
  d.hessian_vq = slack * std::min({root * epsilon * std::sqrt(khg), ahg, epsilon * std::sqrt(khg_w)});
  return d;
}

}  // namespace v0
}  // namespace bilevel
