#include <gtest/gtest.h>

#include <cmath>

#include "tests/model/tv_lab.hpp"

namespace bilevel {
namespace {

using namespace testing_support;
using oracle::Image;

struct Size {
  int h, w;
};

/// Noise of size nu whose differences stay away from 0 and nu, where huber_c2 has a kink in its second
/// derivative.
Image smooth_point(const oracle::TvModel& m, Random& random) {
  const auto unusable = [&](const Image& x) {
    const oracle::Field z = oracle::difference(m, x);
    const std::size_t n = x.size();
    bool bent = false;
    for (std::size_t e = 0; e < z.size(); ++e) {
      const double r = m.scalar_terms() ? std::abs(z[e]) : std::hypot(z[e % n], z[n + e % n]);
      if (r > 0 && (r < 0.03 * m.nu || std::abs(r - m.nu) < 0.03 * m.nu)) return true;
      bent = bent || (r > 0 && r < m.nu);
    }
    return !bent;
  };
  Image x = noise(m.height, m.width, 2 * m.nu, random);
  while (m.potential == oracle::Potential::huber_c2 && unusable(x))
    x = noise(m.height, m.width, 2 * m.nu, random);
  return x;
}

/// Remainders of Phi(x + t d) in extended precision from the oracle, with the derivatives of the library.
TEST(TvDerivatives, TaylorSlopes) {
  Random random(seed(701));
  RatioRecorder first("Taylor slope with the gradient"), second("Taylor slope with the Hessian");
  for (const Size& size : {Size{6, 7}, Size{1, 20}})
    for (oracle::TvModel kind : model_kinds(size.h, size.w, random, 0.05, 0.5)) {
      kind.alpha = random.log_uniform(0.1, 2);
      SCOPED_TRACE(describe(kind));
      const Image y = noise(size.h, size.w, 1, random), x = smooth_point(kind, random);
      TvLab<double> lab(kind, 1, y);
      const oracle::TvModel& m = lab.model();
      const Image gradient = lab.gradient(x).gradient;
      lab.linearise(x);
      const double top = 0.01 * m.nu;  // |K d| <= sqrt(3)
      Image best;
      double largest = -1;
      const auto remainder = [&](const Image& d, double t, bool second_order) {
        oracle::ExtendedImage moved = oracle::extended::widen(x);
        for (std::size_t p = 0; p < moved.size(); ++p) moved[p] += static_cast<long double>(t) * d[p];
        const oracle::ExtendedImage data = oracle::extended::widen(y);
        const long double rise = oracle::extended::energy(m, data, moved) -
                                 oracle::extended::energy(m, data, oracle::extended::widen(x));
        const double bend = second_order ? dot(lab.hessian_product(d).product, d) : 0;
        return static_cast<double>(
            std::abs(rise - static_cast<long double>(t) * dot(gradient, d) - 0.5L * t * t * bend));
      };
      // the direction whose third derivative vanishes least
      for (int k = 0; k < 16; ++k) {
        const Image d = scaled_to(noise(size.h, size.w, 1, random), 1);
        const double value = remainder(d, top, true);
        if (value > largest) {
          largest = value;
          best = d;
        }
      }
      first.add(taylor_slope([&](double t) { return remainder(best, t, false); }, top, top * 1e-3, 13));
      // rounding of <grad, d>
      const double floor = 2e-16 * (norm(gradient) + lab.energy().curvature().lipschitz * top) * top;
      second.add(
          taylor_slope([&](double t) { return remainder(best, t, true); }, top, top * 1e-2, 13, floor));
    }
  EXPECT_GT(first.minimum(), 1.9);
  EXPECT_LT(first.maximum(), 2.1);
  EXPECT_GT(second.minimum(), 2.8);
  EXPECT_LT(second.maximum(), 3.2);
}

template <class T>
class Adjoints : public ::testing::Test {};
using Precisions = ::testing::Types<float, double>;
TYPED_TEST_SUITE(Adjoints, Precisions);

TYPED_TEST(Adjoints, MixedProductsAndHessianSymmetry) {
  Random random(seed(702));
  RatioRecorder gap("adjoint gap of B / (u |terms|)"), symmetry("asymmetry of A / (u L |p||v|)");
  constexpr int n = 2;
  for (const Size& size : {Size{17, 130}, Size{1, 131}, Size{5, 4}})
    for (const oracle::TvModel& m : model_kinds(size.h, size.w, random, 1e-3, 1)) {
      SCOPED_TRACE(describe(m));
      const double u = unit_roundoff<TypeParam>;
      Image x, q, p;
      for (int i = 0; i < n; ++i) {
        append(x, representable<TypeParam>(piecewise_constant(size.h, size.w, 0.1, random)));
        append(q, representable<TypeParam>(noise(size.h, size.w, 1, random)));
        append(p, representable<TypeParam>(noise(size.h, size.w, 1, random)));
      }
      TvLab<TypeParam> lab(m, n, x);
      const Image d = random.normal_vector(3);
      const Image adjoint = lab.mixed(x, q), forward = lab.mixed_forward(x, d).out;
      lab.linearise(x);
      const Image aq = lab.hessian_product(q).product, ap = lab.hessian_product(p).product;
      const double lipschitz = lab.energy().curvature().lipschitz;
      for (int i = 0; i < n; ++i) {
        const Image qi = image_of(q, lab.pixels(), i), pi = image_of(p, lab.pixels(), i);
        double right = 0;
        for (std::size_t j = 0; j < 3; ++j) right += d[j] * adjoint[3 * static_cast<std::size_t>(i) + j];
        // the terms of B d have the size of alpha |K|^T |psi| (|psi| <= 1), and xi |x|
        const double terms = (lab.model().alpha * 4 * std::sqrt(2.0 * lab.model().pixels()) +
                              norm(image_of(x, lab.pixels(), i))) *
                             norm(d) * norm(qi);
        gap.add(std::abs(dot(image_of(forward, lab.pixels(), i), qi) - right) / (u * terms));
        symmetry.add(
            std::abs(dot(image_of(aq, lab.pixels(), i), pi) - dot(image_of(ap, lab.pixels(), i), qi)) /
            (u * lipschitz * norm(qi) * norm(pi)));
      }
    }
  EXPECT_LT(gap.maximum(), 30);       // roundings of an entry of B d
  EXPECT_LT(symmetry.maximum(), 16);  // the stored weights are symmetric: only the product rounds
}

TEST(TvParametersOfTheModel, EveryTransformAndEverySubset) {
  Random random(seed(703));
  const char* names[3] = {"alpha", "nu", "xi"};
  const Transform all[3] = {Transform::identity, Transform::exp, Transform::log10};
  constexpr int n = 2;
  for (const oracle::TvModel& kind : model_kinds(5, 6, random, 1e-2, 1)) {
    for (int subset = 0; subset < 8; ++subset)
      for (const Transform transform : all) {
        SCOPED_TRACE(describe(kind) + ", subset " + std::to_string(subset) + ", " +
                     transform_name(transform));
        const std::array<bool, 3> learned = {(subset & 1) != 0, (subset & 2) != 0, (subset & 4) != 0};
        // a different transform for each, so that mixing them up shows
        const auto next = [&](int k) { return all[(static_cast<int>(transform) + k) % 3]; };
        const std::array<Transform, 3> transforms = {next(0), next(1), next(2)};
        Image x, q;
        for (int i = 0; i < n; ++i) {
          append(x, piecewise_constant(5, 6, 0.1, random));
          append(q, noise(5, 6, 1, random));
        }
        const Parameters parameters = parameters_of(kind, transforms, learned);
        TvLab<double> lab(kind, n, x, parameters);
        const oracle::TvModel& m = lab.model();
        EXPECT_LT(relative_difference(m.alpha, kind.alpha), 1e-14);
        EXPECT_LT(relative_difference(m.nu, kind.nu), 1e-14);
        EXPECT_LT(relative_difference(m.xi, kind.xi), 1e-14);
        const std::size_t p = parameters.size();
        const Image d = random.normal_vector(p), got = lab.mixed(x, q), forward = lab.mixed_forward(x, d).out;
        const Curvature c = lab.energy().curvature();
        ASSERT_EQ(got.size(), n * p);
        ASSERT_EQ(c.mixed_lipschitz.size(), p);
        const oracle::CurvatureConstants constants = oracle::curvature(m);
        for (int i = 0; i < n; ++i) {
          const Image xi = image_of(x, lab.pixels(), i), qi = image_of(q, lab.pixels(), i);
          const oracle::MixedScalars adjoint = oracle::mixed_adjoint(m, xi, qi);
          const oracle::MixedColumns columns = oracle::mixed_forward(m, xi);
          Image column(xi.size(), 0);
          std::size_t j = 0;
          for (std::size_t k = 0; k < 3; ++k) {
            if (!learned[k]) continue;
            const oracle::Parameter parameter = {names[k], static_cast<oracle::Transform>(transforms[k])};
            const double chain = oracle::chain_factor(m, parameter);
            EXPECT_NEAR(got[p * static_cast<std::size_t>(i) + j], chain * adjoint[names[k]],
                        1e-12 * chain * norm(columns[names[k]]) * norm(qi));
            column = add_scaled(column, chain * d[j], columns[names[k]]);
            EXPECT_LT(relative_difference(c.mixed_lipschitz[j], chain * constants.L_B[names[k]]), 1e-13);
            ++j;
          }
          if (p > 0) {
            EXPECT_LT(max_relative_difference(image_of(forward, lab.pixels(), i), column), 1e-12);
          }
        }
      }
  }
}

TEST(TvParametersOfTheModel, MixedProductsMatchDifferencesInTheta) {
  Random random(seed(704));
  for (const oracle::TvModel& kind : model_kinds(4, 5, random, 0.05, 0.5)) {
    SCOPED_TRACE(describe(kind));
    const std::array<Transform, 3> transforms = {Transform::log10, Transform::exp, Transform::identity};
    const Image x = noise(4, 5, 1, random), y = noise(4, 5, 1, random), q = noise(4, 5, 1, random);
    const Parameters parameters = parameters_of(kind, transforms);
    TvLab<double> lab(kind, 1, y, parameters);
    const std::vector<double> theta = parameters.initial(), exact = lab.mixed(x, q);
    for (std::size_t j = 0; j < 3; ++j) {
      const double step =
          transforms[j] == Transform::identity ? 0.5 * theta[j] : 1e-5;  // the gradient is linear in xi
      double value[2];
      for (const int sign : {-1, 1}) {
        std::vector<double> moved = theta;
        moved[j] += sign * step;
        lab.energy().bind(moved);
        value[(sign + 1) / 2] = dot(lab.gradient(x).gradient, q);
      }
      // huber_c2 has a kink in its derivative by nu, of size 2 per unit of Kq: first order in the step there
      EXPECT_NEAR(
          (value[1] - value[0]) / (2 * step), exact[j],
          1e-5 * std::abs(exact[j]) + 2e-5 * std::sqrt(8) * norm(q) * lab.model().alpha + 1e-8 * norm(q));
    }
  }
}

}  // namespace
}  // namespace bilevel
