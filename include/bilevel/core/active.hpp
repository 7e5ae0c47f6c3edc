#pragma once

#include <cstdint>

namespace bilevel {
inline namespace v0 {

/// Device pointers to the images a kernel works on: `index` lists `count` image numbers, and those whose
/// `mask` is zero are skipped. A finished image is frozen by its mask at once, and leaves the list at the
/// next refresh.
struct Active {
  const std::uint8_t* mask = nullptr;
  const std::int32_t* index = nullptr;
  std::int32_t count = 0;
};

}  // namespace v0
}  // namespace bilevel
