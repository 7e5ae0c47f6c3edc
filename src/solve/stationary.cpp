#include "solve/stationary.hpp"

#include "kernels/decision_args.hpp"
#include "kernels/krylov_args.hpp"
#include "solve/first_order_loop.hpp"
#include "solve/residual_progress.hpp"

namespace bilevel {
inline namespace v0 {
namespace {

/// The loop of the lower level applied to the residual: g = r = b - A q with the certificate |r| + rounding.
template <class T>
class ResidualLoop {
 public:
  ResidualLoop(Context& context, Frame& frame, const HessianAt<T>& hessian, const LinearRequest& request,
               View<const T> b, View<T> q, const Curvature& curvature, double window)
      : request_(lower(request)),
        loop(context, frame, q.shape(), request_, {1, curvature.lipschitz, 0, {}}, q, window),
        context_(context),
        hessian_(hessian),
        warm_(request.warm_start),
        lipschitz_(curvature.product_scale()),
        b_(b),
        product_(frame.view<T>(q.shape())),
        inner_(frame.view<double>({q.shape().n, 1, 1, 1})),
        qq_(frame.view<double>({q.shape().n, 1, 1, 1})),
        bb_(frame.view<double>({q.shape().n, 1, 1, 1})) {}

  template <class Step>
  SolveReport run(const char* name, Step step) {
    if (!warm_) {
      fill<T>(context_, loop.x, T(0));
      fill<T>(context_, product_, T(0));
    }
    const SolveStatus end = loop.run([this](int k) { evaluate(k); }, step);
    SolveReport report = loop.state.report(context_, std::nullopt, name, end, "residual bound");
    report.work.hessian_products =
        report.work.gradients - (warm_ ? 0 : static_cast<std::uint64_t>(loop.state.images));
    report.work.gradients = 0;
    return report;
  }

 private:
  static SolveRequest<T> lower(const LinearRequest& r) {
    SolveRequest<T> request;
    request.tolerance = r.tolerance;
    request.per_image = r.per_image;
    request.max_iterations = r.max_iterations;
    request.check_every = r.check_every;
    return request;
  }

  /// r = b - A q.
  void evaluate(int k) {
    const Active active = loop.active();
    if (warm_ || k > 0)
      hessian_.energy->hessian_product(context_, active, hessian_.weights, loop.x, product_, inner_);
    const GradientSums& sums = loop.state.sums;
    kernel_table<T>(context_).residual(
        stream_of(context_),
        {active, loop.size(), b_.device_data(), product_.device_data(), loop.x.device_data(),
         loop.g.device_data(), sums.norm2.device_data(), qq_.device_data(), bb_.device_data()});
    context_.impl().scalar_table().residual_rounding(
        stream_of(context_), {active, qq_.device_data(), bb_.device_data(), unit_roundoff<T>, lipschitz_,
                              sums.rounding.device_data(), residual_underflow<T>(loop.size(), lipschitz_)});
  }

  SolveRequest<T> request_;

 public:
  FirstOrderLoop<T> loop;

 private:
  Context& context_;
  const HessianAt<T>& hessian_;
  bool warm_;
  double lipschitz_;
  View<const T> b_;
  View<T> product_;
  Scalars inner_, qq_, bb_;
};

}  // namespace

template <class T>
SolveReport RichardsonSolver<T>::solve(Context& context, const HessianAt<T>& hessian,
                                       const LinearRequest& request, View<const T> b, View<T> q) const {
  require_system<T>(hessian, request, b, q, name());
  const Curvature curvature = hessian.energy->curvature();
  const double a = gradient_step(curvature);
  Frame frame(context);
  ResidualLoop<T> solve(context, frame, hessian, request, b, q, curvature,
                        std::fmax(50, curvature.lipschitz / curvature.mu));
  const FirstOrderLoop<T>& loop = solve.loop;
  return solve.run(name(), [&](int) {
    // q <- q + a r
    kernel_table<T>(context).combine(
        stream_of(context), {loop.active(), loop.size(), q.device_data(), loop.g.device_data(), 1, a, nullptr,
                             nullptr, q.device_data()});
  });
}

template <class T>
SolveReport HeavyBallSolver<T>::solve(Context& context, const HessianAt<T>& hessian,
                                      const LinearRequest& request, View<const T> b, View<T> q) const {
  require_system<T>(hessian, request, b, q, name());
  const Curvature curvature = hessian.energy->curvature();
  const HeavyBallStep a(curvature);
  Frame frame(context);
  ResidualLoop<T> solve(context, frame, hessian, request, b, q, curvature,
                        accelerated_window(curvature.lipschitz / curvature.mu));
  const FirstOrderLoop<T>& loop = solve.loop;
  const View<T> previous = frame.view<T>(q.shape());
  return solve.run(name(), [&](int k) {
    if (k == 0) copy<T>(context, q, previous);
    // q_{k+1} = q_k + a r_k + m (q_k - q_{k-1})
    kernel_table<T>(context).momentum_step(
        stream_of(context), {loop.active(), loop.size(), q.device_data(), previous.device_data(),
                             loop.g.device_data(), -a.step, a.momentum});
  });
}

template class RichardsonSolver<float>;
template class RichardsonSolver<double>;
template class HeavyBallSolver<float>;
template class HeavyBallSolver<double>;

}  // namespace v0
}  // namespace bilevel
