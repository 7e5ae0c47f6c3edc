#pragma once

// Values of the upper loss with certified enclosures, and hypergradients, at accuracies that follow what a
// method needs to decide.

#include <algorithm>
#include <cmath>
#include <utility>

#include "learn/lower_level.hpp"

namespace bilevel {
inline namespace v0 {

/// A point with its hypergradient and the enclosure that the adjoint gives.
template <class T>
struct Evaluated {
  Point<T> point;
  HypergradientResult gradient = unknown_gradient();
  double width() const { return point.loss.upper - point.loss.lower; }
};

template <class T>
class CertifiedValue {
 public:
  CertifiedValue(Context& context, const BilevelProblem<T>& problem, const UpperOptions& options,
                 LowerLevel<T>& lower)
      : epsilon(options.schedule.epsilon0),
        delta(options.schedule.delta0),
        hypergradient(context, problem, options.linear_solver),
        context_(context),
        problem_(problem),
        options_(options),
        lower_(lower) {}

  Evaluated<T> point() const { return {{{}, Tensor<T>(context_, problem_.energy().shape()), {}, {}}}; }

  /// At theta, warm started at at.point.x, refined until the enclosure is no wider than `width`.
  void evaluate(Evaluated<T>& at, std::vector<double> theta, double width) {
    at.point.theta = std::move(theta);
    problem_.energy().bind(at.point.theta);
    for (int round = 0;; ++round) {
      measure(at);
      if (options_.schedule.fixed_accuracy || at.width() <= width || limited(at) ||
          round == options_.schedule.max_rounds)
        return;
      refine(std::sqrt(width / at.width()));  // the width is of second order in the accuracies
    }
  }

  /// The same point again, at the present accuracies.
  void remeasure(Evaluated<T>& at) {
    problem_.energy().bind(at.point.theta);
    measure(at);
  }

  /// Whether upper+ < lower of the current point. When the enclosures overlap although the values fall, both
  /// points are refined; a fall below `smallest` is none.
  bool certify_decrease(Evaluated<T>& current, Evaluated<T>& next, double smallest = 0) {
    while (next.point.loss.upper >= current.point.loss.lower) {
      const double fall = current.point.loss.value - next.point.loss.value;
      const double width = std::max(next.width(), current.width());
      if (options_.schedule.fixed_accuracy || fall <= smallest || limited(next) || limited(current))
        return false;
      refine(std::sqrt(0.3 * fall / width));
      remeasure(current);
      remeasure(next);
    }
    return true;
  }

  /// Accuracies finer by the factor, between 0.1 and nu.
  void refine(double factor) {
    lower_.check_limits();
    const double by = std::clamp(factor, 0.1, options_.schedule.nu);
    epsilon *= by;
    delta *= by;
  }
  void relax() {
    epsilon *= options_.schedule.nu_up;
    delta = std::min(delta * options_.schedule.nu_up, options_.schedule.delta0);
  }

  static bool limited(const Evaluated<T>& at) {
    return at.point.status == SolveStatus::rounding_limited ||
           at.gradient.status == SolveStatus::rounding_limited;
  }

  /// target = source, its points copied on the device.
  void assign(Evaluated<T>& target, const Evaluated<T>& source) {
    copy<T>(context_, source.point.x.view(), target.point.x.view());
    target.point.theta = source.point.theta;
    target.point.epsilon = source.point.epsilon;
    target.point.measured = source.point.measured;
    target.point.loss = source.point.loss;
    target.point.status = source.point.status;
    target.gradient = source.gradient;
  }

  IterationRecord record(const Evaluated<T>& at, int iteration, const char* status) const {
    IterationRecord r = lower_.record(at.point, iteration, status);
    r.gradient = at.gradient.z;
    r.error_bound = at.gradient.omega;
    r.omega_theorem = at.gradient.omega_theorem;
    r.omega_adjoint = at.gradient.omega_adjoint;
    r.omega_directional = at.gradient.omega_directional;
    r.omega_columns = at.gradient.omega_columns;
    r.epsilon = epsilon;
    r.delta = delta;
    return r;
  }

  /// The numbers of a point that a resumed run cannot form anew with the same bits, and back.
  static std::vector<double> numbers(const Evaluated<T>& at) {
    const Point<T>& p = at.point;
    const HypergradientResult& g = at.gradient;
    std::vector<double> out{p.loss.lower,    p.loss.value,    p.loss.upper,        g.omega,        g.rounding,
                            g.omega_theorem, g.omega_adjoint, g.omega_directional, g.omega_columns};
    for (const std::vector<double>* v : {&p.epsilon, &p.measured, &at.gradient.z})
      out.insert(out.end(), v->begin(), v->end());
    return out;
  }
  /// Takes them from the front of `in`, at the point's theta.
  void take_numbers(std::vector<double>& in, Evaluated<T>& at) const;

  double epsilon, delta;
  ImplicitHypergradient<T> hypergradient;

 private:
  /// One solve to epsilon and one adjoint to delta at the theta bound to the energy.
  void measure(Evaluated<T>& at) {
    lower_.solve(at.point, epsilon);
    HypergradientRequest request;
    request.delta = delta;
    request.columns = false;
    at.gradient =
        hypergradient.compute(context_, at.point.theta, at.point.x.view(), at.point.epsilon, request);
    lower_.work += at.gradient.work;
    if (at.gradient.status == SolveStatus::failed) throw Stop{UpperStatus::failed, at.gradient.message};
    at.point.loss =
        enclose_loss(problem_.loss(), at.point.measured, at.point.epsilon, at.gradient.adjoint_product,
                     at.gradient.adjoint_error, lower_.penalty(at.point.theta));
  }

  Context& context_;
  const BilevelProblem<T>& problem_;
  const UpperOptions& options_;
  LowerLevel<T>& lower_;
};

template <class T>
void CertifiedValue<T>::take_numbers(std::vector<double>& in, Evaluated<T>& at) const {
  Point<T>& p = at.point;
  const auto n = static_cast<std::size_t>(problem_.images());
  constexpr std::size_t head = 9;
  const std::size_t m = static_cast<std::size_t>(problem_.loss().measures()) * n;
  const std::size_t all = head + n + m + p.theta.size();
  if (in.size() < all) throw ShapeError("the saved state of the run is for another problem.");
  p.loss = {in[0], in[1], in[2]};
  at.gradient.omega = in[3];
  at.gradient.rounding = in[4];
  at.gradient.omega_theorem = in[5];
  at.gradient.omega_adjoint = in[6];
  at.gradient.omega_directional = in[7];
  at.gradient.omega_columns = in[8];
  auto next = in.begin() + head;
  const auto take = [&](std::vector<double>& out, std::size_t count) {
    out.assign(next, next + static_cast<std::ptrdiff_t>(count));
    next += static_cast<std::ptrdiff_t>(count);
  };
  take(p.epsilon, n);
  take(p.measured, m);
  take(at.gradient.z, p.theta.size());
  in.erase(in.begin(), next);
}

}  // namespace v0
}  // namespace bilevel
