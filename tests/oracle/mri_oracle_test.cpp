#include "tests/oracle/mri_oracle.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <complex>
#include <functional>
#include <numbers>

#include "tests/support/numeric.hpp"
#include "tests/support/random.hpp"

namespace bilevel::oracle {
namespace {

using namespace testing_support;
using extended::widen;

MriProblem shape_of(int n, int h, int w) {
  MriProblem shape;
  shape.n = n;
  shape.h = h;
  shape.w = w;
  return shape;
}

// Calls check(problem) for every kind of problem on images of several sizes.
void for_all_problems(Random& random, const std::function<void(const MriProblem&)>& check) {
  for (const MriProblem& shape : {shape_of(1, 6, 5), shape_of(1, 7, 3), shape_of(1, 1, 8)}) {
    for (const NamedMri& named : mri_collection(shape, random)) {
      SCOPED_TRACE(named.name + ", " + std::to_string(shape.h) + "x" + std::to_string(shape.w));
      check(named.problem);
    }
  }
}

// Moduli of the difference vector at every pixel, in units of nu.
std::vector<double> lengths(const MriProblem& problem, const Image& x) {
  std::vector<double> squares(problem.pixels(), 0.0);
  for (int plane = 0; plane < problem.planes(); ++plane) {
    for (int r = 0; r < problem.h; ++r) {
      for (int c = 0; c < problem.w; ++c) {
        const int p = r * problem.w + c, offset = plane * problem.pixels() + p;
        if (c + 1 < problem.w) squares[p] += std::pow(x[offset + 1] - x[offset], 2);
        if (r + 1 < problem.h) squares[p] += std::pow(x[offset + problem.w] - x[offset], 2);
      }
    }
  }
  for (double& entry : squares) entry = std::sqrt(entry) / problem.nu;
  return squares;
}

// Noise with differences on both sides of the bend of huber_c2, none near it or near zero, where the second
// derivative has corners that difference quotients must not cross.
Image random_image(const MriProblem& problem, Random& random) {
  while (true) {
    const double amplitude = problem.nu * random.log_uniform(0.3, 1.0);
    Image x = random.normal_vector(problem.unknowns());
    for (double& entry : x) entry *= amplitude;
    double nearest = 1;
    for (const double t : lengths(problem, x))
      if (t > 0) nearest = std::min({nearest, std::abs(t - 1), t});
    if (nearest > 0.01) return x;
  }
}

// Fourth-order central difference of a vector function at 0.
ExtendedImage derivative(const std::function<ExtendedImage(long double)>& f, long double h) {
  const ExtendedImage a = f(-2 * h), b = f(-h), c = f(h), d = f(2 * h);
  ExtendedImage result;
  for (std::size_t k = 0; k < a.size(); ++k) result.push_back((a[k] - 8 * b[k] + 8 * c[k] - d[k]) / (12 * h));
  return result;
}

ExtendedImage moved(ExtendedImage x, long double t, const ExtendedImage& d) {
  for (std::size_t p = 0; p < x.size(); ++p) x[p] += t * d[p];
  return x;
}

double relative_distance(const ExtendedImage& a, const ExtendedImage& b) {
  return static_cast<double>(extended::norm(moved(a, -1, b)) / extended::norm(b));
}

long double inner(const ExtendedImage& a, const ExtendedImage& b) {
  long double sum = 0;
  for (std::size_t p = 0; p < a.size(); ++p) sum += a[p] * b[p];
  return sum;
}

TEST(MriFourier, Definition) {
  Random random(seed(51));
  for (const auto& [h, w] : {std::pair{4, 6}, {5, 7}, {1, 8}, {9, 1}, {1, 1}, {2, 3}}) {
    const Image z = random.normal_vector(static_cast<std::size_t>(2) * h * w);
    const Image spectrum = fourier(h, w, z);
    for (int j = 0; j < h * w; ++j) {
      std::complex<double> sum = 0;
      for (int p = 0; p < h * w; ++p) {
        const double turns =
            static_cast<double>(j / w * (p / w)) / h + static_cast<double>(j % w * (p % w)) / w;
        sum += std::complex<double>(z[p], z[h * w + p]) * std::polar(1.0, -2 * std::numbers::pi * turns);
      }
      sum /= std::sqrt(static_cast<double>(h) * w);
      EXPECT_NEAR(spectrum[j], sum.real(), 1e-12);
      EXPECT_NEAR(spectrum[h * w + j], sum.imag(), 1e-12);
    }
    EXPECT_LT(max_relative_difference(fourier_adjoint(h, w, spectrum), z), 1e-15);
    EXPECT_LT(relative_difference(norm(spectrum), norm(z)), 1e-15);
  }
}

TEST(MriFourier, EncodingAndItsAdjoint) {
  Random random(seed(52));
  for_all_problems(random, [&](const MriProblem& problem) {
    const Image x = random.normal_vector(problem.unknowns());
    const Image k_space =
        random.normal_vector(static_cast<std::size_t>(2) * problem.channels() * problem.pixels());
    EXPECT_NEAR(dot(encode(problem, x), k_space), dot(x, encode_adjoint(problem, k_space)),
                1e-14 * norm(x) * norm(k_space));
    if (problem.coils == 0) {
      EXPECT_LT(relative_difference(norm(encode(problem, x)), norm(x)), 1e-15);
    }
  });
}

TEST(MriSampling, GroupsByHand) {
  MriProblem problem = shape_of(1, 2, 3);
  using Groups = std::vector<std::vector<int>>;
  EXPECT_EQ(frequency_groups(problem), (Groups{{0}, {1}, {2}, {3}, {4}, {5}}));
  problem.pattern = PatternKind::symmetric;
  EXPECT_EQ(frequency_groups(problem), (Groups{{0}, {1, 2}, {3}, {4, 5}}));
  problem.pattern = PatternKind::rows;
  EXPECT_EQ(frequency_groups(problem), (Groups{{0, 1, 2}, {3, 4, 5}}));
  problem.sampling = {0.5, 1};
  EXPECT_EQ(sampling_weights(problem), (std::vector<double>{0.25, 0.25, 0.25, 1, 1, 1}));
  problem.map = SamplingMap::rational;
  problem.sampling = {0.5, 0.75};
  EXPECT_LT(max_relative_difference(sampling_weights(problem), {1, 1, 1, 3, 3, 3}), 1e-15);
  problem.pattern = PatternKind::columns;
  EXPECT_EQ(frequency_groups(problem), (Groups{{0, 3}, {1, 4}, {2, 5}}));
  problem.map = SamplingMap::direct;
  problem.pattern = PatternKind::groups;
  problem.groups = {{0, 1}, {0, 2}};
  problem.sampling = {0.5, 0.6};
  EXPECT_LT(max_relative_difference(sampling_weights(problem), {1 - 0.75 * 0.64, 0.25, 0.36, 0, 0, 0}),
            1e-15);
  problem.map = SamplingMap::rational;
  EXPECT_THROW(sampling_weights(problem), std::invalid_argument);
}

TEST(MriSampling, SpokesShareTheirCentreAndCoverItsNeighbourhood) {
  for (const auto& [h, w] : {std::pair{8, 8}, {7, 10}, {1, 8}}) {
    const std::vector<std::vector<int>> groups = spoke_groups(h, w, 9);
    for (const auto& group : groups) {
      EXPECT_EQ(group.front(), 0);
      for (const int j : group) EXPECT_LT(j, h * w);
    }
    EXPECT_EQ(static_cast<int>(groups[0].size()), w);
  }
}

TEST(MriSampling, JacobianOfTheWeights) {
  Random random(seed(53));
  for_all_problems(random, [&](const MriProblem& problem) {
    const Matrix jacobian = weight_jacobian(problem);
    const std::vector<double> d = random.normal_vector(problem.samplings());
    const auto weights = [&](long double t) {
      MriProblem other = problem;
      other.sampling = add_scaled(problem.sampling, static_cast<double>(t), d);
      return widen(sampling_weights(other));
    };
    const Image slope = extended::rounded(derivative(weights, 1e-4L));
    EXPECT_LT(distance(slope, multiply(jacobian, d)), 1e-10 * (1 + norm(slope)));
  });
}

TEST(MriEnergy, ClosedForms) {
  MriProblem problem = shape_of(1, 3, 4);
  problem.complex_image = true;
  problem.alpha = 2;
  problem.nu = 0.5;
  problem.xi = 0.1;
  problem.sampling.assign(12, 0.5);
  problem.sampling[0] = 1;
  Image x(24, 3.0), y(24, 0.0);  // (F x)_0 = sqrt(12) (3 + 3 i)
  y[0] = 1;                      // residual at DC 3 sqrt(12) - 1 + 3 sqrt(12) i
  y[5] = 2;                      // residual -2 with the weight 1/4
  const double dc = 3 * std::sqrt(12.0);
  const double flat = 0.5 * ((dc - 1) * (dc - 1) + dc * dc) + 0.5 * 0.25 * 4 + 0.05 * 24 * 9;
  EXPECT_NEAR(energy(problem, y, x), flat + 2 * 12 * 0.5, 1e-12);
  problem.potential = Potential::huber_c2;
  EXPECT_NEAR(energy(problem, y, x), flat, 1e-12);
  x[0] += 3;   // at pixel 0 the differences (-3, -3) of the real plane
  x[12] += 4;  // and (-4, -4) of the imaginary one: modulus sqrt(50)
  problem.sampling.assign(12, 0.0);
  const double ridge = 0.05 * (22 * 9 + 36 + 49);
  EXPECT_NEAR(energy(problem, y, x), ridge + 2 * (std::sqrt(50.0) - 0.5 / 3), 1e-12);
  problem.potential = Potential::charbonnier;
  EXPECT_NEAR(energy(problem, y, x), ridge + 2 * (std::sqrt(50.25) + 11 * 0.5), 1e-12);
}

TEST(MriDerivatives, GradientAndHessianProductByFourthOrderDifferences) {
  Random random(seed(54));
  for_all_problems(random, [&](const MriProblem& problem) {
    const ExtendedImage x = widen(random_image(problem, random)), y = widen(problem.data(0));
    const ExtendedImage d = widen(scaled_to(random.normal_vector(x.size()), problem.nu));
    const auto value = [&](long double t) {
      return ExtendedImage{extended::energy(problem, y, moved(x, t, d))};
    };
    const long double slope = derivative(value, 1e-3L)[0];
    const ExtendedImage g = extended::gradient(problem, y, x);
    EXPECT_NEAR(static_cast<double>(slope), static_cast<double>(inner(g, d)),
                1e-9 * static_cast<double>(extended::norm(g) * extended::norm(d)));
    const auto along = [&](long double t) { return extended::gradient(problem, y, moved(x, t, d)); };
    EXPECT_LT(relative_distance(derivative(along, 1e-3L), extended::hessian_product(problem, x, d)), 1e-8);
  });
}

TEST(MriDerivatives, MixedDerivativesByDifferencesAdjointnessAndColumns) {
  Random random(seed(55));
  for_all_problems(random, [&](const MriProblem& problem) {
    const Image x = random_image(problem, random), y = problem.data(0);
    const Image q = random.normal_vector(x.size());
    std::vector<double> d = random.normal_vector(problem.parameters());
    const Image bd = mixed_forward(problem, y, x, d);
    const std::vector<double> btq = mixed_adjoint(problem, y, x, q);
    EXPECT_NEAR(dot(bd, q), dot(d, btq), 1e-13 * norm(bd) * norm(q));
    EXPECT_LT(max_relative_difference(multiply(mixed_matrix(problem, y, x), d), bd), 1e-13);
    for (double& entry : d) entry = std::ldexp(std::round(std::ldexp(entry, 10)), -10);
    const auto along = [&](long double t) {
      const MriProblem other = with_theta(problem, add_scaled(problem.theta(), static_cast<double>(t), d));
      return extended::gradient(other, widen(y), widen(x));
    };
    const ExtendedImage expected = extended::mixed_forward(problem, widen(y), widen(x), widen(d));
    EXPECT_LT(relative_distance(derivative(along, std::ldexp(1.0L, -12)), expected), 1e-8);
  });
}

TEST(MriDerivatives, HessianMatrixProductAndConstants) {
  Random random(seed(56));
  for_all_problems(random, [&](const MriProblem& problem) {
    const Image x = random_image(problem, random), d = random.normal_vector(x.size());
    const Matrix a = hessian(problem, x);
    const std::vector<double> spectrum = eigenvalues(a);
    const MriConstants constants = curvature(problem);
    EXPECT_LE(asymmetry(a), 1e-15 * spectrum.back());
    EXPECT_LT(max_relative_difference(multiply(a, d), hessian_product(problem, x, d)), 1e-13);
    EXPECT_GE(spectrum.front(), constants.mu - 1e-13 * spectrum.back());
    EXPECT_LE(spectrum.back(), constants.L * (1 + 1e-13));
    const Image other = random_image(problem, random);
    const Matrix b = hessian(problem, other);
    Matrix change = a;
    for (std::size_t k = 0; k < change.entries.size(); ++k) change.entries[k] -= b.entries[k];
    EXPECT_LE(spectral_norm(change), constants.L_H * distance(x, other));
    const Image y = problem.data(0);
    const Matrix b_x = mixed_matrix(problem, y, x), b_other = mixed_matrix(problem, y, other);
    std::vector<double> e = random.normal_vector(problem.parameters());
    std::fill(e.begin() + problem.samplings(), e.end(), 0.0);
    EXPECT_LE(distance(multiply(b_x, e), multiply(b_other, e)),
              constants.L_B_sampling * norm(e) * distance(x, other) * (1 + 1e-12));
  });
}

TEST(MriDerivatives, SharedWeightsOfRealImages) {
  Random random(seed(57));
  MriProblem problem = random_mri(shape_of(1, 5, 6), 0.1, random);
  problem.alpha = 0;  // the data Hessian of a real image has the eigenvalues (w_j + w_{-j}) / 2
  const std::vector<double> weights = sampling_weights(problem);
  std::vector<double> expected;
  for (int j = 0; j < 30; ++j) {
    const int mirrored = (5 - j / 6) % 5 * 6 + (6 - j % 6) % 6;
    expected.push_back(problem.xi + (weights[j] + weights[mirrored]) / 2);
  }
  std::sort(expected.begin(), expected.end());
  EXPECT_LT(max_relative_difference(eigenvalues(hessian(problem, Image(30, 0.0))), expected), 1e-14);
}

TEST(MriPrimalDual, ProductAndUpdate) {
  Random random(seed(58));
  for_all_problems(random, [&](const MriProblem& problem) {
    const Image x = random_image(problem, random), d = random_image(problem, random);
    const Field psi = dual_field(problem, x);
    const Image v = random.normal_vector(x.size());
    EXPECT_LT(
        max_relative_difference(primal_dual_product(problem, x, psi, v), hessian_product(problem, x, v)),
        1e-15);
    EXPECT_LT(max_relative_difference(dual_update(problem, x, psi, Image(x.size(), 0.0)), psi), 1e-15);
    const auto remainder = [&](double t) {
      const Image step = add_scaled(Image(x.size(), 0.0), t, d);
      return distance(dual_update(problem, x, psi, step), dual_field(problem, add_scaled(x, 1.0, step)));
    };
    if (problem.potential == Potential::quadratic) {  // psi is linear
      EXPECT_LE(remainder(1e-3), 1e-14 * (1 + norm(psi)));
    } else {
      EXPECT_NEAR(taylor_slope(remainder, 1e-3, 1e-6, 13, 1e-15 * (1 + norm(psi))), 2.0, 0.1);
    }
  });
}

TEST(MriExact, MinimiserAndAdjointSolveTheirEquations) {
  Random random(seed(59));
  for_all_problems(random, [&](const MriProblem& problem) {
    const Image y = problem.data(0);
    const Minimiser solution = minimise(problem, y);
    EXPECT_LE(solution.gradient_norm, 1e-12);
    const Minimiser again = minimise(problem, y, random.normal_vector(problem.unknowns()));
    EXPECT_LE(distance(solution.x, again.x), 1e-10);
    const Image rhs = random.normal_vector(problem.unknowns());
    const Image q = solve_adjoint(problem, solution.x, rhs);
    EXPECT_LT(distance(hessian_product(problem, solution.x, q), rhs), 1e-14 * curvature(problem).L * norm(q));
  });
}

TEST(MriExact, HypergradientMatchesDifferencesOfTheUpperValue) {
  Random random(seed(60));
  for (const NamedMri& named : mri_collection(shape_of(2, 5, 4), random)) {
    SCOPED_TRACE(named.name);
    const MriProblem& problem = named.problem;
    const UpperResult result = exact_hypergradient(problem);
    for (int round = 0; round < 2; ++round) {
      const std::vector<double> d = scaled_to(random.normal_vector(problem.parameters()), 1.0);
      const auto f = [&](long double t) {
        const auto theta = add_scaled(problem.theta(), static_cast<double>(t), d);
        return ExtendedImage{exact_hypergradient(with_theta(problem, theta)).f};
      };
      const double slope = static_cast<double>(derivative(f, 1e-4L)[0]);
      EXPECT_NEAR(slope, dot(result.hypergradient, d), 1e-8 * norm(result.hypergradient));
    }
    std::vector<double> sum = penalty_gradient(problem);
    for (const auto& contribution : result.contributions) sum = add_scaled(sum, 1.0, contribution);
    EXPECT_LT(max_relative_difference(sum, result.hypergradient), 1e-14);
  }
}

TEST(MriProblems, MapsAndPhantoms) {
  Random random(seed(61));
  for (const int coils : {1, 4}) {
    const std::vector<double> maps = random_maps(coils, 9, 8, random);
    ASSERT_EQ(maps.size(), 2U * coils * 72U);
    for (std::size_t p = 0; p < 72; ++p) {
      double sum = 0;
      for (std::size_t k = p; k < maps.size(); k += 72) sum += maps[k] * maps[k];
      EXPECT_GT(sum, 0.2);
      EXPECT_LT(sum, 6.0);
    }
  }
  const Image real = random_phantom(9, 8, false, random), image = random_phantom(9, 8, true, random);
  EXPECT_EQ(real.size(), 72U);
  EXPECT_EQ(image.size(), 144U);
  EXPECT_GT(norm(Image(image.begin() + 72, image.end())), 0.0);
}

}  // namespace
}  // namespace bilevel::oracle
