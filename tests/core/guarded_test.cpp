#include <gtest/gtest.h>

#include <cmath>
#include <iostream>

#include "bilevel/core/scalars.hpp"
#include "device/backend.hpp"

// The guarded device proves that host code never reads or writes device memory: it faults.

namespace bilevel {
namespace {

class GuardedDeathTest : public ::testing::Test {
 protected:
  void SetUp() override { ::testing::FLAGS_gtest_death_test_style = "threadsafe"; }
};

TEST_F(GuardedDeathTest, HostReadOfATensorFaults) {
  EXPECT_DEATH(
      {
        Context context(Device::open("cpu-guarded:1"));
        const Tensor<float> t(context, {1, 1, 1, 4}, std::vector<float>{1, 2, 3, 4});
        const volatile float* peek = t.view().device_data();
        std::cerr << "read " << *peek << std::endl;
      },
      "");
}

TEST_F(GuardedDeathTest, HostWriteToScratchFaultsAfterALaunch) {
  EXPECT_DEATH(
      {
        Context context(Device::open("cpu-guarded:1"));
        Frame frame(context);
        const View<double> v = frame.view<double>({1, 1, 1, 4});
        fill<double>(context, v, 1.0);
        volatile double* poke = v.device_data();
        *poke = 2;
        std::cerr << "wrote" << std::endl;
      },
      "");
}

TEST_F(GuardedDeathTest, PlainDeviceDoesNotFault) {
  Context context(Device::open("cpu:1"));
  const Tensor<float> t(context, {1, 1, 1, 4}, std::vector<float>{1, 2, 3, 4});
  const volatile float* peek = t.view().device_data();
  EXPECT_EQ(*peek, 1);
}

TEST(GuardedDevice, FreshMemoryHoldsNotANumber) {
  Context context(Device::open("cpu-guarded:1"));
  const Tensor<double> t(context, {1, 1, 1, 5});
  for (const double v : download(context, t)) EXPECT_TRUE(std::isnan(v));
}

TEST(GuardedDevice, LaunchesAndCopiesReachTheMemory) {
  Context context(Device::open("cpu-guarded:2"));
  Frame frame(context);
  const View<float> a = frame.view<float>({1, 1, 1, 5}), b = frame.view<float>({1, 1, 1, 5});
  fill<float>(context, a, 2.5F);
  copy<float>(context, a, b);
  EXPECT_EQ(download(context, b), std::vector<float>(5, 2.5F));
}

}  // namespace
}  // namespace bilevel
