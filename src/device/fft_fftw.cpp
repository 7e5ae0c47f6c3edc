// Fft on the CPU with FFTW3, one image a job. No other file includes fftw3.h.

#include <fftw3.h>

#include <algorithm>
#include <cstdint>
#include <mutex>
#include <string>
#include <utility>

#include "bilevel/core/error.hpp"
#include "device/fft.hpp"
#include "device/library_call.hpp"

namespace bilevel {
inline namespace v0 {
namespace {

/// FFTW's planner and the destruction of its plans are not thread-safe; execution is.
std::mutex& planner_mutex() {
  static std::mutex mutex;
  return mutex;
}

template <class T>
struct Fftw;

template <>
struct Fftw<float> {
  using Plan = fftwf_plan;
  using Complex = fftwf_complex;
  static constexpr auto allocate = fftwf_malloc;
  static constexpr auto release = fftwf_free;
  static constexpr auto alignment_of = fftwf_alignment_of;
  static constexpr auto plan_complex = fftwf_plan_dft_2d;
  static constexpr auto plan_forward_real = fftwf_plan_dft_r2c_2d;
  static constexpr auto plan_inverse_real = fftwf_plan_dft_c2r_2d;
  static constexpr auto run_complex = fftwf_execute_dft;
  static constexpr auto run_forward_real = fftwf_execute_dft_r2c;
  static constexpr auto run_inverse_real = fftwf_execute_dft_c2r;
  static constexpr auto destroy = fftwf_destroy_plan;
};

template <>
struct Fftw<double> {
  using Plan = fftw_plan;
  using Complex = fftw_complex;
  static constexpr auto allocate = fftw_malloc;
  static constexpr auto release = fftw_free;
  static constexpr auto alignment_of = fftw_alignment_of;
  static constexpr auto plan_complex = fftw_plan_dft_2d;
  static constexpr auto plan_forward_real = fftw_plan_dft_r2c_2d;
  static constexpr auto plan_inverse_real = fftw_plan_dft_c2r_2d;
  static constexpr auto run_complex = fftw_execute_dft;
  static constexpr auto run_forward_real = fftw_execute_dft_r2c;
  static constexpr auto run_inverse_real = fftw_execute_dft_c2r;
  static constexpr auto destroy = fftw_destroy_plan;
};

template <class T>
class Plan {
 public:
  Plan() = default;
  explicit Plan(typename Fftw<T>::Plan plan) : plan_(plan) {}
  ~Plan() {
    const std::lock_guard<std::mutex> lock(planner_mutex());
    if (plan_) Fftw<T>::destroy(plan_);
  }
  Plan(Plan&& other) noexcept : plan_(std::exchange(other.plan_, nullptr)) {}
  Plan& operator=(Plan&& other) noexcept {
    std::swap(plan_, other.plan_);
    return *this;
  }
  typename Fftw<T>::Plan get() const { return plan_; }

 private:
  typename Fftw<T>::Plan plan_ = nullptr;
};

/// Aligned memory that the planner needs to tell apart in-place, out-of-place and alignment; with
/// FFTW_ESTIMATE it neither reads nor writes it.
template <class T>
struct Buffer {
  explicit Buffer(std::size_t size) : bytes(size), data(Fftw<T>::allocate(size)) {
    if (!data)
      throw DeviceError("the CPU device cannot allocate " + std::to_string(bytes) +
                        " bytes to plan a Fourier transform; use smaller images.");
  }
  ~Buffer() { Fftw<T>::release(data); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  typename Fftw<T>::Complex* complex() const { return static_cast<typename Fftw<T>::Complex*>(data); }
  T* real() const { return static_cast<T*>(data); }
  const void* end() const { return static_cast<const char*>(data) + bytes; }
  std::size_t bytes;
  void* data;
};

template <class T>
class FftwFft final : public Fft<T> {
 public:
  using Complex = std::complex<T>;
  using Library = Fftw<T>;

  FftwFft(Context& context, const FftShape& shape, FftKind kind) : Fft<T>(context, shape, kind) {
    if (kind == FftKind::complex_to_complex)
      plan_complex();
    else
      plan_real();
  }

 private:
  static auto* raw(const Complex* p) {
    return reinterpret_cast<typename Library::Complex*>(const_cast<Complex*>(p));
  }

  /// FFTW_ESTIMATE plans depend on the shape alone, so the bits repeat. Where an image of odd size would
  /// break the alignment of the next, every image takes the plan for any alignment (1.2 to 2.5 times slower).
  unsigned flags(const Buffer<T>& in, const Buffer<T>& out) {
    aligned_ = alignment(in.end()) == 0 && alignment(out.end()) == 0;
    return aligned_ ? FFTW_ESTIMATE : FFTW_ESTIMATE | FFTW_UNALIGNED;
  }

  void keep(Plan<T>& plan, typename Library::Plan made, const char* call) {
    if (!made)
      throw DeviceError(std::string(call) + " of FFTW has no plan for " + this->shape().str() +
                        "; use other image sizes.");
    plan = Plan<T>(made);
  }

  void plan_complex() {
    const FftShape& s = this->shape();
    const std::size_t bytes = s.points() * sizeof(Complex);
    const Buffer<T> a(bytes), b(bytes);
    const unsigned f = flags(a, b);
    const auto make = [&](const Buffer<T>& in, const Buffer<T>& out, int sign) {
      const std::lock_guard<std::mutex> lock(planner_mutex());
      return Library::plan_complex(s.height, s.width, in.complex(), out.complex(), sign, f);
    };
    keep(forward_, make(a, b, FFTW_FORWARD), "fftw_plan_dft_2d");
    keep(forward_in_place_, make(a, a, FFTW_FORWARD), "fftw_plan_dft_2d");
    keep(inverse_, make(a, b, FFTW_BACKWARD), "fftw_plan_dft_2d");
    keep(inverse_in_place_, make(a, a, FFTW_BACKWARD), "fftw_plan_dft_2d");
  }

  void plan_real() {
    const FftShape& s = this->shape();
    const Buffer<T> x(s.points() * sizeof(T)), spectrum(s.half_points() * sizeof(Complex));
    const unsigned f = flags(x, spectrum);
    const auto forward = [&] {
      const std::lock_guard<std::mutex> lock(planner_mutex());
      return Library::plan_forward_real(s.height, s.width, x.real(), spectrum.complex(), f);
    };
    const auto inverse = [&] {
      const std::lock_guard<std::mutex> lock(planner_mutex());
      return Library::plan_inverse_real(s.height, s.width, spectrum.complex(), x.real(),
                                        f | FFTW_DESTROY_INPUT);
    };
    keep(forward_, forward(), "fftw_plan_dft_r2c_2d");
    keep(inverse_, inverse(), "fftw_plan_dft_c2r_2d");
  }

  /// body(image) for every image, on all threads of the device.
  template <class Body>
  void each_image(Context& context, const void* in, const void* out, const Body& body) const {
    if (aligned_ && (alignment(in) != 0 || alignment(out) != 0))
      throw DeviceError("a Fourier transform of " + this->shape().str() +
                        " was given memory that is not aligned; take it from a Tensor or a Frame.");
    for_each_job(context, this->shape().n, body);
  }
  static int alignment(const void* p) { return Library::alignment_of(static_cast<T*>(const_cast<void*>(p))); }

  void run_complex(Context& context, const Complex* in, Complex* out, bool forward) const override {
    const std::size_t points = this->shape().points();
    const Plan<T>& plan =
        in == out ? (forward ? forward_in_place_ : inverse_in_place_) : (forward ? forward_ : inverse_);
    each_image(context, in, out, [&](std::int64_t image) {
      const auto i = static_cast<std::size_t>(image);
      Library::run_complex(plan.get(), raw(in + i * points), raw(out + i * points));
    });
  }
  void run_forward_real(Context& context, const T* in, Complex* out) const override {
    const std::size_t points = this->shape().points(), half = this->shape().half_points();
    each_image(context, in, out, [&](std::int64_t image) {
      const auto i = static_cast<std::size_t>(image);
      Library::run_forward_real(forward_.get(), const_cast<T*>(in) + i * points, raw(out + i * half));
    });
  }
  void run_inverse_real(Context& context, Complex* in, T* out) const override {
    const std::size_t points = this->shape().points(), half = this->shape().half_points();
    each_image(context, in, out, [&](std::int64_t image) {
      const auto i = static_cast<std::size_t>(image);
      Library::run_inverse_real(inverse_.get(), raw(in + i * half), out + i * points);
    });
  }

  bool aligned_ = false;
  Plan<T> forward_, inverse_, forward_in_place_, inverse_in_place_;
};

}  // namespace

template <class T>
std::unique_ptr<Fft<T>> make_cpu_fft(Context& context, const FftShape& shape, FftKind kind) {
  return std::make_unique<FftwFft<T>>(context, shape, kind);
}
template std::unique_ptr<Fft<float>> make_cpu_fft<float>(Context&, const FftShape&, FftKind);
template std::unique_ptr<Fft<double>> make_cpu_fft<double>(Context&, const FftShape&, FftKind);

}  // namespace v0
}  // namespace bilevel
