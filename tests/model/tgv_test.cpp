#include <gmock/gmock.h>

#include <cmath>

#include "bilevel/core/error.hpp"
#include "kernels/decision_args.hpp"
#include "tests/model/evaluate.hpp"
#include "tests/oracle/linear_algebra.hpp"
#include "tests/support/reference_case.hpp"
#include "tests/support/tgv_setup.hpp"
#include "tests/support/thrown.hpp"

// Total generalised variation against plain loops over the rows of its operators, the reference folder,
// Taylor's formula, and its constants and bounds on rounding against searches.

namespace bilevel {
namespace {

using namespace testing_support;
using ::testing::HasSubstr;

/// What B makes of this direction of the logarithms.
const std::map<std::string, double> along{
    {"alpha1", 0.3}, {"alpha0", -0.7}, {"nu", 0.4}, {"xi", -0.2}, {"xi_v", 0.6}};

template <class T>
class Tgv : public ::testing::Test {};
using Precisions = ::testing::Types<float, double>;
TYPED_TEST_SUITE(Tgv, Precisions);

struct Size {
  int h, w;
};

TYPED_TEST(Tgv, AgreesWithTheRowsOfItsOperators) {
  using T = TypeParam;
  Random random(seed(3101));
  const double tolerance = sizeof(T) == 4 ? 2e-5 : 1e-12;
  constexpr int n = 2;
  for (const int channels : {1, 2})
    for (const Size& size :
         {Size{1, 1}, Size{1, 9}, Size{9, 1}, Size{2, 2}, Size{5, 7}, Size{17, 131}, Size{34, 66}})
      for (oracle::TgvModel kind : tgv_models(channels, size.h, size.w, random)) {
        if (channels == 1 && random.integer(0, 1) == 1) kind.mask = random_mask(size.h, size.w, 0.6, random);
        SCOPED_TRACE(describe(kind));
        const Numbers y = representable<T>(random.normal_vector(n * kind.image())),
                      u = tgv_points<T>(kind, n, random),
                      p = representable<T>(random.normal_vector(n * kind.values()));
        TgvSetup<T> setup(kind, n, y);
        const oracle::TgvModel& m = setup.model;
        const Evaluated got = evaluate<T>(setup.context, *setup.energy, u, p, along);
        for (int i = 0; i < n; ++i) {
          const Numbers yi = image_of(y, m.image(), i), ui = image_of(u, m.values(), i),
                        pi = image_of(p, m.values(), i);
          const auto own = [&](const Numbers& batch) { return image_of(batch, m.values(), i); };
          const auto k = static_cast<std::size_t>(i);
          const Numbers gradient = oracle::gradient(m, yi, ui), product = oracle::hessian_product(m, ui, pi);
          EXPECT_LT(relative_difference(got.value[k], oracle::energy(m, yi, ui)), tolerance);
          EXPECT_LT(max_relative_difference(own(got.gradient), gradient), tolerance);
          EXPECT_LT(relative_difference(got.norm2[k], dot(gradient, gradient)), 10 * tolerance);
          EXPECT_LT(max_relative_difference(own(got.diagonal), oracle::hessian_diagonal(m, ui)), tolerance);
          EXPECT_LT(max_relative_difference(own(got.product), product), tolerance);
          EXPECT_LT(std::abs(got.inner[k] - dot(product, pi)), 10 * tolerance * norm(product) * norm(pi));
          EXPECT_LT(max_relative_difference(own(got.dual_product), product), 1e-5);
          const std::vector<Numbers> columns = oracle::mixed_columns(m, ui);
          Numbers forward(m.values(), 0);
          for (std::size_t j = 0; j < 5; ++j) {
            const double slope = tgv_value(m, j);  // of a logarithm
            forward = add_scaled(forward, slope * along.at(tgv_names[j]), columns[j]);
            if (i == 0) {
              EXPECT_LT(std::abs(got.mixed.at(tgv_names[j])[0] - slope * dot(columns[j], pi)),
                        10 * tolerance * slope * (norm(columns[j]) + 1e-3) * norm(pi))
                  << tgv_names[j];
            }
          }
          EXPECT_LT(max_relative_difference(own(got.forward), forward), tolerance);
          EXPECT_LT(relative_difference(got.forward2[k], dot(forward, forward)), 10 * tolerance);
        }
      }
}

/// The field after a step: the projection of w (z + t Kd) - w1/w <z, t Kd> zeta to the unit ball.
TEST(TgvDual, FollowsTheFormula) {
  Random random(seed(3102));
  constexpr int n = 2;
  for (const int channels : {1, 2})
    for (const oracle::TgvModel& kind : tgv_models(channels, 6, 9, random)) {
      SCOPED_TRACE(describe(kind));
      const Numbers y = random.normal_vector(n * kind.image()), u = tgv_points<double>(kind, n, random),
                    d = random.normal_vector(n * kind.values());
      TgvSetup<double> setup(kind, n, y);
      const oracle::TgvModel& m = setup.model;
      const Shape s = setup.shape();
      Frame frame(setup.context);
      const ActiveSet all(setup.context, frame, n);
      const Tensor<double> at(setup.context, s, u), step(setup.context, s, d);
      Tensor<double> lengths(setup.context, {n, 1, 1, 1}, std::vector<double>{0.7, 0.2});
      Tensor<float> dual(setup.context, {n * setup.energy->dual_arrays(), s.c, s.h, s.w});
      setup.energy->start_dual(setup.context, all.active(), at.view(), dual.view());
      const auto field = [&] { return download(setup.context, dual); };
      const std::vector<float> first = field();
      setup.energy->update_dual(setup.context, all.active(), at.view(), step.view(), lengths.view(),
                                dual.view());
      const std::vector<float> second = field();
      const std::vector<oracle::TgvModulus> moduli = oracle::tgv_moduli(m);
      for (std::size_t i = 0; i < n; ++i) {
        const Numbers ui = image_of(u, m.values(), static_cast<int>(i)),
                      di = image_of(d, m.values(), static_cast<int>(i));
        for (std::size_t k = 0; k < moduli.size(); ++k) {
          const auto& [group, rows] = moduli[k];
          const std::size_t pixel = k / 2, directions = group == 0 ? 2 : 3,
                            c = static_cast<std::size_t>(channels);
          Numbers z, kd;
          for (const oracle::TgvRow& row : rows) {
            double a = 0, b = 0;
            for (const auto& [e, f] : row) a += f * ui[e], b += f * di[e];
            z.push_back(a), kd.push_back((i == 0 ? 0.7 : 0.2) * b);
          }
          const double r = norm(z);
          const bool huber = m.potential == oracle::Potential::huber_c2;
          const double w = !huber ? 1 / std::hypot(r, m.nu) : r <= m.nu ? 2 / m.nu - r / m.nu / m.nu : 1 / r;
          const double w1 = !huber ? w * w * w : r <= m.nu ? 1 / (r * m.nu * m.nu) : 1 / (r * r * r);
          Numbers moved;
          for (std::size_t j = 0; j < z.size(); ++j)
            moved.push_back(w * (z[j] + kd[j]) - w1 / w * dot(z, kd) * w * z[j]);
          const double scale = 1 / std::max(1.0, norm(moved));
          for (std::size_t j = 0; j < z.size(); ++j) {
            // row j of a modulus is direction j % directions of channel j / directions
            const std::size_t plane = (group == 0 ? 0 : 2 * c) + (j % directions) * c + j / directions;
            const std::size_t place =
                ((plane / (3 * c) * n + i) * 3 * c + plane % (3 * c)) * m.pixels() + pixel;
            ASSERT_NEAR(first[place], w * z[j], 1e-6) << "modulus " << k << ", component " << j;
            ASSERT_NEAR(second[place], scale * moved[j], 2e-6) << "modulus " << k << ", component " << j;
          }
        }
      }
    }
}

TEST(TgvReferenceCases, ValueGradientHessianAndMixedProducts) {
  if (!shared_folder()) GTEST_SKIP() << "The shared folder is absent; set BILEVEL_SHARED to run this test.";
  const std::vector<std::string> names = reference_names("tgv2_");
  ASSERT_GE(names.size(), 2U);
  for (const std::string& name : names) {
    SCOPED_TRACE(name);
    const ReferenceCase data = read_reference(name);
    std::vector<Segment> segments;
    for (const std::string& learned : data.scalar_layout) {
      ASSERT_EQ(learned.substr(0, 4), "log_");
      segments.push_back(
          {learned.substr(4), Transform::exp, data.parameter(learned.substr(4)), 1e-12, 1e6, true});
    }
    for (const auto& [fixed, value] : data.fixed)
      segments.push_back({fixed, Transform::identity, value, 0, 1e6, false});
    Context context(Device::open(test_device("cpu:2")));
    const Tensor<double> y(context, {data.N, 1, data.H, data.W}, data.y);
    ComposedEnergy<double> energy(context, y.view(), Parameters(segments), TgvOptions{});
    energy.bind(data.theta);
    std::map<std::string, double> direction;
    for (std::size_t j = 0; j < data.dtheta.size(); ++j) direction[segments[j].name] = data.dtheta[j];
    const Evaluated at = evaluate<double>(context, energy, data.x0, data.v, direction);
    EXPECT_LT(max_relative_difference(at.value, data.phi_x0), 1e-12);
    EXPECT_LT(max_relative_difference(at.gradient, data.grad_x0), 1e-12);
    EXPECT_LT(max_relative_difference(at.product, data.hvp_x0_v), 1e-12);
    EXPECT_LT(max_relative_difference(at.forward, data.jd_x0_dtheta), 1e-12);
    for (std::size_t j = 0; j < data.theta.size(); ++j)
      EXPECT_LT(std::abs(at.mixed.at(segments[j].name)[0] - data.jtv_x0_v[j]), 1e-12 * norm(data.jtv_x0_v));
    const Evaluated best = evaluate<double>(context, energy, data.xhat, data.v, direction);
    EXPECT_LT(max_relative_difference(best.value, data.phi_xhat), 1e-12);
    const Curvature c = energy.curvature();
    for (std::size_t i = 0; i < static_cast<std::size_t>(data.N); ++i) {
      EXPECT_LT(std::sqrt(best.norm2[i]), 1e-11);
      EXPECT_LE(c.mu, data.hessian_min_eig[i]);
      EXPECT_GE(c.lipschitz, data.hessian_max_eig[i]);
    }
  }
}

TEST(TgvDerivatives, TaylorSlopes) {
  Random random(seed(3103));
  RatioRecorder first("Taylor slope with the gradient, tgv2"), second("Taylor slope with the Hessian, tgv2");
  for (const int channels : {1, 2})
    for (const Size& size : {Size{6, 7}, Size{1, 20}}) {
      const oracle::TgvModel m = tgv_models(channels, size.h, size.w, random)[0];
      SCOPED_TRACE(describe(m));
      const Numbers y = random.normal_vector(m.image()), u = random.normal_vector(m.values()),
                    d = scaled_to(random.normal_vector(m.values()), 1);
      TgvSetup<double> setup(m, 1, y);
      const auto at = [&](double t) {
        return evaluate<double>(setup.context, *setup.energy, add_scaled(u, t, d), d, along);
      };
      const Evaluated start = at(0);
      const double slope = dot(start.gradient, d);
      first.add(taylor_slope([&](double t) { return std::abs(at(t).value[0] - start.value[0] - t * slope); },
                             1e-1, 1e-4));
      second.add(taylor_slope(
          [&](double t) {
            const Numbers change = add_scaled(at(t).gradient, -1, start.gradient);
            return distance(change, add_scaled(Numbers(d.size(), 0), t, start.product));
          },
          1e-2, 1e-5));
    }
  EXPECT_GT(first.minimum(), 1.9);
  EXPECT_LT(first.maximum(), 2.1);
  EXPECT_GT(second.minimum(), 1.9);
  EXPECT_LT(second.maximum(), 2.1);
}

TYPED_TEST(Tgv, MixedProductsAreAdjointAndTheHessianSymmetric) {
  using T = TypeParam;
  Random random(seed(3104));
  RatioRecorder gap("adjoint gap of B / (u |terms|), tgv2"), symmetry("asymmetry of A / (u L |p||q|), tgv2");
  for (const int channels : {1, 2})
    for (const oracle::TgvModel& m : tgv_models(channels, 17, 130, random, 1e-3, 1)) {
      SCOPED_TRACE(describe(m));
      const Numbers y = representable<T>(random.normal_vector(m.image())), u = tgv_points<T>(m, 1, random),
                    p = representable<T>(random.normal_vector(m.values())),
                    q = representable<T>(random.normal_vector(m.values()));
      TgvSetup<T> setup(m, 1, y);
      const Evaluated a = evaluate<T>(setup.context, *setup.energy, u, p, along),
                      b = evaluate<T>(setup.context, *setup.energy, u, q, along);
      double right = 0;
      for (const auto& [name, direction] : along) right += direction * b.mixed.at(name)[0];
      const double terms =
          ((m.alpha1 + m.alpha0) * 4 * std::sqrt(3.0 * static_cast<double>(m.image())) + norm(u)) * norm(q);
      const double u_t = unit_roundoff<T>, l = setup.energy->curvature().lipschitz;
      gap.add(std::abs(dot(a.forward, q) - right) / (u_t * terms));
      symmetry.add(std::abs(dot(a.product, q) - dot(b.product, p)) / (u_t * l * norm(p) * norm(q)));
    }
  EXPECT_LT(gap.maximum(), 30);
  EXPECT_LT(symmetry.maximum(), 16);
}

/// Matrix of a Hessian by the oracle.
oracle::Matrix matrix_of(const oracle::TgvModel& m, const Numbers& u) {
  const auto size = static_cast<int>(m.values());
  oracle::Matrix out(size, size);
  for (int j = 0; j < size; ++j) {
    Numbers unit(m.values(), 0);
    unit[static_cast<std::size_t>(j)] = 1;
    const Numbers column = oracle::hessian_product(m, u, unit);
    for (int i = 0; i < size; ++i) out(i, j) = column[static_cast<std::size_t>(i)];
  }
  return out;
}
double largest(const oracle::Matrix& a, Numbers& v, int turns) {
  double size = 0;
  for (int k = 0; k < turns; ++k) {
    const Numbers next = oracle::multiply(a, v);
    size = norm(next) / norm(v);
    if (!(size > 0)) return 0;
    v = scaled_to(next, 1);
  }
  return size;
}
oracle::Matrix less(oracle::Matrix a, const oracle::Matrix& b, double shift = 0) {
  for (std::size_t k = 0; k < a.entries.size(); ++k) a.entries[k] -= b.entries[k];
  for (int i = 0; i < a.rows; ++i) a(i, i) += shift;
  return a;
}

/// At points whose differences are of the size of nu, between near points, with both ends of the spectrum.
TEST(TgvConstants, BoundWhatASearchFinds) {
  Random random(seed(3105));
  RatioRecorder mu("lambda_min/mu"), lipschitz("L/lambda_max"), hessian("L_H/measured"),
      mixed("L_B/measured");
  for (const int channels : {1, 2})
    for (const Size& size : {Size{4, 5}, Size{1, 8}, Size{3, 1}})
      for (oracle::TgvModel m : tgv_models(channels, size.h, size.w, random)) {
        if (channels == 1 && random.integer(0, 1) == 1) m.mask = random_mask(size.h, size.w, 0.6, random);
        SCOPED_TRACE(describe(m));
        TgvSetup<double> setup(m, 1, Numbers(m.image(), 0));
        const Curvature c = setup.energy->curvature();
        Numbers top = random.normal_vector(m.values());
        const oracle::Matrix flat = matrix_of(setup.model, Numbers(m.values(), 0));
        const double l = largest(flat, top, 200);
        EXPECT_LE(l, c.lipschitz);
        lipschitz.add(c.lipschitz / l);
        const oracle::Matrix none(flat.rows, flat.cols);
        for (int round = 0; round < 6; ++round) {
          Numbers u = random.normal_vector(m.values());
          const double scale = m.nu * random.log_uniform(0.1, 3);
          for (double& e : u) e *= scale;
          const oracle::Matrix a = matrix_of(setup.model, u);
          Numbers v = random.normal_vector(m.values());
          const double least = c.lipschitz - largest(less(none, a, c.lipschitz), v, 200);
          EXPECT_GE(least, c.mu * (1 - 1e-9));
          mu.add(least / c.mu);
          double best = 0;
          for (int turn = 0; turn < 10; ++turn) {  // the direction in which the Hessian changes most
            const Numbers e = scaled_to(random.normal_vector(m.values()), 1e-3 * m.nu);
            const oracle::Matrix change = less(matrix_of(setup.model, add_scaled(u, 1, e)), a);
            best = std::max(best, largest(change, v, 40) / norm(e));
            const std::vector<Numbers> from = oracle::mixed_columns(setup.model, u),
                                       to = oracle::mixed_columns(setup.model, add_scaled(u, 1, e));
            for (std::size_t j = 0; j < 5; ++j) {
              const double own = tgv_value(setup.model, j) * distance(from[j], to[j]) / norm(e);
              EXPECT_LE(own, c.mixed_lipschitz[j] * (1 + 1e-8)) << tgv_names[j];
              mixed.add(c.mixed_lipschitz[j] / own);
            }
          }
          EXPECT_LE(best, c.hessian_lipschitz * (1 + 1e-6));
          hessian.add(c.hessian_lipschitz / best);
        }
      }
}

/// What single precision does to gradients and products, against double precision at the same point.
TEST(TgvRounding, IsBounded) {
  Random random(seed(3106));
  RatioRecorder gradients("error of the gradient/rounding bound, tgv2"),
      products("|A q error| / bound, tgv2");
  for (const int channels : {1, 2})
    for (const Size& size : {Size{5, 6}, Size{1, 9}, Size{19, 33}})
      for (oracle::TgvModel m : tgv_models(channels, size.h, size.w, random, 1e-4, 1))
        for (const double jump : {1e-3, 1.0, 300.0}) {
          m.alpha1 = random.log_uniform(1e-4, 1e2);
          m.alpha0 = random.log_uniform(1e-4, 1e2);
          SCOPED_TRACE(describe(m) + ", jump " + std::to_string(jump));
          const Numbers y = representable<float>(random.normal_vector(m.image()));
          TgvSetup<float> narrow(m, 1, y);
          TgvSetup<double> wide(m, 1, y);
          Numbers u = tgv_points<float>(m, 1, random);
          for (double& e : u) e *= jump;
          u = representable<float>(std::move(u));
          const Numbers q = representable<float>(random.normal_vector(m.values()));
          const Evaluated low = evaluate<float>(narrow.context, *narrow.energy, u, q, along),
                          high = evaluate<double>(wide.context, *wide.energy, u, q, along);
          const double error = distance(low.gradient, high.gradient);
          EXPECT_LE(error, low.rounding[0]);
          gradients.add(error / low.rounding[0]);
          // weights at the point as single precision sees it change by l_2 u reading |u| more
          const Curvature c = wide.energy->curvature();
          const double unit = unit_roundoff<float>;
          const double seen = c.hessian_lipschitz * unit * 8 * norm(u);
          const double most =
              (kernels::product_roundings * unit * c.product_scale() + std::min(seen, c.lipschitz)) * norm(q);
          const double off = distance(low.product, high.product);
          EXPECT_LE(off, most);
          products.add(off / most);
        }
}

TEST(TgvMisuse, IsRefused) {
  Context context(Device::open(test_device("cpu:1")));
  const Tensor<double> y(context, {1, 1, 4, 5}, Numbers(20, 0.5));
  using Energy = ComposedEnergy<double>;
  const auto refusal = [&](const Parameters& p, const RegulariserSum& sum) {
    return message_of<ConfigError>([&] { Energy(context, y.view(), p, sum); });
  };
  EXPECT_THAT(refusal(joined_parameters({tgv_parameters(), tv_parameters()}),
                      RegulariserSum(std::vector<RegulariserOptions>{TgvOptions{}, TvOptions{}})),
              HasSubstr("stands alone"));
  EXPECT_THAT(refusal(joined_parameters({tv_parameters(), tgv_parameters()}),
                      RegulariserSum(std::vector<RegulariserOptions>{TvOptions{}, TgvOptions{}})),
              HasSubstr("stands alone"));
  EXPECT_THAT(refusal(tgv_parameters(), TgvOptions{TvPotential::quadratic}),
              HasSubstr("charbonnier or huber_c2"));
  std::vector<Segment> flat = tgv_parameters().segments();
  flat[4] = {"xi_v", Transform::identity, 0, 0, 1, false};
  EXPECT_THAT(refusal(Parameters(flat), TgvOptions{}), HasSubstr("strongly convex"));
  EXPECT_THAT(refusal(tv_parameters(), TgvOptions{}), HasSubstr("alpha1"));
  Energy energy(context, y.view(), tgv_parameters(), TgvOptions{});
  EXPECT_EQ(energy.shape(), (Shape{1, 3, 4, 5}));
  EXPECT_EQ(energy.proximal(), nullptr);
  EXPECT_EQ(energy.ridge(), 1e-3);
}

}  // namespace
}  // namespace bilevel
