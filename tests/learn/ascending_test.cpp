// The order of numbers on a device.

#include "learn/ascending.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "bilevel/core/error.hpp"
#include "tests/support/random.hpp"
#include "tests/support/test_device.hpp"

namespace bilevel {
namespace {

using namespace testing_support;

std::vector<std::int32_t> expected(const std::vector<double>& values) {
  std::vector<std::int32_t> order(values.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
    return values[static_cast<std::size_t>(a)] < values[static_cast<std::size_t>(b)];
  });
  return order;
}

TEST(Ascending, IsAStableSort) {
  Random random(seed(87));
  Context context(Device::open(test_device("cpu:2")));
  constexpr double infinity = std::numeric_limits<double>::infinity();
  for (const std::size_t count : {0u, 1u, 2u, 257u, 20000u}) {
    std::vector<double> values = random.normal_vector(count);
    EXPECT_EQ(ascending(context, values), expected(values)) << count;
    for (double& v : values) v = std::round(2 * v);  // many ties, zeros of both signs
    EXPECT_EQ(ascending(context, values), expected(values)) << count << " with ties";
  }
  const std::vector<double> extremes{infinity, -0.0, 0.0, 5e-324, -5e-324, -infinity, 0.0, -0.0, 1e308};
  EXPECT_EQ(ascending(context, extremes), expected(extremes));
}

TEST(Ascending, TheSecondTimeAllocatesNothing) {
  Random random(seed(88));
  Context context(Device::open(test_device("cpu:2")));
  const std::vector<double> values = random.normal_vector(3000);
  static_cast<void>(ascending(context, values));
  const auto before = context.counters();
  static_cast<void>(ascending(context, values));
  EXPECT_EQ(context.counters().allocations, before.allocations);
  EXPECT_EQ(context.counters().bytes_downloaded - before.bytes_downloaded, 4u * 3000);
}

TEST(Ascending, RefusesWhatIsNoNumber) {
  Context context(Device::open(test_device("cpu:2")));
  EXPECT_THROW(ascending(context, std::vector<double>{1, std::nan(""), 2}), Error);
}

}  // namespace
}  // namespace bilevel
