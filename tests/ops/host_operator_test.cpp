#include "bilevel/ops/host_operator.hpp"

#include <gmock/gmock.h>

#include "bilevel/core/error.hpp"
#include "tests/ops/operator_lab.hpp"
#include "tests/support/thrown.hpp"

namespace bilevel {
namespace {

using namespace testing_support;
using ::testing::HasSubstr;

/// Means of pairs of neighbours along rows.
template <class T>
std::unique_ptr<LinearOperator<T>> pairs(const Shape& images, double norm2 = 0.5, double least2 = 0) {
  const Shape half{images.n, images.c, images.h, images.w / 2};
  return std::make_unique<HostOperator<T>>(
      images, half,
      [](std::span<const T> x, std::span<T> z) {
        for (std::size_t e = 0; e < z.size(); ++e) z[e] = (x[2 * e] + x[2 * e + 1]) / 2;
      },
      [](std::span<const T> z, std::span<T> x) {
        for (std::size_t e = 0; e < z.size(); ++e) x[2 * e] = x[2 * e + 1] = z[e] / 2;
      },
      typename HostOperator<T>::Constants{norm2, 2, least2});
}

template <class T>
class HostOperators : public ::testing::Test {};
using Precisions = ::testing::Types<float, double>;
TYPED_TEST_SUITE(HostOperators, Precisions);

TYPED_TEST(HostOperators, AreChecked) {
  using T = TypeParam;
  Random random(seed(2821));
  OperatorLab<T> lab([](Context&) { return pairs<T>({3, 2, 4, 6}); });
  const OperatorReport report = check_operator(lab.context(), lab.op());
  EXPECT_EQ(report.fault, "");
  EXPECT_NEAR(report.norm2, 0.5, 1e-6);
  const Image x = random.normal_vector(144), z = lab.apply(x);
  for (std::size_t e = 0; e < z.size(); ++e) EXPECT_NEAR(z[e], (x[2 * e] + x[2 * e + 1]) / 2, 1e-6);
  OperatorLab<T> wrong([](Context&) { return pairs<T>({3, 2, 4, 6}, 0.4); });
  EXPECT_THAT(check_operator(wrong.context(), wrong.op()).fault, HasSubstr("norm2"));
  OperatorLab<T> singular([](Context&) { return pairs<T>({3, 2, 4, 6}, 0.5, 0.05); });
  EXPECT_THAT(check_operator(singular.context(), singular.op()).fault, HasSubstr("least2"));
}

TEST(HostOperatorMisuse, IsRefused) {
  using Op = HostOperator<double>;
  const Op::Map none,
      copy = [](std::span<const double> x, std::span<double> z) { std::copy(x.begin(), x.end(), z.begin()); };
  const Shape s{2, 1, 3, 4};
  EXPECT_THAT(message_of<ConfigError>([&] { Op(s, s, copy, none, {}); }), HasSubstr("A^T"));
  EXPECT_THAT(message_of<ConfigError>([&] { Op(s, s, copy, copy, {-1, 0, 0}); }), HasSubstr("norm2"));
  EXPECT_THAT(message_of<ShapeError>([&] { Op(s, {3, 1, 3, 4}, copy, copy, {}); }), HasSubstr("as many"));
  Context context(Device::open(test_device("cpu:1")));
  const Op op(s, s, copy, copy, {});
  Frame frame(context);
  ActiveSet active(context, frame, 2);
  const View<double> x = frame.view<double>({2, 1, 4, 3}), z = frame.view<double>(s);
  EXPECT_THROW(op.apply(context, active.active(), x, z), ShapeError);
}

}  // namespace
}  // namespace bilevel
