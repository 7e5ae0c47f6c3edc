#pragma once

#include <cstdint>
#include <optional>
#include <random>
#include <vector>

namespace bilevel_app::experiments {

/// The numbers that numpy.random.RandomState(seed) gives: MT19937 seeded by init_genrand, doubles of 53 bits,
/// normal numbers by the polar method (Marsaglia), of which the second of a pair is kept for the next call.
class LegacyRandom {
 public:
  explicit LegacyRandom(std::uint32_t seed) : generator_(seed) {}

  /// random_sample(): uniform in [0,1).
  double uniform();
  /// uniform(low, high).
  double uniform(double low, double high) { return low + (high - low) * uniform(); }
  /// randn().
  double normal();

  std::vector<double> uniform_vector(std::size_t count);
  std::vector<double> normal_vector(std::size_t count);

 private:
  std::mt19937 generator_;
  std::optional<double> kept_;
};

}  // namespace bilevel_app::experiments
