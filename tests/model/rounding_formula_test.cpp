#include <gtest/gtest.h>

#include <cmath>

#include "tests/model/experts_lab.hpp"
#include "tests/model/mri_lab.hpp"
#include "tests/model/tv_lab.hpp"

// The rounding bound of a gradient is the counted one, constant by constant: its
// norms are computed a second time by the oracles. Where a count is sharp, examples come near it.

namespace bilevel {
namespace {

using namespace testing_support;
using oracle::Image;

template <class T>
class RoundingFormula : public ::testing::Test {
 public:
  static constexpr double unit = std::numeric_limits<T>::epsilon() / 2;
  /// Data and parameters given in double are rounded to single precision.
  static constexpr double given = sizeof(T) == 4 ? 1 : 0;
  static constexpr double close = sizeof(T) == 4 ? 1e-5 : 1e-12;
};
using Precisions = ::testing::Types<float, double>;
TYPED_TEST_SUITE(RoundingFormula, Precisions);

double squared(double v) { return v * v; }

Image masked(const oracle::TvModel& m, Image v) {
  for (std::size_t p = 0; p < v.size() && !m.mask.empty(); ++p) v[p] *= m.mask[p];
  return v;
}

TYPED_TEST(RoundingFormula, OfTotalVariation) {
  using T = TypeParam;
  Random random(seed(2711));
  for (const auto& [h, w] : {std::pair{5, 6}, {1, 9}, {1, 1}})
    for (oracle::TvModel kind : model_kinds(h, w, random, 1e-2, 1))
      for (const double strength : {1e-6, 1.0, 1e3}) {  // data, or the regulariser, dominates
        kind.alpha = strength;
        kind.xi = random.log_uniform(1e-4, 1e2);
        const Image y = representable<T>(random.normal_vector(static_cast<std::size_t>(h * w)));
        const Image x = representable<T>(random.normal_vector(static_cast<std::size_t>(h * w)));
        TvLab<T> lab(kind, 1, y);
        const oracle::TvModel& m = lab.model();
        SCOPED_TRACE(describe(m));
        const double ridge = m.xi_inside_alpha ? m.alpha * m.xi : m.xi,
                     distance = norm(masked(m, add_scaled(x, -1, y)));
        const double want = this->unit * ((3 + this->given) * distance + (4 * ridge + this->given) * norm(x) +
                                          17 * m.alpha * std::sqrt(8.0) * norm(oracle::dual_field(m, x)));
        EXPECT_NEAR(lab.gradient(x).rounding[0] / want, 1, this->close);
      }
}

TYPED_TEST(RoundingFormula, OfExperts) {
  using T = TypeParam;
  Random random(seed(2712));
  for (const auto& shape : {foe_shape(1, 6, 7, 2, 3), foe_shape(1, 6, 7, 3, 5)})
    for (const oracle::NamedFoe& named : oracle::foe_collection(shape, random))
      for (const double strength : {-12.0, 0.0, 6.0}) {
        SCOPED_TRACE(named.name);
        FoeProblem problem = named.problem;
        for (int k = 0; k < problem.filters; ++k) problem.theta[static_cast<std::size_t>(k)] += strength;
        problem.y = random.normal_vector(problem.y.size());
        ExpertsLab<T> lab(problem);
        const FoeProblem& m = lab.problem();
        const Image x = representable<T>(random.normal_vector(static_cast<std::size_t>(m.pixels())));
        const double curved = m.potential == oracle::Potential::huber_c2 ? 2 : 1, taps = m.taps(),
                     extension = m.padding == oracle::Padding::valid ? 1
                                 : m.h == 1                          ? std::sqrt(2.0)
                                                                     : 2;
        double of_x = 0, of_psi = 0;
        const oracle::Field psi = oracle::dual_field(m, x);
        for (int k = 0; k < m.filters; ++k) {
          double absolute = 0, largest = 0, psi2 = 0;
          for (double c : m.filter(k)) absolute += extension * std::abs(c);
          for (int t = 0; t < m.taps(); ++t)
            largest = std::max(largest,
                               std::abs(m.theta[static_cast<std::size_t>(2 * m.filters + k * m.taps() + t)]));
          for (int p = 0; p < m.responses(); ++p)
            psi2 += squared(psi[static_cast<std::size_t>(k * m.responses() + p)]);
          // taking out the mean is done in double: m + 3 roundings of the largest tap
          const double off = m.zero_mean ? extension * taps * (taps + 3) * 0x1p-53 * largest / this->unit : 0;
          of_x += m.weight(k) * curved / m.smoothing(k) * ((taps + 4) * absolute + off) * absolute;
          of_psi += squared(m.weight(k) * ((m.filters + taps + 16) * absolute + off)) * m.filters * psi2;
        }
        const double want =
            this->unit * ((3 + this->given) * distance(x, m.y) +
                          ((3 + this->given) * m.mu + this->given + of_x) * norm(x) + std::sqrt(of_psi));
        EXPECT_NEAR(lab.gradient(x).rounding[0] / want, 1, this->close * 100);
      }
}

/// |a| + |b| for the components a - b of second differences, of one plane.
Image readings(const MriProblem& m, const Image& x) {
  Image out;
  const auto at = [&](int p) { return x[static_cast<std::size_t>(p)]; };
  for (int p = 0; p < m.pixels(); ++p) {
    const bool left = p % m.w > 0, right = p % m.w + 1 < m.w, above = p >= m.w, below = p + m.w < m.pixels();
    const double to_right = right ? std::abs(at(p + 1) - at(p)) : 0,
                 to_left = left ? std::abs(at(p) - at(p - 1)) : 0,
                 down = below ? std::abs(at(p + m.w) - at(p)) : 0,
                 up = above ? std::abs(at(p) - at(p - m.w)) : 0,
                 mixed = right && below ? to_right + std::abs(at(p + m.w + 1) - at(p + m.w)) : 0;
    out.insert(out.end(), {to_right + to_left, down + up, std::sqrt(2.0) * mixed});
  }
  return out;
}

TYPED_TEST(RoundingFormula, OfMagneticResonance) {
  using T = TypeParam;
  Random random(seed(2713));
  for (const oracle::NamedMri& named : oracle::mri_collection(mri_shape(1, 5, 6), random))
    for (const double strength : {1e-6, 1e4}) {
      SCOPED_TRACE(describe(named));
      MriProblem problem = named.problem;
      problem.alpha = strength;
      problem.xi = strength;
      MriLab<T> lab(problem);
      const MriProblem& m = lab.problem();
      const Image x = representable<T>(random.normal_vector(static_cast<std::size_t>(m.unknowns())));
      const Image spectrum = oracle::encode(m, x), y = m.data(0);
      const std::vector<double> weights = oracle::sampling_weights(m);
      const auto pixels = static_cast<std::size_t>(m.pixels());
      double weighted = 0, parts = 0, heaviest = 0, power = 1;
      for (std::size_t e = 0; e < y.size(); ++e) {
        const double w = weights[e % pixels];
        weighted += squared(w * (spectrum[e] - y[e]));
        parts += 2 * w * w * (squared(spectrum[e]) + squared(y[e]));
        heaviest = std::max(heaviest, w);
      }
      if (m.coils > 0) {
        power = 0;
        for (std::size_t p = 0; p < pixels; ++p) {
          double sum = 0;
          for (std::size_t c = 0; c < static_cast<std::size_t>(2 * m.coils); ++c)
            sum += squared(m.maps[c * pixels + p]);
          power = std::max(power, sum);
        }
      }
      const double transform = 10 * std::log2(static_cast<double>(pixels)), norm_x = norm(x);
      const oracle::CurvatureConstants plane = oracle::curvature(m.plane());
      const bool second = m.differences == oracle::Differences::second;
      double reading2 = 0;
      for (std::size_t first = 0; second && first < x.size(); first += pixels)
        reading2 += squared(norm(readings(m, {x.begin() + static_cast<std::ptrdiff_t>(first),
                                              x.begin() + static_cast<std::ptrdiff_t>(first + pixels)})));
      const double reach = second ? 64 : plane.norm_k_squared == 1 ? 1 : 8;
      const double of_regulariser = ((m.complex_image ? 21 : 17) + (second ? 15 : 0)) * m.alpha *
                                        std::sqrt(reach) * norm(oracle::dual_field(m, x)) +
                                    m.alpha * plane.ell_1 * std::sqrt(reach * reading2);
      const double want =
          this->unit * ((3 + this->given) * m.xi * norm_x + of_regulariser +
                        transform * (heaviest * power * norm_x + std::sqrt(power * weighted)) +
                        (4 + 2 * m.channels()) * std::sqrt(power * parts));
      EXPECT_NEAR(lab.gradient(x).rounding[0] / want, 1, this->close * 10);
    }
}

/// A signal of two pixels whose gradient meets every rounding of its data term from the wrong side: y = -1
/// and x below half a unit make x - y inexact, and what ridge and regulariser add is below half a unit, too.
TYPED_TEST(RoundingFormula, OfTheDataTermIsSharp) {
  using T = TypeParam;
  const double u = this->unit, below = 1 - 1e-3;
  oracle::TvModel m;
  m.height = 1;
  m.width = 2;
  m.xi = below;
  m.nu = 1e-3 * u;  // the difference of x saturates the potential
  m.alpha = below * u;
  const Image y = {-1, -1}, x = representable<T>(Image{below * u, 0.5 * below * u});
  const auto fixed =
      parameters_of(m, {Transform::exp, Transform::exp, Transform::exp}, {false, false, false});
  TvLab<T> lab(m, 1, y, fixed);
  const auto got = lab.gradient(x);
  const auto exact =
      oracle::extended::gradient(lab.model(), oracle::extended::widen(y), oracle::extended::widen(x));
  long double error = 0;
  for (std::size_t p = 0; p < 2; ++p) error += std::pow(got.gradient[p] - exact[p], 2);
  const double ratio = static_cast<double>(std::sqrt(error)) / got.rounding[0];
  EXPECT_LE(ratio, 1);
  EXPECT_GE(ratio, sizeof(T) == 4 ? 0.51 : 0.6);
}

}  // namespace
}  // namespace bilevel
