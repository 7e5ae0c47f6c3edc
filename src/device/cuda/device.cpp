#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "bilevel/core/error.hpp"
#include "device/cuda/runtime.hpp"

namespace bilevel {
inline namespace v0 {
namespace cuda {
namespace {

std::string reason(cudaError_t status) {
  return std::string(cudaGetErrorString(status)) + " (" + cudaGetErrorName(status) + ")";
}

int attribute(cudaDeviceAttr which, int ordinal) {
  int value = 0;
  check(cudaDeviceGetAttribute(&value, which, ordinal), "cudaDeviceGetAttribute");
  return value;
}

/// BILEVEL_CUDA_VARIANT=checking takes the kernels without contraction.
void set_tables(Device::Impl& d) {
  const auto use = [&d](const auto& f, const auto& g, const auto& s) {
    d.table_float = &f;
    d.table_double = &g;
    d.table_scalar = &s;
  };
  const char* choice = std::getenv("BILEVEL_CUDA_VARIANT");
  const std::string_view variant = choice && *choice ? choice : "standard";
  if (variant == "standard") {
    namespace k = kernels::cuda;
    return use(k::table_float(true), k::table_double(true), k::table_scalar());
  }
#ifdef BILEVEL_CUDA_CHECKING
  if (variant == "checking") {
    namespace k = kernels::cuda_checking;
    return use(k::table_float(true), k::table_double(true), k::table_scalar());
  }
#endif
  throw ConfigError("BILEVEL_CUDA_VARIANT=" + std::string(variant) +
                    ": not a kernel variant of this build; unset the variable.");
}

}  // namespace

std::shared_ptr<const Device::Impl> open(int ordinal) {
  const std::string name = "cuda:" + std::to_string(ordinal);
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status != cudaSuccess) {
    static_cast<void>(cudaGetLastError());
    throw DeviceError("device '" + name + "': the CUDA driver says: " + reason(status) +
                      "; use the device 'cpu', or install a driver.");
  }
  if (ordinal >= count)
    throw DeviceError("device '" + name + "': this machine has " + std::to_string(count) +
                      " CUDA device(s), numbered from 0; choose one of them, or the device 'cpu'.");
  auto impl = std::make_shared<Device::Impl>();
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, ordinal), "cudaGetDeviceProperties");
  impl->kind = DeviceKind::cuda;
  impl->name = name;
  impl->ordinal = ordinal;
  impl->memory = properties.totalGlobalMem;
  const int capability = 10 * attribute(cudaDevAttrComputeCapabilityMajor, ordinal) +
                         attribute(cudaDevAttrComputeCapabilityMinor, ordinal);
  impl->instruction_set = "sm_" + std::to_string(capability);
  char text[320];
  std::snprintf(text, sizeof text, "%s, %s, %.1f GiB", properties.name, impl->instruction_set.c_str(),
                static_cast<double>(properties.totalGlobalMem) / 1073741824.0);
  impl->description = text;
#ifdef BILEVEL_CUDA_OLDEST
  if (capability < BILEVEL_CUDA_OLDEST)
    throw DeviceError("device '" + name + "' (" + impl->description +
                      "): the oldest GPU of this build is sm_" + std::to_string(BILEVEL_CUDA_OLDEST) +
                      "; use the device 'cpu', or build with -DCMAKE_CUDA_ARCHITECTURES=native.");
#endif
  set_tables(*impl);
  return impl;
}

}  // namespace cuda
}  // namespace v0
}  // namespace bilevel
