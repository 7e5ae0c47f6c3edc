#include "bilevel/core/context.hpp"

#include <algorithm>

#include "device/backend.hpp"

namespace bilevel {
inline namespace v0 {

namespace {

constexpr std::size_t alignment = 256;
constexpr std::size_t smallest_chunk = std::size_t{1} << 20;

void enter_launch(void* owner) {
  auto* impl = static_cast<Context::Impl*>(owner);
  impl->counters.launches += 1;
  impl->backend->enter();
}
void leave_launch(void* owner) { static_cast<Context::Impl*>(owner)->backend->leave(); }

void run_parallel(void* owner, std::int64_t jobs, ThreadPool::Body body, void* argument) {
  static_cast<Context::Impl*>(owner)->pool.run(jobs, body, argument);
}

double* reserve_partials(void* owner, std::size_t doubles) {
  auto* impl = static_cast<Context::Impl*>(owner);
  if (doubles > impl->partials_capacity) {
    impl->release(impl->partials, impl->partials_capacity * sizeof(double));
    impl->partials = nullptr;
    impl->partials_capacity = 0;
    impl->partials = reinterpret_cast<double*>(impl->allocate(doubles * sizeof(double)));
    impl->partials_capacity = doubles;
  }
  return impl->partials;
}

}  // namespace

Context::Impl::Impl(const Device& d) : device(d), backend(make_cpu_backend(d.impl())), pool(d.threads()) {
  stream.threads = d.threads();
  stream.owner = this;
  stream.enter = enter_launch;
  stream.leave = leave_launch;
  stream.reserve = reserve_partials;
  stream.parallel = run_parallel;
}

Context::Impl::~Impl() {
  release(partials, partials_capacity * sizeof(double));
  for (const Chunk& c : arena) release(c.memory, c.bytes);
}

std::byte* Context::Impl::allocate(std::size_t bytes) {
  auto* p = static_cast<std::byte*>(backend->allocate(std::max<std::size_t>(bytes, 1)));
  counters.allocations += 1;
  counters.bytes_allocated += bytes;
  counters.peak_bytes = std::max(counters.peak_bytes, counters.bytes_allocated);
  return p;
}

void Context::Impl::release(void* memory, std::size_t bytes) noexcept {
  if (!memory) return;
  backend->release(memory);
  counters.bytes_allocated -= bytes;
}

/// First fit in the chunks after the current one; a request that fits nowhere gets a chunk of its own size.
std::byte* Context::Impl::scratch(std::size_t bytes) {
  bytes = (std::max<std::size_t>(bytes, 1) + alignment - 1) / alignment * alignment;
  while (chunk < arena.size() && offset + bytes > arena[chunk].bytes) {
    chunk += 1;
    offset = 0;
  }
  if (chunk == arena.size()) {
    const std::size_t size = std::max(bytes, smallest_chunk);
    arena.push_back({allocate(size), size});
    offset = 0;
  }
  std::byte* p = arena[chunk].memory + offset;
  offset += bytes;
  return p;
}

Frame::Frame(Context& context)
    : context_(context), chunk_(context.impl().chunk), offset_(context.impl().offset) {}
Frame::~Frame() {
  context_.impl().chunk = chunk_;
  context_.impl().offset = offset_;
}

template <class T>
View<T> Frame::view(Shape shape) {
  return {reinterpret_cast<T*>(context_.impl().scratch(shape.count() * sizeof(T))), shape};
}
template BILEVEL_API View<float> Frame::view(Shape);
template BILEVEL_API View<double> Frame::view(Shape);
template BILEVEL_API View<std::int32_t> Frame::view(Shape);
template BILEVEL_API View<std::uint8_t> Frame::view(Shape);

Context::Context(const Device& device) : impl_(std::make_unique<Impl>(device)) {}
Context::~Context() = default;
Context::Context(Context&&) noexcept = default;
Context& Context::operator=(Context&&) noexcept = default;

const Device& Context::device() const { return impl_->device; }
Counters Context::counters() const { return impl_->counters; }
void Context::synchronise() {
  impl_->counters.host_syncs += 1;
  impl_->backend->synchronise();
}

}  // namespace v0
}  // namespace bilevel
