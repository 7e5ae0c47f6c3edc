#include "tests/oracle/foe_oracle.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "tests/support/numeric.hpp"
#include "tests/support/random.hpp"

namespace bilevel::oracle {
namespace {

using namespace testing_support;
using extended::widen;

FoeProblem shape_of(int n, int h, int w, int filters, int size) {
  FoeProblem shape;
  shape.n = n;
  shape.h = h;
  shape.w = w;
  shape.filters = filters;
  shape.size = size;
  return shape;
}

// Calls check(problem) for every kind, padding and potential on images of several shapes.
template <class Check>
void for_all_problems(Random& random, const Check& check) {
  for (const FoeProblem& shape : {shape_of(1, 6, 7, 2, 3), shape_of(1, 7, 5, 3, 5), shape_of(1, 1, 6, 2, 3),
                                  shape_of(1, 3, 4, 1, 7), shape_of(1, 2, 1, 2, 3)}) {
    for (const NamedFoe& named : foe_collection(shape, random)) {
      SCOPED_TRACE(named.name + ", " + std::to_string(shape.h) + "x" + std::to_string(shape.w) + ", size " +
                   std::to_string(shape.size));
      check(named.problem);
    }
  }
}

Field random_dual(const FoeProblem& problem, Random& random) {
  Field zeta = random.normal_vector(static_cast<std::size_t>(problem.filters) * problem.responses());
  for (double& entry : zeta) entry = std::clamp(entry, -1.0, 1.0);
  return zeta;
}

// Noise whose responses, in units of nu_k, have the given root mean square.
Image image_with_responses(const FoeProblem& problem, double size, Random& random) {
  const Image x = noise(problem.h, problem.w, 1.0, random);
  double square = 0;
  for (int k = 0; k < problem.filters; ++k) {
    const Image t = correlate(problem, k, x);
    square += dot(t, t) / std::pow(problem.smoothing(k), 2) / (problem.filters * problem.responses());
  }
  return add_scaled(Image(x.size(), 0.0), size / std::sqrt(square), x);
}

// Responses on both sides of the bend |t| = nu, none within half a percent of it: rho'' of huber_c2 has a
// corner there, which a Taylor expansion must not cross.
Image random_image(const FoeProblem& problem, Random& random) {
  while (true) {
    Image x = image_with_responses(problem, random.log_uniform(0.3, 0.9), random);
    double nearest = 1;
    for (int k = 0; k < problem.filters; ++k)
      for (const double t : correlate(problem, k, x))
        nearest = std::min(nearest, std::abs(std::abs(t) / problem.smoothing(k) - 1));
    if (nearest > 0.005) return x;
  }
}

TEST(FoeOperator, HandWorkedResponses) {
  FoeProblem problem = shape_of(1, 2, 3, 1, 3);
  problem.theta = {0, 0, 1, 0, 0, 0, 10, 0, 0, 0, 100};  // upper left, middle and lower right tap
  EXPECT_EQ(correlate(problem, 0, {1, 2, 3, 4, 5, 6}), (Image{511, 621, 632, 541, 651, 662}));
  EXPECT_EQ(correlate_adjoint(problem, 0, {1, 0, 0, 0, 0, 0}), (Image{11, 0, 0, 0, 100, 0}));
  problem.h = problem.w = 3;
  problem.padding = Padding::valid;
  EXPECT_EQ(correlate(problem, 0, {1, 2, 3, 4, 5, 6, 7, 8, 9}), (Image{951}));
  problem.zero_mean = true;
  EXPECT_NEAR(correlate(problem, 0, Image(9, 5.0))[0], 0.0, 1e-13);
}

// `line` followed by its mirror images on both sides: reversed, line, reversed.
std::vector<double> with_mirrors(const std::vector<double>& line) {
  std::vector<double> result(line.rbegin(), line.rend());
  result.insert(result.end(), line.begin(), line.end());
  result.insert(result.end(), line.rbegin(), line.rend());
  return result;
}

// Image extended by `reach` reflected pixels on each side, cut out of the 3h x 3w mosaic of its mirror
// images.
Image extended_image(const Image& x, int h, int w, int reach) {
  std::vector<Image> rows;
  for (int r = 0; r < h; ++r) rows.push_back(with_mirrors({x.begin() + r * w, x.begin() + (r + 1) * w}));
  std::vector<Image> mosaic(rows.rbegin(), rows.rend());
  mosaic.insert(mosaic.end(), rows.begin(), rows.end());
  mosaic.insert(mosaic.end(), rows.rbegin(), rows.rend());
  Image result;
  for (int r = h - reach; r < 2 * h + reach; ++r)
    result.insert(result.end(), mosaic[r].begin() + w - reach, mosaic[r].begin() + 2 * w + reach);
  return result;
}

TEST(FoeOperator, SymmetricPaddingIsValidOnTheReflectedImage) {
  Random random(seed(31));
  for_all_problems(random, [&](const FoeProblem& problem) {
    if (problem.padding == Padding::valid) return;
    const int reach = (problem.size - 1) / 2;
    const Image x = random.normal_vector(problem.pixels());
    FoeProblem larger = problem;
    larger.padding = Padding::valid;
    larger.h += 2 * reach;
    larger.w += 2 * reach;
    const Image continued = extended_image(x, problem.h, problem.w, reach);
    ASSERT_EQ(continued.size(), static_cast<std::size_t>(larger.pixels()));
    for (int k = 0; k < problem.filters; ++k) {
      EXPECT_LT(max_relative_difference(correlate(problem, k, x), correlate(larger, k, continued)), 1e-15);
    }
  });
}

TEST(FoeOperator, AdjointAndMatrix) {
  Random random(seed(32));
  for_all_problems(random, [&](const FoeProblem& problem) {
    const Image x = random.normal_vector(problem.pixels()), t = random.normal_vector(problem.responses());
    for (int k = 0; k < problem.filters; ++k) {
      const Matrix c = correlation_matrix(problem, k);
      const Image response = correlate(problem, k, x);
      EXPECT_LT(max_relative_difference(multiply(c, x), response), 1e-14);
      EXPECT_NEAR(dot(response, t), dot(x, correlate_adjoint(problem, k, t)),
                  1e-14 * operator_norm(c) * norm(x) * norm(t));
    }
  });
}

TEST(FoeOperator, NormsOfOneTapFilters) {
  FoeProblem problem = shape_of(1, 5, 6, 2, 3);
  problem.theta.assign(problem.parameters(), 0.0);
  problem.theta[4] = -3.0;       // upper left tap: the corner pixel is read four times
  problem.theta[4 + 9 + 4] = 2;  // middle tap
  EXPECT_NEAR(correlation_norm(problem, 0), 6.0, 1e-13);
  EXPECT_NEAR(correlation_norm(problem, 1), 2.0, 1e-13);
  EXPECT_NEAR(joint_norm(problem, {0.5, 0.25}), 0.5 * 36 + 0.25 * 4, 1e-13);
  EXPECT_NEAR(row_norm(problem, 0), 3.0, 1e-15);
  problem.theta[4 + 1] = -4.0;  // read together with the corner tap in the first column
  EXPECT_NEAR(row_norm(problem, 0), 7.0, 1e-15);
  problem.padding = Padding::valid;
  EXPECT_NEAR(row_norm(problem, 0), 5.0, 1e-15);
}

TEST(FoeOperator, NormsAgainstPowerIterationAndRows) {
  Random random(seed(33));
  for_all_problems(random, [&](const FoeProblem& problem) {
    std::vector<double> weights;
    for (int k = 0; k < problem.filters; ++k) {
      const double exact = correlation_norm(problem, k);
      Image x = random.normal_vector(problem.pixels());
      for (int step = 0; step < 300; ++step)
        x = scaled_to(correlate_adjoint(problem, k, correlate(problem, k, x)), 1.0);
      const double lower = norm(correlate(problem, k, x));
      EXPECT_LE(lower, exact * (1 + 1e-13));
      EXPECT_GE(lower, 0.98 * exact);
      double largest_row = 0;
      for (int p = 0; p < problem.responses(); ++p) {
        Image unit(problem.responses(), 0.0);
        unit[p] = 1.0;
        largest_row = std::max(largest_row, norm(correlate_adjoint(problem, k, unit)));
      }
      EXPECT_NEAR(row_norm(problem, k), largest_row, 1e-14 * largest_row);
      weights.push_back(random.log_uniform(0.1, 10.0));
    }
    const double joint = joint_norm(problem, weights);
    const Image x = random.normal_vector(problem.pixels());
    double square = 0, sum = 0;
    for (int k = 0; k < problem.filters; ++k) {
      const Image t = correlate(problem, k, x);
      square += weights[k] * dot(t, t);
      sum += weights[k] * std::pow(correlation_norm(problem, k), 2);
      EXPECT_GE(joint, weights[k] * std::pow(correlation_norm(problem, k), 2) * (1 - 1e-12));
    }
    EXPECT_LE(square, joint * dot(x, x) * (1 + 1e-12));
    EXPECT_LE(joint, sum * (1 + 1e-12));
  });
}

TEST(FoeEnergy, ClosedForms) {
  FoeProblem problem = shape_of(1, 4, 5, 1, 3);
  problem.mu = 0.5;
  problem.theta = {std::log(3.0), std::log(0.5)};
  for (int tap = 0; tap < 9; ++tap) problem.theta.push_back(0.1);
  const Image y(20, 1.0), x(20, 2.0);  // all responses are 1.8 > nu
  const double data = 20 * (0.5 + 0.25 * 4);
  EXPECT_NEAR(energy(problem, y, x), data + 20 * 3 * std::sqrt(1.8 * 1.8 + 0.25), 1e-12);
  problem.potential = Potential::huber_c2;
  EXPECT_NEAR(energy(problem, y, x), data + 20 * 3 * (1.8 - 0.5 / 3), 1e-12);
  problem.theta[1] = std::log(3.6);  // t / nu = 1/2: rho = nu (1/4 - 1/24), psi = 3/4, rho'' = 1/nu
  EXPECT_NEAR(energy(problem, y, x), data + 20 * 3 * 3.6 * (0.25 - 1.0 / 24), 1e-12);
  for (const double psi : dual_field(problem, x)) EXPECT_NEAR(psi, 0.75, 1e-14);
  problem.padding = Padding::valid;
  EXPECT_NEAR(energy(problem, y, x), data + 6 * 3 * 3.6 * (0.25 - 1.0 / 24), 1e-12);
  problem.zero_mean = true;
  EXPECT_NEAR(energy(problem, y, x), data, 1e-12);
}

ExtendedImage moved(ExtendedImage x, double t, const ExtendedImage& d) {
  for (std::size_t p = 0; p < x.size(); ++p) x[p] += t * d[p];
  return x;
}

long double inner(const ExtendedImage& a, const ExtendedImage& b) {
  long double sum = 0;
  for (std::size_t p = 0; p < a.size(); ++p) sum += a[p] * b[p];
  return sum;
}

TEST(FoeDerivatives, TaylorRemaindersOfTheEnergy) {
  Random random(seed(34));
  for_all_problems(random, [&](const FoeProblem& problem) {
    const ExtendedImage y = widen(random_image(problem, random)), x = widen(random_image(problem, random));
    const ExtendedImage g = extended::gradient(problem, y, x), hx = extended::hessian_product(problem, x, x);
    const long double value = extended::energy(problem, y, x);
    // Along x the third derivatives of all terms have one sign and cannot cancel.
    const auto first = [&](double t) {
      return static_cast<double>(
          std::abs(extended::energy(problem, y, moved(x, t, x)) - value - t * inner(g, x)));
    };
    const auto second = [&](double t) {
      const long double taylor = value + t * inner(g, x) + 0.5L * t * t * inner(x, hx);
      return static_cast<double>(std::abs(extended::energy(problem, y, moved(x, t, x)) - taylor));
    };
    const double rounding = 1e-18 * static_cast<double>(value);
    EXPECT_NEAR(taylor_slope(first, 1e-3, 1e-6, 13, rounding), 2.0, 0.1);
    EXPECT_NEAR(taylor_slope(second, 1e-3, 1e-5, 13, rounding), 3.0, 0.1);
  });
}

TEST(FoeDerivatives, TaylorRemaindersOfTheGradient) {
  Random random(seed(42));
  for_all_problems(random, [&](const FoeProblem& problem) {
    const ExtendedImage y = widen(random_image(problem, random)), x = widen(random_image(problem, random)),
                        d = widen(image_with_responses(problem, 1.0, random));
    const ExtendedImage g = extended::gradient(problem, y, x), hd = extended::hessian_product(problem, x, d);
    const auto remainder = [&](double t) {
      const ExtendedImage change = moved(extended::gradient(problem, y, moved(x, t, d)), -1.0, g);
      return static_cast<double>(extended::norm(moved(change, -t, hd)));
    };
    const double rounding = 1e-18 * static_cast<double>(extended::norm(g) + extended::norm(hd));
    EXPECT_NEAR(taylor_slope(remainder, 1e-3, 1e-7, 17, rounding), 2.0, 0.1);
  });
}

TEST(FoeDerivatives, MixedDerivativesByTaylorAdjointnessAndColumns) {
  Random random(seed(35));
  for_all_problems(random, [&](FoeProblem problem) {
    const Image x = random_image(problem, random), q = random.normal_vector(x.size());
    std::vector<double> d = random.normal_vector(problem.parameters());
    double change = 1;  // of the responses by the taps, in units of nu_k
    for (int k = 0; k < problem.filters; ++k)
      for (const double t : correlate(with_theta(problem, d), k, x))
        change = std::max(change, std::abs(t) / problem.smoothing(k));
    for (double& entry : d) entry /= change;
    for (std::vector<double>* v : {&problem.theta, &d})  // theta + t d below is exact
      for (double& entry : *v) entry = std::ldexp(std::round(std::ldexp(entry, 20)), -20);
    const Image bd = mixed_forward(problem, x, d);
    const std::vector<double> btq = mixed_adjoint(problem, x, q);
    EXPECT_NEAR(dot(bd, q), dot(d, btq), 1e-13 * (norm(bd) * norm(q) + norm(d) * norm(btq)));
    const Matrix b = mixed_matrix(problem, x);
    EXPECT_LE(distance(multiply(b, d), bd), 1e-14 * operator_norm(b) * norm(d));
    EXPECT_LE(norm(bd), operator_norm(b) * norm(d) * (1 + 1e-12));
    const ExtendedImage y = widen(problem.y), wide_x = widen(x);
    const ExtendedImage g = extended::gradient(problem, y, wide_x),
                        slope = extended::mixed_forward(problem, wide_x, widen(d));
    std::vector<double> steps, remainders;
    for (int exponent = -10; exponent >= -22; --exponent) {
      steps.push_back(std::ldexp(1.0, exponent));
      ExtendedImage rest =
          extended::gradient(with_theta(problem, add_scaled(problem.theta, steps.back(), d)), y, wide_x);
      rest = moved(moved(rest, -1.0, g), -steps.back(), slope);
      remainders.push_back(static_cast<double>(extended::norm(rest)));
    }
    const double rounding = 1e-18 * (static_cast<double>(extended::norm(g)) + operator_norm(b));
    EXPECT_NEAR(taylor_slope(steps, remainders, rounding), 2.0, 0.1);
  });
}

TEST(FoeDerivatives, ZeroMeanFiltersIgnoreTheMeanOfTheTaps) {
  Random random(seed(36));
  FoeProblem problem = random_foe(FoeKind::zero_mean, shape_of(1, 6, 6, 2, 3), random);
  const Image x = random.normal_vector(36), q = random.normal_vector(36);
  FoeProblem shifted = problem;
  for (int j = 4; j < problem.parameters(); ++j) shifted.theta[j] += 0.7;
  EXPECT_LT(max_relative_difference(gradient(shifted, problem.y, x), gradient(problem, problem.y, x)), 1e-14);
  const std::vector<double> adjoint = mixed_adjoint(problem, x, q);
  for (int k = 0; k < 2; ++k) {
    double sum = 0, mean = 0;
    for (int tap = 0; tap < 9; ++tap) {
      sum += adjoint[4 + 9 * k + tap];
      mean += problem.filter(k)[tap];
    }
    EXPECT_NEAR(sum, 0.0, 1e-13 * norm(adjoint));
    EXPECT_NEAR(mean, 0.0, 1e-14);
  }
}

TEST(FoeDerivatives, HessianMatrixAndProduct) {
  Random random(seed(37));
  for_all_problems(random, [&](const FoeProblem& problem) {
    const Image x = random_image(problem, random), d = random.normal_vector(x.size());
    const Matrix a = hessian(problem, x);
    EXPECT_LE(asymmetry(a), 1e-15 * spectral_norm(a));
    EXPECT_LT(max_relative_difference(multiply(a, d), hessian_product(problem, x, d)), 1e-13);
    const double curvature = problem.potential == Potential::charbonnier ? 1.0 : 2.0;
    std::vector<double> ceilings;
    for (int k = 0; k < problem.filters; ++k)
      ceilings.push_back(curvature * problem.weight(k) / problem.smoothing(k));
    const std::vector<double> spectrum = eigenvalues(a);
    EXPECT_GE(spectrum.front(), (1 + problem.mu) - 1e-13 * spectrum.back());
    EXPECT_LE(spectrum.back(), (1 + problem.mu + joint_norm(problem, ceilings)) * (1 + 1e-13));
  });
}

TEST(FoePrimalDual, MapsAndUpdate) {
  Random random(seed(38));
  for_all_problems(random, [&](const FoeProblem& problem) {
    const Image x = random_image(problem, random), d = random_image(problem, random);
    const Field psi = dual_field(problem, x), zeta = random_dual(problem, random);
    const Image v = random.normal_vector(x.size());
    EXPECT_LT(max_relative_difference(maps_product(problem, primal_dual_maps(problem, x, psi), v),
                                      hessian_product(problem, x, v)),
              1e-13);
    const Field maps = primal_dual_maps(problem, x, zeta);
    for (const double entry : maps) EXPECT_GE(entry, 0.0);
    EXPECT_LT(
        max_relative_difference(multiply(maps_matrix(problem, maps), v), maps_product(problem, maps, v)),
        1e-13);
    EXPECT_LT(max_relative_difference(dual_update(problem, x, zeta, Image(x.size(), 0.0)), psi), 1e-14);
    for (const double entry : dual_update(problem, x, zeta, d)) EXPECT_LE(std::abs(entry), 1.0);
    const auto remainder = [&](double t) {
      const Image step = add_scaled(Image(x.size(), 0.0), t, d);
      return distance(dual_update(problem, x, psi, step), dual_field(problem, add_scaled(x, 1.0, step)));
    };
    EXPECT_NEAR(taylor_slope(remainder, 1e-3, 1e-6, 13, 1e-15 * (1 + norm(psi))), 2.0, 0.1);
  });
}

TEST(FoeExact, MinimiserAndAdjointSolveTheirEquations) {
  Random random(seed(39));
  for_all_problems(random, [&](const FoeProblem& problem) {
    const Minimiser solution = minimise(problem, problem.y);
    EXPECT_LE(solution.gradient_norm, 1e-12);
    const Minimiser again = minimise(problem, problem.y, random.normal_vector(problem.pixels()));
    EXPECT_LE(distance(solution.x, again.x), 2e-12);
    const Image rhs = random.normal_vector(problem.pixels());
    const Image q = solve_adjoint(problem, solution.x, rhs);
    const Matrix a = hessian(problem, solution.x);
    EXPECT_LT(distance(cholesky_solve(a, rhs), q), 1e-15 * spectral_norm(a) * norm(q));
    EXPECT_LT(distance(hessian_product(problem, solution.x, q), rhs), 1e-15 * spectral_norm(a) * norm(q));
  });
}

TEST(FoeExact, HypergradientMatchesDifferencesOfTheUpperValue) {
  Random random(seed(40));
  for (const NamedFoe& named : foe_collection(shape_of(2, 5, 6, 2, 3), random)) {
    SCOPED_TRACE(named.name);
    const FoeProblem& problem = named.problem;
    const UpperResult result = exact_hypergradient(problem);
    for (int round = 0; round < 4; ++round) {
      const std::vector<double> d = scaled_to(random.normal_vector(problem.theta.size()), 1.0);
      const auto f = [&](double h) {
        return exact_hypergradient(with_theta(problem, add_scaled(problem.theta, h, d))).f;
      };
      const double slope = (f(1e-7) - f(-1e-7)) / 2e-7;
      EXPECT_NEAR(slope, dot(result.hypergradient, d), 1e-6 * norm(result.hypergradient));
    }
    std::vector<double> sum(problem.parameters(), 0.0);
    double f = 0;
    for (int i = 0; i < 2; ++i) {
      sum = add_scaled(sum, 1.0, result.contributions[i]);
      f += 0.25 * std::pow(distance(result.xhat[i], problem.image(problem.x_true, i)), 2);
    }
    EXPECT_LT(max_relative_difference(sum, result.hypergradient), 1e-14);
    EXPECT_LT(relative_difference(f, result.f), 1e-13);
  }
}

TEST(FoeProblems, KindsHaveTheirProperty) {
  Random random(seed(41));
  const FoeProblem shape = shape_of(2, 8, 9, 4, 5);
  const std::vector<NamedFoe> problems = foe_collection(shape, random);
  EXPECT_EQ(problems.size(), 32U);
  for (const NamedFoe& named : problems) {
    SCOPED_TRACE(named.name);
    const FoeProblem& problem = named.problem;
    ASSERT_EQ(problem.theta.size(), static_cast<std::size_t>(problem.parameters()));
    ASSERT_EQ(problem.y.size(), 2U * 72U);
    ASSERT_EQ(problem.x_true.size(), problem.y.size());
    EXPECT_EQ(problem.zero_mean, named.kind == FoeKind::zero_mean);
    for (int k = 0; k < problem.filters; ++k) {
      const std::vector<double> taps = problem.filter(k);
      const auto [least, greatest] = std::minmax_element(taps.begin(), taps.end());
      if (named.kind == FoeKind::one_sign) {
        EXPECT_GT(*least * *greatest, 0.0);
      }
      if (named.kind == FoeKind::generic) {
        EXPECT_LT(*least * *greatest, 0.0);
      }
      if (named.kind == FoeKind::corner_taps) {
        EXPECT_EQ(std::count(taps.begin(), taps.end(), 0.0), 24);
        EXPECT_TRUE(taps[0] != 0 || taps[4] != 0 || taps[20] != 0 || taps[24] != 0);
      }
      if (named.kind == FoeKind::tiny_smoothing) {
        EXPECT_LT(problem.smoothing(k), 1.001e-4);
      }
      if (named.kind == FoeKind::large_weights) {
        EXPECT_GT(problem.weight(k), 4.999);
      }
    }
    if (named.kind == FoeKind::constant_images) {
      EXPECT_EQ(problem.image(problem.y, 0), Image(72, problem.y[0]));
    }
  }
  Random one(7), other(7);
  EXPECT_EQ(random_foe(FoeKind::generic, shape, one).theta, random_foe(FoeKind::generic, shape, other).theta);
}

}  // namespace
}  // namespace bilevel::oracle
