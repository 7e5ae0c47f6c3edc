#include "device/thread_pool.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <numeric>
#include <vector>

namespace bilevel {
namespace {

struct Visits {
  std::vector<std::atomic<int>> count;
  explicit Visits(std::int64_t jobs) : count(static_cast<std::size_t>(jobs)) {}
  static void body(void* self, std::int64_t begin, std::int64_t end) {
    for (std::int64_t j = begin; j < end; ++j)
      static_cast<Visits*>(self)->count[static_cast<std::size_t>(j)] += 1;
  }
};

TEST(ThreadPool, VisitsEveryJobOnceForAnyNumberOfThreads) {
  for (const int threads : {1, 2, 3, 7, 16}) {
    ThreadPool pool(threads);
    for (const std::int64_t jobs : {0, 1, 2, 5, 8, 63, 1000}) {
      Visits visits(jobs);
      pool.run(jobs, Visits::body, &visits);
      for (const auto& v : visits.count) ASSERT_EQ(v.load(), 1) << threads << " threads, " << jobs << " jobs";
    }
  }
}

// Loops follow each other so closely that workers come late for many of them.
TEST(ThreadPool, SurvivesManyShortLoops) {
  ThreadPool pool(4);
  std::int64_t total = 0;
  for (int loop = 0; loop < 20000; ++loop) {
    std::atomic<std::int64_t> sum = 0;
    pool.run(
        10,
        [](void* s, std::int64_t begin, std::int64_t end) {
          for (std::int64_t j = begin; j < end; ++j) *static_cast<std::atomic<std::int64_t>*>(s) += j;
        },
        &sum);
    ASSERT_EQ(sum.load(), 45);
    total += sum.load();
  }
  EXPECT_EQ(total, 45 * 20000);
}

// Results written by workers are visible to the caller without further synchronisation.
TEST(ThreadPool, PublishesWhatWorkersWrote) {
  ThreadPool pool(3);
  std::vector<int> values(997, 0);
  for (int round = 1; round <= 200; ++round) {
    pool.run(
        static_cast<std::int64_t>(values.size()),
        [](void* v, std::int64_t begin, std::int64_t end) {
          for (std::int64_t j = begin; j < end; ++j)
            (*static_cast<std::vector<int>*>(v))[static_cast<std::size_t>(j)] += 1;
        },
        &values);
    ASSERT_EQ(std::accumulate(values.begin(), values.end(), 0), round * 997);
  }
}

TEST(ThreadPool, EndsWithIdleWorkers) {
  for (int k = 0; k < 50; ++k) {
    ThreadPool pool(4);
    Visits visits(16);
    pool.run(16, Visits::body, &visits);
  }
}

}  // namespace
}  // namespace bilevel
