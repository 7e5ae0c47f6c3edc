// The primal-dual hybrid gradient method: certificates, independence of images and threads, costs.

#include "tests/solve/pixel_energy.hpp"

namespace bilevel {
namespace {

using namespace testing_support;

template <class T>
class Pdhg : public ::testing::Test {};
using Precisions = ::testing::Types<float, double>;
TYPED_TEST_SUITE(Pdhg, Precisions);

/// Both potentials, with one or two differences per modulus, denoising and inpainting.
std::vector<oracle::TvModel> models(int height, int width, Random& random) {
  std::vector<oracle::TvModel> out;
  for (const bool huber : {false, true})
    for (const bool isotropic : {false, true})
      for (const bool masked : {false, true}) {
        oracle::TvModel m =
            tv_model(height, width, random.log_uniform(0.03, 0.2), random.log_uniform(0.01, 0.05));
        if (huber) m.potential = oracle::Potential::huber_c2;
        m.isotropic = isotropic;
        if (masked) {
          m.mask = random_mask(height, width, 0.6, random);
          m.xi = 0.02;
        }
        out.push_back(m);
      }
  return out;
}

TYPED_TEST(Pdhg, CertificateBoundsTheDistanceToTheExactMinimiser) {
  using T = TypeParam;
  Random random(seed(51));
  RatioRecorder ratios("certificate / distance");
  for (const auto& [height, width] : {std::pair{11, 9}, std::pair{1, 30}})
    for (const oracle::TvModel& model : models(height, width, random)) {
      TvProblem<T> p(test_device("cpu:1"), model, noisy_batch<T>(2, height, width, random));
      std::vector<T> zero(p.y.size(), T(0));
      for (const std::vector<T>& start : {p.y, zero})
        for (const double tolerance : {1e-1, 5e-3}) {
          const Solved<T> s = minimise(p, "pdhg", request_of<T>(tolerance), start);
          EXPECT_EQ(s.report.status, SolveStatus::converged) << s.report.message;
          for (std::size_t i = 0; i < p.images; ++i) {
            EXPECT_LE(s.report.certificate[i], tolerance);
            const double error = distance(widened(part(s.x, p.images, i)), p.exact(i));
            EXPECT_LE(error, s.report.certificate[i]);
            ratios.add(s.report.certificate[i] / error);
          }
        }
    }
}

TYPED_TEST(Pdhg, ReachesTheMinimiserOfNewton) {
  using T = TypeParam;
  Random random(seed(52));
  for (const oracle::TvModel& model : models(24, 20, random)) {
    TvProblem<T> p(test_device("cpu:1"), model, noisy_batch<T>(2, 24, 20, random));
    const double tolerance = sizeof(T) == 4 ? 1e-2 : 1e-7;
    const Solved<T> a = minimise(p, "pdhg", request_of<T>(tolerance), p.y),
                    b = minimise(p, "newton", request_of<T>(tolerance), p.y);
    EXPECT_EQ(a.report.status, SolveStatus::converged) << a.report.message;
    for (std::size_t i = 0; i < 2; ++i)
      EXPECT_LE(distance(widened(part(a.x, 2, i)), widened(part(b.x, 2, i))),
                a.report.certificate[i] + b.report.certificate[i]);
  }
}

TYPED_TEST(Pdhg, ImagesOfABatchAreSolvedAsIfAlone) {
  using T = TypeParam;
  Random random(seed(53));
  const oracle::TvModel model = tv_model(14, 9);
  const std::vector<T> y = noisy_batch<T>(4, 14, 9, random);
  const Doubles tolerances = {1e-1, 1e-3, 3.0, 1e-2};
  TvProblem<T> batch(test_device("cpu:1"), model, y);
  SolveRequest<T> request = request_of<T>(1);
  request.per_image = tolerances;
  const Solved<T> together = minimise(batch, "pdhg", request, y);
  EXPECT_EQ(together.report.status, SolveStatus::converged) << together.report.message;
  Work work;
  for (std::size_t i = 0; i < 4; ++i) {
    TvProblem<T> single(test_device("cpu:1"), model, part(y, 4, i));
    const Solved<T> alone = minimise(single, "pdhg", request_of<T>(tolerances[i]), single.y);
    EXPECT_EQ(part(together.x, 4, i), alone.x) << "image " << i;
    EXPECT_EQ(together.report.certificate[i], alone.report.certificate[0]);
    EXPECT_EQ(together.report.iterations[i], alone.report.iterations[0]);
    work += alone.report.work;
  }
  EXPECT_EQ(together.report.work, work);
}

TYPED_TEST(Pdhg, NothingDependsOnCheckEveryThreadsOrMemoryGuard) {
  using T = TypeParam;
  Random random(seed(54));
  const auto [height, width] = several_threads();
  const oracle::TvModel model = tv_model(height, width);
  const std::vector<T> y = noisy_batch<T>(2, height, width, random);
  TvProblem<T> first(test_device("cpu:1"), model, y);
  const Solved<T> expected = minimise(first, "pdhg", request_of<T>(0.3), y);
  EXPECT_EQ(expected.report.status, SolveStatus::converged) << expected.report.message;
  for (const std::string& device : repeat_devices({"cpu:1", "cpu:3", "cpu-guarded:2"}))
    for (const int check_every : {1, 7, 200}) {
      TvProblem<T> p(device, model, y);
      const Solved<T> s = minimise(p, "pdhg", request_of<T>(0.3, 20000, check_every), y);
      const std::string what = device + ", check_every " + std::to_string(check_every);
      EXPECT_TRUE(s.x == expected.x) << what;
      expect_same_report(s.report, expected.report, what);
    }
}

TYPED_TEST(Pdhg, SecondSolveAllocatesNothingAndTheHostLooksSeldom) {
  using T = TypeParam;
  Random random(seed(55));
  TvProblem<T> p(test_device("cpu:2"), tv_model(20, 30), noisy_batch<T>(3, 20, 30, random));
  Tensor<T> x(p.context, p.shape, p.y);
  const auto m = make_minimiser<T>("pdhg");
  (void)m->minimise(p.context, p.energy, request_of<T>(1e-2), x.view());
  for (const int check_every : {1, 5}) {
    x.upload(p.context, p.y);
    const Counters before = p.context.counters();
    const SolveReport report =
        m->minimise(p.context, p.energy, request_of<T>(1e-2, 20000, check_every), x.view());
    const Counters after = p.context.counters();
    EXPECT_EQ(after.allocations, before.allocations);
    const double most = *std::max_element(report.iterations.begin(), report.iterations.end());
    EXPECT_GT(most, 2);
    EXPECT_LE(static_cast<double>(after.host_syncs - before.host_syncs), most / check_every + 3);
  }
}

TYPED_TEST(Pdhg, AnIterationCostsElevenApplications) {
  using T = TypeParam;
  Random random(seed(56));
  TvProblem<T> p(test_device("cpu:1"), tv_model(16, 11), noisy_batch<T>(3, 16, 11, random));
  const Solved<T> capped = minimise(p, "pdhg", request_of<T>(1e-30, 3), p.y);
  EXPECT_EQ(capped.report.status, SolveStatus::iteration_cap);
  EXPECT_EQ(capped.report.iterations, Doubles(3, 3.0));
  EXPECT_EQ(capped.report.work, (Work{12, 0, 90}));
  SolveRequest<T> request = request_of<T>(1e-30, 20000);
  request.budget = 3 + 2 * 33 + 32;  // two iterations of three images fit
  const Solved<T> s = minimise(p, "pdhg", request, p.y);
  EXPECT_EQ(s.report.status, SolveStatus::budget) << s.report.message;
  EXPECT_EQ(s.report.work.total(), 69u);
  const Solved<T> done = minimise(p, "pdhg", request_of<T>(1e-2), p.y),
                  again = minimise(p, "pdhg", request_of<T>(1e-2), done.x);
  EXPECT_EQ(again.x, done.x);
  EXPECT_EQ(again.report.work, (Work{3, 0, 0}));
}

TYPED_TEST(Pdhg, ToleranceBelowTheRoundingErrorIsAStatus) {
  using T = TypeParam;
  Random random(seed(57));
  TvProblem<T> p(test_device("cpu:1"), tv_model(12, 10), noisy_batch<T>(2, 12, 10, random));
  const Solved<T> s = minimise(p, "pdhg", request_of<T>(sizeof(T) == 4 ? 1e-7 : 1e-16), p.y);
  EXPECT_EQ(s.report.status, SolveStatus::rounding_limited) << s.report.message;
  EXPECT_LT(s.report.iterations[0], 300);
  for (const double certificate : s.report.certificate) EXPECT_LE(certificate, sizeof(T) == 4 ? 2e-4 : 1e-12);
}

TEST(PdhgMisuse, AnEnergyWithoutProximalFormIsRefused) {
  Context context(Device::open(test_device("cpu:1")));
  const PixelEnergy<double> e({1, 1, 1, 3}, {2, 2, 2}, {1, -1, 5}, curvature_of(2, 2));
  EXPECT_EQ(make_minimiser<double>("pdhg")->name(), std::string("pdhg"));
  EXPECT_THROW((void)minimise<double>(context, e, "pdhg", request_of<double>(1e-3), {0, 0, 0}), ConfigError);
}

TEST(PdhgRates, SquaredErrorsFallByThetaPerStep) {
  Random random(seed(58));
  for (const oracle::TvModel& model : models(12, 10, random)) {
    TvProblem<double> p(test_device("cpu:1"), model, noisy_batch<double>(1, 12, 10, random));
    const ProximalConstants c = p.energy.proximal()->constants();
    const double m = 2 * std::sqrt(c.primal * c.dual) / c.norm;
    const Doubles exact = p.exact(0);
    // tau/sigma |w_0 - what|^2 <= (delta / gamma) (|K| / delta)^2 |x_0 - xhat|^2 for w_0 = grad F(K x_0)
    const double start = distance(p.y, exact) * std::sqrt(1 + c.norm * c.norm / (c.primal * c.dual));
    for (const int iterations : {1, 3, 10, 30}) {
      const Doubles x = minimise(p, "pdhg", request_of<double>(1e-30, iterations), p.y).x;
      EXPECT_LE(distance(x, exact), std::pow(1 + m, -5.0 * iterations) * start * (1 + 1e-9) + 1e-9)
          << iterations << " iterations";
    }
  }
}

TEST(PdhgRates, Counts) {
  Random random(seed(59));
  const int side = on_cuda() ? 12 : 24;
  const Doubles smoothings = on_cuda() ? Doubles{1e-2} : Doubles{1e-2, 1e-3},
                tolerances = on_cuda() ? Doubles{1e-1} : Doubles{1e-1, 1e-3};
  for (const bool masked : {false, true})
    for (const double nu : smoothings) {
      oracle::TvModel model = tv_model(side, side, 0.05, nu);
      if (masked) model.mask = random_mask(side, side, 0.5, random);
      TvProblem<double> p(test_device("cpu:1"), model, noisy_batch<double>(2, side, side, random));
      for (const double tolerance : tolerances) {
        std::printf("%s %d x %d, nu %.0e, tolerance %.0e, applications per image:",
                    masked ? "inpainting" : "denoising", side, side, nu, tolerance);
        for (const char* solver : {"pdhg", "fista", "fista-restart", "lbfgs", "newton"}) {
          const SolveReport r = minimise(p, solver, request_of<double>(tolerance, 100000), p.y).report;
          EXPECT_EQ(r.status, SolveStatus::converged) << r.message;
          std::printf(" %s %.0f", solver, static_cast<double>(r.work.total()) / 2);
        }
        std::printf("\n");
      }
    }
}

}  // namespace
}  // namespace bilevel
