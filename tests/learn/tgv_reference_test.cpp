#include <gtest/gtest.h>

#include "bilevel/core/error.hpp"
#include "bilevel/learn/hypergradient.hpp"
#include "bilevel/model/bilevel_problem.hpp"
#include "bilevel/solve/minimiser.hpp"
#include "tests/support/numeric.hpp"
#include "tests/support/reference_case.hpp"
#include "tests/support/test_device.hpp"

// Minimisers and hypergradients of total generalised variation against the reference folder.

namespace bilevel {
namespace {

using namespace testing_support;

Parameters layout_of(const ReferenceCase& data) {
  std::vector<Segment> segments;
  for (const std::string& learned : data.scalar_layout) {
    const std::string own = learned.substr(4);  // "log_"
    segments.push_back({own, Transform::exp, data.parameter(own), 1e-12, 1e6, true});
  }
  for (const auto& [fixed, value] : data.fixed)
    segments.push_back({fixed, Transform::identity, value, 0, 1e6, false});
  return Parameters(segments);
}

struct Reference {
  explicit Reference(const std::string& name)
      : data(read_reference(name)),
        context(Device::open(test_device("cpu:2"))),
        y(context, {data.N, 1, data.H, data.W}, data.y),
        truth(context, y.shape(), data.x_true),
        layout(layout_of(data)) {
    auto made =
        std::make_unique<ComposedEnergy<double>>(context, std::as_const(y).view(), layout, TgvOptions{});
    made->keep_single_precision(context);
    energy = std::move(made);
    energy->bind(data.theta);
  }
  /// From zero.
  SolveReport solve(const std::string& solver, double tolerance) {
    x = Tensor<double>(context, energy->shape(), std::vector<double>(energy->shape().count(), 0));
    SolveRequest<double> request;
    request.tolerance = tolerance;
    request.max_iterations = 1000000;
    return make_minimiser<double>(solver)->minimise(context, *energy, request, x.view());
  }

  ReferenceCase data;
  Context context;
  Tensor<double> y, truth, x;
  Parameters layout;
  std::unique_ptr<Energy<double>> energy;
};

TEST(TgvReference, MinimisersOfEverySolver) {
  if (!shared_folder()) GTEST_SKIP() << "The shared folder is absent; set BILEVEL_SHARED to run this test.";
  for (const std::string& name : reference_names("tgv2_"))
    for (const char* solver : {"newton", "mixed:newton", "lbfgs", "mixed:lbfgs", "fista-restart"}) {
      SCOPED_TRACE(name + ", " + solver);
      Reference r(name);
      const bool second = std::string(solver).ends_with("newton");
      const SolveReport report = r.solve(solver, second ? 1e-9 : 1e-4);
      EXPECT_EQ(report.status, SolveStatus::converged) << report.message;
      const std::vector<double> got = download(r.context, r.x);
      for (int i = 0; i < r.data.N; ++i) {
        const double off = distance(r.data.image(got, i), r.data.image(r.data.xhat, i));
        EXPECT_LE(off, report.certificate[static_cast<std::size_t>(i)] + 1e-11);
      }
      if (second) {
        EXPECT_LT(max_relative_difference(got, r.data.xhat), 1e-8);
      }
    }
}

TEST(TgvReference, Hypergradients) {
  if (!shared_folder()) GTEST_SKIP() << "The shared folder is absent; set BILEVEL_SHARED to run this test.";
  const std::vector<std::string> names = reference_names("tgv2_");
  ASSERT_GE(names.size(), 2U);
  for (const std::string& name : names) {
    SCOPED_TRACE(name);
    Reference r(name);
    const SolveReport report = r.solve("newton", 1e-9);
    ASSERT_EQ(report.status, SolveStatus::converged) << report.message;
    const BilevelProblem<double> problem(std::move(r.energy), std::as_const(r.truth).view(), r.layout);
    ImplicitHypergradient<double> gradient(r.context, problem);
    HypergradientRequest request;
    request.delta = 1e-10;
    request.column_tolerance = 1e-8;
    const HypergradientResult z =
        gradient.compute(r.context, r.data.theta, std::as_const(r.x).view(), report.certificate, request);
    EXPECT_LT(max_relative_difference(z.z, r.data.hypergradient), 1e-8);
    EXPECT_LE(distance(z.z, r.data.hypergradient), z.omega);
  }
}

}  // namespace
}  // namespace bilevel
