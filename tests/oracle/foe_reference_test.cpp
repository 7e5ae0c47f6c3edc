#include "tests/oracle/foe_reference.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/support/numeric.hpp"
#include "tests/support/reference_case.hpp"

namespace bilevel::oracle {
namespace {

using namespace testing_support;

constexpr double kPoint = 1e-12;     // relative, quantities at a given point
constexpr double kSolution = 1e-10;  // relative, quantities that need a solved lower level

class FoeReference : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!shared_folder()) GTEST_SKIP() << "The shared folder is absent; set BILEVEL_SHARED to run this test.";
    names_ = reference_names("foe_");
    ASSERT_GE(names_.size(), 6U);
  }

  std::vector<std::string> names_;
};

TEST_F(FoeReference, SizesAgreeWithTheArrays) {
  for (const std::string& name : names_) {
    SCOPED_TRACE(name);
    const ReferenceCase data = read_reference(name);
    const FoeProblem problem = foe_problem(data);
    EXPECT_EQ(problem.theta.size(), static_cast<std::size_t>(problem.parameters()));
    EXPECT_EQ(problem.y.size(), static_cast<std::size_t>(problem.n) * problem.pixels());
    EXPECT_EQ(problem.x_true.size(), problem.y.size());
    EXPECT_EQ(problem.padding == Padding::valid, name.find("_valid_") != std::string::npos);
  }
  EXPECT_THROW(foe_problem(read_reference("h1_16x12_n2")), std::invalid_argument);
}

TEST_F(FoeReference, EnergyGradientHessianProduct) {
  for (const std::string& name : names_) {
    SCOPED_TRACE(name);
    const ReferenceCase data = read_reference(name);
    const FoeProblem problem = foe_problem(data);
    for (int i = 0; i < data.N; ++i) {
      const Image y = data.image(data.y, i), x0 = data.image(data.x0, i), v = data.image(data.v, i);
      const Image xhat = data.image(data.xhat, i);
      EXPECT_LT(relative_difference(energy(problem, y, x0), data.phi_x0.at(i)), kPoint);
      EXPECT_LT(relative_difference(energy(problem, y, xhat), data.phi_xhat.at(i)), kPoint);
      EXPECT_LT(max_relative_difference(gradient(problem, y, x0), data.image(data.grad_x0, i)), kPoint);
      EXPECT_LT(std::abs(norm(gradient(problem, y, xhat)) - data.grad_norm_xhat.at(i)), kPoint);
      EXPECT_LT(max_relative_difference(hessian_product(problem, x0, v), data.image(data.hvp_x0_v, i)),
                kPoint);
    }
  }
}

TEST_F(FoeReference, MixedProducts) {
  for (const std::string& name : names_) {
    SCOPED_TRACE(name);
    const ReferenceCase data = read_reference(name);
    const FoeProblem problem = foe_problem(data);
    for (int i = 0; i < data.N; ++i) {
      const Image x0 = data.image(data.x0, i), v = data.image(data.v, i);
      EXPECT_LT(max_relative_difference(mixed_adjoint(problem, x0, v), data.image(data.jtv_x0_v, i)), kPoint);
      EXPECT_LT(
          max_relative_difference(mixed_forward(problem, x0, data.dtheta), data.image(data.jd_x0_dtheta, i)),
          kPoint);
    }
  }
}

TEST_F(FoeReference, HypergradientFromTheGivenAdjoint) {
  for (const std::string& name : names_) {
    SCOPED_TRACE(name);
    const ReferenceCase data = read_reference(name);
    const FoeProblem problem = foe_problem(data);
    std::vector<double> hypergradient(problem.parameters(), 0.0);
    for (int i = 0; i < data.N; ++i) {
      const Image xhat = data.image(data.xhat, i), q = data.image(data.adjoint_q, i);
      hypergradient = add_scaled(hypergradient, -1.0, mixed_adjoint(problem, xhat, q));
      Image upper = add_scaled(xhat, -1.0, data.image(data.x_true, i));
      for (double& entry : upper) entry /= data.N;
      EXPECT_LT(max_relative_difference(hessian_product(problem, xhat, q), upper), kSolution);
    }
    EXPECT_LT(max_relative_difference(hypergradient, data.hypergradient), kSolution);
  }
}

TEST_F(FoeReference, MinimiserAdjointAndHypergradient) {
  for (const std::string& name : names_) {
    SCOPED_TRACE(name);
    const ReferenceCase data = read_reference(name);
    const UpperResult result = exact_hypergradient(foe_problem(data));
    EXPECT_LT(relative_difference(result.f, data.f), kSolution);
    EXPECT_LT(max_relative_difference(result.hypergradient, data.hypergradient), kSolution);
    for (int i = 0; i < data.N; ++i) {
      EXPECT_LT(max_relative_difference(result.xhat[i], data.image(data.xhat, i)), kSolution);
      EXPECT_LT(max_relative_difference(result.adjoint[i], data.image(data.adjoint_q, i)), kSolution);
      EXPECT_NEAR(distance(data.image(data.x0, i), result.xhat[i]), data.error_x0.at(i), kSolution);
    }
  }
}

TEST_F(FoeReference, ExtremeEigenvalues) {
  int checked = 0;
  for (const std::string& name : names_) {
    SCOPED_TRACE(name);
    const ReferenceCase data = read_reference(name);
    const FoeProblem problem = foe_problem(data);
    if (problem.pixels() > 150) continue;  // the dense eigenvalue iteration is slow
    for (int i = 0; i < data.N; ++i) {
      const std::vector<double> spectrum = eigenvalues(hessian(problem, data.image(data.xhat, i)));
      EXPECT_LT(std::abs(spectrum.front() - data.hessian_min_eig.at(i)), kPoint * spectrum.back());
      EXPECT_LT(relative_difference(spectrum.back(), data.hessian_max_eig.at(i)), kPoint);
      ++checked;
    }
  }
  EXPECT_GE(checked, 4);
}

}  // namespace
}  // namespace bilevel::oracle
