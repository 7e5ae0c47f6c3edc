// Fft on a GPU with cuFFT.

#include <cufft.h>

#include <algorithm>
#include <iterator>
#include <string>

#include "bilevel/core/error.hpp"
#include "device/backend.hpp"
#include "device/cuda.hpp"
#include "device/fft.hpp"
#include "kernels/krylov_args.hpp"
#include "kernels/spectrum_args.hpp"

namespace bilevel {
inline namespace v0 {
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
class CudaFft final : public Fft<T> {
 public:
  using Complex = std::complex<T>;
  using Library = Cufft<T>;

  CudaFft(Context& context, const FftShape& shape, FftKind kind)
      : Fft<T>(context, shape, kind), impl_(context.impl()) {
    const cuda::DeviceGuard guard(ordinal());
    if (kind == FftKind::complex_to_complex) {
      plan(forward_, Library::complex_type);
    } else {
      plan(forward_, Library::forward_type);
      plan(inverse_, Library::inverse_type);
    }
    work_ = impl_.allocate(work_bytes_);
    try {
      use_work_area(forward_);
      if (inverse_) use_work_area(inverse_);
    } catch (...) {
      impl_.release(work_, work_bytes_);
      throw;
    }
  }
  ~CudaFft() override { impl_.release(work_, work_bytes_); }

 private:
  int ordinal() const { return impl_.device.impl().ordinal; }

  void check(cufftResult result, const char* call) const {
    if (result == CUFFT_SUCCESS) return;
    throw DeviceError(std::string(call) + " returned " + name(result) + " for the transform of " +
                      this->shape().str() + "; use smaller or fewer images, or --device cpu.");
  }

  /// Contiguous images; real images with the half spectrum [H][W/2+1]. Single rows, and single columns of
  /// complex images, are planned as one-dimensional transforms.
  void plan(Handle& handle, cufftType type) {
    const FftShape& s = this->shape();
    const bool column = s.width == 1 && this->kind() == FftKind::complex_to_complex;
    long long sizes[] = {s.height, s.width};
    const int rank = s.height == 1 || column ? 1 : 2;
    std::size_t bytes = 0;
    check(handle.create(), "cufftCreate(&plan)");
    check(cufftSetAutoAllocation(handle.get(), 0), "cufftSetAutoAllocation(plan, 0)");
    check(cufftMakePlanMany64(handle.get(), rank, rank == 1 && !column ? sizes + 1 : sizes, nullptr, 1, 0,
                              nullptr, 1, 0, type, s.n, &bytes),
          "cufftMakePlanMany64(plan, rank, sizes, ...)");
    check(cufftSetStream(handle.get(), static_cast<cudaStream_t>(impl_.stream.queue)),
          "cufftSetStream(plan, stream)");
    work_bytes_ = std::max(work_bytes_, bytes);
  }
  void use_work_area(const Handle& handle) {
    check(cufftSetWorkArea(handle.get(), work_), "cufftSetWorkArea(plan, work)");
  }

  static auto* raw(const Complex* p) {
    return reinterpret_cast<typename Library::Complex*>(const_cast<Complex*>(p));
  }
  void run_complex(Context&, const Complex* in, Complex* out, bool forward) const override {
    check(Library::run_complex(forward_.get(), raw(in), raw(out), forward ? CUFFT_FORWARD : CUFFT_INVERSE),
          Library::complex_call);
  }
  void run_forward_real(Context&, const T* in, Complex* out) const override {
    check(Library::run_forward_real(forward_.get(), const_cast<T*>(in), raw(out)), Library::forward_call);
  }
  void run_inverse_real(Context&, Complex* in, T* out) const override {
    check(Library::run_inverse_real(inverse_.get(), raw(in), out), Library::inverse_call);
  }

  SpectrumOrder order() const override { return {static_cast<std::size_t>(this->spectrum_columns()), 1}; }

  bool real() const { return this->kind() == FftKind::real_to_complex; }
  /// Points of the scratch that holds the spectra, in complex numbers.
  std::size_t spectra() const {
    return static_cast<std::size_t>(this->shape().n) * static_cast<std::size_t>(this->shape().height) *
           static_cast<std::size_t>(this->spectrum_columns());
  }
  /// What pack and unpack take for one component or two.
  kernels::PlanesArgs<T> planes(const kernels::SpectrumArgs<T>& a, const T* in, T* out) const {
    return {a.active, a.shape.n, a.shape.coils, 2, this->shape().points(), 1, in, out};
  }

  void run_spectrum(Context& context, const kernels::SpectrumArgs<T>& batch, const T* in,
                    Complex* out) const override {
    if (real()) {
      this->forward_real(context, in, out);
      return;
    }
    kernel_table<T>(context).pack(stream_of(context), planes(batch, in, reinterpret_cast<T*>(out)));
    this->forward(context, out, out);
  }
  /// Frozen images keep what `out` holds: the inverse transforms, which take the whole batch, go through
  /// scratch.
  void run_filter(Context& context, const T* in, T* out,
                  const kernels::SpectrumArgs<T>& pass) const override {
    Frame frame(context);
    const View<T> spectra_view = frame.view<T>({1, 2, 1, static_cast<int>(spectra())});
    auto* x = reinterpret_cast<Complex*>(spectra_view.device_data());
    run_spectrum(context, pass, in, x);
    kernels::SpectrumArgs<T> in_place = pass;
    in_place.x = spectra_view.device_data();
    kernel_table<T>(context).spectrum(stream_of(context), in_place);
    if (!real()) {
      this->inverse(context, x, x);
      kernel_table<T>(context).unpack(stream_of(context), planes(pass, in_place.x, out));
      return;
    }
    const FftShape& s = this->shape();
    const View<T> result = frame.view<T>({s.n, 1, s.height, s.width});
    this->inverse_real(context, x, result.device_data());
    kernel_table<T>(context).combine(stream_of(context), {pass.active, s.points(), result.device_data(),
                                                          nullptr, 1, 0, nullptr, nullptr, out});
  }

  Context::Impl& impl_;
  Handle forward_, inverse_;  // the complex plan serves both directions
  std::byte* work_ = nullptr;
  std::size_t work_bytes_ = 0;
};

}  // namespace

template <class T>
std::unique_ptr<Fft<T>> make_cuda_fft(Context& context, const FftShape& shape, FftKind kind) {
  return std::make_unique<CudaFft<T>>(context, shape, kind);
}
template std::unique_ptr<Fft<float>> make_cuda_fft<float>(Context&, const FftShape&, FftKind);
template std::unique_ptr<Fft<double>> make_cuda_fft<double>(Context&, const FftShape&, FftKind);

}  // namespace v0
}  // namespace bilevel
