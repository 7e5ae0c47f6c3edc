#include "bilevel/ops/linear_operator.hpp"

#include <gtest/gtest.h>

#include "bilevel/core/error.hpp"
#include "tests/ops/operator_lab.hpp"
#include "tests/support/active_images.hpp"

// An operator of a user, on host memory, with its default normal product; and what the check says of wrong
// ones.

namespace bilevel {
namespace {

using namespace testing_support;

enum class Mistake { none, adjoint, normal, norm, least, frozen };

/// (A x)_{2p} = 2 x_p, (A x)_{2p+1} = x_p - x_{p+1} (x after the last: 0), [N,1,1,W] to [N,1,1,2W].
template <class T>
class Stretch : public LinearOperator<T> {
 public:
  Stretch(int n, int width, Mistake mistake) : n_(n), width_(width), mistake_(mistake) {}
  Shape domain() const override { return {n_, 1, 1, width_}; }
  Shape range() const override { return {n_, 1, 1, 2 * width_}; }
  void apply(Context& context, const Active& active, View<const T> x, View<T> z) const override {
    each(context, active, x, z, [&](const T* from, T* to) {
      for (int p = 0; p < width_; ++p) {
        to[2 * p] = 2 * from[p];
        to[2 * p + 1] = from[p] - (p + 1 < width_ ? from[p + 1] : T(0));
      }
    });
  }
  void adjoint(Context& context, const Active& active, View<const T> z, View<T> x) const override {
    const T sign = mistake_ == Mistake::adjoint ? T(1) : T(-1);
    each(context, active, z, x, [&](const T* from, T* to) {
      for (int p = 0; p < width_; ++p)
        to[p] = (2 * from[2 * p] + from[2 * p + 1]) + (p > 0 ? sign * from[2 * p - 1] : T(0));
    });
  }
  void normal(Context& context, const Active& active, View<const T> x, View<T> out) const override {
    if (mistake_ == Mistake::normal) return adjoint(context, active, doubled(context, x).view(), out);
    LinearOperator<T>::normal(context, active, x, out);
  }
  double norm2() const override { return mistake_ == Mistake::norm ? 4 : 8; }
  double least2() const override { return mistake_ == Mistake::least ? 7 : 4; }
  double rounding() const override { return 12; }

 private:
  /// x in the even places of the range.
  Tensor<T> doubled(Context& context, View<const T> x) const {
    const std::vector<T> values = download(context, x);
    std::vector<T> out(2 * values.size());
    for (std::size_t p = 0; p < values.size(); ++p) out[2 * p] = values[p];
    return Tensor<T>(context, range(), out);
  }
  template <class Body>
  void each(Context& context, const Active& active, View<const T> in, View<T> out, const Body& body) const {
    const std::vector<T> from = download(context, in);
    std::vector<T> to = download<T>(context, View<const T>(out));
    std::vector<int> images = active_images(context, active, n_);
    if (mistake_ == Mistake::frozen) {
      images.clear();
      for (int i = 0; i < n_; ++i) images.push_back(i);
    }
    for (const int i : images)
      body(from.data() + static_cast<std::size_t>(i) * in.shape().image(),
           to.data() + static_cast<std::size_t>(i) * out.shape().image());
    upload<T>(context, to, out);
  }
  int n_, width_;
  Mistake mistake_;
};

template <class T>
class Operators : public ::testing::Test {
 protected:
  static typename OperatorLab<T>::Make maker(Mistake mistake, int n = 2) {
    return [=](Context&) { return std::make_unique<Stretch<T>>(n, 9, mistake); };
  }
  static OperatorReport report(Mistake mistake) {
    OperatorLab<T> lab(maker(mistake));
    return check_operator(lab.context(), lab.op(), 5);
  }
};
using Precisions = ::testing::Types<float, double>;
TYPED_TEST_SUITE(Operators, Precisions);

TYPED_TEST(Operators, NormalIsBothInTurn) {
  Random random(seed(3201));
  OperatorLab<TypeParam> lab(this->maker(Mistake::none, 3));
  const Image x = lab.noise(lab.op().domain(), random);
  EXPECT_EQ(lab.normal(x), lab.adjoint(lab.apply(x)));
  expect_frozen_images_alone(lab, random);
}

TYPED_TEST(Operators, ARightOneIsFoundRight) {
  const OperatorReport r = this->report(Mistake::none);
  EXPECT_EQ(r.fault, "");
  EXPECT_TRUE(static_cast<bool>(r));
  EXPECT_LE(r.adjoint_gap, 1);
  EXPECT_EQ(r.normal_gap, 0);
  EXPECT_GT(r.norm2, 6);
  EXPECT_LE(r.norm2, 8);
  EXPECT_GE(r.least2, 4);
  EXPECT_TRUE(r.leaves_frozen);
  EXPECT_EQ(this->report(Mistake::none).norm2, r.norm2) << "the seed decides";
}

TYPED_TEST(Operators, MistakesAreFound) {
  const std::pair<Mistake, const char*> mistakes[] = {{Mistake::adjoint, "correct adjoint()"},
                                                      {Mistake::normal, "correct normal()"},
                                                      {Mistake::norm, "norm2() must be a bound"},
                                                      {Mistake::least, "least2() must be a bound"},
                                                      {Mistake::frozen, "an image that was not active"}};
  for (const auto& [mistake, sentence] : mistakes) {
    const OperatorReport r = this->report(mistake);
    EXPECT_NE(r.fault.find(sentence), std::string::npos) << r.fault;
    EXPECT_FALSE(static_cast<bool>(r));
  }
}

}  // namespace
}  // namespace bilevel
