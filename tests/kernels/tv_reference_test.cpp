#include "tests/oracle/tv_reference.hpp"

#include <gtest/gtest.h>

#include "tests/model/tv_lab.hpp"
#include "tests/support/reference_case.hpp"

// Value, gradient, Hessian product and mixed products of all cases of differences of the reference folder,
// relative to the largest entry.

namespace bilevel {
namespace {

using namespace testing_support;

constexpr double tolerance = 1e-12;

/// The learned parameters of a case in the order of its theta, the others fixed.
Parameters parameters_of_case(const ReferenceCase& data) {
  std::vector<Segment> segments;
  for (const oracle::Parameter& p : oracle::tv_parameters(data))
    segments.push_back({p.name, p.transform == oracle::Transform::exp ? Transform::exp : Transform::identity,
                        data.parameter(p.name), 1e-12, 1e6, true});
  for (const char* name : {"alpha", "nu", "xi"}) {
    if (data.model == "h1" && std::string(name) == "nu") continue;
    bool given = false;
    for (const Segment& s : segments) given = given || s.name == name;
    if (!given) segments.push_back({name, Transform::identity, data.parameter(name), 0, 1e6, false});
  }
  return Parameters(segments);
}

std::vector<std::string> cases() {
  std::vector<std::string> names;
  for (const char* model : {"tv_", "tv2_", "h1_"})
    for (const std::string& name : reference_names(model)) names.push_back(name);
  return names;
}

TEST(TvReferenceCases, ValueGradientHessianAndMixedProducts) {
  if (!shared_folder()) GTEST_SKIP() << "The shared folder is absent; set BILEVEL_SHARED to run this test.";
  const std::vector<std::string> names = cases();
  ASSERT_GE(names.size(), 11U);
  for (const std::string& name : names) {
    SCOPED_TRACE(name);
    const ReferenceCase data = read_reference(name);
    TvLab<double> lab(oracle::tv_model(data), data.N, data.y, parameters_of_case(data));
    lab.energy().bind(data.theta);
    const auto at = lab.gradient(data.x0);
    EXPECT_LT(max_relative_difference(at.value, data.phi_x0), tolerance);
    EXPECT_LT(max_relative_difference(lab.gradient(data.xhat).value, data.phi_xhat), tolerance);
    lab.linearise(data.x0);
    const auto product = lab.hessian_product(data.v).product;
    const auto mixed = lab.mixed(data.x0, data.v);
    const auto forward = lab.mixed_forward(data.x0, data.dtheta).out;
    for (int i = 0; i < data.N; ++i) {
      EXPECT_LT(max_relative_difference(data.image(at.gradient, i), data.image(data.grad_x0, i)), tolerance);
      EXPECT_LT(max_relative_difference(data.image(product, i), data.image(data.hvp_x0_v, i)), tolerance);
      EXPECT_LT(max_relative_difference(data.image(mixed, i), data.image(data.jtv_x0_v, i)), tolerance);
      EXPECT_LT(max_relative_difference(data.image(forward, i), data.image(data.jd_x0_dtheta, i)), tolerance);
    }
  }
}

/// The certificate of a point with error |x0 - xhat| known from the case covers it.
TEST(TvReferenceCases, GradientOverMuCoversTheKnownError) {
  if (!shared_folder()) GTEST_SKIP() << "The shared folder is absent; set BILEVEL_SHARED to run this test.";
  RatioRecorder ratios("certificate/error at x0 of the reference cases");
  for (const std::string& name : cases()) {
    SCOPED_TRACE(name);
    const ReferenceCase data = read_reference(name);
    TvLab<double> lab(oracle::tv_model(data), data.N, data.y, parameters_of_case(data));
    const Curvature c = lab.energy().curvature();
    const auto at = lab.gradient(data.x0);
    for (int i = 0; i < data.N; ++i) {
      const auto k = static_cast<std::size_t>(i);
      EXPECT_LE(c.mu, data.hessian_min_eig[k] * (1 + 1e-9));
      EXPECT_GE(c.lipschitz, data.hessian_max_eig[k]);
      ratios.add((std::sqrt(at.norm2[k]) + at.rounding[k]) / c.mu / data.error_x0[k]);
    }
  }
  EXPECT_GE(ratios.minimum(), 1);
}

}  // namespace
}  // namespace bilevel
