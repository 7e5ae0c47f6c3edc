#include "device/fft.hpp"

#include <cmath>

#include "bilevel/core/error.hpp"
#include "device/library_call.hpp"
#include "kernels/spectrum_args.hpp"

namespace bilevel {
inline namespace v0 {

template <class T>
Fft<T>::Fft(Context& context, const FftShape& shape, FftKind kind)
    : context_(&context.impl()), shape_(shape), kind_(kind) {}

template <class T>
double Fft<T>::scale() const {
  return 1 / std::sqrt(static_cast<double>(shape_.points()));
}

template <class T>
void Fft<T>::require(Context& context, FftKind kind, const char* call) const {
  if (kind_ != kind)
    throw ConfigError(std::string(call) + " needs a plan of the kind " +
                      (kind == FftKind::complex_to_complex ? "complex_to_complex" : "real_to_complex") +
                      "; make one for " + shape_.str() + ".");
  if (&context.impl() != context_)
    throw ConfigError(std::string(call) + " of a Fourier transform of " + shape_.str() +
                      " was given another context than it was planned with; plan it for this one.");
}

template <class T>
void Fft<T>::forward(Context& context, const Complex* in, Complex* out) const {
  require(context, FftKind::complex_to_complex, "forward");
  call_library(context, "a Fourier transform", [&] { run_complex(context, in, out, true); });
}
template <class T>
void Fft<T>::inverse(Context& context, const Complex* in, Complex* out) const {
  require(context, FftKind::complex_to_complex, "inverse");
  call_library(context, "a Fourier transform", [&] { run_complex(context, in, out, false); });
}
template <class T>
void Fft<T>::forward_real(Context& context, const T* in, Complex* out) const {
  require(context, FftKind::real_to_complex, "forward_real");
  call_library(context, "a Fourier transform", [&] { run_forward_real(context, in, out); });
}
template <class T>
void Fft<T>::inverse_real(Context& context, Complex* in, T* out) const {
  require(context, FftKind::real_to_complex, "inverse_real");
  call_library(context, "a Fourier transform", [&] { run_inverse_real(context, in, out); });
}

template <class T>
int Fft<T>::spectrum_columns() const {
  return kind_ == FftKind::complex_to_complex ? shape_.width : shape_.width / 2 + 1;
}
template <class T>
void Fft<T>::filter(Context& context, const T* in, T* out, kernels::SpectrumArgs<T> pass) const {
  require(context, kind_, "filter");
  run_filter(context, in, out, pass);
}
template <class T>
void Fft<T>::spectrum(Context& context, const kernels::SpectrumArgs<T>& batch, const T* in,
                      Complex* out) const {
  require(context, kind_, "spectrum");
  run_spectrum(context, batch, in, out);
}

template <class T>
std::unique_ptr<Fft<T>> make_fft(Context& context, const FftShape& shape, FftKind kind) {
  if (shape.n < 1 || shape.height < 1 || shape.width < 1)
    throw ShapeError("a Fourier transform of " + shape.str() + " cannot be: give sizes of at least 1.");
  if (context.device().kind() == DeviceKind::cuda) return make_library_fft<T>(context, shape, kind);
  return make_cpu_fft<T>(context, shape, kind);
}

template class Fft<float>;
template class Fft<double>;
template std::unique_ptr<Fft<float>> make_fft<float>(Context&, const FftShape&, FftKind);
template std::unique_ptr<Fft<double>> make_fft<double>(Context&, const FftShape&, FftKind);

}  // namespace v0
}  // namespace bilevel
