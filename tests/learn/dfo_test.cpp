// The derivative-free method: its accuracies against closed forms and exact losses, the published experiments
// of Ehrhardt and Roberts 2021, resuming, and input that it must refuse or survive.

#include "bilevel/learn/dfo.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "bilevel/core/error.hpp"
#include "bilevel/learn/hoag.hpp"
#include "learn/dfo_values.hpp"
#include "tests/learn/signals_lab.hpp"

namespace bilevel {
namespace {

using namespace testing_support;
using Vector = std::vector<double>;

// ---- residuals, their errors, and the accuracy for a wanted one

struct Measured {
  Context context{Device::open("cpu:1")};
  Tensor<double> truth;
  std::shared_ptr<const UpperLoss<double>> loss;
  Vector squares;  ///< |x~_i - t_i|^2

  explicit Measured(Vector of)
      : truth(context, {static_cast<int>(of.size()), 1, 1, 3}, Vector(3 * of.size(), 0)),
        loss(squared_error<double>(truth.view(), truth.shape())),
        squares(std::move(of)) {}
};

TEST(DfoValues, AccuracyOfEqualResidualsIsTheClosedForm) {
  Random random(seed(5201));
  for (int trial = 0; trial < 100; ++trial) {
    const int n = random.integer(1, 20);
    const double square = random.log_uniform(1e-3, 1e3), f = square / 2;
    const Measured of(Vector(static_cast<std::size_t>(n), square));
    const double wanted = f * random.log_uniform(1e-8, 1e2);
    const double tau = (std::sqrt(f + wanted) - std::sqrt(f)) / std::sqrt(n),
                 epsilon = std::sqrt(2 * n) * tau;
    const double found = accuracy_for(*of.loss, of.squares, 0, Goal{wanted, true}, 1e6);
    EXPECT_LE(found, epsilon * (1 + 1e-6));
    EXPECT_GE(found, epsilon / 1.011);
    EXPECT_EQ(accuracy_for(*of.loss, of.squares, 0, Goal{wanted, true}, 0.1 * epsilon), 0.1 * epsilon);
  }
}

/// For other residuals the closed form is finer than it need be.
TEST(DfoValues, AccuracyMeetsTheGoalAndIsNoFinerThanNeeded) {
  Random random(seed(5202));
  for (int trial = 0; trial < 100; ++trial) {
    Vector squares;
    for (int i = random.integer(1, 12); i >= 0; --i) squares.push_back(random.log_uniform(1e-4, 1e2));
    const Measured of(squares);
    const double penalty = random.uniform();
    const auto at = [&](double epsilon) {
      return residuals_of(*of.loss, squares, Vector(squares.size(), epsilon), penalty);
    };
    const double f = at(0).value - penalty;
    const Goal goal{f * random.log_uniform(1e-6, 10), trial % 2 == 0};
    const double epsilon = accuracy_for(*of.loss, squares, penalty, goal, 1e6);
    EXPECT_TRUE(goal.met(at(epsilon)));
    EXPECT_FALSE(goal.met(at(1.02 * epsilon)));
    if (goal.of_value) {
      EXPECT_GE(1.02 * epsilon, std::sqrt(2) * (std::sqrt(f + goal.bound) - std::sqrt(f)));
    }
  }
}

/// Points at random distances of the minimiser, certified by what a solver would say: the bounds hold, and
/// for a point along the error they are attained.
TEST(DfoValues, ErrorsAreBoundedByTheirCertificates) {
  Random random(seed(5203));
  RatioRecorder values("bound of the value / its error"), residuals("bound of the residuals / their error");
  for (int trial = 0; trial < 2000; ++trial) {
    const int n = random.integer(1, 4);
    Vector near, exact, epsilon;
    for (int i = 0; i < n; ++i) {
      const Vector x = random.normal_vector(3);
      epsilon.push_back(random.log_uniform(1e-8, 3));
      const Vector towards = random.integer(0, 1) == 0 ? x : random.normal_vector(3);
      exact.push_back(dot(x, x));
      const Vector moved = add_scaled(x, 1, scaled_to(towards, epsilon.back() * random.uniform(0.5, 1)));
      near.push_back(dot(moved, moved));
    }
    const Measured of(near);
    const double penalty = random.uniform();
    const Residuals r = residuals_of(*of.loss, near, epsilon, penalty);
    const Residuals truth = residuals_of(*of.loss, exact, Vector(epsilon.size(), 0), penalty);
    const double error = std::abs(r.value - truth.value), distance = norm(add_scaled(r.r, -1, truth.r));
    EXPECT_LE(error, r.value_error());
    EXPECT_LE(distance, r.norm_error());
    EXPECT_LE(r.lower, truth.value);
    EXPECT_GE(r.upper, truth.value);
    if (error > 1e-12) values.add(r.value_error() / error);
    if (distance > 1e-12) residuals.add(r.norm_error() / distance);
  }
  EXPECT_LE(values.median(), 5);
  EXPECT_LE(residuals.median(), 5);
}

// ---- signals

/// Values of the published data: the stream of random numbers and both borders are theirs.
TEST(DfoSignals, AreThoseOfThePaper) {
  for (const auto& [border, at_zero, optimum, where] :
       {std::tuple{Border::zero_left, 1.7525511, 1.37148883335, -0.3149213},
        std::tuple{Border::neumann, 1.9106489, 1.43226270188, -0.3280525}}) {
    SignalProblem problem(10, border, {0});
    EXPECT_NEAR(problem.exact({0}), at_zero, 1e-7) << name_of(border);
    EXPECT_NEAR(problem.exact({where}), optimum, 1e-9) << name_of(border);
  }
  oracle::TvModel model;
  model.width = 256;
  model.alpha = 1;
  model.nu = model.xi = 1e-3;
  SignalProblem problem(10, Border::neumann, {0});
  const std::vector<Image> truth = unflatten(StepSignals(0, 10, 256).clean, 10);
  const oracle::UpperResult r = oracle::exact_hypergradient(model, {{"alpha"}}, problem.y_images, truth);
  EXPECT_NEAR(20 * r.f, 1.9106489, 1e-7);
  EXPECT_NEAR(SignalProblem(Border::zero_left).exact(Vector(64, 0.5)), 4.1610939, 1e-6);
  EXPECT_NEAR(SignalProblem(20, Border::zero_left, {0, 0, 0}, 1e-6).exact({-.41090, -7, -2.51207}), 2.8268742,
              1e-6);
  EXPECT_NEAR(SignalProblem(20, Border::neumann, {0, 0, 0}, 1e-4).exact({-.55153, -7, -1.88344}), 5.1258932,
              1e-6);
}

/// Accuracies that follow the steps, by FISTA as in the paper; or all to 1e-10, at most 2000 iterations.
SignalRun dfo(SignalProblem& problem, bool dynamic, int evaluations, DfoOptions how = {}) {
  UpperOptions options;
  options.minimiser = "fista";
  options.max_iterations = 100000;
  options.max_lower_iterations = dynamic ? 1000000 : 2000;
  if (!dynamic) options.schedule.epsilon0 = 1e-10;
  how.dynamic = dynamic;
  how.max_evaluations = evaluations;
  return problem.run(*make_dfo<double>(how, options));
}

/// Loss falls at every step where accuracies are dynamic, whatever they are; enclosures hold.
void expect_certified(const SignalRun& r, double scale) {
  std::vector<IterationRecord> all = r.seen.records;
  all.push_back(r.report.last);
  for (std::size_t k = 0; k < all.size(); ++k) {
    EXPECT_LE(all[k].loss_lower, r.exact[k] / scale * (1 + 1e-12)) << k;
    EXPECT_GE(all[k].loss_upper, r.exact[k] / scale * (1 - 1e-12)) << k;
    EXPECT_TRUE(all[k].gradient.empty());
    EXPECT_TRUE(std::isinf(all[k].error_bound));
    if (k > 0) {
      EXPECT_LT(r.exact[k], r.exact[k - 1]) << k;
    }
  }
}

TEST(DfoSignals, OneParameterInTwentyEvaluations) {
  for (const auto& [border, optimum] :
       {std::pair{Border::zero_left, 1.37148883335}, std::pair{Border::neumann, 1.43226270188}}) {
    SCOPED_TRACE(name_of(border));
    SignalProblem problem(10, border, {0});
    const SignalRun dynamic = dfo(problem, true, 20), fixed = dfo(problem, false, 20);
    EXPECT_LE(dynamic.last() / optimum - 1, 2e-3);
    EXPECT_LE(fixed.last() / optimum - 1, 1e-5);
    EXPECT_EQ(dynamic.report.status, UpperStatus::budget) << dynamic.report.message;
    EXPECT_NE(dynamic.report.message.find("20 evaluations"), std::string::npos);
    expect_certified(dynamic, 20);
    const double target = fixed.last() * 1.001;
    std::cout << name_of(border) << ": dynamic " << dynamic.last() << " at " << dynamic.report.theta[0]
              << ", " << dynamic.until(target) << " gradients to the fixed value + .1 %; fixed "
              << fixed.last() << " at " << fixed.report.theta[0] << ", " << fixed.until(target) << " of "
              << fixed.report.last.work.gradients << " gradients" << std::endl;
    EXPECT_GT(dynamic.until(target), 0u);
    EXPECT_LT(dynamic.until(target), fixed.until(target));
  }
}

TEST(DfoSignals, EndsAtTheOptimumOfOneParameter) {
  for (const double start : {-2.0, -1.0, 0.0, 1.0, 2.0}) {
    SignalProblem problem(10, Border::neumann, {start});
    const SignalRun r = dfo(problem, true, 0);
    EXPECT_TRUE(r.report.status == UpperStatus::converged || r.report.status == UpperStatus::accuracy_limit)
        << r.report.message;
    EXPECT_NEAR(r.report.theta[0], -0.3280525, 1e-3) << "from " << start;
    EXPECT_LE(r.last() / 1.43226270188 - 1, 1e-6);
    expect_certified(r, 20);
  }
}

/// Methods with hypergradients on the same problem.
TEST(DfoSignals, GradientMethodsFindTheOptimumFromEveryStart) {
  const double optimum = 1.43226270188, where = -0.3280525;
  for (const std::string name : {"maid", "lbfgsb", "hoag"})
    for (const double start : {-2.0, -1.0, 0.0, 1.0, 2.0}) {
      SignalProblem problem(10, Border::neumann, {start});
      UpperOptions options;
      options.max_iterations = name == "hoag" ? 300 : 200;
      options.schedule.tolerance = 1e-5;
      const auto method = name == "maid"     ? make_maid<double>(options)
                          : name == "lbfgsb" ? make_lbfgsb<double>(options)
                                             : make_hoag<double>({}, options);
      const SignalRun r = problem.run(*method, nullptr, false);
      const double f = problem.exact(r.report.theta);
      std::cout << name << " from " << start << ": f " << f << " at " << r.report.theta[0] << " in "
                << r.report.last.iteration << " iterations, " << upper_status_name(r.report.status)
                << std::endl;
      if (name == "hoag") continue;  // told, not asked for: its steps certify nothing
      EXPECT_LE(std::abs(f / optimum - 1), 1e-6) << name << " from " << start;
      EXPECT_NEAR(r.report.theta[0], where, 1e-3) << name << " from " << start;
      EXPECT_LE(r.report.last.iteration, 25) << name << " from " << start;
    }
}

/// Losses that the paper's runs reach about in 100 evaluations. This is not their criterion: after 100 the
/// first is 2.914. 150 is what these losses took, finer evaluations at the same theta not counted.
TEST(DfoSignals, ThreeParametersInAHundredAndFiftyEvaluations) {
  for (const auto& [border, beta, optimum, published] :
       {std::tuple{Border::zero_left, 1e-6, 2.8268742, 2.89},
        std::tuple{Border::zero_left, 1e-4, 4.9796784, 5.06},
        std::tuple{Border::neumann, 1e-6, 2.9663849, 2.89 * 2.9663849 / 2.8268742},
        std::tuple{Border::neumann, 1e-4, 5.1258932, 5.06 * 5.1258932 / 4.9796784}}) {
    SignalProblem problem(20, border, {0, -1, -1}, beta);
    const SignalRun r = dfo(problem, true, 150);
    std::cout << name_of(border) << ", beta " << beta << ": " << r.last() << ", "
              << 100 * (r.last() / optimum - 1) << " % above the optimum; asked for " << published << ", at "
              << r.report.theta[0] << ", " << r.report.theta[1] << ", " << r.report.theta[2] << ", "
              << r.report.last.work.gradients << " gradients" << std::endl;
    EXPECT_LE(r.last(), published);
    EXPECT_GE(r.last(), optimum * (1 - 1e-6));
    expect_certified(r, 40);
  }
}

TEST(DfoSignalsSlow, DynamicAccuracyTakesLessWorkThanFixed) {
  for (const double beta : {1e-6, 1e-4}) {
    SignalProblem problem(20, Border::zero_left, {0, -1, -1}, beta);
    const SignalRun dynamic = dfo(problem, true, 100), fixed = dfo(problem, false, 100);
    const double target = 1.01 * std::max(dynamic.last(), fixed.last());
    std::cout << "beta " << beta << ": dynamic " << dynamic.last() << ", " << dynamic.until(target) << " of "
              << dynamic.report.last.work.gradients << " gradients; fixed " << fixed.last() << ", "
              << fixed.until(target) << " of " << fixed.report.last.work.gradients << std::endl;
    EXPECT_LT(dynamic.until(target), fixed.until(target));
  }
}

int active(const Vector& theta) {
  return static_cast<int>(std::count_if(theta.begin(), theta.end(), [](double t) { return t > 0.001; }));
}

/// 64 sampling weights of a 1-D k-space.
TEST(DfoSignals, GradientMethodsFindTheSamplingPattern) {
  for (const std::string name : {"maid", "lbfgsb"}) {
    SignalProblem problem(Border::neumann);
    UpperOptions options;
    options.max_iterations = 150;
    options.schedule.tolerance = 1e-6;
    const auto method = name == "maid" ? make_maid<double>(options) : make_lbfgsb<double>(options);
    const SignalRun r = problem.run(*method, nullptr, false);
    const double f = problem.exact(r.report.theta);
    std::cout << name << ": " << f << ", " << active(r.report.theta) << " active, " << r.report.last.iteration
              << " iterations, " << upper_status_name(r.report.status) << std::endl;
    EXPECT_LE(f, 0.5122447 * (1 + 1e-5)) << name << ": " << r.report.message;
    EXPECT_EQ(active(r.report.theta), 32) << name;
  }
}

// ---- the run

SignalRun short_run(int threads, const UpperState* resume = nullptr, bool dynamic = true) {
  SignalProblem problem(4, Border::neumann, {0, -1, -1}, 1e-5, test_device("cpu:" + std::to_string(threads)));
  UpperOptions options;
  options.max_iterations = 12;
  if (!dynamic) options.schedule.epsilon0 = 1e-6;
  DfoOptions how;
  how.dynamic = dynamic;
  return problem.run(*make_dfo<double>(how, options), resume, false);
}

TEST(Dfo, GoesOnWithTheSameBits) {
  for (const bool dynamic : {true, false}) {
    const SignalRun whole = short_run(1, nullptr, dynamic);
    ASSERT_EQ(whole.seen.states.size(), 12u) << whole.report.message;
    for (const std::size_t k : {0u, 5u, 10u}) {
      const SignalRun rest = short_run(1, &whole.seen.states[k], dynamic);
      EXPECT_EQ(rest.report.theta, whole.report.theta);
      EXPECT_EQ(rest.report.last.loss, whole.report.last.loss);
      EXPECT_EQ(rest.report.last.loss_upper, whole.report.last.loss_upper);
      EXPECT_EQ(rest.report.last.work, whole.report.last.work);
      EXPECT_EQ(rest.x, whole.x);
      EXPECT_EQ(rest.seen.records.size(), 11 - k);
      EXPECT_EQ(rest.seen.states.back().arrays, whole.seen.states.back().arrays);
      EXPECT_EQ(rest.seen.states.back().numbers, whole.seen.states.back().numbers);
    }
  }
}

TEST(Dfo, ThreadsDoNotChangeABit) {
  const SignalRun one = short_run(1), two = short_run(2);
  EXPECT_EQ(one.report.theta, two.report.theta);
  EXPECT_EQ(one.report.last.loss, two.report.last.loss);
  EXPECT_EQ(one.x, two.x);
}

TEST(Dfo, StatesOfOtherProblemsAreRefused) {
  const SignalRun whole = short_run(1);
  const auto refused = [&](auto change) {
    UpperState state = whole.seen.states[3];
    change(state);
    EXPECT_ANY_THROW(short_run(1, &state));
  };
  refused([](UpperState& s) { s.numbers["best"] = {1e6}; });
  refused([](UpperState& s) { s.numbers["others"][1] = -1; });
  refused([](UpperState& s) { s.numbers["others"].pop_back(); });
  refused([](UpperState& s) { s.numbers["radius"] = {-1}; });
  refused([](UpperState& s) { s.numbers["epsilon"].pop_back(); });
  refused([](UpperState& s) { s.arrays["samples"].pop_back(); });
  refused([](UpperState& s) { s.arrays.clear(); });
}

/// A tiny problem of one image, with a loss and bounds of one's own.
struct Tiny {
  Context context{Device::open("cpu:1")};
  Parameters parameters;
  Tensor<double> truth, y;
  std::shared_ptr<const UpperLoss<double>> loss;

  explicit Tiny(std::vector<Segment> segments)
      : parameters(std::move(segments)),
        truth(context, {1, 1, 1, 16}, step()),
        y(context, {1, 1, 1, 16}, data()),
        loss(squared_error<double>(truth.view(), truth.shape())) {}
  static std::vector<Segment> usual(double lower = 1e-4, double upper = 1e2) {
    return {{"alpha", Transform::exp, std::min(0.5, upper), lower, upper, true},
            {"nu", Transform::identity, 0.05, 0, 1, false},
            {"xi", Transform::identity, 1e-3, 0, 1, false}};
  }
  static Vector step() {
    Vector x(16, 0);
    for (std::size_t k = 8; k < 16; ++k) x[k] = 1;
    return x;
  }
  static Vector data() {
    Random random(77);
    return add_scaled(step(), 0.2, random.normal_vector(16));
  }
  using Value = std::function<double(std::span<const double>)>;
  void own_loss(Value value, double lower_bound) {
    HostLoss<double>::Constants constants;
    constants.lower_bound = lower_bound;
    constants.convex = true;
    loss = std::make_shared<HostLoss<double>>(
        truth.shape(), [value](int, std::span<const double> x) { return value(x); },
        [](int, std::span<const double> x, std::span<double> b) {
          for (std::size_t k = 0; k < x.size(); ++k) b[k] = x[k] - (k < 8 ? 0 : 1);
        },
        constants);
  }
  UpperReport run(const DfoOptions& how = {}, Penalty penalty = {}, UpperOptions options = {}) {
    const BilevelProblem<double> problem(
        std::make_unique<ComposedEnergy<double>>(context, y.view(), parameters), loss, parameters, penalty);
    return make_dfo<double>(how, options)->run(context, problem, parameters.initial(), y.view(), seen);
  }
  Recorder seen;
};
double misfit(std::span<const double> x) {
  double sum = 0;
  for (std::size_t k = 0; k < x.size(); ++k) sum += std::pow(x[k] - (k < 8 ? 0 : 1), 2);
  return sum / 2;
}

TEST(Dfo, LossesOfTheHostGiveTheSameOptimum) {
  Tiny usual(Tiny::usual()), own(Tiny::usual());
  own.own_loss(misfit, 0);
  const UpperReport a = usual.run(), b = own.run();
  EXPECT_EQ(a.status, UpperStatus::converged) << a.message;
  EXPECT_NEAR(a.theta[0], b.theta[0], 1e-3);
  EXPECT_NEAR(a.last.loss, b.last.loss, 1e-6 * a.last.loss);
}

/// The optimum is beyond the bound, or there are no bounds at all.
TEST(Dfo, KeepsToTheBoundsAndDoesWithoutThem) {
  const UpperReport free = Tiny(Tiny::usual()).run();
  const double alpha = std::exp(free.theta[0]);
  Tiny below(Tiny::usual(1e-4, 0.3)), narrow(Tiny::usual(0.5 - 1e-12, 0.5 + 1e-12));
  const UpperReport at = below.run();
  ASSERT_GT(alpha, 0.3);
  EXPECT_NEAR(at.theta[0], std::log(0.3), 1e-4);
  EXPECT_LE(at.theta[0], below.parameters.upper()[0]);
  EXPECT_NEAR(narrow.run().theta[0], std::log(0.5), 1e-11);
  std::vector<Segment> segments = Tiny::usual();
  segments[0].upper = std::numeric_limits<double>::infinity();
  DfoOptions how;
  how.radius0 = 0.5;
  const UpperReport open = Tiny(segments).run(how);
  EXPECT_NEAR(open.theta[0], free.theta[0], 1e-3);
}

/// NaN at a part of the box counts as infinite: the run ends at the best point outside of it. At the start it
/// is an end of the run with a sentence.
TEST(Dfo, LossesThatAreNotNumbers) {
  Tiny all(Tiny::usual());
  all.own_loss([](std::span<const double>) { return std::nan(""); }, 0);
  const UpperReport none = all.run();
  EXPECT_EQ(none.status, UpperStatus::failed);
  EXPECT_NE(none.message.find("not finite at theta"), std::string::npos) << none.message;

  std::vector<Segment> far = Tiny::usual();
  far[0].initial = 20;
  Tiny usual(far), part(far);
  const double best = usual.run().last.loss;
  int refused = 0;
  part.own_loss(
      [&](std::span<const double> x) {
        const double f = misfit(x);
        const bool refuse = f < 1.05 * best;
        refused += refuse;
        return refuse ? std::nan("") : f;
      },
      0);
  const UpperReport r = part.run();
  EXPECT_NE(r.status, UpperStatus::stationary);
  EXPECT_GT(refused, 0);
  EXPECT_TRUE(std::isfinite(r.last.loss_upper));
  EXPECT_GE(r.last.loss, 1.05 * best);
  EXPECT_LE(r.last.loss, part.seen.records.empty() ? 1 : part.seen.records[0].loss);
}

TEST(Dfo, PenaltiesMustNotBeNegative) {
  Tiny tiny(Tiny::usual());
  const UpperReport r = tiny.run({}, [](std::span<const double>, std::span<double>) { return -1e-3; });
  EXPECT_EQ(r.status, UpperStatus::failed);
  EXPECT_NE(r.message.find("-0.001"), std::string::npos) << r.message;
  Tiny infinite(Tiny::usual());
  const UpperReport f = infinite.run({}, [](std::span<const double> theta, std::span<double>) {
    return theta[0] > std::log(0.4) && theta[0] < std::log(0.499) ? std::nan("") : 0.0;
  });
  EXPECT_NE(f.status, UpperStatus::failed) << f.message;
  EXPECT_FALSE(f.theta[0] > std::log(0.4) && f.theta[0] < std::log(0.499));
}

/// A cap of lower-level iterations leaves large certificates: nothing is accepted that they do not allow.
TEST(Dfo, CapsOfTheLowerLevelAreToldAndNotTrusted) {
  SignalProblem problem(4, Border::neumann, {0});
  UpperOptions options;
  options.minimiser = "fista";
  options.max_lower_iterations = 60;
  const SignalRun r = problem.run(*make_dfo<double>({}, options));
  EXPECT_EQ(r.report.status, UpperStatus::accuracy_limit);
  EXPECT_NE(r.report.message.find("cap of lower-level iterations"), std::string::npos) << r.report.message;
  expect_certified(r, 8);
}

/// Reconstructions that begin at the truth are better than the minimisers as long as nobody asks for
/// accuracy: the value at the best point must not stay so while the others become sharp.
TEST(Dfo, AValueThatWasTooGoodIsNotKept) {
  Random random(seed(5205));
  for (int trial = 0; trial < 6; ++trial) {
    TvInstance instance{"image", {}, {{"alpha"}}, {}, {}};
    instance.model.width = 12;
    instance.model.height = 10;
    instance.model.alpha = random.log_uniform(0.3, 3);
    instance = random_instance(instance.model, 2, 0.1, random);
    instance.learned = {{"alpha"}};
    TvSetup<double> setup(instance, "cpu:1", 1e-4, 1e2);
    const BilevelProblem<double> problem = setup.problem();
    UpperOptions options;
    options.schedule.epsilon0 = 100;
    DfoOptions how;
    how.radius0 = 1e-3;
    how.point_accuracy = 1e6;
    Recorder seen, other;
    const UpperReport r =
        make_dfo<double>(how, options)
            ->run(setup.context, problem, setup.parameters.initial(), setup.truth.view(), seen);
    const UpperReport maid =
        make_maid<double>({})->run(setup.context, problem, setup.parameters.initial(), setup.y.view(), other);
    EXPECT_EQ(r.status, UpperStatus::converged) << r.message;
    EXPECT_LE(r.last.loss_upper, maid.last.loss_upper * (1 + 1e-3)) << r.theta[0] << " " << maid.theta[0];
  }
}

/// Of fixed accuracies nothing is known beyond them.
TEST(Dfo, CoarseFixedAccuraciesDoNotConverge) {
  SignalProblem problem(4, Border::neumann, {0});
  UpperOptions options;
  options.schedule.epsilon0 = 0.1;
  DfoOptions how;
  how.dynamic = false;
  const SignalRun r = problem.run(*make_dfo<double>(how, options));
  EXPECT_EQ(r.report.status, UpperStatus::accuracy_limit) << r.report.message;
  EXPECT_NE(r.report.message.find("finer fixed accuracy"), std::string::npos) << r.report.message;
}

TEST(Dfo, SinglePrecisionEndsWhereRoundingDecides) {
  TvInstance instance{"signal", {}, {{"alpha"}}, {}, {}};
  Random random(seed(5204));
  instance.model.width = 64;
  instance = random_instance(instance.model, 2, 0.1, random);
  instance.learned = {{"alpha"}};
  TvSetup<float> setup(instance, test_device("cpu:1"), 1e-4, 1e2);
  const BilevelProblem<float> problem = setup.problem();
  Recorder seen;
  const UpperReport r =
      make_dfo<float>({}, {})->run(setup.context, problem, setup.parameters.initial(), setup.y.view(), seen);
  EXPECT_TRUE(r.status == UpperStatus::accuracy_limit || r.status == UpperStatus::converged) << r.message;
  for (std::size_t k = 1; k < seen.records.size(); ++k)
    EXPECT_LT(seen.records[k].loss_upper, seen.records[k - 1].loss_upper);
  const TvInstance end = setup.instance.at(r.theta), begin = setup.instance.at(setup.parameters.initial());
  const auto exact = [](const TvInstance& at) {
    return oracle::exact_hypergradient(at.model, at.learned, at.y, at.truth).f;
  };
  EXPECT_LT(exact(end), exact(begin));
  EXPECT_LE(r.last.loss_lower, exact(end));
  EXPECT_GE(r.last.loss_upper, exact(end));
}

TEST(Dfo, LimitsAndBadInput) {
  UpperOptions options;
  options.max_iterations = 2;
  EXPECT_EQ(Tiny(Tiny::usual()).run({}, {}, options).status, UpperStatus::max_iterations);
  options = {};
  options.budget = 40;
  EXPECT_EQ(Tiny(Tiny::usual()).run({}, {}, options).status, UpperStatus::budget);
  DfoOptions one;
  one.max_evaluations = 1;  // before the first model
  const UpperReport r = Tiny(Tiny::usual()).run(one);
  EXPECT_EQ(r.status, UpperStatus::budget);
  EXPECT_TRUE(std::isfinite(r.last.loss_upper));

  Tiny unbounded(Tiny::usual());
  unbounded.own_loss(misfit, -std::numeric_limits<double>::infinity());
  EXPECT_THROW(unbounded.run(), ConfigError);
  EXPECT_THROW(Tiny(Tiny::usual(0.5, 0.5)).run(), ConfigError);

  for (const auto& change : std::vector<std::function<void(DfoOptions&)>>{
           [](DfoOptions& o) { o.radius0 = 0; }, [](DfoOptions& o) { o.radius0 = NAN; },
           [](DfoOptions& o) { o.radius_end = 0.2; }, [](DfoOptions& o) { o.eta1_prime = 0.05; },
           [](DfoOptions& o) { o.eta2 = 1; }, [](DfoOptions& o) { o.gamma_dec = 1; },
           [](DfoOptions& o) { o.gamma_inc = 5; }, [](DfoOptions& o) { o.max_evaluations = -1; },
           [](DfoOptions& o) { o.lagrange = 1; }, [](DfoOptions& o) { o.point_accuracy = 0; },
           [](DfoOptions& o) { o.criticality = -1; }, [](DfoOptions& o) { o.radius_max_factor = 0.5; }}) {
    DfoOptions how;
    change(how);
    EXPECT_THROW(make_dfo<double>(how, {}), ConfigError);
  }
}

}  // namespace
}  // namespace bilevel
