#pragma once

// Values of the upper loss with certified enclosures, and hypergradients, at accuracies that follow what a
// method needs to decide.

#include <algorithm>
#include <cmath>
#include <utility>

#include "bilevel/core/error.hpp"
#include "learn/run_support.hpp"

namespace bilevel {
inline namespace v0 {

/// A point with its hypergradient and the enclosure that the adjoint gives.
template <class T>
struct Evaluated {
  UpperPoint<T> point;
  HypergradientResult gradient = unknown_gradient();
  double width() const { return point.loss.upper - point.loss.lower; }
};

template <class T>
class CertifiedValue {
 public:
  explicit CertifiedValue(UpperOracle<T>& oracle)
      : epsilon(oracle.options().schedule.epsilon0),
        delta(oracle.options().schedule.delta0),
        oracle_(oracle),
        schedule_(oracle.options().schedule) {}

  Evaluated<T> point() const { return {oracle_.point()}; }

  /// At theta, warm started at at.point.x, refined until the enclosure is no wider than `width`.
  void evaluate(Evaluated<T>& at, std::vector<double> theta, double width) {
    at.point.theta = std::move(theta);
    for (int round = 0;; ++round) {
      measure(at);
      if (schedule_.fixed_accuracy || at.width() <= width || limited(at) || round == schedule_.max_rounds)
        return;
      refine(std::sqrt(width / at.width()));  // the width is of second order in the accuracies
    }
  }

  /// One solve to epsilon and one adjoint to delta.
  void measure(Evaluated<T>& at) {
    oracle_.solve(at.point, epsilon);
    HypergradientRequest request;
    request.delta = delta;
    request.columns = false;
    at.gradient = oracle_.gradient(at.point, request);
    oracle_.enclose(at.point, at.gradient);
  }

  /// Whether upper+ < lower of the current point. When the enclosures overlap although the values fall, both
  /// points are refined; a fall below `smallest` is none.
  bool certify_decrease(Evaluated<T>& current, Evaluated<T>& next, double smallest = 0) {
    while (next.point.loss.upper >= current.point.loss.lower) {
      const double fall = current.point.loss.value - next.point.loss.value;
      const double width = std::max(next.width(), current.width());
      if (schedule_.fixed_accuracy || fall <= smallest || limited(next) || limited(current)) return false;
      refine(std::sqrt(0.3 * fall / width));
      measure(current);
      measure(next);
    }
    return true;
  }

  /// Accuracies finer by the factor, between 0.1 and nu.
  void refine(double factor) {
    oracle_.check_limits();
    const double by = std::clamp(factor, 0.1, schedule_.nu);
    epsilon *= by;
    delta *= by;
  }
  void relax() {
    epsilon *= schedule_.nu_up;
    delta = std::min(delta * schedule_.nu_up, schedule_.delta0);
  }

  static bool limited(const Evaluated<T>& at) {
    return at.point.status == SolveStatus::rounding_limited ||
           at.gradient.status == SolveStatus::rounding_limited;
  }

  /// target = source, its points copied on the device.
  void assign(Evaluated<T>& target, const Evaluated<T>& source) {
    copy<T>(oracle_.context(), source.point.x.view(), target.point.x.view());
    target.point.theta = source.point.theta;
    target.point.epsilon = source.point.epsilon;
    target.point.measured = source.point.measured;
    target.point.loss = source.point.loss;
    target.point.status = source.point.status;
    target.gradient = source.gradient;
  }

  IterationRecord record(const Evaluated<T>& at, const char* status) const {
    IterationRecord r = oracle_.record(at.point, status);
    tell_gradient(at.gradient, r);
    r.epsilon = epsilon;
    r.delta = delta;
    return r;
  }

  void save(const Evaluated<T>& at, UpperState& state) const {
    state.numbers["epsilon"] = {epsilon};
    state.numbers["delta"] = {delta};
    state.numbers["evaluation"] = numbers(at);
  }
  /// At the point's theta.
  void restore(const UpperState& state, Evaluated<T>& at) {
    require_positive(state, {"epsilon", "delta"});
    epsilon = state.number("epsilon");
    delta = state.number("delta");
    take_numbers(state.list("evaluation"), at);
  }

  double epsilon, delta;

 private:
  /// The numbers of a point that a resumed run cannot form anew with the same bits, and back.
  static std::vector<double> numbers(const Evaluated<T>& at) {
    const UpperPoint<T>& p = at.point;
    const HypergradientResult& g = at.gradient;
    std::vector<double> out{p.loss.lower,    p.loss.value,    p.loss.upper,        g.omega,        g.rounding,
                            g.omega_theorem, g.omega_adjoint, g.omega_directional, g.omega_columns};
    for (const std::vector<double>* v : {&p.epsilon, &p.measured, &at.gradient.z})
      out.insert(out.end(), v->begin(), v->end());
    return out;
  }
  void take_numbers(const std::vector<double>& in, Evaluated<T>& at) const;

  UpperOracle<T>& oracle_;
  const ScheduleOptions& schedule_;
};

template <class T>
void CertifiedValue<T>::take_numbers(const std::vector<double>& in, Evaluated<T>& at) const {
  UpperPoint<T>& p = at.point;
  const UpperLoss<T>& loss = oracle_.problem().loss();
  const auto n = static_cast<std::size_t>(loss.shape().n);
  const std::size_t measured = static_cast<std::size_t>(loss.measures()) * n;
  constexpr std::size_t head = 9;
  if (in.size() != head + n + measured + p.theta.size())
    throw ShapeError("the saved state of the run is for another problem.");
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
  take(p.measured, measured);
  take(at.gradient.z, p.theta.size());
}

}  // namespace v0
}  // namespace bilevel
