#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "bilevel/core/error.hpp"
#include "bilevel/solve/minimiser.hpp"
#include "tests/model/mri_lab.hpp"

// Layouts of theta, misuse, finished images, precisions and what calls of the energy cost.

namespace bilevel {
namespace {

using namespace testing_support;
using oracle::Image;
using oracle::NamedMri;

constexpr std::array<const char*, 4> names = {"s", "alpha", "nu", "xi"};

/// The segments in this order, learned where `learned` says so.
Parameters layout_of(const MriProblem& m, const std::array<std::size_t, 4>& order,
                     const std::array<bool, 4>& learned) {
  std::vector<Segment> segments;
  for (const std::size_t part : order) {
    const double value = part == 1 ? m.alpha : part == 2 ? m.nu : m.xi;
    const Transform transform = part == 0 ? Transform::identity : Transform::exp;
    segments.push_back(
        {names[part], transform, value, part == 0 ? 0 : 1e-12, part == 0 ? 1 : 1e6, learned[part]});
    if (part != 0) continue;
    segments.back().shape = {m.samplings()};
    segments.back().values = m.sampling;
  }
  return Parameters(segments);
}

/// Every subset of the parameters in several orders: B, the blocks and their bounds.
TEST(MriLayouts, EverySubsetAndOrder) {
  Random random(seed(2211));
  for (int subset = 0; subset < 16; ++subset)
    for (const std::array<std::size_t, 4>& order :
         {std::array<std::size_t, 4>{0, 1, 2, 3}, {1, 0, 3, 2}, {3, 2, 1, 0}}) {
      SCOPED_TRACE("subset " + std::to_string(subset) + ", first " + names[order[0]]);
      MriProblem shape = mri_shape(2, 5, 4);
      shape.complex_image = subset % 2 == 0;
      shape.pattern = subset % 3 == 0 ? oracle::PatternKind::rows : oracle::PatternKind::symmetric;
      shape.learn_alpha = shape.learn_nu = shape.learn_xi = true;  // all columns of the oracle
      const std::array<bool, 4> learned = {(subset & 1) != 0, (subset & 2) != 0, (subset & 4) != 0,
                                           (subset & 8) != 0};
      const MriProblem random_problem = oracle::random_mri(shape, 0.1, random);
      MriLab<double> lab(random_problem, layout_of(random_problem, order, learned));
      const MriProblem& m = lab.problem();
      const auto groups = static_cast<std::size_t>(m.samplings());
      std::vector<std::size_t> ends, column;  // of the oracle for every entry of theta
      for (const std::size_t part : order) {
        if (!learned[part]) continue;
        for (std::size_t k = 0; k < (part == 0 ? groups : 1); ++k)
          column.push_back(part == 0 ? k : groups + part - 1);
        ends.push_back(column.size());
      }
      const std::size_t p = column.size();
      EXPECT_EQ(lab.energy().parameters(), p);
      EXPECT_EQ(lab.energy().blocks(), ends);
      EXPECT_EQ(lab.energy().curvature().mixed_lipschitz.size(), ends.size());
      const Image x = m.x_true, q = random.normal_vector(x.size()), d = random.normal_vector(p);
      const Image got = lab.mixed(x, q), forward = lab.mixed_forward(x, d).out;
      Image wide(static_cast<std::size_t>(m.parameters()), 0);
      for (std::size_t j = 0; j < p; ++j) wide[column[j]] = d[j];
      for (int i = 0; i < m.n; ++i) {
        const Image xi = image_of(x, lab.unknowns(), i), qi = image_of(q, lab.unknowns(), i);
        const Image all = oracle::mixed_adjoint(m, m.data(i), xi, qi), own = image_of(got, p, i);
        for (std::size_t j = 0; j < p; ++j) EXPECT_NEAR(own[j], all[column[j]], 1e-12 * norm(all));
        const Image want = oracle::mixed_forward(m, m.data(i), xi, wide);
        EXPECT_LE(distance(image_of(forward, lab.unknowns(), i), want), 1e-12 * norm(want));
        EXPECT_LT(max_relative_difference(image_of(lab.gradient(x).gradient, lab.unknowns(), i),
                                          oracle::gradient(m, m.data(i), xi)),
                  1e-12);
      }
      const DirectionalBound bound = lab.directional(x, q, q, {1e-3, 1e-3}, {1, 1})[0];
      for (const auto* list :
           {&bound.mixed_q, &bound.energy_mixed, &bound.rounding, &bound.norm_mixed, &bound.mixed_lipschitz})
        EXPECT_EQ(list->size(), ends.size());
    }
}

/// bind() moves the energy to another theta completely, and leaves it as it was when it throws.
TEST(MriLayouts, BindIsANewEnergy) {
  Random random(seed(2212));
  for (const NamedMri& named : oracle::mri_collection(mri_shape(1, 7, 6), random)) {
    SCOPED_TRACE(describe(named));
    MriLab<double> lab(named.problem);
    MriProblem other = lab.problem();
    for (double& s : other.sampling) s = 0.05 + 0.9 * random.uniform() * s;
    std::vector<double> theta = other.theta();
    for (std::size_t k = other.sampling.size(); k < theta.size(); ++k) theta[k] += 0.3 * random.normal();
    MriLab<double> want(oracle::with_theta(other, theta));
    lab.energy().bind(theta);
    want.energy().bind(theta);
    const Image x = other.x_true, q = random.normal_vector(x.size());
    const auto same = [&] {
      EXPECT_EQ(lab.gradient(x).gradient, want.gradient(x).gradient);
      EXPECT_EQ(lab.gradient(x).rounding, want.gradient(x).rounding);
      EXPECT_EQ(lab.mixed(x, q), want.mixed(x, q));
      EXPECT_EQ(lab.energy().curvature().mu, want.energy().curvature().mu);
      EXPECT_EQ(lab.energy().curvature().lipschitz, want.energy().curvature().lipschitz);
    };
    same();
    for (const double wrong : {-0.1, 1.5, std::numeric_limits<double>::quiet_NaN(), HUGE_VAL}) {
      std::vector<double> outside = theta;
      outside[other.sampling.size() / 2] = wrong;
      EXPECT_THROW(lab.energy().bind(outside), ConfigError) << wrong;
    }
    EXPECT_THROW(lab.energy().bind(std::vector<double>(theta.size() + 1, 0.5)), ShapeError);
    same();
  }
}

TEST(MriMisuse, IsNamed) {
  Random random(seed(2213));
  Context context(Device::open(test_device("cpu:1")));
  MriProblem shape = mri_shape(1, 4, 5);
  shape.coils = 2;
  const MriProblem m = oracle::random_mri(shape, 0.1, random);
  const MapsOf maps(m);
  std::vector<std::complex<double>> y = complex_of<double>(m.y, 20);
  Parameters parameters = parameters_of(m);
  const auto make = [&](const Shape& images, const SamplingPattern& pattern) {
    return ComposedEnergy<double>(context, images, y, pattern, parameters, TvOptions{}, maps.maps());
  };
  const SamplingPattern pattern = pattern_of(m);
  EXPECT_NO_THROW(make(shape_of(m), pattern));
  EXPECT_THROW(make({2, 1, 4, 5}, pattern), ShapeError);
  EXPECT_THROW(make({1, 3, 4, 5}, pattern), ShapeError);
  EXPECT_THROW(make({1, 1, 5, 4}, pattern), ShapeError);
  EXPECT_THROW(make(shape_of(m), SamplingPattern(PatternKind::free, 5, 4)), ShapeError);
  EXPECT_THROW(make(shape_of(m), SamplingPattern(PatternKind::rows, 4, 5)), ShapeError);
  y[3] = {std::numeric_limits<double>::infinity(), 0};
  EXPECT_THROW(make(shape_of(m), pattern), ConfigError);
  y[3] = 0;
  for (const char* missing : {"s", "alpha", "nu", "xi"}) {
    std::vector<Segment> segments = parameters_of(m).segments();
    std::erase_if(segments, [&](const Segment& segment) { return segment.name == missing; });
    parameters = Parameters(segments);
    EXPECT_THROW(make(shape_of(m), pattern), ConfigError) << missing;
  }
  for (const char* zero : {"nu", "xi"}) {
    std::vector<Segment> segments = parameters_of(m).segments();
    for (Segment& segment : segments)
      if (segment.name == zero) segment.initial = 0;
    parameters = Parameters(segments);
    EXPECT_THROW(make(shape_of(m), pattern), ConfigError) << zero;
  }
}

template <class T>
class MriBatches : public ::testing::Test {};
using Precisions = ::testing::Types<float, double>;
TYPED_TEST_SUITE(MriBatches, Precisions);

/// Images do not touch each other: a batch has the bits of its images alone.
TYPED_TEST(MriBatches, ImagesAreIndependent) {
  Random random(seed(2214));
  for (const NamedMri& named : oracle::mri_collection(mri_shape(3, 6, 7), random)) {
    SCOPED_TRACE(describe(named));
    MriLab<TypeParam> lab(named.problem);
    const MriProblem& m = lab.problem();
    const Image x = representable<TypeParam>(m.x_true), q = random.normal_vector(x.size());
    const auto all = lab.gradient(x);
    const Image mixed = lab.mixed(x, q);
    lab.linearise(x);
    const Image product = lab.hessian_product(q).product;
    for (int i = 0; i < (on_cuda() ? 1 : 3); ++i) {
      MriProblem one = m;
      one.n = 1;
      one.y = m.data(i);
      one.x_true = m.truth(i);
      MriLab<TypeParam> alone(one);
      const Image xi = image_of(x, lab.unknowns(), i), qi = image_of(q, lab.unknowns(), i);
      const auto got = alone.gradient(xi);
      const auto at = static_cast<std::size_t>(i);
      EXPECT_EQ(got.gradient, image_of(all.gradient, lab.unknowns(), i));
      EXPECT_EQ(got.value[0], all.value[at]);
      EXPECT_EQ(got.rounding[0], all.rounding[at]);
      EXPECT_EQ(alone.mixed(xi, qi), image_of(mixed, static_cast<std::size_t>(m.parameters()), i));
      alone.linearise(xi);
      EXPECT_EQ(alone.hessian_product(qi).product, image_of(product, lab.unknowns(), i));
    }
  }
}

/// The number of threads does not change a bit.
TEST(MriDevices, ThreadsDoNotMatter) {
  Random random(seed(2215));
  for (const NamedMri& named : oracle::mri_collection(mri_shape(2, 19, 24), random)) {
    SCOPED_TRACE(describe(named));
    MriLab<double> first(named.problem, test_device("cpu:1"));
    const Image x = first.problem().x_true, q = random.normal_vector(x.size());
    const auto want = first.gradient(x);
    for (const std::string& device : repeat_devices({"cpu:2", "cpu:3"})) {
      MriLab<double> again(named.problem, device);
      const auto got = again.gradient(x);
      EXPECT_EQ(got.gradient, want.gradient);
      EXPECT_EQ(got.value, want.value);
      EXPECT_EQ(got.norm2, want.norm2);
      EXPECT_EQ(again.mixed(x, q), first.mixed(x, q));
    }
  }
}

/// Only enqueues: no waits and, once scratch exists, no allocations.
TEST(MriDevices, CallsNeitherAllocateNorWait) {
  Random random(seed(2216));
  for (const bool complex_image : {false, true}) {
    MriProblem shape = mri_shape(2, 20, 21);
    shape.complex_image = complex_image;
    shape.coils = complex_image ? 2 : 0;
    MriLab<double> lab(oracle::random_mri(shape, 0.1, random));
    ComposedEnergy<double>& energy = lab.energy();
    Context& context = lab.context();
    Frame frame(context);
    const Shape s = lab.shape();
    const auto x = frame.view<double>(s), out = frame.view<double>(s), inverse = frame.view<double>(s);
    const auto weights = frame.view<double>({2 * energy.weight_arrays(), s.c, s.h, s.w});
    const auto dual = frame.view<float>({2 * energy.dual_arrays(), s.c, s.h, s.w});
    const auto sums = frame.view<double>({energy.mixed_sums() + energy.bound_sums(), 2, 1, 1});
    const auto row = [&](int k) { return Scalars(sums.device_data() + 2 * k, {2, 1, 1, 1}); };
    const View<double> two = frame.view<double>({2, 1, 1, 1});
    fill<double>(context, x, 0.25);
    fill<double>(context, sums, 0.5);
    fill<double>(context, two, 0.5);
    const std::vector<double> d(energy.parameters(), 1);
    const auto all = [&] {
      energy.value_and_gradient(context, lab.active(), x, out, {row(0), row(1), row(2)});
      energy.start_dual(context, lab.active(), x, dual);
      energy.linearise(context, lab.active(), x, dual, weights, inverse);
      energy.hessian_product(context, lab.active(), weights, x, out, row(0));
      energy.update_dual(context, lab.active(), x, out, two, dual);
      energy.mixed_adjoint(context, lab.active(), x, out, sums);
      energy.mixed_forward(context, lab.active(), x, d, out, row(0));
      energy.directional_sums(context, lab.active(), x, out, {}, {two, two}, sums);
      energy.fourier()->zero_filled(context, lab.active(), out);
    };
    all();
    const Counters before = context.counters();
    all();
    const Counters after = context.counters();
    EXPECT_EQ(after.allocations, before.allocations);
    EXPECT_EQ(after.host_syncs, before.host_syncs);
    EXPECT_EQ(after.bytes_downloaded, before.bytes_downloaded);
  }
}

/// The energy in single precision has the theta and the data of its owner, also after a bind(), and mixed
/// precision certifies what double precision does.
TEST(MriPrecision, SinglePrecisionFollows) {
  Random random(seed(2217));
  for (const NamedMri& named : oracle::mri_collection(mri_shape(2, 6, 5), random)) {
    SCOPED_TRACE(describe(named));
    MriProblem rounded = bound_problem<float>(named.problem);
    MriLab<double> lab(rounded);
    EXPECT_EQ(lab.energy().single_precision(), nullptr);
    lab.energy().keep_single_precision(lab.context());
    for (double& s : rounded.sampling) s *= 0.9;
    lab.energy().bind(rounded.theta());
    const Energy<float>* single = lab.energy().single_precision();
    ASSERT_NE(single, nullptr);
    EXPECT_EQ(single->curvature().lipschitz, lab.energy().curvature().lipschitz);
    EXPECT_EQ(single->curvature().mu, lab.energy().curvature().mu);

    MriLab<float> want(rounded);
    Context& context = lab.context();
    Frame frame(context);
    const Shape s = lab.shape();
    const Image x = representable<float>(rounded.x_true);
    const auto at = frame.view<float>(s), out = frame.view<float>(s);
    const auto sums = frame.view<double>({3, s.n, 1, 1});
    const auto row = [&](int k) { return Scalars(sums.device_data() + s.n * k, {s.n, 1, 1, 1}); };
    upload<float>(context, narrow<float>(x), at);
    single->value_and_gradient(context, lab.active(), at, out, {row(0), row(1), row(2)});
    const std::vector<float> gradient = download(context, out);
    EXPECT_EQ(Image(gradient.begin(), gradient.end()), want.gradient(x).gradient);

    Tensor<double> start(context, s, x);
    SolveRequest<double> request;
    request.tolerance = 1e-7;
    const SolveReport report =
        make_minimiser<double>("mixed:newton")->minimise(context, lab.energy(), request, start.view());
    EXPECT_EQ(report.status, SolveStatus::converged) << report.message;
    const Image got = download(context, start);
    const MriProblem m = oracle::with_theta(lab.problem(), rounded.theta());
    for (int i = 0; i < m.n; ++i)
      EXPECT_LE(distance(image_of(got, lab.unknowns(), i), oracle::minimise(m, m.data(i)).x),
                report.certificate[static_cast<std::size_t>(i)] + 1e-13);
  }
}

}  // namespace
}  // namespace bilevel
