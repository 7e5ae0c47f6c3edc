// Fourier transforms with cuFFT.

#include <cufft.h>

#include <algorithm>
#include <iterator>
#include <string>

#include "bilevel/core/error.hpp"
#include "device/cuda/runtime.hpp"

namespace bilevel {
inline namespace v0 {
namespace cuda {
namespace {

std::string name(cufftResult result) {
  static constexpr const char* names[] = {"CUFFT_SUCCESS",
                                          "CUFFT_INVALID_PLAN",
                                          "CUFFT_ALLOC_FAILED",
                                          "CUFFT_INVALID_TYPE",
                                          "CUFFT_INVALID_VALUE",
                                          "CUFFT_INTERNAL_ERROR",
                                          "CUFFT_EXEC_FAILED",
                                          "CUFFT_SETUP_FAILED",
                                          "CUFFT_INVALID_SIZE",
                                          "CUFFT_UNALIGNED_DATA",
                                          "CUFFT_INCOMPLETE_PARAMETER_LIST",
                                          "CUFFT_INVALID_DEVICE",
                                          "CUFFT_PARSE_ERROR",
                                          "CUFFT_NO_WORKSPACE",
                                          "CUFFT_NOT_IMPLEMENTED",
                                          "CUFFT_LICENSE_ERROR",
                                          "CUFFT_NOT_SUPPORTED",
                                          "CUFFT_MISSING_DEPENDENCY",
                                          "CUFFT_NVRTC_FAILURE",
                                          "CUFFT_NVJITLINK_FAILURE",
                                          "CUFFT_NVSHMEM_FAILURE"};
  const auto code = static_cast<unsigned>(result);
  return code < std::size(names) ? names[code] : "cufftResult " + std::to_string(code);
}

template <class T>
struct Cufft;

template <>
struct Cufft<float> {
  using Complex = cufftComplex;
  static constexpr auto complex_type = CUFFT_C2C, forward_type = CUFFT_R2C, inverse_type = CUFFT_C2R;
  static constexpr auto run_complex = cufftExecC2C;
  static constexpr auto run_forward_real = cufftExecR2C;
  static constexpr auto run_inverse_real = cufftExecC2R;
  static constexpr auto complex_call = "cufftExecC2C(plan, in, out, direction)";
  static constexpr auto forward_call = "cufftExecR2C(plan, in, out)";
  static constexpr auto inverse_call = "cufftExecC2R(plan, in, out)";
};

template <>
struct Cufft<double> {
  using Complex = cufftDoubleComplex;
  static constexpr auto complex_type = CUFFT_Z2Z, forward_type = CUFFT_D2Z, inverse_type = CUFFT_Z2D;
  static constexpr auto run_complex = cufftExecZ2Z;
  static constexpr auto run_forward_real = cufftExecD2Z;
  static constexpr auto run_inverse_real = cufftExecZ2D;
  static constexpr auto complex_call = "cufftExecZ2Z(plan, in, out, direction)";
  static constexpr auto forward_call = "cufftExecD2Z(plan, in, out)";
  static constexpr auto inverse_call = "cufftExecZ2D(plan, in, out)";
};

/// A cuFFT plan without a work area of its own.
class Handle {
 public:
  Handle() = default;
  ~Handle() {
    if (made_) static_cast<void>(cufftDestroy(handle_));
  }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;

  cufftResult create() {
    const cufftResult result = cufftCreate(&handle_);
    made_ = result == CUFFT_SUCCESS;
    return result;
  }
  cufftHandle get() const { return handle_; }
  explicit operator bool() const { return made_; }

 private:
  cufftHandle handle_ = 0;
  bool made_ = false;
};

template <class T>
class CufftPlans final : public FftLibrary<T> {
 public:
  using typename FftLibrary<T>::Complex;
  using Library = Cufft<T>;

  CufftPlans(const Device::Impl& device, void* queue, const FftShape& shape, FftKind kind)
      : shape_(shape), kind_(kind), stream_(static_cast<cudaStream_t>(queue)) {
    const DeviceGuard guard(device.ordinal);
    if (kind == FftKind::complex_to_complex) {
      plan(forward_, Library::complex_type);
    } else {
      plan(forward_, Library::forward_type);
      plan(inverse_, Library::inverse_type);
    }
  }

  std::size_t work_bytes() const override { return work_bytes_; }
  void use_work_area(void* work) override {
    for (const Handle* handle : {&forward_, &inverse_})
      if (*handle) check(cufftSetWorkArea(handle->get(), work), "cufftSetWorkArea(plan, work)");
  }
  void complex(const Complex* in, Complex* out, bool forward) const override {
    check(Library::run_complex(forward_.get(), raw(in), raw(out), forward ? CUFFT_FORWARD : CUFFT_INVERSE),
          Library::complex_call);
  }
  void forward_real(const T* in, Complex* out) const override {
    check(Library::run_forward_real(forward_.get(), const_cast<T*>(in), raw(out)), Library::forward_call);
  }
  void inverse_real(Complex* in, T* out) const override {
    check(Library::run_inverse_real(inverse_.get(), raw(in), out), Library::inverse_call);
  }

 private:
  void check(cufftResult result, const char* call) const {
    if (result == CUFFT_SUCCESS) return;
    throw DeviceError(std::string(call) + " returned " + name(result) + " for the transform of " +
                      shape_.str() + "; use smaller or fewer images, or the device 'cpu'.");
  }

  /// Contiguous images; real images with the half spectrum [H][W/2+1]. Single rows, and single columns of
  /// complex images, are planned as one-dimensional transforms.
  void plan(Handle& handle, cufftType type) {
    const bool column = shape_.width == 1 && kind_ == FftKind::complex_to_complex;
    long long sizes[] = {shape_.height, shape_.width};
    const int rank = shape_.height == 1 || column ? 1 : 2;
    std::size_t bytes = 0;
    check(handle.create(), "cufftCreate(&plan)");
    check(cufftSetAutoAllocation(handle.get(), 0), "cufftSetAutoAllocation(plan, 0)");
    check(cufftMakePlanMany64(handle.get(), rank, rank == 1 && !column ? sizes + 1 : sizes, nullptr, 1, 0,
                              nullptr, 1, 0, type, shape_.n, &bytes),
          "cufftMakePlanMany64(plan, rank, sizes, ...)");
    check(cufftSetStream(handle.get(), stream_), "cufftSetStream(plan, stream)");
    work_bytes_ = std::max(work_bytes_, bytes);
  }

  static auto* raw(const Complex* p) {
    return reinterpret_cast<typename Library::Complex*>(const_cast<Complex*>(p));
  }

  FftShape shape_;
  FftKind kind_;
  cudaStream_t stream_;
  Handle forward_, inverse_;  // the complex plan serves both directions
  std::size_t work_bytes_ = 0;
};

}  // namespace

template <class T>
std::unique_ptr<FftLibrary<T>> make_fft(const Device::Impl& device, void* queue, const FftShape& shape,
                                        FftKind kind) {
  return std::make_unique<CufftPlans<T>>(device, queue, shape, kind);
}
template std::unique_ptr<FftLibrary<float>> make_fft(const Device::Impl&, void*, const FftShape&, FftKind);
template std::unique_ptr<FftLibrary<double>> make_fft(const Device::Impl&, void*, const FftShape&, FftKind);

}  // namespace cuda
}  // namespace v0
}  // namespace bilevel
