#pragma once

#include <complex>
#include <vector>

#include "bilevel/model/composed_energy.hpp"
#include "model/term.hpp"
#include "ops/sampled_fourier.hpp"

namespace bilevel {
inline namespace v0 {

/// 1/2 sum_c sum_j w_j |(F sigma_c x - y_c)_j|^2 with the weights w(s) of a sampling pattern.
template <class T>
class FourierTerm final : public DataTerm<T>, public FourierData<T> {
 public:
  /// Throws what ComposedEnergy throws for magnetic resonance.
  FourierTerm(Context& context, const Shape& images, std::span<const std::complex<T>> kspace,
              const SamplingPattern& pattern, const CoilMaps& maps);

  Shape shape() const override { return fourier_.images(); }
  void bind(Context&, const Parameters&, std::span<const double> theta) override;
  double mu() const override { return least_weight_ * fourier_.least_coil_power(); }
  double lipschitz() const override { return most_weight_ * fourier_.most_coil_power(); }
  UnderflowParts underflow(double unit) const override;
  GradientStart<T> gradient(Context&, Frame&, const Active&, View<const T> x, View<T> out) const override;
  HessianStart<T> hessian(Context&, const Active&, View<const T> p, View<T> product) const override;
  DiagonalStart<T> diagonal() const override;
  std::vector<BlockConstant> blocks() const override;
  std::vector<std::size_t> block_ends() const override;
  int mixed_sums() const override;
  void mixed_adjoint(Context&, const Active&, View<const T> x, View<const T> q, double* sums) const override;
  void mixed(const ImageSums& sums, std::span<double> z) const override;
  bool mixed_forward(Context&, const Active&, View<const T> x, std::span<const double> direction,
                     View<T> out) const override;
  int bound_sums() const override;
  void bound(Context&, const Active&, View<const T> x, View<const T> q, const BallInputs& ball,
             double* sums) const override;
  std::vector<BlockBound> directional(const ImageSums& sums, const Ball& ball, double ridge) const override;
  bool bounds_columns() const override { return true; }
  std::unique_ptr<ProximalForm<T>> split(const AnalysisRegulariser<T>&) const override;
  std::unique_ptr<DataTerm<float>> single(Context&) const override;

  const SamplingPattern& pattern() const override { return pattern_; }
  std::span<const double> weights() const override { return weights_; }
  std::vector<double> residual_powers(Context&, View<const T> x) const override;
  double mean_diagonal(Context&) const override;
  void zero_filled(Context&, const Active&, View<T> x) const override;

  const SampledFourier<T>& fourier() const { return fourier_; }
  const Tensor<T>& data() const { return y_; }
  double most_weight_alone() const;  ///< largest of one frequency

 private:
  template <class>
  friend class FourierTerm;
  std::size_t groups() const { return pattern_.groups(); }
  /// Extreme weight; a real image mixes those of conjugate frequencies.
  double extreme_pair(std::span<const double> w, bool largest) const;
  /// Squares of weights that underflow hide, in the rounding bound, less than this factor of the spectra.
  double hidden_weight() const;
  /// Rounding of a transform relative to its norm, in units: 10 log2(H W).
  double transform() const;

  SamplingPattern pattern_;
  SampledFourier<T> fourier_;
  Tensor<T> y_;
  std::vector<double> data_norm_;  // of each image's k-space
  std::vector<std::complex<double>> map_values_;
  int coils_ = 1;
  std::vector<double> s_, weights_;
  double least_weight_ = 0, most_weight_ = 0;
  int entry_ = -1;  // first of s, or -1
};

}  // namespace v0
}  // namespace bilevel
