#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <utility>

#include "tests/kernels/experts_lab.hpp"
#include "tests/model/scoped_environment.hpp"
#include "tests/support/numeric.hpp"

// Every fields-of-experts kernel against the naive model in long double, entry by entry. A correlation of m
// taps carries (m + 2) u |C||x|; the bounds below pass that on through the Lipschitz constants of the
// pointwise functions, and count the roundings that follow.

namespace bilevel {
namespace {

using namespace testing_support;
using Real = NaiveExperts::Real;
using Field = NaiveExperts::Field;
using Numbers = std::vector<double>;

template <class T>
class ExpertsKernels : public ::testing::Test {
 protected:
  static constexpr double unit = static_cast<double>(std::numeric_limits<T>::epsilon()) / 2;
  /// Of a function value of a potential: roundings on the way, the conversion of nu included.
  static constexpr double function_roundings = 16;

  struct Size {
    int height, width, filters, n;
  };
  /// Smallest images for the padding, and shapes around the borders of tiles of 16, 32 and 128 pixels.
  static std::vector<Size> shapes(int size, bool valid) {
    const int least = valid ? size : size / 2;
    if (on_cuda()) return {{least, least + 3, 2, 1}, {33 + size % 4, 34, 1, 2}};
    return {{least, least, 3, 1},
            {least, least + 1, 2, 2},
            {2 * size + 1, least, 2, 1},
            {16 + size / 2, 13 + size, 2, 3},
            {33, 129, 1, 1},
            {34, 31, 3, 2},
            {32 + size / 2, 128 + size / 2, 1, 1},
            {66, 20, 1, 1},
            {least, 261, 1, 1}};
  }
  /// check(model, n) for every filter size, padding, potential and shape, in every body.
  template <class Check>
  void for_all(const Check& check) {
    for (const char* overrides : override_choices()) {
      const ScopedEnvironment choice("BILEVEL_CPU_OVERRIDES", overrides);
      for (const int size : {3, 5, 7, 9, 11})
        for (const bool valid : {false, true}) {
          int count = size;
          for (const Size& s : shapes(size, valid)) {
            const bool huber = ++count % 2 == 0;
            const NaiveExperts m =
                random_experts<T>(s.height, s.width, s.filters, size, valid, huber, random_);
            SCOPED_TRACE(describe(m, s.n) + ", overrides " + overrides);
            check(m, s.n);
            if (HasFatalFailure() || HasNonfatalFailure()) return;
          }
        }
    }
  }

  Numbers rounded(Numbers values) const {
    for (double& v : values) v = static_cast<double>(static_cast<T>(v));
    return values;
  }
  /// Unlike images: noise with edges at several contrasts.
  Numbers batch(const NaiveExperts& m, int n) {
    Numbers all;
    for (int i = 0; i < n; ++i) {
      const double scale = std::pow(10.0, (contrast_++ % 3) - 1);
      for (double v : piecewise_constant(m.height, m.width, 0.1, random_)) all.push_back(scale * v);
    }
    return rounded(all);
  }
  Numbers field(std::size_t size, double low, double high) {
    Numbers values(size);
    for (double& v : values) v = random_.uniform(low, high);
    return rounded(values);
  }
  static Field part(const Numbers& all, std::size_t size, std::size_t i) {
    const auto first = all.begin() + static_cast<std::ptrdiff_t>(size * i);
    return Field(first, first + static_cast<std::ptrdiff_t>(size));
  }
  static std::vector<std::size_t> images(int n) {
    std::vector<std::size_t> all(static_cast<std::size_t>(n));
    for (std::size_t i = 0; i < all.size(); ++i) all[i] = i;
    return all;
  }
  /// C_k x and a bound of the error of its computed value.
  struct Response {
    Field t, error;
  };
  static Response response(const NaiveExperts& m, int k, const Field& x) {
    Response r{m.correlate(m.taps, k, x), m.correlate(m.taps, k, absolute(x), true)};
    for (Real& e : r.error) e *= unit * Real(m.size * m.size + 2);
    return r;
  }
  static Field absolute(Field f) {
    for (Real& v : f) v = std::abs(v);
    return f;
  }
  /// out += |C_k|^T |f|.
  static void spread(const NaiveExperts& m, const Numbers& taps, int k, const Field& f, Field& out) {
    const Field s = m.adjoint(taps, k, absolute(f), true);
    for (std::size_t p = 0; p < out.size(); ++p) out[p] += s[p];
  }
  /// Factors of |x| and |psi_k| in a bound of the gradient's rounding error: |C_k| <= e |c_k|_1 with e = 2
  /// for reflected images; filters add by Cauchy-Schwarz.
  static std::pair<double, Numbers> rounding_factors(const NaiveExperts& m) {
    const int taps = m.size * m.size;
    double of_x = 0;
    Numbers of_psi;
    for (int k = 0; k < m.filters; ++k) {
      double norm = 0;
      for (int e = 0; e < taps; ++e) norm += std::abs(m.taps[static_cast<std::size_t>(k * taps + e)]);
      norm *= m.valid ? 1 : 2;
      of_x += (taps + 2) * double(m.b(k) * m.lip1(k)) * norm * norm;
      of_psi.push_back(std::sqrt(double(m.filters)) * (taps + 8) * double(m.b(k)) * norm);
    }
    return {of_x, of_psi};
  }
  static Real inner(const Field& a, const Field& b) {
    Real s = 0;
    for (std::size_t p = 0; p < a.size(); ++p) s += a[p] * b[p];
    return s;
  }
  static void expect_near(const Field& got, const Field& want, const Field& bound, const std::string& what) {
    for (std::size_t p = 0; p < want.size(); ++p)
      ASSERT_NEAR(double(got[p]), double(want[p]), double(bound[p]) + 1e-37) << what << ", entry " << p;
  }

  /// A direction of (beta, gamma, filters).
  struct Direction {
    Numbers weight, smoothing, taps;
  };
  Direction direction(const NaiveExperts& m) {
    const auto count = static_cast<std::size_t>(m.filters);
    return {field(count, -1, 1), field(count, -1, 1), field(count * m.taps_of_one(), -1, 1)};
  }
  /// B direction at x, and a bound of the rounding error of every entry.
  struct Mixed {
    Field want, bound;
  };
  static Mixed mixed(const NaiveExperts& m, const Field& x, const Direction& of) {
    Mixed sum{Field(m.pixels(), 0), Field(m.pixels(), 0)};
    const Real chain = m.size * m.size + m.filters + function_roundings + 8;
    for (int k = 0; k < m.filters; ++k) {
      const Response r = response(m, k, x);
      const Field moved = m.correlate(of.taps, k, x), scale = m.correlate(of.taps, k, absolute(x), true);
      const Real f = of.weight[static_cast<std::size_t>(k)], g = of.smoothing[static_cast<std::size_t>(k)];
      Field inner(r.t.size()), outer(r.t.size()), inner_error(r.t.size()), outer_error(r.t.size());
      for (std::size_t p = 0; p < inner.size(); ++p) {
        const Real t = r.t[p], b = m.b(k);
        outer[p] = b * m.psi(k, t);
        inner[p] = b * (f * m.psi(k, t) + g * m.psi_nu(k, t) + m.curvature(k, t) * moved[p]);
        outer_error[p] = b * m.lip1(k) * r.error[p] + chain * unit * std::abs(outer[p]);
        const Real slope =
            std::abs(f) * m.lip1(k) + std::abs(g) * m.lip_nu(k) + std::abs(moved[p]) * m.lip2(k);
        inner_error[p] =
            b * (slope * r.error[p] + chain * unit * (std::abs(f) + std::abs(g) + m.lip1(k) * scale[p]));
      }
      const Field a = m.adjoint(m.taps, k, inner), d = m.adjoint(of.taps, k, outer);
      for (std::size_t e = 0; e < a.size(); ++e) sum.want[e] += a[e] + d[e];
      spread(m, m.taps, k, inner_error, sum.bound);
      spread(m, of.taps, k, outer_error, sum.bound);
    }
    return sum;
  }

  Random random_{seed(301)};
  int contrast_ = 0;
};
using Precisions = ::testing::Types<float, double>;
TYPED_TEST_SUITE(ExpertsKernels, Precisions);

TYPED_TEST(ExpertsKernels, ValueGradientAndItsRoundingBound) {
  RatioRecorder slack("rounding bound / measured error of the gradient");
  this->for_all([&](const NaiveExperts& m, int n) {
    const double u = this->unit;
    const int taps = m.size * m.size;
    const Numbers x = this->batch(m, n), y = this->batch(m, n);
    const auto [rounding_x, rounding] = this->rounding_factors(m);
    ExpertsLab<TypeParam> lab(m, n);
    const auto got = lab.energy(x, y, u, rounding_x, rounding);
    for (const std::size_t i : this->images(n)) {
      const Field xi = this->part(x, m.pixels(), i), yi = this->part(y, m.pixels(), i);
      Field want(m.pixels()), bound(m.pixels(), 0);
      Real value = 0, distance2 = 0, norm2 = 0, spread2 = 0;
      for (std::size_t p = 0; p < want.size(); ++p) {
        const Real d = xi[p] - yi[p];
        want[p] = d + m.mu * xi[p];
        bound[p] = 3 * std::abs(d) + 3 * m.mu * std::abs(xi[p]);
        value += d * d / 2 + m.mu / 2 * xi[p] * xi[p];
        distance2 += d * d;
        norm2 += xi[p] * xi[p];
      }
      for (int k = 0; k < m.filters; ++k) {
        const auto r = this->response(m, k, xi);
        Field psi(r.t.size()), scale(r.t.size());
        for (std::size_t p = 0; p < psi.size(); ++p) {
          value += m.b(k) * m.rho(k, r.t[p]);
          psi[p] = m.b(k) * m.psi(k, r.t[p]);
          scale[p] = (taps + 8) * psi[p];
          const Real weighted = rounding[static_cast<std::size_t>(k)] * m.psi(k, r.t[p]);
          spread2 += weighted * weighted;
          scale[p] = std::abs(scale[p]) + m.b(k) * m.lip1(k) * r.error[p] / u;
        }
        const Field g = m.adjoint(m.taps, k, psi);
        for (std::size_t p = 0; p < want.size(); ++p) want[p] += g[p];
        this->spread(m, m.taps, k, scale, bound);
      }
      for (Real& b : bound) b *= u * (1 + 1e-4L);
      const Field g = this->part(got.gradient, m.pixels(), i);
      this->expect_near(g, want, bound, "gradient");
      Real error2 = 0;
      for (std::size_t p = 0; p < want.size(); ++p) error2 += (g[p] - want[p]) * (g[p] - want[p]);
      EXPECT_GE(got.rounding[i], double(std::sqrt(error2)));
      slack.add(got.rounding[i] / double(std::sqrt(error2)));
      const Real given = sizeof(TypeParam) == 4 ? 1 : 0;  // roundings of data and mu that came in double
      const Real formula =
          u * ((3 + given) * std::sqrt(distance2) +
               ((3 + given) * m.mu + given + rounding_x) * std::sqrt(norm2) + std::sqrt(spread2));
      EXPECT_NEAR(got.rounding[i], double(formula), 1e-3 * double(formula));
      EXPECT_NEAR(got.value[i], double(value), (taps + 30) * u * double(value));
      EXPECT_NEAR(got.norm2[i], double(this->inner(g, g)), 1e-12 * double(this->inner(g, g)));
    }
    const auto certified_elsewhere = lab.energy(x, y, 0, rounding_x, rounding);
    EXPECT_EQ(certified_elsewhere.gradient, got.gradient);
    EXPECT_EQ(certified_elsewhere.value, got.value);
    EXPECT_EQ(certified_elsewhere.rounding, Numbers(static_cast<std::size_t>(n), 0.0));
  });
}

TYPED_TEST(ExpertsKernels, MapsOfTheHessianAndOfThePrimalDualMatrix) {
  this->for_all([&](const NaiveExperts& m, int n) {
    const double u = this->unit;
    const Numbers x = this->batch(m, n);
    const Numbers zeta = this->field(static_cast<std::size_t>(n * m.filters) * m.responses(), -0.999, 0.999);
    ExpertsLab<TypeParam> lab(m, n);
    const Numbers exact = lab.linearise(x), dual = lab.linearise(x, zeta);
    for (const std::size_t i : this->images(n))
      for (int k = 0; k < m.filters; ++k) {
        const auto r = this->response(m, k, this->part(x, m.pixels(), i));
        const std::size_t place = i * static_cast<std::size_t>(m.filters) + static_cast<std::size_t>(k);
        const Field z = this->part(zeta, m.responses(), place);
        Field hessian(r.t.size()), matrix(r.t.size()), bound(r.t.size());
        for (std::size_t p = 0; p < r.t.size(); ++p) {
          const Real w = m.w(k, r.t[p]);
          hessian[p] = m.b(k) * m.curvature(k, r.t[p]);
          matrix[p] = m.b(k) * (w - m.bend(k, r.t[p]) * Real(static_cast<float>(z[p])));
          bound[p] = m.b(k) * (2 * m.lip2(k) * r.error[p] + 2 * this->function_roundings * u * m.lip1(k));
        }
        this->expect_near(this->part(exact, m.responses(), place), hessian, bound, "exact");
        this->expect_near(this->part(dual, m.responses(), place), matrix, bound, "primal-dual");
        for (const Numbers& maps : {exact, dual})
          for (const Real v : this->part(maps, m.responses(), place)) ASSERT_GE(v, 0);
      }
  });
}

TYPED_TEST(ExpertsKernels, PrimalDualMapsAreNotNegative) {
  // Far out, w and kappa t agree to rounding, and |zeta| = 1 leaves nothing.
  for (const bool huber : {false, true}) {
    NaiveExperts m = random_experts<TypeParam>(20, 24, 2, 3, false, huber, this->random_);
    const Numbers x = [&] {
      Numbers all = this->batch(m, 1);
      for (double& v : all) v *= 1e4;
      return this->rounded(all);
    }();
    ExpertsLab<TypeParam> lab(m, 1);
    for (const double side : {1.0, -1.0}) {
      const Numbers zeta(2 * m.responses(), side * double(1 - 2.4e-7f));
      for (const double v : lab.linearise(x, zeta)) ASSERT_GE(v, 0);
    }
  }
}

TYPED_TEST(ExpertsKernels, HessianProduct) {
  this->for_all([&](const NaiveExperts& m, int n) {
    const double u = this->unit;
    const Numbers p = this->batch(m, n);
    const Numbers maps = this->field(static_cast<std::size_t>(n * m.filters) * m.responses(), 0, 4);
    ExpertsLab<TypeParam> lab(m, n);
    const auto got = lab.hessian(maps, p);
    for (const std::size_t i : this->images(n)) {
      const Field pi = this->part(p, m.pixels(), i);
      Field want(m.pixels()), bound(m.pixels());
      for (std::size_t e = 0; e < want.size(); ++e) {
        want[e] = (1 + Real(m.mu)) * pi[e];
        bound[e] = 4 * std::abs(want[e]);
      }
      for (int k = 0; k < m.filters; ++k) {
        const std::size_t place = i * static_cast<std::size_t>(m.filters) + static_cast<std::size_t>(k);
        const Field map = this->part(maps, m.responses(), place);
        const auto r = this->response(m, k, pi);
        Field f(r.t.size()), scale(r.t.size());
        for (std::size_t e = 0; e < f.size(); ++e) {
          f[e] = map[e] * r.t[e];
          scale[e] = map[e] * (2 * r.error[e] / u) + std::abs(f[e]) * (m.size * m.size + m.filters + 6);
        }
        const Field g = m.adjoint(m.taps, k, f);
        for (std::size_t e = 0; e < want.size(); ++e) want[e] += g[e];
        this->spread(m, m.taps, k, scale, bound);
      }
      for (Real& b : bound) b *= u;
      const Field g = this->part(got.product, m.pixels(), i);
      this->expect_near(g, want, bound, "product");
      EXPECT_NEAR(got.inner[i], double(this->inner(pi, g)),
                  1e-12 * double(this->inner(this->absolute(pi), this->absolute(g))));
    }
  });
}

TYPED_TEST(ExpertsKernels, HessianIsSymmetric) {
  this->for_all([&](const NaiveExperts& m, int n) {
    const Numbers p = this->batch(m, n), q = this->batch(m, n);
    const Numbers maps = this->field(static_cast<std::size_t>(n * m.filters) * m.responses(), 0, 4);
    ExpertsLab<TypeParam> lab(m, n);
    const Numbers on_p = lab.hessian(maps, p).product, on_q = lab.hessian(maps, q).product;
    for (const std::size_t i : this->images(n)) {
      const Field pi = this->part(p, m.pixels(), i), qi = this->part(q, m.pixels(), i);
      const Field ap = this->part(on_p, m.pixels(), i), aq = this->part(on_q, m.pixels(), i);
      const Real scale = std::sqrt(this->inner(pi, pi) * this->inner(aq, aq)) +
                         std::sqrt(this->inner(qi, qi) * this->inner(ap, ap));
      EXPECT_NEAR(double(this->inner(pi, aq)), double(this->inner(qi, ap)),
                  (2 * m.size * m.size + 20) * this->unit * double(scale));
    }
  });
}

TYPED_TEST(ExpertsKernels, DualField) {
  this->for_all([&](const NaiveExperts& m, int n) {
    const double u = this->unit;
    const Numbers x = this->batch(m, n), d = this->batch(m, n);
    const Numbers old = this->field(static_cast<std::size_t>(n * m.filters) * m.responses(), -0.999, 0.999);
    const Numbers step = this->field(static_cast<std::size_t>(n), 0.1, 1);
    ExpertsLab<TypeParam> lab(m, n);
    const Numbers start = lab.dual(x, {}, step, {}), next = lab.dual(x, d, step, old);
    for (const std::size_t i : this->images(n))
      for (int k = 0; k < m.filters; ++k) {
        const auto r = this->response(m, k, this->part(x, m.pixels(), i));
        const auto e = this->response(m, k, this->part(d, m.pixels(), i));
        const std::size_t place = i * static_cast<std::size_t>(m.filters) + static_cast<std::size_t>(k);
        const Field z = this->part(old, m.responses(), place);
        Field first(r.t.size()), moved(r.t.size()), first_bound(r.t.size()), bound(r.t.size());
        for (std::size_t p = 0; p < r.t.size(); ++p) {
          const Real t = r.t[p], by = step[i] * e.t[p], w = m.w(k, t), bent = m.bend(k, t) * by;
          first[p] = m.psi(k, t);
          moved[p] =
              std::max(Real(-1), std::min(Real(1), w * (t + by) - bent * Real(static_cast<float>(z[p]))));
          first_bound[p] = 4e-7 + m.lip1(k) * r.error[p] + this->function_roundings * u;
          bound[p] = 4e-7 + (2 * m.lip1(k) + 2 * m.lip2(k) * 3 * std::abs(by)) * r.error[p] +
                     3 * m.lip1(k) * step[i] * e.error[p] +
                     this->function_roundings * u * (w * (std::abs(t) + std::abs(by)) + std::abs(bent));
        }
        const Field s = this->part(start, m.responses(), place), a = this->part(next, m.responses(), place);
        this->expect_near(s, first, first_bound, "start");
        this->expect_near(a, moved, bound, "update");
        for (const Field& f : {s, a})
          for (const Real v : f) ASSERT_LT(std::abs(v), 1);
      }
  });
}

TYPED_TEST(ExpertsKernels, MixedDerivativeAdjoint) {
  this->for_all([&](const NaiveExperts& m, int n) {
    const double u = this->unit;
    const int taps = m.size * m.size;
    const Numbers x = this->batch(m, n), q = this->batch(m, n);
    ExpertsLab<TypeParam> lab(m, n);
    const Numbers got = lab.mixed_adjoint(x, q);
    for (const std::size_t i : this->images(n)) {
      const Field xi = this->part(x, m.pixels(), i), qi = this->part(q, m.pixels(), i);
      for (int k = 0; k < m.filters; ++k) {
        const auto r = this->response(m, k, xi), s = this->response(m, k, qi);
        Field want(static_cast<std::size_t>(2 + taps), 0), bound(want.size(), 0);
        Field psi_error(r.t.size()), bent(r.t.size()), bent_error(r.t.size()), psi(r.t.size());
        for (std::size_t p = 0; p < r.t.size(); ++p) {
          const Real t = r.t[p], v = s.t[p], by_nu = m.psi_nu(k, t), c = m.curvature(k, t);
          const Real rounding = this->function_roundings * u;
          psi[p] = m.psi(k, t);
          bent[p] = c * v;
          psi_error[p] = m.lip1(k) * r.error[p] + rounding * std::abs(psi[p]);
          bent_error[p] =
              (m.lip2(k) * r.error[p] + 2 * rounding * m.lip1(k)) * std::abs(v) + m.lip1(k) * s.error[p];
          want[0] += v * psi[p];
          want[1] += v * by_nu;
          bound[0] += std::abs(v) * psi_error[p] + s.error[p];
          bound[1] += std::abs(v) * (m.lip_nu(k) * r.error[p] + rounding) + s.error[p];
        }
        m.visit([&](std::size_t p, std::size_t at, std::size_t tap) {
          want[2 + tap] += qi[at] * psi[p] + xi[at] * bent[p];
          bound[2 + tap] += std::abs(qi[at]) * (psi_error[p] + 2 * u * std::abs(psi[p])) +
                            std::abs(xi[at]) * (bent_error[p] + 2 * u * std::abs(bent[p]));
        });
        Field sums(want.size());
        for (std::size_t row = 0; row < sums.size(); ++row)
          sums[row] = got[(row * static_cast<std::size_t>(m.filters) + static_cast<std::size_t>(k)) *
                              static_cast<std::size_t>(n) +
                          i];
        this->expect_near(sums, want, bound, "filter " + std::to_string(k));
      }
    }
  });
}

TYPED_TEST(ExpertsKernels, MixedDerivativeForward) {
  this->for_all([&](const NaiveExperts& m, int n) {
    const Numbers x = this->batch(m, n);
    const auto direction = this->direction(m);
    ExpertsLab<TypeParam> lab(m, n);
    const auto got = lab.mixed_forward(x, direction.weight, direction.smoothing, direction.taps);
    for (const std::size_t i : this->images(n)) {
      const auto b = this->mixed(m, this->part(x, m.pixels(), i), direction);
      const Field out = this->part(got.out, m.pixels(), i);
      this->expect_near(out, b.want, b.bound, "B theta");
      EXPECT_NEAR(got.norm2[i], double(this->inner(out, out)), 1e-12 * double(this->inner(out, out)));
    }
  });
}

TYPED_TEST(ExpertsKernels, MixedDerivativesAreAdjoint) {
  this->for_all([&](const NaiveExperts& m, int n) {
    const Numbers x = this->batch(m, n), q = this->batch(m, n);
    const auto direction = this->direction(m);
    ExpertsLab<TypeParam> lab(m, n);
    const auto forward = lab.mixed_forward(x, direction.weight, direction.smoothing, direction.taps);
    const Numbers adjoint = lab.mixed_adjoint(x, q);
    const auto count = static_cast<std::size_t>(m.filters);
    for (const std::size_t i : this->images(n)) {
      Real paired = 0, scale = 0;
      for (std::size_t k = 0; k < count; ++k) {
        const auto add = [&](double factor, std::size_t row) {
          const Real term = m.b(static_cast<int>(k)) * factor *
                            Real(adjoint[(row * count + k) * static_cast<std::size_t>(n) + i]);
          paired += term;
          scale += std::abs(term);
        };
        add(direction.weight[k], 0);
        add(direction.smoothing[k], 1);
        for (std::size_t tap = 0; tap < m.taps_of_one(); ++tap)
          add(direction.taps[k * m.taps_of_one() + tap], 2 + tap);
      }
      const Field qi = this->part(q, m.pixels(), i);
      const Field bound = this->mixed(m, this->part(x, m.pixels(), i), direction).bound;
      EXPECT_NEAR(double(this->inner(qi, this->part(forward.out, m.pixels(), i))), double(paired),
                  double(2 * this->inner(this->absolute(qi), bound) + 400 * this->unit * scale));
    }
  });
}

TYPED_TEST(ExpertsKernels, SquaredNormsOfPatches) {
  this->for_all([&](const NaiveExperts& m, int n) {
    const double u = this->unit;
    const Numbers x = this->batch(m, n);
    ExpertsLab<TypeParam> lab(m, n);
    for (const bool centred : {false, true}) {
      const Numbers got = lab.patches(x, centred);
      for (const std::size_t i : this->images(n)) {
        const Field xi = this->part(x, m.pixels(), i);
        const Real count = m.size * m.size;
        Field mean(m.responses(), 0), want(m.responses(), 0), bound(m.responses()), largest(m.responses(), 0);
        m.visit([&](std::size_t p, std::size_t at, std::size_t) {
          mean[p] += centred ? xi[at] / count : 0;
          largest[p] = std::max(largest[p], std::abs(xi[at]));
        });
        m.visit([&](std::size_t p, std::size_t at, std::size_t) {
          want[p] += (xi[at] - mean[p]) * (xi[at] - mean[p]);
        });
        // A wrong mean adds count times its squared error, (count + 2) u of the largest pixel.
        for (std::size_t p = 0; p < want.size(); ++p) {
          const Real off = centred ? (count + 2) * u * largest[p] : 0;
          bound[p] = (count + 8) * u * want[p] + 2 * count * off * off;
        }
        this->expect_near(this->part(got, m.responses(), i), want, bound, centred ? "centred" : "plain");
      }
    }
  });
}

/// A sampling image takes (I - S) (x - y) out of the gradient and (I - S) p out of the product.
TYPED_TEST(ExpertsKernels, SamplingImages) {
  this->for_all([&](const NaiveExperts& m, int n) {
    const double u = this->unit;
    const Numbers x = this->batch(m, n), y = this->batch(m, n), none(static_cast<std::size_t>(m.filters), 0);
    const Numbers maps = this->field(static_cast<std::size_t>(n * m.filters) * m.responses(), 0, 4);
    const Numbers s = random_mask(m.height, m.width, 0.5, this->random_);
    ExpertsLab<TypeParam> lab(m, n);
    const auto whole = lab.energy(x, y, u, 0, none), part = lab.energy(x, y, u, 0, none, s);
    const auto of_whole = lab.hessian(maps, x), of_part = lab.hessian(maps, x, s);
    for (const std::size_t i : this->images(n)) {
      Real hidden = 0, seen = 0, norm = 0, inner = 0, scale = 0;
      for (std::size_t p = 0; p < m.pixels(); ++p) {
        const std::size_t e = i * m.pixels() + p;
        const Real d = Real(x[e]) - y[e], out = s[p] == 0 ? d : 0, of_p = s[p] == 0 ? x[e] : 0;
        hidden += out * out;
        seen += (d - out) * (d - out);
        norm += Real(x[e]) * x[e];
        inner += x[e] * Real(of_part.product[e]);
        scale += std::abs(x[e] * Real(of_part.product[e]));
        const double roundings = 6 * u * double(std::abs(d) + m.mu * std::abs(x[e]));
        ASSERT_NEAR(part.gradient[e], double(whole.gradient[e] - out),
                    roundings + 4 * u * (std::abs(part.gradient[e]) + std::abs(whole.gradient[e])));
        ASSERT_NEAR(
            of_part.product[e], double(of_whole.product[e] - of_p),
            8 * u * (2 * std::abs(x[e]) + std::abs(of_part.product[e]) + std::abs(of_whole.product[e])));
      }
      EXPECT_NEAR(part.value[i], double(whole.value[i] - hidden / 2), 8 * u * whole.value[i]);
      EXPECT_NEAR(of_part.inner[i], double(inner), 1e-12 * double(scale));
      const Real given = sizeof(TypeParam) == 4 ? 1 : 0;
      const double rounding =
          double(u * ((3 + given) * std::sqrt(seen) + ((3 + given) * m.mu + given) * std::sqrt(norm)));
      EXPECT_NEAR(part.rounding[i], rounding, 1e-3 * rounding);
    }
  });
}

/// Images of two channels are twice as many of one, bit for bit, whose sums are added in pairs.
TYPED_TEST(ExpertsKernels, SeveralChannels) {
  this->for_all([&](const NaiveExperts& m, int n) {
    const auto count = static_cast<std::size_t>(m.filters), images = static_cast<std::size_t>(n);
    ExpertsLab<TypeParam> two(m, n, 2), one(m, 2 * n);
    const Numbers x = this->batch(m, 2 * n), y = this->batch(m, 2 * n), q = this->batch(m, 2 * n);
    const Numbers zeta = this->field(2 * images * count * m.responses(), -0.999, 0.999);
    const auto twice = [](const Numbers& of_images) {
      Numbers out;
      for (const double v : of_images) out.insert(out.end(), 2, v);
      return out;
    };
    /// sums[row * n + image], added up or, from a row on, joined by maximum.
    const auto expect_joined = [&](const Numbers& got, const Numbers& each, std::size_t first_maximum) {
      ASSERT_EQ(got.size() * 2, each.size());
      for (std::size_t e = 0; e < got.size(); ++e) {
        const double a = each[2 * e], b = each[2 * e + 1];
        if (e / images < first_maximum)
          ASSERT_NEAR(got[e], a + b, 1e-12 * (std::abs(a) + std::abs(b))) << "row " << e / images;
        else
          ASSERT_EQ(got[e], std::max(a, b)) << "row " << e / images;
      }
    };
    constexpr std::size_t all = std::numeric_limits<std::size_t>::max();
    const auto [rounding_x, rounding] = this->rounding_factors(m);
    const auto energy = two.energy(x, y, this->unit, rounding_x, rounding),
               parts = one.energy(x, y, this->unit, rounding_x, rounding);
    EXPECT_EQ(energy.gradient, parts.gradient);
    expect_joined(energy.value, parts.value, all);
    expect_joined(energy.norm2, parts.norm2, all);
    for (std::size_t i = 0; i < images; ++i) {  // by Minkowski's inequality
      const double a = parts.rounding[2 * i], b = parts.rounding[2 * i + 1];
      EXPECT_GE(energy.rounding[i], std::hypot(a, b) * (1 - 1e-12));
      EXPECT_LE(energy.rounding[i], (a + b) * (1 + 1e-12));
    }
    const Numbers maps = two.linearise(x, zeta);
    EXPECT_EQ(maps, one.linearise(x, zeta));
    EXPECT_EQ(two.linearise(x), one.linearise(x));
    const auto product = two.hessian(maps, q), products = one.hessian(maps, q);
    EXPECT_EQ(product.product, products.product);
    for (std::size_t i = 0; i < images; ++i)
      EXPECT_NEAR(product.inner[i], products.inner[2 * i] + products.inner[2 * i + 1],
                  1e-12 * std::abs(products.inner[2 * i]) + 1e-12 * std::abs(products.inner[2 * i + 1]));
    const Numbers step = this->field(images, 0.1, 1);
    EXPECT_EQ(two.dual(x, {}, step, {}), one.dual(x, {}, twice(step), {}));
    EXPECT_EQ(two.dual(x, q, step, zeta), one.dual(x, q, twice(step), zeta));
    const Numbers adjoint = two.mixed_adjoint(x, q), adjoints = one.mixed_adjoint(x, q);
    double largest = 0;
    for (const double v : adjoints) largest = std::max(largest, std::abs(v));
    for (std::size_t e = 0; e < adjoint.size(); ++e)
      ASSERT_NEAR(adjoint[e], adjoints[2 * e] + adjoints[2 * e + 1], 1e-12 * largest);
    const auto direction = this->direction(m);
    const auto forward = two.mixed_forward(x, direction.weight, direction.smoothing, direction.taps),
               forwards = one.mixed_forward(x, direction.weight, direction.smoothing, direction.taps);
    EXPECT_EQ(forward.out, forwards.out);
    expect_joined(forward.norm2, forwards.norm2, all);
    const Numbers patches_x = two.patches(x, true), patches_q = two.patches(q, true);
    EXPECT_EQ(patches_x, one.patches(x, true));
    typename ExpertsLab<TypeParam>::Ball ball{this->field(images, 0.01, 0.1), this->field(images, 0.01, 0.1),
                                              1, 50, Numbers(count, 1.5)};
    const Numbers bound = two.bound(x, q, y, patches_x, patches_q, ball);
    ball.epsilon = twice(ball.epsilon);
    ball.gradient = twice(ball.gradient);
    expect_joined(bound, one.bound(x, q, y, patches_x, patches_q, ball),
                  (kernels::experts_bound_sums - kernels::experts_bound_maxima) * count);
  });
}

}  // namespace
}  // namespace bilevel
