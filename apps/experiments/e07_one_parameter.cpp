// E7: the weight of total variation of one-dimensional signals, from five starts. The data are those of the
// published raw results: NumPy's legacy generator with seed 0.

#include <algorithm>
#include <cmath>

#include "apps/common/text.hpp"
#include "apps/experiments/measured_run.hpp"
#include "apps/experiments/registry.hpp"
#include "apps/experiments/step_signals.hpp"
#include "bilevel/learn/dfo.hpp"
#include "bilevel/learn/hoag.hpp"

namespace bilevel_app::experiments {

namespace {

using namespace bilevel;

constexpr int kSignals = 10, kLength = 256;
constexpr double kScale = 2 * kSignals;  ///< published f = sum |xhat - x|^2 is this times ours
constexpr double kAlphaRange = 7;        ///< theta = log10 alpha in [-7, 7]

/// The methods that are run from every start. A new one is a line here.
struct Method {
  const char* name;
  std::unique_ptr<UpperOptimiser<double>> (*make)(const UpperOptions&);
};
const Method kMethods[] = {
    {"maid", [](const UpperOptions& o) { return make_maid<double>(o); }},
    {"lbfgsb", [](const UpperOptions& o) { return make_lbfgsb<double>(o); }},
    {"hoag", [](const UpperOptions& o) { return make_hoag<double>({}, o); }},
    {"dfo", [](const UpperOptions& o) { return make_dfo<double>({}, o); }},
};

/// What the authors' repository holds of their runs from 0.
struct Stored {
  const char* solver;
  double f, theta;
};
constexpr Stored kStored[] = {
    {"FISTA, dynamic accuracy", 1.371594, -.30894}, {"FISTA, 200 iterations", 1.562915, .06453},
    {"FISTA, 2000 iterations", 1.371489, -.31491},  {"GD, dynamic accuracy", 1.371590, -.30907},
    {"GD, 1000 iterations", 1.474144, .49458},      {"GD, 10000 iterations", 1.371489, -.31487}};
constexpr double kPublishedOptimum = 1.371489, kPublishedWeight = -.31491;
/// 20 evaluations of 2000 iterations with two gradients each, per signal.
constexpr double kPublishedWork = 20.0 * 2000 * 2 * kSignals;

/// 1/2 |x - y|^2 + alpha sum_p sqrt((K x)_p^2 + nu^2) + xi/2 |x|^2, nu = xi = 1e-3, alpha learned.
struct Denoising {
  Denoising(const Settings& s, SignalBorder border, double theta)
      : context(s.device),
        layout({{"alpha", Transform::log10, std::pow(10, theta), std::pow(10, -kAlphaRange),
                 std::pow(10, kAlphaRange), true},
                {"nu", Transform::identity, 1e-3, 0, 1, false},
                {"xi", Transform::identity, 1e-3, 0, 1, false}}) {
    StepSignals signals(0, kSignals, kLength);
    const Shape shape{kSignals, 1, 1, kLength};
    truth = Tensor<double>(context, shape, signals.clean);
    data = Tensor<double>(context, shape, signals.noisy(0.1));
    problem = std::make_unique<BilevelProblem<double>>(
        std::make_unique<ComposedEnergy<double>>(context, std::as_const(data).view(), layout,
                                                 signal_regulariser(border, shape)),
        std::as_const(truth).view(), layout);
  }
  View<const double> first() const { return data.view(); }

  Context context;
  Parameters layout;
  Tensor<double> truth, data;
  std::unique_ptr<BilevelProblem<double>> problem;
};

UpperOptions limits() {
  UpperOptions options;
  options.max_iterations = 1000;
  options.schedule.tolerance = 1e-5;
  return options;
}

struct Optimum {
  double f, theta, width;  ///< published scaling
};
Optimum optimum_of(Denoising& problem) {
  ExactLoss exact(problem.context, *problem.problem, problem.first(), 1e-11);
  const Scan scanned = scan(exact, -2, 2, 41);
  return {kScale * scanned.least.value, scanned.minimiser,
          kScale * (scanned.least.upper - scanned.least.lower)};
}

/// The stored parameters, with the loss that belongs to them.
std::vector<Row> stored_rows(Denoising& problem) {
  ExactLoss exact(problem.context, *problem.problem, problem.first());
  std::vector<Row> rows;
  for (const Stored& stored : kStored) {
    const LossEnclosure f = exact(std::vector{stored.theta});
    rows.push_back(against_exact(
        {format("f at the stored log10 alpha %.5f (%s)", stored.theta, stored.solver), stored.f,
         kScale * f.value},
        kScale * f.lower, kScale * f.upper, 1e-4,
        "the stored value is that of reconstructions which so few iterations leave unfinished"));
  }
  return rows;
}

/// One method from one start, and where it ended.
struct Run {
  const char* method;
  double start;
  MeasuredRun run;
  double f, theta;  ///< exact, published scaling
};

Run run_from(const Settings& s, const Method& method, double start) {
  s.tell(format("%s from %g", method.name, start));
  Denoising problem(s, SignalBorder::zero_left, start);
  const auto optimiser = method.make(limits());
  MeasuredRun one = measured(format("%s from %g", method.name, start), problem.context, *problem.problem,
                             *optimiser, problem.layout.initial(), problem.first());
  ExactLoss exact(problem.context, *problem.problem, problem.first());
  const double theta = one.report.theta[0], f = kScale * exact(one.report.theta).value;
  return {method.name, start, std::move(one), f, theta};
}

/// Until f is within 1e-6 of f*, relative, and log10 alpha within 1e-3.
double iterations_to(const Run& r, const Optimum& best, const Gap& gap) {
  for (const IterationRecord& record : r.run.records)
    if (std::abs(record.theta[0] - best.theta) <= 1e-3 && gap(record.theta) <= 1e-6 * best.f)
      return record.iteration;
  return std::numeric_limits<double>::infinity();
}

/// The run from 0, the published start.
void add_start_zero(const Run& r, const Optimum& best, const Gap& gap, std::vector<Row>& rows) {
  const std::string name = std::string(r.method) + " from 0: ";
  rows.push_back(relative_to({name + "f", kPublishedOptimum, r.f}, best.f, 1e-6, "f*"));
  rows.push_back(
      distance_to({name + "log10 alpha", kPublishedWeight, r.theta}, best.theta, 1e-3, "the exact one"));
  rows.push_back(at_most({name + "upper iterations to both", {}, iterations_to(r, best, gap)}, 15));
  rows.push_back(reported({name + "work to f* + 0.1 %", kPublishedWork, work_to(r.run, gap, 1e-3 * best.f)}));
}

Row robustness(const std::string& method, const std::vector<Run>& runs, const Optimum& best) {
  double worst = 0;
  for (const Run& r : runs)
    if (r.method == method) worst = std::max(worst, std::abs(r.theta - best.theta));
  return at_most({method + ": largest distance of log10 alpha to the optimum over the starts", {}, worst},
                 1e-3);
}

/// What the published method reaches from 0 within its 20 evaluations, with dynamic and with fixed
/// accuracies.
std::vector<Row> twenty_evaluations(const Settings& s, const Optimum& best) {
  std::vector<Row> rows;
  for (const bool dynamic : {true, false}) {
    Denoising problem(s, SignalBorder::zero_left, 0);
    DfoOptions dfo;
    dfo.dynamic = dynamic;
    dfo.max_evaluations = 20;
    UpperOptions options = limits();
    if (!dynamic) options.schedule.epsilon0 = 1e-8;
    const auto optimiser = make_dfo<double>(dfo, options);
    const MeasuredRun one = measured("dfo", problem.context, *problem.problem, *optimiser,
                                     problem.layout.initial(), problem.first());
    ExactLoss exact(problem.context, *problem.problem, problem.first());
    rows.push_back(
        relative_to({dynamic ? "dfo, 20 evaluations, dynamic: f" : "dfo, 20 evaluations, fixed: f",
                     dynamic ? 1.371594 : kPublishedOptimum, kScale * exact(one.report.theta).value},
                    best.f, dynamic ? 2e-3 : 1e-5, "f*"));
  }
  return rows;
}

/// theta of a method from every start.
Panel paths_of(const std::string& method, const std::vector<Run>& runs) {
  Panel panel{method + ", every start", {"iteration", false}, {"log10 alpha", false}, {}};
  for (const Run& r : runs) {
    if (r.method != method) continue;
    Series path{format("from %g", r.start), {}, {}};
    for (const IterationRecord& record : r.run.records) {
      path.x.push_back(record.iteration);
      path.y.push_back(record.theta[0]);
    }
    panel.series.push_back(std::move(path));
  }
  return panel;
}

/// The same problem with differences that are zero over the border, the default of the library.
std::vector<Row> neumann_rows(const Settings& s) {
  Denoising problem(s, SignalBorder::neumann, 0);
  const auto maid = make_maid<double>(limits());
  const MeasuredRun one =
      measured("maid", problem.context, *problem.problem, *maid, problem.layout.initial(), problem.first());
  ExactLoss exact(problem.context, *problem.problem, problem.first());
  const Optimum best = optimum_of(problem);
  return {
      relative_to(
          {"zero differences over the border, maid from 0: f", {}, kScale * exact(one.report.theta).value},
          best.f, 1e-6, "its f*"),
      distance_to({"zero differences over the border, maid from 0: log10 alpha", {}, one.report.theta[0]},
                  best.theta, 1e-3, "its optimum")};
}

Result run(const Settings& s) {
  Denoising published(s, SignalBorder::zero_left, 0);
  s.tell("exact optimum");
  const Optimum best = optimum_of(published);
  Result result;
  std::vector<Row>& rows = result.rows;
  rows.push_back(relative_to({"exact least f", kPublishedOptimum, best.f}, kPublishedOptimum, 1e-6,
                             "the published one"));
  rows.push_back(distance_to({"its log10 alpha", kPublishedWeight, best.theta}, kPublishedWeight, 1e-3,
                             "the published one"));
  const std::vector<Row> stored = stored_rows(published);
  rows.insert(rows.end(), stored.begin(), stored.end());

  const std::vector<double> starts =
      s.quick ? std::vector<double>{0, -2, 2} : std::vector<double>{0, -2, -1, 1, 2};
  std::vector<Run> runs;
  for (const Method& method : kMethods)
    for (const double start : starts) runs.push_back(run_from(s, method, start));

  ExactLoss exact(published.context, *published.problem, published.first());
  const Gap gap = [&](std::span<const double> theta) { return kScale * exact(theta).value - best.f; };
  Panel gaps = gap_panel("From log10 alpha = 0"),
        accuracies = accuracy_panel("From log10 alpha = 0", "epsilon");
  for (const Run& r : runs)
    if (r.start == 0) {
      add_start_zero(r, best, gap, rows);
      gaps.series.push_back(gap_curve(r.run, gap));
      accuracies.series.push_back(accuracy_curve(r.run, &IterationRecord::epsilon));
    }
  result.curves = {std::move(gaps), std::move(accuracies)};
  for (const Method& method : kMethods) result.curves.push_back(paths_of(method.name, runs));
  for (const Method& method : kMethods) rows.push_back(robustness(method.name, runs, best));
  const std::vector<Row> few = twenty_evaluations(s, best);
  rows.insert(rows.end(), few.begin(), few.end());
  const std::vector<Row> neumann = neumann_rows(s);
  rows.insert(rows.end(), neumann.begin(), neumann.end());
  for (const Run& r : runs) result.notes.push_back(ending(r.run));
  result.notes.push_back(
      "hoag may leave the optimum again before it ends there: its rule lengthens the steps as long as losses "
      "allow, and takes back only those that raise the loss by a fifth.");
  result.notes.insert(
      result.notes.begin(),
      format(
          "Data: 10 signals of 256 points, noise 0.1, the draws of the published code (seed 0), differences "
          "with "
          "zero to the left of the first point. f = sum |xhat - x|^2; the exact least one is known to %.1e. "
          "Published work: 20 evaluations of 2000 FISTA iterations with two gradients each.",
          best.width));
  return result;
}

}  // namespace

Experiment one_parameter() {
  return {"E7",
          "One parameter of 1-D total variation, from any start",
          "The learned weight does not depend on the start, and dynamic accuracies of the lower level save "
          "iterations.",
          "Ehrhardt and Roberts 2021, raw results of their repository",
          false,
          DataKind::none,
          run};
}

}  // namespace bilevel_app::experiments
