#include "bilevel/learn/hypergradient.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "bilevel/core/error.hpp"
#include "tests/learn/bound_lab.hpp"
#include "tests/support/counting_energy.hpp"

namespace bilevel {
namespace {

using namespace testing_support;

HypergradientRequest tight(bool columns = true) {
  HypergradientRequest request;
  request.delta = 1e-10;
  request.column_tolerance = 1e-8;
  request.columns = columns;
  return request;
}

TEST(Hypergradient, IsThatOfTheReferenceCases) {
  BILEVEL_REQUIRE_REFERENCE();
  for (const std::string& name : reference_names("tv_")) {
    const ReferenceCase data = read_reference(name);
    for (const bool columns : {true, false}) {
      for (const char* solver : {"pcg", "cg"}) {
        SCOPED_TRACE(name + " " + solver + (columns ? " with columns" : ""));
        TvSetup<double> setup(instance_of(data));
        BilevelProblem<double> problem = setup.problem();
        ImplicitHypergradient<double> gradient(setup.context, problem, solver);
        Tensor<double> x = setup.tensor(setup.instance.y);
        SolveRequest<double> request;
        request.tolerance = 1e-11;
        const SolveReport lower =
            make_minimiser<double>()->minimise(setup.context, *setup.energy, request, x.view());
        const HypergradientResult r =
            gradient.compute(setup.context, data.theta, x.view(), lower.certificate, tight(columns));
        EXPECT_NE(r.status, SolveStatus::failed) << r.message;
        EXPECT_LE(distance(r.z, data.hypergradient), 1e-9 * norm(data.hypergradient));
        EXPECT_LE(distance(r.z, data.hypergradient), r.omega + 1e-12 * norm(data.hypergradient));
        EXPECT_EQ(r.corrected, columns);
        EXPECT_EQ(gradient.has_columns(), columns);
        EXPECT_EQ(std::isinf(r.omega_columns), !columns);
      }
    }
  }
}

// Single precision: within the bound it states, and close.
TEST(Hypergradient, IsThatOfTheReferenceCasesInSinglePrecision) {
  BILEVEL_REQUIRE_REFERENCE();
  for (const TvInstance& instance : reference_instances()) {
    SCOPED_TRACE(instance.name);
    BoundLab<float> lab(instance);
    lab.start(lab.instance().y);
    HypergradientRequest request;
    request.delta = 1e-4;
    request.column_tolerance = 1e-3;
    lab.check(lab.solve(1e-4), request, nullptr);
  }
}

/// Residuals at most delta |grad g_i| for losses of any size, where the same delta as a number is met or not
/// by the size alone.
TEST(Hypergradient, ToleranceMayBeRelativeToTheGradientOfTheLoss) {
  Random random(seed(335));
  oracle::TvModel model;
  model.height = 9;
  model.width = 8;
  model.nu = 0.05;
  for (const double size : {1e-6, 1.0, 1e4}) {
    TvInstance instance = random_instance(model, 3, 0.1, random);
    for (std::size_t i = 0; i < instance.truth.size(); ++i)  // images of their own sizes
      for (std::size_t e = 0; e < instance.truth[i].size(); ++e)
        instance.truth[i][e] =
            instance.y[i][e] + size * std::pow(10.0, static_cast<double>(i)) * random.normal();
    TvSetup<double> setup(instance);
    BilevelProblem<double> problem = setup.problem();
    ImplicitHypergradient<double> gradient(setup.context, problem, "cg");
    Tensor<double> x = setup.tensor(setup.instance.y);
    SolveRequest<double> request;
    request.tolerance = 1e-8;
    const SolveReport lower =
        make_minimiser<double>()->minimise(setup.context, *setup.energy, request, x.view());
    HypergradientRequest wanted;
    wanted.delta = 1e-3;
    wanted.relative_delta = true;
    wanted.columns = false;
    const HypergradientResult r =
        gradient.compute(setup.context, setup.parameters.initial(), x.view(), lower.certificate, wanted);
    ASSERT_EQ(r.inputs.size(), 3u);
    for (const BoundInputs& in : r.inputs) {
      EXPECT_LE(in.residual, wanted.delta * in.norm_b * (1 + 1e-12));
      EXPECT_GT(in.residual, 1e-8 * in.norm_b);  // no more than that was asked for
    }
  }
}

TEST(Hypergradient, AddsThePenalty) {
  Random random(seed(330));
  oracle::TvModel model;
  model.height = 9;
  model.width = 8;
  model.nu = 0.05;
  const TvInstance instance = random_instance(model, 2, 0.1, random);
  const Penalty penalty = [](std::span<const double> theta, std::span<double> gradient) {
    gradient[0] += 2 * theta[0];
    gradient[1] += 3;
    return theta[0] * theta[0] + 3 * theta[1];
  };
  TvSetup<double> plain(instance), with(instance);
  BilevelProblem<double> first = plain.problem(), second = with.problem(penalty);
  ImplicitHypergradient<double> a(plain.context, first), b(with.context, second);
  const std::vector<double> theta = instance.theta(), epsilon = {1, 1};
  Tensor<double> x = plain.tensor(instance.y), y = with.tensor(instance.y);
  const HypergradientResult without = a.compute(plain.context, theta, x.view(), epsilon, tight());
  const HypergradientResult added = b.compute(with.context, theta, y.view(), epsilon, tight());
  EXPECT_NEAR(added.z[0], without.z[0] + 2 * theta[0], 1e-12 * std::fabs(theta[0]));
  EXPECT_NEAR(added.z[1], without.z[1] + 3, 1e-12);
  EXPECT_NEAR(added.omega, without.omega, 1e-12 * (1 + without.omega));
}

// The condition penalty against central differences, with both places of xi.
TEST(Hypergradient, ConditionPenaltyHasItsGradient) {
  Random random(seed(331));
  for (const oracle::NamedModel& named : oracle::model_collection(5, 6, random)) {
    SCOPED_TRACE(named.name);
    TvInstance instance = random_instance(named.model, 1, 0.1, random);
    instance.learned = {{"alpha", oracle::Transform::exp},
                        {"nu", oracle::Transform::log10},
                        {"xi", oracle::Transform::identity}};
    const bool masked = std::count(named.model.mask.begin(), named.model.mask.end(), 0.0) > 0;
    const Penalty penalty = tv_condition_penalty(parameters_of(instance), options_of(instance.model),
                                                 instance.shape(), masked, 1e-3);
    const auto value = [&](std::vector<double> theta) {
      std::vector<double> ignored(3, 0);
      return penalty(theta, ignored);
    };
    const std::vector<double> theta = instance.theta();
    const oracle::CurvatureConstants c = oracle::curvature(instance.model);
    EXPECT_LT(relative_difference(value(theta), 1e-3 * (c.L / c.mu) * (c.L / c.mu)), 1e-12);
    std::vector<double> gradient(3, 0);
    penalty(theta, gradient);
    for (std::size_t j = 0; j < 3; ++j) {
      const double h = 1e-4 * std::max(1e-3, std::fabs(theta[j]));
      std::vector<double> up = theta, down = theta;
      up[j] += h;
      down[j] -= h;
      EXPECT_LT(std::fabs((value(up) - value(down)) / (2 * h) - gradient[j]),
                1e-5 * (std::fabs(gradient[j]) + 1e-3 * value(theta)))
          << j;
    }
  }
}

TEST(Hypergradient, StartsWarmAndRestoresItsState) {
  Random random(seed(332));
  oracle::TvModel model;
  model.height = 13;
  model.width = 12;
  BoundLab<double> lab(random_instance(model, 3, 0.1, random));
  lab.start(lab.instance().y);
  const std::vector<double> certificate = lab.solve(1e-5);
  HypergradientRequest request;
  request.delta = 1e-5;
  request.column_tolerance = 1e-5;
  const HypergradientResult cold = lab.check(certificate, request, nullptr);
  const std::vector<double> state = lab.gradient.save(lab.setup.context);
  const HypergradientResult warm = lab.check(certificate, request, nullptr);
  EXPECT_LT(warm.work.hessian_products, cold.work.hessian_products / 4);
  EXPECT_EQ(lab.gradient.save(lab.setup.context), state);

  ImplicitHypergradient<double> other(lab.setup.context, lab.problem);
  other.restore(lab.setup.context, state, true);
  const HypergradientResult restored =
      other.compute(lab.setup.context, lab.instance().theta(), lab.x.view(), certificate, request);
  EXPECT_EQ(restored.z, warm.z);
  EXPECT_EQ(restored.omega, warm.omega);
  EXPECT_EQ(restored.work, warm.work);
  EXPECT_THROW(other.restore(lab.setup.context, std::span<const double>(state).subspan(1), true), ShapeError);
}

// xhat(theta + d) - xhat(theta) + sum v_j d_j = O(|d|^2).
TEST(Hypergradient, PredictsTheReconstructionToFirstOrder) {
  Random random(seed(333));
  oracle::TvModel model;
  model.height = 10;
  model.width = 9;
  model.nu = 0.1;
  BoundLab<double> lab(random_instance(model, 2, 0.1, random));
  lab.start(lab.instance().y);
  Tensor<double> predicted(lab.setup.context, lab.instance().shape());
  const std::vector<double> along = {1, -0.5};
  EXPECT_FALSE(lab.gradient.predict(lab.setup.context, lab.x.view(), along, predicted.view()));
  lab.check(lab.solve(1e-12), tight(), nullptr);
  const std::vector<double> theta = lab.instance().theta();
  const auto error = [&](double t) {
    std::vector<double> moved = theta, d = along;
    for (std::size_t j = 0; j < 2; ++j) moved[j] += (d[j] *= t);
    EXPECT_TRUE(lab.gradient.predict(lab.setup.context, lab.x.view(), d, predicted.view()));
    const std::vector<oracle::ExtendedImage> exact = exact_minimisers(lab.instance().at(moved));
    const std::vector<Image> images = lab.setup.images(predicted);
    return std::hypot(exact_distance(images[0], exact[0]), exact_distance(images[1], exact[1]));
  };
  EXPECT_NEAR(taylor_slope(error, 0.1, 1e-4, 7, 1e-11), 2, 0.1);
}

// The Gauss-Newton matrix is sum J_i^T J_i / N with J = d xhat / d theta.
TEST(Hypergradient, HasTheGaussNewtonMatrix) {
  Random random(seed(334));
  oracle::TvModel model;
  model.height = 7;
  model.width = 8;
  BoundLab<double> lab(random_instance(model, 2, 0.1, random));
  lab.start(lab.instance().y);
  const HypergradientResult r = lab.check(lab.solve(1e-12), tight(), nullptr);
  std::vector<double> expected(4, 0);
  for (std::size_t i = 0; i < 2; ++i) {
    const Image x = oracle::extended::rounded(lab.minimisers[i]);
    std::vector<Image> v;
    for (const Image& column : oracle::scaled_columns(lab.instance().model, x, lab.instance().learned))
      v.push_back(oracle::solve_adjoint(lab.instance().model, x, column));
    for (std::size_t j = 0; j < 2; ++j)
      for (std::size_t l = 0; l < 2; ++l) expected[2 * j + l] += dot(v[j], v[l]) / 2;
  }
  EXPECT_LT(max_relative_difference(r.gauss_newton, expected), 1e-7);
}

// grad g = 0: q = 0 and z = grad J, at no cost of the linear solver.
TEST(Hypergradient, IsThePenaltysWhereTheReconstructionIsTrue) {
  Random random(seed(335));
  oracle::TvModel model;
  model.height = model.width = 8;
  TvInstance instance = random_instance(model, 1, 0.1, random);
  instance.truth[0] = instance.y[0];
  BoundLab<double> lab(instance);
  lab.start(instance.y);
  const HypergradientResult r = lab.gradient.compute(lab.setup.context, instance.theta(), lab.x.view(),
                                                     std::vector<double>{1.0}, tight(false));
  for (double z : r.z) EXPECT_EQ(z, 0);
  EXPECT_LE(r.residual.at(0), 1e-152);  // what squares that underflow could hide
  EXPECT_EQ(r.work.hessian_products, 0u);
}

// huber_c2 beyond nu does not depend on nu: B_nu = 0 exactly, whatever column was kept from before.
TEST(Hypergradient, AcceptsAColumnThatVanishes) {
  TvInstance instance{"ramp", {}, {{"alpha"}, {"nu"}}, {Image(64)}, {Image(64, 0.0)}};
  for (int p = 0; p < 64; ++p) instance.y[0][static_cast<std::size_t>(p)] = 0.02 * (p / 8 + p % 8);
  instance.model.height = instance.model.width = 8;
  instance.model.nu = 1e-3;
  instance.model.potential = oracle::Potential::huber_c2;
  TvSetup<double> setup(instance);
  BilevelProblem<double> problem = setup.problem();
  ImplicitHypergradient<double> gradient(setup.context, problem);
  Tensor<double> x = setup.tensor(instance.y);
  const std::vector<double> theta = instance.theta(), epsilon = {1e-2};
  Random random(seed(340));
  std::vector<double> state(192, 0);
  for (const double start : {0.0, 1e-6, 1e-3, 1.0}) {
    SCOPED_TRACE(start);
    for (std::size_t p = 128; p < 192; ++p) state[p] = start * random.normal();
    gradient.restore(setup.context, state, true);
    const HypergradientResult r =
        gradient.compute(setup.context, theta, x.view(), epsilon, HypergradientRequest());
    EXPECT_TRUE(std::isfinite(r.omega_columns)) << r.omega_columns;
    for (double g : r.gauss_newton) EXPECT_TRUE(std::isfinite(g)) << g;
    for (double v : gradient.save(setup.context)) EXPECT_TRUE(std::isfinite(v)) << v;
    EXPECT_NE(r.status, SolveStatus::failed) << r.message;
  }
}

TEST(Hypergradient, CountsItsWorkAndSkipsColumnsThatAreNotNeeded) {
  Random random(seed(336));
  oracle::TvModel model;
  model.height = 11;
  model.width = 12;
  TvSetup<double> setup(random_instance(model, 3, 0.1, random));
  auto wrapped = std::make_unique<CountingEnergy<double>>(*setup.energy);
  CountingEnergy<double>& counting = *wrapped;
  BilevelProblem<double> problem(std::move(wrapped), setup.truth.view(), setup.parameters);
  Tensor<double> x = setup.tensor(setup.instance.y);
  SolveRequest<double> solve;
  solve.tolerance = 1e-8;
  const SolveReport lower = make_minimiser<double>()->minimise(setup.context, counting, solve, x.view());
  ImplicitHypergradient<double> gradient(setup.context, problem);
  HypergradientRequest request;
  request.delta = 1e-6;
  for (const double sufficient : {-1.0, 1e6}) {
    request.sufficient = sufficient;
    counting.work = {};
    const HypergradientResult r =
        gradient.compute(setup.context, setup.instance.theta(), x.view(), lower.certificate, request);
    EXPECT_EQ(r.work, counting.work);
    EXPECT_EQ(r.corrected, sufficient < 0);
  }
  const Counters before = setup.context.counters();
  request.sufficient = -1;
  gradient.compute(setup.context, setup.instance.theta(), x.view(), lower.certificate, request);
  EXPECT_EQ(setup.context.counters().allocations, before.allocations);
}

TEST(Hypergradient, DoesNotDependOnThreads) {
  Random random(seed(337));
  oracle::TvModel model;
  model.height = 37;
  model.width = 20;
  const TvInstance instance = random_instance(model, 3, 0.1, random);
  std::vector<HypergradientResult> results;
  std::vector<std::string> devices = repeat_devices({"cpu:2", "cpu-guarded:3"});
  devices.insert(devices.begin(), test_device("cpu:1"));
  for (const std::string& device : devices) {
    TvSetup<double> setup(instance, device);
    BilevelProblem<double> problem = setup.problem();
    ImplicitHypergradient<double> gradient(setup.context, problem);
    Tensor<double> x = setup.tensor(instance.y);
    results.push_back(gradient.compute(setup.context, instance.theta(), x.view(),
                                       std::vector<double>(3, 1e-3), HypergradientRequest()));
  }
  for (const HypergradientResult& r : results) {
    EXPECT_EQ(r.z, results[0].z);
    EXPECT_EQ(r.omega, results[0].omega);
    EXPECT_EQ(r.block_bound, results[0].block_bound);
    EXPECT_EQ(r.gauss_newton, results[0].gauss_newton);
    EXPECT_EQ(r.work, results[0].work);
  }
}

// Inexact automatic differentiation of K gradient steps: v <- v - a A v, h <- h - a B^T v at x^(K), K times,
// is -B^T q of K Richardson steps from q = 0.
TEST(Hypergradient, RichardsonIsInexactAutomaticDifferentiation) {
  Random random(seed(338));
  for (const oracle::NamedModel& named : oracle::model_collection(6, 7, random)) {
    SCOPED_TRACE(named.name);
    const TvInstance instance = random_instance(named.model, 1, 0.1, random);
    TvSetup<double> setup(instance);
    Frame frame(setup.context);
    ActiveSet all(setup.context, frame, 1);
    const Image& x = setup.instance.y[0];
    const Image b = oracle::upper_gradient(x, setup.instance.truth[0], 1);
    Tensor<double> point = setup.tensor({x}), rhs = setup.tensor({b}), q(setup.context, instance.shape());
    const View<double> weights =
        frame.view<double>({setup.energy->weight_arrays(), 1, named.model.height, named.model.width});
    const View<double> inverse = frame.view<double>(instance.shape());
    setup.energy->linearise(setup.context, all.active(), point.view(), {}, weights, inverse);
    const oracle::CurvatureConstants c = oracle::curvature(named.model);
    const double a = 2 / (c.L + c.mu);
    for (const int steps : {1, 2, 5, 23}) {
      LinearRequest request;
      request.tolerance = 1e-14;
      request.max_iterations = steps;
      const SolveReport report =
          make_linear_solver<double>("gradient-descent")
              ->solve(setup.context, {setup.energy, weights, inverse}, request, rhs.view(), q.view());
      ASSERT_EQ(report.iterations[0], steps);
      Image v = b;
      std::vector<double> h(instance.learned.size(), 0);
      for (int k = 0; k < steps; ++k) {
        const std::vector<double> part = oracle::inexact_hypergradient(named.model, x, v, instance.learned);
        h = add_scaled(h, a, part);
        v = add_scaled(v, -a, oracle::hessian_product(named.model, x, v));
      }
      const std::vector<double> z = oracle::inexact_hypergradient(
          named.model, x, unflatten(download(setup.context, q), 1)[0], instance.learned);
      EXPECT_LT(max_relative_difference(z, h), 1e-12) << steps;
    }
  }
}

TEST(Hypergradient, RejectsWhatDoesNotFit) {
  Random random(seed(339));
  oracle::TvModel model;
  model.height = model.width = 5;
  BoundLab<double> lab(random_instance(model, 2, 0.1, random));
  lab.start(lab.instance().y);
  const std::vector<double> theta = lab.instance().theta(), one = {1.0}, two = {1.0, 1.0};
  HypergradientRequest request;
  EXPECT_THROW(lab.gradient.compute(lab.setup.context, theta, lab.x.view(), one, request), ShapeError);
  request.delta = 0;
  EXPECT_THROW(lab.gradient.compute(lab.setup.context, theta, lab.x.view(), two, request), ConfigError);
  request.delta = 1;
  request.column_tolerance = -1;
  EXPECT_THROW(lab.gradient.compute(lab.setup.context, theta, lab.x.view(), two, request), ConfigError);
  EXPECT_THROW(ImplicitHypergradient<double>(lab.setup.context, lab.problem, "qr"), ConfigError);
}

}  // namespace
}  // namespace bilevel
