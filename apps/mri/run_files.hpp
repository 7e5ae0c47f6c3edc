#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "apps/common/run_folder.hpp"
#include "apps/mri/problem.hpp"
#include "bilevel/io/image_file.hpp"

namespace bilevel_app::mri {

/// Error maps of strips are shown this many times larger.
inline constexpr double error_scale = 10;

/// [height, width] with zero frequency at [0,0] as an image with it in the middle, floor(n/2).
bilevel::HostImage centred(std::span<const double> frequencies, int height, int width);
/// The inverse: values of an image with zero frequency in the middle.
std::vector<double> uncentred(const bilevel::HostImage& image);

/// Magnitudes side by side: truth, zero-filled, reconstruction, and |error| times error_scale.
bilevel::HostImage strip_of(const MriData& data, int image, const Reconstruction& reconstruction);

/// images/mask.png, mask.npy (float64 [H,W]) and, when there is a relaxed pattern, s.png: sqrt of the
/// weights, at most 1. All have zero frequency in the middle.
void write_patterns(const RunFolder& folder, const MriModel& model, std::span<const double> relaxed_weights);

/// images/NAME_K.png of the first images.
void write_strips(const RunFolder& folder, const std::string& name, const MriData& data,
                  const Reconstruction& reconstruction);

}  // namespace bilevel_app::mri
