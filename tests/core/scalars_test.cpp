#include "bilevel/core/scalars.hpp"

#include <gtest/gtest.h>

#include "device/backend.hpp"
#include "tests/support/random.hpp"
#include "tests/support/test_device.hpp"

namespace bilevel {
namespace {

using testing_support::Random;
using testing_support::seed;
using Flags = std::vector<std::uint8_t>;
using Indices = std::vector<std::int32_t>;

class ActiveSets : public ::testing::Test {
 protected:
  void set_mask(ActiveSet& set, const Flags& flags) {
    upload<std::uint8_t>(context_, flags,
                         View<std::uint8_t>(set.mask(), {static_cast<int>(flags.size()), 1, 1, 1}));
  }
  Flags mask(const ActiveSet& set, int n) {
    return download<std::uint8_t>(context_, View<const std::uint8_t>(set.active().mask, {n, 1, 1, 1}));
  }
  Indices listed(const ActiveSet& set) {
    return download<std::int32_t>(context_,
                                  View<const std::int32_t>(set.active().index, {set.count(), 1, 1, 1}));
  }
  Context context_{Device::open(testing_support::test_device("cpu-guarded:2"))};
  Frame frame_{context_};
};

TEST_F(ActiveSets, RefreshListsTheUnfinishedImagesInOrder) {
  ActiveSet set(context_, frame_, 6);
  EXPECT_EQ(set.count(), 6);
  EXPECT_EQ(listed(set), (Indices{0, 1, 2, 3, 4, 5}));
  set_mask(set, {0, 1, 0, 1, 1, 0});
  EXPECT_EQ(set.count(), 6) << "the list is that of the last refresh";
  EXPECT_EQ(set.refresh(context_), 3);
  EXPECT_EQ(listed(set), (Indices{1, 3, 4}));
  EXPECT_EQ(set.active().count, 3);
  set_mask(set, {0, 0, 0, 0, 1, 0});
  EXPECT_EQ(set.refresh(context_), 1);
  EXPECT_EQ(listed(set), (Indices{4}));
  set_mask(set, Flags(6, 0));
  EXPECT_EQ(set.refresh(context_), 0);
  set.reset(context_);
  EXPECT_EQ(set.count(), 6);
  EXPECT_EQ(mask(set, 6), Flags(6, 1));
  EXPECT_EQ(listed(set), (Indices{0, 1, 2, 3, 4, 5}));
}

TEST_F(ActiveSets, RandomMasks) {
  Random random(seed(1201));
  for (const int n : {1, 2, 17, 300}) {
    ActiveSet set(context_, frame_, n);
    for (int trial = 0; trial < 10; ++trial) {
      Flags flags;
      Indices want;
      for (int i = 0; i < n; ++i) {
        flags.push_back(random.uniform() < 0.5 ? 1 : 0);
        if (flags.back() != 0) want.push_back(i);
      }
      set_mask(set, flags);
      EXPECT_EQ(set.refresh(context_), static_cast<int>(want.size()));
      EXPECT_EQ(listed(set), want);
    }
  }
}

TEST_F(ActiveSets, AssignCopiesMaskListAndCount) {
  ActiveSet a(context_, frame_, 4), b(context_, frame_, 4);
  set_mask(a, {0, 1, 1, 0});
  a.refresh(context_);
  const Counters before = context_.counters();
  b.assign(context_, a);
  EXPECT_EQ(context_.counters().host_syncs, before.host_syncs);
  EXPECT_EQ(b.count(), 2);
  EXPECT_EQ(listed(b), (Indices{1, 2}));
  EXPECT_EQ(mask(b, 4), (Flags{0, 1, 1, 0}));
  set_mask(b, {0, 0, 1, 0});
  EXPECT_EQ(mask(a, 4), (Flags{0, 1, 1, 0})) << "the copy is independent";
}

TEST_F(ActiveSets, RefreshWaitsOnceAndResetNever) {
  ActiveSet set(context_, frame_, 3);
  const Counters before = context_.counters();
  set.reset(context_);
  EXPECT_EQ(context_.counters().host_syncs, before.host_syncs);
  set.refresh(context_);
  EXPECT_EQ(context_.counters().host_syncs, before.host_syncs + 1);
  EXPECT_EQ(context_.counters().allocations, before.allocations);
}

TEST_F(ActiveSets, FetchBringsTheValuesOfItsMoment) {
  const View<double> v = frame_.view<double>({3, 1, 1, 1});
  upload<double>(context_, std::vector<double>{1, -2, 3.5}, v);
  const Counters before = context_.counters();
  Fetch pending = fetch(context_, v);
  EXPECT_EQ(context_.counters().host_syncs, before.host_syncs);
  fill<double>(context_, v, 9);  // enqueued later
  EXPECT_EQ(pending.wait(context_), (std::vector<double>{1, -2, 3.5}));
  EXPECT_EQ(context_.counters().host_syncs, before.host_syncs + 1);
  EXPECT_EQ(context_.counters().bytes_downloaded, before.bytes_downloaded + 24);
  EXPECT_EQ(fetch(context_, v).wait(context_), (std::vector<double>{9, 9, 9}));
}

}  // namespace
}  // namespace bilevel
