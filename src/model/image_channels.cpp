#include "model/image_channels.hpp"

#include <concepts>
#include <utility>

#include "device/backend.hpp"
#include "kernels/join_args.hpp"

namespace bilevel {
inline namespace v0 {

template <class T>
Shape ImageChannels<T>::shape() const {
  Shape s = data_->shape();
  s.c *= 3;
  return s;
}

template <class T>
View<const T> ImageChannels<T>::image(Context& context, Frame& frame, const Active& active,
                                      View<const T> u) const {
  const Shape s = data_->shape();
  const View<T> x = frame.view<T>(s);
  kernel_table<T>(context).part(
      stream_of(context), {active, s.image(), shape().image(), s.image(), u.device_data(), x.device_data()});
  return x;
}
template <class T>
void ImageChannels<T>::put(Context& context, const Active& active, View<const T> from, View<T> u) const {
  const Shape s = data_->shape();
  kernel_table<T>(context).part(stream_of(context), {active, s.image(), s.image(), shape().image(),
                                                     from.device_data(), u.device_data()});
}

template <class T>
GradientStart<T> ImageChannels<T>::gradient(Context& context, Frame& frame, const Active& active,
                                            View<const T> u, View<T> out) const {
  if (pointwise()) return data_->gradient(context, frame, active, u, out);
  const View<T> own = frame.view<T>(data_->shape());
  const GradientStart<T> start =
      data_->gradient(context, frame, active, image(context, frame, active, u), own);
  put(context, active, own, out);
  return start;
}

template <class T>
HessianStart<T> ImageChannels<T>::hessian(Context& context, const Active& active, View<const T> p,
                                          View<T> product) const {
  if (pointwise()) return data_->hessian(context, active, p, product);
  Frame frame(context);
  const View<T> own = frame.view<T>(data_->shape());
  const HessianStart<T> start = data_->hessian(context, active, image(context, frame, active, p), own);
  put(context, active, own, product);
  return start;
}

template <class T>
void ImageChannels<T>::mixed_adjoint(Context& context, const Active& active, View<const T> u, View<const T> q,
                                     double* sums) const {
  if (mixed_sums() == 0) return;
  Frame frame(context);
  const View<const T> x = image(context, frame, active, u);
  data_->mixed_adjoint(context, active, x, image(context, frame, active, q), sums);
}

template <class T>
bool ImageChannels<T>::mixed_forward(Context& context, const Active& active, View<const T> u,
                                     std::span<const double> direction, View<T> out) const {
  if (mixed_sums() == 0) return false;
  Frame frame(context);
  const View<T> own = frame.view<T>(data_->shape());
  const bool written =
      data_->mixed_forward(context, active, image(context, frame, active, u), direction, own);
  if (written) put(context, active, own, out);
  return written;
}

template <class T>
void ImageChannels<T>::bound(Context& context, const Active& active, View<const T> u, View<const T> q,
                             const BallInputs& ball, double* sums) const {
  if (bound_sums() == 0) return;
  Frame frame(context);
  const View<const T> x = image(context, frame, active, u);
  data_->bound(context, active, x, image(context, frame, active, q), ball, sums);
}

template <class T>
std::unique_ptr<DataTerm<float>> ImageChannels<T>::single(Context& context) const {
  if constexpr (std::same_as<T, double>)
    return std::make_unique<ImageChannels<float>>(data_->single(context));
  else
    return nullptr;
}

template class ImageChannels<float>;
template class ImageChannels<double>;

}  // namespace v0
}  // namespace bilevel
