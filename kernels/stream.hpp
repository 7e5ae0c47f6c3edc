#pragma once

// The stream that launches run on, as control code hands it over.

#include <cstddef>
#include <cstdint>

#include "bilevel/core/active.hpp"

namespace bilevel::kernels {

/// Where launches put the partial sums of their blocks: `sums`, and on CUDA one counter per image that is
/// zero between launches.
struct Partials {
  double* sums;
  unsigned* arrived;
  bool operator==(const Partials&) const = default;
};

/// Where and how launches run. `owner` is the context; enter/leave bracket each launch (counting, memory
/// guard, current device).
struct Stream {
  void* owner = nullptr;
  void* queue = nullptr;  // CUDA: the cudaStream_t
  void (*enter)(void* owner) = nullptr;
  /// CUDA: throws DeviceError, naming the kernel, when it could not be launched.
  void (*leave)(void* owner, const char* kernel) = nullptr;
  Partials (*reserve)(void* owner, std::size_t doubles, std::size_t images) = nullptr;
  /// CPU: body(argument, begin, end) over parts of [0, jobs), on all threads of the device.
  void (*parallel)(void* owner, std::int64_t jobs, void (*body)(void*, std::int64_t, std::int64_t),
                   void* argument) = nullptr;

  [[gnu::always_inline]] Partials partials(std::size_t doubles, std::size_t images) const {
    return reserve(owner, doubles, images);
  }
};

}  // namespace bilevel::kernels
