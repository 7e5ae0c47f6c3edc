#pragma once

#include <string>

#include "bilevel/core/error.hpp"
#include "bilevel/core/scalars.hpp"
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

}  // namespace v0
}  // namespace bilevel
