#include <gtest/gtest.h>

#include <cmath>

#include "tests/model/experts_lab.hpp"

// The rounding bounds of the gradient and of B^T q, and the certificate that is made of the former.

namespace bilevel {
namespace {

using namespace testing_support;
using oracle::ExtendedImage;
using oracle::Image;
using oracle::NamedFoe;

template <class T>
class ExpertsRounding : public ::testing::Test {};
using Precisions = ::testing::Types<float, double>;
TYPED_TEST_SUITE(ExpertsRounding, Precisions);

double length_of_difference(const Image& got, const ExtendedImage& exact) {
  long double sum = 0;
  for (std::size_t p = 0; p < got.size(); ++p)
    sum += (static_cast<long double>(got[p]) - exact[p]) * (static_cast<long double>(got[p]) - exact[p]);
  return static_cast<double>(std::sqrt(sum));
}

ExtendedImage exact_gradient(const FoeProblem& m, const Image& y, const Image& x) {
  return oracle::extended::gradient(m, oracle::extended::widen(y), oracle::extended::widen(x));
}

std::vector<FoeProblem> shapes() {
  std::vector<FoeProblem> all = {foe_shape(1, 5, 6, 2, 3), foe_shape(1, 7, 9, 3, 5)};
  if (!on_cuda())
    for (const FoeProblem& more : {foe_shape(1, 1, 30, 2, 3), foe_shape(1, 3, 4, 2, 7, 0),
                                   foe_shape(1, 17, 37, 2, 7, 0.7), foe_shape(1, 12, 11, 1, 11)})
      all.push_back(more);
  return all;
}

/// Data near x, on it, or far away.
Image data_near(const Image& x, int trial, Random& random) {
  return add_scaled(x, trial % 3 == 0 ? 0 : std::pow(10.0, -trial), random.normal_vector(x.size()));
}

TYPED_TEST(ExpertsRounding, BoundCoversTheGradientAndItsNorm) {
  Random random(seed(1401));
  RatioRecorder ratios("error of the gradient/rounding bound");
  const std::vector<double> amplitudes = {1, 1e-4, 1e5, 1e-9};
  int kind = 0, trials = 0;
  for (const FoeProblem& shape : shapes())
    for (const NamedFoe& named : oracle::foe_collection(shape, random))
      for (int trial = 0; trial < repetitions(4); ++trial, ++trials) {
        SCOPED_TRACE(describe(named) + ", image kind " + std::to_string(kind));
        const Image x = representable<TypeParam>(test_image(kind++, shape.h, shape.w, random, amplitudes));
        FoeProblem m = named.problem;
        m.y = data_near(x, trial, random);
        ExpertsLab<TypeParam> lab(m);
        const auto got = lab.gradient(x);
        const ExtendedImage exact = exact_gradient(lab.problem(), lab.problem().y, x);
        const double error = length_of_difference(got.gradient, exact);
        ratios.add(got.rounding[0] > 0 ? error / got.rounding[0] : (error > 0 ? HUGE_VAL : 0));
        ASSERT_LE(error, got.rounding[0]);
        ASSERT_LE(static_cast<double>(oracle::extended::norm(exact)),
                  std::sqrt(got.norm2[0]) * (1 + 1e-6) + got.rounding[0]);
      }
  std::cout << trials << " trials" << std::endl;
  EXPECT_LE(ratios.maximum(), 1);
}

/// Hill climbing on the pixels for the largest error, from responses at every scale of nu.
TYPED_TEST(ExpertsRounding, BoundHoldsAgainstAnAdversary) {
  Random random(seed(1402));
  RatioRecorder ratios("error/rounding bound, adversary");
  for (const FoeProblem& shape : {foe_shape(1, 4, 5, 1, 3, 0), foe_shape(1, 3, 3, 2, 3, 0)})
    for (const NamedFoe& named : oracle::foe_collection(shape, random)) {
      SCOPED_TRACE(describe(named));
      for (const double scale : {0.3, 3.0}) {
        FoeProblem m = named.problem;
        for (int k = 0; k < m.filters; ++k)
          m.theta[static_cast<std::size_t>(k)] += 3;  // the experts dominate
        Image x = representable<TypeParam>(image_with_responses(m, scale, random));
        const double size = norm(x) / std::sqrt(x.size());
        m.y = x;
        ExpertsLab<TypeParam> lab(m);
        double best = -1;
        for (int turn = 0; turn < repetitions(25); ++turn) {
          const Image trial =
              turn == 0 ? x
                        : representable<TypeParam>(add_scaled(x, 0.2 * size, random.normal_vector(x.size())));
          const auto got = lab.gradient(trial);
          const ExtendedImage exact = exact_gradient(lab.problem(), lab.problem().y, trial);
          const double ratio = length_of_difference(got.gradient, exact) / got.rounding[0];
          if (ratio > best) {
            best = ratio;
            x = trial;
          }
        }
        ratios.add(best);
      }
    }
  EXPECT_LE(ratios.maximum(), 1);
}

TYPED_TEST(ExpertsRounding, CertificateCoversTheDistanceToTheMinimiser) {
  Random random(seed(1403));
  RatioRecorder ratios("certificate/distance to the minimiser");
  for (const FoeProblem& shape : {foe_shape(1, 5, 6, 2, 3), foe_shape(1, 6, 5, 1, 5, 0)})
    for (const NamedFoe& named : oracle::foe_collection(shape, random)) {
      SCOPED_TRACE(describe(named));
      ExpertsLab<TypeParam> lab(named.problem);
      const FoeProblem& m = lab.problem();
      const oracle::Minimiser minimiser = oracle::minimise(m, m.y, {}, 0);
      const double mu = lab.energy().curvature().mu;
      for (const double away : {0.0, 1e-7, 1e-4, 1e-1}) {
        const Image x = representable<TypeParam>(
            add_scaled(minimiser.x, away / std::sqrt(m.pixels()), random.normal_vector(minimiser.x.size())));
        const auto got = lab.gradient(x);
        const double certificate = (std::sqrt(got.norm2[0]) * (1 + 1e-6) + got.rounding[0]) / mu;
        const double error = length_of_difference(x, minimiser.extended_x);
        EXPECT_GE(certificate + minimiser.gradient_norm / mu, error);
        if (error > 1e-12) ratios.add(certificate / error);
      }
    }
}

TYPED_TEST(ExpertsRounding, BoundCoversTheComputedMixedProduct) {
  Random random(seed(1404));
  RatioRecorder weight("B^T q weight, rounding bound/error"),
      smoothing("B^T q smoothing, rounding bound/error"), filters("B^T q filters, rounding bound/error");
  const std::vector<double> amplitudes = {1, 1e-3, 1e4};
  int kind = 0;
  for (const FoeProblem& shape : shapes())
    for (const NamedFoe& named : oracle::foe_collection(shape, random)) {
      SCOPED_TRACE(describe(named) + ", image kind " + std::to_string(kind));
      ExpertsLab<TypeParam> lab(named.problem);
      const FoeProblem& m = lab.problem();
      const std::vector<std::size_t> ends = lab.energy().blocks();
      for (int trial = 0; trial < repetitions(3); ++trial) {
        const Image x =
            representable<TypeParam>(trial == 2 ? image_with_responses(m, random.log_uniform(0.1, 10), random)
                                                : test_image(kind++, m.h, m.w, random, amplitudes));
        const Image q = representable<TypeParam>(random.normal_vector(x.size()));
        const auto bound = lab.directional(x, q, {}, {1e-3}, {1})[0];
        const Image got = lab.mixed(x, q);
        const ExtendedImage exact =
            oracle::extended::mixed_adjoint(m, oracle::extended::widen(x), oracle::extended::widen(q));
        std::size_t begin = 0;
        for (std::size_t b = 0; b < ends.size(); begin = ends[b++]) {
          const auto at = [&](const auto& all) {
            return std::decay_t<decltype(all)>(all.begin() + static_cast<std::ptrdiff_t>(begin),
                                               all.begin() + static_cast<std::ptrdiff_t>(ends[b]));
          };
          const double error = length_of_difference(at(got), at(exact));
          EXPECT_LE(error, bound.rounding[b]) << "block " << b;
          const auto part = b / static_cast<std::size_t>(m.filters);
          if (error > 0)
            (part == 0 ? weight : part == 1 ? smoothing : filters).add(bound.rounding[b] / error);
        }
      }
    }
  for (const RatioRecorder* r : {&weight, &smoothing, &filters}) EXPECT_GE(r->minimum(), 1);
}

}  // namespace
}  // namespace bilevel
