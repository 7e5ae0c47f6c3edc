#pragma once

#include <span>
#include <vector>

#include "apps/mri/resample.hpp"

namespace bilevel_app::mri {

/// Sum over the coils of |s_c|^2 at every pixel, of maps [coils][pixels]; empty maps: 1.
std::vector<double> coil_power(std::span<const std::complex<double>> maps, std::size_t pixels);

/// sum_c conj(s_c) x_c / sum_c |s_c|^2 of images [slices][coils][pixels], the least squares estimate of what
/// the coils see; 0 where no coil sees anything.
Complexes combine(const Complexes& coil_images, const Complexes& maps, int slices, int coils,
                  std::size_t pixels);

/// Divides the values by the power of two that leaves the largest of their parts in [1,2), and returns it:
/// exact, but sums of squares of what is left neither overflow nor vanish. 1 when all values are zero.
double take_power_of_two(Complexes& values);

}  // namespace bilevel_app::mri
