// Fft on the CPU with FFTW3: contiguous transforms of rows, and of columns gathered in blocks. No other file
// includes fftw3.h.

#include <fftw3.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <mutex>
#include <new>
#include <string>
#include <type_traits>
#include <utility>

#include "bilevel/core/error.hpp"
#include "device/fft.hpp"
#include "device/library_call.hpp"
#include "kernels/spectrum_args.hpp"

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
  static constexpr auto alignment_of = fftwf_alignment_of;
  static constexpr auto plan_complex = fftwf_plan_dft_1d;
  static constexpr auto plan_forward_real = fftwf_plan_dft_r2c_1d;
  static constexpr auto plan_inverse_real = fftwf_plan_dft_c2r_1d;
  static constexpr auto run_complex = fftwf_execute_dft;
  static constexpr auto run_forward_real = fftwf_execute_dft_r2c;
  static constexpr auto run_inverse_real = fftwf_execute_dft_c2r;
  static constexpr auto destroy = fftwf_destroy_plan;
};

template <>
struct Fftw<double> {
  using Plan = fftw_plan;
  using Complex = fftw_complex;
  static constexpr auto alignment_of = fftw_alignment_of;
  static constexpr auto plan_complex = fftw_plan_dft_1d;
  static constexpr auto plan_forward_real = fftw_plan_dft_r2c_1d;
  static constexpr auto plan_inverse_real = fftw_plan_dft_c2r_1d;
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
    if (!plan_) return;
    const std::lock_guard<std::mutex> lock(planner_mutex());
    Fftw<T>::destroy(plan_);
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

constexpr std::size_t cache_line = 64;

/// Two aligned arrays for each thread of the device, allocated with the plan. A job leases a pair.
template <class T>
class Workspace {
 public:
  using Complex = std::complex<T>;

  Workspace(int threads, std::size_t size) : threads_(threads), size_(size), busy_(new Busy[threads]) {
    const std::size_t bytes = 2 * size * threads * sizeof(Complex);
    data_ = static_cast<Complex*>(::operator new(bytes, std::align_val_t(cache_line), std::nothrow));
    if (!data_)
      throw DeviceError("the CPU device cannot allocate " + std::to_string(bytes) +
                        " bytes for a Fourier transform; use smaller images.");
  }
  ~Workspace() { ::operator delete(data_, std::align_val_t(cache_line)); }
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;

  class Lease {
   public:
    explicit Lease(Workspace& all) : all_(all) {
      while (all.busy_[slot_].flag.exchange(true, std::memory_order_acquire))
        slot_ = (slot_ + 1) % all.threads_;
    }
    ~Lease() { all_.busy_[slot_].flag.store(false, std::memory_order_release); }
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    std::size_t slot() const { return static_cast<std::size_t>(slot_); }
    Complex* first() const { return all_.data_ + 2 * all_.size_ * slot_; }
    Complex* second() const { return first() + all_.size_; }

   private:
    Workspace& all_;
    int slot_ = 0;
  };

 private:
  struct alignas(cache_line) Busy {
    std::atomic<bool> flag{false};
  };
  int threads_;
  std::size_t size_;
  std::unique_ptr<Busy[]> busy_;
  Complex* data_ = nullptr;
};

/// Rows and columns of every image pass through the same plans over aligned contiguous memory, whichever
/// thread takes them and however they are shared out. FFTW_ESTIMATE plans depend on the length alone, so the
/// bits repeat; FFTW's own two-dimensional ones walk the columns at the stride of a row, up to 20 times
/// slower where that is a multiple of a large power of 2.
template <class T>
class FftwFft final : public Fft<T> {
 public:
  using Complex = std::complex<T>;
  using Library = Fftw<T>;
  using Lease = typename Workspace<T>::Lease;

  FftwFft(Context& context, const FftShape& shape, FftKind kind)
      : Fft<T>(context, shape, kind),
        threads_(context.device().threads()),
        stride_(((static_cast<std::size_t>(shape.height) / line + 1) | 1) * line),
        work_(threads_,
              std::max(block * stride_, (static_cast<std::size_t>(shape.width) / line + 1) * line)) {
    const Lease lease(work_);
    auto *in = raw(lease.first()), *out = raw(lease.second());
    const auto make = [&](Plan<T>& plan, const char* call, const auto& planner) {
      typename Library::Plan made = nullptr;
      {
        const std::lock_guard<std::mutex> lock(planner_mutex());
        made = planner();
      }
      if (!made)
        throw DeviceError(std::string(call) + " of FFTW has no plan for " + shape.str() +
                          "; use other image sizes.");
      plan = Plan<T>(made);
    };
    const auto make_complex = [&](Plan<T>& plan, int length, int sign) {
      make(plan, "fftw_plan_dft_1d",
           [&] { return Library::plan_complex(length, in, out, sign, FFTW_ESTIMATE); });
    };
    make_complex(column_forward_, shape.height, FFTW_FORWARD);
    make_complex(column_inverse_, shape.height, FFTW_BACKWARD);
    if (kind == FftKind::complex_to_complex) {
      make_complex(row_forward_, shape.width, FFTW_FORWARD);
      make_complex(row_inverse_, shape.width, FFTW_BACKWARD);
      return;
    }
    make(row_forward_, "fftw_plan_dft_r2c_1d",
         [&] { return Library::plan_forward_real(shape.width, real(lease.first()), out, FFTW_ESTIMATE); });
    make(row_inverse_, "fftw_plan_dft_c2r_1d", [&] {
      return Library::plan_inverse_real(shape.width, in, real(lease.second()),
                                        FFTW_ESTIMATE | FFTW_DESTROY_INPUT);
    });
  }

 private:
  /// Columns that are transformed together, two cache lines of each row.
  static constexpr std::size_t line = cache_line / sizeof(Complex), block = 2 * line;
  /// Points of a band of rows or columns, about 10 microseconds of work.
  static constexpr std::size_t band_points = 8192;

  static auto* raw(const Complex* p) {
    return reinterpret_cast<typename Library::Complex*>(const_cast<Complex*>(p));
  }
  static T* real(Complex* p) { return reinterpret_cast<T*>(p); }
  static bool aligned(const void* p) {
    return Library::alignment_of(static_cast<T*>(const_cast<void*>(p))) == 0;
  }

  std::size_t height() const { return static_cast<std::size_t>(this->shape().height); }
  std::size_t width() const { return static_cast<std::size_t>(this->shape().width); }

  /// run(source, target) transforms one row of `length_in` values to `length_out`, through the lease where
  /// the row is not aligned or transformed in place.
  template <class In, class Out, class Run>
  static void row(const Lease& lease, In* in, std::size_t length_in, Out* out, std::size_t length_out,
                  const Run& run) {
    In* source = in;
    Out* target = out;
    if (!aligned(in)) source = std::copy_n(in, length_in, reinterpret_cast<In*>(lease.first())) - length_in;
    if (!aligned(out) || static_cast<void*>(in) == static_cast<void*>(out))
      target = reinterpret_cast<Out*>(lease.second());
    run(source, target);
    if (target != out) std::copy_n(target, length_out, out);
  }

  /// Columns [begin, end) of one image of `pitch` columns, in place: blocks gathered into contiguous columns
  /// `stride_` apart, an odd number of cache lines, and scattered back. Two passes over the image.
  void columns(const Lease& lease, const Plan<T>& plan, Complex* x, std::size_t pitch, std::size_t begin,
               std::size_t end) const {
    if (height() == 1) return;
    for (std::size_t q = begin; q < end; q += block) {
      const std::size_t count = std::min(block, end - q);
      const auto move = [&](auto n) {
        gather(x + q, pitch, lease.first(), n);
        for (std::size_t c = 0; c < n; ++c)
          Library::run_complex(plan.get(), raw(lease.first() + c * stride_),
                               raw(lease.second() + c * stride_));
        scatter(lease.second(), x + q, pitch, n);
      };
      if (count == block)
        move(std::integral_constant<std::size_t, block>());  // unrolls the loops over a whole block
      else
        move(count);
    }
  }
  template <class Count>
  void gather(const Complex* x, std::size_t pitch, Complex* lines, Count n) const {
    const std::size_t rows = height();
    for (std::size_t p = 0; p < rows; ++p)
      for (std::size_t c = 0; c < n; ++c) lines[c * stride_ + p] = x[p * pitch + c];
  }
  template <class Count>
  void scatter(const Complex* lines, Complex* x, std::size_t pitch, Count n) const {
    const std::size_t rows = height();
    for (std::size_t p = 0; p < rows; ++p)
      for (std::size_t c = 0; c < n; ++c) x[p * pitch + c] = lines[c * stride_ + p];
  }

  /// body(lease, image, begin, end) transforms `count` rows or columns of an image, of `points` points each;
  /// a job takes a multiple of `granule` of them.
  template <class Body>
  struct Step {
    std::size_t count, granule, points;
    Body body;
  };
  template <class Body>
  Step<Body> rows_step(const Body& body) const {
    return {height(), 1, width(), body};
  }
  template <class Body>
  Step<Body> columns_step(std::size_t count, const Body& body) const {
    return {count, block, height(), body};
  }

  /// The first step and then the second of every image: an image a job where that keeps the threads busy
  /// (the image stays in their caches), and otherwise bands of images.
  template <class First, class Second>
  void run(Context& context, const Step<First>& first, const Step<Second>& second) const {
    const int images = this->shape().n;
    if (images % threads_ != 0 && images < 4 * threads_) {
      spread(context, first);
      spread(context, second);
      return;
    }
    for_each_job(context, images, [&](std::int64_t job) {
      const Lease lease(work_);
      const auto image = static_cast<std::size_t>(job);
      first.body(lease, image, 0, first.count);
      second.body(lease, image, 0, second.count);
    });
  }
  template <class Body>
  void spread(Context& context, const Step<Body>& step) const {
    const std::size_t granules = (step.count + step.granule - 1) / step.granule;
    const std::size_t bands = std::clamp<std::size_t>(step.count * step.points / band_points, 1, granules);
    const auto images = static_cast<std::size_t>(this->shape().n);
    for_each_job(context, static_cast<std::int64_t>(images * bands), [&](std::int64_t job) {
      const std::size_t image = static_cast<std::size_t>(job) / bands;
      const std::size_t band = static_cast<std::size_t>(job) % bands;
      const Lease lease(work_);
      step.body(lease, image, granules * band / bands * step.granule,
                std::min(step.count, granules * (band + 1) / bands * step.granule));
    });
  }

  void run_complex(Context& context, const Complex* in, Complex* out, bool forward) const override {
    const std::size_t h = height(), w = width();
    const Plan<T>&row_plan = forward ? row_forward_ : row_inverse_,
          &column_plan = forward ? column_forward_ : column_inverse_;
    const auto rows = [&](const Lease& lease, std::size_t image, std::size_t begin, std::size_t end) {
      for (std::size_t p = image * h + begin; p < image * h + end; ++p)
        row(lease, const_cast<Complex*>(in) + p * w, w, out + p * w, w,
            [&](Complex* from, Complex* to) { Library::run_complex(row_plan.get(), raw(from), raw(to)); });
    };
    const auto cols = [&](const Lease& lease, std::size_t image, std::size_t begin, std::size_t end) {
      columns(lease, column_plan, out + image * h * w, w, begin, end);
    };
    run(context, rows_step(rows), columns_step(w, cols));
  }
  void run_forward_real(Context& context, const T* in, Complex* out) const override {
    const std::size_t h = height(), w = width(), half = w / 2 + 1;
    const auto rows = [&](const Lease& lease, std::size_t image, std::size_t begin, std::size_t end) {
      for (std::size_t p = image * h + begin; p < image * h + end; ++p)
        row(lease, const_cast<T*>(in) + p * w, w, out + p * half, half,
            [&](T* from, Complex* to) { Library::run_forward_real(row_forward_.get(), from, raw(to)); });
    };
    const auto cols = [&](const Lease& lease, std::size_t image, std::size_t begin, std::size_t end) {
      columns(lease, column_forward_, out + image * h * half, half, begin, end);
    };
    run(context, rows_step(rows), columns_step(half, cols));
  }
  void run_inverse_real(Context& context, Complex* in, T* out) const override {
    const std::size_t h = height(), w = width(), half = w / 2 + 1;
    const auto cols = [&](const Lease& lease, std::size_t image, std::size_t begin, std::size_t end) {
      columns(lease, column_inverse_, in + image * h * half, half, begin, end);
    };
    const auto rows = [&](const Lease& lease, std::size_t image, std::size_t begin, std::size_t end) {
      for (std::size_t p = image * h + begin; p < image * h + end; ++p)
        row(lease, in + p * half, half, out + p * w, w,
            [&](Complex* from, T* to) { Library::run_inverse_real(row_inverse_.get(), raw(from), to); });
    };
    run(context, columns_step(half, cols), rows_step(rows));
  }

  SpectrumOrder order() const override { return {1, height()}; }

  bool is_real() const { return this->kind() == FftKind::real_to_complex; }
  std::size_t stored() const { return static_cast<std::size_t>(this->spectrum_columns()); }

  /// Rows [begin, end) of planar array `array`, transformed forward into the rows of `x`, row by row.
  void rows_forward(const Lease& lease, const T* in, std::size_t array, Complex* x, std::size_t begin,
                    std::size_t end) const {
    const std::size_t h = height(), w = width();
    for (std::size_t p = begin; p < end; ++p) {
      Complex* target = x + p * stored();
      if (is_real()) {
        row(lease, const_cast<T*>(in) + (array * h + p) * w, w, target, stored(),
            [&](T* from, Complex* to) { Library::run_forward_real(row_forward_.get(), from, raw(to)); });
        continue;
      }
      const T *re = in + (2 * array * h + p) * w, *im = re + h * w;
      T* packed = real(lease.first());
#pragma GCC ivdep
      for (std::size_t c = 0; c < w; ++c) {
        packed[2 * c] = re[c];
        packed[2 * c + 1] = im[c];
      }
      Complex* out = aligned(target) ? target : lease.second();
      Library::run_complex(row_forward_.get(), raw(lease.first()), raw(out));
      if (out != target) std::copy_n(out, w, target);
    }
  }
  void rows_inverse(const Lease& lease, Complex* x, std::size_t array, T* out, std::size_t begin,
                    std::size_t end) const {
    const std::size_t h = height(), w = width();
    for (std::size_t p = begin; p < end; ++p) {
      Complex* source = x + p * stored();
      if (is_real()) {
        row(lease, source, stored(), out + (array * h + p) * w, w,
            [&](Complex* from, T* to) { Library::run_inverse_real(row_inverse_.get(), raw(from), to); });
        continue;
      }
      if (!aligned(source)) source = std::copy_n(source, w, lease.first()) - w;
      Library::run_complex(row_inverse_.get(), raw(source), raw(lease.second()));
      const T* packed = real(lease.second());
      T *re = out + (2 * array * h + p) * w, *im = re + h * w;
#pragma GCC ivdep
      for (std::size_t c = 0; c < w; ++c) {
        re[c] = packed[2 * c];
        im[c] = packed[2 * c + 1];
      }
    }
  }
  /// Blocks of columns [begin, end) of `x` gathered and transformed; visit(q, count, lines) gets columns q..
  /// as lines `stride_` apart.
  template <class Visit>
  void columns_forward(const Lease& lease, const Complex* x, std::size_t begin, std::size_t end,
                       const Visit& visit) const {
    for (std::size_t q = begin; q < end; q += block) {
      const std::size_t count = std::min(block, end - q);
      if (count == block)
        gather(x + q, stored(), lease.first(), std::integral_constant<std::size_t, block>());
      else
        gather(x + q, stored(), lease.first(), count);
      for (std::size_t c = 0; c < count; ++c)
        Library::run_complex(column_forward_.get(), raw(lease.first() + c * stride_),
                             raw(lease.second() + c * stride_));
      visit(q, count);
    }
  }

  /// Job j of the launch works on this image and coil, or on nothing when the image is frozen.
  static bool locate(const kernels::SpectrumArgs<T>& a, std::int64_t slot, int& image, int& coil) {
    image = a.active.index[slot / a.shape.coils];
    coil = static_cast<int>(slot % a.shape.coils);
    return a.active.mask[image] != 0;
  }

  /// A spectrum a job; its scratch is then that of the lease, which stays in a thread's cache.
  bool whole_spectra(const kernels::SpectrumArgs<T>& a) const {
    const std::int64_t slots = static_cast<std::int64_t>(a.active.count) * a.shape.coils;
    return slots % threads_ == 0 || slots >= 4 * threads_;
  }

  /// steps(lease, image, coil, begin, end) in turn over the active spectra: a spectrum a job where that keeps
  /// the threads busy (it stays in their caches), and otherwise bands, of rows or columns in turn.
  template <class... Steps>
  void run_spectra(Context& context, const kernels::SpectrumArgs<T>& a, const Steps&... steps) const {
    const std::int64_t slots = static_cast<std::int64_t>(a.active.count) * a.shape.coils;
    if (whole_spectra(a)) {
      for_each_job(context, slots, [&](std::int64_t slot) {
        int image = 0, coil = 0;
        if (!locate(a, slot, image, coil)) return;
        const Lease lease(work_);
        (steps.body(lease, image, coil, std::size_t{0}, steps.count), ...);
      });
      return;
    }
    const auto in_bands = [&](const auto& step) {
      const std::size_t granules = (step.count + step.granule - 1) / step.granule;
      const std::size_t bands = std::clamp<std::size_t>(step.count * step.points / band_points, 1, granules);
      for_each_job(context, slots * static_cast<std::int64_t>(bands), [&](std::int64_t job) {
        int image = 0, coil = 0;
        if (!locate(a, job / static_cast<std::int64_t>(bands), image, coil)) return;
        const std::size_t band = static_cast<std::size_t>(job) % bands;
        const Lease lease(work_);
        step.body(lease, image, coil, granules * band / bands * step.granule,
                  std::min(step.count, granules * (band + 1) / bands * step.granule));
      });
    };
    (in_bands(steps), ...);
  }

  void run_filter(Context& context, const T* in, T* out,
                  const kernels::SpectrumArgs<T>& pass) const override {
    constexpr int sums = 3;
    const std::size_t h = height(), size = h * stored(), spectra = static_cast<std::size_t>(this->shape().n);
    const bool counted = pass.pass == kernels::SpectrumPass::gradient;
    Frame frame(context);
    const View<T> scratch =
        frame.view<T>({static_cast<int>(std::max(spectra, static_cast<std::size_t>(threads_))), 2, 1,
                       static_cast<int>(size)});
    auto* x = reinterpret_cast<Complex*>(scratch.device_data());
    double* partials =
        counted ? frame.view<double>({static_cast<int>(spectra), 1, static_cast<int>(stored()), sums})
                      .device_data()
                : nullptr;
    const auto array = [&](int image, int coil) {
      return static_cast<std::size_t>(image) * static_cast<std::size_t>(pass.shape.coils) +
             static_cast<std::size_t>(coil);
    };
    const bool whole = whole_spectra(pass);
    const auto place = [&](const Lease& lease, int image, int coil) {
      return whole ? lease.slot() : array(image, coil);
    };
    const auto forward = [&](const Lease& lease, int image, int coil, std::size_t begin, std::size_t end) {
      rows_forward(lease, in, array(image, coil), x + place(lease, image, coil) * size, begin, end);
    };
    const auto between = [&](const Lease& lease, int image, int coil, std::size_t begin, std::size_t end) {
      Complex* spectrum = x + place(lease, image, coil) * size;
      columns_forward(lease, spectrum, begin, end, [&](std::size_t q, std::size_t count) {
        for (std::size_t c = 0; c < count; ++c) {
          double* partial = counted ? partials + (array(image, coil) * stored() + q + c) * sums : nullptr;
          if (counted) std::fill_n(partial, sums, 0.0);
          Complex* column = lease.second() + c * stride_;
          kernel_table<T>(context).host.spectrum_range(pass, image, coil, static_cast<int>((q + c) * h),
                                                       static_cast<int>(h), real(column), partial);
          Library::run_complex(column_inverse_.get(), raw(column), raw(lease.first() + c * stride_));
        }
        if (count == block)
          scatter(lease.first(), spectrum + q, stored(), std::integral_constant<std::size_t, block>());
        else
          scatter(lease.first(), spectrum + q, stored(), count);
      });
    };
    const auto inverse = [&](const Lease& lease, int image, int coil, std::size_t begin, std::size_t end) {
      rows_inverse(lease, x + place(lease, image, coil) * size, array(image, coil), out, begin, end);
    };
    call_library(context, "a Fourier transform", [&] {
      run_spectra(context, pass, rows_step(forward), columns_step(stored(), between), rows_step(inverse));
      if (counted) finish_sums(context, pass, partials);
    });
  }
  /// Adds the sums of the columns in their order.
  void finish_sums(Context& context, const kernels::SpectrumArgs<T>& pass, const double* partials) const {
    constexpr std::size_t sums = 3;
    for (std::int64_t slot = 0; slot < static_cast<std::int64_t>(pass.active.count) * pass.shape.coils;
         ++slot) {
      int image = 0, coil = 0;
      if (!locate(pass, slot, image, coil)) continue;
      const double* p =
          partials + static_cast<std::size_t>(image * pass.shape.coils + coil) * stored() * sums;
      double total[sums] = {};
      for (std::size_t e = 0; e < stored() * sums; ++e) total[e % sums] += p[e];
      kernel_table<T>(context).host.spectrum_finish(pass, image, coil, total);
    }
  }

  void run_spectrum(Context& context, const kernels::SpectrumArgs<T>& batch, const T* in,
                    Complex* out) const override {
    const std::size_t h = height(), size = h * stored(), spectra = static_cast<std::size_t>(this->shape().n);
    Frame frame(context);
    const View<T> scratch = frame.view<T>({static_cast<int>(spectra), 2, 1, static_cast<int>(size)});
    auto* x = reinterpret_cast<Complex*>(scratch.device_data());
    const auto array = [&](int image, int coil) {
      return static_cast<std::size_t>(image) * static_cast<std::size_t>(batch.shape.coils) +
             static_cast<std::size_t>(coil);
    };
    const auto forward = [&](const Lease& lease, int image, int coil, std::size_t begin, std::size_t end) {
      rows_forward(lease, in, array(image, coil), x + array(image, coil) * size, begin, end);
    };
    const auto store = [&](const Lease& lease, int image, int coil, std::size_t begin, std::size_t end) {
      columns_forward(
          lease, x + array(image, coil) * size, begin, end, [&](std::size_t q, std::size_t count) {
            for (std::size_t c = 0; c < count; ++c)
              std::copy_n(lease.second() + c * stride_, h, out + array(image, coil) * size + (q + c) * h);
          });
    };
    call_library(context, "a Fourier transform",
                 [&] { run_spectra(context, batch, rows_step(forward), columns_step(stored(), store)); });
  }

  int threads_;
  std::size_t stride_;
  mutable Workspace<T> work_;
  Plan<T> row_forward_, row_inverse_, column_forward_, column_inverse_;
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
