#include "bilevel/model/parameters.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "bilevel/core/error.hpp"
#include "bilevel/model/composed_energy.hpp"
#include "tests/support/random.hpp"

namespace bilevel {
namespace {

using testing_support::Random;
using testing_support::seed;

constexpr Transform transforms[] = {Transform::identity, Transform::exp, Transform::log10};

TEST(Transforms, RoundTripSlopeAndNames) {
  Random random(seed(901));
  for (const Transform t : transforms) {
    EXPECT_EQ(transform_from(transform_name(t)), t);
    for (int trial = 0; trial < 200; ++trial) {
      const double value = random.log_uniform(1e-10, 1e4), theta = to_theta(t, value);
      EXPECT_NEAR(to_value(t, theta), value, 1e-14 * value);
      const double h = 1e-5 * (t == Transform::identity ? value : 1);
      EXPECT_NEAR((to_value(t, theta + h) - to_value(t, theta - h)) / (2 * h), transform_slope(t, theta),
                  1e-8 * transform_slope(t, theta));
    }
  }
  for (int trial = 0; trial < 200; ++trial) {
    const Transform t = Transform::sigmoid;
    EXPECT_EQ(transform_from(transform_name(t)), t);
    const double theta = random.uniform(-30, 30), value = to_value(t, theta), h = 1e-5;
    EXPECT_NEAR(value, 1 / (1 + std::exp(-theta)), 1e-15);
    if (std::abs(theta) < 10) {
      EXPECT_NEAR(to_theta(t, value), theta, 1e-10);
    }
    EXPECT_NEAR((to_value(t, theta + h) - to_value(t, theta - h)) / (2 * h), transform_slope(t, theta),
                1e-10);
  }
  {  // what was learned can be given back, where its value rounds to 1 or 0
    const Parameters layout({{"w", Transform::sigmoid, 1, 0, 1, true, {2}, {0.5, 0.5}}});
    const Parameters again(layout.at(std::vector<double>{50, -800}));
    EXPECT_GT(again.initial()[0], 36);
    EXPECT_LT(again.initial()[1], -700);
  }
  EXPECT_EQ(to_value(Transform::sigmoid, -800), 0);  // without an overflow
  EXPECT_EQ(to_value(Transform::sigmoid, 800), 1);
  EXPECT_EQ(transform_slope(Transform::sigmoid, -800), 0);
  EXPECT_EQ(to_value(Transform::log10, 2), 100);
  EXPECT_EQ(to_theta(Transform::log10, 1000), 3);
  EXPECT_EQ(to_value(Transform::exp, 0), 1);
  EXPECT_EQ(transform_slope(Transform::identity, 17), 1);
  EXPECT_THROW(transform_from("ln"), ConfigError);
  EXPECT_THROW(transform_from(""), ConfigError);
}

TEST(ParametersLayout, LearnedEntriesKeepTheirOrder) {
  const Parameters p({{"a", Transform::exp, 2, 1, 4, true},
                      {"b", Transform::identity, -3, -5, 5, false},
                      {"c", Transform::log10, 10, 0.1, 100, true},
                      {"d", Transform::identity, 0, -1, 1, true}});
  ASSERT_EQ(p.size(), 3U);
  EXPECT_EQ(p.entry("a"), 0);
  EXPECT_EQ(p.entry("b"), -1);
  EXPECT_EQ(p.entry("c"), 1);
  EXPECT_EQ(p.entry("d"), 2);
  EXPECT_EQ(p.learned(1).name, "c");
  EXPECT_EQ(p.segments().size(), 4U);
  EXPECT_EQ(p.initial(), (std::vector<double>{std::log(2.0), 1, 0}));
  EXPECT_EQ(p.lower(), (std::vector<double>{0, -1, -1}));
  EXPECT_EQ(p.upper(), (std::vector<double>{std::log(4.0), 2, 1}));
  const std::vector<double> theta = {std::log(3.0), 0.5, -0.25};
  EXPECT_NEAR(p.value("a", theta), 3, 1e-15);
  EXPECT_EQ(p.value("b", theta), -3);
  EXPECT_NEAR(p.value("c", theta), std::sqrt(10.0), 1e-15);
  EXPECT_EQ(p.value("d", theta), -0.25);
  EXPECT_THROW(p.value("e", theta), ConfigError);
  EXPECT_THROW(p.entry("e"), ConfigError);
}

TEST(ParametersLayout, ProjectionIsTheNearestPoint) {
  Random random(seed(902));
  const Parameters p({{"a", Transform::exp, 2, 1, 4, true}, {"b", Transform::identity, 0, -1, 1, true}});
  const std::vector<double> low = p.lower(), high = p.upper();
  for (int trial = 0; trial < 200; ++trial) {
    const std::vector<double> theta = {random.uniform(-3, 3), random.uniform(-3, 3)}, near = p.project(theta);
    for (std::size_t j = 0; j < 2; ++j) {
      EXPECT_GE(near[j], low[j]);
      EXPECT_LE(near[j], high[j]);
      EXPECT_EQ(near[j], std::fmin(std::fmax(theta[j], low[j]), high[j]));
    }
    EXPECT_EQ(p.project(near), near);
  }
}

/// exp and log do not undo each other to the last bit.
TEST(ParametersLayout, TheValueOfAThetaWithinBoundsIsWithinThem) {
  Random random(seed(906));
  int rounded = 0;
  for (const Transform t : transforms)
    for (int trial = 0; trial < 200; ++trial) {
      const double lower = random.log_uniform(1e-10, 1), upper = lower * random.log_uniform(2, 1e4);
      const Parameters p({{"a", t, 1.5 * lower, lower, upper, true}});
      EXPECT_GE(p.value("a", p.lower()), lower);
      EXPECT_LE(p.value("a", p.upper()), upper);
      EXPECT_NEAR(p.value("a", p.upper()), upper, 1e-13 * upper);
      rounded += to_value(t, p.lower()[0]) != lower;
      const std::vector<double> outside{p.lower()[0] - 1e-3};
      EXPECT_EQ(p.value("a", outside), to_value(t, outside[0]));
    }
  EXPECT_GT(rounded, 0);
}

TEST(ParametersLayout, Errors) {
  const double nan = std::numeric_limits<double>::quiet_NaN(),
               infinity = std::numeric_limits<double>::infinity();
  const auto make = [](const Segment& s) { return Parameters({s}); };
  EXPECT_THROW(Parameters({{"a", Transform::exp, 1, 0.5, 2, true}, {"a", Transform::exp, 1, 0.5, 2, false}}),
               ConfigError);
  EXPECT_THROW(make({"a", Transform::identity, 3, 0, 2, true}), ConfigError);
  EXPECT_THROW(make({"a", Transform::identity, -1, 0, 2, true}), ConfigError);
  EXPECT_THROW(make({"a", Transform::identity, nan, 0, 2, true}), ConfigError);
  EXPECT_THROW(make({"a", Transform::identity, infinity, 0, infinity, true}), ConfigError);
  EXPECT_THROW(make({"a", Transform::exp, 1, 0, 2, true}), ConfigError);
  EXPECT_THROW(make({"a", Transform::log10, 1, -1, 2, true}), ConfigError);
  EXPECT_THROW(make({"a", Transform::sigmoid, 1, 0, 1, true}), ConfigError);
  EXPECT_THROW(make({"a", Transform::sigmoid, 0, 0, 1, true}), ConfigError);
  EXPECT_THROW(make({"a", Transform::sigmoid, 0.5, 0, 2, true}), ConfigError);
  EXPECT_THROW(make({"a", Transform::sigmoid, 0.5, -1, 1, true}), ConfigError);
  EXPECT_NO_THROW(make({"a", Transform::sigmoid, 0.5, 0, 1, true}));
  EXPECT_NO_THROW(make({"a", Transform::exp, 0, 0, 2, false}));
  EXPECT_NO_THROW(make({"a", Transform::identity, 0, 0, 0, true}));
  EXPECT_NO_THROW(make({"a", Transform::exp, 1, 1e-8, infinity, true}));
  try {
    Parameters({{"weight", Transform::identity, 3, 0, 2, true}});
    FAIL();
  } catch (const ConfigError& e) {
    EXPECT_NE(std::string(e.what()).find("weight"), std::string::npos) << e.what();
  }
}

TEST(ParametersLayout, NotANumberAsABoundIsRefused) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_THROW(Parameters({{"a", Transform::identity, 1, nan, 2, true}}), ConfigError);
  EXPECT_THROW(Parameters({{"a", Transform::identity, 1, 0, nan, true}}), ConfigError);
}

TEST(ParametersLayout, DefaultsOfTv) {
  const Parameters p = tv_parameters();
  EXPECT_EQ(p.size(), 2U);
  EXPECT_EQ(p.learned(0).name, "alpha");
  EXPECT_EQ(p.learned(1).name, "nu");
  EXPECT_NEAR(p.value("alpha", p.initial()), 0.05, 1e-16);
  EXPECT_NEAR(p.value("nu", p.initial()), 0.01, 1e-16);
  EXPECT_EQ(p.value("xi", p.initial()), 1e-3);
}

}  // namespace
}  // namespace bilevel
