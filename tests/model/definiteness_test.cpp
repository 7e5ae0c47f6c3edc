#include <gtest/gtest.h>

#include <cmath>

#include "tests/model/tv_lab.hpp"

// Preconditioned conjugate gradients need a positive diagonal as it is stored, also where masked pixels and
// steep images leave nothing but a small xi to keep it so.

namespace bilevel {
namespace {

using namespace testing_support;
using oracle::Image;

template <class T>
class Definiteness : public ::testing::Test {};
using Precisions = ::testing::Types<float, double>;
TYPED_TEST_SUITE(Definiteness, Precisions);

/// An image with differences of about `slope`, all of one sign.
Image ramp(int height, int width, double slope, Random& random) {
  Image x(static_cast<std::size_t>(height * width));
  for (int p = 0; p < height * width; ++p)
    x[static_cast<std::size_t>(p)] = slope * (p % width + p / width + 0.3 * random.uniform());
  return x;
}

TYPED_TEST(Definiteness, JacobiDiagonalStaysPositive) {
  Random random(seed(1301));
  for (const auto& [h, w] : {std::pair{1, 60}, {6, 7}})
    for (oracle::TvModel m : model_kinds(h, w, random, 1e-4, 1e-2)) {
      if (m.mask.empty()) continue;
      m.alpha = 1;
      m.xi = 1e-6;
      m.mask.assign(m.mask.size(), 0);
      m.mask[0] = 1;
      SCOPED_TRACE(describe(m));
      for (const double slope : {0.0, 1e-2, 1.0, 100.0}) {
        const Image x = representable<TypeParam>(ramp(h, w, slope, random));
        TvLab<TypeParam> lab(m, 1, x);
        for (const bool primal_dual : {false, true}) {
          const Image inverse = lab.linearise(x, primal_dual ? lab.start_dual(x) : Image{});
          for (const double d : inverse)
            ASSERT_TRUE(d > 0 && std::isfinite(d))
                << d << ", slope " << slope << ", primal-dual " << primal_dual;
        }
      }
    }
}

}  // namespace
}  // namespace bilevel
