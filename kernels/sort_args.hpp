#pragma once

#include <cstddef>
#include <cstdint>

namespace bilevel::kernels {

/// index[0..count) = the order in which the keys ascend, ties by index. The keys are left in any order. No
/// key is NaN.
struct SortArgs {
  double* keys;
  std::int32_t* index;
  std::int32_t count;
  /// Storage of the device that the caller keeps until the work is done.
  void* (*allocate)(void* owner, std::size_t bytes);
  void* owner;
};

}  // namespace bilevel::kernels
