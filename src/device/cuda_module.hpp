#pragma once

// The CUDA back end as the library sees it: a module, libbilevel_cuda.so, which is loaded when a CUDA device
// is first asked for or looked for (device/module.hpp).

#include <complex>
#include <cstddef>
#include <memory>

#include "device/backend.hpp"
#include "device/blas.hpp"
#include "device/fft.hpp"
#include "device/module.hpp"

namespace bilevel {
inline namespace v0 {

/// Fourier transforms of a device library, planned for one shape on one queue: unnormalised, contiguous, half
/// spectra of real images. Calls enqueue and throw DeviceError; the caller brackets them as launches.
template <class T>
class FftLibrary {
 public:
  using Complex = std::complex<T>;
  virtual ~FftLibrary() = default;
  virtual std::size_t work_bytes() const = 0;
  virtual void use_work_area(void* work) = 0;  ///< before the first transform; work_bytes() of device memory
  virtual void complex(const Complex* in, Complex* out, bool forward) const = 0;
  virtual void forward_real(const T* in, Complex* out) const = 0;
  virtual void inverse_real(Complex* in, T* out) const = 0;
};

/// Matrix products of a device library on one queue, row-major, sizes positive. As above.
template <class T>
class BlasLibrary {
 public:
  virtual ~BlasLibrary() = default;
  virtual std::size_t work_bytes() const = 0;
  virtual void use_work_area(void* work) = 0;
  virtual void gemm(const Gemm<T>& g) const = 0;
  virtual void gemv(const Gemv<T>& g) const = 0;
};

struct CudaModule {
  ModuleHeader header;
  std::shared_ptr<const Device::Impl> (*open)(int ordinal);  ///< throws DeviceError with the driver's reason
  std::unique_ptr<Backend> (*make_backend)(const Device::Impl& device);
};

template <class T>
struct CudaPlans {
  std::unique_ptr<FftLibrary<T>> (*fft)(const Device::Impl& device, void* queue, const FftShape& shape,
                                        FftKind kind);
  std::unique_ptr<BlasLibrary<T>> (*blas)(const Device::Impl& device, void* queue);
};

struct CudaLibraries {
  ModuleHeader header;
  CudaPlans<float> plans_float;
  CudaPlans<double> plans_double;
};

/// Differs between builds whose shared types have different sizes.
constexpr std::size_t module_layout() {
  return sizeof(kernels::Table<double>) + (sizeof(kernels::ScalarTable) << 12) +
         (sizeof(Device::Impl) << 24) + (sizeof(CudaModule) << 36) + (sizeof(kernels::Stream) << 48);
}

/// The one symbol of each module: const CudaModule* bilevel_cuda_module(), const CudaLibraries*
/// bilevel_cuda_libraries(). Throw DeviceError where they cannot be loaded (device/module.hpp).
const CudaModule& cuda_module();
const CudaLibraries& cuda_libraries();

template <class T>
const CudaPlans<T>& cuda_plans() {
  if constexpr (sizeof(T) == sizeof(float))
    return cuda_libraries().plans_float;
  else
    return cuda_libraries().plans_double;
}

}  // namespace v0
}  // namespace bilevel
