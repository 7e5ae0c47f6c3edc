// What is said of iterations before they are run, against what they do.

#include "bilevel/learn/a_priori.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "apps/experiments/capped_solver.hpp"
#include "bilevel/core/error.hpp"
#include "bilevel/ops/dense_operator.hpp"
#include "tests/learn/bound_lab.hpp"
#include "tests/oracle/linear_algebra.hpp"

namespace bilevel {
namespace {

using namespace testing_support;
using bilevel_app::experiments::CappedSolver;

TvInstance random_problem(Random& random) {
  oracle::TvModel model;
  model.height = random.integer(1, 7);
  model.width = random.integer(3, 8);
  model.alpha = random.log_uniform(1e-2, 0.5);
  model.nu = random.log_uniform(1e-2, 0.3);
  model.xi = random.log_uniform(1e-3, 1);
  model.isotropic = random.integer(0, 1) == 1;
  if (random.integer(0, 2) == 0) model.potential = oracle::Potential::huber_c2;
  if (random.integer(0, 2) == 0) model.mask = random_mask(model.height, model.width, 0.6, random);
  return random_instance(model, random.integer(1, 3), 0.1, random);
}

int steps_of(Random& random) { return static_cast<int>(random.log_uniform(1, 300)); }

std::vector<double> distances(BoundLab<double>& lab) {
  std::vector<double> out;
  const std::vector<Image> x = lab.setup.images(lab.x);
  for (std::size_t i = 0; i < x.size(); ++i) out.push_back(exact_distance(x[i], lab.minimisers[i]));
  return out;
}

/// x_k of FISTA by the formulas.
Image fista_point(const oracle::TvModel& model, const Image& y, const Curvature& c, int steps) {
  const double q = c.mu / c.lipschitz;
  Image x = y, before = y;
  double t = 0;
  for (int k = 0; k < steps; ++k) {
    const double a = 1 - q * t * t, next = 0.5 * (a + std::sqrt(a * a + 4 * t * t));
    const double beta = (t - 1) / next * (1 - q * next) / (1 - q);
    const Image v = add_scaled(x, beta, add_scaled(x, -1, before));
    before = x;
    x = add_scaled(v, -1 / c.lipschitz, oracle::gradient(model, y, v));
    t = next;
  }
  return x;
}

TEST(APriori, DistancesAreAtMostWhatIsPromised) {
  Random random(seed(4301));
  RatioRecorder descent("gradient descent, bound / distance"), fista("fista, bound / distance");
  for (int trial = 0; trial < repetitions(40); ++trial) {
    BoundLab<double> lab(random_problem(random));
    const Curvature c = lab.setup.energy->curvature();
    lab.start(lab.instance().y);
    const std::vector<double> first = distances(lab);
    SolveRequest<double> request;
    request.tolerance = 1e-250;
    request.max_iterations = steps_of(random);
    make_minimiser<double>("gradient-descent")
        ->minimise(lab.setup.context, *lab.setup.energy, request, lab.x.view());
    const std::vector<double> then = distances(lab);
    for (std::size_t i = 0; i < then.size(); ++i) {
      const double rounding = 1e-13 * norm(lab.instance().y[i]) * c.lipschitz / c.mu;
      const double bound = gradient_descent_factor(c, request.max_iterations) * first[i];
      EXPECT_LE(then[i], bound + rounding);
      if (bound > 10 * rounding) descent.add(bound / then[i]);
      const Image x = fista_point(lab.instance().model, lab.instance().y[i], c, request.max_iterations);
      const double accelerated = fista_factor(c, request.max_iterations) * first[i];
      EXPECT_LE(exact_distance(x, lab.minimisers[i]), accelerated + rounding);
      if (accelerated > 10 * rounding) fista.add(accelerated / exact_distance(x, lab.minimisers[i]));
    }
  }
  EXPECT_GE(descent.count(), static_cast<std::size_t>(repetitions(30)));
  EXPECT_GE(fista.count(), static_cast<std::size_t>(repetitions(20)));
}

struct LinearMethod {
  const char* name;
  std::function<double(const Curvature&, int)> factor;
};
std::vector<LinearMethod> linear_methods() {
  return {{"cg", conjugate_gradient_factor},
          {"heavy-ball", heavy_ball_factor},
          {"gradient-descent",
           [](const Curvature& c, int k) { return richardson_factor(c, 2 / (c.lipschitz + c.mu), k); }}};
}

TEST(APriori, ResidualsAreAtMostWhatIsPromised) {
  Random random(seed(4302));
  for (const LinearMethod& method : linear_methods()) {
    SCOPED_TRACE(method.name);
    RatioRecorder ratio(std::string(method.name) + ", bound / residual");
    for (int trial = 0; trial < repetitions(40); ++trial) {
      BoundLab<double> lab(random_problem(random));
      const Curvature c = lab.setup.energy->curvature();
      lab.start(lab.instance().y);
      const int steps = steps_of(random);
      ImplicitHypergradient<double> implicit(lab.setup.context, lab.problem,
                                             std::make_shared<CappedSolver>(method.name, steps));
      HypergradientRequest request;
      request.delta = 1e-250;
      request.columns = false;
      implicit.compute(lab.setup.context, lab.instance().theta(), std::as_const(lab.x).view(),
                       std::vector<double>(lab.minimisers.size(), 1e9), request);
      const std::vector<Image> q = unflatten(implicit.save(lab.setup.context), lab.minimisers.size());
      for (std::size_t i = 0; i < q.size(); ++i) {
        const TvInstance& in = lab.instance();
        const Image b = oracle::upper_gradient(in.y[i], in.truth[i], in.images());
        const double bound = method.factor(c, steps) * norm(b), rounding = 1e-13 * c.lipschitz * norm(q[i]);
        const double residual = oracle::linear_residual(in.model, in.y[i], q[i], b);
        EXPECT_LE(residual, bound + rounding) << steps << " steps";
        if (bound > 10 * rounding) ratio.add(bound / residual);
      }
    }
    EXPECT_GE(ratio.count(), static_cast<std::size_t>(repetitions(20)));
  }
}

TEST(APriori, CountsAreTheFirstThatSuffice) {
  Random random(seed(4303));
  for (int trial = 0; trial < 200; ++trial) {
    Curvature c;
    c.mu = random.log_uniform(1e-3, 1);
    c.lipschitz = c.mu * random.log_uniform(1.1, 1e5);
    const double start = random.log_uniform(1e-2, 10), wanted = start * random.log_uniform(1e-9, 0.9);
    const auto check = [&](double count, auto factor) {
      ASSERT_EQ(count, std::floor(count));
      ASSERT_LT(count, 1e9);
      const int k = static_cast<int>(count);
      EXPECT_LE(factor(c, k) * start, wanted * (1 + 1e-9));
      if (k > 0) {
        EXPECT_GT(factor(c, k - 1) * start, wanted * (1 - 1e-9));
      }
    };
    check(gradient_descent_iterations(c, start, wanted), gradient_descent_factor);
    check(fista_iterations(c, start, wanted), fista_factor);
    check(conjugate_gradient_iterations(c, start, wanted), conjugate_gradient_factor);
    check(heavy_ball_iterations(c, start, wanted), heavy_ball_factor);
  }
  const Curvature c{1, 4, 0, {}};
  EXPECT_EQ(gradient_descent_iterations(c, 1, 2), 0);
  EXPECT_EQ(gradient_descent_iterations(c, 0, 0), 0);
  EXPECT_EQ(gradient_descent_iterations({2, 2, 0, {}}, 1, 1e-9), 1);
  EXPECT_TRUE(std::isinf(fista_iterations(c, 1, 0)));
  EXPECT_EQ(heavy_ball_iterations({2, 2, 0, {}}, 1, 1e-9), 1);
  EXPECT_TRUE(std::isinf(heavy_ball_iterations(c, 1, 0)));
  EXPECT_THROW(heavy_ball_iterations(c, NAN, 1), ConfigError);
  EXPECT_THROW(gradient_descent_iterations(c, -1, 1), ConfigError);
  EXPECT_THROW(conjugate_gradient_iterations(c, 1, NAN), ConfigError);
  StartInputs start;
  start.norm_mixed = {1};
  EXPECT_THROW(a_priori_error(start, 1, 1), ShapeError);
}

/// Start, distance and norms of every image at lab.x.
std::vector<StartInputs> starts(Context& context, const BilevelProblem<double>& problem,
                                std::span<const double> theta, View<const double> x) {
  ImplicitHypergradient<double> implicit(context, problem);
  HypergradientRequest request;
  request.columns = false;
  const std::vector<double> unknown(static_cast<std::size_t>(problem.images()), 1e300);
  std::vector<StartInputs> out;
  for (const BoundInputs& in : implicit.compute(context, theta, x, unknown, request).inputs) {
    StartInputs start;
    start.curvature = problem.energy().curvature();
    start.loss_lipschitz = in.loss_lipschitz;
    start.distance = in.epsilon;  // |grad Phi(x_0)| / mu
    start.norm_b = in.norm_b;
    start.norm_mixed = in.norm_mixed;
    out.push_back(start);
  }
  return out;
}

TEST(APriori, HypergradientErrorsAreAtMostWhatIsPromised) {
  Random random(seed(4304));
  RatioRecorder before("a priori / error"), after("a posteriori / error"), gain("a priori / a posteriori");
  for (int trial = 0; trial < repetitions(60); ++trial) {
    BoundLab<double> lab(random_problem(random));
    Context& context = lab.setup.context;
    const Curvature c = lab.setup.energy->curvature();
    lab.start(lab.instance().y);
    const auto start = starts(context, lab.problem, lab.instance().theta(), std::as_const(lab.x).view());
    SolveRequest<double> solve;
    solve.tolerance = 1e-250;
    solve.max_iterations = steps_of(random);
    const std::vector<double> epsilon = make_minimiser<double>("gradient-descent")
                                            ->minimise(context, *lab.setup.energy, solve, lab.x.view())
                                            .certificate;
    const LinearMethod method = linear_methods()[static_cast<std::size_t>(random.integer(0, 2))];
    const int steps = steps_of(random);
    ImplicitHypergradient<double> implicit(context, lab.problem,
                                           std::make_shared<CappedSolver>(method.name, steps));
    HypergradientRequest request;
    request.delta = 1e-250;
    request.columns = false;
    const HypergradientResult r =
        implicit.compute(context, lab.instance().theta(), std::as_const(lab.x).view(), epsilon, request);
    double promised = 0;
    for (const StartInputs& image : start)
      promised += a_priori_error(image, gradient_descent_factor(c, solve.max_iterations) * image.distance,
                                 method.factor(c, steps));
    const double error = distance(r.z, lab.exact);
    EXPECT_LE(error, promised + 1e-12 * c.lipschitz / c.mu);
    EXPECT_LE(error, r.omega);
    if (error > 1e-9 * norm(lab.exact)) {
      before.add(promised / error);
      after.add(r.omega / error);
      gain.add(promised / r.omega);
    }
  }
  EXPECT_GE(before.count(), static_cast<std::size_t>(repetitions(30)));
}

/// min |A1 x - b1|^2/2 over theta, x the minimiser of |A2 x + A3 theta - b2|^2/2, at a random theta, with the
/// exact hypergradient.
struct LeastSquares {
  static constexpr int m = 1000, d = 10;
  Context context{Device::open(test_device("cpu:1"))};
  oracle::Matrix a1, a2, a3, hessian{d, d};
  std::vector<double> b1, b2, theta, xhat, exact;
  std::vector<Tensor<double>> data;
  std::optional<BilevelProblem<double>> problem;

  explicit LeastSquares(Random& random) {
    const auto drawn = [&](std::size_t count) {
      std::vector<double> v(count);
      for (double& e : v) e = random.uniform();
      return v;
    };
    const auto matrix = [&] {
      oracle::Matrix a(m, d);
      a.entries = drawn(static_cast<std::size_t>(m) * d);
      return a;
    };
    a1 = matrix();
    a2 = matrix();
    a3 = matrix();
    b1 = add_scaled(oracle::multiply(a1, drawn(d)), 0.01, random.normal_vector(m));
    b2 = add_scaled(add_scaled(oracle::multiply(a2, drawn(d)), 1, oracle::multiply(a3, drawn(d))), 0.01,
                    random.normal_vector(m));
    theta.assign(d, 1);
    for (int i = 0; i < d; ++i)
      for (int j = 0; j < d; ++j)
        for (int r = 0; r < m; ++r) hessian(i, j) += a2(r, i) * a2(r, j);
    xhat = oracle::cholesky_solve(hessian, transposed(a2, add_scaled(b2, -1, oracle::multiply(a3, theta))));
    exact = hypergradient(xhat);
    const auto dense = [&](const oracle::Matrix& a) {
      return std::make_shared<DenseOperator<double>>(context, 1, 1, m, d, a.entries);
    };
    for (const std::vector<double>* b : {&b1, &b2}) data.emplace_back(context, Shape{1, 1, 1, m}, *b);
    const Parameters layout({{"shift", Transform::identity, 0, -1e6, 1e6, true, {d}, theta},
                             {"xi", Transform::identity, 0, 0, 1, false}});
    problem.emplace(std::make_unique<ComposedEnergy<double>>(context, dense(a2), dense(a3),
                                                             std::as_const(data[1]).view(), layout),
                    observed_least_squares<double>(context, dense(a1), std::as_const(data[0]).view()),
                    layout);
    problem->energy().bind(theta);
  }
  static std::vector<double> transposed(const oracle::Matrix& a, const std::vector<double>& y) {
    std::vector<double> out(static_cast<std::size_t>(a.cols), 0);
    for (int r = 0; r < a.rows; ++r)
      for (int j = 0; j < a.cols; ++j)
        out[static_cast<std::size_t>(j)] += a(r, j) * y[static_cast<std::size_t>(r)];
    return out;
  }
  /// That of an adjoint solved exactly at x.
  std::vector<double> hypergradient(const std::vector<double>& x) const {
    const std::vector<double> b = transposed(a1, add_scaled(oracle::multiply(a1, x), -1, b1));
    std::vector<double> z = transposed(a3, oracle::multiply(a2, oracle::cholesky_solve(hessian, b)));
    for (double& e : z) e = -e;
    return z;
  }
};

/// Slope of ln error(k) over k by least squares.
double decay(const std::vector<double>& k, const std::vector<double>& error) {
  double sk = 0, se = 0, skk = 0, ske = 0;
  const auto n = static_cast<double>(k.size());
  for (std::size_t i = 0; i < k.size(); ++i) {
    const double e = std::log(error[i]);
    sk += k[i];
    se += e;
    skk += k[i] * k[i];
    ske += k[i] * e;
  }
  return (n * ske - sk * se) / (n * skk - sk * sk);
}

/// Ehrhardt and Roberts 2023, first example: both bounds hold at every iteration, errors decay at the rates
/// of theory, and the bound of what was measured is the smaller one.
TEST(APriori, LeastSquaresDecayAtTheRatesOfTheory) {
  Random random(seed(4305));
  LeastSquares of(random);
  const Curvature c = of.problem->energy().curvature();
  const double root = std::sqrt(c.lipschitz / c.mu), accelerated = std::log((root - 1) / (root + 1)),
               simple = std::log((c.lipschitz - c.mu) / (c.lipschitz + c.mu));
  const Tensor<double> zero(of.context, {1, 1, 1, LeastSquares::d}, std::vector<double>(LeastSquares::d, 0));
  const StartInputs start = starts(of.context, *of.problem, of.theta, zero.view()).at(0);
  for (const LinearMethod& method : linear_methods()) {
    const bool cg = std::string(method.name) == "cg",
               descent = std::string(method.name) == "gradient-descent";
    std::vector<double> ks, errors;  // from the limit of q, the tail
    int tighter = 0, points = 0;
    for (const double epsilon : {1.0, 0.1, 0.01}) {
      Tensor<double> x(of.context, zero.shape(), std::vector<double>(LeastSquares::d, 0));
      SolveRequest<double> solve;
      solve.tolerance = epsilon;
      const std::vector<double> measured = make_minimiser<double>("gradient-descent")
                                               ->minimise(of.context, of.problem->energy(), solve, x.view())
                                               .certificate;
      const std::vector<double> limit = of.hypergradient(download(of.context, x));
      for (int k = 1; k <= (descent ? 400 : cg ? 30 : 100); k += descent ? 10 : cg ? 1 : 2) {
        ImplicitHypergradient<double> implicit(of.context, *of.problem,
                                               std::make_shared<CappedSolver>(method.name, k));
        HypergradientRequest request;
        request.delta = 1e-250;
        const HypergradientResult r =
            implicit.compute(of.context, of.theta, std::as_const(x).view(), measured, request);
        const double error = distance(r.z, of.exact),
                     promised = a_priori_error(start, epsilon, method.factor(c, k));
        EXPECT_LE(error, r.omega) << method.name << ", " << k << " iterations";
        EXPECT_LE(error, promised) << method.name << ", " << k << " iterations";
        if (k > 5) {
          points += 1;
          tighter += r.omega <= promised;
        }
        const double tail = distance(r.z, limit) / norm(limit);
        if (tail > 1e-13 && (cg || tail < 1e-8)) {  // where the heavy ball's factor k changes little
          ks.push_back(k);
          errors.push_back(tail);
        }
      }
    }
    ASSERT_GE(ks.size(), 6u);
    const double slope = decay(ks, errors), rate = descent ? simple : accelerated;
    std::cout << method.name << ": slope " << slope << ", of theory " << rate
              << ", a posteriori <= a priori at " << tighter << " of " << points << " points" << std::endl;
    EXPECT_GE(tighter, 0.9 * points);
    if (cg) {
      EXPECT_LE(slope, rate);
    } else {
      EXPECT_NEAR(slope, rate, 0.05 * std::fabs(rate));
    }
  }
}

}  // namespace
}  // namespace bilevel
