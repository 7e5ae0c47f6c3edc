#pragma once

#include <string>
#include <vector>

#include "bilevel/core/error.hpp"
#include "bilevel/core/scalars.hpp"
#include "bilevel/core/tensor.hpp"
#include "device/backend.hpp"

namespace bilevel {
inline namespace v0 {

/// ShapeError unless `given` has this shape, ConfigError unless it is of the context; `what` names it.
template <class T>
void require_operand(Context& context, const Shape& expected, View<T> given, const char* what) {
  require_same(expected, given.shape(), what);
  require_array(context, given, what);
}

/// ShapeError unless `active` can be a set of `images` images of the operator that `what` names.
inline void require_active(const Active& active, int images, const std::string& what) {
  if (active.count > images || (active.count > 0 && (!active.mask || !active.index)))
    throw ShapeError(what + " of " + std::to_string(images) + " images was given an active set of " +
                     std::to_string(active.count) + (active.mask ? "." : " without a mask."));
}

/// The open images of an active set, for functions of the host (two host synchronisations).
inline std::vector<std::size_t> open_images(Context& context, const Active& active, int n,
                                            const std::string& what) {
  require_active(active, n, what);
  std::vector<std::size_t> open;
  if (active.count == 0) return open;
  const auto mask = download<std::uint8_t>(context, {active.mask, {n, 1, 1, 1}});
  for (const std::int32_t i : download<std::int32_t>(context, {active.index, {active.count, 1, 1, 1}}))
    if (mask[static_cast<std::size_t>(i)] != 0) open.push_back(static_cast<std::size_t>(i));
  return open;
}

}  // namespace v0
}  // namespace bilevel
