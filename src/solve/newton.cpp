#include "solve/newton.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>
#include <utility>

#include "device/backend.hpp"
#include "kernels/decision_args.hpp"
#include "kernels/krylov_args.hpp"
#include "kernels/precision_args.hpp"
#include "solve/conjugate_gradient.hpp"
#include "solve/solve_support.hpp"

namespace bilevel {
inline namespace v0 {
namespace {

constexpr double largest_forcing = 0.1;
constexpr int backtrack_cap = 40;

/// One solve: its vectors and per-image numbers. W is the precision of the linear systems, those of `system`.
template <class T, class W>
class NewtonRun {
 public:
  NewtonRun(Context& context, const Energy<T>& energy, const Energy<W>& system,
            const SolveRequest<T>& request, View<T> x, Frame& frame)
      : context_(context),
        energy_(energy),
        system_(system),
        request_(request),
        shape_(energy.shape()),
        mu_(energy.curvature().mu),
        x_(x),
        state_(context, frame, shape_.n, request),
        trial_(state_.new_sums(frame)),
        cg_(frame, shape_.n),
        list_(context),
        step_(frame.view<double>({shape_.n, 1, 1, 1})),
        backtracks_(frame.view<double>({shape_.n, 1, 1, 1})),
        norm2_first_(frame.view<double>({shape_.n, 1, 1, 1})),
        inner_(context, frame, shape_.n),
        dual_(frame.view<float>(times(energy.dual_arrays()))),
        weights_(frame.view<W>(times(system.weight_arrays()))),
        inverse_diagonal_(frame.view<W>(shape_)),
        d_(frame.view<T>(shape_)),
        g_(frame.view<T>(shape_)),
        p_(frame.view<T>(shape_)),
        product_(frame.view<T>(shape_)) {
    if constexpr (mixed)
      for (View<W>* v : {&system_d_, &system_r_, &system_p_, &system_product_}) *v = frame.view<W>(shape_);
  }

  SolveReport run() {
    energy_.value_and_gradient(context_, state_.active.active(), x_, g_, state_.sums);
    work_.gradients += static_cast<std::uint64_t>(shape_.n);
    energy_.start_dual(context_, state_.active.active(), x_, dual_);
    for (int k = 0;; ++k) {
      // |x - xhat| <= |grad| / mu
      if (state_.certify(context_, mu_) == 0) break;
      if (const auto stop = state_.interrupted(context_, x_, work_, k)) return finish(*stop);
      direction(k == 0);
      line_search();
      advance();
    }
    return finish(SolveStatus::converged);
  }

 private:
  static constexpr bool mixed = !std::is_same_v<T, W>;

  Shape times(int k) const { return {shape_.n * k, shape_.c, shape_.h, shape_.w}; }

  /// K^T M K d = -grad by conjugate gradients to eta_k |grad|.
  void direction(bool first) {
    const Active active = state_.active.active();
    const auto [vectors, at] = vectors_of_system(active);
    system_.linearise(context_, active, at, dual_, weights_, inverse_diagonal_);
    work_.other += static_cast<std::uint64_t>(active.count);
    const double share = request_.joint ? 1 / std::sqrt(static_cast<double>(shape_.n)) : 1;
    context_.impl().scalar_table().newton_begin(
        stream_of(context_),
        {active, state_.sums.norm2.device_data(), state_.tolerance.device_data(), mu_, largest_forcing, share,
         first, norm2_first_.device_data(), cg_.target.device_data()});
    inner_.assign(context_, state_.active);
    run_conjugate_gradient<W>(context_, {&system_, weights_, inverse_diagonal_}, inner_,
                              {vectors.r, -1, true}, vectors, cg_, list_, 10000, request_.check_every);
    if constexpr (mixed)
      context_.impl().scalar_table().widen(
          stream_of(context_), {active, shape_.image(), vectors.x.device_data(), false, d_.device_data()});
    work_.hessian_products += static_cast<std::uint64_t>(inner_.tally());
  }

  /// The vectors of the linear system, r = grad, and the point of its linearisation.
  std::pair<CgVectors<W>, View<const W>> vectors_of_system(const Active& active) {
    if constexpr (mixed) {
      const auto narrow = [&](View<const T> from, View<W> to) {
        context_.impl().scalar_table().narrow(
            stream_of(context_), {active, shape_.image(), from.device_data(), 0, to.device_data()});
      };
      narrow(x_, system_p_);
      narrow(g_, system_r_);
      return {{system_d_, system_r_, system_p_, system_product_, inverse_diagonal_}, system_p_};
    } else {
      return {{d_, g_, p_, product_, inverse_diagonal_}, x_};
    }
  }

  /// Armijo from the unit step: trial point in p, its gradient in `product`.
  void line_search() {
    fill<double>(context_, step_, 1);
    fill<double>(context_, backtracks_, 0);
    inner_.assign(context_, state_.active);
    while (inner_.count() > 0) {
      const Active searching = inner_.active();
      kernel_table<T>(context_).combine(
          stream_of(context_), {searching, shape_.image(), x_.device_data(), d_.device_data(), 1, 1, nullptr,
                                step_.device_data(), p_.device_data()});
      energy_.value_and_gradient(context_, searching, p_, product_, trial_);
      work_.gradients += static_cast<std::uint64_t>(searching.count);
      context_.impl().scalar_table().newton_decide(
          stream_of(context_),
          {searching, state_.sums.value.device_data(), state_.sums.norm2.device_data(),
           state_.sums.rounding.device_data(), trial_.value.device_data(), trial_.norm2.device_data(),
           trial_.rounding.device_data(), cg_.slope.device_data(),
           std::max(1e-13, 8.0 * static_cast<double>(std::numeric_limits<T>::epsilon())), step_.device_data(),
           backtracks_.device_data(), backtrack_cap, inner_.mask(), state_.active.mask(),
           state_.status.device_data()});
      inner_.refresh(context_);
    }
  }

  /// zeta, x and grad at the accepted step; images without one keep theirs.
  void advance() {
    const Active active = state_.active.active();
    energy_.update_dual(context_, active, x_, d_, step_, dual_);
    kernel_table<T>(context_).combine(
        stream_of(context_), {active, shape_.image(), x_.device_data(), d_.device_data(), 1, 1, nullptr,
                              step_.device_data(), x_.device_data()});
    std::swap(g_, product_);
  }

  SolveReport finish(SolveStatus unfinished) { return state_.report(context_, work_, "newton", unfinished); }

  Context& context_;
  const Energy<T>& energy_;
  const Energy<W>& system_;
  const SolveRequest<T>& request_;
  Shape shape_;
  double mu_;
  View<T> x_;
  LowerState<T> state_;
  GradientSums trial_;
  CgScalars cg_;
  LaunchList list_;
  Scalars step_, backtracks_, norm2_first_;
  ActiveSet inner_;
  View<float> dual_;
  View<W> weights_, inverse_diagonal_;
  View<T> d_, g_, p_, product_;
  View<W> system_d_, system_r_, system_p_, system_product_;  // empty when W = T
  Work work_;
};

}  // namespace

template <class T>
SolveReport Newton<T>::minimise(Context& context, const Energy<T>& energy, const SolveRequest<T>& request,
                                View<T> x) const {
  require_problem<T>(energy, request, x, name());
  Frame frame(context);
  return NewtonRun<T, T>(context, energy, energy, request, x, frame).run();
}

SolveReport newton_with_single(Context& context, const Energy<double>& energy, const Energy<float>& single,
                               const SolveRequest<double>& request, View<double> x) {
  Frame frame(context);
  return NewtonRun<double, float>(context, energy, single, request, x, frame).run();
}

template class Newton<float>;
template class Newton<double>;

}  // namespace v0
}  // namespace bilevel
