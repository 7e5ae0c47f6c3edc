#pragma once

#include <optional>
#include <string>
#include <vector>

#include "bilevel/model/named_option.hpp"
#include "bilevel/model/regularisers.hpp"

namespace CLI {
class App;
}

namespace bilevel_app {

/// Which wavelets the parts of a sum have that are of them.
struct WaveletChoice {
  std::optional<std::string> wavelet;  ///< empty: db2
  std::optional<int> levels;           ///< empty: 3, or what the images allow

  /// Puts it into the sum that is called `type`. Throws ConfigError for an unknown wavelet, for fewer than
  /// one level, and when something was chosen for a sum without wavelets.
  void choose(bilevel::RegulariserSum& sum, const std::string& type) const;
};

/// Adds --wavelet and --levels.
void add_wavelet_options(CLI::App& app, WaveletChoice& choice, const char* group);

/// Levels of wavelets, 0 without any.
int wavelet_levels(const bilevel::RegulariserSum& sum);
/// Levels that images of this size allow.
int possible_levels(int height, int width);
/// Takes as many levels as images of this size allow where the choice names no number, and says so in a note.
/// Throws ConfigError with `remedy`, the option that changes the size, when the number that was chosen, or
/// not even one, is possible.
void fit_levels(const WaveletChoice& choice, bilevel::RegulariserSum& sum, int height, int width,
                const std::string& remedy, std::vector<std::string>& notes);
/// "wavelet" and "levels" of a sum with wavelets.
void append_deciding(std::vector<bilevel::NamedOption>& list, const bilevel::RegulariserSum& sum);

}  // namespace bilevel_app
