#pragma once

#include <cstdint>
#include <memory>

#include "bilevel/core/device.hpp"
#include "bilevel/core/view.hpp"

namespace bilevel {
inline namespace v0 {

/// What a context did since it was made.
struct Counters {
  std::uint64_t launches = 0;
  std::uint64_t allocations = 0;  ///< of device memory
  std::uint64_t host_syncs = 0;   ///< waits of the host: downloads, fetches, synchronise()
  std::uint64_t bytes_uploaded = 0;
  std::uint64_t bytes_downloaded = 0;
  std::uint64_t bytes_allocated = 0;  ///< now
  std::uint64_t peak_bytes = 0;
};

/// One ordered stream of work on a device with its scratch arena and counters. Move-only; one thread at a
/// time. Its arrays keep what they need of it: they may outlive it, and it may be moved. Using a context that
/// was moved from throws ConfigError.
class BILEVEL_API Context {
 public:
  explicit Context(const Device& device);
  ~Context();
  Context(Context&&) noexcept;
  Context& operator=(Context&&) noexcept;

  const Device& device() const;
  Counters counters() const;
  void synchronise();

  struct Impl;
  Impl& impl() { return *shared_impl(); }
  const std::shared_ptr<Impl>& shared_impl() const {
    if (!impl_) refuse();
    return impl_;
  }

 private:
  [[noreturn]] static void refuse();
  std::shared_ptr<Impl> impl_;
};

/// Scratch of one scope, taken from the arena of a context and given back at the end of the scope. Frames
/// nest.
class BILEVEL_API Frame {
 public:
  explicit Frame(Context& context);
  ~Frame();
  Frame(const Frame&) = delete;
  Frame& operator=(const Frame&) = delete;

  /// Uninitialised scratch. T is float, double, std::int32_t or std::uint8_t. Allocates only when the arena
  /// has never been this full. Throws ShapeError for sizes that are negative or too large to be addressed,
  /// DeviceError when memory is exhausted.
  template <class T>
  View<T> view(Shape shape);

 private:
  Context::Impl& context_;
  std::size_t chunk_, offset_;
};

}  // namespace v0
}  // namespace bilevel
