#pragma once

// Arguments of the kernel that measures arithmetic.

#include <cstddef>

#include "bilevel/core/active.hpp"

namespace bilevel::kernels {

inline constexpr int fma_chains = 8;

/// v_j = v_j factor + addend, `rounds` times, for fma_chains independent v_j per element that start at x + j
/// addend; x becomes their mean. With |factor| < 1 and x = addend / (1 - factor) repeated launches stay near
/// that x.
template <class T>
struct FmaLoopArgs {
  Active active;
  std::size_t size;  // elements per image
  int rounds;
  double factor, addend;
  T* x;
};

}  // namespace bilevel::kernels
