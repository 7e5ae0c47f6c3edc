#include "bilevel/model/unknown.hpp"

#include <string>

#include "bilevel/core/error.hpp"
#include "bilevel/core/scalars.hpp"
#include "device/backend.hpp"
#include "kernels/join_args.hpp"

namespace bilevel {
inline namespace v0 {
namespace {

template <class T>
void copy_channels(Context& context, View<const T> from, View<T> to, int channels) {
  const Shape &a = from.shape(), &b = to.shape();
  if (a.n != b.n || a.h != b.h || a.w != b.w || channels < 1 || channels > a.c || channels > b.c)
    throw ShapeError("the first " + std::to_string(channels) + " channels of " + a.str() +
                     " do not go into " + b.str() + ".");
  Frame frame(context);
  const ActiveSet all(context, frame, a.n);
  const Shape part{1, channels, a.h, a.w};
  kernel_table<T>(context).part(stream_of(context), {all.active(), part.image(), a.image(), b.image(),
                                                     from.device_data(), to.device_data()});
}

}  // namespace

template <class T>
Tensor<T> start_from(Context& context, View<const T> images, const Shape& unknown) {
  Tensor<T> out(context, unknown);
  fill<T>(context, out.view(), T(0));
  copy_channels<T>(context, images, out.view(), images.shape().c);
  return out;
}

template <class T>
Tensor<T> first_channels(Context& context, View<const T> unknown, int channels) {
  Shape s = unknown.shape();
  s.c = channels;
  Tensor<T> out(context, s);
  copy_channels<T>(context, unknown, out.view(), channels);
  return out;
}

#define BILEVEL_INSTANTIATE(T)                                                      \
  template BILEVEL_API Tensor<T> start_from(Context&, View<const T>, const Shape&); \
  template BILEVEL_API Tensor<T> first_channels(Context&, View<const T>, int channels);
BILEVEL_INSTANTIATE(float)
BILEVEL_INSTANTIATE(double)
#undef BILEVEL_INSTANTIATE

}  // namespace v0
}  // namespace bilevel
