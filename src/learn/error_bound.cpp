#include "bilevel/learn/error_bound.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace bilevel {
inline namespace v0 {
namespace {

double norm(std::span<const double> v) {
  double sum = 0;
  for (double e : v) sum += e * e;
  return std::sqrt(sum);
}

}  // namespace

ErrorBound error_bound(const BoundInputs& in) {
  const std::size_t p = in.norm_mixed.size();
  const double eps = in.epsilon, mu = in.mu, lg = in.loss_lipschitz;
  const double norm_mixed = norm(in.norm_mixed), mixed_lipschitz = norm(in.mixed_lipschitz);
  ErrorBound out;

  out.theorem = (lg * norm_mixed / mu + in.hessian_lipschitz / (mu * mu) * in.norm_b * norm_mixed +
                 mixed_lipschitz * in.norm_b / mu) *
                    eps +
                norm_mixed / mu * in.residual + mixed_lipschitz * lg / mu * eps * eps;

  // rho >= |q^ - q|
  const double plain = std::min(in.hessian_lipschitz * eps * in.norm_q, in.q.hessian_q);
  const double rho = (in.residual + lg * eps + plain) / mu;
  out.adjoint = norm_mixed * rho + mixed_lipschitz * eps * (in.norm_q + rho);

  double rounding = 0;
  out.directional_entries.resize(p);
  for (std::size_t j = 0; j < p; ++j) {
    out.directional_entries[j] =
        in.norm_mixed[j] * rho + in.q.mixed_q[j] + in.mixed_lipschitz[j] * eps * rho + in.q.rounding[j];
    rounding += in.q.rounding[j] * in.q.rounding[j];
  }
  out.directional = norm(out.directional_entries);
  out.theorem += std::sqrt(rounding);
  out.adjoint += std::sqrt(rounding);

  out.columns = std::numeric_limits<double>::infinity();
  if (in.norm_v.size() != p) return out;
  out.column_entries.resize(p);
  for (std::size_t j = 0; j < p; ++j)
    out.column_entries[j] = in.norm_v[j] * lg * eps + in.v[j].hessian_vq + in.v[j].hessian_v * rho +
                            in.residual_v[j] * rho + in.q.mixed_q[j] + in.mixed_lipschitz[j] * eps * rho +
                            in.q.rounding[j] + in.norm_v[j] * in.residual_rounding;
  out.columns = norm(out.column_entries);
  return out;
}

}  // namespace v0
}  // namespace bilevel
