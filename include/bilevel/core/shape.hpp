#pragma once

#include <cstddef>
#include <string>

#include "bilevel/core/export.hpp"

namespace bilevel {
inline namespace v0 {

/// [N,C,H,W], row-major and contiguous. A 1-D signal has H = 1.
struct BILEVEL_API Shape {
  int n = 1, c = 1, h = 1, w = 1;

  std::size_t image() const { return static_cast<std::size_t>(c) * h * w; }  ///< elements of one image
  std::size_t count() const { return static_cast<std::size_t>(n) * image(); }
  bool operator==(const Shape&) const = default;
  std::string str() const;  ///< "[25,1,96,96]"
};

/// Throws ShapeError naming both shapes and `what` unless they are equal.
BILEVEL_API void require_same(const Shape& a, const Shape& b, const char* what);

}  // namespace v0
}  // namespace bilevel
