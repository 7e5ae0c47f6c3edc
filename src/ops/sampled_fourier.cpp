#include "ops/sampled_fourier.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "bilevel/core/error.hpp"
#include "device/backend.hpp"

namespace bilevel {
inline namespace v0 {
namespace {

template <class T>
std::complex<T>* complex_data(View<T> v) {
  return reinterpret_cast<std::complex<T>*>(v.device_data());
}

}  // namespace

template <class T>
SampledFourier<T>::SampledFourier(Context& context, const Shape& images, const CoilMaps& maps)
    : images_(images) {
  if (images.n < 1 || images.h < 1 || images.w < 1 || images.c < 1 || images.c > 2)
    throw ShapeError("magnetic resonance images are [N,1,H,W] (real) or [N,2,H,W] (complex), not " +
                     images.str() + ".");
  if (maps.coils < 1 || (maps.values.empty() && maps.coils != 1))
    throw ShapeError(std::to_string(maps.coils) +
                     " coils need sensitivity maps [coils,H,W]; without maps there is one coil.");
  const std::size_t points = frequencies();
  const auto coils = static_cast<std::size_t>(maps.coils);
  if (!maps.values.empty() && maps.values.size() != coils * points)
    throw ShapeError("the sensitivity maps hold " + std::to_string(maps.values.size()) + " values, " +
                     std::to_string(maps.coils) + " coils of " + std::to_string(images.h) + "x" +
                     std::to_string(images.w) + " pixels have " + std::to_string(coils * points) + ".");
  constexpr std::size_t most = std::numeric_limits<int>::max();
  if (images.image() > most / 4 / coils || static_cast<std::size_t>(images.n) > most / coils)
    throw ShapeError("images of shape " + images.str() + " with " + std::to_string(maps.coils) +
                     " coils have too many values.");
  const bool real = images.c == 1 && maps.values.empty();
  const FftShape batch{images.n * maps.coils, images.h, images.w};
  fft_ = make_fft<T>(context, batch, real ? FftKind::real_to_complex : FftKind::complex_to_complex);
  if (real) plain_ = make_fft<T>(context, batch, FftKind::complex_to_complex);
  order_ = fft_->order();
  shape_ = {images.n,
            maps.coils,
            images.h,
            fft_->spectrum_columns(),
            images.w,
            real,
            order_.row == 1 && images.h > 1};
  if (!maps.values.empty()) {
    std::vector<T> planes(2 * coils * points), power(points);
    least_power_ = std::numeric_limits<double>::infinity();
    most_power_ = 0;
    for (std::size_t p = 0; p < points; ++p) {
      double sum = 0;
      for (std::size_t c = 0; c < coils; ++c) {
        const std::complex<double> s = maps.values[c * points + p];
        const T re = static_cast<T>(s.real()), im = static_cast<T>(s.imag());
        planes[2 * c * points + p] = re;
        planes[(2 * c + 1) * points + p] = im;
        // of the maps as given, whose rounding is that of the operator; without end where T cannot hold them
        sum +=
            std::isfinite(re) && std::isfinite(im) ? std::norm(s) : std::numeric_limits<double>::infinity();
      }
      if (!std::isfinite(sum)) throw ConfigError("the sensitivity maps hold values that are not finite.");
      power[p] = static_cast<T>(sum);
      least_power_ = std::min(least_power_, sum * (1 - 1e-14));
      most_power_ = std::max(most_power_, sum * (1 + 1e-14));
    }
    maps_ = Tensor<T>(context, {maps.coils, 2, images.h, images.w}, planes);
    power_ = Tensor<T>(context, {1, 1, images.h, images.w}, power);
  }
  const int size = static_cast<int>(shape_.size());
  weight_ = Tensor<T>(context, {static_cast<int>(channels()), 1, 1, size});
  mean_ = Tensor<T>(context, {1, 1, 1, size});
  direction_ = Tensor<T>(context, {static_cast<int>(channels()), 1, 1, size});
  set_weights(context, std::vector<double>(points, 1.0));
}

template <class T>
template <class F>
void SampledFourier<T>::places(int k, int l, const F& visit) const {
  const auto at = [&](int row, int column) {
    return static_cast<std::size_t>(row) * order_.row + static_cast<std::size_t>(column) * order_.column;
  };
  if (l < shape_.columns) visit(at(k, l), false);
  if (!shape_.pair) return;
  const int row = (shape_.height - k) % shape_.height, column = (shape_.width - l) % shape_.width;
  if (column < shape_.columns) visit(shape_.size() + at(row, column), true);
}

template <class T>
std::vector<T> SampledFourier<T>::ordered(std::span<const double> w) const {
  std::vector<T> out(rows());
  for (int k = 0; k < shape_.height; ++k)
    for (int l = 0; l < shape_.width; ++l)
      places(k, l, [&](std::size_t place, bool) {
        out[place] = static_cast<T>(w[static_cast<std::size_t>(k) * static_cast<std::size_t>(shape_.width) +
                                      static_cast<std::size_t>(l)]);
      });
  return out;
}

template <class T>
void SampledFourier<T>::set_weights(Context& context, std::span<const double> w) {
  const std::vector<T> weights = ordered(w);
  std::vector<T> mean(weights.begin(), weights.begin() + static_cast<std::ptrdiff_t>(shape_.size()));
  if (shape_.pair)
    for (std::size_t e = 0; e < mean.size(); ++e) mean[e] = T(0.5) * (mean[e] + weights[mean.size() + e]);
  weight_.upload(context, weights);
  mean_.upload(context, mean);
  mean_weight_ = 0;
  for (double e : w) mean_weight_ += e / static_cast<double>(w.size());
}

template <class T>
void SampledFourier<T>::set_direction(Context& context, std::span<const double> w) const {
  direction_.upload(context, ordered(w));
}

template <class T>
Tensor<T> SampledFourier<T>::upload_data(Context& context, std::span<const std::complex<T>> kspace) const {
  const std::size_t points = frequencies(),
                    spectra = static_cast<std::size_t>(images_.n) * static_cast<std::size_t>(coils());
  std::vector<T> values(2 * spectra * rows());
  for (std::size_t s = 0; s < spectra; ++s)
    for (int k = 0; k < shape_.height; ++k)
      for (int l = 0; l < shape_.width; ++l) {
        const std::complex<T> y =
            kspace[s * points + static_cast<std::size_t>(k) * static_cast<std::size_t>(shape_.width) +
                   static_cast<std::size_t>(l)];
        places(k, l, [&](std::size_t place, bool conjugated) {
          values[2 * (s * rows() + place)] = y.real();
          values[2 * (s * rows() + place) + 1] = conjugated ? -y.imag() : y.imag();
        });
      }
  return Tensor<T>(
      context, {static_cast<int>(spectra), static_cast<int>(channels()), 2, static_cast<int>(shape_.size())},
      values);
}

template <class T>
View<const T> SampledFourier<T>::coil_images(Context& context, Frame& frame, View<const T> x) const {
  if (!has_maps()) return x;
  const View<T> z = frame.view<T>({images_.n * coils(), 2, images_.h, images_.w});
  kernel_table<T>(context).coil_expand(stream_of(context), {{},
                                                            images_.n,
                                                            coils(),
                                                            images_.c,
                                                            frequencies(),
                                                            maps_.view().device_data(),
                                                            x.device_data(),
                                                            z.device_data()});
  return z;
}

template <class T>
void SampledFourier<T>::filter(Context& context, const Active& active, View<const T> x, View<T> out,
                               kernels::SpectrumArgs<T> pass) const {
  pass.shape = shape_;
  pass.active = active;
  pass.scale = fft_->scale();
  if (!has_maps()) {
    fft_->filter(context, x.device_data(), out.device_data(), pass);
    return;
  }
  Frame frame(context);
  const View<const T> z = coil_images(context, frame, x);
  T* filtered = const_cast<T*>(z.device_data());
  fft_->filter(context, filtered, filtered, pass);
  kernel_table<T>(context).coil_combine(
      stream_of(context), {active, images_.n, coils(), images_.c, frequencies(), maps_.view().device_data(),
                           filtered, out.device_data()});
}

template <class T>
void SampledFourier<T>::gradient(Context& context, const Active& active, View<const T> x,
                                 const Tensor<T>& data, View<T> out, View<double> sums) const {
  kernels::SpectrumArgs<T> pass;
  pass.pass = kernels::SpectrumPass::gradient;
  pass.weight = weight_.view().device_data();
  pass.data = data.view().device_data();
  pass.sums = sums.device_data();
  filter(context, active, x, out, pass);
}

template <class T>
void SampledFourier<T>::weigh(Context& context, const Active& active, View<const T> x, const Tensor<T>& data,
                              View<T> out) const {
  kernels::SpectrumArgs<T> pass;
  pass.pass = kernels::SpectrumPass::weigh;
  pass.weight = std::as_const(direction_).view().device_data();
  pass.data = data.view().device_data();
  filter(context, active, x, out, pass);
}

template <class T>
void SampledFourier<T>::dual_step(Context& context, const Active& active, View<const T> x,
                                  const Tensor<T>& data, double inverse_step, T* u, View<T> out) const {
  kernels::SpectrumArgs<T> pass;
  pass.pass = kernels::SpectrumPass::dual;
  pass.weight = weight_.view().device_data();
  pass.data = data.view().device_data();
  pass.inverse_step = inverse_step;
  pass.dual = u;
  filter(context, active, x, out, pass);
}

template <class T>
void SampledFourier<T>::normal(Context& context, const Active& active, View<const T> x, View<T> out) const {
  kernels::SpectrumArgs<T> pass;
  pass.weight = mean_.view().device_data();
  filter(context, active, x, out, pass);
}

template <class T>
void SampledFourier<T>::spectra(Context& context, const Active& active, View<const T> x, View<T> out) const {
  kernels::SpectrumArgs<T> batch;
  batch.shape = shape_;
  batch.active = active;
  Frame frame(context);
  fft_->spectrum(context, batch, coil_images(context, frame, x).device_data(), complex_data(out));
}

template <class T>
void SampledFourier<T>::mixed(Context& context, const Active& active, View<const T> x, View<const T> q,
                              const Tensor<T>& data, bool powers, View<double> out) const {
  Frame frame(context);
  const Shape spectrum{images_.n * coils(), 2, 1, static_cast<int>(shape_.size())};
  const View<T> fx = frame.view<T>(spectrum), fq = frame.view<T>(spectrum);
  spectra(context, active, x, fx);
  spectra(context, active, q, fq);
  kernel_table<T>(context).spectrum_mixed(
      stream_of(context), {shape_, active, powers, fft_->scale(), fx.device_data(), fq.device_data(),
                           data.view().device_data(), out.device_data()});
}

template <class T>
std::vector<double> SampledFourier<T>::to_frequencies(std::span<const double> rows, std::size_t image) const {
  std::vector<double> out(frequencies());
  const auto n = static_cast<std::size_t>(images_.n);
  for (int k = 0; k < shape_.height; ++k)
    for (int l = 0; l < shape_.width; ++l)
      places(k, l, [&](std::size_t place, bool) {
        out[static_cast<std::size_t>(k) * static_cast<std::size_t>(shape_.width) +
            static_cast<std::size_t>(l)] = rows[place * n + image];
      });
  return out;
}

template <class T>
void SampledFourier<T>::analyse(Context& context, const Active& active, View<const T> x, View<const T> s,
                                View<T> kspace) const {
  Frame frame(context);
  const Fft<T>& fft = plain_ ? *plain_ : *fft_;
  const View<const T> z = coil_images(context, frame, x);
  const int arrays = images_.n * coils();
  const View<T> spectrum = frame.view<T>({arrays, 2, images_.h, images_.w});
  const kernels::Table<T>& k = kernel_table<T>(context);
  k.pack(stream_of(context), {active, images_.n, coils(), has_maps() ? 2 : images_.c, frequencies(), 1,
                              z.device_data(), spectrum.device_data()});
  fft.forward(context, complex_data(spectrum), complex_data(spectrum));
  if (s)
    k.scale_spectra(stream_of(context), {arrays, frequencies(), 1, s.device_data(), spectrum.device_data()});
  k.unpack(stream_of(context), {active, images_.n, coils(), 2, frequencies(), fft.scale(),
                                spectrum.device_data(), kspace.device_data()});
}

template <class T>
void SampledFourier<T>::synthesise(Context& context, const Active& active, View<const T> kspace,
                                   View<const T> s, View<T> x) const {
  Frame frame(context);
  const Fft<T>& fft = plain_ ? *plain_ : *fft_;
  const int arrays = images_.n * coils();
  const View<T> spectrum = frame.view<T>({arrays, 2, images_.h, images_.w});
  const kernels::Table<T>& k = kernel_table<T>(context);
  k.pack(stream_of(context),
         {active, images_.n, coils(), 2, frequencies(), 1, kspace.device_data(), spectrum.device_data()});
  if (s)
    k.scale_spectra(stream_of(context), {arrays, frequencies(), 1, s.device_data(), spectrum.device_data()});
  fft.inverse(context, complex_data(spectrum), complex_data(spectrum));
  const View<T> z = has_maps() ? frame.view<T>({arrays, 2, images_.h, images_.w}) : x;
  k.unpack(stream_of(context), {active, images_.n, coils(), has_maps() ? 2 : images_.c, frequencies(),
                                fft.scale(), spectrum.device_data(), z.device_data()});
  if (has_maps())
    k.coil_combine(stream_of(context), {active, images_.n, coils(), images_.c, frequencies(),
                                        maps_.view().device_data(), z.device_data(), x.device_data()});
}

template class SampledFourier<float>;
template class SampledFourier<double>;

}  // namespace v0
}  // namespace bilevel
