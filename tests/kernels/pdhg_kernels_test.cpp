#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/kernels/analysis_naive.hpp"
#include "tests/support/random.hpp"

// The steps of the primal-dual hybrid gradient method against their definitions, pixel by pixel.

namespace bilevel {
namespace {

using namespace testing_support;

template <class T>
class PdhgKernels : public ::testing::Test {
 protected:
  static constexpr int batch = 3;  // of which one is frozen
  static constexpr double unit = static_cast<double>(std::numeric_limits<T>::epsilon()) / 2;

  /// Values over several scales.
  Numbers values(std::size_t count, double scale) {
    Numbers v;
    for (std::size_t e = 0; e < count; ++e)
      v.push_back(static_cast<T>(scale * random_.normal() * std::pow(10.0, random_.uniform(-3, 1))));
    return v;
  }
  /// [D][batch][C][points], zero where K has no row.
  Numbers dual(const Naive& m, double scale) {
    const auto each = static_cast<std::size_t>(m.values()), points = static_cast<std::size_t>(m.points());
    Numbers w = values(static_cast<std::size_t>(m.directions()) * batch * each, scale);
    for (std::size_t e = 0; e < w.size(); ++e)
      if (m.row(static_cast<int>(e / (batch * each)), static_cast<int>(e % points)).empty()) w[e] = 0;
    return w;
  }
  static std::size_t place(const Naive& m, int i, std::size_t component, int p) {
    const auto c = static_cast<std::size_t>(m.channels);
    return ((component / c * batch + static_cast<std::size_t>(i)) * c + component % c) *
               static_cast<std::size_t>(m.points()) +
           static_cast<std::size_t>(p);
  }
  /// check(model): every kind on images around the borders of tiles.
  template <class Check>
  void for_all(const Check& check) {
    for (const auto& [height, width] : {std::pair{1, 1}, {1, 70}, {9, 1}, {17, 129}, {33, 66}})
      for (const auto& [stencil, potential] : analysis_kinds())
        for (const int channels : channel_counts(stencil)) {
          const double alpha = static_cast<T>(random_.log_uniform(0.01, 1)),
                       nu = static_cast<T>(random_.log_uniform(1e-3, 0.1)), xi = static_cast<T>(0.2);
          const Naive m{stencil, potential, channels, height, width, alpha, nu, xi};
          SCOPED_TRACE(m.str());
          check(m);
          if (HasFailure()) return;
        }
  }

  Random random_{seed(505)};
};
using Precisions = ::testing::Types<float, double>;
TYPED_TEST_SUITE(PdhgKernels, Precisions);

/// |psi(p)|.
double psi(const Naive& m, double p) { return m.w(p) * p; }

/// alpha psi(p) for p + a psi(p) = r, by bisection.
double dual_modulus(const Naive& m, double a, double r) {
  double low = 0, high = r;
  while (true) {
    const double p = 0.5 * (low + high);
    if (p == low || p == high) break;
    (p + a * psi(m, p) < r ? low : high) = p;
  }
  return m.alpha * psi(m, high);
}

TYPED_TEST(PdhgKernels, DualStepIsTheProximalMapOfTheConjugate) {
  using T = TypeParam;
  this->for_all([&](const Naive& m) {
    for (const double inverse_step : {0.0, 0.03, 40.0}) {
      const double a = m.alpha * inverse_step;
      const Numbers w = this->dual(m, m.alpha),
                    x = this->values(static_cast<std::size_t>(this->batch * m.values()), 1);
      Numbers start = w;
      if (inverse_step == 0) start.assign(w.size(), std::numeric_limits<double>::quiet_NaN());
      KernelLab<T> lab(this->batch);
      auto field = lab.put(start), in = lab.put(x);
      lab.table().analysis[static_cast<int>(m.stencil)].pdhg_dual(
          lab.stream(), {m.model(), lab.active(), this->batch, at(in), inverse_step, at(field)});
      const Numbers got = lab.get(field);
      for (int i = 0; i < this->batch; ++i) {
        const Numbers xi = part_of(x, this->batch, i);
        Numbers absolute = xi;
        for (double& v : absolute) v = std::abs(v);
        for (int p = 0; p < m.points(); ++p) {
          Naive::Pixel z = m.difference(xi, p);
          double term = 0;
          for (std::size_t c = 0; c < z.size(); ++c) {
            const double old = inverse_step > 0 ? inverse_step * w[this->place(m, i, c, p)] : 0;
            z[c] += old;
            term += 2 * std::abs(old);
            for (const Naive::Term& t : m.row(static_cast<int>(c) / m.channels, p))
              term += std::abs(t.factor) * absolute[m.index(static_cast<int>(c) % m.channels, t.pixel)];
          }
          for (std::size_t c = 0; c < z.size(); ++c) {
            const double have = got[this->place(m, i, c, p)];
            if (lab.frozen(i)) {
              if (inverse_step > 0) {
                ASSERT_EQ(have, w[this->place(m, i, c, p)]);
              }
              continue;
            }
            const double r = m.modulus(z, c), modulus = dual_modulus(m, a, r);
            const double want = r > 0 ? modulus * z[c] / r : 0;
            // d modulus / d r <= alpha l_1 / (1 + a l_1)
            const double steep = m.alpha * m.steepest() / (1 + a * m.steepest());
            const double error = this->unit * (20 * modulus + 10 * steep * (term + r)) + 1e-13 * m.alpha;
            ASSERT_NEAR(have, want, error) << "r " << r << ", nu " << m.nu << ", a " << a;
          }
        }
      }
    }
  });
}

TYPED_TEST(PdhgKernels, PrimalStepIsTheProximalMapOfTheDataTerm) {
  using T = TypeParam;
  this->for_all([&](const Naive& m) {
    for (const bool masked : {false, true})
      for (const auto& [pull, fit] : {std::pair{1.0, 1.0}, std::pair{-1.0, 0.0}}) {
        const double tau = static_cast<T>(0.7), theta = static_cast<T>(0.9);
        const auto count = static_cast<std::size_t>(this->batch * m.values());
        const Numbers w = this->dual(m, 1), source = this->values(count, 1), x = this->values(count, 1),
                      mask = random_mask(m.height, m.width, 0.5, this->random_);
        KernelLab<T> lab(this->batch);
        auto field = lab.put(w), from = lab.put(source), sampling = lab.put(mask), in = lab.put(x),
             out = lab.put(x);
        lab.table().analysis[static_cast<int>(m.stencil)].pdhg_primal(
            lab.stream(), {m.model(), lab.active(), this->batch, at(field), at(from),
                           masked ? at(sampling) : nullptr, pull, fit, tau, theta, at(in), at(out)});
        const Numbers moved = lab.get(in), extrapolated = lab.get(out);
        for (int i = 0; i < this->batch; ++i) {
          const auto flux = [&](int p) {
            Naive::Pixel f = m.zero();
            for (std::size_t c = 0; c < f.size(); ++c) f[c] = w[this->place(m, i, c, p)];
            return f;
          };
          Numbers adjoint(static_cast<std::size_t>(m.values()), 0);
          m.add_adjoint(flux, adjoint);
          const Numbers sizes = m.spread([&](int p) { return Naive::length(flux(p)); });
          for (std::size_t k = 0; k < adjoint.size(); ++k) {
            const std::size_t e = static_cast<std::size_t>(i) * adjoint.size() + k;
            if (lab.frozen(i)) {
              ASSERT_EQ(moved[e], x[e]);
              continue;
            }
            const double weight = masked ? mask[k % static_cast<std::size_t>(m.points())] : 1;
            const double next =
                (x[e] + tau * (pull * weight * source[e] - adjoint[k])) / (1 + tau * (m.xi + fit * weight));
            const double size = std::abs(x[e]) + std::abs(source[e]) + sizes[k];
            ASSERT_NEAR(moved[e], next, 14 * this->unit * size);
            ASSERT_NEAR(extrapolated[e], next + theta * (next - x[e]), 28 * this->unit * size);
          }
        }
      }
  });
}

}  // namespace
}  // namespace bilevel
