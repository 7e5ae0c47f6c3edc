#include "apps/common/noise.hpp"

#include <cmath>
#include <numbers>

namespace bilevel_app {

std::array<std::uint32_t, 4> CounterRandom::block(std::uint64_t index) const {
  return bilevel::philox4x32(
      {static_cast<std::uint32_t>(index), static_cast<std::uint32_t>(index >> 32), stream_, purpose_}, key_);
}

std::uint64_t CounterRandom::bits(std::uint64_t index) const {
  const auto b = block(index);
  return static_cast<std::uint64_t>(b[1]) << 32 | b[0];
}

std::array<double, 2> CounterRandom::normal_pair(std::uint64_t index) const {
  const auto b = block(index);
  const auto uniform = [](std::uint32_t low, std::uint32_t high) {  // (k + 1) 2^-53 in (0, 1]
    return static_cast<double>((static_cast<std::uint64_t>(high) << 32 | low) >> 11) * 0x1p-53 + 0x1p-53;
  };
  const double radius = std::sqrt(-2.0 * std::log(uniform(b[0], b[1])));
  const double angle = 2.0 * std::numbers::pi * uniform(b[2], b[3]);
  const auto rounded = [](double z) { return std::nearbyint(z * 0x1p24) * 0x1p-24; };
  return {rounded(radius * std::cos(angle)), rounded(radius * std::sin(angle))};
}

void add_noise(std::span<double> pixels, double sigma, std::uint64_t seed, std::uint32_t stream) {
  if (sigma == 0) return;
  const CounterRandom random(seed, Purpose::noise, stream);
  for (std::size_t k = 0; k < pixels.size(); k += 2) {
    const auto pair = random.normal_pair(k / 2);
    pixels[k] += sigma * pair[0];
    if (k + 1 < pixels.size()) pixels[k + 1] += sigma * pair[1];
  }
}

}  // namespace bilevel_app
