#include <gtest/gtest.h>

#include <cmath>

#include "tests/solve/solve_test_support.hpp"
#include "tests/support/counting_energy.hpp"
#include "tests/support/thrown.hpp"

// Wrong arguments of solvers are refused with both numbers, and what is not a number is never certified.

namespace bilevel {
namespace {

using namespace testing_support;
using ::testing::HasSubstr;

const char* const minimisers[] = {"newton",        "lbfgs", "gradient-descent", "heavy-ball", "fista",
                                  "fista-restart", "pdhg",  "mixed:newton",     "mixed:lbfgs"};
const char* const linear_solvers[] = {"pcg",        "cg",        "gradient-descent",
                                      "heavy-ball", "mixed:pcg", "mixed:heavy-ball"};

struct Flat {
  Flat() : problem(test_device("cpu:1"), tv_model(3, 4), std::vector<double>(12, 0.5)) {
    problem.energy.keep_single_precision(problem.context);
  }
  TvProblem<double> problem;
};

/// Total variation that spoils what it says of its constants and gradients.
class Spoiled final : public CountingEnergy<double> {
 public:
  enum class What { norm, rounding, negative_mu, zero_mu, infinite_mu, unknown_mu, infinite_lipschitz };
  Spoiled(ComposedEnergy<double>& inner, What what) : CountingEnergy<double>(inner), what_(what) {}

  Curvature curvature() const override {
    Curvature c = CountingEnergy<double>::curvature();
    if (what_ == What::negative_mu) c.mu = -1;
    if (what_ == What::zero_mu) c.mu = 0;
    if (what_ == What::infinite_mu) c.mu = HUGE_VAL;
    if (what_ == What::unknown_mu) c.mu = std::nan("");
    if (what_ == What::infinite_lipschitz) c.lipschitz = HUGE_VAL;
    return c;
  }
  void value_and_gradient(Context& context, const Active& a, View<const double> x, View<double> g,
                          const GradientSums& sums) const override {
    CountingEnergy<double>::value_and_gradient(context, a, x, g, sums);
    if (what_ == What::norm) fill<double>(context, sums.norm2, std::nan(""));
    if (what_ == What::rounding) fill<double>(context, sums.rounding, std::nan(""));
  }

 private:
  What what_;
};

TEST(SolverMisuse, WhatIsNotANumberIsNeverCertified) {
  for (const bool joint : {false, true})
    for (const char* solver : minimisers)
      for (const auto what : {Spoiled::What::norm, Spoiled::What::rounding}) {
        Flat s;
        const Spoiled energy(s.problem.energy, what);
        SolveRequest<double> request = request_of<double>(10, 30);
        request.joint = joint;
        const auto got = minimise<double>(s.problem.context, energy, solver, request, s.problem.y);
        EXPECT_EQ(got.report.status, SolveStatus::failed) << solver << (joint ? ", joint" : "");
        EXPECT_EQ(got.report.certificate.at(0), HUGE_VAL) << solver << (joint ? ", joint" : "");
      }
}

TEST(SolverMisuse, StartsAndDataThatAreNotNumbersFail) {
  for (const char* solver : minimisers)
    for (const double wrong : {std::nan(""), HUGE_VAL, -HUGE_VAL, 1e200}) {
      Flat s;
      std::vector<double> start = s.problem.y;
      start[5] = wrong;
      const auto got = minimise<double>(s.problem, solver, request_of<double>(1e-3, 50), start);
      // heavy-tailed starts may be recovered from; what is certified must be true
      if (got.report.status != SolveStatus::converged) {
        EXPECT_EQ(got.report.certificate.at(0), HUGE_VAL) << solver << ", " << wrong;
        EXPECT_EQ(got.report.status, SolveStatus::failed) << solver << ", " << wrong;
      } else {
        EXPECT_LE(distance(got.x, s.problem.exact(0)), 1e-3) << solver << ", " << wrong;
      }
      TvProblem<double> data(test_device("cpu:1"), tv_model(3, 4), start);
      data.energy.keep_single_precision(data.context);
      const auto of =
          minimise<double>(data, solver, request_of<double>(1e-3, 50), std::vector<double>(12, 0));
      EXPECT_EQ(of.report.status, SolveStatus::failed) << solver << ", " << wrong;
      EXPECT_EQ(of.report.certificate.at(0), HUGE_VAL) << solver << ", " << wrong;
    }
}

TEST(SolverMisuse, ConstantsThatCannotCertifyAreRefusedWithBothNumbers) {
  using What = Spoiled::What;
  for (const char* solver : minimisers)
    for (const auto& [what, number] : {std::pair{What::negative_mu, "mu = -1"},
                                       {What::zero_mu, "mu = 0"},
                                       {What::infinite_mu, "mu = inf"},
                                       {What::unknown_mu, "mu = nan"},
                                       {What::infinite_lipschitz, "L = inf"}}) {
      Flat s;
      const Spoiled energy(s.problem.energy, what);
      const std::string sentence = message_of<ConfigError>([&] {
        (void)minimise<double>(s.problem.context, energy, solver, request_of<double>(1), s.problem.y);
      });
      EXPECT_THAT(sentence, HasSubstr(number)) << solver;
    }
}

TEST(SolverMisuse, StartsOfAnotherShapeOrWithoutMemoryAreRefused) {
  Flat s;
  Tensor<double> turned(s.problem.context, {1, 1, 4, 3}), more(s.problem.context, {2, 1, 3, 4});
  for (const char* name : minimisers) {
    const auto solver = make_minimiser<double>(name);
    const auto with = [&](View<double> x) {
      return message_of<ShapeError>(
          [&] { (void)solver->minimise(s.problem.context, s.problem.energy, {}, x); });
    };
    EXPECT_THAT(with(turned.view()), HasSubstr("[1,1,3,4] and [1,1,4,3]")) << name;
    EXPECT_THAT(with(more.view()), HasSubstr("[1,1,3,4] and [2,1,3,4]")) << name;
    EXPECT_THAT(with({}), HasSubstr("[1,1,3,4] and [0,0,0,0]")) << name;
    EXPECT_THAT(with({nullptr, {1, 1, 3, 4}}), HasSubstr("no memory")) << name;
  }
}

TEST(SolverMisuse, LinearSystemsWithoutTheirPartsAreRefused) {
  Flat s;
  Context& context = s.problem.context;
  const Shape shape = s.problem.shape;
  Tensor<double> weights(context, {s.problem.energy.weight_arrays(), 1, 3, 4}), diagonal(context, shape),
      b(context, shape), q(context, shape), turned(context, {1, 1, 4, 3});
  for (const char* name : linear_solvers) {
    const auto solver = make_linear_solver<double>(name);
    const auto with = [&](const HessianAt<double>& hessian, View<const double> right, View<double> solution) {
      const auto call = [&] { (void)solver->solve(context, hessian, {}, right, solution); };
      return hessian.energy == nullptr ? message_of<ConfigError>(call) : message_of<ShapeError>(call);
    };
    const HessianAt<double> whole{&s.problem.energy, weights.view(), diagonal.view()};
    HessianAt<double> part = whole;
    part.energy = nullptr;
    EXPECT_THAT(with(part, b.view(), q.view()), HasSubstr("no energy is given")) << name;
    part = whole;
    part.weights = diagonal.view();
    EXPECT_THAT(with(part, b.view(), q.view()),
                HasSubstr("36 numbers are needed, the view [1,1,3,4] holds 12"))
        << name;
    part = whole;
    part.inverse_diagonal = {};
    EXPECT_THAT(with(part, b.view(), q.view()), HasSubstr("[1,1,3,4] and [0,0,0,0]")) << name;
    EXPECT_THAT(with(whole, turned.view(), q.view()), HasSubstr("[1,1,3,4] and [1,1,4,3]")) << name;
    EXPECT_THAT(with(whole, b.view(), {nullptr, shape}), HasSubstr("no memory")) << name;
  }
}

/// Residuals whose squares underflow are not certified at 0, those that overflow not at all.
TEST(SolverMisuse, ResidualsBeyondTheRangeOfSquaresAreNotCertifiedAtZero) {
  Flat s;
  Context& context = s.problem.context;
  const Shape shape = s.problem.shape;
  Tensor<double> weights(context, {s.problem.energy.weight_arrays(), 1, 3, 4}), diagonal(context, shape);
  {
    Frame frame(context);
    const ActiveSet all(context, frame, 1);
    s.problem.energy.linearise(context, all.active(), std::as_const(s.problem.y_device).view(), {},
                               weights.view(), diagonal.view());
  }
  for (const char* name : linear_solvers)
    for (const double size : {1e-170, 1e-250, 1e170}) {
      Tensor<double> b(context, shape, std::vector<double>(12, size)), q(context, shape);
      LinearRequest request;
      request.tolerance = 1e-3;
      request.max_iterations = 100;
      const SolveReport report = make_linear_solver<double>(name)->solve(
          context, {&s.problem.energy, weights.view(), diagonal.view()}, request, b.view(), q.view());
      double residual = 0;  // of a constant: A is 1 + xi there
      for (double v : download<double>(context, q.view()))
        residual = std::max(residual, std::abs(size - (1 + s.problem.model.xi) * v));
      EXPECT_GE(report.certificate.at(0), residual) << name << ", " << size;
      if (size < 1) {
        EXPECT_GT(report.certificate.at(0), 0) << name << ", " << size;
      } else {
        EXPECT_NE(report.status, SolveStatus::converged) << name;
      }
    }
}

}  // namespace
}  // namespace bilevel
