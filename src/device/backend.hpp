#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "bilevel/core/context.hpp"
#include "device/thread_pool.hpp"
#include "kernels/table.hpp"

namespace bilevel {
inline namespace v0 {

struct Device::Impl {
  DeviceKind kind = DeviceKind::cpu;
  std::string name;
  std::string instruction_set;
  std::string description;
  std::string fallback;
  int threads = 1;
  int ordinal = 0;  // of a CUDA device
  bool guarded = false;
  std::size_t memory = 0;
  const kernels::Table<float>* table_float = nullptr;
  const kernels::Table<double>* table_double = nullptr;
  const kernels::ScalarTable* table_scalar = nullptr;
};

/// Bytes on their way to the host.
class Arrival {
 public:
  virtual ~Arrival() = default;
  virtual std::span<const std::byte> wait() = 0;  ///< valid while this object lives
};

/// Launches recorded once, to be repeated with the same arguments.
class Recording {
 public:
  virtual ~Recording() = default;
  virtual void replay() = 0;  ///< enqueues
};

/// Memory, copies and launch brackets of one ordered stream of a device. All of it enqueues but what says
/// otherwise, and throws DeviceError.
class Backend {
 public:
  virtual ~Backend() = default;
  virtual void* allocate(std::size_t bytes) = 0;
  virtual void* allocate_zeros(std::size_t bytes) = 0;
  virtual void release(void* memory) noexcept = 0;
  virtual void upload(void* target, const void* source,
                      std::size_t bytes) = 0;  ///< source may change at once
  virtual void download(void* target, const void* source, std::size_t bytes) = 0;  ///< waits for it
  virtual std::unique_ptr<Arrival> fetch(const void* source, std::size_t bytes) = 0;
  virtual void copy(void* target, const void* source, std::size_t bytes) = 0;
  virtual void synchronise() = 0;              ///< waits for all
  virtual void enter() = 0;                    ///< before a launch
  virtual void leave(const char* kernel) = 0;  ///< after it
  virtual void* queue() { return nullptr; }
  /// Whether launches can be recorded: begin_recording(), launches, end_recording(). A recording holds no
  /// transfer, wait or allocation. stop_recording() drops what was recorded.
  virtual bool records() const { return false; }
  virtual void begin_recording() {}
  virtual std::unique_ptr<Recording> end_recording() { return nullptr; }
  virtual void stop_recording() noexcept {}
};

std::unique_ptr<Backend> make_cpu_backend(const Device::Impl& device);

struct Context::Impl {
  explicit Impl(const Device& d);
  ~Impl();
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  Device device;
  std::unique_ptr<Backend> backend;
  Counters counters;
  kernels::Stream stream;
  ThreadPool pool;

  struct Chunk {
    std::byte* memory;
    std::size_t bytes;
  };
  std::map<const std::byte*, std::size_t> blocks;  // all device memory: first byte, size
  std::vector<Chunk> arena;
  std::size_t chunk = 0, offset = 0;  // next free byte of the arena
  kernels::Partials partials = {};
  std::size_t partials_capacity = 0, arrived_capacity = 0;

  std::byte* allocate(std::size_t bytes);
  void release(void* memory, std::size_t bytes) noexcept;
  std::byte* scratch(std::size_t bytes);
  void download(void* target, const void* source, std::size_t bytes);  ///< waits for it
  kernels::Partials reserve(std::size_t doubles, std::size_t images);
  bool holds(const void* memory, std::size_t bytes) const noexcept;  ///< in one of the blocks

  template <class T>
  const kernels::Table<T>& table() const {
    if constexpr (sizeof(T) == sizeof(float))
      return *device.impl().table_float;
    else
      return *device.impl().table_double;
  }
  const kernels::ScalarTable& scalar_table() const { return *device.impl().table_scalar; }

 private:
  std::byte* counted(void* memory, std::size_t bytes);
};

/// Bytes of an array of `element` bytes per entry. Throws ShapeError for a shape that no array can have: with
/// a negative size, or too large to be addressed.
std::size_t checked_bytes(const Shape& shape, std::size_t element);

/// Throws ConfigError unless `memory` .. `memory + bytes` is device memory of this context; `what` names it.
void require_memory(Context& context, const void* memory, std::size_t bytes, const char* what);
template <class T>
void require_array(Context& context, View<T> view, const char* what) {
  require_memory(context, view.device_data(), checked_bytes(view.shape(), sizeof(T)), what);
}

/// The kernels of a context and the stream to launch them on.
template <class T>
const kernels::Table<T>& kernel_table(Context& context) {
  return context.impl().table<T>();
}
inline const kernels::Stream& stream_of(Context& context) { return context.impl().stream; }

}  // namespace v0
}  // namespace bilevel
