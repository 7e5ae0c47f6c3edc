#include "bilevel/core/tensor.hpp"

#include <utility>

#include "bilevel/core/error.hpp"
#include "device/backend.hpp"

namespace bilevel {
inline namespace v0 {

std::string Shape::str() const {
  return "[" + std::to_string(n) + "," + std::to_string(c) + "," + std::to_string(h) + "," +
         std::to_string(w) + "]";
}

void require_same(const Shape& a, const Shape& b, const char* what) {
  if (a != b) throw ShapeError(std::string(what) + ": shapes " + a.str() + " and " + b.str() + " differ.");
}

template <class T>
Tensor<T>::Tensor(Context& context, Shape shape) : context_(context.shared_impl()), shape_(shape) {
  data_ = reinterpret_cast<T*>(context_->allocate(checked_bytes(shape, sizeof(T))));
}
template <class T>
Tensor<T>::Tensor(Context& context, Shape shape, std::span<const T> values) : Tensor(context, shape) {
  this->upload(context, values);
}
template <class T>
Tensor<T>::~Tensor() {
  if (data_) context_->release(data_, shape_.count() * sizeof(T));
}
template <class T>
Tensor<T>::Tensor(Tensor&& other) noexcept
    : context_(std::move(other.context_)),
      data_(std::exchange(other.data_, nullptr)),
      shape_(std::exchange(other.shape_, {0, 0, 0, 0})) {}
template <class T>
Tensor<T>& Tensor<T>::operator=(Tensor&& other) noexcept {
  Tensor moved(std::move(other));
  std::swap(context_, moved.context_);
  std::swap(data_, moved.data_);
  std::swap(shape_, moved.shape_);
  return *this;
}
template <class T>
void Tensor<T>::upload(Context& context, std::span<const T> values) {
  bilevel::upload<T>(context, values, view());
}

template <class T>
std::vector<T> download(Context& context, View<const T> view) {
  require_array(context, view, "download");
  std::vector<T> values(view.shape().count());
  context.impl().download(values.data(), view.device_data(), values.size() * sizeof(T));
  return values;
}

template <class T>
void upload(Context& context, std::span<const T> values, View<T> target) {
  if (values.size() != target.shape().count())
    throw ShapeError("upload of " + std::to_string(values.size()) + " values to an array of shape " +
                     target.shape().str() + ": the counts must agree.");
  require_array(context, target, "upload");
  auto& impl = context.impl();
  impl.backend->upload(target.device_data(), values.data(), values.size() * sizeof(T));
  impl.counters.bytes_uploaded += values.size() * sizeof(T);
}

template <class T>
void copy(Context& context, View<const T> source, View<T> target) {
  require_same(source.shape(), target.shape(), "copy");
  require_array(context, source, "copy (source)");
  require_array(context, target, "copy (target)");
  context.impl().backend->copy(target.device_data(), source.device_data(),
                               source.shape().count() * sizeof(T));
}

template <class T>
void fill(Context& context, View<T> target, T value) {
  require_array(context, target, "fill");
  kernel_table<T>(context).fill(stream_of(context), target.device_data(), target.shape().count(), value);
}

#define BILEVEL_INSTANTIATE(T)                                                \
  template class BILEVEL_API Tensor<T>;                                       \
  template BILEVEL_API std::vector<T> download<T>(Context&, View<const T>);   \
  template BILEVEL_API void upload<T>(Context&, std::span<const T>, View<T>); \
  template BILEVEL_API void copy<T>(Context&, View<const T>, View<T>);
BILEVEL_INSTANTIATE(float)
BILEVEL_INSTANTIATE(double)
BILEVEL_INSTANTIATE(std::int32_t)
BILEVEL_INSTANTIATE(std::uint8_t)
#undef BILEVEL_INSTANTIATE
template BILEVEL_API void fill<float>(Context&, View<float>, float);
template BILEVEL_API void fill<double>(Context&, View<double>, double);

}  // namespace v0
}  // namespace bilevel
