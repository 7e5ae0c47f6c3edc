#include "bilevel/core/version.hpp"
#include "device/cuda/runtime.hpp"
#include "device/cuda_module.hpp"

namespace bilevel {
inline namespace v0 {

extern "C" __attribute__((visibility("default"))) const CudaModule* bilevel_cuda_module() {
  static constexpr CudaModule module = {
      {BILEVEL_VERSION, module_layout()},
      cuda::open,
      cuda::make_backend,
  };
  return &module;
}

}  // namespace v0
}  // namespace bilevel
