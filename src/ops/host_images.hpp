#pragma once

#include <cstddef>
#include <vector>

#include "bilevel/core/tensor.hpp"
#include "ops/operands.hpp"

namespace bilevel {
inline namespace v0 {

/// A batch of images on the host.
template <class T>
struct HostImages {
  HostImages(Context& context, View<const T> batch)
      : values(download(context, batch)), each(batch.shape().image()) {}
  std::span<T> operator[](std::size_t image) { return std::span(values).subspan(image * each, each); }

  std::vector<T> values;
  std::size_t each;
};

}  // namespace v0
}  // namespace bilevel
