// The inexact gradient method with prescribed errors: what it accepts against exact hypergradients, where it
// ends, and what the published constants make of it.

#include "bilevel/learn/inexact_gradient.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "apps/experiments/capped_solver.hpp"
#include "bilevel/core/error.hpp"
#include "tests/learn/bound_lab.hpp"
#include "tests/learn/maid_lab.hpp"
#include "tests/learn/signal_lab.hpp"

namespace bilevel {
namespace {

using namespace testing_support;
using bilevel_app::experiments::CappedSolver;

RunOptions limits(int iterations, double step, double tolerance = 0) {
  RunOptions how;
  how.options.max_iterations = iterations;
  how.options.schedule.step0 = step;
  how.options.schedule.tolerance = tolerance;
  return how;
}

InexactGradientOptions errors(ErrorSequence sequence, double error0,
                              GradientBound bound = GradientBound::best) {
  InexactGradientOptions own;
  own.sequence = sequence;
  own.error0 = error0;
  own.bound = bound;
  return own;
}

template <class T = double>
MaidRunOf<T> run(const TvInstance& instance, const InexactGradientOptions& own, const RunOptions& how) {
  return train_by<T>(*make_inexact_gradient<T>(own, how.options), instance, how);
}

std::vector<IterationRecord> all_records(const MaidRunOf<double>& run) {
  std::vector<IterationRecord> all = run.seen.records;
  all.push_back(run.report.last);
  return all;
}

/// Signals of the reference cases and of draws, small images with two parameters.
std::vector<TvInstance> instances(Random& random) {
  std::vector<TvInstance> out;
  for (const std::string& name : reference_names("tv_signal"))
    out.push_back(instance_of(read_reference(name)));
  for (int k = 0; k < 4; ++k) {
    out.push_back(signal_draw(random));
    out.back().model.alpha = random.log_uniform(1e-3, 1);
  }
  for (int k = 0; k < 3; ++k) {
    oracle::TvModel model;
    model.height = random.integer(4, 9);
    model.width = random.integer(4, 9);
    model.nu = random.log_uniform(1e-2, 1e-1);
    model.isotropic = k > 0;
    out.push_back(random_instance(model, random.integer(1, 3), 0.1, random));
  }
  return out;
}

TEST(InexactGradient, NoAcceptedErrorIsAboveItsBound) {
  Random random(seed(4101));
  RatioRecorder best("best, E_k / error"), corrected("corrected, E_k / error");
  for (const TvInstance& instance : instances(random)) {
    const double size = norm(exact_gradient(instance));
    for (const ErrorSequence sequence :
         {ErrorSequence::constant, ErrorSequence::harmonic, ErrorSequence::exponential, ErrorSequence::list})
      for (const GradientBound bound : {GradientBound::best, GradientBound::corrected}) {
        SCOPED_TRACE(instance.name + ", " + name_of(sequence) + ", " + name_of(bound));
        InexactGradientOptions own = errors(sequence, size * random.log_uniform(1e-2, 10), bound);
        own.errors = {size, 0.1 * size, 3 * size, 0.01 * size};
        own.epsilon_down = random.uniform(0.3, 0.9);
        own.delta_down = random.uniform(0.3, 0.9);
        own.epsilon_up = own.delta_up = random.uniform(1, 10);
        own.rate = random.uniform(0.1, 1);
        const auto r = run(instance, own, limits(5, random.log_uniform(1e-2, 1) / std::fmax(size, 1)));
        // Where a signal's mu is 1e-3 double precision may be too short for what is asked.
        const bool ended = r.report.status == UpperStatus::accuracy_limit;
        EXPECT_TRUE(ended || r.report.status == UpperStatus::max_iterations) << r.report.message;
        EXPECT_TRUE(!ended || instance.model.height == 1) << r.report.message;
        const bool accepted = !ended || !r.seen.records.empty();
        for (const IterationRecord& record : accepted ? all_records(r) : r.seen.records) {
          const double error = distance(record.gradient, r.exact(record.theta).hypergradient);
          const double allowed = own.error(record.iteration);
          EXPECT_LE(error, allowed) << "iteration " << record.iteration;
          EXPECT_LE(error, record.error_bound) << "iteration " << record.iteration;
          EXPECT_LE(bound == GradientBound::best ? record.error_bound : record.omega_adjoint, allowed);
          EXPECT_LE(record.epsilon, RunOptions().options.schedule.epsilon0);
          expect_true_record(r, record);
          (bound == GradientBound::best ? best : corrected).add(allowed / error);
        }
      }
  }
  EXPECT_GT(best.count(), 100u);
  EXPECT_GT(corrected.count(), 60u);
}

/// From alpha = 1 by steps that the safeguard shortens, to a minimum at most 1 % away, which is that of the
/// scan unless the loss has one between the points of the scan. Double precision may be too short to certify
/// an error of 1e-2 on the way, which is said; such a run does not count.
TEST(InexactGradient, ReachesTheOptimumOfAScan) {
  Random random(seed(4102));
  InexactGradientOptions rows[] = {errors(ErrorSequence::harmonic, 200),
                                   errors(ErrorSequence::exponential, 200),
                                   errors(ErrorSequence::constant, 1e-2)};
  rows[1].floor = 1e-2;
  int reached = 0;
  for (int draw = 0; draw < 3; ++draw) {
    const auto [signal, best] = learnable_signal(random, 200);
    for (const InexactGradientOptions& own : rows) {
      SCOPED_TRACE("draw " + std::to_string(draw) + ", " + name_of(own.sequence));
      RunOptions how = limits(80, 1, 1e-6);
      how.device = "cpu:1";  // long, and about decisions of the host
      how.lower = 1e-4;
      how.upper = 1;
      const auto r = run(signal, own, how);
      std::cout << "draw " << draw << ", " << name_of(own.sequence) << ": alpha " << r.report.theta[0]
                << ", scanned " << best.alpha << ", " << r.report.last.iteration << " iterations, "
                << r.report.last.work.total() << " operators, " << upper_status_name(r.report.status)
                << std::endl;
      if (r.report.status == UpperStatus::accuracy_limit) continue;
      const double alpha = r.report.theta[0];
      EXPECT_LT(exact_at(signal, 0.99 * alpha).hypergradient[0], 0) << r.report.message;
      EXPECT_GT(exact_at(signal, 1.01 * alpha).hypergradient[0], 0) << r.report.message;
      reached += std::fabs(alpha - best.alpha) <= 0.01 * best.alpha;
    }
  }
  EXPECT_GE(reached, 6);
}

/// The constants of the published script: mu = |S|^2 + xi, L_H without alpha, errors a factor 10^12 larger.
MaidRunOf<double> published(const TvInstance& signal, ErrorSequence sequence, double error0, int iterations) {
  InexactGradientOptions own = errors(sequence, 1e12 * error0, GradientBound::printed);
  if (sequence == ErrorSequence::exponential) own.floor = 1e6;
  own.epsilon_down = own.delta_down = 0.8;
  own.epsilon_up = own.delta_up = 2;
  own.safeguard = false;
  own.published_stop = 1e-4;
  own.strong_convexity = 1 + signal.model.xi;
  own.hessian_lipschitz = 16 / (signal.model.nu * signal.model.nu);
  RunOptions how = limits(iterations, 1.0 / 25);
  how.device = "cpu:1";  // long, and about decisions of the host
  how.options.schedule.epsilon0 = 100;
  how.options.schedule.delta0 = 0.1;
  how.options.minimiser = "gradient-descent";
  how.options.max_lower_iterations = 250000;
  how.lower = 1e-4;
  how.upper = 1;
  UpperSolvers<double> solvers;
  solvers.linear = std::make_shared<CappedSolver>("cg", 200);
  return train_by<double>(*make_inexact_gradient<double>(own, how.options, solvers), signal, how);
}

TEST(InexactGradient, PublishedRunsKeepTheirOrderOfWork) {
  Random random(seed(4103));
  const LearnableSignal drawn = learnable_signal(random, 60);
  const auto row = [&](ErrorSequence sequence, double error0) {
    const auto r = published(drawn.signal, sequence, error0, 20);
    for (const IterationRecord& record : all_records(r))  // what is recorded is certified all the same
      EXPECT_LE(distance(record.gradient, r.exact(record.theta).hypergradient), record.error_bound);
    std::cout << name_of(sequence) << " " << error0 << ": " << r.report.last.work.gradients << " gradients, "
              << r.report.last.work.hessian_products << " products, " << r.report.last.iteration
              << " iterations, alpha " << r.report.theta[0] << ", scanned " << drawn.best.alpha << "; "
              << r.report.message << std::endl;
    return r.report.last.work.gradients;
  };
  const auto large = row(ErrorSequence::constant, 200), harmonic = row(ErrorSequence::harmonic, 200),
             small = row(ErrorSequence::constant, 1e-2), exponential = row(ErrorSequence::exponential, 200);
  EXPECT_LT(large, harmonic);
  EXPECT_LT(harmonic, std::min(small, exponential));
}

/// mu = 1 + xi, nu = xi = .1 and all samples seen, as in the published figure.
TEST(InexactGradient, TheBestBoundIsFarBelowThePrintedOne) {
  Random random(seed(4104));
  for (const double alpha : {0.01, 0.1}) {
    TvInstance signal = signal_draw(random);
    signal.model.mask.clear();
    signal.model.alpha = alpha;
    signal.model.nu = signal.model.xi = 0.1;
    signal.y = {add_scaled(signal.truth[0], 0.03, random.normal_vector(signal.truth[0].size()))};
    BoundLab<double> lab(signal);
    lab.start(signal.y);
    std::cout << "alpha " << alpha << "\n   delta     error   printed corrected      best\n";
    for (double delta = 1e-1; delta > 5e-9; delta /= 10) {
      HypergradientRequest request;
      request.delta = delta;
      request.columns = false;
      const std::vector<double> epsilon = lab.solve(delta, "gradient-descent");
      const HypergradientResult plain = lab.check(epsilon, request, nullptr);
      ASSERT_EQ(plain.inputs.size(), 1u);
      BoundInputs in = plain.inputs[0];
      EXPECT_EQ(error_bound(in).adjoint, plain.omega_adjoint);
      in.hessian_lipschitz = 16 / (signal.model.nu * signal.model.nu);
      const double printed = error_bound(in).adjoint;
      request.columns = true;
      const HypergradientResult best = lab.check(epsilon, request, nullptr);
      const double error = distance(plain.z, lab.exact);
      std::printf("%8.0e %9.2e %9.2e %9.2e %9.2e\n", delta, error, printed, plain.omega_adjoint, best.omega);
      EXPECT_LE(error, plain.omega_adjoint);
      EXPECT_LE(distance(best.z, lab.exact), best.omega);
      EXPECT_LE(best.omega, 0.1 * printed);
    }
  }
}

/// Without the safeguard a step that is too long raises the loss again and again.
TEST(InexactGradient, TakesBackStepsThatCertainlyRaiseTheLoss) {
  Random random(seed(4105));
  const LearnableSignal drawn = learnable_signal(random, 60);
  const auto rises = [&](bool safeguard, int& halvings) {
    InexactGradientOptions own = errors(ErrorSequence::constant, 1e-2);
    own.safeguard = safeguard;
    RunOptions how = limits(25, 0.5);
    how.lower = 1e-4;
    how.upper = 1;
    const auto r = run(drawn.signal, own, how);
    const std::vector<IterationRecord> all = all_records(r);
    int count = 0;
    for (std::size_t k = 1; k < all.size(); ++k) {
      count += all[k].loss_lower > all[k - 1].loss_upper;
      halvings += all[k - 1].backtracks;
    }
    return count;
  };
  int none = 0, halvings = 0;
  EXPECT_GT(rises(false, none), 1);
  EXPECT_EQ(none, 0);
  EXPECT_EQ(rises(true, halvings), 0);
  EXPECT_GT(halvings, 0);
}

TEST(InexactGradient, GoesOnWithTheSameBits) {
  Random random(seed(4106));
  for (const GradientBound bound : {GradientBound::best, GradientBound::printed}) {
    const TvInstance signal = signal_draw(random);
    const InexactGradientOptions own =
        errors(ErrorSequence::harmonic, bound == GradientBound::best ? 1e3 : 1e15, bound);
    RunOptions how = limits(7, 0.1);
    how.lower = 1e-4;
    how.upper = 1;
    const auto whole = run(signal, own, how);
    ASSERT_EQ(whole.seen.states.size(), 7u);
    for (const std::size_t k : {0u, 3u, 6u}) {
      how.resume = &whole.seen.states[k];
      const auto rest = run(signal, own, how);
      EXPECT_EQ(rest.report.theta, whole.report.theta);
      EXPECT_EQ(rest.report.last.loss, whole.report.last.loss);
      EXPECT_EQ(rest.report.last.gradient, whole.report.last.gradient);
      EXPECT_EQ(rest.report.last.error_bound, whole.report.last.error_bound);
      EXPECT_EQ(rest.report.last.work, whole.report.last.work);
      EXPECT_EQ(rest.x, whole.x);
      EXPECT_EQ(rest.seen.records.size(), 6 - k);
    }
    UpperState bad = whole.seen.states[0];
    bad.numbers["step"] = {0};
    how.resume = &bad;
    EXPECT_THROW(run(signal, own, how), ConfigError);
  }
}

TEST(InexactGradient, TheSameBitsForAnyNumberOfThreads) {
  Random random(seed(4107));
  oracle::TvModel model;
  model.height = 9;
  model.width = 11;
  const TvInstance instance = random_instance(model, 3, 0.1, random);
  const InexactGradientOptions own = errors(ErrorSequence::exponential, 1);
  RunOptions how = limits(4, 0.1);
  const auto first = run(instance, own, how);
  for (const std::string& device : repeat_devices({"cpu:2", "cpu:3"})) {
    how.device = device;
    const auto again = run(instance, own, how);
    EXPECT_EQ(again.report.theta, first.report.theta);
    EXPECT_EQ(again.x, first.x);
  }
}

TEST(InexactGradient, SaysWhereItsPrecisionEnds) {
  Random random(seed(4108));
  oracle::TvModel model;
  model.height = model.width = 6;
  const TvInstance instance = random_instance(model, 2, 0.1, random);
  for (const GradientBound bound : {GradientBound::best, GradientBound::corrected}) {
    const InexactGradientOptions own = errors(ErrorSequence::exponential, 1e-1, bound);
    InexactGradientOptions steep = own;
    steep.rate = 3;
    steep.epsilon_down = steep.delta_down = 0.3;
    const auto in_double = run(instance, steep, limits(50, 0.04));
    EXPECT_EQ(in_double.report.status, UpperStatus::accuracy_limit) << in_double.report.message;
    EXPECT_NE(in_double.report.message.find("rounding is the limit"), std::string::npos);
    const auto in_float = run<float>(instance, steep, limits(50, 0.04));
    EXPECT_EQ(in_float.report.status, UpperStatus::accuracy_limit) << in_float.report.message;
    EXPECT_NE(in_float.report.message.find("single precision"), std::string::npos);
    EXPECT_LT(in_float.report.last.iteration, in_double.report.last.iteration);
    for (const IterationRecord& record : in_float.seen.records) expect_true_record(in_float, record);
  }
}

TEST(InexactGradient, ThePublishedStopCertifiesNothing) {
  Random random(seed(4109));
  const LearnableSignal drawn = learnable_signal(random, 60);
  InexactGradientOptions own = errors(ErrorSequence::constant, 1e-1);
  own.published_stop = 1e-3;
  const auto r = run(drawn.signal, own, limits(400, 1.0 / 25));
  EXPECT_EQ(r.report.status, UpperStatus::accuracy_limit) << r.report.message;
  EXPECT_NE(r.report.message.find("published stop"), std::string::npos);
  EXPECT_LT(std::pow(r.report.last.gradient_norm, 2), 1e-3);
  EXPECT_LE(norm(r.exact(r.report.theta).hypergradient),
            r.report.last.gradient_norm + r.report.last.error_bound);
}

TEST(InexactGradient, Limits) {
  Random random(seed(4110));
  const TvInstance signal = signal_draw(random);
  const InexactGradientOptions own = errors(ErrorSequence::harmonic, 1e3);
  RunOptions how = limits(50, 0.01);
  how.options.budget = 300;
  EXPECT_EQ(run(signal, own, how).report.status, UpperStatus::budget);
  how = limits(50, 0.01);
  how.lives = 20;
  EXPECT_EQ(run(signal, own, how).report.status, UpperStatus::interrupted);
  how = limits(50, 0.01);
  how.stop_after = 2;
  const auto stopped = run(signal, own, how);
  EXPECT_EQ(stopped.report.status, UpperStatus::interrupted);
  EXPECT_EQ(stopped.seen.records.size(), 2u);
  EXPECT_EQ(run(signal, own, limits(3, 0.01)).report.status, UpperStatus::max_iterations);
  const auto none = run(signal, own, limits(0, 0.01));
  EXPECT_EQ(none.report.status, UpperStatus::max_iterations);
  EXPECT_LE(none.report.last.error_bound, 1e3);
}

TEST(InexactGradient, Options) {
  const auto refused = [](auto change) {
    InexactGradientOptions own;
    change(own);
    EXPECT_THROW(make_inexact_gradient<double>(own, {}), ConfigError);
  };
  InexactGradientOptions().validate();
  refused([](auto& o) { o.error0 = 0; });
  refused([](auto& o) { o.error0 = NAN; });
  refused([](auto& o) { o.rate = 0; });
  refused([](auto& o) { o.floor = -1; });
  refused([](auto& o) { o.sequence = ErrorSequence::list; });
  refused([](auto& o) { o.errors = {1, 0}; });
  refused([](auto& o) { o.epsilon_down = 1; });
  refused([](auto& o) { o.delta_down = 0; });
  refused([](auto& o) { o.epsilon_up = 0.5; });
  refused([](auto& o) { o.delta_up = INFINITY; });
  refused([](auto& o) { o.published_stop = -1; });
  refused([](auto& o) { o.hessian_lipschitz = 1; });
  refused([](auto& o) { o.strong_convexity = 1; });
  refused([](auto& o) {
    o.bound = GradientBound::printed;
    o.strong_convexity = 0;
  });
  for (const char* name : {"constant", "harmonic", "exponential", "list"})
    EXPECT_STREQ(name_of(error_sequence(name)), name);
  for (const char* name : {"printed", "corrected", "best"}) EXPECT_STREQ(name_of(gradient_bound(name)), name);
  EXPECT_THROW(error_sequence("cubic"), ConfigError);
  EXPECT_THROW(gradient_bound("worst"), ConfigError);

  InexactGradientOptions own = errors(ErrorSequence::list, 1);
  own.errors = {3, 2, 5};
  own.floor = 2.5;
  EXPECT_EQ(own.error(0), 3);
  EXPECT_EQ(own.error(1), 2.5);
  EXPECT_EQ(own.error(7), 5);
  EXPECT_EQ(errors(ErrorSequence::constant, 7).error(4), 7);
  EXPECT_EQ(errors(ErrorSequence::harmonic, 8).error(3), 2);
  EXPECT_DOUBLE_EQ(errors(ErrorSequence::exponential, 1).error(8), 0.01);
}

}  // namespace
}  // namespace bilevel
