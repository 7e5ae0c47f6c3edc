#pragma once

#include <cstddef>
#include <vector>

#include "bilevel/core/tensor.hpp"
#include "ops/operands.hpp"

namespace bilevel {
inline namespace v0 {

/// f(image) for the active ones of n images (waits).
template <class F>
void for_each_active(Context& context, const Active& active, int n, const char* what, F f) {
  require_active(active, n, what);
  if (active.count == 0) return;
  const auto mask = download<std::uint8_t>(context, {active.mask, {n, 1, 1, 1}});
  const auto index = download<std::int32_t>(context, {active.index, {active.count, 1, 1, 1}});
  for (const std::int32_t i : index)
    if (mask[static_cast<std::size_t>(i)] != 0) f(static_cast<std::size_t>(i));
}

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
