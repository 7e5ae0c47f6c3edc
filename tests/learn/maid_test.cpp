#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "bilevel/core/error.hpp"
#include "tests/learn/maid_lab.hpp"

namespace bilevel {
namespace {

using namespace testing_support;

oracle::TvModel model_of(int height, int width, double alpha = 0.05, double nu = 0.01) {
  oracle::TvModel model;
  model.height = height;
  model.width = width;
  model.alpha = alpha;
  model.nu = nu;
  return model;
}

TvInstance training_set(std::uint64_t from) {
  Random random(from);
  return random_instance(model_of(24, 24), on_cuda() ? 2 : 8, 0.1, random);
}

RunOptions usual(StepScaling scaling, double tolerance = 1e-4) {
  RunOptions how;
  how.options.scaling = scaling;
  how.options.schedule.tolerance = tolerance;
  return how;
}

/// Every record of a run against the exact loss and hypergradient; returns the median of omega / error.
double check_training(const TvInstance& instance, const RunOptions& how, const std::string& name) {
  RatioRecorder ratio(name + ", omega / error"), loss_ratio(name + ", omega / |grad f|");
  const MaidRunOf<double> run = train(instance, how);
  EXPECT_FALSE(run.seen.records.empty()) << run.report.message;
  for (std::size_t k = 0; k < run.seen.records.size(); ++k) {
    SCOPED_TRACE("iteration " + std::to_string(k));
    const IterationRecord& r = run.seen.records[k];
    const UpperState& state = run.seen.states[k];
    expect_true_record(run, r);
    EXPECT_EQ(state.list("previous-theta"), r.theta);
    EXPECT_EQ(r.iteration, static_cast<int>(k));
    const std::vector<double>& exact = run.exact(r.theta).hypergradient;
    const double error = distance(state.list("previous-z"), exact);
    EXPECT_LE(error, r.error_bound);
    ratio.add(r.error_bound / error);
    loss_ratio.add(r.error_bound / norm(exact));
    // A certified descent direction.
    EXPECT_GT(dot(exact, add_scaled(r.theta, -1, state.theta)), 0);
  }
  expect_certified_decrease(run, how);
  expect_true_record(run, run.report.last);
  std::cout << name << ": " << run.seen.records.size() << " iterations, " << run.report.message << std::endl;
  return ratio.median();
}

TEST(Maid, CertifiesEveryIterationWithScaledSteps) {
  RunOptions how = usual(StepScaling::gauss_newton, 1e-6);
  how.lower = 1e-3;  // the loss has no minimum in nu > 0
  EXPECT_LE(check_training(training_set(seed(340)), how, "scaled steps"), 50);
}

TEST(Maid, CertifiesEveryIterationWithPlainSteps) {
  RunOptions how = usual(StepScaling::none, 1e-3);
  how.options.schedule.step0 = 1;
  how.options.max_iterations = 12;
  EXPECT_LE(check_training(training_set(seed(341)), how, "plain steps"), 50);
}

TEST(Maid, CertifiesEveryIterationInTheMannerOfThePaper) {
  RunOptions how = usual(StepScaling::none, 1e-3);
  how.options.schedule.refine_undecided = false;
  how.options.barzilai_borwein = false;
  how.options.columns = false;
  how.options.schedule.step0 = 0.1;
  how.options.max_iterations = 8;
  EXPECT_LE(check_training(training_set(seed(342)), how, "manner of the paper"), 50);
}

/// The decrease against an average of earlier losses, which some single steps do not have.
TEST(Maid, CertifiesEveryIterationAgainstAnAverage) {
  int rises = 0;
  for (const StepScaling scaling : {StepScaling::gauss_newton, StepScaling::none}) {
    RunOptions how = usual(scaling, 1e-3);
    how.options.schedule.non_monotone = 0.85;
    how.options.schedule.step0 = 30;
    how.options.schedule.rho_up = 8;  // steps that are too long now and then
    how.options.barzilai_borwein = false;
    how.options.max_iterations = 20;
    const MaidRunOf<double> run = train(training_set(seed(345)), how);
    expect_certified_decrease(run, how);
    for (std::size_t k = 1; k < run.seen.records.size(); ++k) {
      expect_true_record(run, run.seen.records[k]);
      rises += run.exact(run.seen.records[k].theta).f > run.exact(run.seen.records[k - 1].theta).f;
    }
    for (const std::size_t k : {std::size_t{0}, run.seen.states.size() - 2}) {
      how.resume = &run.seen.states[k];
      const MaidRunOf<double> rest = train(training_set(seed(345)), how);
      EXPECT_EQ(rest.report.theta, run.report.theta);
      EXPECT_EQ(rest.report.last.work, run.report.last.work);
    }
  }
  EXPECT_GT(rises, 0);
}

TEST(Maid, CertifiesInpaintingAndSignals) {
  Random random(seed(343));
  oracle::TvModel inpaint = model_of(12, 11, 0.02);
  inpaint.mask = random_mask(12, 11, 0.6, random);
  inpaint.xi = 1e-2;
  oracle::TvModel huber = model_of(1, 60, 0.05, 0.05);
  huber.potential = oracle::Potential::huber_c2;
  oracle::TvModel inside = model_of(9, 10);
  inside.xi_inside_alpha = true;
  inside.isotropic = false;
  for (const oracle::TvModel& model : {inpaint, huber, inside, model_of(1, 64)}) {
    for (const StepScaling scaling : {StepScaling::none, StepScaling::gauss_newton}) {
      RunOptions how = usual(scaling, 1e-3);
      how.options.max_iterations = 8;
      TvInstance instance = random_instance(model, 2, 0.1, random);
      instance.learned = {{"alpha"}, {"nu", oracle::Transform::log10}};
      check_training(instance, how, "shape " + instance.shape().str());
    }
  }
}

/// d^2 f / d theta^2 by differences of the exact hypergradient, one parameter.
double curvature_of_loss(const TvInstance& instance, double theta) {
  const double h = 1e-4;
  return (exact_gradient(instance.at({theta + h}))[0] - exact_gradient(instance.at({theta - h}))[0]) /
         (2 * h);
}

TEST(Maid, ReachesTheOptimaOfTheReferenceCases) {
  BILEVEL_REQUIRE_REFERENCE();
  int found = 0;
  for (const std::string& name : reference_names("tv_")) {
    const ReferenceCase data = read_reference(name);
    if (!data.theta_opt) continue;
    ++found;
    const TvInstance instance = instance_of(data);
    const double optimum = (*data.theta_opt)[0], curvature = curvature_of_loss(instance, optimum);
    for (const StepScaling scaling : {StepScaling::none, StepScaling::gauss_newton}) {
      for (const bool bb : {false, true}) {
        SCOPED_TRACE(name + (bb ? " BB" : "") + (scaling == StepScaling::none ? " plain" : " scaled"));
        // Below this the enclosures of f in double no longer tell a decrease by gradient steps, mu being 1e-3
        // there.
        const double tolerance = instance.model.mask.empty() || scaling != StepScaling::none ? 1e-6 : 1e-3;
        RunOptions how = usual(scaling, tolerance);
        how.options.barzilai_borwein = bb;
        how.options.max_iterations = 400;
        const MaidRunOf<double> run = train(instance, how);
        EXPECT_EQ(run.report.status, UpperStatus::stationary) << run.report.message;
        EXPECT_LE(std::fabs(run.report.theta[0] - optimum), 2 * tolerance / curvature);
        EXPECT_LE(norm(run.exact(run.report.theta).hypergradient), tolerance);
        expect_certified_decrease(run, how);
      }
    }
  }
  EXPECT_EQ(found, 2);
}

// The optimum lies beyond a bound: the projected gradient is certified.
TEST(Maid, EndsAtABound) {
  Random random(seed(344));
  for (const StepScaling scaling : {StepScaling::none, StepScaling::gauss_newton}) {
    SCOPED_TRACE(scaling == StepScaling::none ? "plain" : "scaled");
    TvInstance instance = random_instance(model_of(12, 12, 0.011), 2, 0.2, random);
    instance.learned = {{"alpha"}};
    RunOptions how = usual(scaling, 1e-5);
    how.upper = 0.02;  // alpha; fixed values are not bounded by it
    const MaidRunOf<double> run = train(instance, how);
    EXPECT_EQ(run.report.status, UpperStatus::stationary) << run.report.message;
    EXPECT_NEAR(run.report.theta[0], std::log(0.02), 1e-12);
    EXPECT_LT(run.exact(run.report.theta).hypergradient[0], 0);
    expect_certified_decrease(run, how);
  }
}

// Without noise regularisation only hurts: alpha runs to its lower bound, also to zero.
TEST(Maid, TurnsRegularisationOff) {
  Random random(seed(345));
  for (const oracle::Transform transform : {oracle::Transform::exp, oracle::Transform::identity}) {
    for (const StepScaling scaling : {StepScaling::none, StepScaling::gauss_newton}) {
      TvInstance instance = random_instance(model_of(10, 9, 0.02, 0.1), 2, 0, random);
      instance.learned = {{"alpha", transform}};
      RunOptions how = usual(scaling, 1e-5);
      how.options.max_iterations = 100;
      how.lower = transform == oracle::Transform::identity ? 0 : 1e-4;
      const MaidRunOf<double> run = train(instance, how);
      EXPECT_EQ(run.report.status, UpperStatus::stationary) << run.report.message;
      EXPECT_LE(run.instance.at(run.report.theta).model.alpha, 1e-3);
    }
  }
}

// Tolerance 0: the gradient vanishes into the rounding, and the run says so.
TEST(Maid, EndsWhereRoundingForbidsASmallerGradient) {
  Random random(seed(346));
  for (const StepScaling scaling : {StepScaling::none, StepScaling::gauss_newton}) {
    for (const int images : {1, 3}) {
      TvInstance instance = random_instance(model_of(9, 8), images, 0.1, random);
      instance.learned = {{"alpha"}};
      RunOptions how = usual(scaling, 0);
      how.options.max_iterations = 3000;
      const MaidRunOf<double> run = train(instance, how);
      EXPECT_EQ(run.report.status, UpperStatus::accuracy_limit)
          << upper_status_name(run.report.status) << ": " << run.report.message;
      expect_true_record(run, run.report.last);
      EXPECT_LE(norm(run.exact(run.report.theta).hypergradient), 1e-6);
      const MaidRunOf<float> single = train<float>(instance, how);
      EXPECT_EQ(single.report.status, UpperStatus::accuracy_limit)
          << upper_status_name(single.report.status) << ": " << single.report.message;
      expect_true_record(single, single.report.last);
    }
  }
}

TEST(Maid, WorksOnOnePixelAndOneParameter) {
  TvInstance pixel{"pixel", model_of(1, 1), {{"xi"}}, {{1.0}}, {{0.8}}};
  pixel.model.xi = 0.5;
  for (const StepScaling scaling : {StepScaling::none, StepScaling::gauss_newton}) {
    const MaidRunOf<double> run = train(pixel, usual(scaling, 1e-8));
    EXPECT_EQ(run.report.status, UpperStatus::stationary) << run.report.message;
    // xhat = y / (1 + xi) = 0.8
    EXPECT_NEAR(run.instance.at(run.report.theta).model.xi, 0.25, 1e-6);
  }
  // A pixel without differences: f does not depend on alpha.
  pixel.learned = {{"alpha"}};
  const MaidRunOf<double> flat_loss = train(pixel, usual(StepScaling::gauss_newton));
  EXPECT_EQ(flat_loss.report.status, UpperStatus::stationary) << flat_loss.report.message;
}

// grad g = 0 at the start.
TEST(Maid, IsStationaryWhereTheReconstructionIsTrue) {
  Random random(seed(347));
  TvInstance instance = random_instance(model_of(10, 10, 0.1, 0.05), 2, 0.1, random);
  instance.truth.clear();
  for (const oracle::ExtendedImage& x : exact_minimisers(instance))
    instance.truth.push_back(oracle::extended::rounded(x));
  for (const StepScaling scaling : {StepScaling::none, StepScaling::gauss_newton}) {
    const MaidRunOf<double> run = train(instance, usual(scaling, 1e-6));
    EXPECT_EQ(run.report.status, UpperStatus::stationary) << run.report.message;
    EXPECT_LE(run.report.last.loss_upper, 1e-6);
  }
}

TEST(Maid, KeepsItsLimits) {
  const TvInstance instance = training_set(seed(348));
  RunOptions none = usual(StepScaling::gauss_newton, 1e-9);
  none.options.max_iterations = 0;
  const MaidRunOf<double> zero = train(instance, none);
  EXPECT_EQ(zero.report.status, UpperStatus::max_iterations);
  EXPECT_TRUE(zero.seen.records.empty());
  EXPECT_EQ(zero.report.theta, instance.theta());
  expect_true_record(zero, zero.report.last);

  RunOptions three = usual(StepScaling::gauss_newton, 1e-9);
  three.options.max_iterations = 3;
  EXPECT_EQ(train(instance, three).seen.records.size(), 3u);

  RunOptions stopped = usual(StepScaling::gauss_newton, 1e-9);
  stopped.stop_after = 2;
  const MaidRunOf<double> observer = train(instance, stopped);
  EXPECT_EQ(observer.report.status, UpperStatus::interrupted);
  EXPECT_EQ(observer.seen.records.size(), 2u);
  EXPECT_EQ(observer.seen.states.size(), 2u);

  RunOptions timed = usual(StepScaling::none, 0);
  timed.options.time_limit = 0.2;
  timed.options.max_iterations = 1000000;
  const MaidRunOf<double> late = train(instance, timed);
  EXPECT_EQ(late.report.status, UpperStatus::time_limit);
  EXPECT_GE(late.report.last.seconds, 0.2);
  EXPECT_LT(late.report.last.seconds, 20);

  for (const std::uint64_t budget : {1u, 500u, 3000u}) {
    RunOptions cheap = usual(StepScaling::gauss_newton, 1e-12);
    cheap.options.budget = budget;
    const MaidRunOf<double> spent = train(instance, cheap);
    EXPECT_EQ(spent.report.status, UpperStatus::budget) << spent.report.message;
    EXPECT_GE(spent.report.last.work.total(), budget);
  }
}

// Wherever a run is stopped, the values of its report belong to the theta of its report.
TEST(Maid, ReportsTrueValuesWhereverItIsStopped) {
  Random random(seed(349));
  const TvInstance instance = random_instance(model_of(12, 11), 2, 0.1, random);
  for (const std::uint64_t lives : {0u, 1u, 2u, 3u, 4u, 5u, 7u, 10u}) {
    SCOPED_TRACE("alive " + std::to_string(lives) + " times");
    RunOptions how = usual(StepScaling::gauss_newton, 1e-9);
    how.lives = lives;
    const MaidRunOf<double> run = train(instance, how);
    EXPECT_EQ(run.report.status, UpperStatus::interrupted);
    EXPECT_EQ(run.report.last.theta, run.report.theta);
    expect_true_record(run, run.report.last);
  }
}

// A trial outside the model's domain is a trial that failed.
TEST(Maid, SurvivesTrialsOutsideTheDomain) {
  Random random(seed(350));
  TvInstance instance = random_instance(model_of(12, 12, 0.3), 2, 0.05, random);
  instance.learned = {{"alpha", oracle::Transform::identity}};
  RunOptions how = usual(StepScaling::none, 1e-4);
  how.options.schedule.step0 = 1e3;
  how.options.schedule.max_backtracks = 40;
  how.lower = -1e6;
  const MaidRunOf<double> run = train(instance, how);
  EXPECT_EQ(run.report.status, UpperStatus::stationary) << run.report.message;
  ASSERT_FALSE(run.seen.records.empty());
  EXPECT_GT(run.seen.records[0].backtracks, 0);
  EXPECT_GT(run.report.theta[0], 0);
  expect_certified_decrease(run, how);
}

// A first step so long that its trial cannot be decided: nu is so small there that no accuracy of the lower
// level is left. The step must shorten, in whatever way undecided trials are treated.
TEST(Maid, BacktracksFromTrialsThatRoundingLeavesUndecided) {
  Random random(seed(356));
  const TvInstance instance = random_instance(model_of(12, 12, 0.3), 2, 0.05, random);
  for (const bool refine : {false, true}) {
    SCOPED_TRACE(refine ? "refines undecided trials" : "shortens undecided steps");
    RunOptions how = usual(StepScaling::none, 1e-4);
    how.options.schedule.step0 = 1e6;
    how.options.schedule.max_backtracks = 40;
    how.options.schedule.refine_undecided = refine;
    how.options.max_iterations = 20;
    how.lower = 1e-300;
    how.upper = 1e300;
    const MaidRunOf<double> run = train(instance, how);
    ASSERT_FALSE(run.seen.records.empty()) << run.report.message;
    EXPECT_GT(run.seen.records[0].backtracks, 0);
    expect_certified_decrease(run, how);
  }
}

bool same_bits(const std::vector<double>& a, const std::vector<double>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(double)) == 0;
}

template <class T>
void check_resume(const TvInstance& instance, const RunOptions& how) {
  const MaidRunOf<T> whole = train<T>(instance, how);
  ASSERT_FALSE(whole.seen.records.empty());
  for (std::size_t k = 0; k < whole.seen.states.size(); ++k) {
    SCOPED_TRACE("resumed after iteration " + std::to_string(k));
    RunOptions again = how;
    again.resume = &whole.seen.states[k];
    const MaidRunOf<T> rest = train<T>(instance, again);
    ASSERT_EQ(rest.seen.records.size(), whole.seen.records.size() - k - 1);
    for (std::size_t l = 0; l < rest.seen.records.size(); ++l) {
      const IterationRecord &a = rest.seen.records[l], &b = whole.seen.records[k + 1 + l];
      EXPECT_TRUE(same_bits(a.theta, b.theta));
      EXPECT_EQ(a.iteration, b.iteration);
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

TEST(Maid, ResumesWithTheSameBits) {
  Random random(seed(351));
  const TvInstance instance = random_instance(model_of(14, 13), 3, 0.1, random);
  for (const StepScaling scaling : {StepScaling::none, StepScaling::gauss_newton}) {
    RunOptions how = usual(scaling, scaling == StepScaling::none ? 1e-4 : 1e-8);
    how.options.max_iterations = 12;
    how.options.schedule.step0 = 0.5;
    how.lower = 1e-3;
    check_resume<double>(instance, how);
    how.options.schedule.tolerance = 1e-4;
    how.options.columns = scaling != StepScaling::none;
    check_resume<float>(instance, how);
  }
}

TEST(Maid, DoesNotDependOnThreads) {
  const TvInstance instance = training_set(seed(352));
  RunOptions how = usual(StepScaling::gauss_newton, 1e-5);
  how.options.max_iterations = 6;
  const MaidRunOf<double> one = train(instance, how);
  for (const std::string& device : repeat_devices({"cpu:2", "cpu-guarded:3"})) {
    how.device = device;
    const MaidRunOf<double> other = train(instance, how);
    EXPECT_TRUE(same_bits(other.report.theta, one.report.theta)) << device;
    EXPECT_EQ(other.report.last.work, one.report.last.work) << device;
    EXPECT_EQ(other.x, one.x) << device;
  }
}

TEST(Maid, FixedAccuracyIsKept) {
  Random random(seed(353));
  const TvInstance instance = random_instance(model_of(12, 12), 2, 0.1, random);
  RunOptions how = usual(StepScaling::gauss_newton, 1e-9);
  how.options.schedule.fixed_accuracy = true;
  how.options.schedule.epsilon0 = how.options.schedule.delta0 = 1e-4;
  const MaidRunOf<double> run = train(instance, how);
  EXPECT_EQ(run.report.status, UpperStatus::accuracy_limit) << run.report.message;
  ASSERT_FALSE(run.seen.records.empty());
  for (const IterationRecord& r : run.seen.records) {
    EXPECT_EQ(r.epsilon, 1e-4);
    EXPECT_EQ(r.delta, 1e-4);
  }
  expect_certified_decrease(run, how);
}

// The penalty takes part in the loss, its gradient and the decrease.
TEST(Maid, MinimisesThePenaltyToo) {
  Random random(seed(354));
  TvInstance instance = random_instance(model_of(10, 10), 2, 0.1, random);
  instance.learned = {{"alpha"}};
  RunOptions how = usual(StepScaling::none, 1e-6);
  how.options.schedule.step0 = 0.1;
  how.penalty = [](std::span<const double> theta, std::span<double> gradient) {
    gradient[0] += 10 * (theta[0] + 1);
    return 5 * (theta[0] + 1) * (theta[0] + 1);
  };
  const MaidRunOf<double> run = train(instance, how);
  EXPECT_EQ(run.report.status, UpperStatus::stationary) << run.report.message;
  const double theta = run.report.theta[0];
  EXPECT_LE(std::fabs(run.exact({theta}).hypergradient[0] + 10 * (theta + 1)), 1e-6);
  const double f = run.exact({theta}).f + 5 * (theta + 1) * (theta + 1);
  EXPECT_LE(run.report.last.loss_lower, f);
  EXPECT_GE(run.report.last.loss_upper, f);
}

TEST(Maid, RejectsOptionsAndShapesThatDoNotFit) {
  UpperOptions options;
  options.max_iterations = -1;
  EXPECT_THROW(make_maid<double>(options), ConfigError);
  options = {};
  options.time_limit = std::nan("");
  EXPECT_THROW(make_maid<double>(options), ConfigError);
  options = {};
  options.max_lower_iterations = 0;
  EXPECT_THROW(make_maid<double>(options), ConfigError);
  options = {};
  options.schedule.lambda = 0.9;
  EXPECT_THROW(make_maid<double>(options), ConfigError);

  Random random(seed(355));
  TvSetup<double> setup(random_instance(model_of(6, 6), 2, 0.1, random));
  BilevelProblem<double> problem = setup.problem();
  Recorder recorder;
  const auto maid = make_maid<double>({});
  EXPECT_THROW(maid->run(setup.context, problem, std::vector<double>{0}, setup.y.view(), recorder),
               ShapeError);
  Tensor<double> small(setup.context, {2, 1, 5, 6});
  EXPECT_THROW(maid->run(setup.context, problem, setup.instance.theta(), small.view(), recorder), ShapeError);
  options = {};
  options.minimiser = "simplex";
  EXPECT_THROW(make_maid<double>(options)->run(setup.context, problem, setup.instance.theta(), setup.y.view(),
                                               recorder),
               ConfigError);
}

}  // namespace
}  // namespace bilevel
