// Minibatches: what is certified of a step and of the whole set against exact losses and hypergradients, the
// order of the images, resumed runs, and where runs end.

#include "bilevel/learn/stochastic.hpp"

#include <cmath>

#include "bilevel/core/error.hpp"
#include "tests/learn/batches_lab.hpp"
#include "tests/learn/experts_lab.hpp"

namespace bilevel {
namespace {

using namespace testing_support;

constexpr StochasticStep all_steps[] = {StochasticStep::plain, StochasticStep::adagrad, StochasticStep::adam,
                                        StochasticStep::certified};

TvInstance training_set(std::uint64_t from, int images = 6, int height = 6, int width = 7) {
  Random random(from);
  oracle::TvModel model;
  model.height = height;
  model.width = width;
  model.alpha = 0.03;
  model.nu = 0.02;
  return random_instance(model, images, 0.1, random);
}

StochasticOptions stepping(StochasticStep step, std::uint64_t seed = 7) {
  StochasticOptions own;
  own.step = step;
  own.seed = seed;
  own.check_gradient = true;
  return own;
}

RunOptions limits(int iterations, double step0 = 0.1, double tolerance = 0) {
  RunOptions how;
  how.options.max_iterations = iterations;
  how.options.schedule.step0 = step0;
  how.options.schedule.tolerance = tolerance;
  how.lower = 1e-3;
  how.upper = 1;
  return how;
}

/// Of batches that make up the set, the gradients' mean is that of the whole; each is that of its images.
template <class T>
void check_gradients(double accuracy) {
  Random random(seed(4201));
  const RunOptions how;
  BatchSetup<T> setup(training_set(random.bits(), 6), 2, how);
  Context& context = setup.full.context;
  const auto gradient_of = [&](const BilevelProblem<T>& problem) {
    const Tensor<T> start(context, problem.energy().shape(),
                          std::vector<T>(problem.energy().shape().count()));
    Tensor<T> x(context, problem.energy().shape());
    copy<T>(context, start.view(), x.view());
    problem.energy().bind(setup.full.instance.theta());
    SolveRequest<T> request;
    request.tolerance = accuracy;
    const SolveReport solved = make_minimiser<T>()->minimise(context, problem.energy(), request, x.view());
    HypergradientRequest wanted;
    wanted.delta = accuracy;
    return ImplicitHypergradient<T>(context, problem)
        .compute(context, setup.full.instance.theta(), x.view(), solved.certificate, wanted);
  };
  BatchRun<T> exact;
  exact.instance = setup.full.instance;
  std::vector<double> mean(2, 0);
  double omega = 0;
  for (const std::vector<int>& batch : {std::vector<int>{4, 0}, {5, 2}, {1, 3}}) {
    setup.source.load(context, batch);
    const HypergradientResult r = gradient_of(setup.source.problem());
    const auto& truth = exact.exact(batch, setup.full.instance.theta()).hypergradient;
    EXPECT_LE(distance(r.z, truth), r.omega);
    EXPECT_LE(r.omega, 0.05 * norm(truth));
    mean = add_scaled(mean, 1.0 / 3, r.z);
    omega += r.omega / 3;
  }
  const BilevelProblem<T> whole = setup.full.problem();
  const HypergradientResult r = gradient_of(whole);
  EXPECT_LE(distance(mean, r.z), r.omega + omega);
  EXPECT_LE(distance(mean, exact.exact(exact.all_images(), setup.full.instance.theta()).hypergradient),
            omega);
}

TEST(Stochastic, AMinibatchHasTheGradientOfItsImages) {
  check_gradients<double>(1e-8);
  check_gradients<float>(1e-3);
}

/// Every record of steps and of checks, at accuracies drawn at random.
template <class T>
void check_certificates(StochasticStep step, Random& random) {
  SCOPED_TRACE(name_of(step));
  StochasticOptions own = stepping(step, random.bits());
  own.accuracy_decay = random.uniform(0, 1);
  own.step_decay = random.uniform(0, 0.5);
  RunOptions how = limits(5, step == StochasticStep::plain ? 1 : 0.2);
  how.options.schedule.epsilon0 = random.log_uniform(1e-3, 1);
  how.options.schedule.delta0 = random.log_uniform(1e-3, 1);
  const BatchRun<T> run = train_batches<T>(training_set(random.bits()), 2, own, how);
  ASSERT_EQ(run.with_status(true).size(), 5u) << run.report.message;
  ASSERT_EQ(run.with_status(false).size(), 2u);
  int moved = 0;
  for (std::size_t k = 0; k < run.records.size(); ++k) {
    const IterationRecord& r = run.records[k];
    const std::vector<int> images = of_a_step(r) ? run.batches[k] : run.all_images();
    expect_true_of(run, images, r);
    EXPECT_EQ(r.gradient.size(), 2u);
    if (step != StochasticStep::certified || r.status != "minibatch") continue;
    const std::vector<double>& next =
        k + 1 < run.records.size() ? run.records[k + 1].theta : run.report.theta;
    const std::vector<double> d = add_scaled(next, -1, r.theta);
    EXPECT_LE(run.exact(images, next).f,
              run.exact(images, r.theta).f - how.options.schedule.lambda * dot(d, d) / r.step * (1 - 1e-10));
    EXPECT_GT(norm(d), 0);
    moved += 1;
  }
  if (step == StochasticStep::certified) {
    EXPECT_GT(moved, 0);
  }
  expect_true_of(run, run.all_images(), run.report.last);
  EXPECT_EQ(run.report.last.theta, run.report.theta);
}

TEST(Stochastic, RecordsAreTrueOfMinibatchesAndOfTheWholeSet) {
  Random random(seed(4202));
  for (const StochasticStep step : all_steps) {
    check_certificates<double>(step, random);
    check_certificates<float>(step, random);
  }
}

TEST(Stochastic, WithoutGradientsChecksEncloseTheLossAlone) {
  StochasticOptions own = stepping(StochasticStep::plain);
  own.check_gradient = false;
  own.check_every = 2;
  const auto run = train_batches(training_set(seed(4203)), 3, own, limits(7));
  const std::vector<IterationRecord> checks = run.with_status(false);
  ASSERT_EQ(checks.size(), 2u);
  for (std::size_t k = 0; k < checks.size(); ++k) {
    EXPECT_EQ(checks[k].iteration, 4 * static_cast<int>(k));
    expect_true_of(run, run.all_images(), checks[k]);
    EXPECT_TRUE(std::isinf(checks[k].error_bound) && std::isnan(checks[k].gradient_norm));
  }
  expect_true_of(run, run.all_images(), run.report.last);
  own.check_every = 0;
  EXPECT_TRUE(train_batches(training_set(seed(4203)), 3, own, limits(3)).with_status(false).empty());
}

TEST(Stochastic, EveryEpochHasEveryImageOnceInAnOrderOfItsOwn) {
  const auto batches_of = [&](std::uint64_t with) {
    const auto run = train_batches(training_set(seed(4204), 12, 2, 3), 3,
                                   stepping(StochasticStep::plain, with), limits(12));
    std::vector<std::vector<int>> epochs(3);
    for (std::size_t k = 0; k < run.records.size(); ++k) {
      if (!of_a_step(run.records[k])) continue;
      auto& epoch = epochs[static_cast<std::size_t>(run.records[k].iteration) / 4];
      epoch.insert(epoch.end(), run.batches[k].begin(), run.batches[k].end());
    }
    for (const std::vector<int>& epoch : epochs) {
      EXPECT_EQ(epoch.size(), 12u);
      EXPECT_EQ(std::set<int>(epoch.begin(), epoch.end()).size(), 12u);
    }
    EXPECT_NE(epochs[0], epochs[1]);
    EXPECT_NE(epochs[1], epochs[2]);
    return epochs;
  };
  const auto one = batches_of(1);
  EXPECT_EQ(one, batches_of(1));
  EXPECT_NE(one, batches_of(2));
  EXPECT_NE(one, batches_of(1ull << 40));
}

/// From the states of whole epochs, and of a run that a limit ended within one.
TEST(Stochastic, GoesOnWithTheSameBits) {
  const TvInstance set = training_set(seed(4205));
  for (const StochasticStep step : all_steps) {
    SCOPED_TRACE(name_of(step));
    const StochasticOptions own = stepping(step);
    const auto whole = train_batches(set, 2, own, limits(8));
    ASSERT_EQ(whole.states.size(), 3u);
    const auto cut = train_batches(set, 2, own, limits(4));
    ASSERT_EQ(cut.states.size(), 2u);
    const UpperState* states[] = {&whole.states[0], &whole.states[1], &cut.states[1]};
    const int at[] = {3, 6, 4};
    for (int k = 0; k < 3; ++k) {
      EXPECT_EQ(states[k]->iteration, at[k]);
      RunOptions how = limits(8);
      how.resume = states[k];
      const auto rest = train_batches(set, 2, own, how);
      EXPECT_EQ(rest.report.theta, whole.report.theta);
      EXPECT_EQ(rest.report.last.loss, whole.report.last.loss);
      EXPECT_EQ(rest.report.last.error_bound, whole.report.last.error_bound);
      EXPECT_EQ(rest.report.last.work, whole.report.last.work);
      EXPECT_EQ(rest.x, whole.x);
      EXPECT_EQ(rest.with_status(true).size(), static_cast<std::size_t>(8 - at[k]));
    }
    RunOptions how = limits(8);
    how.resume = states[0];
    EXPECT_THROW(train_batches(set, 3, own, how), ShapeError);
    EXPECT_THROW(train_batches(training_set(1, 8), 2, own, how), ShapeError);
    EXPECT_THROW(train_batches<float>(set, 2, own, how), ShapeError);
    const bool certified = step == StochasticStep::certified;
    EXPECT_THROW(
        train_batches(set, 2, stepping(certified ? StochasticStep::adam : StochasticStep::certified), how),
        ConfigError);
    UpperState bad = *states[0];
    bad.numbers[certified ? "step" : "mean"] = {-1};
    how.resume = &bad;
    EXPECT_ANY_THROW(train_batches(set, 2, own, how));
  }
}

TEST(Stochastic, TheSameBitsForAnyNumberOfThreads) {
  const TvInstance set = training_set(seed(4206), 6, 9, 11);
  for (const StochasticStep step : {StochasticStep::plain, StochasticStep::certified}) {
    RunOptions how = limits(5);
    const auto first = train_batches(set, 2, stepping(step), how);
    for (const std::string& device : repeat_devices({"cpu:2", "cpu-guarded:3"})) {
      how.device = device;
      const auto again = train_batches(set, 2, stepping(step), how);
      EXPECT_EQ(again.report.theta, first.report.theta);
      EXPECT_EQ(again.x, first.x);
    }
  }
}

/// With steps that vanish, minibatches end near where MAID on the whole set does: alpha within 10 %, the loss
/// within 0.2 % of the least.
TEST(Stochastic, EndsNearTheOptimumOfTheWholeSet) {
  TvInstance set = training_set(seed(4207), 6, 12, 12);
  set.learned = {{"alpha"}};  // with nu the optimum is at a bound, and flat
  const auto maid = train(set, limits(100, 1e-2, 1e-6));
  ASSERT_EQ(maid.report.status, UpperStatus::stationary) << maid.report.message;
  for (const StochasticStep step : all_steps) {
    SCOPED_TRACE(name_of(step));
    StochasticOptions own = stepping(step);
    own.check_every = 0;
    const bool by_length = step == StochasticStep::adam || step == StochasticStep::adagrad;
    const auto run = train_batches(set, 2, own, limits(on_cuda() ? 30 : 150, by_length ? 0.2 : 3));
    const double away = distance(run.report.theta, maid.report.theta);
    const double least = run.exact(run.all_images(), maid.report.theta).f;
    const double above = run.exact(run.all_images(), run.report.theta).f / least - 1;
    std::cout << name_of(step) << ": |theta - theta*| = " << away << ", loss above the least by "
              << 100 * above << " %, " << run.report.last.work.total() << " operators (maid "
              << maid.report.last.work.total() << ")" << std::endl;
    EXPECT_LE(away, on_cuda() ? 0.5 : std::log(1.1));
    EXPECT_LE(above, on_cuda() ? 0.05 : 0.002);
    EXPECT_GT(distance(run.report.theta, set.theta()), 3 * away) << "it began there";
  }
}

/// After two epochs a step allocates nothing, and waits no more often than before.
TEST(Stochastic, AStepAllocatesNothing) {
  const TvInstance set = training_set(seed(4208), 6, 16, 16);
  for (const StochasticStep step : all_steps) {
    SCOPED_TRACE(name_of(step));
    const auto run = train_batches(set, 2, stepping(step), limits(12));
    const Counters &before = run.counters[7], &after = run.counters.back();
    EXPECT_EQ(run.records[7].iteration, 5);
    EXPECT_EQ(after.allocations, before.allocations);
    EXPECT_EQ(after.bytes_allocated, before.bytes_allocated);
    const auto syncs = [&](std::size_t from, std::size_t to) {
      return static_cast<double>(run.counters[to].host_syncs - run.counters[from].host_syncs);
    };
    double most = 0;
    for (std::size_t k = 8; k < run.records.size(); ++k)
      if (of_a_step(run.records[k])) most = std::max(most, syncs(k - 1, k));
    std::cout << name_of(step) << ": " << most << " host synchronisations a step" << std::endl;
    if (step != StochasticStep::certified) {
      EXPECT_LE(most, 20);
    }
  }
}

/// Long theta: a fall of the exact loss of the minibatch in every step, and true records.
TEST(Stochastic, FieldsOfExperts) {
  Random random(seed(4209));
  FoeProblem m = foe_shape(4, 8, 8, 2, 3);
  m.theta = experts_parameters(2, 3, FilterInit::random, 0.05, 0.05, 1).initial();
  for (int i = 0; i < 4; ++i) {
    append(m.x_true, piecewise_constant(8, 8, 0, random));
    append(m.y, add_scaled(image_of(m.x_true, 64, i), 0.1, random.normal_vector(64)));
  }
  for (const StochasticStep step : {StochasticStep::plain, StochasticStep::certified}) {
    SCOPED_TRACE(name_of(step));
    ExpertsSetup<double> setup(m);
    ImageBatches<double> source(
        setup.context, setup.shape, 2, setup.problem.y, setup.problem.x_true,
        [&](View<const double> y) {
          return std::make_unique<ComposedEnergy<double>>(setup.context, y, setup.parameters,
                                                          options_of(setup.problem));
        },
        setup.parameters);
    WatchedBatches<double> watched(source);
    BatchRecorder seen(watched.last, setup.context);
    UpperOptions options;
    options.minimiser = "lbfgs";
    options.linear_solver = "cg";
    options.max_iterations = 4;
    options.schedule.step0 = 0.1;
    const auto optimiser = make_stochastic<double>(stepping(step), options);
    const UpperReport report = optimiser->run(setup.context, watched, setup.parameters.initial(), seen);
    EXPECT_EQ(report.status, UpperStatus::max_iterations) << report.message;
    const auto exact = [&](const std::vector<int>& images, const std::vector<double>& theta) {
      FoeProblem part = setup.at(theta);
      part.n = static_cast<int>(images.size());
      part.y.clear();
      part.x_true.clear();
      for (const int i : images) {
        append(part.y, image_of(setup.problem.y, 64, i));
        append(part.x_true, image_of(setup.problem.x_true, 64, i));
      }
      return oracle::exact_hypergradient(part);
    };
    int moved = 0;
    for (std::size_t k = 0; k < seen.records.size(); ++k) {
      const IterationRecord& r = seen.records[k];
      const std::vector<int> images = of_a_step(r) ? seen.batches[k] : std::vector<int>{0, 1, 2, 3};
      const oracle::UpperResult here = exact(images, r.theta);
      EXPECT_LE(r.loss_lower, here.f * (1 + 1e-13));
      EXPECT_GE(r.loss_upper, here.f * (1 - 1e-13));
      EXPECT_LE(distance(r.gradient, setup.map.gradient(here.hypergradient)), r.error_bound);
      if (step != StochasticStep::certified || r.status != "minibatch") continue;
      const auto& next = k + 1 < seen.records.size() ? seen.records[k + 1].theta : report.theta;
      EXPECT_LT(exact(images, next).f, here.f);
      moved += 1;
    }
    if (step == StochasticStep::certified) {
      EXPECT_GE(moved, 3);
    }
  }
}

TEST(Stochastic, EndsStationaryWhereTheWholeGradientIsSmall) {
  const auto run =
      train_batches(training_set(seed(4210)), 2, stepping(StochasticStep::plain), limits(9, 0.1, 1e3));
  EXPECT_EQ(run.report.status, UpperStatus::stationary) << run.report.message;
  EXPECT_EQ(run.report.last.iteration, 0);
  EXPECT_LE(norm(run.exact(run.all_images(), run.report.theta).hypergradient),
            run.report.last.gradient_norm + run.report.last.error_bound);
}

/// Fixed accuracies that are far too rough to tell whether a loss falls.
TEST(Stochastic, EndsWhereNoStepIsCertified) {
  RunOptions how = limits(50);
  how.options.schedule.fixed_accuracy = true;
  how.options.schedule.epsilon0 = how.options.schedule.delta0 = 10;
  const auto run = train_batches(training_set(seed(4211)), 2, stepping(StochasticStep::certified), how);
  EXPECT_EQ(run.report.status, UpperStatus::accuracy_limit) << run.report.message;
  EXPECT_NE(run.report.message.find("No minibatch of an epoch"), std::string::npos);
  for (const IterationRecord& r : run.with_status(true)) EXPECT_EQ(r.status, "skipped");
  expect_true_of(run, run.all_images(), run.report.last);
}

TEST(Stochastic, Limits) {
  const TvInstance set = training_set(seed(4212));
  const StochasticOptions own = stepping(StochasticStep::plain);
  RunOptions how = limits(50);
  how.options.budget = 300;
  const auto budget = train_batches(set, 2, own, how);
  EXPECT_EQ(budget.report.status, UpperStatus::budget);
  EXPECT_GE(budget.report.last.work.total(), 300u);
  expect_true_of(budget, budget.all_images(), budget.report.last);
  EXPECT_EQ(budget.x.size(), 6u * 42);

  how = limits(50);
  how.lives = 12;
  const auto killed = train_batches(set, 2, own, how);
  EXPECT_EQ(killed.report.status, UpperStatus::interrupted);
  EXPECT_TRUE(std::isinf(killed.report.last.loss_upper) && std::isnan(killed.report.last.loss));
  EXPECT_TRUE(killed.x.empty());
  EXPECT_EQ(killed.states.back().theta, killed.report.theta);

  how = limits(50);
  how.stop_after = 3;
  const auto stopped = train_batches(set, 2, own, how);
  EXPECT_EQ(stopped.report.status, UpperStatus::interrupted);
  EXPECT_EQ(stopped.records.size(), 3u);
  EXPECT_EQ(stopped.states.back().iteration, 2);

  const auto none = train_batches(set, 2, own, limits(0));
  EXPECT_EQ(none.report.status, UpperStatus::max_iterations);
  expect_true_of(none, none.all_images(), none.report.last);
}

TEST(Stochastic, Options) {
  const auto refused = [](auto change) {
    StochasticOptions own;
    change(own);
    EXPECT_THROW(make_stochastic<double>(own, {}), ConfigError);
  };
  StochasticOptions().validate();
  refused([](auto& o) { o.step_decay = -1; });
  refused([](auto& o) { o.accuracy_decay = NAN; });
  refused([](auto& o) { o.first_moment = 1; });
  refused([](auto& o) { o.second_moment = -0.1; });
  refused([](auto& o) { o.check_every = -1; });
  for (const StochasticStep step : all_steps) EXPECT_EQ(stochastic_step(name_of(step)), step);
  EXPECT_THROW(stochastic_step("newton"), ConfigError);
  for (const int batch : {0, -1, 4, 12}) {
    EXPECT_THROW(train_batches(training_set(1), batch, {}, limits(1)), ConfigError) << batch;
  }
}

}  // namespace
}  // namespace bilevel
