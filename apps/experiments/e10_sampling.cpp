// E10: 64 sampling weights of a one-dimensional k-space, by methods with hypergradients and without. The data
// are those of the published raw results: NumPy's legacy generator with seed 0.

#include <algorithm>
#include <cmath>
#include <complex>
#include <numbers>

#include "apps/common/text.hpp"
#include "apps/experiments/measured_run.hpp"
#include "apps/experiments/registry.hpp"
#include "apps/experiments/step_signals.hpp"
#include "bilevel/learn/dfo.hpp"

namespace bilevel_app::experiments {

namespace {

using namespace bilevel;

constexpr int kSignals = 10, kLength = 64;
constexpr double kScale =
    2 * kSignals;                  ///< published f = sum |xhat - x|^2 + 0.1 |theta|_1 is this times ours
constexpr double kActive = 0.001;  ///< theta above count as sampled
constexpr double kClose = 1e-5;    ///< relative, to the published f
constexpr double kPublished = .478275, kPublishedActive = 32;  ///< FISTA with dynamic accuracy

/// Unitary discrete Fourier transform, zero frequency first.
std::vector<std::complex<double>> fourier(std::span<const double> x) {
  const auto n = static_cast<double>(x.size());
  std::vector<std::complex<double>> out(x.size());
  for (std::size_t j = 0; j < x.size(); ++j)
    for (std::size_t k = 0; k < x.size(); ++k)
      out[j] +=
          std::polar(x[k] / std::sqrt(n), -2 * std::numbers::pi * static_cast<double>(j * k % x.size()) / n);
  return out;
}

/// F x + 0.05 (a + i b)/sqrt 2 of every signal in turn, all of a before b.
std::vector<std::complex<double>> noisy_kspace(StepSignals& signals) {
  std::vector<std::complex<double>> out;
  for (std::size_t first = 0; first < signals.clean.size(); first += kLength) {
    const auto y = fourier(std::span(signals.clean).subspan(first, kLength));
    const std::vector<double> a = signals.random.normal_vector(kLength),
                              b = signals.random.normal_vector(kLength);
    for (std::size_t j = 0; j < y.size(); ++j)
      out.push_back(y[j] + 0.05 / std::sqrt(2) * std::complex(a[j], b[j]));
  }
  return out;
}

/// The signals as complex images.
std::vector<double> with_imaginary(const std::vector<double>& real) {
  std::vector<double> out;
  for (std::size_t first = 0; first < real.size(); first += kLength) {
    out.insert(out.end(), real.begin() + static_cast<std::ptrdiff_t>(first),
               real.begin() + static_cast<std::ptrdiff_t>(first + kLength));
    out.resize(out.size() + kLength, 0);
  }
  return out;
}

Parameters layout_of(SamplingMap map) {
  const bool rational = map == SamplingMap::rational;
  Segment s{"s", Transform::identity, 0.5, rational ? kActive : 0, rational ? 0.99 : 1, true};
  s.shape = {kLength};
  s.values = std::vector<double>(kLength, 0.5);
  return Parameters({s,
                     {"alpha", Transform::identity, 1e-2, 0, 1, false},
                     {"nu", Transform::identity, 1e-2, 0, 1, false},
                     {"xi", Transform::identity, 1e-4, 0, 1, false}});
}

/// 1/2 sum_j w_j |(F x - y)_j|^2 + alpha sum_p sqrt(|(K x)_p|^2 + nu^2) + xi/2 |x|^2, complex x, w = theta/(1
/// - theta) or theta^2.
struct Sampling {
  Sampling(const Settings& s, SamplingMap map) : context(s.device), layout(layout_of(map)) {
    StepSignals signals(0, kSignals, kLength);
    const Shape shape{kSignals, 2, 1, kLength};
    truth = Tensor<double>(context, shape, with_imaginary(signals.clean));
    zero = Tensor<double>(context, shape, std::vector<double>(shape.count(), 0));
    problem = std::make_unique<BilevelProblem<double>>(
        std::make_unique<ComposedEnergy<double>>(context, shape, noisy_kspace(signals),
                                                 SamplingPattern(PatternKind::free, 1, kLength, map), layout,
                                                 signal_regulariser(SignalBorder::zero_left, shape)),
        std::as_const(truth).view(), layout, sampling_penalty(layout, 0.1 / kScale, 0));
  }
  View<const double> first() const { return zero.view(); }

  Context context;
  Parameters layout;
  Tensor<double> truth, zero;
  std::unique_ptr<BilevelProblem<double>> problem;
};

/// One run, and where it ended.
struct Run {
  MeasuredRun run;
  double f, active, condition;  ///< f exact, published scaling; L/mu of the lower level
  double iterations;            ///< until f was the published one to kClose
};

double iterations_to(const MeasuredRun& run, ExactLoss& exact) {
  for (const IterationRecord& r : run.records)
    if (kScale * exact(r.theta).value <= (1 + kClose) * kPublished) return r.iteration;
  return std::numeric_limits<double>::infinity();
}

Run run_from(const Settings& s, Sampling& p, const std::string& name, UpperOptimiser<double>& optimiser) {
  s.tell(name);
  MeasuredRun one = measured(name, p.context, *p.problem, optimiser, p.layout.initial(), p.first());
  ExactLoss exact(p.context, *p.problem, p.first());
  const std::vector<double>& theta = one.report.theta;
  const double f = kScale * exact(theta).value;
  const Curvature c = p.problem->energy().curvature();
  const auto active = std::count_if(theta.begin(), theta.end(), [](double t) { return t > kActive; });
  const double iterations = iterations_to(one, exact);
  return {std::move(one), f, static_cast<double>(active), c.lipschitz / c.mu, iterations};
}

UpperOptions limits() {
  UpperOptions options;
  options.max_iterations = 150;
  options.schedule.tolerance = 1e-6;
  return options;
}

/// The least theta that counts as sampled.
double least_active(const Run& r) {
  double least = 1;
  for (const double t : r.run.report.theta)
    if (t > kActive) least = std::min(least, t);
  return least;
}

void add_gradient_method(const Run& r, std::vector<Row>& rows) {
  const std::string name = r.run.name + ": ";
  rows.push_back(relative_to({name + "f", kPublished, r.f}, kPublished, kClose, "the published one"));
  rows.push_back(because(distance_to({name + "samples kept, theta > 0.001", kPublishedActive, r.active},
                                     kPublishedActive, 0, "the published number"),
                         format("the least theta kept is above 0.001 by %.1e", least_active(r) - kActive)));
  rows.push_back(at_most({name + "iterations to that f", {}, r.iterations}, 150));
  rows.push_back(reported({name + "condition number of the lower level at the end", {}, r.condition}));
}

/// The method of the published runs, without hypergradients.
Run run_dfo(const Settings& s, Sampling& p, int evaluations) {
  UpperOptions options;
  options.max_iterations = 100000;
  DfoOptions dfo;
  dfo.max_evaluations = evaluations;
  return run_from(s, p, format("dfo, %d evaluations", evaluations), *make_dfo<double>(dfo, options));
}

void add_dfo(const Settings& s, const Run& r, std::vector<Row>& rows) {
  const Quantity f{r.run.name + ": f", kPublished, r.f};
  rows.push_back(s.quick ? reported(f) : at_most(f, .4784));
  rows.push_back(reported({r.run.name + ": samples kept", kPublishedActive, r.active}));
}

std::vector<Run> rational_runs(const Settings& s, Sampling& p) {
  std::vector<Run> runs{run_from(s, p, "lbfgsb", *make_lbfgsb<double>(limits()))};
  if (!s.quick) runs.push_back(run_from(s, p, "maid", *make_maid<double>(limits())));
  runs.push_back(run_dfo(s, p, s.quick ? 200 : 3000));
  return runs;
}

void add_curves(Sampling& p, const std::vector<Run>& runs, Result& result) {
  ExactLoss exact(p.context, *p.problem, p.first());
  double least = runs.front().f;
  for (const Run& r : runs) least = std::min(least, r.f);
  const Gap gap = [&](std::span<const double> theta) { return kScale * exact(theta).value - least; };
  Panel gaps = gap_panel("From theta = 0.5"),
        pattern{"Learned samples", {"frequency, zero first", false}, {"theta", false}, {}};
  for (const Run& r : runs) {
    gaps.series.push_back(gap_curve(r.run, gap));
    Series series{r.run.name, {}, r.run.report.theta};
    for (int j = 0; j < kLength; ++j) series.x.push_back(j);
    pattern.series.push_back(std::move(series));
  }
  result.curves = {std::move(gaps), std::move(pattern)};
}

Result run(const Settings& s) {
  Sampling p(s, SamplingMap::rational), direct(s, SamplingMap::direct);
  ExactLoss exact(p.context, *p.problem, p.first());
  const double start = kScale * exact(p.layout.initial()).value;
  const std::vector<Run> runs = rational_runs(s, p);
  const Run other = run_from(s, direct, "lbfgsb, w = theta^2", *make_lbfgsb<double>(limits()));
  Result result;
  result.rows = {reported({"f at the start, theta = 0.5", {}, start})};
  for (const Run& r : runs)
    &r == &runs.back() ? add_dfo(s, r, result.rows) : add_gradient_method(r, result.rows);
  result.rows.push_back(reported({other.run.name + ": f", {}, other.f}));
  result.rows.push_back(reported({other.run.name + ": samples kept", {}, other.active}));
  result.rows.push_back(
      reported({other.run.name + ": condition number of the lower level at the end", {}, other.condition}));
  add_curves(p, runs, result);
  result.notes = {
      format("Data: %d signals of %d points, complex noise 0.05 in k-space, the draws of the published "
             "code (seed 0), differences with zero to the left of the first point; theta in [0.001, "
             "0.99], w = theta/(1 - theta). f = sum |xhat - x|^2 + 0.1 |theta|_1. With w = theta^2, theta "
             "in [0, 1], |theta|_1 is another penalty, so that its f is no number to compare.",
             kSignals, kLength)};
  for (const Run& r : runs) result.notes.push_back(ending(r.run));
  result.notes.push_back(ending(other.run));
  if (s.quick)
    result.notes.push_back(
        "Left out by --quick: maid, and of 3000 evaluations without hypergradients all but 200, to which no "
        "criterion belongs.");
  return result;
}

}  // namespace

Experiment sampling_weights() {
  return {"E10",
          "Sampling weights of a one-dimensional k-space",
          "All solvers of the lower level that converge find the same pattern of 32 of 64 samples.",
          "Ehrhardt and Roberts 2021, raw results of their repository",
          false,
          DataKind::none,
          run};
}

}  // namespace bilevel_app::experiments
