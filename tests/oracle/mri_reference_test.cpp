#include "tests/oracle/mri_reference.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/support/numeric.hpp"
#include "tests/support/reference_case.hpp"

namespace bilevel::oracle {
namespace {

using namespace testing_support;

constexpr double kPoint = 1e-12;    // relative, quantities at a given point
constexpr double kSolution = 1e-8;  // relative, quantities that need a solved lower level

class MriReference : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!shared_folder()) GTEST_SKIP() << "The shared folder is absent; set BILEVEL_SHARED to run this test.";
    for (const std::string& name : reference_names("mri_")) cases_.push_back(read_reference(name));
    ASSERT_GE(cases_.size(), 4U);
  }

  std::vector<ReferenceCase> cases_;
};

TEST_F(MriReference, SizesAgreeWithTheArrays) {
  for (const ReferenceCase& data : cases_) {
    SCOPED_TRACE(data.name);
    const MriProblem problem = mri_problem(data);
    EXPECT_EQ(problem.theta().size(), data.theta.size());
    EXPECT_EQ(frequency_groups(problem).size(), problem.sampling.size());
    EXPECT_EQ(problem.y.size(), 2U * problem.n * problem.pixels());
    EXPECT_EQ(problem.x_true.size(), static_cast<std::size_t>(problem.n) * problem.pixels());
    EXPECT_LT(max_relative_difference(problem.theta(), data.theta), kPoint);
  }
  EXPECT_THROW(mri_problem(read_reference("h1_16x12_n2")), std::invalid_argument);
}

TEST_F(MriReference, EnergyGradientHessianProduct) {
  for (const ReferenceCase& data : cases_) {
    SCOPED_TRACE(data.name);
    const MriProblem problem = mri_problem(data);
    for (int i = 0; i < data.N; ++i) {
      const Image y = problem.data(i), x0 = data.image(data.x0, i), v = data.image(data.v, i);
      const Image xhat = data.image(data.xhat, i), g0 = gradient(problem, y, x0);
      EXPECT_LT(relative_difference(energy(problem, y, x0), data.phi_x0.at(i)), kPoint);
      EXPECT_LT(relative_difference(energy(problem, y, xhat), data.phi_xhat.at(i)), kPoint);
      EXPECT_LT(max_relative_difference(g0, data.image(data.grad_x0, i)), kPoint);
      EXPECT_LT(max_relative_difference(hessian_product(problem, x0, v), data.image(data.hvp_x0_v, i)),
                kPoint);
      EXPECT_LT(std::abs(norm(gradient(problem, y, xhat)) - data.grad_norm_xhat.at(i)), kPoint);
      EXPECT_LT(distance(x0, xhat), norm(g0) / curvature(problem).mu);
    }
  }
}

TEST_F(MriReference, MixedProducts) {
  for (const ReferenceCase& data : cases_) {
    SCOPED_TRACE(data.name);
    const MriProblem problem = mri_problem(data);
    for (int i = 0; i < data.N; ++i) {
      const Image y = problem.data(i), x0 = data.image(data.x0, i), v = data.image(data.v, i);
      EXPECT_LT(max_relative_difference(mixed_adjoint(problem, y, x0, v), data.image(data.jtv_x0_v, i)),
                kPoint);
      EXPECT_LT(max_relative_difference(mixed_forward(problem, y, x0, data.dtheta),
                                        data.image(data.jd_x0_dtheta, i)),
                kPoint);
    }
  }
}

TEST_F(MriReference, PenaltyAndHypergradientFromTheGivenAdjoint) {
  for (const ReferenceCase& data : cases_) {
    SCOPED_TRACE(data.name);
    const MriProblem problem = mri_problem(data);
    EXPECT_LT(relative_difference(penalty(problem), data.f_penalty), kPoint);
    std::vector<double> hypergradient = penalty_gradient(problem);
    double f = penalty(problem);
    for (int i = 0; i < data.N; ++i) {
      const Image xhat = data.image(data.xhat, i), q = data.image(data.adjoint_q, i);
      hypergradient = add_scaled(hypergradient, -1.0, mixed_adjoint(problem, problem.data(i), xhat, q));
      Image upper = add_scaled(xhat, -1.0, problem.truth(i));
      f += dot(upper, upper) / (2 * data.N);
      for (double& entry : upper) entry /= data.N;
      EXPECT_LT(max_relative_difference(hessian_product(problem, xhat, q), upper), kSolution);
    }
    EXPECT_LT(relative_difference(f, data.f), kPoint);
    EXPECT_LT(max_relative_difference(hypergradient, data.hypergradient), kPoint);
  }
}

TEST_F(MriReference, MinimiserAdjointAndHypergradient) {
  for (const ReferenceCase& data : cases_) {
    SCOPED_TRACE(data.name);
    const UpperResult result = exact_hypergradient(mri_problem(data));
    EXPECT_LT(relative_difference(result.f, data.f), kSolution);
    EXPECT_LT(max_relative_difference(result.hypergradient, data.hypergradient), kSolution);
    for (int i = 0; i < data.N; ++i) {
      EXPECT_LT(max_relative_difference(result.xhat[i], data.image(data.xhat, i)), kSolution);
      EXPECT_LT(max_relative_difference(result.adjoint[i], data.image(data.adjoint_q, i)), kSolution);
      EXPECT_NEAR(distance(data.image(data.x0, i), result.xhat[i]), data.error_x0.at(i), kSolution);
    }
  }
}

TEST_F(MriReference, ExtremeEigenvaluesLieBetweenTheConstants) {
  for (const ReferenceCase& data : cases_) {
    SCOPED_TRACE(data.name);
    const MriProblem problem = mri_problem(data);
    const MriConstants constants = curvature(problem);
    for (int i = 0; i < data.N; ++i) {
      EXPECT_LE(constants.mu, data.hessian_min_eig.at(i) + kPoint);
      EXPECT_GE(constants.L, data.hessian_max_eig.at(i));
      if (problem.unknowns() > 100) continue;  // the dense eigenvalue iteration is slow
      const std::vector<double> spectrum = eigenvalues(hessian(problem, data.image(data.xhat, i)));
      EXPECT_LT(std::abs(spectrum.front() - data.hessian_min_eig.at(i)), kPoint * spectrum.back());
      EXPECT_LT(relative_difference(spectrum.back(), data.hessian_max_eig.at(i)), kPoint);
    }
  }
}

}  // namespace
}  // namespace bilevel::oracle
