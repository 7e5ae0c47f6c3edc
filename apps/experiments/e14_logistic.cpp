// E14: the ridge weight of binary logistic regression, learned on held-out samples by HOAG with each of its
// schedules of accuracies.

#include <algorithm>
#include <cmath>

#include "apps/common/text.hpp"
#include "apps/experiments/legacy_random.hpp"
#include "apps/experiments/measured_run.hpp"
#include "apps/experiments/registry.hpp"
#include "bilevel/learn/hoag.hpp"
#include "bilevel/model/cross_entropy_term.hpp"
#include "bilevel/ops/dense_operator.hpp"

namespace bilevel_app::experiments {

namespace {

using namespace bilevel;

constexpr double kBound = 6;     // alpha in [-6, 6]
constexpr int kPoints = 200;     // of the scan
constexpr double kClose = 1e-4;  // to the optimum of the scan, relative

struct Samples {
  std::vector<double> rows;
  std::vector<int> labels;
};

/// Two classes around points of their own with deviation 0.7, a fifth of the labels wrong where `flipped`.
Samples draw(LegacyRandom& random, const std::vector<std::vector<double>>& centres, int count, bool flipped) {
  Samples out;
  for (int j = 0; j < count; ++j) {
    const int label = random.uniform() < 0.5 ? 0 : 1;
    for (const double c : centres[static_cast<std::size_t>(label)])
      out.rows.push_back(c + 0.7 * random.normal());
    out.labels.push_back(flipped && random.uniform() < 0.2 ? 1 - label : label);
  }
  return out;
}

/// sum_j ln(1 + e^{-y_j x_j^T w}) + e^alpha/2 |w|^2 below, the mean loss of held-out samples above.
struct Logistic {
  Logistic(const Settings& s, int features, int train, int held_out)
      : context(s.device),
        layout({{"xi", Transform::exp, std::exp(3.0), std::exp(-kBound), std::exp(kBound), true}}) {
    LegacyRandom random(static_cast<std::uint32_t>(s.seed));
    const auto count = static_cast<std::size_t>(features);
    const std::vector<std::vector<double>> centres{random.normal_vector(count), random.normal_vector(count)};
    const Samples lower = draw(random, centres, train, true), upper = draw(random, centres, held_out, false);
    const auto scores = [&](const Samples& of) {
      return std::make_shared<DenseOperator<double>>(context, 1, 1, static_cast<int>(of.labels.size()),
                                                     features, of.rows);
    };
    const Shape unknown{1, 1, 1, features};
    auto term = std::make_shared<CrossEntropyTerm<double>>(scores(lower), lower.labels, 1.0, false);
    problem = std::make_unique<BilevelProblem<double>>(
        std::make_unique<ComposedEnergy<double>>(context, unknown, layout,
                                                 std::vector<std::shared_ptr<OwnPart>>{std::move(term)}),
        cross_entropy<double>(context, scores(upper), upper.labels), layout);
    start = Tensor<double>(context, unknown, std::vector<double>(unknown.count(), 0));
  }

  Context context;
  Parameters layout;
  std::unique_ptr<BilevelProblem<double>> problem;
  Tensor<double> start;
};

Result run(const Settings& s) {
  const int features = s.quick ? 8 : 50, train = s.quick ? 25 : 200, held_out = s.quick ? 60 : 400;
  Logistic data(s, features, train, held_out);
  ExactLoss exact(data.context, *data.problem, std::as_const(data.start).view());
  s.tell("scan of " + std::to_string(kPoints) + " points");
  const Scan scanned = scan(exact, -kBound, kBound, kPoints);

  Result result;
  result.rows.push_back(reported({"least loss of the scan", {}, scanned.best}));
  result.rows.push_back(
      at_least({"the least is inside of [-6, 6]", {}, scanned.inside ? 1.0 : 0.0}, 1, "1: yes"));
  const Gap gap = [&](std::span<const double> theta) { return exact(theta).value - scanned.least.value; };
  const double limit = (1 + kClose) * scanned.best, enough = limit - scanned.least.value;
  Panel gaps = gap_panel("Loss above the least one"),
        accuracies = accuracy_panel("Accuracy that the schedule asks for", "epsilon = delta");
  std::vector<double> work;
  const HoagSchedule schedules[] = {HoagSchedule::exact, HoagSchedule::quadratic, HoagSchedule::cubic,
                                    HoagSchedule::geometric};
  for (const HoagSchedule schedule : schedules) {
    const std::string name = name_of(schedule);
    s.tell("HOAG, " + name);
    HoagOptions hoag;
    hoag.schedule = schedule;
    UpperOptions options;
    options.max_iterations = 2000;
    options.schedule.tolerance = 2e-5;
    const auto optimiser = make_hoag<double>(hoag, options);
    const MeasuredRun one = measured(name, data.context, *data.problem, *optimiser, data.layout.initial(),
                                     std::as_const(data.start).view());
    result.rows.push_back(at_most({name + ": loss at the end", {}, exact(one.report.theta).value}, limit,
                                  format("at most 1 + %g times the scan's", kClose)));
    work.push_back(work_to(one, gap, enough));
    if (schedule == HoagSchedule::exact)
      result.rows.push_back(reported({name + ": work to that loss", {}, work.back()}));
    else
      result.rows.push_back(
          below({name + ": work to that loss", {}, work.back()}, work.front(), "below that of exact"));
    result.notes.push_back(ending(one));
    gaps.series.push_back(gap_curve(one, gap));
    accuracies.series.push_back(accuracy_curve(one, &IterationRecord::epsilon));
  }
  result.curves = {std::move(gaps),
                   std::move(accuracies),
                   {"The scan", {"alpha", false}, {"held-out loss", false}, {scanned.curve}}};
  result.notes.push_back(format(
      "Data: our own draws, %d training samples of %d features, a fifth of their labels wrong, %d held-out "
      "ones; seed %llu. The published comparison is on text data and has no numbers that could be compared. "
      "alpha starts at 3.",
      train, features, held_out, static_cast<unsigned long long>(s.seed)));
  return result;
}

}  // namespace

Experiment logistic_regression() {
  return {"E14",
          "Ridge weight of logistic regression",
          "Vanishing errors are as good as exact hypergradients and cost less: every schedule of accuracies "
          "reaches the best regularisation weight.",
          "Pedregosa 2016",
          true,
          false,
          run};
}

}  // namespace bilevel_app::experiments
