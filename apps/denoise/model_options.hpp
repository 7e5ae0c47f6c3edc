#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "bilevel/model/model_file.hpp"

namespace CLI {
class App;
}

namespace bilevel_app::denoise {

/// The model before learning. Options of the other kind of model must be left out.
struct ModelOptions {
  std::string type = "tv";                          ///< a name of bilevel/model/catalogue.hpp, or foe
  std::optional<std::string> potential;             ///< empty: charbonnier; none of h1 and tikhonov
  bool xi_inside_alpha = false;                     ///< tv
  std::optional<int> filters, filter_size;          ///< foe; empty: 30, 7
  std::optional<std::string> padding, filter_init;  ///< foe; empty: symmetric, tv
  bool free_mean = false;                           ///< foe
  std::vector<std::string> learn;                   ///< empty: alpha, nu; weight, smoothing, filters
  std::vector<std::string> init;                    ///< NAME=VALUE

  bool experts() const { return type == "foe"; }
  int size() const { return filter_size.value_or(7); }
  /// Throw ConfigError for unknown names, options of another model and values outside the bounds. The seed
  /// is that of random filters.
  bilevel::RegulariserOptions regulariser() const;
  bilevel::Parameters parameters(std::uint64_t seed) const;
  /// All of it, defaults included, as a model file keeps it.
  std::vector<bilevel::NamedOption> deciding(std::uint64_t seed) const;

 private:
  std::vector<std::string> learned_names() const;
  bilevel::Parameters tv_start() const;
  bilevel::Parameters experts_start(std::uint64_t seed) const;
};

/// Adds the options of the model; `type_option` names its kind.
void add_model_options(CLI::App& app, ModelOptions& options, const char* type_option);

}  // namespace bilevel_app::denoise
