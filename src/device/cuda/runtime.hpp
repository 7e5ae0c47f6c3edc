#pragma once

// What the files of this folder, which make libbilevel_cuda and libbilevel_cuda_libraries (blas, fft,
// libraries), share about the CUDA runtime.

#include <cuda_runtime_api.h>

#include <source_location>

#include "device/cuda_module.hpp"

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

// What the modules offer; see CudaModule and CudaLibraries.
std::shared_ptr<const Device::Impl> open(int ordinal);
std::unique_ptr<Backend> make_backend(const Device::Impl& device);
template <class T>
std::unique_ptr<FftLibrary<T>> make_fft(const Device::Impl& device, void* queue, const FftShape& shape,
                                        FftKind kind);
template <class T>
std::unique_ptr<BlasLibrary<T>> make_blas(const Device::Impl& device, void* queue);

}  // namespace cuda
}  // namespace v0
}  // namespace bilevel
