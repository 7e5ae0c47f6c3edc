#include "bilevel/model/catalogue.hpp"

#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "bilevel/core/error.hpp"
#include "bilevel/model/composed_energy.hpp"
#include "bilevel/model/model_file.hpp"
#include "bilevel/model/unknown.hpp"
#include "bilevel/solve/minimiser.hpp"
#include "tests/support/batches.hpp"
#include "tests/support/numeric.hpp"
#include "tests/support/random.hpp"
#include "tests/support/test_device.hpp"
#include "tests/support/thrown.hpp"

namespace bilevel {
namespace {

using namespace testing_support;
using ::testing::HasSubstr;

TEST(Catalogue, NamesAndOptionsBelongTogether) {
  std::set<std::string> names;
  for (const CatalogueEntry& e : regulariser_catalogue()) {
    SCOPED_TRACE(e.name);
    EXPECT_TRUE(names.insert(e.name).second);
    for (const TvPotential rho : {TvPotential::charbonnier, TvPotential::huber_c2}) {
      RegulariserOptions options = regulariser_options(e.name, rho);
      if (auto* tv = std::get_if<TvOptions>(&options)) tv->xi_inside_alpha = true;
      EXPECT_STREQ(regulariser_name(options), e.name);
      EXPECT_EQ(model_type(RegulariserSum({options})), std::string(e.name));
      const RegulariserSetting potential = regulariser_settings(options).front();
      EXPECT_STREQ(potential.key, "potential");
      EXPECT_EQ(option_text(potential.get(options)), e.smoothed() ? potential_name(rho) : "quadratic");
      const std::vector<Segment> segments = regulariser_parameters(options).segments();
      const bool smoothing = std::any_of(segments.begin(), segments.end(), [](const Segment& s) {
        return s.name == "nu" || s.name == "smoothing";
      });
      EXPECT_EQ(smoothing, e.smoothed());
    }
    EXPECT_THAT(regulariser_names(), HasSubstr(e.name));
  }
  EXPECT_THAT(
      message_of<ConfigError>([] { (void)regulariser_options("lasso"); }),
      HasSubstr("'lasso' is unknown; known are tv, tv-aniso, tv2, h1, tikhonov, dtv, tgv2, wavelet and foe"));
}

/// What a setting is set to is found again, and settings of the name are what the name says.
TEST(Catalogue, SettingsAreKept) {
  for (const CatalogueEntry& e : regulariser_catalogue()) {
    RegulariserOptions options = e.options;
    std::set<std::string> keys;
    for (const RegulariserSetting& s : regulariser_settings(options)) {
      SCOPED_TRACE(std::string(e.name) + ", " + s.key);
      EXPECT_TRUE(keys.insert(s.key).second);
      std::vector<OptionValue> values(s.known.begin(), s.known.end());
      if (std::holds_alternative<bool>(s.get(options))) values = {true, false};
      if (std::holds_alternative<std::int64_t>(s.get(options))) values = {std::int64_t{1}, std::int64_t{5}};
      if (std::holds_alternative<double>(s.get(options))) values = {1e-3, 2.0};
      ASSERT_FALSE(values.empty());
      if (s.scope == RegulariserSetting::Scope::name) continue;
      for (const OptionValue& value : values) {
        s.set(options, value);
        EXPECT_EQ(s.get(options), value);
        EXPECT_STREQ(regulariser_name(options), e.name);
      }
    }
  }
}

TEST(Catalogue, NamesOfSums) {
  using Names = std::vector<std::string>;
  EXPECT_EQ(regulariser_parts("tv"), Names{"tv"});
  EXPECT_EQ(regulariser_parts("tv+foe+tv2+tv"), (Names{"tv", "foe", "tv2", "tv"}));
  EXPECT_EQ(model_type(RegulariserSum({TvOptions{}, ExpertsOptions{}})), "tv+foe");
  EXPECT_EQ(model_type(RegulariserSum({WaveletSparsity{}, TvOptions{}})), "wavelet+tv");
  EXPECT_EQ(regulariser_parts("wavelet+wavelet").size(), 2U);
  const auto refused = [](const std::string& name) {
    return message_of<ConfigError>([&] { (void)regulariser_parts(name); });
  };
  for (const char* name : {"", "+", "tv+", "+tv", "tv++h1"}) {
    EXPECT_THAT(refused(name), HasSubstr("lacks a name; known are tv, tv-aniso")) << name;
    EXPECT_THAT(refused(name), HasSubstr("foe, and sums of them written with +")) << name;
  }
  EXPECT_THAT(refused("tv+lasso"), HasSubstr("model 'tv+lasso': 'lasso' is unknown; known are tv"));
  EXPECT_THAT(refused("lasso"), HasSubstr("model 'lasso' is unknown; known are tv"));
  EXPECT_THAT(refused("foe+tv+foe"), HasSubstr("has foe twice; name it once and give it more filters"));
  EXPECT_THAT(refused("h1+tv+h1"), HasSubstr("has h1 twice; name it once"));
  EXPECT_THAT(refused("tv+tv2+tv+tv2+tv"), HasSubstr("more than four parts"));
  for (const char* name : {"tgv2+h1", "tv+tgv2", "tgv2+tgv2"})
    EXPECT_THAT(refused(name), HasSubstr("tgv2 stands alone; leave the other parts out")) << name;
}

TEST(Catalogue, OptionsThatDoNotGoTogetherAreRefused) {
  Context context(Device::open(test_device("cpu:1")));
  Tensor<double> y(context, {1, 1, 3, 3}, std::vector<double>(9, 0.5));
  const auto make = [&](const TvOptions& o) {
    return message_of<ConfigError>(
        [&] { ComposedEnergy<double>(context, std::as_const(y).view(), tv_parameters(o), o); });
  };
  using enum TvPotential;
  EXPECT_THAT(make({charbonnier, true, false, TvDifferences::none}), HasSubstr("quadratic potential alone"));
  EXPECT_THAT(make({quadratic, true, false, TvDifferences::second}), HasSubstr("charbonnier or huber_c2"));
  EXPECT_THAT(make({huber_c2, false, false, TvDifferences::second}), HasSubstr("isotropic"));
}

/// Every solver comes to the same minimiser, within its certificate, in every precision.
TEST(Catalogue, EverySolverFindsTheMinimiser) {
  Random random(seed(2810));
  const Shape shape{2, 1, 16, 24};  // divisible by 2^3
  std::vector<double> data;
  for (int i = 0; i < shape.n; ++i) append(data, piecewise_constant(shape.h, shape.w, 0.1, random));
  Context context(Device::open(test_device("cpu:2")));
  Tensor<double> y(context, shape, data);
  for (const CatalogueEntry& e : regulariser_catalogue()) {
    RegulariserOptions options = e.options;
    if (auto* directional = std::get_if<DirectionalTv>(&options)) directional->reference = data;
    const auto energy = make_energy<double>(context, std::as_const(y).view(), regulariser_parameters(options),
                                            RegulariserSum(options), {}, true);
    std::vector<double> first;
    std::vector<const char*> solvers{"newton", "mixed:newton", "lbfgs", "fista-restart"};
    if (energy->proximal()) solvers.push_back("pdhg");
    EXPECT_EQ(energy->proximal() != nullptr, std::holds_alternative<TvOptions>(e.options)) << e.name;
    for (const char* solver : solvers) {
      SCOPED_TRACE(std::string(e.name) + ", " + solver);
      Tensor<double> x = start_from<double>(context, y.view(), energy->shape());
      SolveRequest<double> request;
      request.tolerance = 1e-7;
      const SolveReport report =
          make_minimiser<double>(solver)->minimise(context, *energy, request, x.view());
      EXPECT_EQ(report.status, SolveStatus::converged) << report.message;
      const std::vector<double> got = download(context, x);
      if (first.empty()) first = got;
      EXPECT_LE(distance(got, first), 4e-7);
    }
  }
}

}  // namespace
}  // namespace bilevel
