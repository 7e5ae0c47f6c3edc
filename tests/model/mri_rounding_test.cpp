#include <gtest/gtest.h>

#include <cmath>

#include "tests/model/mri_lab.hpp"
#include "tests/model/search.hpp"

// The rounding bounds of the gradient and of B^T q, and the certificate that is made of the former.

namespace bilevel {
namespace {

using namespace testing_support;
using oracle::ExtendedImage;
using oracle::Image;
using oracle::NamedMri;
using oracle::extended::widen;

template <class T>
class MriRounding : public ::testing::Test {};
using Precisions = ::testing::Types<float, double>;
TYPED_TEST_SUITE(MriRounding, Precisions);

template <class Exact>
double length_of_difference(const Image& got, const Exact& exact) {
  long double sum = 0;
  for (std::size_t p = 0; p < got.size(); ++p)
    sum += (static_cast<long double>(got[p]) - exact[p]) * (static_cast<long double>(got[p]) - exact[p]);
  return static_cast<double>(std::sqrt(sum));
}

std::vector<MriProblem> shapes() {
  std::vector<MriProblem> all = {mri_shape(1, 5, 6), mri_shape(1, 1, 11)};
  if (!on_cuda())
    for (const MriProblem& more :
         {mri_shape(1, 1, 1), mri_shape(1, 16, 8), mri_shape(1, 13, 17), mri_shape(1, 31, 37)})
      all.push_back(more);
  return all;
}

/// Noise, a constant, a spike, the true image with a large offset, or differences around nu.
Image test_point(const MriProblem& m, int kind, Random& random) {
  const auto n = static_cast<std::size_t>(m.unknowns());
  Image x(n, 0);
  switch (kind % 5) {
    case 0:
      return random.normal_vector(n);
    case 1:
      return Image(n, random.log_uniform(1e-6, 1e6));
    case 2:
      x[n / 2] = random.log_uniform(1e-6, 1e6);
      return x;
    case 3:
      x = m.x_true;
      for (double& v : x) v += 1000;
      return x;
    default:
      return noise_image(m, random.log_uniform(0.1, 10), random);
  }
}

/// Data far from E x, or such that the residual is small.
Image data_for(const MriProblem& m, const Image& x, int trial, Random& random) {
  const Image y = oracle::encode(m, x);
  if (trial % 3 == 0) return y;
  return add_scaled(trial % 3 == 1 ? y : Image(y.size(), 0), std::pow(10.0, -random.integer(0, 6)),
                    random.normal_vector(y.size()));
}

TYPED_TEST(MriRounding, BoundCoversTheGradientAndItsNorm) {
  Random random(seed(2501));
  RatioRecorder ratios("error of the gradient/rounding bound");
  int kind = 0;
  for (const MriProblem& shape : shapes())
    for (const NamedMri& named : oracle::mri_collection(shape, random))
      for (int trial = 0; trial < repetitions(3); ++trial) {
        SCOPED_TRACE(describe(named) + ", image kind " + std::to_string(kind));
        MriProblem m = named.problem;
        if (trial == 1) m.nu *= 1e-4;
        const Image x = representable<TypeParam>(test_point(m, kind++, random));
        m.y = data_for(m, x, trial, random);
        MriLab<TypeParam> lab(m);
        const auto got = lab.gradient(x);
        const ExtendedImage exact =
            oracle::extended::gradient(lab.problem(), widen(lab.problem().data(0)), widen(x));
        const double error = length_of_difference(got.gradient, exact);
        ratios.add(got.rounding[0] > 0 ? error / got.rounding[0] : (error > 0 ? HUGE_VAL : 0));
        ASSERT_LE(error, got.rounding[0]);
        ASSERT_LE(static_cast<double>(oracle::extended::norm(exact)),
                  std::sqrt(got.norm2[0]) * (1 + 1e-6) + got.rounding[0]);
      }
  EXPECT_LE(ratios.maximum(), 1);
}

/// Random search on the pixels for the largest error, from differences at every scale of nu.
TYPED_TEST(MriRounding, BoundHoldsAgainstAnAdversary) {
  Random random(seed(2502));
  RatioRecorder ratios("error/rounding bound, adversary");
  for (const MriProblem& shape : {mri_shape(1, 3, 4), mri_shape(1, 1, 5)})
    for (const NamedMri& named : oracle::mri_collection(shape, random)) {
      SCOPED_TRACE(describe(named));
      for (const bool regulariser : {false, true}) {
        MriProblem m = named.problem;
        m.alpha *= regulariser ? 1e3 : 1e-3;  // one of the two parts dominates
        Image x = representable<TypeParam>(noise_image(m, 1, random));
        m.y = oracle::encode(m, x);
        MriLab<TypeParam> lab(m);
        const double size = norm(x) / std::sqrt(x.size());
        double best = -1;
        for (int turn = 0; turn < repetitions(25); ++turn) {
          const Image trial =
              turn == 0 ? x
                        : representable<TypeParam>(add_scaled(x, 0.2 * size, random.normal_vector(x.size())));
          const auto got = lab.gradient(trial);
          const ExtendedImage exact =
              oracle::extended::gradient(lab.problem(), widen(lab.problem().data(0)), widen(trial));
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

TYPED_TEST(MriRounding, CertificateCoversTheDistanceToTheMinimiser) {
  Random random(seed(2503));
  RatioRecorder ratios("certificate/distance to the minimiser");
  for (const MriProblem& shape : {mri_shape(1, 5, 6), mri_shape(1, 1, 9)})
    for (const NamedMri& named : oracle::mri_collection(shape, random)) {
      SCOPED_TRACE(describe(named));
      MriLab<TypeParam> lab(named.problem);
      const MriProblem& m = lab.problem();
      const oracle::Minimiser minimiser = oracle::minimise(m, m.data(0), {}, 0);
      const double mu = lab.energy().curvature().mu;
      for (const double away : {0.0, 1e-7, 1e-4, 1e-1}) {
        const Image x = representable<TypeParam>(add_scaled(minimiser.x, away / std::sqrt(m.unknowns()),
                                                            random.normal_vector(minimiser.x.size())));
        const auto got = lab.gradient(x);
        const double certificate = (std::sqrt(got.norm2[0]) * (1 + 1e-6) + got.rounding[0]) / mu;
        const double error = length_of_difference(x, minimiser.extended_x);
        EXPECT_GE(certificate + minimiser.gradient_norm / mu, error);
        if (error > 1e-12) ratios.add(certificate / error);
      }
    }
}

TYPED_TEST(MriRounding, BoundCoversTheComputedMixedProduct) {
  Random random(seed(2504));
  RatioRecorder sampling("B^T q sampling, rounding bound/error"),
      scalars("B^T q scalars, rounding bound/error");
  int kind = 0;
  for (const MriProblem& shape : shapes())
    for (const NamedMri& named : oracle::mri_collection(shape, random)) {
      SCOPED_TRACE(describe(named) + ", image kind " + std::to_string(kind));
      MriLab<TypeParam> lab(named.problem);
      const MriProblem& m = lab.problem();
      const std::vector<std::size_t> ends = lab.energy().blocks();
      const auto n = static_cast<std::size_t>(m.unknowns());
      for (int trial = 0; trial < repetitions(2); ++trial) {
        const Image x = representable<TypeParam>(test_point(m, kind++, random));
        const Image q = representable<TypeParam>(random.normal_vector(n));
        const auto bound = lab.directional(x, q, {}, {1e-3}, {1})[0];
        const Image got = lab.mixed(x, q);
        const ExtendedImage exact = oracle::extended::mixed_adjoint(m, widen(m.data(0)), widen(x), widen(q));
        std::size_t begin = 0;
        for (std::size_t b = 0; b < ends.size(); begin = ends[b++]) {
          const auto at = [&](const auto& all) {
            return std::decay_t<decltype(all)>(all.begin() + static_cast<std::ptrdiff_t>(begin),
                                               all.begin() + static_cast<std::ptrdiff_t>(ends[b]));
          };
          const double error = length_of_difference(at(got), at(exact));
          // what the sums over pixels and frequencies in double add
          const double limit = bound.rounding[b] + 64 * 0x1p-53 * bound.norm_mixed[b] * norm(q);
          EXPECT_LE(error, limit) << "block " << b;
          if (error > 0) (b == 0 ? sampling : scalars).add(limit / error);
        }
      }
    }
  for (const RatioRecorder* r : {&sampling, &scalars}) EXPECT_GE(r->minimum(), 1);
}

/// The norm of the sampling block where the residual is rounding: |B~_s| from exact sums against norm_mixed,
/// in the sense of mri_constants_test.cpp, with the most that B~_s^T A~^{-1} u can be.
TYPED_TEST(MriRounding, NormsHoldForRoundedResiduals) {
  Random random(seed(2505));
  RatioRecorder ratios("norm_mixed of rounded residuals/measured");
  for (const MriProblem& shape : {mri_shape(1, 4, 5), mri_shape(1, 1, 7)})
    for (const NamedMri& named : oracle::mri_collection(shape, random)) {
      SCOPED_TRACE(describe(named));
      MriProblem m = named.problem;
      Image x = representable<TypeParam>(test_point(m, 3, random));
      m.y = oracle::encode(m, x);
      MriLab<TypeParam> lab(m);
      const double mu = lab.energy().curvature().mu;
      const auto bound = lab.directional(x, x, {}, {1e-3}, {1})[0];
      const oracle::Matrix a = oracle::hessian(lab.problem(), x),
                           b = oracle::mixed_matrix(lab.problem(), lab.problem().data(0), x);
      Image u = random.normal_vector(x.size());
      double gain = 0;
      for (int k = 0; k < 6; ++k) {
        u = scaled_to(u, 1);
        const Image image =
            multiply_transposed(block_of(b, 0, lab.energy().blocks()[0]), oracle::cholesky_solve(a, u));
        gain = norm(image);
        if (!(gain > 0)) break;
        u = oracle::cholesky_solve(a, oracle::multiply(block_of(b, 0, lab.energy().blocks()[0]), image));
      }
      if (gain > 0) ratios.add(bound.norm_mixed[0] / (mu * gain));
    }
  EXPECT_GE(ratios.minimum(), 1);
}

}  // namespace
}  // namespace bilevel
