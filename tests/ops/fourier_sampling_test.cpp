#include "bilevel/ops/fourier_sampling.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "bilevel/core/device.hpp"
#include "bilevel/core/error.hpp"
#include "bilevel/core/tensor.hpp"
#include "tests/support/mri_setup.hpp"

// S F sigma against the naive sums of the oracle: values, adjoint, normal operator, norm bound.

namespace bilevel {
namespace {

using namespace testing_support;
using oracle::Image;

/// The operator of a problem on its own device; arrays cross as vectors of double.
template <class T>
class OperatorLab {
 public:
  OperatorLab(const MriProblem& m, const std::vector<double>& s)
      : problem_(bound_problem<T>(m)),
        maps_(problem_),
        context_(Device::open(test_device("cpu:2"))),
        frame_(context_),
        active_(context_, frame_, m.n),
        op_(context_, shape_of(m), m.coils == 0 ? CoilMaps{} : maps_.maps()),
        x_(frame_.view<T>(op_.images())),
        out_(frame_.view<T>(op_.images())),
        kspace_(frame_.view<T>(op_.kspace())) {
    op_.set_sampling(context_, s);
  }
  const MriProblem& problem() const { return problem_; }
  const FourierSampling<T>& op() const { return op_; }
  Context& context() { return context_; }
  ActiveSet& active() { return active_; }
  Image apply(const Image& x) {
    put(x, x_);
    op_.apply(context_, active_.active(), x_, kspace_);
    return get(kspace_);
  }
  Image adjoint(const Image& kspace) {
    put(kspace, kspace_);
    op_.adjoint(context_, active_.active(), kspace_, out_);
    return get(out_);
  }
  Image normal(const Image& x) {
    put(x, x_);
    op_.normal(context_, active_.active(), x_, out_);
    return get(out_);
  }
  void fill_results(double value) {
    fill<T>(context_, out_, static_cast<T>(value));
    fill<T>(context_, kspace_, static_cast<T>(value));
  }

 private:
  void put(const Image& values, View<T> target) { upload<T>(context_, narrow<T>(values), target); }
  Image get(View<T> view) {
    const std::vector<T> values = download<T>(context_, view);
    return {values.begin(), values.end()};
  }
  MriProblem problem_;
  MapsOf maps_;
  Context context_;
  Frame frame_;
  ActiveSet active_;
  FourierSampling<T> op_;
  View<T> x_, out_, kspace_;
};

std::vector<double> random_sampling(const MriProblem& m, Random& random) {
  std::vector<double> s;
  for (int j = 0; j < m.pixels(); ++j)
    s.push_back(std::max(j == 0 ? 0.1 : 0.0, 1.3 * random.uniform() - 0.3));
  return s;
}

/// Calls check(problem) for one pixel, single rows and columns, even, odd, prime and non-square images, real
/// and complex, without maps and with 1 and 3 of them.
template <class Check>
void for_all_shapes(Random& random, const Check& check) {
  std::vector<std::pair<int, int>> sizes = {{1, 9}, {6, 7}, {8, 4}};
  if (!on_cuda()) sizes.insert(sizes.end(), {{1, 1}, {2, 1}, {11, 13}, {16, 24}, {37, 31}, {31, 64}});
  for (const auto& [h, w] : sizes)
    for (const bool complex_image : {false, true})
      for (const int coils : {0, 1, 3}) {
        MriProblem m = mri_shape(coils == 1 ? 1 : 2, h, w);
        m.complex_image = complex_image;
        m.coils = coils;
        if (coils > 0) m.maps = oracle::random_maps(coils, h, w, random);
        SCOPED_TRACE(std::to_string(h) + "x" + std::to_string(w) +
                     (complex_image ? ", complex, " : ", real, ") + std::to_string(coils) + " maps");
        check(m);
      }
}

Image batch_of(std::size_t size, int n, Random& random) {
  return random.normal_vector(size * static_cast<std::size_t>(n));
}

template <class T>
class FourierOperator : public ::testing::Test {};
using Precisions = ::testing::Types<float, double>;
TYPED_TEST_SUITE(FourierOperator, Precisions);

/// |error| <= this u |E| |x|, of transforms with log2 n stages.
double stages(const MriProblem& m) { return 6 + 2 * std::log2(m.pixels()); }

TYPED_TEST(FourierOperator, IsTheSumOfTheDefinition) {
  Random random(seed(2001));
  RatioRecorder forward("error of S F sigma x / (u stages |E| |x|)"), back("of the adjoint"),
      normal("of the normal operator");
  for_all_shapes(random, [&](const MriProblem& shape) {
    const std::vector<double> s = random_sampling(shape, random);
    OperatorLab<TypeParam> lab(shape, s);
    const MriProblem& m = lab.problem();
    const double u = unit_roundoff<TypeParam> * stages(m), size = std::sqrt(lab.op().norm2());
    const auto image = static_cast<std::size_t>(m.unknowns()),
               kspace = 2 * static_cast<std::size_t>(m.channels() * m.pixels());
    const auto sampled = [&](Image z) {
      for (std::size_t k = 0; k < z.size(); ++k) z[k] *= s[k % s.size()];
      return z;
    };
    const Image x = representable<TypeParam>(batch_of(image, m.n, random)),
                z = representable<TypeParam>(batch_of(kspace, m.n, random));
    const Image got = lab.apply(x), adjoint = lab.adjoint(z), both = lab.normal(x);
    for (int i = 0; i < m.n; ++i) {
      const Image xi = image_of(x, image, i), zi = image_of(z, kspace, i);
      const Image want = sampled(oracle::encode(m, xi));
      forward.add(distance(image_of(got, kspace, i), want) / (u * size * norm(xi)));
      back.add(distance(image_of(adjoint, image, i), oracle::encode_adjoint(m, sampled(zi))) /
               (u * size * norm(zi)));
      normal.add(distance(image_of(both, image, i), oracle::encode_adjoint(m, sampled(want))) /
                 (u * size * size * norm(xi)));
    }
  });
  for (const RatioRecorder* r : {&forward, &back, &normal}) EXPECT_LT(r->maximum(), 1);
}

/// What certificates assume of a transform of n points, 10 log2(n) units, for
/// the sizes that transforms treat worst.
TYPED_TEST(FourierOperator, RoundingOfOneTransform) {
  Random random(seed(2005));
  RatioRecorder ratios("error of F x / (10 u log2 n |x|)");
  std::vector<std::pair<int, int>> sizes = {{7, 11}, {13, 2}, {1, 31}};
  if (!on_cuda()) sizes.insert(sizes.end(), {{1, 997}, {101, 103}, {64, 64}, {61, 122}});
  for (const auto& [h, w] : sizes)
    for (const bool complex_image : {false, true}) {
      MriProblem m = mri_shape(1, h, w);
      m.complex_image = complex_image;
      OperatorLab<TypeParam> lab(m, std::vector<double>(static_cast<std::size_t>(m.pixels()), 1.0));
      const Image x = representable<TypeParam>(random.normal_vector(static_cast<std::size_t>(m.unknowns())));
      ratios.add(distance(lab.apply(x), oracle::encode(m, x)) /
                 (10 * unit_roundoff<TypeParam> * std::log2(m.pixels()) * norm(x)));
    }
  EXPECT_LT(ratios.maximum(), 1);
}

TYPED_TEST(FourierOperator, AdjointAndNormal) {
  Random random(seed(2002));
  RatioRecorder gap("|<E x, z> - <x, E* z>| / (u stages |E| |x| |z|)"),
      normal("|E* E x - normal x| / (u stages |E|^2 |x|)");
  for_all_shapes(random, [&](const MriProblem& shape) {
    OperatorLab<TypeParam> lab(shape, random_sampling(shape, random));
    const MriProblem& m = lab.problem();
    const double u = unit_roundoff<TypeParam> * stages(m), size = std::sqrt(lab.op().norm2());
    const Image x = representable<TypeParam>(batch_of(static_cast<std::size_t>(m.unknowns()), m.n, random)),
                z = representable<TypeParam>(
                    batch_of(2 * static_cast<std::size_t>(m.channels() * m.pixels()), m.n, random));
    const Image forward = lab.apply(x);
    gap.add(std::abs(dot(forward, z) - dot(x, lab.adjoint(z))) / (u * size * norm(x) * norm(z)));
    normal.add(distance(lab.adjoint(forward), lab.normal(x)) / (u * size * size * norm(x)));
  });
  EXPECT_LT(gap.maximum(), 1);
  EXPECT_LT(normal.maximum(), 1);
}

TYPED_TEST(FourierOperator, NormBound) {
  Random random(seed(2003));
  RatioRecorder tight("|E|^2 by power iterations / norm2()");
  for_all_shapes(random, [&](const MriProblem& shape) {
    OperatorLab<TypeParam> lab(shape, random_sampling(shape, random));
    const MriProblem& m = lab.problem();
    double least = HUGE_VAL, most = 0;
    for (int p = 0; p < m.pixels(); ++p) {
      double power = m.coils == 0 ? 1 : 0;
      for (auto k = static_cast<std::size_t>(p); k < m.maps.size(); k += static_cast<std::size_t>(m.pixels()))
        power += m.maps[k] * m.maps[k];
      least = std::min(least, power);
      most = std::max(most, power);
    }
    EXPECT_LT(relative_difference(lab.op().least_coil_power(), least), 1e-6);
    EXPECT_LT(relative_difference(lab.op().most_coil_power(), most), 1e-6);
    EXPECT_LE(lab.op().least_coil_power(), least * (1 + 1e-14));
    EXPECT_GE(lab.op().most_coil_power(), most * (1 - 1e-14));
    EXPECT_EQ(lab.op().coils(), m.channels());
    Image x = batch_of(static_cast<std::size_t>(m.unknowns()), m.n, random);
    for (int step = 0; step < repetitions(16); ++step) {
      const Image next = lab.normal(scaled_to(x, 1));
      if (!(norm(next) > 0)) return;
      x = next;
    }
    tight.add(norm(lab.normal(scaled_to(x, 1))) / lab.op().norm2());
  });
  EXPECT_LE(tight.maximum(), 1 + 20 * unit_roundoff<TypeParam>);
  EXPECT_GE(tight.maximum(), 0.9);
}

/// Images that are not active keep what their results held.
TYPED_TEST(FourierOperator, LeavesFinishedImagesAlone) {
  Random random(seed(2004));
  MriProblem m = mri_shape(3, 5, 6);
  m.complex_image = true;
  m.coils = 2;
  m.maps = oracle::random_maps(2, 5, 6, random);
  OperatorLab<TypeParam> lab(m, std::vector<double>(30, 1.0));
  const Image x = batch_of(60, 3, random), z = batch_of(120, 3, random);
  const Image all = lab.normal(x), spectrum = lab.apply(x), adjoint = lab.adjoint(z);
  lab.active().assign(lab.context(), std::vector<std::uint8_t>{1, 0, 1});
  ASSERT_EQ(lab.active().refresh(lab.context()), 2);
  lab.fill_results(7);
  const Image some = lab.normal(x), k = lab.apply(x);
  lab.fill_results(7);
  const Image back = lab.adjoint(z);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(image_of(some, 60, i), i == 1 ? Image(60, 7.0) : image_of(all, 60, i));
    EXPECT_EQ(image_of(k, 120, i), i == 1 ? Image(120, 7.0) : image_of(spectrum, 120, i));
    EXPECT_EQ(image_of(back, 60, i), i == 1 ? Image(60, 7.0) : image_of(adjoint, 60, i));
  }
}

TEST(FourierOperatorErrors, AreNamed) {
  Context context(Device::open(test_device("cpu:1")));
  using Operator = FourierSampling<double>;
  EXPECT_THROW(Operator(context, {1, 3, 4, 5}), ShapeError);
  std::vector<std::complex<double>> maps(40, 1.0);
  EXPECT_NO_THROW(Operator(context, {1, 1, 4, 5}, {2, maps}));
  EXPECT_THROW(Operator(context, {1, 1, 4, 5}, {3, maps}), ShapeError);
  EXPECT_THROW(Operator(context, {1, 1, 5, 5}, {2, maps}), ShapeError);
  maps[7] = {0, std::numeric_limits<double>::quiet_NaN()};
  EXPECT_THROW(Operator(context, {1, 1, 4, 5}, {2, maps}), ConfigError);
  Operator op(context, {1, 2, 4, 5});
  EXPECT_DOUBLE_EQ(op.norm2(), 1.0);
  EXPECT_THROW(op.set_sampling(context, std::vector<double>(19, 1.0)), ShapeError);
  std::vector<double> s(20, 0.5);
  op.set_sampling(context, s);
  EXPECT_DOUBLE_EQ(op.norm2(), 0.25);
  s[3] = -0.1;
  EXPECT_THROW(op.set_sampling(context, s), ConfigError);
  s[3] = std::numeric_limits<double>::infinity();
  EXPECT_THROW(op.set_sampling(context, s), ConfigError);
}

}  // namespace
}  // namespace bilevel
