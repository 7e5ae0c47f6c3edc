// Training by unrolled hypergradients against its formulas, what it says of the loss against exact losses.

#include "bilevel/learn/unrolled_training.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "bilevel/core/error.hpp"
#include "tests/learn/maid_lab.hpp"

namespace bilevel {
namespace {

using namespace testing_support;

/// Well conditioned, so that few steps tell much.
TvInstance tame_instance(Random& random) {
  oracle::TvModel model;
  model.height = 6;
  model.width = 7;
  model.alpha = random.log_uniform(0.02, 0.1);
  model.nu = random.log_uniform(0.1, 0.3);
  model.xi = 0.1;
  return random_instance(model, 2, 0.1, random);
}

UnrolledTrainingOptions unrolled(int steps, UnrolledUpdate update) {
  UnrolledTrainingOptions own;
  own.unrolled.steps = steps;
  own.update = update;
  return own;
}

RunOptions limits(int iterations, double step, double tolerance = 0) {
  RunOptions how;
  how.options.max_iterations = iterations;
  how.options.schedule.step0 = step;
  how.options.schedule.tolerance = tolerance;
  how.lower = 1e-3;
  return how;
}

template <class T = double>
MaidRunOf<T> run(const TvInstance& instance, const UnrolledTrainingOptions& own, const RunOptions& how) {
  return train_by<T>(*make_unrolled<T>(own, how.options), instance, how);
}

constexpr UnrolledUpdate updates[] = {UnrolledUpdate::gradient, UnrolledUpdate::adam};
constexpr UnrolledDerivative derivatives[] = {UnrolledDerivative::reverse, UnrolledDerivative::inexact};

/// Adam by its formulas: what each theta moves by.
std::vector<std::vector<double>> adam_moves(const std::vector<IterationRecord>& records, double step) {
  std::vector<std::vector<double>> moves;
  for (std::size_t k = 0; k < records.size(); ++k) {
    std::vector<double> move;
    for (std::size_t j = 0; j < records[0].gradient.size(); ++j) {
      double m = 0, v = 0;  // sums over all gradients instead of recurrences
      for (std::size_t i = 0; i <= k; ++i) {
        const double g = records[i].gradient[j];
        m += 0.1 * std::pow(0.9, k - i) * g;
        v += 0.001 * std::pow(0.999, k - i) * g * g;
      }
      m /= 1 - std::pow(0.9, k + 1);
      v /= 1 - std::pow(0.999, k + 1);
      move.push_back(-step * m / (std::sqrt(v) + 1e-8));
    }
    moves.push_back(move);
  }
  return moves;
}

TEST(UnrolledTraining, StepsAreThoseOfTheFormulas) {
  Random random(seed(4401));
  for (const UnrolledUpdate update : updates)
    for (const UnrolledDerivative derivative : derivatives) {
      const TvInstance instance = tame_instance(random);
      UnrolledTrainingOptions own = unrolled(9, update);
      own.unrolled.derivative = derivative;
      const double step = update == UnrolledUpdate::adam ? 0.2 : 5;
      const auto r = run(instance, own, limits(6, step));
      ASSERT_EQ(r.seen.records.size(), 6u);
      const auto adam = adam_moves(r.seen.records, step);
      TvSetup<double> first(instance);
      const UnrolledOptions fixed = own.unrolled.fixed_at(first.energy->curvature());
      for (std::size_t k = 0; k < 6; ++k) {
        const IterationRecord& record = r.seen.records[k];
        // z and f_K of K steps from the data, of the length that fits the first theta
        TvSetup<double> setup(instance.at(record.theta));
        const BilevelProblem<double> problem = setup.problem();
        UnrolledHypergradient<double> unrolling(setup.context, problem, fixed);
        Tensor<double> x(setup.context, instance.shape());
        const UnrolledResult expected =
            unrolling.compute(setup.context, record.theta, std::as_const(setup.y).view(), x.view());
        EXPECT_LE(distance(record.gradient, expected.z), 1e-12 * norm(expected.z));
        EXPECT_NEAR(record.loss, expected.loss, 1e-12 * expected.loss);
        const std::vector<double>& next = k < 5 ? r.seen.records[k + 1].theta : r.report.theta;
        for (std::size_t j = 0; j < next.size(); ++j) {
          const double move = update == UnrolledUpdate::adam ? adam[k][j] : -step * record.gradient[j];
          EXPECT_NEAR(next[j] - record.theta[j], move, 1e-10 * std::abs(move) + 1e-14);
        }
      }
    }
}

/// No gradient on the way, but the loss there and everything at the end.
template <class T>
void expect_true_records(Random& random) {
  for (const UnrolledUpdate update : updates) {
    const auto r = run<T>(tame_instance(random), unrolled(20, update), limits(5, 0.1));
    EXPECT_EQ(r.report.status, UpperStatus::max_iterations) << r.report.message;
    for (const IterationRecord& record : r.seen.records) {
      expect_true_record(r, record);
      EXPECT_EQ(record.status, "uncertified");
      EXPECT_TRUE(std::isinf(record.error_bound));
      EXPECT_GT(record.epsilon, 0);
    }
    const IterationRecord& last = r.report.last;
    expect_true_record(r, last);
    EXPECT_TRUE(std::isfinite(last.error_bound));
    EXPECT_LE(last.loss_upper - last.loss_lower, (sizeof(T) == 4 ? 1e-2 : 1e-4) * last.loss);
    EXPECT_NE(r.report.message.find("no step was certified"), std::string::npos) << r.report.message;
    // the reconstructions are those of the minimiser, not of K steps
    const auto& minimisers = r.exact(r.report.theta).extended_xhat;
    for (std::size_t i = 0; i < r.x.size(); ++i)
      EXPECT_LE(exact_distance(r.x[i], minimisers[i]), sizeof(T) == 4 ? 0.1 : last.epsilon);
  }
}
TEST(UnrolledTraining, WhatIsSaidOfTheLossIsTrue) {
  Random random(seed(4402));
  expect_true_records<double>(random);
  expect_true_records<float>(random);
}

/// Many steps lead to the optimum of f, which is certified; few to that of another function.
TEST(UnrolledTraining, FewStepsEndElsewhere) {
  Random random(seed(4403));
  TvInstance instance = tame_instance(random);
  instance.learned = {{"alpha"}};
  instance.model.alpha = 0.3;  // so that L falls
  RunOptions maid = limits(100, 1e-2, 1e-7);
  const auto best = train(instance, maid);
  ASSERT_EQ(best.report.status, UpperStatus::stationary) << best.report.message;
  const double f = best.exact(best.report.theta).f;
  RunOptions how = limits(500, 2, 1e-6);
  const auto many = run(instance, unrolled(200, UnrolledUpdate::gradient), how);
  const auto few = run(instance, unrolled(3, UnrolledUpdate::gradient), how);
  for (const auto* r : {&many, &few})
    std::cout << r->report.last.iteration << " iterations, " << r->report.message << " Loss "
              << r->exact(r->report.theta).f << ", of MAID " << f << std::endl;
  EXPECT_EQ(many.report.status, UpperStatus::stationary) << many.report.message;
  EXPECT_LE(many.exact(many.report.theta).f, f * (1 + 1e-6));
  EXPECT_EQ(few.report.status, UpperStatus::accuracy_limit) << few.report.message;
  EXPECT_GT(norm(few.exact(few.report.theta).hypergradient), 100 * 1e-6);
  EXPECT_GT(few.exact(few.report.theta).f, f * (1 + 1e-4));
}

TEST(UnrolledTraining, GoesOnWithTheSameBits) {
  Random random(seed(4404));
  for (const UnrolledUpdate update : updates) {
    const TvInstance instance = tame_instance(random);
    UnrolledTrainingOptions own = unrolled(10, update);
    own.unrolled.method = UnrolledMethod::heavy_ball;
    own.unrolled.checkpoints = true;
    RunOptions how = limits(6, 0.1);
    const auto whole = run(instance, own, how);
    for (const std::size_t k : {0u, 3u, 5u}) {
      how.resume = &whole.seen.states.at(k);
      const auto rest = run(instance, own, how);
      EXPECT_EQ(rest.report.theta, whole.report.theta);
      EXPECT_EQ(rest.report.last.loss, whole.report.last.loss);
      EXPECT_EQ(rest.report.last.loss_upper, whole.report.last.loss_upper);
      EXPECT_EQ(rest.report.last.error_bound, whole.report.last.error_bound);
      EXPECT_EQ(rest.report.last.work, whole.report.last.work);
      EXPECT_EQ(rest.x, whole.x);
      EXPECT_EQ(rest.seen.records.size(), 5 - k);
    }
    own.update = update == UnrolledUpdate::adam ? UnrolledUpdate::gradient : UnrolledUpdate::adam;
    EXPECT_THROW(run(instance, own, how), ConfigError);
    own.update = update;
    for (const char* name : {"next-theta", "first-moment", "second-moment"}) {
      UpperState bad = whole.seen.states[0];
      bad.numbers[name] = {1};
      how.resume = &bad;
      EXPECT_THROW(run(instance, own, how), ShapeError) << name;
    }
    UpperState still = whole.seen.states[0];
    still.numbers["lower-step"] = {0};
    how.resume = &still;
    EXPECT_THROW(run(instance, own, how), ConfigError);
    UpperState bad = whole.seen.states[0];
    bad.arrays["start"].pop_back();
    how.resume = &bad;
    EXPECT_THROW(run(instance, own, how), ShapeError);
  }
}

TEST(UnrolledTraining, LimitsDoNotKeepTheEndFromBeingCertified) {
  Random random(seed(4405));
  const TvInstance instance = tame_instance(random);
  RunOptions how = limits(1000, 0.1);
  how.options.time_limit = 1e-9;  // before the first loss
  const auto none = run(instance, unrolled(10, UnrolledUpdate::adam), how).report;
  EXPECT_EQ(none.status, UpperStatus::time_limit) << none.message;
  EXPECT_LE(none.last.loss_upper - none.last.loss_lower, 1e-4 * none.last.loss);
  how.options.time_limit = 0;
  how.options.budget = 300;
  const auto spent = run(instance, unrolled(10, UnrolledUpdate::adam), how);
  EXPECT_EQ(spent.report.status, UpperStatus::budget) << spent.report.message;
  expect_true_record(spent, spent.report.last);
  EXPECT_LE(spent.report.last.loss_upper - spent.report.last.loss_lower, 1e-4 * spent.report.last.loss);
  EXPECT_GT(spent.report.last.work.total(), 300u);

  how = limits(1000, 0.1);
  how.stop_after = 3;
  const auto stopped = run(instance, unrolled(10, UnrolledUpdate::adam), how);
  EXPECT_EQ(stopped.report.status, UpperStatus::interrupted);
  EXPECT_TRUE(std::isinf(stopped.report.last.error_bound));
  EXPECT_EQ(stopped.report.last.work, stopped.seen.records.back().work);
}

TEST(UnrolledTraining, StepsThatAreTooLongAndOptions) {
  Random random(seed(4406));
  const TvInstance instance = tame_instance(random);
  UnrolledTrainingOptions own = unrolled(2000, UnrolledUpdate::gradient);
  own.unrolled.derivative = UnrolledDerivative::inexact;
  own.unrolled.step = 1e3;
  const auto r = run(instance, own, limits(3, 0.1));
  EXPECT_EQ(r.report.status, UpperStatus::failed);
  EXPECT_NE(r.report.message.find("2000 unrolled steps"), std::string::npos) << r.report.message;

  EXPECT_THROW(make_unrolled<double>(unrolled(0, UnrolledUpdate::adam), {}), ConfigError);
  EXPECT_THROW(unrolled_update("sgd"), ConfigError);
  for (const UnrolledUpdate update : updates) EXPECT_EQ(unrolled_update(name_of(update)), update);
}

}  // namespace
}  // namespace bilevel
