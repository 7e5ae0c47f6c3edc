#include "solve/newton.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "bilevel/core/error.hpp"
#include "tests/support/counting_energy.hpp"
#include "tests/support/tv_setup.hpp"

namespace bilevel {
namespace {

using namespace testing_support;

// The certificate carries a bound on the rounding error of the library; this one belongs to the comparison.
constexpr double compared = 1 + 1e-12;

template <class T>
class NewtonOf : public ::testing::Test {};
using Precisions = ::testing::Types<float, double>;
TYPED_TEST_SUITE(NewtonOf, Precisions);

template <class T>
SolveReport solve(TvSetup<T>& setup, Tensor<T>& x, const SolveRequest<T>& request) {
  return Newton<T>().minimise(setup.context, *setup.energy, request, x.view());
}
template <class T>
SolveRequest<T> asking(double tolerance) {
  SolveRequest<T> request;
  request.tolerance = tolerance;
  return request;
}

/// Certificates of a report bound the true distances.
template <class T>
void expect_certified(TvSetup<T>& setup, const Tensor<T>& x, const SolveReport& report,
                      const std::vector<oracle::ExtendedImage>& exact, RatioRecorder* ratio = nullptr) {
  const std::vector<Image> images = setup.images(x);
  for (std::size_t i = 0; i < images.size(); ++i) {
    const double distance = exact_distance(images[i], exact[i]);
    EXPECT_LE(distance, report.certificate[i] * compared) << setup.instance.name << ", image " << i;
    if (ratio != nullptr) ratio->add(report.certificate[i] / distance);
  }
}

TEST(Newton, SolvesTheReferenceCases) {
  BILEVEL_REQUIRE_REFERENCE();
  for (const std::string& name : reference_names("tv_")) {
    SCOPED_TRACE(name);
    const ReferenceCase data = read_reference(name);
    TvSetup<double> setup(instance_of(data));
    Tensor<double> x = setup.tensor(setup.instance.y);
    const SolveReport report = solve(setup, x, asking<double>(1e-10));
    EXPECT_EQ(report.status, SolveStatus::converged) << report.message;
    expect_certified(setup, x, report, exact_minimisers(setup.instance));
    const std::vector<Image> images = setup.images(x);
    for (std::size_t i = 0; i < images.size(); ++i) {
      EXPECT_LE(report.certificate[i], 1e-10);
      EXPECT_LE(distance(images[i], data.image(data.xhat, static_cast<int>(i))), 1e-9);
    }
  }
}

TEST(Newton, CertifiesRandomTolerancesFromColdAndWarmStarts) {
  BILEVEL_REQUIRE_REFERENCE();
  Random random(seed(101));
  RatioRecorder ratio("certificate / distance");
  for (const TvInstance& instance : reference_instances()) {
    if (instance.model.pixels() > 1000) continue;
    SCOPED_TRACE(instance.name);
    const std::vector<oracle::ExtendedImage> exact = exact_minimisers(instance);
    TvSetup<double> setup(instance);
    for (int round = 0; round < repetitions(5); ++round) {
      Tensor<double> x = setup.tensor(instance.y);
      for (int restart = 0; restart < 3; ++restart) {
        const double tolerance = random.log_uniform(1e-10, 1e-1);
        const SolveReport report = solve(setup, x, asking<double>(tolerance));
        EXPECT_EQ(report.status, SolveStatus::converged) << report.message;
        for (double c : report.certificate) EXPECT_LE(c, tolerance);
        expect_certified(setup, x, report, exact, &ratio);
      }
    }
  }
}

/// What rounding adds to the certificate of x, and what storing x in T moves its
/// gradient.
template <class T>
double floor_of(const TvInstance& instance, const std::vector<oracle::ExtendedImage>& exact) {
  const oracle::TvModel& m = instance.model;
  double worst = 0;
  for (std::size_t i = 0; i < exact.size(); ++i) {
    const Image x = oracle::extended::rounded(exact[i]);
    Image data = add_scaled(x, -1, instance.y[i]);
    for (std::size_t p = 0; p < m.mask.size(); ++p) data[p] *= m.mask[p];
    const double ridge = m.xi_inside_alpha ? m.alpha * m.xi : m.xi;
    worst = std::max(worst, 3 * norm(data) + 3 * ridge * norm(x) +
                                13 * m.alpha * std::sqrt(8) * norm(oracle::dual_field(m, x)) +
                                oracle::curvature(m).L * norm(x));
  }
  return std::numeric_limits<T>::epsilon() / 2.0 * worst / oracle::curvature(m).mu;
}

TYPED_TEST(NewtonOf, CertifiesEveryKindOfModel) {
  Random random(seed(102));
  RatioRecorder ratio("certificate / distance");
  for (const oracle::NamedModel& named : oracle::model_collection(9, 11, random)) {
    SCOPED_TRACE(named.name);
    TvSetup<TypeParam> setup(random_instance(named.model, 2, 0.1, random));
    const std::vector<oracle::ExtendedImage> exact = exact_minimisers(setup.instance);
    Tensor<TypeParam> x = setup.tensor(setup.instance.y);
    const double floor = floor_of<TypeParam>(setup.instance, exact);
    for (double wanted : {1e-1, 1e-2, 3e-3, 1.5 * floor}) {
      const double tolerance = std::max(wanted, 1.5 * floor);
      const SolveReport report = solve(setup, x, asking<TypeParam>(tolerance));
      EXPECT_EQ(report.status, SolveStatus::converged) << report.message;
      expect_certified(setup, x, report, exact, &ratio);
    }
    const SolveReport tight = solve(setup, x, asking<TypeParam>(1e-13));
    EXPECT_TRUE(tight.status == SolveStatus::converged || tight.status == SolveStatus::rounding_limited)
        << tight.message;
    expect_certified(setup, x, tight, exact);
  }
}

TYPED_TEST(NewtonOf, ReachesTheMinimiserFromAdversarialStarts) {
  Random random(seed(103));
  oracle::TvModel model;
  model.height = 14;
  model.width = 13;
  for (const double nu : {1e-1, 1e-3}) {
    model.nu = nu;
    TvSetup<TypeParam> setup(random_instance(model, 1, 0.1, random));
    const std::vector<oracle::ExtendedImage> exact = exact_minimisers(setup.instance);
    const double tolerance = sizeof(TypeParam) == 4 ? 1e-2 : 1e-8;
    const std::vector<NamedImage> starts = {
        {"offset", 14, 13, add_scaled(constant(14, 13, 1e6), 1, setup.instance.y[0])},
        {"spike", 14, 13, spike(14, 13, 4, 5, 1e6)},
        {"constant", 14, 13, constant(14, 13, 0.5)},
        {"zero", 14, 13, constant(14, 13, 0)},
        {"checkerboard", 14, 13, checkerboard(14, 13, 1e4)},
        {"noise", 14, 13, noise(14, 13, 1e3, random)}};
    for (const NamedImage& start : starts) {
      SCOPED_TRACE(start.name);
      Tensor<TypeParam> x = setup.tensor({start.pixels});
      const SolveReport report = solve(setup, x, asking<TypeParam>(tolerance));
      EXPECT_EQ(report.status, SolveStatus::converged) << report.message;
      EXPECT_LT(report.iterations[0], 500);
      expect_certified(setup, x, report, exact);
    }
  }
}

TYPED_TEST(NewtonOf, ReportsAStartThatIsNotFinite) {
  Random random(seed(104));
  oracle::TvModel model;
  model.height = model.width = 8;
  TvSetup<TypeParam> setup(random_instance(model, 3, 0.1, random));
  for (const double bad : {std::nan(""), HUGE_VAL, -HUGE_VAL}) {
    for (const bool joint : {false, true}) {
      std::vector<Image> start = setup.instance.y;
      start[1][20] = bad;
      Tensor<TypeParam> x = setup.tensor(start);
      SolveRequest<TypeParam> request = asking<TypeParam>(1e-2);
      request.joint = joint;
      const SolveReport report = solve(setup, x, request);
      EXPECT_EQ(report.status, SolveStatus::failed) << bad;
      EXPECT_EQ(report.image_status[1], SolveStatus::failed) << bad;
      EXPECT_FALSE(std::isfinite(report.certificate[1])) << report.certificate[1];
      EXPECT_FALSE(report.message.empty());
      if (joint) continue;
      EXPECT_EQ(report.image_status[0], SolveStatus::converged);
      EXPECT_EQ(report.image_status[2], SolveStatus::converged);
      EXPECT_LE(report.certificate[2], 1e-2);
    }
  }
}

// Whatever the size of the start, the solve ends, and what it certifies is true.
TYPED_TEST(NewtonOf, EndsFromHugeStarts) {
  Random random(seed(115));
  oracle::TvModel model;
  model.height = model.width = 8;
  TvSetup<TypeParam> setup(random_instance(model, 1, 0.1, random));
  const std::vector<oracle::ExtendedImage> exact = exact_minimisers(setup.instance);
  for (const double power : {0.3, 0.45, 0.6, 0.9, 0.999}) {
    const double huge = std::pow(static_cast<double>(std::numeric_limits<TypeParam>::max()), power);
    SCOPED_TRACE(huge);
    for (const Image& start : {spike(8, 8, 3, 3, huge), constant(8, 8, huge), checkerboard(8, 8, huge)}) {
      Tensor<TypeParam> x = setup.tensor({start});
      SolveRequest<TypeParam> request = asking<TypeParam>(1e-2);
      request.max_iterations = 2000;
      const SolveReport report = solve(setup, x, request);
      EXPECT_LE(report.iterations[0], 2000);
      EXPECT_FALSE(report.message.empty());
      if (std::isfinite(report.certificate[0])) expect_certified(setup, x, report, exact);
      EXPECT_EQ(report.status == SolveStatus::converged, report.certificate[0] <= 1e-2) << report.message;
    }
  }
}

TYPED_TEST(NewtonOf, HasToleranceOfEachImageAndOfTheBatch) {
  Random random(seed(105));
  oracle::TvModel model;
  model.height = 12;
  model.width = 10;
  TvSetup<TypeParam> setup(random_instance(model, 4, 0.1, random));
  const std::vector<oracle::ExtendedImage> exact = exact_minimisers(setup.instance);
  const std::vector<double> tolerances = {1e-1, 2e-3, 3e-2, 1e-3};
  SolveRequest<TypeParam> request;
  request.per_image = tolerances;
  Tensor<TypeParam> x = setup.tensor(setup.instance.y);
  const SolveReport each = solve(setup, x, request);
  EXPECT_EQ(each.status, SolveStatus::converged);
  for (std::size_t i = 0; i < 4; ++i) EXPECT_LE(each.certificate[i], tolerances[i]);
  EXPECT_LE(each.iterations[0], each.iterations[3]);
  expect_certified(setup, x, each, exact);

  SolveRequest<TypeParam> together = asking<TypeParam>(5e-3);
  together.joint = true;
  Tensor<TypeParam> again = setup.tensor(setup.instance.y);
  const SolveReport joint = solve(setup, again, together);
  EXPECT_EQ(joint.status, SolveStatus::converged);
  EXPECT_LE(norm(joint.certificate), 5e-3);
  expect_certified(setup, again, joint, exact);
}

// One image starts at its minimiser and waits for the others without a verdict of its own.
TEST(Newton, JointToleranceWaitsForTheSlowestImage) {
  Random random(seed(116));
  oracle::TvModel model;
  model.height = 12;
  model.width = 10;
  TvSetup<double> setup(random_instance(model, 3, 0.1, random));
  const std::vector<oracle::ExtendedImage> exact = exact_minimisers(setup.instance);
  std::vector<Image> start = setup.instance.y;
  start[0] = oracle::extended::rounded(exact[0]);
  for (const double tolerance : {1e-2, 1e-6, 1e-9}) {
    Tensor<double> x = setup.tensor(start);
    SolveRequest<double> request = asking<double>(tolerance);
    request.joint = true;
    const SolveReport report = solve(setup, x, request);
    EXPECT_EQ(report.status, SolveStatus::converged) << report.message;
    EXPECT_LE(norm(report.certificate), tolerance);
    expect_certified(setup, x, report, exact);
  }
}

TEST(Newton, EndsWithTrueCertificatesWhereverItIsStopped) {
  Random random(seed(106));
  oracle::TvModel model;
  model.height = 12;
  model.width = 10;
  TvSetup<double> setup(random_instance(model, 3, 0.1, random));
  const std::vector<oracle::ExtendedImage> exact = exact_minimisers(setup.instance);
  for (int cap : {1, 2, 4}) {
    Tensor<double> x = setup.tensor(setup.instance.y);
    SolveRequest<double> request = asking<double>(1e-9);
    request.max_iterations = cap;
    const SolveReport report = solve(setup, x, request);
    EXPECT_EQ(report.status, SolveStatus::iteration_cap);
    for (double k : report.iterations) EXPECT_EQ(k, cap);
    expect_certified(setup, x, report, exact);
    EXPECT_GT(*std::max_element(report.certificate.begin(), report.certificate.end()), 1e-9);
  }
  for (std::uint64_t budget : {1u, 50u, 200u}) {
    Tensor<double> x = setup.tensor(setup.instance.y);
    SolveRequest<double> request = asking<double>(1e-9);
    request.budget = budget;
    const SolveReport report = solve(setup, x, request);
    EXPECT_EQ(report.status, SolveStatus::budget);
    EXPECT_GE(report.work.total(), budget);
    expect_certified(setup, x, report, exact);
  }
  int asked = 0;
  Tensor<double> x = setup.tensor(setup.instance.y);
  SolveRequest<double> request = asking<double>(1e-9);
  request.decided = [&](Context& context, View<const double> at, std::span<const double> certificate) {
    const std::vector<Image> images = unflatten(download(context, at), 3);
    for (std::size_t i = 0; i < 3; ++i)
      EXPECT_LE(exact_distance(images[i], exact[i]), certificate[i] * compared);
    return ++asked == 3;
  };
  const SolveReport report = solve(setup, x, request);
  EXPECT_EQ(report.status, SolveStatus::decided);
  EXPECT_EQ(asked, 3);
  expect_certified(setup, x, report, exact);
}

// Beside "below its rounding": just above it the tolerance is certified.
TYPED_TEST(NewtonOf, SaysWhenRoundingForbidsTheTolerance) {
  Random random(seed(107));
  oracle::TvModel model;
  model.height = 16;
  model.width = 15;
  for (const double nu : {1e-1, 1e-2, 1e-3}) {
    model.nu = nu;
    TvSetup<TypeParam> setup(random_instance(model, 2, 0.1, random));
    const std::vector<oracle::ExtendedImage> exact = exact_minimisers(setup.instance);
    Tensor<TypeParam> x = setup.tensor(setup.instance.y);
    const SolveReport report = solve(setup, x, asking<TypeParam>(sizeof(TypeParam) == 4 ? 1e-8 : 1e-17));
    EXPECT_EQ(report.status, SolveStatus::rounding_limited) << report.message;
    for (double k : report.iterations) EXPECT_LT(k, 100);
    expect_certified(setup, x, report, exact);
    const double floor = *std::max_element(report.certificate.begin(), report.certificate.end());
    EXPECT_LT(floor, sizeof(TypeParam) == 4 ? 1e-3 : 1e-11);
    for (const double factor : {1.5, 4.0, 8.0}) {
      Tensor<TypeParam> cold = setup.tensor(setup.instance.y);
      const SolveReport above = solve(setup, cold, asking<TypeParam>(factor * floor));
      EXPECT_EQ(above.status, SolveStatus::converged) << nu << " " << factor << " " << above.message;
    }
  }
}

TYPED_TEST(NewtonOf, DoesNotDependOnBatchNeighboursChecksOrThreads) {
  Random random(seed(108));
  oracle::TvModel model;
  model.height = 20;
  model.width = 17;
  model.nu = 1e-3;
  const TvInstance instance = random_instance(model, 5, 0.1, random);
  const double tolerance = sizeof(TypeParam) == 4 ? 3e-3 : 1e-9;
  TvSetup<TypeParam> setup(instance);
  Tensor<TypeParam> x = setup.tensor(instance.y);
  const SolveReport report = solve(setup, x, asking<TypeParam>(tolerance));
  const std::vector<TypeParam> bits = download(setup.context, x);
  for (std::size_t i = 0; i < 5; ++i) {
    TvInstance alone = instance;
    alone.y = {instance.y[i]};
    alone.truth = {instance.truth[i]};
    TvSetup<TypeParam> single(alone);
    Tensor<TypeParam> own = single.tensor(alone.y);
    const SolveReport one = solve(single, own, asking<TypeParam>(tolerance));
    EXPECT_EQ(single.images(own)[0], setup.images(x)[i]);
    EXPECT_EQ(one.certificate[0], report.certificate[i]);
    EXPECT_EQ(one.iterations[0], report.iterations[i]);
  }
  for (int every : {1, 3, 7, 1000}) {
    Tensor<TypeParam> other = setup.tensor(instance.y);
    SolveRequest<TypeParam> request = asking<TypeParam>(tolerance);
    request.check_every = every;
    const SolveReport again = solve(setup, other, request);
    EXPECT_EQ(download(setup.context, other), bits) << "check_every " << every;
    EXPECT_EQ(again.certificate, report.certificate);
    EXPECT_EQ(again.work, report.work);
  }
  for (const std::string& device : repeat_devices({"cpu:2", "cpu:3", "cpu-guarded:2"})) {
    TvSetup<TypeParam> threaded(instance, device);
    Tensor<TypeParam> other = threaded.tensor(instance.y);
    const SolveReport again = solve(threaded, other, asking<TypeParam>(tolerance));
    EXPECT_EQ(download(threaded.context, other), bits) << device;
    EXPECT_EQ(again.work, report.work) << device;
  }
}

// An image that meets its tolerance at once, or has failed, is not touched while the others go on.
TYPED_TEST(NewtonOf, FreezesFinishedImages) {
  Random random(seed(109));
  oracle::TvModel model;
  model.height = model.width = 10;
  TvSetup<TypeParam> setup(random_instance(model, 3, 0.1, random));
  std::vector<Image> start = setup.instance.y;
  start[2][7] = std::nan("");
  Tensor<TypeParam> x = setup.tensor(start);
  SolveRequest<TypeParam> request;
  const std::vector<double> tolerances = {1e9, 1e-3, 1e-3};
  request.per_image = tolerances;
  const SolveReport report = solve(setup, x, request);
  EXPECT_EQ(report.iterations[0], 0);
  EXPECT_EQ(setup.images(x)[0], setup.instance.y[0]);
  EXPECT_GT(report.iterations[1], 0);
  const std::vector<Image> images = setup.images(x);
  for (std::size_t p = 0; p < images[2].size(); ++p) {
    if (p == 7) continue;
    EXPECT_EQ(images[2][p], start[2][p]);
  }
}

TYPED_TEST(NewtonOf, AllocatesNothingTheSecondTimeAndSynchronisesRarely) {
  Random random(seed(110));
  oracle::TvModel model;
  model.height = 18;
  model.width = 21;
  model.nu = 1e-3;
  TvSetup<TypeParam> setup(random_instance(model, 3, 0.1, random));
  const CountingEnergy<TypeParam> counting(*setup.energy);
  for (const int every : {1, 4, 10}) {
    SolveRequest<TypeParam> request = asking<TypeParam>(sizeof(TypeParam) == 4 ? 3e-3 : 1e-9);
    request.check_every = every;
    Tensor<TypeParam> x = setup.tensor(setup.instance.y), second = setup.tensor(setup.instance.y);
    Newton<TypeParam>().minimise(setup.context, *setup.energy, request, x.view());
    const Counters before = setup.context.counters();
    counting.calls = {};
    counting.host_syncs = 0;
    Newton<TypeParam>().minimise(setup.context, counting, request, second.view());
    const Counters after = setup.context.counters();
    EXPECT_EQ(after.allocations, before.allocations);
    EXPECT_EQ(after.bytes_allocated, before.bytes_allocated);
    // Per Newton iteration three, one for every `check_every` CG iterations, one per line-search trial.
    const std::uint64_t bound =
        3 * counting.calls.other + counting.calls.hessian_products / every + counting.calls.gradients + 2;
    EXPECT_LE(after.host_syncs - before.host_syncs - counting.host_syncs, bound);
    EXPECT_GT(counting.calls.hessian_products, 0u);
  }
}

TYPED_TEST(NewtonOf, CountsItsWorkExactly) {
  Random random(seed(111));
  for (const oracle::NamedModel& named : oracle::model_collection(11, 9, random)) {
    SCOPED_TRACE(named.name);
    TvSetup<TypeParam> setup(random_instance(named.model, 4, 0.1, random));
    const std::vector<double> tolerances = {1e-1, 3e-3, 1e-2, 5e-2};
    for (const int every : {1, 4}) {
      const CountingEnergy<TypeParam> counting(*setup.energy);
      SolveRequest<TypeParam> request;
      request.per_image = tolerances;
      request.check_every = every;
      Tensor<TypeParam> x = setup.tensor(setup.instance.y);
      const SolveReport report = Newton<TypeParam>().minimise(setup.context, counting, request, x.view());
      EXPECT_EQ(report.work.gradients, counting.work.gradients);
      EXPECT_EQ(report.work.hessian_products, counting.work.hessian_products);
      EXPECT_EQ(report.work.other, counting.work.other);
    }
  }
}

TYPED_TEST(NewtonOf, NeedsNoIterationAtTheMinimiser) {
  Random random(seed(112));
  oracle::TvModel model;
  model.height = model.width = 9;
  TvSetup<TypeParam> setup(random_instance(model, 2, 0.1, random));
  const double tolerance = sizeof(TypeParam) == 4 ? 1e-3 : 1e-10;
  Tensor<TypeParam> x = setup.tensor(setup.instance.y);
  solve(setup, x, asking<TypeParam>(tolerance));
  const std::vector<TypeParam> bits = download(setup.context, x);
  const SolveReport report = solve(setup, x, asking<TypeParam>(tolerance));
  EXPECT_EQ(report.status, SolveStatus::converged);
  EXPECT_EQ(report.work, (Work{2, 0, 0}));
  EXPECT_EQ(download(setup.context, x), bits);
}

// Shapes at the edge, and alpha -> 0, where the minimiser is y / (1 + xi).
TYPED_TEST(NewtonOf, SolvesEveryShape) {
  Random random(seed(113));
  for (const NamedImage& image : image_collection(6, 7, random)) {
    for (const double alpha : {0.1, 0.0}) {
      SCOPED_TRACE(image.name);
      TvInstance instance{"shape", {}, {{"xi"}}, {image.pixels}, {image.pixels}};
      instance.model.height = image.height;
      instance.model.width = image.width;
      instance.model.alpha = alpha;
      TvSetup<TypeParam> setup(instance);
      Tensor<TypeParam> x = setup.tensor({constant(image.height, image.width, 0.3)});
      const SolveReport report = solve(setup, x, asking<TypeParam>(sizeof(TypeParam) == 4 ? 1e-3 : 1e-10));
      EXPECT_EQ(report.status, SolveStatus::converged) << report.message;
      expect_certified(setup, x, report, exact_minimisers(setup.instance));
      if (alpha > 0) continue;
      const Image found = setup.images(x)[0];
      for (std::size_t p = 0; p < found.size(); ++p) {
        const long double exact =
            setup.instance.y[0][p] / (1 + static_cast<long double>(setup.instance.model.xi));
        EXPECT_LE(std::fabs(static_cast<double>(found[p] - exact)), report.certificate[0]);
      }
    }
  }
}

TEST(Newton, RejectsRequestsOutOfRange) {
  Random random(seed(114));
  oracle::TvModel model;
  model.height = model.width = 4;
  TvSetup<double> setup(random_instance(model, 2, 0.1, random));
  Tensor<double> x = setup.tensor(setup.instance.y);
  EXPECT_THROW(solve(setup, x, asking<double>(0)), ConfigError);
  EXPECT_THROW(solve(setup, x, asking<double>(std::nan(""))), ConfigError);
  SolveRequest<double> request;
  request.max_iterations = 0;
  EXPECT_THROW(solve(setup, x, request), ConfigError);
  request = {};
  request.check_every = 0;
  EXPECT_THROW(solve(setup, x, request), ConfigError);
  request = {};
  const std::vector<double> one = {1e-3};
  request.per_image = one;
  EXPECT_THROW(solve(setup, x, request), ShapeError);
  Tensor<double> small(setup.context, {1, 1, 4, 4});
  EXPECT_THROW(Newton<double>().minimise(setup.context, *setup.energy, {}, small.view()), ShapeError);
}

}  // namespace
}  // namespace bilevel
