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

constexpr std::size_t most_parts = 4;

/// What stands between the +, empty where nothing does.
std::vector<std::string> split(const std::string& name) {
  std::vector<std::string> parts;
  for (std::size_t at = 0, end; at <= name.size(); at = end + 1) {
    end = std::min(name.find('+', at), name.size());
    parts.push_back(name.substr(at, end - at));
  }
  return parts;
}

auto entry_of(const std::string& name) {
  return std::find_if(catalogue.begin(), catalogue.end(), [&](const auto& e) { return e.name == name; });
}

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

std::string regulariser_sums(bool experts) {
  return regulariser_names() + (experts ? ", wavelet and foe" : "") +
         ", and sums of them written with +, as tv+h1";
}

std::vector<std::string> regulariser_parts(const std::string& name, bool experts) {
  const std::string model = "model '" + name + "'";
  const std::vector<std::string> parts = split(name);
  for (auto part = parts.begin(); part != parts.end(); ++part) {
    const bool foe = experts && *part == "foe";
    const bool wavelet = experts && *part == "wavelet";
    const auto entry = entry_of(*part);
    if (part->empty())
      throw ConfigError(model + " lacks a name; known are " + regulariser_sums(experts) + ".");
    if (!foe && !wavelet && entry == catalogue.end())
      throw ConfigError((parts.size() > 1 ? model + ": '" + *part + "'" : model) + " is unknown; known are " +
                        regulariser_sums(experts) + ".");
    const bool once = foe || (!wavelet && !entry->options.smoothed());
    if (once && std::count(parts.begin(), part, *part) > 0)
      throw ConfigError(model + " has " + *part + " twice; name it once" +
                        (foe ? " and give it more filters." : ", as its weights only add up."));
  }
  if (parts.size() > most_parts) throw ConfigError(model + " has more than four parts; name fewer.");
  return parts;
}

TvOptions regulariser_options(const std::string& name, TvPotential potential) {
  const auto entry = entry_of(name);
  if (entry == catalogue.end())
    throw ConfigError("model '" + name + "' is unknown; known are " + regulariser_names() +
                      ", wavelet and foe.");
  TvOptions options = entry->options;
  if (options.smoothed()) options.potential = potential;
  return options;
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
