#include "bilevel/model/bilevel_problem.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>

#include "bilevel/core/error.hpp"
#include "tests/model/tv_lab.hpp"

namespace bilevel {
namespace {

using namespace testing_support;

TEST(ConditionPenalty, ValueAndGradient) {
  Random random(seed(1002));
  const Transform all[3] = {Transform::identity, Transform::exp, Transform::log10};
  for (const auto& [h, w] : {std::pair{4, 5}, {1, 9}})
    for (const oracle::TvModel& m : model_kinds(h, w, random, 1e-3, 1))
      for (int subset = 1; subset < 8; ++subset) {
        SCOPED_TRACE(describe(m) + ", subset " + std::to_string(subset));
        const std::array<Transform, 3> transforms = {all[subset % 3], all[(subset + 1) % 3],
                                                     all[(subset + 2) % 3]};
        const Parameters parameters =
            parameters_of(m, transforms, {(subset & 1) != 0, (subset & 2) != 0, (subset & 4) != 0});
        const double beta = 0.3;
        const bool masked = std::count(m.mask.begin(), m.mask.end(), 0.0) > 0;
        const Penalty penalty = tv_condition_penalty(parameters, options_of(m), {1, 1, h, w}, masked, beta);
        const std::vector<double> theta = parameters.initial();
        std::vector<double> gradient(theta.size(), 7), ignored(theta.size());
        const oracle::CurvatureConstants c = oracle::curvature(m);
        const double value = penalty(theta, gradient);
        EXPECT_LT(relative_difference(value, beta * (c.L / c.mu) * (c.L / c.mu)), 1e-12);
        for (std::size_t j = 0; j < theta.size(); ++j) {
          const double h_j = 1e-6 * (parameters.learned(j).transform == Transform::identity ? theta[j] : 1);
          std::vector<double> plus = theta, minus = theta;
          plus[j] += h_j;
          minus[j] -= h_j;
          const double difference = (penalty(plus, ignored) - penalty(minus, ignored)) / (2 * h_j);
          // the gradient is added to what is there
          EXPECT_NEAR(gradient[j] - 7, difference,
                      1e-6 * std::abs(difference) + 1e-9 * value / h_j * 1e-6 + 1e-12)
              << "entry " << j;
        }
      }
  EXPECT_THROW(tv_condition_penalty(tv_parameters(), {}, {1, 1, 4, 4}, false, -1), ConfigError);
  EXPECT_THROW(tv_condition_penalty(tv_parameters(), {}, {1, 1, 4, 4}, false, std::nan("")), ConfigError);
}

TEST(Problem, ShapesAndParameters) {
  Context context(Device::open(test_device("cpu:1")));
  const Tensor<float> y(context, {2, 1, 3, 4}, std::vector<float>(24, 0.5F)), other(context, {2, 1, 4, 3});
  const auto energy = [&](const Parameters& p) {
    return std::make_unique<ComposedEnergy<float>>(context, y.view(), p);
  };
  const Parameters p = tv_parameters();
  BilevelProblem<float> good(energy(p), y.view(), p);
  EXPECT_EQ(good.images(), 2);
  std::vector<double> gradient = {1, 2};
  EXPECT_EQ(good.penalty(p.initial(), gradient), 0);
  EXPECT_EQ(gradient, (std::vector<double>{1, 2}));
  EXPECT_THROW(BilevelProblem<float>(energy(p), other.view(), p), ShapeError);
  const Parameters fewer({{"alpha", Transform::exp, 0.1, 1e-8, 1, true},
                          {"nu", Transform::exp, 0.1, 1e-8, 1, false},
                          {"xi", Transform::exp, 0.1, 1e-8, 1, false}});
  EXPECT_THROW(BilevelProblem<float>(energy(p), y.view(), fewer), ConfigError);
  const Parameters none({{"alpha", Transform::exp, 0.1, 1e-8, 1, false},
                         {"nu", Transform::exp, 0.1, 1e-8, 1, false},
                         {"xi", Transform::exp, 0.1, 1e-8, 1, false}});
  EXPECT_THROW(BilevelProblem<float>(energy(none), y.view(), none), ConfigError);
}

}  // namespace
}  // namespace bilevel
