#pragma once

#include <cstdint>
#include <random>

namespace bilevel::testing_support {

/// The stream of NumPy's RandomState: MT19937 seeded by init_genrand, numbers of 53 bits, normal numbers by
/// the polar method with its second value kept. Published experiments drew their data from it.
class LegacyRandom {
 public:
  explicit LegacyRandom(std::uint32_t seed) : bits_(seed) {}
  double uniform();  ///< in [0, 1)
  double uniform(double low, double high) { return low + (high - low) * uniform(); }
  double normal();

 private:
  std::mt19937 bits_;
  double kept_ = 0;
  bool has_kept_ = false;
};

}  // namespace bilevel::testing_support
