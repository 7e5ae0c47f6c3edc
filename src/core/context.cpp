#include "bilevel/core/context.hpp"

#include <algorithm>
#include <limits>
#include <utility>

#include "bilevel/core/error.hpp"
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
  try {
    blocks.emplace(static_cast<const std::byte*>(memory), bytes);
  } catch (...) {
    backend->release(memory);
    throw;
  }
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
  blocks.erase(static_cast<const std::byte*>(memory));
  backend->release(memory);
  counters.bytes_allocated -= bytes;
}

bool Context::Impl::holds(const void* memory, std::size_t bytes) const noexcept {
  const auto* const first = static_cast<const std::byte*>(memory);
  auto block = blocks.upper_bound(first);
  if (block == blocks.begin()) return false;
  --block;
  const auto before = static_cast<std::size_t>(first - block->first);
  return before <= block->second && bytes <= block->second - before;
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
    arena.reserve(arena.size() + 1);
    arena.push_back({allocate(size), size});
    offset = 0;
  }
  std::byte* p = arena[chunk].memory + offset;
  offset += bytes;
  return p;
}

Frame::Frame(Context& context) : context_(context.impl()), chunk_(context_.chunk), offset_(context_.offset) {}
Frame::~Frame() {
  context_.chunk = chunk_;
  context_.offset = offset_;
}

template <class T>
View<T> Frame::view(Shape shape) {
  return {reinterpret_cast<T*>(context_.scratch(checked_bytes(shape, sizeof(T)))), shape};
}
template BILEVEL_API View<float> Frame::view(Shape);
template BILEVEL_API View<double> Frame::view(Shape);
template BILEVEL_API View<std::int32_t> Frame::view(Shape);
template BILEVEL_API View<std::uint8_t> Frame::view(Shape);

Context::Context(const Device& device) : impl_(std::make_shared<Impl>(device)) {}
Context::~Context() = default;
Context::Context(Context&&) noexcept = default;
Context& Context::operator=(Context&&) noexcept = default;

void Context::refuse() {
  throw ConfigError("this context was moved from; use the one it was moved to, or make a new one.");
}

const Device& Context::device() const { return shared_impl()->device; }
Counters Context::counters() const { return shared_impl()->counters; }
void Context::synchronise() {
  impl().counters.host_syncs += 1;
  impl().backend->synchronise();
}

std::size_t checked_bytes(const Shape& shape, std::size_t element) {
  if (shape.n < 0 || shape.c < 0 || shape.h < 0 || shape.w < 0)
    throw ShapeError("an array cannot have the shape " + shape.str() + ": sizes must not be negative.");
  // Alignment and page size are added to it.
  constexpr std::size_t most = std::numeric_limits<std::ptrdiff_t>::max() / 2;
  std::size_t bytes = element;
  for (const int size : {shape.n, shape.c, shape.h, shape.w}) {
    const auto factor = static_cast<std::size_t>(size);
    if (factor == 0) return 0;
    bytes = bytes <= most / factor ? bytes * factor : most + 1;
  }
  if (bytes > most)
    throw ShapeError("an array of shape " + shape.str() + " with " + std::to_string(element) +
                     " bytes per entry is larger than the " + std::to_string(most) +
                     " bytes that can be addressed.");
  return bytes;
}

void require_memory(Context& context, const void* memory, std::size_t bytes, const char* what) {
  if (bytes == 0 || context.impl().holds(memory, bytes)) return;
  if (!memory)
    throw ConfigError(std::string(what) + ": a null pointer was given for an array of " +
                      std::to_string(bytes) + " bytes.");
  throw ConfigError(std::string(what) + ": an array of " + std::to_string(bytes) +
                    " bytes is not memory of this context; copy it to a tensor of the context first.");
}

}  // namespace v0
}  // namespace bilevel
