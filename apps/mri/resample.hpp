#pragma once

#include <complex>
#include <span>
#include <vector>

namespace bilevel_app::mri {

using Complexes = std::vector<std::complex<double>>;

/// A square of pixels; corners may lie outside of the image.
struct Square {
  int row = 0, column = 0, side = 0;
};

/// The square centred on the bounding box of the pixels above `level`, wider than it by the fraction
/// `margin`, and at least `least` pixels wide.
Square bounding_square(std::span<const double> image, int height, int width, double level, double margin,
                       int least);

/// The to_height x to_width pixels in the middle, from row floor((height - to_height)/2) and column
/// floor((width - to_width)/2) on, as fastMRI crops. Throws ShapeError when there are fewer.
template <class T>
std::vector<T> crop_image(std::span<const T> image, int height, int width, int to_height, int to_width);

/// The square averaged over areas to size x size; what lies outside of the image is 0. side >= size.
std::vector<double> average_to(std::span<const double> image, int height, int width, const Square& square,
                               int size);

/// The centre of k-space (zero frequency at [0,0]) of to_height x to_width frequencies.
Complexes crop_kspace(std::span<const std::complex<double>> kspace, int height, int width, int to_height,
                      int to_width);

/// Unitary Fourier transform of [count][height][width] images on the CPU, zero frequency at [0,0].
Complexes fourier(std::span<const std::complex<double>> images, int count, int height, int width);
Complexes inverse_fourier(std::span<const std::complex<double>> kspace, int count, int height, int width);

/// Band-limited resampling by cropping k-space; smaller images are surrounded by zeros instead.
Complexes resample(std::span<const std::complex<double>> image, int height, int width, int to_height,
                   int to_width);

}  // namespace bilevel_app::mri
