// Richardson's iteration and the heavy ball on A q = b, and their identity with inexact automatic
// differentiation.

#include "tests/solve/pixel_energy.hpp"

namespace bilevel {
namespace {

using namespace testing_support;

const std::vector<std::string> solvers = {"gradient-descent", "heavy-ball"};

template <class T>
class Stationary : public ::testing::Test {};
using Precisions = ::testing::Types<float, double>;
TYPED_TEST_SUITE(Stationary, Precisions);

/// The Hessian of an energy at x on its device.
template <class T>
struct Linearised {
  Linearised(Context& context, const Energy<T>& energy, const std::vector<T>& at)
      : x(context, energy.shape(), at),
        weights(context, {energy.shape().n * energy.weight_arrays(), 1, energy.shape().h, energy.shape().w}),
        inverse(context, energy.shape()) {
    Frame frame(context);
    ActiveSet active(context, frame, energy.shape().n);
    energy.linearise(context, active.active(), x.view(), {}, weights.view(), inverse.view());
    hessian = {&energy, weights.view(), inverse.view()};
  }
  Tensor<T> x, weights, inverse;
  HessianAt<T> hessian;
};

template <class T>
Solved<T> solve(Context& context, const Linearised<T>& at, const std::string& solver,
                const LinearRequest& request, const std::vector<T>& b, const std::vector<T>& start) {
  const Shape shape = at.hessian.energy->shape();
  Tensor<T> rhs(context, shape, b), q(context, shape, start);
  Solved<T> result;
  result.report =
      make_linear_solver<T>(solver)->solve(context, at.hessian, request, std::as_const(rhs).view(), q.view());
  result.x = download(context, q);
  return result;
}

LinearRequest linear(double tolerance, int max_iterations = 20000, int check_every = 4) {
  LinearRequest r;
  r.tolerance = tolerance;
  r.max_iterations = max_iterations;
  r.check_every = check_every;
  return r;
}

template <class T>
std::vector<T> random_batch(std::size_t size, Random& random) {
  return narrowed<T>(random.normal_vector(size));
}

TYPED_TEST(Stationary, TheCertificateBoundsTheTrueResidual) {
  using T = TypeParam;
  Random random(seed(41));
  RatioRecorder ratios("certificate / residual");
  TvProblem<T> p(test_device("cpu:1"), tv_model(11, 8, 0.1, 0.02), noisy_batch<T>(3, 11, 8, random));
  const Linearised<T> at(p.context, p.energy, p.y);
  const std::vector<T> b = random_batch<T>(p.y.size(), random), zero(p.y.size(), T(0));
  for (const std::string& solver : solvers)
    for (const double tolerance : {1e-1, sizeof(T) == 4 ? 3e-3 : 1e-8})
      for (const bool warm : {false, true}) {
        LinearRequest request = linear(tolerance);
        request.warm_start = warm;
        const Solved<T> s = solve(p.context, at, solver, request, b, random_batch<T>(p.y.size(), random));
        EXPECT_EQ(s.report.status, SolveStatus::converged) << s.report.message;
        EXPECT_EQ(s.report.work.gradients + s.report.work.other, 0u);
        double products = 0;
        for (std::size_t i = 0; i < p.images; ++i) {
          const Doubles q = widened(part(s.x, p.images, i));
          const Doubles product = oracle::hessian_product(p.model, p.y_of(i), q);
          const double residual = distance(product, widened(part(b, p.images, i)));
          EXPECT_LE(s.report.certificate[i], tolerance);
          EXPECT_LE(residual, s.report.certificate[i]) << solver;
          ratios.add(s.report.certificate[i] / residual);
          products += s.report.iterations[i] + (warm ? 1 : 0);
        }
        EXPECT_EQ(static_cast<double>(s.report.work.hessian_products), products);
      }
}

TYPED_TEST(Stationary, ImagesAreSolvedAsIfAloneToTheirOwnTolerance) {
  using T = TypeParam;
  Random random(seed(42));
  const oracle::TvModel model = tv_model(9, 7);
  const std::vector<T> y = noisy_batch<T>(3, 9, 7, random), b = random_batch<T>(y.size(), random),
                       zero(y.size(), T(0));
  const Doubles tolerances = {1e-2, 100.0, 1e-1};
  TvProblem<T> p(test_device("cpu:1"), model, y);
  const Linearised<T> at(p.context, p.energy, y);
  for (const std::string& solver : solvers) {
    LinearRequest request = linear(1);
    request.per_image = tolerances;
    const Solved<T> together = solve(p.context, at, solver, request, b, zero);
    for (std::size_t i = 0; i < 3; ++i) {
      TvProblem<T> single(test_device("cpu:1"), model, part(y, 3, i));
      const Linearised<T> at_single(single.context, single.energy, single.y);
      const Solved<T> alone =
          solve(single.context, at_single, solver, linear(tolerances[i]), part(b, 3, i), part(zero, 3, i));
      EXPECT_EQ(part(together.x, 3, i), alone.x) << solver;
      EXPECT_EQ(together.report.iterations[i], alone.report.iterations[0]);
    }
    EXPECT_EQ(together.report.iterations[1], 0);  // |b| meets its tolerance: q = 0
    EXPECT_EQ(part(together.x, 3, 1), std::vector<T>(63, T(0)));
  }
}

TYPED_TEST(Stationary, NothingDependsOnCheckEveryOrThreadsAndNothingIsAllocatedTwice) {
  using T = TypeParam;
  Random random(seed(43));
  const auto [height, width] = several_threads();
  const oracle::TvModel model = tv_model(height, width);
  const std::vector<T> y = noisy_batch<T>(2, height, width, random), b = random_batch<T>(y.size(), random),
                       zero(y.size(), T(0));
  for (const std::string& solver : solvers) {
    Solved<T> expected;
    for (const std::string& device : repeat_devices({"cpu:1", "cpu:2", "cpu-guarded:2"}))
      for (const int check_every : {4, 1, 90}) {
        TvProblem<T> p(device, model, y);
        const Linearised<T> at(p.context, p.energy, y);
        const Solved<T> s = solve(p.context, at, solver, linear(1.0, 20000, check_every), b, zero);
        if (expected.x.empty()) expected = s;
        EXPECT_EQ(s.report.status, SolveStatus::converged) << s.report.message;
        EXPECT_TRUE(s.x == expected.x) << solver << " on " << device << ", check_every " << check_every;
        expect_same_report(s.report, expected.report, solver);

        Tensor<T> rhs(p.context, p.shape, b), q(p.context, p.shape);
        const Counters before = p.context.counters();
        (void)make_linear_solver<T>(solver)->solve(p.context, at.hessian, linear(1.0, 20000, check_every),
                                                   std::as_const(rhs).view(), q.view());
        const Counters after = p.context.counters();
        EXPECT_EQ(after.allocations, before.allocations);
        const double most = *std::max_element(s.report.iterations.begin(), s.report.iterations.end());
        EXPECT_LE(static_cast<double>(after.host_syncs - before.host_syncs), most / check_every + 3);
      }
  }
}

TYPED_TEST(Stationary, CapsAndRoundingAreStatusesWithTrueResiduals) {
  using T = TypeParam;
  Random random(seed(44));
  TvProblem<T> p(test_device("cpu:1"), tv_model(10, 9), noisy_batch<T>(2, 10, 9, random));
  const Linearised<T> at(p.context, p.energy, p.y);
  const std::vector<T> b = random_batch<T>(p.y.size(), random), zero(p.y.size(), T(0));
  for (const std::string& solver : solvers)
    for (const bool cap : {true, false}) {
      const double floor = sizeof(T) == 4 ? 1e-6 : 1e-15;
      const Solved<T> s = solve(p.context, at, solver, cap ? linear(1e-3, 5) : linear(floor), b, zero);
      EXPECT_EQ(s.report.status, cap ? SolveStatus::iteration_cap : SolveStatus::rounding_limited)
          << s.report.message;
      EXPECT_LT(s.report.iterations[0], 2000);
      for (std::size_t i = 0; i < p.images; ++i) {
        const Doubles q = widened(part(s.x, p.images, i));
        const double residual =
            distance(oracle::hessian_product(p.model, p.y_of(i), q), widened(part(b, p.images, i)));
        EXPECT_LE(residual, s.report.certificate[i]);
        EXPECT_GT(s.report.certificate[i], cap ? 1e-3 : floor);
        EXPECT_LE(s.report.certificate[i], cap ? 1.01 * residual + 1e-3 : 1e4 * floor);
      }
    }
}

TYPED_TEST(Stationary, AZeroRightHandSideNeedsNoProduct) {
  using T = TypeParam;
  Random random(seed(45));
  TvProblem<T> p(test_device("cpu:1"), tv_model(5, 6), noisy_batch<T>(2, 5, 6, random));
  const Linearised<T> at(p.context, p.energy, p.y);
  const std::vector<T> zero(p.y.size(), T(0));
  for (const std::string& solver : solvers) {
    const Solved<T> s = solve(p.context, at, solver, linear(1e-12), zero, p.y);
    EXPECT_EQ(s.report.status, SolveStatus::converged);
    EXPECT_EQ(s.report.work, Work{});
    // nothing but what squares that underflow could have hidden
    for (double c : s.report.certificate) EXPECT_LE(c, sizeof(T) == 4 ? 1e-31 : 1e-152);
    EXPECT_EQ(s.x, zero);
  }
}

TEST(StationaryRates, RichardsonContractsAsProvedAndTheDiagonalIsSharp) {
  Random random(seed(46));
  TvProblem<double> p(test_device("cpu:1"), tv_model(10, 9), noisy_batch<double>(1, 10, 9, random));
  const Linearised<double> at(p.context, p.energy, p.y);
  const oracle::CurvatureConstants c = oracle::curvature(p.model);
  const Doubles b = random.normal_vector(90), zero(90, 0.0);
  for (const int k : {1, 10, 100}) {
    const Solved<double> s = solve(p.context, at, "gradient-descent", linear(1e-30, k), b, zero);
    EXPECT_LE(s.report.certificate[0],
              std::pow((c.L - c.mu) / (c.L + c.mu), k) * norm(b) * (1 + 2e-6) + 1e-13);
  }
  Context context(Device::open(test_device("cpu:1")));
  const PixelEnergy<double> e({1, 1, 1, 2}, {0.5, 20}, {0, 0}, curvature_of(0.5, 20));
  const Linearised<double> diagonal(context, e, {0, 0});
  const Solved<double> s =
      solve<double>(context, diagonal, "gradient-descent", linear(1e-30, 30), {1, 2}, {0, 0});
  EXPECT_NEAR(s.report.certificate[0] / (std::pow(19.5 / 20.5, 30) * std::sqrt(5)), 1, 2e-6);
}

/// Entries of the derivative of K steps x <- x - a grad + m (x - previous) with all second derivatives taken
/// at x: v = grad g, h = 0; K times: h -= a B^T v, v <- ((1 + m) - a A) v - m v_before.
Doubles unrolled(const oracle::TvModel& model, const Doubles& x, const Doubles& b, double a, double m,
                 int steps) {
  Doubles v = b, before(b.size(), 0.0), h(3, 0.0);
  for (int k = 0; k < steps; ++k) {
    const oracle::MixedScalars sums = oracle::mixed_adjoint(model, x, v);
    h[0] -= a * sums.alpha;
    h[1] -= a * sums.nu;
    h[2] -= a * sums.xi;
    const Doubles next =
        add_scaled(add_scaled(add_scaled(v, m, v), -a, oracle::hessian_product(model, x, v)), -m, before);
    before = v;
    v = next;
  }
  return h;
}

TEST(StationaryRates, IsInexactAutomaticDifferentiation) {
  Random random(seed(47));
  TvProblem<double> p(test_device("cpu:1"), tv_model(10, 9), noisy_batch<double>(1, 10, 9, random));
  const oracle::CurvatureConstants c = oracle::curvature(p.model);
  const double ratio = (std::sqrt(c.L) - std::sqrt(c.mu)) / (std::sqrt(c.L) + std::sqrt(c.mu));
  const Doubles x = add_scaled(p.y, 0.1, random.normal_vector(90)), b = random.normal_vector(90),
                zero(90, 0.0);
  const Linearised<double> at(p.context, p.energy, x);
  for (const int steps : {1, 2, 7, 60})
    for (const bool heavy : {false, true}) {
      const double a = heavy ? 4 / std::pow(std::sqrt(c.L) + std::sqrt(c.mu), 2) : 2 / (c.L + c.mu);
      const Doubles expected = unrolled(p.model, x, b, a, heavy ? ratio * ratio : 0, steps);
      const Solved<double> s =
          solve(p.context, at, heavy ? "heavy-ball" : "gradient-descent", linear(1e-30, steps), b, zero);
      EXPECT_EQ(s.report.iterations[0], steps);
      EXPECT_EQ(s.report.work.hessian_products, static_cast<std::uint64_t>(steps));
      const oracle::MixedScalars sums = oracle::mixed_adjoint(p.model, x, s.x);
      EXPECT_LE(max_relative_difference({-sums.alpha, -sums.nu, -sums.xi}, expected), 1e-12) << steps;
    }
}

TEST(StationaryMisuse, ShapesAndOptionsAreChecked) {
  Random random(seed(48));
  TvProblem<double> p(test_device("cpu:1"), tv_model(6, 5), noisy_batch<double>(2, 6, 5, random));
  const Linearised<double> at(p.context, p.energy, p.y);
  Tensor<double> wrong(p.context, {2, 1, 5, 6}), right(p.context, p.shape, p.y);
  for (const std::string& solver : solvers) {
    const auto s = make_linear_solver<double>(solver);
    EXPECT_EQ(s->name(), solver);
    EXPECT_THROW((void)s->solve(p.context, at.hessian, linear(1), wrong.view(), right.view()), ShapeError);
    EXPECT_THROW((void)s->solve(p.context, at.hessian, linear(1), right.view(), wrong.view()), ShapeError);
    EXPECT_THROW((void)s->solve(p.context, at.hessian, linear(-1), right.view(), right.view()), ConfigError);
  }
}

}  // namespace
}  // namespace bilevel
