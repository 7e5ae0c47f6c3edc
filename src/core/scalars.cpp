#include "bilevel/core/scalars.hpp"

#include <cstring>
#include <utility>

#include "bilevel/core/error.hpp"
#include "device/backend.hpp"
#include "kernels/decision_args.hpp"

namespace bilevel {
inline namespace v0 {

struct Fetch::Impl {
  std::unique_ptr<Arrival> arrival;
};

Fetch::Fetch(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Fetch::~Fetch() = default;
Fetch::Fetch(Fetch&&) noexcept = default;
Fetch& Fetch::operator=(Fetch&&) noexcept = default;

std::vector<double> Fetch::wait(Context& context) {
  if (!impl_) throw ConfigError("a fetch can be waited for once, and not after it was moved from.");
  context.impl().counters.host_syncs += 1;
  const std::span<const std::byte> bytes = impl_->arrival->wait();
  std::vector<double> values(bytes.size() / sizeof(double));
  if (!values.empty()) std::memcpy(values.data(), bytes.data(), bytes.size());
  impl_.reset();
  return values;
}

Fetch fetch(Context& context, View<const double> scalars) {
  require_array(context, scalars, "fetch");
  const std::size_t bytes = scalars.shape().count() * sizeof(double);
  auto& impl = context.impl();
  impl.counters.bytes_downloaded += bytes;
  return Fetch(std::make_unique<Fetch::Impl>(impl.backend->fetch(scalars.device_data(), bytes)));
}

ActiveSet::ActiveSet(Context& context, Frame& frame, int n)
    : mask_(frame.view<std::uint8_t>({n, 1, 1, 1})),
      index_(frame.view<std::int32_t>({n, 1, 1, 1})),
      left_(frame.view<double>({2, 1, 1, 1})),
      n_(n),
      count_(n) {
  reset(context);
}

void ActiveSet::reset(Context& context) {
  context.impl().scalar_table().reset(stream_of(context), mask_.device_data(), index_.device_data(), n_);
  count_ = n_;
  tally_ = 0;
}

void ActiveSet::assign(Context& context, const ActiveSet& other) {
  copy<std::uint8_t>(context, other.mask_, mask_);
  copy<std::int32_t>(context, other.index_, index_);
  count_ = other.count_;
  tally_ = 0;
}

void ActiveSet::assign(Context& context, std::span<const std::uint8_t> open) {
  std::vector<std::int32_t> index(open.size(), 0);
  int count = 0;
  for (std::size_t i = 0; i < open.size(); ++i)
    if (open[i]) index[static_cast<std::size_t>(count++)] = static_cast<std::int32_t>(i);
  upload<std::uint8_t>(context, open, mask_);
  upload<std::int32_t>(context, index, index_);
  count_ = count;
  tally_ = 0;
}

int ActiveSet::refresh(Context& context, View<const double> tally) {
  if (tally && tally.shape().count() != static_cast<std::size_t>(n_))
    throw ShapeError("a tally of shape " + tally.shape().str() + " was given for a batch of " +
                     std::to_string(n_) + " images; it has one number per image.");
  if (tally) require_array(context, tally, "the tally of an active set");
  context.impl().scalar_table().compact(stream_of(context),
                                        {mask_.device_data(), index_.device_data(), n_,
                                         tally ? tally.device_data() : nullptr, left_.device_data()});
  const std::vector<double> left = fetch(context, left_).wait(context);
  count_ = static_cast<int>(left[0]);
  tally_ = left[1];
  return count_;
}

}  // namespace v0
}  // namespace bilevel
