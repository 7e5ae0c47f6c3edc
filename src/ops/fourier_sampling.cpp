#include "bilevel/ops/fourier_sampling.hpp"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "bilevel/core/error.hpp"
#include "ops/operands.hpp"
#include "ops/sampled_fourier.hpp"

namespace bilevel {
inline namespace v0 {

template <class T>
struct FourierSampling<T>::Impl {
  SampledFourier<T> fourier;
  Tensor<T> s;
  double largest = 1;
};

template <class T>
FourierSampling<T>::FourierSampling(Context& context, const Shape& images, const CoilMaps& maps)
    : impl_(new Impl{SampledFourier<T>(context, images, maps), {}}) {
  impl_->s = Tensor<T>(context, {1, 1, images.h, images.w});
  set_sampling(context, std::vector<double>(impl_->fourier.frequencies(), 1.0));
}
template <class T>
FourierSampling<T>::~FourierSampling() = default;

template <class T>
Shape FourierSampling<T>::images() const {
  return impl_->fourier.images();
}
template <class T>
Shape FourierSampling<T>::kspace() const {
  const Shape& s = images();
  return {s.n, 2 * coils(), s.h, s.w};
}
template <class T>
int FourierSampling<T>::coils() const {
  return impl_->fourier.coils();
}
template <class T>
double FourierSampling<T>::least_coil_power() const {
  return impl_->fourier.least_coil_power();
}
template <class T>
double FourierSampling<T>::most_coil_power() const {
  return impl_->fourier.most_coil_power();
}

template <class T>
void FourierSampling<T>::set_sampling(Context& context, std::span<const double> s) {
  if (s.size() != impl_->fourier.frequencies())
    throw ShapeError("the sampling has " + std::to_string(s.size()) + " entries, k-space " +
                     std::to_string(impl_->fourier.frequencies()) + ".");
  std::vector<double> weights(s.size());
  std::vector<T> values(s.size());
  impl_->largest = 0;
  for (std::size_t j = 0; j < s.size(); ++j) {
    if (!std::isfinite(s[j]) || s[j] < 0)
      throw ConfigError("sampling values must be finite and not negative.");
    weights[j] = s[j] * s[j];
    values[j] = static_cast<T>(s[j]);
    impl_->largest = std::max(impl_->largest, weights[j]);
  }
  impl_->s.upload(context, values);
  impl_->fourier.set_weights(context, weights);
}

template <class T>
double FourierSampling<T>::norm2() const {
  return impl_->largest * most_coil_power();
}

namespace {

constexpr const char* fourier_sampling = "Fourier sampling";
constexpr const char* of_images = "Fourier sampling (images)";
constexpr const char* of_kspace = "Fourier sampling (k-space)";

}  // namespace

template <class T>
void FourierSampling<T>::apply(Context& context, const Active& active, View<const T> x,
                               View<T> kspace) const {
  require_active(active, images().n, fourier_sampling);
  require_operand(context, images(), x, of_images);
  require_operand(context, this->kspace(), kspace, of_kspace);
  impl_->fourier.analyse(context, active, x, std::as_const(impl_->s).view(), kspace);
}
template <class T>
void FourierSampling<T>::adjoint(Context& context, const Active& active, View<const T> kspace,
                                 View<T> x) const {
  require_active(active, images().n, fourier_sampling);
  require_operand(context, images(), x, of_images);
  require_operand(context, this->kspace(), kspace, of_kspace);
  impl_->fourier.synthesise(context, active, kspace, std::as_const(impl_->s).view(), x);
}
template <class T>
void FourierSampling<T>::normal(Context& context, const Active& active, View<const T> x, View<T> out) const {
  require_active(active, images().n, fourier_sampling);
  require_operand(context, images(), x, of_images);
  require_operand(context, images(), out, of_images);
  impl_->fourier.normal(context, active, x, out);
}

template class BILEVEL_API FourierSampling<float>;
template class BILEVEL_API FourierSampling<double>;

}  // namespace v0
}  // namespace bilevel
