#include "bilevel/core/version.hpp"
#include "device/cuda/runtime.hpp"
#include "device/cuda_module.hpp"

namespace bilevel {
inline namespace v0 {

extern "C" __attribute__((visibility("default"))) const CudaLibraries* bilevel_cuda_libraries() {
  static constexpr CudaLibraries module = {
      {BILEVEL_VERSION, module_layout()},
      {cuda::make_fft<float>, cuda::make_blas<float>},
      {cuda::make_fft<double>, cuda::make_blas<double>},
  };
  return &module;
}

}  // namespace v0
}  // namespace bilevel
