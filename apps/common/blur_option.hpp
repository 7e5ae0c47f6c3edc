#pragma once

#include <span>
#include <string>
#include <vector>

#include "bilevel/ops/blur.hpp"

namespace bilevel_app {

/// The kernel of --blur: gaussian:SIGMA, or a .npy of two dimensions, whose sum is noted. Throws ConfigError
/// or IoError for one that is none: even sides, values that are not finite, only zeros.
bilevel::BlurKernel read_blur(const std::string& text, std::vector<std::string>& notes);
/// The text without the folder of a file.
std::string blur_name(const std::string& text);

/// Throws ConfigError for a kernel that is larger than --crop.
void require_blur_fits(const bilevel::BlurKernel& kernel, const std::string& text, int crop);

/// Convolves an image [height, width] as bilevel::Blur does, tap by tap: the same bits everywhere.
void blur(const bilevel::BlurKernel& kernel, int height, int width, std::span<double> image);

}  // namespace bilevel_app
