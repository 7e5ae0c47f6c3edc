// Methods, minimisers and linear solvers of a user in the place of the library's, right ones and ones that
// claim what is not so; and hypergradients without bounds.

#include <gtest/gtest.h>

#include <cmath>
#include <memory>

#include "bilevel/core/error.hpp"
#include "bilevel/learn/upper_method.hpp"
#include "tests/learn/maid_lab.hpp"
#include "tests/support/counting_energy.hpp"

namespace bilevel {
namespace {

using namespace testing_support;

TvInstance small_set(std::uint64_t from) {
  Random random(from);
  oracle::TvModel model;
  model.height = 12;
  model.width = 11;
  model.alpha = 0.05;
  model.nu = 0.05;
  TvInstance in = random_instance(model, 2, 0.1, random);
  for (oracle::Parameter& p : in.learned) p.transform = oracle::Transform::exp;
  return in;
}

// ---- methods

/// Gradient descent: refines its accuracy until |z| > 2 omega, and until the enclosures tell whether a step
/// lowers the loss.
class Descent final : public UpperMethod<double> {
 public:
  explicit Descent(UpperOracle<double>& oracle)
      : UpperMethod(oracle), now_(oracle.point()), next_(oracle.point()) {}
  UpperPoint<double>& point() override { return now_; }

  void prepare() override {
    for (const double tolerance = oracle().options().schedule.tolerance;; accuracy_ /= 2) {
      oracle().solve(now_, accuracy_);
      HypergradientRequest request;
      request.delta = accuracy_;
      gradient_ = oracle().gradient(now_, request);
      const double size = norm(gradient_.z);
      if (size + gradient_.omega <= tolerance) throw UpperStop{UpperStatus::stationary, "Done."};
      if (size > 2 * gradient_.omega) return;
    }
  }
  IterationRecord step() override {
    for (int trial = 0; trial < 60; ++trial) {
      next_.theta = oracle().problem().parameters().project(add_scaled(now_.theta, -length_, gradient_.z));
      copy<double>(oracle().context(), std::as_const(now_.x).view(), next_.x.view());
      oracle().solve(next_, accuracy_);
      if (next_.loss.lower >= now_.loss.upper) {
        length_ /= 2;
        continue;
      }
      if (next_.loss.upper >= now_.loss.lower) {
        accuracy_ /= 2;
        oracle().solve(now_, accuracy_);
        continue;
      }
      IterationRecord done = record("accepted");
      done.step = length_;
      std::swap(now_, next_);
      length_ *= 3;
      return done;
    }
    throw UpperStop{UpperStatus::line_search_failed, "No step lowers the loss."};
  }
  IterationRecord record(const char* status) override {
    IterationRecord r = oracle().record(now_, status);
    r.gradient = gradient_.z;
    r.gradient_norm = norm(gradient_.z);
    r.error_bound = gradient_.omega;
    return r;
  }
  void save(UpperState& s) const override { s.numbers = {{"accuracy", {accuracy_}}, {"length", {length_}}}; }
  void restore(const UpperState& s) override {
    accuracy_ = s.number("accuracy");
    length_ = s.number("length");
  }

 private:
  UpperPoint<double> now_, next_;
  HypergradientResult gradient_;
  double accuracy_ = 0.1, length_ = 0.1;
};

std::unique_ptr<UpperOptimiser<double>> descent(const UpperOptions& options) {
  return make_upper_optimiser<double>(
      "descent", options, [](UpperOracle<double>& oracle) { return std::make_unique<Descent>(oracle); });
}

MaidRunOf<double> descend(const TvInstance& instance, const UpperOptions& options,
                          const UpperState* resume = nullptr) {
  TvSetup<double> setup(instance);
  const BilevelProblem<double> problem = setup.problem();
  MaidRunOf<double> out;
  out.instance = setup.instance;
  const auto optimiser = descent(options);
  out.report =
      optimiser->run(setup.context, problem, setup.parameters.initial(), setup.y.view(), out.seen, resume);
  out.x = unflatten(download<double>(setup.context, optimiser->reconstructions()), instance.y.size());
  return out;
}

TEST(OwnMethod, LearnsAndItsRecordsAreTrue) {
  UpperOptions options;
  options.schedule.tolerance = 3e-3;
  options.max_iterations = 300;
  const MaidRunOf<double> run = descend(small_set(seed(1420)), options);
  EXPECT_EQ(run.report.status, UpperStatus::stationary) << run.report.message;
  ASSERT_GT(run.seen.records.size(), 2u);
  double before = HUGE_VAL;
  for (const IterationRecord& r : run.seen.records) {
    expect_true_record(run, r);
    EXPECT_LT(run.exact(r.theta).f, before);
    before = run.exact(r.theta).f;
  }
  expect_true_record(run, run.report.last);
  EXPECT_LE(norm(run.exact(run.report.theta).hypergradient), options.schedule.tolerance);
  EXPECT_EQ(run.seen.finished_calls, 1);
  std::cout << "own gradient descent: " << run.seen.records.size() << " iterations" << std::endl;
}

TEST(OwnMethod, GoesOnWithTheSameBits) {
  const TvInstance instance = small_set(seed(1421));
  UpperOptions options;
  options.max_iterations = 6;
  const MaidRunOf<double> whole = descend(instance, options);
  ASSERT_EQ(whole.seen.states.size(), 6u);
  for (const std::size_t k : {0u, 3u}) {
    const MaidRunOf<double> rest = descend(instance, options, &whole.seen.states[k]);
    EXPECT_EQ(rest.report.theta, whole.report.theta);
    EXPECT_EQ(rest.report.last.loss, whole.report.last.loss);
    EXPECT_EQ(rest.x, whole.x);
    EXPECT_EQ(rest.seen.records.size(), 5 - k);
  }
}

TEST(OwnMethod, TheLoopKeepsTheLimits) {
  const TvInstance instance = small_set(seed(1422));
  UpperOptions options;
  options.max_iterations = 2;
  EXPECT_EQ(descend(instance, options).report.status, UpperStatus::max_iterations);
  options.max_iterations = 200;
  options.budget = 500;
  EXPECT_EQ(descend(instance, options).report.status, UpperStatus::budget);
  options.budget = 0;
  options.min_progress = 0.9;
  options.progress_window = 1;
  EXPECT_EQ(descend(instance, options).report.status, UpperStatus::slow_progress);
  EXPECT_THROW(make_upper_optimiser<double>("none", options, nullptr), ConfigError);
  options.max_iterations = -1;
  EXPECT_THROW(descent(options), ConfigError);
}

// ---- minimisers

enum class Claim { right, converged_at_once, tiny_certificate };

/// Solves to the tolerance, or not at all, or to a thousand times the tolerance; in the last two cases it
/// claims a certificate of zero.
template <class T>
struct OwnMinimiser final : Minimiser<T> {
  explicit OwnMinimiser(Claim how) : claim(how) {}
  const char* name() const override { return "own"; }
  SolveReport minimise(Context& context, const Energy<T>& energy, const SolveRequest<T>& request,
                       View<T> x) const override {
    SolveReport r;
    if (claim != Claim::converged_at_once) {
      SolveRequest<T> own = request;
      if (claim == Claim::tiny_certificate) {
        own.tolerance *= 1000;
        own.decided = {};
      }
      r = make_minimiser<T>("fista-restart")->minimise(context, energy, own, x);
    }
    if (claim != Claim::right) {
      r.certificate.assign(static_cast<std::size_t>(energy.shape().n), 0);
      if (claim == Claim::tiny_certificate) r.status = SolveStatus::iteration_cap;
      r.image_status.assign(r.certificate.size(), r.status);
    }
    return r;
  }
  Claim claim;
};

TEST(OwnMinimisers, CertificatesDoNotDependOnTheirClaims) {
  for (const Claim claim : {Claim::right, Claim::converged_at_once, Claim::tiny_certificate}) {
    TvSetup<double> setup(small_set(seed(1423)));
    const std::vector<oracle::ExtendedImage> exact = exact_minimisers(setup.instance);
    const std::vector<double> theta = setup.instance.theta();
    const BilevelProblem<double> problem = setup.problem();
    UpperOptions options;
    Observer silent;
    UpperOracle<double> oracle(setup.context, problem, options, silent,
                               {std::make_shared<OwnMinimiser<double>>(claim)});
    UpperPoint<double> point = oracle.point();
    for (const double epsilon : {1e-1, 1e-3, 1e-6}) {
      point.theta = theta;
      point.x.upload(setup.context, flat<double>(setup.instance.y));
      const auto solve = [&] { oracle.solve(point, epsilon); };
      if (claim == Claim::converged_at_once)
        EXPECT_THROW(solve(), UpperStop);
      else
        EXPECT_NO_THROW(solve());
      const std::vector<Image> x = setup.images(point.x);
      for (std::size_t i = 0; i < x.size(); ++i) {
        EXPECT_GE(point.epsilon[i], exact_distance(x[i], exact[i]) * (1 - 1e-12));
        if (claim == Claim::right) {
          EXPECT_LE(point.epsilon[i], epsilon);
        }
      }
    }
  }
}

TEST(OwnMinimisers, ServeARunAndLiesEndIt) {
  const TvInstance instance = small_set(seed(1424));
  for (const bool lbfgsb : {false, true})
    for (const Claim claim : {Claim::right, Claim::converged_at_once}) {
      TvSetup<double> setup(instance, test_device("cpu:1"), 1e-3);
      const BilevelProblem<double> problem = setup.problem();
      UpperOptions options;
      options.schedule.tolerance = 1e-3;
      UpperSolvers<double> own;
      own.minimiser = std::make_shared<OwnMinimiser<double>>(claim);
      MaidRunOf<double> run;
      run.instance = setup.instance;
      run.report = (lbfgsb ? make_lbfgsb<double>(options, own) : make_maid<double>(options, own))
                       ->run(setup.context, problem, setup.parameters.initial(), setup.y.view(), run.seen);
      if (claim == Claim::right) {
        EXPECT_EQ(run.report.status, UpperStatus::stationary) << run.report.message;
        expect_true_record(run, run.report.last);
      } else {
        EXPECT_EQ(run.report.status, UpperStatus::failed);
        EXPECT_NE(run.report.message.find("own:"), std::string::npos) << run.report.message;
        const double f = run.exact(run.report.theta).f;
        EXPECT_LE(run.report.last.loss_lower, f);
        EXPECT_GE(run.report.last.loss_upper, f);
      }
    }
}

// ---- linear solvers

template <class T>
struct OwnLinearSolver final : LinearSolver<T> {
  explicit OwnLinearSolver(Claim how) : claim(how) {}
  const char* name() const override { return "own"; }
  SolveReport solve(Context& context, const HessianAt<T>& hessian, const LinearRequest& request,
                    View<const T> b, View<T> q) const override {
    SolveReport r;
    if (claim == Claim::converged_at_once) {
      fill<T>(context, q, T(0));
    } else {
      LinearRequest own = request;
      std::vector<double> loose(request.per_image.begin(), request.per_image.end());
      if (claim == Claim::tiny_certificate) {
        own.tolerance *= 1000;
        for (double& t : loose) t *= 1000;
        own.per_image = loose;
      }
      r = make_linear_solver<T>("cg")->solve(context, hessian, own, b, q);
    }
    if (claim != Claim::right) {
      r.certificate.assign(static_cast<std::size_t>(b.shape().n), 0);
      if (claim == Claim::tiny_certificate) r.status = SolveStatus::iteration_cap;
      r.image_status.assign(r.certificate.size(), r.status);
    }
    return r;
  }
  Claim claim;
};

TEST(OwnLinearSolvers, CertificatesDoNotDependOnTheirClaims) {
  RatioRecorder ratio("own linear solvers, omega / error");
  for (const Claim claim : {Claim::right, Claim::converged_at_once, Claim::tiny_certificate})
    for (const bool columns : {true, false}) {
      TvSetup<double> setup(small_set(seed(1425)));
      const std::vector<double> theta = setup.instance.theta(), exact = exact_gradient(setup.instance);
      const BilevelProblem<double> problem = setup.problem();
      ImplicitHypergradient<double> gradient(setup.context, problem,
                                             std::make_shared<OwnLinearSolver<double>>(claim));
      Tensor<double> x = setup.tensor(setup.instance.y);
      SolveRequest<double> request;
      for (const double epsilon : {1e-2, 1e-5}) {
        request.tolerance = epsilon;
        const SolveReport solved =
            make_minimiser<double>()->minimise(setup.context, *setup.energy, request, x.view());
        HypergradientRequest asked;
        asked.delta = asked.column_tolerance = epsilon;
        asked.columns = columns;
        const HypergradientResult r =
            gradient.compute(setup.context, theta, std::as_const(x).view(), solved.certificate, asked);
        EXPECT_LE(distance(r.z, exact), r.omega);
        ratio.add(r.omega / distance(r.z, exact));
        EXPECT_EQ(r.status, claim == Claim::right               ? SolveStatus::converged
                            : claim == Claim::converged_at_once ? SolveStatus::failed
                                                                : SolveStatus::iteration_cap)
            << r.message;
      }
    }
  TvSetup<double> setup(small_set(seed(1425)));
  const BilevelProblem<double> problem = setup.problem();
  EXPECT_THROW(
      ImplicitHypergradient<double>(setup.context, problem, std::shared_ptr<const LinearSolver<double>>()),
      ConfigError);
}

TEST(OwnLinearSolvers, ServeARunAndLiesEndIt) {
  for (const Claim claim : {Claim::right, Claim::converged_at_once}) {
    TvSetup<double> setup(small_set(seed(1426)));
    const BilevelProblem<double> problem = setup.problem();
    UpperOptions options;
    options.schedule.tolerance = 1e-3;
    UpperSolvers<double> own;
    own.linear = std::make_shared<OwnLinearSolver<double>>(claim);
    Recorder seen;
    const UpperReport report =
        make_maid<double>(options, own)
            ->run(setup.context, problem, setup.parameters.initial(), setup.y.view(), seen);
    EXPECT_EQ(report.status, claim == Claim::right ? UpperStatus::stationary : UpperStatus::failed)
        << report.message;
  }
}

// ---- what is paid for

TEST(HypergradientWork, BoundsArePaidForOnlyWhenAskedFor) {
  TvSetup<double> setup(small_set(seed(1427)));
  auto owned = std::make_unique<CountingEnergy<double>>(*setup.energy);
  const CountingEnergy<double>& energy = *owned;
  const BilevelProblem<double> problem(std::move(owned), std::as_const(setup.truth).view(), setup.parameters);
  const Tensor<double> x = setup.tensor(setup.instance.y);
  const std::vector<double> theta = setup.instance.theta(), epsilon = {0.1, 0.1};
  const auto compute = [&](bool bounds, Work& work) {
    HypergradientRequest request;
    request.columns = false;
    request.bounds = bounds;
    const Work before = energy.work;
    const HypergradientResult r = ImplicitHypergradient<double>(setup.context, problem)
                                      .compute(setup.context, theta, x.view(), epsilon, request);
    work = {energy.work.gradients - before.gradients, energy.work.hessian_products - before.hessian_products,
            energy.work.other - before.other};
    EXPECT_EQ(r.work.total(), work.total());
    return r;
  };
  Work plain, bounded;
  const HypergradientResult z = compute(false, plain), with = compute(true, bounded);
  EXPECT_EQ(z.z, with.z);
  EXPECT_TRUE(std::isinf(z.omega));
  for (const double b : z.block_bound) EXPECT_TRUE(std::isinf(b));
  for (const double e : z.adjoint_error) EXPECT_TRUE(std::isinf(e));
  EXPECT_TRUE(std::isfinite(with.omega));
  EXPECT_EQ(plain.gradients, 0u);
  EXPECT_EQ(plain.hessian_products, bounded.hessian_products);
  EXPECT_EQ(plain.other, 2u * 2) << "a linearisation and B^T q of two images";
  EXPECT_EQ(bounded.gradients, 2u);
  EXPECT_GT(bounded.other, plain.other);
  std::cout << "applications without bounds " << plain.total() << ", with " << bounded.total() << std::endl;
}

}  // namespace
}  // namespace bilevel
