#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>

#include "tests/model/mri_lab.hpp"
#include "tests/model/search.hpp"

// Constants against the largest changes that random search with hill climbing finds. Ratios bound/measured
// are printed; below 1 would be a violation.

namespace bilevel {
namespace {

using namespace testing_support;
using oracle::Image;
using oracle::Matrix;
using oracle::NamedMri;

std::vector<MriProblem> small_shapes() {
  if (on_cuda()) return {mri_shape(1, 3, 4)};
  return {mri_shape(1, 3, 4), mri_shape(1, 5, 3), mri_shape(1, 1, 8)};
}

/// Changes of one block of B between the halves of a point per length of the move.
double block_change(const MriProblem& m, const Image& y, const Image& whole, std::size_t first,
                    std::size_t last, Random& random) {
  Image x, moved;
  double length = 0;
  halves(whole, x, moved, length);
  const Matrix change = difference_of(oracle::mixed_matrix(m, y, moved), oracle::mixed_matrix(m, y, x));
  return block_norm(block_of(change, first, last), random) / length;
}

TEST(MriCurvature, ConstantsHoldInRandomSearch) {
  Random random(seed(2401));
  RatioRecorder mu("measured/mu"), big("L/measured"), hessian("L_H/measured"),
      sampling("L_B sampling/measured"), scalars("L_B scalars/measured");
  for (const MriProblem& shape : small_shapes())
    for (const NamedMri& named : oracle::mri_collection(shape, random)) {
      SCOPED_TRACE(describe(named));
      MriLab<double> lab(named.problem);
      const MriProblem& m = lab.problem();
      const Curvature c = lab.energy().curvature();
      const auto n = lab.unknowns();
      const double size = norm(noise_image(m, 1, random)) / std::sqrt(n);
      Image v = random.normal_vector(n);
      big.add(c.lipschitz / climb(Image(n, 0), 0.1 * size, 4, random, [&](const Image& x) {
                return power_iteration(oracle::hessian(m, x), v, 12);
              }));
      double smallest = HUGE_VAL;
      for (const double amplitude : {1.0, 1e6}) {
        const Image x = noise_image(m, amplitude, random);
        smallest = std::min(smallest, oracle::eigenvalues(oracle::hessian(m, x)).front());
      }
      // the eigenvalue iteration is exact to rounding of the largest one
      mu.add((smallest + 1e-14 * c.lipschitz) / c.mu);

      const Image y = m.data(0), whole = noise(1, 2 * static_cast<int>(n), size, random);
      if (m.potential == oracle::Potential::quadratic)
        EXPECT_EQ(c.hessian_lipschitz, 0);
      else
        hessian.add(c.hessian_lipschitz / climb(whole, 0.3 * size, 15, random, [&](const Image& p) {
                      Image x, moved, w = v;
                      double length = 0;
                      halves(p, x, moved, length);
                      return power_iteration(difference_of(oracle::hessian(m, moved), oracle::hessian(m, x)),
                                             w, 6) /
                             length;
                    }));
      std::size_t first = 0;
      for (std::size_t b = 0; b < lab.energy().blocks().size(); first = lab.energy().blocks()[b++])
        (b == 0 ? sampling : scalars)
            .add(c.mixed_lipschitz[b] / climb(whole, 0.3 * size, 10, random, [&](const Image& p) {
                   return block_change(m, y, p, first, lab.energy().blocks()[b], random);
                 }));
    }
  EXPECT_GE(mu.minimum(), 1 - 1e-12);
  for (const RatioRecorder* r : {&big, &hessian, &sampling, &scalars}) EXPECT_GE(r->minimum(), 1 - 1e-12);
}

/// Where the formulas are sharp: one coil of modulus 1, or real images whose pairs of weights are averaged.
TEST(MriCurvature, SharpWithoutRegulariser) {
  Random random(seed(2402));
  for (const bool complex_image : {false, true}) {
    MriProblem shape = mri_shape(1, 5, 4);
    shape.complex_image = complex_image;
    shape.alpha = 1e-13;
    shape.nu = 1;
    MriLab<double> lab(oracle::random_mri(shape, 0.1, random));
    const Curvature c = lab.energy().curvature();
    const std::vector<double> spectrum =
        oracle::eigenvalues(oracle::hessian(lab.problem(), Image(lab.unknowns(), 0)));
    EXPECT_LT(relative_difference(c.mu, spectrum.front()), 1e-6);
    EXPECT_LT(relative_difference(c.lipschitz, spectrum.back()), 1e-6);
  }
}

template <class T>
class MriBall : public ::testing::Test {};
using Precisions = ::testing::Types<float, double>;
TYPED_TEST_SUITE(MriBall, Precisions);

/// Perturbations of length epsilon: noise, a spike, a constant, towards flat images and away from them.
std::vector<Image> adversaries(const MriProblem& m, const Image& at, double epsilon, Random& random) {
  const auto n = static_cast<std::size_t>(m.unknowns());
  Image one(n, 0), flatter = at;
  one[n / 2] = 1;
  double mean = 0;
  for (const double v : at) mean += v / static_cast<double>(n);
  for (double& v : flatter) v -= mean;
  std::vector<Image> all;
  for (const Image& e : {random.normal_vector(n), one, Image(n, 1.0), flatter}) {
    if (!(norm(e) > 0)) continue;
    all.push_back(scaled_to(e, epsilon));
    all.push_back(scaled_to(e, -epsilon));
  }
  return all;
}

/// Everything at one pair x~, xhat = x~ + e that the directional bounds speak about.
struct Change {
  Image x, e, rise;  ///< rise: change of the gradient from x~ to xhat
  Matrix hat, delta, mixed, mixed_hat;
  double gradient, epsilon;
};

/// x~ = xhat - e rounded to T, with the exact gradient at x~.
template <class T>
Change change_at(const MriProblem& m, const Image& xhat, const Matrix& hat, const Matrix& mixed_hat,
                 const Image& e) {
  Change c;
  c.x = representable<T>(add_scaled(xhat, -1, e));
  c.hat = hat;
  c.delta = difference_of(hat, oracle::hessian(m, c.x));
  c.mixed = oracle::mixed_matrix(m, m.data(0), c.x);
  c.mixed_hat = mixed_hat;
  const Image gradient = oracle::gradient(m, m.data(0), c.x);
  c.gradient = norm(gradient) * (1 + 1e-12);
  c.e = add_scaled(xhat, -1, c.x);
  c.rise = add_scaled(oracle::gradient(m, m.data(0), xhat), -1, gradient);
  c.epsilon = distance(xhat, c.x) * (1 + 1e-12);
  return c;
}

/// bound/measured of the statements of a DirectionalBound, recorded one by one.
class DirectionalCheck {
 public:
  DirectionalCheck() {
    for (const char* name :
         {"hessian_vq", "hessian_q", "hessian_v", "energy_v, f of first order", "energy_q energy_v",
          "energy_mixed sampling", "energy_mixed scalars", "mixed_q sampling", "mixed_q scalars",
          "norm_mixed sampling", "norm_mixed scalars", "mixed_lipschitz sampling", "mixed_lipschitz scalars",
          "hessian_qe"})
      recorders_.push_back(std::make_unique<RatioRecorder>(std::string(name) + ", bound/measured"));
  }
  static constexpr std::size_t statements = 14;

  /// The smallest ratio of every statement, infinite where rounding hides the change.
  std::vector<double> operator()(const Change& c, const DirectionalBound& b,
                                 const std::vector<std::size_t>& ends, const Image& dq, const Image& dv,
                                 const Curvature& constants, Random& random) {
    found_.assign(statements, HUGE_VAL);
    const double mu = constants.mu, unit = 1e-14 * constants.lipschitz, noise = unit * norm(dq);
    const Image change_q = oracle::multiply(c.delta, dq), change_v = oracle::multiply(c.delta, dv);
    add(0, b.hessian_vq, std::abs(dot(dv, change_q)), noise * norm(dv));
    add(2, b.hessian_v, norm(change_v), unit * norm(dv));
    // f = f1 + f2 with Ahat f2 = -dA q and Ahat f1 = c for any c
    const Image f2 = oracle::cholesky_solve(c.hat, change_q), f1 = oracle::cholesky_solve(c.hat, change_v);
    add(1, b.hessian_q, mu * norm(f2), noise);
    add(4, b.energy_v * b.energy_q / mu, std::abs(dot(f2, change_v)),
        noise * norm(change_v) / mu + unit * norm(dv) * norm(f2));
    add(3, b.energy_v * norm(change_v) / mu, std::abs(dot(f1, change_v)),
        unit * norm(dv) * norm(change_v) / mu);
    // A~ e = Ahat e - dA e
    const Image straight = add_scaled(oracle::multiply(c.hat, c.e), -1, oracle::multiply(c.delta, c.e));
    add(13, b.hessian_qe, std::abs(dot(dq, c.rise) - dot(dq, straight)), noise * norm(c.e));
    std::size_t begin = 0;
    for (std::size_t block = 0; block < ends.size(); begin = ends[block++]) {
      const std::size_t part = block == 0 ? 0 : 1;
      const Matrix at = block_of(c.mixed, begin, ends[block]),
                   moved = difference_of(block_of(c.mixed_hat, begin, ends[block]), at);
      const double size = block_norm(at, random), floor = 1e-13 * (size + constants.lipschitz * norm(c.x));
      add(7 + part, b.mixed_q[block], norm(multiply_transposed(moved, dq)), floor * norm(dq));
      // |B~_b^T f| <= norm_mixed |u| / mu for Ahat f = u: the u that is largest, by power iterations
      Image u = random.normal_vector(dq.size());
      double gain = 0;
      for (int k = 0; k < 4; ++k) {
        u = scaled_to(u, 1);
        const Image image = multiply_transposed(at, oracle::cholesky_solve(c.hat, u));
        gain = norm(image);
        if (!(gain > 0)) break;
        u = oracle::cholesky_solve(c.hat, oracle::multiply(at, image));
      }
      add(9 + part, b.norm_mixed[block], mu * gain, 1e-14 * size);
      const double lipschitz =
          b.mixed_lipschitz.empty() ? constants.mixed_lipschitz[block] : b.mixed_lipschitz[block];
      add(11 + part, lipschitz * c.epsilon, block_norm(moved, random), floor);
      for (std::size_t j = 0; j < std::min<std::size_t>(static_cast<std::size_t>(moved.cols), 3); ++j) {
        const Image column = column_of(moved, j);
        if (!(norm(column) > 0)) continue;
        const Image f = oracle::cholesky_solve(c.hat, column);
        add(5 + part, b.energy_mixed[block] * norm(column) / mu, std::abs(dot(f, column)),
            floor * norm(column) / mu);
      }
    }
    return found_;
  }
  void expect_bounds() const {
    for (const auto& recorder : recorders_)
      if (recorder->count() > 0) {
        EXPECT_GE(recorder->minimum(), 1);
      }
  }

 private:
  void add(std::size_t which, double bound, double measured, double noise) {
    if (!(measured > 100 * noise) || !(bound < HUGE_VAL)) return;
    found_[which] = std::min(found_[which], bound / (measured - noise));
    recorders_[which]->add(bound / (measured - noise));
  }
  std::vector<double> found_;
  std::vector<std::unique_ptr<RatioRecorder>> recorders_;
};

TYPED_TEST(MriBall, DirectionalBoundsHoldForMinimisersInside) {
  Random random(seed(2404));
  DirectionalCheck check;
  std::size_t turn = 0;
  for (const MriProblem& shape : small_shapes())
    for (const NamedMri& named : oracle::mri_collection(shape, random)) {
      SCOPED_TRACE(describe(named));
      MriLab<TypeParam> lab(named.problem);
      const MriProblem& m = lab.problem();
      const Curvature constants = lab.energy().curvature();
      const std::vector<std::size_t> ends = lab.energy().blocks();
      const Image xhat = oracle::minimise(m, m.data(0), {}, 1e-12).x;
      const Matrix hat = oracle::hessian(m, xhat), mixed_hat = oracle::mixed_matrix(m, m.data(0), xhat);
      const double unit = norm(noise_image(m, 1, random));
      const auto ratios = [&](const Image& e, const Image& q, const Image& v, bool certificate) {
        Change c = change_at<TypeParam>(m, xhat, hat, mixed_hat, e);
        if (certificate) c.epsilon = std::max(c.epsilon, c.gradient / constants.mu);
        const auto bound = lab.directional(c.x, q, v, {c.epsilon}, {c.gradient})[0];
        return check(c, bound, ends, q, v, constants, random);
      };
      for (const double radius : {0.01, 0.3, 5.0, 100.0}) {
        const Image q = representable<TypeParam>(random.normal_vector(xhat.size()));
        for (const Image& e : adversaries(m, xhat, radius * unit, random)) {
          const bool along = random.integer(0, 1) != 0, certificate = random.integer(0, 1) != 0;
          const Image v = representable<TypeParam>(along ? e : random.normal_vector(xhat.size()));
          for (const double ratio : ratios(e, q, v, certificate)) ASSERT_GE(ratio, 1) << "radius " << radius;
        }
      }
      // an adversary for some of the statements: e, q and v climb towards its smallest ratio, from spikes
      for (int trial = 0; trial < 3; ++trial, ++turn) {
        const std::size_t which = turn % DirectionalCheck::statements;
        const double epsilon = (trial % 2 == 0 ? 0.3 : 4.0) * unit;
        Image spike(xhat.size(), 0), start;
        spike[xhat.size() / 2] = epsilon;
        for (int part = 0; part < 3; ++part) append(start, spike);
        const double worst = climb(start, 0.3 * epsilon, repetitions(20), random, [&](const Image& p) {
          const Image e = image_of(p, xhat.size(), 0),
                      q = representable<TypeParam>(image_of(p, xhat.size(), 1)),
                      v = representable<TypeParam>(image_of(p, xhat.size(), 2));
          return -ratios(scaled_to(e, epsilon), q, v, false)[which];
        });
        ASSERT_LE(worst, -1) << "adversary of statement " << which;
      }
    }
  check.expect_bounds();
}

}  // namespace
}  // namespace bilevel
