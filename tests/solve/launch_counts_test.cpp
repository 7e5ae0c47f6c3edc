// What the solvers cost beside their arithmetic: launches, host synchronisations, transfers and allocations,
// held to limits; and that replayed launch lists do what direct launches do.

#include <cstdio>

#include "device/backend.hpp"
#include "tests/solve/solve_test_support.hpp"

namespace bilevel {
namespace {

using namespace testing_support;

constexpr int images = 2, height = 20, width = 24;

/// What each solver may spend.
struct Limit {
  const char* solver;
  bool linear;
  double launches;      // per iteration, without those of a look of the host
  double more_syncs;    // of a solve, beyond iterations / check_every
  double report_bytes;  // downloaded per image and report; every look of the host takes look_bytes
  bool recorded;        // blocks of iterations have the same arguments
};
constexpr double look_bytes = 16;  // images left, iterations done
constexpr double look_launches = 1;
constexpr Limit limits[] = {
    {"gradient-descent", false, 4, 3, 24, true},
    {"heavy-ball", false, 4, 3, 24, true},
    {"fista", false, 4, 3, 24, false},
    {"fista-restart", false, 5, 3, 24, true},
    {"pdhg", false, 23, 3, 24, true},
    {"lbfgs", false, 8, 3, 24, true},
    {"pcg", true, 3, 3, 32, true},
    {"cg", true, 3, 3, 32, true},
    {"gradient-descent", true, 6, 3, 24, true},
    {"heavy-ball", true, 6, 3, 24, true},
};
constexpr double newton_launches = 3;        // per iteration of conjugate gradients
constexpr double newton_step_launches = 13;  // per Newton step beside those
constexpr double newton_step_syncs =
    3;  // beyond those of conjugate gradients: look, line search, a remainder
constexpr double newton_uploads = 0;

template <class T>
struct Run {
  SolveReport report;
  std::vector<T> x;
  Counters spent;  // by the solve

  double iterations() const { return *std::max_element(report.iterations.begin(), report.iterations.end()); }
};

/// The problem of this file on a device, to be solved from the data (or from zero) by any solver.
template <class T>
struct Bench {
  explicit Bench(int count = images, std::uint64_t seed = 17)
      : random(seed),
        problem(test_device("cpu:1"), tv_model(height, width), noisy_batch<T>(count, height, width, random)),
        x(problem.context, problem.shape, problem.y),
        q(problem.context, problem.shape),
        weights(problem.context,
                {count * problem.energy.weight_arrays(), 1, problem.shape.h, problem.shape.w}),
        inverse(problem.context, problem.shape) {
    Frame frame(problem.context);
    ActiveSet active(problem.context, frame, count);
    problem.energy.linearise(problem.context, active.active(), x.view(), {}, weights.view(), inverse.view());
    hessian = {&problem.energy, weights.view(), inverse.view()};
  }

  Run<T> run(const std::string& solver, bool linear, double tolerance, int cap, int check_every) {
    Context& context = problem.context;
    x.upload(context, problem.y);
    context.synchronise();
    Run<T> out;
    const Counters before = context.counters();
    if (linear) {
      LinearRequest request;
      request.tolerance = tolerance;
      request.max_iterations = cap;
      request.check_every = check_every;
      out.report = make_linear_solver<T>(solver)->solve(context, hessian, request,
                                                        std::as_const(problem.y_device).view(), q.view());
    } else {
      out.report = make_minimiser<T>(solver)->minimise(context, problem.energy,
                                                       request_of<T>(tolerance, cap, check_every), x.view());
    }
    out.spent = difference(context.counters(), before);
    out.x = download(context, linear ? q : x);
    return out;
  }

  static Counters difference(const Counters& after, const Counters& before) {
    return {after.launches - before.launches,
            after.allocations - before.allocations,
            after.host_syncs - before.host_syncs,
            after.bytes_uploaded - before.bytes_uploaded,
            after.bytes_downloaded - before.bytes_downloaded,
            after.bytes_allocated - before.bytes_allocated,
            after.peak_bytes - before.peak_bytes};
  }

  Random random;
  TvProblem<T> problem;
  Tensor<T> x, q, weights, inverse;
  HessianAt<T> hessian;
};

template <class T>
double reachable() {
  return sizeof(T) == 4 ? 1e-2 : 1e-4;
}

template <class T>
class LaunchCounts : public ::testing::Test {
 protected:
  static void heading() {
    std::printf("%s, %s: %d images %d x %d\n", test_device("cpu:1").c_str(),
                sizeof(T) == 4 ? "float" : "double", images, height, width);
    std::printf("%-24s %5s %6s %9s %6s %6s %9s %8s %8s\n", "solver", "every", "iter", "launches/", "syncs",
                "limit", "down B/", "up B/", "allocs");
    std::printf("%-24s %5s %6s %9s %6s %6s %9s %8s %8s\n", "", "", "", "iter", "", "", "sync", "iter", "2nd");
  }
  static void row(const std::string& name, int every, double iterations, double launches, double syncs,
                  double limit, double down, double up, double allocations) {
    std::printf("%-24s %5d %6.0f %9.2f %6.0f %6.1f %9.1f %8.1f %8.0f\n", name.c_str(), every, iterations,
                launches, syncs, limit, down, up, allocations);
  }
};
using Precisions = ::testing::Types<float, double>;
TYPED_TEST_SUITE(LaunchCounts, Precisions);

TYPED_TEST(LaunchCounts, OfAnIterationStayWithinTheLimits) {
  using T = TypeParam;
  Bench<T> bench;
  this->heading();
  for (const Limit& limit : limits)
    for (const int every : {1, 10}) {
      const std::string name = std::string(limit.solver) + (limit.linear ? " (linear)" : "");
      SCOPED_TRACE(name + ", check_every " + std::to_string(every));
      // Two solves cut short: their difference is what the iterations between cost.
      const Run<T> few = bench.run(limit.solver, limit.linear, 1e-30, 10, every);
      const Run<T> more = bench.run(limit.solver, limit.linear, 1e-30, 20, every);
      const Counters between = Bench<T>::difference(more.spent, few.spent);
      ASSERT_EQ(few.iterations(), 10);
      ASSERT_EQ(more.iterations(), 20);
      const double looks = 10.0 / every,
                   launches = (static_cast<double>(between.launches) - look_launches * looks) / 10;
      EXPECT_LE(launches, limit.launches);
      EXPECT_LE(static_cast<double>(between.host_syncs), looks);
      EXPECT_EQ(between.bytes_uploaded, 0u);
      EXPECT_LE(static_cast<double>(between.bytes_downloaded), look_bytes * looks);

      // To the tolerance, twice.
      const Run<T> first = bench.run(limit.solver, limit.linear, reachable<T>(), 20000, every);
      const Run<T> solved = bench.run(limit.solver, limit.linear, reachable<T>(), 20000, every);
      ASSERT_EQ(solved.report.status, SolveStatus::converged) << solved.report.message;
      expect_same_report(first.report, solved.report, name);
      EXPECT_EQ(first.x, solved.x);
      const double most = solved.iterations() / every + limit.more_syncs;
      const auto syncs = static_cast<double>(solved.spent.host_syncs);
      EXPECT_LE(syncs, most);
      EXPECT_EQ(solved.spent.allocations, 0u);
      EXPECT_EQ(solved.spent.bytes_allocated, 0u);
      // A linear solve reports in the beginning and in the end.
      const double reports = limit.linear && limit.report_bytes > 24 ? 2 : 1;
      EXPECT_LE(static_cast<double>(solved.spent.bytes_downloaded),
                look_bytes * (syncs - reports) + reports * limit.report_bytes * images);
      this->row(name, every, solved.iterations(), launches, syncs, most,
                static_cast<double>(solved.spent.bytes_downloaded) / syncs,
                static_cast<double>(between.bytes_uploaded) / 10,
                static_cast<double>(solved.spent.allocations));
    }
}

/// One image, so that the products with the Hessian are the iterations of conjugate gradients.
TYPED_TEST(LaunchCounts, OfANewtonStepStayWithinTheLimits) {
  using T = TypeParam;
  Bench<T> bench(1);
  this->heading();
  for (const int every : {1, 4, 10}) {
    SCOPED_TRACE("check_every " + std::to_string(every));
    bench.run("newton", false, reachable<T>(), 100, every);
    const Run<T> solved = bench.run("newton", false, reachable<T>(), 100, every);
    ASSERT_EQ(solved.report.status, SolveStatus::converged) << solved.report.message;
    const double steps = solved.iterations();
    ASSERT_GE(steps, 2);
    const auto products = static_cast<double>(solved.report.work.hessian_products);
    const auto syncs = static_cast<double>(solved.spent.host_syncs);
    // The first look, before any step, and the report.
    const double most = products / every + newton_step_syncs * steps + 2;
    EXPECT_LE(syncs, most);
    // Iterations that are enqueued run in whole blocks, and looks of the host launch too.
    const double enqueued = every == 1 ? products : products + steps * (every - 1);
    const auto launches = static_cast<double>(solved.spent.launches);
    EXPECT_LE(launches - look_launches * syncs,
              newton_launches * enqueued + newton_step_launches * (steps + 1));
    EXPECT_LE(static_cast<double>(solved.spent.bytes_downloaded), look_bytes * (syncs - 1) + 24);
    EXPECT_LE(static_cast<double>(solved.spent.bytes_uploaded), newton_uploads);
    EXPECT_EQ(solved.spent.allocations, 0u);
    this->row("newton", every, products, launches / products, syncs, most,
              static_cast<double>(solved.spent.bytes_downloaded) / syncs,
              static_cast<double>(solved.spent.bytes_uploaded) / products,
              static_cast<double>(solved.spent.allocations));
    std::printf("  %.0f Newton steps, %.1f launches per step beside conjugate gradients and looks\n", steps,
                (launches - syncs - newton_launches * products) / steps);
  }
}

/// A back end that counts what is replayed and can refuse to record.
class Watched final : public Backend {
 public:
  Watched(std::unique_ptr<Backend> real, bool record) : real_(std::move(real)), record_(record) {}
  int replays = 0;

  void* allocate(std::size_t bytes) override { return real_->allocate(bytes); }
  void* allocate_zeros(std::size_t bytes) override { return real_->allocate_zeros(bytes); }
  void release(void* memory) noexcept override { real_->release(memory); }
  void upload(void* target, const void* source, std::size_t bytes) override {
    real_->upload(target, source, bytes);
  }
  void download(void* target, const void* source, std::size_t bytes) override {
    real_->download(target, source, bytes);
  }
  std::unique_ptr<Arrival> fetch(const void* source, std::size_t bytes) override {
    return real_->fetch(source, bytes);
  }
  void copy(void* target, const void* source, std::size_t bytes) override {
    real_->copy(target, source, bytes);
  }
  void synchronise() override { real_->synchronise(); }
  void enter() override { real_->enter(); }
  void leave(const char* kernel) override { real_->leave(kernel); }
  void* queue() override { return real_->queue(); }
  bool records() const override { return record_ && real_->records(); }
  void begin_recording() override { real_->begin_recording(); }
  std::unique_ptr<Recording> end_recording() override {
    return std::make_unique<Counted>(real_->end_recording(), replays);
  }
  void stop_recording() noexcept override { real_->stop_recording(); }

 private:
  struct Counted final : Recording {
    Counted(std::unique_ptr<Recording> inner, int& count) : real(std::move(inner)), replays(count) {}
    void replay() override {
      replays += 1;
      real->replay();
    }
    std::unique_ptr<Recording> real;
    int& replays;
  };
  std::unique_ptr<Backend> real_;
  bool record_;
};

/// Lets a context record its launches, or run them one by one.
Watched& watch(Context& context, bool record) {
  auto watched = std::make_unique<Watched>(std::move(context.impl().backend), record);
  Watched& out = *watched;
  context.impl().backend = std::move(watched);
  return out;
}

std::vector<Limit> all_solvers() {
  std::vector<Limit> out(std::begin(limits), std::end(limits));
  out.push_back({"newton", false, newton_launches, newton_step_syncs, 24, true});
  return out;
}

TYPED_TEST(LaunchCounts, AReplayedListDoesWhatItsLaunchesDo) {
  using T = TypeParam;
  Bench<T> replayed, direct;
  const Watched& recorder = watch(replayed.problem.context, true);
  const Watched& plain = watch(direct.problem.context, false);
  const bool records = replayed.problem.context.impl().backend->records();
  EXPECT_EQ(records, on_cuda());
  for (const auto& [solver, linear, launches, syncs, bytes, recorded] : all_solvers())
    for (const int every : {1, 4}) {
      SCOPED_TRACE(std::string(solver) + (linear ? " (linear)" : "") + ", check_every " +
                   std::to_string(every));
      const int before = recorder.replays;
      const Run<T> a = replayed.run(solver, linear, reachable<T>(), 20000, every);
      const Run<T> b = direct.run(solver, linear, reachable<T>(), 20000, every);
      expect_same_report(a.report, b.report, solver);
      EXPECT_EQ(a.x, b.x);
      EXPECT_EQ(a.spent.launches, b.spent.launches);
      EXPECT_EQ(a.spent.host_syncs, b.spent.host_syncs);
      EXPECT_EQ(a.spent.bytes_downloaded, b.spent.bytes_downloaded);
      EXPECT_EQ(a.spent.bytes_uploaded, b.spent.bytes_uploaded);
      if (records && every == 1) {
        EXPECT_EQ(recorder.replays > before, recorded);
      }
    }
  EXPECT_EQ(plain.replays, 0);
}

TYPED_TEST(LaunchCounts, LooksOfTheHostChangeNoResult) {
  using T = TypeParam;
  Bench<T> bench;
  for (const auto& [solver, linear, launches, syncs, bytes, recorded] : all_solvers()) {
    SCOPED_TRACE(std::string(solver) + (linear ? " (linear)" : ""));
    const Run<T> each = bench.run(solver, linear, reachable<T>(), 20000, 1);
    const Run<T> tenth = bench.run(solver, linear, reachable<T>(), 20000, 10);
    expect_same_report(each.report, tenth.report, solver);
    EXPECT_EQ(each.x, tenth.x);
    EXPECT_LT(tenth.spent.host_syncs, each.spent.host_syncs);
  }
}

}  // namespace
}  // namespace bilevel
