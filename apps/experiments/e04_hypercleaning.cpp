// E4: weights of training samples of which a tenth has wrong labels, learned on samples with right ones:
// which hypergradients lower the loss with least work, and what the weights say of the labels.

#include <algorithm>
#include <cmath>

#include "apps/common/text.hpp"
#include "apps/experiments/measured_run.hpp"
#include "apps/experiments/registry.hpp"
#include "apps/learn/samples.hpp"
#include "bilevel/core/error.hpp"
#include "bilevel/learn/hypergradient.hpp"
#include "bilevel/learn/inexact_gradient.hpp"
#include "bilevel/model/cross_entropy_term.hpp"
#include "bilevel/ops/dense_operator.hpp"

namespace bilevel_app::experiments {

namespace {

using namespace bilevel;
using learn::Features;

constexpr double kWrong = 0.1;                           ///< part of the labels
constexpr double kRidges[] = {1e-3, 1e-2};               ///< a of a |W|^2
constexpr double kPairs[][2] = {{.01, .01}, {.1, .01}};  ///< epsilon and delta

struct Samples {
  Features features;
  std::vector<int> labels;

  Samples part(int first, int count) const {
    return {features.rows(first, count), {labels.begin() + first, labels.begin() + first + count}};
  }
};
Samples read_samples(const std::string& images, const std::string& labels) {
  const learn::NamedFile of{"--data", images}, own{"--data", labels};
  Samples out{learn::read_features(of, false), {}};
  out.labels = learn::read_labels(own, out.features.count, of);
  return out;
}

/// The first samples of the training file, the next ones for validation, and the test file.
struct Digits {
  Samples train, validation, test;
  int classes = 0;
  std::vector<bool> corrupted;
};
Digits read_digits(const Settings& s, int count) {
  const DigitFiles files = digit_files(s.data.front());
  const Samples all = read_samples(files.images, files.labels),
                test = read_samples(files.test_images, files.test_labels);
  if (all.features.count < 2 * count)
    throw IoError(files.images,
                  format("it holds %d samples, but E4 takes %d.", all.features.count, 2 * count));
  if (test.features.width != all.features.width)
    throw IoError(files.test_images, "its images have another size than those of the training samples.");
  Digits out{
      all.part(0, count), all.part(count, count), test.part(0, std::min(test.features.count, count)), 0, {}};
  const learn::NamedFile train{"--data", files.labels}, tested{"--data", files.test_labels};
  const learn::Classes classes =
      learn::classes_of(train, out.train.labels, 0, format(" of the first %d", count));
  out.classes = classes.count();
  static_cast<void>(classes.numbers(train, out.validation.labels));
  static_cast<void>(classes.numbers(tested, out.test.labels));
  out.corrupted = learn::corrupt_labels(out.train.labels, out.classes, kWrong, s.seed);
  return out;
}

/// 1/N sum_j sigma(theta_j) l(W x_j, y_j) + a |W|^2 below, the mean of l over the validation samples above.
struct Cleaning {
  Cleaning(const Settings& s, const Digits& digits, double ridge)
      : context(s.device),
        layout({{"sample_weight",
                 Transform::sigmoid,
                 1,
                 0,
                 1,
                 true,
                 {digits.train.features.count},
                 std::vector<double>(digits.train.labels.size(), 0.5)},
                {"xi", Transform::identity, 2 * ridge, 0, 2 * ridge, false}}) {
    const auto scores = [&](const Features& f) {
      return std::make_shared<DenseOperator<double>>(context, 1, digits.classes, f.count, f.width, f.values);
    };
    const Shape unknown{1, 1, digits.classes, digits.train.features.width};
    auto term = std::make_shared<CrossEntropyTerm<double>>(scores(digits.train.features), digits.train.labels,
                                                           1.0 / digits.train.features.count, true);
    problem = std::make_unique<BilevelProblem<double>>(
        std::make_unique<ComposedEnergy<double>>(context, unknown, layout,
                                                 std::vector<std::shared_ptr<OwnPart>>{std::move(term)}),
        cross_entropy<double>(context, scores(digits.validation.features), digits.validation.labels), layout);
    start = Tensor<double>(context, unknown, std::vector<double>(unknown.count(), 0));
  }
  View<const double> first() const { return start.view(); }

  Context context;
  Parameters layout;
  std::unique_ptr<BilevelProblem<double>> problem;
  Tensor<double> start;
};

// ---- hypergradients: their systems by conjugate gradients, or by inexact automatic differentiation

struct Method {
  const char *name, *solver;
};
constexpr Method kMethods[] = {{"conjugate gradients", "cg"},
                               {"heavy ball, inexact AD", "heavy-ball"},
                               {"gradient descent, inexact AD", "gradient-descent"}};

/// The step of a first change of theta by 1 in the mean of squares.
double step_of(Cleaning& p) {
  const std::vector<double> theta = p.layout.initial();
  p.problem->energy().bind(theta);
  Tensor<double> x(p.context, p.start.shape());
  copy<double>(p.context, p.first(), x.view());
  SolveRequest<double> request;
  request.tolerance = 1e-2;
  const SolveReport solved =
      make_minimiser<double>()->minimise(p.context, p.problem->energy(), request, x.view());
  ImplicitHypergradient<double> implicit(p.context, *p.problem);
  HypergradientRequest wanted;
  wanted.delta = 1e-2;
  wanted.bounds = false;
  double sum = 0;
  for (const double z :
       implicit.compute(p.context, theta, std::as_const(x).view(), solved.certificate, wanted).z)
    sum += z * z;
  return std::sqrt(static_cast<double>(theta.size()) / sum);
}

/// Gradient steps of one length with fixed accuracies, none refused.
MeasuredRun run_fixed(Cleaning& p, const Method& method, const double (&pair)[2], double step,
                      std::uint64_t budget) {
  InexactGradientOptions own;
  own.sequence = ErrorSequence::constant;
  own.error0 = 1e300;
  own.bound = GradientBound::corrected;
  own.safeguard = false;
  own.epsilon_up = own.delta_up = 1;
  UpperOptions options;
  options.schedule.epsilon0 = pair[0];
  options.schedule.delta0 = pair[1];
  options.schedule.step0 = step;
  options.schedule.tolerance = 0;
  options.minimiser = "lbfgs";
  options.linear_solver = method.solver;
  options.columns = false;
  options.max_iterations = 1000000;
  options.budget = budget;
  const auto optimiser = make_inexact_gradient<double>(own, options);
  return measured(method.name, p.context, *p.problem, *optimiser, p.layout.initial(), p.first());
}

/// The exact loss where a run was after that work.
double loss_after(const MeasuredRun& run, double work, ExactLoss& exact) {
  const std::vector<Visit> visits = run.visits();
  const auto later =
      std::find_if(visits.begin(), visits.end(), [work](const Visit& v) { return v.work > work; });
  return exact(std::prev(later)->theta).value;
}

Series loss_curve(const MeasuredRun& run) {
  Series series{run.name, {}, {}};
  const std::vector<Visit> visits = run.visits();
  for (std::size_t k = 0; k < visits.size(); ++k) {
    series.x.push_back(visits[k].work);
    series.y.push_back(run.records[k].loss);
  }
  return series;
}

void add_methods(const Settings& s, const Digits& digits, Result& result) {
  Cleaning p(s, digits, kRidges[0]);
  const double step = step_of(p), budget = s.quick ? 4000 : 10000;
  ExactLoss exact(p.context, *p.problem, p.first(), 1e-4);
  for (const auto& pair : kPairs) {
    const std::string name = format("epsilon %g, delta %g: ", pair[0], pair[1]);
    Panel panel{format("Accuracies %g and %g", pair[0], pair[1]),
                {"operator applications", false},
                {"validation loss", false},
                {}};
    std::vector<double> losses;
    for (std::size_t k = 0; k < std::size(kMethods); ++k) {
      s.tell(name + kMethods[k].name);
      const MeasuredRun run = run_fixed(p, kMethods[k], pair, step, static_cast<std::uint64_t>(budget));
      losses.push_back(loss_after(run, budget / 2, exact));
      result.rows.push_back(
          reported({name + kMethods[k].name + ", loss after half of the budget", {}, losses.back()}));
      if (k > 0)
        result.rows.push_back(
            at_most({name + "loss of " + kMethods[k - 1].name + " over that of " + kMethods[k].name,
                     {},
                     losses[k - 1] / losses[k]},
                    1.02));
      panel.series.push_back(loss_curve(run));
      result.notes.push_back(name + ending(run));
    }
    result.curves.push_back(std::move(panel));
  }
}

// ---- the weights

double error_rate(Context& context, const Samples& samples, int classes, View<const double> w) {
  const Features& f = samples.features;
  const DenseOperator<double> scores(context, 1, classes, f.count, f.width, f.values);
  Tensor<double> z(context, scores.range());
  Frame frame(context);
  ActiveSet all(context, frame, 1);
  scores.apply(context, all.active(), w, z.view());
  const std::vector<double> values = download(context, z);
  const auto count = samples.labels.size();
  int wrong = 0;
  for (std::size_t j = 0; j < count; ++j) {
    int best = 0;
    for (int c = 1; c < classes; ++c)
      if (values[static_cast<std::size_t>(c) * count + j] >
          values[static_cast<std::size_t>(best) * count + j])
        best = c;
    wrong += best != samples.labels[j] ? 1 : 0;
  }
  return wrong / static_cast<double>(count);
}

/// The test errors of the classifier at theta.
double test_error(Cleaning& p, const Digits& digits, std::span<const double> theta) {
  p.problem->energy().bind(theta);
  Tensor<double> x(p.context, p.start.shape());
  copy<double>(p.context, p.first(), x.view());
  SolveRequest<double> request;
  request.tolerance = 1e-3;
  static_cast<void>(make_minimiser<double>()->minimise(p.context, p.problem->energy(), request, x.view()));
  return error_rate(p.context, digits.test, digits.classes, std::as_const(x).view());
}

std::vector<double> weights_of(std::span<const double> theta) {
  std::vector<double> out;
  for (const double t : theta) out.push_back(to_value(Transform::sigmoid, t));
  return out;
}
double mean_of(const std::vector<double>& weights, const std::vector<bool>& corrupted, bool wrong) {
  double sum = 0, count = 0;
  for (std::size_t j = 0; j < weights.size(); ++j)
    if (corrupted[j] == wrong) sum += weights[j], count += 1;
  return sum / count;
}

/// "0.91 after 6 iterations", the largest area on the way.
std::string best_area(const MeasuredRun& run, const Digits& digits) {
  double most = 0;
  int at = 0;
  for (const IterationRecord& r : run.records) {
    const double area = learn::area_under_curve(weights_of(r.theta), digits.corrupted);
    if (area > most) most = area, at = r.iteration;
  }
  return format("it was %.3f after %d iterations; later clean samples that do not help get small weights too",
                most, at);
}

void add_weights(const Settings& s, const Digits& digits, double ridge, Result& result) {
  const std::string name = format("a = %g: ", ridge);
  s.tell(name + "lbfgsb");
  Cleaning p(s, digits, ridge);
  UpperOptions options;
  options.schedule.tolerance = 3e-4;
  options.min_progress = 1e-3;
  options.max_iterations = s.quick ? 10 : 200;
  const auto optimiser = make_lbfgsb<double>(options);
  const MeasuredRun run =
      measured("lbfgsb", p.context, *p.problem, *optimiser, p.layout.initial(), p.first());
  const std::vector<double> weights = weights_of(run.report.theta);
  const double clean = mean_of(weights, digits.corrupted, false),
               wrong = mean_of(weights, digits.corrupted, true);
  std::vector<Row>& rows = result.rows;
  rows.push_back(reported({name + "mean weight of samples with right labels", {}, clean}));
  rows.push_back(at_most({name + "mean weight with wrong ones over that", {}, wrong / clean}, 0.5));
  rows.push_back(because(at_least({name + "area under the ROC curve of the weights",
                                   {},
                                   learn::area_under_curve(weights, digits.corrupted)},
                                  0.9),
                         best_area(run, digits)));
  constexpr double one = 40;  // sigma(40) is 1 in double
  const double plain = test_error(p, digits, std::vector<double>(weights.size(), one));
  rows.push_back(reported({name + "test error without weights", {}, plain}));
  rows.push_back(at_most({name + "test error", {}, test_error(p, digits, run.report.theta)}, plain,
                         "not above that without weights"));
  result.notes.push_back(name + ending(run));
}

Result run(const Settings& s) {
  const int count = s.quick ? 200 : 2000, compared = s.quick ? 100 : 200;
  const Digits digits = read_digits(s, count);
  Result result;
  add_methods(s, read_digits(s, compared), result);
  for (const double ridge : kRidges) add_weights(s, digits, ridge, result);
  result.notes.insert(
      result.notes.begin(),
      format("Data: %d training samples, a tenth with another label (seed %llu), %d for validation, %zu for "
             "the test; hypergradients are compared on the first %d and %d. The published comparison states "
             "neither the ridge nor sizes and steps; here all weights start at 1/2, and gradient steps have "
             "the length of a first change by 1 in the mean of squares. Reconstructions are those of L-BFGS "
             "from the ones before, so that methods differ in the adjoint systems alone.",
             count, static_cast<unsigned long long>(s.seed), count, digits.test.labels.size(), compared,
             compared));
  return result;
}

}  // namespace

Experiment hypercleaning() {
  return {
      "E4",
      "Data hypercleaning of digits",
      "Better methods for the hypergradient give better optimisation: conjugate gradients before automatic "
      "differentiation of the heavy ball, and that before gradient descent.",
      "Ehrhardt and Roberts 2023",
      true,
      DataKind::digits,
      run};
}

}  // namespace bilevel_app::experiments
