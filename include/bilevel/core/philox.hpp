#pragma once

#include <array>
#include <cstdint>

#include "bilevel/core/export.hpp"

namespace bilevel {
inline namespace v0 {

/// Philox4x32-10: 128 random bits for a counter and a key.
/// Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
BILEVEL_API std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> counter,
                                                    std::array<std::uint32_t, 2> key);

}  // namespace v0
}  // namespace bilevel
