#include "bilevel/ops/projected_differences.hpp"

#include <gtest/gtest.h>

#include <limits>

#include "bilevel/core/error.hpp"
#include "tests/ops/operator_lab.hpp"
#include "tests/support/thrown.hpp"

// Projected differences against their definition with matrices of two rows a pixel.

namespace bilevel {
namespace {

using namespace testing_support;

/// K x of one plane, [2][H][W].
Image naive(const Shape& s, const Image& x, const Image& rho, double eta) {
  const std::size_t w = static_cast<std::size_t>(s.w), size = x.size();
  Image z(2 * size);
  const auto gradient = [&](const Image& of, std::size_t e) {
    return std::pair{(e + 1) % w == 0 ? 0.0 : of[e + 1] - of[e], e + w < size ? of[e + w] - of[e] : 0.0};
  };
  for (std::size_t e = 0; e < size; ++e) {
    const auto [gx, gy] = gradient(rho, e);
    const auto [dx, dy] = gradient(x, e);
    const double scale = eta * eta + gx * gx + gy * gy, xx = gx * gx / scale, xy = gx * gy / scale,
                 yy = gy * gy / scale;
    z[e] = (1 - xx) * dx - xy * dy;
    z[size + e] = (1 - yy) * dy - xy * dx;
  }
  return z;
}

template <class T>
class Projected : public ::testing::Test {};
using Precisions = ::testing::Types<float, double>;
TYPED_TEST_SUITE(Projected, Precisions);

TYPED_TEST(Projected, IsItsDefinitionAndTheCheckFindsNothing) {
  using T = TypeParam;
  Random random(seed(3401));
  for (const Shape& s :
       {Shape{2, 1, 7, 9}, Shape{2, 2, 5, 130}, Shape{1, 1, 1, 6}, Shape{1, 1, 4, 1}, Shape{1, 1, 1, 1}})
    for (const bool each : {false, true}) {
      SCOPED_TRACE(s.str());
      const std::size_t size = Shape{1, 1, s.h, s.w}.count();
      const Image rho = random.normal_vector(each ? size * static_cast<std::size_t>(s.n) : size);
      const double eta = random.log_uniform(1e-2, 1);
      OperatorLab<T> lab(
          [&](Context& c) { return std::make_unique<ProjectedDifferences<T>>(c, s, rho, eta); });
      const Image x = representable<T>(random.normal_vector(s.count())), got = lab.apply(x);
      for (int i = 0; i < s.n; ++i)
        for (int k = 0; k < s.c; ++k) {
          const auto plane = [&](const Image& of, std::size_t index) {
            const auto first = of.begin() + static_cast<std::ptrdiff_t>(index * size);
            return Image(first, first + static_cast<std::ptrdiff_t>(size));
          };
          const auto index = static_cast<std::size_t>(i * s.c + k), channels = static_cast<std::size_t>(s.c);
          const Image z = naive(s, plane(x, index), plane(rho, each ? static_cast<std::size_t>(i) : 0), eta);
          const std::size_t first = 2 * static_cast<std::size_t>(i) * channels + static_cast<std::size_t>(k);
          const double unit = std::numeric_limits<T>::epsilon() / 2;
          EXPECT_LE(distance(plane(got, first), plane(z, 0)), 40 * unit * norm(x));
          EXPECT_LE(distance(plane(got, first + channels), plane(z, 1)), 40 * unit * norm(x));
        }
      const OperatorReport report = check_operator(lab.context(), lab.op(), 5);
      EXPECT_TRUE(report) << report.fault;
    }
}

/// An edge of the reference is free: K vanishes where D x is along zeta, up to (eta / |D rho|)^2.
TEST(ProjectedDifferences, EdgesOfTheReferenceAreFree) {
  const Shape s{1, 1, 8, 8};
  Image rho(64, 0.0);
  for (std::size_t e = 0; e < 64; ++e) rho[e] = e % 8 < 4 ? 0.0 : 1.0;
  OperatorLab<double> lab(
      [&](Context& c) { return std::make_unique<ProjectedDifferences<double>>(c, s, rho, 1e-2); });
  Image same = rho;
  for (double& v : same) v = 3 - 5 * v;
  EXPECT_LE(norm(lab.apply(same)), 5 * 1e-4 * std::sqrt(8.0));
  Image other(64, 0.0);
  for (std::size_t e = 32; e < 64; ++e) other[e] = 1;
  EXPECT_NEAR(norm(lab.apply(other)), std::sqrt(8.0), 1e-12);
}

TEST(ProjectedDifferences, MisuseIsRefused) {
  Context context(Device::open(test_device("cpu:1")));
  const Shape s{2, 1, 3, 4};
  const auto make = [&](const Image& rho, double eta) { ProjectedDifferences<double>(context, s, rho, eta); };
  EXPECT_NO_THROW(make(Image(12), 1));
  EXPECT_NO_THROW(make(Image(24), 1));
  EXPECT_NE(message_of<ShapeError>([&] { make(Image(13), 1); }).find("13 pixels"), std::string::npos);
  EXPECT_THROW(make(Image(12, std::numeric_limits<double>::infinity()), 1), ConfigError);
  EXPECT_THROW(make(Image(12), 0), ConfigError);
  EXPECT_THROW(make(Image(12), std::nan("")), ConfigError);
}

}  // namespace
}  // namespace bilevel
