// Learning sampling patterns: L-BFGS-B on certified values, and the exchange of samples at a rate.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <complex>
#include <memory>
#include <utility>

#include "bilevel/core/error.hpp"
#include "bilevel/learn/pattern_exchange.hpp"
#include "bilevel/model/composed_energy.hpp"
#include "bilevel/solve/minimiser.hpp"
#include "tests/learn/maid_lab.hpp"
#include "tests/support/random.hpp"

namespace bilevel::testing_support {
namespace {

/// Complex images of ellipses with noisy k-space.
template <class T>
struct Acquisition {
  Shape shape{2, 2, 16, 15};
  Context context{Device::open(test_device("cpu:1"))};
  Tensor<T> truth, start;
  std::vector<std::complex<T>> kspace;

  Acquisition() {
    const std::size_t points = shape.image() / 2;
    std::vector<T> values(shape.count(), T(0));
    for (int i = 0; i < shape.n; ++i)
      for (int r = 0; r < shape.h; ++r)
        for (int c = 0; c < shape.w; ++c) {
          const double y = r - 7.5, x = c - 7.0 - i;
          values[static_cast<std::size_t>(2 * i) * points + static_cast<std::size_t>(r * shape.w + c)] =
              static_cast<T>((x * x + y * y < 36) * 0.7 + (x * x + 2 * y * y < 9) * 0.3);
        }
    truth = Tensor<T>(context, shape, values);
    start = Tensor<T>(context, shape, std::vector<T>(shape.count(), T(0)));
    FourierSampling<T> fourier(context, shape);
    Tensor<T> y(context, fourier.kspace());
    Frame frame(context);
    ActiveSet all(context, frame, shape.n);
    fourier.apply(context, all.active(), std::as_const(truth).view(), y.view());
    const std::vector<T> planes = download(context, y);
    Random random(77);
    for (std::size_t i = 0; i < 2; ++i)
      for (std::size_t p = 0; p < points; ++p)
        kspace.emplace_back(planes[2 * i * points + p] + static_cast<T>(0.02 * random.normal()),
                            planes[(2 * i + 1) * points + p] + static_cast<T>(0.02 * random.normal()));
  }

  std::unique_ptr<ComposedEnergy<T>> energy(const SamplingPattern& pattern, const Parameters& parameters) {
    return std::make_unique<ComposedEnergy<T>>(context, shape, kspace, pattern, parameters);
  }
  /// f(theta) by a tight solve.
  double loss(const BilevelProblem<T>& problem, std::span<const double> theta) {
    problem.energy().bind(theta);
    Tensor<T> x(context, shape, std::vector<T>(shape.count(), T(0)));
    SolveRequest<T> request;
    request.tolerance = 1e-9;
    make_minimiser<T>()->minimise(context, problem.energy(), request, x.view());
    const std::vector<T> found = download(context, x), wanted = download(context, truth);
    double sum = 0;
    for (std::size_t e = 0; e < found.size(); ++e) sum += std::pow(double(found[e]) - double(wanted[e]), 2);
    std::vector<double> ignored(theta.size(), 0);
    return sum / (2 * shape.n) + problem.penalty(theta, ignored);
  }
};

struct Learned {
  UpperReport report;
  Recorder seen;
};

Learned learn(const UpperOptions& options, int stop_after = -1, const UpperState* resume = nullptr) {
  Acquisition<double> a;
  const SamplingPattern pattern(PatternKind::free, a.shape.h, a.shape.w);
  const Parameters parameters = mri_parameters(pattern, {1, 5e-3, 1e-2, 1e-2});
  const BilevelProblem<double> problem(a.energy(pattern, parameters), std::as_const(a.truth).view(),
                                       parameters, sampling_penalty(parameters, 1e-4, 0));
  Learned out;
  out.seen.stop_after = stop_after;
  out.report = make_lbfgsb<double>(options)->run(a.context, problem, parameters.initial(),
                                                 std::as_const(a.start).view(), out.seen, resume);
  return out;
}

UpperOptions short_run(int iterations) {
  UpperOptions o;
  o.max_iterations = iterations;
  return o;
}

TEST(PatternLearning, LbfgsbEnclosesTheLossAndDecreasesIt) {
  const Learned run = learn(short_run(12));
  ASSERT_EQ(run.seen.records.size(), 12u);
  Acquisition<double> a;
  const SamplingPattern pattern(PatternKind::free, a.shape.h, a.shape.w);
  const Parameters parameters = mri_parameters(pattern, {1, 5e-3, 1e-2, 1e-2});
  const BilevelProblem<double> problem(a.energy(pattern, parameters), std::as_const(a.truth).view(),
                                       parameters, sampling_penalty(parameters, 1e-4, 0));
  double before = std::numeric_limits<double>::infinity();
  for (const IterationRecord& r : run.seen.records) {
    const double exact = a.loss(problem, r.theta);
    EXPECT_LE(r.loss_lower, exact * (1 + 1e-10));
    EXPECT_GE(r.loss_upper, exact * (1 - 1e-10));
    EXPECT_LT(exact, before);
    before = exact;
    for (std::size_t j = 0; j < pattern.groups(); ++j) {
      EXPECT_GE(r.theta[j], 0);
      EXPECT_LE(r.theta[j], 1);
    }
  }
  EXPECT_LT(run.seen.records.back().loss_upper, 0.9 * run.seen.records.front().loss_lower);
  EXPECT_GE(run.report.last.work.solves, 12u);
}

TEST(PatternLearning, LbfgsbGoesOnWithTheSameBits) {
  const Learned whole = learn(short_run(8)), part = learn(short_run(8), 3);
  ASSERT_EQ(part.seen.states.size(), 3u);
  const Learned rest = learn(short_run(8), -1, &part.seen.states.back());
  EXPECT_EQ(rest.report.theta, whole.report.theta);
  EXPECT_EQ(rest.report.last.work, whole.report.last.work);
  EXPECT_EQ(rest.report.last.loss, whole.report.last.loss);
}

TEST(PatternLearning, FixedAccuraciesStayFixed) {
  UpperOptions o = short_run(4);
  o.schedule.fixed_accuracy = true;
  o.schedule.epsilon0 = o.schedule.delta0 = 1e-5;
  for (const IterationRecord& r : learn(o).seen.records) {
    EXPECT_EQ(r.epsilon, 1e-5);
    EXPECT_EQ(r.delta, 1e-5);
  }
}

struct ExchangeProblem {
  Acquisition<double> a;
  SamplingPattern pattern;
  Parameters parameters;
  BilevelProblem<double> problem;

  ExchangeProblem(PatternKind kind, double rate, SamplingMap map = SamplingMap::linear)
      : pattern(kind, a.shape.h, a.shape.w, map, 12),
        parameters(parameters_of(pattern, rate)),
        problem(a.energy(pattern, parameters), std::as_const(a.truth).view(), parameters) {}

  static Parameters parameters_of(const SamplingPattern& pattern, double rate) {
    std::vector<double> near_zero(pattern.groups());
    for (std::size_t k = 0; k < near_zero.size(); ++k) {
      const int f = pattern.group(k).back(), r = f / pattern.width(), c = f % pattern.width();
      near_zero[k] = -std::hypot(std::min(r, pattern.height() - r), std::min(c, pattern.width() - c));
    }
    MriParameterValues values{1, 5e-3, 1e-2, 1e-2};
    values.pattern = pattern.threshold_to_rate(near_zero, rate);
    return mri_parameters(pattern, values);
  }
  UpperReport run(const UpperOptions& options, Recorder& seen, const UpperState* resume = nullptr) {
    return make_pattern_exchange<double>(options)->run(a.context, problem, parameters.initial(),
                                                       std::as_const(a.start).view(), seen, resume);
  }
};

TEST(PatternLearning, ExchangesKeepTheRateAndDecreaseTheLoss) {
  for (const PatternKind kind :
       {PatternKind::free, PatternKind::symmetric, PatternKind::rows, PatternKind::radial}) {
    SCOPED_TRACE(pattern_name(kind));
    ExchangeProblem p(kind, 0.45);
    const double rate = p.pattern.rate(p.parameters.initial());
    Recorder seen;
    const UpperReport report = p.run(short_run(6), seen);
    double before = p.a.loss(p.problem, p.parameters.initial());
    for (const IterationRecord& r : seen.records) {
      const double exact = p.a.loss(p.problem, r.theta);
      EXPECT_LE(r.loss_lower, exact * (1 + 1e-10));
      EXPECT_GE(r.loss_upper, exact * (1 - 1e-10));
      EXPECT_LE(exact, before * (1 + 1e-12));
      before = exact;
    }
    for (std::size_t k = 0; k < p.pattern.groups(); ++k)
      EXPECT_TRUE(report.theta[k] == 0 || report.theta[k] == 1);
    EXPECT_LE(p.pattern.rate(std::span(report.theta).first(p.pattern.groups())), rate + 1e-12);
    EXPECT_GT(seen.records.size(), 0u);
    EXPECT_LT(p.a.loss(p.problem, report.theta), p.a.loss(p.problem, p.parameters.initial()));
  }
}

/// alpha moves down its derivative, and the PSNR of a record is that of its complex images.
TEST(PatternLearning, ExchangesMoveAlphaDownItsDerivative) {
  ExchangeProblem p(PatternKind::free, 0.45);
  const auto alpha = static_cast<std::size_t>(p.parameters.entry("alpha"));
  Recorder seen;
  const UpperReport report = p.run(short_run(6), seen);
  std::vector<IterationRecord> records = seen.records;
  records.push_back(report.last);
  ASSERT_GT(records.size(), 2u);
  int moves = 0;
  for (std::size_t k = 0; k + 1 < records.size(); ++k) {
    const double moved = records[k + 1].theta[alpha] - records[k].theta[alpha];
    EXPECT_LE(moved * records[k].gradient[alpha], 0) << "iteration " << k;
    moves += moved != 0;
  }
  EXPECT_GT(moves, 0);
  const double per_image = 2 * p.a.loss(p.problem, report.theta) / (p.a.shape.h * p.a.shape.w);
  EXPECT_GE(report.last.psnr, -10 * std::log10(per_image) - 0.05) << "the mean of logarithms is no less";
  EXPECT_LE(report.last.psnr, -10 * std::log10(per_image) + 1);
}

TEST(PatternLearning, ExchangesGoOnWithTheSameBits) {
  ExchangeProblem p(PatternKind::free, 0.4);
  Recorder all, part, rest;
  const UpperReport whole = p.run(short_run(6), all);
  part.stop_after = 2;
  ExchangeProblem(PatternKind::free, 0.4).run(short_run(6), part);
  ASSERT_EQ(part.states.size(), 2u);
  const UpperReport resumed =
      ExchangeProblem(PatternKind::free, 0.4).run(short_run(6), rest, &part.states.back());
  EXPECT_EQ(resumed.theta, whole.theta);
  EXPECT_EQ(resumed.last.work, whole.last.work);
}

TEST(PatternLearning, ExchangesRefuseOtherProblems) {
  Recorder seen;
  EXPECT_THROW(ExchangeProblem(PatternKind::free, 0.4, SamplingMap::direct).run(short_run(1), seen),
               ConfigError);
  ExchangeProblem p(PatternKind::free, 0.4);
  std::vector<double> theta = p.parameters.initial();
  theta[3] = 0.5;
  EXPECT_THROW(make_pattern_exchange<double>(short_run(1))
                   ->run(p.a.context, p.problem, theta, std::as_const(p.a.start).view(), seen, nullptr),
               ConfigError);
  ExchangeOptions wrong;
  wrong.share = 0;
  EXPECT_THROW(make_pattern_exchange<double>({}, wrong), ConfigError);
}

}  // namespace
}  // namespace bilevel::testing_support
