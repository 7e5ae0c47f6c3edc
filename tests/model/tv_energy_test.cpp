#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "bilevel/core/error.hpp"
#include "tests/model/tv_lab.hpp"

namespace bilevel {
namespace {

using namespace testing_support;

class TvEnergyMisuse : public ::testing::Test {
 protected:
  Tensor<double> data(Shape shape) {
    return Tensor<double>(context_, shape, std::vector<double>(shape.count(), 0.5));
  }
  Parameters parameters(double alpha, double nu, double xi) {
    return Parameters({{"alpha", Transform::identity, alpha, 0, 1e12, true},
                       {"nu", Transform::identity, nu, -1, 1e12, true},
                       {"xi", Transform::identity, xi, 0, 1e12, false}});
  }
  Context context_{Device::open(test_device("cpu:1"))};
};

TEST_F(TvEnergyMisuse, Shapes) {
  const Parameters p = parameters(0.1, 0.1, 0.1);
  const Tensor<double> pairs = data({1, 2, 4, 4}), good = data({2, 1, 4, 5}), empty(context_, {1, 1, 0, 5});
  EXPECT_THROW(ComposedEnergy<double>(context_, pairs.view(), p), ShapeError);
  EXPECT_THROW(ComposedEnergy<double>(context_, empty.view(), p), ShapeError);
  EXPECT_THROW(ComposedEnergy<double>(context_, good.view(), p, {}, std::vector<double>(19, 1.0)),
               ShapeError);
  EXPECT_NO_THROW(ComposedEnergy<double>(context_, good.view(), p, {}, std::vector<double>(20, 1.0)));
  ComposedEnergy<double> energy(context_, good.view(), p);
  EXPECT_EQ(energy.shape(), (Shape{2, 1, 4, 5}));
  EXPECT_THROW(energy.bind(std::vector<double>{0.1}), ShapeError);
}

TEST_F(TvEnergyMisuse, Values) {
  const Tensor<double> y = data({1, 1, 3, 3});
  std::vector<double> mask(9, 1.0);
  mask[4] = 0.5;
  EXPECT_THROW(ComposedEnergy<double>(context_, y.view(), parameters(0.1, 0.1, 0.1), {}, mask), ConfigError);
  mask[4] = 0;
  EXPECT_THROW(ComposedEnergy<double>(context_, y.view(), parameters(0.1, 0.1, 0), {}, mask), ConfigError);
  EXPECT_NO_THROW(ComposedEnergy<double>(context_, y.view(), parameters(0.1, 0.1, 0)));
  EXPECT_THROW(ComposedEnergy<double>(context_, y.view(), parameters(0.1, 0, 0.1)), ConfigError);
  EXPECT_THROW(ComposedEnergy<double>(context_, y.view(), parameters(0.1, -0.5, 0.1)), ConfigError);
  // alpha 0 with xi inside alpha and a mask is not strongly convex
  const TvOptions inside{TvPotential::charbonnier, true, true};
  EXPECT_THROW(ComposedEnergy<double>(context_, y.view(), parameters(0, 0.1, 0.1), inside, mask),
               ConfigError);
  EXPECT_NO_THROW(ComposedEnergy<double>(context_, y.view(), parameters(0, 0.1, 0.1)));
  EXPECT_THROW(ComposedEnergy<double>(context_, y.view(), Parameters({{"alpha"}, {"nu"}})), ConfigError);
}

TEST_F(TvEnergyMisuse, BindRefusesValuesAndKeepsTheOldOnes) {
  const Tensor<double> y = data({1, 1, 3, 3});
  ComposedEnergy<double> energy(context_, y.view(), parameters(0.1, 0.2, 0.3));
  const double nan = std::numeric_limits<double>::quiet_NaN(),
               infinity = std::numeric_limits<double>::infinity();
  for (const std::vector<double>& theta : {std::vector<double>{nan, 0.1},
                                           {infinity, 0.1},
                                           {-0.1, 0.1},
                                           {0.1, 0},
                                           {0.1, -1},
                                           {0.1, nan},
                                           {1e300, 1e-300},
                                           {1, 1e-300}}) {
    const Curvature before = energy.curvature();
    EXPECT_THROW(energy.bind(theta), ConfigError) << theta[0] << ", " << theta[1];
    EXPECT_EQ(energy.curvature().lipschitz, before.lipschitz) << theta[0] << ", " << theta[1];
    EXPECT_EQ(energy.value("alpha"), 0.1);
    EXPECT_EQ(energy.value("nu"), 0.2);
  }
  energy.bind(std::vector<double>{0.4, 0.5});
  EXPECT_EQ(energy.value("alpha"), 0.4);
  EXPECT_EQ(energy.value("nu"), 0.5);
  EXPECT_EQ(energy.value("xi"), 0.3);
}

TEST_F(TvEnergyMisuse, FullMaskIsDenoising) {
  Random random(seed(801));
  oracle::TvModel m;
  m.height = 3;
  m.width = 4;
  const std::vector<double> y = random.normal_vector(12), x = random.normal_vector(12);
  TvLab<double> plain(m, 1, y);
  m.mask = std::vector<double>(12, 1.0);
  TvLab<double> masked(m, 1, y);
  EXPECT_EQ(plain.energy().curvature().mu, masked.energy().curvature().mu);
  EXPECT_EQ(plain.gradient(x).gradient, masked.gradient(x).gradient);
}

/// Only enqueues: no waits and, once the scratch of sums exists, no allocations.
TEST_F(TvEnergyMisuse, CallsNeitherAllocateNorWait) {
  Frame frame(context_);
  ActiveSet active(context_, frame, 2);
  const Shape shape{2, 1, 40, 40};
  const Tensor<double> y = data(shape);
  ComposedEnergy<double> energy(context_, y.view(), parameters(0.1, 0.1, 0.1));
  const auto x = frame.view<double>(shape), out = frame.view<double>(shape),
             inverse = frame.view<double>(shape);
  const auto weights = frame.view<double>({6, 1, 40, 40});
  const auto dual = frame.view<float>({4, 1, 40, 40});
  const auto sums = frame.view<double>({16, 2, 1, 1});
  const auto row = [&](int k) { return Scalars(sums.device_data() + 2 * k, {2, 1, 1, 1}); };
  fill<double>(context_, x, 0.25);
  fill<double>(context_, sums, 0.5);
  const auto all = [&] {
    energy.value_and_gradient(context_, active.active(), x, out, {row(0), row(1), row(2)});
    energy.start_dual(context_, active.active(), x, dual);
    energy.linearise(context_, active.active(), x, dual, weights, inverse);
    energy.hessian_product(context_, active.active(), weights, x, out, row(0));
    energy.update_dual(context_, active.active(), x, out, row(3), dual);
    energy.mixed_adjoint(context_, active.active(), x, out, sums);
    energy.mixed_forward(context_, active.active(), x, std::vector<double>{1, 1}, out, row(0));
    energy.directional_sums(context_, active.active(), x, out, {}, {row(14), row(15)}, sums);
  };
  all();
  const Counters before = context_.counters();
  all();
  const Counters after = context_.counters();
  EXPECT_EQ(after.launches, before.launches + 8);
  EXPECT_EQ(after.allocations, before.allocations);
  EXPECT_EQ(after.host_syncs, before.host_syncs);
  EXPECT_EQ(after.bytes_downloaded, before.bytes_downloaded);
  EXPECT_EQ(after.bytes_uploaded, before.bytes_uploaded);
}

}  // namespace
}  // namespace bilevel
