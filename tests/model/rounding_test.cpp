#include <gtest/gtest.h>

#include <cmath>

#include "device/backend.hpp"
#include "kernels/decision_args.hpp"
#include "tests/model/tv_lab.hpp"
#include "tests/oracle/tv_exact.hpp"

// The rounding bound of the gradient, and the certificate that is made of it.

namespace bilevel {
namespace {

using namespace testing_support;
using oracle::ExtendedImage;
using oracle::Image;

template <class T>
class Rounding : public ::testing::Test {};
using Precisions = ::testing::Types<float, double>;
TYPED_TEST_SUITE(Rounding, Precisions);

/// |got - grad Phi(x)| and |grad Phi(x)| in extended precision.
std::pair<double, double> gradient_error(const oracle::TvModel& m, const Image& y, const Image& x,
                                         const Image& got) {
  const ExtendedImage exact =
      oracle::extended::gradient(m, oracle::extended::widen(y), oracle::extended::widen(x));
  long double error = 0, size = 0;
  for (std::size_t p = 0; p < got.size(); ++p) {
    const long double d = static_cast<long double>(got[p]) - exact[p];
    error += d * d;
    size += exact[p] * exact[p];
  }
  return {static_cast<double>(std::sqrt(error)), static_cast<double>(std::sqrt(size))};
}

TYPED_TEST(Rounding, BoundCoversTheGradientAndItsNorm) {
  Random random(seed(601));
  RatioRecorder ratios("error of the gradient/rounding bound");
  const std::vector<double> amplitudes = {1, 1e-4, 1e5, 1e-9};
  int kind = 0, trials = 0;
  for (const auto& [h, w] : {std::pair{5, 6}, {1, 40}, {17, 129}, {16, 16}, {2, 1}, {1, 1}})
    for (oracle::TvModel m : all_kinds(h, w, random, 1e-4, 1)) {
      m.alpha = random.log_uniform(1e-4, 1e3);
      SCOPED_TRACE(describe(m));
      for (int trial = 0; trial < repetitions(8); ++trial, ++trials) {
        const Image x = representable<TypeParam>(test_image(kind++, h, w, random, amplitudes));
        // data near x, on it, or far away
        Image y = add_scaled(x, trial % 3 == 0 ? 0 : std::pow(10.0, -trial), random.normal_vector(x.size()));
        y = representable<TypeParam>(y);
        TvLab<TypeParam> lab(m, 1, y);
        const auto got = lab.gradient(x);
        const auto [error, size] = gradient_error(lab.model(), y, x, got.gradient);
        ratios.add(got.rounding[0] > 0 ? error / got.rounding[0] : (error > 0 ? HUGE_VAL : 0));
        ASSERT_LE(error, got.rounding[0]) << "image kind " << kind - 1;
        ASSERT_LE(size, std::sqrt(got.norm2[0]) * (1 + 1e-6) + got.rounding[0]);
      }
    }
  std::cout << trials << " trials" << std::endl;
  EXPECT_LE(ratios.maximum(), 1);
}

/// Hill climbing on the pixels for the largest error, from ramps at every scale of nu.
TYPED_TEST(Rounding, BoundHoldsAgainstAnAdversary) {
  Random random(seed(602));
  RatioRecorder ratios("error/rounding bound, adversary");
  for (const auto& [h, w] : {std::pair{3, 4}, {1, 9}})
    for (oracle::TvModel m : all_kinds(h, w, random, 1e-3, 1)) {
      m.alpha = random.log_uniform(1, 100);  // the potential dominates
      m.mask.clear();
      for (const double scale : {0.1, 1.0, 10.0}) {
        Image x = representable<TypeParam>(noise(h, w, scale * m.nu, random));
        const Image y = x;
        double best = -1;
        TvLab<TypeParam> lab(m, 1, y);
        for (int turn = 0; turn < repetitions(40); ++turn) {
          const Image trial = turn == 0 ? x
                                        : representable<TypeParam>(add_scaled(
                                              x, 0.1 * scale * m.nu, random.normal_vector(x.size())));
          const auto got = lab.gradient(trial);
          const double ratio = gradient_error(lab.model(), y, trial, got.gradient).first / got.rounding[0];
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

TYPED_TEST(Rounding, CertificateCoversTheDistanceToTheMinimiser) {
  Random random(seed(603));
  RatioRecorder ratios("certificate/distance to the minimiser");
  for (const auto& [h, w] : {std::pair{5, 6}, {1, 16}})
    for (const oracle::TvModel& kind : all_kinds(h, w, random, 3e-3, 1)) {
      const Image y = representable<TypeParam>(piecewise_constant(h, w, 0.1, random));
      TvLab<TypeParam> lab(kind, 1, y);
      SCOPED_TRACE(describe(lab.model()));
      const Image xhat = oracle::minimise(lab.model(), y, {}, 1e-13).x;
      const double mu = lab.energy().curvature().mu;
      for (const double distance_to : {0.0, 1e-7, 1e-4, 1e-1}) {
        const Image x = representable<TypeParam>(
            add_scaled(xhat, distance_to / std::sqrt(h * w), random.normal_vector(xhat.size())));
        const auto got = lab.gradient(x);
        Context& context = lab.context();
        Frame frame(context);
        ActiveSet active(context, frame, 1);
        const auto scalar = [&](double value) {
          const View<double> v = frame.view<double>({1, 1, 1, 1});
          upload<double>(context, std::vector<double>{value}, v);
          return v;
        };
        const auto norm2 = scalar(got.norm2[0]), rounding = scalar(got.rounding[0]),
                   tolerance = scalar(1e-300), bound = scalar(0), status = scalar(0);
        context.impl().scalar_table().certify(
            stream_of(context),
            {active.active(), norm2.device_data(), rounding.device_data(), mu, tolerance.device_data(), false,
             1, bound.device_data(), nullptr, status.device_data(), active.mask()});
        const double certificate = download<double>(context, bound)[0], error = distance(x, xhat);
        // the oracle's minimiser is itself rounded to double
        EXPECT_GE(certificate + 2e-16 * norm(xhat) + 1e-13 / mu, error);
        if (error > 1e-12) ratios.add(certificate / error);
      }
    }
}

}  // namespace
}  // namespace bilevel
