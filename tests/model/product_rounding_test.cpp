#include <gtest/gtest.h>

#include <cmath>

#include "kernels/decision_args.hpp"
#include "tests/model/experts_lab.hpp"
#include "tests/model/mri_lab.hpp"
#include "tests/model/tv_lab.hpp"

// What single precision does to Hessian products A q and to B^T q, against the same energies in double at the
// same point: the certificates of adjoints and hypergradients count 56 unit L |q| and rounding_b.

namespace bilevel {
namespace {

using namespace testing_support;
using oracle::Image;

constexpr double unit = std::numeric_limits<float>::epsilon() / 2;

struct Ratios {
  RatioRecorder hessian{"|A q error| / (56 unit L |q|)"}, mixed{"|B^T q error| / rounding"};
};

/// |B_b| by unit columns: of one entry a block, or of all entries of a block together.
template <class Lab>
double block_norm(Lab& lab, const Image& x, std::size_t begin, std::size_t end, std::size_t entries) {
  double sum = 0;
  for (std::size_t j = begin; j < end; ++j) {
    std::vector<double> direction(entries, 0);
    direction[j] = 1;
    sum += lab.mixed_forward(x, direction).norm2[0];
  }
  return std::sqrt(sum);
}

template <class Narrow, class Wide>
void expect_within_bounds(Narrow& narrow, Wide& wide, const Image& x, const Image& q, Ratios& ratios) {
  narrow.linearise(x);
  wide.linearise(x);
  const double allowed = kernels::product_roundings * unit * wide.energy().curvature().lipschitz * norm(q);
  const double error = distance(narrow.hessian_product(q).product, wide.hessian_product(q).product);
  EXPECT_LE(error, allowed);
  ratios.hessian.add(error / allowed);
  if (narrow.energy().parameters() > 300) return;  // a column of B for every one

  const std::vector<double> got = narrow.mixed(x, q), want = wide.mixed(x, q);
  const DirectionalBound bound = narrow.directional(x, q, {}, {0.1}, {1})[0];
  std::size_t begin = 0, b = 0;
  for (const std::size_t end : narrow.energy().blocks()) {
    double off = 0;
    for (std::size_t j = begin; j < end; ++j) off += std::pow(got[j] - want[j], 2);
    // what the double-precision twin and the sums in double add is below 1e-12 of the terms
    const double most = bound.rounding[b] + 1e-12 * block_norm(wide, x, begin, end, got.size()) * norm(q);
    EXPECT_LE(std::sqrt(off), most) << "block " << b;
    if (most > 0) ratios.mixed.add(std::sqrt(off) / most);
    begin = end;
    ++b;
  }
}

/// The direction along which A q is most wrong: of unit vectors, then of the largest singular value of what
/// they show.
template <class Narrow, class Wide>
Image worst_direction(Narrow& narrow, Wide& wide, const Image& x, Random& random) {
  narrow.linearise(x);
  wide.linearise(x);
  const std::size_t n = x.size();
  std::vector<Image> columns;
  for (std::size_t j = 0; j < n; ++j) {
    Image unit_vector(n, 0);
    unit_vector[j] = 1;
    columns.push_back(add_scaled(narrow.hessian_product(unit_vector).product, -1,
                                 wide.hessian_product(unit_vector).product));
  }
  Image q = random.normal_vector(n);
  for (int turn = 0; turn < 30; ++turn) {
    Image error(n, 0);
    for (std::size_t j = 0; j < n; ++j) error = add_scaled(error, q[j], columns[j]);
    for (std::size_t j = 0; j < n; ++j) q[j] = dot(columns[j], error);
    const double size = norm(q);
    if (!(size > 0)) return Image(n, 1);
    for (double& v : q) v /= size;
  }
  return representable<float>(q);
}

/// Random directions; those along which the energy bends most and least; a spike.
std::vector<Image> directions(std::size_t count, const Image& x, Random& random) {
  Image alternating(count), spike(count, 0);
  for (std::size_t p = 0; p < count; ++p) alternating[p] = p % 2 == 0 ? 1 : -1;
  spike[count / 2] = 1;
  return {representable<float>(random.normal_vector(count)), alternating, spike, Image(count, 1), x};
}

TEST(ProductRounding, OfTotalVariation) {
  Random random(seed(2721));
  Ratios ratios;
  for (const auto& [h, w] : {std::pair{5, 6}, {1, 9}, {9, 33}})
    for (oracle::TvModel m : all_kinds(h, w, random, 1e-4, 1))
      for (const double jump : {0.01, 1.0, 100.0}) {  // differences in units of nu
        m.alpha = random.log_uniform(1e-4, 1e3);
        const Image x = representable<float>(noise(h, w, jump * m.nu, random)),
                    y = representable<float>(add_scaled(x, 0.1, random.normal_vector(x.size())));
        TvLab<float> narrow(m, 1, y);
        TvLab<double> wide(m, 1, y);
        SCOPED_TRACE(describe(m));
        for (const Image& q : directions(x.size(), x, random))
          expect_within_bounds(narrow, wide, x, q, ratios);
        if (x.size() <= 30)
          expect_within_bounds(narrow, wide, x, worst_direction(narrow, wide, x, random), ratios);
      }
}

/// Climbing on the pixels for the largest error.
TEST(ProductRounding, HoldsAgainstAnAdversary) {
  Random random(seed(2724));
  RatioRecorder ratios("|A q error| / (56 unit L |q|), adversary");
  for (const auto& [h, w] : {std::pair{3, 4}, {1, 9}})
    for (oracle::TvModel m : all_kinds(h, w, random, 1e-4, 1))
      for (const double jump : {0.3, 1.0, 3.0}) {
        m.alpha = random.log_uniform(1, 1e3);
        Image x = representable<float>(noise(h, w, jump * m.nu, random));
        TvLab<float> narrow(m, 1, x);
        TvLab<double> wide(m, 1, x);
        const double scale = kernels::product_roundings * unit * wide.energy().curvature().lipschitz;
        double best = 0;
        for (int turn = 0; turn < repetitions(60); ++turn) {
          const Image trial =
              turn == 0
                  ? x
                  : representable<float>(add_scaled(x, 0.1 * jump * m.nu, random.normal_vector(x.size())));
          const Image q = worst_direction(narrow, wide, trial, random);
          const double ratio = distance(narrow.hessian_product(q).product, wide.hessian_product(q).product) /
                               (scale * norm(q));
          if (ratio > best) {
            best = ratio;
            x = trial;
          }
        }
        ratios.add(best);
      }
  EXPECT_LE(ratios.maximum(), 1);
}

/// Where every pixel rounds alike: a constant image, whose Hessian is alpha/nu K^T K, and the checkerboard,
/// which nearly attains |K|^2 = 8.
TEST(ProductRounding, OfEqualPixels) {
  Random random(seed(2725));
  RatioRecorder ratios("|A q error| / (56 unit L |q|), equal pixels");
  const int side = 48;
  const Image x = constant(side, side, 0.5), q = checkerboard(side, side, 1);
  for (int trial = 0; trial < repetitions(400); ++trial) {
    oracle::TvModel m;
    m.height = m.width = side;
    m.potential = trial % 2 == 0 ? oracle::Potential::charbonnier : oracle::Potential::huber_c2;
    m.isotropic = trial % 4 < 2;
    m.alpha = random.log_uniform(1, 1e3);
    m.nu = random.log_uniform(1e-3, 1e-2);
    m.xi = random.log_uniform(1e-5, 1e-1);
    TvLab<float> narrow(m, 1, x);
    TvLab<double> wide(m, 1, x);
    narrow.linearise(x);
    wide.linearise(x);
    ratios.add(distance(narrow.hessian_product(q).product, wide.hessian_product(q).product) /
               (kernels::product_roundings * unit * wide.energy().curvature().lipschitz * norm(q)));
  }
  EXPECT_LE(ratios.maximum(), 1);
}

TEST(ProductRounding, OfExperts) {
  Random random(seed(2722));
  Ratios ratios;
  for (const auto& shape : {foe_shape(1, 6, 7, 2, 3), foe_shape(1, 9, 11, 3, 5)})
    for (const oracle::NamedFoe& named : oracle::foe_collection(shape, random))
      for (const double size : {0.01, 1.0, 10.0}) {
        if (on_cuda() && (size != 1 || named.problem.pixels() > 50)) continue;
        SCOPED_TRACE(named.name);
        FoeProblem problem = named.problem;
        problem.y = representable<float>(random.normal_vector(problem.y.size()));
        ExpertsLab<float> narrow(problem);
        ExpertsLab<double> wide(problem);
        Image x = random.normal_vector(static_cast<std::size_t>(problem.pixels()));
        for (double& v : x) v *= size;
        x = representable<float>(x);
        for (const Image& q : directions(x.size(), x, random))
          expect_within_bounds(narrow, wide, x, q, ratios);
      }
}

/// Filters of one sign, whose sums of equal numbers round alike, and the usual number of them.
TEST(ProductRounding, OfExpertsOfOneSign) {
  Random random(seed(2726));
  Ratios ratios;
  for (const int taps : {5, 7})
    for (int trial = 0; trial < repetitions(24); ++trial) {
      FoeProblem problem = oracle::random_foe(oracle::FoeKind::generic,
                                              foe_shape(1, 12, 13, taps == 5 ? 10 : 48, taps), random);
      const double tap = random.log_uniform(0.01, 1);
      for (int k = 0; k < problem.filters; ++k) {
        problem.theta[static_cast<std::size_t>(k)] = trial % 2 == 0 ? 0 : random.normal();
        for (int j = 0; j < problem.taps(); ++j)
          problem.theta[static_cast<std::size_t>(2 * problem.filters + k * problem.taps() + j)] =
              trial % 4 < 2 ? tap : random.uniform(0.5, 1);
      }
      const Image x = constant(12, 13, random.log_uniform(1e-4, 1)), flat(x.size(), random.uniform(0.5, 1));
      problem.y = x;
      ExpertsLab<float> narrow(problem);
      ExpertsLab<double> wide(problem);
      for (const Image& q :
           {x, representable<float>(flat), representable<float>(random.normal_vector(x.size()))})
        expect_within_bounds(narrow, wide, representable<float>(x), q, ratios);
    }
}

TEST(ProductRounding, OfMagneticResonance) {
  Random random(seed(2723));
  Ratios ratios;
  for (const oracle::NamedMri& named : oracle::mri_collection(mri_shape(1, 7, 6), random))
    for (const double size : {0.1, 1.0, 30.0}) {
      SCOPED_TRACE(describe(named));
      MriProblem problem = named.problem;
      for (double& v : problem.y) v = static_cast<float>(v);
      for (double& v : problem.maps) v = static_cast<float>(v);
      MriLab<float> narrow(problem);
      MriLab<double> wide(problem);
      const Image x = representable<float>(noise_image(problem, size, random));
      for (const Image& q : directions(x.size(), x, random)) expect_within_bounds(narrow, wide, x, q, ratios);
    }
}

}  // namespace
}  // namespace bilevel
