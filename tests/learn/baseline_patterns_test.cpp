#include "bilevel/learn/baseline_patterns.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <complex>
#include <numbers>
#include <numeric>

#include "bilevel/core/error.hpp"

namespace bilevel_test {
namespace {

using bilevel::PatternKind;
using bilevel::SamplingPattern;

double sum(const std::vector<double>& s) { return std::accumulate(s.begin(), s.end(), 0.0); }

/// The naive transform: the largest magnitude apart from the first, relative to it.
double side_lobe(std::span<const double> values, int h, int w) {
  double first = 0, largest = 0;
  for (int p = 0; p < h; ++p)
    for (int q = 0; q < w; ++q) {
      std::complex<double> x = 0;
      for (int k = 0; k < h; ++k)
        for (int l = 0; l < w; ++l)
          x += values[static_cast<std::size_t>(k * w + l)] *
               std::polar(1.0, 2 * std::numbers::pi * (1.0 * k * p / h + 1.0 * l * q / w));
      (p == 0 && q == 0 ? first : largest) = std::max(p == 0 && q == 0 ? 0.0 : largest, std::abs(x));
    }
  return largest / first;
}

TEST(BaselinePatterns, DistancesAreThoseToZeroFrequency) {
  const auto d = bilevel::group_distances(SamplingPattern(PatternKind::free, 4, 6));
  EXPECT_EQ(d[0], 0);
  EXPECT_DOUBLE_EQ(d[2 * 6 + 3], 1);                   // (2, 3): half the sampling frequency along both
  EXPECT_DOUBLE_EQ(d[1 * 6 + 0], 0.5 / std::sqrt(2));  // 1/4 of sqrt(1/4 + 1/4)
  EXPECT_DOUBLE_EQ(d[3 * 6 + 0], d[1 * 6 + 0]);        // -1
  EXPECT_DOUBLE_EQ(d[5], d[1]);
  const auto rows = bilevel::group_distances(SamplingPattern(PatternKind::rows, 5, 3));
  EXPECT_EQ(rows, (std::vector<double>{0, 0.5, 1, 1, 0.5}));
}

TEST(BaselinePatterns, CountsAreExact) {
  const SamplingPattern pattern(PatternKind::free, 12, 10);
  const auto distance = bilevel::group_distances(pattern);
  for (const double rate : {0.05, 0.3, 0.5, 1.0}) {
    const std::size_t count = bilevel::groups_at_rate(pattern, rate);
    EXPECT_EQ(count, static_cast<std::size_t>(std::lround(120 * rate)));
    const auto n = static_cast<double>(count);
    EXPECT_EQ(sum(bilevel::uniform_groups(120, count, 3)), n);
    EXPECT_EQ(sum(bilevel::low_pass_groups(distance, count)), n);
    EXPECT_EQ(sum(bilevel::largest_groups(distance, count)), n);
    const auto vds = bilevel::variable_density_groups(distance, count, {}, [](auto) { return 1.0; });
    EXPECT_EQ(sum(vds.s), n);
  }
  EXPECT_THROW(bilevel::groups_at_rate(pattern, 0), bilevel::ConfigError);
  EXPECT_THROW(bilevel::groups_at_rate(pattern, 1.01), bilevel::ConfigError);
  EXPECT_THROW(bilevel::groups_at_rate(pattern, 0.001), bilevel::ConfigError);
}

TEST(BaselinePatterns, LowPassAndLargestAreSorted) {
  const std::vector<double> values{3, 1, 4, 1, 5};
  EXPECT_EQ(bilevel::low_pass_groups(values, 3), (std::vector<double>{1, 1, 0, 1, 0}));
  EXPECT_EQ(bilevel::low_pass_groups(values, 1), (std::vector<double>{0, 1, 0, 0, 0})) << "ties by index";
  EXPECT_EQ(bilevel::largest_groups(values, 2), (std::vector<double>{0, 0, 1, 0, 1}));
}

TEST(BaselinePatterns, UniformIsUniform) {
  std::vector<double> hits(20, 0.0);
  for (std::uint64_t seed = 0; seed < 4000; ++seed) {
    const auto s = bilevel::uniform_groups(20, 5, seed);
    for (std::size_t g = 0; g < 20; ++g) hits[g] += s[g];
  }
  const double deviation = std::sqrt(4000 * 0.25 * 0.75);
  for (const double h : hits) EXPECT_NEAR(h, 1000, 5 * deviation);
  EXPECT_EQ(bilevel::uniform_groups(20, 5, 7), bilevel::uniform_groups(20, 5, 7));
}

TEST(BaselinePatterns, VariableDensityFollowsItsDensity) {
  const SamplingPattern pattern(PatternKind::free, 16, 16);
  const auto distance = bilevel::group_distances(pattern);
  const std::size_t count = 77;
  std::vector<double> hits(256, 0.0);
  bilevel::VariableDensityOptions options;
  options.draws = 1;
  bilevel::VariableDensity v;
  const int seeds = 4000;
  for (int seed = 0; seed < seeds; ++seed) {
    options.seed = static_cast<std::uint64_t>(seed);
    v = bilevel::variable_density_groups(distance, count, options, [](auto) { return 1.0; });
    for (std::size_t g = 0; g < 256; ++g) hits[g] += v.s[g];
  }
  EXPECT_GE(v.power, 1);
  double expected = 0;
  for (std::size_t g = 0; g < 256; ++g) {
    const double p =
        distance[g] <= v.radius ? 1 : std::min(1.0, std::pow(1 - distance[g], v.power) + v.offset);
    expected += p;
    if (p == 1) {
      EXPECT_EQ(hits[g], seeds);
    }
    EXPECT_NEAR(hits[g] / seeds, p, 0.03) << g;  // the order of u/p meets p to a few per cent
  }
  EXPECT_NEAR(expected, 77, 1e-6);
}

TEST(BaselinePatterns, VariableDensityKeepsTheSmallestSideLobe) {
  const auto distance = bilevel::group_distances(SamplingPattern(PatternKind::free, 8, 8));
  std::vector<double> lobes;
  const auto measure = [&lobes](std::span<const double> values) {
    lobes.push_back(side_lobe(values, 8, 8));
    return lobes.back();
  };
  bilevel::VariableDensityOptions options;
  options.draws = 20;
  const auto v = bilevel::variable_density_groups(distance, 20, options, measure);
  ASSERT_EQ(lobes.size(), 20u);
  EXPECT_EQ(v.side_lobe, *std::min_element(lobes.begin(), lobes.end()));
  EXPECT_GT(*std::max_element(lobes.begin(), lobes.end()), v.side_lobe);
  EXPECT_EQ(v.s[0], 1) << "zero frequency lies in the disc";
  options.power = 0.5;
  EXPECT_THROW(bilevel::variable_density_groups(distance, 20, options, measure), bilevel::ConfigError);
}

/// With the usual power and radius some density keeps any number of groups, down to zero frequency alone; one
/// that cannot says which rate it can meet.
TEST(BaselinePatterns, SomeVariableDensityMeetsEveryCount) {
  bilevel::VariableDensityOptions usual, steep;
  usual.draws = 2;
  steep.power = 2, steep.radius = 0;
  for (const auto kind : {PatternKind::free, PatternKind::rows, PatternKind::symmetric}) {
    const auto distance = bilevel::group_distances(SamplingPattern(kind, 24, 9));
    for (std::size_t count = 1; count <= distance.size(); ++count) {
      const auto v = bilevel::variable_density_groups(distance, count, usual, [](auto) { return 1.0; });
      EXPECT_EQ(sum(v.s), static_cast<double>(count));
      EXPECT_EQ(v.s[0], 1) << "zero frequency, of " << count;
    }
    double least = 0;
    for (const double r : distance) least += r == 0 ? 1 : (1 - r) * (1 - r);
    const auto met = static_cast<std::size_t>(std::ceil(least));
    EXPECT_NO_THROW(bilevel::variable_density_groups(distance, met, steep, [](auto) { return 1.0; }));
    try {
      bilevel::variable_density_groups(distance, met - 1, steep, [](auto) { return 1.0; });
      ADD_FAILURE();
    } catch (const bilevel::ConfigError& error) {
      const std::string text = error.what();
      const auto at = text.find("a rate of at least ");
      ASSERT_NE(at, std::string::npos) << text;
      EXPECT_DOUBLE_EQ(std::stod(text.substr(at + 19)),
                       static_cast<double>(met) / static_cast<double>(distance.size()));
    }
  }
}

TEST(BaselinePatterns, GreedyAddsTheBestAtEveryStep) {
  // Loss of a set: a modular function but for one pair that is worth nothing together.
  const std::vector<double> worth{1, 5, 3, 5, 2};
  std::size_t evaluated = 0;
  const auto losses = [&](std::span<const int> chosen, std::span<const int> candidates) {
    std::vector<double> out;
    for (const int c : candidates) {
      double loss = 16;
      bool one = c == 1, three = c == 3;
      for (const int g : chosen) loss -= worth[static_cast<std::size_t>(g)], one |= g == 1, three |= g == 3;
      out.push_back(loss - worth[static_cast<std::size_t>(c)] + (one && three ? 5 : 0));
      ++evaluated;
    }
    return out;
  };
  EXPECT_EQ(bilevel::greedy_groups(5, 3, {}, losses), (std::vector<int>{1, 2, 4}));
  EXPECT_EQ(evaluated, 5u + 4 + 3);
  EXPECT_EQ(bilevel::greedy_groups(5, 3, {3}, losses), (std::vector<int>{3, 2, 4})) << "goes on";
  const auto once = [](std::span<const int>) { return false; };
  EXPECT_EQ(bilevel::greedy_groups(5, 3, {}, losses, once), (std::vector<int>{1}));
  EXPECT_EQ(bilevel::groups_listed(5, std::vector<int>{1, 4}), (std::vector<double>{0, 1, 0, 0, 1}));
}

}  // namespace
}  // namespace bilevel_test
