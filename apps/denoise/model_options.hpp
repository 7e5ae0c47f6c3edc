#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "apps/common/wavelet_choice.hpp"
#include "bilevel/model/model_file.hpp"

namespace CLI {
class App;
}

namespace bilevel_app::denoise {

/// The model before learning. Options of the other kind of model must be left out.
struct ModelOptions : WaveletChoice {
  std::string type = "tv";                          ///< as bilevel::regulariser_parts() knows it
  std::optional<std::string> potential;             ///< empty: charbonnier; none of h1 and tikhonov
  bool xi_inside_alpha = false;                     ///< tv, as the first part of a sum
  std::optional<int> filters, filter_size;          ///< foe; empty: 30, 7
  std::optional<std::string> padding, filter_init;  ///< foe; empty: symmetric, tv
  bool free_mean = false;                           ///< foe
  std::optional<double> eta;                        ///< dtv; empty: 0.01
  std::string colour = "luma";                      ///< or coupled: of all channels of RGB images together
  std::vector<std::string> learn;                   ///< empty: all but the ridge
  std::vector<std::string> init;                    ///< NAME=VALUE

  int size() const { return filter_size.value_or(7); }
  int channels() const { return colour == "coupled" ? 3 : 1; }
  /// Throw ConfigError for unknown names, options of another model and values outside the bounds. The seed
  /// is that of random filters.
  bilevel::RegulariserSum regularisers() const;
  bilevel::Parameters parameters(std::uint64_t seed) const;
  /// All of it, defaults included, as a model file keeps it.
  std::vector<bilevel::NamedOption> deciding(std::uint64_t seed) const;
};

/// The options that keep parameters as --init gives them; empty where nothing else would be learned.
std::string keeping_options(const bilevel::Parameters& parameters, const std::vector<std::string>& names);
/// Those that help where rounding is the limit: larger smoothings, fixed, or another tolerance.
std::string smoothing_options(const bilevel::Parameters& parameters);

/// Adds the options of the model; `type_option` names its kind.
void add_model_options(CLI::App& app, ModelOptions& options, const char* type_option);

}  // namespace bilevel_app::denoise
