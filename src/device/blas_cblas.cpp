// Blas on the CPU with CBLAS. Results are cut into tiles that do not depend on the number of threads; each
// tile is one job and one call of CBLAS on one thread, with the whole inner dimension.

#include "device/blas.hpp"

#include <cblas.h>

#include <algorithm>
#include <cstdint>

#include "device/library_call.hpp"
#include "device/sequential_blas.hpp"

namespace bilevel {
inline namespace v0 {
namespace {

// Tiles of C: large enough that packing its operands costs a few per cent of the product.
constexpr std::int64_t tile_rows = 128, tile_columns = 256;
constexpr std::int64_t tile_vector = 256;  // entries of y

CBLAS_TRANSPOSE cblas(Transpose t) { return t == Transpose::no ? CblasNoTrans : CblasTrans; }

void gemm(CBLAS_TRANSPOSE ta, CBLAS_TRANSPOSE tb, int m, int n, int k, float alpha, const float* a, int lda,
          const float* b, int ldb, float beta, float* c, int ldc) {
  cblas_sgemm(CblasRowMajor, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}
void gemm(CBLAS_TRANSPOSE ta, CBLAS_TRANSPOSE tb, int m, int n, int k, double alpha, const double* a, int lda,
          const double* b, int ldb, double beta, double* c, int ldc) {
  cblas_dgemm(CblasRowMajor, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}
void gemv(CBLAS_TRANSPOSE t, int m, int n, float alpha, const float* a, int lda, const float* x, float beta,
          float* y) {
  cblas_sgemv(CblasRowMajor, t, m, n, alpha, a, lda, x, 1, beta, y, 1);
}
void gemv(CBLAS_TRANSPOSE t, int m, int n, double alpha, const double* a, int lda, const double* x,
          double beta, double* y) {
  cblas_dgemv(CblasRowMajor, t, m, n, alpha, a, lda, x, 1, beta, y, 1);
}

template <class T>
class CblasBlas final : public Blas<T> {
 public:
  explicit CblasBlas(Context& context) : Blas<T>(context) {}

 private:
  void run_gemm(Context& context, const Gemm<T>& g) const override {
    const std::int64_t across = (g.n + tile_columns - 1) / tile_columns;
    const std::int64_t down = (g.m + tile_rows - 1) / tile_rows;
    const SequentialScope sequential;
    for_each_job(context, g.batch * down * across, [&g, down, across](std::int64_t job) {
      const std::int64_t matrix = job / (down * across);
      const std::int64_t i = job / across % down * tile_rows, j = job % across * tile_columns;
      const T* a = g.a + matrix * g.stride_a + i * (g.transpose_a == Transpose::no ? g.lda : 1);
      const T* b = g.b + matrix * g.stride_b + j * (g.transpose_b == Transpose::no ? 1 : g.ldb);
      T* c = g.c + matrix * g.stride_c + i * g.ldc + j;
      const int m = static_cast<int>(std::min(tile_rows, g.m - i));
      const int n = static_cast<int>(std::min(tile_columns, g.n - j));
      gemm(cblas(g.transpose_a), cblas(g.transpose_b), m, n, g.k, g.alpha, a, g.lda, b, g.ldb, g.beta, c,
           g.ldc);
    });
  }

  void run_gemv(Context& context, const Gemv<T>& g) const override {
    const bool plain = g.transpose == Transpose::no;
    const std::int64_t rows = plain ? g.m : g.n;
    const SequentialScope sequential;
    for_each_job(context, (rows + tile_vector - 1) / tile_vector, [&g, plain, rows](std::int64_t job) {
      const std::int64_t i = job * tile_vector;
      const int size = static_cast<int>(std::min(tile_vector, rows - i));
      gemv(cblas(g.transpose), plain ? size : g.m, plain ? g.n : size, g.alpha, g.a + i * (plain ? g.lda : 1),
           g.lda, g.x, g.beta, g.y + i);
    });
  }
};

}  // namespace

template <class T>
std::unique_ptr<Blas<T>> make_cpu_blas(Context& context) {
  return std::make_unique<CblasBlas<T>>(context);
}
template std::unique_ptr<Blas<float>> make_cpu_blas<float>(Context&);
template std::unique_ptr<Blas<double>> make_cpu_blas<double>(Context&);

}  // namespace v0
}  // namespace bilevel
