#include "learn/lbfgsb_library.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "tests/support/random.hpp"

namespace bilevel {
namespace {

using testing_support::Random;
using testing_support::seed;

/// Minimises sum c_j (x_j - far_j)^2/2 over [-8,8]^n; counts the iterates.
struct Far {
  std::vector<double> reach, far, scale;
  int iterates = 0;

  std::vector<double> minimise() {
    const std::size_t n = far.size();
    Lbfgsb library(std::vector<double>(n, -8), std::vector<double>(n, 8), 5, reach);
    std::vector<double> gradient(n), last(n, 0);
    library.start(last);
    LbfgsbTask task = LbfgsbTask::evaluate;
    while (iterates < 200) {
      const auto x = library.x();
      double value = 0, free = 0;
      for (std::size_t j = 0; j < n; ++j) {
        EXPECT_LE(std::abs(x[j] - last[j]), reach[j] * (1 + 1e-15))
            << "iterate " << iterates << ", entry " << j;
        EXPECT_LE(std::abs(x[j]), 8);
        gradient[j] = scale[j] * (x[j] - far[j]);
        value += 0.5 * gradient[j] * (x[j] - far[j]);
        if (std::abs(x[j]) < 8) free += gradient[j] * gradient[j];
      }
      if (free < 1e-20) break;
      if (task == LbfgsbTask::accepted) {
        iterates += 1;
        last.assign(x.begin(), x.end());
        library = resumed(library);  // the box is not part of the state
      }
      task = library.advance(value, gradient);
      if (task == LbfgsbTask::finished) break;
    }
    return {library.x().begin(), library.x().end()};
  }
  Lbfgsb resumed(const Lbfgsb& from) const {
    Lbfgsb other(std::vector<double>(far.size(), -8), std::vector<double>(far.size(), 8), 5, reach);
    other.restore(from.save());
    return other;
  }
};

/// Steps stay within their reach, also after a resume, and the way still leads to the optimum of the bounds.
TEST(LbfgsbLibrary, NoEntryMovesFurtherThanItsReach) {
  Random random(seed(3101));
  for (int trial = 0; trial < 20; ++trial) {
    Far f;
    for (int j = 0; j < 6; ++j) {
      f.far.push_back(random.uniform(-12, 12));
      f.scale.push_back(random.log_uniform(0.1, 10));
      f.reach.push_back(j % 2 == 0 ? random.uniform(0.2, 2) : std::numeric_limits<double>::infinity());
    }
    const std::vector<double> x = f.minimise();
    for (std::size_t j = 0; j < x.size(); ++j)
      EXPECT_NEAR(x[j], std::min(8.0, std::max(-8.0, f.far[j])), 1e-6);
    EXPECT_GE(f.iterates, std::floor(std::min(8.0, std::abs(f.far[0])) / f.reach[0]));
  }
}

}  // namespace
}  // namespace bilevel
