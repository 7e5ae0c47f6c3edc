#include "bilevel/model/catalogue.hpp"

#include <algorithm>
#include <array>

#include "bilevel/core/error.hpp"

namespace bilevel {
inline namespace v0 {
namespace {

constexpr TvPotential any = TvPotential::charbonnier, quadratic = TvPotential::quadratic;
constexpr const char* adds_up = ", as its weights only add up";

// name, text, argument, options, fills_in, newton, once, alone
constexpr std::array catalogue{
    CatalogueEntry{"tv", "smoothed total variation, isotropic", "(Dx x, Dy x)",
                   TvOptions{any, true, false, TvDifferences::first}, true, true, nullptr},
    CatalogueEntry{"tv-aniso", "anisotropic", "(Dx x, Dy x)",
                   TvOptions{any, false, false, TvDifferences::first}, true, true, nullptr},
    CatalogueEntry{"tv2", "of second differences", "(Dxx x, Dyy x, sqrt 2 Dxy x)",
                   TvOptions{any, true, false, TvDifferences::second}, true, true, nullptr},
    CatalogueEntry{"h1", "squares of differences", "(Dx x, Dy x)",
                   TvOptions{quadratic, true, false, TvDifferences::first}, true, true, adds_up},
    CatalogueEntry{"tikhonov", "squares of intensities", "x",
                   TvOptions{quadratic, true, false, TvDifferences::none}, true, true, adds_up},
    CatalogueEntry{"dtv", "directional, across the edges of a reference", "(I - zeta zeta^T) (Dx x, Dy x)",
                   DirectionalTv{}, true, true, nullptr},
    CatalogueEntry{"tgv2", "total generalised variation of second order, alone", "(D x - v, E v)",
                   TgvOptions{}, true, true, nullptr, true},
    CatalogueEntry{"wavelet", "sparsity of an orthogonal wavelet transform", "W x", WaveletSparsity{}, true,
                   true, nullptr},
    CatalogueEntry{"foe", "field of experts", "c_k * x", ExpertsOptions{}, true, false,
                   " and give it more filters"}};

constexpr std::size_t most_parts = 4;

// Whether options of a kind have the same name.
bool same(const TvOptions& a, const TvOptions& b) {
  return a.differences == b.differences && a.smoothed() == b.smoothed() &&
         (!a.smoothed() || a.isotropic == b.isotropic);
}
bool same(const ExpertsOptions&, const ExpertsOptions&) { return true; }
bool same(const WaveletSparsity&, const WaveletSparsity&) { return true; }
bool same(const TgvOptions&, const TgvOptions&) { return true; }
bool same(const DirectionalTv&, const DirectionalTv&) { return true; }

// First parameters of a kind; of filters those of learned anisotropic total variation on photographs.
Parameters parameters_of(const TvOptions& o) { return tv_parameters(o); }
Parameters parameters_of(const ExpertsOptions&) {
  return experts_parameters(30, 7, FilterInit::tv, 0.055, 0.0066);
}
Parameters parameters_of(const WaveletSparsity& o) { return wavelet_parameters(o); }
Parameters parameters_of(const TgvOptions& o) { return tgv_parameters(o); }
Parameters parameters_of(const DirectionalTv& o) { return directional_parameters(o); }

using Scope = RegulariserSetting::Scope;

/// A setting that get() finds by `member` in the options of a kind.
template <class Kind, auto member>
RegulariserSetting flag(const char* key, Scope scope = Scope::all) {
  return {key,
          scope,
          {},
          [](const RegulariserOptions& o) { return OptionValue(std::get<Kind>(o).*member); },
          [](RegulariserOptions& o, const OptionValue& v) { std::get<Kind>(o).*member = std::get<bool>(v); }};
}

// Settings of a kind beside its potential.
std::vector<RegulariserSetting> settings_of(const TvOptions&) {
  return {flag<TvOptions, &TvOptions::isotropic>("isotropic", Scope::name),
          flag<TvOptions, &TvOptions::xi_inside_alpha>("xi_inside_alpha", Scope::denoising)};
}
std::vector<RegulariserSetting> settings_of(const ExpertsOptions&) {
  return {{"padding",
           Scope::all,
           {"symmetric", "valid"},
           [](const RegulariserOptions& o) {
             return OptionValue(padding_name(std::get<ExpertsOptions>(o).padding));
           },
           [](RegulariserOptions& o, const OptionValue& v) {
             std::get<ExpertsOptions>(o).padding = padding_from(std::get<std::string>(v));
           }},
          flag<ExpertsOptions, &ExpertsOptions::zero_mean>("zero_mean")};
}
std::vector<RegulariserSetting> settings_of(const TgvOptions&) { return {}; }
std::vector<RegulariserSetting> settings_of(const DirectionalTv&) {
  return {{"eta",
           Scope::all,
           {},
           [](const RegulariserOptions& o) { return OptionValue(std::get<DirectionalTv>(o).eta); },
           [](RegulariserOptions& o, const OptionValue& v) {
             std::get<DirectionalTv>(o).eta = std::get<double>(v);
           }}};
}
std::vector<RegulariserSetting> settings_of(const WaveletSparsity&) {
  return {{"wavelet",
           Scope::all,
           {"haar", "db2", "db4"},
           [](const RegulariserOptions& o) {
             return OptionValue(name_of(std::get<WaveletSparsity>(o).wavelet.filter));
           },
           [](RegulariserOptions& o, const OptionValue& v) {
             std::get<WaveletSparsity>(o).wavelet.filter = wavelet_filter(std::get<std::string>(v));
           }},
          {"levels",
           Scope::all,
           {},
           [](const RegulariserOptions& o) {
             return OptionValue(std::int64_t{std::get<WaveletSparsity>(o).wavelet.levels});
           },
           [](RegulariserOptions& o, const OptionValue& v) {
             std::get<WaveletSparsity>(o).wavelet.levels = static_cast<int>(std::get<std::int64_t>(v));
           }},
          {"keep_approximation",
           Scope::all,
           {},
           [](const RegulariserOptions& o) {
             return OptionValue(std::get<WaveletSparsity>(o).wavelet.keep_approximation);
           },
           [](RegulariserOptions& o, const OptionValue& v) {
             std::get<WaveletSparsity>(o).wavelet.keep_approximation = std::get<bool>(v);
           }}};
}

TvPotential& potential_of(RegulariserOptions& options) {
  return std::visit([](auto& o) -> TvPotential& { return o.potential; }, options);
}
TvPotential potential_of(const RegulariserOptions& options) {
  return std::visit([](const auto& o) { return o.potential; }, options);
}

/// What stands between the +, empty where nothing does.
std::vector<std::string> split(const std::string& name) {
  std::vector<std::string> parts;
  for (std::size_t at = 0, end; at <= name.size(); at = end + 1) {
    end = std::min(name.find('+', at), name.size());
    parts.push_back(name.substr(at, end - at));
  }
  return parts;
}

const CatalogueEntry* find(const std::string& name) {
  const auto at =
      std::find_if(catalogue.begin(), catalogue.end(), [&](const auto& e) { return e.name == name; });
  return at == catalogue.end() ? nullptr : &*at;
}

}  // namespace

const char* potential_name(TvPotential potential) {
  if (potential == TvPotential::quadratic) return "quadratic";
  return potential == TvPotential::charbonnier ? "charbonnier" : "huber_c2";
}

TvPotential potential_from(const std::string& name) {
  if (name == "charbonnier") return TvPotential::charbonnier;
  if (name == "huber_c2") return TvPotential::huber_c2;
  throw ConfigError("potential '" + name + "' is unknown; use charbonnier or huber_c2.");
}

const char* padding_name(FilterPadding padding) {
  return padding == FilterPadding::symmetric ? "symmetric" : "valid";
}

FilterPadding padding_from(const std::string& name) {
  if (name == "symmetric") return FilterPadding::symmetric;
  if (name == "valid") return FilterPadding::valid;
  throw ConfigError("padding '" + name + "' is unknown; use symmetric or valid.");
}

bool CatalogueEntry::smoothed() const { return potential_of(options) != TvPotential::quadratic; }

std::span<const CatalogueEntry> regulariser_catalogue() { return catalogue; }

const CatalogueEntry& catalogue_entry(const std::string& name) {
  if (const CatalogueEntry* entry = find(name)) return *entry;
  throw ConfigError("model '" + name + "' is unknown; known are " + regulariser_names() + ".");
}

const CatalogueEntry& catalogue_entry(const RegulariserOptions& options) {
  const auto match = [&](const CatalogueEntry& e) {
    return std::visit(
        [&](const auto& o) {
          const auto* of_entry = std::get_if<std::decay_t<decltype(o)>>(&e.options);
          return of_entry != nullptr && same(o, *of_entry);
        },
        options);
  };
  const auto found = std::find_if(catalogue.begin(), catalogue.end(), match);
  if (found == catalogue.end()) throw ConfigError("the options of the regulariser do not go together.");
  return *found;
}

bool takes_colour(const RegulariserOptions& options) {
  const auto* tv = std::get_if<TvOptions>(&options);
  return tv && tv->differences != TvDifferences::second && (tv->isotropic || !tv->smoothed());
}

std::string regulariser_names() {
  std::string names = catalogue.front().name;
  for (std::size_t k = 1; k < catalogue.size(); ++k)
    names += (k + 1 < catalogue.size() ? ", " : " and ") + std::string(catalogue[k].name);
  return names;
}

std::string regulariser_choice() {
  std::string choice;
  for (const CatalogueEntry& e : catalogue)
    choice += (choice.empty() ? "" : ", ") + std::string(e.name) + " (" + e.text + ")";
  return choice;
}

std::string regulariser_sums() { return regulariser_names() + ", and sums of them written with +, as tv+h1"; }

std::vector<std::string> regulariser_parts(const std::string& name) {
  const std::string model = "model '" + name + "'";
  const std::vector<std::string> parts = split(name);
  for (auto part = parts.begin(); part != parts.end(); ++part) {
    if (part->empty()) throw ConfigError(model + " lacks a name; known are " + regulariser_sums() + ".");
    const CatalogueEntry* entry = find(*part);
    if (!entry)
      throw ConfigError((parts.size() > 1 ? model + ": '" + *part + "'" : model) + " is unknown; known are " +
                        regulariser_sums() + ".");
    if (entry->alone && parts.size() > 1)
      throw ConfigError(model + ": " + *part + " stands alone; leave the other parts out.");
    if (entry->once && std::count(parts.begin(), part, *part) > 0)
      throw ConfigError(model + " has " + *part + " twice; name it once" + entry->once + ".");
  }
  if (parts.size() > most_parts) throw ConfigError(model + " has more than four parts; name fewer.");
  return parts;
}

RegulariserOptions regulariser_options(const std::string& name, TvPotential potential) {
  const CatalogueEntry& entry = catalogue_entry(name);
  RegulariserOptions options = entry.options;
  if (entry.smoothed()) potential_of(options) = potential;
  return options;
}

const char* regulariser_name(const RegulariserOptions& options) { return catalogue_entry(options).name; }

std::string model_type(const RegulariserSum& sum) {
  std::string name;
  for (const RegulariserOptions& part : sum.parts)
    name += (name.empty() ? "" : "+") + std::string(regulariser_name(part));
  return name;
}

Parameters regulariser_parameters(const RegulariserOptions& options) {
  return std::visit([](const auto& o) { return parameters_of(o); }, options);
}

std::vector<RegulariserSetting> regulariser_settings(const RegulariserOptions& options) {
  const bool smoothed = catalogue_entry(options).smoothed();
  std::vector<RegulariserSetting> list{
      {"potential", Scope::all,
       smoothed ? std::vector<std::string>{"charbonnier", "huber_c2"} : std::vector<std::string>{"quadratic"},
       [](const RegulariserOptions& o) { return OptionValue(potential_name(potential_of(o))); },
       [](RegulariserOptions& o, const OptionValue& v) {
         if (std::get<std::string>(v) != "quadratic")
           potential_of(o) = potential_from(std::get<std::string>(v));
       }}};
  for (RegulariserSetting& s : std::visit([](const auto& o) { return settings_of(o); }, options))
    list.push_back(std::move(s));
  return list;
}

}  // namespace v0
}  // namespace bilevel
