#include "solve/conjugate_gradient.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "bilevel/core/error.hpp"
#include "tests/support/counting_energy.hpp"
#include "tests/support/tv_setup.hpp"

namespace bilevel {
namespace {

using namespace testing_support;
using Long = long double;

/// Hess Phi(x) p in extended precision, entry by entry from the formula.
oracle::ExtendedImage extended_product(const oracle::TvModel& m, const Image& x, const Image& p) {
  const int h = m.height, w = m.width;
  oracle::ExtendedImage out(x.size());
  const Long ridge = m.xi_inside_alpha ? static_cast<Long>(m.alpha) * m.xi : static_cast<Long>(m.xi);
  for (std::size_t e = 0; e < x.size(); ++e) out[e] = ((m.mask.empty() ? 1 : m.mask[e]) + ridge) * p[e];
  const auto weights = [&](Long r, Long& a, Long& b) {  // a I - b t t^T
    if (m.potential == oracle::Potential::charbonnier) {
      const Long s = std::sqrt(r * r + static_cast<Long>(m.nu) * m.nu);
      a = 1 / s;
      b = 1 / (s * s * s);
    } else if (r <= m.nu) {
      a = 2 / static_cast<Long>(m.nu) - r / (static_cast<Long>(m.nu) * m.nu);
      b = r > 0 ? 1 / (r * m.nu * m.nu) : 0;
    } else {
      a = 1 / r;
      b = 1 / (r * r * r);
    }
  };
  for (int r = 0; r < h; ++r) {
    for (int c = 0; c < w; ++c) {
      const int e = r * w + c, right = c + 1 < w ? e + 1 : e, down = r + 1 < h ? e + w : e;
      const Long zx = static_cast<Long>(x[right]) - x[e], zy = static_cast<Long>(x[down]) - x[e];
      const Long px = static_cast<Long>(p[right]) - p[e], py = static_cast<Long>(p[down]) - p[e];
      Long fx, fy, a, b;
      if (m.scalar_terms()) {
        weights(std::fabs(zx), a, b);
        fx = (a - b * zx * zx) * px;
        weights(std::fabs(zy), a, b);
        fy = (a - b * zy * zy) * py;
      } else {
        weights(std::sqrt(zx * zx + zy * zy), a, b);
        fx = a * px - b * zx * (zx * px + zy * py);
        fy = a * py - b * zy * (zx * px + zy * py);
      }
      out[right] += m.alpha * fx;
      out[e] -= m.alpha * fx;
      out[down] += m.alpha * fy;
      out[e] -= m.alpha * fy;
    }
  }
  return out;
}

Long true_residual(const oracle::TvModel& m, const Image& x, const Image& q, const Image& b) {
  const oracle::ExtendedImage product = extended_product(m, x, q);
  Long sum = 0;
  for (std::size_t e = 0; e < b.size(); ++e) sum += (product[e] - b[e]) * (product[e] - b[e]);
  return std::sqrt(sum);
}

/// A linear system of every image of an instance: the Hessian at y, random right-hand sides.
template <class T>
struct System {
  TvSetup<T> setup;
  Tensor<T> x, weights, inverse, b, q;
  std::vector<Image> rhs;

  System(const TvInstance& instance, Random& random, double scale = 1)
      : setup(instance),
        x(setup.tensor(setup.instance.y)),
        weights(setup.context, {instance.images() * setup.energy->weight_arrays(), 1, instance.model.height,
                                instance.model.width}),
        inverse(setup.context, instance.shape()),
        q(setup.context, instance.shape()) {
    Frame frame(setup.context);
    ActiveSet all(setup.context, frame, instance.images());
    setup.energy->linearise(setup.context, all.active(), x.view(), {}, weights.view(), inverse.view());
    for (const Image& y : instance.y) {
      Image v(y.size());
      for (double& e : v) e = static_cast<double>(static_cast<T>(scale * random.normal()));
      rhs.push_back(v);
    }
    b = setup.tensor(rhs);
    start_at(0);
  }
  void start_at(double value) { fill<T>(setup.context, q.view(), static_cast<T>(value)); }
  HessianAt<T> hessian() { return {setup.energy, weights.view(), inverse.view()}; }
  SolveReport solve(const LinearRequest& request, const std::string& name = "pcg") {
    return make_linear_solver<T>(name)->solve(setup.context, hessian(), request, b.view(), q.view());
  }
  /// What the certificate adds for the rounding of b - A q at the exact solution of image i: unit (20 L |q| +
  /// 4 |b|).
  double floor(std::size_t i = 0) const {
    const Image exact = oracle::solve_adjoint(setup.instance.model, setup.instance.y[i], rhs[i]);
    return std::numeric_limits<T>::epsilon() / 2.0 *
           (20 * setup.energy->curvature().lipschitz * norm(exact) + 4 * norm(rhs[i]));
  }
  double largest_floor() const {
    double worst = 0;
    for (std::size_t i = 0; i < rhs.size(); ++i) worst = std::max(worst, floor(i));
    return worst;
  }
  /// Certificates bound the true residuals.
  void expect_certified(const SolveReport& report) {
    const std::vector<Image> solutions = setup.images(q);
    for (std::size_t i = 0; i < rhs.size(); ++i)
      EXPECT_LE(true_residual(setup.instance.model, setup.instance.y[i], solutions[i], rhs[i]),
                report.certificate[i])
          << "image " << i;
  }
};

LinearRequest asking(double tolerance, bool warm = false) {
  LinearRequest request;
  request.tolerance = tolerance;
  request.warm_start = warm;
  return request;
}

template <class T>
class LinearSolverOf : public ::testing::Test {};
using Precisions = ::testing::Types<float, double>;
TYPED_TEST_SUITE(LinearSolverOf, Precisions);

template <class T>
constexpr double moderate = sizeof(T) == 4 ? 1e-2 : 1e-9;

// The reference of this file against the oracle in double.
TEST(ExtendedProduct, IsTheProductOfTheOracle) {
  Random random(seed(200));
  for (const oracle::NamedModel& named : oracle::model_collection(6, 7, random)) {
    const Image x = piecewise_constant(named.model.height, 7, 0.05, random),
                p = random.normal_vector(x.size());
    EXPECT_LT(max_relative_difference(oracle::extended::rounded(extended_product(named.model, x, p)),
                                      oracle::hessian_product(named.model, x, p)),
              1e-13)
        << named.name;
  }
}

TYPED_TEST(LinearSolverOf, CertifiesTheResidualOfEveryKindOfModel) {
  Random random(seed(201));
  RatioRecorder ratio("certificate / residual");
  for (const char* name : {"pcg", "cg"}) {
    for (const oracle::NamedModel& named : oracle::model_collection(13, 12, random)) {
      SCOPED_TRACE(named.name);
      System<TypeParam> system(random_instance(named.model, 3, 0.1, random), random);
      for (const double wanted : {1e-1, 3 * moderate<TypeParam>, moderate<TypeParam>}) {
        const double tolerance = std::max(wanted, 4 * system.largest_floor());
        const SolveReport report = system.solve(asking(tolerance), name);
        EXPECT_EQ(report.status, SolveStatus::converged) << report.message;
        for (double r : report.certificate) EXPECT_LE(r, tolerance);
        system.expect_certified(report);
        ratio.add(report.certificate[0] /
                  static_cast<double>(true_residual(system.setup.instance.model, system.setup.instance.y[0],
                                                    system.setup.images(system.q)[0], system.rhs[0])));
      }
    }
  }
}

TYPED_TEST(LinearSolverOf, StartsWarm) {
  Random random(seed(202));
  oracle::TvModel model;
  model.height = 15;
  model.width = 14;
  System<TypeParam> system(random_instance(model, 2, 0.1, random), random);
  const double tolerance = moderate<TypeParam>;
  const SolveReport cold = system.solve(asking(tolerance));
  const std::vector<TypeParam> bits = download(system.setup.context, system.q);

  const SolveReport again = system.solve(asking(tolerance, true));
  EXPECT_EQ(again.status, SolveStatus::converged);
  EXPECT_EQ(again.iterations, (std::vector<double>{0, 0}));
  EXPECT_EQ(again.work, (Work{0, 2, 0}));
  EXPECT_EQ(again.certificate, cold.certificate);
  EXPECT_EQ(download(system.setup.context, system.q), bits);

  for (double offset : {1e-3, 1.0, 1e3}) {
    std::vector<TypeParam> start = bits;
    for (TypeParam& v : start) v += static_cast<TypeParam>(offset * random.normal());
    system.q.upload(system.setup.context, start);
    const SolveReport warm = system.solve(asking(tolerance, true));
    EXPECT_EQ(warm.status, SolveStatus::converged) << offset << " " << warm.message;
    system.expect_certified(warm);
  }
}

TYPED_TEST(LinearSolverOf, SolvesZeroAndTinyRightHandSides) {
  Random random(seed(203));
  oracle::TvModel model;
  model.height = model.width = 9;
  System<TypeParam> system(random_instance(model, 2, 0.1, random), random, 0);
  system.start_at(7);
  const SolveReport zero = system.solve(asking(1e-12));
  EXPECT_EQ(zero.status, SolveStatus::converged) << zero.message;
  // nothing but what squares that underflow could have hidden
  for (double c : zero.certificate) EXPECT_LE(c, sizeof(TypeParam) == 4 ? 1e-31 : 1e-152);
  for (TypeParam v : download(system.setup.context, system.q)) EXPECT_EQ(v, 0);

  // |b| <= tolerance without a warm start: q = 0 at no cost.
  System<TypeParam> small(random_instance(model, 2, 0.1, random), random, 1e-3);
  const SolveReport report = small.solve(asking(1));
  EXPECT_EQ(report.status, SolveStatus::converged);
  EXPECT_EQ(report.work.total(), 0u);
  for (TypeParam v : download(small.setup.context, small.q)) EXPECT_EQ(v, 0);
  small.expect_certified(report);
}

// kappa up to 4e4: the tolerance is far above the rounding of a residual, so that only iterations can be
// missing.
TYPED_TEST(LinearSolverOf, SolvesIllConditionedSystems) {
  Random random(seed(204));
  oracle::TvModel model;
  model.height = 24;
  model.width = 23;
  model.alpha = 0.5;
  for (const double nu : {1e-2, 1e-3, 1e-4}) {
    model.nu = nu;
    for (const double noise_level : {0.0, 1e-4, 0.1}) {
      System<TypeParam> system(random_instance(model, 1, noise_level, random), random);
      const double tolerance = std::max(10 * system.floor(), 1e-8);
      for (const char* name : {"pcg", "cg"}) {
        SCOPED_TRACE(std::string(name) + " nu " + std::to_string(nu) + " noise " +
                     std::to_string(noise_level));
        const SolveReport report = system.solve(asking(tolerance), name);
        EXPECT_EQ(report.status, SolveStatus::converged)
            << report.message << " tolerance " << tolerance << " after " << report.iterations[0]
            << " iterations";
        system.expect_certified(report);
      }
    }
  }
}

TYPED_TEST(LinearSolverOf, SaysWhenRoundingForbidsTheTolerance) {
  Random random(seed(205));
  oracle::TvModel model;
  model.height = 20;
  model.width = 21;
  for (const double nu : {1e-1, 1e-3, 1e-4}) {
    model.nu = nu;
    System<TypeParam> system(random_instance(model, 2, 0.1, random), random);
    for (const char* name : {"pcg", "cg"}) {
      const SolveReport report = system.solve(asking(1e-18), name);
      EXPECT_EQ(report.status, SolveStatus::rounding_limited) << report.message;
      for (double k : report.iterations) EXPECT_LT(k, 5000);
      system.expect_certified(report);
    }
  }
}

TYPED_TEST(LinearSolverOf, KeepsItsCapAndSaysSo) {
  Random random(seed(206));
  oracle::TvModel model;
  model.height = 20;
  model.width = 21;
  model.nu = 1e-4;
  model.alpha = 0.5;
  System<TypeParam> system(random_instance(model, 2, 1e-4, random), random);
  for (const int cap : {1, 7, 50, 60, 75, 510}) {
    LinearRequest request = asking(std::max(1e-9, 4 * system.largest_floor()));
    request.max_iterations = cap;
    const SolveReport report = system.solve(request, "cg");
    if (cap <= 50) {
      EXPECT_EQ(report.status, SolveStatus::iteration_cap) << report.message;
    }
    for (double k : report.iterations) EXPECT_LE(k, cap);
    system.expect_certified(report);
  }
}

TYPED_TEST(LinearSolverOf, HasATolerancePerImage) {
  Random random(seed(207));
  oracle::TvModel model;
  model.height = model.width = 16;
  System<TypeParam> system(random_instance(model, 3, 0.1, random), random);
  const std::vector<double> tolerances = {1e3, 1e-2, 3e-1};
  LinearRequest request;
  request.per_image = tolerances;
  const SolveReport report = system.solve(request);
  EXPECT_EQ(report.status, SolveStatus::converged);
  for (std::size_t i = 0; i < 3; ++i) EXPECT_LE(report.certificate[i], tolerances[i]);
  EXPECT_EQ(report.iterations[0], 0);
  EXPECT_GT(report.iterations[1], report.iterations[2]);
  system.expect_certified(report);
}

TYPED_TEST(LinearSolverOf, ReportsARightHandSideThatIsNotFinite) {
  Random random(seed(208));
  oracle::TvModel model;
  model.height = model.width = 8;
  for (const double bad : {std::nan(""), HUGE_VAL}) {
    System<TypeParam> system(random_instance(model, 3, 0.1, random), random);
    std::vector<Image> rhs = system.rhs;
    rhs[1][3] = bad;
    system.b.upload(system.setup.context, flat<TypeParam>(rhs));
    const SolveReport report = system.solve(asking(moderate<TypeParam>));
    EXPECT_EQ(report.status, SolveStatus::failed);
    EXPECT_EQ(report.image_status[1], SolveStatus::failed);
    EXPECT_FALSE(std::isfinite(report.certificate[1]));
    EXPECT_EQ(report.image_status[0], SolveStatus::converged);
    EXPECT_EQ(report.image_status[2], SolveStatus::converged);
  }
}

TYPED_TEST(LinearSolverOf, DoesNotDependOnNeighboursChecksOrThreads) {
  Random random(seed(209));
  oracle::TvModel model;
  model.height = 33;
  model.width = 18;
  model.nu = 1e-3;
  const TvInstance instance = random_instance(model, 3, 0.1, random);
  Random rhs(5);
  System<TypeParam> system(instance, rhs);
  const double tolerance = 10 * moderate<TypeParam>;
  const SolveReport report = system.solve(asking(tolerance));
  const std::vector<TypeParam> bits = download(system.setup.context, system.q);
  for (int every : {1, 5, 64}) {
    LinearRequest request = asking(tolerance);
    request.check_every = every;
    const SolveReport again = system.solve(request);
    EXPECT_EQ(download(system.setup.context, system.q), bits);
    EXPECT_EQ(again.certificate, report.certificate);
    EXPECT_EQ(again.work, report.work);
  }
  std::vector<Image> neighbours = system.rhs;
  for (double& v : neighbours[0]) v = 0;
  system.b.upload(system.setup.context, flat<TypeParam>(neighbours));
  const SolveReport other = system.solve(asking(tolerance));
  EXPECT_EQ(other.certificate[2], report.certificate[2]);
  const std::vector<TypeParam> changed = download(system.setup.context, system.q);
  const std::size_t image = instance.shape().image();
  EXPECT_TRUE(std::equal(bits.begin() + static_cast<std::ptrdiff_t>(image), bits.end(),
                         changed.begin() + static_cast<std::ptrdiff_t>(image)));
}

TYPED_TEST(LinearSolverOf, CountsItsWorkAndAllocatesNothingTheSecondTime) {
  Random random(seed(210));
  oracle::TvModel model;
  model.height = 17;
  model.width = 16;
  model.nu = 1e-3;
  System<TypeParam> system(random_instance(model, 3, 0.1, random), random);
  system.solve(asking(moderate<TypeParam>));
  for (const int every : {1, 4}) {
    for (const bool warm : {false, true}) {
      const CountingEnergy<TypeParam> counting(*system.setup.energy);
      LinearRequest request = asking(moderate<TypeParam>, warm);
      request.check_every = every;
      const std::vector<double> tolerances = {1e-1, moderate<TypeParam>, 1};
      request.per_image = tolerances;
      system.start_at(1);
      const Counters before = system.setup.context.counters();
      const SolveReport report = ConjugateGradient<TypeParam>(true).solve(
          system.setup.context, {&counting, system.weights.view(), system.inverse.view()}, request,
          system.b.view(), system.q.view());
      const Counters after = system.setup.context.counters();
      EXPECT_EQ(report.work, counting.work);
      EXPECT_EQ(after.allocations, before.allocations);
      EXPECT_GT(report.work.hessian_products, 0u);
      // One look per `check_every` products; six per residual replacement, of which there is one per 50
      // iterations.
      const double most = *std::max_element(report.iterations.begin(), report.iterations.end());
      EXPECT_LE(static_cast<double>(after.host_syncs - before.host_syncs - counting.host_syncs),
                static_cast<double>(counting.calls.hessian_products) / every + 6 * (most / 50 + 4));
    }
  }
}

TEST(LinearSolver, RejectsRequestsOutOfRange) {
  Random random(seed(211));
  oracle::TvModel model;
  model.height = model.width = 4;
  System<double> system(random_instance(model, 2, 0.1, random), random);
  EXPECT_THROW(system.solve(asking(0)), ConfigError);
  EXPECT_THROW(system.solve(asking(-1)), ConfigError);
  EXPECT_THROW(system.solve(asking(std::nan(""))), ConfigError);
  LinearRequest request;
  const std::vector<double> three = {1, 1, 1};
  request.per_image = three;
  EXPECT_THROW(system.solve(request), ShapeError);
  EXPECT_THROW(make_linear_solver<double>("minres"), ConfigError);
}

}  // namespace
}  // namespace bilevel
