#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>

#include "tests/model/experts_lab.hpp"
#include "tests/model/search.hpp"

// Constants against the largest changes that random search with hill climbing finds. Ratios bound/measured
// are printed; below 1 would be a violation.

namespace bilevel {
namespace {

using namespace testing_support;
using oracle::FoeKind;
using oracle::Image;
using oracle::Matrix;
using oracle::NamedFoe;

std::vector<FoeProblem> small_shapes() {
  if (on_cuda()) return {foe_shape(1, 4, 5, 2, 3)};
  return {foe_shape(1, 4, 5, 2, 3), foe_shape(1, 3, 5, 1, 5), foe_shape(1, 1, 9, 2, 3)};
}

/// One column of B, b_k or nu_k, as a direction of theta.
Image mixed_column(const FoeProblem& m, const Image& x, int entry) {
  std::vector<double> unit(m.theta.size(), 0);
  unit[static_cast<std::size_t>(entry)] = 1;
  return oracle::mixed_forward(m, x, unit);
}

TEST(ExpertsCurvature, ConstantsHoldInRandomSearch) {
  Random random(seed(1301));
  RatioRecorder mu("measured/mu"), big("L/measured"), hessian("L_H/measured"), weight("L_B weight/measured"),
      smoothing("L_B smoothing/measured");
  for (const FoeProblem& shape : small_shapes())
    for (const NamedFoe& named : oracle::foe_collection(shape, random)) {
      SCOPED_TRACE(describe(named));
      ExpertsLab<double> lab(named.problem);
      const FoeProblem& m = lab.problem();
      const Curvature c = lab.energy().curvature();
      const auto n = static_cast<std::size_t>(m.pixels());
      const double size = norm(image_with_responses(m, 1, random)) / std::sqrt(n);
      Image v = random.normal_vector(n);
      const double largest = climb(constant(m.h, m.w, 0), 0.1 * size, 8, random, [&](const Image& x) {
        return power_iteration(oracle::hessian(m, x), v, 10);
      });
      big.add(c.lipschitz / largest);

      double smallest = HUGE_VAL;
      for (const double amplitude : {0.0, 1.0, 1e4})
        smallest = std::min(
            smallest, oracle::eigenvalues(oracle::hessian(m, noise(m.h, m.w, amplitude, random))).front());
      // the eigenvalue iteration is exact to rounding of the largest one
      mu.add((smallest + 1e-14 * c.lipschitz) / c.mu);

      for (const double start : {0.1, 1.0}) {
        const Image whole = noise(1, 2 * static_cast<int>(n), start * size, random);
        const double change = climb(whole, 0.3 * start * size, 25, random, [&](const Image& p) {
          Image x, moved, w = v;
          double length = 0;
          halves(p, x, moved, length);
          return power_iteration(difference_of(oracle::hessian(m, moved), oracle::hessian(m, x)), w, 6) /
                 length;
        });
        hessian.add(c.hessian_lipschitz / change);
        for (int entry = 0; entry < 2 * m.filters; ++entry) {
          const double column = climb(whole, 0.3 * start * size, 15, random, [&](const Image& p) {
            Image x, moved;
            double length = 0;
            halves(p, x, moved, length);
            return distance(mixed_column(m, x, entry), mixed_column(m, moved, entry)) / length;
          });
          (entry < m.filters ? weight : smoothing)
              .add(c.mixed_lipschitz[static_cast<std::size_t>(entry)] / column);
        }
      }
      for (int k = 0; k < m.filters; ++k)  // of taps there is none for all x
        EXPECT_EQ(c.mixed_lipschitz[static_cast<std::size_t>(2 * m.filters + k)], HUGE_VAL);
    }
  EXPECT_GE(mu.minimum(), 1 - 1e-12);
  for (const RatioRecorder* r : {&big, &hessian, &weight, &smoothing}) EXPECT_GE(r->minimum(), 1 - 1e-12);
}

template <class T>
class ExpertsBall : public ::testing::Test {};
using Precisions = ::testing::Types<float, double>;
TYPED_TEST_SUITE(ExpertsBall, Precisions);

/// Everything at one pair x~, xhat = x~ + e that the directional bounds speak about.
struct Change {
  Image x;
  Matrix hat, delta, mixed, mixed_hat;
  double gradient, epsilon;
};

/// x~ = xhat - e rounded to T, with the exact gradient at x~.
template <class T>
Change change_at(const FoeProblem& m, const Image& xhat, const Matrix& hat, const Matrix& mixed_hat,
                 const Image& e) {
  Change c;
  c.x = representable<T>(add_scaled(xhat, -1, e));
  c.hat = hat;
  c.delta = difference_of(hat, oracle::hessian(m, c.x));
  c.mixed = oracle::mixed_matrix(m, c.x);
  c.mixed_hat = mixed_hat;
  c.gradient = norm(oracle::gradient(m, m.y, c.x)) * (1 + 1e-12);
  c.epsilon = distance(xhat, c.x) * (1 + 1e-12);
  return c;
}

/// bound/measured of the statements of a DirectionalBound, recorded one by one.
class DirectionalCheck {
 public:
  /// The last three come once for weight, smoothing and filters each, the worst of the blocks.
  enum Statement {
    vq,
    q,
    v,
    first,
    second,
    energy_weight,
    energy_smoothing,
    mixed_q,
    norms = 10,
    change = 13
  };
  static constexpr std::size_t statements = 16;
  using Ratios = std::array<double, statements>;

  DirectionalCheck() {
    for (const char* name :
         {"hessian_vq", "hessian_q", "hessian_v", "energy_v, f of first order", "energy_q energy_v",
          "energy_mixed weight", "energy_mixed smoothing", "mixed_q weight", "mixed_q smoothing",
          "mixed_q filters", "norm_mixed weight", "norm_mixed smoothing", "norm_mixed filters",
          "mixed_lipschitz weight", "mixed_lipschitz smoothing", "mixed_lipschitz filters"})
      recorders_.push_back(std::make_unique<RatioRecorder>(std::string(name) + ", bound/measured"));
  }

  /// Infinite where rounding hides the change.
  Ratios operator()(const FoeProblem& m, const Change& c, const DirectionalBound& b,
                    const std::vector<std::size_t>& ends, const Image& dq, const Image& dv,
                    const Curvature& constants, Random& random) {
    found_.fill(HUGE_VAL);
    const double mu = constants.mu, unit = 1e-14 * constants.lipschitz, noise = unit * norm(dq);
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
    std::size_t begin = 0;
    for (std::size_t block = 0; block < ends.size(); begin = ends[block++]) {
      const std::size_t part = std::min<std::size_t>(block / static_cast<std::size_t>(m.filters), 2);
      const Matrix at = block_of(c.mixed, begin, ends[block]),
                   moved = difference_of(block_of(c.mixed_hat, begin, ends[block]), at);
      const double size = block_norm(at, random);
      const double floor = 1e-13 * (size + constants.lipschitz * norm(c.x));
      add(mixed_q + part, b.mixed_q[block], norm(multiply_transposed(moved, dq)), floor * norm(dq));
      add(norms + part, b.norm_mixed[block], size, 1e-14 * size);
      add(change + part, b.mixed_lipschitz[block] * c.epsilon, block_norm(moved, random), floor);
      if (part == 2) continue;
      const Image column = column_of(moved, 0);
      if (!(norm(column) > 0)) continue;
      const Image f = oracle::cholesky_solve(c.hat, column);
      add(energy_weight + part, b.energy_mixed[block] * norm(column) / mu, std::abs(dot(f, column)),
          floor * norm(column) / mu);
    }
    return found_;
  }
  void expect_bounds() const {
    for (const auto& recorder : recorders_) EXPECT_GE(recorder->minimum(), 1);
  }

 private:
  void add(std::size_t which, double bound, double measured, double noise) {
    if (!(measured > 100 * noise) || !(bound < HUGE_VAL)) return;
    found_[which] = std::min(found_[which], bound / (measured - noise));
    recorders_[which]->add(bound / (measured - noise));
  }
  Ratios found_{};
  std::vector<std::unique_ptr<RatioRecorder>> recorders_;
};

/// Perturbations of length epsilon: the shapes of perturbations(), against the gradient of the energy at
/// xhat - e, and towards points where responses vanish.
std::vector<Image> adversaries(const FoeProblem& m, const Image& xhat, double epsilon, Random& random) {
  std::vector<Image> all;
  for (const NamedImage& e : perturbations(m.h, m.w, epsilon, random))
    if (random.integer(0, 1) == 0) all.push_back(e.pixels);
  const Image e = scaled_to(random.normal_vector(xhat.size()), epsilon);
  const Image towards = oracle::gradient(m, m.y, add_scaled(xhat, -1, e));
  if (norm(towards) > 0) all.push_back(scaled_to(towards, epsilon));
  Image flatter(xhat.size(), 0);
  for (int k = 0; k < m.filters; ++k)
    flatter = add_scaled(flatter, 1, oracle::correlate_adjoint(m, k, oracle::correlate(m, k, xhat)));
  if (norm(flatter) > 1e-12) {
    all.push_back(scaled_to(flatter, epsilon));
    all.push_back(scaled_to(flatter, -epsilon));
  }
  return all;
}

/// |B~_b| where rounding decides on which side of the bend a response lies: flat images with an offset, and
/// smoothing below the rounding of responses.
TYPED_TEST(ExpertsBall, NormsHoldForRoundedResponses) {
  Random random(seed(1304));
  RatioRecorder ratios[] = {RatioRecorder("norm_mixed weight, rounded/measured"),
                            RatioRecorder("norm_mixed smoothing, rounded/measured"),
                            RatioRecorder("norm_mixed filters, rounded/measured")};
  for (const FoeProblem& shape : small_shapes())
    for (NamedFoe& named : oracle::foe_collection(shape, random)) {
      SCOPED_TRACE(describe(named));
      named.problem.zero_mean = true;
      for (const double nu : {1e-5, 1e-7, 1e-11}) {
        for (int k = 0; k < shape.filters; ++k)
          named.problem.theta[static_cast<std::size_t>(shape.filters + k)] = std::log(nu);
        ExpertsLab<TypeParam> lab(named.problem);
        const FoeProblem& m = lab.problem();
        Image x = image_with_responses(m, random.log_uniform(0.01, 2), random);
        for (double& v : x) v += 1;
        x = representable<TypeParam>(x);
        const Matrix mixed = oracle::mixed_matrix(m, x);
        const auto bound = lab.directional(x, x, {}, {nu}, {1})[0];
        const std::vector<std::size_t> ends = lab.energy().blocks();
        std::size_t begin = 0;
        for (std::size_t b = 0; b < ends.size(); begin = ends[b++]) {
          const double size = block_norm(block_of(mixed, begin, ends[b]), random);
          if (size > 0)
            ratios[std::min<std::size_t>(b / static_cast<std::size_t>(m.filters), 2)].add(
                bound.norm_mixed[b] / size);
        }
      }
    }
  for (const RatioRecorder& r : ratios) EXPECT_GE(r.minimum(), 1);
}

TYPED_TEST(ExpertsBall, DirectionalBoundsHoldForMinimisersInside) {
  Random random(seed(1303));
  DirectionalCheck check;
  std::size_t turn = 0;
  for (const FoeProblem& shape : small_shapes())
    for (const NamedFoe& named : oracle::foe_collection(shape, random)) {
      SCOPED_TRACE(describe(named));
      ExpertsLab<TypeParam> lab(named.problem);
      const FoeProblem& m = lab.problem();
      const Curvature constants = lab.energy().curvature();
      const std::vector<std::size_t> ends = lab.energy().blocks();
      const Image xhat = oracle::minimise(m, m.y, {}, 1e-12).x;
      const Matrix hat = oracle::hessian(m, xhat), mixed_hat = oracle::mixed_matrix(m, xhat);
      const double unit = norm(image_with_responses(m, 1, random));
      const auto ratios = [&](const Image& e, const Image& q, const Image& v, bool certificate) {
        Change c = change_at<TypeParam>(m, xhat, hat, mixed_hat, e);
        if (certificate) c.epsilon = c.gradient / constants.mu;
        const auto bound = lab.directional(c.x, q, v, {c.epsilon}, {c.gradient})[0];
        return check(m, c, bound, ends, q, v, constants, random);
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
        Image start;
        for (int part = 0; part < 3; ++part)
          append(start, scaled_to(spike(m.h, m.w, m.h / 2, m.w / 2, 1), epsilon));
        const double worst = climb(start, 0.3 * epsilon, repetitions(24), random, [&](const Image& p) {
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
