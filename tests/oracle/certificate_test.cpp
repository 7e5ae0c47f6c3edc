#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "tests/oracle/test_models.hpp"
#include "tests/oracle/tv_certificate.hpp"
#include "tests/oracle/tv_exact.hpp"
#include "tests/support/numeric.hpp"
#include "tests/support/random.hpp"

namespace bilevel::oracle {
namespace {

using namespace testing_support;

// 1 plus the rounding of quantities that are compared after cancellation.
constexpr double kOne = 1.0 + 1e-9;

TEST(LocalConstants, LimitsOfTheBall) {
  TvModel model;
  model.height = 3;
  model.width = 4;
  model.nu = 0.1;
  const Image x = {0, 0.05, 3, 3, 0, 0, 0, 3, 1, 1, 1, 1};
  const CurvatureConstants constants = curvature(model);
  const LocalConstants wide = local_constants(model, x, 100.0), point = local_constants(model, x, 0.0);
  for (std::size_t t = 0; t < wide.a.size(); ++t) {
    EXPECT_DOUBLE_EQ(wide.a[t], constants.ell_1);
    EXPECT_NEAR(wide.k[t], constants.ell_2 * model.nu * model.nu, 1e-15);
    EXPECT_NEAR(point.a[t], 1.0 / std::hypot(point.magnitude[t], model.nu), 1e-14);
    EXPECT_LE(point.k[t], wide.k[t]);
  }
  EXPECT_NEAR(point.k[0], 3 * 0.5 * std::pow(1.25, -2.5), 1e-15);  // |z| = nu/2: the peak of the profile
}

TEST(LocalConstants, GreedySumOfTheSpecification) {
  EXPECT_DOUBLE_EQ(greedy_sum({1, 5, 2, 3}, 3, 8), std::sqrt(3 * 25 + 3 * 9 + 2 * 4));
  EXPECT_DOUBLE_EQ(greedy_sum({1, 5, 2, 3}, 2, 4), std::sqrt(2 * 25 + 2 * 9));
  EXPECT_DOUBLE_EQ(greedy_sum({2}, 2, 4), std::sqrt(8));
}

// Along constant images only the ridge term changes: the bounds are attained.
TEST(LocalConstants, RidgePartIsAttained) {
  TvModel model;
  model.height = model.width = 2;
  model.alpha = 0.25;
  model.xi = 0.5;
  const Image x = {1, 2, 3, 4}, q(4, 1.0), moved = {1.5, 2.5, 3.5, 4.5};
  for (const bool inside : {false, true}) {
    model.xi_inside_alpha = inside;
    const MixedScalars before = mixed_adjoint(model, x, q), after = mixed_adjoint(model, moved, q);
    for (const std::string& name : {std::string("alpha"), std::string("nu"), std::string("xi")}) {
      const double bound = mixed_change_bound(model, x, 1.0, q, {name, Transform::identity});
      EXPECT_NEAR(after[name] - before[name], bound, 1e-14) << name;
    }
    EXPECT_DOUBLE_EQ(mixed_change_bound(model, x, 1.0, q, {"xi"}), 0.5 * (inside ? 0.25 : 1.0) * 2.0);
  }
}

// The bounds of the changes of A and B hold for every perturbation of length epsilon.
TEST(LocalConstants, BoundTheChangeOfTheDerivatives) {
  Random random(seed(31));
  RatioRecorder hessian_ratio("change of A d / bound"), mixed_ratio("change of B^T q / bound");
  for (const NamedModel& named : model_collection(5, 6, random)) {
    SCOPED_TRACE(named.name);
    const TvModel& model = named.model;
    for (int round = 0; round < 4; ++round) {
      const Image x = piecewise_constant(model.height, model.width, 0.02 * round, random);
      const double epsilon = random.log_uniform(1e-5, 10.0) * model.nu;
      const bool local_direction = round % 2 == 0;
      const Image d = local_direction ? spike(model.height, model.width, 0, random.integer(0, 5), 1.0)
                                      : Image(random.normal_vector(x.size()));
      for (const NamedImage& e : perturbations(model.height, model.width, epsilon, random, d)) {
        const Image moved = add_scaled(x, 1.0, e.pixels);
        const double change = distance(hessian_product(model, moved, d), hessian_product(model, x, d));
        const double bound = hessian_change_bound(model, x, epsilon, d);
        EXPECT_LE(change, bound * kOne + 1e-14 * curvature(model).L) << e.name;
        hessian_ratio.add(change / bound);
        for (const std::string& name : {std::string("alpha"), std::string("nu"), std::string("xi")}) {
          const double before = mixed_adjoint(model, x, d)[name],
                       after = mixed_adjoint(model, moved, d)[name];
          const double mixed = mixed_change_bound(model, x, epsilon, d, {name, Transform::identity});
          EXPECT_LE(std::abs(after - before), mixed * kOne + 1e-13 * (1 + std::abs(before)))
              << e.name << " " << name;
          mixed_ratio.add(std::abs(after - before) / mixed);
        }
      }
    }
  }
}

struct Problem {
  TvModel model;
  Image y, truth;
  std::vector<Parameter> parameters;
  double batch;
};

struct Recorders {
  RatioRecorder t{"omega_T / error"}, q{"omega_Q / error"}, dl{"omega_DL / error"}, adj{"omega_ADJ / error"};
};

Image shaken(const Image& image, double length, Random& random) {
  return add_scaled(image, 1.0, scaled_to(random.normal_vector(image.size()), length));
}

CertificateInput certificate_input(const Problem& problem, const Image& x, double epsilon, double delta,
                                   Random& random) {
  CertificateInput input{
      problem.model, problem.parameters, x, problem.truth, problem.batch, epsilon, {}, 0, {}, {}};
  const Image rhs = upper_gradient(x, problem.truth, problem.batch);
  input.q = shaken(solve_adjoint(problem.model, x, rhs), delta, random);
  input.residual = linear_residual(problem.model, x, input.q, rhs);
  for (const Image& column : scaled_columns(problem.model, x, problem.parameters)) {
    input.v.push_back(
        shaken(solve_adjoint(problem.model, x, column), random.log_uniform(1e-8, 1e-1), random));
    input.rho.push_back(linear_residual(problem.model, x, input.v.back(), column));
  }
  return input;
}

void check_bounds(const CertificateInput& input, const std::vector<double>& exact, Recorders& ratios) {
  const std::vector<double> z = inexact_hypergradient(input.model, input.x, input.q, input.parameters);
  const double error = distance(z, exact);
  ratios.t.add(omega_t(input) / error);
  ratios.q.add(omega_q(input) / error);
  ratios.dl.add(omega_dl(input) / error);
  ratios.adj.add(omega_adj(input) / error);
  EXPECT_LE(error, omega_t(input) * kOne);
  EXPECT_LE(error, omega_q(input) * kOne);
  EXPECT_LE(error, omega_dl(input) * kOne);
  EXPECT_LE(error, omega_adj(input) * kOne);
  const std::vector<double> entries = adj_entries(input);
  for (std::size_t j = 0; j < z.size(); ++j) EXPECT_LE(std::abs(z[j] - exact[j]), entries[j] * kOne);
}

std::vector<Problem> problems(Random& random) {
  std::vector<Problem> found;
  for (const NamedModel& named : model_collection(6, 7, random)) {
    Problem problem{named.model, {}, {}, {}, random.integer(1, 3) * 1.0};
    problem.model.nu = random.log_uniform(1e-3, 1e-1);
    problem.truth = piecewise_constant(problem.model.height, problem.model.width, 0.0, random);
    problem.y = add_scaled(problem.truth, 0.1, random.normal_vector(problem.truth.size()));
    problem.parameters = {{"alpha", Transform::exp}, {"nu", Transform::log10}, {"xi", Transform::identity}};
    problem.parameters.resize(random.integer(1, 3), Parameter{"alpha", Transform::exp});
    found.push_back(problem);
  }
  return found;
}

// -B^T q of the exact solution, for one image of a batch.
std::vector<double> exact_contribution(const Problem& problem) {
  std::vector<double> exact =
      exact_hypergradient(problem.model, problem.parameters, {problem.y}, {problem.truth}).hypergradient;
  for (double& entry : exact) entry /= problem.batch;
  return exact;
}

TEST(Certificates, HoldForPerturbationsOfExactLength) {
  Random random(seed(32));
  Recorders ratios;
  for (int round = 0; round < 2; ++round) {
    for (const Problem& problem : problems(random)) {
      const Image xhat = minimise(problem.model, problem.y).x;
      const std::vector<double> exact = exact_contribution(problem);
      const double epsilon = random.log_uniform(1e-6, 1.0), delta = random.log_uniform(1e-8, 1e-1);
      for (const NamedImage& e : perturbations(problem.model.height, problem.model.width, epsilon, random)) {
        SCOPED_TRACE(e.name);
        const Image x = add_scaled(xhat, 1.0, e.pixels);
        check_bounds(certificate_input(problem, x, epsilon * (1 + 1e-9), delta, random), exact, ratios);
      }
    }
  }
}

// Accuracy as a solver knows it: epsilon from the gradient norm of gradient descent iterates.
TEST(Certificates, HoldForIteratesOfGradientDescent) {
  Random random(seed(33));
  Recorders ratios;
  RatioRecorder epsilon_ratio("epsilon / error of x");
  for (const Problem& problem : problems(random)) {
    const CurvatureConstants constants = curvature(problem.model);
    const Image xhat = minimise(problem.model, problem.y).x;
    const std::vector<double> exact = exact_contribution(problem);
    Image x = problem.y;
    for (int k = 0; k <= 300; ++k) {
      if (k % 75 == 0) {
        const double epsilon = epsilon_certificate(problem.model, problem.y, x);
        if (epsilon < 1e-7) break;
        EXPECT_LE(distance(x, xhat), epsilon * kOne);
        epsilon_ratio.add(epsilon / distance(x, xhat));
        check_bounds(certificate_input(problem, x, epsilon, 1e-2 * epsilon, random), exact, ratios);
      }
      x = add_scaled(x, -2.0 / (constants.L + constants.mu), gradient(problem.model, problem.y, x));
    }
  }
  EXPECT_GE(epsilon_ratio.minimum(), 1.0 / kOne);
}

// One parameter: every summand of the specification, from the pieces that are tested above.
TEST(Certificates, AreAssembledFromTheirSummands) {
  Random random(seed(35));
  for (Problem problem : problems(random)) {
    problem.parameters = {{"alpha", Transform::exp}};
    const TvModel& model = problem.model;
    const Image x = minimise(model, problem.y).x;
    const double eps = 1e-3 * model.nu;
    const CertificateInput in = certificate_input(problem, x, eps, 1e-4, random);
    const CurvatureConstants c = curvature(model);
    const double l_g = 1 / problem.batch, l_b = model.alpha * c.L_B.alpha, r = in.residual, n_q = norm(in.q);
    const double n_b = norm(scaled_columns(model, x, problem.parameters)[0]);
    const double n_g = norm(upper_gradient(x, problem.truth, problem.batch));
    const double t = eps * (l_g * n_b / c.mu + c.L_H / c.mu / c.mu * n_g * n_b + l_b * n_g / c.mu) +
                     n_b / c.mu * r + l_b * l_g / c.mu * eps * eps;
    EXPECT_LT(relative_difference(omega_t(in), t), 1e-12);
    const double cap = model.alpha * c.ell_1 * c.norm_k_squared;
    double rho = (r + l_g * eps + std::min(c.L_H * eps, cap) * n_q) / c.mu;
    EXPECT_LT(relative_difference(omega_q(in), n_b * rho + l_b * eps * (n_q + rho)), 1e-12);
    rho = (r + l_g * eps + hessian_change_bound(model, x, eps, in.q)) / c.mu;
    const double change = mixed_change_bound(model, x, eps, in.q, problem.parameters[0]);
    EXPECT_LT(relative_difference(omega_dl(in), n_b * rho + change + l_b * eps * rho), 1e-12);
    const LocalConstants local = local_constants(model, x, eps);
    const std::vector<double> g = term_magnitudes(model, in.q), k_v = term_magnitudes(model, in.v[0]);
    double square = 0, sum = 0;
    for (std::size_t p = 0; p < g.size(); ++p) {
      square += std::pow(local.k[p] * k_v[p] * g[p], 2);
      sum += model.alpha * local.a[p] * k_v[p] * g[p];
    }
    const double cross = model.alpha / (model.nu * model.nu) * std::sqrt(c.norm_k_squared * square) * eps;
    const double adj = norm(in.v[0]) * (l_g * eps + r) + std::min(cross, sum) +
                       hessian_change_bound(model, x, eps, in.v[0]) * rho + in.rho[0] * rho + change +
                       l_b * eps * rho;
    EXPECT_LT(relative_difference(omega_adj(in), adj), 1e-12);
  }
}

TEST(Certificates, VanishWithTheAccuracy) {
  Random random(seed(34));
  for (const Problem& problem : problems(random)) {
    const Image xhat = minimise(problem.model, problem.y).x;
    CertificateInput input = certificate_input(problem, xhat, 0.0, 1e-3, random);
    input.q = solve_adjoint(problem.model, xhat, upper_gradient(xhat, problem.truth, problem.batch));
    input.residual = 0;
    EXPECT_EQ(omega_t(input), 0.0);
    EXPECT_EQ(omega_q(input), 0.0);
    EXPECT_EQ(omega_dl(input), 0.0);
    EXPECT_EQ(omega_adj(input), 0.0);
    input.v.clear();
    EXPECT_THROW(omega_adj(input), std::invalid_argument);
  }
}

}  // namespace
}  // namespace bilevel::oracle
