#include "apps/mri/coils.hpp"

#include <algorithm>
#include <cmath>

namespace bilevel_app::mri {

std::vector<double> coil_power(std::span<const std::complex<double>> maps, std::size_t pixels) {
  if (maps.empty()) return std::vector<double>(pixels, 1.0);
  std::vector<double> power(pixels, 0.0);
  for (std::size_t i = 0; i < maps.size(); ++i) power[i % pixels] += std::norm(maps[i]);
  return power;
}

Complexes combine(const Complexes& coil_images, const Complexes& maps, int slices, int coils,
                  std::size_t pixels) {
  const std::vector<double> power = coil_power(maps, pixels);
  Complexes out(static_cast<std::size_t>(slices) * pixels);
  for (std::size_t i = 0; i < out.size(); ++i) {
    const std::size_t pixel = i % pixels;
    std::complex<double> sum = 0;
    for (int c = 0; c < coils; ++c) {
      const std::complex<double> s = maps.empty() ? 1.0 : maps[c * pixels + pixel];
      sum += std::conj(s) * coil_images[(i / pixels * coils + c) * pixels + pixel];
    }
    out[i] = power[pixel] > 0 ? sum / power[pixel] : 0.0;
  }
  return out;
}

double take_power_of_two(Complexes& values) {
  double largest = 0;
  for (const std::complex<double>& v : values)
    largest = std::max({largest, std::abs(v.real()), std::abs(v.imag())});
  if (!(largest > 0) || !std::isfinite(largest)) return 1;
  const double power = std::exp2(std::ilogb(largest));
  for (std::complex<double>& v : values) v = {v.real() / power, v.imag() / power};
  return power;
}

}  // namespace bilevel_app::mri
