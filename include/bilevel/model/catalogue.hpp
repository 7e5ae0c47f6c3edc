#pragma once

#include <span>
#include <string>
#include <vector>

#include "bilevel/model/named_option.hpp"
#include "bilevel/model/regularisers.hpp"

namespace bilevel {
inline namespace v0 {

/// A regulariser by its name in options and model files. The programs, their help and model files know no
/// more of it than stands here.
struct BILEVEL_API CatalogueEntry {
  const char* name;
  const char* text;            ///< what it is, for people
  const char* argument;        ///< z of rho(z), for the energy in model files
  RegulariserOptions options;  ///< usual ones; charbonnier stands for any potential that is not quadratic
  bool fills_in;               ///< also of images that were not measured everywhere: --mask
  bool newton;                 ///< usually minimised by Newton's method with its diagonal, else by L-BFGS
  const char* once;    ///< a sum has it once, and what messages then advise; null: any number of times
  bool alone = false;  ///< not in sums

  bool smoothed() const;  ///< whether it has a potential that can be chosen, and a nu
};
BILEVEL_API std::span<const CatalogueEntry> regulariser_catalogue();

/// The entry of a name. Throws ConfigError for an unknown one.
BILEVEL_API const CatalogueEntry& catalogue_entry(const std::string& name);
/// That of options, whatever their potential, place of xi, filters and levels. Throws ConfigError for options
/// that do not go together.
BILEVEL_API const CatalogueEntry& catalogue_entry(const RegulariserOptions& options);
/// Whether it knows colour images [N,3,H,W], under one modulus for all channels of a pixel.
BILEVEL_API bool takes_colour(const RegulariserOptions& options);

/// The names for messages, "tv, ... and foe", and with their texts for help, "tv (...), ...".
BILEVEL_API std::string regulariser_names();
BILEVEL_API std::string regulariser_choice();
/// "NAMES, and sums of them written with +, as tv+h1", for messages.
BILEVEL_API std::string regulariser_sums();
/// The names in that of a sum, "tv+foe" being tv and foe. Throws ConfigError for empty and unknown names,
/// more than four, and a second one of what a sum has once.
BILEVEL_API std::vector<std::string> regulariser_parts(const std::string& name);

/// The options of a name, with this potential unless the regulariser is quadratic. Throws ConfigError for an
/// unknown name.
BILEVEL_API RegulariserOptions regulariser_options(const std::string& name,
                                                   TvPotential potential = TvPotential::charbonnier);
/// The name of options, and that of a sum, joined with +.
BILEVEL_API const char* regulariser_name(const RegulariserOptions& options);
BILEVEL_API std::string model_type(const RegulariserSum& sum);
/// First parameters, those of a field of experts for 30 filters of 7 x 7.
BILEVEL_API Parameters regulariser_parameters(const RegulariserOptions& options);

/// An option of a regulariser as model files keep it.
struct RegulariserSetting {
  /// In all model files; in those of bilevel-denoise alone; as the name says.
  enum class Scope { all, denoising, name };

  const char* key;
  Scope scope;
  std::vector<std::string> known;  ///< texts; flags, counts from 1 on and positive numbers have none
  OptionValue (*get)(const RegulariserOptions&);
  void (*set)(RegulariserOptions&, const OptionValue&);  ///< a value of the type that get() has, and known
};
BILEVEL_API std::vector<RegulariserSetting> regulariser_settings(const RegulariserOptions& options);

}  // namespace v0
}  // namespace bilevel
