#include "device/blas.hpp"

#include <algorithm>
#include <string>

#include "bilevel/core/error.hpp"
#include "device/library_call.hpp"

namespace bilevel {
inline namespace v0 {
namespace {

void require_sizes(const char* call, int m, int n, int k, int batch) {
  if (m < 0 || n < 0 || k < 0 || batch < 0)
    throw ShapeError(std::string(call) + " was given the sizes m = " + std::to_string(m) +
                     ", n = " + std::to_string(n) + ", k = " + std::to_string(k) +
                     ", batch = " + std::to_string(batch) + "; they must not be negative.");
}

void require_leading(const char* call, const char* name, int leading, int columns) {
  if (leading < std::max(columns, 1))
    throw ShapeError(std::string(call) + " was given the leading dimension " + std::to_string(leading) +
                     " for the row-major matrix " + name + "; a row of it needs at least " +
                     std::to_string(std::max(columns, 1)) + ".");
}

}  // namespace

template <class T>
Blas<T>::Blas(Context& context) : context_(&context.impl()) {}

template <class T>
void Blas<T>::require(Context& context) const {
  if (&context.impl() != context_)
    throw ConfigError(
        "a matrix product was given another context than its Blas was made with; make one for this context.");
}

template <class T>
void Blas<T>::gemm(Context& context, Transpose transpose_a, Transpose transpose_b, int m, int n, int k,
                   T alpha, const T* a, int lda, const T* b, int ldb, T beta, T* c, int ldc) const {
  gemm_batched(context, transpose_a, transpose_b, m, n, k, alpha, a, lda, 0, b, ldb, 0, beta, c, ldc, 0, 1);
}

template <class T>
void Blas<T>::gemm_batched(Context& context, Transpose transpose_a, Transpose transpose_b, int m, int n,
                           int k, T alpha, const T* a, int lda, std::int64_t stride_a, const T* b, int ldb,
                           std::int64_t stride_b, T beta, T* c, int ldc, std::int64_t stride_c,
                           int batch) const {
  require(context);
  require_sizes("gemm", m, n, k, batch);
  require_leading("gemm", "A", lda, transpose_a == Transpose::no ? k : m);
  require_leading("gemm", "B", ldb, transpose_b == Transpose::no ? n : k);
  require_leading("gemm", "C", ldc, n);
  if (m == 0 || n == 0 || batch == 0) return;
  const Gemm<T> g{transpose_a, transpose_b, m,        n,    k, alpha, a,        lda,  stride_a,
                  b,           ldb,         stride_b, beta, c, ldc,   stride_c, batch};
  call_library(context, "a matrix product", [&] { run_gemm(context, g); });
}

template <class T>
void Blas<T>::gemv(Context& context, Transpose transpose, int m, int n, T alpha, const T* a, int lda,
                   const T* x, T beta, T* y) const {
  require(context);
  require_sizes("gemv", m, n, 0, 0);
  require_leading("gemv", "A", lda, n);
  const int rows = transpose == Transpose::no ? m : n, inner = transpose == Transpose::no ? n : m;
  if (rows == 0) return;
  if (inner > 0) {
    call_library(context, "a matrix-vector product", [&] {
      run_gemv(context, {transpose, m, n, alpha, a, lda, x, beta, y});
    });
  } else {  // y = beta y: BLAS leaves y alone when either size is 0
    gemm(context, Transpose::no, Transpose::no, rows, 1, 0, alpha, a, 1, x, 1, beta, y, 1);
  }
}

template <class T>
std::unique_ptr<Blas<T>> make_blas(Context& context) {
  if (context.device().kind() == DeviceKind::cuda) return make_library_blas<T>(context);
  return make_cpu_blas<T>(context);
}

template class Blas<float>;
template class Blas<double>;
template std::unique_ptr<Blas<float>> make_blas<float>(Context&);
template std::unique_ptr<Blas<double>> make_blas<double>(Context&);

}  // namespace v0
}  // namespace bilevel
