#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "tests/learn/experts_lab.hpp"
#include "tests/learn/maid_lab.hpp"

// MAID on fields of experts, and L-BFGS steps on total variation, against exact losses and hypergradients.

namespace bilevel {
namespace {

using namespace testing_support;

template <class T>
struct ExpertsRun {
  UpperReport report;
  Recorder seen;
  std::vector<T> x;
};

template <class T = double>
ExpertsRun<T> train(const FoeProblem& from, const RunOptions& how, const ExpertsLayout& layout = {}) {
  ExpertsSetup<T> setup(from, layout, how.device);
  BilevelProblem<T> problem = setup.bilevel();
  ExpertsRun<T> out;
  out.seen.stop_after = how.stop_after;
  const auto optimiser = make_maid<T>(how.options);
  out.report = optimiser->run(setup.context, problem, setup.parameters.initial(), setup.y.view(), out.seen,
                              how.resume);
  out.x = download<T>(setup.context, optimiser->reconstructions());
  return out;
}

RunOptions usual(StepScaling scaling, int iterations, double tolerance = 1e-4) {
  RunOptions how;
  how.options.scaling = scaling;
  how.options.schedule.tolerance = tolerance;
  how.options.max_iterations = iterations;
  return how;
}

/// K = 3 filters of size 3 on three noisy images.
FoeProblem training_set(std::uint64_t from, int side = 16, int images = 3) {
  Random random(from);
  FoeProblem m = foe_shape(images, side, side, 3, 3);
  const Parameters start = experts_parameters(3, 3, FilterInit::random, 0.05, 0.05, from);
  m.theta = start.initial();
  m.zero_mean = true;
  for (int i = 0; i < images; ++i) {
    append(m.x_true, piecewise_constant(side, side, 0, random));
    append(m.y, add_scaled(image_of(m.x_true, m.x_true.size() / static_cast<std::size_t>(i + 1), i), 0.1,
                           random.normal_vector(static_cast<std::size_t>(m.pixels()))));
  }
  return m;
}

/// Every record of a run against the exact loss and hypergradient: true enclosures and bounds, directions of
/// descent, and steps that decrease the exact loss by lambda times the decrease they predicted.
template <class T>
void check_run(const FoeProblem& from, const RunOptions& how, const ExpertsRun<T>& run,
               const std::string& name) {
  RatioRecorder ratio(name + ", omega / error");
  const ExpertsSetup<T> setup(from, {}, how.device);
  const auto exact_at = [&](const std::vector<double>& theta) {
    return oracle::exact_hypergradient(setup.at(theta));
  };
  const auto& records = run.seen.records;
  ASSERT_FALSE(records.empty()) << run.report.message;
  oracle::UpperResult exact = exact_at(records[0].theta);
  for (std::size_t k = 0; k <= records.size(); ++k) {
    SCOPED_TRACE("iteration " + std::to_string(k));
    const bool last = k == records.size();
    const IterationRecord& r = last ? run.report.last : records[k];
    const double slack = 1e-13 * exact.f, error = distance(r.gradient, exact.hypergradient);
    EXPECT_LE(r.loss_lower, exact.f + slack);
    EXPECT_GE(r.loss_upper, exact.f - slack);
    if (!last || !r.gradient.empty()) {
      EXPECT_LE(error, r.error_bound);
      ratio.add(r.error_bound / error);
    }
    if (last) break;
    const std::vector<double>& next = k + 1 < records.size() ? records[k + 1].theta : run.report.theta;
    const std::vector<double> d = add_scaled(next, -1, r.theta);
    oracle::UpperResult moved = exact_at(next);
    if (how.options.try_uncertified) {
      EXPECT_LT(moved.f, exact.f + slack);
    } else {
      // the certified slope s has |s + <grad f, d>| <= (1 - eta) s
      const ScheduleOptions& o = how.options.schedule;
      const double decrease = -dot(exact.hypergradient, d), least = decrease / (2 - o.eta);
      EXPECT_GT(decrease, 0);
      EXPECT_LE(moved.f, exact.f - o.lambda * least + slack);
    }
    exact = std::move(moved);
  }
  std::cout << name << ": " << records.size() << " iterations, loss " << records[0].loss << " to "
            << run.report.last.loss << ", " << run.report.message << std::endl;
}

TEST(ExpertsMaid, EveryStepDecreasesTheExactLoss) {
  const FoeProblem m = training_set(seed(1701), 16, on_cuda() ? 2 : 3);
  struct Case {
    StepScaling scaling;
    bool columns;
    const char* name;
  };
  for (const Case& c :
       {Case{StepScaling::lbfgs, true, "L-BFGS"}, Case{StepScaling::gauss_newton, true, "Gauss-Newton"},
        Case{StepScaling::none, true, "plain"}, Case{StepScaling::lbfgs, false, "L-BFGS, no columns"},
        Case{StepScaling::none, false, "plain, no columns"}}) {
    SCOPED_TRACE(c.name);
    for (const bool may_try : {false, true}) {
      RunOptions how = usual(c.scaling, on_cuda() ? 3 : c.scaling == StepScaling::none ? 6 : 14);
      how.options.columns = c.columns;
      how.options.try_uncertified = may_try;
      const ExpertsRun<double> run = train(m, how);
      check_run(m, how, run, std::string(c.name) + (may_try ? ", may try" : ""));
      EXPECT_LT(run.report.last.loss, run.seen.records[0].loss);
    }
  }
}

TEST(ExpertsMaid, WorksInSinglePrecision) {
  const FoeProblem m = training_set(seed(1702), 12, 2);
  const RunOptions how = usual(StepScaling::lbfgs, 8, 1e-3);
  check_run(m, how, train<float>(m, how), "L-BFGS, single precision");
}

/// Valid padding, Huber potential, filters that are not centred, other sizes.
TEST(ExpertsMaid, WorksForEveryKind) {
  Random random(seed(1703));
  for (const oracle::NamedFoe& named : oracle::foe_collection(foe_shape(2, 8, 9, 2, 3), random)) {
    if (random.integer(0, 2) > 0 && named.kind != oracle::FoeKind::corner_taps) continue;
    SCOPED_TRACE(named.name);
    const RunOptions how = usual(StepScaling::lbfgs, 4, 1e-3);
    const ExpertsRun<double> run = train(named.problem, how);
    if (run.seen.records.empty()) {  // at the tolerance, or where the first step is not certified
      EXPECT_EQ(run.report.status, UpperStatus::stationary) << run.report.message;
      continue;
    }
    check_run(named.problem, how, run, named.name);
  }
}

/// |z| + omega <= tolerance is true of the exact gradient. Only weights are learned: with smoothing or
/// filters the loss falls towards nu / |c| = 0. Twelve of them have no columns.
TEST(ExpertsMaid, StationarityIsTrue) {
  Random random(seed(1704));
  FoeProblem m = oracle::random_foe(oracle::FoeKind::generic, foe_shape(2, 10, 9, 12, 3), random);
  m.theta = experts_parameters(12, 3, FilterInit::dct, 0.03, 0.1).initial();
  ExpertsLayout weights;
  weights.learned = {true, false, false};
  for (const auto& [scaling, tolerance] :
       {std::pair{StepScaling::lbfgs, 1e-4}, {StepScaling::gauss_newton, 1e-4}, {StepScaling::none, 2e-2}}) {
    const RunOptions how = usual(scaling, 300, tolerance);
    const ExpertsRun<double> run = train(m, how, weights);
    EXPECT_EQ(run.report.status, UpperStatus::stationary) << run.report.message;
    const ExpertsSetup<double> setup(m, weights);
    const double exact =
        norm(setup.map.gradient(oracle::exact_hypergradient(setup.at(run.report.theta)).hypergradient));
    const double certified = run.report.last.gradient_norm + run.report.last.error_bound;
    EXPECT_LE(exact, certified);
    EXPECT_LE(certified, tolerance);
    std::cout << run.seen.records.size() << " iterations, |grad f| " << exact << ", " << run.report.message
              << std::endl;
  }
}

bool same_bits(const std::vector<double>& a, const std::vector<double>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(double)) == 0;
}

/// The rest of a run from each of its states.
template <class Run, class Train>
void expect_same_rest(const Run& whole, const RunOptions& how, const Train& again) {
  ASSERT_FALSE(whole.seen.records.empty()) << whole.report.message;
  for (std::size_t k = 0; k < whole.seen.states.size(); ++k) {
    SCOPED_TRACE("resumed after iteration " + std::to_string(k));
    RunOptions from = how;
    from.resume = &whole.seen.states[k];
    const Run rest = again(from);
    ASSERT_EQ(rest.seen.records.size(), whole.seen.records.size() - k - 1) << rest.report.message;
    for (std::size_t l = 0; l < rest.seen.records.size(); ++l) {
      const IterationRecord &a = rest.seen.records[l], &b = whole.seen.records[k + 1 + l];
      EXPECT_TRUE(same_bits(a.theta, b.theta));
      EXPECT_EQ(a.loss, b.loss);
      EXPECT_EQ(a.error_bound, b.error_bound);
      EXPECT_EQ(a.step, b.step);
      EXPECT_EQ(a.work, b.work);
    }
    EXPECT_TRUE(same_bits(rest.report.theta, whole.report.theta));
    EXPECT_EQ(rest.report.status, whole.report.status);
    EXPECT_EQ(rest.x, whole.x);
  }
}

TEST(ExpertsMaid, ResumesWithTheSameBits) {
  const FoeProblem m = training_set(seed(1705), 11, 2);
  for (const StepScaling scaling : {StepScaling::lbfgs, StepScaling::gauss_newton, StepScaling::none})
    for (const bool columns : {true, false}) {
      SCOPED_TRACE((scaling == StepScaling::none ? "plain" : "scaled") +
                   std::string(columns ? "" : ", no columns"));
      RunOptions how = usual(scaling, 5);
      how.options.columns = columns;
      expect_same_rest(train(m, how), how, [&](const RunOptions& from) { return train(m, from); });
    }
  const RunOptions how = usual(StepScaling::lbfgs, 5, 1e-3);
  expect_same_rest(train<float>(m, how), how, [&](const RunOptions& from) { return train<float>(m, from); });
}

TEST(ExpertsMaid, DoesNotDependOnThreads) {
  const FoeProblem m = training_set(seed(1706), 20, 3);
  RunOptions how = usual(StepScaling::lbfgs, 3);
  const ExpertsRun<double> one = train(m, how);
  for (const std::string& device : repeat_devices({"cpu:2", "cpu-guarded:3"})) {
    how.device = device;
    const ExpertsRun<double> other = train(m, how);
    EXPECT_TRUE(same_bits(other.report.theta, one.report.theta)) << device;
    EXPECT_EQ(other.report.last.work, one.report.last.work) << device;
    EXPECT_EQ(other.x, one.x) << device;
  }
}

/// L-BFGS on total variation: certified, resumable, and to the optimum of the default scaling.
TEST(ExpertsMaid, LbfgsStepsWorkForTotalVariation) {
  Random random(seed(1707));
  oracle::TvModel model;
  model.height = 14;
  model.width = 13;
  model.alpha = 0.02;
  model.nu = 0.05;
  TvInstance instance = random_instance(model, 3, 0.1, random);
  RunOptions how = usual(StepScaling::lbfgs, 100, 1e-5);
  how.lower = 1e-3;
  const MaidRunOf<double> run = train(instance, how);
  EXPECT_EQ(run.report.status, UpperStatus::stationary) << run.report.message;
  std::vector<double> projected = run.exact(run.report.theta).hypergradient;
  for (std::size_t j = 0; j < 2; ++j)
    if (run.report.theta[j] <= std::log(how.lower) && projected[j] > 0) projected[j] = 0;
  EXPECT_LE(norm(projected), 1e-5);
  for (const IterationRecord& r : run.seen.records) expect_true_record(run, r);
  double f = run.exact(run.instance.theta()).f;
  for (std::size_t k = 0; k < run.seen.records.size(); ++k) {
    const std::vector<double>& next =
        k + 1 < run.seen.records.size() ? run.seen.records[k + 1].theta : run.report.theta;
    const double moved = run.exact(next).f;
    EXPECT_LT(moved, f) << k;
    f = moved;
  }
  RunOptions newton = usual(StepScaling::gauss_newton, 100, 1e-5);
  newton.lower = how.lower;
  EXPECT_NEAR(train(instance, newton).report.last.loss, run.report.last.loss, 1e-6 * f);
  how.options.max_iterations = 5;
  expect_same_rest(train(instance, how), how, [&](const RunOptions& from) { return train(instance, from); });
}

}  // namespace
}  // namespace bilevel
