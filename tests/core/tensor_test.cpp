#include "bilevel/core/tensor.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <type_traits>
#include <utility>

#include "bilevel/core/error.hpp"
#include "tests/support/test_device.hpp"

namespace bilevel {
namespace {

template <class T>
class Tensors : public ::testing::Test {
 protected:
  Context context_{Device::open(testing_support::test_device("cpu-guarded:1"))};
};
using Elements = ::testing::Types<float, double, std::int32_t, std::uint8_t>;
TYPED_TEST_SUITE(Tensors, Elements);

TYPED_TEST(Tensors, UploadAndDownload) {
  const std::vector<TypeParam> values = {1, 2, 3, 4, 5, 6};
  Tensor<TypeParam> t(this->context_, {1, 1, 2, 3}, values);
  EXPECT_EQ(t.shape(), (Shape{1, 1, 2, 3}));
  EXPECT_EQ(download(this->context_, t), values);
  std::vector<TypeParam> other = {6, 5, 4, 3, 2, 1};
  t.upload(this->context_, other);
  other.assign(6, 0);  // the host array may be reused at once
  EXPECT_EQ(download(this->context_, t), (std::vector<TypeParam>{6, 5, 4, 3, 2, 1}));
}

TYPED_TEST(Tensors, WrongCountsAreShapeErrorsThatNameBoth) {
  Tensor<TypeParam> t(this->context_, {1, 1, 2, 3}, std::vector<TypeParam>(6, 7));
  for (const std::size_t count : {0U, 5U, 7U}) {
    try {
      t.upload(this->context_, std::vector<TypeParam>(count));
      ADD_FAILURE() << count;
    } catch (const ShapeError& e) {
      EXPECT_NE(std::string(e.what()).find(std::to_string(count)), std::string::npos) << e.what();
      EXPECT_NE(std::string(e.what()).find("[1,1,2,3]"), std::string::npos) << e.what();
    }
  }
  EXPECT_EQ(download(this->context_, t), std::vector<TypeParam>(6, 7));
  EXPECT_THROW(Tensor<TypeParam>(this->context_, {1, 1, 2, 2}, std::vector<TypeParam>(6)), ShapeError);
  EXPECT_THROW(Tensor<TypeParam>(this->context_, {1, 1, -1, 2}), ShapeError);
}

TYPED_TEST(Tensors, CopyBetweenEqualShapes) {
  const Tensor<TypeParam> a(this->context_, {2, 1, 1, 2}, std::vector<TypeParam>{1, 2, 3, 4});
  Tensor<TypeParam> b(this->context_, {2, 1, 1, 2}), c(this->context_, {1, 1, 2, 2});
  copy<TypeParam>(this->context_, a.view(), b.view());
  EXPECT_EQ(download(this->context_, b), (std::vector<TypeParam>{1, 2, 3, 4}));
  EXPECT_THROW(copy<TypeParam>(this->context_, a.view(), c.view()), ShapeError);
}

TYPED_TEST(Tensors, MovesAndEmptyTensors) {
  Tensor<TypeParam> a(this->context_, {1, 1, 1, 2}, std::vector<TypeParam>{8, 9});
  Tensor<TypeParam> b(std::move(a));
  EXPECT_EQ(download(this->context_, b), (std::vector<TypeParam>{8, 9}));
  Tensor<TypeParam> c;
  EXPECT_FALSE(c.view());
  c = std::move(b);
  EXPECT_EQ(download(this->context_, c), (std::vector<TypeParam>{8, 9}));
  const Tensor<TypeParam> none(this->context_, {0, 1, 4, 4});
  EXPECT_TRUE(download(this->context_, none).empty());
  c = Tensor<TypeParam>(this->context_, {1, 1, 1, 1}, std::vector<TypeParam>{5});
  EXPECT_EQ(download(this->context_, c), (std::vector<TypeParam>{5}));
}

TEST(Shapes, CountsAndText) {
  const Shape s{25, 1, 96, 97};
  EXPECT_EQ(s.str(), "[25,1,96,97]");
  EXPECT_EQ(s.image(), 96U * 97U);
  EXPECT_EQ(s.count(), 25U * 96U * 97U);
  EXPECT_EQ((Shape{1 << 15, 1, 1 << 15, 1 << 15}).count(), std::size_t{1} << 45);
  EXPECT_NO_THROW(require_same(s, s, "x"));
  try {
    require_same(s, {1, 1, 2, 3}, "data");
    FAIL();
  } catch (const ShapeError& e) {
    for (const char* part : {"data", "[25,1,96,97]", "[1,1,2,3]"})
      EXPECT_NE(std::string(e.what()).find(part), std::string::npos) << e.what();
  }
}

TEST(Views, AreConstCorrectHandles) {
  static_assert(std::is_convertible_v<View<float>, View<const float>>);
  static_assert(!std::is_convertible_v<View<const float>, View<float>>);
  static_assert(std::is_trivially_copyable_v<View<double>>);
  EXPECT_FALSE(View<float>());
}

}  // namespace
}  // namespace bilevel
