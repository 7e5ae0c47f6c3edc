#include "bilevel/model/catalogue.hpp"

#include <algorithm>
#include <array>

#include "bilevel/core/error.hpp"

namespace bilevel {
inline namespace v0 {
namespace {

constexpr TvPotential any = TvPotential::charbonnier, quadratic = TvPotential::quadratic;
constexpr std::array catalogue{
    CatalogueEntry{"tv", "smoothed total variation, isotropic", {any, true, false, TvDifferences::first}},
    CatalogueEntry{"tv-aniso", "anisotropic", {any, false, false, TvDifferences::first}},
    CatalogueEntry{"tv2", "of second differences", {any, true, false, TvDifferences::second}},
    CatalogueEntry{"h1", "squares of differences", {quadratic, true, false, TvDifferences::first}},
    CatalogueEntry{"tikhonov", "squares of intensities", {quadratic, true, false, TvDifferences::none}}};

}  // namespace

std::span<const CatalogueEntry> regulariser_catalogue() { return catalogue; }

std::string regulariser_names() {
  std::string names;
  for (const CatalogueEntry& e : catalogue) names += (names.empty() ? "" : ", ") + std::string(e.name);
  return names;
}

std::string regulariser_choice() {
  std::string choice;
  for (const CatalogueEntry& e : catalogue)
    choice += (choice.empty() ? "" : ", ") + std::string(e.name) + " (" + e.text + ")";
  return choice;
}

TvOptions regulariser_options(const std::string& name, TvPotential potential) {
  for (const CatalogueEntry& e : catalogue)
    if (e.name == name) {
      TvOptions options = e.options;
      if (options.smoothed()) options.potential = potential;
      return options;
    }
  throw ConfigError("model '" + name + "' is unknown; known are " + regulariser_names() + " and foe.");
}

const char* regulariser_name(const TvOptions& o) {
  const auto same = [&](const CatalogueEntry& e) {
    return e.options.differences == o.differences && e.options.smoothed() == o.smoothed() &&
           (!o.smoothed() || e.options.isotropic == o.isotropic);
  };
  const auto found = std::find_if(catalogue.begin(), catalogue.end(), same);
  if (found == catalogue.end()) throw ConfigError("the options of the regulariser do not go together.");
  return found->name;
}

}  // namespace v0
}  // namespace bilevel
