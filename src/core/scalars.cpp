#include "bilevel/core/scalars.hpp"

#include <numeric>

#include "device/backend.hpp"

namespace bilevel {
inline namespace v0 {

std::vector<double> Fetch::wait(Context& context) {
  context.synchronise();
  return std::move(values_);
}

Fetch fetch(Context& context, View<const double> scalars) {
  std::vector<double> values(scalars.shape().count());
  auto& impl = context.impl();
  impl.backend->download(values.data(), scalars.device_data(), values.size() * sizeof(double));
  impl.counters.bytes_downloaded += values.size() * sizeof(double);
  return Fetch(std::move(values));
}

ActiveSet::ActiveSet(Context& context, Frame& frame, int n)
    : mask_(frame.view<std::uint8_t>({n, 1, 1, 1})),
      index_(frame.view<std::int32_t>({n, 1, 1, 1})),
      left_(frame.view<double>({1, 1, 1, 1})),
      n_(n),
      count_(n) {
  reset(context);
}

void ActiveSet::reset(Context& context) {
  context.impl().scalar_table().reset(stream_of(context), mask_.device_data(), index_.device_data(), n_);
  count_ = n_;
}

void ActiveSet::assign(Context& context, const ActiveSet& other) {
  copy<std::uint8_t>(context, other.mask_, mask_);
  copy<std::int32_t>(context, other.index_, index_);
  count_ = other.count_;
}

int ActiveSet::refresh(Context& context) {
  context.impl().scalar_table().compact(stream_of(context), mask_.device_data(), index_.device_data(), n_,
                                        left_.device_data());
  count_ = static_cast<int>(fetch(context, left_).wait(context)[0]);
  return count_;
}

}  // namespace v0
}  // namespace bilevel
