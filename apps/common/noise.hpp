#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "bilevel/core/philox.hpp"

namespace bilevel_app {

/// What a stream of numbers is used for: different purposes never share numbers. The library draws the order
/// of minibatches as purpose 4 (learn/stochastic.hpp).
enum class Purpose : std::uint32_t { noise = 0, crops = 1, directions = 2, labels = 3 };

/// A counter-based generator: the number at (seed, purpose, stream, index) depends on nothing else.
class CounterRandom {
 public:
  CounterRandom(std::uint64_t seed, Purpose purpose, std::uint32_t stream)
      : key_{static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)},
        purpose_(static_cast<std::uint32_t>(purpose)),
        stream_(stream) {}

  std::uint64_t bits(std::uint64_t index) const;
  /// Standard normal numbers 2 index and 2 index + 1: Box-Muller from two 53-bit uniforms, rounded to
  /// multiples of 2^-24 so that differences in the last bit between mathematical libraries vanish.
  std::array<double, 2> normal_pair(std::uint64_t index) const;

 private:
  std::array<std::uint32_t, 4> block(std::uint64_t index) const;
  std::array<std::uint32_t, 2> key_;
  std::uint32_t purpose_, stream_;
};

/// pixels[k] += sigma times normal number k of (seed, noise, stream).
void add_noise(std::span<double> pixels, double sigma, std::uint64_t seed, std::uint32_t stream);

}  // namespace bilevel_app
