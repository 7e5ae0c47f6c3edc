#pragma once

#include <span>
#include <string>
#include <vector>

#include "bilevel/model/regularisers.hpp"

namespace bilevel {
inline namespace v0 {

/// A regulariser of differences by its name in options and model files.
struct CatalogueEntry {
  const char* name;
  const char* text;   ///< what it is, for people
  TvOptions options;  ///< potential charbonnier stands for any that is not quadratic
};
/// tv, tv-aniso, tv2, h1, tikhonov.
BILEVEL_API std::span<const CatalogueEntry> regulariser_catalogue();
/// Their names for messages, "tv, ..., tikhonov", and with their texts for help, "tv (...), ...".
BILEVEL_API std::string regulariser_names();
BILEVEL_API std::string regulariser_choice();

/// "NAMES and foe, and sums of them written with +, as tv+h1", for messages; without `experts` no foe.
BILEVEL_API std::string regulariser_sums(bool experts = true);

/// The names in that of a sum, "tv+foe" being tv and foe (unknown without `experts`). Throws ConfigError for
/// empty and unknown names, more than four, a second field of experts, and a second h1 or tikhonov (the sum
/// of both is one).
BILEVEL_API std::vector<std::string> regulariser_parts(const std::string& name, bool experts = true);

/// The options of a name, with this potential unless the regulariser is quadratic. Throws ConfigError for an
/// unknown name.
BILEVEL_API TvOptions regulariser_options(const std::string& name,
                                          TvPotential potential = TvPotential::charbonnier);
/// The name of options, whatever their potential and place of xi.
BILEVEL_API const char* regulariser_name(const TvOptions& options);

}  // namespace v0
}  // namespace bilevel
