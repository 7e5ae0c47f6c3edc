#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "bilevel/core/error.hpp"
#include "bilevel/solve/minimiser.hpp"
#include "tests/model/mri_lab.hpp"
#include "tests/oracle/mri_reference.hpp"
#include "tests/support/reference_case.hpp"

// Magnetic resonance against the reference cases and against the oracle.

namespace bilevel {
namespace {

using namespace testing_support;
using oracle::Image;
using oracle::NamedMri;

constexpr double point = 1e-12, solution = 1e-8;  // relative

class MriReference : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!shared_folder()) GTEST_SKIP() << "The shared folder is absent; set BILEVEL_SHARED to run this test.";
    for (const std::string& name : reference_names("mri_")) cases_.push_back(read_reference(name));
    ASSERT_GE(cases_.size(), 4U);
  }
  std::vector<ReferenceCase> cases_;
};

TEST_F(MriReference, QuantitiesAtAPoint) {
  for (const ReferenceCase& data : cases_) {
    SCOPED_TRACE(data.name);
    MriLab<double> lab(oracle::mri_problem(data));
    const auto got = lab.gradient(data.x0);
    EXPECT_LT(max_relative_difference(got.value, data.phi_x0), point);
    lab.linearise(data.x0);
    const auto product = lab.hessian_product(data.v);
    const Image mixed = lab.mixed(data.x0, data.v);
    const auto forward = lab.mixed_forward(data.x0, data.dtheta);
    const std::size_t p = data.theta.size();
    ASSERT_EQ(lab.energy().parameters(), p);
    for (int i = 0; i < data.N; ++i) {
      const auto at = static_cast<std::size_t>(i);
      const auto image = [&](const Image& batch) { return image_of(batch, lab.unknowns(), i); };
      EXPECT_LT(max_relative_difference(image(got.gradient), image(data.grad_x0)), point);
      EXPECT_LT(relative_difference(std::sqrt(got.norm2[at]), norm(image(data.grad_x0))), point);
      EXPECT_LT(max_relative_difference(image(product.product), image(data.hvp_x0_v)), point);
      EXPECT_LT(relative_difference(product.inner[at], dot(image(data.v), image(data.hvp_x0_v))), point);
      EXPECT_LT(max_relative_difference(image_of(mixed, p, i), image_of(data.jtv_x0_v, p, i)), point);
      EXPECT_LT(max_relative_difference(image(forward.out), image(data.jd_x0_dtheta)), point);
      EXPECT_LT(relative_difference(std::sqrt(forward.norm2[at]), norm(image(data.jd_x0_dtheta))), point);
    }
  }
}

TEST_F(MriReference, MinimisersAreCertified) {
  for (const ReferenceCase& data : cases_) {
    SCOPED_TRACE(data.name);
    for (const char* solver : {"newton", "lbfgs"}) {
      SCOPED_TRACE(solver);
      MriLab<double> lab(oracle::mri_problem(data));
      Tensor<double> x(lab.context(), lab.shape(), lab.zero_filled());
      SolveRequest<double> request;
      request.tolerance = 1e-9;
      const SolveReport report =
          make_minimiser<double>(solver)->minimise(lab.context(), lab.energy(), request, x.view());
      EXPECT_EQ(report.status, SolveStatus::converged) << report.message;
      const std::vector<double> got = download(lab.context(), x);
      for (int i = 0; i < data.N; ++i) {
        const Image xhat = data.image(data.xhat, i), own = image_of(got, lab.unknowns(), i);
        EXPECT_LT(max_relative_difference(own, xhat), solution);
        // the reference solution is itself off by its gradient
        EXPECT_LE(distance(own, xhat),
                  report.certificate[static_cast<std::size_t>(i)] +
                      data.grad_norm_xhat[static_cast<std::size_t>(i)] / lab.energy().curvature().mu + 1e-13);
      }
    }
  }
}

template <class T>
class MriOracle : public ::testing::Test {};
using Precisions = ::testing::Types<float, double>;
TYPED_TEST_SUITE(MriOracle, Precisions);

/// Odd, prime and non-square images, single rows and columns.
std::vector<MriProblem> shapes() {
  std::vector<MriProblem> all = {mri_shape(2, 6, 7), mri_shape(1, 1, 12)};
  if (!on_cuda())
    for (const MriProblem& more : {mri_shape(2, 8, 8), mri_shape(1, 9, 5), mri_shape(1, 6, 1),
                                   mri_shape(1, 13, 11), mri_shape(1, 17, 38)})
      all.push_back(more);
  return all;
}

/// Relative to the largest entry of a result: rounding of transforms and of differences over nu.
double tolerance(const MriProblem& m, const Image& x, double unit) {
  double largest = 0;
  for (const double v : x) largest = std::max(largest, std::abs(v));
  return 4 * unit * (16 + 2 * std::log2(m.pixels()) + 4 * largest / m.nu);
}

/// Images with differences below and above nu, and the true ones.
std::vector<Image> points(const MriProblem& m, Random& random) {
  return {noise_batch(m, 0.5, random), noise_batch(m, 5, random), m.x_true};
}

template <class T, class Check>
void for_all_points(std::uint64_t from, const Check& check) {
  Random random(seed(from));
  for (const MriProblem& shape : shapes())
    for (const NamedMri& named : oracle::mri_collection(shape, random)) {
      SCOPED_TRACE(describe(named));
      MriLab<T> lab(named.problem);
      for (const Image& x : points(lab.problem(), random)) check(lab, representable<T>(x), random);
    }
}

TYPED_TEST(MriOracle, WeightsAndZeroFilledImages) {
  Random random(seed(2201));
  for (const MriProblem& shape : shapes())
    for (const NamedMri& named : oracle::mri_collection(shape, random)) {
      SCOPED_TRACE(describe(named));
      MriLab<TypeParam> lab(named.problem);
      const MriProblem& m = lab.problem();
      const std::span<const double> weights = lab.energy().fourier()->weights();
      EXPECT_LT(max_relative_difference({weights.begin(), weights.end()}, oracle::sampling_weights(m)),
                1e-14);
      const Image got = lab.zero_filled();
      for (int i = 0; i < m.n; ++i) {
        Image k_space = m.data(i);
        for (std::size_t k = 0; k < k_space.size(); ++k) k_space[k] *= weights[k % weights.size()];
        EXPECT_LE(distance(image_of(got, lab.unknowns(), i), oracle::encode_adjoint(m, k_space)),
                  unit_roundoff<TypeParam> * (20 + 4 * std::log2(m.pixels())) * norm(k_space) *
                      std::sqrt(lab.energy().curvature().lipschitz + 1));
      }
    }
}

TYPED_TEST(MriOracle, EnergyGradientAndHessianProduct) {
  for_all_points<TypeParam>(2202, [](auto& lab, const Image& x, Random& random) {
    const MriProblem& m = lab.problem();
    const double unit = unit_roundoff<TypeParam>;
    const Image p = representable<TypeParam>(random.normal_vector(x.size()));
    const auto got = lab.gradient(x);
    const Image diagonal = lab.linearise(x);
    const auto product = lab.hessian_product(p);
    for (int i = 0; i < m.n; ++i) {
      const auto at = static_cast<std::size_t>(i);
      const Image xi = image_of(x, lab.unknowns(), i), pi = image_of(p, lab.unknowns(), i), yi = m.data(i);
      const double near = tolerance(m, xi, unit);
      EXPECT_LT(relative_difference(got.value[at], oracle::energy(m, yi, xi)), near);
      const Image gradient = oracle::gradient(m, yi, xi), own = image_of(got.gradient, lab.unknowns(), i);
      EXPECT_LE(distance(own, gradient), got.rounding[at] + 1e-15 * norm(gradient));
      EXPECT_LT(relative_difference(std::sqrt(got.norm2[at]), norm(own)), 1e-6);
      const Image want = oracle::hessian_product(m, xi, pi);
      EXPECT_LT(max_relative_difference(image_of(product.product, lab.unknowns(), i), want), near);
      EXPECT_LT(relative_difference(product.inner[at], dot(pi, want)), near);
      for (std::size_t k = 0; k < lab.unknowns(); ++k) EXPECT_GT(diagonal[at * lab.unknowns() + k], 0);
    }
  });
}

/// The inverse diagonal is that of the Hessian without coils, where F^* W F has a constant one.
TYPED_TEST(MriOracle, InverseDiagonal) {
  Random random(seed(2203));
  RatioRecorder ratios("inverse diagonal with coils times the diagonal");
  for (const MriProblem& shape : {mri_shape(1, 6, 5), mri_shape(1, 1, 9)})
    for (const NamedMri& named : oracle::mri_collection(shape, random)) {
      SCOPED_TRACE(describe(named));
      MriLab<TypeParam> lab(named.problem);
      const MriProblem& m = lab.problem();
      const Image x = representable<TypeParam>(noise_image(m, 1, random)), inverse = lab.linearise(x);
      const oracle::Matrix a = oracle::hessian(m, x);
      for (int k = 0; k < m.unknowns(); ++k) {
        const double one = inverse[static_cast<std::size_t>(k)] * a(k, k);
        if (m.coils == 0) {
          EXPECT_NEAR(one, 1, 2 * tolerance(m, x, unit_roundoff<TypeParam>));
        } else {
          ratios.add(one);
        }
      }
    }
  EXPECT_GT(ratios.minimum(), 0.2);  // a preconditioner may simplify, not miss
  EXPECT_LT(ratios.maximum(), 5);
}

/// Dual fields have single precision and end a few of its units inside the unit ball.
TYPED_TEST(MriOracle, PrimalDualFields) {
  for_all_points<TypeParam>(2204, [](auto& lab, const Image& x, Random& random) {
    const MriProblem& m = lab.problem();
    if (m.potential == oracle::Potential::quadratic) return;  // the field, of no effect, is in the unit ball
    const double single = 1e-6;
    const std::size_t size = lab.unknowns() * static_cast<std::size_t>(m.directions());
    const Image d = representable<TypeParam>(x), psi = lab.start_dual(x),
                moved = lab.update_dual(x, d, 0.25, psi);
    lab.linearise(x, psi);
    const Image p = representable<TypeParam>(random.normal_vector(x.size()));
    const auto product = lab.hessian_product(p);
    for (int i = 0; i < m.n; ++i) {
      const Image xi = image_of(x, lab.unknowns(), i), own = image_of(psi, size, i);
      const double near = tolerance(m, xi, unit_roundoff<TypeParam>);
      EXPECT_LT(distance(own, oracle::dual_field(m, xi)), (near + single) * std::sqrt(size));
      const Image step = add_scaled(Image(xi.size(), 0), 0.25, image_of(d, lab.unknowns(), i));
      EXPECT_LT(distance(image_of(moved, size, i), oracle::dual_update(m, xi, own, step)),
                (near + 4 * single) * std::sqrt(size));
      const Image pi = image_of(p, lab.unknowns(), i), want = oracle::primal_dual_product(m, xi, own, pi);
      EXPECT_LT(distance(image_of(product.product, lab.unknowns(), i), want),
                (near + 4 * single) * lab.energy().curvature().lipschitz * norm(pi));
    }
  });
}

TYPED_TEST(MriOracle, MixedProducts) {
  RatioRecorder gap("adjoint gap of B / tolerance");
  for_all_points<TypeParam>(2205, [&](auto& lab, const Image& x, Random& random) {
    const MriProblem& m = lab.problem();
    const auto p = static_cast<std::size_t>(m.parameters());
    const Image q = representable<TypeParam>(random.normal_vector(x.size())), d = random.normal_vector(p);
    const Image got = lab.mixed(x, q);
    const auto forward = lab.mixed_forward(x, d);
    for (int i = 0; i < m.n; ++i) {
      const Image xi = image_of(x, lab.unknowns(), i), qi = image_of(q, lab.unknowns(), i), yi = m.data(i);
      const Image want = oracle::mixed_adjoint(m, yi, xi, qi), own = image_of(got, p, i),
                  out = image_of(forward.out, lab.unknowns(), i);
      const double near = tolerance(m, xi, unit_roundoff<TypeParam>);
      const Image want_out = oracle::mixed_forward(m, yi, xi, d);
      EXPECT_LE(distance(own, want), 2 * near * (norm(want) + norm(want_out) / norm(d) * norm(qi)));
      EXPECT_LE(distance(out, want_out), 2 * near * norm(want_out));
      EXPECT_LT(relative_difference(std::sqrt(forward.norm2[static_cast<std::size_t>(i)]), norm(out)), 1e-6);
      gap.add(std::abs(dot(out, qi) - dot(own, d)) / (near * norm(want_out) * norm(qi)));
    }
  });
  EXPECT_LT(gap.maximum(), 1);
}

}  // namespace
}  // namespace bilevel
