// Misuse of the C++ interface is answered with an exception that says what was given, never with a crash or a
// wrong result.

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <complex>
#include <fstream>
#include <limits>
#include <optional>
#include <utility>

#include "bilevel/core/error.hpp"
#include "bilevel/core/scalars.hpp"
#include "bilevel/ops/fourier_sampling.hpp"
#include "tests/support/test_device.hpp"
#include "tests/support/thrown.hpp"

namespace bilevel {
namespace {

using testing_support::message_of;
using testing_support::test_device;

void expect_parts(const std::string& message, const std::vector<std::string>& parts) {
  for (const std::string& part : parts) EXPECT_NE(message.find(part), std::string::npos) << message;
}

class Misuse : public testing::Test {
 protected:
  Context context_{Device::open(test_device("cpu:2"))};
  Context other_{Device::open(test_device("cpu:2"))};
  const Shape shape_{2, 1, 3, 4};
  const std::vector<double> values_ = std::vector<double>(24, 1.5);

  template <class T>
  static View<const T> constant(const Tensor<T>& tensor) {
    return tensor.view();
  }
  /// The context still does what it should, and holds what it held before.
  void expect_usable(const Counters& before) {
    {
      const Tensor<double> tensor(context_, shape_, values_);
      EXPECT_EQ(download(context_, tensor), values_);
    }
    EXPECT_EQ(context_.counters().bytes_allocated, before.bytes_allocated);
  }
};

TEST_F(Misuse, NegativeSizes) {
  const Counters before = context_.counters();
  for (const Shape& bad : {Shape{-1, 1, 4, 4}, Shape{1, -2, 4, 4}, Shape{1, 1, -4, -4}, Shape{1, 1, 4, -1}}) {
    expect_parts(message_of<ShapeError>([&] { Tensor<float>(context_, bad); }), {bad.str(), "negative"});
    Frame frame(context_);
    expect_parts(message_of<ShapeError>([&] { frame.view<double>(bad); }), {bad.str(), "negative"});
  }
  expect_usable(before);
}

/// 2^96 elements, and sizes whose product wraps around to a small number: 2^64 + 2^33 and 2^64 bytes.
TEST_F(Misuse, SizesThatOverflow) {
  constexpr int large = std::numeric_limits<int>::max();
  const Counters before = context_.counters();
  for (const Shape& bad : {Shape{large, large, large, large}, Shape{1, 1 << 20, 1 << 21, 1 << 20},
                           Shape{1 << 30, 1 << 30, 2, 1}, Shape{1, 1 << 30, 1 << 30, 1}}) {
    expect_parts(message_of<ShapeError>([&] { Tensor<double>(context_, bad); }),
                 {bad.str(), "8 bytes", std::to_string(std::numeric_limits<std::ptrdiff_t>::max() / 2)});
    Frame frame(context_);
    EXPECT_THROW(frame.view<double>(bad), ShapeError);
    EXPECT_THROW(FourierSampling<double>(context_, {bad.n, 1, bad.h, large}), ShapeError);
  }
  expect_usable(before);
}

/// 2^32 transforms.
TEST_F(Misuse, CoilsThatOverflow) {
  const std::vector<std::complex<double>> maps(4);
  const Shape images{1 << 30, 1, 1, 1};
  expect_parts(message_of<ShapeError>([&] {
                 FourierSampling<double>(context_, images, {4, maps});
               }),
               {images.str(), "4 coils"});
}

TEST_F(Misuse, MemoryThatIsNotThere) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "The sanitizer ends the process where memory is refused.";
#endif
  if (context_.device().kind() == DeviceKind::cuda) GTEST_SKIP() << "The memory of the GPU is known.";
  const Counters before = context_.counters();
  const Shape huge{1 << 10, 1 << 10, 1 << 10, 1 << 20};  // 2^53 bytes
  expect_parts(message_of<DeviceError>([&] { Tensor<double>(context_, huge); }),
               {std::to_string(std::size_t{1} << 53), "fewer images"});
  Frame frame(context_);
  EXPECT_THROW(frame.view<double>(huge), DeviceError);
  expect_usable(before);
}

TEST_F(Misuse, NullPointers) {
  const View<double> nothing(nullptr, shape_);
  Tensor<double> tensor(context_, shape_, values_);
  const std::vector<std::string> parts{"null pointer", "192 bytes"};
  expect_parts(message_of<ConfigError>([&] { download<double>(context_, nothing); }), parts);
  expect_parts(message_of<ConfigError>([&] { upload<double>(context_, values_, nothing); }), parts);
  expect_parts(message_of<ConfigError>([&] { copy<double>(context_, nothing, tensor.view()); }), parts);
  expect_parts(message_of<ConfigError>([&] { copy<double>(context_, constant(tensor), nothing); }), parts);
  expect_parts(message_of<ConfigError>([&] { fill<double>(context_, nothing, 1); }), parts);
  expect_parts(message_of<ConfigError>([&] { static_cast<void>(fetch(context_, nothing)); }), parts);
  EXPECT_EQ(download(context_, tensor), values_);
}

TEST_F(Misuse, ArraysOfAnotherContextAndOfTheHost) {
  Tensor<double> mine(context_, shape_, values_), foreign(other_, shape_, values_);
  std::vector<double> host(24);
  for (const View<double>& bad : {foreign.view(), View<double>(host.data(), shape_)}) {
    const std::vector<std::string> parts{"192 bytes", "not memory of this context"};
    expect_parts(message_of<ConfigError>([&] { download<double>(context_, bad); }), parts);
    expect_parts(message_of<ConfigError>([&] { upload<double>(context_, values_, bad); }), parts);
    expect_parts(message_of<ConfigError>([&] { copy<double>(context_, bad, mine.view()); }), parts);
    expect_parts(message_of<ConfigError>([&] { copy<double>(context_, constant(mine), bad); }), parts);
    expect_parts(message_of<ConfigError>([&] { fill<double>(context_, bad, 1); }), parts);
    expect_parts(message_of<ConfigError>([&] { static_cast<void>(fetch(context_, bad)); }), parts);
  }
  EXPECT_EQ(host, std::vector<double>(24));
  EXPECT_EQ(download(other_, foreign), values_);
  EXPECT_EQ(download(context_, mine), values_);
}

TEST_F(Misuse, ViewsBeyondTheirArray) {
  Tensor<double> tensor(context_, {1, 1, 3, 4});
  EXPECT_THROW(download<double>(context_, View<double>(tensor.view().device_data(), shape_)), ConfigError);
  EXPECT_THROW(download<double>(context_, View<double>(tensor.view().device_data() + 1, {1, 1, 3, 4})),
               ConfigError);
  const View<double> part(tensor.view().device_data() + 4, {1, 1, 2, 4});
  fill<double>(context_, part, 2);
  EXPECT_EQ(download<double>(context_, part), std::vector<double>(8, 2));
}

TEST_F(Misuse, CountsThatDiffer) {
  Tensor<double> tensor(context_, shape_);
  expect_parts(message_of<ShapeError>([&] { tensor.upload(context_, std::vector<double>(23)); }),
               {"23", shape_.str()});
  EXPECT_THROW(Tensor<double>(context_, shape_, std::vector<double>(25)), ShapeError);
  const Tensor<double> other(context_, {2, 1, 4, 3});
  expect_parts(message_of<ShapeError>([&] { copy<double>(context_, other.view(), tensor.view()); }),
               {"[2,1,4,3]", shape_.str()});
}

TEST_F(Misuse, TensorsThatWereMovedFrom) {
  Tensor<double> a(context_, shape_, values_);
  Tensor<double> b(std::move(a));
  EXPECT_EQ(a.shape(), (Shape{0, 0, 0, 0}));  // NOLINT: what is left of it is the subject
  EXPECT_FALSE(a.view());
  EXPECT_TRUE(download(context_, a).empty());
  EXPECT_THROW(a.upload(context_, values_), ShapeError);
  EXPECT_THROW(copy<double>(context_, constant(a), b.view()), ShapeError);
  Tensor<double> c(context_, {1, 1, 2, 2}, std::vector<double>(4, 3));
  c = std::move(b);
  EXPECT_EQ(b.shape(), (Shape{0, 0, 0, 0}));  // NOLINT
  EXPECT_EQ(download(context_, c), values_);
  Tensor<double>& same = c;
  c = std::move(same);
  EXPECT_EQ(download(context_, c), values_);
  a = std::move(c);  // what was moved from can be assigned to
  EXPECT_EQ(download(context_, a), values_);
}

TEST_F(Misuse, ContextsThatWereMovedFrom) {
  Tensor<double> tensor(context_, shape_, values_);
  std::optional<Frame> frame;
  frame.emplace(context_);
  const View<double> scratch = frame->view<double>(shape_);
  Context moved(std::move(context_));
  copy<double>(moved, constant(tensor), scratch);
  EXPECT_EQ(download<double>(moved, scratch), values_);
  frame.reset();
  Context& gone = context_;
  expect_parts(message_of<ConfigError>([&] { gone.device(); }), {"moved from"});
  EXPECT_THROW(gone.counters(), ConfigError);
  EXPECT_THROW(gone.synchronise(), ConfigError);
  EXPECT_THROW(Tensor<double>(gone, shape_), ConfigError);
  EXPECT_THROW(Frame{gone}, ConfigError);
  EXPECT_THROW(download(gone, tensor), ConfigError);
  EXPECT_THROW(fill<double>(gone, tensor.view(), 1), ConfigError);
  EXPECT_THROW(FourierSampling<double>(gone, shape_), ConfigError);
  EXPECT_EQ(download(moved, tensor), values_);
  context_ = std::move(moved);
  EXPECT_EQ(download(context_, tensor), values_);
}

TEST_F(Misuse, ContextsThatEndBeforeTheirArrays) {
  Tensor<double> tensor;
  {
    Context brief(Device::open(test_device("cpu:2")));
    tensor = Tensor<double>(brief, shape_, values_);
  }
  EXPECT_EQ(tensor.shape(), shape_);
  tensor = Tensor<double>();
}

TEST_F(Misuse, DevicesThatWereMovedFrom) {
  Device device = Device::open(test_device("cpu:2"));
  const Device moved(std::move(device));
  EXPECT_EQ(device.name(), moved.name());  // NOLINT: a move is a copy
  EXPECT_NO_THROW(Context{device});
}

TEST_F(Misuse, FetchesThatAreWaitedForTwice) {
  Tensor<double> tensor(context_, {2, 1, 1, 1}, std::vector<double>{1, 2});
  Fetch first = fetch(context_, constant(tensor));
  EXPECT_EQ(first.wait(context_), (std::vector<double>{1, 2}));
  expect_parts(message_of<ConfigError>([&] { first.wait(context_); }), {"once"});
  Fetch second = fetch(context_, constant(tensor));
  Fetch third(std::move(second));
  EXPECT_THROW(second.wait(context_), ConfigError);  // NOLINT
  EXPECT_EQ(third.wait(context_), (std::vector<double>{1, 2}));
}

TEST_F(Misuse, ActiveSetsOfAnotherBatch) {
  Frame frame(context_);
  ActiveSet two(context_, frame, 2), three(context_, frame, 3);
  expect_parts(message_of<ShapeError>([&] { two.assign(context_, three); }), {"[3,1,1,1]", "[2,1,1,1]"});
  const std::vector<std::uint8_t> open(3, 1);
  EXPECT_THROW(two.assign(context_, open), ShapeError);
  EXPECT_EQ(two.count(), 2);
  const Tensor<double> tally(context_, {3, 1, 1, 1}, std::vector<double>(3, 1.0));
  expect_parts(message_of<ShapeError>([&] { two.refresh(context_, tally.view()); }),
               {"[3,1,1,1]", "2 images"});
  const Tensor<double> foreign(other_, {2, 1, 1, 1}, std::vector<double>(2, 1.0));
  EXPECT_THROW(two.refresh(context_, foreign.view()), ConfigError);
  EXPECT_EQ(two.refresh(context_), 2);
  EXPECT_THROW(ActiveSet(context_, frame, -1), ShapeError);
}

TEST_F(Misuse, OperandsOfFourierSampling) {
  const FourierSampling<double> sampling(context_, shape_);
  Frame frame(context_);
  const ActiveSet active(context_, frame, 2), three(context_, frame, 3);
  Tensor<double> x(context_, shape_, values_), y(context_, sampling.kspace()),
      foreign(other_, shape_, values_);
  const View<double> nothing(nullptr, shape_);
  EXPECT_THROW(sampling.apply(context_, active.active(), nothing, y.view()), ConfigError);
  EXPECT_THROW(sampling.apply(context_, active.active(), foreign.view(), y.view()), ConfigError);
  EXPECT_THROW(sampling.apply(context_, active.active(), constant(y), y.view()), ShapeError);
  EXPECT_THROW(sampling.adjoint(context_, active.active(), constant(y), nothing), ConfigError);
  EXPECT_THROW(sampling.normal(context_, active.active(), constant(x), foreign.view()), ConfigError);
  expect_parts(
      message_of<ShapeError>([&] { sampling.normal(context_, three.active(), constant(x), x.view()); }),
      {"2 images", "3"});
  EXPECT_THROW(sampling.normal(context_, {nullptr, nullptr, 2}, constant(x), x.view()), ShapeError);
  EXPECT_NO_THROW(sampling.apply(context_, active.active(), constant(x), y.view()));
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
/// Room for a few threads' stacks only.
TEST(MisuseOfThreads, ThreadsThatTheSystemRefuses) {
  const int many = 200;
  Context context(Device::open("cpu:" + std::to_string(many)));
  const Shape shape{1, 1, 512, 512};
  Tensor<double> tensor(context, shape);
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_AS, &before), 0);
  std::size_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  const rlimit little{pages * 4096 + (std::size_t{64} << 20), before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_AS, &little), 0);
  std::string message;
  for (int attempt = 0; attempt < 2; ++attempt)
    message = message_of<DeviceError>([&] { fill<double>(context, tensor.view(), 7); });
  ::setrlimit(RLIMIT_AS, &before);
  expect_parts(message, {"cannot start thread", "of 200", "use fewer threads"});
  fill<double>(context, tensor.view(), 7);
  EXPECT_EQ(download(context, tensor), std::vector<double>(shape.count(), 7));
}
#endif

}  // namespace
}  // namespace bilevel
