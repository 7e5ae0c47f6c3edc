// E8: weight, ridge and smoothing of total variation of one-dimensional signals, with a penalty on the
// condition number. The data are those of the published raw results: NumPy's legacy generator with seed 0.

#include <algorithm>
#include <cmath>

#include "apps/common/text.hpp"
#include "apps/experiments/measured_run.hpp"
#include "apps/experiments/registry.hpp"
#include "apps/experiments/step_signals.hpp"
#include "bilevel/learn/dfo.hpp"

namespace bilevel_app::experiments {

namespace {

using namespace bilevel;

constexpr int kSignals = 20, kLength = 256;
constexpr double kScale =
    2 * kSignals;  ///< published f = sum |xhat - x|^2 + beta (L/mu)^2 is this times ours
constexpr int kEvaluations = 100, kMore = 150;

/// What the authors' repository holds of a run: f and theta = log10 of alpha, xi, nu.
struct Stored {
  const char* solver;
  double f, theta[3];
};
/// The published runs with one penalty, and what is asked of the derivative-free method.
struct Case {
  double beta;
  Stored stored[6];
  double dfo;  ///< f after kEvaluations
};
const Case kCases[] = {{1e-6,
                        {{"FISTA, dynamic accuracy", 2.8806, {-.405, -2.858, -2.504}},
                         {"FISTA, 200 iterations", 2.8702, {-.416, -2.939, -2.505}},
                         {"FISTA, 2000 iterations", 2.9639, {-.420, -2.481, -2.507}},
                         {"GD, dynamic accuracy", 2.8525, {-.409, -3.156, -2.507}},
                         {"GD, 1000 iterations", 2.8667, {-.415, -2.970, -2.510}},
                         {"GD, 10000 iterations", 2.8710, {-.428, -2.950, -2.525}}},
                        2.89},
                       {1e-4,
                        {{"FISTA, dynamic accuracy", 5.0467, {-.561, -2.622, -1.894}},
                         {"FISTA, 200 iterations", 5.0196, {-.550, -2.822, -1.880}},
                         {"FISTA, 2000 iterations", 5.0053, {-.555, -2.992, -1.886}},
                         {"GD, dynamic accuracy", 5.0102, {-.558, -2.926, -1.886}},
                         {"GD, 1000 iterations", 5.0287, {-.556, -2.747, -1.898}},
                         {"GD, 10000 iterations", 5.0041, {-.549, -3.020, -1.880}}},
                        5.06}};

/// 1/2 |x - y|^2 + alpha sum_p sqrt((K x)_p^2 + nu^2) + xi/2 |x|^2, all three learned from (0, -1, -1).
struct Denoising {
  Denoising(const Settings& s, double beta)
      : context(s.device),
        layout({{"alpha", Transform::log10, 1, 1e-7, 1e7, true},
                {"xi", Transform::log10, 0.1, 1e-7, 1, true},
                {"nu", Transform::log10, 0.1, 1e-7, 1, true}}) {
    StepSignals signals(0, kSignals, kLength);
    const Shape shape{kSignals, 1, 1, kLength};
    truth = Tensor<double>(context, shape, signals.clean);
    data = Tensor<double>(context, shape, signals.noisy(0.1));
    problem = std::make_unique<BilevelProblem<double>>(
        std::make_unique<ComposedEnergy<double>>(context, std::as_const(data).view(), layout,
                                                 signal_regulariser(SignalBorder::zero_left, shape)),
        std::as_const(truth).view(), layout, tv_condition_penalty(layout, {}, shape, false, beta / kScale));
  }
  View<const double> first() const { return data.view(); }

  Context context;
  Parameters layout;
  Tensor<double> truth, data;
  std::unique_ptr<BilevelProblem<double>> problem;
};

/// One penalty: its problem, and f in the published scaling.
class Lab {
 public:
  Lab(const Settings& s, const Case& c)
      : problem_(s, c.beta), exact_(problem_.context, *problem_.problem, problem_.first()) {}

  LossEnclosure f(std::span<const double> theta) {
    const LossEnclosure e = exact_(theta);
    return {kScale * e.lower, kScale * e.value, kScale * e.upper};
  }
  MeasuredRun run(const std::string& name, UpperOptimiser<double>& optimiser) {
    return from(name, optimiser, problem_.layout.initial());
  }
  MeasuredRun from(const std::string& name, UpperOptimiser<double>& optimiser,
                   std::span<const double> theta) {
    return measured(name, problem_.context, *problem_.problem, optimiser, theta, problem_.first());
  }
  Gap gap(double least) {
    return [this, least](std::span<const double> theta) { return f(theta).value - least; };
  }

 private:
  Denoising problem_;
  ExactLoss exact_;
};

UpperOptions limits(double tolerance) {
  UpperOptions options;
  options.max_iterations = 300;
  options.schedule.tolerance = tolerance;
  return options;
}

/// As published: FISTA, accuracies that follow the steps, or all as fine as 2000 iterations make them.
MeasuredRun run_dfo(Lab& lab, bool dynamic, int evaluations) {
  UpperOptions options;
  options.minimiser = "fista";
  options.max_iterations = 100000;
  options.max_lower_iterations = dynamic ? 1000000 : 2000;
  if (!dynamic) options.schedule.epsilon0 = 1e-10;
  DfoOptions dfo;
  dfo.dynamic = dynamic;
  dfo.max_evaluations = evaluations;
  return lab.run(format("dfo, %d evaluations, %s", evaluations, dynamic ? "dynamic" : "fixed"),
                 *make_dfo<double>(dfo, options));
}

void add_stored(Lab& lab, const Case& c, const std::string& name, std::vector<Row>& rows) {
  for (const Stored& stored : c.stored) {
    const LossEnclosure f = lab.f(stored.theta);
    rows.push_back(against_exact(
        {format("%sf at the stored theta (%s)", name.c_str(), stored.solver), stored.f, f.value}, f.lower,
        f.upper, 1e-4,
        "the stored value is that of reconstructions which so few iterations leave "
        "unfinished"));
  }
}

double best_stored(const Case& c) {
  return std::min_element(std::begin(c.stored), std::end(c.stored),
                          [](const Stored& a, const Stored& b) { return a.f < b.f; })
      ->f;
}

/// The gradient methods, and f* from the end of the better one.
double add_gradient_methods(const Settings& s, Lab& lab, const Case& c, const std::string& name,
                            std::vector<MeasuredRun>& runs, std::vector<Row>& rows) {
  s.tell(name + "maid, lbfgsb");
  runs.push_back(lab.run("maid", *make_maid<double>(limits(1e-5))));
  runs.push_back(lab.run("lbfgsb", *make_lbfgsb<double>(limits(1e-5))));
  const double first = lab.f(runs[0].report.theta).value, second = lab.f(runs[1].report.theta).value;
  const MeasuredRun fine =
      lab.from("maid, finer", *make_maid<double>(limits(1e-8)), runs[first <= second ? 0 : 1].report.theta);
  const double least = lab.f(fine.report.theta).value;
  rows.push_back(at_most({name + "exact least f", best_stored(c), least}, best_stored(c),
                         "at most the best stored one"));
  const char* names[] = {"log10 alpha", "log10 xi, at its bound -7", "log10 nu"};
  for (std::size_t j = 0; j < 3; ++j)
    rows.push_back(reported({format("%sits %s", name.c_str(), names[j]), {}, fine.report.theta[j]}));
  rows.push_back(relative_to({name + "maid: f", {}, first}, least, 1e-4, "f*"));
  rows.push_back(relative_to({name + "lbfgsb: f", {}, second}, least, 1e-4, "f*"));
  return least;
}

/// Different theta that the derivative-free method looked at until the gap is at most `target`.
int evaluations_to(const MeasuredRun& run, const Gap& gap, double target) {
  int evaluations = 4;  // of the first model
  for (const IterationRecord& r : run.records) {
    if (gap(r.theta) <= target) break;
    evaluations += 1 + r.backtracks;
  }
  return evaluations;
}

/// What dynamic accuracies save on the way to the worse end of both, + 1 %.
void add_saving(Lab& lab, const std::string& name, double least, const MeasuredRun& dynamic,
                const MeasuredRun& fixed, double published, std::vector<Row>& rows) {
  const double end = lab.f(fixed.report.theta).value,
               target = 1.01 * std::max(lab.f(dynamic.report.theta).value, end) - least;
  const Gap gap = lab.gap(least);
  const double work = work_to(dynamic, gap, target), fixed_work = work_to(fixed, gap, target);
  rows.push_back(reported({name + fixed.name + ": f", published, end}));
  rows.push_back(reported({name + "work of the fixed one to the worse end of both + 1 %", {}, fixed_work}));
  rows.push_back(
      because(at_most({name + "work of the dynamic one to there, over that", {}, work / fixed_work}, 0.2),
              format("the fixed one is there after %d evaluations, the dynamic one after %d",
                     evaluations_to(fixed, gap, target), evaluations_to(dynamic, gap, target))));
}

void add_dfo(const Settings& s, Lab& lab, const Case& c, const std::string& name, double least,
             std::vector<MeasuredRun>& runs, std::vector<Row>& rows) {
  s.tell(name + "dfo");
  const MeasuredRun dynamic = run_dfo(lab, true, kEvaluations), more = run_dfo(lab, true, kMore);
  const double later = lab.f(more.report.theta).value;
  rows.push_back(
      because(at_most({name + dynamic.name + ": f", c.stored[0].f, lab.f(dynamic.report.theta).value}, c.dfo),
              format("%d evaluations give %.4f", kMore, later)));
  rows.push_back(reported({name + more.name + ": f", {}, later}));
  runs.push_back(dynamic);
  if (s.quick) return;
  s.tell(name + "dfo with fixed accuracies");
  runs.push_back(run_dfo(lab, false, kEvaluations));
  add_saving(lab, name, least, dynamic, runs.back(), c.stored[2].f, rows);
}

void add_case(const Settings& s, const Case& c, Result& result) {
  const std::string name = format("beta %.0e: ", c.beta);
  Lab lab(s, c);
  s.tell(name + "stored parameters");
  add_stored(lab, c, name, result.rows);
  std::vector<MeasuredRun> runs;
  const double least = add_gradient_methods(s, lab, c, name, runs, result.rows);
  add_dfo(s, lab, c, name, least, runs, result.rows);
  Panel gaps = gap_panel(name + "f above the least one");
  for (const MeasuredRun& r : runs) {
    gaps.series.push_back(gap_curve(r, lab.gap(least)));
    result.notes.push_back(name + ending(r));
  }
  result.curves.push_back(std::move(gaps));
}

Result run(const Settings& s) {
  Result result;
  for (const Case& c : kCases) add_case(s, c, result);
  result.notes.insert(
      result.notes.begin(),
      {format(
           "Data: %d signals of %d points, noise 0.1, the draws of the published code (seed 0), differences "
           "with zero to the left of the first point. f = sum |xhat - x|^2 + beta (L/mu)^2; stored theta are "
           "known to three decimals. xi falls to its bound 1e-7, where the stored runs had not arrived.",
           kSignals, kLength),
       "Work is in operator applications, of FISTA one gradient an iteration; the published code takes "
       "two."});
  if (s.quick)
    result.notes.push_back("Left out by --quick: fixed accuracies, and with them the saving of work.");
  return result;
}

}  // namespace

Experiment three_parameters() {
  return {"E8",
          "Three parameters of 1-D total variation",
          "Dynamic accuracies of the lower level make derivative-free learning ten times cheaper at the same "
          "loss.",
          "Ehrhardt and Roberts 2021, raw results of their repository",
          false,
          DataKind::none,
          run};
}

}  // namespace bilevel_app::experiments
