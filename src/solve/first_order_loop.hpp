#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#include "device/launch_list.hpp"
#include "kernels/decision_args.hpp"
#include "kernels/krylov_args.hpp"
#include "solve/solve_support.hpp"

namespace bilevel {
inline namespace v0 {

template <class T>
constexpr double unit_roundoff = static_cast<double>(std::numeric_limits<T>::epsilon()) / 2;

/// The loop of every method that evaluates one gradient per iteration and returns a point at which it did:
/// evaluate, certify, look, step. Finished images are frozen by their mask at once; the host looks every
/// `check_every` iterations.
template <class T>
class FirstOrderLoop {
 public:
  /// `window`: iterations in which the gradient halves unless the method cycles or has reached the rounding
  /// error. `cost`: operator applications of an iteration to one image.
  FirstOrderLoop(Context& context, Frame& frame, Shape shape, const SolveRequest<T>& request,
                 const Curvature& curvature, View<T> point, double window, double cost = 1)
      : x(point),
        g(frame.view<T>(shape)),
        state(context, frame, shape.n, request),
        mu_(curvature.mu),
        noise_(8 * unit_roundoff<T> * curvature.lipschitz),
        window_(static_cast<int>(std::fmin(std::ceil(window), 1e9))),
        cost_(cost),
        context_(context),
        best_(frame.view<double>({shape.n, 1, 1, 1})),
        reference_(frame.view<double>({shape.n, 1, 1, 1})),
        point2_(frame.view<double>({shape.n, 1, 1, 1})),
        spent_(frame.view<double>({1, 1, 1, 1})) {
    fill<double>(context, best_, HUGE_VAL);
    fill<double>(context, reference_, HUGE_VAL);
    fill<double>(context, spent_, shape.n);
  }

  /// `evaluate(k)` writes g and state.sums at x, `step(k)` moves x. `fixed`: what step(k) launches does not
  /// depend on k > 0. Returns what images still active ended with.
  template <class Evaluate, class Step>
  SolveStatus run(Evaluate evaluate, Step step, bool fixed = true) {
    const SolveRequest<T>& request = state.request;
    const auto visit = [&](int k) {
      evaluate(k);
      // |x - xhat| <= |grad| / mu
      state.measure(context_, mu_);
      watch(k);
    };
    LaunchList list(context_);
    visit(0);
    for (int k = 0; k < request.max_iterations;) {
      if (k % request.check_every == 0) {
        if (state.active.refresh(context_) == 0) return SolveStatus::converged;
        if (state.decided(context_, x)) return SolveStatus::decided;
      }
      const int look = std::min(k - k % request.check_every + request.check_every, request.max_iterations);
      const auto block = [&] {
        for (int j = k; j < look; ++j) {
          step(j);
          visit(j + 1);
        }
      };
      if (fixed && k > 0 && k / window_ == look / window_)
        list.run({static_cast<std::uintptr_t>(active().count), static_cast<std::uintptr_t>(look - k)}, block);
      else
        block();
      k = look;
    }
    return SolveStatus::iteration_cap;
  }

  Active active() const { return state.active.active(); }
  std::size_t size() const { return x.shape().image(); }

  View<T> x, g;
  LowerState<T> state;
  Scalars guard = {};  ///< empty, or for heavy ball: positive where the safe step is taken

 private:
  /// Budget, and every window the search for images without progress.
  void watch(int k) {
    const SolveRequest<T>& request = state.request;
    const kernels::ScalarTable& kernel = context_.impl().scalar_table();
    const kernels::Stream& stream = stream_of(context_);
    double* status = state.status.device_data();
    kernel.progress(stream, {active(), request.joint, state.images, state.sums.norm2.device_data(),
                             best_.device_data(), spent_.device_data(), static_cast<double>(request.budget),
                             status, state.active.mask(), cost_});
    if (k % window_ != 0) return;
    kernel_table<T>(context_).dot(
        stream, {active(), size(), x.device_data(), x.device_data(), false, point2_.device_data()});
    kernel.stall(stream,
                 {active(), request.joint, state.images, state.sums.norm2.device_data(), best_.device_data(),
                  reference_.device_data(), state.sums.rounding.device_data(), point2_.device_data(), noise_,
                  guard ? guard.device_data() : nullptr, status, state.active.mask()});
  }

  double mu_, noise_;
  int window_;
  double cost_;
  Context& context_;
  Scalars best_, reference_, point2_, spent_;
};

/// Window of an accelerated method with condition number kappa: its energy falls by e^-6 / kappa.
inline double accelerated_window(double kappa) {
  return std::fmax(50, std::sqrt(kappa) * (std::log(kappa) + 6));
}

/// a = 4 / (sqrt L + sqrt mu)^2 and b = ((sqrt kappa - 1) / (sqrt kappa + 1))^2 of the heavy ball (Polyak
/// 1964).
struct HeavyBallStep {
  explicit HeavyBallStep(const Curvature& c) {
    const double root_l = std::sqrt(c.lipschitz), root_mu = std::sqrt(c.mu),
                 ratio = (root_l - root_mu) / (root_l + root_mu);
    step = 4 / ((root_l + root_mu) * (root_l + root_mu));
    momentum = ratio * ratio;
  }
  double step, momentum;
};

/// 2 / (L + mu), the best step of gradient descent.
inline double gradient_step(const Curvature& c) { return 2 / (c.lipschitz + c.mu); }

}  // namespace v0
}  // namespace bilevel
