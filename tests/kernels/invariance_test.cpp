#include <gtest/gtest.h>

#include <algorithm>
#include <iostream>
#include <iterator>
#include <optional>

#include "bilevel/core/error.hpp"
#include "tests/kernels/kernel_cases.hpp"
#include "tests/model/scoped_environment.hpp"
#include "tests/support/test_device.hpp"

// What holds for every kernel of the tables: the same bits for any number of threads and any instruction set
// (the hand-tuned kernels of the fields of experts: any with fused multiply-add), no byte of an inactive
// image changes, no image depends on its neighbours, and guarded device memory suffices.

namespace bilevel {
namespace {

using namespace testing_support;

constexpr const char* instruction_set = "BILEVEL_CPU_ISA";

bool available(const char* isa) {
  const ScopedEnvironment forced(instruction_set, isa);
  try {
    return Device::open("cpu:1").instruction_set() == isa;
  } catch (const DeviceError&) {
    return false;
  }
}

/// Kernels that address the whole batch, frozen or not.
bool takes_frozen_images(const std::string& name) {
  const char* const names[] = {"fill",        "lbfgs_start",   "reset",        "compact", "pack",
                               "coil_expand", "scale_spectra", "torus_extend", "sort"};
  return std::any_of(std::begin(names), std::end(names),
                     [&](const char* start) { return name.starts_with(start); });
}

void expect_same(const Bag& a, const Bag& b, const std::string& what) {
  for (std::size_t k = 0; k < a.buffers.size(); ++k)
    EXPECT_TRUE(a.buffers[k].content == b.buffers[k].content) << what << ": bytes of " << a.buffers[k].name;
  EXPECT_EQ(a.mask, b.mask) << what;
  EXPECT_EQ(a.index, b.index) << what;
}

/// Element type and whether hand-tuned bodies replace the generic ones.
template <class T, bool with_overrides>
struct Bodies {
  using Element = T;
  static constexpr bool tuned = with_overrides;
  static constexpr const char* overrides = tuned ? "on" : "off";
};

template <class B>
class EveryKernel : public ::testing::Test {
 protected:
  void SetUp() override {
    if (on_cuda() && std::string(B::overrides) == "off")
      GTEST_SKIP() << "Hand-tuned bodies are of the CPU; on CUDA the suite with them runs the same kernels.";
  }
  Random random_{seed(202)};
  ScopedEnvironment overrides_{"BILEVEL_CPU_OVERRIDES", B::overrides};
};
using Precisions =
    ::testing::Types<Bodies<float, true>, Bodies<double, true>, Bodies<float, false>, Bodies<double, false>>;
TYPED_TEST_SUITE(EveryKernel, Precisions);

TYPED_TEST(EveryKernel, SameBitsForEveryThreadCount) {
  // Above and below the size from which launches run on several threads; more threads than tiles. On CUDA
  // every size has several blocks.
  struct Size {
    int n, h, w;
  };
  const std::vector<Size> shapes = on_cuda() ? std::vector<Size>{{2, 35, 131}}
                                             : std::vector<Size>{{3, 67, 131}, {2, 17, 129}, {1, 40, 1030}};
  for (const Size& s : shapes) {
    const Bag bag = make_bag<typename TypeParam::Element>(s.n, s.h, s.w, this->random_);
    for (const auto& kernel : kernel_cases<typename TypeParam::Element>(s.h, s.w)) {
      const Bag one = run_case(kernel, bag, test_device("cpu:1"));
      for (const std::string& device : repeat_devices({"cpu:2", "cpu:3", "cpu:5"}))
        expect_same(one, run_case(kernel, bag, device), kernel.name + " on " + device);
    }
  }
}

TYPED_TEST(EveryKernel, SameBitsForEveryInstructionSet) {
  std::vector<const char*> present;
  for (const char* isa : {"baseline", "avx2", "avx512"}) {
    if (available(isa))
      present.push_back(isa);
    else
      std::cout << "This machine or build lacks " << isa << "; its comparison is left out." << std::endl;
  }
  ASSERT_FALSE(present.empty());
  const struct { int n, h, w; } shapes[] = {{2, 37, 131}, {2, 1, 259}, {3, 3, 5}};
  for (const auto& s : shapes) {
    const Bag bag = make_bag<typename TypeParam::Element>(s.n, s.h, s.w, this->random_);
    for (const auto& kernel : kernel_cases<typename TypeParam::Element>(s.h, s.w)) {
      std::optional<Bag> first;
      const bool fused = TypeParam::tuned && kernel.name.starts_with("experts_");
      for (const char* isa : present) {
        if (fused && isa == std::string("baseline")) continue;
        const ScopedEnvironment forced(instruction_set, isa);
        const Bag result = run_case(kernel, bag, "cpu:2");
        if (first) expect_same(*first, result, kernel.name + " with " + isa);
        if (!first) first = result;
      }
    }
  }
}

TYPED_TEST(EveryKernel, ChangesSomethingAndRepeats) {
  const Bag bag = make_bag<typename TypeParam::Element>(3, 19, 33, this->random_);
  for (const auto& kernel : kernel_cases<typename TypeParam::Element>(19, 33)) {
    const Bag first = run_case(kernel, bag, test_device("cpu:2"));
    expect_same(first, run_case(kernel, bag, test_device("cpu:2")), kernel.name);
    bool changed = kernel.name == "reset" || kernel.name == "compact";  // nothing to do on a full batch
    for (std::size_t k = 0; k < bag.buffers.size(); ++k)
      changed = changed || first.buffers[k].content != bag.buffers[k].content;
    EXPECT_TRUE(changed) << kernel.name;
  }
}

TYPED_TEST(EveryKernel, RunsOnTheGuardedDevice) {
  const Bag bag = make_bag<typename TypeParam::Element>(2, 19, 33, this->random_);
  for (const auto& kernel : kernel_cases<typename TypeParam::Element>(19, 33))
    expect_same(run_case(kernel, bag, "cpu:2"), run_case(kernel, bag, "cpu-guarded:2"), kernel.name);
}

TYPED_TEST(EveryKernel, InactiveImagesKeepEveryByte) {
  // Image 1 is masked though listed, image 2 is not listed; the list is compacted in the second round. On a
  // device of several blocks, and the first round, which holds the second's cases.
  const int height = on_cuda() ? 19 : 33, width = on_cuda() ? 70 : 130;
  Bag bag = make_bag<typename TypeParam::Element>(4, height, width, this->random_);
  bag.mask = {1, 0, 0, 1};
  for (Bag::Buffer& b : bag.buffers)
    if (b.name == "flags") {
      std::vector<std::uint8_t> flags = b.content.bytes();
      for (std::size_t k = 0; k < flags.size(); ++k) flags[k] = bag.mask[k % 4];
      b.content = flags;
    }
  for (const std::vector<std::int32_t>& index :
       {std::vector<std::int32_t>{0, 1, 3, 77}, std::vector<std::int32_t>{0, 3, 77, 77}}) {
    bag.index = index;
    bag.count = index[2] == 3 ? 3 : 2;
    if (on_cuda() && bag.count == 2) break;
    for (const auto& kernel : kernel_cases<typename TypeParam::Element>(height, width)) {
      if (takes_frozen_images(kernel.name)) continue;
      const Bag result = run_case(kernel, bag, test_device("cpu:2"));
      for (std::size_t k = 0; k < bag.buffers.size(); ++k) {
        if (bag.buffers[k].shared) continue;
        for (int i : {1, 2})
          EXPECT_TRUE(Bag::segment(result.buffers[k], 4, i) == Bag::segment(bag.buffers[k], 4, i))
              << kernel.name << " wrote " << bag.buffers[k].name << " of inactive image " << i;
      }
      EXPECT_EQ(result.mask[1] + result.mask[2], 0) << kernel.name;
    }
  }
}

TYPED_TEST(EveryKernel, ImagesDoNotSeeTheirNeighbours) {
  const Bag bag = make_bag<typename TypeParam::Element>(3, 33, 130, this->random_);
  const Bag single[] = {bag.alone(0), bag.alone(1), bag.alone(2)};
  for (const auto& kernel : kernel_cases<typename TypeParam::Element>(33, 130)) {
    if (kernel.joint) continue;
    const Bag together = run_case(kernel, bag, test_device("cpu:2"));
    for (int i = 0; i < 3; ++i) {
      const Bag alone = run_case(kernel, single[i], test_device("cpu:2"));
      for (std::size_t k = 0; k < bag.buffers.size(); ++k) {
        if (bag.buffers[k].shared) continue;
        EXPECT_TRUE(alone.buffers[k].content == Bag::segment(together.buffers[k], 3, i))
            << kernel.name << ": " << bag.buffers[k].name << " of image " << i << " depends on the batch";
      }
      EXPECT_EQ(alone.mask[0], together.mask[static_cast<std::size_t>(i)]) << kernel.name;
    }
  }
}

TYPED_TEST(EveryKernel, ReversedListGivesTheSameBits) {
  Bag bag = make_bag<typename TypeParam::Element>(3, 33, 130, this->random_);
  Bag reversed = bag;
  reversed.index = {2, 1, 0};
  for (const auto& kernel : kernel_cases<typename TypeParam::Element>(33, 130)) {
    if (kernel.name == "reset" || kernel.name == "compact") continue;
    Bag result = run_case(kernel, reversed, test_device("cpu:2"));
    result.index = bag.index;
    expect_same(run_case(kernel, bag, test_device("cpu:2")), result, kernel.name);
  }
}

}  // namespace
}  // namespace bilevel
