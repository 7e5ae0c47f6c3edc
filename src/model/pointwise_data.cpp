#include "model/pointwise_data.hpp"

#include <algorithm>
#include <cmath>
#include <concepts>
#include <utility>

#include "bilevel/core/error.hpp"
#include "device/backend.hpp"
#include "kernels/precision_args.hpp"
#include "model/analysis_regulariser.hpp"
#include "model/checks.hpp"

namespace bilevel {
inline namespace v0 {
namespace {

/// The potential of K x as dual, data and ridge, which are diagonal, as primal block.
template <class T>
class PointwiseSplit final : public ProximalForm<T> {
 public:
  PointwiseSplit(const PointwiseData<T>& data, const AnalysisRegulariser<T>& regulariser)
      : data_(data), regulariser_(regulariser) {}

  ProximalConstants constants() const override {
    const TvConstants c = regulariser_.tv_constants();
    return {regulariser_.xi() + data_.mu(), 1 / std::max(regulariser_.alpha() * c.curvature, 1e-12),
            std::sqrt(c.norm2)};
  }
  Shape dual_shape() const override {
    const Shape s = data_.shape();
    return {regulariser_.directions() * s.n, s.c, s.h, s.w};
  }
  void dual_step(Context& context, const Active& active, View<const T> x, double inverse_step,
                 View<T> w) const override {
    regulariser_.table(context).pdhg_dual(
        stream_of(context),
        {regulariser_.model(), active, x.shape().n, x.device_data(), inverse_step, w.device_data()});
  }
  void primal_step(Context& context, const Active& active, View<const T> w, double tau, double theta,
                   View<T> x, View<T> extrapolated) const override {
    regulariser_.table(context).pdhg_primal(
        stream_of(context),
        {regulariser_.model(), active, x.shape().n, w.device_data(), data_.data(), data_.sampling(), 1, 1,
         tau, theta, x.device_data(), extrapolated.device_data()});
  }

 private:
  const PointwiseData<T>& data_;
  const AnalysisRegulariser<T>& regulariser_;
};

}  // namespace

template <class T>
PointwiseData<T>::PointwiseData(Context& context, View<const T> y, std::span<const double> sampling) : y_(y) {
  const Shape& s = y.shape();
  if (sampling.empty()) return;
  if (sampling.size() != Shape{1, 1, s.h, s.w}.count())
    throw ShapeError("the sampling image has " + std::to_string(sampling.size()) + " pixels, the data " +
                     s.str() + ".");
  std::vector<T> mask(sampling.size());
  for (std::size_t p = 0; p < mask.size(); ++p) {
    if (sampling[p] != 0 && sampling[p] != 1) throw ConfigError("the sampling image must hold only 0 and 1.");
    mask[p] = static_cast<T>(sampling[p]);
    masked_ = masked_ || sampling[p] == 0;
  }
  sampling_ = Tensor<T>(context, {1, 1, s.h, s.w}, mask);
}

template <class T>
PointwiseData<T>::PointwiseData(Tensor<T> y, Tensor<T> sampling, bool masked)
    : kept_(std::move(y)), y_(std::as_const(kept_).view()), sampling_(std::move(sampling)), masked_(masked) {}

template <class T>
GradientStart<T> PointwiseData<T>::gradient(Context&, Frame&, const Active&, View<const T>, View<T>) const {
  return {data(), sampling()};
}
template <class T>
HessianStart<T> PointwiseData<T>::hessian(Context&, const Active&, View<const T>, View<T>) const {
  return {false, sampling()};
}
template <class T>
DiagonalStart<T> PointwiseData<T>::diagonal() const {
  return {1, sampling()};
}
template <class T>
std::unique_ptr<ProximalForm<T>> PointwiseData<T>::split(const AnalysisRegulariser<T>& regulariser) const {
  return std::make_unique<PointwiseSplit<T>>(*this, regulariser);
}

template <class T>
std::unique_ptr<DataTerm<float>> PointwiseData<T>::single(Context& context) const {
  if constexpr (std::same_as<T, double>) {
    Frame frame(context);
    const ActiveSet all(context, frame, shape().n);
    Tensor<float> y(context, shape()), s;
    context.impl().scalar_table().narrow(stream_of(context),
                                         {all.active(), shape().image(), data(), 0, y.view().device_data()});
    if (masked_) {
      const std::vector<double> mask = download(context, sampling_);
      s = Tensor<float>(context, sampling_.shape(), std::vector<float>(mask.begin(), mask.end()));
    }
    return std::make_unique<PointwiseData<float>>(std::move(y), std::move(s), masked_);
  } else {
    return nullptr;
  }
}

template class PointwiseData<float>;
template class PointwiseData<double>;

}  // namespace v0
}  // namespace bilevel
