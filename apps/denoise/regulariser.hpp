#pragma once

#include <optional>
#include <span>
#include <string>

#include "bilevel/model/model_file.hpp"

namespace bilevel_app::denoise {

/// The field of experts of a sum, and what the names of its parameters begin with.
struct ExpertsPart {
  bilevel::ExpertsOptions options;
  std::string prefix;
};
std::optional<ExpertsPart> experts_part(const bilevel::RegulariserSum& sum);

/// A regulariser of differences that is alone; null otherwise.
const bilevel::TvOptions* single_differences(const bilevel::RegulariserSum& sum);

/// Throws ConfigError when --mask is given for a field of experts.
void require_no_mask(const bilevel::RegulariserSum& sum, const std::string& mask);

/// Height and width that images need at least: the filters' size, or their radius where images are
/// reflected.
int smallest_image(const bilevel::RegulariserSum& sum, int filter_size);
/// Throws IoError naming `path` when an image of this size is too small for the model's filters, or its sides
/// allow fewer levels of wavelets, which would be another model.
void require_large_enough(const bilevel::DenoiseModel& model, int height, int width, const std::string& path);

/// What --solver and --linear-solver auto stand for. Throw ConfigError for pdhg of other models than a single
/// regulariser of differences. Fields of experts have no diagonal that preconditions
/// well, and their primal-dual Newton method keeps K images of weights and K of the dual field.
std::string lower_solver(const std::string& name, const bilevel::RegulariserSum& sum);
std::string linear_solver(const std::string& name, const bilevel::RegulariserSum& sum);

}  // namespace bilevel_app::denoise
