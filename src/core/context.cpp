#include "bilevel/core/context.hpp"

#include <algorithm>
#include <utility>

#include "device/cuda_module.hpp"

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
void leave_launch(void* owner, const char* kernel) {
  static_cast<Context::Impl*>(owner)->backend->leave(kernel);
}
void run_parallel(void* owner, std::int64_t jobs, ThreadPool::Body body, void* argument) {
  static_cast<Context::Impl*>(owner)->pool.run(jobs, body, argument);
}
kernels::Partials reserve_partials(void* owner, std::size_t doubles, std::size_t images) {
  return static_cast<Context::Impl*>(owner)->reserve(doubles, images);
}

std::unique_ptr<Backend> make_backend(const Device::Impl& device) {
  if (device.kind == DeviceKind::cuda) return cuda_module().make_backend(device);
  return make_cpu_backend(device);
}

}  // namespace

Context::Impl::Impl(const Device& d) : device(d), backend(make_backend(d.impl())), pool(d.threads()) {
  stream.owner = this;
  stream.queue = backend->queue();
  stream.enter = enter_launch;
  stream.leave = leave_launch;
  stream.reserve = reserve_partials;
  stream.parallel = run_parallel;
}

Context::Impl::~Impl() {
  release(partials.sums, partials_capacity * sizeof(double));
  release(partials.arrived, arrived_capacity * sizeof(unsigned));
  for (const Chunk& c : arena) release(c.memory, c.bytes);
}

std::byte* Context::Impl::counted(void* memory, std::size_t bytes) {
  counters.allocations += 1;
  counters.bytes_allocated += bytes;
  counters.peak_bytes = std::max(counters.peak_bytes, counters.bytes_allocated);
  return static_cast<std::byte*>(memory);
}

std::byte* Context::Impl::allocate(std::size_t bytes) {
  return counted(backend->allocate(std::max<std::size_t>(bytes, 1)), bytes);
}

void Context::Impl::release(void* memory, std::size_t bytes) noexcept {
  if (!memory) return;
  backend->release(memory);
  counters.bytes_allocated -= bytes;
}

void Context::Impl::download(void* target, const void* source, std::size_t bytes) {
  counters.bytes_downloaded += bytes;
  counters.host_syncs += 1;
  backend->download(target, source, bytes);
}

kernels::Partials Context::Impl::reserve(std::size_t doubles, std::size_t images) {
  if (doubles > partials_capacity) {
    release(std::exchange(partials.sums, nullptr), std::exchange(partials_capacity, 0) * sizeof(double));
    partials.sums = reinterpret_cast<double*>(allocate(doubles * sizeof(double)));
    partials_capacity = doubles;
  }
  if (images > arrived_capacity) {
    release(std::exchange(partials.arrived, nullptr), std::exchange(arrived_capacity, 0) * sizeof(unsigned));
    const std::size_t bytes = images * sizeof(unsigned);
    partials.arrived = reinterpret_cast<unsigned*>(counted(backend->allocate_zeros(bytes), bytes));
    arrived_capacity = images;
  }
  return partials;
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
