// Matrix products with cuBLAS, which is column-major: a row-major matrix is its transpose there, so that
// C = op(A) op(B) is computed as C^T = op(B)^T op(A)^T.

#include <cublas_v2.h>

#include <string>

#include "bilevel/core/error.hpp"
#include "device/cuda/runtime.hpp"

namespace bilevel {
inline namespace v0 {
namespace cuda {
namespace {

void check(cublasStatus_t status, const char* call) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  throw DeviceError(std::string(call) + " returned " + cublasGetStatusName(status) +
                    "; use smaller matrices, or the device 'cpu'.");
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
class CublasHandle final : public BlasLibrary<T> {
 public:
  CublasHandle(const Device::Impl& device, void* queue) {
    const DeviceGuard guard(device.ordinal);
    check(cublasCreate(&handle_), "cublasCreate(&handle)");
    try {
      configure(device.ordinal, static_cast<cudaStream_t>(queue));
    } catch (...) {
      static_cast<void>(cublasDestroy(handle_));
      throw;
    }
  }
  ~CublasHandle() override { static_cast<void>(cublasDestroy(handle_)); }

  std::size_t work_bytes() const override { return work_bytes_; }
  void use_work_area(void* work) override {
    check(cublasSetWorkspace(handle_, work, work_bytes_), "cublasSetWorkspace(handle, workspace, bytes)");
  }
  void gemm(const Gemm<T>& g) const override {
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
  void gemv(const Gemv<T>& g) const override {
    const cublasOperation_t swapped = g.transpose == Transpose::no ? CUBLAS_OP_T : CUBLAS_OP_N;
    check(Cublas<T>::gemv(handle_, swapped, g.n, g.m, &g.alpha, g.a, g.lda, g.x, 1, &g.beta, g.y, 1),
          Cublas<T>::gemv_call);
  }

 private:
  void configure(int ordinal, cudaStream_t stream) {
    int major = 0;
    cuda::check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, ordinal),
                "cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device)");
    check(cublasSetStream(handle_, stream), "cublasSetStream(handle, stream)");
    check(cublasSetPointerMode(handle_, CUBLAS_POINTER_MODE_HOST),
          "cublasSetPointerMode(handle, CUBLAS_POINTER_MODE_HOST)");
    // Pedantic: float products are rounded as float32, never TF32 or emulated, as the error bounds assume.
    check(cublasSetMathMode(handle_, CUBLAS_PEDANTIC_MATH),
          "cublasSetMathMode(handle, CUBLAS_PEDANTIC_MATH)");
    check(cublasSetAtomicsMode(handle_, CUBLAS_ATOMICS_NOT_ALLOWED),
          "cublasSetAtomicsMode(handle, CUBLAS_ATOMICS_NOT_ALLOWED)");
    work_bytes_ = std::size_t{major >= 9 ? 32U : 4U} << 20;  // what the manual of cuBLAS recommends
  }

  cublasHandle_t handle_ = nullptr;
  std::size_t work_bytes_ = 0;
};

}  // namespace

template <class T>
std::unique_ptr<BlasLibrary<T>> make_blas(const Device::Impl& device, void* queue) {
  return std::make_unique<CublasHandle<T>>(device, queue);
}
template std::unique_ptr<BlasLibrary<float>> make_blas(const Device::Impl&, void*);
template std::unique_ptr<BlasLibrary<double>> make_blas(const Device::Impl&, void*);

}  // namespace cuda
}  // namespace v0
}  // namespace bilevel
