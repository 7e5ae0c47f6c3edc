#pragma once

#include "bilevel/observe/observer.hpp"

namespace bilevel_app {

/// Turns SIGINT and SIGTERM into a flag while it lives; a second signal ends the process at once.
class InterruptGuard {
 public:
  InterruptGuard();
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;
};

/// Whether a signal arrived since the newest guard was made.
bool interrupted();

/// Stops a run after a signal.
class InterruptObserver final : public bilevel::Observer {
 public:
  bool iteration(const bilevel::IterationRecord&) override { return !interrupted(); }
  bool alive() override { return !interrupted(); }
};

}  // namespace bilevel_app
