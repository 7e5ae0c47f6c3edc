#include "bilevel/model/bilevel_problem.hpp"

#include <algorithm>

#include "bilevel/core/error.hpp"
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
BilevelProblem<T>::BilevelProblem(std::unique_ptr<Energy<T>> energy, View<const T> truth,
                                  Parameters parameters, Penalty penalty)
    : energy_(std::move(energy)),
      truth_(truth),
      parameters_(std::move(parameters)),
      penalty_(std::move(penalty)) {
  if (!energy_) throw ConfigError("a bilevel problem needs an energy, none is given.");
  require_view(energy_->shape(), truth, "bilevel problem (unknown and true images)");
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

namespace {

/// One number per image, of at least one image.
void require_images(std::size_t images, std::initializer_list<std::size_t> counts) {
  if (images == 0) throw ShapeError("a loss needs at least one image, there are 0.");
  for (std::size_t count : counts) require_count(images, count, "enclosure of the loss (images)");
}

}  // namespace

LossEnclosure enclose_loss(std::span<const double> distance, std::span<const double> epsilon,
                           double penalty) {
  require_images(distance.size(), {epsilon.size()});
  LossEnclosure sum;
  for (std::size_t i = 0; i < distance.size(); ++i) {
    const double r = distance[i], e = epsilon[i], low = std::max(r - e, 0.0);
    sum.lower += low * low;
    sum.value += r * r;
    sum.upper += (r + e) * (r + e);
  }
  const double scale = 0.5 / static_cast<double>(distance.size());
  return {scale * sum.lower + penalty, scale * sum.value + penalty, scale * sum.upper + penalty};
}

template class BILEVEL_API BilevelProblem<float>;
template class BILEVEL_API BilevelProblem<double>;

LossEnclosure enclose_loss(std::span<const double> distance, std::span<const double> epsilon,
                           std::span<const double> product, std::span<const double> error, double penalty) {
  require_images(distance.size(), {epsilon.size(), product.size(), error.size()});
  LossEnclosure out{penalty, penalty, penalty};
  const double n = static_cast<double>(distance.size());
  for (std::size_t i = 0; i < distance.size(); ++i) {
    const double r = distance[i], eps = epsilon[i], estimate = r * r / (2 * n) - product[i];
    const double lower = std::max(r - eps, 0.0), upper = r + eps;
    const double rounding = 1e-15 * (r * r / (2 * n) + std::abs(product[i]));
    out.lower += std::max(lower * lower / (2 * n), estimate - error[i] - rounding);
    out.upper += std::min(upper * upper / (2 * n), estimate + error[i] + rounding + eps * eps / (2 * n));
    out.value += estimate;
  }
  out.value = std::clamp(out.value, out.lower, std::max(out.lower, out.upper));
  return out;
}

}  // namespace v0
}  // namespace bilevel
