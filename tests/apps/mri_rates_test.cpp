#include <gtest/gtest.h>

#include <numeric>

#include "bilevel/learn/baseline_patterns.hpp"
#include "bilevel/model/sampling_pattern.hpp"

namespace bilevel_test {
namespace {

TEST(MriRates, DecimalsKeepWhatTheySay) {
  const bilevel::SamplingPattern pattern(bilevel::PatternKind::free, 10, 10);
  std::vector<double> theta(100);
  std::iota(theta.begin(), theta.end(), 0.0);
  for (double& t : theta) t /= 100;
  for (int percent = 1; percent <= 100; ++percent) {
    const double rate =
        std::stod("0." + std::string(percent < 10 ? "0" : "") + std::to_string(percent % 100)) +
        (percent == 100 ? 1 : 0);
    EXPECT_EQ(bilevel::groups_at_rate(pattern, rate), static_cast<std::size_t>(percent));
    const auto kept = pattern.threshold_to_rate(theta, rate);
    EXPECT_EQ(std::accumulate(kept.begin(), kept.end(), 0.0), percent);
  }
}

}  // namespace
}  // namespace bilevel_test
