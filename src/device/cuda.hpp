#pragma once

// What host code shares about the CUDA runtime. Only files of src/device named cuda* include it.

#include <cuda_runtime_api.h>

#include <source_location>
#include <string>

namespace bilevel {
inline namespace v0 {
namespace cuda {

/// Throws DeviceError with the call, its place and the runtime's name and text of the error.
void check(cudaError_t status, const char* call,
           std::source_location where = std::source_location::current());

/// Makes a device current in this thread for one scope.
class DeviceGuard {
 public:
  explicit DeviceGuard(int ordinal);
  ~DeviceGuard();
  DeviceGuard(const DeviceGuard&) = delete;
  DeviceGuard& operator=(const DeviceGuard&) = delete;

 private:
  int previous_ = -1;
};

}  // namespace cuda
}  // namespace v0
}  // namespace bilevel
