// Linear models of residuals, steps in a ball and a box, and the geometry of points.

#include "learn/dfo_model.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "tests/oracle/linear_algebra.hpp"
#include "tests/support/numeric.hpp"
#include "tests/support/random.hpp"

namespace bilevel {
namespace {

using namespace testing_support;
using Vector = std::vector<double>;

constexpr double infinity = std::numeric_limits<double>::infinity();

Room random_room(std::size_t n, double size, Random& random) {
  Room room{Vector(n), Vector(n)};
  for (std::size_t j = 0; j < n; ++j) {
    const int kind = random.integer(0, 3);
    room.low[j] = kind == 0 ? 0 : kind == 1 ? -infinity : -random.log_uniform(0.05, 3) * size;
    room.high[j] = kind == 1 ? infinity : kind == 2 ? 0 : random.log_uniform(0.05, 3) * size;
  }
  return room;
}

bool allowed(const Vector& s, const Room& room, double radius) {
  bool in = norm(s) <= radius * (1 + 1e-12);
  for (std::size_t j = 0; j < s.size(); ++j) in = in && s[j] >= room.low[j] && s[j] <= room.high[j];
  return in;
}

/// Some point of the ball and the room.
Vector random_point(const Room& room, double radius, Random& random) {
  Vector s = scaled_to(random.normal_vector(room.low.size()), radius * random.log_uniform(0.01, 1));
  for (std::size_t j = 0; j < s.size(); ++j) s[j] = std::clamp(s[j], room.low[j], room.high[j]);
  return s;
}

/// r(s) = r + J s.
struct Affine {
  oracle::Matrix jacobian;
  Vector r;
  Affine(int m, int n, Random& random)
      : jacobian(m, n), r(random.normal_vector(static_cast<std::size_t>(m))) {
    for (double& e : jacobian.entries) e = random.normal();
  }
  LinearModels models(const Vector& steps) const {
    const auto n = static_cast<std::size_t>(jacobian.cols);
    Vector differences;
    for (std::size_t t = 0; t < n; ++t)
      for (double d :
           oracle::multiply(jacobian, Vector(steps.begin() + static_cast<std::ptrdiff_t>(t * n),
                                             steps.begin() + static_cast<std::ptrdiff_t>((t + 1) * n))))
        differences.push_back(d);
    return LinearModels(steps, differences, r);
  }
  double value(const Vector& s) const {
    const Vector moved = add_scaled(oracle::multiply(jacobian, s), 1, r);
    return dot(moved, moved);
  }
  Vector slope(const Vector& s) const {
    const Vector moved = add_scaled(oracle::multiply(jacobian, s), 1, r);
    Vector out(s.size(), 0);
    for (int i = 0; i < jacobian.rows; ++i)
      for (int j = 0; j < jacobian.cols; ++j)
        out[static_cast<std::size_t>(j)] += 2 * jacobian(i, j) * moved[static_cast<std::size_t>(i)];
    return out;
  }
};

/// Multiples of the unit vectors.
Vector coordinate_steps(std::size_t n, double size) {
  Vector steps(n * n, 0);
  for (std::size_t t = 0; t < n; ++t) steps[t * n + t] = t % 2 == 0 ? size : -size;
  return steps;
}
Vector random_steps(std::size_t n, double size, Random& random) {
  Vector steps = random.normal_vector(n * n);
  for (double& e : steps) e *= size;
  return steps;
}
/// Euclidean norm of the inverse, which is what errors grow by.
double growth(const LinearModels& models) {
  double sum = 0;
  for (std::size_t t = 0; t < models.size(); ++t)
    for (double e : models.lagrange(t)) sum += e * e;
  double steps = 0;
  for (std::size_t t = 0; t < models.size(); ++t)
    for (double e : models.step(t)) steps += e * e;
  return std::sqrt(sum * steps);
}

TEST(DfoModel, IsExactForAffineResiduals) {
  Random random(seed(5101));
  for (int trial = 0; trial < 200; ++trial) {
    const int n = random.integer(1, 12), m = random.integer(1, 15);
    const Affine of(m, n, random);
    const double size = random.log_uniform(1e-6, 10);
    const LinearModels models = of.models(random_steps(static_cast<std::size_t>(n), size, random));
    double largest = 0;
    for (double e : of.jacobian.entries) largest = std::max(largest, std::abs(e));
    for (std::size_t k = 0; k < of.jacobian.entries.size(); ++k)
      EXPECT_NEAR(models.jacobian()[k], of.jacobian.entries[k], 1e-14 * growth(models) * largest);
    const Vector s = random.normal_vector(static_cast<std::size_t>(n));
    EXPECT_NEAR(models.fall(s), of.value(Vector(s.size(), 0)) - of.value(s),
                1e-13 * growth(models) * (1 + of.value(s) + of.value(Vector(s.size(), 0))));
  }
}

TEST(DfoModel, LagrangePolynomialsAreOneAtTheirPoint) {
  Random random(seed(5102));
  for (int trial = 0; trial < 200; ++trial) {
    const auto n = static_cast<std::size_t>(random.integer(1, 12));
    const Affine of(2, static_cast<int>(n), random);
    const LinearModels models = of.models(random_steps(n, random.log_uniform(1e-6, 10), random));
    const double tolerance = 1e-14 * growth(models);
    for (std::size_t u = 0; u <= n; ++u) {
      const Vector at = u < n ? Vector(models.step(u).begin(), models.step(u).end()) : Vector(n, 0);
      const Vector values = models.lagrange_values(at);
      for (std::size_t t = 0; t <= n; ++t) EXPECT_NEAR(values[t], t == u, tolerance) << t << " at " << u;
    }
  }
}

TEST(DfoModel, FarthestAlongBeatsEveryOtherPoint) {
  Random random(seed(5103));
  int on_sphere = 0, in_corner = 0;
  for (int trial = 0; trial < 300; ++trial) {
    const auto n = static_cast<std::size_t>(random.integer(1, 8));
    const double radius = random.log_uniform(1e-3, 10);
    const Room room = random_room(n, radius, random);
    Vector g = random.normal_vector(n);
    if (n > 2) g[1] = 0;
    const Vector s = farthest_along(g, room, radius);
    ASSERT_TRUE(allowed(s, room, radius));
    (norm(s) > radius * (1 - 1e-12) ? on_sphere : in_corner) += 1;
    for (int other = 0; other < 200; ++other)
      EXPECT_LE(dot(g, random_point(room, radius, random)), dot(g, s) + 1e-13 * norm(g) * radius);
    // optimal: no point near it is better
    for (int other = 0; other < 50; ++other) {
      Vector near = add_scaled(s, random.log_uniform(1e-6, 1e-1) * radius, random.normal_vector(n));
      for (std::size_t j = 0; j < n; ++j) near[j] = std::clamp(near[j], room.low[j], room.high[j]);
      if (norm(near) > radius) near = scaled_to(near, radius * (1 - 1e-15));
      EXPECT_LE(dot(g, near), dot(g, s) + 1e-13 * norm(g) * radius);
    }
  }
  EXPECT_GT(on_sphere, 50);
  EXPECT_GT(in_corner, 50);
}

TEST(DfoModel, StepIsTheLeastPointOfAGrid) {
  Random random(seed(5104));
  constexpr int cells = 200;
  for (int trial = 0; trial < 60; ++trial) {
    const auto n = static_cast<std::size_t>(random.integer(1, 2));
    const double radius = random.log_uniform(0.05, 5);
    const Room room = random_room(n, radius, random);
    const Affine of(random.integer(1, 4), static_cast<int>(n), random);
    const LinearModels models = of.models(coordinate_steps(n, radius));
    const Vector s = trust_region_step(models, room, radius);
    ASSERT_TRUE(allowed(s, room, radius));
    const double value = of.value(s);
    for (int a = 0; a <= cells; ++a)
      for (int b = 0; b <= (n == 2 ? cells : 0); ++b) {
        Vector other{radius * (2.0 * a / cells - 1)};
        if (n == 2) other.push_back(radius * (2.0 * b / cells - 1));
        if (!allowed(other, room, radius)) continue;
        EXPECT_LE(value, of.value(other) * (1 + 1e-9)) << "trial " << trial;
      }
  }
}

/// First-order conditions of the convex problem: slope(s) + 2 a s = 0 in the entries inside their bounds, and
/// not into the room in the others, with a >= 0, and a = 0 inside the ball.
TEST(DfoModel, StepFulfilsTheFirstOrderConditions) {
  Random random(seed(5105));
  int inside = 0, on_sphere = 0, on_bounds = 0;
  for (int trial = 0; trial < 400; ++trial) {
    const auto n = static_cast<std::size_t>(random.integer(1, 8));
    const int m = random.integer(1, 12);
    const double radius = random.log_uniform(1e-3, 3);
    Affine of(m, static_cast<int>(n), random);
    for (int i = 0; i < m; ++i)  // columns of different sizes
      for (std::size_t j = 0; j < n; ++j)
        of.jacobian(i, static_cast<int>(j)) *= std::pow(10, -static_cast<int>(j % 3));
    const Room room = random_room(n, radius, random);
    const LinearModels models = of.models(coordinate_steps(n, radius));
    const Vector s = trust_region_step(models, room, radius);
    ASSERT_TRUE(allowed(s, room, radius));
    const bool sphere = norm(s) > radius * (1 - 1e-9);
    const Vector slope = of.slope(s);
    double top = 0, bottom = 0;
    for (std::size_t j = 0; j < n; ++j)
      if (s[j] > room.low[j] && s[j] < room.high[j]) {
        top -= slope[j] * s[j];
        bottom += 2 * s[j] * s[j];
      }
    const double a = sphere && bottom > 0 ? top / bottom : 0, scale = norm(of.slope(Vector(n, 0)));
    EXPECT_GE(a, -1e-7 * scale / radius);
    for (std::size_t j = 0; j < n; ++j) {
      const double rest = slope[j] + 2 * a * s[j];
      EXPECT_TRUE(s[j] == room.low[j] || rest <= 2e-6 * scale) << "trial " << trial;
      EXPECT_TRUE(s[j] == room.high[j] || rest >= -2e-6 * scale) << "trial " << trial;
      on_bounds += s[j] == room.low[j] || s[j] == room.high[j];
    }
    (sphere ? on_sphere : inside) += 1;
    const double fall = models.fall(s);
    EXPECT_NEAR(fall, of.value(Vector(n, 0)) - of.value(s), 1e-11 * of.value(Vector(n, 0)));
    EXPECT_GE(fall, 0);
  }
  EXPECT_GT(inside, 50);
  EXPECT_GT(on_sphere, 50);
  EXPECT_GT(on_bounds, 100);
}

TEST(DfoModel, StepsAreZeroOnlyWhereNothingIsToBeGained) {
  Random random(seed(5106));
  Affine of(3, 2, random);
  of.r = Vector(3, 0);
  const Room free{Vector(2, -infinity), Vector(2, infinity)};
  EXPECT_EQ(norm(trust_region_step(of.models(coordinate_steps(2, 1)), free, 1)), 0);
  EXPECT_EQ(criticality_of(of.models(coordinate_steps(2, 1)), free), 0);
  // against both bounds
  of.jacobian.entries = {1, 0, 0, 1, 0, 0};
  of.r = {1, 2, 0};
  const Room corner{{0, 0}, {1, 1}};
  const LinearModels models = of.models(coordinate_steps(2, 1));
  EXPECT_EQ(norm(trust_region_step(models, corner, 1)), 0);
  EXPECT_EQ(criticality_of(models, corner), 0);
  EXPECT_NEAR(criticality_of(models, free), std::sqrt(4 + 16), 1e-14);
}

/// Improves until nothing is left to do; the number of replacements.
int improve(Vector& steps, const Room& room, double radius, double most) {
  const std::size_t n = room.low.size();
  for (int count = 0;; ++count) {
    const LinearModels models(steps, Vector(n, 0), Vector(1, 0));
    const auto next = improve_geometry(models, room, radius, most);
    if (!next || count > 1000) return count;
    EXPECT_TRUE(allowed(next->step, room, radius));
    std::copy(next->step.begin(), next->step.end(),
              steps.begin() + static_cast<std::ptrdiff_t>(next->point * n));
  }
}

/// Whatever the points were: in the same place, on a line, in a plane, far away, all at once.
TEST(DfoModel, GeometryImprovesFromDegeneratePoints) {
  Random random(seed(5107));
  int most_replaced = 0;
  for (int trial = 0; trial < 200; ++trial) {
    const auto n = static_cast<std::size_t>(random.integer(1, 10));
    const double radius = random.log_uniform(1e-6, 1);
    Room room{Vector(n, -infinity), Vector(n, infinity)};
    for (std::size_t j = 0; j < n; ++j) {  // as of a box with sides 1, the point at an end of it or inside
      const double at = random.integer(0, 2) / 2.0 * random.uniform();
      if (random.integer(0, 3) > 0) room.low[j] = -at, room.high[j] = 1 - at;
    }
    Vector steps = random_steps(n, radius, random);
    switch (trial % 5) {
      case 0:
        steps.assign(n * n, 0);
        break;
      case 1:
        for (std::size_t k = 0; k < n * n; ++k) steps[k] = steps[k % n] * (1 + static_cast<double>(k / n));
        break;
      case 2:
        for (std::size_t t = 0; t < n; ++t) steps[t * n] = 0;
        break;
      case 3:
        for (double& e : steps) e *= 1e6;
        break;
      default:
        for (std::size_t k = 0; k < n * n; ++k) steps[k] = radius * (1 + 1e-12 * random.normal());
    }
    const int replaced = improve(steps, room, radius, 10);
    most_replaced = std::max(most_replaced, replaced);
    EXPECT_LE(replaced, 20 * static_cast<int>(n));
    const LinearModels models(steps, Vector(n, 0), Vector(1, 0));
    for (std::size_t t = 0; t < n; ++t) {
      EXPECT_LE(norm(Vector(models.step(t).begin(), models.step(t).end())), 2 * radius * (1 + 1e-9));
      for (int other = 0; other < 50; ++other)
        EXPECT_LE(std::abs(dot(Vector(models.lagrange(t).begin(), models.lagrange(t).end()),
                               random_point(room, radius, random))),
                  10 * (1 + 1e-9));
    }
  }
  std::cout << "at most " << most_replaced << " replacements" << std::endl;
}

TEST(DfoModel, GoodGeometryIsLeftAlone) {
  Random random(seed(5108));
  for (const std::size_t n : {1u, 2u, 7u}) {
    const Room free{Vector(n, -infinity), Vector(n, infinity)};
    const LinearModels models(coordinate_steps(n, 0.3), Vector(n, 0), Vector(1, 0));
    EXPECT_FALSE(improve_geometry(models, free, 0.3, 10));
    EXPECT_FALSE(improve_geometry(models, free, 0.15, 10));
    EXPECT_TRUE(improve_geometry(models, free, 0.149, 10));  // too far away
    EXPECT_TRUE(improve_geometry(models, free, 3.1, 10));    // too close to each other
  }
}

TEST(DfoModel, DropsThePointThatIsFarAway) {
  Vector steps = coordinate_steps(3, 1);
  steps[4] = 50;
  const LinearModels models(steps, Vector(3, 0), Vector(1, 0));
  const Vector s{0.5, 0.4, 0.3};
  EXPECT_EQ(least_useful(models, s, 1, true), 1u);
  EXPECT_EQ(least_useful(models, s, 1, false), 1u);
  // no new point may leave the models undetermined: its polynomial is not zero there
  EXPECT_NE(least_useful(models, Vector{0.5, 0, 0.3}, 1, true), 1u);
  // the best point goes when the new one is on the other side of it
  EXPECT_EQ(least_useful(LinearModels({1.0}, {0.0}, {0.0}), Vector{-0.5}, 1, true), 0u);
  EXPECT_EQ(least_useful(LinearModels({1.0}, {0.0}, {0.0}), Vector{0.6}, 1, true), 0u);
  EXPECT_EQ(least_useful(LinearModels({1.0}, {0.0}, {0.0}), Vector{0.4}, 1, true), 1u);
}

}  // namespace
}  // namespace bilevel
