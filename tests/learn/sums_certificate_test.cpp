#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "bilevel/learn/hypergradient.hpp"
#include "bilevel/ops/projected_differences.hpp"
#include "bilevel/solve/minimiser.hpp"
#include "tests/support/log_cosh.hpp"
#include "tests/support/sums_setup.hpp"

// Certificates of sums of regularisers: bounds of inexact solves against solves to the end, and those against
// differences of the loss.

namespace bilevel {
namespace {

using namespace testing_support;

/// A problem with its minimisers and hypergradient to nearly rounding, each with its own bound.
struct SumLab {
  SumLab(const SumData<double>& from, const SumCase& c, Random& random)
      : SumLab(from, c.joined(), c.sum(), random) {}
  SumLab(const SumData<double>& from, const Parameters& parameters, const RegulariserSum& sum, Random& random)
      : data(from),
        context(from.context),
        layout(from.parameters(parameters)),
        truth(context, from.shape, representable<float>(random.normal_vector(from.shape.count()))),
        problem(from.energy(parameters, sum), truth.view(), layout),
        gradient(context, problem),
        shape(problem.energy().shape()),
        x(context, shape, std::vector<double>(shape.count(), 0)) {
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
  double finest() const { return data.blur || data.kind == DataKind::coils ? 1e-10 : 1e-11; }
  void start(const std::vector<double>& values) { x.upload(context, values); }
  /// The loss at theta, 1/(2N) sum |xhat - truth|^2.
  double loss(const std::vector<double>& at) {
    problem.energy().bind(at);
    solve(finest());
    const std::vector<double> got = download(context, x), wanted = download(context, truth);
    double sum = 0;  // over x, which comes first
    for (std::size_t e = 0; e < wanted.size(); ++e) {
      const std::size_t image = e / data.shape.image(), pixel = e % data.shape.image();
      sum += std::pow(got[image * shape.image() + pixel] - wanted[e], 2);
    }
    return sum / (2.0 * shape.n);
  }

  const SumData<double>& data;
  Context& context;
  Parameters layout;
  Tensor<double> truth;
  BilevelProblem<double> problem;
  ImplicitHypergradient<double> gradient;
  Shape shape;  ///< of the unknown
  Tensor<double> x;
  std::vector<double> theta, certificate, exact;
  HypergradientResult reference;
};

/// The distances to the exact minimisers and the errors of every block are within what is claimed.
void check(SumLab& lab, const std::vector<double>& epsilon, double delta, RatioRecorder& distances,
           RatioRecorder& omegas) {
  const std::vector<double> x = download(lab.context, lab.x);
  const std::size_t each = lab.shape.image();
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
  for (const DataKind kind : every_kind) {
    Context context(Device::open(test_device("cpu:2")));
    const SumData<double> data(kind, context, 10, 12, random);
    for (const SumCase& c : all_cases(data.shape, 0.1, random)) {
      SCOPED_TRACE(std::string(name_of(kind)) + ", " + c.name);
      SumLab lab(data, c, random);
      EXPECT_LT(lab.reference.omega, 1e-4 * norm(lab.reference.z));
      for (const char* solver : {"gradient-descent", "newton"}) {
        lab.start(std::vector<double>(lab.shape.count(), 0));
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
  for (const DataKind kind : every_kind) {
    Context context(Device::open(test_device("cpu:2")));
    const SumData<double> data(kind, context, 9, 8, random);
    for (const SumCase& c : all_cases(data.shape, 0.1, random)) {
      SCOPED_TRACE(std::string(name_of(kind)) + ", " + c.name);
      SumLab lab(data, c, random);
      const std::size_t each = lab.shape.image();
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

/// With a term of one's own, of which nothing is known but its constants.
TEST(SumsCertificate, HoldsWithATermFromOutside) {
  Random random(seed(2815));
  RatioRecorder distances("certificate/distance, own terms"), omegas("omega/error, own terms");
  for (const DataKind kind : {DataKind::denoising, DataKind::inpainting, DataKind::complex_fourier}) {
    Context context(Device::open(test_device("cpu:2")));
    const SumData<double> data(kind, context, 6, 7, random);
    for (const bool alone : {false, true}) {
      const auto term =
          log_cosh_term<double>(data.shape, random.log_uniform(0.02, 0.3), random.log_uniform(0.05, 0.3));
      SumCase tv = sum_case("tv", {TvOptions{}}, 0.1, random);
      std::vector<Segment> segments = term->segments();
      segments.push_back({"xi", Transform::exp, 0.1, 1e-3, 1, false});
      if (!alone) tv.parameters.emplace_back(term->segments());
      SumLab lab(data, alone ? Parameters(segments) : tv.joined(),
                 alone ? RegulariserSum({}, {term}) : RegulariserSum(tv.parts, {term}), random);
      SCOPED_TRACE(std::string(name_of(kind)) + (alone ? ", alone" : ", beside tv"));
      EXPECT_LT(lab.reference.omega, 1e-4 * norm(lab.reference.z));
      for (const double epsilon : {1e-1, 1e-3, 1e-5}) {
        lab.start(std::vector<double>(data.shape.count(), 0));
        check(lab, lab.solve(epsilon), epsilon * random.log_uniform(0.1, 10), distances, omegas);
        std::vector<double> at = lab.exact;
        for (std::size_t i = 0; i < 2; ++i) {
          const std::vector<double> e = scaled_to(random.normal_vector(data.shape.image()), epsilon);
          for (std::size_t k = 0; k < e.size(); ++k) at[i * e.size() + k] += e[k];
        }
        lab.start(at);
        check(lab, {epsilon * (1 + 1e-9), epsilon * (1 + 1e-9)}, epsilon, distances, omegas);
      }
    }
  }
}

/// What the forms of DirectionalBound speak about, of all images: A q and B^T q.
struct Products {
  std::vector<double> hessian, mixed;
};
Products products(SumLab& lab, const std::vector<double>& at, const std::vector<double>& q) {
  const ComposedEnergy<double>& energy = static_cast<const ComposedEnergy<double>&>(lab.problem.energy());
  Context& context = lab.context;
  const Shape s = energy.shape();
  Frame frame(context);
  const ActiveSet all(context, frame, s.n);
  const Tensor<double> x(context, s, at), along(context, s, q);
  const View<double> weights = frame.view<double>({s.n * energy.weight_arrays(), s.c, s.h, s.w}),
                     out = frame.view<double>(s), inner = frame.view<double>({s.n, 1, 1, 1}),
                     sums = frame.view<double>({energy.mixed_sums(), s.n, 1, 1});
  energy.linearise(context, all.active(), x.view(), {}, weights, frame.view<double>(s));
  energy.hessian_product(context, all.active(), weights, along.view(), out, inner);
  energy.mixed_adjoint(context, all.active(), x.view(), along.view(), sums);
  return {download<double>(context, out), energy.mixed(download<double>(context, sums))};
}

/// |(B - B~)_b^T q|, |B~_b^T f| with A f known, |v^T (A - A~) q| and |(A - A~) q|, image by image.
TEST(SumsDirectional, BoundsHoldForPerturbationsOfKnownLength) {
  Random random(seed(2815));
  RatioRecorder mixed_q("mixed_q, bound/measured, sums"), norm_mixed("norm_mixed, bound/measured, sums"),
      hessian_vq("hessian_vq, bound/measured, sums"), hessian_q("hessian_q, bound/measured, sums");
  for (const DataKind kind : {DataKind::denoising, DataKind::inpainting, DataKind::complex_fourier,
                              DataKind::coils, DataKind::colour, DataKind::masked_colour}) {
    Context context(Device::open(test_device("cpu:2")));
    const SumData<double> data(kind, context, 8, 10, random);
    for (const SumCase& c : all_cases(data.shape, 0.1, random)) {
      SCOPED_TRACE(std::string(name_of(kind)) + ", " + c.name);
      SumLab lab(data, c, random);
      const ComposedEnergy<double>& energy = static_cast<ComposedEnergy<double>&>(lab.problem.energy());
      const double mu = energy.curvature().mu;
      const std::size_t each = lab.shape.image(), p = lab.theta.size();
      const auto image = [&](const std::vector<double>& v, std::size_t i, std::size_t size) {
        const auto first = v.begin() + static_cast<std::ptrdiff_t>(i * size);
        return std::vector<double>(first, first + static_cast<std::ptrdiff_t>(size));
      };
      for (const double epsilon : {1e-2, 0.3, 5.0}) {
        const std::vector<double> q = random.normal_vector(2 * each), v = random.normal_vector(2 * each);
        std::vector<double> at = lab.exact;
        for (std::size_t i = 0; i < 2; ++i) {
          const std::vector<double> e = scaled_to(random.normal_vector(each), epsilon);
          for (std::size_t k = 0; k < each; ++k) at[i * each + k] += e[k];
        }
        Frame frame(context);
        const ActiveSet all(context, frame, 2);
        const auto numbers = [&] { return frame.view<double>({2, 1, 1, 1}); };
        const View<double> radius = numbers(), norm2 = numbers(), out = frame.view<double>(lab.shape),
                           sums = frame.view<double>({energy.bound_sums(), 2, 1, 1});
        const Tensor<double> x(context, lab.shape, at), on_q(context, lab.shape, q),
            on_v(context, lab.shape, v);
        energy.value_and_gradient(context, all.active(), x.view(), out, {numbers(), norm2, numbers()});
        std::vector<double> gradient = download<double>(context, norm2);
        for (double& g : gradient) g = std::sqrt(g) * (1 + 1e-9) + 1e-9;
        upload<double>(context, gradient, norm2);
        upload<double>(context, std::vector<double>(2, epsilon * (1 + 1e-9) + 1e-9), radius);
        energy.directional_sums(context, all.active(), x.view(), on_q.view(), on_v.view(), {radius, norm2},
                                sums);
        const std::vector<double> measured = download<double>(context, sums);
        const Products here = products(lab, at, q), there = products(lab, lab.exact, q),
                       of_v = products(lab, at, v), from_v = products(lab, lab.exact, v);
        for (std::size_t i = 0; i < 2; ++i) {
          const DirectionalBound b =
              energy.directional(measured, static_cast<int>(i), epsilon * (1 + 1e-9) + 1e-9,
                                 norm(image(q, i, each)), norm(image(v, i, each)));
          const std::vector<double> change =
              add_scaled(image(there.hessian, i, each), -1, image(here.hessian, i, each));
          const auto expect = [&](double bound, double value, double floor, RatioRecorder& ratios) {
            ASSERT_LE(value, bound + floor);
            if (value > 10 * floor) ratios.add(bound / value);
          };
          const double floor = 1e-12 * norm(image(there.hessian, i, each));
          expect(b.hessian_q, norm(change), floor, hessian_q);
          expect(b.hessian_vq, std::fabs(dot(image(v, i, each), change)), floor * norm(image(v, i, each)),
                 hessian_vq);
          const std::vector<double> z = image(here.mixed, i, p), zhat = image(there.mixed, i, p),
                                    zv = image(of_v.mixed, i, p);
          const double on_hat = norm(image(from_v.hessian, i, each)) / mu;  // v solves A f = A v
          std::size_t first = 0, block = 0;
          for (const std::size_t end : energy.blocks()) {
            double moved = 0, own = 0;
            for (std::size_t j = first; j < end; ++j)
              moved += std::pow(z[j] - zhat[j], 2), own += zv[j] * zv[j];
            const double least = 1e-12 * norm(z);
            expect(b.mixed_q[block], std::sqrt(moved), least, mixed_q);
            if (!b.norm_mixed.empty())
              expect(b.norm_mixed[block] * on_hat, std::sqrt(own), least, norm_mixed);
            first = end;
            ++block;
          }
        }
      }
    }
  }
  for (const RatioRecorder* r : {&mixed_q, &norm_mixed, &hessian_vq, &hessian_q}) EXPECT_GT(r->count(), 100u);
}

/// Directional total variation: an operator from outside under a potential, with the bounds of those inside.
TEST(SumsCertificate, HoldsWithAnOperatorFromOutside) {
  Random random(seed(2817));
  RatioRecorder distances("certificate/distance, own operators"), omegas("omega/error, own operators");
  for (const DataKind kind : {DataKind::denoising, DataKind::inpainting, DataKind::fourier}) {
    Context context(Device::open(test_device("cpu:2")));
    const SumData<double> data(kind, context, 6, 7, random);
    for (const TvPotential potential : {TvPotential::charbonnier, TvPotential::huber_c2}) {
      SCOPED_TRACE(name_of(kind));
      const auto k = std::make_shared<ProjectedDifferences<double>>(
          context, data.shape, random.normal_vector(data.shape.image()), 0.1);
      SumCase tv = sum_case("h1", {TvOptions{TvPotential::quadratic}}, 0.1, random);
      tv.parameters.push_back(sum_case("", {TvOptions{}}, 0.1, random).parameters[0]);
      SumLab lab(data, tv.joined(),
                 RegulariserSum(tv.parts, {std::make_shared<OperatorTerm<double>>(k, potential)}), random);
      EXPECT_LT(lab.reference.omega, 1e-4 * norm(lab.reference.z));
      for (const double epsilon : {1e-1, 1e-2, 1e-3}) {
        lab.start(std::vector<double>(data.shape.count(), 0));
        check(lab, lab.solve(epsilon), epsilon * random.log_uniform(0.1, 10), distances, omegas);
      }
    }
  }
}

/// Perturbations down to the rounding of the images.
TEST(SumsCertificate, HoldsInSinglePrecision) {
  Random random(seed(2814));
  RatioRecorder omegas("omega/error, sums in single precision");
  for (const DataKind kind :
       {DataKind::denoising, DataKind::inpainting, DataKind::complex_fourier, DataKind::fourier,
        DataKind::coils, DataKind::colour, DataKind::masked_colour}) {
    Context context(Device::open(test_device("cpu:1")));
    const std::uint64_t same = random.bits();
    Random first(same), second(same);
    const SumData<float> single(kind, context, 8, 8, first);
    const SumData<double> twice(kind, context, 8, 8, second);
    for (const SumCase& c : all_cases(twice.shape, 0.1, random)) {
      SCOPED_TRACE(std::string(name_of(kind)) + ", " + c.name);
      SumLab lab(twice, c, random);
      const std::vector<double> wanted = download(context, lab.truth);
      const Tensor<float> truth(context, single.shape, std::vector<float>(wanted.begin(), wanted.end()));
      const BilevelProblem<float> problem(single.energy(c.joined(), c.sum()), truth.view(), lab.layout);
      ImplicitHypergradient<float> gradient(context, problem);
      const std::size_t each = lab.shape.image();
      for (const double size : {1e-1, 1e-3, 1e-5}) {
        std::vector<float> at;
        for (const double v : lab.exact) at.push_back(static_cast<float>(v + size * random.normal()));
        std::vector<double> epsilon;
        for (std::size_t i = 0; i < 2; ++i) {
          double d = 0;
          for (std::size_t e = i * each; e < (i + 1) * each; ++e) d += std::pow(at[e] - lab.exact[e], 2);
          epsilon.push_back(std::sqrt(d) * (1 + 1e-9) + lab.certificate[i]);
        }
        const Tensor<float> x(context, lab.shape, at);
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

TEST(OwnTermHypergradient, IsTheDerivativeOfTheLoss) {
  Random random(seed(2816));
  Context context(Device::open(test_device("cpu:2")));
  const SumData<double> data(DataKind::denoising, context, 6, 7, random);
  const auto term = log_cosh_term<double>(data.shape, 0.1, 0.1);
  SumCase tv = sum_case("tv", {TvOptions{}}, 0.1, random);
  tv.parameters.emplace_back(term->segments());
  SumLab lab(data, tv.joined(), RegulariserSum(tv.parts, {term}), random);
  for (std::size_t j = 0; j < lab.theta.size(); ++j) {
    std::vector<double> d(lab.theta.size(), 0);
    d[j] = 1;
    const auto at = [&](double t) { return lab.loss(add_scaled(lab.theta, 1e-3 * t, d)); };
    const double slope = (8 * (at(1) - at(-1)) - (at(2) - at(-2))) / 12e-3;
    EXPECT_LT(std::fabs(slope - lab.reference.z[j]), 1e-6 * (norm(lab.reference.z) + 1e-3)) << j;
  }
}

TEST(SumsHypergradient, IsTheDerivativeOfTheLoss) {
  Random random(seed(2813));
  const int stride = 8 / repetitions(8);
  int met = 0;
  for (const DataKind kind : every_kind) {
    Context context(Device::open(test_device("cpu:2")));
    const SumData<double> data(kind, context, 7, 8, random);
    for (const SumCase& c : all_cases(data.shape, 0.1, random)) {
      if (met++ % stride != 0) continue;
      SCOPED_TRACE(std::string(name_of(kind)) + ", " + c.name);
      SumLab lab(data, c, random);
      const std::vector<double> d = scaled_to(random.normal_vector(lab.theta.size()), 1);
      // The slope of huber_c2 has kinks, one of which the differences may meet: then they are off in
      // proportion to the step, while a wrong derivative is off whatever the step.
      double least = std::numeric_limits<double>::infinity(), largest = 0;
      for (const double step : {1e-3, 3e-4, 1e-4}) {
        const auto at = [&](double t) { return lab.loss(add_scaled(lab.theta, t * step, d)); };
        // the fourth-order difference
        const double slope = (8 * (at(1) - at(-1)) - (at(2) - at(-2))) / (12 * step);
        const double off = std::fabs(slope - dot(lab.reference.z, d));
        least = std::min(least, off);
        largest = std::max(largest, off);
      }
      const double allowed = 1e-6 * (norm(lab.reference.z) + 1e-3);
      EXPECT_TRUE(least < allowed || (c.any_huber() && least < 0.25 * largest)) << least << " of " << largest;
    }
  }
}

}  // namespace
}  // namespace bilevel
