#include "solve/lbfgs.hpp"

#include <algorithm>

#include "kernels/lbfgs_args.hpp"
#include "solve/first_order_loop.hpp"

namespace bilevel {
inline namespace v0 {
namespace {

/// Pairs, direction and line search of one solve.
template <class T>
class LbfgsRun {
 public:
  LbfgsRun(Context& context, Frame& frame, const FirstOrderLoop<T>& loop, const Curvature& curvature)
      : context_(context),
        loop_(loop),
        curvature_(curvature),
        base_(frame.view<T>(loop.x.shape())),
        base_g_(frame.view<T>(loop.x.shape())),
        d_(frame.view<T>(loop.x.shape())),
        s_(frame.view<T>(pairs(loop.x.shape()))),
        y_(frame.view<T>(pairs(loop.x.shape()))),
        accepted_(frame.view<std::uint8_t>({loop.x.shape().n, 1, 1, 1})),
        redo_(frame.view<std::uint8_t>({loop.x.shape().n, 1, 1, 1})),
        state_(reinterpret_cast<kernels::LbfgsState*>(
            frame.view<double>({loop.x.shape().n, doubles, 1, 1}).device_data())) {}

  /// From the trial point x, where the gradient was evaluated, to the next one.
  void step(int k) {
    if (k == 0)
      start();
    else
      advance();
    // d = -H grad by the two-loop recursion, or -grad
    direction(accepted_);
    direction(redo_);
    // x = base + t d
    kernel().lbfgs_trial(stream_of(context_), {loop_.active(), size(), base_.device_data(), d_.device_data(),
                                               loop_.x.device_data(), state_});
  }

 private:
  static constexpr int doubles = (sizeof(kernels::LbfgsState) + sizeof(double) - 1) / sizeof(double);
  static Shape pairs(Shape s) { return {s.n * kernels::lbfgs_memory, s.c, s.h, s.w}; }
  const kernels::Table<T>& kernel() const { return kernel_table<T>(context_); }
  std::size_t size() const { return loop_.size(); }
  Active only(View<std::uint8_t> mask) const {
    Active a = loop_.active();
    a.mask = mask.device_data();
    return a;
  }

  void start() {
    copy<T>(context_, loop_.x, base_);
    copy<T>(context_, loop_.g, base_g_);
    context_.impl().scalar_table().lbfgs_start(
        stream_of(context_), {loop_.state.images, loop_.active().mask, loop_.state.sums.value.device_data(),
                              state_, accepted_.device_data(), redo_.device_data()});
  }

  void advance() {
    // accept t, or narrow its bracket
    const double slack = std::max(1e-13, 16 * unit_roundoff<T>);
    kernel().lbfgs_search(stream_of(context_), {loop_.active(), size(), loop_.g.device_data(),
                                                d_.device_data(), loop_.state.sums.value.device_data(), slack,
                                                state_, accepted_.device_data(), redo_.device_data()});
    // accepted: s = x - base, y = grad - grad(base), base = x
    kernel().lbfgs_update(stream_of(context_),
                          {only(accepted_), size(), loop_.state.images, loop_.x.device_data(),
                           loop_.g.device_data(), base_.device_data(), base_g_.device_data(),
                           s_.device_data(), y_.device_data(), curvature_.mu, state_});
  }

  void direction(View<std::uint8_t> mask) {
    kernel().lbfgs_direction(
        stream_of(context_),
        {only(mask), size(), loop_.state.images, base_g_.device_data(), s_.device_data(), y_.device_data(),
         d_.device_data(), gradient_step(curvature_), state_, accepted_.device_data(), redo_.device_data()});
  }

  Context& context_;
  const FirstOrderLoop<T>& loop_;
  const Curvature& curvature_;
  View<T> base_, base_g_, d_, s_, y_;
  View<std::uint8_t> accepted_, redo_;
  kernels::LbfgsState* state_;
};

}  // namespace

template <class T>
SolveReport Lbfgs<T>::minimise(Context& context, const Energy<T>& energy, const SolveRequest<T>& request,
                               View<T> x) const {
  require_problem<T>(energy, request, x, name());
  const Curvature curvature = energy.curvature();
  Frame frame(context);
  FirstOrderLoop<T> loop(context, frame, x.shape(), request, curvature, x,
                         accelerated_window(curvature.lipschitz / curvature.mu));
  LbfgsRun<T> lbfgs(context, frame, loop, curvature);
  const SolveStatus end =
      loop.run([&](int) { energy.value_and_gradient(context, loop.active(), x, loop.g, loop.state.sums); },
               [&](int k) { lbfgs.step(k); });
  return loop.state.report(context, std::nullopt, name(), end);
}

template class Lbfgs<float>;
template class Lbfgs<double>;

}  // namespace v0
}  // namespace bilevel
