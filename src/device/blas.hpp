#pragma once

// Dense matrix products. CBLAS and cuBLAS stay behind this interface.

#include <cstdint>
#include <memory>

#include "bilevel/core/context.hpp"

namespace bilevel {
inline namespace v0 {

enum class Transpose { no, yes };

/// The arguments of products as the back ends take them; m, n, batch > 0.
template <class T>
struct Gemm {
  Transpose transpose_a, transpose_b;
  int m, n, k;
  T alpha;
  const T* a;
  int lda;
  std::int64_t stride_a;
  const T* b;
  int ldb;
  std::int64_t stride_b;
  T beta;
  T* c;
  int ldc;
  std::int64_t stride_c;
  int batch;
};
template <class T>
struct Gemv {
  Transpose transpose;
  int m, n;
  T alpha;
  const T* a;
  int lda;
  const T* x;
  T beta;
  T* y;
};

/// Products of dense ROW-MAJOR matrices on one device: element (i,j) of a matrix with leading dimension ld is
/// a[i ld + j], ld >= its stored number of columns. op(A) is A or its transpose. With beta = 0 the result is
/// overwritten, whatever it held. Inner dimensions may be 0 (then C = beta C), and empty results do nothing.
///
/// Arrays are device memory; results do not overlap operands. The object belongs to the context it was made
/// with, which must outlive it. A call enqueues one launch, allocates nothing and never waits; the bits do
/// not depend on the number of threads. Rounding: |fl(C) - C| <= (k + 3) u (|alpha| |op(A)| |op(B)| +
/// |beta| |C|) entrywise, to first order in u, without reduced-precision products.
///
/// Calls throw ShapeError for negative sizes and for leading dimensions smaller than a row, ConfigError for
/// another context, DeviceError when the device library fails.
template <class T>
class Blas {
 public:
  virtual ~Blas() = default;
  Blas(const Blas&) = delete;
  Blas& operator=(const Blas&) = delete;

  /// C = alpha op(A) op(B) + beta C with op(A) m x k, op(B) k x n, C m x n. Cost: 2 m n k flops.
  void gemm(Context& context, Transpose transpose_a, Transpose transpose_b, int m, int n, int k, T alpha,
            const T* a, int lda, const T* b, int ldb, T beta, T* c, int ldc) const;

  /// y = alpha op(A) x + beta y with A m x n as stored; x and y contiguous. Cost: one pass over A.
  void gemv(Context& context, Transpose transpose, int m, int n, T alpha, const T* a, int lda, const T* x,
            T beta, T* y) const;

  /// gemm for `batch` triples; matrix i of each begins `i * stride` elements after the first. A stride of 0
  /// uses one operand for all; matrices of C must not overlap.
  void gemm_batched(Context& context, Transpose transpose_a, Transpose transpose_b, int m, int n, int k,
                    T alpha, const T* a, int lda, std::int64_t stride_a, const T* b, int ldb,
                    std::int64_t stride_b, T beta, T* c, int ldc, std::int64_t stride_c, int batch) const;

 protected:
  explicit Blas(Context& context);

 private:
  virtual void run_gemm(Context& context, const Gemm<T>& g) const = 0;
  virtual void run_gemv(Context& context, const Gemv<T>& g) const = 0;
  void require(Context& context) const;

  const Context::Impl* context_;
};

/// Products on the device of the context. Allocates a workspace (CUDA) and may wait for the device. T is
/// float or double. Throws DeviceError when the device library does not start.
template <class T>
std::unique_ptr<Blas<T>> make_blas(Context& context);

/// The back ends of make_blas: CBLAS, and the library of a CUDA device.
template <class T>
std::unique_ptr<Blas<T>> make_cpu_blas(Context& context);
template <class T>
std::unique_ptr<Blas<T>> make_library_blas(Context& context);

}  // namespace v0
}  // namespace bilevel
