// Fft over the plans of a device library. What cuFFT has no passes for runs as kernels between its
// transforms.

#include "device/cuda_module.hpp"
#include "device/library_call.hpp"
#include "kernels/krylov_args.hpp"
#include "kernels/spectrum_args.hpp"

namespace bilevel {
inline namespace v0 {
namespace {

template <class T>
class LibraryFft final : public Fft<T> {
 public:
  using Complex = std::complex<T>;

  LibraryFft(Context& context, const FftShape& shape, FftKind kind)
      : Fft<T>(context, shape, kind),
        impl_(context.impl()),
        library_(cuda_plans<T>().fft(impl_.device.impl(), impl_.stream.queue, shape, kind)),
        work_(impl_.allocate(library_->work_bytes())) {
    try {
      library_->use_work_area(work_);
    } catch (...) {
      impl_.release(work_, library_->work_bytes());
      throw;
    }
  }
  ~LibraryFft() override { impl_.release(work_, library_->work_bytes()); }

 private:
  void run_complex(Context&, const Complex* in, Complex* out, bool forward) const override {
    library_->complex(in, out, forward);
  }
  void run_forward_real(Context&, const T* in, Complex* out) const override {
    library_->forward_real(in, out);
  }
  void run_inverse_real(Context&, Complex* in, T* out) const override { library_->inverse_real(in, out); }

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
    const auto coils = static_cast<std::size_t>(pass.shape.coils);
    const View<T> result = frame.view<T>({s.n, 1, s.height, s.width});
    this->inverse_real(context, x, result.device_data());
    kernel_table<T>(context).combine(
        stream_of(context),
        {pass.active, coils * s.points(), result.device_data(), nullptr, 1, 0, nullptr, nullptr, out});
  }

  Context::Impl& impl_;
  std::unique_ptr<FftLibrary<T>> library_;
  std::byte* work_;
};

}  // namespace

template <class T>
std::unique_ptr<Fft<T>> make_library_fft(Context& context, const FftShape& shape, FftKind kind) {
  return std::make_unique<LibraryFft<T>>(context, shape, kind);
}
template std::unique_ptr<Fft<float>> make_library_fft(Context&, const FftShape&, FftKind);
template std::unique_ptr<Fft<double>> make_library_fft(Context&, const FftShape&, FftKind);

}  // namespace v0
}  // namespace bilevel
