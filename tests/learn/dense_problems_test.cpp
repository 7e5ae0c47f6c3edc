// Problems of dense matrices: reference cases, certificates, learning.

#include <gtest/gtest.h>

#include <cmath>

#include "bilevel/core/error.hpp"
#include "bilevel/learn/upper_optimiser.hpp"
#include "tests/learn/dense_lab.hpp"
#include "tests/model/evaluate.hpp"
#include "tests/support/batches.hpp"
#include "tests/support/numeric.hpp"
#include "tests/support/reference_case.hpp"
#include "tests/support/thrown.hpp"

namespace bilevel {
namespace {

using namespace testing_support;

std::vector<int> integers(const std::vector<double>& v) { return {v.begin(), v.end()}; }

CleaningData cleaning_from(const ReferenceCase& data) {
  CleaningData out;
  const auto& train = data.arrays.at("x_train");
  out.features = static_cast<int>(train.shape[1]);
  out.classes = static_cast<int>(data.arrays.at("x0").shape[0]);
  out.train = train.data;
  out.held_out = data.arrays.at("x_val").data;
  out.labels = integers(data.arrays.at("labels_train").data);
  out.held_out_labels = integers(data.arrays.at("labels_val").data);
  out.ridge = 2 * data.fixed.at("alpha");
  out.theta = data.theta;
  return out;
}

/// Everything that a reference folder has of an energy and its problem with `make_loss`.
void expect_reference(const ReferenceCase& data, Context& context,
                      std::unique_ptr<ComposedEnergy<double>> energy,
                      const std::shared_ptr<const UpperLoss<double>>& loss, const Parameters& layout,
                      const std::string& segment) {
  energy->bind(data.theta);
  const Evaluated at = evaluate(context, *energy, data.x0, data.v, {});
  EXPECT_LT(relative_difference(at.value[0], data.phi_x0[0]), 1e-12);
  EXPECT_LT(max_relative_difference(at.gradient, data.grad_x0), 1e-12);
  EXPECT_LT(max_relative_difference(at.product, data.hvp_x0_v), 1e-12);
  EXPECT_LT(max_relative_difference(at.mixed.at(segment), data.jtv_x0_v), 1e-12);
  const Shape shape = energy->shape();
  {
    const Tensor<double> x0(context, shape, data.x0);
    Tensor<double> out(context, shape), norm2(context, {1, 1, 1, 1});
    Frame frame(context);
    ActiveSet all(context, frame, 1);
    energy->mixed_forward(context, all.active(), x0.view(), data.dtheta, out.view(), norm2.view());
    const std::vector<double> got = download(context, out);
    EXPECT_LT(max_relative_difference(got, data.jd_x0_dtheta), 1e-12);
    EXPECT_LT(relative_difference(download(context, norm2)[0], dot(got, got)), 1e-12);
  }
  EXPECT_LE(energy->curvature().mu, data.hessian_min_eig[0] * (1 + 1e-12));
  EXPECT_GE(energy->curvature().lipschitz, data.hessian_max_eig[0] * (1 - 1e-12));

  const BilevelProblem<double> problem(std::move(energy), loss, layout);
  Tensor<double> x(context, shape, std::vector<double>(shape.count(), 0));
  for (const char* solver : {"newton", "lbfgs", "fista-restart"}) {
    SCOPED_TRACE(solver);
    x.upload(context, std::vector<double>(shape.count(), 0));
    SolveRequest<double> request;
    request.tolerance = 1e-9;
    request.max_iterations = 1000000;
    const SolveReport report =
        make_minimiser<double>(solver)->minimise(context, problem.energy(), request, x.view());
    EXPECT_EQ(report.status, SolveStatus::converged) << report.message;
    const std::vector<double> got = download(context, x);
    EXPECT_LT(max_relative_difference(got, data.xhat), 1e-8);
    EXPECT_LE(distance(got, data.xhat), report.certificate[0] + 1e-13);
    ImplicitHypergradient<double> gradient(context, problem);
    HypergradientRequest wanted;
    wanted.delta = 1e-9;
    wanted.column_tolerance = 1e-8;
    const HypergradientResult z =
        gradient.compute(context, data.theta, std::as_const(x).view(), report.certificate, wanted);
    EXPECT_LT(max_relative_difference(z.z, data.hypergradient), 1e-8);
    EXPECT_LE(distance(z.z, data.hypergradient), z.omega);
  }
  Tensor<double> measured(context, {loss->measures(), 1, 1, 1});
  Frame frame(context);
  ActiveSet all(context, frame, 1);
  loss->measure(context, all.active(), std::as_const(x).view(), measured.view());
  EXPECT_NEAR(loss->enclose(download(context, measured), 0).value, data.f, 1e-7 * data.f);
}

TEST(DenseReference, Hypercleaning) {
  if (!shared_folder()) GTEST_SKIP() << "The shared folder is absent; set BILEVEL_SHARED to run this test.";
  const std::vector<std::string> names = reference_names("hypercleaning_");
  ASSERT_FALSE(names.empty());
  for (const std::string& name : names) {
    SCOPED_TRACE(name);
    const ReferenceCase data = read_reference(name);
    const CleaningData of = cleaning_from(data);
    Context context(Device::open(test_device("cpu:2")));
    expect_reference(data, context, of.energy<double>(context), of.loss<double>(context), of.layout(),
                     "sample_weight");
  }
}

TEST(DenseReference, Quadratic) {
  if (!shared_folder()) GTEST_SKIP() << "The shared folder is absent; set BILEVEL_SHARED to run this test.";
  const std::vector<std::string> names = reference_names("quadratic_");
  ASSERT_GE(names.size(), 2u);
  for (const std::string& name : names) {
    SCOPED_TRACE(name);
    const ReferenceCase data = read_reference(name);
    Context context(Device::open(test_device("cpu:2")));
    const auto matrix = [&](const char* key) {
      const NpyArray& a = data.arrays.at(key);
      return std::make_shared<DenseOperator<double>>(context, 1, 1, static_cast<int>(a.shape[0]),
                                                     static_cast<int>(a.shape[1]), a.data);
    };
    const auto row = [&](const char* key) {
      const std::vector<double>& v = data.arrays.at(key).data;
      return Tensor<double>(context, {1, 1, 1, static_cast<int>(v.size())}, v);
    };
    const int p = static_cast<int>(data.theta.size());
    const Parameters layout({{"shift", Transform::identity, 0, -1e6, 1e6, true, {p}, data.theta},
                             {"xi", Transform::identity, 0, 0, 1, false}});
    const Tensor<double> b1 = row("b1"), b2 = row("b2");
    expect_reference(
        data, context,
        std::make_unique<ComposedEnergy<double>>(context, matrix("A2"), matrix("A3"), b2.view(), layout),
        observed_least_squares<double>(context, matrix("A1"), b1.view()), layout, "shift");
  }
}

/// Certificates of minimisers, hypergradients and losses at iterates and at points that are moved on purpose.
template <class T>
void expect_certificates(const CleaningData& data, Random& random, RatioRecorder& distances,
                         RatioRecorder& omegas) {
  Context context(Device::open(test_device("cpu:2")));
  const ExactCleaning exact = exact_of(data);
  const std::shared_ptr<const UpperLoss<T>> loss = data.loss<T>(context);
  const BilevelProblem<T> problem(data.energy<T>(context), loss, data.layout());
  ImplicitHypergradient<T> gradient(context, problem);
  Tensor<T> x(context, data.unknown());
  const double rounding = 1e-12 * (1 + norm(exact.xhat));  // of the exact ones
  const auto check = [&](std::span<const double> epsilon) {
    const std::vector<T> stored = download(context, x);
    const double off = distance({stored.begin(), stored.end()}, exact.xhat);
    ASSERT_LE(off, epsilon[0] + rounding);
    distances.add(epsilon[0] / off);
    HypergradientRequest request;
    request.delta = random.log_uniform(1e-6, 1e-1);
    const HypergradientResult r =
        gradient.compute(context, data.theta, std::as_const(x).view(), epsilon, request);
    const double error = distance(r.z, exact.z);
    ASSERT_LE(error, r.omega + 1e-11 * norm(exact.z));
    omegas.add(r.omega / error);
    Tensor<double> measured(context, {loss->measures(), 1, 1, 1});
    Frame frame(context);
    ActiveSet all(context, frame, 1);
    loss->measure(context, all.active(), std::as_const(x).view(), measured.view());
    const LossEnclosure f = enclose_loss<T>(*loss, download(context, measured), epsilon, 0);
    EXPECT_LE(f.lower, exact.f * (1 + 1e-12));
    EXPECT_GE(f.upper, exact.f * (1 - 1e-12));
  };
  for (const double epsilon : {1e-1, 1e-2, sizeof(T) == 4 ? 1e-2 : 1e-5}) {
    x.upload(context, std::vector<T>(data.unknown().count(), T(0)));
    SolveRequest<T> request;
    request.tolerance = epsilon;
    const SolveReport report =
        make_minimiser<T>("fista-restart")->minimise(context, problem.energy(), request, x.view());
    check(report.certificate);
    std::vector<double> along = random.integer(0, 1) ? random.normal_vector(exact.xhat.size()) : exact.q;
    if (norm(along) == 0) along[0] = 1;
    const std::vector<double> moved =
        add_scaled(exact.xhat, (random.integer(0, 1) ? 1 : -1) * epsilon / norm(along), along);
    x.upload(context, narrow<T>(moved));
    const std::vector<T> stored = download(context, x);
    check(std::vector{distance({stored.begin(), stored.end()}, exact.xhat) * (1 + 1e-12) + rounding});
  }
}

TEST(DenseCertificates, HoldForHypercleaning) {
  Random random(seed(3911));
  RatioRecorder distances("certificate/distance, hypercleaning"), omegas("omega/error, hypercleaning"),
      single("omega/error, hypercleaning in float"), single_distances("certificate/distance, in float");
  for (int trial = 0; trial < (on_cuda() ? 8 : 24); ++trial) {
    const int classes = random.integer(0, 1) ? 1 : random.integer(2, 4);
    CleaningData data = cleaning_data(classes, random.integer(1, 6), random.integer(1, 40),
                                      random.integer(1, 30), 0.3, random, random.log_uniform(0.1, 10));
    data.ridge = random.log_uniform(1e-3, 1);
    for (double& e : data.theta) e = 3 * random.normal();
    expect_certificates<double>(data, random, distances, omegas);
    if (trial % 3 == 0) expect_certificates<float>(data, random, single_distances, single);
  }
  EXPECT_GE(omegas.minimum(), 1);
}

TEST(DenseCertificates, HoldForARidgePerWeight) {
  Random random(seed(3914));
  RatioRecorder distances("certificate/distance, ridges"), omegas("omega/error, ridges"),
      single("omega/error, ridges in float"), single_distances("certificate/distance, ridges in float");
  for (int trial = 0; trial < (on_cuda() ? 8 : 24); ++trial) {
    const int classes = random.integer(0, 1) ? 1 : random.integer(2, 4);
    CleaningData data = cleaning_data(classes, random.integer(1, 6), random.integer(1, 40),
                                      random.integer(1, 30), 0.1, random, random.log_uniform(0.1, 10));
    data.per_weight = true;
    data.ridge = random.integer(0, 1) ? 0 : 0.01;
    data.theta.clear();
    for (std::size_t e = 0; e < data.unknown().image(); ++e) data.theta.push_back(random.uniform(-5, 1));
    expect_certificates<double>(data, random, distances, omegas);
    if (trial % 3 == 0) expect_certificates<float>(data, random, single_distances, single);
  }
  EXPECT_GE(omegas.minimum(), 1);
}

/// 1/2 |A1 x - b1|^2 over 1/2 |A2 x + A3 t - b2|^2 + xi/2 |x|^2, minimiser and hypergradient from normal
/// equations; points off the minimiser along the adjoint and anywhere.
TEST(DenseCertificates, HoldForDataWithAShift) {
  Random random(seed(3916));
  RatioRecorder omegas("omega/error, data with a shift");
  for (int trial = 0; trial < (on_cuda() ? 8 : 40); ++trial) {
    const int d = random.integer(1, 8), m = random.integer(1, 14), p = random.integer(1, 16);
    const double size = random.log_uniform(1e-3, 1e3), xi = size * size * random.log_uniform(1e-3, 1);
    const auto draw = [&](int rows, int columns) {
      oracle::Matrix a(rows, columns);
      for (double& e : a.entries) e = size * random.normal();
      return a;
    };
    const oracle::Matrix a1 = draw(m, d), a2 = draw(m, d), a3 = draw(m, p);
    const auto count = [](int n) { return static_cast<std::size_t>(n); };
    const std::vector<double> b1 = random.normal_vector(count(m)), b2 = random.normal_vector(count(m)),
                              t = random.normal_vector(count(p));
    const auto transposed = [&](const oracle::Matrix& a, const std::vector<double>& z) {
      std::vector<double> out(count(a.cols), 0);
      for (int i = 0; i < a.rows; ++i)
        for (int j = 0; j < a.cols; ++j) out[count(j)] += a(i, j) * z[count(i)];
      return out;
    };
    oracle::Matrix h(d, d);
    for (int i = 0; i < d; ++i)
      for (int j = 0; j < d; ++j) {
        h(i, j) = i == j ? xi : 0;
        for (int k = 0; k < m; ++k) h(i, j) += a2(k, i) * a2(k, j);
      }
    const std::vector<double> xhat =
        oracle::cholesky_solve(h, transposed(a2, add_scaled(b2, -1, oracle::multiply(a3, t))));
    const std::vector<double> q =
        oracle::cholesky_solve(h, transposed(a1, add_scaled(oracle::multiply(a1, xhat), -1, b1)));
    std::vector<double> z = transposed(a3, oracle::multiply(a2, q));
    for (double& e : z) e = -e;

    Context context(Device::open(test_device("cpu:2")));
    const auto matrix = [&](const oracle::Matrix& a) {
      return std::make_shared<DenseOperator<double>>(context, 1, 1, a.rows, a.cols, a.entries);
    };
    const Tensor<double> y1(context, {1, 1, 1, m}, b1), y2(context, {1, 1, 1, m}, b2);
    const Parameters layout({{"shift", Transform::identity, 0, -1e6, 1e6, true, {p}, t},
                             {"xi", Transform::identity, xi, 0, 1e7, false}});
    const BilevelProblem<double> problem(
        std::make_unique<ComposedEnergy<double>>(context, matrix(a2), matrix(a3), y2.view(), layout),
        observed_least_squares<double>(context, matrix(a1), y1.view()), layout);
    ImplicitHypergradient<double> gradient(context, problem);
    for (const double epsilon : {1e-1, 1e-4}) {
      const std::vector<double> along =
          random.integer(0, 1) && norm(q) > 0 ? q : random.normal_vector(count(d));
      const std::vector<double> moved = add_scaled(xhat, epsilon / norm(along), along);
      const Tensor<double> x(context, {1, 1, 1, d}, moved);
      HypergradientRequest request;
      request.delta = random.log_uniform(1e-8, 1e-1);
      const std::vector<double> distances = {distance(moved, xhat) * (1 + 1e-9) + 1e-13 * norm(xhat)};
      const HypergradientResult r = gradient.compute(context, t, x.view(), distances, request);
      const double error = distance(r.z, z);
      // the normal equations here lose the condition of H
      ASSERT_LE(error, r.omega + 1e-14 * problem.energy().curvature().lipschitz / xi * norm(z)) << trial;
      omegas.add(r.omega / error);
    }
  }
  EXPECT_GE(omegas.median(), 1);
}

/// Slopes of the parameters whose squares are below the smallest number of T.
template <class T>
void expect_bounds_of_tiny_slopes(bool per_weight, Random& random) {
  CleaningData data = cleaning_data(2, 2, 3, 4, 0.5, random);
  data.per_weight = per_weight;
  data.ridge = 1;
  const double tiny = sizeof(T) == 4 ? -58 : -420;
  data.theta.assign(per_weight ? data.unknown().image() : data.labels.size(), tiny);
  Context context(Device::open(test_device("cpu:2")));
  const ExactCleaning exact = exact_of(data);
  const BilevelProblem<T> problem(data.energy<T>(context), data.loss<T>(context), data.layout());
  ImplicitHypergradient<T> gradient(context, problem);
  const std::vector<T> moved =
      narrow<T>(add_scaled(exact.xhat, 0.02, random.normal_vector(exact.xhat.size())));
  const Tensor<T> x(context, data.unknown(), moved);
  const std::vector<double> epsilon = {distance({moved.begin(), moved.end()}, exact.xhat) * (1 + 1e-6)};
  HypergradientRequest request;
  request.delta = 1e-2;
  const HypergradientResult r = gradient.compute(context, data.theta, x.view(), epsilon, request);
  double error = 0, omega = r.omega / std::exp(tiny);
  for (std::size_t j = 0; j < exact.z.size(); ++j)
    error = std::hypot(error, (r.z[j] - exact.z[j]) / std::exp(tiny));
  EXPECT_GT(error, 1e-6);
  EXPECT_GE(omega, error);
}
TEST(DenseCertificates, HoldWhereSlopesAreTiny) {
  Random random(seed(3915));
  for (const bool per_weight : {false, true}) {
    expect_bounds_of_tiny_slopes<float>(per_weight, random);
    expect_bounds_of_tiny_slopes<double>(per_weight, random);
  }
}

/// Sums of millions of equal numbers round to one side.
TEST(DenseCertificates, EnclosuresCountTheRoundingOfLongSums) {
  Context context(Device::open(test_device("cpu:2")));
  const int samples = 3000000;
  const auto ones = std::make_shared<DenseOperator<double>>(
      context, 1, 1, samples, 1, std::vector<double>(static_cast<std::size_t>(samples), 1.0));
  const Tensor<double> b(context, ones->range(), std::vector<double>(static_cast<std::size_t>(samples), 0.3)),
      x(context, {1, 1, 1, 1}, std::vector<double>{0});
  Frame frame(context);
  ActiveSet all(context, frame, 1);
  const auto enclosure = [&](const UpperLoss<double>& loss, double epsilon) {
    Tensor<double> out(context, {loss.measures(), 1, 1, 1});
    loss.measure(context, all.active(), x.view(), out.view());
    return enclose_loss<double>(loss, download(context, out), std::vector{epsilon}, 0);
  };
  const auto squares = observed_least_squares<double>(context, ones, b.view());
  const long double exact = 0.5L * samples * (static_cast<long double>(0.3) * static_cast<long double>(0.3));
  EXPECT_LE(enclosure(*squares, 0).lower, exact);
  EXPECT_GE(enclosure(*squares, 0).upper, exact);
  EXPECT_EQ(enclosure(*squares, HUGE_VAL).lower, 0);
  EXPECT_EQ(enclosure(*squares, HUGE_VAL).upper, HUGE_VAL);
  const auto entropy =
      cross_entropy<double>(context, ones, std::vector<int>(static_cast<std::size_t>(samples), 1));
  EXPECT_LE(enclosure(*entropy, 0).lower, std::log(2.0L));
  EXPECT_GE(enclosure(*entropy, 0).upper, std::log(2.0L));
}

/// Weights of wrong samples fall, those of right ones rise.
TEST(DenseLearning, HypercleaningFindsWrongLabels) {
  Random random(seed(3912));
  Context context(Device::open(test_device("cpu:2")));
  CleaningData data = cleaning_data(3, 6, 150, 150, 0, random);
  std::vector<bool> wrong;
  for (int& label : data.labels) {
    wrong.push_back(random.uniform() < 0.4);
    if (wrong.back()) label = (label + random.integer(1, 2)) % 3;
  }
  const BilevelProblem<double> problem(data.energy<double>(context), data.loss<double>(context),
                                       data.layout());
  UpperOptions options;
  options.max_iterations = 40;
  Observer silent;
  const auto maid = make_maid<double>(options);
  const Tensor<double> start(context, data.unknown(), std::vector<double>(data.unknown().count(), 0));
  const double before = exact_of(data).f;
  const UpperReport report = maid->run(context, problem, data.theta, start.view(), silent);
  data.theta = report.theta;
  const double after = exact_of(data).f;
  EXPECT_LT(after, 0.8 * before) << report.message;
  EXPECT_LE(report.last.loss_lower, after * (1 + 1e-9));
  EXPECT_GE(report.last.loss_upper, after * (1 - 1e-9));
  double pairs = 0, ordered = 0;
  for (std::size_t i = 0; i < wrong.size(); ++i)
    for (std::size_t j = 0; j < wrong.size(); ++j)
      if (wrong[i] && !wrong[j]) {
        ++pairs;
        if (report.theta[i] < report.theta[j]) ++ordered;
      }
  EXPECT_GT(ordered / pairs, 0.9) << "area under the curve";
  std::cout << "loss " << before << " -> " << after << ", area under the curve " << ordered / pairs << ", "
            << report.last.iteration << " iterations" << std::endl;
}

TEST(DenseMisuse, IsRefused) {
  Random random(seed(3913));
  Context context(Device::open(test_device("cpu:1")));
  CleaningData data = cleaning_data(2, 3, 5, 4, 0, random);
  const auto scores = std::make_shared<DenseOperator<double>>(context, 1, 2, 5, 3, data.train);
  const auto energy = [&](const Shape& unknown, const Parameters& layout, double factor = 1) {
    ComposedEnergy<double>(context, unknown, layout,
                           {std::make_shared<CrossEntropyTerm<double>>(scores, data.labels, factor, true)});
  };
  EXPECT_NO_THROW(energy(data.unknown(), data.layout()));
  EXPECT_THROW(energy({1, 1, 3, 2}, data.layout()), ShapeError);
  EXPECT_THROW(energy(data.unknown(), data.layout(), -1), ConfigError);
  EXPECT_THROW(energy(data.unknown(), data.layout(), NAN), ConfigError);
  std::vector<Segment> segments = data.layout().segments();
  segments[1].initial = 0;  // no ridge: not strongly convex
  EXPECT_THROW(energy(data.unknown(), Parameters(segments)), ConfigError);
  segments[1].initial = 1;
  segments[0].shape = {4};
  segments[0].values.resize(4);
  EXPECT_NE(message_of<ConfigError>([&] { energy(data.unknown(), Parameters(segments)); }).find("5 samples"),
            std::string::npos);
  segments[0].shape = {5};
  segments[0].values.assign(5, 1.0);  // theta would be infinite
  EXPECT_NE(message_of<ConfigError>([&] { Parameters again(segments); }).find("sigmoid"), std::string::npos);
  ComposedEnergy<double> kept(context, data.unknown(), data.layout(),
                              {std::make_shared<CrossEntropyTerm<double>>(scores, data.labels, 1, true)});
  EXPECT_THROW(kept.keep_single_precision(context), ConfigError);

  const auto a = std::make_shared<DenseOperator<double>>(context, 1, 1, 4, 2, random.normal_vector(8)),
             other = std::make_shared<DenseOperator<double>>(context, 1, 1, 3, 2, random.normal_vector(6));
  const Tensor<double> y(context, {1, 1, 1, 4}, random.normal_vector(4));
  const Segment xi{"xi", Transform::identity, 0.1, 0, 1, false};
  const auto shifted = [&](std::shared_ptr<const LinearOperator<double>> shift, const Segment& s) {
    ComposedEnergy<double>(context, a, std::move(shift), y.view(), Parameters({s, xi}));
  };
  const Segment shift{"shift", Transform::identity, 0, -9, 9, true, {2}, {0, 0}};
  EXPECT_NO_THROW(shifted(a, shift));
  EXPECT_THROW(shifted(other, shift), ShapeError);
  EXPECT_THROW(shifted(nullptr, shift), ConfigError);
  EXPECT_THROW(shifted(a, {"shift", Transform::identity, 0, -9, 9, true, {3}, {0, 0, 0}}), ShapeError);
  EXPECT_THROW(shifted(a, {"shift", Transform::exp, 1, 1e-3, 9, true, {2}, {1, 1}}), ConfigError);
  const auto with_data = [&](View<const double> observed) {
    ComposedEnergy<double>(context, a, a, observed, Parameters({shift, xi}));
  };
  EXPECT_THROW(with_data({nullptr, y.shape()}), ShapeError);
  const std::vector<double> host(4, 1.0);
  EXPECT_THROW(with_data({host.data(), y.shape()}), ConfigError);
  const Tensor<double> infinite(context, y.shape(), std::vector<double>(4, HUGE_VAL));
  EXPECT_THROW(with_data(infinite.view()), ConfigError);
  for (const Shape& none : {Shape{0, 1, 2, 2}, {-1, 1, 2, 2}, {1, 1, 0, 2}, {1, 1, 70000, 70000}})
    EXPECT_THROW(ComposedEnergy<double>(context, none, Parameters({xi}), {}), ShapeError) << none.str();
}

}  // namespace
}  // namespace bilevel
