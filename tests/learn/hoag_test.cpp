// HOAG on binary logistic regression with one ridge weight, whose loss is scanned by loops.

#include "bilevel/learn/hoag.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "bilevel/core/error.hpp"
#include "tests/learn/dense_lab.hpp"
#include "tests/learn/maid_lab.hpp"

namespace bilevel {
namespace {

using namespace testing_support;

/// sum_j ln(1 + e^{-y_j x_j^T w}) + 1/2 e^theta |w|^2 below, the mean loss of held-out samples above.
struct RidgeData {
  explicit RidgeData(Random& random) : data(cleaning_data(1, 8, 25, 60, 0.2, random)) {}

  static Parameters layout(double theta) {
    return Parameters({{"xi", Transform::exp, std::exp(theta), std::exp(-6), std::exp(6), true}});
  }
  double loss(double theta) const {
    oracle::Classifier lower = data.lower();
    lower.t.assign(lower.t.size(), 1);
    lower.factor = 1;
    lower.ridge.assign(lower.unknowns(), std::exp(theta));
    return data.upper().value(lower.minimiser());
  }
  /// The least of 200 points, which is inside.
  double best() const {
    std::vector<double> losses;
    for (int k = 0; k < 200; ++k) losses.push_back(loss(-6 + 12 * k / 199.0));
    const auto least = std::min_element(losses.begin(), losses.end());
    EXPECT_NE(least, losses.begin());
    EXPECT_NE(least, losses.end() - 1);
    return *least;
  }

  CleaningData data;
};

struct HoagRun {
  UpperReport report;
  Recorder seen;
  std::vector<double> x;
};

HoagRun run(const RidgeData& of, const HoagOptions& hoag, const UpperOptions& options, double theta,
            const UpperState* resume = nullptr) {
  Context context(Device::open(test_device("cpu:2")));
  const CleaningData& d = of.data;
  const auto scores =
      std::make_shared<DenseOperator<double>>(context, 1, 1, d.samples(), d.features, d.train);
  const Parameters layout = RidgeData::layout(theta);
  auto energy = std::make_unique<ComposedEnergy<double>>(
      context, d.unknown(), layout,
      std::vector<std::shared_ptr<OwnPart>>{
          std::make_shared<CrossEntropyTerm<double>>(scores, d.labels, 1.0, false)});
  const BilevelProblem<double> problem(std::move(energy), d.loss<double>(context), layout);
  const Tensor<double> start(context, d.unknown(), std::vector<double>(d.unknown().count(), 0));
  HoagRun out;
  const auto optimiser = make_hoag<double>(hoag, options);
  out.report = optimiser->run(context, problem, layout.initial(), start.view(), out.seen, resume);
  out.x = download<double>(context, optimiser->reconstructions());
  return out;
}

UpperOptions limits(int iterations, double tolerance = 1e-6) {
  UpperOptions options;
  options.max_iterations = iterations;
  options.schedule.tolerance = tolerance;
  return options;
}

TEST(Hoag, EveryScheduleReachesTheOptimumOfAScan) {
  Random random(seed(4001));
  const RidgeData data(random);
  const double best = data.best();
  std::map<HoagSchedule, std::uint64_t> work;
  for (const HoagSchedule schedule :
       {HoagSchedule::quadratic, HoagSchedule::cubic, HoagSchedule::geometric, HoagSchedule::exact}) {
    SCOPED_TRACE(name_of(schedule));
    HoagOptions options;
    options.schedule = schedule;
    const HoagRun r = run(data, options, limits(5000, 2e-5), 3);
    const double f = data.loss(r.report.theta[0]);
    EXPECT_LE(f, best * (1 + 1e-4)) << r.report.message;
    EXPECT_EQ(r.report.status, UpperStatus::stationary) << r.report.message;
    EXPECT_LE(r.report.last.loss_lower, f * (1 + 1e-10));
    EXPECT_GE(r.report.last.loss_upper, f * (1 - 1e-10));
    // what was claimed of the end
    const double h = 1e-4, t = r.report.theta[0];
    EXPECT_LE(std::abs(data.loss(t + h) - data.loss(t - h)) / (2 * h), 2e-5 + 1e-8);
    // work until the loss is there
    std::vector<IterationRecord> all = r.seen.records;
    all.push_back(r.report.last);
    const auto there = std::find_if(all.begin(), all.end(), [&](const IterationRecord& record) {
      return data.loss(record.theta[0]) <= best * (1 + 1e-4);
    });
    ASSERT_NE(there, all.end());
    work[schedule] = there->work.total();
    std::cout << name_of(schedule) << ": " << r.report.last.iteration << " iterations, " << work[schedule]
              << " operators to the optimum of the scan, loss " << f << ", scanned " << best << std::endl;
  }
  for (const auto& [schedule, operators] : work)
    if (schedule != HoagSchedule::exact) {
      EXPECT_LT(operators, work[HoagSchedule::exact]) << name_of(schedule);
    }
}

/// Steps that raise the loss by a fifth are taken back: from a start with a steep slope the first one is.
TEST(Hoag, TakesBackStepsThatRaiseTheLoss) {
  Random random(seed(4002));
  RidgeData data(random);
  for (double& e : data.data.held_out) e *= 4;  // a loss that is steep where the ridge is small
  const HoagRun r = run(data, {}, limits(200, 1e-4), 5.9);
  double most = 0;
  for (std::size_t k = 1; k < r.seen.records.size(); ++k)
    most = std::max(most, r.seen.records[k].loss / r.seen.records[k - 1].loss);
  EXPECT_LT(most, 1.2);
  EXPECT_LE(data.loss(r.report.theta[0]), data.best() * (1 + 1e-3)) << r.report.message;
}

TEST(Hoag, GoesOnWithTheSameBits) {
  Random random(seed(4003));
  const RidgeData data(random);
  for (const bool published : {false, true}) {
    HoagOptions options;
    options.published_code = published;
    const HoagRun whole = run(data, options, limits(8, 0), 4);
    ASSERT_EQ(whole.seen.states.size(), 8u);
    for (const std::size_t k : {0u, 3u, 6u}) {
      const HoagRun rest = run(data, options, limits(8, 0), 4, &whole.seen.states[k]);
      EXPECT_EQ(rest.report.theta, whole.report.theta);
      EXPECT_EQ(rest.report.last.loss, whole.report.last.loss);
      EXPECT_EQ(rest.report.last.work, whole.report.last.work);
      EXPECT_EQ(rest.x, whole.x);
      EXPECT_EQ(rest.seen.records.size(), 7 - k);
    }
    options.published_code = !published;
    EXPECT_THROW(run(data, options, limits(8, 0), 4, &whole.seen.states[0]), ConfigError);
  }
}

/// As published: two steps of 1/L at a time, the first ending inside [-6, 6], and values of the last two
/// theta that change L.
TEST(Hoag, ThePublishedCodeStepsTwice) {
  Random random(seed(4005));
  const RidgeData data(random);
  HoagOptions options;
  options.published_code = true;
  options.schedule = HoagSchedule::exact;
  const HoagRun r = run(data, options, limits(12, 0), 4);
  const auto& records = r.seen.records;
  ASSERT_EQ(records.size(), 12u);
  int changed = 0;
  for (std::size_t k = 0; k < records.size(); ++k) {
    const double t = records[k].theta[0], move = records[k].gradient[0] * records[k].step;
    const double next = k + 1 < records.size() ? records[k + 1].theta[0] : r.report.theta[0];
    const double twice = std::clamp(std::clamp(t - move, -6.0, 6.0) - move, -6.0, 6.0);
    EXPECT_NEAR(next, records[k].status == "rejected" ? t : twice, 1e-12) << k;
    if (k == 0) continue;
    const double ratio = records[k].step / records[k - 1].step;
    EXPECT_TRUE(std::abs(ratio - 1) < 1e-12 || std::abs(ratio - 1 / .95) < 1e-12 || ratio == .5) << ratio;
    changed += ratio != 1;
  }
  EXPECT_GT(changed, 0);
  EXPECT_LT(r.report.last.loss, records[0].loss);
}

/// |grad Phi(x~)| <= epsilon_k |grad Phi(x_0)| e^{theta - theta_0}, epsilon_k one iteration late.
TEST(Hoag, ThePublishedAccuraciesAreRelative) {
  Random random(seed(4006));
  const RidgeData data(random);
  HoagOptions options;
  options.published_code = true;
  for (const HoagSchedule schedule : {HoagSchedule::quadratic, HoagSchedule::geometric}) {
    options.schedule = schedule;
    for (const int iterations : {0, 1, 4}) {
      const HoagRun r = run(data, options, limits(iterations, 0), 4);
      const double theta = r.report.theta[0];
      oracle::Classifier lower = data.data.lower();
      lower.t.assign(lower.t.size(), 1);
      lower.factor = 1;
      lower.ridge.assign(lower.unknowns(), std::exp(4.0));
      const double first = norm(lower.gradient(std::vector<double>(lower.unknowns(), 0)));
      lower.ridge.assign(lower.unknowns(), std::exp(theta));
      const double k = iterations, epsilon = schedule == HoagSchedule::quadratic ? .1 / std::max(1.0, k * k)
                                                                                 : .1 * std::pow(.9, k);
      EXPECT_LE(norm(lower.gradient(r.x)), epsilon * first * std::exp(theta - 4) * (1 + 1e-6));
      EXPECT_DOUBLE_EQ(r.report.last.epsilon, epsilon);
    }
  }
}

TEST(Hoag, LimitsAndOptions) {
  Random random(seed(4004));
  const RidgeData data(random);
  UpperOptions options = limits(500, 0);
  options.budget = 60;
  EXPECT_EQ(run(data, {}, options, 4).report.status, UpperStatus::budget);
  EXPECT_EQ(run(data, {}, limits(3, 0), 4).report.status, UpperStatus::max_iterations);
  EXPECT_THROW(make_hoag<double>({HoagSchedule::cubic, 0}, {}), ConfigError);
  EXPECT_THROW(make_hoag<double>({HoagSchedule::cubic, NAN}, {}), ConfigError);
  EXPECT_THROW(hoag_schedule("linear"), ConfigError);
  for (const char* name : {"quadratic", "cubic", "geometric", "exact"})
    EXPECT_STREQ(name_of(hoag_schedule(name)), name);
}

}  // namespace
}  // namespace bilevel
