#include "bilevel/model/bilevel_problem.hpp"

#include <algorithm>

#include "bilevel/core/error.hpp"
#include "bilevel/model/composed_energy.hpp"
#include "model/checks.hpp"
#include "model/tv_constants.hpp"

namespace bilevel {
inline namespace v0 {

Penalty tv_condition_penalty(const Parameters& parameters, const TvOptions& options, const Shape& shape,
                             bool masked, double beta) {
  if (!(beta >= 0)) throw ConfigError("the condition penalty must not be negative.");
  return [=](std::span<const double> theta, std::span<double> gradient) {
    const TvValues v{parameters.value("alpha", theta), options.smoothed() ? parameters.value("nu", theta) : 1,
                     parameters.value("xi", theta)};
    const TvConstants c = tv_constants(options, shape, masked, v);
    const double kappa = c.lipschitz / c.mu, smooth = c.curvature * c.norm2;
    // L = 1 + r + alpha smooth(nu), mu = [S = I] + r, r = xi or alpha xi; smooth is proportional to 1/nu.
    const bool inside = options.xi_inside_alpha;
    const double ridge[3] = {inside ? v.xi : 0, 0, inside ? v.alpha : 1};
    const double steep[3] = {smooth, -v.alpha * smooth / v.nu, 0};
    const char* names[3] = {"alpha", "nu", "xi"};
    for (int k = 0; k < 3; ++k) {
      if (k == 1 && !options.smoothed()) continue;
      const int entry = parameters.entry(names[k]);
      if (entry < 0) continue;
      const auto j = static_cast<std::size_t>(entry);
      const double slope = transform_slope(parameters.learned(j).transform, theta[j]);
      const double d_kappa = (ridge[k] + steep[k] - kappa * ridge[k]) / c.mu;
      gradient[j] += beta * 2 * kappa * d_kappa * slope;
    }
    return beta * kappa * kappa;
  };
}

namespace {

std::string described(const Parameters& p, std::size_t entry) {
  const Segment& s = p.learned(entry);
  return "'" + s.name + "' (" + transform_name(s.transform) + ")";
}

/// Throws ConfigError unless every entry of theta means the same in both layouts.
void require_same_theta(const Parameters& energy, const Parameters& given) {
  for (std::size_t j = 0; j < given.size(); ++j) {
    const Segment &a = energy.learned(j), &b = given.learned(j);
    if (a.name != b.name || a.transform != b.transform || a.shape != b.shape)
      throw ConfigError("entry " + std::to_string(j) + " of theta is " + described(energy, j) +
                        " in the energy and " + described(given, j) +
                        " in the problem; give both the same parameters.");
  }
}

}  // namespace

template <class T>
BilevelProblem<T>::BilevelProblem(std::unique_ptr<Energy<T>> energy, std::shared_ptr<const UpperLoss<T>> loss,
                                  Parameters parameters, Penalty penalty)
    : energy_(std::move(energy)),
      loss_(std::move(loss)),
      parameters_(std::move(parameters)),
      penalty_(std::move(penalty)) {
  check();
}

template <class T>
BilevelProblem<T>::BilevelProblem(std::unique_ptr<Energy<T>> energy, View<const T> truth,
                                  Parameters parameters, Penalty penalty)
    : energy_(std::move(energy)), parameters_(std::move(parameters)), penalty_(std::move(penalty)) {
  if (const auto* composed = dynamic_cast<const ComposedEnergy<T>*>(energy_.get()))
    require_view(composed->images(), truth, "bilevel problem (images of the energy and true ones)");
  if (energy_) loss_ = squared_error<T>(truth, energy_->shape());
  check();
}

template <class T>
void BilevelProblem<T>::check() const {
  if (!energy_) throw ConfigError("a bilevel problem needs an energy, none is given.");
  if (!loss_) throw ConfigError("a bilevel problem needs a loss, none is given.");
  require_same(energy_->shape(), loss_->shape(), "bilevel problem (unknowns of energy and loss)");
  if (energy_->parameters() != parameters_.size())
    throw ConfigError("the energy has " + std::to_string(energy_->parameters()) +
                      " learned parameters, the layout " + std::to_string(parameters_.size()) + ".");
  if (const Parameters* layout = energy_->layout()) require_same_theta(*layout, parameters_);
  if (parameters_.size() == 0) throw ConfigError("no parameter is to be learned; name at least one.");
}

template <class T>
double BilevelProblem<T>::penalty(std::span<const double> theta, std::span<double> gradient) const {
  require_count(parameters_.size(), theta.size(), "penalty (theta)");
  require_count(parameters_.size(), gradient.size(), "penalty (gradient)");
  return penalty_ ? penalty_(theta, gradient) : 0;
}

template class BILEVEL_API BilevelProblem<float>;
template class BILEVEL_API BilevelProblem<double>;

}  // namespace v0
}  // namespace bilevel
