#pragma once

#include <string>

#include "bilevel/model/model_file.hpp"

namespace bilevel_app::denoise {

/// Throws ConfigError when --mask is given for a field of experts.
void require_no_mask(const bilevel::RegulariserOptions& options, const std::string& mask);

/// Height and width that images need at least: the filters' size, or their radius where images are
/// reflected.
int smallest_image(const bilevel::RegulariserOptions& options, int filter_size);
/// Throws IoError naming `path` when an image of this size is too small for the model.
void require_large_enough(const bilevel::DenoiseModel& model, int height, int width, const std::string& path);

/// What --solver and --linear-solver auto stand for. Fields of experts have no diagonal that preconditions
/// well, and their primal-dual Newton method keeps K images of weights and K of the dual field.
std::string lower_solver(const std::string& name, const bilevel::RegulariserOptions& options);
std::string linear_solver(const std::string& name, const bilevel::RegulariserOptions& options);

}  // namespace bilevel_app::denoise
