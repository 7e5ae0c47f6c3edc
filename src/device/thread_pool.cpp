#include "device/thread_pool.hpp"

#include <algorithm>
#include <string>
#include <system_error>

#include "bilevel/core/error.hpp"

namespace bilevel {
inline namespace v0 {
namespace {

constexpr int spins = 4000;           // about 50 microseconds
constexpr int chunks_per_thread = 4;  // evens out what threads get done

inline void pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#endif
}

}  // namespace

ThreadPool::~ThreadPool() {
  stop_.store(true);
  bell_.fetch_add(1);
  bell_.notify_all();
  for (std::thread& t : workers_) t.join();
}

void ThreadPool::start_workers() {
  try {
    workers_.reserve(static_cast<std::size_t>(threads_ - 1));
    while (static_cast<int>(workers_.size()) < threads_ - 1) workers_.emplace_back([this] { worker(); });
  } catch (const std::system_error& error) {
    throw DeviceError("the CPU device cannot start thread " + std::to_string(workers_.size() + 2) + " of " +
                      std::to_string(threads_) + " (" + error.code().message() + "); use fewer threads.");
  }
}

void ThreadPool::run(std::int64_t jobs, Body body, void* argument) {
  if (jobs <= 0) return;
  if (threads_ == 1 || jobs == 1) return body(argument, 0, jobs);
  if (static_cast<int>(workers_.size()) < threads_ - 1) start_workers();
  body_ = body;
  argument_ = argument;
  jobs_ = jobs;
  chunks_ =
      static_cast<std::uint64_t>(std::min<std::int64_t>(jobs, std::int64_t{threads_} * chunks_per_thread));
  loop_ += 1;
  done_.store(0, std::memory_order_relaxed);
  ticket_.store(loop_ << (2 * bits) | chunks_ << bits, std::memory_order_release);
  bell_.fetch_add(1, std::memory_order_release);
  bell_.notify_all();
  const std::uint64_t chunks = chunks_;
  work(loop_ & (~std::uint64_t{0} >> (2 * bits)));
  for (int k = 0; done_.load(std::memory_order_acquire) != chunks; ++k) {
    if (k < spins)
      pause();
    else
      std::this_thread::yield();
  }
}

bool ThreadPool::claim(std::uint64_t loop, std::uint64_t& chunk) {
  std::uint64_t t = ticket_.load(std::memory_order_acquire);
  while (t >> (2 * bits) == loop && (t & mask) < (t >> bits & mask)) {
    if (!ticket_.compare_exchange_weak(t, t + 1, std::memory_order_acq_rel, std::memory_order_acquire))
      continue;
    chunk = t & mask;
    return true;
  }
  return false;
}

void ThreadPool::work(std::uint64_t loop) {
  std::uint64_t chunk = 0;
  while (claim(loop, chunk)) {
    const auto c = static_cast<std::int64_t>(chunk), n = static_cast<std::int64_t>(chunks_);
    body_(argument_, jobs_ * c / n, jobs_ * (c + 1) / n);
    done_.fetch_add(1, std::memory_order_acq_rel);
  }
}

void ThreadPool::worker() {
  std::uint32_t heard = 0;
  while (true) {
    for (int k = 0; k < spins && bell_.load(std::memory_order_acquire) == heard; ++k) pause();
    bell_.wait(heard, std::memory_order_acquire);
    heard = bell_.load(std::memory_order_acquire);
    if (stop_.load()) return;
    work(ticket_.load(std::memory_order_acquire) >> (2 * bits));
  }
}

}  // namespace v0
}  // namespace bilevel
