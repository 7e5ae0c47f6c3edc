#include "bilevel/learn/accuracy_schedule.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "bilevel/core/error.hpp"
#include "tests/support/random.hpp"

namespace bilevel {
namespace {

using namespace testing_support;

AccuracySchedule schedule(const ScheduleOptions& options = {}) {
  return AccuracySchedule(options, options.step0);
}

TEST(AccuracySchedule, StartsWithItsOptions) {
  ScheduleOptions options;
  options.epsilon0 = 0.25;
  options.delta0 = 0.5;
  const AccuracySchedule s(options, 3);
  EXPECT_EQ(s.state(), (AccuracySchedule::State{0.25, 0.5, 3, 0, 0}));
}

TEST(AccuracySchedule, JudgesAGradient) {
  ScheduleOptions options;
  options.tolerance = 1e-3;
  const AccuracySchedule s = schedule(options);
  // Certified stationary: |z| + omega, not |z| alone.
  EXPECT_EQ(s.judge_gradient(6e-4, 4e-4, 1, 0, false), GradientVerdict::stationary);
  EXPECT_EQ(s.judge_gradient(6e-4, 5e-4, 1, 0.4, false), GradientVerdict::descend);
  EXPECT_EQ(s.judge_gradient(0, 1.1e-3, 0, 0, false), GradientVerdict::refine);
  // error <= (1 - eta) slope with eta = 1/2.
  EXPECT_EQ(s.judge_gradient(1, 1, 2, 1, false), GradientVerdict::descend);
  EXPECT_EQ(s.judge_gradient(1, 1, 2, 1.001, false), GradientVerdict::refine);
  EXPECT_EQ(s.judge_gradient(1, 1, 2, 1.001, true), GradientVerdict::accuracy_limit);
  EXPECT_EQ(s.judge_gradient(1, 1, 2, 1, true), GradientVerdict::descend);
  // A direction without predicted decrease is none.
  EXPECT_EQ(s.judge_gradient(1, 0, 0, 0, false), GradientVerdict::refine);
  EXPECT_EQ(s.judge_gradient(1, 1, -1, 0, true), GradientVerdict::accuracy_limit);
  // Nothing is certified by numbers that are not.
  EXPECT_NE(s.judge_gradient(std::nan(""), 1, 1, 1, false), GradientVerdict::stationary);
  EXPECT_EQ(s.judge_gradient(1, HUGE_VAL, 1, HUGE_VAL, false), GradientVerdict::refine);
  EXPECT_EQ(s.judge_gradient(1, std::nan(""), 1, std::nan(""), false), GradientVerdict::refine);
  options.fixed_accuracy = true;
  EXPECT_EQ(schedule(options).judge_gradient(1, 1, 2, 1.001, false), GradientVerdict::accuracy_limit);
  options.tolerance = 0;
  EXPECT_EQ(schedule(options).judge_gradient(0, 0, 0, 0, false), GradientVerdict::stationary);
}

TEST(AccuracySchedule, RefinesInBalance) {
  AccuracySchedule s = schedule();
  // omega 1 = 0.9 + 0.1 to fall to 0.2: epsilon's part to 0.1, delta only by nu.
  s.refine(1, 0.9, 0.1, 0.2, 0, 0);
  EXPECT_DOUBLE_EQ(s.state().epsilon, 0.1 * 0.1 / 0.9);
  EXPECT_DOUBLE_EQ(s.state().delta, 0.1 * 0.5);
  // Both at least by nu, even when the target is near.
  AccuracySchedule near = schedule();
  near.refine(1, 0.6, 0.4, 0.99, 0, 0);
  EXPECT_DOUBLE_EQ(near.state().epsilon, 0.05);
  EXPECT_DOUBLE_EQ(near.state().delta, 0.05);
  // A target out of reach or none: by nu, and never by more than a thousand at once.
  AccuracySchedule none = schedule();
  none.refine(1, 0.6, 0.4, 0, 0, 0);
  EXPECT_DOUBLE_EQ(none.state().epsilon, 0.05);
  AccuracySchedule far = schedule();
  far.refine(1, 0.5, 0.5, 1e-12, 0, 0);
  EXPECT_DOUBLE_EQ(far.state().epsilon, 0.1 * 1e-3);
  EXPECT_DOUBLE_EQ(far.state().delta, 0.1 * 1e-3);
  // Floors.
  AccuracySchedule floored = schedule();
  floored.refine(1, 0.9, 0.1, 0.01, 0.03, 0.04);
  EXPECT_DOUBLE_EQ(floored.state().epsilon, 0.03);
  EXPECT_DOUBLE_EQ(floored.state().delta, 0.04);
}

TEST(AccuracySchedule, RefinementAlwaysProgresses) {
  Random random(seed(310));
  for (int round = 0; round < 300; ++round) {
    ScheduleOptions options;
    options.nu = random.uniform(0.1, 0.9);
    AccuracySchedule s = schedule(options);
    const double omega = random.log_uniform(1e-9, 1e3), share = random.uniform();
    s.refine(omega, share * omega, (1 - share) * omega, omega * random.log_uniform(1e-6, 10), 0, 0);
    EXPECT_LE(s.state().epsilon, options.nu * options.epsilon0 * (1 + 1e-15));
    EXPECT_LE(s.state().delta, options.nu * options.delta0 * (1 + 1e-15));
    EXPECT_GE(s.state().epsilon, options.epsilon0 * 1e-3 * (1 - 1e-15));
  }
}

TEST(AccuracySchedule, JudgesATrial) {
  const AccuracySchedule s = schedule();  // lambda = 0.1
  EXPECT_EQ(s.judge_trial(1.0, 1.2, 0.7, 0.8, 2.0), TrialVerdict::accept);
  EXPECT_EQ(s.judge_trial(1.0, 1.2, 0.7, 0.81, 2.0), TrialVerdict::undecided);
  EXPECT_EQ(s.judge_trial(1.0, 1.2, 1.01, 1.3, 2.0), TrialVerdict::backtrack);
  EXPECT_EQ(s.judge_trial(1.0, 1.2, 0.99, 1.3, 2.0), TrialVerdict::undecided);
  EXPECT_EQ(s.judge_trial(1.0, 1.0, std::nan(""), std::nan(""), 2.0), TrialVerdict::undecided);
  EXPECT_EQ(s.judge_trial(1.0, 1.0, 0, HUGE_VAL, 2.0), TrialVerdict::undecided);
}

// What is decided is true for every pair of values inside the enclosures.
TEST(AccuracySchedule, VerdictsHoldForAllValuesInside) {
  Random random(seed(311));
  const AccuracySchedule s = schedule();
  int accepted = 0, refused = 0;
  for (int round = 0; round < 2000; ++round) {
    const double f = random.uniform(1, 2), g = random.uniform(0.5, 2), slope = random.log_uniform(1e-3, 1);
    const double low = f - random.uniform(0, 0.3), up = f + random.uniform(0, 0.3),
                 low_new = g - random.uniform(0, 0.3), up_new = g + random.uniform(0, 0.3);
    const TrialVerdict verdict = s.judge_trial(low, up, low_new, up_new, slope);
    EXPECT_TRUE(verdict != TrialVerdict::accept || g <= f - 0.1 * slope);
    EXPECT_TRUE(verdict != TrialVerdict::backtrack || g > f - 0.1 * slope);
    accepted += verdict == TrialVerdict::accept;
    refused += verdict == TrialVerdict::backtrack;
  }
  EXPECT_GT(accepted, 100);
  EXPECT_GT(refused, 100);
}

// Certain backtracks shorten the step J times, then the accuracies fall by nu and the step starts anew; the
// next round has one trial more.
TEST(AccuracySchedule, BacktracksThenRefines) {
  ScheduleOptions options;
  options.max_backtracks = 3;
  options.max_rounds = 3;
  AccuracySchedule s = schedule(options);
  s.start_search();
  double epsilon = options.epsilon0;
  for (int round = 0; round < 3; ++round) {
    double step = options.step0;
    const int trials = 3 + round;
    for (int trial = 0; trial + 1 < trials; ++trial) {
      EXPECT_EQ(s.next_trial(TrialVerdict::backtrack), SearchVerdict::try_step);
      step *= options.rho;
      EXPECT_DOUBLE_EQ(s.state().step, step);
      EXPECT_DOUBLE_EQ(s.state().epsilon, epsilon);
    }
    const SearchVerdict last = s.next_trial(TrialVerdict::backtrack);
    if (round == 2) {
      EXPECT_EQ(last, SearchVerdict::give_up);
      break;
    }
    EXPECT_EQ(last, SearchVerdict::refine);
    epsilon *= options.nu;
    EXPECT_DOUBLE_EQ(s.state().epsilon, epsilon);
    EXPECT_DOUBLE_EQ(s.state().delta, epsilon);
    EXPECT_DOUBLE_EQ(s.state().step, options.step0);
  }
}

TEST(AccuracySchedule, RefinesAnUndecidedTrialAtOnce) {
  AccuracySchedule s = schedule();
  s.start_search();
  EXPECT_EQ(s.next_trial(TrialVerdict::undecided), SearchVerdict::refine);
  EXPECT_DOUBLE_EQ(s.state().epsilon, 0.05);
  EXPECT_DOUBLE_EQ(s.state().step, 1e-2);
  // By the gap the values tell, at least by nu and at most by a thousand.
  EXPECT_EQ(s.next_trial(TrialVerdict::undecided, 0.2), SearchVerdict::refine);
  EXPECT_DOUBLE_EQ(s.state().epsilon, 0.05 * 0.2);
  EXPECT_EQ(s.next_trial(TrialVerdict::undecided, 0.9), SearchVerdict::refine);
  EXPECT_DOUBLE_EQ(s.state().epsilon, 0.05 * 0.2 * 0.5);
  EXPECT_EQ(s.next_trial(TrialVerdict::undecided, 1e-9), SearchVerdict::refine);
  EXPECT_DOUBLE_EQ(s.state().epsilon, 0.05 * 0.2 * 0.5 * 1e-3);
  int rounds = 4;
  while (s.next_trial(TrialVerdict::undecided) == SearchVerdict::refine) ++rounds;
  EXPECT_EQ(rounds, ScheduleOptions().max_rounds - 1);
}

TEST(AccuracySchedule, PaperModeShortensTheStepOfAnUndecidedTrial) {
  ScheduleOptions options;
  options.refine_undecided = false;
  options.max_backtracks = 2;
  AccuracySchedule s = schedule(options);
  s.start_search();
  EXPECT_EQ(s.next_trial(TrialVerdict::undecided), SearchVerdict::try_step);
  EXPECT_DOUBLE_EQ(s.state().step, 0.5e-2);
  EXPECT_DOUBLE_EQ(s.state().epsilon, 0.1);
  EXPECT_EQ(s.next_trial(TrialVerdict::undecided, 0.1), SearchVerdict::refine);
  EXPECT_DOUBLE_EQ(s.state().step, 1e-2);
  EXPECT_DOUBLE_EQ(s.state().epsilon, 0.05);
}

TEST(AccuracySchedule, GrowsAfterAcceptance) {
  AccuracySchedule s = schedule();
  s.start_search();
  s.next_trial(TrialVerdict::backtrack);
  s.accept(s.state().step);
  EXPECT_DOUBLE_EQ(s.state().step, 0.5e-2 * 1.2);
  EXPECT_DOUBLE_EQ(s.state().epsilon, 0.1 * 1.1);
  EXPECT_DOUBLE_EQ(s.state().delta, 0.1 * 1.1);
  EXPECT_EQ(s.state().backtracks, 0);
  EXPECT_EQ(s.state().round, 0);
}

TEST(AccuracySchedule, FixedAccuracyKeepsItAndGivesUp) {
  ScheduleOptions options;
  options.fixed_accuracy = true;
  options.max_backtracks = 3;
  AccuracySchedule s = schedule(options);
  s.start_search();
  EXPECT_EQ(s.next_trial(TrialVerdict::undecided), SearchVerdict::try_step);
  EXPECT_EQ(s.next_trial(TrialVerdict::backtrack), SearchVerdict::try_step);
  EXPECT_EQ(s.next_trial(TrialVerdict::undecided), SearchVerdict::give_up);
  EXPECT_DOUBLE_EQ(s.state().epsilon, 0.1);
  EXPECT_DOUBLE_EQ(s.state().delta, 0.1);
  s.start_search();
  s.accept(1);
  EXPECT_DOUBLE_EQ(s.state().epsilon, 0.1);
  EXPECT_DOUBLE_EQ(s.state().step, 1.2);
}

TEST(AccuracySchedule, IsRestoredFromItsState) {
  AccuracySchedule s = schedule();
  s.start_search();
  s.next_trial(TrialVerdict::undecided, 0.3);
  s.accept(0.02);
  AccuracySchedule copy(s.options(), {s.state().epsilon, s.state().delta, s.state().step});
  for (AccuracySchedule* each : {&s, &copy}) {
    each->start_search();
    each->next_trial(TrialVerdict::backtrack);
    each->refine(1, 0.3, 0.7, 0.2, 0, 0);
  }
  EXPECT_EQ(s.state(), copy.state());
}

TEST(AccuracySchedule, RejectsOptionsOutOfRange) {
  const auto rejects = [](auto change) {
    ScheduleOptions options;
    change(options);
    EXPECT_THROW(options.validate(), ConfigError);
  };
  EXPECT_NO_THROW(ScheduleOptions().validate());
  for (const double bad : {0.0, -1.0, static_cast<double>(HUGE_VAL), std::nan("")}) {
    rejects([&](ScheduleOptions& o) { o.epsilon0 = bad; });
    rejects([&](ScheduleOptions& o) { o.delta0 = bad; });
    rejects([&](ScheduleOptions& o) { o.step0 = bad; });
    rejects([&](ScheduleOptions& o) { o.rho = bad; });
    rejects([&](ScheduleOptions& o) { o.rho_up = bad; });
    rejects([&](ScheduleOptions& o) { o.nu = bad; });
    rejects([&](ScheduleOptions& o) { o.nu_up = bad; });
    rejects([&](ScheduleOptions& o) { o.eta = bad; });
    rejects([&](ScheduleOptions& o) { o.lambda = bad; });
    if (bad != 0) rejects([&](ScheduleOptions& o) { o.tolerance = bad; });
  }
  rejects([](ScheduleOptions& o) { o.lambda = o.eta; });
  rejects([](ScheduleOptions& o) { o.rho = 1; });
  rejects([](ScheduleOptions& o) { o.max_backtracks = 0; });
  rejects([](ScheduleOptions& o) { o.max_rounds = 0; });
}

}  // namespace
}  // namespace bilevel
