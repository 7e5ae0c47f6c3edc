// Hypergradients by unrolling against differences of the unrolled objective, the linear solvers and the exact
// hypergradient.

#include "bilevel/learn/unrolled_hypergradient.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "apps/experiments/capped_solver.hpp"
#include "bilevel/core/error.hpp"
#include "tests/learn/bound_lab.hpp"
#include "tests/learn/experts_lab.hpp"

namespace bilevel {
namespace {

using namespace testing_support;
using bilevel_app::experiments::CappedSolver;

/// Well conditioned, so that few steps tell much.
TvInstance tame_instance(Random& random) {
  oracle::TvModel model;
  model.height = random.integer(3, 7);
  model.width = random.integer(3, 7);
  model.alpha = random.log_uniform(0.05, 0.2);
  model.nu = random.log_uniform(0.1, 0.3);
  model.xi = 0.1;
  model.isotropic = random.integer(0, 1) == 1;
  if (random.integer(0, 1) == 1) model.potential = oracle::Potential::huber_c2;
  TvInstance out = random_instance(model, random.integer(1, 3), 0.1, random);
  out.learned.push_back({"xi"});
  return out;
}

UnrolledOptions unrolled(UnrolledMethod method, UnrolledDerivative derivative, int steps,
                         bool checkpoints = false) {
  UnrolledOptions options;
  options.method = method;
  options.derivative = derivative;
  options.steps = steps;
  options.checkpoints = checkpoints;
  return options;
}
constexpr UnrolledMethod methods[] = {UnrolledMethod::gradient_descent, UnrolledMethod::heavy_ball};

/// Inexact automatic differentiation is the linear solver of the same method, stopped after K iterations.
TEST(Unrolled, TheInexactDerivativeIsThatOfTheLinearSolver) {
  Random random(seed(4201));
  RatioRecorder off("relative difference");
  for (int trial = 0; trial < repetitions(10); ++trial) {
    BoundLab<double> lab(tame_instance(random));
    const Tensor<double> start = lab.setup.tensor(lab.instance().y);
    for (const UnrolledMethod method : methods)
      for (const int steps : {1, 2, 7, 20}) {
        UnrolledHypergradient<double> unrolling(lab.setup.context, lab.problem,
                                                unrolled(method, UnrolledDerivative::inexact, steps));
        const UnrolledResult r =
            unrolling.compute(lab.setup.context, lab.instance().theta(), start.view(), lab.x.view());
        const bool ball = method == UnrolledMethod::heavy_ball;
        ImplicitHypergradient<double> implicit(
            lab.setup.context, lab.problem,
            std::make_shared<CappedSolver>(ball ? "heavy-ball" : "gradient-descent", steps));
        HypergradientRequest request;
        request.delta = 1e-250;
        request.bounds = false;
        const std::vector<double> unknown(lab.minimisers.size(), 1);
        const HypergradientResult q = implicit.compute(lab.setup.context, lab.instance().theta(),
                                                       std::as_const(lab.x).view(), unknown, request);
        off.add(distance(r.z, q.z) / norm(q.z));
        EXPECT_LE(distance(r.z, q.z), 1e-13 * norm(q.z)) << steps << " steps";
      }
  }
}

/// |z - differences of f_K| over the entries, and the slope of the remainder along a direction.
template <class Setup>
void expect_derivative(Setup& setup, const BilevelProblem<double>& problem, const std::vector<double>& theta,
                       UnrolledOptions options, Random& random) {
  Energy<double>& energy = problem.energy();
  energy.bind(theta);
  Tensor<double> x(setup.context, energy.shape());
  const auto at = [&](const std::vector<double>& moved) {
    energy.bind(moved);
    return UnrolledHypergradient<double>(setup.context, problem, options)
        .compute(setup.context, moved, std::as_const(setup.y).view(), x.view());
  };
  const UnrolledResult first = at(theta);
  options.step = first.step;
  if (options.method == UnrolledMethod::heavy_ball) options.momentum = first.momentum;
  const UnrolledResult r = at(theta);
  EXPECT_EQ(r.z, first.z);
  EXPECT_EQ(r.loss, first.loss);

  std::vector<double> differences;
  for (std::size_t j = 0; j < theta.size(); ++j) {
    const auto moved = [&](double h) {
      std::vector<double> t = theta;
      t[j] += h;
      return at(t).loss;
    };
    const double h = 1e-3;
    differences.push_back((8 * (moved(h) - moved(-h)) - (moved(2 * h) - moved(-2 * h))) / (12 * h));
  }
  EXPECT_LE(distance(r.z, differences), 1e-7 * norm(r.z));

  const std::vector<double> d = scaled_to(random.normal_vector(theta.size()), 1);
  const double slope = taylor_slope(
      [&](double t) { return std::fabs(at(add_scaled(theta, t, d)).loss - r.loss - t * dot(r.z, d)); }, 1e-1,
      1e-4);
  EXPECT_NEAR(slope, 2, 0.15);
}

TEST(Unrolled, TheReverseDerivativeIsThatOfTheUnrolledLoss) {
  Random random(seed(4202));
  for (int trial = 0; trial < repetitions(6); ++trial)
    for (const UnrolledMethod method : methods) {
      TvInstance instance = tame_instance(random);
      instance.model.potential = oracle::Potential::charbonnier;  // which differences can follow
      TvSetup<double> setup(instance);
      const BilevelProblem<double> problem = setup.problem([](auto theta, auto gradient) {
        gradient[0] += 0.02 * theta[0];
        return 0.01 * theta[0] * theta[0];
      });
      expect_derivative(
          setup, problem, instance.theta(),
          unrolled(method, UnrolledDerivative::reverse, random.integer(1, 40), random.integer(0, 1) == 1),
          random);
    }
}

TEST(Unrolled, TheReverseDerivativeKnowsFilters) {
  Random random(seed(4203));
  for (const UnrolledMethod method : methods) {
    FoeProblem problem = oracle::random_foe(oracle::FoeKind::generic, foe_shape(2, 6, 7, 2, 3, 0.1), random);
    for (const std::size_t k : {0, 1})
      problem.theta[2 + k] = std::log(random.uniform(0.2, 0.5));  // smoothing
    ExpertsSetup<double> setup(problem);
    const BilevelProblem<double> bilevel = setup.bilevel();
    expect_derivative(setup, bilevel, setup.parameters.initial(),
                      unrolled(method, UnrolledDerivative::reverse, 12, true), random);
  }
}

template <class T>
void expect_same_bits(Random& random) {
  for (const UnrolledMethod method : methods)
    for (const int steps : {1, 2, 3, 4, 10, 16, 17, 50}) {
      SCOPED_TRACE(steps);
      const TvInstance instance = tame_instance(random);
      struct Result {
        UnrolledResult unrolled;
        std::vector<T> x;
      };
      const auto run = [&](bool checkpoints, const std::string& device) {
        TvSetup<T> setup(instance, device);
        const BilevelProblem<T> problem = setup.problem();
        UnrolledHypergradient<T> unrolling(setup.context, problem,
                                           unrolled(method, UnrolledDerivative::reverse, steps, checkpoints));
        Tensor<T> x = setup.tensor(instance.y);
        Result out;
        out.unrolled = unrolling.compute(setup.context, instance.theta(), setup.y.view(), x.view());
        out.x = download(setup.context, x);
        // in place, and a second time
        const UnrolledResult again = [&] {
          copy<T>(setup.context, std::as_const(setup.y).view(), x.view());
          return unrolling.compute(setup.context, instance.theta(), std::as_const(x).view(), x.view());
        }();
        EXPECT_EQ(again.z, out.unrolled.z);
        EXPECT_EQ(download(setup.context, x), out.x);
        return out;
      };
      const Result kept = run(false, test_device("cpu:1")), computed = run(true, test_device("cpu:3"));
      EXPECT_EQ(kept.unrolled.z, computed.unrolled.z);
      EXPECT_EQ(kept.unrolled.loss, computed.unrolled.loss);
      EXPECT_EQ(kept.x, computed.x);
      const auto all = static_cast<std::uint64_t>(steps * instance.images());
      EXPECT_EQ(kept.unrolled.work.gradients, all);
      EXPECT_EQ(kept.unrolled.work.hessian_products, all);
      EXPECT_EQ(computed.unrolled.work.hessian_products, all);
      EXPECT_LE(computed.unrolled.work.gradients, 2 * all);
      EXPECT_EQ(computed.unrolled.work.gradients > all, steps > 2);  // more than one segment
    }
}
TEST(Unrolled, CheckpointsGiveTheSameBits) {
  Random random(seed(4204));
  expect_same_bits<double>(random);
  expect_same_bits<float>(random);
}

TEST(Unrolled, TendsToTheImplicitDerivative) {
  Random random(seed(4205));
  for (int trial = 0; trial < repetitions(5); ++trial) {
    BoundLab<double> lab(tame_instance(random));
    const Tensor<double> start = lab.setup.tensor(lab.instance().y);
    const Curvature c = lab.setup.energy->curvature();
    const double rate = (c.lipschitz - c.mu) / (c.lipschitz + c.mu);
    for (const UnrolledDerivative derivative : {UnrolledDerivative::reverse, UnrolledDerivative::inexact}) {
      const auto error = [&](UnrolledMethod method, int steps) {
        UnrolledHypergradient<double> unrolling(lab.setup.context, lab.problem,
                                                unrolled(method, derivative, steps));
        return distance(
            unrolling.compute(lab.setup.context, lab.instance().theta(), start.view(), lab.x.view()).z,
            lab.exact);
      };
      // to a tenth of K lambda^K of its first value
      const int steps = static_cast<int>(std::ceil(3 / -std::log(rate)));
      const double coarse = error(UnrolledMethod::gradient_descent, steps),
                   fine = error(UnrolledMethod::gradient_descent, 3 * steps);
      EXPECT_LE(fine, 3 * std::exp(-6) * coarse);
      EXPECT_LE(error(UnrolledMethod::gradient_descent, 12 * steps), 1e-10 * norm(lab.exact));
      EXPECT_LE(error(UnrolledMethod::heavy_ball, 12 * steps), 1e-10 * norm(lab.exact));
    }
  }
}

TEST(Unrolled, Options) {
  Random random(seed(4206));
  const TvInstance instance = tame_instance(random);
  TvSetup<double> setup(instance);
  const BilevelProblem<double> problem = setup.problem();
  const auto refused = [&](auto change) {
    UnrolledOptions options;
    change(options);
    EXPECT_THROW(UnrolledHypergradient<double>(setup.context, problem, options), ConfigError);
  };
  refused([](auto& o) { o.steps = 0; });
  refused([](auto& o) { o.step = 0; });
  refused([](auto& o) { o.step = NAN; });
  refused([](auto& o) { o.momentum = 0.5; });
  refused([](auto& o) {
    o.method = UnrolledMethod::heavy_ball;
    o.momentum = 1;
  });
  UnrolledHypergradient<double> unrolling(setup.context, problem, {});
  Tensor<double> x = setup.tensor(instance.y), other(setup.context, {1, 1, 2, 2});
  EXPECT_THROW(unrolling.compute(setup.context, instance.theta(), setup.y.view(), other.view()), ShapeError);
  EXPECT_THROW(unrolling.compute(setup.context, instance.theta(), std::as_const(other).view(), x.view()),
               ShapeError);
  EXPECT_THROW(unrolling.compute(setup.context, {}, setup.y.view(), x.view()), ShapeError);
}

}  // namespace
}  // namespace bilevel
