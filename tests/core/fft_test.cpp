#include "device/fft.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numbers>
#include <thread>

#include "bilevel/core/error.hpp"
#include "bilevel/core/tensor.hpp"
#include "device/backend.hpp"
#include "tests/support/numeric.hpp"
#include "tests/support/random.hpp"
#include "tests/support/test_device.hpp"

namespace bilevel {
namespace {

using testing_support::Random;
using testing_support::RatioRecorder;
using testing_support::seed;
using testing_support::test_device;

using Wide = std::complex<long double>;

template <class T>
using Values = std::vector<std::complex<T>>;

/// Sizes: one point, single rows and columns, even, odd, prime (small and beyond FFTW's codelets), powers
/// of 2.
const std::vector<FftShape> shapes = {{1, 1, 1},   {3, 1, 7},   {1, 5, 1},  {3, 4, 6},   {1, 7, 11},
                                      {3, 13, 13}, {1, 16, 32}, {3, 9, 10}, {1, 1, 101}, {3, 37, 2},
                                      {2, 1, 1},   {1, 6, 1},   {2, 8, 15}};

/// exp(sign 2 pi i k/n) for k = 0 ... n-1.
std::vector<Wide> roots(int n, int sign) {
  std::vector<Wide> w;
  for (int k = 0; k < n; ++k) {
    const long double angle = sign * 2 * std::numbers::pi_v<long double> * k / n;
    w.emplace_back(std::cos(angle), std::sin(angle));
  }
  return w;
}

/// The sums of the definition over one image, in long double.
std::vector<Wide> naive(const std::vector<Wide>& x, int height, int width, int sign) {
  const std::vector<Wide> wh = roots(height, sign), ww = roots(width, sign);
  std::vector<Wide> out;
  for (int k = 0; k < height; ++k)
    for (int l = 0; l < width; ++l) {
      Wide sum = 0;
      for (int p = 0; p < height; ++p)
        for (int q = 0; q < width; ++q) sum += x[p * width + q] * wh[k * p % height] * ww[l * q % width];
      out.push_back(sum);
    }
  return out;
}

template <class C>
std::vector<Wide> image(const std::vector<C>& values, std::size_t i, std::size_t points) {
  std::vector<Wide> out;
  for (std::size_t p = i * points; p < (i + 1) * points; ++p) out.emplace_back(values[p]);
  return out;
}
template <class C>
std::vector<Wide> all(const std::vector<C>& values) {
  return image(values, 0, values.size());
}

double norm(const std::vector<Wide>& x) {
  long double sum = 0;
  for (const Wide& v : x) sum += std::norm(v);
  return static_cast<double>(std::sqrt(sum));
}
std::vector<Wide> times(std::vector<Wide> x, long double factor) {
  for (Wide& v : x) v *= factor;
  return x;
}
double distance(std::vector<Wide> x, const std::vector<Wide>& y) {
  EXPECT_EQ(x.size(), y.size());
  for (std::size_t p = 0; p < x.size(); ++p) x[p] -= y[p];
  return norm(x);
}
Wide dot(const std::vector<Wide>& x, const std::vector<Wide>& y) {
  Wide sum = 0;
  for (std::size_t p = 0; p < x.size(); ++p) sum += std::conj(x[p]) * y[p];
  return sum;
}

template <class T>
class Transforms : public ::testing::Test {
 protected:
  using Complex = std::complex<T>;

  Values<T> random_complex(const FftShape& s) {
    Values<T> values(s.n * s.points());
    for (Complex& v : values) v = {static_cast<T>(random_.normal()), static_cast<T>(random_.normal())};
    return values;
  }
  std::vector<T> random_real(const FftShape& s) {
    std::vector<T> values(s.n * s.points());
    for (T& v : values) v = static_cast<T>(random_.normal());
    return values;
  }

  struct Array {
    Tensor<T> tensor;
    Complex* complex() { return reinterpret_cast<Complex*>(tensor.view().device_data()); }
    T* real() { return tensor.view().device_data(); }
  };
  static Array device(Context& context, const std::vector<T>& values) {
    return {Tensor<T>(context, {1, 1, 1, static_cast<int>(values.size())}, values)};
  }
  static Array device(Context& context, const Values<T>& values) {
    std::vector<T> flat;
    for (const Complex& v : values) flat.insert(flat.end(), {v.real(), v.imag()});
    return device(context, flat);
  }
  static Array empty(Context& context, std::size_t reals) {
    return {Tensor<T>(context, {1, 1, 1, static_cast<int>(reals)})};
  }
  static Values<T> fetch(Context& context, const Array& a) {
    const std::vector<T> flat = download(context, a.tensor);
    Values<T> values;
    for (std::size_t p = 0; p + 1 < flat.size(); p += 2) values.emplace_back(flat[p], flat[p + 1]);
    return values;
  }

  static Values<T> complex_transform(Context& context, const FftShape& s, const Values<T>& x, bool forward) {
    const auto fft = make_fft<T>(context, s, FftKind::complex_to_complex);
    Array in = device(context, x), out = empty(context, 2 * x.size());
    if (forward)
      fft->forward(context, in.complex(), out.complex());
    else
      fft->inverse(context, in.complex(), out.complex());
    EXPECT_EQ(fetch(context, in), x) << "the input keeps its values";
    return fetch(context, out);
  }
  static Values<T> forward_real(Context& context, const FftShape& s, const std::vector<T>& x) {
    const auto fft = make_fft<T>(context, s, FftKind::real_to_complex);
    Array in = device(context, x), out = empty(context, 2 * s.n * s.half_points());
    fft->forward_real(context, in.real(), out.complex());
    return fetch(context, out);
  }
  static std::vector<T> inverse_real(Context& context, const FftShape& s, const Values<T>& y) {
    const auto fft = make_fft<T>(context, s, FftKind::real_to_complex);
    Array in = device(context, y), out = empty(context, s.n * s.points());
    fft->inverse_real(context, in.complex(), out.real());
    return download(context, out.tensor);
  }
  Values<T> forward(const FftShape& s, const Values<T>& x) { return complex_transform(context_, s, x, true); }
  Values<T> inverse(const FftShape& s, const Values<T>& x) {
    return complex_transform(context_, s, x, false);
  }

  /// The error of one unitary transform relative to the norm of its input: 10 u log2 n for n points, the
  /// convention of the certificates for the rounding error of a data term in Fourier space.
  static double bound(const FftShape& s) {
    return 10 * unit * std::log2(std::max(2.0, static_cast<double>(s.points())));
  }
  static double scale(const FftShape& s) { return 1 / std::sqrt(static_cast<double>(s.points())); }

  static constexpr double unit = std::numeric_limits<T>::epsilon() / 2.0;
  static std::string precision() { return sizeof(T) == 4 ? "float" : "double"; }
  Context context_{Device::open(test_device("cpu-guarded:2"))};
  Random random_{seed(1301)};
};
using Precisions = ::testing::Types<float, double>;
TYPED_TEST_SUITE(Transforms, Precisions);

TYPED_TEST(Transforms, AgreeWithTheDefinition) {
  RatioRecorder ratios(this->precision() + " Fourier transform: error / (u log2(n) |x|)");
  for (const FftShape& s : shapes) {
    const auto x = this->random_complex(s);
    for (const bool forward : {true, false}) {
      const auto got = forward ? this->forward(s, x) : this->inverse(s, x);
      for (int i = 0; i < s.n; ++i) {
        const auto xi = image(x, i, s.points());
        const auto want = times(naive(xi, s.height, s.width, forward ? -1 : 1), this->scale(s));
        const double error = distance(times(image(got, i, s.points()), this->scale(s)), want);
        EXPECT_LE(error, this->bound(s) * norm(xi)) << s.str() << ", image " << i;
        ratios.add(10 * error / (this->bound(s) * norm(xi)));
      }
    }
  }
}

TYPED_TEST(Transforms, OfRealImagesAgreeWithTheDefinition) {
  RatioRecorder ratios(this->precision() + " real Fourier transform: error / (u log2(n) |x|)");
  for (const FftShape& s : shapes) {
    const auto x = this->random_real(s);
    const auto got = this->forward_real(this->context_, s, x);
    const auto back = this->inverse_real(this->context_, s, got);
    for (int i = 0; i < s.n; ++i) {
      const auto xi = image(x, i, s.points());
      const auto full = naive(xi, s.height, s.width, -1);
      std::vector<Wide> want;
      for (int k = 0; k < s.height; ++k)
        for (int l = 0; l <= s.width / 2; ++l) want.push_back(full[k * s.width + l]);
      const double error = distance(image(got, i, s.half_points()), want) * this->scale(s);
      EXPECT_LE(error, this->bound(s) * norm(xi)) << s.str() << ", image " << i;
      ratios.add(10 * error / (this->bound(s) * norm(xi)));
      const double squared = 1 / static_cast<double>(s.points());
      EXPECT_LE(distance(times(image(back, i, s.points()), squared), xi), 2 * this->bound(s) * norm(xi))
          << s.str() << ", image " << i;
    }
  }
}

TYPED_TEST(Transforms, RoundTripIsTheIdentity) {
  for (const FftShape& s : shapes) {
    const auto x = this->random_complex(s);
    const auto fft = make_fft<TypeParam>(this->context_, s, FftKind::complex_to_complex);
    EXPECT_DOUBLE_EQ(fft->scale(), this->scale(s));
    const auto back = this->inverse(s, this->forward(s, x));
    const double squared = fft->scale() * fft->scale();
    EXPECT_LE(distance(times(all(back), squared), all(x)), 2 * this->bound(s) * norm(all(x))) << s.str();
  }
}

TYPED_TEST(Transforms, AreUnitaryAndAdjointToEachOther) {
  for (const FftShape& s : shapes) {
    const auto x = this->random_complex(s), y = this->random_complex(s);
    const auto fx = times(all(this->forward(s, x)), this->scale(s));
    const auto gy = times(all(this->inverse(s, y)), this->scale(s));
    const double nx = norm(all(x)), ny = norm(all(y));
    EXPECT_NEAR(norm(fx), nx, this->bound(s) * nx) << s.str();
    EXPECT_NEAR(norm(gy), ny, this->bound(s) * ny) << s.str();
    EXPECT_LE(static_cast<double>(std::abs(dot(fx, all(y)) - dot(all(x), gy))), 2 * this->bound(s) * nx * ny)
        << s.str();
  }
}

TYPED_TEST(Transforms, OfRealImagesAreAdjointInTheWeightedProduct) {
  for (const FftShape& s : shapes) {
    const auto x = this->random_real(s);
    const auto y = this->forward_real(this->context_, s, this->random_real(s));  // Hermitian columns
    const auto fx = this->forward_real(this->context_, s, x);
    const auto gy = this->inverse_real(this->context_, s, y);
    long double left = 0, weighted = 0;
    for (std::size_t p = 0; p < fx.size(); ++p) {
      const int column = static_cast<int>(p % (s.width / 2 + 1));
      const int weight = column == 0 || 2 * column == s.width ? 1 : 2;
      left += weight * std::real(std::conj(Wide(fx[p])) * Wide(y[p]));
      weighted += weight * std::norm(Wide(y[p]));
    }
    const double right = static_cast<double>(dot(all(x), all(gy)).real());
    const double size = norm(all(x)) * std::sqrt(static_cast<double>(weighted));
    EXPECT_NEAR(static_cast<double>(left) * this->scale(s), right * this->scale(s), 2 * this->bound(s) * size)
        << s.str();
  }
}

TYPED_TEST(Transforms, OfRealImagesAreTheHalfOfComplexOnes) {
  for (const FftShape& s : shapes) {
    const auto x = this->random_real(s);
    const auto half = this->forward_real(this->context_, s, x);
    const auto full = this->forward(s, Values<TypeParam>(x.begin(), x.end()));
    std::vector<Wide> want;
    for (std::size_t p = 0; p < full.size(); ++p)
      if (static_cast<int>(p % s.width) <= s.width / 2) want.emplace_back(full[p]);
    EXPECT_LE(distance(all(half), want) * this->scale(s), 2 * this->bound(s) * norm(all(x))) << s.str();
  }
}

TYPED_TEST(Transforms, InPlaceGivesTheSame) {
  for (const FftShape& s : shapes) {
    const auto x = this->random_complex(s);
    const auto fft = make_fft<TypeParam>(this->context_, s, FftKind::complex_to_complex);
    for (const bool forward : {true, false}) {
      auto a = this->device(this->context_, x);
      if (forward)
        fft->forward(this->context_, a.complex(), a.complex());
      else
        fft->inverse(this->context_, a.complex(), a.complex());
      const auto want = forward ? this->forward(s, x) : this->inverse(s, x);
      EXPECT_LE(distance(all(this->fetch(this->context_, a)), all(want)) * this->scale(s),
                2 * this->bound(s) * norm(all(x)))
          << s.str();
    }
  }
}

TYPED_TEST(Transforms, ExecutionAllocatesNothingAndNeverWaits) {
  Context& context = this->context_;
  const FftShape s{3, 12, 10};
  auto x = this->device(context, this->random_complex(s)), y = this->empty(context, 2 * s.n * s.points());
  const Counters start = context.counters();
  {
    const auto complex = make_fft<TypeParam>(context, s, FftKind::complex_to_complex);
    const auto real = make_fft<TypeParam>(context, s, FftKind::real_to_complex);
    const Counters planned = context.counters();
    for (int k = 0; k < 2; ++k) {
      complex->forward(context, x.complex(), y.complex());
      complex->inverse(context, y.complex(), y.complex());
      real->forward_real(context, x.real(), y.complex());
      real->inverse_real(context, y.complex(), x.real());
    }
    const Counters done = context.counters();
    EXPECT_EQ(done.launches, planned.launches + 8);
    EXPECT_EQ(done.allocations, planned.allocations);
    EXPECT_EQ(done.host_syncs, planned.host_syncs);
    EXPECT_EQ(done.bytes_uploaded + done.bytes_downloaded, planned.bytes_uploaded + planned.bytes_downloaded);
  }
  EXPECT_EQ(context.counters().bytes_allocated, start.bytes_allocated) << "plans give their memory back";
}

TYPED_TEST(Transforms, RepeatTheirBits) {
  for (const FftShape& s : shapes) {
    const auto x = this->random_complex(s);
    EXPECT_EQ(this->forward(s, x), this->forward(s, x)) << s.str();
  }
}

TYPED_TEST(Transforms, BitsDependNeitherOnThreadsNorOnThePlaceInTheBatch) {
  Context one(Device::open("cpu:1")), two(Device::open("cpu:2")), five(Device::open("cpu:5"));
  for (const FftShape& s : {FftShape{7, 13, 13}, FftShape{6, 16, 32}, FftShape{5, 9, 10}}) {
    const auto x = this->random_complex(s);
    const auto r = this->random_real(s);
    const auto fx = this->complex_transform(one, s, x, true), gx = this->complex_transform(one, s, x, false);
    const auto fr = this->forward_real(one, s, r);
    const auto gr = this->inverse_real(one, s, fr);
    for (Context* context : {&two, &five}) {
      EXPECT_EQ(this->complex_transform(*context, s, x, true), fx) << s.str();
      EXPECT_EQ(this->complex_transform(*context, s, x, false), gx) << s.str();
      EXPECT_EQ(this->forward_real(*context, s, r), fr) << s.str();
      EXPECT_EQ(this->inverse_real(*context, s, fr), gr) << s.str();
    }
    for (int i = 0; i < s.n; ++i) {
      const auto xi = Values<TypeParam>(x.begin() + i * s.points(), x.begin() + (i + 1) * s.points());
      const auto fxi = Values<TypeParam>(fx.begin() + i * s.points(), fx.begin() + (i + 1) * s.points());
      EXPECT_EQ(this->complex_transform(two, {1, s.height, s.width}, xi, true), fxi) << s.str();
    }
  }
}

// Plans are made and destroyed on several threads at once, each with a context of its own.
TYPED_TEST(Transforms, PlanningIsThreadSafe) {
  const FftShape s{2, 15, 14};
  const auto x = this->random_complex(s);
  Context first(Device::open("cpu:1"));
  const auto want = this->complex_transform(first, s, x, true);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      Context context(Device::open("cpu:1"));
      for (int k = 0; k < 25; ++k) EXPECT_EQ(this->complex_transform(context, s, x, true), want);
    });
  for (std::thread& t : threads) t.join();
}

TYPED_TEST(Transforms, SizesThatAreNotPositiveAreShapeErrors) {
  for (const FftShape& s :
       {FftShape{0, 4, 4}, FftShape{1, 0, 4}, FftShape{1, 4, 0}, FftShape{-1, 4, 4}, FftShape{1, -3, 4}})
    for (const FftKind kind : {FftKind::complex_to_complex, FftKind::real_to_complex}) try {
        make_fft<TypeParam>(this->context_, s, kind);
        ADD_FAILURE() << s.str();
      } catch (const ShapeError& e) {
        EXPECT_NE(std::string(e.what()).find(s.str()), std::string::npos) << e.what();
      }
}

TYPED_TEST(Transforms, OfAnotherKindOrContextAreRefused) {
  const FftShape s{1, 4, 4};
  auto a = this->empty(this->context_, 48), b = this->empty(this->context_, 48);
  const auto complex = make_fft<TypeParam>(this->context_, s, FftKind::complex_to_complex);
  const auto real = make_fft<TypeParam>(this->context_, s, FftKind::real_to_complex);
  EXPECT_THROW(complex->forward_real(this->context_, a.real(), b.complex()), ConfigError);
  EXPECT_THROW(complex->inverse_real(this->context_, a.complex(), b.real()), ConfigError);
  EXPECT_THROW(real->forward(this->context_, a.complex(), b.complex()), ConfigError);
  EXPECT_THROW(real->inverse(this->context_, a.complex(), b.complex()), ConfigError);
  Context other(Device::open("cpu:1"));
  EXPECT_THROW(complex->forward(other, a.complex(), b.complex()), ConfigError);
  EXPECT_THROW(real->forward_real(other, a.real(), b.complex()), ConfigError);
}

}  // namespace
}  // namespace bilevel
