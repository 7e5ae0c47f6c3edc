#include <gtest/gtest.h>

#include <array>
#include <cmath>

#include "bilevel/learn/hypergradient.hpp"
#include "bilevel/solve/minimiser.hpp"
#include "tests/support/sums_setup.hpp"

// Certificates of sums of regularisers: bounds of inexact solves against solves to the end, and those against
// differences of the loss.

namespace bilevel {
namespace {

using namespace testing_support;

/// A problem with its minimisers and hypergradient to nearly rounding, each with its own bound.
struct SumLab {
  SumLab(const SumData<double>& from, const SumCase& c, Random& random)
      : data(from),
        context(from.context),
        layout(from.parameters(c.joined())),
        truth(context, from.shape, representable<float>(random.normal_vector(from.shape.count()))),
        problem(from.energy(c.joined(), c.sum()), truth.view(), layout),
        gradient(context, problem),
        x(context, from.shape, std::vector<double>(from.shape.count(), 0)) {
    theta = layout.initial();
    certificate = solve(finest());
    exact = download(context, x);
    HypergradientRequest request;
    request.delta = finest();
    request.column_tolerance = 1e-8;
    reference = gradient.compute(context, theta, x.view(), certificate, request);
  }
  std::vector<double> solve(double epsilon, const char* solver = "newton") {
    SolveRequest<double> request;
    request.tolerance = epsilon;
    const SolveReport report =
        make_minimiser<double>(solver)->minimise(context, problem.energy(), request, x.view());
    EXPECT_EQ(report.status, SolveStatus::converged);
    return report.certificate;
  }
  /// An accuracy above rounding, which is bounded generously where an operator has transforms.
  double finest() const { return data.kind == DataKind::blur ? 1e-10 : 1e-11; }
  void start(const std::vector<double>& values) { x.upload(context, values); }
  /// The loss at theta, 1/(2N) sum |xhat - truth|^2.
  double loss(const std::vector<double>& at) {
    problem.energy().bind(at);
    solve(finest());
    const std::vector<double> got = download(context, x), wanted = download(context, truth);
    return std::pow(distance(got, wanted), 2) / (2.0 * data.shape.n);
  }

  const SumData<double>& data;
  Context& context;
  Parameters layout;
  Tensor<double> truth;
  BilevelProblem<double> problem;
  ImplicitHypergradient<double> gradient;
  Tensor<double> x;
  std::vector<double> theta, certificate, exact;
  HypergradientResult reference;
};

/// The distances to the exact minimisers and the errors of every block are within what is claimed.
void check(SumLab& lab, const std::vector<double>& epsilon, double delta, RatioRecorder& distances,
           RatioRecorder& omegas) {
  const std::vector<double> x = download(lab.context, lab.x);
  const std::size_t each = lab.data.shape.image();
  for (std::size_t i = 0; i < epsilon.size(); ++i) {
    double d = 0;
    for (std::size_t e = i * each; e < (i + 1) * each; ++e) d += std::pow(x[e] - lab.exact[e], 2);
    ASSERT_LE(std::sqrt(d), epsilon[i] + lab.certificate[i]);
    distances.add(epsilon[i] / std::sqrt(d));
  }
  HypergradientRequest request;
  request.delta = delta;
  const HypergradientResult r = lab.gradient.compute(lab.context, lab.theta, lab.x.view(), epsilon, request);
  const double error = distance(r.z, lab.reference.z);
  ASSERT_LE(error, r.omega + lab.reference.omega);
  omegas.add(r.omega / error);
  std::size_t first = 0;
  for (std::size_t b = 0; b < r.block_end.size(); first = r.block_end[b++]) {
    double block = 0;
    for (std::size_t j = first; j < r.block_end[b]; ++j) block += std::pow(r.z[j] - lab.reference.z[j], 2);
    ASSERT_LE(std::sqrt(block), r.block_bound[b] + lab.reference.block_bound[b]) << "block " << b;
  }
}

TEST(SumsCertificate, HoldsForIteratesOfGradientDescentAndNewton) {
  Random random(seed(2811));
  RatioRecorder distances("certificate/distance, sums"), omegas("omega/error, sums");
  for (const DataKind kind : {DataKind::denoising, DataKind::inpainting, DataKind::fourier,
                              DataKind::complex_fourier, DataKind::blur}) {
    Context context(Device::open(test_device("cpu:2")));
    const SumData<double> data(kind, context, 10, 12, random);
    for (const SumCase& c : sum_cases(data.shape.h % 2 == 0 && data.shape.w % 2 == 0, 0.1, random)) {
      SCOPED_TRACE(std::string(name_of(kind)) + ", " + c.name);
      SumLab lab(data, c, random);
      EXPECT_LT(lab.reference.omega, 1e-4 * norm(lab.reference.z));
      for (const char* solver : {"gradient-descent", "newton"}) {
        lab.start(std::vector<double>(data.shape.count(), 0));
        for (const double epsilon : {1e-1, 1e-2, 1e-3})
          check(lab, lab.solve(epsilon, solver), epsilon * random.log_uniform(0.1, 10), distances, omegas);
      }
    }
  }
}

/// xhat + e with |e| known, e random, smooth or one pixel.
TEST(SumsCertificate, HoldsForPerturbationsOfKnownLength) {
  Random random(seed(2812));
  RatioRecorder distances("given/distance, sums"), omegas("omega/error, perturbed sums");
  for (const DataKind kind : {DataKind::denoising, DataKind::inpainting, DataKind::complex_fourier,
                              DataKind::fourier, DataKind::blur}) {
    Context context(Device::open(test_device("cpu:2")));
    const SumData<double> data(kind, context, 9, 8, random);
    for (const SumCase& c : sum_cases(data.shape.h % 2 == 0 && data.shape.w % 2 == 0, 0.1, random)) {
      SCOPED_TRACE(std::string(name_of(kind)) + ", " + c.name);
      SumLab lab(data, c, random);
      const std::size_t each = data.shape.image();
      for (const double epsilon : {1e-1, 1e-3})
        for (int shape = 0; shape < 3; ++shape) {
          std::vector<double> at = lab.exact;
          for (std::size_t i = 0; i < 2; ++i) {
            std::vector<double> e = shape == 1 ? std::vector<double>(each, 1) : random.normal_vector(each);
            if (shape == 2) e = std::vector<double>(each, 0), e[each / 2] = -1;
            e = scaled_to(std::move(e), epsilon);
            for (std::size_t k = 0; k < each; ++k) at[i * each + k] += e[k];
          }
          lab.start(at);
          check(lab, {epsilon * (1 + 1e-9), epsilon * (1 + 1e-9)}, epsilon, distances, omegas);
        }
    }
  }
}

/// Perturbations down to the rounding of the images.
TEST(SumsCertificate, HoldsInSinglePrecision) {
  Random random(seed(2814));
  RatioRecorder omegas("omega/error, sums in single precision");
  for (const DataKind kind :
       {DataKind::denoising, DataKind::inpainting, DataKind::complex_fourier, DataKind::fourier}) {
    Context context(Device::open(test_device("cpu:1")));
    const std::uint64_t same = random.bits();
    Random first(same), second(same);
    const SumData<float> single(kind, context, 8, 8, first);
    const SumData<double> twice(kind, context, 8, 8, second);
    for (const SumCase& c : sum_cases(true, 0.1, random)) {
      SCOPED_TRACE(std::string(name_of(kind)) + ", " + c.name);
      SumLab lab(twice, c, random);
      const std::vector<double> wanted = download(context, lab.truth);
      const Tensor<float> truth(context, single.shape, std::vector<float>(wanted.begin(), wanted.end()));
      const BilevelProblem<float> problem(single.energy(c.joined(), c.sum()), truth.view(), lab.layout);
      ImplicitHypergradient<float> gradient(context, problem);
      const std::size_t each = single.shape.image();
      for (const double size : {1e-1, 1e-3, 1e-5}) {
        std::vector<float> at;
        for (const double v : lab.exact) at.push_back(static_cast<float>(v + size * random.normal()));
        std::vector<double> epsilon;
        for (std::size_t i = 0; i < 2; ++i) {
          double d = 0;
          for (std::size_t e = i * each; e < (i + 1) * each; ++e) d += std::pow(at[e] - lab.exact[e], 2);
          epsilon.push_back(std::sqrt(d) * (1 + 1e-9) + lab.certificate[i]);
        }
        const Tensor<float> x(context, single.shape, at);
        HypergradientRequest request;
        request.delta = size;
        const HypergradientResult r = gradient.compute(context, lab.theta, x.view(), epsilon, request);
        const double error = distance(r.z, lab.reference.z);
        ASSERT_LE(error, r.omega + lab.reference.omega);
        omegas.add(r.omega / error);
      }
    }
  }
}

TEST(SumsHypergradient, IsTheDerivativeOfTheLoss) {
  Random random(seed(2813));
  for (const DataKind kind : {DataKind::denoising, DataKind::inpainting, DataKind::fourier,
                              DataKind::complex_fourier, DataKind::blur}) {
    Context context(Device::open(test_device("cpu:2")));
    const SumData<double> data(kind, context, 7, 8, random);
    for (const SumCase& c : sum_cases(data.shape.h % 2 == 0 && data.shape.w % 2 == 0, 0.1, random)) {
      SCOPED_TRACE(std::string(name_of(kind)) + ", " + c.name);
      SumLab lab(data, c, random);
      const std::vector<double> d = scaled_to(random.normal_vector(lab.theta.size()), 1);
      const double step = 1e-3;
      const auto at = [&](double t) {
        std::vector<double> theta = add_scaled(lab.theta, t * step, d);
        return lab.loss(theta);
      };
      // the fourth-order difference
      const double slope = (8 * (at(1) - at(-1)) - (at(2) - at(-2))) / (12 * step);
      EXPECT_LT(std::fabs(slope - dot(lab.reference.z, d)), 1e-6 * (norm(lab.reference.z) + 1e-3));
    }
  }
}

}  // namespace
}  // namespace bilevel
