// What every lower-level solver with one gradient per iteration promises: gradient descent, heavy ball,
// FISTA with and without restart, L-BFGS.

#include "tests/solve/pixel_energy.hpp"

namespace bilevel {
namespace {

using namespace testing_support;

const std::vector<std::string> solvers = {"gradient-descent", "heavy-ball", "fista", "fista-restart",
                                          "lbfgs"};

template <class T>
class FirstOrder : public ::testing::Test {};
using Precisions = ::testing::Types<float, double>;
TYPED_TEST_SUITE(FirstOrder, Precisions);

/// |grad Phi| / mu at a point, by the oracle.
template <class T>
double oracle_certificate(const TvProblem<T>& p, std::size_t i, const std::vector<T>& x) {
  return norm(oracle::gradient(p.model, p.y_of(i), widened(part(x, p.images, i)))) /
         oracle::curvature(p.model).mu;
}

/// Starts: the data, zero, a constant, noise of size 3, checkerboard, spikes.
template <class T>
std::vector<std::vector<T>> starts(const TvProblem<T>& p, Random& random) {
  const int h = p.model.height, w = p.model.width;
  std::vector<std::vector<T>> result = {p.y};
  for (const Doubles& image : {constant(h, w, 0), constant(h, w, 7), noise(h, w, 3, random),
                               checkerboard(h, w, 2), spike(h, w, 0, 0, 50)}) {
    std::vector<T> batch;
    for (std::size_t i = 0; i < p.images; ++i) append(batch, image);
    result.push_back(batch);
  }
  return result;
}

TYPED_TEST(FirstOrder, CertificateBoundsTheDistanceToTheExactMinimiser) {
  using T = TypeParam;
  Random random(seed(11));
  RatioRecorder ratios("certificate / distance");
  for (const bool huber : {false, true}) {
    oracle::TvModel model = tv_model(11, 9, random.log_uniform(0.03, 0.2), random.log_uniform(0.01, 0.03));
    if (huber) model.potential = oracle::Potential::huber_c2;
    TvProblem<T> p(test_device("cpu:1"), model, noisy_batch<T>(on_cuda() ? 1 : 3, 11, 9, random));
    for (const std::string& solver : solvers)
      for (const std::vector<T>& start : starts(p, random))
        for (const double tolerance : {1e-1, 2e-3}) {
          const Solved<T> s = minimise(p, solver, request_of<T>(tolerance), start);
          EXPECT_EQ(s.report.status, SolveStatus::converged) << s.report.message;
          for (std::size_t i = 0; i < p.images; ++i) {
            EXPECT_LE(s.report.certificate[i], tolerance);
            const double error = distance(widened(part(s.x, p.images, i)), p.exact(i));
            EXPECT_LE(error, s.report.certificate[i]) << solver;
            ratios.add(s.report.certificate[i] / error);
          }
        }
  }
}

TYPED_TEST(FirstOrder, ImagesOfABatchAreSolvedAsIfAlone) {
  using T = TypeParam;
  Random random(seed(12));
  const oracle::TvModel model = tv_model(14, 9);
  const std::vector<T> y = noisy_batch<T>(5, 14, 9, random);
  const Doubles tolerances = {1e-1, 1e-3, 3.0, 1e-2, 3e-3};
  TvProblem<T> batch(test_device("cpu:1"), model, y);
  for (const std::string& solver : solvers) {
    SolveRequest<T> request = request_of<T>(1);
    request.per_image = tolerances;
    const Solved<T> together = minimise(batch, solver, request, y);
    EXPECT_EQ(together.report.status, SolveStatus::converged) << together.report.message;
    Work work;
    for (std::size_t i = 0; i < 5; ++i) {
      TvProblem<T> single(test_device("cpu:1"), model, part(y, 5, i));
      const Solved<T> alone = minimise(single, solver, request_of<T>(tolerances[i]), single.y);
      EXPECT_EQ(part(together.x, 5, i), alone.x) << solver << ", image " << i;
      EXPECT_EQ(together.report.certificate[i], alone.report.certificate[0]) << solver;
      EXPECT_EQ(together.report.iterations[i], alone.report.iterations[0]) << solver;
      EXPECT_LE(alone.report.certificate[0], tolerances[i]);
      work += alone.report.work;
    }
    EXPECT_EQ(together.report.work, work) << solver;
  }
}

TYPED_TEST(FirstOrder, NothingDependsOnCheckEveryThreadsOrMemoryGuard) {
  using T = TypeParam;
  Random random(seed(13));
  const auto [height, width] = several_threads();
  const oracle::TvModel model = tv_model(height, width);
  const std::vector<T> y = noisy_batch<T>(3, height, width, random);
  for (const std::string& solver : solvers) {
    TvProblem<T> first(test_device("cpu:1"), model, y);
    const Solved<T> expected = minimise(first, solver, request_of<T>(0.3, 20000, 4), y);
    EXPECT_EQ(expected.report.status, SolveStatus::converged) << expected.report.message;
    for (const std::string& device : repeat_devices({"cpu:1", "cpu:2", "cpu:3", "cpu-guarded:2"}))
      for (const int check_every : {1, 7, 200}) {
        TvProblem<T> p(device, model, y);
        const Solved<T> s = minimise(p, solver, request_of<T>(0.3, 20000, check_every), y);
        const std::string what = solver + " on " + device + ", check_every " + std::to_string(check_every);
        EXPECT_TRUE(s.x == expected.x) << what;
        expect_same_report(s.report, expected.report, what);
      }
  }
}

TYPED_TEST(FirstOrder, SecondSolveAllocatesNothingAndTheHostLooksSeldom) {
  using T = TypeParam;
  Random random(seed(14));
  TvProblem<T> p(test_device("cpu:2"), tv_model(20, 30), noisy_batch<T>(4, 20, 30, random));
  Tensor<T> x(p.context, p.shape, p.y);
  for (const std::string& solver : solvers)
    for (const int check_every : {1, 5, 50}) {
      const auto m = make_minimiser<T>(solver);
      x.upload(p.context, p.y);
      (void)m->minimise(p.context, p.energy, request_of<T>(1e-2), x.view());
      x.upload(p.context, p.y);
      const Counters before = p.context.counters();
      const SolveReport report =
          m->minimise(p.context, p.energy, request_of<T>(1e-2, 20000, check_every), x.view());
      const Counters after = p.context.counters();
      EXPECT_EQ(after.allocations, before.allocations) << solver;
      const double most = *std::max_element(report.iterations.begin(), report.iterations.end());
      EXPECT_GT(most, 5) << solver;
      EXPECT_LE(static_cast<double>(after.host_syncs - before.host_syncs), most / check_every + 3) << solver;
    }
}

TYPED_TEST(FirstOrder, JointToleranceBoundsTheWholeBatch) {
  using T = TypeParam;
  Random random(seed(15));
  TvProblem<T> p(test_device("cpu:1"), tv_model(12, 12), noisy_batch<T>(4, 12, 12, random));
  for (const std::string& solver : solvers) {
    SolveRequest<T> request = request_of<T>(5e-3);
    request.joint = true;
    const Solved<T> s = minimise(p, solver, request, p.y);
    EXPECT_EQ(s.report.status, SolveStatus::converged) << s.report.message;
    EXPECT_LE(norm(s.report.certificate), 5e-3);
    double error2 = 0;
    for (std::size_t i = 0; i < p.images; ++i) {
      const double error = distance(widened(part(s.x, p.images, i)), p.exact(i));
      EXPECT_LE(error, s.report.certificate[i]) << solver;
      EXPECT_EQ(s.report.iterations[i], s.report.iterations[0]);
      error2 += error * error;
    }
    EXPECT_LE(std::sqrt(error2), 5e-3);
  }
}

TYPED_TEST(FirstOrder, ACapIsAStatusWithTheCertificateOfTheReturnedPoint) {
  using T = TypeParam;
  Random random(seed(16));
  TvProblem<T> p(test_device("cpu:1"), tv_model(16, 11), noisy_batch<T>(3, 16, 11, random));
  for (const std::string& solver : solvers)
    for (const int cap : {1, 2, 5, 9}) {
      const Solved<T> s = minimise(p, solver, request_of<T>(1e-4, cap), p.y);
      EXPECT_EQ(s.report.status, SolveStatus::iteration_cap);
      EXPECT_NE(s.report.message.find("cap"), std::string::npos) << s.report.message;
      EXPECT_EQ(s.report.work.gradients, 3u * static_cast<unsigned>(cap + 1));
      for (std::size_t i = 0; i < p.images; ++i) {
        EXPECT_EQ(s.report.image_status[i], SolveStatus::iteration_cap);
        EXPECT_EQ(s.report.iterations[i], cap);
        const double certificate = oracle_certificate(p, i, s.x);
        EXPECT_NEAR(s.report.certificate[i] / certificate, 1, sizeof(T) == 4 ? 1e-4 : 2e-6) << solver;
        EXPECT_LE(distance(widened(part(s.x, p.images, i)), p.exact(i)), s.report.certificate[i]);
      }
    }
}

TYPED_TEST(FirstOrder, AConvergedStartTakesOneGradientAndNoStep) {
  using T = TypeParam;
  Random random(seed(17));
  TvProblem<T> p(test_device("cpu:1"), tv_model(16, 11), noisy_batch<T>(3, 16, 11, random));
  for (const std::string& solver : solvers) {
    const Solved<T> first = minimise(p, solver, request_of<T>(1e-3), p.y);
    const Solved<T> second = minimise(p, solver, request_of<T>(1e-3), first.x);
    EXPECT_EQ(second.report.status, SolveStatus::converged);
    EXPECT_EQ(second.x, first.x);
    EXPECT_EQ(second.report.iterations, Doubles(3, 0.0));
    EXPECT_EQ(second.report.certificate, first.report.certificate);
    EXPECT_EQ(second.report.work, (Work{3, 0, 0}));
  }
}

TYPED_TEST(FirstOrder, ABudgetIsKeptAndReported) {
  using T = TypeParam;
  Random random(seed(18));
  TvProblem<T> p(test_device("cpu:1"), tv_model(16, 11), noisy_batch<T>(4, 16, 11, random));
  const Doubles tolerances = {5.0, 1e-3, 1e-3, 1e-3};  // the first image stops at once
  for (const std::string& solver : solvers)
    for (const int check_every : {1, 4, 100}) {
      SolveRequest<T> request = request_of<T>(1, 20000, check_every);
      request.per_image = tolerances;
      request.budget = 24;  // 4 + 6 times 3 fits, one more iteration does not
      const Solved<T> s = minimise(p, solver, request, p.y);
      EXPECT_EQ(s.report.status, SolveStatus::budget) << s.report.message;
      EXPECT_EQ(s.report.image_status[0], SolveStatus::converged);
      EXPECT_EQ(s.report.work.total(), 22u) << solver << ", check_every " << check_every;
      EXPECT_EQ(s.report.iterations, (Doubles{0, 6, 6, 6}));
      for (std::size_t i = 1; i < 4; ++i)
        EXPECT_NEAR(s.report.certificate[i] / oracle_certificate(p, i, s.x), 1, 1e-4) << solver;
      request.budget = 1;
      EXPECT_EQ(minimise(p, solver, request, p.y).report.work.total(),
                4u);  // a certificate costs one gradient
    }
}

TYPED_TEST(FirstOrder, TheCallerMayDecideFromCertificatesOfTheCurrentPoint) {
  using T = TypeParam;
  Random random(seed(19));
  TvProblem<T> p(test_device("cpu-guarded:1"), tv_model(16, 11), noisy_batch<T>(3, 16, 11, random));
  const Doubles tolerances = {5.0, 1e-4, 1e-4};
  for (const std::string& solver : solvers) {
    int calls = 0;
    std::vector<T> seen;
    Doubles certificates;
    SolveRequest<T> request = request_of<T>(1, 20000, 3);
    request.per_image = tolerances;
    request.decided = [&](Context& context, View<const T> x, std::span<const double> c) {
      seen = download(context, x);
      certificates.assign(c.begin(), c.end());
      return ++calls == 4;
    };
    const Solved<T> s = minimise(p, solver, request, p.y);
    EXPECT_EQ(s.report.status, SolveStatus::decided) << s.report.message;
    EXPECT_EQ(s.report.image_status[0], SolveStatus::converged);
    EXPECT_EQ(s.report.iterations, (Doubles{0, 9, 9}));
    EXPECT_EQ(s.x, seen);
    EXPECT_EQ(s.report.certificate, certificates);
    for (std::size_t i = 0; i < 3; ++i)
      EXPECT_NEAR(certificates[i] / oracle_certificate(p, i, seen), 1, 1e-4) << solver;
  }
}

TYPED_TEST(FirstOrder, ToleranceBelowTheRoundingErrorIsAStatus) {
  using T = TypeParam;
  Random random(seed(20));
  TvProblem<T> p(test_device("cpu:1"), tv_model(12, 10), noisy_batch<T>(2, 12, 10, random));
  for (const std::string& solver : solvers)
    for (const bool joint : {false, true}) {
      SolveRequest<T> request = request_of<T>(sizeof(T) == 4 ? 1e-7 : 1e-16, 20000);
      request.joint = joint;
      const Solved<T> s = minimise(p, solver, request, p.y);
      EXPECT_EQ(s.report.status, SolveStatus::rounding_limited) << s.report.message;
      EXPECT_LT(s.report.iterations[0], 3000) << solver;
      for (std::size_t i = 0; i < p.images; ++i) {
        EXPECT_LE(s.report.certificate[i], sizeof(T) == 4 ? 2e-4 : 1e-12) << solver;
        if (sizeof(T) == 4) {
          EXPECT_LE(distance(widened(part(s.x, p.images, i)), p.exact(i)), s.report.certificate[i]);
        }
      }
    }
}

TYPED_TEST(FirstOrder, AValueThatIsNotFiniteFailsItsImageOnly) {
  using T = TypeParam;
  Random random(seed(21));
  TvProblem<T> p(test_device("cpu:1"), tv_model(12, 10), noisy_batch<T>(3, 12, 10, random));
  std::vector<T> start = p.y;
  start[130] = std::numeric_limits<T>::quiet_NaN();
  for (const std::string& solver : solvers) {
    const Solved<T> sound = minimise(p, solver, request_of<T>(1e-3), p.y);
    const Solved<T> s = minimise(p, solver, request_of<T>(1e-3), start);
    EXPECT_EQ(s.report.status, SolveStatus::failed);
    EXPECT_EQ(s.report.image_status, (std::vector<SolveStatus>{SolveStatus::converged, SolveStatus::failed,
                                                               SolveStatus::converged}));
    EXPECT_TRUE(std::isinf(s.report.certificate[1]));
    EXPECT_EQ(part(s.x, 3, 0), part(sound.x, 3, 0));
    EXPECT_EQ(part(s.x, 3, 2), part(sound.x, 3, 2));
    SolveRequest<T> joint = request_of<T>(1e-3);
    joint.joint = true;
    const Solved<T> j = minimise(p, solver, joint, start);
    EXPECT_EQ(j.report.image_status, std::vector<SolveStatus>(3, SolveStatus::failed));
    EXPECT_EQ(j.report.iterations, Doubles(3, 0.0));
  }
}

TEST(FirstOrderMisuse, ShapesAndOptionsAreChecked) {
  Random random(seed(22));
  TvProblem<double> p(test_device("cpu:1"), tv_model(6, 5), noisy_batch<double>(2, 6, 5, random));
  Tensor<double> wrong(p.context, {2, 1, 5, 6});
  Tensor<double> x(p.context, p.shape, p.y);
  const Doubles three = {1, 1, 1};
  for (const std::string& solver : solvers) {
    const auto m = make_minimiser<double>(solver);
    EXPECT_EQ(m->name(), solver);
    EXPECT_THROW((void)m->minimise(p.context, p.energy, request_of<double>(1), wrong.view()), ShapeError);
    EXPECT_THROW((void)m->minimise(p.context, p.energy, request_of<double>(0), x.view()), ConfigError);
    EXPECT_THROW((void)m->minimise(p.context, p.energy, request_of<double>(1, 0), x.view()), ConfigError);
    SolveRequest<double> request;
    request.per_image = three;
    EXPECT_THROW((void)m->minimise(p.context, p.energy, request, x.view()), ShapeError);
  }
}

/// The methods as the papers print them, in double on the host.
struct Naive {
  std::function<Doubles(const Doubles&)> gradient;
  double mu, lipschitz;

  Doubles gradient_descent(Doubles x, int steps) const {
    for (int k = 0; k < steps; ++k) x = add_scaled(x, -2 / (lipschitz + mu), gradient(x));
    return x;
  }
  Doubles heavy_ball(Doubles x, int steps) const {
    const double kappa = lipschitz / mu;
    const double a = 4 / std::pow(std::sqrt(lipschitz) + std::sqrt(mu), 2);
    const double b = std::pow((std::sqrt(kappa) - 1) / (std::sqrt(kappa) + 1), 2);
    Doubles previous = x;
    for (int k = 0; k < steps; ++k) {
      const Doubles next = add_scaled(add_scaled(add_scaled(x, -a, gradient(x)), b, x), -b, previous);
      previous = x;
      x = next;
    }
    return x;
  }
  /// v_steps; with `restart` counts the restarts.
  Doubles fista(Doubles x, int steps, int* restarts = nullptr) const {
    const double q = mu / lipschitz;
    Doubles previous = x;
    double t = 0;
    for (int k = 0;; ++k) {
      const double c = 1 - q * t * t, t_next = 0.5 * (c + std::sqrt(c * c + 4 * t * t));
      const double beta = (t - 1) / t_next * (1 - q * t_next) / (1 - q);
      const Doubles v = add_scaled(add_scaled(x, beta, x), -beta, previous);
      if (k == steps) return v;
      const Doubles g = gradient(v);
      previous = x;
      x = add_scaled(v, -1 / lipschitz, g);
      t = t_next;
      if (restarts && dot(g, add_scaled(x, -1, previous)) > 0) {
        *restarts += 1;
        previous = x;
        t = 0;
      }
    }
  }
};

TEST(FirstOrderIterates, AreThoseOfThePapers) {
  Random random(seed(23));
  TvProblem<double> p(test_device("cpu:1"), tv_model(13, 8), noisy_batch<double>(1, 13, 8, random));
  const oracle::CurvatureConstants c = oracle::curvature(p.model);
  const Naive naive{[&](const Doubles& x) { return oracle::gradient(p.model, p.y, x); }, c.mu, c.L};
  for (const int steps : {1, 2, 3, 10, 40}) {
    const auto after = [&](const char* solver) {
      return minimise(p, solver, request_of<double>(1e-30, steps), p.y).x;
    };
    EXPECT_LE(max_relative_difference(after("gradient-descent"), naive.gradient_descent(p.y, steps)), 1e-13);
    EXPECT_LE(max_relative_difference(after("heavy-ball"), naive.heavy_ball(p.y, steps)), 1e-13);
    EXPECT_LE(max_relative_difference(after("fista"), naive.fista(p.y, steps)), 1e-13);
  }
}

/// Inpainting, whose mu is xi: little of the image is sampled, the true curvature is far larger.
template <class T>
TvProblem<T> inpainting(int images, int height, int width, double nu, Random& random) {
  oracle::TvModel model = tv_model(height, width, 0.05, nu);
  model.mask = random_mask(height, width, 0.5, random);
  return {test_device("cpu:1"), model, noisy_batch<T>(images, height, width, random)};
}

TEST(FirstOrderIterates, OfRestartedFistaStartAnewWhereTheStepAscends) {
  Random random(seed(26));
  TvProblem<double> p = inpainting<double>(1, 13, 8, 0.05, random);
  const oracle::CurvatureConstants c = oracle::curvature(p.model);
  const Naive naive{[&](const Doubles& x) { return oracle::gradient(p.model, p.y, x); }, c.mu, c.L};
  int restarts = 0;
  for (const int steps : {1, 2, 3, 20, 70, 200}) {
    restarts = 0;
    const Doubles expected = naive.fista(p.y, steps, &restarts);
    const Doubles x = minimise(p, "fista-restart", request_of<double>(1e-30, steps), p.y).x;
    EXPECT_LE(max_relative_difference(x, expected), 1e-12) << steps << " steps";
  }
  EXPECT_GT(restarts, 2);
}

TYPED_TEST(FirstOrder, RestartsAreDecidedPerImageAndBoundTheErrorOfInpainting) {
  using T = TypeParam;
  Random random(seed(27));
  TvProblem<T> batch = inpainting<T>(4, 14, 11, 0.02, random);
  const double tolerance = sizeof(T) == 4 ? 0.5 : 1e-2;
  const Solved<T> together = minimise(batch, "fista-restart", request_of<T>(tolerance), batch.y);
  EXPECT_EQ(together.report.status, SolveStatus::converged) << together.report.message;
  for (std::size_t i = 0; i < 4; ++i) {
    TvProblem<T> single(test_device("cpu:1"), batch.model, part(batch.y, 4, i));
    const Solved<T> alone = minimise(single, "fista-restart", request_of<T>(tolerance), single.y);
    EXPECT_EQ(part(together.x, 4, i), alone.x) << "image " << i;
    EXPECT_EQ(together.report.iterations[i], alone.report.iterations[0]) << "image " << i;
    EXPECT_LE(together.report.certificate[i], tolerance);
    EXPECT_LE(distance(widened(part(together.x, 4, i)), batch.exact(i)), together.report.certificate[i]);
  }
}

TEST(FirstOrderRates, RestartNeedsFewerGradientsWhereMuIsFarBelowTheCurvature) {
  Random random(seed(28));
  for (const double nu : {1e-2, 1e-3}) {
    TvProblem<double> p = inpainting<double>(3, 48, 48, nu, random);
    for (const double tolerance : {1.0, 1e-1, 1e-3}) {
      const auto gradients = [&](const char* solver) {
        const SolveReport r = minimise(p, solver, request_of<double>(tolerance, 100000), p.y).report;
        EXPECT_EQ(r.status, SolveStatus::converged) << r.message;
        return static_cast<double>(r.work.gradients) / 3;
      };
      const double plain = gradients("fista"), restarted = gradients("fista-restart");
      std::printf("inpainting 48 x 48, nu %.0e, tolerance %.0e: fista %.0f, fista-restart %.0f gradients\n",
                  nu, tolerance, plain, restarted);
      // What is gained grows with the accuracy and with L/mu.
      const double gain = nu < 5e-3 && tolerance < 0.5 ? 3 : 1.5;
      EXPECT_LT(gain * restarted, plain) << "nu " << nu << ", tolerance " << tolerance;
    }
  }
}

TEST(FirstOrderRates, GradientDescentContractsAsProvedAndTheQuadraticIsSharp) {
  Random random(seed(24));
  TvProblem<double> p(test_device("cpu:1"), tv_model(12, 10, 0.1, 0.02),
                      noisy_batch<double>(1, 12, 10, random));
  const oracle::CurvatureConstants c = oracle::curvature(p.model);
  const double rate = (c.L / c.mu - 1) / (c.L / c.mu + 1);
  const Doubles exact = p.exact(0), start = noise(12, 10, 5, random);
  for (const int k : {1, 5, 20, 100})
    EXPECT_LE(distance(minimise(p, "gradient-descent", request_of<double>(1e-30, k), start).x, exact),
              std::pow(rate, k) * distance(start, exact) * (1 + 1e-9));

  Context context(Device::open(test_device("cpu:1")));
  const double mu = 0.5, lipschitz = 20;
  const PixelEnergy<double> quadratic({1, 1, 1, 2}, {mu, lipschitz}, {0.3, -2.0},
                                      curvature_of(mu, lipschitz));
  const Doubles x0 = {4, 1};
  const double sharp = (lipschitz - mu) / (lipschitz + mu);
  for (const int k : {1, 7, 50}) {
    const Doubles x =
        minimise<double>(context, quadratic, "gradient-descent", request_of<double>(1e-30, k), x0).x;
    EXPECT_NEAR(distance(x, {0.3, -2.0}) / (std::pow(sharp, k) * distance(x0, {0.3, -2.0})), 1, 1e-9);
  }
}

TEST(FirstOrderRates, FistaKeepsItsEnergyBoundAndItsAPrioriCount) {
  Random random(seed(25));
  for (const double nu : {0.03, 0.003}) {
    TvProblem<double> p(test_device("cpu:1"), tv_model(12, 10, 0.1, nu),
                        noisy_batch<double>(1, 12, 10, random));
    const oracle::CurvatureConstants c = oracle::curvature(p.model);
    const double q = c.mu / c.L, kappa = 1 / q;
    const Doubles exact = p.exact(0);
    const double lowest = oracle::energy(p.model, p.y, exact);
    for (const Doubles& start : {p.y, noise(12, 10, 2, random), checkerboard(12, 10, 3)}) {
      const double distance0 = distance(start, exact);
      for (const int k : {1, 2, 4, 10, 40, 100}) {
        // The solver returns v_{k-1}; x_k = v_{k-1} - 1/L grad.
        Doubles x = start;
        if (k > 1) x = minimise(p, "fista", request_of<double>(1e-30, k - 1), start).x;
        x = add_scaled(x, -1 / c.L, oracle::gradient(p.model, p.y, x));
        const double bound =
            std::min((1 + std::sqrt(q)) * std::pow(1 - std::sqrt(q), k), 4.0 / ((k + 1.0) * (k + 1.0)));
        EXPECT_LE(oracle::energy(p.model, p.y, x) - lowest, bound * c.L / 2 * distance0 * distance0 + 1e-12);
      }
      const double d0 = norm(oracle::gradient(p.model, p.y, start)) / c.mu;
      for (const double tolerance : {1e-1, 1e-3, 1e-6}) {
        const double fista = 2 * std::log(std::sqrt(kappa * (1 + std::sqrt(q))) * d0 / tolerance) /
                             -std::log(1 - std::sqrt(q));
        const double descent = std::log(d0 / tolerance) / std::log((kappa + 1) / (kappa - 1));
        EXPECT_LE(minimise(p, "fista", request_of<double>(tolerance), start).report.iterations[0],
                  std::ceil(fista));
        EXPECT_LE(minimise(p, "gradient-descent", request_of<double>(tolerance), start).report.iterations[0],
                  std::ceil(descent));
      }
    }
  }
}

TEST(FirstOrderRates, ConditionNumberOneNeedsOneStep) {
  Context context(Device::open(test_device("cpu:1")));
  const PixelEnergy<double> e({1, 1, 1, 3}, {2, 2, 2}, {1, -1, 5}, curvature_of(2, 2));
  for (const std::string& solver : solvers) {
    const Solved<double> s = minimise<double>(context, e, solver, request_of<double>(1e-10), {0, 0, 0});
    EXPECT_EQ(s.report.status, SolveStatus::converged) << s.report.message;
    EXPECT_EQ(s.report.iterations[0], 1) << solver;
  }
}

TYPED_TEST(FirstOrder, HeavyBallThatCyclesGoesOnWithFista) {
  using T = TypeParam;
  Context context(Device::open(test_device("cpu:1")));
  const double kinked_mu = 1, kinked_lipschitz = 25;
  const Naive naive{[](const Doubles& x) {
                      const double t = x[0];
                      return Doubles{t < 1 ? 25 * t : (t < 2 ? t + 24 : 25 * t - 24)};
                    },
                    kinked_mu, kinked_lipschitz};
  for (int k = 3000; k < 3010; ++k) EXPECT_GT(std::fabs(naive.heavy_ball({3.3}, k)[0]), 0.5);  // the cycle

  // The second image starts where the heavy ball converges: it is not switched.
  const PixelEnergy<T> e({2, 1, 1, 1}, {}, {0, 0}, curvature_of(kinked_mu, kinked_lipschitz));
  const Solved<T> s = minimise<T>(context, e, "heavy-ball", request_of<T>(1e-3), {T(3.3), T(0.5)});
  EXPECT_EQ(s.report.status, SolveStatus::converged) << s.report.message;
  for (const T x : s.x) EXPECT_LE(std::fabs(x), 1e-3);
  EXPECT_LE(s.report.iterations[0], 200);
  EXPECT_GE(s.report.iterations[0], 100);  // 10 sqrt(kappa) steps until the look that compares two windows
  EXPECT_LT(s.report.iterations[1], 50);

  SolveRequest<T> joint = request_of<T>(1e-3);
  joint.joint = true;
  const Solved<T> j = minimise<T>(context, e, "heavy-ball", joint, {T(3.3), T(0.5)});
  EXPECT_EQ(j.report.status, SolveStatus::converged) << j.report.message;
}

TYPED_TEST(FirstOrder, WrongConstantsEndAsFailure) {
  using T = TypeParam;
  Context context(Device::open(test_device("cpu:1")));
  const PixelEnergy<T> e({1, 1, 1, 3}, {1, 30, 100}, {0, 0, 0}, curvature_of(1, 30));
  for (const char* solver : {"gradient-descent", "heavy-ball", "fista", "fista-restart"}) {
    const Solved<T> s = minimise<T>(context, e, solver, request_of<T>(1e-3, 1000000), {1, 1, 1});
    EXPECT_EQ(s.report.status, SolveStatus::failed) << s.report.message;
    EXPECT_LT(s.report.iterations[0], 3000) << solver;
  }
}

}  // namespace
}  // namespace bilevel
