#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <numeric>
#include <set>

#include "bilevel/core/error.hpp"
#include "bilevel/model/sampling_pattern.hpp"
#include "tests/oracle/foe_oracle.hpp"
#include "tests/support/mri_setup.hpp"

// Sampling patterns against the oracle's weights, and what they promise by themselves.

namespace bilevel {
namespace {

using namespace testing_support;
using oracle::Matrix;
using oracle::NamedMri;

/// Calls check(problem, pattern) for every kind and map on images of several sizes.
template <class Check>
void for_all_patterns(Random& random, const Check& check) {
  for (const auto& [h, w] : {std::pair{6, 5}, {7, 8}, {1, 9}, {5, 1}, {2, 2}, {1, 1}})
    for (const NamedMri& named : oracle::mri_collection(mri_shape(1, h, w), random)) {
      if (named.problem.complex_image) continue;
      SCOPED_TRACE(describe(named));
      const MriProblem m = bound_problem<double>(named.problem);
      check(m, pattern_of(m));
    }
}

TEST(SamplingPattern, GroupsAndWeightsAreTheOracles) {
  Random random(seed(2101));
  for_all_patterns(random, [](const MriProblem& m, const SamplingPattern& pattern) {
    const std::vector<std::vector<int>> groups = oracle::frequency_groups(m);
    ASSERT_EQ(pattern.groups(), groups.size());
    for (std::size_t k = 0; k < groups.size(); ++k) {
      const std::span<const int> group = pattern.group(k);
      EXPECT_EQ(std::vector<int>(group.begin(), group.end()), groups[k]) << "group " << k;
    }
    EXPECT_EQ(pattern.frequencies(), static_cast<std::size_t>(m.pixels()));
    EXPECT_LT(max_relative_difference(pattern.weights(m.sampling), oracle::sampling_weights(m)), 1e-14);
    const bool overlapping = m.pattern == oracle::PatternKind::groups;
    EXPECT_EQ(pattern.overlapping(), overlapping);
  });
}

TEST(SamplingPattern, DerivativesAreTheOracles) {
  Random random(seed(2102));
  for_all_patterns(random, [&](const MriProblem& m, const SamplingPattern& pattern) {
    const Matrix jacobian = oracle::weight_jacobian(m);
    const std::vector<double> d = random.normal_vector(pattern.groups()),
                              c = random.normal_vector(pattern.frequencies());
    const std::vector<double> forward = pattern.forward(m.sampling, d), back = pattern.adjoint(m.sampling, c);
    EXPECT_LT(distance(forward, oracle::multiply(jacobian, d)), 1e-14 * (1 + norm(forward)));
    EXPECT_NEAR(dot(forward, c), dot(d, back), 1e-13 * (1 + norm(forward)) * norm(c));
  });
}

TEST(SamplingPattern, NormBounds) {
  Random random(seed(2103));
  RatioRecorder overlapping("norm_bound of spokes / norm");
  for_all_patterns(random, [&](const MriProblem& m, const SamplingPattern& pattern) {
    const std::vector<double> weights = pattern.weights(m.sampling);
    Matrix jacobian = oracle::weight_jacobian(m);
    double steepest = 0;
    for (int j = 0; j < jacobian.rows; ++j) {
      double square = 0;
      for (int k = 0; k < jacobian.cols; ++k) square += jacobian(j, k) * jacobian(j, k);
      steepest = std::max(steepest, std::sqrt(square));
    }
    EXPECT_NEAR(pattern.slope_bound(m.sampling), steepest, 1e-14 * steepest);
    std::vector<double> r2;
    for (int j = 0; j < m.pixels(); ++j) r2.push_back(std::pow(random.normal(), 2));
    for (const double divide : {0.0, 1e-3}) {
      Matrix scaled = jacobian;
      for (int j = 0; j < scaled.rows; ++j)
        for (int k = 0; k < scaled.cols; ++k)
          scaled(j, k) *= std::sqrt(r2[j] / (divide > 0 ? weights[j] + divide : 1));
      const double exact = oracle::operator_norm(scaled), bound = pattern.norm_bound(m.sampling, r2, divide);
      EXPECT_GE(bound, exact * (1 - 1e-12));
      if (!pattern.overlapping()) {
        EXPECT_LE(bound, exact * (1 + 1e-12));
      } else if (exact > 0) {
        overlapping.add(bound / exact);
      }
    }
  });
}

/// A spoke follows its line to half a step, contains zero, and reaches the border.
TEST(SamplingPattern, SpokesAreLinesAtEqualAngles) {
  for (const auto& [h, w, spokes] : {std::array{16, 16, 8}, {15, 21, 13}, {32, 20, 40}, {1, 8, 3}}) {
    SCOPED_TRACE(std::to_string(h) + "x" + std::to_string(w));
    const SamplingPattern pattern(PatternKind::radial, h, w, SamplingMap::direct, spokes);
    ASSERT_EQ(pattern.groups(), static_cast<std::size_t>(spokes));
    for (std::size_t k = 0; k < pattern.groups(); ++k) {
      const double angle = std::numbers::pi * static_cast<double>(k) / spokes;
      const std::span<const int> group = pattern.group(k);
      EXPECT_EQ(group[0], 0);
      double reach_r = 0, reach_c = 0;
      for (const int f : group) {
        double nearest = HUGE_VAL;  // frequencies n/2 and -n/2 are one
        for (const int r : {f / w, f / w - h})
          for (const int c : {f % w, f % w - w}) {
            if (2 * std::abs(r) > h || 2 * std::abs(c) > w) continue;
            nearest = std::min(nearest, std::abs(c * std::sin(angle) - r * std::cos(angle)));
            reach_r = std::max<double>(reach_r, std::abs(r));
            reach_c = std::max<double>(reach_c, std::abs(c));
          }
        EXPECT_LE(nearest, 0.5 + 1e-12) << "spoke " << k;
      }
      EXPECT_TRUE(2 * reach_r >= h - 1 || 2 * reach_c >= w - 1) << "spoke " << k;
      EXPECT_EQ(std::set<int>(group.begin(), group.end()).size(), group.size());
    }
  }
}

TEST(SamplingPattern, ThresholdsToARate) {
  Random random(seed(2104));
  for_all_patterns(random, [&](const MriProblem& m, const SamplingPattern& pattern) {
    std::vector<double> theta = random.normal_vector(pattern.groups());
    for (double& t : theta) t = std::round(4 * std::abs(t)) / 16;  // with ties
    std::size_t largest = 0;
    for (std::size_t k = 0; k < pattern.groups(); ++k) largest = std::max(largest, pattern.group(k).size());
    for (const double rate : {0.0, 0.2, 0.5, 0.9, 1.0}) {
      const std::vector<double> keep = pattern.threshold_to_rate(theta, rate);
      ASSERT_EQ(keep.size(), pattern.groups());
      // one share 1 of a group: all of its frequencies have weight 1 (rational 1/(1-1) is not meant)
      MriProblem binary = m;
      binary.map = oracle::SamplingMap::direct;
      binary.sampling = keep;
      std::size_t sampled = 0, possible = 0;
      for (const double w : oracle::sampling_weights(binary)) sampled += w > 0;
      binary.sampling.assign(keep.size(), 1);
      for (const double w : oracle::sampling_weights(binary)) possible += w > 0;
      EXPECT_LE(static_cast<double>(sampled), rate * m.pixels() + 1e-6);
      EXPECT_GT(static_cast<double>(sampled + largest),
                std::min(rate * m.pixels(), static_cast<double>(possible)) - 1e-6);
      for (std::size_t k = 0; k < keep.size(); ++k) {
        EXPECT_TRUE(keep[k] == 0 || keep[k] == 1);
        // groups of one size: the largest theta, the first of equal ones
        for (std::size_t l = 0; l < keep.size() && m.pattern != oracle::PatternKind::groups; ++l)
          if (pattern.group(k).size() == pattern.group(l).size() && keep[k] < keep[l]) {
            EXPECT_TRUE(theta[l] > theta[k] || (theta[l] == theta[k] && l < k));
          }
      }
    }
    const std::vector<double> half = pattern.threshold(theta, 0.25);
    for (std::size_t k = 0; k < half.size(); ++k) EXPECT_EQ(half[k], theta[k] > 0.25 ? 1 : 0);
  });
}

TEST(SamplingPattern, RateCountsTheSampledFrequencies) {
  const SamplingPattern rows(PatternKind::rows, 4, 6);
  EXPECT_DOUBLE_EQ(rows.rate(std::vector<double>{1, 0, 0.01, 0}), 0.5);
  const SamplingPattern symmetric(PatternKind::symmetric, 2, 3);  // {0}, {1,2}, {3}, {4,5}
  EXPECT_DOUBLE_EQ(symmetric.rate(std::vector<double>{1, 0, 0, 1}), 0.5);
}

TEST(SamplingPattern, MeanRadiusIsThatOfTheSampledFrequencies) {
  const SamplingPattern rows(PatternKind::rows, 4, 1);  // 0, 1/2, 1, 1/2 of the largest
  EXPECT_DOUBLE_EQ(rows.mean_radius(std::vector<double>{1, 0, 0, 0}), 0);
  EXPECT_DOUBLE_EQ(rows.mean_radius(std::vector<double>{1, 0.5, 1, 0}), 0.5);
  EXPECT_DOUBLE_EQ(rows.mean_radius(std::vector<double>{0, 0, 0, 1}), 0.5);
  EXPECT_TRUE(std::isnan(rows.mean_radius(std::vector<double>{0, 0, 0, 0})));
  const SamplingPattern odd(PatternKind::free, 1, 5);  // 0, 1, 2, 2, 1 of 5/2
  EXPECT_DOUBLE_EQ(odd.mean_radius(std::vector<double>{0, 1, 0, 1, 0}), 0.6);
  const SamplingPattern corner(PatternKind::free, 2, 2);
  EXPECT_DOUBLE_EQ(corner.mean_radius(std::vector<double>{0, 0, 0, 1}), std::sqrt(2.0));
}

TEST(SamplingPattern, NamesAndErrors) {
  for (const PatternKind kind : {PatternKind::free, PatternKind::symmetric, PatternKind::rows,
                                 PatternKind::columns, PatternKind::radial})
    EXPECT_EQ(pattern_from(pattern_name(kind)), kind);
  EXPECT_EQ(pattern_from("lines"), PatternKind::rows);
  EXPECT_THROW(pattern_from("spiral"), ConfigError);
  EXPECT_THROW(SamplingPattern(PatternKind::free, 0, 4), ConfigError);
  EXPECT_THROW(SamplingPattern(PatternKind::radial, 8, 8, SamplingMap::direct, 0), ConfigError);
  EXPECT_THROW(SamplingPattern(PatternKind::radial, 8, 8, SamplingMap::rational, 4), ConfigError);
  EXPECT_NO_THROW(SamplingPattern(PatternKind::radial, 8, 8, SamplingMap::rational, 1));
}

TEST(SamplingParameters, LayoutBoundsAndPenalty) {
  Random random(seed(2105));
  for_all_patterns(random, [&](MriProblem m, const SamplingPattern& pattern) {
    m.learn_alpha = true;
    m.learn_nu = m.learn_xi = false;
    MriParameterValues values;
    values.pattern = m.sampling;
    values.alpha = m.alpha;
    values.nu = m.nu;
    values.xi = m.xi;
    const Parameters parameters = mri_parameters(pattern, values);
    const std::vector<double> theta = parameters.initial();
    EXPECT_LT(max_relative_difference(theta, m.theta()), 1e-14);
    EXPECT_EQ(parameters.entry("s"), 0);
    EXPECT_EQ(parameters.entry("alpha"), m.samplings());
    EXPECT_EQ(parameters.entry("nu"), -1);
    EXPECT_EQ(parameters.entry("xi"), -1);
    const bool direct = m.map == oracle::SamplingMap::direct;
    for (int k = 0; k < m.samplings(); ++k) {
      EXPECT_EQ(parameters.lower()[static_cast<std::size_t>(k)], 0);
      EXPECT_EQ(parameters.upper()[static_cast<std::size_t>(k)], direct ? 1 : 0.99);
    }
    const Penalty penalty = sampling_penalty(parameters, m.beta1, m.beta2);
    std::vector<double> slope(theta.size(), 0.5);
    EXPECT_LT(relative_difference(penalty(theta, slope), oracle::penalty(m)), 1e-13);
    for (double& entry : slope) entry -= 0.5;  // gradients are added
    EXPECT_LT(distance(slope, oracle::penalty_gradient(m)), 1e-14 * std::sqrt(slope.size()));
  });
  const SamplingPattern pattern(PatternKind::free, 3, 3);
  MriParameterValues fixed;
  fixed.learn_pattern = false;
  EXPECT_THROW(sampling_penalty(mri_parameters(pattern, fixed), 0.1, 0.1), ConfigError);
  for (const double wrong : {-0.1, std::numeric_limits<double>::quiet_NaN(), HUGE_VAL}) {
    EXPECT_THROW(sampling_penalty(mri_parameters(pattern, {}), wrong, 0.1), ConfigError);
    EXPECT_THROW(sampling_penalty(mri_parameters(pattern, {}), 0.1, wrong), ConfigError);
  }
}

}  // namespace
}  // namespace bilevel
