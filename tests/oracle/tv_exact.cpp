#include "tests/oracle/tv_exact.hpp"

#include <algorithm>
#include <cmath>
#include <sstream>
#include <stdexcept>

namespace bilevel::oracle {
namespace {

using extended::norm;
using extended::rounded;
using extended::widen;

ExtendedImage moved(ExtendedImage x, long double step, const ExtendedImage& d) {
  for (std::size_t p = 0; p < x.size(); ++p) x[p] += step * d[p];
  return x;
}

struct State {
  ExtendedImage x, zeta;
};

// One primal-dual Newton step with Armijo backtracking; where energy differences drown in rounding, a step
// that reduces the gradient is taken too. Returns false if no step is acceptable.
bool newton_step(const TvModel& model, const ExtendedImage& y, const ExtendedImage& g, State& state) {
  SymmetricBand band = extended::primal_dual_band(model, state.x, state.zeta);
  band.factorise();
  ExtendedImage d = band.solve(g);
  long double slope = 0;
  for (std::size_t p = 0; p < d.size(); ++p) {
    d[p] = -d[p];
    slope += d[p] * g[p];
  }
  const long double old = extended::energy(model, y, state.x), rounding = 1e-16L * std::abs(old);
  for (long double step = 1; step > 1e-12L; step /= 2) {
    ExtendedImage trial = moved(state.x, step, d);
    const long double value = extended::energy(model, y, trial);
    const auto flat = [&] {
      return value <= old + rounding && norm(extended::gradient(model, y, trial)) <= 0.9L * norm(g);
    };
    if (value <= old + 1e-4L * step * slope || flat()) {
      state.zeta = extended::dual_update(model, state.x, state.zeta, d);
      state.x = std::move(trial);
      return true;
    }
  }
  return false;
}

}  // namespace

Minimiser minimise(const TvModel& model, const Image& y, const Image& start, double tolerance) {
  const ExtendedImage data = widen(y);
  State state{widen(start.empty() ? y : start), {}};
  for (std::size_t p = 0; start.empty() && p < model.mask.size(); ++p) state.x[p] *= model.mask[p];
  state.zeta = extended::dual_field(model, state.x);
  const long double rounding = 4e-19L * curvature(model).L;
  Minimiser result;
  for (; result.iterations <= 2000; ++result.iterations) {
    const ExtendedImage g = extended::gradient(model, data, state.x);
    result.gradient_norm = static_cast<double>(norm(g));
    if (norm(g) <= std::max<long double>(tolerance, rounding * (1 + norm(state.x)))) {
      result.x = rounded(state.x);
      result.extended_x = state.x;
      return result;
    }
    if (!newton_step(model, data, g, state)) break;
  }
  std::ostringstream message;
  message << "The oracle's Newton method stopped at ||grad|| = " << result.gradient_norm << " after "
          << result.iterations << " iterations.";
  throw std::runtime_error(message.str());
}

Image solve_adjoint(const TvModel& model, const Image& x, const Image& rhs) {
  return rounded(solve_adjoint(model, widen(x), widen(rhs)));
}

ExtendedImage solve_adjoint(const TvModel& model, const ExtendedImage& x, const ExtendedImage& rhs) {
  SymmetricBand band = extended::primal_dual_band(model, x, extended::dual_field(model, x));
  band.factorise();
  return band.solve(rhs, [&](const ExtendedImage& q) { return extended::hessian_product(model, x, q); });
}

UpperResult exact_hypergradient(const TvModel& model, const std::vector<Parameter>& parameters,
                                const std::vector<Image>& y, const std::vector<Image>& truth) {
  const long double n = static_cast<long double>(y.size());
  UpperResult result;
  result.hypergradient.assign(parameters.size(), 0.0);
  long double f = 0;
  for (std::size_t i = 0; i < y.size(); ++i) {
    const Minimiser solution = minimise(model, y[i], {}, 0);
    ExtendedImage upper = solution.extended_x;
    for (std::size_t p = 0; p < upper.size(); ++p) {
      upper[p] = (upper[p] - truth.at(i).at(p)) / n;
      f += upper[p] * upper[p] * n / 2;
    }
    const ExtendedImage q = solve_adjoint(model, solution.extended_x, upper);
    const Image mixed = rounded(extended::mixed_adjoint(model, solution.extended_x, q));
    const MixedScalars scalars{mixed[0], mixed[1], mixed[2]};
    std::vector<double> contribution;
    for (const Parameter& parameter : parameters) {
      contribution.push_back(-chain_factor(model, parameter) * scalars[parameter.name]);
    }
    for (std::size_t j = 0; j < parameters.size(); ++j) result.hypergradient[j] += contribution[j];
    result.contributions.push_back(contribution);
    result.xhat.push_back(solution.x);
    result.extended_xhat.push_back(solution.extended_x);
    result.adjoint.push_back(rounded(q));
  }
  result.f = static_cast<double>(f);
  return result;
}

}  // namespace bilevel::oracle
