#include "solve/gradient_methods.hpp"

#include "kernels/krylov_args.hpp"
#include "solve/first_order_loop.hpp"

namespace bilevel {
inline namespace v0 {
namespace {

/// g = grad Phi(x).
template <class T>
auto gradient_of(Context& context, const Energy<T>& energy, const FirstOrderLoop<T>& loop) {
  return [&context, &energy, &loop](int) {
    energy.value_and_gradient(context, loop.active(), loop.x, loop.g, loop.state.sums);
  };
}

/// beta_k of the extrapolation v_k = x_k + beta_k (x_k - x_{k-1}), called for k = 1, 2, ...
class FistaMomentum {
 public:
  explicit FistaMomentum(double inverse_condition) : q_(inverse_condition) {}
  double next() {
    t_ = after(t_);  // t_k
    if (q_ >= 1) return 0;
    const double t_next = after(t_);
    return (t_ - 1) / t_next * (1 - q_ * t_next) / (1 - q_);
  }

 private:
  double after(double t) const {
    const double a = 1 - q_ * t * t;
    return 0.5 * (a + std::sqrt(a * a + 4 * t * t));
  }
  double q_, t_ = 0;
};

}  // namespace

template <class T>
SolveReport GradientDescent<T>::minimise(Context& context, const Energy<T>& energy,
                                         const SolveRequest<T>& request, View<T> x) const {
  require_problem<T>(energy, request, x, name());
  const Curvature curvature = energy.curvature();
  const double step = gradient_step(curvature);
  Frame frame(context);
  FirstOrderLoop<T> loop(context, frame, x.shape(), request, curvature, x,
                         std::fmax(50, curvature.lipschitz / curvature.mu));

  const SolveStatus end = loop.run(gradient_of(context, energy, loop), [&](int) {
    // x <- x - 2/(L+mu) grad
    kernel_table<T>(context).combine(
        stream_of(context), {loop.active(), loop.size(), x.device_data(), loop.g.device_data(), 1, -step,
                             nullptr, nullptr, x.device_data()});
  });
  return loop.state.report(context, std::nullopt, name(), end);
}

template <class T>
SolveReport HeavyBall<T>::minimise(Context& context, const Energy<T>& energy, const SolveRequest<T>& request,
                                   View<T> x) const {
  require_problem<T>(energy, request, x, name());
  const Curvature curvature = energy.curvature();
  const HeavyBallStep a(curvature);
  const double root_q = std::sqrt(curvature.mu / curvature.lipschitz);
  Frame frame(context);
  FirstOrderLoop<T> loop(context, frame, x.shape(), request, curvature, x, std::fmax(10, 10 / root_q));
  const View<T> previous = frame.view<T>(x.shape());
  copy<T>(context, x, previous);
  loop.guard = frame.view<double>({x.shape().n, 1, 1, 1});
  fill<double>(context, loop.guard, 0);

  const SolveStatus end = loop.run(gradient_of(context, energy, loop), [&](int) {
    // x_{k+1} = x_k - a grad + b (x_k - x_{k-1}); guarded: the FISTA step with momentum (1 - sqrt q)/(1 +
    // sqrt q)
    kernel_table<T>(context).guarded_step(
        stream_of(context), {{loop.active(), loop.size(), x.device_data(), previous.device_data(),
                              loop.g.device_data(), a.step, a.momentum},
                             1 / curvature.lipschitz,
                             (1 - root_q) / (1 + root_q),
                             loop.guard.device_data()});
  });
  return loop.state.report(context, std::nullopt, name(), end);
}

template <class T>
SolveReport Fista<T>::minimise(Context& context, const Energy<T>& energy, const SolveRequest<T>& request,
                               View<T> x) const {
  require_problem<T>(energy, request, x, name());
  const Curvature curvature = energy.curvature();
  Frame frame(context);
  FirstOrderLoop<T> loop(context, frame, x.shape(), request, curvature, x,
                         accelerated_window(curvature.lipschitz / curvature.mu));
  const View<T> previous = frame.view<T>(x.shape());
  copy<T>(context, x, previous);
  FistaMomentum momentum(curvature.mu / curvature.lipschitz);

  const SolveStatus end = loop.run(
      gradient_of(context, energy, loop),
      [&](int) {
        // x_{k+1} = v_k - 1/L grad Phi(v_k); v_{k+1} = x_{k+1} + beta_{k+1} (x_{k+1} - x_k)
        kernel_table<T>(context).fista_step(
            stream_of(context), {loop.active(), loop.size(), x.device_data(), previous.device_data(),
                                 loop.g.device_data(), 1 / curvature.lipschitz, momentum.next()});
      },
      /*fixed=*/false);
  return loop.state.report(context, std::nullopt, name(), end);
}

template <class T>
SolveReport FistaRestart<T>::minimise(Context& context, const Energy<T>& energy,
                                      const SolveRequest<T>& request, View<T> x) const {
  require_problem<T>(energy, request, x, name());
  const Curvature curvature = energy.curvature();
  Frame frame(context);
  FirstOrderLoop<T> loop(context, frame, x.shape(), request, curvature, x,
                         accelerated_window(curvature.lipschitz / curvature.mu));
  const View<T> previous = frame.view<T>(x.shape());
  copy<T>(context, x, previous);
  const View<double> t = frame.view<double>({x.shape().n, 1, 1, 1}),
                     restarted = frame.view<double>({x.shape().n, 1, 1, 1});
  fill<double>(context, t, 0);

  const SolveStatus end = loop.run(gradient_of(context, energy, loop), [&](int) {
    const kernels::Table<T>& kernel = kernel_table<T>(context);
    // x_{k+1} = v_k - 1/L grad Phi(v_k); v_{k+1} = x_{k+1} + beta_{k+1} (x_{k+1} - x_k)
    kernel.restart_step(stream_of(context),
                        {loop.active(), loop.size(), x.device_data(), previous.device_data(),
                         loop.g.device_data(), 1 / curvature.lipschitz, curvature.mu / curvature.lipschitz,
                         t.device_data(), restarted.device_data()});
    // v_{k+1} = x_{k+1} after a restart
    kernel.restart(stream_of(context), {loop.active(), loop.size(), x.device_data(), previous.device_data(),
                                        restarted.device_data()});
  });
  return loop.state.report(context, std::nullopt, name(), end);
}

template class GradientDescent<float>;
template class GradientDescent<double>;
template class HeavyBall<float>;
template class HeavyBall<double>;
template class Fista<float>;
template class Fista<double>;
template class FistaRestart<float>;
template class FistaRestart<double>;

}  // namespace v0
}  // namespace bilevel
