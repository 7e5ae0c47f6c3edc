// What runs claim, against an independent computation: stationary, certified decreases, limits, time; and
// misuse.

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmath>
#include <fstream>
#include <limits>
#include <memory>

#include "bilevel/core/error.hpp"
#include "learn/certified_value.hpp"
#include "learn/lbfgsb_library.hpp"
#include "learn/step_direction.hpp"
#include "tests/learn/maid_lab.hpp"

namespace bilevel {
namespace {

using namespace testing_support;
using Vector = std::vector<double>;

TvInstance small_set(std::uint64_t from) {
  Random random(from);
  oracle::TvModel model;
  model.height = 12;
  model.width = 11;
  model.alpha = 0.02;
  model.nu = 0.05;
  return random_instance(model, 2, 0.1, random);
}

struct Claimed {
  UpperReport report;
  Recorder seen;
};

Claimed run(const TvInstance& instance, bool lbfgsb, const UpperOptions& options,
            const UpperState* resume = nullptr) {
  TvSetup<double> setup(instance, test_device("cpu:1"), 1e-3);
  const BilevelProblem<double> problem = setup.problem();
  Claimed out;
  const auto optimiser = lbfgsb ? make_lbfgsb<double>(options) : make_maid<double>(options);
  out.report =
      optimiser->run(setup.context, problem, setup.parameters.initial(), setup.y.view(), out.seen, resume);
  return out;
}

/// |P(theta - grad f) - theta| with the exact gradient.
double exact_stationarity(const TvInstance& instance, const Vector& theta) {
  return projected_gradient_norm(parameters_of(instance, 1e-3), theta, exact_gradient(instance.at(theta)));
}

TEST(Claims, WhatEndsStationaryIsStationary) {
  const TvInstance instance = small_set(seed(2401));
  for (const bool lbfgsb : {false, true})
    for (const double tolerance : {1e-1, 1e-2, 1e-3})
      for (const double accuracy : {1e-3, 0.1, 10.0}) {
        SCOPED_TRACE((lbfgsb ? "L-BFGS-B, tolerance " : "MAID, tolerance ") + std::to_string(tolerance) +
                     ", first accuracies " + std::to_string(accuracy));
        UpperOptions options;
        options.schedule.tolerance = tolerance;
        options.schedule.epsilon0 = options.schedule.delta0 = accuracy;
        const Claimed r = run(instance, lbfgsb, options);
        ASSERT_EQ(r.report.status, UpperStatus::stationary) << r.report.message;
        const IterationRecord& last = r.report.last;
        const double z = projected_gradient_norm(parameters_of(instance, 1e-3), last.theta, last.gradient);
        EXPECT_LE(z + last.error_bound, tolerance);
        EXPECT_NE(r.report.message.find(short_number(z + last.error_bound)), std::string::npos)
            << r.report.message;
        const double exact = exact_stationarity(instance, r.report.theta);
        EXPECT_LE(exact, z + last.error_bound);
        EXPECT_LE(exact, tolerance);
      }
}

/// Every accepted step of L-BFGS-B lies with its whole enclosure below that of the point before.
TEST(Claims, LbfgsbDecreasesTheEndsOfTheEnclosures) {
  const TvInstance instance = small_set(seed(2402));
  UpperOptions options;
  options.schedule.tolerance = 1e-3;
  options.schedule.epsilon0 = options.schedule.delta0 = 5;
  const Claimed r = run(instance, true, options);
  ASSERT_GE(r.seen.records.size(), 2u);
  for (std::size_t k = 0; k < r.seen.records.size(); ++k) {
    const IterationRecord& a = r.seen.records[k];
    const double f =
        oracle::exact_hypergradient(instance.at(a.theta).model, instance.learned, instance.y, instance.truth)
            .f;
    EXPECT_LE(a.loss_lower, f * (1 + 1e-13));
    EXPECT_GE(a.loss_upper, f * (1 - 1e-13));
    if (k > 0) {
      EXPECT_LT(a.loss_upper, r.seen.records[k - 1].loss_lower);
    }
  }
}

TEST(Claims, ADecreaseIsOneOfTheEnds) {
  TvSetup<double> setup(small_set(seed(2403)));
  const BilevelProblem<double> problem = setup.problem();
  UpperOptions options;
  options.schedule.fixed_accuracy = true;
  Observer silent;
  UpperOracle<double> oracle(setup.context, problem, options, silent);
  CertifiedValue<double> value(oracle);
  Evaluated<double> now = value.point(), next = value.point();
  now.point.loss = {0.9, 1.0, 1.1};
  next.point.loss = {0.7, 0.8, 0.95};  // the values fall, the enclosures overlap
  EXPECT_FALSE(value.certify_decrease(now, next));
  next.point.loss.upper = 0.9;
  EXPECT_FALSE(value.certify_decrease(now, next));
  next.point.loss.upper = 0.89;
  EXPECT_TRUE(value.certify_decrease(now, next));
}

/// L-BFGS-B gives up when a fixed accuracy certifies no decrease; where the certificate is below the
/// tolerance the run is stationary all the same.
TEST(Claims, LbfgsbLooksAtItsCertificateBeforeItGivesUp) {
  const TvInstance instance = small_set(seed(2404));
  UpperOptions options;
  options.schedule.fixed_accuracy = true;
  options.schedule.epsilon0 = options.schedule.delta0 = 1e-4;
  options.schedule.tolerance = 0;
  const Claimed end = run(instance, true, options);
  EXPECT_EQ(end.report.status, UpperStatus::accuracy_limit) << end.report.message;
  const double reached = end.report.last.gradient_norm + end.report.last.error_bound;
  options.schedule.tolerance = reached * (1 + 1e-12);
  const Claimed again = run(instance, true, options);
  EXPECT_EQ(again.report.status, UpperStatus::stationary) << again.report.message;
  EXPECT_LE(exact_stationarity(instance, again.report.theta), options.schedule.tolerance);
}

// ---- error and slope of a direction

/// <s,s>/<s,y> only where the errors of both gradients leave no doubt that <s,y> is positive.
TEST(Claims, BarzilaiBorweinNeedsACertainSign) {
  const Vector before{1, 2}, after{1.5, 1}, z_before{3, -1}, z_after{3.2, -2};
  const double ss = 0.25 + 1, sy = 0.5 * 0.2 + 1, doubt = sy / std::sqrt(ss);
  EXPECT_DOUBLE_EQ(barzilai_borwein(after, z_after, 0, before, z_before, 0), ss / sy);
  EXPECT_DOUBLE_EQ(barzilai_borwein(after, z_after, 0.49 * doubt, before, z_before, 0.5 * doubt), ss / sy);
  EXPECT_EQ(barzilai_borwein(after, z_after, 0.51 * doubt, before, z_before, 0.5 * doubt), 0);
  EXPECT_EQ(barzilai_borwein(after, z_before, 0, before, z_after, 0), 0) << "negative curvature";
}

TEST(Claims, ErrorAndSlopeOfADirection) {
  Random random(seed(2405));
  for (int trial = 0; trial < 100; ++trial) {
    HypergradientResult r;
    const int blocks = random.integer(1, 4);
    Vector d;
    double sum = 0, all = 0;
    for (int b = 0; b < blocks; ++b) {
      double square = 0;
      for (int k = random.integer(1, 3); k > 0; --k) {
        d.push_back(random.normal());
        square += d.back() * d.back();
      }
      r.block_end.push_back(d.size());
      r.block_bound.push_back(random.uniform(0.1, 1));
      sum += r.block_bound.back() * std::sqrt(square);
      all += square;
    }
    r.omega = random.uniform(0.1, 2);
    EXPECT_NEAR(direction_error(r, d), std::min(sum, r.omega * std::sqrt(all)), 1e-14);
    EXPECT_EQ(direction_error(r, Vector(d.size(), 0)), 0);
    // d = P(theta - a z) - theta and s = |d|^2 / a, some entries cut by bounds
    Segment s{
        "t", Transform::identity, 0, -0.5, 0.5, true, {static_cast<int>(d.size())}, Vector(d.size(), 0)};
    r.z = d;
    const double a = random.log_uniform(0.1, 10);
    const Vector theta(d.size(), 0.1);
    const Step step = gradient_step(Parameters({s}), theta, r, a);
    double square = 0, products = 0;
    for (std::size_t j = 0; j < d.size(); ++j) {
      const double moved = std::min(0.5, std::max(-0.5, 0.1 - a * d[j])) - 0.1;
      EXPECT_NEAR(step.direction[j], moved, 1e-15);
      square += moved * moved;
      products -= moved * d[j];
    }
    EXPECT_NEAR(step.slope, square / a, 1e-13 * square / a);
    EXPECT_GE(products, step.slope * (1 - 1e-12));
    EXPECT_NEAR(step.error, direction_error(r, step.direction), 1e-15);
    const Step half = shortened(step, theta, 0.5);
    for (std::size_t j = 0; j < d.size(); ++j) EXPECT_EQ(half.theta[j], theta[j] + 0.5 * step.direction[j]);
  }
}

// ---- limits

/// The run ends at the first iteration whose loss is less than the fraction below that of `window` before.
TEST(Claims, SlowProgressIsMeasuredOverItsWindow) {
  const TvInstance instance = small_set(seed(2406));
  UpperOptions options;
  options.scaling = StepScaling::none;
  options.barzilai_borwein = false;
  options.schedule.tolerance = 1e-9;
  options.max_iterations = 30;
  const Claimed whole = run(instance, false, options);
  for (const int window : {1, 2, 5})
    for (const double fraction : {0.3, 0.1, 0.01}) {
      const auto& records = whole.seen.records;
      int expected = -1;
      double near = 1;  // how clear the decisions are
      for (int k = window; k < static_cast<int>(records.size()) && expected < 0; ++k) {
        const double now = records[static_cast<std::size_t>(k)].loss;
        const double fall = records[static_cast<std::size_t>(k - window)].loss - now;
        near = std::min(near, std::abs(fall / (fraction * now) - 1));
        if (fall < fraction * now) expected = k;
      }
      if (expected < 0 || near < 0.02) continue;
      SCOPED_TRACE("window " + std::to_string(window) + ", fraction " + std::to_string(fraction));
      UpperOptions slow = options;
      slow.min_progress = fraction;
      slow.progress_window = window;
      const Claimed r = run(instance, false, slow);
      EXPECT_EQ(r.report.status, UpperStatus::slow_progress) << r.report.message;
      EXPECT_EQ(r.report.last.iteration, expected);
    }
}

/// The window of 3 reaches from the fourth last loss to the last.
TEST(Claims, TheWindowHasItsLength) {
  const TvInstance instance = small_set(seed(2406));
  TvSetup<double> setup(instance, test_device("cpu:1"), 1e-3);
  const BilevelProblem<double> problem = setup.problem();
  UpperOptions options;
  options.min_progress = 0.1;
  options.progress_window = 3;
  Observer silent;
  UpperOracle<double> oracle(setup.context, problem, options, silent);
  for (const double loss : {100, 95, 90, 85, 80, 79}) EXPECT_NO_THROW(oracle.watch_progress(loss)) << loss;
  EXPECT_THROW(oracle.watch_progress(78.5), UpperStop) << "85 - 78.5 is less than 7.85, 90 - 79 was not";
}

/// Time spent before a resume counts, in what is reported and against the limit.
TEST(Claims, TimeBeforeAResumeCounts) {
  const TvInstance instance = small_set(seed(2407));
  for (const bool lbfgsb : {false, true}) {
    UpperOptions options;
    options.schedule.tolerance = 1e-9;
    options.max_iterations = 3;
    UpperState state = run(instance, lbfgsb, options).seen.states.at(0);
    state.seconds = 1000;
    const Claimed rest = run(instance, lbfgsb, options, &state);
    ASSERT_FALSE(rest.seen.records.empty());
    for (const IterationRecord& r : rest.seen.records) EXPECT_GE(r.seconds, 1000);
    EXPECT_GE(rest.report.last.seconds, 1000);
    EXPECT_LT(rest.report.last.seconds, 1100);
    for (const UpperState& s : rest.seen.states) EXPECT_GE(s.seconds, 1000);
    options.time_limit = 500;
    const Claimed late = run(instance, lbfgsb, options, &state);
    EXPECT_EQ(late.report.status, UpperStatus::time_limit);
  }
}

// ---- misuse

TEST(Misuse, StatesOfOtherProblemsAreRefused) {
  const TvInstance instance = small_set(seed(2408));
  for (const bool lbfgsb : {false, true}) {
    UpperOptions options;
    options.max_iterations = 2;
    options.schedule.tolerance = 1e-9;
    const UpperState good = run(instance, lbfgsb, options).seen.states.at(0);
    const auto refuses = [&](auto change) {
      UpperState bad = good;
      change(bad);
      EXPECT_THROW(run(instance, lbfgsb, options, &bad), Error);
    };
    EXPECT_NO_THROW(run(instance, lbfgsb, options, &good));
    refuses([](UpperState& s) { s.theta.pop_back(); });
    refuses([](UpperState& s) { s.theta[0] = std::nan(""); });
    refuses([](UpperState& s) { s.x.resize(s.x.size() - 8); });
    refuses([](UpperState& s) { s.x.clear(); });
    refuses([](UpperState& s) { s.adjoints.resize(s.adjoints.size() / 2); });
    refuses([](UpperState& s) { s.numbers["epsilon"] = {std::nan("")}; });
    refuses([](UpperState& s) { s.numbers["delta"] = {0}; });
    refuses([](UpperState& s) { s.numbers.erase("epsilon"); });
    refuses([](UpperState& s) { s.method = "descent"; });
    refuses([](UpperState& s) { s.iteration = -1; });
    if (lbfgsb) refuses([](UpperState& s) { s.arrays["library"].resize(100); });
    if (lbfgsb) refuses([](UpperState& s) { s.numbers["evaluation"].clear(); });
    if (lbfgsb) continue;
    refuses([](UpperState& s) { s.numbers["previous-z"] = {1}; });
    refuses([](UpperState& s) { s.numbers["damping"] = {std::nan("")}; });
    refuses([](UpperState& s) { s.numbers["step"] = {0}; });
  }
}

TEST(Misuse, LengthsAndNumbersOfHypergradientsAreChecked) {
  TvSetup<double> setup(small_set(seed(2409)));
  const BilevelProblem<double> problem = setup.problem();
  ImplicitHypergradient<double> gradient(setup.context, problem);
  const Vector theta = setup.parameters.initial();
  Tensor<double> x(setup.context, setup.y.view().shape(), flat<double>(setup.instance.y));
  const auto compute = [&](const Vector& t, const Vector& epsilon) {
    gradient.compute(setup.context, t, std::as_const(x).view(), epsilon, {});
  };
  EXPECT_NO_THROW(compute(theta, {0.1, 0.1}));
  EXPECT_THROW(compute({0.1}, {0.1, 0.1}), ShapeError);
  EXPECT_THROW(compute(theta, {0.1}), ShapeError);
  EXPECT_THROW(compute(theta, {0.1, std::nan("")}), ConfigError);
  EXPECT_THROW(compute(theta, {0.1, -1}), ConfigError);
  const Vector one{1};
  EXPECT_THROW(gradient.predict(setup.context, std::as_const(x).view(), one, x.view()), ShapeError);
  Tensor<double> other(setup.context, {1, 1, 3, 3});
  EXPECT_THROW(gradient.predict(setup.context, std::as_const(x).view(), theta, other.view()), ShapeError);

  Recorder seen;
  Vector start = theta;
  start[1] = std::nan("");
  for (const bool lbfgsb : {false, true}) {
    const auto optimiser = lbfgsb ? make_lbfgsb<double>({}) : make_maid<double>({});
    EXPECT_THROW(optimiser->run(setup.context, problem, start, setup.y.view(), seen), ConfigError);
    EXPECT_THROW(optimiser->run(setup.context, problem, Vector{0.1}, setup.y.view(), seen), ShapeError);
  }
}

TEST(Misuse, InputsOfErrorBoundsAreChecked) {
  BoundInputs in;
  in.norm_mixed = in.mixed_lipschitz = in.q.mixed_q = in.q.energy_mixed = in.q.rounding = {1, 2};
  EXPECT_NO_THROW(error_bound(in));
  const auto refuses = [&](auto change) {
    BoundInputs bad = in;
    change(bad);
    EXPECT_THROW(error_bound(bad), ShapeError);
  };
  refuses([](BoundInputs& b) { b.mixed_lipschitz = {1}; });
  refuses([](BoundInputs& b) { b.q.mixed_q.clear(); });
  refuses([](BoundInputs& b) { b.q.energy_mixed = {1, 2, 3}; });
  refuses([](BoundInputs& b) { b.q.rounding.clear(); });
  refuses([](BoundInputs& b) { b.norm_v = {1}; });
  refuses([](BoundInputs& b) {
    b.norm_v = b.residual_v = {1};
    b.v.resize(1);
    b.direction = {{1}};
  });
}

// ---- the library L-BFGS-B writes nothing

/// A gradient that points up: the search along the direction that follows from it is impossible, which the
/// library reports on the standard output however silent it is told to be.
TEST(LbfgsbLibrary, WritesNothingToTheStandardOutput) {
  testing::internal::CaptureStdout();
  for (int trial = 0; trial < 200; ++trial) {
    Random random(static_cast<std::uint64_t>(trial));
    const std::size_t n = 6;
    Lbfgsb library(Vector(n, -1), Vector(n, 1), 5, Vector(n, std::numeric_limits<double>::infinity()));
    library.start(random.normal_vector(n));
    for (int k = 0; k < 60; ++k) {
      double value = random.normal();
      Vector gradient = random.normal_vector(n);
      if (trial % 3 == 0 && k % 7 == 6) gradient[2] = std::nan("");
      if (library.advance(value, gradient) == LbfgsbTask::finished) break;
    }
  }
  EXPECT_EQ(testing::internal::GetCapturedStdout(), "");
}

/// Address space of this process in bytes.
rlim_t address_space() {
  std::size_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  return static_cast<rlim_t>(pages) * static_cast<rlim_t>(sysconf(_SC_PAGESIZE));
}

/// It takes no buffers: with 16 MB of address space left a minimisation ends as it does otherwise.
TEST(LbfgsbLibrary, NeedsNoBuffersWhenMemoryIsShort) {
  const auto minimise = [] {
    const rlimit short_of_memory{address_space() + (rlim_t{16} << 20), RLIM_INFINITY};
    if (setrlimit(RLIMIT_AS, &short_of_memory) != 0) _exit(2);
    alarm(20);
    const std::size_t n = 8;
    Lbfgsb library(Vector(n, -1), Vector(n, 1), 5, Vector(n, std::numeric_limits<double>::infinity()));
    library.start(Vector(n, 0));
    Vector gradient(n);
    double slope = 1;
    for (int k = 0; k < 100 && slope > 1e-6; ++k) {
      double value = slope = 0;
      for (std::size_t j = 0; j < n; ++j) {
        const double d = library.x()[j] - 0.1 * static_cast<double>(j), c = 1 + static_cast<double>(j);
        value += 0.5 * c * d * d;
        gradient[j] = c * d;
        slope = std::max(slope, std::abs(gradient[j]));
      }
      if (library.advance(value, gradient) == LbfgsbTask::finished) break;
    }
    _exit(slope <= 1e-6 ? 0 : 1);
  };
  EXPECT_EXIT(minimise(), testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace bilevel
