#pragma once

// The stream that launches run on, as control code hands it over.

#include <cstddef>
#include <cstdint>

#include "bilevel/core/active.hpp"

namespace bilevel::kernels {

/// Where and how launches run. `owner` is the context; enter/leave bracket each launch (counting, memory
/// guard).
struct Stream {
  int threads = 1;
  void* owner = nullptr;
  void (*enter)(void* owner) = nullptr;
  void (*leave)(void* owner) = nullptr;
  double* (*reserve)(void* owner, std::size_t doubles) = nullptr;
  /// CPU: body(argument, begin, end) over parts of [0, jobs), on all threads of the device.
  void (*parallel)(void* owner, std::int64_t jobs, void (*body)(void*, std::int64_t, std::int64_t),
                   void* argument) = nullptr;

  [[gnu::always_inline]] double* partials(std::size_t doubles) const { return reserve(owner, doubles); }
};

struct LaunchScope {
  [[gnu::always_inline]] explicit LaunchScope(const Stream& s) : stream(s) { stream.enter(stream.owner); }
  [[gnu::always_inline]] ~LaunchScope() { stream.leave(stream.owner); }
  const Stream& stream;
};

}  // namespace bilevel::kernels
