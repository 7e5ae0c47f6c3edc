#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "bilevel/model/named_option.hpp"
#include "bilevel/model/regularisers.hpp"

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace bilevel_app {

// Directional total variation: --reference, the image whose edges it knows, and --edge-eta.

CLI::Option* add_reference(CLI::App& app, std::string& reference);
CLI::Option* add_edge_eta(CLI::App& app, std::optional<double>& eta);

bool is_directional(const bilevel::RegulariserSum& sum);
/// Throws ConfigError unless --reference is given for directional total variation, and for nothing else.
void require_reference(const bilevel::RegulariserSum& sum, const std::string& reference);
/// The sum, whose directional total variation has this reference. The pixels stay where they are.
bilevel::RegulariserSum with_reference(bilevel::RegulariserSum sum, std::span<const double> reference);

/// Puts --edge-eta into the sum that is called `type`. Throws ConfigError for a number that is not positive,
/// and when one was given for a sum without directional total variation.
void choose_edge_eta(bilevel::RegulariserSum& sum, const std::optional<double>& eta, const std::string& type);
/// "edge-eta" of a sum with directional total variation.
void append_edge_eta(std::vector<bilevel::NamedOption>& list, const bilevel::RegulariserSum& sum);

}  // namespace bilevel_app
