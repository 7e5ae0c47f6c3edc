// Solvers that work in single precision and certify in double: their certificates hold for every tolerance,
// they go over to double when it asks for that, and what a solver promises holds for them too.

#include <algorithm>

#include "bilevel/model/composed_energy.hpp"
#include "tests/solve/solve_test_support.hpp"
#include "tests/support/counting_energy.hpp"
#include "tests/support/tv_setup.hpp"

namespace bilevel {
namespace {

using namespace testing_support;

const std::vector<std::string> solvers = {"newton",           "lbfgs", "fista", "fista-restart", "heavy-ball",
                                          "gradient-descent", "pdhg"};

struct Mixed : TvProblem<double> {
  Mixed(const std::string& device, const oracle::TvModel& m, Doubles data)
      : TvProblem<double>(device, m, std::move(data)) {
    energy.keep_single_precision(context);
  }
};

/// Applications in double, counted, and those in single precision, the rest of what is reported.
struct Split {
  SolveReport report;
  Doubles x;
  std::uint64_t in_double, in_single;
};
Split minimise_counted(Mixed& p, const std::string& solver, const SolveRequest<double>& request,
                       const Doubles& start) {
  CountingEnergy<double> counted(p.energy);
  Solved<double> s = minimise<double>(p.context, counted, solver, request, start);
  const std::uint64_t in_double = counted.work.total(), all = s.report.work.total();
  EXPECT_GE(all, in_double) << solver;
  return {std::move(s.report), std::move(s.x), in_double, all - in_double};
}

void expect_certified(const Mixed& p, const SolveReport& report, const Doubles& x, const std::string& what) {
  for (std::size_t i = 0; i < p.images; ++i)
    EXPECT_LE(distance(part(x, p.images, i), p.exact(i)), report.certificate[i] * (1 + 1e-9) + 1e-14)
        << what << ", image " << i;
}

TEST(MixedMinimiser, CertificatesHoldForEveryTolerance) {
  Random random(seed(501));
  const int cap = on_cuda() ? 150 : 2000;
  const Doubles accuracies = on_cuda() ? Doubles{1e-1, 1e-5, 1e-10} : Doubles{1e-1, 1e-3, 1e-5, 1e-7, 1e-10};
  for (const double nu : {1e-2, 1e-4, 1e-6}) {
    Mixed p(test_device("cpu:1"), tv_model(12, 10, 0.02, nu), noisy_batch<double>(2, 12, 10, random));
    std::vector<Doubles> starts = {p.y, Doubles(p.y.size(), 0.0), Doubles(p.y.size(), 1e4)};
    for (const std::string& solver : solvers) {
      if (nu < (on_cuda() ? 1e-2 : 1e-4) && solver != "newton" && solver != "lbfgs") continue;
      for (const Doubles& start : starts)
        for (const double tolerance : accuracies) {
          const SolveRequest<double> request = request_of<double>(tolerance, cap);
          const std::string what = solver + " nu " + std::to_string(nu) + " tolerance " +
                                   std::to_string(std::log10(tolerance)) + " start " +
                                   std::to_string(start[0]);
          const Solved<double> s = minimise(p, "mixed:" + solver, request, start);
          expect_certified(p, s.report, s.x, what);
          const Solved<double> plain = minimise(p, solver, request, start);
          // Both precisions together may take more iterations than one.
          const double most =
              *std::max_element(plain.report.iterations.begin(), plain.report.iterations.end());
          if (plain.report.status == SolveStatus::converged && nu == 1e-2 && 2 * most < cap) {
            EXPECT_EQ(s.report.status, SolveStatus::converged) << what << ": " << s.report.message;
          }
          if (s.report.status == SolveStatus::converged) {
            for (double c : s.report.certificate) EXPECT_LE(c, tolerance) << what;
          }
        }
    }
  }
}

TEST(MixedMinimiser, ConvergesWhereSinglePrecisionCannot) {
  Random random(seed(502));
  Mixed p(test_device("cpu:1"), tv_model(16, 15), noisy_batch<double>(2, 16, 15, random));
  TvProblem<float> single(test_device("cpu:1"), p.model, narrowed<float>(p.y));
  for (const std::string& solver : solvers) {
    const Solved<float> alone = minimise(single, solver, request_of<float>(1e-7, 20000), single.y);
    EXPECT_EQ(alone.report.status, SolveStatus::rounding_limited) << alone.report.message;
    const Solved<double> s = minimise(p, "mixed:" + solver, request_of<double>(1e-7), p.y);
    EXPECT_EQ(s.report.status, SolveStatus::converged) << s.report.message;
    EXPECT_EQ(s.report.message.rfind("mixed:" + solver + ":", 0), 0u) << s.report.message;
    expect_certified(p, s.report, s.x, solver);
  }
}

TEST(MixedMinimiser, GoesOverToDoubleWhenTheToleranceAsksForIt) {
  Random random(seed(503));
  Mixed p(test_device("cpu:1"), tv_model(16, 15, 0.1, 0.01), noisy_batch<double>(2, 16, 15, random));
  for (const std::string& solver : solvers) {
    const Split loose = minimise_counted(p, "mixed:" + solver, request_of<double>(3e-2), p.y);
    const Split tight = minimise_counted(p, "mixed:" + solver, request_of<double>(1e-9), p.y);
    EXPECT_EQ(loose.report.status, SolveStatus::converged) << loose.report.message;
    EXPECT_EQ(tight.report.status, SolveStatus::converged) << tight.report.message;
    std::printf("%-17s tolerance 3e-2: %4lu single %4lu double; 1e-9: %4lu single %4lu double\n",
                solver.c_str(), loose.in_single, loose.in_double, tight.in_single, tight.in_double);
    EXPECT_GT(loose.in_single, 2 * loose.in_double) << solver;
    if (solver == "newton") {
      EXPECT_EQ(tight.report.work.hessian_products, tight.in_single - tight.report.work.other);
      EXPECT_GT(tight.in_single, 2 * tight.in_double);
    } else {
      EXPECT_LE(loose.in_double, 6u) << solver;   // a certificate before and after
      EXPECT_GT(tight.in_single, 12u) << solver;  // as far as it goes
      EXPECT_GT(tight.in_double, 12u) << solver;
    }
  }
}

TEST(MixedMinimiser, WorkIsThatOfBothPrecisions) {
  Random random(seed(504));
  const oracle::TvModel model = tv_model(14, 9);
  Mixed p(test_device("cpu:1"), model, noisy_batch<double>(3, 14, 9, random));
  CountingEnergy<float> single(const_cast<Energy<float>&>(*p.energy.single_precision()));
  CountingEnergy<double> counted(p.energy, &single);
  for (const std::string& solver : solvers)
    for (const double tolerance : {1e-2, 1e-8}) {
      counted.work = single.work = {};
      const Solved<double> s =
          minimise<double>(p.context, counted, "mixed:" + solver, request_of<double>(tolerance), p.y);
      Work both = counted.work;
      both += single.work;
      EXPECT_EQ(s.report.work, both) << solver;
    }
}

TEST(MixedMinimiser, ImagesOfABatchAreSolvedAsIfAlone) {
  Random random(seed(505));
  const oracle::TvModel model = tv_model(14, 9);
  const Doubles y = noisy_batch<double>(5, 14, 9, random), tolerances = {1e-1, 1e-8, 3.0, 1e-2, 3e-4};
  Mixed batch(test_device("cpu:1"), model, y);
  for (const std::string& solver : solvers) {
    SolveRequest<double> request = request_of<double>(1);
    request.per_image = tolerances;
    const Solved<double> together = minimise(batch, "mixed:" + solver, request, y);
    EXPECT_EQ(together.report.status, SolveStatus::converged) << together.report.message;
    for (std::size_t i = 0; i < 5; ++i) {
      Mixed one(test_device("cpu:1"), model, part(y, 5, i));
      const Solved<double> alone = minimise(one, "mixed:" + solver, request_of<double>(tolerances[i]), one.y);
      EXPECT_EQ(part(together.x, 5, i), alone.x) << solver << ", image " << i;
      EXPECT_EQ(together.report.certificate[i], alone.report.certificate[0]) << solver;
      EXPECT_EQ(together.report.iterations[i], alone.report.iterations[0]) << solver;
      EXPECT_LE(together.report.certificate[i], tolerances[i]);
    }
  }
}

TEST(MixedMinimiser, NothingDependsOnCheckEveryThreadsOrMemoryGuard) {
  Random random(seed(506));
  const auto [height, width] = several_threads();
  const oracle::TvModel model = tv_model(height, width);
  const Doubles y = noisy_batch<double>(2, height, width, random);
  for (const char* solver : {"newton", "lbfgs", "fista"})
    for (const double tolerance : {0.3, 1e-5}) {
      Mixed first(test_device("cpu:1"), model, y);
      const Solved<double> expected =
          minimise(first, "mixed:" + std::string(solver), request_of<double>(tolerance, 20000, 4), y);
      EXPECT_EQ(expected.report.status, SolveStatus::converged) << expected.report.message;
      for (const std::string& device : repeat_devices({"cpu:2", "cpu:3", "cpu-guarded:2"}))
        for (const int check_every : {1, 50}) {
          Mixed p(device, model, y);
          const Solved<double> s = minimise(p, "mixed:" + std::string(solver),
                                            request_of<double>(tolerance, 20000, check_every), y);
          const std::string what = std::string(solver) + " on " + device;
          EXPECT_TRUE(s.x == expected.x) << what;
          expect_same_report(s.report, expected.report, what);
        }
    }
}

TEST(MixedMinimiser, SecondSolveAllocatesNothingAndTheHostLooksSeldom) {
  Random random(seed(507));
  Mixed p(test_device("cpu:2"), tv_model(20, 30), noisy_batch<double>(4, 20, 30, random));
  Tensor<double> x(p.context, p.shape, p.y);
  for (const std::string& solver : solvers)
    for (const double tolerance : {1e-2, 1e-8}) {
      const auto m = make_minimiser<double>("mixed:" + solver);
      const SolveRequest<double> request = request_of<double>(tolerance, 20000, 5);
      x.upload(p.context, p.y);
      (void)m->minimise(p.context, p.energy, request, x.view());
      x.upload(p.context, p.y);
      const Counters before = p.context.counters();
      const SolveReport report = m->minimise(p.context, p.energy, request, x.view());
      const Counters after = p.context.counters();
      EXPECT_EQ(after.allocations, before.allocations) << solver;
      const double most = *std::max_element(report.iterations.begin(), report.iterations.end());
      if (solver != "newton") {
        EXPECT_LE(static_cast<double>(after.host_syncs - before.host_syncs), most / 5 + 26) << solver;
      }
    }
}

TEST(MixedMinimiser, JointToleranceBoundsTheWholeBatch) {
  Random random(seed(508));
  Mixed p(test_device("cpu:1"), tv_model(12, 12), noisy_batch<double>(4, 12, 12, random));
  for (const std::string& solver : solvers)
    for (const double tolerance : {1e-2, 1e-8}) {
      SolveRequest<double> request = request_of<double>(tolerance);
      request.joint = true;
      const Solved<double> s = minimise(p, "mixed:" + solver, request, p.y);
      EXPECT_EQ(s.report.status, SolveStatus::converged) << s.report.message;
      EXPECT_LE(norm(s.report.certificate), tolerance);
      expect_certified(p, s.report, s.x, solver);
    }
}

TEST(MixedMinimiser, CapsBudgetsAndConvergedStarts) {
  Random random(seed(509));
  Mixed p(test_device("cpu:1"), tv_model(16, 11), noisy_batch<double>(3, 16, 11, random));
  for (const std::string& solver : solvers) {
    for (const int cap : {1, 2, 5}) {
      const Solved<double> s = minimise(p, "mixed:" + solver, request_of<double>(1e-12, cap), p.y);
      EXPECT_EQ(s.report.status, SolveStatus::iteration_cap) << s.report.message;
      EXPECT_EQ(s.report.iterations, Doubles(3, cap)) << solver;
      expect_certified(p, s.report, s.x, solver);
    }
    SolveRequest<double> request = request_of<double>(1e-9);
    for (const std::uint64_t budget : {1, 30, 60}) {
      request.budget = budget;
      const Solved<double> s = minimise(p, "mixed:" + solver, request, p.y);
      EXPECT_EQ(s.report.status, SolveStatus::budget) << s.report.message;
      if (solver != "newton") {
        EXPECT_LE(s.report.work.total(), budget + 12) << solver;
      }
      expect_certified(p, s.report, s.x, solver);
    }
    const Solved<double> first = minimise(p, "mixed:" + solver, request_of<double>(1e-3), p.y);
    const Solved<double> second = minimise(p, "mixed:" + solver, request_of<double>(1e-3), first.x);
    EXPECT_EQ(second.report.status, SolveStatus::converged);
    EXPECT_EQ(second.x, first.x);
    EXPECT_EQ(second.report.work, (Work{3, 0, 0}));
    EXPECT_EQ(second.report.certificate, first.report.certificate);
  }
}

TEST(MixedMinimiser, TheCallerDecidesFromCertificatesInDouble) {
  Random random(seed(510));
  Mixed p(test_device("cpu-guarded:1"), tv_model(16, 11), noisy_batch<double>(3, 16, 11, random));
  const Doubles tolerances = {5.0, 1e-8, 1e-8};
  for (const std::string& solver : solvers)
    for (const int last : {1, 2, 3, 5}) {
      int calls = 0;
      Doubles seen, certificates;
      SolveRequest<double> request = request_of<double>(1, 20000, 3);
      request.per_image = tolerances;
      request.decided = [&](Context& context, View<const double> x, std::span<const double> c) {
        seen = download(context, x);
        certificates.assign(c.begin(), c.end());
        for (std::size_t i = 0; i < 3; ++i) {
          EXPECT_LE(distance(part(seen, 3, i), p.exact(i)), c[i] * (1 + 1e-9)) << solver;
        }
        return ++calls == last;
      };
      const Solved<double> s = minimise(p, "mixed:" + solver, request, p.y);
      EXPECT_EQ(s.report.status, SolveStatus::decided) << s.report.message;
      EXPECT_EQ(s.report.image_status[0], SolveStatus::converged);
      EXPECT_EQ(s.x, seen) << solver;
      EXPECT_EQ(s.report.certificate, certificates) << solver;
    }
}

TEST(MixedMinimiser, WhatNoPrecisionReachesIsAStatus) {
  Random random(seed(511));
  Mixed p(test_device("cpu:1"), tv_model(12, 10), noisy_batch<double>(3, 12, 10, random));
  Doubles start = p.y;
  start[130] = std::numeric_limits<double>::quiet_NaN();
  for (const std::string& solver : solvers) {
    const Solved<double> limited = minimise(p, "mixed:" + solver, request_of<double>(1e-16), p.y);
    EXPECT_EQ(limited.report.status, SolveStatus::rounding_limited) << limited.report.message;
    for (double c : limited.report.certificate) EXPECT_LE(c, 1e-12) << solver;

    const Solved<double> sound = minimise(p, "mixed:" + solver, request_of<double>(1e-3), p.y);
    const Solved<double> s = minimise(p, "mixed:" + solver, request_of<double>(1e-3), start);
    EXPECT_EQ(s.report.image_status, (std::vector<SolveStatus>{SolveStatus::converged, SolveStatus::failed,
                                                               SolveStatus::converged}));
    EXPECT_TRUE(std::isinf(s.report.certificate[1]));
    EXPECT_EQ(part(s.x, 3, 0), part(sound.x, 3, 0)) << solver;
    EXPECT_EQ(part(s.x, 3, 2), part(sound.x, 3, 2)) << solver;
    SolveRequest<double> joint = request_of<double>(1e-3);
    joint.joint = true;
    EXPECT_EQ(minimise(p, "mixed:" + solver, joint, start).report.image_status,
              std::vector<SolveStatus>(3, SolveStatus::failed));
  }
}

/// Numbers that single precision cannot hold: double alone solves.
TEST(MixedMinimiser, DataBeyondSinglePrecisionAreSolvedInDouble) {
  Random random(seed(512));
  Doubles y = noisy_batch<double>(2, 9, 8, random);
  for (double& v : y) v *= 1e42;
  Mixed p(test_device("cpu:1"), tv_model(9, 8, 0.05, 1), y);
  for (const char* solver : {"newton", "lbfgs"}) {
    const Solved<double> s = minimise(p, "mixed:" + std::string(solver), request_of<double>(1e32, 100), p.y);
    const Solved<double> plain = minimise(p, solver, request_of<double>(1e32, 100), p.y);
    EXPECT_EQ(s.report.status, plain.report.status) << s.report.message;
    for (std::size_t i = 0; i < 2; ++i) EXPECT_LE(s.report.certificate[i], 2 * plain.report.certificate[i]);
  }
}

TEST(MixedMinimiser, FieldsOfExpertsAreCertifiedInDouble) {
  Random random(seed(519));
  Context context(Device::open(test_device("cpu:1")));
  const Shape shape{2, 1, 13, 12};
  const Doubles y = noisy_batch<double>(2, 13, 12, random);
  const Tensor<double> data(context, shape, y);
  for (const FilterPadding padding : {FilterPadding::symmetric, FilterPadding::valid}) {
    const Parameters parameters = experts_parameters(4, 3, FilterInit::dct, 0.05, 0.02);
    ComposedEnergy<double> energy(context, data.view(), parameters, ExpertsOptions{padding});
    energy.keep_single_precision(context);
    std::vector<double> theta = parameters.initial();
    for (double& t : theta) t += 0.1 * random.normal();
    energy.bind(theta);
    const Solved<double> exact = minimise<double>(context, energy, "newton", request_of<double>(1e-11), y);
    EXPECT_EQ(exact.report.status, SolveStatus::converged) << exact.report.message;
    for (const std::string& solver : {std::string("newton"), std::string("lbfgs")})
      for (const double tolerance : {1e-1, 1e-3, 1e-5, 1e-9}) {
        CountingEnergy<double> counted(energy);
        const Solved<double> s =
            minimise<double>(context, counted, "mixed:" + solver, request_of<double>(tolerance), y);
        EXPECT_EQ(s.report.status, SolveStatus::converged) << s.report.message;
        EXPECT_GT(s.report.work.total(), counted.work.total());
        for (std::size_t i = 0; i < 2; ++i) {
          EXPECT_LE(s.report.certificate[i], tolerance);
          EXPECT_LE(distance(part(s.x, 2, i), part(exact.x, 2, i)),
                    s.report.certificate[i] + exact.report.certificate[i]);
        }
      }
    // A q = b with the weights rounded from double.
    Tensor<double> weights(context, {2 * energy.weight_arrays(), 1, shape.h, shape.w}),
        inverse(context, shape), q(context, shape), product(context, shape);
    fill<double>(context, weights.view(), 0);
    Frame frame(context);
    ActiveSet all(context, frame, 2);
    energy.linearise(context, all.active(), data.view(), {}, weights.view(), inverse.view());
    LinearRequest request;
    request.tolerance = 1e-9;
    const SolveReport report =
        make_linear_solver<double>("mixed:pcg")
            ->solve(context, {&energy, weights.view(), inverse.view()}, request, data.view(), q.view());
    EXPECT_EQ(report.status, SolveStatus::converged) << report.message;
    const Scalars inner = frame.view<double>({2, 1, 1, 1});
    energy.hessian_product(context, all.active(), weights.view(), q.view(), product.view(), inner);
    const Doubles got = download(context, product);
    for (std::size_t i = 0; i < 2; ++i)
      EXPECT_LE(distance(part(got, 2, i), part(y, 2, i)), report.certificate[i]);
  }
}

TEST(MixedMinimiser, Misuse) {
  Random random(seed(513));
  TvProblem<double> p(test_device("cpu:1"), tv_model(6, 5), noisy_batch<double>(1, 6, 5, random));
  EXPECT_THROW((void)make_minimiser<float>("mixed:newton"), ConfigError);
  EXPECT_THROW((void)make_linear_solver<float>("mixed:pcg"), ConfigError);
  EXPECT_THROW((void)make_minimiser<double>("mixed:mixed:newton"), ConfigError);
  EXPECT_THROW((void)make_minimiser<double>("mixed:unknown"), ConfigError);
  EXPECT_THROW((void)make_linear_solver<double>("mixed:"), ConfigError);
  for (const std::string& solver : solvers) {
    EXPECT_EQ(make_minimiser<double>("mixed:" + solver)->name(), "mixed:" + solver);
    EXPECT_THROW((void)minimise(p, "mixed:" + solver, request_of<double>(1), p.y), ConfigError);
  }
}

TEST(SinglePrecisionTwin, FollowsThetaAndTheModel) {
  Random random(seed(514));
  for (const oracle::NamedModel& named : oracle::model_collection(9, 8, random)) {
    SCOPED_TRACE(named.name);
    TvSetup<double> setup(random_instance(named.model, 2, 0.1, random));
    setup.energy->keep_single_precision(setup.context);
    std::vector<double> theta = setup.instance.theta();
    for (int move = 0; move < 2; ++move) {
      for (double& t : theta) t += move * 0.1;
      setup.energy->bind(theta);
      const TvInstance moved = setup.instance.at(theta);
      const Energy<float>& twin = *setup.energy->single_precision();
      EXPECT_EQ(twin.curvature().lipschitz, setup.energy->curvature().lipschitz);
      EXPECT_EQ(twin.curvature().mu, setup.energy->curvature().mu);
      Frame frame(setup.context);
      ActiveSet all(setup.context, frame, 2);
      Tensor<float> x(setup.context, moved.shape(), flat<float>(moved.truth)),
          g(setup.context, moved.shape());
      Tensor<double> sums(setup.context, {3, 2, 1, 1});
      double* s = sums.view().device_data();
      const Shape two{2, 1, 1, 1};
      twin.value_and_gradient(setup.context, all.active(), x.view(), g.view(),
                              {{s, two}, {s + 2, two}, {s + 4, two}});
      const std::vector<Image> got = unflatten(widened(download(setup.context, g)), 2);
      for (std::size_t i = 0; i < 2; ++i) {
        const Image want = oracle::gradient(moved.model, moved.y[i], moved.truth[i]);
        EXPECT_LE(distance(got[i], want),
                  4e-7 * setup.energy->curvature().lipschitz * (norm(moved.truth[i]) + norm(moved.y[i])));
      }
      const Doubles values = download(setup.context, sums);
      EXPECT_EQ(values[4], 0);
      EXPECT_EQ(values[5], 0);
    }
  }
}

/// A linear system per image: the Hessian at y, random right-hand sides.
struct System {
  TvSetup<double> setup;
  Tensor<double> x, weights, inverse, q;
  std::vector<Image> rhs;
  Tensor<double> b;

  System(const TvInstance& instance, Random& random, const std::string& device = test_device("cpu:1"))
      : setup(instance, device),
        x(setup.tensor(setup.instance.y)),
        weights(setup.context, {instance.images() * setup.energy->weight_arrays(), 1, instance.model.height,
                                instance.model.width}),
        inverse(setup.context, instance.shape()),
        q(setup.context, instance.shape()) {
    setup.energy->keep_single_precision(setup.context);
    Frame frame(setup.context);
    ActiveSet all(setup.context, frame, instance.images());
    setup.energy->linearise(setup.context, all.active(), x.view(), {}, weights.view(), inverse.view());
    for (const Image& y : instance.y) rhs.push_back(random.normal_vector(y.size()));
    b = setup.tensor(rhs);
    fill<double>(setup.context, q.view(), 0);
  }
  SolveReport solve(const LinearRequest& request, const std::string& name,
                    const Energy<double>* energy = nullptr) {
    return make_linear_solver<double>(name)->solve(
        setup.context, {energy ? energy : setup.energy, weights.view(), inverse.view()}, request, b.view(),
        q.view());
  }
  /// |A q_i - b_i| by the oracle.
  double residual(std::size_t i) {
    return distance(oracle::hessian_product(setup.instance.model, setup.instance.y[i], setup.images(q)[i]),
                    rhs[i]);
  }
};

LinearRequest asking(double tolerance, bool warm = false) {
  LinearRequest request;
  request.tolerance = tolerance;
  request.warm_start = warm;
  return request;
}

TEST(MixedLinearSolver, ResidualsAreThoseOfTheReturnedPoint) {
  Random random(seed(515));
  for (const oracle::NamedModel& named : oracle::model_collection(13, 12, random)) {
    SCOPED_TRACE(named.name);
    System system(random_instance(named.model, 3, 0.1, random), random);
    CountingEnergy<double> counted(*system.setup.energy);
    for (const char* name : {"mixed:pcg", "mixed:cg"})
      for (const double tolerance : {1e-1, 1e-3, 1e-6, 1e-9}) {
        counted.work = {};
        const SolveReport report = system.solve(asking(tolerance), name, &counted);
        EXPECT_EQ(report.status, SolveStatus::converged) << report.message;
        for (std::size_t i = 0; i < 3; ++i) {
          EXPECT_LE(report.certificate[i], tolerance);
          EXPECT_LE(system.residual(i), report.certificate[i] * (1 + 1e-6) + 1e-13);
        }
        // A product in double per round, each of which wins four digits.
        EXPECT_LE(counted.work.hessian_products, 3u * 5u) << tolerance;
        EXPECT_GT(report.work.hessian_products, 2 * counted.work.hessian_products) << tolerance;
      }
  }
}

TEST(MixedLinearSolver, SolvesWhatItCannotRefineInDouble) {
  Random random(seed(516));
  oracle::TvModel model;
  model.height = 24;
  model.width = 23;
  model.alpha = 0.5;
  for (const double nu : {1e-3, 1e-5}) {
    model.nu = nu;
    for (const double noise_level : {0.0, 0.1}) {
      System system(random_instance(model, 2, noise_level, random), random);
      for (const char* name : {"mixed:pcg", "mixed:cg"}) {
        const SolveReport report = system.solve(asking(1e-7), name);
        EXPECT_EQ(report.status, SolveStatus::converged) << report.message << " nu " << nu;
        for (std::size_t i = 0; i < 2; ++i)
          EXPECT_LE(system.residual(i), report.certificate[i] * (1 + 1e-6) + 1e-10);
      }
    }
  }
}

TEST(MixedLinearSolver, StatusesCapsAndWarmStarts) {
  Random random(seed(517));
  oracle::TvModel model;
  model.height = 20;
  model.width = 21;
  System system(random_instance(model, 3, 0.1, random), random);
  for (const char* name : {"mixed:pcg", "mixed:gradient-descent", "mixed:heavy-ball"}) {
    const SolveReport cold = system.solve(asking(1e-7), name);
    EXPECT_EQ(cold.status, SolveStatus::converged) << cold.message;
    const SolveReport warm = system.solve(asking(1e-7, true), name);
    EXPECT_EQ(warm.work, (Work{0, 3, 0})) << name;
    EXPECT_EQ(warm.certificate, cold.certificate);
  }
  const SolveReport limited = system.solve(asking(1e-18), "mixed:pcg");
  EXPECT_EQ(limited.status, SolveStatus::rounding_limited) << limited.message;
  for (std::size_t i = 0; i < 3; ++i) EXPECT_LE(limited.certificate[i], 1e-11);

  for (const int cap : {1, 7}) {
    LinearRequest request = asking(1e-9);
    request.max_iterations = cap;
    const SolveReport capped = system.solve(request, "mixed:pcg");
    EXPECT_EQ(capped.status, SolveStatus::iteration_cap) << capped.message;
    for (double k : capped.iterations) EXPECT_LE(k, cap);
    for (std::size_t i = 0; i < 3; ++i) EXPECT_LE(system.residual(i), capped.certificate[i] * (1 + 1e-6));
  }
  const Doubles tolerances = {1e3, 1e-8, 3e-1};
  LinearRequest each;
  each.per_image = tolerances;
  const SolveReport report = system.solve(each, "mixed:pcg");
  for (std::size_t i = 0; i < 3; ++i) EXPECT_LE(report.certificate[i], tolerances[i]);
  EXPECT_EQ(report.iterations[0], 0);
  EXPECT_GT(report.iterations[1], report.iterations[2]);

  std::vector<Image> bad = system.rhs;
  bad[1][3] = std::nan("");
  system.b.upload(system.setup.context, flat<double>(bad));
  const SolveReport failed = system.solve(asking(1e-6), "mixed:pcg");
  EXPECT_EQ(failed.image_status,
            (std::vector<SolveStatus>{SolveStatus::converged, SolveStatus::failed, SolveStatus::converged}));
}

TEST(MixedLinearSolver, SameBitsForAnyThreadsAndNoAllocation) {
  const auto [height, width] = several_threads();
  oracle::TvModel model;
  model.height = height;
  model.width = width;
  Random data(seed(518));
  const TvInstance instance = random_instance(model, 2, 0.1, data);
  Random first_rhs(5);
  System first(instance, first_rhs);
  const SolveReport expected = first.solve(asking(1e-7), "mixed:pcg");
  const Doubles bits = download(first.setup.context, first.q);
  for (const std::string& device : repeat_devices({"cpu:2", "cpu:3", "cpu-guarded:2"})) {
    Random rhs(5);
    System other(instance, rhs, device);
    LinearRequest request = asking(1e-7);
    request.check_every = 9;
    const SolveReport report = other.solve(request, "mixed:pcg");
    EXPECT_TRUE(download(other.setup.context, other.q) == bits) << device;
    EXPECT_EQ(report.certificate, expected.certificate) << device;
    EXPECT_EQ(report.work, expected.work) << device;
  }
  const Counters before = first.setup.context.counters();
  const SolveReport again = first.solve(asking(1e-7), "mixed:pcg");
  const Counters after = first.setup.context.counters();
  EXPECT_EQ(after.allocations, before.allocations);
  const double most = *std::max_element(again.iterations.begin(), again.iterations.end());
  EXPECT_LE(static_cast<double>(after.host_syncs - before.host_syncs), most / 4 + 14);
}

}  // namespace
}  // namespace bilevel
