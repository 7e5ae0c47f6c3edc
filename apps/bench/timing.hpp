#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <vector>

#include "bilevel/core/context.hpp"

namespace bilevel_app::bench {

struct Timing {
  double seconds;          ///< per call, median over the repetitions
  int batch, repetitions;  ///< calls between two waits; how often
  std::uint64_t launches;  ///< of one call
};

/// Times `enqueue`, which only enqueues: batches of calls with one wait at their end, long enough for the
/// wait and the start not to matter, until `min_time` seconds are spent and at least three were made.
template <class F>
Timing time_launches(bilevel::Context& context, double min_time, F enqueue) {
  const auto run = [&](int calls) {
    const auto start = std::chrono::steady_clock::now();
    for (int k = 0; k < calls; ++k) enqueue();
    context.synchronise();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  constexpr int most_calls = 1 << 14, most_repetitions = 1000;
  run(1);  // allocates what the launches need
  const std::uint64_t before = context.counters().launches;
  int batch = 1;
  double seconds = run(1);
  const std::uint64_t launches = context.counters().launches - before;
  for (; seconds < 0.1 * min_time && batch < most_calls; seconds = run(batch)) batch *= 2;

  std::vector<double> times;
  for (double spent = 0; times.size() < 3 || (spent < min_time && times.size() < most_repetitions);) {
    const double t = run(batch);
    spent += t;
    times.push_back(t / batch);
  }
  std::nth_element(times.begin(), times.begin() + times.size() / 2, times.end());
  return {times[times.size() / 2], batch, static_cast<int>(times.size()), launches};
}

}  // namespace bilevel_app::bench
