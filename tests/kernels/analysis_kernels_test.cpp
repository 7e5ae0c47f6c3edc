#include <algorithm>
#include <array>
#include <functional>
#include <set>

#include "tests/kernels/analysis_naive.hpp"
#include "tests/model/scoped_environment.hpp"

// The kernels of analysis regularisers against plain loops in double over the rows of K, for every stencil,
// potential and number of channels. The number of roundings allowed is counted along the formulas, with the
// conversion of alpha, nu and xi to T.

namespace bilevel {
namespace {

using namespace testing_support;

/// Additions in double on the way of one value to a sum.
double additions(const Naive& m) {
  oracle::TvModel size;
  size.height = m.height;
  size.width = m.width;
  return testing_support::additions(size) + 4;
}

template <class T>
class AnalysisKernels : public ::testing::Test {
 protected:
  /// [n][C][points] of images with edges, of unlike amplitudes.
  Numbers images(const Naive& m, int n, bool edges) {
    const double amplitudes[] = {1, 1e-3, 300};
    Numbers out;
    for (int i = 0; i < n; ++i)
      for (int k = 0; k < m.channels; ++k)
        for (double v : edges ? piecewise_constant(m.height, m.width, 0.02, random_)
                              : noise(m.height, m.width, 0.3, random_))
          out.push_back(static_cast<double>(static_cast<T>((edges ? amplitudes[i % 3] : 1) * v)));
    return out;
  }
  Numbers numbers(std::size_t size) {
    Numbers out(size);
    for (double& v : out) v = static_cast<double>(static_cast<T>(random_.normal()));
    return out;
  }
  /// [D][n][C][points] with at most 1 per pixel; zero where the difference is, as the kernels keep it.
  Numbers dual(const Naive& m, int n) {
    const int batch = n * m.values();
    Numbers out(static_cast<std::size_t>(m.directions() * batch));
    for (int i = 0; i < n; ++i)
      for (int p = 0; p < m.points(); ++p) {
        const double most = random_.uniform(0, 1) / std::sqrt(static_cast<double>(m.components()));
        for (int d = 0; d < m.directions(); ++d)
          for (int k = 0; k < m.channels; ++k)
            if (!m.row(d, p).empty())
              out[static_cast<std::size_t>(d * batch + i * m.values() + k * m.points() + p)] =
                  static_cast<double>(static_cast<float>(random_.uniform(-most, most)));
      }
    return out;
  }
  static Naive::Pixel dual_of(const Naive& m, const Numbers& dual, int n, int i, int p) {
    Naive::Pixel out = m.zero();
    for (int d = 0; d < m.directions(); ++d)
      for (int k = 0; k < m.channels; ++k)
        out[m.component(d, k)] =
            dual[static_cast<std::size_t>((d * n + i) * m.values() + k * m.points() + p)];
    return out;
  }

  /// check(model, number of images), around the borders of tiles (16 x 128 on a CPU, 16 x 64 and 16 x 32 on
  /// CUDA) and of strips of rows (32 x 256 or 384), tiled and hand-tuned.
  template <class Check>
  void for_all(const Check& check) {
    const struct {
      int h, w, n;
    } sizes[] = {{1, 1, 1},    {1, 129, 3}, {7, 1, 2},    {2, 2, 3},  {3, 5, 3},  {15, 127, 1}, {16, 64, 2},
                 {16, 128, 1}, {17, 65, 3}, {33, 130, 1}, {1, 64, 2}, {32, 3, 2}, {33, 257, 1}, {18, 34, 1}};
    for (const char* overrides : override_choices()) {
      const ScopedEnvironment choice("BILEVEL_CPU_OVERRIDES", overrides);
      for (const auto& s : sizes)
        for (const auto& [stencil, potential] : analysis_kinds())
          for (const int channels : channel_counts(stencil)) {
            if (s.h * s.w > 4000 && random_.integer(0, 2) > 0) continue;
            const Naive m{stencil, potential, channels, s.h, s.w, 0.3, random_.log_uniform(0.01, 0.3), 0.05};
            SCOPED_TRACE(m.str() + ", nu " + std::to_string(m.nu) + ", overrides " + overrides);
            check(m, s.n);
            if (HasFailure()) return;
          }
    }
  }

  Random random_{seed(2302)};
};
using Precisions = ::testing::Types<float, double>;
TYPED_TEST_SUITE(AnalysisKernels, Precisions);

/// Roundings of the gradient: of the flux and of K^T, which adds up to ten terms for second differences.
double gradient_roundings(const Naive& m) { return m.stencil == Stencil::second ? 36 : 24; }
TYPED_TEST(AnalysisKernels, ValueAndGradient) {
  using T = TypeParam;
  const double u = unit_roundoff<T>;
  this->for_all([&](const Naive& m, int n) {
    for (const bool denoise : {true, false}) {
      KernelLab<T> lab(n);
      const Numbers x = this->images(m, n, true), data = this->numbers(x.size());
      const int coils = m.channels;
      const bool masked = denoise && m.channels % 2 == 1 && m.huber();
      Numbers mask(static_cast<std::size_t>(m.points()), 1);
      if (masked) mask = random_mask(m.height, m.width, 0.6, this->random_);
      Numbers data_sums(static_cast<std::size_t>(3 * coils * n));
      for (double& v : data_sums) v = this->random_.uniform(0.5, 2);
      auto in = lab.put(x), given = lab.put(data), gradient = lab.put(data), sampling = lab.put(mask);
      auto sums = lab.template put<double>(data_sums),
           out = lab.template put<double>(Numbers(static_cast<std::size_t>(3 * n), -7.0));
      const double transform = 60, weight_norm = 1.5, coil_norm = 1.2, unit = 1e-8;
      lab.table().analysis[static_cast<int>(m.stencil)].gradient(
          lab.stream(), {m.model(), lab.active(), at(in), denoise ? at(given) : nullptr,
                         masked ? at(sampling) : nullptr, at(gradient), at(out), at(out) + n, at(out) + 2 * n,
                         unit, 0, at(sums), coils, n, transform, weight_norm, coil_norm});
      const Numbers result = lab.get(gradient), scalars = lab.get(out);
      for (int i = 0; i < n; ++i) {
        const Numbers xi = part_of(x, n, i), d = part_of(data, n, i), got = part_of(result, n, i),
                      numbers = column_of(scalars, n, i);
        if (lab.frozen(i)) {
          EXPECT_EQ(got, d);
          EXPECT_EQ(numbers, Numbers(3, -7.0));
          continue;
        }
        double potential = 0, psi2 = 0, reading2 = 0, bent = 0;
        for (int p = 0; p < m.points(); ++p) {
          const Naive::Pixel z = m.difference(xi, p), psi = m.flux(z);
          for (std::size_t g = 0; g < m.groups(); ++g) potential += m.rho(m.length(z, g));
          psi2 += dot(psi, psi);
          reading2 += std::pow(m.reading(xi, p), 2);
          bent += m.reading(xi, p) * Naive::length(psi);
        }
        Numbers want = d, size = m.spread([&](int p) {
          return m.alpha * (Naive::length(m.flux(m.difference(xi, p))) + m.steepest() * m.reading(xi, p) / 9);
        });
        double fit2 = 0;
        for (std::size_t e = 0; e < want.size(); ++e) {
          if (denoise) {
            const double s = mask[e % static_cast<std::size_t>(m.points())];
            want[e] = s * (xi[e] - d[e]);
            fit2 += want[e] * want[e];
          }
          size[e] += std::abs(want[e]) + m.xi * std::abs(xi[e]);
          want[e] += m.xi * xi[e];
        }
        m.add_adjoint(
            [&](int p) {
              Naive::Pixel psi = m.flux(m.difference(xi, p));
              for (double& v : psi) v *= m.alpha;
              return psi;
            },
            want);
        expect_entries<T>(got, want, size, gradient_roundings(m), "gradient");

        const Numbers of_data = column_of(data_sums, n, i);
        double residual = 0, weighted = 0, parts = 0;
        for (int c = 0; c < coils; ++c) {
          residual += of_data[static_cast<std::size_t>(3 * c)];
          weighted += of_data[static_cast<std::size_t>(3 * c + 1)];
          parts += of_data[static_cast<std::size_t>(3 * c + 2)];
        }
        if (denoise) residual = fit2;
        const double norm_x = norm(xi),
                     value = 0.5 * residual + m.alpha * potential + 0.5 * m.xi * norm_x * norm_x;
        const double add = additions(m) * unit_roundoff<double>;
        EXPECT_NEAR(numbers[0], value,
                    u * (16 * m.alpha * potential + 3 * fit2 + 4 * m.alpha * bent) + (add + 4e-15) * value);
        EXPECT_NEAR(numbers[1], dot(got, got), (add + 1e-15) * dot(got, got));
        const double given_roundings = sizeof(T) == 4 ? 1 : 0;  // of data and xi that came in double
        const double reach = m.stencil == Stencil::identity ? 1 : m.stencil == Stencil::second ? 64 : 8;
        const double flux = (m.channels == 1 ? 17 : 21) + (m.stencil == Stencil::second ? 15 : 0);
        const double of_regulariser =
            flux * m.alpha * std::sqrt(reach * psi2) + m.alpha * m.steepest() * std::sqrt(reach * reading2);
        const double of_fit =
            denoise ? (3 + given_roundings) * std::sqrt(fit2) + (4 * m.xi + given_roundings) * norm_x
                    : (3 + given_roundings) * m.xi * norm_x +
                          transform * (weight_norm * norm_x + coil_norm * std::sqrt(weighted)) +
                          (4 + 2 * coils) * coil_norm * std::sqrt(parts);
        const double rounding = unit * (of_regulariser + of_fit);
        EXPECT_NEAR(numbers[2], rounding, (16 * u + add + 1e-14) * rounding);
      }
    }
  });
}

// Weights, their product with a vector, and the diagonal, of the exact Hessian and of the primal-dual matrix.
TYPED_TEST(AnalysisKernels, LineariseAndHessianProduct) {
  using T = TypeParam;
  const double u = unit_roundoff<T>;
  this->for_all([&](const Naive& m, int n) {
    for (const bool exact : {true, false}) {
      KernelLab<T> lab(n);
      const Numbers x = this->images(m, n, true), p = this->images(m, n, false),
                    data = this->numbers(x.size()), zeta = this->dual(m, n);
      Numbers power(static_cast<std::size_t>(m.points()));
      for (double& v : power) v = static_cast<double>(static_cast<T>(this->random_.uniform(0.5, 2)));
      const bool with_power = m.channels > 1, beside = m.channels > 1;
      auto in = lab.put(x), factor = lab.put(p), product = lab.put(data), coil_power = lab.put(power),
           inverse = lab.put(Numbers(x.size(), -7.0)),
           weights = lab.put(Numbers(
               static_cast<std::size_t>(kernels::weight_arrays(m.stencil, m.channels)) * x.size(), -7.0));
      auto field = lab.template put<float>(zeta);
      auto results = lab.template put<double>(Numbers(static_cast<std::size_t>(n), -7.0));
      const kernels::AnalysisKernels<T>& table = lab.table().analysis[static_cast<int>(m.stencil)];
      table.linearise(lab.stream(), {m.model(), lab.active(), n, at(in), exact ? nullptr : at(field),
                                     at(weights), at(inverse), 0.4, with_power ? at(coil_power) : nullptr});
      table.hessian(lab.stream(),
                    {m.model(), lab.active(), n, at(weights), at(factor), at(product), at(results), beside});
      const Numbers diagonals = lab.get(inverse), products = lab.get(product), inner = lab.get(results);
      for (int i = 0; i < n; ++i) {
        const Numbers xi = part_of(x, n, i), pi = part_of(p, n, i), d = part_of(data, n, i),
                      got = part_of(products, n, i), got_diagonal = part_of(diagonals, n, i);
        if (lab.frozen(i)) {
          EXPECT_EQ(got, d);
          EXPECT_EQ(got_diagonal, Numbers(d.size(), -7.0));
          EXPECT_EQ(inner[static_cast<std::size_t>(i)], -7);
          continue;
        }
        const auto matrix_times = [&](int q, const Naive::Pixel& v) {
          const Naive::Pixel z = m.difference(xi, q);
          return m.curved(z, exact ? m.flux(z) : this->dual_of(m, zeta, n, i, q), v);
        };
        // what rounding does to z changes w by at most 2/nu relative to it
        const auto bend = [&](int q) { return m.quadratic() ? 0 : 4 * m.steepest() * m.reading(xi, q) / 48; };
        Numbers want = d;
        Numbers size = m.spread([&](int q) {
          const Naive::Pixel z = m.difference(xi, q), v = m.difference(pi, q);
          double most = 0;
          for (std::size_t g = 0; g < m.groups(); ++g) most = std::max(most, m.w(m.length(z, g)));
          return m.alpha *
                 (2 * m.weighted(z, v) + most * (m.reading(pi, q) / 12 + bend(q) * Naive::length(v)));
        });
        for (std::size_t e = 0; e < want.size(); ++e) {
          const double start = (beside ? d[e] : pi[e]);
          want[e] = start + m.xi * pi[e];
          size[e] += std::abs(start) + m.xi * std::abs(pi[e]);
        }
        m.add_adjoint([&](int q) { return matrix_times(q, m.difference(pi, q)); }, want);
        expect_entries<T>(got, want, size, m.stencil == Stencil::second ? 72 : 48,
                          "Hessian product");  // 16 of them the lift of w
        double terms = 0;
        for (std::size_t e = 0; e < got.size(); ++e) terms += std::abs(got[e] * pi[e]);
        EXPECT_NEAR(inner[static_cast<std::size_t>(i)], dot(got, pi),
                    (additions(m) + 1) * unit_roundoff<double> * terms);

        // Entry (e,e) of K^T M K: the rows of K that hold the pixel.
        for (int k = 0; k < m.channels; ++k)
          for (int e = 0; e < m.points(); ++e) {
            double own = 0, scale = 0;
            for (const int q : std::set{e, e - 1, e + 1, e - m.width, e + m.width, e - m.width - 1}) {
              if (q < 0 || q >= m.points()) continue;
              Naive::Pixel column = m.zero();
              for (int d2 = 0; d2 < m.directions(); ++d2)
                for (const Naive::Term& t : m.row(d2, q))
                  if (t.pixel == e) column[m.component(d2, k)] += t.factor;
              const Naive::Pixel z = m.difference(xi, q);
              own += dot(column, matrix_times(q, column));
              double most = 0;
              for (std::size_t g = 0; g < m.groups(); ++g) most = std::max(most, m.w(m.length(z, g)));
              scale += 4 * m.alpha * most * dot(column, column) * (1 + bend(q));
            }
            const double rest = m.xi + 0.4 * (with_power ? power[static_cast<std::size_t>(e)] : 1);
            const double error = 48 * u * (scale + rest) / (own + rest);
            if (error > 0.25) continue;
            ASSERT_NEAR(got_diagonal[m.index(k, e)] * (own + rest), 1, 2 * error)
                << "inverse diagonal at " << e;
          }
      }
    }
  });
}

/// A hand-tuned body gives every entry the bits of its generic twin; only the order of the sums may differ.
TYPED_TEST(AnalysisKernels, OverridesAgreeWithTheirGenericTwins) {
  if (on_cuda()) GTEST_SKIP() << "Hand-tuned bodies are of the CPU.";
  const int n = 2;
  for (const auto& [h, w] : {std::pair{1, 1}, {1, 1030}, {33, 256}, {65, 513}, {34, 257}, {5, 1}, {40, 129}})
    for (int kind = 0; kind < 18; ++kind) {
      const auto [stencil, potential] = analysis_kinds()[static_cast<std::size_t>(kind / 3)];
      const int channels = kind % 3 + 1;
      if (stencil == Stencil::second || !kernels::takes(stencil, channels)) continue;
      const bool denoise = kind % 2 == 0;
      const Naive m{stencil, potential, channels, h, w, 0.3, this->random_.log_uniform(0.01, 0.3), 0.05};
      SCOPED_TRACE(m.str());
      const Numbers x = this->images(m, n, true), p = this->images(m, n, false),
                    data = this->numbers(x.size()), zeta = this->dual(m, n);
      std::vector<Numbers> gradients, products, sums;
      for (const char* overrides : {"on", "off"}) {
        const ScopedEnvironment choice("BILEVEL_CPU_OVERRIDES", overrides);
        KernelLab<TypeParam> lab(n);
        auto in = lab.put(x), factor = lab.put(p), gradient = lab.put(data), product = lab.put(data),
             inverse = lab.put(Numbers(x.size())),
             weights = lab.put(
                 Numbers(static_cast<std::size_t>(kernels::weight_arrays(m.stencil, m.channels)) * x.size())),
             given = lab.put(data);
        auto field = lab.template put<float>(zeta);
        auto of_data = lab.template put<double>(Numbers(3 * n, 0.5)),
             out = lab.template put<double>(Numbers(4 * n));
        const kernels::AnalysisKernels<TypeParam>& table = lab.table().analysis[static_cast<int>(m.stencil)];
        table.gradient(lab.stream(),
                       {m.model(), lab.active(), at(in), denoise ? at(given) : nullptr, nullptr, at(gradient),
                        at(out), at(out) + n, at(out) + 2 * n, 1e-8, 0, at(of_data), 1, n, 60, 1, 1});
        table.linearise(lab.stream(), {m.model(), lab.active(), n, at(in), at(field), at(weights),
                                       at(inverse), 0.4, nullptr});
        table.hessian(lab.stream(), {m.model(), lab.active(), n, at(weights), at(factor), at(product),
                                     at(out) + 3 * n, !denoise});
        gradients.push_back(lab.get(gradient));
        products.push_back(lab.get(product));
        sums.push_back(lab.get(out));
      }
      EXPECT_EQ(gradients[0], gradients[1]);
      EXPECT_EQ(products[0], products[1]);
      const double add = 2 * additions(m) * unit_roundoff<double>;
      for (std::size_t k = 0; k < sums[0].size(); ++k) {
        double terms = std::abs(sums[0][k]);
        if (k >= static_cast<std::size_t>(3 * n)) {  // <p, A p> with its data term has both signs
          terms = 0;
          const Numbers pi = part_of(p, n, static_cast<int>(k) - 3 * n),
                        ai = part_of(products[0], n, static_cast<int>(k) - 3 * n);
          for (std::size_t e = 0; e < pi.size(); ++e) terms += std::abs(pi[e] * ai[e]);
        }
        EXPECT_NEAR(sums[0][k], sums[1][k], add * terms) << k;
      }
    }
}

TYPED_TEST(AnalysisKernels, DualField) {
  using T = TypeParam;
  constexpr double single = 0x1p-24 + 2.4e-7;  // rounding, and the margin to the unit ball
  const double u = unit_roundoff<T>;
  this->for_all([&](const Naive& m, int n) {
    for (const bool start : {true, false}) {
      KernelLab<T> lab(n);
      const Numbers x = this->images(m, n, true), d = this->images(m, n, false), zeta = this->dual(m, n);
      const Numbers steps = {0.375, 1, 0.75};
      auto in = lab.put(x), move = lab.put(d);
      auto step = lab.template put<double>(steps);
      auto field = lab.template put<float>(zeta);
      lab.table().analysis[static_cast<int>(m.stencil)].dual(
          lab.stream(), {m.model(), lab.active(), n, at(in), start ? nullptr : at(move),
                         start ? nullptr : at(step), at(field)});
      const Numbers got = lab.get(field);
      for (int i = 0; i < n; ++i) {
        const Numbers xi = part_of(x, n, i), di = part_of(d, n, i);
        for (int p = 0; p < m.points(); ++p) {
          const Naive::Pixel now = this->dual_of(m, got, n, i, p), old = this->dual_of(m, zeta, n, i, p);
          if (lab.frozen(i)) {
            ASSERT_EQ(now, old);
            continue;
          }
          const Naive::Pixel z = m.difference(xi, p);
          Naive::Pixel e = m.zero(), want = m.zero();
          if (!start) e = m.difference(di, p);
          for (double& v : e) v *= steps[static_cast<std::size_t>(i)];
          for (std::size_t g = 0; g < m.groups(); ++g) {
            const double r = m.length(z, g), w = m.w(r), bend = m.w1(r) / w * m.inner(z, e, g);
            const auto size = static_cast<std::size_t>(m.group_size());
            for (std::size_t k = g * size; k < (g + 1) * size; ++k)
              want[k] = w * (z[k] + e[k]) - bend * old[k];
            const double length = m.length(want, g);
            for (std::size_t k = g * size; k < (g + 1) * size; ++k) want[k] /= std::max(1.0, length);
            const double read = m.reading(xi, p) + (start ? 0 : m.reading(di, p)),
                         terms = (w * (r + 2 * m.length(e, g)) +
                                  m.steepest() * read * (1 + m.length(e, g) / m.nu) / 4) /
                                 std::max(1.0, length);
            for (std::size_t k = g * size; k < (g + 1) * size; ++k)
              ASSERT_NEAR(now[k], want[k],
                          single * std::abs(want[k]) + 40 * u * std::max(terms, std::abs(want[k])));
            ASSERT_LE(m.length(now, g), 1);
          }
        }
      }
    }
  });
}

TYPED_TEST(AnalysisKernels, MixedProducts) {
  using T = TypeParam;
  const double u = unit_roundoff<T>;
  this->for_all([&](const Naive& m, int n) {
    KernelLab<T> lab(n);
    const Numbers x = this->images(m, n, true), q = this->images(m, n, false), data = this->numbers(x.size());
    const double weight = 0.3, smoothing = -0.7, ridge = 0.2;
    auto in = lab.put(x), by = lab.put(q), out = lab.put(data);
    auto sums = lab.template put<double>(Numbers(static_cast<std::size_t>(4 * n), -7.0));
    const bool beside = m.channels > 1;
    const kernels::AnalysisKernels<T>& table = lab.table().analysis[static_cast<int>(m.stencil)];
    table.mixed_adjoint(lab.stream(),
                        {m.model(), lab.active(), at(in), at(by), at(sums), at(sums) + n, at(sums) + 2 * n});
    table.mixed_forward(lab.stream(), {m.model(), lab.active(), at(in), weight, smoothing, ridge, at(out),
                                       at(sums) + 3 * n, beside});
    const Numbers outs = lab.get(out), scalars = lab.get(sums);
    for (int i = 0; i < n; ++i) {
      const Numbers xi = part_of(x, n, i), qi = part_of(q, n, i), d = part_of(data, n, i),
                    got = part_of(outs, n, i), numbers = column_of(scalars, n, i);
      if (lab.frozen(i)) {
        EXPECT_EQ(got, d);
        EXPECT_EQ(numbers, Numbers(4, -7.0));
        continue;
      }
      double by_weight = 0, by_nu = 0, products = 0, weight_terms = 0, nu_terms = 0, product_terms = 0;
      for (int p = 0; p < m.points(); ++p) {
        const Naive::Pixel z = m.difference(xi, p), u_p = m.difference(qi, p);
        const double of_z = m.reading(xi, p), of_q = m.reading(qi, p);
        for (std::size_t g = 0; g < m.groups(); ++g) {
          const double r = m.length(z, g), along = m.inner(z, u_p, g), length = m.length(u_p, g);
          by_weight += m.w(r) * along;
          by_nu += m.w_nu(r) * along;
          weight_terms += m.w(r) * r * length + (m.steepest() * of_z * length + m.w(r) * r * of_q) / 8;
          nu_terms += m.w_nu_terms(r) * r * length + (m.steepest() * of_z * length + m.w(r) * r * of_q) / 8;
        }
      }
      for (std::size_t e = 0; e < xi.size(); ++e) {
        products += xi[e] * qi[e];
        product_terms += std::abs(xi[e] * qi[e]);
      }
      const double add = (additions(m) + 4) * unit_roundoff<double>;
      EXPECT_NEAR(numbers[0], by_weight, (16 * u + add) * weight_terms);
      EXPECT_NEAR(numbers[1], by_nu, (24 * u + add) * nu_terms);
      EXPECT_NEAR(numbers[2], products, add * product_terms);

      const auto factor = [&](double r) { return weight * m.w(r) + smoothing * m.w_nu(r); };
      Numbers want = d;
      Numbers size = m.spread([&](int p) {
        const Naive::Pixel z = m.difference(xi, p);
        double sum = m.steepest() * m.reading(xi, p) / 8;
        for (std::size_t g = 0; g < m.groups(); ++g) {
          const double r = m.length(z, g);
          sum += (weight * m.w(r) + std::abs(smoothing) * m.w_nu_terms(r)) * r;
        }
        return sum;
      });
      for (std::size_t e = 0; e < want.size(); ++e) {
        const double start = beside ? d[e] : 0;
        want[e] = start + ridge * xi[e];
        size[e] += std::abs(start) + ridge * std::abs(xi[e]);
      }
      m.add_adjoint(
          [&](int p) {
            const Naive::Pixel z = m.difference(xi, p);
            Naive::Pixel f = z;
            for (std::size_t c = 0; c < z.size(); ++c) f[c] *= factor(m.modulus(z, c));
            return f;
          },
          want);
      expect_entries<T>(got, want, size, m.stencil == Stencil::second ? 44 : 30, "B d");
      EXPECT_NEAR(numbers[3], dot(got, got), add * dot(got, got));
    }
  });
}

/// K and a of a pixel at modulus r over the ball of radius `radius`, and the smallest curvature in it.
struct Local {
  double k, a, softest;
};
Local local_of(const Naive& m, double r, double radius) {
  const double low = std::max(r - radius, 0.0) / m.nu, high = (r + radius) / m.nu;
  const bool one = m.group_size() == 1 || (m.channels == 1 && m.height == 1);
  if (m.quadratic()) return {0, 1, 1};
  if (m.huber())
    return {low < 1 ? 2.0 : 2 / std::sqrt(3.0) / (low * low), (low <= 1 ? 2 - low : 1 / low) / m.nu,
            std::max(2 / m.nu * (1 - high), 0.0)};
  const double t = low > 0.5 ? low : std::min(high, 0.5), q = 1 / (1 + t * t);
  return {one || t * t <= 0.5 ? 3 * t * std::pow(q, 2.5) : 2 / std::sqrt(3.0) * q,
          1 / (m.nu * std::sqrt(1 + low * low)), std::pow(1 + high * high, -1.5) / m.nu};
}

/// The kernels round the modulus and the radius outward, by at most these shares and a little more in single
/// precision; sums and maxima rise with the radius, so that they lie between those for a smaller and a larger
/// one.
template <class T>
struct Bracket {
  static constexpr double of_modulus = sizeof(T) == 4 ? 2e-6 : 4e-15, of_radius = 4e-5;
  static constexpr double of_sums = sizeof(T) == 4 ? 2e-5 : 6e-6;

  static double radius(double r, double radius, int side) {
    return std::max(radius + side * (of_modulus * r + of_radius * radius), 0.0);
  }
  static void expect(const Numbers& got, const Numbers& lower, const Numbers& upper) {
    for (std::size_t k = 0; k < got.size(); ++k) {
      EXPECT_GE(got[k], lower[k] * (1 - of_sums)) << "entry " << k;
      EXPECT_LE(got[k], upper[k] * (1 + of_sums)) << "entry " << k;
    }
  }
};

/// A ball around an iterate and what the bounds take beside the images.
struct Ball {
  double epsilon, gradient, mu, row_bound, norm2;
};

/// The sums of AnalysisBoundArgs for one image.
template <class T>
Numbers bound_sums(const Naive& m, const Numbers& x, const Numbers& q, const Numbers& v, const Ball& ball,
                   int side) {
  const double e = ball.epsilon, g0 = ball.gradient, mu = ball.mu;
  const double energy = g0 <= 2 * mu * e ? g0 * g0 / (4 * mu) : (g0 - mu * e) * e;
  const double softness = 4 * energy > mu * e * e ? e * e / energy : 4 / mu;
  Numbers out(kernels::analysis_bound_sums, 0.0);
  for (int p = 0; p < m.points(); ++p) {
    const Naive::Pixel z = m.difference(x, p), kq = m.difference(q, p), kv = m.difference(v, p);
    for (std::size_t group = 0; group < m.groups(); ++group) {
      const double r = m.length(z, group), g = m.length(kq, group), h = m.length(kv, group);
      double radius = ball.row_bound * e;
      for (int turn = 0; turn < 3; ++turn)
        radius =
            std::min(radius, std::sqrt(energy / std::max(m.alpha * local_of(m, r, radius).softest, 1e-30)));
      const Local l = local_of(m, r, Bracket<T>::radius(r, radius, side));
      const double inverse = 1 / (0.5 / ball.norm2 + 0.5 * m.alpha * softness * l.softest);
      const double kg = l.k * g, kh = l.k * h, ag = l.a * g, ah = l.a * h, psi = m.w(r) * r;
      const double sums[] = {
          ag * ag,           g,         kg * h * kg * h,    ag * h, ah * ah, kg * h * kg * h * inverse,
          ag * ag * inverse, psi * psi, psi * psi * inverse};
      for (std::size_t k = 0; k < 9; ++k) out[k] += sums[k];
      const double largest[] = {kg, kh, kg * inverse, kh * inverse, l.a * inverse};
      for (std::size_t k = 0; k < 5; ++k) out[10 + k] = std::max(out[10 + k], largest[k]);
    }
  }
  out[9] = dot(x, x);
  return out;
}

TYPED_TEST(AnalysisKernels, DirectionalBounds) {
  using T = TypeParam;
  this->for_all([&](const Naive& m, int n) {
    for (const bool both : {true, false}) {
      KernelLab<T> lab(n);
      const Numbers x = this->images(m, n, true), q = this->images(m, n, false),
                    v = this->images(m, n, false);
      const double mu = 0.06, row_bound = 1.9, norm2 = 8;
      const Numbers epsilon = {0.05, 0.01, 2}, gradient = {0.004, 0.01, 0.02};
      auto in = lab.put(x), by = lab.put(q), other = lab.put(v);
      auto eps = lab.template put<double>(epsilon), slope = lab.template put<double>(gradient),
           out = lab.template put<double>(
               Numbers(static_cast<std::size_t>(kernels::analysis_bound_sums * n), -7.0));
      lab.table().analysis[static_cast<int>(m.stencil)].bound(
          lab.stream(), {m.model(), lab.active(), at(in), at(by), both ? at(other) : nullptr, at(eps),
                         at(slope), mu, row_bound, norm2, at(out), n});
      const Numbers rows = lab.get(out);
      for (int i = 0; i < n; ++i) {
        const Numbers got = column_of(rows, n, i);
        if (lab.frozen(i)) {
          EXPECT_EQ(got, Numbers(kernels::analysis_bound_sums, -7.0));
          continue;
        }
        const Ball ball{epsilon[static_cast<std::size_t>(i)], gradient[static_cast<std::size_t>(i)], mu,
                        row_bound, norm2};
        const auto sums = [&](int side) {
          return bound_sums<T>(m, part_of(x, n, i), part_of(q, n, i), part_of(both ? v : q, n, i), ball,
                               side);
        };
        SCOPED_TRACE("image " + std::to_string(i));
        Bracket<T>::expect(got, sums(-1), sums(1));
      }
    }
  });
}

}  // namespace
}  // namespace bilevel
