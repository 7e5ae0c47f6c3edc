#pragma once

#include <span>

#include "bilevel/core/export.hpp"

namespace bilevel {
inline namespace v0 {

/// Peak signal-to-noise ratio in dB for a peak of 1, without clipping: -10 log10(||a - reference||^2 / n).
/// Infinite when both are equal. Throws ShapeError when the sizes differ or are zero.
BILEVEL_API double psnr(std::span<const double> a, std::span<const double> reference);

/// Structural similarity of two [height, width] images, averaged over all window positions inside the image.
/// Gaussian window of 11 x 11 pixels, sigma 1.5, K1 = 0.01, K2 = 0.03; images smaller than 11 use the largest
/// odd window that fits. `range` is the peak intensity. Throws ShapeError for empty images and ConfigError
/// unless `range` is positive and finite. Source: Wang, Bovik, Sheikh, Simoncelli, IEEE Trans. Image Process.
/// 13(4), 2004, equations (13) to (17). Cost: 10 separable passes, O(height width window).
BILEVEL_API double ssim(const double* a, const double* b, int height, int width, double range = 1.0);

}  // namespace v0
}  // namespace bilevel
