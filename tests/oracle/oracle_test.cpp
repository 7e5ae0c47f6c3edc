#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "tests/oracle/test_models.hpp"
#include "tests/oracle/tv_exact.hpp"
#include "tests/oracle/tv_oracle.hpp"
#include "tests/support/numeric.hpp"
#include "tests/support/random.hpp"

namespace bilevel::oracle {
namespace {

using namespace testing_support;

const std::vector<std::string> kNames = {"alpha", "nu", "xi"};

TvModel reshaped(TvModel model, const NamedImage& image) {
  model.height = image.height;
  model.width = image.width;
  if (!model.mask.empty()) model.mask.assign(image.pixels.size(), 1.0);
  for (std::size_t p = 0; p < model.mask.size(); p += 2) model.mask[p] = 0.0;
  return model;
}

// Calls check(model, y, x) for every model and image kind, small shapes included.
template <class Check>
void for_all_models_and_images(Random& random, const Check& check) {
  for (const NamedModel& model : model_collection(5, 6, random)) {
    for (const NamedImage& image : image_collection(model.model.height, model.model.width, random)) {
      SCOPED_TRACE(model.name + ", " + image.name);
      const Image y = noise(image.height, image.width, 1.0, random);
      check(reshaped(model.model, image), y, image.pixels);
    }
  }
}

TEST(TvOperator, AdjointAndBorders) {
  Random random(seed(11));
  for (const auto& [h, w] : std::vector<std::pair<int, int>>{{4, 5}, {1, 5}, {5, 1}, {1, 1}}) {
    TvModel model;
    model.height = h;
    model.width = w;
    const Image x = random.normal_vector(h * w);
    const Field dual = random.normal_vector(h * w * model.components());
    const double left = dot(difference(model, x), dual), right = dot(x, difference_adjoint(model, dual));
    EXPECT_NEAR(left, right, 1e-14 * norm(x) * norm(dual));
  }
  TvModel model;
  model.height = 2;
  model.width = 3;
  const Field expected = {1, 2, 0, 8, 16, 0, 7, 14, 28, 0, 0, 0};
  EXPECT_EQ(difference(model, {1, 2, 4, 8, 16, 32}), expected);
  model.height = 1;
  EXPECT_EQ(difference(model, {1, 2, 4}), (Field{1, 2, 0}));
}

TEST(TvEnergy, ClosedForms) {
  TvModel model;
  model.height = 2;
  model.width = 2;
  model.alpha = 0.5;
  model.nu = 0.25;
  model.xi = 0.0;
  const Image flat(4, 1.0), step = {0, 1, 0, 1};
  EXPECT_DOUBLE_EQ(energy(model, flat, flat), 0.5 * 4 * 0.25);
  EXPECT_DOUBLE_EQ(energy(model, step, step), 0.5 * (2 * std::sqrt(1 + 0.0625) + 2 * 0.25));
  model.isotropic = false;
  EXPECT_DOUBLE_EQ(energy(model, flat, flat), 0.5 * 8 * 0.25);
  model.potential = Potential::huber_c2;
  EXPECT_DOUBLE_EQ(energy(model, flat, flat), 0.0);
  EXPECT_DOUBLE_EQ(energy(model, step, step), 0.5 * 2 * (1 - 0.25 / 3));
  const Image small_step = {0, 0.125, 0, 0.125};
  EXPECT_DOUBLE_EQ(energy(model, small_step, small_step), 0.5 * 2 * (0.0625 - 0.03125 / 3));
  model.xi = 2.0;
  EXPECT_DOUBLE_EQ(energy(model, flat, flat), 4.0);
  model.xi_inside_alpha = true;
  EXPECT_DOUBLE_EQ(energy(model, flat, flat), 2.0);
  model.mask = {1, 0, 1, 1};
  EXPECT_DOUBLE_EQ(energy(model, {0, 7, 1, 1}, flat), 2.5);
}

TEST(TvDerivatives, GradientMatchesDifferencesOfTheEnergy) {
  Random random(seed(12));
  for_all_models_and_images(random, [&](const TvModel& model, const Image& y, const Image& x) {
    const Image g = gradient(model, y, x);
    Image differences;
    for (std::size_t p = 0; p < x.size(); ++p) {
      Image plus = x, minus = x;
      plus[p] += 1e-5;
      minus[p] -= 1e-5;
      differences.push_back((energy(model, y, plus) - energy(model, y, minus)) / (plus[p] - minus[p]));
    }
    EXPECT_LT(distance(differences, g), 1e-7 * norm(g) + 1e-10 * (1 + energy(model, y, x)));
  });
}

TEST(TvDerivatives, HessianIsSymmetricAndMatchesDifferencesOfTheGradient) {
  Random random(seed(13));
  for_all_models_and_images(random, [&](const TvModel& model, const Image& y, const Image& x) {
    const Matrix a = hessian(model, x);
    const Image d = random.normal_vector(x.size()), product = hessian_product(model, x, d);
    EXPECT_LE(asymmetry(a), 1e-15 * curvature(model).L);
    EXPECT_LT(max_relative_difference(multiply(a, d), product), 1e-13);
    const double t = 1e-7,
                 kink = model.potential == Potential::huber_c2 ? 1e-5 : 1e-7;  // huber_c2: O(t) at 0
    Image differences =
        add_scaled(gradient(model, y, add_scaled(x, t, d)), -1.0, gradient(model, y, add_scaled(x, -t, d)));
    for (double& entry : differences) entry /= 2 * t;
    const double rounding = 2e-16 * curvature(model).L * (1 + norm(x)) / t;
    EXPECT_LT(distance(differences, product), kink * norm(product) + rounding);
    const Image diagonal = hessian_diagonal(model, x);
    for (int p = 0; p < model.pixels(); ++p) EXPECT_NEAR(diagonal[p], a(p, p), 1e-13 * a(p, p));
  });
}

TEST(TvDerivatives, TaylorRemaindersHaveTheirOrder) {
  Random random(seed(14));
  for (const NamedModel& named : model_collection(6, 7, random)) {
    SCOPED_TRACE(named.name);
    const TvModel& model = named.model;
    const Image y = noise(model.height, model.width, 0.1, random);
    const Image x = noise(model.height, model.width, 0.15 * model.nu, random);
    const Image g = gradient(model, y, x), d = random.normal_vector(x.size());
    const Image hd = hessian_product(model, x, d);
    const auto gradient_remainder = [&](double t) {
      const Image moved = gradient(model, y, add_scaled(x, t, d));
      return norm(add_scaled(add_scaled(moved, -1.0, g), -t, hd));
    };
    const double rounding = 2e-16 * (curvature(model).L * norm(x) + norm(g));
    EXPECT_NEAR(taylor_slope(gradient_remainder, 0.01 * model.nu, 1e-5 * model.nu, 13, rounding), 2.0, 0.2);
    // Along x the third derivatives of all terms have one sign and cannot cancel.
    const Image h_x = hessian_product(model, x, x);
    const double value = energy(model, y, x);
    const auto energy_remainder = [&](double t) {
      const double quadratic = t * dot(g, x) + t * t / 2 * dot(x, h_x);
      return std::abs(energy(model, y, add_scaled(x, t, x)) - value - quadratic);
    };
    EXPECT_NEAR(taylor_slope(energy_remainder, 0.1, 1e-4, 25, 1e-15 * value), 3.0, 0.2);
  }
}

TEST(TvDerivatives, MixedDerivativesMatchDifferences) {
  Random random(seed(15));
  for_all_models_and_images(random, [&](const TvModel& model, const Image& y, const Image& x) {
    const Image q = random.normal_vector(x.size());
    const MixedColumns columns = mixed_forward(model, x);
    const MixedScalars adjoint = mixed_adjoint(model, x, q);
    for (const std::string& name : kNames) {
      SCOPED_TRACE(name);
      const Parameter parameter{name, Transform::identity};
      const double value = parameter_value(model, name), h = 1e-5 * value;
      const TvModel plus = with_coordinates(model, {parameter}, {value + h});
      const TvModel minus = with_coordinates(model, {parameter}, {value - h});
      Image differences = add_scaled(gradient(plus, y, x), -1.0, gradient(minus, y, x));
      for (double& entry : differences) entry /= 2 * h;
      const double scale = std::max(norm(columns[name]), norm(gradient(model, y, x)) / value);
      EXPECT_LT(distance(differences, columns[name]), 1e-8 * scale);
      EXPECT_NEAR(adjoint[name], dot(columns[name], q),
                  1e-13 * (norm(columns[name]) + 1e-300) * norm(q) + 1e-15);
    }
  });
}

TEST(TvParameters, CoordinatesAndChainFactors) {
  TvModel model;
  model.alpha = 0.3;
  for (const Transform transform : {Transform::identity, Transform::exp, Transform::log10}) {
    const Parameter parameter{"alpha", transform};
    const double theta = coordinate(model, parameter), h = 1e-6;
    EXPECT_NEAR(with_coordinates(model, {parameter}, {theta}).alpha, 0.3, 1e-15);
    const double slope = with_coordinates(model, {parameter}, {theta + h}).alpha -
                         with_coordinates(model, {parameter}, {theta - h}).alpha;
    EXPECT_NEAR(slope / (2 * h), chain_factor(model, parameter), 1e-9);
  }
  EXPECT_THROW(parameter_value(model, "beta"), std::invalid_argument);
  EXPECT_THROW(with_coordinates(model, {{"beta", Transform::exp}}, {0.0}), std::invalid_argument);
}

// A random field with every term in the unit ball.
Field random_dual(const TvModel& model, Random& random) {
  Field zeta = random.normal_vector(static_cast<std::size_t>(model.components()) * model.pixels());
  for (double& entry : zeta) entry = std::clamp(entry, -1.0, 1.0);
  if (model.scalar_terms()) return zeta;
  for (int p = 0; p < model.pixels(); ++p) {
    double& vertical = zeta[model.pixels() + p];
    const double length = std::max(1.0, std::hypot(zeta[p], vertical));
    zeta[p] /= length;
    vertical /= length;
  }
  return zeta;
}

TEST(TvPrimalDual, MatrixIsTheHessianAtPsiAndPositiveDefinite) {
  Random random(seed(16));
  for_all_models_and_images(random, [&](const TvModel& model, const Image&, const Image& x) {
    EXPECT_LT(max_relative_difference(primal_dual_matrix(model, x, dual_field(model, x)).entries,
                                      hessian(model, x).entries),
              1e-14);
    const Field zeta = random_dual(model, random);
    const Matrix m = primal_dual_matrix(model, x, zeta);
    const Image d = random.normal_vector(x.size());
    EXPECT_LE(asymmetry(m), 1e-15 * curvature(model).L);
    EXPECT_LT(max_relative_difference(multiply(m, d), primal_dual_product(model, x, zeta, d)), 1e-12);
    const CurvatureConstants constants = curvature(model);
    EXPECT_GE(eigenvalues(m).front(), constants.mu - 1e-13 * constants.L);
  });
}

TEST(TvPrimalDual, CharbonnierFormulasByHand) {
  Random random(seed(17));
  TvModel model;
  model.height = 2;
  model.width = 2;
  model.alpha = 1.0;
  model.xi = 0.0;
  model.nu = 0.2;
  // Pixel 0 is the only one with both components: z = (x1 - x0, x2 - x0).
  const Image x = {0.1, 0.4, -0.2, 0.4}, d = {0.01, -0.03, 0.02, -0.03};
  const Field zeta = random_dual(model, random);
  const double z0 = 0.3, z1 = -0.3, s2 = z0 * z0 + z1 * z1 + 0.04, s = std::sqrt(s2);
  const double k0 = -0.04, k1 = 0.01, inner = z0 * k0 + z1 * k1;
  double u0 = (z0 + k0 - inner / s * zeta[0]) / s, u1 = (z1 + k1 - inner / s * zeta[4]) / s;
  const double length = std::max(1.0, std::hypot(u0, u1));
  const Field updated = dual_update(model, x, zeta, d);
  EXPECT_NEAR(updated[0], u0 / length, 1e-14);
  EXPECT_NEAR(updated[4], u1 / length, 1e-14);
  const Matrix m = primal_dual_matrix(model, x, zeta);
  const double off = -(z0 * zeta[4] + z1 * zeta[0]) / (2 * s2);  // entry (x1, x2) sees pixel 0 only
  EXPECT_NEAR(m(1, 2), off, 1e-14);
}

TEST(TvPrimalDual, UpdateLinearisesPsiAndStaysInTheUnitBall) {
  Random random(seed(18));
  for_all_models_and_images(random, [&](const TvModel& model, const Image&, const Image& x) {
    const Field psi = dual_field(model, x), zeta = random_dual(model, random);
    EXPECT_LT(max_relative_difference(dual_update(model, x, zeta, Image(x.size(), 0.0)), psi), 1e-14);
    const Image d = noise(model.height, model.width, 1e-6, random);
    const double remainder = 0.5 * curvature(model).ell_2 * dot(difference(model, d), difference(model, d));
    EXPECT_LE(distance(dual_update(model, x, psi, d), dual_field(model, add_scaled(x, 1.0, d))),
              remainder + 1e-13 * (1.0 + norm(psi)));
    const Field far = dual_update(model, x, zeta, noise(model.height, model.width, 100.0, random));
    const int n = model.pixels();
    for (std::size_t k = 0; k < far.size(); ++k) EXPECT_LE(std::abs(far[k]), 1.0 + 1e-15);
    for (int p = 0; p < n && !model.scalar_terms(); ++p)
      EXPECT_LE(std::hypot(far[p], far[n + p]), 1.0 + 1e-15);
  });
}

TEST(TvPrimalDual, NewtonIterationReachesTheMinimiser) {
  Random random(seed(19));
  for (const NamedModel& named : model_collection(6, 6, random)) {
    SCOPED_TRACE(named.name);
    const TvModel& model = named.model;
    const Image y = piecewise_constant(model.height, model.width, 0.1, random);
    Image x = y;
    Field zeta = dual_field(model, x);
    for (int k = 0; k < 100 && norm(gradient(model, y, x)) > 1e-13; ++k) {
      Image d = cholesky_solve(primal_dual_matrix(model, x, zeta), gradient(model, y, x));
      for (double& entry : d) entry = -entry;
      double step = 1.0;
      while (step > 1e-6 && energy(model, y, add_scaled(x, step, d)) > energy(model, y, x) + 1e-14) step /= 2;
      zeta = dual_update(model, x, zeta, d);
      x = add_scaled(x, step, d);
    }
    EXPECT_LT(distance(x, minimise(model, y).x), 1e-12 / curvature(model).mu);
  }
}

TEST(TvCurvature, ConstantsBoundTheMeasuredValues) {
  Random random(seed(20));
  RatioRecorder l_ratio("measured / L"), l_h_ratio("measured / L_H"), l_b_ratio("measured / L_B");
  for (int round = 0; round < 6; ++round) {
    for (const NamedModel& named : model_collection(4, 5, random)) {
      SCOPED_TRACE(named.name);
      const TvModel& model = named.model;
      const CurvatureConstants constants = curvature(model);
      const Image x = noise(model.height, model.width, random.log_uniform(1e-3, 1.0), random);
      const Image e = scaled_to(random.normal_vector(x.size()), random.log_uniform(1e-3, 1.0) * model.nu);
      const Image moved = add_scaled(x, 1.0, e);
      Matrix change = hessian(model, moved);
      const std::vector<double> spectrum = eigenvalues(change);
      const Matrix a = hessian(model, x);
      for (std::size_t k = 0; k < a.entries.size(); ++k) change.entries[k] -= a.entries[k];
      EXPECT_GE(spectrum.front(), constants.mu * (1 - 1e-12));
      l_ratio.add(spectrum.back() / constants.L);
      l_h_ratio.add(spectral_norm(change) / (constants.L_H * norm(e)));
      for (const std::string& name : kNames) {
        const double difference = distance(mixed_forward(model, moved)[name], mixed_forward(model, x)[name]);
        l_b_ratio.add(difference / (constants.L_B[name] * norm(e)));
      }
    }
  }
  EXPECT_LE(l_ratio.maximum(), 1.0);
  EXPECT_LE(l_h_ratio.maximum(), 1.0);
  EXPECT_LE(l_b_ratio.maximum(), 1.0 + 1e-10);  // attained by xi; differences of size 1e-5 are rounded
}

TEST(TvCurvature, TableOfTheSpecification) {
  TvModel model;
  model.height = model.width = 8;
  model.alpha = 0.5;
  model.nu = 0.1;
  model.xi = 0.01;
  EXPECT_NEAR(curvature(model).L_H, 11.898 * 0.5 / 0.01, 0.05);
  EXPECT_DOUBLE_EQ(curvature(model).L, 1.01 + 40.0);
  EXPECT_DOUBLE_EQ(curvature(model).mu, 1.01);
  EXPECT_DOUBLE_EQ(chain_factor(model, {"nu"}) * curvature(model).L_B.nu, 40.0);
  model.isotropic = false;
  EXPECT_NEAR(curvature(model).L_H, 9.715 * 0.5 / 0.01, 0.05);
  model.height = 1;
  EXPECT_NEAR(curvature(model).L_H, 4.857 * 0.5 / 0.01, 0.05);
  model.potential = Potential::huber_c2;
  EXPECT_NEAR(curvature(model).L_H, 11.31 * 0.5 / 0.01, 0.2);
  model.mask = {1, 1, 1, 1, 0, 1, 1, 1};
  EXPECT_DOUBLE_EQ(curvature(model).mu, 0.01);
  model.xi_inside_alpha = true;
  EXPECT_DOUBLE_EQ(curvature(model).mu, 0.005);
  EXPECT_DOUBLE_EQ(curvature(model).L_B.alpha, 2 * 4 / 0.1 + 0.01);
  EXPECT_DOUBLE_EQ(curvature(model).L_B.xi, 0.5);
}

TEST(TvExact, MinimiserAndAdjointSolveTheirEquations) {
  Random random(seed(21));
  for_all_models_and_images(random, [&](const TvModel& model, const Image&, const Image& y) {
    const Minimiser solution = minimise(model, y);
    EXPECT_LE(solution.gradient_norm, 1e-14);
    const double rounding = 0x1p-53 * curvature(model).L * norm(solution.x);  // of solution.x itself
    EXPECT_LE(norm(gradient(model, y, solution.x)), 1.001 * (solution.gradient_norm + rounding));
    const Image rhs = random.normal_vector(y.size());
    const Image q = solve_adjoint(model, solution.x, rhs);
    EXPECT_LT(max_relative_difference(cholesky_solve(hessian(model, solution.x), rhs), q), 1e-11);
    EXPECT_LT(max_relative_difference(hessian_product(model, solution.x, q), rhs), 1e-12);
  });
}

TEST(TvExact, SmallSmoothingAndStrongRegularisation) {
  Random random(seed(25));
  for (NamedModel named : model_collection(10, 12, random)) {
    SCOPED_TRACE(named.name);
    named.model.alpha = 10.0;
    named.model.nu = 1e-4;
    const Image y = piecewise_constant(named.model.height, named.model.width, 0.1, random);
    const Minimiser solution = minimise(named.model, y);
    EXPECT_LE(solution.gradient_norm, 1e-11);
  }
}

TEST(TvExact, LargestDenseSize) {
  Random random(seed(22));
  TvModel model;
  model.height = model.width = 20;
  const Image y = piecewise_constant(20, 20, 0.1, random);
  const Minimiser solution = minimise(model, y);
  const Image rhs = random.normal_vector(y.size());
  EXPECT_LT(max_relative_difference(cholesky_solve(hessian(model, solution.x), rhs),
                                    solve_adjoint(model, solution.x, rhs)),
            1e-11);
}

TEST(TvExact, HypergradientMatchesDifferencesOfTheUpperValue) {
  Random random(seed(23));
  for (const NamedModel& named : model_collection(4, 5, random)) {
    SCOPED_TRACE(named.name);
    const std::vector<Parameter> parameters = {
        {"alpha", Transform::exp}, {"nu", Transform::log10}, {"xi", Transform::identity}};
    std::vector<Image> y, truth;
    for (int i = 0; i < 2; ++i) {
      truth.push_back(piecewise_constant(named.model.height, named.model.width, 0.0, random));
      y.push_back(add_scaled(truth.back(), 0.1, random.normal_vector(truth.back().size())));
    }
    const UpperResult result = exact_hypergradient(named.model, parameters, y, truth);
    std::vector<double> theta;
    for (const Parameter& parameter : parameters) theta.push_back(coordinate(named.model, parameter));
    for (std::size_t j = 0; j < parameters.size(); ++j) {
      const double h = parameters[j].transform == Transform::identity ? 1e-4 * theta[j] : 1e-5;
      std::vector<double> plus = theta, minus = theta;
      plus[j] += h;
      minus[j] -= h;
      const auto f = [&](const std::vector<double>& at) {
        return exact_hypergradient(with_coordinates(named.model, parameters, at), parameters, y, truth).f;
      };
      EXPECT_NEAR((f(plus) - f(minus)) / (2 * h), result.hypergradient[j], 1e-6 * norm(result.hypergradient));
    }
  }
}

TEST(Support, NumericHelpers) {
  EXPECT_DOUBLE_EQ(max_relative_difference({1.0, 2.0}, {1.0, 4.0}), 0.5);
  EXPECT_DOUBLE_EQ(max_relative_difference({0.5}, {0.0}), 0.5);
  EXPECT_TRUE(std::isinf(max_relative_difference({1.0}, {1.0, 2.0})));
  EXPECT_TRUE(std::isinf(max_relative_difference({std::nan("")}, {1.0})));
  const auto with_floor = [](double t) { return 3 * t * t + 1e-9 * (1 + 0.5 * std::sin(1 / t)); };
  EXPECT_NEAR(taylor_slope(with_floor, 1.0, 1e-8, 17), 2.0, 0.05);
  EXPECT_NEAR(taylor_slope([](double t) { return t * t * t; }, 1.0, 1e-3), 3.0, 1e-12);
  EXPECT_TRUE(std::isnan(taylor_slope({1.0, 0.1}, {1.0, 0.1})));
  RatioRecorder ratios("recorder");
  for (const double value : {3.0, 1.0, 2.0, 10.0}) ratios.add(value);
  EXPECT_DOUBLE_EQ(ratios.median(), 2.5);
  EXPECT_DOUBLE_EQ(ratios.maximum(), 10.0);
  ratios.add(std::nan(""));
  EXPECT_TRUE(std::isnan(ratios.maximum()));
}

TEST(Support, RandomImages) {
  Random random(seed(24)), again(24), other(24);
  EXPECT_EQ(noise(3, 4, 1.0, again), noise(3, 4, 1.0, other));
  EXPECT_EQ(image_collection(4, 5, random).size(), 14U);
  for (const NamedImage& p : perturbations(4, 5, 1e-3, random, constant(4, 5, -1.0))) {
    EXPECT_NEAR(norm(p.pixels), 1e-3, 1e-18) << p.name;
  }
  EXPECT_THROW(scaled_to({0.0, 0.0}, 1.0), std::invalid_argument);
  const Matrix diagonal = [] {
    Matrix m(2, 2);
    m(0, 0) = m(1, 1) = 2;
    m(0, 1) = m(1, 0) = -1;
    return m;
  }();
  EXPECT_NEAR(eigenvalues(diagonal)[0], 1.0, 1e-15);
  EXPECT_NEAR(eigenvalues(diagonal)[1], 3.0, 1e-15);
  EXPECT_THROW(cholesky_solve(Matrix(2, 2), {1.0, 1.0}), std::domain_error);
}

}  // namespace
}  // namespace bilevel::oracle
