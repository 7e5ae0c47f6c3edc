#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>

#include "tests/model/tv_lab.hpp"
#include "tests/oracle/tv_exact.hpp"

// Constants against the largest changes that random search with hill climbing finds. Ratios bound/measured
// are printed; below 1 would be a violation.

namespace bilevel {
namespace {

using namespace testing_support;
using oracle::Image;
using oracle::Matrix;

Matrix difference_of(const Matrix& a, const Matrix& b) {
  Matrix d = a;
  for (std::size_t k = 0; k < d.entries.size(); ++k) d.entries[k] -= b.entries[k];
  return d;
}

/// Lower estimate of the spectral norm of a symmetric matrix by power iterations from `v`, which they
/// improve.
double power_iteration(const Matrix& a, Image& v, int turns = 12) {
  double size = 0;
  for (int k = 0; k < turns; ++k) {
    Image next = oracle::multiply(a, v);
    size = norm(next) / norm(v);
    if (!(norm(next) > 0)) return 0;
    v = scaled_to(next, 1);
  }
  return size;
}

/// Maximises f over points: random moves whose size adapts, accepted when they raise f.
template <class F>
double climb(Image point, double scale, int turns, Random& random, const F& f) {
  double best = f(point);
  for (int k = 0; k < turns; ++k) {
    const Image trial = add_scaled(point, scale, random.normal_vector(point.size()));
    const double value = f(trial);
    if (value > best) {
      best = value;
      point = trial;
      scale *= 1.5;
    } else {
      scale *= 0.85;
    }
  }
  return best;
}

struct Size {
  int h, w;
};
constexpr Size small_sizes[] = {{4, 5}, {1, 14}, {6, 3}};

TEST(CurvatureConstants, AgreeWithTheFormulas) {
  Random random(seed(501));
  for (const Size& size : {Size{4, 5}, Size{1, 14}, Size{7, 1}, Size{1, 1}})
    for (const oracle::TvModel& m : all_kinds(size.h, size.w, random)) {
      SCOPED_TRACE(describe(m));
      TvLab<double> lab(m, 1, constant(size.h, size.w, 0));
      const Curvature c = lab.energy().curvature();
      const oracle::TvModel& at = lab.model();
      const oracle::CurvatureConstants want = oracle::curvature(at);
      EXPECT_LT(relative_difference(c.mu, want.mu), 1e-14);
      EXPECT_LT(relative_difference(c.lipschitz, want.L), 1e-14);
      EXPECT_LT(relative_difference(c.hessian_lipschitz, want.L_H), 1e-14);
      const double chain[3] = {at.alpha, at.nu, at.xi}, mixed[3] = {want.L_B.alpha, want.L_B.nu, want.L_B.xi};
      for (std::size_t j = 0; j < 3; ++j)
        EXPECT_LT(relative_difference(c.mixed_lipschitz[j], chain[j] * mixed[j]), 1e-14) << j;
    }
}

TEST(CurvatureConstants, HoldInRandomSearch) {
  Random random(seed(502));
  RatioRecorder mu("measured/mu"), big("L/measured"), hessian("L_H/measured");
  RatioRecorder mixed[3] = {RatioRecorder("L_B alpha/measured"), RatioRecorder("L_B nu/measured"),
                            RatioRecorder("L_B xi/measured")};
  for (const Size& size : small_sizes)
    for (const oracle::TvModel& kind : all_kinds(size.h, size.w, random, 1e-3, 1)) {
      SCOPED_TRACE(describe(kind));
      TvLab<double> lab(kind, 1, constant(size.h, size.w, 0));
      const oracle::TvModel& m = lab.model();
      const Curvature c = lab.energy().curvature();
      const auto n = static_cast<std::size_t>(m.pixels());
      Image v = random.normal_vector(n);
      const double largest = climb(constant(size.h, size.w, 0), 0.3 * m.nu, 15, random, [&](const Image& x) {
        return power_iteration(oracle::hessian(m, x), v, 20);
      });
      big.add(c.lipschitz / largest);

      double smallest = 1e300;
      for (const double amplitude : {0.0, 1.0, 1e4})
        for (const Image& x :
             {noise(size.h, size.w, amplitude, random), checkerboard(size.h, size.w, amplitude)})
          smallest = std::min(smallest, oracle::eigenvalues(oracle::hessian(m, x)).front());
      // the eigenvalue iteration is exact to rounding of the largest one
      mu.add((smallest + 1e-14 * c.lipschitz) / c.mu);

      // [x, e]: change over the segment per length
      const auto halves = [&](const Image& point, Image& x, Image& moved, double& length) {
        x.assign(point.begin(), point.begin() + static_cast<std::ptrdiff_t>(n));
        const Image e(point.begin() + static_cast<std::ptrdiff_t>(n), point.end());
        moved = add_scaled(x, 1, e);
        length = distance(moved, x);
      };
      for (const double start : {0.05, 1.0}) {
        Image point = noise(1, 2 * static_cast<int>(n), start * m.nu, random);
        const double change = climb(point, 0.3 * start * m.nu, 60, random, [&](const Image& p) {
          Image x, moved;
          double length = 0;
          halves(p, x, moved, length);
          Image w = v;
          return power_iteration(difference_of(oracle::hessian(m, moved), oracle::hessian(m, x)), w) / length;
        });
        hessian.add(c.hessian_lipschitz / change);
        const char* names[3] = {"alpha", "nu", "xi"};
        const double chain[3] = {m.alpha, m.nu, m.xi};
        for (int j = 0; j < 3; ++j) {
          const double column = climb(point, 0.3 * start * m.nu, 40, random, [&](const Image& p) {
            Image x, moved;
            double length = 0;
            halves(p, x, moved, length);
            const oracle::MixedColumns a = oracle::mixed_forward(m, x), b = oracle::mixed_forward(m, moved);
            return chain[j] * distance(a[names[j]], b[names[j]]) / length;
          });
          mixed[j].add(c.mixed_lipschitz[static_cast<std::size_t>(j)] / column);
        }
      }
    }
  EXPECT_GE(mu.minimum(), 1 - 1e-12);
  EXPECT_GE(big.minimum(), 1);
  EXPECT_GE(hessian.minimum(), 1);
  for (const RatioRecorder& r : mixed) EXPECT_GE(r.minimum(), 1 - 1e-12);
}

template <class T>
class BallConstants : public ::testing::Test {};
using Precisions = ::testing::Types<float, double>;
TYPED_TEST_SUITE(BallConstants, Precisions);

/// Everything at one pair x~, xhat that the directional bounds speak about.
struct Change {
  Image x, e;
  Matrix hat, delta;
  double gradient, epsilon;
};

/// x~ = xhat - e rounded to T, with the exact gradient at x~.
template <class T>
Change change_at(const oracle::TvModel& m, const Image& y, const Image& xhat, const Image& e) {
  Change c;
  c.x = representable<T>(add_scaled(xhat, -1, e));
  c.e = add_scaled(xhat, -1, c.x);
  c.hat = oracle::hessian(m, xhat);
  c.delta = difference_of(c.hat, oracle::hessian(m, c.x));
  c.gradient = norm(oracle::gradient(m, y, c.x)) * (1 + 1e-12);
  c.epsilon = norm(c.e) * (1 + 1e-12);
  return c;
}

/// bound/measured of the statements of a DirectionalBound, recorded one by one.
class DirectionalCheck {
 public:
  enum Statement {
    vq,
    q,
    v,
    first,
    second,
    mixed_alpha,
    mixed_nu,
    mixed_xi,
    energy_alpha,
    energy_nu,
    statements
  };
  using Ratios = std::array<double, statements>;

  DirectionalCheck() {
    for (const char* name :
         {"hessian_vq", "hessian_q", "hessian_v", "energy_v, f of first order", "energy_q energy_v",
          "mixed_q alpha", "mixed_q nu", "mixed_q xi", "energy_mixed alpha", "energy_mixed nu"})
      recorders_.push_back(std::make_unique<RatioRecorder>(std::string(name) + ", bound/measured"));
  }

  /// Infinite where rounding hides the change.
  Ratios operator()(const oracle::TvModel& m, const Change& c, const DirectionalBound& b, const Image& xhat,
                    const Image& dq, const Image& dv, double mu, double lipschitz) {
    Ratios found;
    found.fill(HUGE_VAL);
    const auto add = [&](Statement which, double bound, double measured, double noise) {
      if (!(measured > 100 * noise) || !(bound < HUGE_VAL)) return;
      found[which] = bound / (measured - noise);
      recorders_[which]->add(found[which]);
    };
    const double unit = 1e-14 * lipschitz, noise = unit * norm(dq);
    const Image change_q = oracle::multiply(c.delta, dq), change_v = oracle::multiply(c.delta, dv);
    add(vq, b.hessian_vq, std::abs(dot(dv, change_q)), noise * norm(dv));
    add(v, b.hessian_v, norm(change_v), unit * norm(dv));
    // f = f1 + f2 with Ahat f2 = -dA q and Ahat f1 = c for any c
    const Image f2 = oracle::cholesky_solve(c.hat, change_q), f1 = oracle::cholesky_solve(c.hat, change_v);
    add(q, b.hessian_q, mu * norm(f2), noise);
    add(second, b.energy_v * b.energy_q / mu, std::abs(dot(f2, change_v)),
        noise * norm(change_v) / mu + unit * norm(dv) * norm(f2));
    add(first, b.energy_v * norm(change_v) / mu, std::abs(dot(f1, change_v)),
        unit * norm(dv) * norm(change_v) / mu);
    const oracle::MixedColumns at = oracle::mixed_forward(m, c.x), hat = oracle::mixed_forward(m, xhat);
    const char* names[3] = {"alpha", "nu", "xi"};
    const double chain[3] = {m.alpha, m.nu, m.xi};
    for (std::size_t j = 0; j < 3; ++j) {
      Image column = add_scaled(hat[names[j]], -1, at[names[j]]);
      for (double& value : column) value *= chain[j];
      const double floor = 1e-14 * (chain[j] * norm(hat[names[j]]) + m.alpha * std::sqrt(dq.size()));
      add(static_cast<Statement>(mixed_alpha + j), b.mixed_q[j], std::abs(dot(column, dq)), floor * norm(dq));
      if (j == 2 || !(norm(column) > 0)) continue;
      const Image f = oracle::cholesky_solve(c.hat, column);
      add(static_cast<Statement>(energy_alpha + j), b.energy_mixed[j] * norm(column) / mu,
          std::abs(dot(f, column)), floor * norm(column) / mu);
    }
    return found;
  }
  void expect_bounds() const {
    for (const auto& recorder : recorders_) EXPECT_GE(recorder->minimum(), 1);
  }

 private:
  std::vector<std::unique_ptr<RatioRecorder>> recorders_;
};

TYPED_TEST(BallConstants, DirectionalBoundsHoldForMinimisersInsideTheBall) {
  Random random(seed(504));
  DirectionalCheck check;
  for (const Size& size : small_sizes)
    for (const oracle::TvModel& kind : all_kinds(size.h, size.w, random, 3e-3, 0.5)) {
      TvLab<TypeParam> lab(kind, 1, constant(size.h, size.w, 0));
      const oracle::TvModel& m = lab.model();
      const Curvature constants = lab.energy().curvature();
      SCOPED_TRACE(describe(m));
      const Image y = piecewise_constant(size.h, size.w, 0.1, random);
      const Image xhat = oracle::minimise(m, y, {}, 1e-12).x;
      const auto ratios = [&](const Image& e, const Image& q, const Image& v, bool certificate) {
        Change c = change_at<TypeParam>(m, y, xhat, e);
        if (certificate) c.epsilon = c.gradient / constants.mu;
        const auto bound = lab.directional(c.x, q, v, {c.epsilon}, {c.gradient})[0];
        return check(m, c, bound, xhat, q, v, constants.mu, constants.lipschitz);
      };
      for (const double radius : {0.01, 0.3, 5.0, 100.0}) {
        const double epsilon = radius * m.nu;
        const Image q = representable<TypeParam>(random.normal_vector(xhat.size()));
        for (const NamedImage& e : perturbations(size.h, size.w, epsilon, random)) {
          const bool along = random.integer(0, 1) != 0, certificate = random.integer(0, 1) != 0;
          const Image v = representable<TypeParam>(along ? e.pixels : random.normal_vector(xhat.size()));
          for (const double ratio : ratios(e.pixels, q, v, certificate))
            ASSERT_GE(ratio, 1) << e.name << ", radius/nu " << radius;
        }
      }
      // an adversary per statement: e, q and v climb towards its smallest ratio, from spikes
      for (int which = 0; which < DirectionalCheck::statements; ++which)
        for (const double radius : {0.3, 4.0}) {
          const double epsilon = radius * m.nu;
          Image point;
          for (int part = 0; part < 3; ++part)
            append(point, scaled_to(spike(size.h, size.w, size.h / 2, size.w / 2, 1), epsilon));
          const double worst = climb(point, 0.3 * epsilon, repetitions(30), random, [&](const Image& p) {
            const Image e = image_of(p, xhat.size(), 0),
                        q = representable<TypeParam>(image_of(p, xhat.size(), 1)),
                        v = representable<TypeParam>(image_of(p, xhat.size(), 2));
            return -ratios(scaled_to(e, epsilon), q, v, false)[static_cast<std::size_t>(which)];
          });
          ASSERT_LE(worst, -1) << "adversary of statement " << which << ", radius/nu " << radius;
        }
    }
  check.expect_bounds();
}

TYPED_TEST(BallConstants, DirectionalRoundingCoversTheComputedMixedProduct) {
  Random random(seed(505));
  RatioRecorder ratios("B^T q rounding bound/error");
  const std::vector<double> amplitudes = {1, 1e-3, 1e4};
  int kind = 0;
  for (const Size& size : {Size{17, 130}, Size{1, 200}, Size{5, 6}})
    for (const oracle::TvModel& m : all_kinds(size.h, size.w, random)) {
      SCOPED_TRACE(describe(m));
      for (int trial = 0; trial < repetitions(4); ++trial) {
        const Image x = representable<TypeParam>(test_image(kind++, size.h, size.w, random, amplitudes));
        const Image q = representable<TypeParam>(random.normal_vector(x.size()));
        TvLab<TypeParam> lab(m, 1, x);
        const auto bound = lab.directional(x, q, {}, {1e-3}, {1})[0];
        const std::vector<double> got = lab.mixed(x, q);
        const oracle::MixedScalars want = oracle::mixed_adjoint(lab.model(), x, q);
        const double exact[2] = {lab.model().alpha * want.alpha, lab.model().nu * want.nu};
        double products = 0;
        for (std::size_t p = 0; p < x.size(); ++p) products += std::abs(x[p] * q[p]);
        for (std::size_t j = 0; j < 2; ++j) {
          const double error = std::abs(got[j] - exact[j]);
          // with xi inside alpha the sum x q enters, in double
          const double ridge = m.xi_inside_alpha && j == 0 ? 1e-14 * lab.model().alpha * m.xi * products : 0;
          if (error > 0) ratios.add((bound.rounding[j] + ridge) / error);
        }
      }
    }
  EXPECT_GE(ratios.minimum(), 1);
}

}  // namespace
}  // namespace bilevel
