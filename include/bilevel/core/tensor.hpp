#pragma once

#include <memory>
#include <span>
#include <vector>

#include "bilevel/core/context.hpp"

namespace bilevel {
inline namespace v0 {

/// Owns a contiguous array on the device of its context, which it may outlive. T is float, double,
/// std::int32_t or std::uint8_t. A tensor that was moved from is empty, like one made without arguments: its
/// shape is [0,0,0,0].
template <class T>
class BILEVEL_API Tensor {
 public:
  Tensor() = default;
  /// Allocates; contents undefined. Throws ShapeError for sizes that are negative or too large to be
  /// addressed, DeviceError when memory is exhausted.
  Tensor(Context& context, Shape shape);
  Tensor(Context& context, Shape shape,
         std::span<const T> values);  ///< uploads; ShapeError for another count
  ~Tensor();
  Tensor(Tensor&&) noexcept;
  Tensor& operator=(Tensor&&) noexcept;

  const Shape& shape() const { return shape_; }
  View<T> view() { return {data_, shape_}; }
  View<const T> view() const { return {data_, shape_}; }

  /// Copies `values` (shape().count() of them) to the device. Throws ShapeError when the count differs.
  void upload(Context& context, std::span<const T> values);

 private:
  std::shared_ptr<Context::Impl> context_;
  T* data_ = nullptr;
  Shape shape_{0, 0, 0, 0};
};

// Arrays given to these functions belong to the context: ConfigError for null pointers, memory of the host
// and arrays of another context, ShapeError for sizes that do not fit together.

/// Copies an array to the host and waits for it (one host synchronisation).
template <class T>
BILEVEL_API std::vector<T> download(Context& context, View<const T> view);
template <class T>
std::vector<T> download(Context& context, View<T> view) {
  return download<T>(context, View<const T>(view));
}
template <class T>
std::vector<T> download(Context& context, const Tensor<T>& tensor) {
  return download<T>(context, tensor.view());
}

/// Enqueues a copy of a host array to the device; the host array may be reused at once.
template <class T>
BILEVEL_API void upload(Context& context, std::span<const T> values, View<T> target);

/// Enqueues a device-to-device copy, a fill with one value, and a conversion between precisions.
template <class T>
BILEVEL_API void copy(Context& context, View<const T> source, View<T> target);
template <class T>
BILEVEL_API void fill(Context& context, View<T> target, T value);

}  // namespace v0
}  // namespace bilevel
