#include "bilevel/ops/wavelet.hpp"

#include <gtest/gtest.h>

#include <array>

#include "bilevel/core/error.hpp"
#include "ops/wavelet_diagonal.hpp"
#include "tests/ops/operator_lab.hpp"
#include "tests/support/thrown.hpp"

// The wavelet transform against the sums of its definition, and against PyWavelets.

namespace bilevel {
namespace {

using namespace testing_support;

constexpr WaveletFilter every_filter[] = {WaveletFilter::haar, WaveletFilter::db2, WaveletFilter::db4};

/// Taps by spectral factorisation in closed form where there is one (haar, db2), else as PyWavelets prints
/// them; the orthogonality below checks them.
std::vector<double> low_pass(WaveletFilter filter) {
  const double s = std::sqrt(3.0), d = 4 * std::sqrt(2.0);
  switch (filter) {
    case WaveletFilter::haar:
      return {1 / std::sqrt(2.0), 1 / std::sqrt(2.0)};
    case WaveletFilter::db2:
      return {(1 + s) / d, (3 + s) / d, (3 - s) / d, (1 - s) / d};
    default:
      return {0.2303778133088965,   0.7148465705529157,   0.6308807679298589,   -0.027983769416859854,
              -0.18703481171909309, 0.030841381835560764, 0.032883011666885169, -0.010597401785069032};
  }
}

/// One level along a line of `size` values `step` apart.
void transform_line(const std::vector<double>& h, Image& x, int first, int step, int size) {
  const int taps = static_cast<int>(h.size());
  Image out(static_cast<std::size_t>(size));
  for (int k = 0; k < size / 2; ++k)
    for (int i = 0; i < taps; ++i) {
      const int p = ((2 * k + i - (taps / 2 - 1)) % size + size) % size;
      const double v = x[static_cast<std::size_t>(first + p * step)];
      const double g = (i % 2 == 0 ? 1 : -1) * h[static_cast<std::size_t>(taps - 1 - i)];
      out[static_cast<std::size_t>(k)] += h[static_cast<std::size_t>(i)] * v;
      out[static_cast<std::size_t>(size / 2 + k)] += g * v;
    }
  for (int k = 0; k < size; ++k)
    x[static_cast<std::size_t>(first + k * step)] = out[static_cast<std::size_t>(k)];
}

/// W of one plane [height][width].
Image naive_plane(const WaveletOptions& o, int levels, int height, int width, Image x) {
  const std::vector<double> h = low_pass(o.filter);
  int rows = height, columns = width;
  for (int level = 0; level < levels; ++level) {
    if (columns > 1)
      for (int r = 0; r < rows; ++r) transform_line(h, x, r * width, 1, columns);
    if (rows > 1)
      for (int c = 0; c < columns; ++c) transform_line(h, x, c, width, rows);
    rows = std::max(1, rows / 2);
    columns = std::max(1, columns / 2);
  }
  if (!o.keep_approximation)
    for (int r = 0; r < rows; ++r)
      for (int c = 0; c < columns; ++c) x[static_cast<std::size_t>(r * width + c)] = 0;
  return x;
}

/// W of a batch, plane by plane.
Image naive(const WaveletOptions& o, int levels, const Shape& s, const Image& x) {
  Image out;
  const std::size_t plane = static_cast<std::size_t>(s.h) * static_cast<std::size_t>(s.w);
  for (int p = 0; p < s.n * s.c; ++p) append(out, naive_plane(o, levels, s.h, s.w, image_of(x, plane, p)));
  return out;
}

template <class T>
typename OperatorLab<T>::Make maker(const Shape& s, const WaveletOptions& o) {
  return [=](Context&) { return std::make_unique<Wavelet<T>>(s, o); };
}

struct Case {
  Shape shape;
  int levels;  // what can be had of 3
};
std::vector<Case> cases() {
  std::vector<Case> all = {{{1, 1, 2, 2}, 1}, {{2, 1, 8, 12}, 2}, {{1, 2, 24, 16}, 3}, {{2, 1, 1, 24}, 3}};
  if (!on_cuda())
    all.insert(all.end(), {{{1, 1, 2, 6}, 1},
                           {{1, 1, 4, 4}, 2},
                           {{1, 1, 24, 1}, 3},
                           {{1, 1, 1, 2}, 1},
                           {{1, 3, 36, 264}, 2},
                           {{1, 1, 40, 400}, 3},
                           {{2, 1, 96, 96}, 3},
                           {{1, 1, 1, 1032}, 3},
                           {{1, 1, 62, 30}, 1}});
  return all;
}

template <class T>
class WaveletTransform : public ::testing::Test {};
using Precisions = ::testing::Types<float, double>;
TYPED_TEST_SUITE(WaveletTransform, Precisions);

TYPED_TEST(WaveletTransform, IsTheSumOfTheDefinition) {
  using T = TypeParam;
  Random random(seed(3101));
  RatioRecorder forward("error of W x / (rounding() u |x|)"), back("of W^T z");
  for (const Case& c : cases())
    for (const WaveletFilter filter : every_filter)
      for (const bool keep : {false, true}) {
        const WaveletOptions o{filter, 3, keep};
        OperatorLab<T> lab(maker<T>(c.shape, o));
        SCOPED_TRACE(c.shape.str() + " " + name_of(filter) + (keep ? ", all" : ", details"));
        EXPECT_EQ(static_cast<const Wavelet<T>&>(lab.op()).levels(), c.levels);
        const Image x = lab.noise(c.shape, random);
        const double u = lab.op().rounding() * unit_roundoff<T>;
        // the oracle's own rounding is that of double
        const double own = lab.op().rounding() * unit_roundoff<double>;
        const Image want = naive(o, c.levels, c.shape, x);
        forward.add(distance(lab.apply(x), want) / ((u + own) * norm(x)));
        // W^T of W x: x, or x less its smooth part, whose transform is what is left out
        const Image z = representable<T>(want), adjoint = lab.adjoint(z);
        const Image again = naive({filter, 3, true}, c.levels, c.shape, adjoint);
        back.add(distance(again, z) / ((u + own) * norm(z)));
      }
  EXPECT_LE(forward.maximum(), 1);
  EXPECT_LE(back.maximum(), 1);
}

/// Rows of the matrix of W are orthonormal, in the tile's interior and across its borders.
TEST(WaveletMatrix, IsOrthogonal) {
  double worst = 0;
  for (const Shape& one : {Shape{1, 1, 4, 4}, Shape{1, 1, 8, 16}, Shape{1, 1, 1, 64}})
    for (const WaveletFilter filter : every_filter) {
      const int size = static_cast<int>(one.image());
      const Shape all{size, 1, one.h, one.w};
      OperatorLab<double> lab(maker<double>(all, {filter, 3, true}));
      Image identity(all.count());
      for (int k = 0; k < size; ++k) identity[static_cast<std::size_t>(k * size + k)] = 1;
      const Image rows = lab.apply(identity);  // image k: column k of W
      for (int a = 0; a < size; ++a)
        for (int b = 0; b <= a; ++b) {
          const double product = dot(image_of(rows, one.image(), a), image_of(rows, one.image(), b));
          worst = std::max(worst, std::abs(product - (a == b ? 1 : 0)));
        }
    }
  std::cout << "largest entry of |W^T W - I|: " << worst << std::endl;
  EXPECT_LT(worst, 2e-15);
}

/// coeffs_to_array(wavedec2(x, name, mode="periodization", level=2)) of PyWavelets 1.9.0 for
/// x[r,c] = (7 r + 3 c + r c) mod 11, 8 x 16.
TEST(WaveletMatrix, AgreesWithPyWavelets) {
  struct Value {
    std::size_t row, column;
    double value;
  };
  const std::array<std::vector<Value>, 3> published = {{{{0, 0, 19.500000000000007},
                                                         {1, 2, 20.500000000000007},
                                                         {0, 5, -4.250000000000004},
                                                         {3, 1, -3.249999999999999},
                                                         {2, 6, 1.250000000000000},
                                                         {1, 9, -5.500000000000000},
                                                         {6, 3, -2.500000000000000},
                                                         {5, 12, 6.000000000000001}},
                                                        {{0, 0, 15.780714618964062},
                                                         {1, 2, 19.772741032209598},
                                                         {0, 5, 5.943237837089868},
                                                         {3, 1, 1.029237190311364},
                                                         {2, 6, -0.545427052269481},
                                                         {1, 9, 6.506569860407208},
                                                         {6, 3, 0.184215069796397},
                                                         {5, 12, 5.315784930203604}},
                                                        {{0, 0, 24.210275938838699},
                                                         {1, 2, 14.728280921126029},
                                                         {0, 5, 2.201117368796625},
                                                         {3, 1, -1.814971497054463},
                                                         {2, 6, 3.671332495266827},
                                                         {1, 9, 0.806517587976544},
                                                         {6, 3, -4.140868445661946},
                                                         {5, 12, -3.959158826222368}}}};
  Image x;
  for (int r = 0; r < 8; ++r)
    for (int c = 0; c < 16; ++c) x.push_back((7 * r + 3 * c + r * c) % 11);
  for (std::size_t f = 0; f < published.size(); ++f) {
    OperatorLab<double> lab(maker<double>({1, 1, 8, 16}, {every_filter[f], 2, true}));
    const Image z = lab.apply(x);
    for (const Value& v : published[f])
      EXPECT_NEAR(z[v.row * 16 + v.column], v.value, 1e-13)
          << name_of(every_filter[f]) << " [" << v.row << "," << v.column << "]";
  }
}

TYPED_TEST(WaveletTransform, KeepsWhatAnOperatorPromises) {
  using T = TypeParam;
  RatioRecorder gap("adjoint gap / what rounding() allows");
  for (const WaveletFilter filter : every_filter)
    for (const bool keep : {false, true})
      for (const Shape& s : {Shape{2, 2, 12, 20}, Shape{2, 1, 1, 16}}) {
        OperatorLab<T> lab(maker<T>(s, {filter, 2, keep}));
        const OperatorReport report = check_operator(lab.context(), lab.op(), 11);
        EXPECT_EQ(report.fault, "");
        EXPECT_NEAR(report.norm2, 1, 1e-5);
        EXPECT_EQ(lab.op().least2(), keep ? 1 : 0);
        gap.add(report.adjoint_gap);
      }
}

TYPED_TEST(WaveletTransform, LeavesFrozenImagesAlone) {
  using T = TypeParam;
  Random random(seed(3102));
  for (const WaveletFilter filter : every_filter)
    for (const bool keep : {false, true}) {
      OperatorLab<T> lab(maker<T>({3, 2, 8, 20}, {filter, 2, keep}));
      expect_frozen_images_alone(lab, random);
    }
}

TYPED_TEST(WaveletTransform, OnlyEnqueues) {
  for (const bool keep : {false, true}) {
    OperatorLab<TypeParam> lab(maker<TypeParam>({2, 1, 16, 24}, {WaveletFilter::db2, 3, keep}));
    lab.fill_results(0);
    expect_only_enqueues(lab);
  }
}

TYPED_TEST(WaveletTransform, HasTheSameBitsOnAnyNumberOfThreads) {
  Random random(seed(3103));
  const Shape s = on_cuda() ? Shape{1, 1, 40, 136} : Shape{2, 2, 136, 264};
  for (const WaveletFilter filter : every_filter)
    expect_same_bits<TypeParam>(maker<TypeParam>(s, {filter, 3, true}), random);
}

/// Approximations of a constant image are 2^levels times it, details zero.
TYPED_TEST(WaveletTransform, SeparatesAConstant) {
  for (const WaveletFilter filter : every_filter) {
    OperatorLab<TypeParam> lab(maker<TypeParam>({1, 1, 16, 8}, {filter, 3, true}));
    const Shape coarse = static_cast<const Wavelet<TypeParam>&>(lab.op()).approximation();
    EXPECT_EQ(coarse, (Shape{1, 1, 2, 1}));
    const Image z = lab.apply(Image(128, 1.0));
    for (std::size_t e = 0; e < z.size(); ++e)
      EXPECT_NEAR(z[e], e % 8 < 1 && e / 8 < 2 ? 8 : 0, 200 * unit_roundoff<TypeParam>) << e;
  }
}

TEST(WaveletErrors, AreNamed) {
  using W = Wavelet<double>;
  EXPECT_EQ(W::possible_levels({1, 1, 96, 64}), 5);
  EXPECT_EQ(W::possible_levels({1, 1, 1, 64}), 6);
  EXPECT_EQ(W::possible_levels({1, 1, 1, 1}), 0);
  EXPECT_EQ(W::possible_levels({1, 1, 6, 9}), 0);
  EXPECT_EQ(message_of<ShapeError>([] {
              W({1, 1, 6, 9});
            }),
            "a wavelet transform halves the sides of its images, which [1,1,6,9] does not allow; crop or pad "
            "them to multiples of 8, or to even sides for one level.");
  EXPECT_THROW(W({1, 1, 1, 1}), ShapeError);
  EXPECT_THROW(W({0, 1, 8, 8}), ShapeError);
  EXPECT_EQ(message_of<ConfigError>([] {
              W({1, 1, 8, 8}, {WaveletFilter::haar, 0});
            }),
            "a wavelet transform of 0 levels does nothing; ask for at least 1.");
  EXPECT_EQ(message_of<ConfigError>([] { wavelet_filter("sym4"); }),
            "the wavelet 'sym4' is unknown; use haar, db2 or db4.");
  for (const WaveletFilter f : every_filter) EXPECT_EQ(wavelet_filter(name_of(f)), f);

  Context context(Device::open(test_device("cpu:1"))), other(Device::open(test_device("cpu:1")));
  const W op({2, 1, 8, 8});
  Frame frame(context), foreign(other);
  ActiveSet active(context, frame, 2);
  const auto x = frame.view<double>({2, 1, 8, 8}), z = frame.view<double>({2, 1, 8, 8});
  const auto wrong = frame.view<double>({2, 1, 8, 4});
  const auto stranger = foreign.view<double>({2, 1, 8, 8});
  EXPECT_THROW(op.apply(context, active.active(), wrong, z), ShapeError);
  EXPECT_THROW(op.apply(context, active.active(), x, wrong), ShapeError);
  EXPECT_THROW(op.adjoint(context, active.active(), wrong, x), ShapeError);
  EXPECT_THROW(op.normal(context, active.active(), x, wrong), ShapeError);
  EXPECT_THROW(op.apply(context, active.active(), stranger, z), ConfigError);
  EXPECT_THROW(op.apply(context, {nullptr, nullptr, 3}, x, z), ShapeError);
  EXPECT_THROW(op.apply(context, {nullptr, nullptr, 1}, x, z), ShapeError);
}

/// diag(W^T diag(m) W) with some m of 0, exact for one level and for Haar's wavelet; the trace is that of m.
TYPED_TEST(WaveletTransform, ItsDiagonalHasTheTraceOfTheWeights) {
  using T = TypeParam;
  Random random(seed(3107));
  const double tolerance = sizeof(T) == 4 ? 1e-5 : 1e-13;
  for (const Shape& s : {Shape{2, 1, 8, 16}, Shape{1, 2, 16, 8}, Shape{1, 1, 1, 24}})
    for (const WaveletFilter filter : every_filter)
      for (const int levels : {1, 3})
        for (const bool keep : {false, true}) {
          SCOPED_TRACE(s.str() + " " + name_of(filter) + " " + std::to_string(levels));
          const WaveletOptions options{filter, levels, keep};
          const std::size_t plane = static_cast<std::size_t>(s.h * s.w);
          Context context(Device::open(test_device("cpu:2")));
          const Wavelet<T> w(s, options);
          Image m(s.count()), before(s.count());
          for (std::size_t p = 0; p < m.size(); ++p) {
            m[p] = random.integer(0, 4) == 0 ? 0 : random.uniform(0.1, 3);
            before[p] = random.uniform(0.5, 2);
          }
          Image reciprocal;
          for (const double v : m) reciprocal.push_back(1 / v);
          const Tensor<T> given(context, s, narrow<T>(reciprocal));
          Tensor<T> inverse(context, s, narrow<T>(before));
          Frame frame(context);
          const ActiveSet all(context, frame, s.n);
          add_diagonal<T>(context, all.active(), w, std::as_const(given).view().device_data(),
                          inverse.view().device_data());
          const std::vector<T> got = download<T>(context, inverse);
          for (int image = 0; image < s.n * s.c; ++image) {
            const std::size_t at = static_cast<std::size_t>(image) * plane;
            double trace = 0, weights = 0;
            Image exact(plane);
            for (std::size_t p = 0; p < plane; ++p) {
              Image unit(plane);
              unit[p] = 1;
              const Image column = naive_plane(options, w.levels(), s.h, s.w, unit);
              for (std::size_t j = 0; j < plane; ++j) {
                exact[p] += m[at + j] * column[j] * column[j];
                weights += m[at + j] * column[j] * column[j];
              }
              const double own = 1 / static_cast<double>(got[at + p]) - 1 / before[at + p];
              trace += own;
              EXPECT_GE(own, -tolerance);
              if (filter == WaveletFilter::haar || w.levels() == 1) {
                EXPECT_NEAR(own, exact[p], 10 * tolerance);
              }
            }
            EXPECT_NEAR(trace, weights, static_cast<double>(plane) * tolerance);
          }
        }
}

}  // namespace
}  // namespace bilevel
