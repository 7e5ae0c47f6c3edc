#include <gtest/gtest.h>

#include <cmath>

#include "tests/model/mri_lab.hpp"

// Taylor slopes of magnetic resonance with values in extended precision from the oracle, and symmetry of its
// Hessian.

namespace bilevel {
namespace {

using namespace testing_support;
using oracle::ExtendedImage;
using oracle::Image;
using oracle::NamedMri;

/// Noise; of huber_c2 such that its differences have moduli below and above nu, none near 0 and nu, where the
/// second derivative has a kink.
Image smooth_point(const MriProblem& m, Random& random) {
  if (m.potential != oracle::Potential::huber_c2) return noise_image(m, random.log_uniform(0.5, 1), random);
  while (true) {
    Image x = noise_image(m, m.nu * random.log_uniform(0.25, 1), random);
    bool bent = false, usable = true;
    const oracle::Field psi = oracle::dual_field(m, x);  // |psi| = |z|/nu (2 - |z|/nu) below nu, else 1
    for (int p = 0; p < m.pixels(); ++p) {
      double square = 0;
      for (auto k = static_cast<std::size_t>(p); k < psi.size(); k += static_cast<std::size_t>(m.pixels()))
        square += psi[k] * psi[k];
      const double length = std::sqrt(square);
      usable = usable && (length == 0 || (length > 0.06 && (length < 0.998 || length > 0.9999)));
      bent = bent || (length > 0.06 && length < 0.998);
    }
    if (usable && bent) return x;
  }
}

TEST(MriDerivatives, TaylorSlopes) {
  Random random(seed(2301));
  RatioRecorder first("Taylor slope with the gradient"), second("Taylor slope with the Hessian");
  for (const MriProblem& shape : {mri_shape(1, 6, 5), mri_shape(1, 1, 9)})
    for (NamedMri& named : oracle::mri_collection(shape, random)) {
      SCOPED_TRACE(describe(named));
      named.problem.alpha = random.log_uniform(0.3, 2);
      named.problem.nu = random.log_uniform(0.05, 0.5);
      MriLab<double> lab(named.problem);
      const MriProblem& m = lab.problem();
      const Image x = smooth_point(m, random), gradient = lab.gradient(x).gradient;
      lab.linearise(x);
      const double top = 0.005 * m.nu;
      const ExtendedImage y = oracle::extended::widen(m.data(0)), wide = oracle::extended::widen(x);
      const long double value = oracle::extended::energy(m, y, wide);
      const auto remainder = [&](const Image& d, double bend, double t) {
        ExtendedImage moved = wide;
        for (std::size_t p = 0; p < moved.size(); ++p) moved[p] += static_cast<long double>(t) * d[p];
        const long double rise = oracle::extended::energy(m, y, moved) - value;
        return static_cast<double>(
            std::abs(rise - static_cast<long double>(t) * dot(gradient, d) - 0.5L * t * t * bend));
      };
      Image best;
      double largest = -1, bend = 0;  // of the direction whose third derivative vanishes least
      for (int k = 0; k < repetitions(16); ++k) {
        const Image d = scaled_to(random.normal_vector(x.size()), 1);
        const double curved = dot(lab.hessian_product(d).product, d), size = remainder(d, curved, top);
        if (size > largest) {
          largest = size;
          best = d;
          bend = curved;
        }
      }
      first.add(taylor_slope([&](double t) { return remainder(best, 0, t); }, top, top * 1e-3, 13));
      if (m.potential == oracle::Potential::quadratic) {  // no third derivative
        EXPECT_LE(largest, 1e-14 * (norm(gradient) + lab.energy().curvature().lipschitz * top) * top);
        continue;
      }
      const double floor = 4e-16 * (norm(gradient) + lab.energy().curvature().lipschitz * top) * top;
      second.add(
          taylor_slope([&](double t) { return remainder(best, bend, t); }, top, top * 1e-2, 13, floor));
    }
  EXPECT_GT(first.minimum(), 1.9);
  EXPECT_LT(first.maximum(), 2.1);
  EXPECT_GT(second.minimum(), 2.8);
  EXPECT_LT(second.maximum(), 3.2);
}

/// B d is the change of the gradient along theta + t d.
TEST(MriDerivatives, TaylorSlopeInTheta) {
  Random random(seed(2302));
  RatioRecorder slopes("Taylor slope with B");
  for (const NamedMri& named : oracle::mri_collection(mri_shape(1, 5, 6), random)) {
    SCOPED_TRACE(describe(named));
    MriLab<double> lab(named.problem);
    const MriProblem& m = lab.problem();
    const Image x = m.x_true, d = scaled_to(random.normal_vector(m.theta().size()), 1);
    const ExtendedImage y = oracle::extended::widen(m.data(0)), wide = oracle::extended::widen(x);
    const ExtendedImage at = oracle::extended::gradient(m, y, wide);
    const Image column = lab.mixed_forward(x, d).out;
    std::vector<double> steps, remainders;
    for (int exponent = -4; exponent >= -16; --exponent) {
      steps.push_back(std::ldexp(1.0, exponent));
      const MriProblem moved = oracle::with_theta(m, add_scaled(m.theta(), steps.back(), d));
      const ExtendedImage g = oracle::extended::gradient(moved, y, wide);
      long double square = 0;
      for (std::size_t p = 0; p < g.size(); ++p)
        square += std::pow(g[p] - at[p] - static_cast<long double>(steps.back()) * column[p], 2);
      remainders.push_back(static_cast<double>(std::sqrt(square)));
    }
    const double floor = 1e-15 * (norm(column) + static_cast<double>(oracle::extended::norm(at)));
    slopes.add(taylor_slope(steps, remainders, floor));
  }
  EXPECT_GT(slopes.minimum(), 1.9);
  EXPECT_LT(slopes.maximum(), 2.1);
}

template <class T>
class MriSymmetry : public ::testing::Test {};
using Precisions = ::testing::Types<float, double>;
TYPED_TEST_SUITE(MriSymmetry, Precisions);

TYPED_TEST(MriSymmetry, HessianAndPrimalDualProducts) {
  Random random(seed(2303));
  RatioRecorder symmetry("asymmetry of A / (u L |p| |q|)");
  for (const MriProblem& shape : {mri_shape(2, 7, 10), mri_shape(1, 1, 13)})
    for (const NamedMri& named : oracle::mri_collection(shape, random)) {
      SCOPED_TRACE(describe(named));
      MriLab<TypeParam> lab(named.problem);
      const Image x = representable<TypeParam>(lab.problem().x_true),
                  p = representable<TypeParam>(random.normal_vector(x.size())),
                  q = representable<TypeParam>(random.normal_vector(x.size()));
      for (const bool dual : {false, true}) {
        lab.linearise(x, dual
                             ? lab.start_dual(representable<TypeParam>(noise_batch(lab.problem(), 1, random)))
                             : Image());
        const auto ap = lab.hessian_product(p), aq = lab.hessian_product(q);
        for (int i = 0; i < lab.problem().n; ++i) {
          const auto part = [&](const Image& all) { return image_of(all, lab.unknowns(), i); };
          const double size = unit_roundoff<TypeParam> * lab.energy().curvature().lipschitz;
          symmetry.add(std::abs(dot(part(ap.product), part(q)) - dot(part(aq.product), part(p))) /
                       (size * norm(part(p)) * norm(part(q))));
          EXPECT_GT(ap.inner[static_cast<std::size_t>(i)], 0);
        }
      }
    }
  EXPECT_LT(symmetry.maximum(), 16);
}

}  // namespace
}  // namespace bilevel
