#include <gtest/gtest.h>

#include <cmath>
#include <complex>
#include <numbers>

#include "model/filter_norms.hpp"
#include "tests/model/experts_lab.hpp"

// Bounds of the norms of correlations against exact norms of dense matrices and the symbols of the filters.

namespace bilevel {
namespace {

using namespace testing_support;
using oracle::FoeKind;
using oracle::Image;

FilterPadding padding_of(const FoeProblem& m) { return options_of(m).padding; }

/// Effective filters one after the other.
std::vector<double> filters_of(const FoeProblem& m) {
  std::vector<double> all;
  for (int k = 0; k < m.filters; ++k) append(all, m.filter(k));
  return all;
}

/// Filters that stress the bounds: kinds of the oracle, checkerboards (all energy at the highest frequency),
/// waves between the grid's frequencies, and single rows and columns.
std::vector<FoeProblem> problems(int h, int w, int size, Random& random) {
  std::vector<FoeProblem> all;
  for (const oracle::Padding padding : {oracle::Padding::symmetric, oracle::Padding::valid}) {
    if (padding == oracle::Padding::valid && size > std::min(h, w)) continue;
    FoeProblem shape = foe_shape(1, h, w, 2, size);
    shape.padding = padding;
    for (const FoeKind kind : {FoeKind::generic, FoeKind::corner_taps, FoeKind::one_sign, FoeKind::zero_mean})
      all.push_back(oracle::random_foe(kind, shape, random));
    FoeProblem waves = all.back();
    waves.zero_mean = false;
    const double frequency[2] = {std::numbers::pi, random.uniform(0, 2 * std::numbers::pi)};
    for (int k = 0; k < 2; ++k)
      for (int i = 0; i < size; ++i)
        for (int j = 0; j < size; ++j)
          waves.theta[static_cast<std::size_t>(4 + (k * size + i) * size + j)] =
              std::cos(frequency[k] * (i + (k == 0 ? j : 0.37 * j)) + k);
    all.push_back(waves);
    FoeProblem lines = waves;
    for (int i = 0; i < size; ++i)
      for (int j = 0; j < size; ++j) {
        lines.theta[static_cast<std::size_t>(4 + i * size + j)] = i == 0 ? random.normal() : 0;
        lines.theta[static_cast<std::size_t>(4 + (size + i) * size + j)] = j == size - 1 ? 1 : 0;
      }
    all.push_back(lines);
  }
  return all;
}

/// max |C_k^| by a grid finer than the library's and ascent from its best point.
double largest_symbol(const std::vector<double>& c, int size) {
  const auto symbol = [&](double a, double b) {
    std::complex<double> sum = 0;
    for (int i = 0; i < size; ++i)
      for (int j = 0; j < size; ++j)
        sum += c[static_cast<std::size_t>(i * size + j)] * std::polar(1.0, a * i + b * j);
    return std::abs(sum);
  };
  constexpr int points = 60;
  double best = 0, at[2] = {0, 0};
  for (int i = 0; i < points; ++i)
    for (int j = 0; j < points; ++j) {
      const double a = std::numbers::pi * i / (points - 1), b = 2 * std::numbers::pi * j / points;
      const double value = symbol(a, b);
      if (value > best) {
        best = value;
        at[0] = a;
        at[1] = b;
      }
    }
  for (double step = 0.05; step > 1e-7; step /= 2)
    for (int turn = 0; turn < 4; ++turn)
      for (int axis = 0; axis < 2; ++axis)
        for (const double move : {-step, step}) {
          double trial[2] = {at[0], at[1]};
          trial[axis] += move;
          const double value = symbol(trial[0], trial[1]);
          if (value > best) {
            best = value;
            at[axis] = trial[axis];
          }
        }
  return best;
}

TEST(FilterNorms, CoverTheExactNorms) {
  Random random(seed(1101));
  RatioRecorder valid("valid: bound/|C|"), symmetric("symmetric: bound/|C|"),
      joint_valid("valid: joint bound/exact"), joint_symmetric("symmetric: joint bound/exact"),
      rows("row bound/exact");
  struct Case {
    int h, w, size;
  };
  for (const Case& c :
       {Case{1, 2, 3}, Case{3, 3, 3}, Case{6, 5, 3}, Case{2, 2, 5}, Case{5, 5, 5}, Case{7, 6, 5},
        Case{3, 4, 7}, Case{7, 8, 7}, Case{4, 4, 9}, Case{9, 9, 9}, Case{5, 5, 11}, Case{1, 30, 3}})
    for (const FoeProblem& m : problems(c.h, c.w, c.size, random)) {
      SCOPED_TRACE(std::to_string(c.h) + "x" + std::to_string(c.w) + ", size " + std::to_string(c.size));
      const std::vector<double> filters = filters_of(m);
      const FilterNorms norms(filters, m.size, padding_of(m));
      const std::vector<double> row = row_norms(filters, m.size, padding_of(m), m.h, m.w);
      const bool inside = m.padding == oracle::Padding::valid;
      for (int k = 0; k < m.filters; ++k) {
        const auto at = static_cast<std::size_t>(k);
        const double exact = oracle::correlation_norm(m, k);
        EXPECT_GE(norms.operators()[at], exact);
        (inside ? valid : symmetric).add(norms.operators()[at] / exact);
        EXPECT_GE(row[at], oracle::row_norm(m, k));
        rows.add(row[at] / oracle::row_norm(m, k));
      }
      for (int trial = 0; trial < 2; ++trial) {
        const std::vector<double> a = {random.log_uniform(0.01, 100), trial == 0 ? 0 : random.uniform()};
        const double exact = oracle::joint_norm(m, a), bound = norms.joint(a);
        EXPECT_GE(bound, exact * (1 - 1e-13));
        (inside ? joint_valid : joint_symmetric).add(bound / exact);
      }
    }
  // rows are exact where the image has responses that no border folds
  EXPECT_LE(rows.median(), 1 + 1e-11);
}

/// On large images valid norms tend to the largest symbol, which the grid may miss by 1 / cos alone.
TEST(FilterNorms, AreTheLargestSymbolUpToTheGrid) {
  Random random(seed(1102));
  RatioRecorder ratios("valid: bound/largest symbol");
  for (const int size : {3, 5, 7, 9, 11})
    for (const FoeProblem& m : problems(12, 12, size, random)) {
      const FilterNorms norms(filters_of(m), size, padding_of(m));
      for (int k = 0; k < m.filters; ++k) {
        const double symbol = largest_symbol(m.filter(k), size);
        if (m.padding == oracle::Padding::valid) {
          EXPECT_GE(norms.operators()[static_cast<std::size_t>(k)], symbol);
          ratios.add(norms.operators()[static_cast<std::size_t>(k)] / symbol);
        } else {
          EXPECT_LE(norms.operators()[static_cast<std::size_t>(k)], 2.07 * symbol);
        }
      }
    }
  EXPECT_LE(ratios.maximum(), 1 / std::cos(10 * std::numbers::pi / 128) + 1e-10);
}

/// Lower estimates by power iterations on images larger than the filters.
TEST(FilterNorms, CoverPowerIterationsOnLargerImages) {
  Random random(seed(1103));
  RatioRecorder valid("valid, larger images: bound/power iteration"),
      symmetric("symmetric, larger images: bound/power iteration");
  for (const int size : {3, 7, 11})
    for (const FoeProblem& m : problems(17, 22, size, random)) {
      const FilterNorms norms(filters_of(m), size, padding_of(m));
      const std::vector<double> a = {1, 0.3};
      Image x = random.normal_vector(static_cast<std::size_t>(m.pixels()));
      double lower = 0;
      for (int turn = 0; turn < 12; ++turn) {
        Image next(x.size(), 0);
        for (int k = 0; k < m.filters; ++k)
          next = add_scaled(next, a[static_cast<std::size_t>(k)],
                            oracle::correlate_adjoint(m, k, oracle::correlate(m, k, x)));
        lower = norm(next);
        x = scaled_to(next, 1);
      }
      EXPECT_GE(norms.joint(a), lower * (1 - 1e-13));
      (m.padding == oracle::Padding::valid ? valid : symmetric).add(norms.joint(a) / lower);
    }
}

/// One tap has |C| = |tap| without padding, and reads the corner pixel four times with it.
TEST(FilterNorms, OfOneTap) {
  for (const int size : {3, 11}) {
    std::vector<double> corner(static_cast<std::size_t>(size) * size, 0), middle = corner;
    corner[0] = -3;
    middle[corner.size() / 2] = 3;
    EXPECT_NEAR(FilterNorms(middle, size, FilterPadding::symmetric).operators()[0], 3, 0.1);
    EXPECT_NEAR(FilterNorms(corner, size, FilterPadding::valid).operators()[0], 3, 0.1);
    const double doubled = FilterNorms(corner, size, FilterPadding::symmetric).operators()[0];
    EXPECT_GE(doubled, 6);
    EXPECT_LE(doubled, 6.2);
    EXPECT_EQ(FilterNorms(std::vector<double>(corner.size(), 0), size, FilterPadding::valid).operators()[0],
              0);
  }
}

}  // namespace
}  // namespace bilevel
