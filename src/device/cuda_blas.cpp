// Blas on a GPU with cuBLAS, which is column-major: a row-major matrix is its transpose there, so that
// C = op(A) op(B) is computed as C^T = op(B)^T op(A)^T.

#include <cublas_v2.h>

#include <string>

#include "bilevel/core/error.hpp"
#include "device/backend.hpp"
#include "device/blas.hpp"
#include "device/cuda.hpp"

namespace bilevel {
inline namespace v0 {
namespace {

void check(cublasStatus_t status, const char* call) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  throw DeviceError(std::string(call) + " returned " + cublasGetStatusName(status) +
                    "; use smaller matrices, or --device cpu.");
}

cublasOperation_t operation(Transpose t) { return t == Transpose::no ? CUBLAS_OP_N : CUBLAS_OP_T; }

template <class T>
struct Cublas;

template <>
struct Cublas<float> {
  static constexpr auto gemm = cublasSgemm;
  static constexpr auto gemm_batched = cublasSgemmStridedBatched;
  static constexpr auto gemv = cublasSgemv;
  static constexpr auto gemm_call = "cublasSgemm(handle, ...)";
  static constexpr auto gemm_batched_call = "cublasSgemmStridedBatched(handle, ...)";
  static constexpr auto gemv_call = "cublasSgemv(handle, ...)";
};

template <>
struct Cublas<double> {
  static constexpr auto gemm = cublasDgemm;
  static constexpr auto gemm_batched = cublasDgemmStridedBatched;
  static constexpr auto gemv = cublasDgemv;
  static constexpr auto gemm_call = "cublasDgemm(handle, ...)";
  static constexpr auto gemm_batched_call = "cublasDgemmStridedBatched(handle, ...)";
  static constexpr auto gemv_call = "cublasDgemv(handle, ...)";
};

template <class T>
class CudaBlas final : public Blas<T> {
 public:
  explicit CudaBlas(Context& context) : Blas<T>(context), impl_(context.impl()) {
    const cuda::DeviceGuard guard(ordinal());
    check(cublasCreate(&handle_), "cublasCreate(&handle)");
    try {
      configure();
    } catch (...) {
      close();
      throw;
    }
  }
  ~CudaBlas() override { close(); }

 private:
  using typename Blas<T>::Gemm;

  int ordinal() const { return impl_.device.impl().ordinal; }

  void configure() {
    int major = 0;
    cuda::check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, ordinal()),
                "cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device)");
    check(cublasSetStream(handle_, static_cast<cudaStream_t>(impl_.stream.queue)),
          "cublasSetStream(handle, stream)");
    check(cublasSetPointerMode(handle_, CUBLAS_POINTER_MODE_HOST),
          "cublasSetPointerMode(handle, CUBLAS_POINTER_MODE_HOST)");
    // Pedantic: float products are rounded as float32, never TF32 or emulated, as the error bounds assume.
    check(cublasSetMathMode(handle_, CUBLAS_PEDANTIC_MATH),
          "cublasSetMathMode(handle, CUBLAS_PEDANTIC_MATH)");
    check(cublasSetAtomicsMode(handle_, CUBLAS_ATOMICS_NOT_ALLOWED),
          "cublasSetAtomicsMode(handle, CUBLAS_ATOMICS_NOT_ALLOWED)");
    // The sizes that the manual of cuBLAS recommends; after the stream, which resets the workspace.
    workspace_bytes_ = std::size_t{major >= 9 ? 32U : 4U} << 20;
    workspace_ = impl_.allocate(workspace_bytes_);
    check(cublasSetWorkspace(handle_, workspace_, workspace_bytes_),
          "cublasSetWorkspace(handle, workspace, bytes)");
  }
  void close() noexcept {
    static_cast<void>(cublasDestroy(handle_));
    impl_.release(workspace_, workspace_bytes_);
  }

  void run_gemm(Context&, const Gemm& g) const override {
    const cublasOperation_t a = operation(g.transpose_a), b = operation(g.transpose_b);
    if (g.batch == 1)
      check(Cublas<T>::gemm(handle_, b, a, g.n, g.m, g.k, &g.alpha, g.b, g.ldb, g.a, g.lda, &g.beta, g.c,
                            g.ldc),
            Cublas<T>::gemm_call);
    else
      check(Cublas<T>::gemm_batched(handle_, b, a, g.n, g.m, g.k, &g.alpha, g.b, g.ldb, g.stride_b, g.a,
                                    g.lda, g.stride_a, &g.beta, g.c, g.ldc, g.stride_c, g.batch),
            Cublas<T>::gemm_batched_call);
  }
  void run_gemv(Context&, Transpose transpose, int m, int n, T alpha, const T* a, int lda, const T* x, T beta,
                T* y) const override {
    const cublasOperation_t swapped = transpose == Transpose::no ? CUBLAS_OP_T : CUBLAS_OP_N;
    check(Cublas<T>::gemv(handle_, swapped, n, m, &alpha, a, lda, x, 1, &beta, y, 1), Cublas<T>::gemv_call);
  }

  Context::Impl& impl_;
  cublasHandle_t handle_ = nullptr;
  std::byte* workspace_ = nullptr;
  std::size_t workspace_bytes_ = 0;
};

}  // namespace

template <class T>
std::unique_ptr<Blas<T>> make_cuda_blas(Context& context) {
  return std::make_unique<CudaBlas<T>>(context);
}
template std::unique_ptr<Blas<float>> make_cuda_blas<float>(Context&);
template std::unique_ptr<Blas<double>> make_cuda_blas<double>(Context&);

}  // namespace v0
}  // namespace bilevel
