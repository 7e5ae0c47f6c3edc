#include "bilevel/ops/blur.hpp"

#include <gtest/gtest.h>

#include <limits>

#include "bilevel/core/error.hpp"
#include "tests/ops/operator_lab.hpp"
#include "tests/support/thrown.hpp"

// Blur against the sums of its definition, and against scipy.

namespace bilevel {
namespace {

using namespace testing_support;

int mirrored(int p, int size) { return p < 0 ? -1 - p : p >= size ? 2 * size - 1 - p : p; }

/// visit(output, input, k) over all products of one plane.
template <class Visit>
void products(const BlurKernel& k, int height, int width, const Visit& visit) {
  for (int r = 0; r < height; ++r)
    for (int c = 0; c < width; ++c)
      for (int i = 0; i < k.height; ++i)
        for (int j = 0; j < k.width; ++j)
          visit(static_cast<std::size_t>(r * width + c),
                static_cast<std::size_t>(mirrored(r - i + k.height / 2, height) * width +
                                         mirrored(c - j + k.width / 2, width)),
                k.values[static_cast<std::size_t>(i * k.width + j)]);
}

/// A x (or A^T x) of a batch.
Image naive(const BlurKernel& k, const Shape& s, const Image& x, bool adjoint) {
  Image out(x.size());
  const std::size_t plane = static_cast<std::size_t>(s.h) * static_cast<std::size_t>(s.w);
  for (std::size_t first = 0; first < x.size(); first += plane)
    products(k, s.h, s.w, [&](std::size_t to, std::size_t from, double weight) {
      if (adjoint)
        out[first + from] += weight * x[first + to];
      else
        out[first + to] += weight * x[first + from];
    });
  return out;
}

BlurKernel random_kernel(int height, int width, Random& random) {
  return {height, width, random.normal_vector(static_cast<std::size_t>(height * width))};
}
BlurKernel motion() { return {1, 5, {0.2, 0.2, 0.2, 0.2, 0.2}}; }
BlurKernel shift() { return {3, 3, {1, 0, 0, 0, 0, 0, 0, 0, 0}}; }

template <class T>
typename OperatorLab<T>::Make maker(const Shape& s, const BlurKernel& k) {
  return [=](Context& context) { return std::make_unique<Blur<T>>(context, s, k); };
}

struct Case {
  std::string name;
  Shape shape;
  BlurKernel kernel;
};
std::vector<Case> cases(Random& random) {
  std::vector<Case> all = {{"random", {2, 1, 7, 6}, random_kernel(3, 5, random)},
                           {"Gaussian", {1, 2, 12, 9}, gaussian_kernel(0.7)},
                           {"row", {1, 1, 1, 9}, motion()}};
  if (!on_cuda()) {
    all.push_back({"of the size of the image", {1, 1, 7, 5}, random_kernel(7, 5, random)});
    all.push_back({"one pixel", {1, 1, 1, 1}, {1, 1, {-1.5}}});
    all.push_back({"column", {2, 2, 11, 1}, random_kernel(5, 1, random)});
    all.push_back({"identity", {1, 1, 4, 4}, {}});
    all.push_back({"shift", {1, 1, 8, 8}, shift()});
    all.push_back({"motion", {1, 3, 31, 37}, motion()});
    all.push_back({"zero", {1, 1, 5, 4}, {3, 3, std::vector<double>(9)}});
    all.push_back({"Gaussian", {2, 1, 64, 48}, gaussian_kernel(1.6)});
    all.push_back({"edges", {1, 1, 40, 20}, {3, 3, {0, 1, 0, 1, -4, 1, 0, 1, 0}}});
  }
  return all;
}

template <class T>
class BlurOperator : public ::testing::Test {};
using Precisions = ::testing::Types<float, double>;
TYPED_TEST_SUITE(BlurOperator, Precisions);

TYPED_TEST(BlurOperator, IsTheSumOfTheDefinition) {
  using T = TypeParam;
  Random random(seed(3301));
  RatioRecorder forward("error of A x / (rounding() u |x|)"), back("of A^T z");
  for (const Case& c : cases(random)) {
    SCOPED_TRACE(c.name + " " + c.shape.str());
    OperatorLab<T> lab(maker<T>(c.shape, c.kernel));
    const Image x = lab.noise(c.shape, random);
    const double allowed = lab.op().rounding() * unit_roundoff<T> * norm(x);
    const double ahead = distance(lab.apply(x), naive(c.kernel, c.shape, x, false)),
                 behind = distance(lab.adjoint(x), naive(c.kernel, c.shape, x, true));
    EXPECT_LE(ahead, allowed);
    EXPECT_LE(behind, allowed);
    if (!(allowed > 0)) continue;
    forward.add(ahead / allowed);
    back.add(behind / allowed);
  }
}

/// scipy 1.17.1: scipy.ndimage.convolve(x, k, mode="reflect"), x[r,c] = (7 r + 3 c + r c) mod 11.
TEST(BlurValues, AgreeWithScipy) {
  const BlurKernel k{3, 3, {1, 2, -3, 0.5, 4, -1, 2, 0, 0.25}};
  const Image published = {0.5,  10,    60.25, 39,   -21.25, 32,    16,    25.75, 41, -17.25,
                           9.75, 19.75, 10.5,  42.5, -13.5,  44.25, -5.25, 5,     40, -12.75};
  Image x;
  for (int r = 0; r < 4; ++r)
    for (int c = 0; c < 5; ++c) x.push_back((7 * r + 3 * c + r * c) % 11);
  OperatorLab<double> lab(maker<double>({1, 1, 4, 5}, k));
  EXPECT_LT(distance(lab.apply(x), published), 1e-12);
}

/// The middle row of scipy.ndimage.gaussian_filter(sigma=0.8) of a point.
TEST(BlurValues, GaussianKernelIsThatOfScipy) {
  const BlurKernel k = gaussian_kernel(0.8);
  ASSERT_EQ(k.width, 7);
  ASSERT_EQ(k.height, 7);
  const double row[] = {2.19788338e-04, 1.09261577e-02, 1.13853178e-01, 2.48678204e-01};
  double sum = 0;
  for (const double v : k.values) sum += v;
  EXPECT_NEAR(sum, 1, 1e-15);
  for (std::size_t c = 0; c < 7; ++c) {
    EXPECT_NEAR(k.values[21 + c], row[c < 4 ? c : 6 - c], 1e-9);
    EXPECT_EQ(k.values[21 + c], k.values[7 * c + 3]);
  }
}

TYPED_TEST(BlurOperator, NormBound) {
  using T = TypeParam;
  Random random(seed(3302));
  RatioRecorder tight("|A|^2 by power iterations / norm2()"), gaussian("of Gaussians");
  for (const Case& c : cases(random)) {
    SCOPED_TRACE(c.name + " " + c.shape.str());
    OperatorLab<T> lab(maker<T>({1, 1, c.shape.h, c.shape.w}, c.kernel));
    const double found = power_iteration(lab, random, 60), bound = lab.op().norm2();
    EXPECT_LE(found, bound + 4 * std::sqrt(bound) * lab.op().rounding() * unit_roundoff<T>);
    EXPECT_EQ(lab.op().least2(), 0);
    if (!(bound > 0)) continue;
    tight.add(found / bound);
    if (c.name == "Gaussian") gaussian.add(found / bound);
  }
  EXPECT_GT(tight.minimum(), 0.1);
  EXPECT_GT(gaussian.minimum(), 0.95);
}

TYPED_TEST(BlurOperator, KeepsWhatAnOperatorPromises) {
  Random random(seed(3303));
  RatioRecorder gap("adjoint gap / what rounding() allows");
  for (const Case& c : cases(random)) {
    OperatorLab<TypeParam> lab(maker<TypeParam>(c.shape, c.kernel));
    const OperatorReport report = check_operator(lab.context(), lab.op(), 12);
    EXPECT_EQ(report.fault, "") << c.name;
    gap.add(report.adjoint_gap);
  }
}

/// A mean stays what it is, at the border too.
TYPED_TEST(BlurOperator, KeepsConstants) {
  const Shape s{1, 1, 20, 16};
  OperatorLab<TypeParam> lab(maker<TypeParam>(s, gaussian_kernel(1.5)));
  const Image out = lab.apply(Image(s.count(), 3.0));
  for (const double v : out) EXPECT_NEAR(v, 3, 100 * unit_roundoff<TypeParam>);
}

TYPED_TEST(BlurOperator, LeavesFrozenImagesAlone) {
  Random random(seed(3304));
  OperatorLab<TypeParam> lab(maker<TypeParam>({3, 2, 7, 8}, random_kernel(3, 3, random)));
  expect_frozen_images_alone(lab, random);
}

/// What frozen images hold does not reach the transforms of the others.
TYPED_TEST(BlurOperator, FrozenImagesMayHoldAnything) {
  Random random(seed(3305));
  const Shape s{3, 1, 6, 8};
  OperatorLab<TypeParam> lab(maker<TypeParam>(s, gaussian_kernel(0.6)));
  Image x = lab.noise(s, random);
  const Image all = lab.apply(x);
  for (std::size_t e = 48; e < 96; ++e) x[e] = std::numeric_limits<double>::quiet_NaN();
  lab.active().assign(lab.context(), std::vector<std::uint8_t>{1, 0, 1});
  const Image some = lab.apply(x);
  for (const int i : {0, 2}) EXPECT_EQ(image_of(some, 48, i), image_of(all, 48, i));
}

TYPED_TEST(BlurOperator, OnlyEnqueues) {
  OperatorLab<TypeParam> lab(maker<TypeParam>({2, 1, 16, 24}, gaussian_kernel(1)));
  lab.fill_results(0);
  expect_only_enqueues(lab);
}

TYPED_TEST(BlurOperator, HasTheSameBitsOnAnyNumberOfThreads) {
  Random random(seed(3306));
  const Shape s = on_cuda() ? Shape{1, 1, 12, 40} : Shape{2, 1, 96, 130};
  expect_same_bits<TypeParam>(maker<TypeParam>(s, random_kernel(5, 7, random)), random);
}

TEST(BlurErrors, AreNamed) {
  Context context(Device::open(test_device("cpu:1"))), other(Device::open(test_device("cpu:1")));
  using B = Blur<double>;
  const Shape s{1, 1, 4, 5};
  const auto make = [&](const BlurKernel& k, const Shape& images) { return [&] { B(context, images, k); }; };
  EXPECT_EQ(
      message_of<ConfigError>(make({2, 3, std::vector<double>(6, 1.0)}, s)),
      "a blur kernel of 2x3 has no centre; give it odd sizes, for example by a row or column of zeros.");
  EXPECT_EQ(message_of<ShapeError>(make({5, 3, std::vector<double>(15, 1.0)}, s)),
            "the blur kernel of 5x3 is larger than the images [1,1,4,5]; cut it down or use larger images.");
  EXPECT_EQ(message_of<ShapeError>(make({3, 3, {1, 2}}, s)),
            "a blur kernel of 3x3 needs as many values, not 2.");
  BlurKernel k{1, 3, {1, std::numeric_limits<double>::quiet_NaN(), 1}};
  EXPECT_EQ(message_of<ConfigError>(make(k, s)),
            "the blur kernel of 1x3 holds values that are not finite; correct them.");
  k.values[1] = 1e200;
  EXPECT_THROW(make(k, s)(), ConfigError);
  k.values[1] = 1e60;
  EXPECT_NO_THROW(make(k, s)());
  EXPECT_THROW(Blur<float>(context, s, k), ConfigError);
  k.values[1] = 1;
  EXPECT_THROW(make(k, {0, 1, 4, 5})(), ShapeError);
  EXPECT_THROW(make(k, {1, 1, 30000, 30000})(), ShapeError);
  for (const double sigma : {0.0, -1.0, 1e9, HUGE_VAL, std::numeric_limits<double>::quiet_NaN()})
    EXPECT_THROW(gaussian_kernel(sigma), ConfigError);

  const B op(context, s, k);
  Frame frame(context), foreign(other);
  ActiveSet active(context, frame, 1), of_other(other, foreign, 1);
  const auto x = frame.view<double>(s), wrong = frame.view<double>({1, 1, 5, 4});
  const auto fx = foreign.view<double>(s), fz = foreign.view<double>(s);
  EXPECT_THROW(op.apply(context, active.active(), x, wrong), ShapeError);
  EXPECT_THROW(op.adjoint(context, active.active(), wrong, x), ShapeError);
  EXPECT_THROW(op.apply(context, active.active(), x, fz), ConfigError);
  EXPECT_EQ(
      message_of<ConfigError>([&] { op.apply(other, of_other.active(), fx, fz); }),
      "a blur of [1,1,4,5] was given another context than it was planned with; make one for this context.");
}

}  // namespace
}  // namespace bilevel
