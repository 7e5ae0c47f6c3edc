#pragma once

// Calls of device libraries, bracketed like kernel launches.

#include <cstdint>

#include "device/backend.hpp"

namespace bilevel {
inline namespace v0 {

/// call() between enter and leave of the stream: counted as one launch, with guarded memory open and the
/// device current. `name` says in errors what was called.
template <class Call>
void call_library(Context& context, const char* name, const Call& call) {
  const kernels::Stream& stream = stream_of(context);
  stream.enter(stream.owner);
  try {
    call();
  } catch (...) {
    try {
      stream.leave(stream.owner, name);
    } catch (...) {  // the first error says more
    }
    throw;
  }
  stream.leave(stream.owner, name);
}

/// body(job) for every job in [0, jobs), on all threads of a CPU device; it must not throw.
template <class Body>
void for_each_job(Context& context, std::int64_t jobs, const Body& body) {
  const kernels::Stream& stream = stream_of(context);
  stream.parallel(
      stream.owner, jobs,
      [](void* argument, std::int64_t begin, std::int64_t end) {
        for (std::int64_t job = begin; job < end; ++job) (*static_cast<const Body*>(argument))(job);
      },
      const_cast<Body*>(&body));
}

}  // namespace v0
}  // namespace bilevel
