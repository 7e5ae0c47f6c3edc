#include "solve/pdhg.hpp"

#include "bilevel/core/error.hpp"
#include "solve/first_order_loop.hpp"

namespace bilevel {
inline namespace v0 {
namespace {

constexpr int steps_per_gradient = 10;

/// tau, sigma and theta of the strongly convex case.
struct PdhgSteps {
  explicit PdhgSteps(const ProximalConstants& c)
      : m(2 * std::sqrt(c.primal * c.dual) / c.norm),
        tau(m / (2 * c.primal)),
        inverse_sigma(2 * c.dual / m),
        theta(1 / (1 + m)) {}
  double m, tau, inverse_sigma, theta;
};

/// Iterations in which |grad Phi|^2 falls to a quarter. The squared distance in x and w falls by theta per
/// step, |grad Phi| is between mu and L times that in x, and w of the start adds at most 4/m^2 times its
/// square.
double window(const PdhgSteps& steps, double kappa) {
  const double decades = 2 * std::log(2 * kappa) + std::log(1 + 4 / (steps.m * steps.m));
  return std::fmax(50, decades / std::log1p(steps.m) / steps_per_gradient);
}

}  // namespace

template <class T>
SolveReport Pdhg<T>::minimise(Context& context, const Energy<T>& energy, const SolveRequest<T>& request,
                              View<T> x) const {
  require_problem<T>(energy, request, x, name());
  const ProximalForm<T>* form = energy.proximal();
  if (!form) throw ConfigError("pdhg needs an energy with a proximal form; use another solver.");
  const Curvature curvature = energy.curvature();
  const PdhgSteps steps(form->constants());
  Frame frame(context);
  FirstOrderLoop<T> loop(context, frame, x.shape(), request, curvature, x,
                         window(steps, curvature.lipschitz / curvature.mu), 1 + steps_per_gradient);
  const View<T> extrapolated = frame.view<T>(x.shape()), w = frame.view<T>(form->dual_shape());
  copy<T>(context, x, extrapolated);
  // w = grad F(K x)
  form->dual_step(context, loop.active(), x, 0, w);

  const SolveStatus end =
      loop.run([&](int) { energy.value_and_gradient(context, loop.active(), x, loop.g, loop.state.sums); },
               [&](int) {
                 for (int j = 0; j < steps_per_gradient; ++j) {
                   // w <- prox_{sigma F*}(w + sigma K xbar); x+ = prox_{tau G}(x - tau K^T w); xbar = x+ +
                   // theta (x+ - x)
                   form->dual_step(context, loop.active(), extrapolated, steps.inverse_sigma, w);
                   form->primal_step(context, loop.active(), w, steps.tau, steps.theta, x, extrapolated);
                 }
               });
  SolveReport report = loop.state.report(context, std::nullopt, name(), end);
  report.work.other = steps_per_gradient * (report.work.gradients - static_cast<std::uint64_t>(x.shape().n));
  return report;
}

template class Pdhg<float>;
template class Pdhg<double>;

}  // namespace v0
}  // namespace bilevel
