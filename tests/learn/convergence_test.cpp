// Where the upper-level methods end: at stationary points, from anywhere, on any scale of theta.

#include <gtest/gtest.h>

#include <cmath>
#include <memory>

#include "learn/step_direction.hpp"
#include "tests/learn/maid_lab.hpp"
#include "tests/learn/quadratic_lab.hpp"

namespace bilevel {
namespace {

using namespace testing_support;
using Vector = std::vector<double>;

// ---- Gauss-Newton steps

struct Model {
  oracle::Matrix g;
  Vector z, theta;
  HypergradientResult result() const {
    HypergradientResult r;
    r.z = z;
    r.gauss_newton = g.entries;
    for (std::size_t j = 0; j < z.size(); ++j) {
      r.block_end.push_back(j + 1);
      r.block_bound.push_back(0);
    }
    return r;
  }
  double value(const Vector& d, double damping) const {
    double diagonal = 0;
    for (std::size_t j = 0; j < d.size(); ++j)
      diagonal += g(static_cast<int>(j), static_cast<int>(j)) * d[j] * d[j];
    return dot(z, d) + 0.5 * dot(d, oracle::multiply(g, d)) + 0.5 * damping * diagonal;
  }
};

/// J^T J with columns of very different sizes and directions that nearly coincide.
Model random_model(int p, Random& random) {
  oracle::Matrix j(p + 2, p);
  for (double& v : j.entries) v = random.normal();
  Model m;
  m.g = oracle::Matrix(p, p);
  for (int c = 0; c < p; ++c) {
    const double size = random.log_uniform(1e-4, 1e4), like = c > 0 ? random.log_uniform(1e-4, 1) : 1;
    for (int r = 0; r < j.rows; ++r) j(r, c) = size * (c > 0 ? like * j(r, c) + j(r, 0) : j(r, c));
  }
  for (int a = 0; a < p; ++a)
    for (int b = 0; b < p; ++b)
      for (int r = 0; r < j.rows; ++r) m.g(a, b) += j(r, a) * j(r, b);
  for (int c = 0; c < p; ++c) {
    m.z.push_back(random.normal() * std::sqrt(m.g(c, c)));
    m.theta.push_back(0);
  }
  return m;
}

/// An interval for every entry, [-1,1] times its size.
Parameters intervals(const Vector& size, double low = -1, double high = 1) {
  std::vector<Segment> segments;
  for (std::size_t j = 0; j < size.size(); ++j)
    segments.push_back(
        {"t" + std::to_string(j), Transform::identity, 0, low * size[j], high * size[j], true});
  return Parameters(segments);
}

/// The first-order conditions of the convex problem: at its minimum the slope of the model is zero inside the
/// box and points out on its edges. They are measured against the size of the terms that cancel.
TEST(GaussNewtonStep, IsTheMinimumOfTheDampedModelInTheBox) {
  Random random(seed(2301));
  int edges = 0, inside = 0;
  for (int trial = 0; trial < 300; ++trial) {
    const int p = random.integer(1, 6);
    const Model m = random_model(p, random);
    const double damping = random.log_uniform(1e-6, 10);
    Vector size;
    for (int j = 0; j < p; ++j) size.push_back(random.log_uniform(1e-3, 1e3) / std::sqrt(m.g(j, j)));
    const Parameters box = intervals(size);
    const Step step = gauss_newton_step(box, m.theta, m.result(), damping);
    EXPECT_GT(step.slope, 0);
    EXPECT_NEAR(step.slope, -dot(m.z, step.direction), 1e-14 * norm(m.z) * norm(step.direction));
    EXPECT_NEAR(predicted_decrease(m.result(), step), -m.value(step.direction, 0), 1e-9 * step.slope);
    for (int j = 0; j < p; ++j) {
      const auto k = static_cast<std::size_t>(j);
      double slope = m.z[k] + damping * m.g(j, j) * step.direction[k], terms = std::abs(m.z[k]);
      for (int i = 0; i < p; ++i) {
        slope += m.g(j, i) * step.direction[static_cast<std::size_t>(i)];
        terms += std::abs(m.g(j, i) * step.direction[static_cast<std::size_t>(i)]);
      }
      const bool low = step.theta[k] == -size[k], high = step.theta[k] == size[k];
      EXPECT_LE(std::abs(step.theta[k]), size[k]);
      EXPECT_TRUE(low || slope <= 1e-6 * terms) << "entry " << j << " of trial " << trial << ": " << slope;
      EXPECT_TRUE(high || slope >= -1e-6 * terms) << "entry " << j << " of trial " << trial << ": " << slope;
      edges += low || high;
      inside += !low && !high;
    }
  }
  EXPECT_GT(edges, 100);
  EXPECT_GT(inside, 100);
}

/// Every entry of theta on a scale of its own, powers of two so that rounding does not differ: the same bits.
TEST(GaussNewtonStep, ScalesWithEveryEntryOfTheta) {
  Random random(seed(2302));
  for (int trial = 0; trial < 100; ++trial) {
    const int p = random.integer(1, 6);
    const Model m = random_model(p, random);
    Model scaled = m;
    Vector size, scale;
    for (int j = 0; j < p; ++j) {
      size.push_back(random.log_uniform(1e-2, 1e2) / std::sqrt(m.g(j, j)));
      scale.push_back(std::ldexp(1.0, random.integer(-12, 12)));
    }
    Vector scaled_size;
    for (int j = 0; j < p; ++j) {
      const auto k = static_cast<std::size_t>(j);
      scaled.z[k] /= scale[k];
      scaled_size.push_back(size[k] * scale[k]);
      for (int i = 0; i < p; ++i) scaled.g(j, i) /= scale[k] * scale[static_cast<std::size_t>(i)];
    }
    const double damping = random.log_uniform(1e-6, 1);
    const Step one = gauss_newton_step(intervals(size), m.theta, m.result(), damping);
    const Step other = gauss_newton_step(intervals(scaled_size), m.theta, scaled.result(), damping);
    for (std::size_t k = 0; k < scale.size(); ++k)
      EXPECT_EQ(other.direction[k], one.direction[k] * scale[k]) << "trial " << trial;
    EXPECT_EQ(other.slope, one.slope);
  }
}

/// However long the step is that the model asks for, no value on a logarithmic scale changes by more than a
/// factor of e^2, and the rest of the step follows from the model with that entry held.
TEST(GaussNewtonStep, ChangesNoValueByMoreThanItsFactor) {
  for (const Transform transform : {Transform::exp, Transform::log10}) {
    const Parameters parameters(
        {{"alpha", transform, 0.01, 1e-8, 1e8, true}, {"beta", Transform::identity, 0, -1e8, 1e8, true}});
    Model m{oracle::Matrix(2, 2), {1e-3, 2}, parameters.initial()};
    m.g(0, 0) = 1e-12;  // a plateau in alpha
    m.g(1, 1) = 4;
    const Step down = gauss_newton_step(parameters, m.theta, m.result(), 0);
    EXPECT_NEAR(to_value(transform, down.theta[0]), 0.01 * std::exp(-2), 1e-14);
    EXPECT_DOUBLE_EQ(down.direction[1], -0.5);
    m.z[0] = -1e-3;
    const Step up = gauss_newton_step(parameters, m.theta, m.result(), 0);
    EXPECT_NEAR(to_value(transform, up.theta[0]), 0.01 * std::exp(2), 1e-13);
  }
}

TEST(GaussNewtonStep, MovesOnlyWhatMay) {
  Random random(seed(2303));
  const Model m = random_model(3, random);
  const Parameters wide = intervals({1e9, 1e9, 1e9});
  const Step step = gauss_newton_step(wide, m.theta, m.result(), 0.1, {true, false, true});
  EXPECT_EQ(step.direction[1], 0);
  EXPECT_NE(step.direction[0], 0);
  EXPECT_GT(step.slope, 0);
  Model blocked = m;
  const Parameters box = intervals({1, 1, 1}, 0, 1);
  for (double& v : blocked.z) v = std::abs(v);
  EXPECT_EQ(gauss_newton_step(box, m.theta, blocked.result(), 0.1).direction, Vector(3, 0));
}

/// An entry that the reconstructions do not depend on, but a penalty does.
TEST(GaussNewtonStep, IsAGradientStepWhereAnEntryHasNoPartInTheMatrix) {
  Model m{oracle::Matrix(2, 2), {1, 3}, {0, 0}};
  m.g(0, 0) = 2;
  const Parameters wide = intervals({1e9, 1e9});
  const Step step = gauss_newton_step(wide, m.theta, m.result(), 2 * first_damping);
  EXPECT_EQ(step.direction, (Vector{-0.5, -1.5}));
  EXPECT_DOUBLE_EQ(step.slope, 5);
  m.z[1] = 0;
  const Step alone = gauss_newton_step(wide, m.theta, m.result(), 0);
  EXPECT_DOUBLE_EQ(alone.direction[0], -0.5);
  EXPECT_EQ(alone.direction[1], 0);
}

TEST(GaussNewtonStep, DampingFollowsThePrediction) {
  EXPECT_DOUBLE_EQ(next_damping(1e-2, 0.9, true), 1e-3);
  EXPECT_DOUBLE_EQ(next_damping(1e-2, 0.9, false), 1e-2);
  EXPECT_DOUBLE_EQ(next_damping(1e-2, 0.5, true), 1e-2);
  EXPECT_DOUBLE_EQ(next_damping(1e-2, 0.1, true), 4e-2);
  EXPECT_DOUBLE_EQ(next_damping(1e-9, 0.1, true), 4 * first_damping);
  EXPECT_DOUBLE_EQ(next_damping(1e-10, 2, true), least_damping);
  EXPECT_DOUBLE_EQ(raised_damping(1e-9, 0), 1e-9);
  EXPECT_DOUBLE_EQ(raised_damping(1e-9, 1), 10 * first_damping);
  EXPECT_DOUBLE_EQ(raised_damping(1, 2), 100);
}

// ---- a dense quadratic

struct Quadratic {
  std::vector<double> stiffness, b, truth;
  oracle::Matrix c;
  double best = 0;  ///< min f

  Quadratic(int n, int p, Random& random) : c(n, p) {
    for (int i = 0; i < n; ++i) {
      stiffness.push_back(random.uniform(1, 5));
      b.push_back(random.normal());
      truth.push_back(random.normal());
    }
    for (double& v : c.entries) v = random.normal();
    for (int i = 0; i < n; ++i) c(i, p - 1) = 0.1 * c(i, p - 1) + c(i, 0);  // a valley
    best = loss(minimiser());
  }
  /// (C/a)^T (C/a) theta = (C/a)^T (truth - b/a)
  Vector minimiser() const {
    oracle::Matrix normal(c.cols, c.cols);
    Vector rhs(static_cast<std::size_t>(c.cols), 0);
    for (int i = 0; i < c.rows; ++i) {
      const auto r = static_cast<std::size_t>(i);
      for (int j = 0; j < c.cols; ++j) {
        const double column = c(i, j) / stiffness[r];
        rhs[static_cast<std::size_t>(j)] += column * (truth[r] - b[r] / stiffness[r]);
        for (int k = 0; k < c.cols; ++k) normal(j, k) += column * c(i, k) / stiffness[r];
      }
    }
    return oracle::cholesky_solve(normal, rhs);
  }
  double loss(const Vector& theta) const {
    const Vector x = DenseQuadratic(stiffness, c, b).minimiser(theta);
    return 0.5 * std::pow(distance(x, truth), 2);
  }
};

struct QuadraticRun {
  UpperReport report;
  Recorder seen;
};

/// With theta in units of 1/scale.
QuadraticRun learn(const Quadratic& q, double scale, const UpperOptions& options,
                   const UpperState* resume = {}) {
  Context context(Device::open("cpu:1"));
  oracle::Matrix c = q.c;
  for (double& v : c.entries) v /= scale;
  Segment s{"t", Transform::identity, 0, -1e9 * scale, 1e9 * scale, true, {c.cols}, {}};
  s.values.assign(static_cast<std::size_t>(c.cols), 0.3 * scale);
  const Parameters parameters({s});
  auto energy = std::make_unique<DenseQuadratic>(q.stiffness, c, q.b);
  Tensor<double> truth(context, energy->shape(), q.truth), first(context, energy->shape(), q.b);
  const BilevelProblem<double> problem(std::move(energy), std::as_const(truth).view(), parameters);
  QuadraticRun out;
  out.report = make_maid<double>(options)->run(context, problem, parameters.initial(),
                                               std::as_const(first).view(), out.seen, resume);
  return out;
}

/// Short theta with Gauss-Newton matrices, long theta with Gauss-Newton by products and with L-BFGS.
TEST(Convergence, DenseQuadraticsAreMinimisedOnEveryScaleOfTheta) {
  Random random(seed(2310));
  for (const int p : {1, 4, 9, 15}) {
    const Quadratic q(30, p, random);
    for (const StepScaling scaling : {StepScaling::gauss_newton, StepScaling::lbfgs}) {
      if (p > 10 && scaling == StepScaling::lbfgs) continue;  // takes hundreds of steps
      std::vector<int> iterations;
      for (const double scale : {1.0, 1e3, 1e-3}) {
        SCOPED_TRACE(std::to_string(p) + " entries, scale " + std::to_string(scale) +
                     (scaling == StepScaling::lbfgs ? ", L-BFGS" : ""));
        UpperOptions options;
        options.scaling = scaling;
        options.schedule.tolerance = 3e-6 / scale;
        const QuadraticRun run = learn(q, scale, options);
        EXPECT_EQ(run.report.status, UpperStatus::stationary) << run.report.message;
        Vector theta = run.report.theta;
        for (double& t : theta) t /= scale;
        EXPECT_LE(q.loss(theta) - q.best, 1e-10 * std::max(1.0, q.best));
        iterations.push_back(run.report.last.iteration);
        EXPECT_LE(iterations.back(), scaling == StepScaling::gauss_newton && p <= 10 ? 12 : 150);
      }
      if (scaling == StepScaling::gauss_newton && p <= 10) {
        EXPECT_NEAR(iterations[1], iterations[0], 1);
        EXPECT_NEAR(iterations[2], iterations[0], 1);
      }
    }
  }
}

// ---- total variation from anywhere

struct Start {
  bool isotropic;
  double alpha, nu;
  std::string name() const {
    return std::string(isotropic ? "tv" : "tv-aniso") + ", alpha " + std::to_string(alpha) + ", nu " +
           std::to_string(nu);
  }
};

std::vector<Start> starts(bool isotropic) {
  std::vector<Start> all;
  for (const double alpha : {1e-3, 1e-2, 1e-1, 1e0, 1e1})
    for (const double nu : {1e-4, 1e-3, 1e-2, 1e-1, 1e0, 1e1}) all.push_back({isotropic, alpha, nu});
  return all;
}

struct TvRun {
  UpperReport report;
  TvInstance instance;
};

TvRun learn(const Start& from, double tolerance) {
  Random random(seed(2320));
  oracle::TvModel model;
  model.height = model.width = 24;
  model.xi = 1e-3;
  model.isotropic = from.isotropic;
  TvRun out{{}, random_instance(model, 2, 0.1, random)};
  std::vector<Segment> segments = tv_parameters().segments();
  segments[0].initial = from.alpha;
  segments[1].initial = from.nu;
  const Parameters parameters(segments);
  Context context(Device::open(test_device("cpu:1")));
  Tensor<double> y(context, out.instance.shape(), flat<double>(out.instance.y));
  Tensor<double> truth(context, out.instance.shape(), flat<double>(out.instance.truth));
  const BilevelProblem<double> problem(std::make_unique<ComposedEnergy<double>>(
                                           context, std::as_const(y).view(), parameters, options_of(model)),
                                       std::as_const(truth).view(), parameters);
  UpperOptions options;
  options.schedule.tolerance = tolerance;
  Recorder seen;
  out.report =
      make_maid<double>(options)->run(context, problem, parameters.initial(), std::as_const(y).view(), seen);
  return out;
}

/// |P(theta - grad f) - theta| with the exact gradient.
double exact_stationarity(const TvRun& run) {
  const TvInstance at = run.instance.at(run.report.theta);
  return projected_gradient_norm(tv_parameters(), run.report.theta, exact_gradient(at));
}

TEST(Convergence, TotalVariationIsLearnedFromAnywhere) {
  for (const bool isotropic : {true, false}) {
    std::vector<double> losses;
    std::vector<Start> all = starts(isotropic);
    if (on_cuda()) all = {{isotropic, 1e-2, 10}, {isotropic, 10, 1e-4}};
    for (const Start& start : all) {
      SCOPED_TRACE(start.name());
      const TvRun run = learn(start, 1e-3);
      EXPECT_EQ(run.report.status, UpperStatus::stationary) << run.report.message;
      losses.push_back(run.report.last.loss);
      if (losses.size() % 7 == 1 || on_cuda()) {
        EXPECT_LE(exact_stationarity(run), 1e-3);
      }
    }
    const double best = *std::min_element(losses.begin(), losses.end());
    for (std::size_t k = 0; k < losses.size(); ++k) EXPECT_LE(losses[k], 1.001 * best) << all[k].name();
  }
}

/// A run that names the accuracy is where no double precision could tell it to go: at the best loss.
TEST(Convergence, AccuracyIsNamedOnlyWhereItIsTheCause) {
  for (const bool isotropic : {true, false}) {
    std::vector<double> losses;
    std::vector<Start> all{
        {isotropic, 1e-2, 10}, {isotropic, 10, 1e-4}, {isotropic, 1e-1, 1e0}, {isotropic, 1, 1e-2}};
    if (on_cuda()) all.resize(1);
    for (const Start& start : all) {
      SCOPED_TRACE(start.name());
      const TvRun run = learn(start, 0);
      EXPECT_EQ(run.report.status, UpperStatus::accuracy_limit) << run.report.message;
      EXPECT_LE(run.report.last.gradient_norm, 1e-5);
      losses.push_back(run.report.last.loss);
    }
    const double best = *std::min_element(losses.begin(), losses.end());
    for (const double loss : losses) EXPECT_LE(loss, best * (1 + 1e-9));
  }
}

}  // namespace
}  // namespace bilevel
