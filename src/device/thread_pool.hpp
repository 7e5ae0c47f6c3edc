#pragma once

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

namespace bilevel {
inline namespace v0 {

/// Runs the chunks of one loop at a time on the calling thread and its workers. Chunks are claimed one by
/// one, so a worker that the system does not schedule delays nobody, and waiting threads spin for some
/// microseconds only: unlike OpenMP's, loops stay fast on a machine that is busy with other things.
class ThreadPool {
 public:
  /// body(argument, begin, end) for a part of the loop; it must not throw.
  using Body = void (*)(void* argument, std::int64_t begin, std::int64_t end);

  explicit ThreadPool(int threads) : threads_(threads) {}
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  /// Covers [0, jobs) and returns when all of it is done. Not reentrant. The first call starts the workers;
  /// throws DeviceError when the system refuses one, before any of the work is done.
  void run(std::int64_t jobs, Body body, void* argument);

 private:
  void start_workers();
  /// The open loop: its number, its chunks, and the next chunk to claim. A claim succeeds only for the loop
  /// it is meant for, so a worker that comes late cannot touch the next one.
  static constexpr int bits = 20;
  static constexpr std::uint64_t mask = (std::uint64_t{1} << bits) - 1;
  bool claim(std::uint64_t loop, std::uint64_t& chunk);
  void work(std::uint64_t loop);
  void worker();

  int threads_;
  std::vector<std::thread> workers_;
  Body body_ = nullptr;
  void* argument_ = nullptr;
  std::int64_t jobs_ = 0;
  std::uint64_t chunks_ = 0, loop_ = 0;
  alignas(64) std::atomic<std::uint64_t> ticket_{0};
  alignas(64) std::atomic<std::uint64_t> done_{0};
  alignas(64) std::atomic<std::uint32_t> bell_{0};
  std::atomic<bool> stop_{false};
};

}  // namespace v0
}  // namespace bilevel
