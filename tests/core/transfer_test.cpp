// Transfers and devices: what may overlap, and what each call promises.

#include <gtest/gtest.h>

#include "bilevel/core/error.hpp"
#include "bilevel/core/scalars.hpp"
#include "tests/support/random.hpp"
#include "tests/support/test_device.hpp"

namespace bilevel {
namespace {

using testing_support::on_cuda;
using testing_support::Random;
using testing_support::seed;
using testing_support::test_device;

class Transfers : public ::testing::Test {
 protected:
  Context context_{Device::open(test_device("cpu:2"))};
};

TEST_F(Transfers, TheSourceOfAnUploadMayChangeAtOnce) {
  Random random(seed(81));
  // From one number to several times the staging memory, ends of it included.
  for (const int size : {1, 5, 4096, 131071, 131072, 131073, 400001}) {
    const std::vector<double> values = random.normal_vector(static_cast<std::size_t>(size));
    Tensor<double> on_device(context_, {1, 1, 1, size});
    std::vector<double> source = values;
    on_device.upload(context_, source);
    source.assign(source.size(), -1);
    EXPECT_EQ(download(context_, on_device), values) << size;
  }
}

TEST_F(Transfers, ManyUploadsInARowArriveInOrder) {
  Random random(seed(82));
  Tensor<double> target(context_, {1, 1, 1, 1000});
  Tensor<double> sum(context_, {1, 1, 1, 1000});
  std::vector<double> last;
  for (int k = 0; k < 600; ++k) {
    last = random.normal_vector(1000);
    target.upload(context_, last);
    if (k == 299) copy<double>(context_, target.view(), sum.view());
  }
  EXPECT_EQ(download(context_, target), last);
  EXPECT_NE(download(context_, sum), last);
}

TEST_F(Transfers, AFetchHoldsTheValuesOfItsPlaceInTheStream) {
  Tensor<double> x(context_, {4, 1, 1, 1});
  fill<double>(context_, x.view(), 1);
  Fetch first = fetch(context_, x.view());
  fill<double>(context_, x.view(), 2);
  Fetch second = fetch(context_, x.view());
  fill<double>(context_, x.view(), 3);
  const std::uint64_t before = context_.counters().host_syncs;
  EXPECT_EQ(second.wait(context_), std::vector<double>(4, 2));
  EXPECT_EQ(first.wait(context_), std::vector<double>(4, 1));
  EXPECT_EQ(context_.counters().host_syncs - before, 2U);
}

TEST_F(Transfers, AFetchMayBeDroppedOrMoved) {
  Tensor<double> x(context_, {4, 1, 1, 1});
  for (int k = 0; k < 100; ++k) {
    fill<double>(context_, x.view(), k);
    Fetch dropped = fetch(context_, x.view());
    Fetch kept = fetch(context_, x.view());
    Fetch moved = std::move(kept);
    EXPECT_EQ(moved.wait(context_), std::vector<double>(4, k));
  }
}

TEST_F(Transfers, ContextsOfOneDeviceAreIndependent) {
  Context other(context_.device());
  Tensor<double> a(context_, {1, 1, 1, 50000}), b(other, {1, 1, 1, 50000});
  for (int k = 0; k < 5; ++k) {
    fill<double>(context_, a.view(), k);
    fill<double>(other, b.view(), -k);
  }
  EXPECT_EQ(download(context_, a), std::vector<double>(50000, 4));
  EXPECT_EQ(download(other, b), std::vector<double>(50000, -4));
}

TEST_F(Transfers, EmptyArraysAreFine) {
  Tensor<double> none(context_, {0, 1, 1, 1});
  fill<double>(context_, none.view(), 1);
  none.upload(context_, {});
  EXPECT_TRUE(download(context_, none).empty());
  EXPECT_TRUE(fetch(context_, none.view()).wait(context_).empty());
}

TEST(CudaDevices, AnswerToTheirNames) {
  if (!on_cuda()) GTEST_SKIP() << "needs BILEVEL_TEST_DEVICE=cuda";
  const Device first = Device::open("cuda"), same = Device::open("cuda:0");
  EXPECT_EQ(first.kind(), DeviceKind::cuda);
  EXPECT_EQ(first.name(), "cuda:0");
  EXPECT_EQ(same.name(), "cuda:0");
  EXPECT_EQ(Device::open("auto").name(), "cuda:0");
  EXPECT_TRUE(Device::open("auto").fallback().empty());
  EXPECT_TRUE(first.instruction_set().starts_with("sm_")) << first.instruction_set();
  EXPECT_NE(first.description().find(first.instruction_set()), std::string::npos);
  EXPECT_GT(first.memory(), std::size_t{1} << 20);
  for (const char* wrong : {"cuda:", "cuda:-1", "cuda:x", "cuda:1 ", "cuda:5000"})
    EXPECT_THROW(Device::open(wrong), ConfigError) << wrong;
  try {
    Device::open("cuda:1000");
    FAIL();
  } catch (const DeviceError& error) {
    EXPECT_NE(std::string(error.what()).find("this machine has "), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace bilevel
