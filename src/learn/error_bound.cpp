#include "bilevel/learn/error_bound.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "bilevel/core/error.hpp"
#include "core/norm.hpp"

namespace bilevel {
inline namespace v0 {
ErrorBound error_bound(const BoundInputs& in) {
  const std::size_t p = in.norm_mixed.size(), columns = in.norm_v.size();
  const auto require = [](std::size_t size, std::size_t wanted, const char* what) {
    if (size != wanted)
      throw ShapeError(std::string("the inputs of an error bound have ") + std::to_string(size) + " " + what +
                       " instead of " + std::to_string(wanted) + ".");
  };
  require(in.mixed_lipschitz.size(), p, "Lipschitz constants of blocks");
  require(in.q.mixed_q.size(), p, "changes of B^T q");
  require(in.q.energy_mixed.size(), p, "energy norms of blocks");
  require(in.q.rounding.size(), p, "rounding errors of blocks");
  require(in.residual_v.size(), columns, "residuals of columns");
  require(in.v.size(), columns, "bounds of columns");
  if (!in.direction.empty()) require(in.direction.size(), columns, "directions");
  for (const std::vector<double>& d : in.direction) require(d.size(), p, "blocks of a direction");
  const double eps = in.epsilon, mu = in.mu, lg = in.loss_lipschitz;
  const double norm_mixed = norm_of(in.norm_mixed), mixed_lipschitz = norm_of(in.mixed_lipschitz);
  const double residual = in.residual + in.q.linearisation;  // of A(x~)
  ErrorBound out;

  out.theorem = (lg * norm_mixed / mu + in.hessian_lipschitz / (mu * mu) * in.norm_b * norm_mixed +
                 mixed_lipschitz * in.norm_b / mu) *
                    eps +
                norm_mixed / mu * residual + mixed_lipschitz * lg / mu * eps * eps;

  // rho >= |q^ - q| for Q, from the Lipschitz constant alone, and with the directional bounds: the 2-norm and
  // the energy norm of f = q^ - q.
  const double first = in.residual + lg * eps;
  const double rho_q = (residual + lg * eps + in.hessian_lipschitz * eps * in.norm_q) / mu;
  const double rho = (first + in.q.hessian_q) / mu, phi = (first + in.q.energy_q) / mu;
  out.adjoint = norm_mixed * rho_q + mixed_lipschitz * eps * (in.norm_q + rho_q);

  double rounding = 0;
  std::vector<double> mixed_f(p);  // >= |f^T (B^ - B~)_j|
  out.directional_entries.resize(p);
  for (std::size_t j = 0; j < p; ++j) {
    mixed_f[j] = std::min(in.mixed_lipschitz[j] * eps * rho, in.q.energy_mixed[j] * phi);
    out.directional_entries[j] = in.norm_mixed[j] * rho + in.q.mixed_q[j] + mixed_f[j] + in.q.rounding[j];
    rounding += in.q.rounding[j] * in.q.rounding[j];
  }
  out.directional = norm_of(out.directional_entries);
  out.theorem += std::sqrt(rounding);
  out.adjoint += std::sqrt(rounding);

  out.columns = std::numeric_limits<double>::infinity();
  for (std::size_t j = 0; j < in.norm_v.size(); ++j) {
    double mixed = 0;  // |dB_j^T q| + |f^T dB_j| + rounding
    for (std::size_t b = 0; b < p; ++b) {
      const double part = in.direction.empty() ? (b == j ? 1 : 0) : in.direction[j][b];
      if (part > 0) mixed += part * (in.q.mixed_q[b] + mixed_f[b] + in.q.rounding[b]);
    }
    out.column_entries.push_back(in.norm_v[j] * lg * eps + in.v[j].hessian_vq +
                                 std::min(in.v[j].hessian_v * rho, in.v[j].energy_v * phi) +
                                 in.residual_v[j] * rho + mixed + in.norm_v[j] * in.residual_rounding);
  }
  if (in.direction.empty() && in.norm_v.size() == p) out.columns = norm_of(out.column_entries);
  return out;
}

}  // namespace v0
}  // namespace bilevel
