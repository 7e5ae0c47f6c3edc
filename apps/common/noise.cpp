#include "apps/common/noise.hpp"

#include <cmath>
#include <numbers>

namespace bilevel_app {

std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> c, std::array<std::uint32_t, 2> key) {
  constexpr std::uint64_t multiplier0 = 0xD2511F53u, multiplier1 = 0xCD9E8D57u;
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = multiplier0 * c[0], p1 = multiplier1 * c[2];
    c = {static_cast<std::uint32_t>(p1 >> 32) ^ c[1] ^ key[0], static_cast<std::uint32_t>(p1),
         static_cast<std::uint32_t>(p0 >> 32) ^ c[3] ^ key[1], static_cast<std::uint32_t>(p0)};
    key[0] += 0x9E3779B9u;
    key[1] += 0xBB67AE85u;
  }
  return c;
}

std::array<std::uint32_t, 4> CounterRandom::block(std::uint64_t index) const {
  return philox4x32(
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
