#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "bilevel/core/tensor.hpp"
#include "bilevel/model/composed_energy.hpp"
#include "model/experts_constants.hpp"
#include "model/tv_constants.hpp"
#include "tests/support/random.hpp"
#include "tests/support/test_device.hpp"

// Every field of the directional bounds from random sums, against the forms of learn/error_bound.hpp and
// of the headers that derive them, written down a second time. Searches for violations (constants_test and
// its relatives) do not see a constant that is too small where another form of the minimum hides it; this
// does.

namespace bilevel {
namespace {

using namespace testing_support;

constexpr double infinity = std::numeric_limits<double>::infinity();

/// The smallest of several forms; remembers which ones ever were, so that a test can say that all were.
class Smallest {
 public:
  double operator()(const std::string& name, std::initializer_list<double> forms) {
    std::vector<int>& seen = seen_[name];
    seen.resize(forms.size(), 0);
    const auto least = std::min_element(forms.begin(), forms.end());
    seen[static_cast<std::size_t>(least - forms.begin())] += 1;
    return *least;
  }
  void expect_all_seen() const {
    for (const auto& [name, seen] : seen_)
      for (std::size_t k = 0; k < seen.size(); ++k) EXPECT_GT(seen[k], 0) << name << ", form " << k;
  }

 private:
  std::map<std::string, std::vector<int>> seen_;
};

/// A bound may exceed its formula by rounding only.
void expect_form(double got, double want, double unit, const std::string& what) {
  if (want == infinity) {
    EXPECT_EQ(got, infinity) << what;
    return;
  }
  EXPECT_GE(got, want * (1 - 1e-14)) << what;
  EXPECT_LE(got, want * (1 + 200 * unit)) << what;
}

double square(double v) { return v * v; }

/// Largest change of the curvature of charbonnier with nu = 1, at t = 1/2: 3 t (1 + t^2)^(-5/2).
const double steepest_change = 1.5 * std::pow(1.25, -2.5);

/// |d psi / d ln nu| of huber_c2 or charbonnier at the length r, from rho by differences in nu and r.
double psi_by_nu(bool huber, double nu, double r) {
  const auto psi = [&](double smoothing) {
    if (!huber) return r / std::sqrt(r * r + smoothing * smoothing);
    return r <= smoothing ? 2 * r / smoothing - square(r / smoothing) : 1.0;
  };
  const double h = 1e-5;
  return (psi(nu * (1 + h)) - psi(nu * (1 - h))) / (2 * h);
}
/// sup |d psi / d ln nu| and its Lipschitz constant in r, on a grid.
struct NuDerivative {
  double largest = 0, lipschitz = 0;
  NuDerivative(bool huber, double nu) {
    double before = 0;
    const double step = nu / 4096;
    for (double r = step; r < 4 * nu; r += step) {
      const double here = psi_by_nu(huber, nu, r);
      largest = std::max(largest, std::abs(here));
      lipschitz = std::max(lipschitz, std::abs(here - before) / step);
      before = here;
    }
  }
};

TEST(PotentialConstants, AreThoseOfThePotentials) {
  for (const bool huber : {false, true})
    for (const double nu : {0.01, 3.0}) {
      const NuDerivative measured(huber, nu);
      EXPECT_NEAR(measured.largest, huber ? 0.5 : 2 / (3 * std::sqrt(3.0)), 1e-4);
      EXPECT_NEAR(measured.lipschitz * nu, huber ? 2 : 1, 1e-2);
    }
}

/// Sums of the kernel of bounds by name, of sizes at which each form is the smallest sometimes.
struct TvSums {
  double ag2, g, khg2, ahg, ah2, khg2_w, ag2_w, psi2, psi2_w, x2, kg, kh, kg_w, kh_w, a_w;
  explicit TvSums(Random& random) {
    for (double* s :
         {&ag2, &g, &khg2, &ahg, &ah2, &khg2_w, &ag2_w, &psi2, &psi2_w, &x2, &kg, &kh, &kg_w, &kh_w, &a_w})
      *s = random.log_uniform(1e-4, 1e4);
    for (double* s : {&ag2, &khg2, &ah2, &khg2_w, &ag2_w}) *s *= *s;
  }
  std::vector<double> rows() const {
    return {ag2, g, khg2, ahg, ah2, khg2_w, ag2_w, psi2, psi2_w, x2, kg, kh, kg_w, kh_w, a_w};
  }
};

/// The bounds DL and ADJ of learn/error_bound.hpp and of src/model/tv_constants.hpp, for the values
/// alpha, nu, xi.
struct TvForms {
  double hessian_q, energy_q, hessian_qe, hessian_v, energy_v, hessian_vq;
  double mixed_q[3], energy_mixed[3], rounding[3];

  TvForms(const TvSums& s, double alpha, double nu, double xi, bool huber, bool inside, double k2,
          double row_bound, double eps, double q, double v, double unit, Smallest& smallest,
          bool quadratic = false, double reading = 0) {
    const double l2 = quadratic ? 0 : huber ? 2 : steepest_change, b_nu = huber ? 0.5 : 0.3849001794597505;
    const double l_h = alpha * l2 / (nu * nu) * k2 * row_bound;
    const double stiff = alpha / (nu * nu), k = std::sqrt(k2);
    const double plain_q =
        quadratic
            ? 0
            : smallest("Delta_A q", {stiff * k2 * eps * s.kg, alpha * k * std::sqrt(s.ag2), l_h * eps * q});
    const double m_q = stiff * s.kg_w;  // max alpha/nu^2 K g / W
    hessian_q = quadratic ? 0 : smallest("hessian_q", {plain_q, std::sqrt(2.0) * m_q * eps});
    energy_q = quadratic ? 0 : smallest("energy_q", {plain_q, 2 * m_q * eps});
    hessian_qe = quadratic ? 0 : smallest("hessian_qe", {plain_q * eps, m_q * eps * eps / 2});
    hessian_v = quadratic ? 0
                          : smallest("Delta_A v",
                                     {stiff * k2 * eps * s.kh, alpha * k * std::sqrt(s.ah2), l_h * eps * v});
    energy_v = stiff * s.kh_w * eps;
    hessian_vq = smallest("hessian_vq", {stiff * k * eps * std::sqrt(s.khg2), alpha * s.ahg,
                                         stiff * eps * std::sqrt(s.khg2_w)});
    const double ag = std::sqrt(s.ag2), ag_w = std::sqrt(s.ag2_w), ridge = inside ? alpha : 1;
    mixed_q[0] = (quadratic ? smallest("mixed alpha, quadratic", {k * eps * ag, eps * ag_w})
                            : smallest("mixed alpha", {k * eps * ag, eps * ag_w, 2 * s.g})) +
                 (inside ? xi * eps * q : 0);
    mixed_q[1] = alpha / nu *
                 (huber ? smallest("mixed nu, huber", {2 / nu * k2 * eps * q, 2 * b_nu * s.g})
                        : smallest("mixed nu", {k * eps * ag, eps * ag_w, 2 * b_nu * s.g}));
    mixed_q[2] = ridge * eps * q;
    energy_mixed[0] = inside ? infinity : eps * s.a_w;
    energy_mixed[1] = alpha / nu * eps * (huber ? 2 / nu * 2 * k2 : s.a_w);  // 1/W <= 2 |K|^2
    energy_mixed[2] = infinity;
    const double psi = std::sqrt(s.psi2), x = std::sqrt(s.x2);
    rounding[0] = unit * (16 * (quadratic ? psi * ag : s.g) + reading * (q * psi + x * ag));
    rounding[1] = unit * alpha / nu * (16 * s.g + reading * (q * psi + x * (huber ? 2 / nu * k * q : ag)));
    rounding[2] = 0;
  }

  /// With K x off by at most delta = reading unit |x|: the profiles and weights move by tau, against the
  /// plain bounds from Lipschitz constants, and A~ itself is off by `shift`.
  void loosen(double alpha, double nu, double xi, bool huber, bool inside, double k2, double row_bound,
              double eps, double q, double v, double delta) {
    const double mu = 1 + (inside ? alpha * xi : xi), l1 = (huber ? 2 : 1) / nu, steep = alpha * l1 * k2;
    const double l_h = alpha * (huber ? 2 : steepest_change) / (nu * nu) * k2 * row_bound;
    const double tau = 100 * (1 + steep / mu) * delta / nu, change = std::min(l_h * eps, steep),
                 shift = std::min(l_h / row_bound * delta, steep), root2 = std::sqrt(2.0);
    const auto wider = [tau](double& sharp, double plain, double more = 0) {
      sharp = std::min(std::max(sharp, plain), sharp * (1 + tau) + tau * plain) + more;
    };
    wider(hessian_q, change * q, shift * q);
    wider(energy_q, change * q, shift * q);
    wider(hessian_v, change * v, shift * v);
    wider(energy_v, root2 * change * v, root2 * shift * v);
    wider(hessian_vq, change * q * v, shift * q * v);
    wider(hessian_qe, change * q * eps, shift * q * eps);
    const double lipschitz[3] = {l1 * k2 + (inside ? xi : 0), alpha / nu * k2 * l1, inside ? alpha : 1};
    for (int k = 0; k < 3; ++k) {
      wider(mixed_q[k], lipschitz[k] * eps * q);
      if (energy_mixed[k] < infinity) wider(energy_mixed[k], root2 * lipschitz[k] * eps);
    }
  }
};

template <class Bound>
void expect_hessian_forms(const Bound& got, const TvForms& want, double unit, const std::string& what) {
  expect_form(got.hessian_q, want.hessian_q, unit, what + " hessian_q");
  expect_form(got.energy_q, want.energy_q, unit, what + " energy_q");
  expect_form(got.hessian_qe, want.hessian_qe, unit, what + " hessian_qe");
  expect_form(got.hessian_v, want.hessian_v, unit, what + " hessian_v");
  expect_form(got.energy_v, want.energy_v, unit, what + " energy_v");
  expect_form(got.hessian_vq, want.hessian_vq, unit, what + " hessian_vq");
}

/// Unit of the directional bounds of small images: rounding of T, and 64 additions.
template <class T>
double bound_unit(std::size_t pixels) {
  return std::numeric_limits<T>::epsilon() / 2 + (64 + static_cast<double>(pixels) / 1024) * 0x1p-53 / 16;
}

/// Rows of one double per image, the values of image 1 of 2.
std::vector<double> second_of_two(const std::vector<double>& rows) {
  std::vector<double> out;
  for (double r : rows) {
    out.push_back(-7);
    out.push_back(r);
  }
  return out;
}

template <class T>
class DirectionalForms : public ::testing::Test {};
using Precisions = ::testing::Types<float, double>;
TYPED_TEST_SUITE(DirectionalForms, Precisions);

TYPED_TEST(DirectionalForms, OfTotalVariation) {
  using T = TypeParam;
  Random random(seed(2701));
  Context context(Device::open(test_device("cpu:1")));
  Smallest smallest;
  for (const bool huber : {false, true})
    for (const bool inside : {false, true})
      for (const int kind :
           {0, 1, 2, 3, 4, 5, 6}) {  // isotropic, anisotropic, signal; second, of a signal; h1; tikhonov
        const bool second = kind == 3 || kind == 4, quadratic = kind >= 5;
        if (quadratic && huber) continue;
        const Shape shape{2, 1, kind == 2 || kind == 4 ? 1 : 3, 4};
        Tensor<T> y(context, shape, std::vector<T>(shape.count(), T(0)));
        const double alpha = random.log_uniform(1e-2, 10), nu = random.log_uniform(1e-2, 1),
                     xi = random.log_uniform(1e-3, 1);
        std::vector<Segment> segments{{"xi", Transform::identity, xi, 0, 10, true},
                                      {"nu", Transform::exp, nu, 1e-3, 10, true},
                                      {"alpha", Transform::log10, alpha, 1e-3, 20, true}};
        if (quadratic) segments.erase(segments.begin() + 1);
        const Parameters p(segments);
        const ComposedEnergy<T> energy(context, y.view(), p,
                                       TvOptions{quadratic ? TvPotential::quadratic
                                                 : huber   ? TvPotential::huber_c2
                                                           : TvPotential::charbonnier,
                                                 kind != 1, inside,
                                                 second      ? TvDifferences::second
                                                 : kind == 6 ? TvDifferences::none
                                                             : TvDifferences::first});
        const double k2s[] = {8, 8, 4, 64, 16, 8, 1}, rows2[] = {3, 2, 2, 9 + std::sqrt(37.0), 6, 3, 1};
        const double k2 = k2s[kind], row = std::sqrt(rows2[kind]), unit_nu = quadratic ? 1 : nu;
        const double slope[3] = {std::log(10.0) * alpha, nu, 1};  // of alpha, nu, xi
        const std::size_t place[3] = {quadratic ? 1u : 2u, 1, 0};
        for (int trial = 0; trial < 400; ++trial) {
          const TvSums s(random);
          const double eps = random.log_uniform(1e-6, 1e2), q = random.log_uniform(1e-3, 1e3),
                       v = random.log_uniform(1e-3, 1e3);
          const std::vector<double> rows = s.rows();
          const double unit = bound_unit<T>(shape.image());
          const DirectionalBound got = energy.directional(second_of_two(rows), 1, eps, q, v);
          TvForms want(s, alpha, unit_nu, xi, huber, inside, k2, row, eps, q, v, unit, smallest, quadratic,
                       second ? 8 : 0);
          if (second)
            want.loosen(alpha, nu, xi, huber, inside, k2, row, eps, q, v, 8 * unit * std::sqrt(s.x2));
          const std::string what = std::string(huber ? "huber" : "charbonnier") + (inside ? " inside" : "");
          expect_hessian_forms(got, want, unit, what);
          for (std::size_t k = 0; k < 3; ++k) {
            if (k == 1 && quadratic) continue;
            const std::string entry = what + " parameter " + std::to_string(k);
            expect_form(got.mixed_q[place[k]], slope[k] * want.mixed_q[k], unit, entry + " mixed_q");
            expect_form(got.energy_mixed[place[k]], slope[k] * want.energy_mixed[k], unit,
                        entry + " energy_mixed");
            expect_form(got.rounding[place[k]], slope[k] * want.rounding[k], unit, entry + " rounding");
          }
          if (::testing::Test::HasFailure()) return;
        }
      }
  smallest.expect_all_seen();
}

TYPED_TEST(DirectionalForms, OfMagneticResonance) {
  using T = TypeParam;
  Random random(seed(2702));
  Context context(Device::open(test_device("cpu:1")));
  Smallest smallest;
  for (const bool huber : {false, true})
    for (const int coils : {1, 3})
      for (const SamplingMap map : {SamplingMap::direct, SamplingMap::rational}) {
        const Shape images{2, 2, 3, 5};
        const SamplingPattern pattern(PatternKind::free, 3, 5, map);
        MriParameterValues values;
        values.s = random.uniform(0.05, 0.95);
        values.alpha = random.log_uniform(1e-2, 10);
        values.nu = random.log_uniform(1e-2, 1);
        values.xi = random.log_uniform(1e-4, 1);
        std::vector<Segment> segments = mri_parameters(pattern, values).segments();
        segments[2].learned = segments[3].learned = true;
        const Parameters p(segments);  // s, ln alpha, ln nu, ln xi
        std::vector<std::complex<double>> maps;
        double most = 1, least = 1;
        if (coils > 1) {
          most = 0, least = infinity;
          for (int c = 0; c < coils; ++c)
            for (int k = 0; k < 15; ++k) maps.push_back({static_cast<float>(random.normal()), 0.5});
          for (std::size_t k = 0; k < 15; ++k) {
            const double power = std::norm(maps[k]) + std::norm(maps[15 + k]) + std::norm(maps[30 + k]);
            most = std::max(most, power);
            least = std::min(least, power);
          }
        }
        std::vector<std::complex<T>> kspace(static_cast<std::size_t>(2 * coils * 15));
        double data2 = 0;
        for (std::size_t e = 0; e < kspace.size(); ++e) {
          kspace[e] = {static_cast<T>(random.normal()), static_cast<T>(random.normal())};
          if (e >= kspace.size() / 2) data2 += std::norm(std::complex<double>(kspace[e]));
        }
        const ComposedEnergy<T> energy(context, images, kspace, pattern, p,
                                       TvOptions{huber ? TvPotential::huber_c2 : TvPotential::charbonnier},
                                       {coils, maps});
        const double s = values.s, w = map == SamplingMap::direct ? s * s : s / (1 - s),
                     steep = map == SamplingMap::direct ? 2 * s : 1 / square(1 - s);
        const double mu = values.xi + w * least, power = std::sqrt(most);
        const double b_nu = huber ? 0.5 : 0.3849001794597505, l1 = (huber ? 2 : 1) / values.nu,
                     l2 = (huber ? 2 : steepest_change) / square(values.nu), maps_unit = 1e-7;
        const Curvature constants = energy.curvature();
        EXPECT_LE(constants.mu, mu * (1 + 1e-12));
        EXPECT_GE(constants.mu, mu * (1 - 10 * maps_unit));
        expect_form(constants.lipschitz, values.xi + w * most + values.alpha * l1 * 8, maps_unit, "L");
        expect_form(constants.hessian_lipschitz, values.alpha * l2 * 8 * std::sqrt(3.0), 1e-15, "L_H");
        for (int trial = 0; trial < 400; ++trial) {
          const TvSums sums(random);
          const double eps = random.log_uniform(1e-6, 1e2), q = random.log_uniform(1e-3, 1e3),
                       v = random.log_uniform(1e-3, 1e3), gradient = random.log_uniform(1e-6, 1e2);
          const double psi2 = sums.psi2, psi2_w = sums.psi2_w, x2 = sums.x2;
          std::vector<double> rows = sums.rows();
          rows.push_back(gradient);
          double r2 = 0, q2 = 0, r2_sum = 0;
          for (int half = 0; half < 2; ++half)
            for (int k = 0; k < 15; ++k) {
              const double e = random.log_uniform(1e-3, 1e3);
              rows.push_back(e);
              if (half == 0) r2_sum += e;
              (half == 0 ? r2 : q2) = std::max(half == 0 ? r2 : q2, e);
            }
          const double unit = bound_unit<T>(images.image());
          const DirectionalBound got = energy.directional(second_of_two(rows), 1, eps, q, v);
          const TvForms want(sums, values.alpha, values.nu, values.xi, huber, false, 8, std::sqrt(3.0), eps,
                             q, v, unit, smallest);
          expect_hessian_forms(got, want, unit, "resonance");
          const double slope[3] = {values.alpha, values.nu, values.xi};
          const double norms[3] = {smallest("norm of alpha", {std::sqrt(8 * psi2), std::sqrt(2 * psi2_w)}),
                                   values.alpha / values.nu * b_nu * std::sqrt(8.0 * 15), std::sqrt(x2)};
          const double lipschitz[3] = {8 * l1, values.alpha / values.nu * 8 * l1, 1};
          for (std::size_t k = 0; k < 3; ++k) {
            const std::string entry = "resonance, parameter " + std::to_string(k);
            expect_form(got.mixed_q[1 + k], slope[k] * want.mixed_q[k], unit, entry + " mixed_q");
            expect_form(got.energy_mixed[1 + k], slope[k] * want.energy_mixed[k], unit, entry + " energy");
            expect_form(got.rounding[1 + k], slope[k] * want.rounding[k], unit, entry + " rounding");
            expect_form(got.norm_mixed[1 + k], slope[k] * norms[k], unit, entry + " norm");
            expect_form(got.mixed_lipschitz[1 + k], slope[k] * lipschitz[k], unit, entry + " Lipschitz");
          }
          // The sampling: diag(dw) applied to residuals, in the norm of f or of the data term
          // (fourier_term.cpp).
          const double share = values.xi / most, transform = 10 * std::log2(15.0) * unit;
          const double plain_r = steep * std::sqrt(r2), plain_q = steep * std::sqrt(q2),
                       weighted_r = steep * std::sqrt(r2 / (w + share)),
                       weighted_q = steep * std::sqrt(q2 / (w + share));
          const double off_r = (transform + 4 * unit) * (std::sqrt(r2_sum) + std::sqrt(data2)),
                       off_q = transform * power * q;
          const double norm = smallest("norm of s", {power * plain_r, std::sqrt(mu) * weighted_r}),
                       moved = smallest("mixed s",
                                        {eps * power * plain_q, std::sqrt(gradient * eps) * weighted_q});
          expect_form(got.norm_mixed[0], norm + power * steep * off_r, unit, "norm of s");
          expect_form(got.mixed_q[0], moved + eps * power * steep * off_q, unit, "mixed s");
          expect_form(got.mixed_lipschitz[0], most * steep, unit, "Lipschitz constant of s");
          expect_form(got.energy_mixed[0], infinity, unit, "energy of s");
          expect_form(got.rounding[0], (plain_r + steep * off_r) * off_q + plain_q * off_r,
                      std::max(unit, 1e-14), "rounding of s");
          if (::testing::Test::HasFailure()) return;
        }
      }
  smallest.expect_all_seen();
}

/// Sums of the kernel experts_bound for one filter, in its order (kernels/experts_args.hpp).
struct FilterSums {
  double psi2, psi_nu2, bend2, ag2, g, aq2, kgx2, ah2, khg2, ahg, khg2_w, ag2_w, aq2_w, kgx2_w, x2;
  double kg, kh, kg_w, kh_w, a, a_w, k, patch2;
  explicit FilterSums(Random& random) {
    for (double* s : all()) *s = random.log_uniform(1e-4, 1e4);
  }
  std::vector<double*> all() {
    return {&psi2,  &psi_nu2, &bend2, &ag2, &g,  &aq2,  &kgx2, &ah2, &khg2, &ahg, &khg2_w, &ag2_w,
            &aq2_w, &kgx2_w,  &x2,    &kg,  &kh, &kg_w, &kh_w, &a,   &a_w,  &k,   &patch2};
  }
};

TYPED_TEST(DirectionalForms, OfExperts) {
  using T = TypeParam;
  Random random(seed(2703));
  Context context(Device::open(test_device("cpu:1")));
  Smallest smallest;
  for (const bool huber : {false, true})
    for (const FilterPadding padding : {FilterPadding::symmetric, FilterPadding::valid}) {
      const Shape shape{2, 1, 6, 5};
      Tensor<T> y(context, shape, std::vector<T>(shape.count(), T(0)));
      const ExpertsOptions options{padding, huber ? TvPotential::huber_c2 : TvPotential::charbonnier, false};
      std::vector<Segment> segments = experts_parameters(2, 3, FilterInit::random, 0.1, 0.1, 5).segments();
      ExpertsValues values;
      values.size = 3;
      values.mu = 1e-3;
      for (double& b : segments[0].values) values.weight.push_back(b = random.log_uniform(1e-2, 10));
      for (double& nu : segments[1].values) values.smoothing.push_back(nu = random.log_uniform(1e-2, 1));
      for (double c : segments[2].values) values.filters.push_back(c);
      std::swap(segments[0], segments[1]);  // theta: smoothing, weight, filters
      const ComposedEnergy<T> energy(context, y.view(), Parameters(segments), options);
      const ExpertsConstants norms = experts_constants(options, values, shape.h, shape.w);
      const double lambda = norms.norm2, m = 9, b_nu = huber ? 0.5 : 0.3849001794597505;
      const double patch_norm = (padding == FilterPadding::valid ? 1 : 2) * std::sqrt(m);
      double l_h = 0;
      for (std::size_t k = 0; k < 2; ++k)
        l_h += values.weight[k] * (huber ? 2 : steepest_change) / square(values.smoothing[k]) *
               square(norms.operators[k]) * norms.rows[k];
      const Curvature constants = energy.curvature();
      expect_form(constants.mu, 1 + values.mu, 1e-15, "mu");
      expect_form(constants.lipschitz, 1 + values.mu + (huber ? 2 : 1) * lambda, 1e-15, "L");
      expect_form(constants.hessian_lipschitz, l_h, 1e-15, "L_H");
      for (std::size_t k = 0; k < 2; ++k) {  // per ln nu, ln b and for the taps
        const double steep =
            values.weight[k] * (huber ? 2 : 1) / values.smoothing[k] * square(norms.operators[k]);
        expect_form(constants.mixed_lipschitz[k], steep, 1e-15, "L_B of smoothings");
        expect_form(constants.mixed_lipschitz[2 + k], steep, 1e-15, "L_B of weights");
        EXPECT_EQ(constants.mixed_lipschitz[4 + k], infinity);
      }
      for (int trial = 0; trial < 800; ++trial) {
        FilterSums s[2] = {FilterSums(random), FilterSums(random)};
        const double eps = random.log_uniform(1e-6, 1e2), q = random.log_uniform(1e-3, 1e3),
                     v = random.log_uniform(1e-3, 1e3), unit = bound_unit<T>(shape.image());
        std::vector<double> rows;  // [row][filter][image]
        for (std::size_t row = 0; row < s[0].all().size(); ++row)
          for (FilterSums& of : s) rows.push_back(*of.all()[row]);
        const DirectionalBound got = energy.directional(second_of_two(rows), 1, eps, q, v);
        double kg = 0, kh = 0, kg_w = 0, kh_w = 0, ag = 0, ah = 0, khg = 0, khg_w = 0, ahg = 0;
        for (std::size_t k = 0; k < 2; ++k) {
          const double b = values.weight[k], nu = values.smoothing[k];
          kg = std::max(kg, s[k].kg / nu);
          kh = std::max(kh, s[k].kh / nu);
          kg_w = std::max(kg_w, s[k].kg_w / nu);
          kh_w = std::max(kh_w, s[k].kh_w / nu);
          ag += b * nu * s[k].ag2;
          ah += b * nu * s[k].ah2;
          khg += b / (nu * nu * nu) * s[k].khg2;
          khg_w += b / (nu * nu * nu) * s[k].khg2_w;
          ahg += b * s[k].ahg;
        }
        const double plain_q =
            smallest("Delta_A q", {lambda * eps * kg, std::sqrt(lambda * ag), l_h * eps * q});
        expect_form(got.hessian_q, smallest("hessian_q", {plain_q, std::sqrt(2.0) * eps * kg_w}), unit,
                    "hessian_q");
        expect_form(got.energy_q, smallest("energy_q", {plain_q, 2 * eps * kg_w}), unit, "energy_q");
        expect_form(got.hessian_qe, smallest("hessian_qe", {plain_q * eps, eps * eps * kg_w / 2}), unit,
                    "hessian_qe");
        expect_form(got.hessian_v,
                    smallest("Delta_A v", {lambda * eps * kh, std::sqrt(lambda * ah), l_h * eps * v}), unit,
                    "hessian_v");
        expect_form(got.energy_v, eps * kh_w, unit, "energy_v");
        expect_form(got.hessian_vq,
                    smallest("hessian_vq", {std::sqrt(lambda * khg) * eps, ahg, eps * std::sqrt(khg_w)}),
                    unit, "hessian_vq");
        for (std::size_t k = 0; k < 2; ++k) {
          const FilterSums& f = s[k];
          const double b = values.weight[k], nu = values.smoothing[k], op = norms.operators[k];
          const double g_ag = std::sqrt(f.ag2), g_ag_w = std::sqrt(f.ag2_w), scaled = std::sqrt(nu / b);
          const double psi = std::sqrt(f.psi2), psi_nu = std::sqrt(f.psi_nu2), x = std::sqrt(f.x2),
                       patch = std::sqrt(f.patch2);
          const auto expect_block = [&](std::size_t at, double moved, double energy_mixed, double norm,
                                        double lipschitz, double rounding, const std::string& what) {
            expect_form(got.mixed_q[at], moved, unit, what + " mixed_q");
            expect_form(got.energy_mixed[at], energy_mixed, unit, what + " energy_mixed");
            expect_form(got.norm_mixed[at], norm, unit, what + " norm");
            expect_form(got.mixed_lipschitz[at], lipschitz, unit, what + " Lipschitz");
            expect_form(got.rounding[at], rounding, unit, what + " rounding");
          };
          // Rounding of t = C x and u = C q: m products and sums of taps that were rounded themselves.
          double taps = 0;
          for (std::size_t j = 0; j < 9; ++j) taps += std::abs(values.filters[9 * k + j]);
          taps *= padding == FilterPadding::valid ? 1 : 2;
          const double off_t = (m + 4) * unit * taps * x, off_u = (m + 4) * unit * taps * q;
          expect_block(2 + k, b * smallest("weight", {op * eps * g_ag, eps * scaled * g_ag_w, 2 * f.g}),
                       b * f.a_w * eps * nu / b, b * op * psi, b * f.a * op * op,
                       b * (off_u * psi + off_t * g_ag + 16 * unit * f.g), "weight");
          const double slow =
              huber ? smallest("smoothing, huber", {2 / nu * op * op * eps * q, 2 * b_nu * f.g})
                    : smallest("smoothing", {op * eps * g_ag, eps * scaled * g_ag_w, 2 * b_nu * f.g});
          expect_block(k, b * slow, b * eps * (huber ? 4 * lambda / b : f.a_w * nu / b), b * op * psi_nu,
                       b * (huber ? 2 / nu : f.a) * op * op,
                       b * (off_u * psi_nu + off_t * (huber ? 2 / nu * op * q : g_ag) + 16 * unit * f.g),
                       "smoothing");
          const double aq = std::sqrt(f.aq2), aq_w = std::sqrt(f.aq2_w), kgx = std::sqrt(f.kgx2) / (nu * nu),
                       kgx_w = std::sqrt(f.kgx2_w) / (nu * nu);
          const double bent = off_u * f.a + f.k / (nu * nu) * off_t * op * q;
          expect_block(
              4 + k,
              smallest("taps through psi", {b * op * eps * aq, std::sqrt(b * nu) * eps * aq_w}) +
                  b * patch_norm * eps * g_ag +
                  smallest("taps through phi''", {b * op * eps * kgx, std::sqrt(b * nu) * eps * kgx_w}),
              infinity, b * (patch_norm * psi + op * std::sqrt(f.bend2)),
              b * (2 * patch_norm * op * f.a + op * op * f.k / (nu * nu) * patch),
              b * patch_norm * (q * (off_t * f.a + 80 * unit * psi) + x * (bent + 80 * unit * g_ag)),
              "filter");
        }
        if (::testing::Test::HasFailure()) return;
      }
    }
  smallest.expect_all_seen();
}

}  // namespace
}  // namespace bilevel
