#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "bilevel/core/context.hpp"

namespace bilevel {
inline namespace v0 {

/// Indices of the values in the order in which these ascend, ties by index; sorted on the device, for which
/// it waits. 12 bytes per value go there and back. Throws Error for a value that is NaN, ConfigError for 2^31
/// values and more.
std::vector<std::int32_t> ascending(Context& context, std::span<const double> values);

}  // namespace v0
}  // namespace bilevel
