#include "learn/ascending.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "bilevel/core/error.hpp"
#include "bilevel/core/tensor.hpp"
#include "device/backend.hpp"
#include "kernels/sort_args.hpp"

namespace bilevel {
inline namespace v0 {

std::vector<std::int32_t> ascending(Context& context, std::span<const double> values) {
  if (values.size() > static_cast<std::size_t>(std::numeric_limits<std::int32_t>::max()))
    throw ConfigError(std::to_string(values.size()) + " values cannot be sorted; there may be 2^31 - 1.");
  if (std::any_of(values.begin(), values.end(), [](double v) { return std::isnan(v); }))
    throw Error("values that are to be sorted are not numbers.");
  if (values.empty()) return {};
  const auto count = static_cast<int>(values.size());
  Frame frame(context);
  const View<double> keys = frame.view<double>({count, 1, 1, 1});
  const View<std::int32_t> index = frame.view<std::int32_t>({count, 1, 1, 1});
  upload<double>(context, values, keys);
  const auto allocate = [](void* owner, std::size_t bytes) -> void* {
    return static_cast<Context::Impl*>(owner)->scratch(bytes);
  };
  context.impl().scalar_table().sort(
      stream_of(context), {keys.device_data(), index.device_data(), count, allocate, &context.impl()});
  return download<std::int32_t>(context, index);
}

}  // namespace v0
}  // namespace bilevel
