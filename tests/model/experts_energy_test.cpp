#include <gtest/gtest.h>

#include <cmath>

#include "bilevel/solve/minimiser.hpp"
#include "tests/model/experts_lab.hpp"
#include "tests/oracle/foe_reference.hpp"
#include "tests/support/reference_case.hpp"

// A field of experts against the reference cases and against the oracle.

namespace bilevel {
namespace {

using namespace testing_support;
using oracle::Image;
using oracle::NamedFoe;

constexpr double point = 1e-12, solution = 1e-8;  // relative

class ExpertsReference : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!shared_folder()) GTEST_SKIP() << "The shared folder is absent; set BILEVEL_SHARED to run this test.";
    for (const std::string& name : reference_names("foe_"))
      if (!on_cuda() || read_reference(name).H < 32) names_.push_back(name);
    ASSERT_GE(names_.size(), 5U);
  }
  std::vector<std::string> names_;
};

TEST_F(ExpertsReference, QuantitiesAtAPoint) {
  for (const std::string& name : names_) {
    SCOPED_TRACE(name);
    const ReferenceCase data = read_reference(name);
    ExpertsLab<double> lab(oracle::foe_problem(data));
    const auto got = lab.gradient(data.x0);
    EXPECT_LT(max_relative_difference(got.value, data.phi_x0), point);
    lab.linearise(data.x0);
    const auto product = lab.hessian_product(data.v);
    const Image mixed = lab.mixed(data.x0, data.v);
    const auto forward = lab.mixed_forward(data.x0, data.dtheta);
    const std::size_t p = data.theta.size();
    for (int i = 0; i < data.N; ++i) {
      const auto at = static_cast<std::size_t>(i);
      const auto image = [&](const Image& batch) { return image_of(batch, lab.pixels(), i); };
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

TEST_F(ExpertsReference, MinimisersAreCertified) {
  for (const std::string& name : names_) {
    SCOPED_TRACE(name);
    const ReferenceCase data = read_reference(name);
    for (const char* solver : {"newton", "lbfgs"}) {
      SCOPED_TRACE(solver);
      ExpertsLab<double> lab(oracle::foe_problem(data));
      Tensor<double> x(lab.context(), lab.shape(), data.y);
      SolveRequest<double> request;
      request.tolerance = 1e-9;
      const SolveReport report =
          make_minimiser<double>(solver)->minimise(lab.context(), lab.energy(), request, x.view());
      EXPECT_EQ(report.status, SolveStatus::converged) << report.message;
      const std::vector<double> got = download(lab.context(), x);
      for (int i = 0; i < data.N; ++i) {
        const Image xhat = data.image(data.xhat, i), own = image_of(got, lab.pixels(), i);
        EXPECT_LT(max_relative_difference(own, xhat), solution);
        // the reference solution is itself off by its gradient
        EXPECT_LE(distance(own, xhat), report.certificate[static_cast<std::size_t>(i)] +
                                           data.grad_norm_xhat[static_cast<std::size_t>(i)] + 1e-13);
      }
    }
  }
}

template <class T>
class ExpertsOracle : public ::testing::Test {};
using Precisions = ::testing::Types<float, double>;
TYPED_TEST_SUITE(ExpertsOracle, Precisions);

/// Problems of every kind, potential and padding, sizes 3 to 11; images down to the smallest possible.
std::vector<FoeProblem> shapes() {
  std::vector<FoeProblem> all = {foe_shape(2, 6, 7, 2, 3), foe_shape(1, 9, 5, 3, 5),
                                 foe_shape(1, 1, 12, 2, 3), foe_shape(2, 8, 11, 2, 7, 0)};
  if (!on_cuda())
    for (const FoeProblem& more : {foe_shape(1, 11, 9, 2, 9, 0.5), foe_shape(1, 12, 13, 1, 11),
                                   foe_shape(1, 5, 6, 1, 11), foe_shape(1, 23, 70, 2, 5)})
      all.push_back(more);
  return all;
}

double absolute_taps(const FoeProblem& m, int k) {
  double sum = 0;
  for (const double tap : m.filter(k)) sum += std::abs(tap);
  return sum;
}

/// Largest modulus of the rounding errors of responses to x.
double response_error(const FoeProblem& m, int k, const Image& x, double unit) {
  double largest = 0;
  for (const double v : x) largest = std::max(largest, std::abs(v));
  return unit * (m.taps() + 4) * absolute_taps(m, k) * largest;
}

/// Relative to the largest entry of a result: rounding of S^2 terms, and what the errors of responses change.
double tolerance(const FoeProblem& m, const Image& x, double unit) {
  double change = 1;
  for (int k = 0; k < m.filters; ++k)
    change = std::max(change, response_error(m, k, x, 1) / (m.taps() + 4) / m.smoothing(k));
  return 4 * unit * (m.taps() + 16) * (1 + change);
}

/// Images with responses below and above nu, and the noisy data themselves.
std::vector<Image> points(const FoeProblem& m, Random& random) {
  Image small, large;
  for (int i = 0; i < m.n; ++i) {
    append(small, image_with_responses(m, 0.5, random));
    append(large, image_with_responses(m, 5, random));
  }
  return {small, large, m.y};
}

template <class T, class Check>
void for_all_points(std::uint64_t from, const Check& check) {
  Random random(seed(from));
  for (const FoeProblem& shape : shapes())
    for (const NamedFoe& named : oracle::foe_collection(shape, random)) {
      SCOPED_TRACE(describe(named));
      ExpertsLab<T> lab(named.problem);
      for (const Image& x : points(lab.problem(), random)) check(lab, representable<T>(x), random);
    }
}

TYPED_TEST(ExpertsOracle, EnergyGradientAndHessianProduct) {
  for_all_points<TypeParam>(1001, [](auto& lab, const Image& x, Random& random) {
    const FoeProblem& m = lab.problem();
    const double unit = unit_roundoff<TypeParam>;
    const Image p = representable<TypeParam>(random.normal_vector(x.size()));
    const auto got = lab.gradient(x);
    lab.linearise(x);
    const auto product = lab.hessian_product(p);
    for (int i = 0; i < m.n; ++i) {
      const auto at = static_cast<std::size_t>(i);
      const Image xi = image_of(x, lab.pixels(), i), pi = image_of(p, lab.pixels(), i), yi = m.image(m.y, i);
      const double near = tolerance(m, xi, unit);
      EXPECT_LT(relative_difference(got.value[at], oracle::energy(m, yi, xi)), near);
      const Image gradient = oracle::gradient(m, yi, xi), own = image_of(got.gradient, lab.pixels(), i);
      EXPECT_LE(distance(own, gradient), got.rounding[at] + 1e-15 * norm(gradient));
      EXPECT_LT(relative_difference(std::sqrt(got.norm2[at]), norm(own)), 1e-6);
      EXPECT_LT(max_relative_difference(image_of(product.product, lab.pixels(), i),
                                        oracle::hessian_product(m, xi, pi)),
                near);
      EXPECT_LT(relative_difference(product.inner[at], dot(pi, oracle::hessian_product(m, xi, pi))), near);
    }
  });
}

/// Dual fields have single precision and end 2.4e-7 inside [-1,1].
TYPED_TEST(ExpertsOracle, PrimalDualMaps) {
  for_all_points<TypeParam>(1002, [](auto& lab, const Image& x, Random& random) {
    const FoeProblem& m = lab.problem();
    const double unit = unit_roundoff<TypeParam>, single = 3.6e-7;
    const std::size_t responses = static_cast<std::size_t>(m.responses()) * m.filters;
    Image zeta = random.normal_vector(responses * m.n);
    for (double& z : zeta) z = std::clamp(z, -1.0, 1.0);
    zeta = representable<float>(zeta);
    const Image d = representable<TypeParam>(random.normal_vector(x.size())), psi = lab.start_dual(x),
                moved = lab.update_dual(x, d, 0.25, zeta);
    const std::vector<double> diagonal = lab.linearise(x, zeta);
    for (const double v : diagonal) EXPECT_EQ(v, 1);
    const Image maps = lab.maps();
    for (int i = 0; i < m.n; ++i) {
      const Image xi = image_of(x, lab.pixels(), i), zi = image_of(zeta, responses, i);
      Image di = image_of(d, lab.pixels(), i);
      for (double& v : di) v *= 0.25;
      const Image want_psi = oracle::dual_field(m, xi), want_maps = oracle::primal_dual_maps(m, xi, zi),
                  want_moved = oracle::dual_update(m, xi, zi, di);
      Image ts, us, errors, errors_u;
      for (int k = 0; k < m.filters; ++k) {
        append(ts, oracle::correlate(m, k, xi));
        append(us, oracle::correlate(m, k, di));
        errors.push_back(response_error(m, k, xi, unit));
        errors_u.push_back(response_error(m, k, di, unit));
      }
      for (std::size_t e = 0; e < responses; ++e) {
        const int k = static_cast<int>(e) / m.responses();
        const std::size_t of = static_cast<std::size_t>(k);
        const double nu = m.smoothing(k), t = ts[e], u = us[e];
        const double error = (errors[of] + 4 * unit * std::abs(t)) / nu + 8 * unit;
        const double error_u = errors_u[of] / nu;
        const std::size_t at = responses * static_cast<std::size_t>(i) + e;
        ASSERT_NEAR(psi[at], want_psi[e], 2 * error + single);
        // w t and kappa t jump where t changes its sign if the dual field does not.
        if (std::abs(t) <= errors[of]) continue;
        ASSERT_NEAR(maps[at], want_maps[e], m.weight(k) / nu * 8 * error);
        ASSERT_NEAR(moved[at], want_moved[e],
                    8 * (error * (1 + std::abs(u) / nu) + error_u) + single * (1 + std::abs(u) / nu));
      }
    }
  });
}

TYPED_TEST(ExpertsOracle, MixedProducts) {
  RatioRecorder gap("adjoint gap of B / tolerance");
  for_all_points<TypeParam>(1003, [&](auto& lab, const Image& x, Random& random) {
    const FoeProblem& m = lab.problem();
    const double unit = unit_roundoff<TypeParam>;
    const std::size_t p = m.theta.size();
    const Image q = representable<TypeParam>(random.normal_vector(x.size())), d = random.normal_vector(p);
    const Image got = lab.mixed(x, q);
    const auto forward = lab.mixed_forward(x, d);
    for (int i = 0; i < m.n; ++i) {
      const Image xi = image_of(x, lab.pixels(), i), qi = image_of(q, lab.pixels(), i);
      const Image want = oracle::mixed_adjoint(m, xi, qi), own = image_of(got, p, i),
                  out = image_of(forward.out, lab.pixels(), i);
      const double near = tolerance(m, xi, unit);
      EXPECT_LT(max_relative_difference(own, want), 8 * near);
      EXPECT_LT(max_relative_difference(out, oracle::mixed_forward(m, xi, d)), 8 * near);
      EXPECT_LT(relative_difference(std::sqrt(forward.norm2[static_cast<std::size_t>(i)]), norm(out)), 1e-6);
      gap.add(std::abs(dot(out, qi) - dot(own, d)) /
              (near * norm(oracle::mixed_forward(m, xi, d)) * norm(qi)));
    }
  });
  EXPECT_LT(gap.maximum(), 0.1);
}

/// Every subset of weight, smoothing and filters, in every order, with every transform.
TEST(ExpertsLayouts, EverySubsetOrderAndTransform) {
  Random random(seed(1004));
  const Transform scales[] = {Transform::exp, Transform::log10, Transform::identity};
  const std::array<std::size_t, 3> orders[] = {{0, 1, 2}, {2, 0, 1}, {1, 2, 0}};
  for (int subset = 0; subset < 8; ++subset)
    for (int variant = 0; variant < 3; ++variant)
      for (const oracle::FoeKind kind : {oracle::FoeKind::zero_mean, oracle::FoeKind::generic}) {
        FoeProblem shape = foe_shape(2, 6, 5, 2, 3);
        if (variant == 1) shape.potential = oracle::Potential::huber_c2;
        if (variant == 2) shape.padding = oracle::Padding::valid;
        FoeProblem m = oracle::random_foe(kind, shape, random);
        ExpertsLayout layout;
        layout.order = orders[variant];
        layout.learned = {(subset & 1) != 0, (subset & 2) != 0, (subset & 4) != 0};
        layout.transform = {scales[variant], scales[(variant + 1) % 3], Transform::identity};
        if (variant == 2 && kind == oracle::FoeKind::generic) {  // positive taps on a log scale
          layout.transform[2] = Transform::exp;
          for (std::size_t j = 2 * static_cast<std::size_t>(m.filters); j < m.theta.size(); ++j)
            m.theta[j] = 0.1 + std::abs(m.theta[j]);
        }
        SCOPED_TRACE("subset " + std::to_string(subset) + ", variant " + std::to_string(variant));
        ExpertsLab<double> lab(m, layout);
        const std::size_t p = lab.energy().parameters(), all = m.theta.size();
        ASSERT_EQ(p, lab.map().entry.size());
        const Image x = m.y, q = random.normal_vector(x.size()), d = random.normal_vector(p);
        const Image got = lab.mixed(x, q), forward = lab.mixed_forward(x, d).out;
        for (int i = 0; i < m.n; ++i) {
          const Image xi = image_of(x, lab.pixels(), i), qi = image_of(q, lab.pixels(), i);
          const Image want = lab.map().gradient(oracle::mixed_adjoint(lab.problem(), xi, qi));
          if (p > 0) {
            EXPECT_LT(max_relative_difference(image_of(got, p, i), want), point);
          }
          EXPECT_LT(
              max_relative_difference(image_of(forward, lab.pixels(), i),
                                      oracle::mixed_forward(lab.problem(), xi, lab.map().direction(d, all))),
              point);
          EXPECT_LT(max_relative_difference(image_of(lab.gradient(x).gradient, lab.pixels(), i),
                                            oracle::gradient(lab.problem(), m.image(m.y, i), xi)),
                    point);
        }
        // the blocks: entries of weight and smoothing, taps of a filter
        std::vector<std::size_t> ends;
        std::size_t end = 0;
        for (const std::size_t part : layout.order)
          for (int k = 0; layout.learned[part] && k < m.filters; ++k)
            ends.push_back(end += part == 2 ? static_cast<std::size_t>(m.taps()) : 1);
        EXPECT_EQ(lab.energy().blocks(), ends);
        EXPECT_EQ(lab.energy().curvature().mixed_lipschitz.size(), ends.size());
        const DirectionalBound bound = lab.directional(x, q, q, {1e-3, 1e-3}, {1, 1})[0];
        for (const auto* list : {&bound.mixed_q, &bound.energy_mixed, &bound.rounding, &bound.norm_mixed,
                                 &bound.mixed_lipschitz})
          EXPECT_EQ(list->size(), ends.size());
      }
}

/// bind() moves the energy to another theta completely.
TEST(ExpertsLayouts, BindIsANewEnergy) {
  Random random(seed(1005));
  for (const NamedFoe& named : oracle::foe_collection(foe_shape(1, 7, 6, 3, 3), random)) {
    SCOPED_TRACE(describe(named));
    const FoeProblem other = oracle::random_foe(named.kind, named.problem, random);
    ExpertsLab<double> lab(named.problem), fresh(other);
    FoeProblem moved = other;
    moved.y = named.problem.y;
    ExpertsLab<double> want(moved);
    lab.energy().bind(want.parameters().initial());
    const Image x = named.problem.x_true, q = random.normal_vector(x.size());
    EXPECT_EQ(lab.gradient(x).gradient, want.gradient(x).gradient);
    EXPECT_EQ(lab.gradient(x).rounding, want.gradient(x).rounding);
    EXPECT_EQ(lab.mixed(x, q), want.mixed(x, q));
    EXPECT_EQ(lab.energy().curvature().lipschitz, want.energy().curvature().lipschitz);
    EXPECT_EQ(lab.energy().curvature().hessian_lipschitz, want.energy().curvature().hessian_lipschitz);
    EXPECT_EQ(lab.directional(x, q, {}, {0.1}, {1})[0].mixed_q,
              want.directional(x, q, {}, {0.1}, {1})[0].mixed_q);
  }
}

}  // namespace
}  // namespace bilevel
