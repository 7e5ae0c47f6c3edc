#pragma once

#include <cstddef>
#include <memory>
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
  int threads = 1;
  bool guarded = false;
  std::size_t memory = 0;
  const kernels::Table<float>* table_float = nullptr;
  const kernels::Table<double>* table_double = nullptr;
  const kernels::ScalarTable* table_scalar = nullptr;
};

/// Memory, copies and launch brackets of one ordered stream of a device.
class Backend {
 public:
  virtual ~Backend() = default;
  virtual void* allocate(std::size_t bytes) = 0;  ///< throws DeviceError
  virtual void release(void* memory) noexcept = 0;
  virtual void upload(void* target, const void* source, std::size_t bytes) = 0;
  virtual void download(void* target, const void* source, std::size_t bytes) = 0;  ///< enqueues
  virtual void copy(void* target, const void* source, std::size_t bytes) = 0;
  virtual void synchronise() = 0;
  virtual void enter() = 0;  ///< before a launch
  virtual void leave() = 0;  ///< after it
};

std::unique_ptr<Backend> make_cpu_backend(const Device::Impl& device);

struct Context::Impl {
  explicit Impl(const Device& d);
  ~Impl();

  Device device;
  std::unique_ptr<Backend> backend;
  Counters counters;
  kernels::Stream stream;
  ThreadPool pool;

  struct Chunk {
    std::byte* memory;
    std::size_t bytes;
  };
  std::vector<Chunk> arena;
  std::size_t chunk = 0, offset = 0;  // next free byte of the arena
  double* partials = nullptr;
  std::size_t partials_capacity = 0;

  std::byte* allocate(std::size_t bytes);
  void release(void* memory, std::size_t bytes) noexcept;
  std::byte* scratch(std::size_t bytes);

  template <class T>
  const kernels::Table<T>& table() const {
    if constexpr (sizeof(T) == sizeof(float))
      return *device.impl().table_float;
    else
      return *device.impl().table_double;
  }
  const kernels::ScalarTable& scalar_table() const { return *device.impl().table_scalar; }
};

/// The kernels of a context and the stream to launch them on.
template <class T>
const kernels::Table<T>& kernel_table(Context& context) {
  return context.impl().table<T>();
}
inline const kernels::Stream& stream_of(Context& context) { return context.impl().stream; }

}  // namespace v0
}  // namespace bilevel
