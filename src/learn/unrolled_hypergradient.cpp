#include "bilevel/learn/unrolled_hypergradient.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "bilevel/core/error.hpp"
#include "solve/first_order_loop.hpp"

namespace bilevel {
inline namespace v0 {

UnrolledOptions UnrolledOptions::fixed_at(const Curvature& c) const {
  const bool ball = method == UnrolledMethod::heavy_ball;
  const HeavyBallStep polyak(c);
  UnrolledOptions fixed = *this;
  fixed.step = step.value_or(ball ? polyak.step : gradient_step(c));
  if (ball) fixed.momentum = momentum.value_or(polyak.momentum);
  return fixed;
}

void UnrolledOptions::validate() const {
  const auto require = [](bool good, const char* what) {
    if (!good) throw ConfigError(what);
  };
  require(steps >= 1, "the number of unrolled steps must be at least 1.");
  const double a = step.value_or(1), m = momentum.value_or(0);
  require(a > 0 && std::isfinite(a), "the step of unrolled iterations must be positive and finite.");
  require(m >= 0 && m < 1, "the momentum of unrolled iterations must lie in [0, 1).");
  require(!momentum || method == UnrolledMethod::heavy_ball,
          "momentum belongs to the heavy ball; choose that method, or leave it out.");
}

template <class T>
struct UnrolledHypergradient<T>::Impl {
  Impl(Context& context, const BilevelProblem<T>& of, const UnrolledOptions& with)
      : problem(of), options(with), shape(of.energy().shape()), segment(with.steps) {
    options.validate();
    if (options.derivative == UnrolledDerivative::inexact) return;
    if (options.checkpoints) segment = static_cast<int>(std::ceil(std::sqrt(options.steps)));
    for (int j = 0; j < segment; ++j) states.emplace_back(context, shape);
    for (int first = segment; first < options.steps; first += segment) {
      starts.emplace_back(context, shape);
      if (options.method == UnrolledMethod::heavy_ball) before.emplace_back(context, shape);
    }
  }

  const BilevelProblem<T>& problem;
  UnrolledOptions options;
  Shape shape;
  int segment;                    // states kept at a time: x^j is states[j % segment]
  std::vector<Tensor<T>> states;  // of the segment last computed
  std::vector<Tensor<T>> starts;  // x^j at the first j of every segment but the first
  std::vector<Tensor<T>> before;  // x^{j-1} there
};

namespace {

/// One computation: scratch and the steps forward and back.
template <class T, class Kept>
class Unrolling {
 public:
  Unrolling(Context& context, Kept& kept, View<const T> x0, View<T> x, Frame& frame)
      : context_(context),
        kept_(kept),
        energy_(kept.problem.energy()),
        images_(static_cast<std::uint64_t>(kept.shape.n)),
        all_(context, frame, kept.shape.n),
        one_(context, frame, 1),
        x0_(frame.view<T>(kept.shape)),
        x_(x),
        previous_(frame.view<T>(kept.shape)),
        product_(frame.view<T>(kept.shape)),
        weights_(frame.view<T>(
            {kept.shape.n * energy_.weight_arrays(), kept.shape.c, kept.shape.h, kept.shape.w})),
        inverse_(frame.view<T>(kept.shape)),
        sums_(frame.view<double>({energy_.mixed_sums(), kept.shape.n, 1, 1})),
        told_(
            frame.view<double>({energy_.mixed_sums() + kept.problem.loss().measures(), kept.shape.n, 1, 1})),
        total_{told_.device_data(), sums_.shape()},
        scalars_(frame.view<double>({3, kept.shape.n, 1, 1})) {
    const UnrolledOptions fixed = kept.options.fixed_at(energy_.curvature());
    step = *fixed.step;
    momentum = fixed.momentum.value_or(0);
    copy<T>(context, x0, x0_);
    if (x0.device_data() != x.device_data()) copy<T>(context, x0, x);
    copy<T>(context, x0, previous_);
  }

  /// x^0, ..., x^K.
  void forward() {
    const int steps = kept_.options.steps;
    for (int first = 0; first < steps; first += kept_.segment) {
      const bool reverse = kept_.options.derivative == UnrolledDerivative::reverse;
      if (reverse && first > 0) keep_start(static_cast<std::size_t>(first / kept_.segment - 1));
      advance(first, std::min(steps, first + kept_.segment), reverse);
    }
  }

  /// sum_j a B(x^j)^T v_{j+1}; uses x_ but for its value at the end, which is put back.
  void reverse(View<T> v, View<T> next, View<T> end) {
    copy<T>(context_, std::as_const(x_), end);
    const int steps = kept_.options.steps, last = (steps - 1) / kept_.segment * kept_.segment;
    for (int first = last; first >= 0; first -= kept_.segment) {
      const int stop = std::min(steps, first + kept_.segment);
      if (first != last) compute_again(first, stop);
      for (int j = stop - 1; j >= first; --j) {
        const View<const T> at = std::as_const(state(j)).view();
        linearise(at);
        add_mixed(at, v, step);
        back(v, next);
      }
    }
    copy<T>(context_, std::as_const(end), x_);
  }

  /// B(x^K)^T q, q = a sum_j v_{j+1} with all A at x^K.
  void inexact(View<T> v, View<T> next, View<T> q) {
    linearise(x_);
    fill<T>(context_, q, T(0));
    for (int j = 0; j < kept_.options.steps; ++j) {
      kernel_table<T>(context_).combine(
          stream_of(context_), {all_.active(), kept_.shape.image(), q.device_data(), v.device_data(), 1, step,
                                nullptr, nullptr, q.device_data()});
      back(v, next);
    }
    add_mixed(x_, q, 1);
  }

  /// v_K and v_{K+1}.
  void start_back(View<T> v, View<T> next) {
    kept_.problem.loss().gradient(context_, all_.active(), x_, 1.0 / static_cast<double>(images_), v);
    fill<T>(context_, next, T(0));
    fill<double>(context_, total_, 0);
    work.other += images_;
  }

  /// The sums of B^T v, then what the loss measures at x^K.
  std::vector<double> tell() {
    const UpperLoss<T>& loss = kept_.problem.loss();
    loss.measure(context_, all_.active(), x_,
                 {total_.device_data() + total_.shape().count(), {loss.measures(), kept_.shape.n, 1, 1}});
    return fetch(context_, told_).wait(context_);
  }
  double step = 0, momentum = 0;
  Work work;

 private:
  Tensor<T>& state(int j) { return kept_.states[static_cast<std::size_t>(j % kept_.segment)]; }

  /// x^first -> x^stop.
  void advance(int first, int stop, bool keep) {
    for (int j = first; j < stop; ++j) {
      if (keep) copy<T>(context_, std::as_const(x_), state(j).view());
      energy_.value_and_gradient(context_, all_.active(), x_, product_, {row(0), row(1), row(2)});
      move(x_, previous_);
    }
    work.gradients += images_ * static_cast<std::uint64_t>(stop - first);
  }
  /// y <- y - a product + m (y - before), before <- old y.
  void move(View<T> y, View<T> before) {
    kernel_table<T>(context_).momentum_step(
        stream_of(context_), {all_.active(), kept_.shape.image(), y.device_data(), before.device_data(),
                              product_.device_data(), step, momentum});
  }
  void back(View<T> v, View<T> next) {
    energy_.hessian_product(context_, all_.active(), weights_, v, product_, row(0));
    work.hessian_products += images_;
    move(v, next);
  }

  void keep_start(std::size_t k) {
    copy<T>(context_, std::as_const(x_), kept_.starts[k].view());
    if (!kept_.before.empty()) copy<T>(context_, std::as_const(previous_), kept_.before[k].view());
  }
  void compute_again(int first, int stop) {
    const auto k = static_cast<std::size_t>(first / kept_.segment);
    const auto from = [&](const std::vector<Tensor<T>>& kept) {
      return k == 0 || kept.empty() ? View<const T>(x0_) : kept[k - 1].view();
    };
    copy<T>(context_, from(kept_.starts), x_);
    copy<T>(context_, from(kept_.before), previous_);  // without momentum it does not matter
    advance(first, stop, true);
  }

  void linearise(View<const T> at) {
    energy_.linearise(context_, all_.active(), at, {}, weights_, inverse_);
    work.other += images_;
  }
  void add_mixed(View<const T> at, View<const T> v, double factor) {
    energy_.mixed_adjoint(context_, all_.active(), at, v, sums_);
    kernel_table<double>(context_).combine(
        stream_of(context_), {one_.active(), sums_.shape().count(), total_.device_data(), sums_.device_data(),
                              1, factor, nullptr, nullptr, total_.device_data()});
    work.other += images_;
  }
  Scalars row(int k) const {
    const int n = kept_.shape.n;
    return {scalars_.device_data() + static_cast<std::size_t>(k) * static_cast<std::size_t>(n), {n, 1, 1, 1}};
  }

  Context& context_;
  Kept& kept_;
  Energy<T>& energy_;
  std::uint64_t images_;
  ActiveSet all_, one_;
  View<T> x0_, x_, previous_, product_, weights_, inverse_;
  View<double> sums_, told_, total_, scalars_;
};

}  // namespace

template <class T>
UnrolledHypergradient<T>::UnrolledHypergradient(Context& context, const BilevelProblem<T>& problem,
                                                const UnrolledOptions& options)
    : impl_(new Impl(context, problem, options)) {}
template <class T>
UnrolledHypergradient<T>::~UnrolledHypergradient() = default;

template <class T>
UnrolledResult UnrolledHypergradient<T>::compute(Context& context, std::span<const double> theta,
                                                 View<const T> x0, View<T> x) {
  Impl& m = *impl_;
  require_same(m.shape, x0.shape(), "unrolled iterations (energy and start)");
  require_same(m.shape, x.shape(), "unrolled iterations (energy and result)");
  if (theta.size() != m.problem.parameters().size())
    throw ShapeError("theta has " + std::to_string(theta.size()) + " entries instead of " +
                     std::to_string(m.problem.parameters().size()) + ".");
  Frame frame(context);
  Unrolling<T, Impl> unrolling(context, m, x0, x, frame);
  const View<T> v = frame.view<T>(m.shape), next = frame.view<T>(m.shape), spare = frame.view<T>(m.shape);
  unrolling.forward();
  unrolling.start_back(v, next);
  if (m.options.derivative == UnrolledDerivative::reverse)
    unrolling.reverse(v, next, spare);
  else
    unrolling.inexact(v, next, spare);

  const std::vector<double> told = unrolling.tell();
  const auto n = static_cast<std::size_t>(m.shape.n);
  const std::span<const double> all(told);
  const auto sums = all.first(static_cast<std::size_t>(m.problem.energy().mixed_sums()) * n);

  UnrolledResult result;
  result.z.assign(theta.size(), 0);
  const double penalty = m.problem.penalty(theta, result.z);
  const std::vector<double> mixed = m.problem.energy().mixed(sums), exact(n, 0);
  for (std::size_t k = 0; k < mixed.size(); ++k) result.z[k % theta.size()] -= mixed[k];
  result.loss = enclose_loss(m.problem.loss(), all.subspan(sums.size()), exact, penalty).value;
  result.step = unrolling.step;
  result.momentum = unrolling.momentum;
  result.work = unrolling.work;
  return result;
}

template class BILEVEL_API UnrolledHypergradient<float>;
template class BILEVEL_API UnrolledHypergradient<double>;

}  // namespace v0
}  // namespace bilevel
