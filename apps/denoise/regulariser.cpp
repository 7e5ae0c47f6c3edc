#include "apps/denoise/regulariser.hpp"

#include <algorithm>

#include "apps/common/wavelet_choice.hpp"
#include "bilevel/core/error.hpp"
#include "bilevel/model/catalogue.hpp"

namespace bilevel_app::denoise {

using namespace bilevel;

std::optional<ExpertsPart> experts_part(const RegulariserSum& sum) {
  for (std::size_t k = 0; k < sum.parts.size(); ++k)
    if (const auto* foe = std::get_if<ExpertsOptions>(&sum.parts[k])) return {{*foe, part_prefix(k)}};
  return {};
}

const TvOptions* single_differences(const RegulariserSum& sum) {
  return sum.parts.size() == 1 ? std::get_if<TvOptions>(&sum.parts[0]) : nullptr;
}

void require_no_mask(const RegulariserSum& sum, const std::string& mask) {
  if (mask.empty()) return;
  for (const RegulariserOptions& part : sum.parts)
    if (const CatalogueEntry& entry = catalogue_entry(part); !entry.fills_in)
      throw ConfigError("--mask: the model " + std::string(entry.name) + " (" + entry.text +
                        ") denoises whole images and fills in nothing; use another, such as tv.");
}

int smallest_image(const RegulariserSum& sum, int filter_size) {
  const auto foe = experts_part(sum);
  if (!foe) return 1;
  return foe->options.padding == FilterPadding::valid ? filter_size : filter_size / 2;
}

void require_large_enough(const DenoiseModel& model, int height, int width, const std::string& path) {
  const int levels = wavelet_levels(model.options), possible = possible_levels(height, width);
  if (possible < levels)
    throw IoError(
        path, "images of " + std::to_string(width) + " x " + std::to_string(height) + " pixels allow " +
                  std::to_string(possible) + " levels of wavelets, the model has " + std::to_string(levels) +
                  "; cut them to multiples of " + std::to_string(1 << std::min(levels, 30)) + " pixels.");
  if (const auto& k = model.blur; k && (k->height > height || k->width > width))
    throw IoError(path, "images of " + std::to_string(width) + " x " + std::to_string(height) +
                            " pixels are too small for the model's blur of " + std::to_string(k->width) +
                            " x " + std::to_string(k->height) + " taps.");
  const auto foe = experts_part(model.options);
  if (!foe) return;
  const auto filters = std::find_if(model.parameters.begin(), model.parameters.end(),
                                    [&](const Segment& s) { return s.name == foe->prefix + "filters"; });
  const int least = smallest_image(model.options, filters->shape.at(1));
  if (std::min(height, width) < least)
    throw IoError(path, "images of " + std::to_string(width) + " x " + std::to_string(height) +
                            " pixels are too small for the model's filters, which need " +
                            std::to_string(least) + " x " + std::to_string(least) + ".");
}

namespace {

bool newton(const RegulariserSum& sum) {
  return std::all_of(sum.parts.begin(), sum.parts.end(),
                     [](const auto& part) { return catalogue_entry(part).newton; });
}

}  // namespace

std::string lower_solver(const std::string& name, const RegulariserSum& sum) {
  if (name == "pdhg" && !single_differences(sum))
    throw ConfigError("--solver pdhg is for models of one part of differences, such as tv, not for " +
                      model_type(sum) + "; use another solver.");
  if (name != "auto") return name;
  return newton(sum) ? "newton" : "lbfgs";
}

std::string linear_solver(const std::string& name, const RegulariserSum& sum) {
  if (name != "auto") return name;
  return newton(sum) ? "pcg" : "cg";
}

}  // namespace bilevel_app::denoise
