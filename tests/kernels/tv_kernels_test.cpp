#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "tests/kernels/tv_scales.hpp"
#include "tests/model/scoped_environment.hpp"
#include "tests/model/tv_lab.hpp"
#include "tests/support/test_device.hpp"

// Every smoothed total variation kernel against the oracle, entry by entry. The constants count roundings
// along the longest path of an entry (differences 1, r^2 4, sqrt and reciprocal 3, ...), and one or two for
// the conversion of alpha, nu and xi to T.

namespace bilevel {
namespace {

using namespace testing_support;
using oracle::Field;
using oracle::Image;

template <class T>
class TvKernels : public ::testing::Test {
 protected:
  /// A batch of unlike images for one model.
  struct Batch {
    int n;
    std::vector<double> x, y, d;
  };
  Batch batch(const oracle::TvModel& m, int n) {
    const std::vector<double> amplitudes = {1, 1e-12, 1e6, 1e-3};
    Batch b{n, {}, {}, {}};
    for (int i = 0; i < n; ++i) {
      append(b.x, representable<T>(test_image(kind_, m.height, m.width, random_, amplitudes)));
      append(b.y, representable<T>(
                      test_image(kind_ + 3, m.height, m.width, random_, {amplitudes[kind_ / 7 % 4]})));
      append(b.d,
             representable<T>(noise(m.height, m.width, std::pow(10.0, random_.integer(-3, 3)), random_)));
      kind_ += 1;
    }
    return b;
  }
  template <class Check>
  void for_all(const Check& check) {
    // Around the borders of tiles (16 x 128) and of strips (32 rows; 384, 768 or 1024 columns).
    const struct {
      int h, w, n;
    } shapes[] = {{1, 1, 3},   {1, 5, 7},    {1, 129, 3},  {7, 1, 7},    {17, 1, 3},   {2, 2, 7},
                  {3, 5, 7},   {15, 127, 1}, {16, 128, 1}, {17, 129, 1}, {17, 130, 1}, {33, 257, 1},
                  {15, 16, 3}, {16, 17, 3},  {2, 128, 3},  {1, 257, 3},  {33, 2, 3},   {33, 385, 1},
                  {2, 769, 1}, {1, 1025, 1}, {65, 3, 1}};
    for (const char* overrides : override_choices()) {
      const ScopedEnvironment choice("BILEVEL_CPU_OVERRIDES", overrides);
      for (const auto& s : shapes) {
        int count = 0;
        for (const oracle::TvModel& m : model_kinds(s.h, s.w, random_)) {
          if (s.h * s.w > 4000 && count++ % 3 != 0) continue;
          SCOPED_TRACE(describe(m) + ", overrides " + overrides);
          const Batch b = batch(m, s.n);
          TvLab<T> lab(m, s.n, b.y);
          check(lab, b);
          if (HasFatalFailure() || HasNonfatalFailure()) return;
        }
      }
    }
  }
  Image of(const std::vector<double>& batch, const TvLab<T>& lab, int i) {
    return image_of(batch, static_cast<std::size_t>(lab.model().pixels()), i);
  }
  /// Component fields of image i from arrays [2][N][pixels] and back.
  Field dual_of(const std::vector<double>& dual, const oracle::TvModel& m, int n, int i) {
    const auto size = static_cast<std::size_t>(m.pixels());
    Field f = image_of(dual, size, i);
    if (m.components() == 2) append(f, image_of(dual, size, n + i));
    return f;
  }
  /// Lengths of the terms of a dual update before the projection.
  Field unprojected(const oracle::TvModel& m, const Image& x, const Field& zeta, const Image& d) {
    const Field z = oracle::difference(m, x), e = oracle::difference(m, d), r = lengths(m, z);
    const auto n = static_cast<std::size_t>(m.pixels());
    Field moved(z.size());
    for (std::size_t k = 0; k < z.size(); ++k) {
      const bool inside = m.potential == oracle::Potential::huber_c2 && r[k] <= m.nu;
      const double w = weight(m, r[k]), bend = !inside    ? w * w
                                               : r[k] > 0 ? 1 / (r[k] * (2 * m.nu - r[k]))
                                                          : 0;
      const std::size_t a = k % n, b = n + a;
      const double inner = m.scalar_terms() ? z[k] * e[k] : z[a] * e[a] + z[b] * e[b];
      moved[k] = w * (z[k] + e[k]) - bend * inner * zeta[k];
    }
    return lengths(m, moved);
  }

  Random random_{seed(101)};
  int kind_ = 0;
};
using Precisions = ::testing::Types<float, double>;
TYPED_TEST_SUITE(TvKernels, Precisions);

TYPED_TEST(TvKernels, ValueAndGradient) {
  this->for_all([&](TvLab<TypeParam>& lab, const auto& b) {
    const oracle::TvModel& m = lab.model();
    const double u = unit_roundoff<TypeParam>;
    const auto got = lab.gradient(b.x);
    for (int i = 0; i < b.n; ++i) {
      const Image x = this->of(b.x, lab, i), y = this->of(b.y, lab, i), g = this->of(got.gradient, lab, i);
      Field psi = oracle::dual_field(m, x);
      double data = 0, squares = 0, psi2 = 0;
      for (double& v : psi) {
        psi2 += v * v;
        v = std::abs(v);
      }
      std::vector<double> scale = spread(m, psi), bound(scale.size());
      for (std::size_t p = 0; p < scale.size(); ++p) {
        const double fit = sample(m, p) * std::abs(x[p] - y[p]), pull = ridge(m) * std::abs(x[p]);
        bound[p] = u * (1 + 1e-5) * (3 * fit + 4 * pull + 16 * m.alpha * scale[p]) +
                   std::numeric_limits<TypeParam>::denorm_min();
        scale[p] = fit + pull + m.alpha * scale[p];
        data += fit * fit;
        squares += x[p] * x[p];
      }
      expect_entries<TypeParam>(g, oracle::gradient(m, y, x), bound, scale, "gradient");

      // Phi: 3 roundings in the data term, 10 in the potential; sums in double.
      const double value = oracle::energy(m, y, x);
      const double potential = std::max(value - data / 2 - ridge(m) / 2 * squares, 0.0);
      const double add = additions(m) * unit_roundoff<double>;
      EXPECT_NEAR(got.value[static_cast<std::size_t>(i)], value,
                  u * (3 * data / 2 + 10 * potential) + (add + 4e-16) * value + u * 4 * ridge(m) * squares);
      const double norm2 = dot(g, g);
      EXPECT_NEAR(got.norm2[static_cast<std::size_t>(i)], norm2, add * norm2);
      const double given = sizeof(TypeParam) == 4 ? 1 : 0;  // roundings of data that came in double
      // squares of |psi| in the precision of the kernel, those of the gradient in double, and products
      const double tiny = std::numeric_limits<TypeParam>::min();
      const double underflow =
          std::sqrt(m.pixels()) * (std::sqrt(std::numeric_limits<double>::min()) +
                                   120 * m.alpha * u * std::sqrt(tiny) + 8 * (1 + m.alpha) * tiny);
      const double rounding =
          u * ((3 + given) * std::sqrt(data) + (4 * ridge(m) + given) * std::sqrt(squares) +
               17 * m.alpha * std::sqrt(8 * psi2)) +
          underflow;
      EXPECT_NEAR(got.rounding[static_cast<std::size_t>(i)], rounding,
                  (16 * u + add + m.pixels() * unit_roundoff<double>)*rounding);
      if (sizeof(TypeParam) == sizeof(double)) {
        EXPECT_LE(relative_difference(got.value[static_cast<std::size_t>(i)], value), 1e-12);
      }
    }
  });
}

/// Magnitudes of the terms of A v: (s + ridge)|v| + alpha |D|^T (2 w |Kv|).
std::vector<double> product_scale(const oracle::TvModel& m, const Image& x, const Image& v) {
  Field f = lengths(m, oracle::difference(m, v));
  const Field r = lengths(m, oracle::difference(m, x));
  for (std::size_t e = 0; e < f.size(); ++e) f[e] *= 2 * m.alpha * weight(m, r[e]);
  std::vector<double> scale = spread(m, f);
  for (std::size_t p = 0; p < scale.size(); ++p) scale[p] += (sample(m, p) + ridge(m)) * std::abs(v[p]);
  return scale;
}
constexpr double product_roundings = 40;  // 4 of them the lift of the diagonal

/// Magnitudes of the terms of the diagonal.
std::vector<double> diagonal_scale(const oracle::TvModel& m, const Image& x) {
  Field f = lengths(m, oracle::difference(m, x));
  for (double& r : f) r = 4 * m.alpha * weight(m, r);
  std::vector<double> scale = spread(m, f);
  for (std::size_t p = 0; p < scale.size(); ++p) scale[p] += sample(m, p) + ridge(m);
  return scale;
}

TYPED_TEST(TvKernels, HessianProductAndJacobiDiagonal) {
  this->for_all([&](TvLab<TypeParam>& lab, const auto& b) {
    const oracle::TvModel& m = lab.model();
    const double u = unit_roundoff<TypeParam>;
    const std::vector<double> inverse = lab.linearise(b.x);
    const auto got = lab.hessian_product(b.d);
    for (int i = 0; i < b.n; ++i) {
      const Image x = this->of(b.x, lab, i), d = this->of(b.d, lab, i),
                  product = this->of(got.product, lab, i);
      expect_entries<TypeParam>(product, oracle::hessian_product(m, x, d), product_scale(m, x, d),
                                product_roundings, "Hessian product");
      double terms = 0;
      for (std::size_t p = 0; p < d.size(); ++p) terms += std::abs(d[p] * product[p]);
      EXPECT_NEAR(got.inner[static_cast<std::size_t>(i)], dot(d, product),
                  (additions(m) + 1) * unit_roundoff<double> * terms);
      // 1/diagonal: compared where the rounding of the diagonal leaves most of it standing
      const Image diagonal = oracle::hessian_diagonal(m, x), scale = diagonal_scale(m, x),
                  inv = this->of(inverse, lab, i);
      for (std::size_t p = 0; p < inv.size(); ++p) {
        const double error = product_roundings * u * scale[p] / diagonal[p];
        if (error > 0.25) continue;
        ASSERT_LE(std::abs(inv[p] * diagonal[p] - 1), 2 * error + 2 * u) << "inverse diagonal at " << p;
      }
    }
  });
}

TYPED_TEST(TvKernels, DualFieldsAndPrimalDualWeights) {
  constexpr double single = 0x1p-24 + 2.4e-7;  // rounding, and the margin to the unit ball
  this->for_all([&](TvLab<TypeParam>& lab, const auto& b) {
    const oracle::TvModel& m = lab.model();
    const double u = unit_roundoff<TypeParam>, step = 0.375;
    const std::vector<double> start = lab.start_dual(b.x);
    std::vector<double> zeta = start;  // any field in the unit ball
    for (double& v : zeta) v *= this->random_.uniform(-1, 1);
    zeta = representable<float>(zeta);
    const std::vector<double> moved = lab.update_dual(b.x, b.d, step, zeta);
    const std::vector<double> inverse = lab.linearise(b.x, zeta);
    const auto got = lab.hessian_product(b.d);
    for (int i = 0; i < b.n; ++i) {
      const Image x = this->of(b.x, lab, i), d = this->of(b.d, lab, i);
      const Field psi = oracle::dual_field(m, x), first = this->dual_of(start, m, b.n, i);
      for (std::size_t e = 0; e < psi.size(); ++e)
        ASSERT_NEAR(first[e], psi[e], single * std::abs(psi[e]) + 14 * u * std::abs(psi[e]) + 1e-45);

      // w (z + e) - (w1/w) <z,e> zeta with e = K(step d), then the projection
      Image scaled = d;
      for (double& v : scaled) v *= step;
      const Field old = this->dual_of(zeta, m, b.n, i), want = oracle::dual_update(m, x, old, scaled);
      const Field second = this->dual_of(moved, m, b.n, i);
      const Field r = lengths(m, oracle::difference(m, x)), e = lengths(m, oracle::difference(m, scaled));
      const Field long_terms = this->unprojected(m, x, old, scaled);
      for (std::size_t k = 0; k < want.size(); ++k) {
        const double terms = weight(m, r[k]) * (r[k] + 2 * e[k]);
        const double shrunk = terms > 3 ? 2 * terms / std::max(1.0, long_terms[k]) : terms;
        ASSERT_NEAR(second[k], want[k],
                    single * std::abs(want[k]) + 32 * u * std::max(shrunk, std::abs(want[k])) + 1e-45);
      }

      expect_entries<TypeParam>(this->of(got.product, lab, i), oracle::primal_dual_product(m, x, old, d),
                                product_scale(m, x, d), product_roundings, "primal-dual product");
      if (m.pixels() > 300) continue;
      const oracle::Matrix matrix = oracle::primal_dual_matrix(m, x, old);
      const Image scale = diagonal_scale(m, x), inv = this->of(inverse, lab, i);
      for (int p = 0; p < m.pixels(); ++p) {
        const double error = product_roundings * u * scale[static_cast<std::size_t>(p)] / matrix(p, p);
        if (error > 0.25) continue;
        ASSERT_LE(std::abs(inv[static_cast<std::size_t>(p)] * matrix(p, p) - 1), 2 * error + 2 * u);
      }
    }
  });
}

TYPED_TEST(TvKernels, MixedProducts) {
  this->for_all([&](TvLab<TypeParam>& lab, const auto& b) {
    const oracle::TvModel& m = lab.model();
    const double u = unit_roundoff<TypeParam>;
    const std::vector<double> adjoint = lab.mixed(b.x, b.d);
    const std::vector<double> direction = this->random_.normal_vector(3);
    const auto forward = lab.mixed_forward(b.x, direction);
    for (int i = 0; i < b.n; ++i) {
      const Image x = this->of(b.x, lab, i), q = this->of(b.d, lab, i);
      const Field r = lengths(m, oracle::difference(m, x)), g = lengths(m, oracle::difference(m, q));
      double weights = 0, smoothings = 0, products = 0;
      Field psi = r, psi_nu = r;
      for (std::size_t e = 0; e < r.size(); ++e) {
        psi[e] = weight(m, r[e]) * r[e];
        psi_nu[e] = smoothing_terms(m, r[e]);
        const double share = m.scalar_terms() ? 1 : 0.5;  // both components of a pixel hold its length
        weights += share * psi[e] * g[e];
        smoothings += share * psi_nu[e] * g[e];
      }
      for (std::size_t p = 0; p < x.size(); ++p) products += std::abs(x[p] * q[p]);
      const double add = (additions(m) + 8) * unit_roundoff<double>;
      const oracle::MixedScalars want = oracle::mixed_adjoint(m, x, q);
      // theta holds logarithms: each entry times its parameter
      const double inside = m.xi_inside_alpha ? m.alpha * m.xi : 0, outside = ridge(m);
      const auto at = static_cast<std::size_t>(3 * i);
      EXPECT_NEAR(adjoint[at], m.alpha * want.alpha,
                  (12 * u + add) * m.alpha * weights + add * inside * products);
      EXPECT_NEAR(adjoint[at + 1], m.nu * want.nu, (24 * u + add) * m.alpha * smoothings);
      EXPECT_NEAR(adjoint[at + 2], m.xi * want.xi, add * outside * products);

      const oracle::MixedColumns columns = oracle::mixed_forward(m, x);
      Field terms = psi;
      for (std::size_t e = 0; e < terms.size(); ++e)
        terms[e] = m.alpha * (std::abs(direction[0]) * psi[e] + std::abs(direction[1]) * psi_nu[e]);
      std::vector<double> scale = spread(m, terms), column(x.size());
      for (std::size_t p = 0; p < x.size(); ++p) {
        scale[p] += (std::abs(direction[0]) * inside + std::abs(direction[2]) * outside) * std::abs(x[p]);
        column[p] = m.alpha * direction[0] * columns.alpha[p] + m.nu * direction[1] * columns.nu[p] +
                    m.xi * direction[2] * columns.xi[p];
      }
      const Image out = this->of(forward.out, lab, i);
      expect_entries<TypeParam>(out, column, scale, 30, "B d");
      EXPECT_NEAR(forward.norm2[static_cast<std::size_t>(i)], dot(out, out), add * dot(out, out));
    }
  });
}

/// A hand-tuned body gives every entry the bits of its generic twin; only the order of the sums may differ.
TYPED_TEST(TvKernels, OverridesAgreeWithTheirGenericTwins) {
  for (const auto& [h, w] : {std::pair{1, 1}, {1, 1030}, {33, 385}, {65, 770}, {34, 1025}, {5, 1}, {40, 129}})
    for (const oracle::TvModel& m : model_kinds(h, w, this->random_)) {
      SCOPED_TRACE(describe(m));
      const auto b = this->batch(m, 2);
      std::vector<double> gradients, products;
      std::vector<std::vector<double>> sums;
      for (const char* overrides : {"on", "off"}) {
        const ScopedEnvironment choice("BILEVEL_CPU_OVERRIDES", overrides);
        TvLab<TypeParam> lab(m, 2, b.y, parameters_of(m), "cpu:2");
        const auto g = lab.gradient(b.x);
        lab.linearise(b.x);
        const auto p = lab.hessian_product(b.d);
        if (sums.empty()) {
          gradients = g.gradient;
          products = p.product;
        } else {
          EXPECT_EQ(gradients, g.gradient);
          EXPECT_EQ(products, p.product);
        }
        sums.push_back(g.value);
        append(sums.back(), g.norm2);
        append(sums.back(), g.rounding);
      }
      for (std::size_t k = 0; k < sums[0].size(); ++k)
        EXPECT_NEAR(sums[0][k], sums[1][k], 2 * additions(m) * unit_roundoff<double> * sums[0][k]);
    }
}

}  // namespace
}  // namespace bilevel
