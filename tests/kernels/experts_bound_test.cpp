#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>

#include "tests/kernels/experts_lab.hpp"

// The sums of the directional bounds of fields of experts: at least what the formulas of experts_args.hpp
// give in long double, and above it by no more than rounding outwards explains.

namespace bilevel {
namespace {

using namespace testing_support;
using Real = NaiveExperts::Real;
using Field = NaiveExperts::Field;
using Numbers = std::vector<double>;
constexpr int sums = kernels::experts_bound_sums, maxima = kernels::experts_bound_maxima;

/// K, a and m over |t' - t| <= d.
struct Profile {
  Real k, a, m;
};
Profile profile(const NaiveExperts& model, int k, Real t, Real d) {
  const Real nu = model.nu(k), r = std::abs(t) / nu, delta = d / nu, low = std::max(r - delta, Real(0));
  Profile p;
  if (model.huber) {
    p.k = low < 1 ? 2 : 2 / (std::sqrt(Real(3)) * low * low);
    p.a = (low <= 1 ? 2 - low : 1 / low) / nu;
  } else {
    const Real at = low > 0.5L ? low : std::min(r + delta, Real(0.5L));
    p.k = 3 * at / std::pow(1 + at * at, Real(2.5L));
    p.a = 1 / (nu * std::sqrt(1 + low * low));
  }
  p.m = model.curvature(k, std::abs(t) + d);
  return p;
}

struct Inputs {
  Field t, g, h, x2, q2;
  Real epsilon, energy, stiffness, norm2, row_bound;
  Real slack = 0;                              // relative, of everything that is rounded outwards
  Real t_error = 0, g_error = 0, h_error = 0;  // of the computed correlations
};

std::array<Real, sums> expected(const NaiveExperts& m, int k, const Inputs& in) {
  std::array<Real, sums> s{};
  const Real wide = 1 + in.slack;
  for (std::size_t p = 0; p < in.t.size(); ++p) {
    const Real t = in.t[p], g = (std::abs(in.g[p]) + in.g_error) * wide;
    const Real h = in.h.empty() ? 0 : (std::abs(in.h[p]) + in.h_error) * wide;
    const Real X = in.x2[p] * wide, Q = in.q2[p] * wide;
    Real d = in.row_bound * in.epsilon * wide;
    for (int turn = 0; turn < 3; ++turn) {
      const Real stiff = m.b(k) * m.curvature(k, std::abs(t) + in.t_error + d);
      if (stiff > 0) d = std::min(d, std::sqrt(in.energy / stiff) * wide);
    }
    const Profile of = profile(m, k, t, (d + 2 * in.t_error) * wide + in.slack * std::abs(t));
    const Real W = (1 / (2 * in.norm2) + in.stiffness * m.nu(k) * of.m / 2) / wide;
    const Real K = of.k * wide, a = of.a * wide;
    const Real psi = m.psi(k, std::abs(t) + in.t_error) * wide, nu_t = m.psi_nu(k, t), c = m.curvature(k, t);
    const Real additive[] = {psi * psi,
                             nu_t * nu_t,
                             c * c * X,
                             a * g * a * g,
                             g,
                             a * a * Q,
                             K * g * K * g * X,
                             a * h * a * h,
                             K * h * g * K * h * g,
                             a * h * g,
                             K * h * g * K * h * g / W,
                             a * g * a * g / W,
                             a * a * Q / W,
                             K * g * K * g * X / W};
    const Real largest[] = {K * g, K * h, K * g / W, K * h / W, a, a / W, K, X};
    for (std::size_t row = 0; row < std::size(additive); ++row) s[row] += additive[row];
    for (std::size_t row = 0; row < maxima; ++row)
      s[sums - maxima + row] = std::max(s[sums - maxima + row], largest[row]);
  }
  return s;
}

template <class T>
class ExpertsBound : public ::testing::Test {
 protected:
  static constexpr double unit = static_cast<double>(std::numeric_limits<T>::epsilon()) / 2;
  struct Case {
    Numbers x, q, v, patches_x, patches_q;
    typename ExpertsLab<T>::Ball ball;
  };

  Numbers image(const NaiveExperts& m, int n, double scale) {
    Numbers all;
    for (int i = 0; i < n; ++i)
      for (double v : piecewise_constant(m.height, m.width, 0.1, random_))
        all.push_back(static_cast<double>(static_cast<T>(scale * v)));
    return all;
  }
  static Field part(const Numbers& all, std::size_t size, std::size_t i) {
    const auto first = all.begin() + static_cast<std::ptrdiff_t>(size * i);
    return Field(first, first + static_cast<std::ptrdiff_t>(size));
  }
  static Numbers patches(const NaiveExperts& m, int n, const Numbers& batch) {
    Numbers all;
    for (std::size_t i = 0; i < static_cast<std::size_t>(n); ++i) {
      const Field x = part(batch, m.pixels(), i);
      Field s(m.responses(), 0);
      m.visit([&](std::size_t p, std::size_t at, std::size_t) { s[p] += x[at] * x[at]; });
      for (const Real v : s) all.push_back(static_cast<double>(static_cast<T>(v)));
    }
    return all;
  }
  static Real largest(const Field& f) {
    Real v = 0;
    for (const Real e : f) v = std::max(v, std::abs(e));
    return v;
  }

  /// What the oracle knows of filter k and image i; v may be empty.
  static Inputs inputs(const NaiveExperts& m, int k, std::size_t i, const Case& of) {
    const Field v = of.v.empty() ? Field{} : part(of.v, m.pixels(), i);
    const Real gradient = of.ball.gradient[i], epsilon = of.ball.epsilon[i], mu = of.ball.mu;
    const Real energy =
        gradient <= 2 * mu * epsilon ? gradient * gradient / (4 * mu) : (gradient - mu * epsilon) * epsilon;
    return {m.correlate(m.taps, k, part(of.x, m.pixels(), i)),
            m.correlate(m.taps, k, part(of.q, m.pixels(), i)),
            of.v.empty() ? Field{} : m.correlate(m.taps, k, v),
            part(of.patches_x, m.responses(), i),
            part(of.patches_q, m.responses(), i),
            epsilon,
            energy,
            std::min(epsilon * epsilon / energy, 4 / mu),
            of.ball.norm2,
            of.ball.row_bound[static_cast<std::size_t>(k)]};
  }
  /// The same, with what rounding outwards may add.
  static Inputs widened(const NaiveExperts& m, int k, std::size_t i, const Case& of) {
    Inputs in = inputs(m, k, i, of);
    Real norm1 = 0;
    for (std::size_t e = 0; e < m.taps_of_one(); ++e)
      norm1 += std::abs(m.taps[static_cast<std::size_t>(k) * m.taps_of_one() + e]);
    const Real factor = 2.2L * (m.size * m.size + 4) * unit * norm1;
    in.slack = 1e-5L + (m.size * m.size + 40) * unit;
    in.t_error = factor * largest(part(of.x, m.pixels(), i));
    in.g_error = factor * largest(part(of.q, m.pixels(), i));
    in.h_error = of.v.empty() ? 0 : factor * largest(part(of.v, m.pixels(), i));
    return in;
  }
  /// Rows 1 and 2 are of x itself and carry the rounding of t both ways; row 14 is |x|^2.
  static void allow_rounding(const NaiveExperts& m, int k, const Inputs& in, const Field& x,
                             std::array<Real, sums>& low, std::array<Real, sums>& high) {
    Real squares = 0, of_nu = 0, of_curvature = 0;
    for (const Real e : x) squares += e * e;
    for (std::size_t p = 0; p < in.t.size(); ++p) {
      const Real t = in.t[p], a = m.lip_nu(k) * in.t_error + 20 * unit,
                 b = m.lip2(k) * in.t_error + 20 * unit * m.lip1(k);
      of_nu += a * (2 * std::abs(m.psi_nu(k, t)) + a);
      of_curvature += b * (2 * m.curvature(k, t) + b) * in.x2[p];
    }
    low[14] = squares * (1 - 1e-12L);
    high[14] = squares * (1 + 1e-12L);
    low[1] -= of_nu;
    high[1] += of_nu;
    low[2] -= of_curvature;
    high[2] += of_curvature;
  }

  void check(const NaiveExperts& m, int n, double epsilon, bool with_v) {
    SCOPED_TRACE(describe(m, n) + ", epsilon " + std::to_string(epsilon));
    Case of{image(m, n, 1), image(m, n, 0.01), with_v ? image(m, n, 3) : Numbers{}, {}, {}, {}};
    of.patches_x = patches(m, n, of.x);
    of.patches_q = patches(m, n, of.q);
    of.ball.mu = 1 + m.mu;
    of.ball.norm2 = random_.log_uniform(1, 100);
    for (int i = 0; i < n; ++i) {
      of.ball.epsilon.push_back(epsilon * random_.uniform(0.5, 1));
      of.ball.gradient.push_back(of.ball.epsilon.back() * of.ball.mu * random_.uniform(0.5, 3));
    }
    for (int k = 0; k < m.filters; ++k) of.ball.row_bound.push_back(random_.uniform(0.5, 2));
    ExpertsLab<T> lab(m, n);
    const Numbers got = lab.bound(of.x, of.q, of.v, of.patches_x, of.patches_q, of.ball);
    const auto filters = static_cast<std::size_t>(m.filters), images = static_cast<std::size_t>(n);
    for (std::size_t i = 0; i < images; ++i)
      for (int k = 0; k < m.filters; ++k) {
        const Inputs wide = widened(m, k, i, of);
        std::array<Real, sums> low = expected(m, k, inputs(m, k, i, of)), high = expected(m, k, wide);
        allow_rounding(m, k, wide, part(of.x, m.pixels(), i), low, high);
        for (std::size_t row = 0; row < sums; ++row) {
          const double value = got[(row * filters + static_cast<std::size_t>(k)) * images + i];
          ASSERT_GE(value, double(low[row] * (1 - 40 * unit))) << "row " << row << ", filter " << k;
          ASSERT_LE(value, double(high[row] * (1 + 40 * unit)) + 1e-30) << "row " << row << ", filter " << k;
        }
      }
  }

  Random random_{seed(302)};
};
using Precisions = ::testing::Types<float, double>;
TYPED_TEST_SUITE(ExpertsBound, Precisions);

TYPED_TEST(ExpertsBound, EverySumIsOutwardOfItsFormula) {
  for (const int size : {3, 5, 7, 9, 11})
    for (const bool valid : {false, true})
      for (const bool huber : {false, true}) {
        const int least = valid ? size : size / 2;
        const struct {
          int height, width, filters, n;
        } shapes[] = {
            {least, least + 2, 2, 1}, {size + 12, 2 * size + 3, 2, 2}, {34, 33, 1, 1}, {33, 130, 1, 1}};
        std::size_t count = on_cuda() ? 2 : std::size(shapes);
        for (std::size_t s = 0; s < count; ++s) {
          const auto& of = shapes[on_cuda() && s == 1 && huber ? 2 : s];
          const NaiveExperts m =
              random_experts<TypeParam>(of.height, of.width, of.filters, size, valid, huber, this->random_);
          for (const double epsilon : {1e-4, 0.1}) {
            this->check(m, of.n, epsilon, epsilon < 0.01);
            if (this->HasFatalFailure()) return;
          }
        }
      }
}

}  // namespace
}  // namespace bilevel
