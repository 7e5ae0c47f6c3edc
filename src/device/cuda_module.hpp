#pragma once

// The CUDA back end as the library sees it: a module, libbilevel_cuda.so, which is loaded when a CUDA device
// is first asked for or looked for, so that nothing of CUDA is linked or loaded before. Both sides share the
// types below and error.hpp, and no other code.

#include <complex>
#include <cstddef>
#include <memory>

#include "device/backend.hpp"
#include "device/blas.hpp"
#include "device/fft.hpp"

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

template <class T>
struct CudaLibraries {
  std::unique_ptr<FftLibrary<T>> (*fft)(const Device::Impl& device, void* queue, const FftShape& shape,
                                        FftKind kind);
  std::unique_ptr<BlasLibrary<T>> (*blas)(const Device::Impl& device, void* queue);
};

/// What the module offers. `version` and `layout` come first and keep their place in every version.
struct CudaModule {
  const char* version;                                       ///< of the library it was built with
  std::size_t layout;                                        ///< module_layout() there
  std::shared_ptr<const Device::Impl> (*open)(int ordinal);  ///< throws DeviceError with the driver's reason
  std::unique_ptr<Backend> (*make_backend)(const Device::Impl& device);
  CudaLibraries<float> libraries_float;
  CudaLibraries<double> libraries_double;

  template <class T>
  const CudaLibraries<T>& libraries() const {
    if constexpr (sizeof(T) == sizeof(float))
      return libraries_float;
    else
      return libraries_double;
  }
};

/// Differs between builds whose shared types have different sizes.
constexpr std::size_t module_layout() {
  return sizeof(kernels::Table<double>) + (sizeof(kernels::ScalarTable) << 12) +
         (sizeof(Device::Impl) << 24) + (sizeof(CudaModule) << 36) + (sizeof(kernels::Stream) << 48);
}

/// The one symbol of the module.
extern "C" using CudaModuleEntry = const CudaModule * ();
inline constexpr const char* cuda_module_entry = "bilevel_cuda_module";

/// Loads the module once; later calls return it. It is looked for as the dynamic linker looks for a library:
/// LD_LIBRARY_PATH, the folder of libbilevel (run path), the system's folders. Throws DeviceError when it is
/// not there, lacks a library of its own, or belongs to another build.
const CudaModule& cuda_module();

}  // namespace v0
}  // namespace bilevel
