#include "bilevel/core/context.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <utility>

#include "bilevel/core/error.hpp"
#include "bilevel/core/tensor.hpp"
#include "tests/support/random.hpp"
#include "tests/support/test_device.hpp"

namespace bilevel {
namespace {

using testing_support::Random;
using testing_support::seed;
using testing_support::test_device;

class Arena : public ::testing::TestWithParam<std::string> {
 protected:
  Context context_{Device::open(GetParam())};
  std::uint64_t allocations() { return context_.counters().allocations; }
};
INSTANTIATE_TEST_SUITE_P(Devices, Arena, ::testing::Values(test_device("cpu:2"), "cpu-guarded:2"),
                         [](const auto& i) { return std::string(i.index == 0 ? "plain" : "guarded"); });

TEST_P(Arena, FramesNestAndSecondUseAllocatesNothing) {
  const auto work = [&] {
    Frame outer(context_);
    const auto a = outer.view<float>({1, 1, 100, 100});
    fill<float>(context_, a, 1.0F);
    for (int k = 0; k < 3; ++k) {
      Frame inner(context_);
      const auto b = inner.view<double>({4, 1, 300, 300});
      fill<double>(context_, b, 2.0);
      {
        Frame innermost(context_);
        fill<double>(context_, innermost.view<double>({1, 1, 1, 7}), 3.0);
      }
      EXPECT_EQ(download(context_, b), std::vector<double>(360000, 2.0));
    }
    EXPECT_EQ(download(context_, a), std::vector<float>(10000, 1.0F));
  };
  work();
  const std::uint64_t before = allocations();
  EXPECT_GT(before, 0U);
  work();
  EXPECT_EQ(allocations(), before);
}

TEST_P(Arena, MemoryIsGivenBackAtTheEndOfAFrame) {
  float* first = nullptr;
  {
    Frame frame(context_);
    first = frame.view<float>({1, 1, 10, 10}).device_data();
  }
  Frame frame(context_);
  EXPECT_EQ(frame.view<float>({1, 1, 10, 10}).device_data(), first);
  EXPECT_NE(frame.view<float>({1, 1, 10, 10}).device_data(), first);
}

/// Random frames and views: live views never overlap and keep their contents.
TEST_P(Arena, LiveViewsDoNotOverlap) {
  Random random(seed(1101));
  for (int round = 0; round < 5; ++round) {
    Frame outer(context_);
    std::vector<View<double>> live;
    const auto take = [&](Frame& frame, int count) {
      for (int k = 0; k < count; ++k) {
        live.push_back(frame.view<double>({1, 1, 1, random.integer(1, k % 5 == 0 ? 200000 : 1000)}));
        fill<double>(context_, live.back(), static_cast<double>(live.size()));
      }
    };
    take(outer, 6);
    for (int nested = 0; nested < 3; ++nested) {
      const std::size_t kept = live.size();
      Frame inner(context_);
      take(inner, 8);
      for (std::size_t k = 0; k < live.size(); ++k)
        ASSERT_EQ(download(context_, live[k]),
                  std::vector<double>(live[k].shape().count(), static_cast<double>(k + 1)));
      live.resize(kept);
    }
  }
}

TEST_P(Arena, ViewsAreAlignedAndEmptyOnesAreAllowed) {
  Frame frame(context_);
  for (const int size : {1, 3, 0, 17, 4097}) {
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(frame.view<std::uint8_t>({1, 1, 1, size}).device_data()) % 64,
              0U);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(frame.view<std::int32_t>({1, 1, 1, size}).device_data()) % 64,
              0U);
  }
}

TEST_P(Arena, CountersSayWhatHappened) {
  Frame frame(context_);
  const auto v = frame.view<float>({1, 1, 2, 5});
  const Counters start = context_.counters();
  upload<float>(context_, std::vector<float>(10, 1.5F), v);
  fill<float>(context_, v, 2.0F);
  const Counters enqueued = context_.counters();
  EXPECT_EQ(enqueued.bytes_uploaded, start.bytes_uploaded + 40);
  EXPECT_EQ(enqueued.launches, start.launches + 1);
  EXPECT_EQ(enqueued.host_syncs, start.host_syncs);
  EXPECT_EQ(download(context_, v), std::vector<float>(10, 2.0F));
  const Counters read = context_.counters();
  EXPECT_EQ(read.bytes_downloaded, start.bytes_downloaded + 40);
  EXPECT_EQ(read.host_syncs, start.host_syncs + 1);
  context_.synchronise();
  EXPECT_EQ(context_.counters().host_syncs, start.host_syncs + 2);
}

TEST_P(Arena, MemoryCountersFollowTensors) {
  const Counters start = context_.counters();
  {
    const Tensor<double> t(context_, {1, 1, 10, 10});
    EXPECT_EQ(context_.counters().bytes_allocated, start.bytes_allocated + 800);
    EXPECT_EQ(context_.counters().allocations, start.allocations + 1);
    EXPECT_GE(context_.counters().peak_bytes, start.bytes_allocated + 800);
  }
  EXPECT_EQ(context_.counters().bytes_allocated, start.bytes_allocated);
  EXPECT_GE(context_.counters().peak_bytes, start.bytes_allocated + 800);
}

TEST_P(Arena, ExhaustedMemoryIsADeviceErrorAndTheContextStaysUsable) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "Address sanitizer ends the program at an allocation that cannot succeed.";
#endif
  const int huge = 1 << 30;
  EXPECT_THROW(Tensor<double>(context_, {1 << 14, 1, 1, huge}), DeviceError);
  EXPECT_THROW(
      {
        Frame frame(context_);
        frame.view<double>({1 << 14, 1, 1, huge});
      },
      DeviceError);
  Frame frame(context_);
  const auto v = frame.view<float>({1, 1, 1, 4});
  fill<float>(context_, v, 1.0F);
  EXPECT_EQ(download(context_, v), std::vector<float>(4, 1.0F));
}

TEST(ContextMoves, KeepTheArenaAndTheCounters) {
  Context first(Device::open(test_device("cpu:2")));
  {
    Frame frame(first);
    fill<float>(first, frame.view<float>({1, 1, 1, 4}), 1.0F);
  }
  const std::uint64_t launches = first.counters().launches;
  Context second(std::move(first));
  EXPECT_EQ(second.counters().launches, launches);
  Frame frame(second);
  const auto v = frame.view<float>({1, 1, 1, 4});
  fill<float>(second, v, 3.0F);
  EXPECT_EQ(download(second, v), std::vector<float>(4, 3.0F));
  EXPECT_EQ(second.counters().launches, launches + 1);
}

}  // namespace
}  // namespace bilevel
