#include "apps/denoise/regulariser.hpp"

#include <algorithm>

#include "bilevel/core/error.hpp"

namespace bilevel_app::denoise {

using namespace bilevel;

namespace {

bool experts(const RegulariserOptions& options) { return std::holds_alternative<ExpertsOptions>(options); }

}  // namespace

void require_no_mask(const RegulariserOptions& options, const std::string& mask) {
  if (!mask.empty() && experts(options))
    throw ConfigError(
        "--mask: a field of experts denoises whole images and fills in nothing; use a model tv or tv-aniso.");
}

int smallest_image(const RegulariserOptions& options, int filter_size) {
  const auto* foe = std::get_if<ExpertsOptions>(&options);
  if (foe == nullptr) return 1;
  return foe->padding == FilterPadding::valid ? filter_size : filter_size / 2;
}

void require_large_enough(const DenoiseModel& model, int height, int width, const std::string& path) {
  const auto filters = std::find_if(model.parameters.begin(), model.parameters.end(),
                                    [](const Segment& s) { return s.name == "filters"; });
  if (filters == model.parameters.end()) return;
  const int least = smallest_image(model.options, filters->shape.at(1));
  if (std::min(height, width) < least)
    throw IoError(path, "images of " + std::to_string(width) + " x " + std::to_string(height) +
                            " pixels are too small for the model's filters, which need " +
                            std::to_string(least) + " x " + std::to_string(least) + ".");
}

std::string lower_solver(const std::string& name, const RegulariserOptions& options) {
  if (name == "pdhg" && experts(options))
    throw ConfigError("--solver pdhg is for the model tv, not for foe; use another solver.");
  if (name != "auto") return name;
  return experts(options) ? "lbfgs" : "newton";
}

std::string linear_solver(const std::string& name, const RegulariserOptions& options) {
  if (name != "auto") return name;
  return experts(options) ? "cg" : "pcg";
}

}  // namespace bilevel_app::denoise
