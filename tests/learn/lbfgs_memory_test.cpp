#include "learn/lbfgs_memory.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "learn/step_direction.hpp"
#include "tests/oracle/linear_algebra.hpp"
#include "tests/support/numeric.hpp"
#include "tests/support/random.hpp"

namespace bilevel {
namespace {

using namespace testing_support;
using oracle::Matrix;
using Vector = std::vector<double>;

Matrix random_definite(int n, Random& random) {
  Matrix a(n, n);
  const Vector root = random.normal_vector(static_cast<std::size_t>(n * n));
  for (int i = 0; i < n; ++i)
    for (int j = 0; j < n; ++j) {
      for (int k = 0; k < n; ++k)
        a(i, j) += root[static_cast<std::size_t>(i * n + k)] * root[static_cast<std::size_t>(j * n + k)];
      if (i == j) a(i, j) += 0.5;
    }
  return a;
}

/// H_{k+1} = (I - s y^T/sy) H (I - y s^T/sy) + s s^T/sy, dense.
Matrix bfgs_update(const Matrix& h, const Vector& s, const Vector& y) {
  const double sy = dot(s, y);
  const int n = h.rows;
  const Vector hy = oracle::multiply(h, y);
  const double yhy = dot(y, hy);
  Matrix out = h;
  for (int i = 0; i < n; ++i)
    for (int j = 0; j < n; ++j) {
      const auto a = static_cast<std::size_t>(i), b = static_cast<std::size_t>(j);
      out(i, j) += (1 + yhy / sy) * s[a] * s[b] / sy - (hy[a] * s[b] + s[a] * hy[b]) / sy;
    }
  return out;
}

TEST(LbfgsMemory, IsTheDenseFormula) {
  Random random(seed(1601));
  for (const int n : {1, 4, 9})
    for (const int pairs : {1, 3, 8}) {
      const Matrix a = random_definite(n, random);
      LbfgsMemory memory;
      std::vector<std::pair<Vector, Vector>> kept;
      for (int k = 0; k < pairs; ++k) {
        const Vector s = random.normal_vector(static_cast<std::size_t>(n));
        kept.emplace_back(s, oracle::multiply(a, s));
        memory.push(s, kept.back().second);
      }
      Matrix h(n, n);
      const Vector& y = kept.back().second;
      for (int i = 0; i < n; ++i) h(i, i) = dot(kept.back().first, y) / dot(y, y);
      for (const auto& [s, g] : kept) h = bfgs_update(h, s, g);
      const Vector z = random.normal_vector(static_cast<std::size_t>(n));
      EXPECT_LT(max_relative_difference(memory.apply(z), oracle::multiply(h, z)), 1e-9);
      // from another diagonal: H_0 = <s,y>/<y,Dy> D
      Vector diagonal;
      for (int i = 0; i < n; ++i) diagonal.push_back(random.log_uniform(1e-2, 1e2));
      Matrix scaled(n, n);
      double ydy = 0;
      for (std::size_t i = 0; i < diagonal.size(); ++i) ydy += diagonal[i] * y[i] * y[i];
      for (int i = 0; i < n; ++i)
        scaled(i, i) = dot(kept.back().first, y) / ydy * diagonal[static_cast<std::size_t>(i)];
      for (const auto& [s, g] : kept) scaled = bfgs_update(scaled, s, g);
      EXPECT_LT(max_relative_difference(memory.apply(z, diagonal), oracle::multiply(scaled, z)), 1e-7);
      EXPECT_LT(max_relative_difference(memory.apply(y, diagonal), kept.back().first), 1e-7);
      // the secant equation of the last pair, and a positive definite inverse
      EXPECT_LT(max_relative_difference(memory.apply(y), kept.back().first), 1e-9);
      EXPECT_GT(dot(z, memory.apply(z)), 0);
    }
}

/// Conjugate pairs that span the space give the inverse itself.
TEST(LbfgsMemory, IsExactOnQuadraticsOnceThePairsSpan) {
  Random random(seed(1602));
  for (const int n : {1, 2, 6, 12}) {
    const Matrix a = random_definite(n, random);
    std::vector<Vector> conjugate;
    LbfgsMemory memory;
    for (int k = 0; k < n; ++k) {
      Vector s = random.normal_vector(static_cast<std::size_t>(n));
      for (int turn = 0; turn < 2; ++turn)
        for (const Vector& c : conjugate) {
          const Vector ac = oracle::multiply(a, c);
          s = add_scaled(s, -dot(s, ac) / dot(c, ac), c);
        }
      conjugate.push_back(s);
      memory.push(s, oracle::multiply(a, s));
    }
    const Vector x = random.normal_vector(static_cast<std::size_t>(n));
    EXPECT_LT(max_relative_difference(memory.apply(oracle::multiply(a, x)), x), 1e-7) << n;
  }
}

TEST(LbfgsMemory, RefusesPairsWithoutPositiveCurvature) {
  LbfgsMemory memory;
  const Vector z = {1, -2, 3};
  EXPECT_EQ(memory.apply(z), z);
  const Vector s = {1, 0, 0}, zero(3, 0);
  for (const Vector& y : {Vector{-1, 0, 0}, Vector{0, 1, 0}, Vector{1e-9, 1, 0}, zero, Vector{NAN, 0, 0}}) {
    memory.push(s, y);
    EXPECT_TRUE(memory.empty());
  }
  memory.push(zero, s);
  EXPECT_TRUE(memory.empty());
  memory.push(s, Vector{2, 0, 0});
  EXPECT_FALSE(memory.empty());
  const Vector before = memory.apply(z);
  EXPECT_EQ(before, (Vector{0.5, -1, 1.5}));
  memory.push(Vector{0, 1, 0}, Vector{0, -1, 0});
  EXPECT_EQ(memory.apply(z), before);
  memory.clear();
  EXPECT_TRUE(memory.empty());
  EXPECT_EQ(memory.apply(z), z);
}

TEST(LbfgsMemory, ForgetsTheOldestAndRestoresTheSameBits) {
  Random random(seed(1603));
  LbfgsMemory memory(3), last(3);
  std::vector<std::pair<Vector, Vector>> pairs;
  for (int k = 0; k < 7; ++k) {
    const Vector s = random.normal_vector(5);
    Vector y = s;
    for (double& v : y) v *= random.uniform(0.5, 2);
    memory.push(s, y);
    if (k >= 4) last.push(s, y);
  }
  const Vector z = random.normal_vector(5);
  EXPECT_EQ(memory.apply(z), last.apply(z));
  EXPECT_EQ(memory.save().size(), 3U * 2 * 5);
  LbfgsMemory restored(3);
  restored.push(z, z);
  restored.restore(memory.save(), 5);
  EXPECT_EQ(restored.apply(z), memory.apply(z));
  EXPECT_EQ(restored.save(), memory.save());
  restored.restore({}, 5);
  EXPECT_TRUE(restored.empty());
}

Parameters interval(int p, double lower, double upper) {
  Segment s{"t", Transform::identity, 0, lower, upper, true};
  s.shape = {p};
  s.values.assign(static_cast<std::size_t>(p), 0);
  return Parameters({s});
}

HypergradientResult gradient(const Vector& z) {
  HypergradientResult r;
  r.z = z;
  r.omega = 0.1;
  for (std::size_t j = 0; j < z.size(); ++j) {
    r.block_bound.push_back(0.05);
    r.block_end.push_back(j + 1);
  }
  return r;
}

TEST(LbfgsStep, IsADescentDirectionWithLimitedEntries) {
  Random random(seed(1604));
  for (int trial = 0; trial < 200; ++trial) {
    const Parameters parameters = interval(6, -1.5, 1.5);
    LbfgsMemory memory;
    for (int k = random.integer(0, 4); k > 0; --k)
      memory.push(random.normal_vector(6), random.normal_vector(6));
    const Vector theta = parameters.project(random.normal_vector(6));
    Vector z = random.normal_vector(6);
    for (double& v : z) v *= random.log_uniform(1e-3, 1e3);
    const Step step = lbfgs_step(parameters, theta, gradient(z), memory);
    EXPECT_EQ(step.theta, parameters.project(step.theta));
    const bool blocked = !(projected_gradient_norm(parameters, theta, z) > 0);
    EXPECT_TRUE(blocked || step.slope > 0);
    EXPECT_LT(std::abs(step.slope + dot(z, step.direction)), 1e-12 * norm(z) * norm(step.direction) + 1e-300);
    double size = 0;
    for (const double t : theta) size = std::max(size, std::abs(t));
    for (std::size_t j = 0; j < 6; ++j) {
      EXPECT_LE(std::abs(step.direction[j]), (memory.empty() ? 0.1 : 1) * size * (1 + 1e-15));
      EXPECT_EQ(step.direction[j], step.theta[j] - theta[j]);
    }
    EXPECT_LE(step.error, 0.1 * norm(step.direction) * (1 + 1e-15));
    const Step half = shortened(step, theta, 0.5);
    EXPECT_EQ(half.slope, 0.5 * step.slope);
    EXPECT_EQ(half.error, 0.5 * step.error);
    EXPECT_EQ(shortened(step, theta, 1).theta, step.theta);
  }
}

/// Entries that a bound blocks stay, the others move by H of the free ones.
TEST(LbfgsStep, StaysOnBoundsThatBlock) {
  const Parameters parameters = interval(3, -1, 1);
  const Step step = lbfgs_step(parameters, Vector{-1, 1, 0}, gradient({5, -3, 0.5}), LbfgsMemory());
  EXPECT_EQ(step.direction, (Vector{0, 0, -0.1}));
  EXPECT_DOUBLE_EQ(step.slope, 0.05);
  const Step inward = lbfgs_step(parameters, Vector{-1, 1, 0}, gradient({-5, 3, 0}), LbfgsMemory());
  EXPECT_GT(inward.direction[0], 0);
  EXPECT_LT(inward.direction[1], 0);
}

/// Every entry gets the inverse of its share in the block's squared norm, within a factor of 1e4.
TEST(BlockScaling, IsTheInverseInfluenceOfTheBlocks) {
  HypergradientResult r;
  r.block_end = {1, 3, 4};
  r.block_norm2 = {4, 16, 1e-9};
  const Vector expected{1.0 / 4, 1.0 / 8, 1.0 / 8, 1 / 8e-4};
  EXPECT_LT(max_relative_difference(block_scaling(r), expected), 1e-12);
  r.block_norm2 = {0, 0, 0};
  EXPECT_TRUE(block_scaling(r).empty());
}

/// Gauss-Newton by conjugate gradients solves the damped system.
TEST(GaussNewtonStep, ByProductsSolvesTheDampedSystem) {
  Random random(seed(1605));
  const int n = 7;
  const Matrix a = random_definite(n, random);
  const Parameters parameters = interval(n, -100, 100);
  Vector z = random.normal_vector(n);
  for (double& v : z) v *= 0.01;
  int products = 0;
  const GaussNewtonProduct product = [&](std::span<const double> d) {
    ++products;
    return oracle::multiply(a, Vector(d.begin(), d.end()));
  };
  const Vector theta(n, 0);
  const Step step = gauss_newton_step(parameters, theta, gradient(z), product, 1e-3, 1e-12, 50);
  Matrix damped = a;
  const double shift = 1e-3 * dot(z, oracle::multiply(a, z)) / dot(z, z);
  for (int i = 0; i < n; ++i) damped(i, i) += shift;
  const Vector want = oracle::cholesky_solve(damped, z);
  EXPECT_LT(max_relative_difference(add_scaled(theta, -1, step.direction), want), 1e-8);
  EXPECT_NEAR(step.slope, dot(z, want), 1e-10 * norm(z) * norm(want));
  EXPECT_LE(products, 2 * n + 2);
  products = 0;
  EXPECT_GT(gauss_newton_step(parameters, theta, gradient(z), product, 1e-3, 1e-12, 2).slope, 0);
  EXPECT_EQ(products, 2);
}

}  // namespace
}  // namespace bilevel
