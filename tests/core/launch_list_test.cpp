#include "device/launch_list.hpp"

#include <gtest/gtest.h>

#include <stdexcept>

#include "bilevel/core/scalars.hpp"
#include "kernels/krylov_args.hpp"
#include "tests/support/random.hpp"
#include "tests/support/test_device.hpp"

namespace bilevel {
namespace {

using testing_support::on_cuda;
using testing_support::Random;
using testing_support::seed;
using testing_support::test_device;

/// x <- a x + y per call, and the sums <x, y>.
class LaunchLists : public ::testing::Test {
 protected:
  static constexpr int images = 3, size = 700;

  void step(double a) {
    const Active all = active_.active();
    kernel_table<double>(context_).combine(
        stream_of(context_), {all, size, x_.view().device_data(), y_.view().device_data(), a, 1, nullptr,
                              nullptr, x_.view().device_data()});
    kernel_table<double>(context_).dot(
        stream_of(context_),
        {all, size, x_.view().device_data(), y_.view().device_data(), false, sums_.view().device_data()});
  }
  std::vector<double> state() {
    std::vector<double> all = download(context_, x_), sums = download(context_, sums_);
    all.insert(all.end(), sums.begin(), sums.end());
    return all;
  }
  void restart() {
    Random random(seed(71));
    x_.upload(context_, random.normal_vector(images * size));
    y_.upload(context_, random.normal_vector(images * size));
  }

  Context context_{Device::open(test_device("cpu:2"))};
  Frame frame_{context_};
  ActiveSet active_{context_, frame_, images};
  Tensor<double> x_{context_, {images, 1, 1, size}}, y_{context_, {images, 1, 1, size}};
  Tensor<double> sums_{context_, {images, 1, 1, 1}};
};

TEST_F(LaunchLists, ReplayDoesWhatDirectLaunchesDo) {
  restart();
  for (int k = 0; k < 12; ++k) step(k % 2 == 0 ? 0.5 : -0.25);
  const std::vector<double> direct = state();
  restart();
  LaunchList list(context_);
  const std::uint64_t before = context_.counters().launches;
  for (int k = 0; k < 12; ++k) {
    const double a = k % 2 == 0 ? 0.5 : -0.25;
    list.run({static_cast<std::uintptr_t>(k % 2)}, [&] { step(a); });
  }
  EXPECT_EQ(context_.counters().launches - before, 24U);
  EXPECT_EQ(state(), direct);
}

TEST_F(LaunchLists, ManyKeysAreForgottenNotWrong) {
  restart();
  for (int k = 0; k < 200; ++k) step(1.0 / (1 + k % 50));
  const std::vector<double> direct = state();
  restart();
  LaunchList list(context_);
  for (int k = 0; k < 200; ++k)
    list.run({static_cast<std::uintptr_t>(k % 50)}, [&] { step(1.0 / (1 + k % 50)); });
  EXPECT_EQ(state(), direct);
}

TEST_F(LaunchLists, AGrowingBufferOfPartialSumsIsNoticed) {
  restart();
  const auto grow = [&] {
    Tensor<double> big(context_, {1, 1, 1, 400000});
    fill<double>(context_, big.view(), 1);
    ActiveSet one(context_, frame_, 1);
    kernel_table<double>(context_).dot(
        stream_of(context_), {one.active(), 400000, big.view().device_data(), big.view().device_data(), false,
                              sums_.view().device_data()});
    EXPECT_EQ(download(context_, sums_)[0], 400000);
  };
  for (int k = 0; k < 6; ++k) step(0.5);
  const std::vector<double> direct = state();
  restart();
  LaunchList list(context_);
  for (int k = 0; k < 6; ++k) {
    if (k == 4) grow();
    list.run({1}, [&] { step(0.5); });
  }
  EXPECT_EQ(state(), direct);
}

TEST_F(LaunchLists, ListsThatTransferStayDirect) {
  restart();
  LaunchList list(context_);
  int calls = 0;
  for (int k = 0; k < 5; ++k)
    list.run({1}, [&] {
      step(0.5);
      static_cast<void>(download(context_, sums_));
      ++calls;
    });
  EXPECT_EQ(calls, 5);
}

TEST_F(LaunchLists, ListsThatOnlyLaunchAreCalledTwiceOnCuda) {
  restart();
  step(0.5);  // a first run that allocates partial sums would not be followed by a recording
  LaunchList list(context_);
  int calls = 0;
  for (int k = 0; k < 5; ++k)
    list.run({1}, [&] {
      step(0.5);
      ++calls;
    });
  EXPECT_EQ(calls, on_cuda() ? 2 : 5);
}

TEST_F(LaunchLists, AnExceptionWhileRecordingLeavesTheContextUsable) {
  restart();
  LaunchList list(context_);
  const auto run = [&](bool fail) {
    list.run({1}, [&] {
      step(0.5);
      if (fail) throw std::runtime_error("stop");
    });
  };
  run(false);
  EXPECT_THROW(run(true), std::runtime_error);
  restart();
  for (int k = 0; k < 3; ++k) run(false);
  const std::vector<double> recorded = state();
  restart();
  for (int k = 0; k < 3; ++k) step(0.5);
  EXPECT_EQ(recorded, state());
}

}  // namespace
}  // namespace bilevel
