#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "bilevel/core/error.hpp"
#include "bilevel/model/composed_energy.hpp"
#include "tests/model/experts_lab.hpp"

// First parameters of a field of experts, and what the model refuses.

namespace bilevel {
namespace {

using namespace testing_support;
using oracle::Image;

std::vector<Image> filters_of(const Parameters& parameters) {
  const std::vector<double> all = parameters.values("filters", parameters.initial());
  for (const Segment& s : parameters.segments())
    if (s.name == "filters") {
      std::vector<Image> filters;
      const auto taps = static_cast<std::size_t>(s.shape[1]) * static_cast<std::size_t>(s.shape[2]);
      for (int k = 0; k < s.shape[0]; ++k) filters.push_back(image_of(all, taps, k));
      return filters;
    }
  return {};
}

double sum_of(const Image& filter) {
  double sum = 0;
  for (const double tap : filter) sum += tap;
  return sum;
}

TEST(ExpertsParameters, FiltersAreCentredAndOfUnitNorm) {
  for (const int size : {3, 5, 7, 9, 11})
    for (const FilterInit init : {FilterInit::dct, FilterInit::random, FilterInit::tv}) {
      const int count = std::min(64, size * size - 1);
      const Parameters p = experts_parameters(count, size, init, 0.05, 0.02, 7);
      const std::vector<Image> filters = filters_of(p);
      ASSERT_EQ(filters.size(), static_cast<std::size_t>(count));
      EXPECT_EQ(p.size(), static_cast<std::size_t>(count) * (2 + size * size));
      EXPECT_EQ(p.entry("mu"), -1);
      EXPECT_EQ(p.value("mu", p.initial()), 1e-3);
      for (std::size_t k = 0; k < filters.size(); ++k) {
        const bool difference = init == FilterInit::tv && k < 2;
        EXPECT_NEAR(sum_of(filters[k]), 0, 1e-14) << k;
        EXPECT_NEAR(norm(filters[k]), difference ? std::sqrt(2) : 1, 1e-14) << k;
      }
      const auto weight = p.values("weight", p.initial()), smoothing = p.values("smoothing", p.initial());
      for (std::size_t k = 0; k < filters.size(); ++k) {
        const bool off = init == FilterInit::tv && k >= 2;
        EXPECT_LT(relative_difference(weight[k], off ? 3e-4 : 0.05), 1e-14);
        EXPECT_LT(relative_difference(smoothing[k], off ? 0.01 : 0.02), 1e-14);
      }
    }
}

TEST(ExpertsParameters, CosineFiltersAreOrthogonalFromLowToHighFrequencies) {
  for (const int size : {3, 7}) {
    const std::vector<Image> filters =
        filters_of(experts_parameters(std::min(64, size * size - 1), size, FilterInit::dct, 0.1, 0.1));
    for (std::size_t k = 0; k < filters.size(); ++k)
      for (std::size_t l = 0; l < k; ++l)
        EXPECT_NEAR(dot(filters[k], filters[l]), 0, 1e-13) << k << ", " << l;
    // the first two change along one axis only, once in sign
    const auto n = static_cast<std::size_t>(size);
    for (std::size_t i = 0; i < n; ++i)
      for (std::size_t j = 0; j < n; ++j) {
        EXPECT_NEAR(filters[0][i * n + j], filters[1][j * n + i], 1e-14);
        EXPECT_NEAR(filters[0][i * n + j], filters[0][j], 1e-14);
        if (j > 0) {
          EXPECT_LT(filters[0][j], filters[0][j - 1]);
        }
      }
  }
}

TEST(ExpertsParameters, SeedsAreReproducible) {
  const auto theta = [](FilterInit init, std::uint64_t from) {
    return experts_parameters(12, 3, init, 0.1, 0.1, from).initial();
  };
  for (const FilterInit init : {FilterInit::random, FilterInit::dct, FilterInit::tv}) {
    EXPECT_EQ(theta(init, 3), theta(init, 3));
    // eight cosines of size 3: further filters are random
    EXPECT_NE(theta(init, 3), theta(init, 4));
  }
  const std::vector<Image> filters = filters_of(experts_parameters(40, 5, FilterInit::random, 1, 1, 5));
  double squares = 0, fourth = 0;  // of taps of unit variance: 3 if they are normal
  for (const Image& f : filters)
    for (const double tap : f) {
      squares += tap * tap * 25 / 1000;
      fourth += std::pow(tap * 5, 4) / 1000;
    }
  EXPECT_NEAR(squares, 1, 1e-12);
  EXPECT_NEAR(fourth, 3, 0.5);
}

TEST(ExpertsParameters, RefusesNumbersAndSizes) {
  for (const int filters : {-1, 0, 65})
    EXPECT_THROW(experts_parameters(filters, 3, FilterInit::dct, 0.1, 0.1), ConfigError);
  for (const int size : {-3, 0, 1, 2, 4, 6, 12, 13})
    EXPECT_THROW(experts_parameters(4, size, FilterInit::dct, 0.1, 0.1), ConfigError);
  EXPECT_THROW(experts_parameters(4, 3, FilterInit::dct, -0.1, 0.1), ConfigError);
  EXPECT_THROW(experts_parameters(4, 3, FilterInit::dct, 0.1, 0), ConfigError);
}

/// Two differences, b = alpha: anisotropic total variation with the ridge mu.
TEST(ExpertsParameters, DifferencesAreTotalVariation) {
  Random random(seed(1201));
  for (const TvPotential potential : {TvPotential::charbonnier, TvPotential::huber_c2})
    for (const int size : {3, 7}) {
      const Shape shape{2, 1, 9, 12};
      Context context(Device::open(test_device("cpu:1")));
      const Image data = random.normal_vector(shape.count()), at = random.normal_vector(shape.count());
      const Tensor<double> y(context, shape, data), x(context, shape, at);
      const Parameters parameters = experts_parameters(2, size, FilterInit::tv, 0.07, 0.3);
      ComposedEnergy<double> experts(context, y.view(), parameters,
                                     ExpertsOptions{FilterPadding::symmetric, potential, true});
      ComposedEnergy<double> tv(context, y.view(),
                                Parameters({{"alpha", Transform::exp, 0.07, 1e-9, 1, true},
                                            {"nu", Transform::exp, 0.3, 1e-9, 1, true},
                                            {"xi", Transform::identity, 1e-3, 0, 1, false}}),
                                TvOptions{potential, false, false});
      Frame frame(context);
      ActiveSet active(context, frame, shape.n);
      const auto value_and_gradient = [&](const Energy<double>& energy) {
        const View<double> gradient = frame.view<double>(shape), sums = frame.view<double>({3, 2, 1, 1});
        const auto row = [&](int k) { return Scalars(sums.device_data() + 2 * k, {2, 1, 1, 1}); };
        energy.value_and_gradient(context, active.active(), x.view(), gradient, {row(0), row(1), row(2)});
        std::vector<double> out = download<double>(context, gradient),
                            values = download<double>(context, sums);
        return std::pair(out, std::vector<double>(values.begin(), values.begin() + 4));
      };
      const auto [own, own_sums] = value_and_gradient(experts);
      const auto [want, want_sums] = value_and_gradient(tv);
      EXPECT_LT(max_relative_difference(own, want), 1e-14);
      EXPECT_LT(max_relative_difference(own_sums, want_sums), 1e-14);
      // the norm of the differences is known for total variation, and bounded from the symbols here
      EXPECT_GE(experts.curvature().lipschitz, (1 - 1e-3) * tv.curvature().lipschitz);
      EXPECT_LE(experts.curvature().lipschitz, 2.1 * tv.curvature().lipschitz);
    }
}

class ExpertsMisuse : public ::testing::Test {
 protected:
  Tensor<double> data(Shape shape) {
    return Tensor<double>(context_, shape, std::vector<double>(shape.count(), 0.5));
  }
  Segment array(const char* name, std::vector<int> shape, double value, bool learned = true) {
    Segment s{name, Transform::identity, 1, -1e300, 1e300, learned};
    std::size_t size = 1;
    for (const int n : shape) size *= static_cast<std::size_t>(n);
    s.shape = std::move(shape);
    s.values.assign(size, value);
    return s;
  }
  Segment ridge(double mu = 0.1) { return {"mu", Transform::identity, mu, -10, 1e300, false}; }
  Parameters parameters(int count, int size, double b = 0.1, double nu = 0.1, double tap = 0.1) {
    return Parameters({array("weight", {count}, b), array("smoothing", {count}, nu),
                       array("filters", {count, size, size}, tap), ridge()});
  }
  template <class Error>
  void expect_refusal(const Tensor<double>& y, const Parameters& p, const std::string& words,
                      const ExpertsOptions& options = {}) {
    try {
      ComposedEnergy<double> energy(context_, y.view(), p, options);
      ADD_FAILURE() << "accepted; expected: " << words;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(words), std::string::npos) << error.what();
    }
  }
  Context context_{Device::open(test_device("cpu:1"))};
};

TEST_F(ExpertsMisuse, Shapes) {
  const Parameters p = parameters(2, 7);
  const ExpertsOptions valid{FilterPadding::valid, TvPotential::charbonnier, true};
  expect_refusal<ShapeError>(data({1, 2, 9, 9}), p, "[N,1,H,W]");
  expect_refusal<ConfigError>(data({1, 3, 9, 9}), p, "one channel after the other");
  expect_refusal<ShapeError>(Tensor<double>(context_, {1, 1, 0, 9}), p, "[N,1,H,W]");
  expect_refusal<ShapeError>(data({1, 1, 2, 9}), p, "too small for filters of size 7 with symmetric");
  expect_refusal<ShapeError>(data({1, 1, 9, 6}), p, "too small for filters of size 7 with valid", valid);
  for (const Shape& shape : {Shape{1, 1, 3, 3}, Shape{2, 1, 3, 9}, Shape{1, 1, 7, 7}})
    EXPECT_NO_THROW(ComposedEnergy<double>(context_, data(shape).view(), p, ExpertsOptions{})) << shape.str();
  const Tensor<double> y = data({2, 1, 7, 8});
  ComposedEnergy<double> energy(context_, y.view(), p, valid);
  EXPECT_EQ(energy.shape(), (Shape{2, 1, 7, 8}));
  EXPECT_EQ(energy.weight_arrays(), 2);
  EXPECT_EQ(energy.parameters(), 2 * 51U);
  EXPECT_THROW(energy.bind(std::vector<double>(101, 0.1)), ShapeError);
}

TEST_F(ExpertsMisuse, ParametersThatDoNotFit) {
  const Tensor<double> y = data({1, 1, 12, 12});
  const Segment w = array("weight", {2}, 0.1), s = array("smoothing", {2}, 0.1),
                f = array("filters", {2, 3, 3}, 0.1);
  expect_refusal<ConfigError>(y, Parameters({s, f, ridge()}), "'weight'");
  expect_refusal<ConfigError>(y, Parameters({w, f, ridge()}), "'smoothing'");
  expect_refusal<ConfigError>(y, Parameters({w, s, ridge()}), "'filters'");
  expect_refusal<ConfigError>(y, Parameters({w, s, f}), "'mu'");
  expect_refusal<ConfigError>(y, Parameters({array("weight", {3}, 0.1), s, f, ridge()}),
                              "filters [K,size,size]");
  expect_refusal<ConfigError>(y, Parameters({w, array("smoothing", {1}, 1), f, ridge()}),
                              "filters [K,size,size]");
  expect_refusal<ConfigError>(y, Parameters({w, s, array("filters", {2, 3, 5}, 0.1), ridge()}),
                              "filters [K,size,size]");
  expect_refusal<ConfigError>(y, Parameters({w, s, array("filters", {2, 9}, 0.1), ridge()}),
                              "filters [K,size,size]");
  expect_refusal<ConfigError>(y,
                              Parameters({{"weight", Transform::identity, 0.1, 0, 1, true}, s, f, ridge()}),
                              "filters [K,size,size]");
  Segment learned_ridge = ridge();
  learned_ridge.learned = true;
  expect_refusal<ConfigError>(y, Parameters({w, s, f, learned_ridge}), "mu");
  expect_refusal<ConfigError>(y, Parameters({w, s, f, array("mu", {2}, 0.1, false)}), "mu");
  expect_refusal<ConfigError>(y, parameters(65, 3), "65 filters");
  for (const int size : {1, 2, 4, 10, 13})
    expect_refusal<ConfigError>(y, parameters(2, size), "filters of size " + std::to_string(size));
}

TEST_F(ExpertsMisuse, Values) {
  const Tensor<double> y = data({1, 1, 5, 5});
  const double nan = std::numeric_limits<double>::quiet_NaN();
  expect_refusal<ConfigError>(y, parameters(1, 3, 0), "'weight'");
  expect_refusal<ConfigError>(y, parameters(1, 3, -1), "'weight'");
  expect_refusal<ConfigError>(y, parameters(1, 3, 1, 0), "'smoothing'");
  expect_refusal<ConfigError>(y, parameters(1, 3, 1, -1), "'smoothing'");
  expect_refusal<ConfigError>(y,
                              Parameters({array("weight", {1}, 1), array("smoothing", {1}, 1),
                                          array("filters", {1, 3, 3}, 1), ridge(-1)}),
                              "'mu'");
  EXPECT_NO_THROW(ComposedEnergy<double>(context_, y.view(), parameters(1, 3, 1, 1, 0), ExpertsOptions{}));
  // bind() keeps the old values when it refuses
  ComposedEnergy<double> energy(context_, y.view(), parameters(1, 3), ExpertsOptions{});
  const Curvature before = energy.curvature();
  const auto theta = [](double b, double nu, double tap) {
    std::vector<double> t = {b, nu};
    t.resize(11, tap);
    return t;
  };
  for (const std::vector<double>& t :
       {theta(0, 1, 1), theta(-1, 1, 1), theta(nan, 1, 1), theta(1, 0, 1), theta(1, nan, 1), theta(1, 1, nan),
        theta(1, 1, HUGE_VAL), theta(1e300, 1e-300, 1)}) {
    EXPECT_THROW(energy.bind(t), ConfigError) << t[0] << ", " << t[1] << ", " << t[2];
    EXPECT_EQ(energy.curvature().lipschitz, before.lipschitz);
    EXPECT_EQ(energy.curvature().mixed_lipschitz, before.mixed_lipschitz);
  }
}

/// Only enqueues: no waits and, once scratch exists, no allocations.
TEST_F(ExpertsMisuse, CallsNeitherAllocateNorWait) {
  Random random(seed(1202));
  FoeProblem m = oracle::random_foe(oracle::FoeKind::generic, foe_shape(2, 20, 21, 3, 5), random);
  ExpertsLab<double> lab(m);
  ComposedEnergy<double>& energy = lab.energy();
  Context& context = lab.context();
  Frame frame(context);
  const auto x = frame.view<double>(lab.shape()), out = frame.view<double>(lab.shape()),
             inverse = frame.view<double>(lab.shape());
  const auto maps = frame.view<double>({2 * energy.weight_arrays(), 1, 20, 21});
  const auto dual = frame.view<float>({2 * energy.dual_arrays(), 1, 20, 21});
  const auto sums = frame.view<double>({energy.mixed_sums() + energy.bound_sums(), 2, 1, 1});
  const auto row = [&](int k) { return Scalars(sums.device_data() + 2 * k, {2, 1, 1, 1}); };
  fill<double>(context, x, 0.25);
  fill<double>(context, sums, 0.5);
  const std::vector<double> d(energy.parameters(), 1);
  const View<double> two = frame.view<double>({2, 1, 1, 1});
  fill<double>(context, two, 0.5);
  const auto all = [&] {
    energy.value_and_gradient(context, lab.active(), x, out, {row(0), row(1), row(2)});
    energy.start_dual(context, lab.active(), x, dual);
    energy.linearise(context, lab.active(), x, dual, maps, inverse);
    energy.hessian_product(context, lab.active(), maps, x, out, row(0));
    energy.update_dual(context, lab.active(), x, out, two, dual);
    energy.mixed_adjoint(context, lab.active(), x, out, sums);
    energy.mixed_forward(context, lab.active(), x, d, out, row(0));
    energy.directional_sums(context, lab.active(), x, out, {}, {two, two}, sums);
  };
  all();
  const Counters before = context.counters();
  all();
  const Counters after = context.counters();
  EXPECT_EQ(after.allocations, before.allocations);
  EXPECT_EQ(after.host_syncs, before.host_syncs);
  EXPECT_EQ(after.bytes_downloaded, before.bytes_downloaded);
}

}  // namespace
}  // namespace bilevel
