#include "device/blas.hpp"

#include <dlfcn.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

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

/// A function of the OpenBLAS that products run on, once one was made; null with another CBLAS.
template <class F>
F* openblas(const char* name) {
  void* library = dlopen("libopenblas.so.0", RTLD_NOW | RTLD_NOLOAD);
  return library ? reinterpret_cast<F*>(dlsym(library, name)) : nullptr;
}

/// A batch of products as the caller writes it. The stored matrices are padded: rows to the leading
/// dimension, matrices to the stride.
struct Case {
  Transpose ta = Transpose::no, tb = Transpose::no;
  int m = 1, n = 1, k = 1;
  double alpha = 1, beta = 0;
  int pad_a = 0, pad_b = 0, pad_c = 0;
  int batch = 1;
  std::int64_t gap = 0;  ///< elements between matrices
  bool share_b = false;  ///< one B for all

  int rows_a() const { return ta == Transpose::no ? m : k; }
  int rows_b() const { return tb == Transpose::no ? k : n; }
  int lda() const { return std::max(1, (ta == Transpose::no ? k : m) + pad_a); }
  int ldb() const { return std::max(1, (tb == Transpose::no ? n : k) + pad_b); }
  int ldc() const { return std::max(1, n + pad_c); }
  std::int64_t stride_a() const { return std::int64_t{rows_a()} * lda() + gap; }
  std::int64_t stride_b() const { return share_b ? 0 : std::int64_t{rows_b()} * ldb() + gap; }
  std::int64_t stride_c() const { return std::int64_t{m} * ldc() + gap; }
  std::size_t size_a() const { return static_cast<std::size_t>(batch * stride_a()); }
  std::size_t size_b() const {
    return static_cast<std::size_t>((share_b ? 1 : batch) * (std::int64_t{rows_b()} * ldb() + gap));
  }
  std::size_t size_c() const { return static_cast<std::size_t>(batch * stride_c()); }
  std::string str() const {
    return "m " + std::to_string(m) + ", n " + std::to_string(n) + ", k " + std::to_string(k) + ", op " +
           (ta == Transpose::no ? "N" : "T") + (tb == Transpose::no ? "N" : "T") + ", alpha " +
           std::to_string(alpha) + ", beta " + std::to_string(beta) + ", batch " + std::to_string(batch);
  }
};

template <class T>
class Products : public ::testing::Test {
 protected:
  using Vector = std::vector<T>;

  ~Products() override {
    if (ratios_.empty()) return;
    RatioRecorder recorder(std::string(sizeof(T) == 4 ? "float" : "double") + " product: error / bound");
    for (const double r : ratios_) recorder.add(r);
  }

  Vector random_vector(std::size_t size) {
    Vector values(size);
    for (T& v : values) v = static_cast<T>(random_.normal());
    return values;
  }
  static Tensor<T> device(Context& context, const Vector& values) {
    return Tensor<T>(context, {1, 1, 1, static_cast<int>(values.size())}, values);
  }

  static Vector gemm(Context& context, const Case& p, const Vector& a, const Vector& b, const Vector& c) {
    const auto blas = make_blas<T>(context);
    const Tensor<T> da = device(context, a), db = device(context, b);
    Tensor<T> dc = device(context, c);
    const T alpha = static_cast<T>(p.alpha), beta = static_cast<T>(p.beta);
    const T *pa = da.view().device_data(), *pb = db.view().device_data();
    T* pc = dc.view().device_data();
    if (p.batch == 1)
      blas->gemm(context, p.ta, p.tb, p.m, p.n, p.k, alpha, pa, p.lda(), pb, p.ldb(), beta, pc, p.ldc());
    else
      blas->gemm_batched(context, p.ta, p.tb, p.m, p.n, p.k, alpha, pa, p.lda(), p.stride_a(), pb, p.ldb(),
                         p.stride_b(), beta, pc, p.ldc(), p.stride_c(), p.batch);
    return download(context, dc);
  }

  /// The triple loop in long double, against the bound (k + 3) u (|alpha| |A| |B| + |beta| |C|) per entry;
  /// padding of C must keep its bits.
  void expect_product(const Case& p, const Vector& a, const Vector& b, const Vector& c, const Vector& got) {
    ASSERT_EQ(got.size(), c.size());
    const long double alpha = static_cast<T>(p.alpha), beta = static_cast<T>(p.beta);
    for (std::int64_t at = 0; at < static_cast<std::int64_t>(got.size()); ++at) {
      const std::int64_t matrix = at / p.stride_c(), i = at % p.stride_c() / p.ldc(),
                         j = at % p.stride_c() % p.ldc();
      if (i >= p.m || j >= p.n) {
        ASSERT_EQ(got[at], c[at]) << p.str() << ": padding of C was written at " << at;
        continue;
      }
      long double sum = 0, size = 0;
      for (int l = 0; l < p.k; ++l) {
        const long double x =
            a[matrix * p.stride_a() + (p.ta == Transpose::no ? i * p.lda() + l : l * p.lda() + i)];
        const long double y =
            b[matrix * p.stride_b() + (p.tb == Transpose::no ? l * p.ldb() + j : j * p.ldb() + l)];
        sum += x * y;
        size += std::abs(x * y);
      }
      const long double before = p.beta == 0 ? 0 : c[at];
      const double want = static_cast<double>(alpha * sum + beta * before);
      const double bound =
          (p.k + 3) * unit * static_cast<double>(std::abs(alpha) * size + std::abs(beta * before));
      const double error =
          std::abs(static_cast<double>(alpha * sum + beta * before - static_cast<long double>(got[at])));
      ASSERT_LE(error, bound) << p.str() << ", entry (" << i << "," << j << ") of matrix " << matrix << ": "
                              << got[at] << ", not " << want;
      if (bound > 0) ratios_.push_back(error / bound);
    }
  }

  void check(const Case& p) {
    const Vector a = random_vector(p.size_a()), b = random_vector(p.size_b());
    Vector c = random_vector(p.size_c());
    if (p.beta == 0)  // must be overwritten, whatever it holds
      for (std::int64_t at = 0; at < static_cast<std::int64_t>(c.size()); ++at)
        if (at % p.stride_c() / p.ldc() < p.m && at % p.stride_c() % p.ldc() < p.n) c[at] = nan;
    expect_product(p, a, b, c, gemm(context_, p, a, b, c));
  }

  static constexpr double unit = std::numeric_limits<T>::epsilon() / 2.0;
  static constexpr T nan = std::numeric_limits<T>::quiet_NaN();
  Context context_{Device::open(test_device("cpu-guarded:2"))};
  Random random_{seed(1401)};
  std::vector<double> ratios_;
};
using Precisions = ::testing::Types<float, double>;
TYPED_TEST_SUITE(Products, Precisions);

constexpr Transpose both[] = {Transpose::no, Transpose::yes};

TYPED_TEST(Products, GemmWithEveryTransposeAndLeadingDimension) {
  for (const Transpose ta : both)
    for (const Transpose tb : both)
      for (const auto& [m, n, k] :
           {std::tuple{1, 1, 1}, {3, 5, 7}, {17, 1, 9}, {1, 13, 4}, {6, 8, 1}, {31, 33, 64}})
        for (const auto& [alpha, beta] :
             {std::pair{1.0, 0.0}, {-0.7, 0.0}, {1.3, 1.0}, {0.5, -2.1}, {0.0, 0.4}}) {
          this->check({ta, tb, m, n, k, alpha, beta});
          this->check({ta, tb, m, n, k, alpha, beta, 3, 1, 2});
        }
}

// Larger than the tiles a CPU cuts the result into, in either direction.
TYPED_TEST(Products, GemmOfSeveralTiles) {
  for (const Transpose ta : both)
    for (const Transpose tb : both) {
      this->check({ta, tb, 300, 23, 11, 1.0, 0.5, 1, 2, 3});
      this->check({ta, tb, 23, 530, 11, -1.0, 0.0, 1, 2, 3});
      this->check({ta, tb, 129, 257, 6, 2.0, 1.0, 2, 2, 2});
    }
}

TYPED_TEST(Products, GemmBatched) {
  for (const Transpose ta : both)
    for (const Transpose tb : both)
      for (const bool share : {false, true}) {
        this->check({ta, tb, 5, 6, 7, 1.1, 0.0, 1, 2, 3, 4, 5, share});
        this->check({ta, tb, 8, 3, 2, -0.4, 0.9, 0, 0, 0, 17, 0, share});
        this->check({ta, tb, 140, 5, 3, 1.0, 0.0, 0, 1, 0, 3, 2, share});
      }
}

TYPED_TEST(Products, EmptySizes) {
  for (const Transpose ta : both)
    for (const Transpose tb : both)
      for (const double beta : {0.0, 1.0, -0.5}) {
        this->check({ta, tb, 4, 5, 0, 1.5, beta, 1, 1, 1});
        this->check({ta, tb, 4, 5, 0, 1.5, beta, 1, 1, 1, 3, 2});
        this->check({ta, tb, 0, 5, 3, 1.5, beta, 1, 1, 1});
        this->check({ta, tb, 4, 0, 3, 1.5, beta, 1, 1, 1});
        this->check({ta, tb, 0, 0, 0, 1.5, beta});
      }
  const auto blas = make_blas<TypeParam>(this->context_);
  const auto before = this->context_.counters().launches;
  blas->gemm_batched(this->context_, Transpose::no, Transpose::no, 2, 2, 2, 1, nullptr, 2, 4, nullptr, 2, 4,
                     0, nullptr, 2, 4, 0);
  EXPECT_EQ(this->context_.counters().launches, before) << "an empty batch launches nothing";
}

TYPED_TEST(Products, Gemv) {
  using T = TypeParam;
  const auto blas = make_blas<T>(this->context_);
  for (const Transpose t : both)
    for (const auto& [m, n] :
         {std::pair{1, 1}, {7, 5}, {1, 40}, {40, 1}, {600, 31}, {31, 600}, {0, 4}, {4, 0}})
      for (const int pad : {0, 3})
        for (const auto& [alpha, beta] : {std::pair{1.0, 0.0}, {-1.7, 0.3}, {0.0, 1.0}, {0.5, -1.0}}) {
          const bool plain = t == Transpose::no;
          // as a product with one column: the rows of y are those of op(A)
          Case p{t, Transpose::no, plain ? m : n, 1, plain ? n : m, alpha, beta, pad};
          const auto a = this->random_vector(p.size_a() + 1), x = this->random_vector(p.k + 1);
          auto y = this->random_vector(p.size_c());
          if (beta == 0) y.assign(y.size(), this->nan);
          const Tensor<T> da = this->device(this->context_, a), dx = this->device(this->context_, x);
          Tensor<T> dy = this->device(this->context_, y);
          blas->gemv(this->context_, t, m, n, static_cast<T>(alpha), da.view().device_data(),
                     std::max(1, n + pad), dx.view().device_data(), static_cast<T>(beta),
                     dy.view().device_data());
          this->expect_product(p, a, x, y, download(this->context_, dy));
        }
}

TYPED_TEST(Products, CallsAllocateNothingAndNeverWait) {
  using T = TypeParam;
  Context& context = this->context_;
  const auto a = this->device(context, this->random_vector(600)),
             b = this->device(context, this->random_vector(600));
  Tensor<T> c = this->device(context, this->random_vector(600));
  const T *pa = a.view().device_data(), *pb = b.view().device_data();
  T* pc = c.view().device_data();
  const Counters start = context.counters();
  {
    const auto blas = make_blas<T>(context);
    const Counters made = context.counters();
    for (int k = 0; k < 2; ++k) {
      blas->gemm(context, Transpose::no, Transpose::yes, 20, 20, 30, 1, pa, 30, pb, 30, 0, pc, 20);
      blas->gemv(context, Transpose::yes, 20, 30, 1, pa, 30, pb, 1, pc);
      blas->gemm_batched(context, Transpose::yes, Transpose::no, 10, 10, 10, 1, pa, 10, 100, pb, 10, 100, 1,
                         pc, 10, 100, 6);
    }
    const Counters done = context.counters();
    EXPECT_EQ(done.launches, made.launches + 6);
    EXPECT_EQ(done.allocations, made.allocations);
    EXPECT_EQ(done.host_syncs, made.host_syncs);
  }
  EXPECT_EQ(context.counters().bytes_allocated, start.bytes_allocated) << "the workspace is given back";
}

TYPED_TEST(Products, BitsDoNotDependOnThreads) {
  using T = TypeParam;
  Context one(Device::open("cpu:1")), two(Device::open("cpu:2")), five(Device::open("cpu:5"));
  for (const Case& p : {Case{Transpose::no, Transpose::no, 300, 520, 210, 1.1, 0.3},
                        Case{Transpose::yes, Transpose::no, 260, 40, 700, 1.0, 0.0},
                        Case{Transpose::no, Transpose::yes, 40, 50, 60, 1.0, 0.5, 0, 0, 0, 9}}) {
    const auto a = this->random_vector(p.size_a()), b = this->random_vector(p.size_b()),
               c = this->random_vector(p.size_c());
    const auto want = this->gemm(one, p, a, b, c);
    EXPECT_EQ(this->gemm(one, p, a, b, c), want) << p.str();
    EXPECT_EQ(this->gemm(two, p, a, b, c), want) << p.str();
    EXPECT_EQ(this->gemm(five, p, a, b, c), want) << p.str();
  }
  const auto a = this->random_vector(std::size_t{900} * 800), x = this->random_vector(900),
             y = this->random_vector(900);
  for (const Transpose t : both) {
    const auto gemv = [&](Context& context) {
      const auto da = this->device(context, a), dx = this->device(context, x);
      Tensor<T> dy = this->device(context, y);
      make_blas<T>(context)->gemv(context, t, 900, 800, 1, da.view().device_data(), 800,
                                  dx.view().device_data(), 1, dy.view().device_data());
      return download(context, dy);
    };
    const auto want = gemv(one);
    EXPECT_EQ(gemv(two), want);
    EXPECT_EQ(gemv(five), want);
  }
}

// On a CPU, OpenBLAS runs on the threads of the device alone, and the process keeps the number it had set.
TYPED_TEST(Products, ThreadsOfOpenBlasAreLeftAsTheyWere) {
  Context context(Device::open("cpu:2"));
  make_blas<TypeParam>(context);
  auto* const set_threads = openblas<void(int)>("openblas_set_num_threads");
  auto* const get_threads = openblas<int()>("openblas_get_num_threads");
  if (!set_threads || !get_threads) GTEST_SKIP() << "This CBLAS is not OpenBLAS.";
  const Case p{Transpose::no, Transpose::no, 128, 256, 700, 1.1, 0.3};
  const auto a = this->random_vector(p.size_a()), b = this->random_vector(p.size_b());
  const auto c = this->random_vector(p.size_c());
  const int before = get_threads();
  std::vector<std::vector<TypeParam>> results;
  for (const int threads : {1, 2, 3}) {
    set_threads(threads);
    results.push_back(this->gemm(context, p, a, b, c));
    EXPECT_EQ(get_threads(), threads);
  }
  set_threads(before);
  EXPECT_EQ(results[0], results[1]);
  EXPECT_EQ(results[0], results[2]);
}

TYPED_TEST(Products, WrongSizesAndContextsAreRefused) {
  using T = TypeParam;
  const auto blas = make_blas<T>(this->context_);
  Tensor<T> t = this->device(this->context_, this->random_vector(64));
  T* p = t.view().device_data();
  const auto gemm = [&](Transpose ta, Transpose tb, int m, int n, int k, int lda, int ldb, int ldc) {
    blas->gemm(this->context_, ta, tb, m, n, k, 1, p, lda, p, ldb, 0, p, ldc);
  };
  const Transpose no = Transpose::no, yes = Transpose::yes;
  EXPECT_THROW(gemm(no, no, -1, 2, 2, 2, 2, 2), ShapeError);
  EXPECT_THROW(gemm(no, no, 2, -1, 2, 2, 2, 2), ShapeError);
  EXPECT_THROW(gemm(no, no, 2, 2, -1, 2, 2, 2), ShapeError);
  EXPECT_THROW(gemm(no, no, 2, 3, 4, 3, 3, 3), ShapeError);   // A is 2x4
  EXPECT_THROW(gemm(yes, no, 2, 3, 4, 1, 3, 3), ShapeError);  // A is stored 4x2
  EXPECT_THROW(gemm(no, no, 2, 3, 4, 4, 2, 3), ShapeError);   // B is 4x3
  EXPECT_THROW(gemm(no, yes, 2, 3, 4, 4, 3, 3), ShapeError);  // B is stored 3x4
  EXPECT_THROW(gemm(no, no, 2, 3, 4, 4, 3, 2), ShapeError);   // C is 2x3
  EXPECT_THROW(gemm(no, no, 2, 3, 0, 0, 3, 3), ShapeError);   // at least 1
  EXPECT_THROW(blas->gemv(this->context_, no, 2, 3, 1, p, 2, p, 0, p), ShapeError);
  EXPECT_THROW(blas->gemv(this->context_, no, -2, 3, 1, p, 3, p, 0, p), ShapeError);
  EXPECT_THROW(blas->gemm_batched(this->context_, no, no, 2, 2, 2, 1, p, 2, 4, p, 2, 4, 0, p, 2, 4, -1),
               ShapeError);
  try {
    gemm(no, no, 2, 3, 4, 3, 3, 3);
  } catch (const ShapeError& e) {
    EXPECT_NE(std::string(e.what()).find("leading dimension 3"), std::string::npos) << e.what();
  }
  Context other(Device::open("cpu:1"));
  EXPECT_THROW(blas->gemv(other, no, 2, 2, 1, p, 2, p, 0, p), ConfigError);
}

}  // namespace
}  // namespace bilevel
