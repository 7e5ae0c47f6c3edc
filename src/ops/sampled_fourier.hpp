#pragma once

// The Fourier half of magnetic resonance: transforms with weights between them, data and weights in the order
// of the device's transforms.

#include <complex>
#include <memory>
#include <span>
#include <vector>

#include "bilevel/ops/fourier_sampling.hpp"
#include "device/fft.hpp"
#include "kernels/spectrum_args.hpp"

namespace bilevel {
inline namespace v0 {

template <class T>
class SampledFourier {
 public:
  /// Throws ShapeError or ConfigError, see FourierSampling.
  SampledFourier(Context& context, const Shape& images, const CoilMaps& maps);

  const Shape& images() const { return images_; }
  int coils() const { return shape_.coils; }
  bool has_maps() const { return static_cast<bool>(maps_.view()); }
  std::size_t frequencies() const { return static_cast<std::size_t>(images_.h) * images_.w; }
  double least_coil_power() const { return least_power_; }
  double most_coil_power() const { return most_power_; }
  View<const T> coil_power() const { return power_.view(); }  ///< [1,1,H,W]; empty: 1
  double mean_weight() const { return mean_weight_; }
  /// Values per spectrum that rows_to_frequencies() takes: one or two channels of coefficients.
  std::size_t rows() const { return channels() * shape_.size(); }

  /// w >= 0, one per frequency, row-major.
  void set_weights(Context& context, std::span<const double> w);
  /// Weights of any sign for weigh().
  void set_direction(Context& context, std::span<const double> w) const;
  /// k-space [N][coils][H][W] of the host in the order of the transform.
  Tensor<T> upload_data(Context& context, std::span<const std::complex<T>> kspace) const;

  /// out = E* W (E x - y), and the sums [coils][3][N] of SpectrumPass::gradient.
  void gradient(Context&, const Active&, View<const T> x, const Tensor<T>& data, View<T> out,
                View<double> sums) const;
  /// out = E* D (E x - y) with the weights of set_direction().
  void weigh(Context&, const Active&, View<const T> x, const Tensor<T>& data, View<T> out) const;
  /// u <- prox_{sigma F*}(u + sigma E x), F(X) = 1/2 sum w |X - y|^2, and out = E* u, see SpectrumPass::dual;
  /// u holds 2 rows() values per image and coil.
  void dual_step(Context&, const Active&, View<const T> x, const Tensor<T>& data, double inverse_step, T* u,
                 View<T> out) const;
  /// out = E* W E x.
  void normal(Context&, const Active&, View<const T> x, View<T> out) const;
  /// Rows of N doubles: Re conj(E q)_j (E x - y)_j, or with `powers` |E x - y|_j^2 and then |E q|_j^2, summed
  /// over the coils.
  void mixed(Context&, const Active&, View<const T> x, View<const T> q, const Tensor<T>& data, bool powers,
             View<double> out) const;
  /// What row e of image `image` of N holds, one per frequency.
  std::vector<double> to_frequencies(std::span<const double> rows, std::size_t image) const;

  /// F sigma x and its adjoint with the factors s (null: 1) [1,1,H,W]; planes [N,2 coils,H,W].
  void analyse(Context&, const Active&, View<const T> x, View<const T> s, View<T> kspace) const;
  void synthesise(Context&, const Active&, View<const T> kspace, View<const T> s, View<T> x) const;

 private:
  std::size_t channels() const { return shape_.pair ? 2 : 1; }
  /// Places of frequency (k,l) among the rows: of its own channel, and for half spectra of the other one;
  /// visit(place, conjugated).
  template <class F>
  void places(int k, int l, const F& visit) const;
  std::vector<T> ordered(std::span<const double> w) const;
  void filter(Context&, const Active&, View<const T> x, View<T> out, kernels::SpectrumArgs<T> pass) const;
  /// sigma x for maps, else x; scratch from the frame.
  View<const T> coil_images(Context&, Frame&, View<const T> x) const;
  void spectra(Context&, const Active&, View<const T> x, View<T> out) const;

  Shape images_;
  kernels::SpectrumShape shape_;
  std::unique_ptr<Fft<T>> fft_;    // of the filter
  std::unique_ptr<Fft<T>> plain_;  // complex; null: fft_ is
  SpectrumOrder order_;
  Tensor<T> maps_, power_;
  Tensor<T> weight_, mean_;
  mutable Tensor<T> direction_;
  double least_power_ = 1, most_power_ = 1, mean_weight_ = 1;
};

}  // namespace v0
}  // namespace bilevel
