#include "apps/common/reference_option.hpp"

#include "apps/common/add_option.hpp"
#include "apps/common/option_support.hpp"
#include "bilevel/core/error.hpp"
#include "bilevel/model/catalogue.hpp"

namespace bilevel_app {

using namespace bilevel;

namespace {

const DirectionalTv* directional_of(const RegulariserSum& sum) {
  for (const RegulariserOptions& part : sum.parts)
    if (const auto* directional = std::get_if<DirectionalTv>(&part)) return directional;
  return nullptr;
}

/// Does `change` to the directional total variation of all parts.
template <class F>
void for_directional(RegulariserSum& sum, F change) {
  for (RegulariserOptions& part : sum.parts)
    if (auto* directional = std::get_if<DirectionalTv>(&part)) change(*directional);
}

}  // namespace

CLI::Option* add_reference(CLI::App& app, std::string& reference) {
  return add_value(app, "--reference", reference,
                   "dtv: image with known edges, of the images' size; not kept in the model", "IMAGE");
}

CLI::Option* add_edge_eta(CLI::App& app, std::optional<double>& eta) {
  return add_value(app, "--edge-eta", eta, "dtv: jumps of the reference that are edges [0.01]", "ETA");
}

bool is_directional(const RegulariserSum& sum) { return directional_of(sum) != nullptr; }

void require_reference(const RegulariserSum& sum, const std::string& reference) {
  const bool needed = is_directional(sum);
  if (needed && reference.empty())
    throw ConfigError("the model " + model_type(sum) + " needs --reference IMAGE, whose edges it knows.");
  if (!needed && !reference.empty())
    throw ConfigError("--reference is for the model " + std::string(regulariser_name(DirectionalTv{})) +
                      ", not for " + model_type(sum) + "; leave it out.");
}

RegulariserSum with_reference(RegulariserSum sum, std::span<const double> reference) {
  for_directional(sum, [&](DirectionalTv& o) { o.reference = reference; });
  return sum;
}

void choose_edge_eta(RegulariserSum& sum, const std::optional<double>& eta, const std::string& type) {
  if (!eta) return;
  if (!is_directional(sum))
    throw ConfigError("--edge-eta is an option of the model " +
                      std::string(regulariser_name(DirectionalTv{})) + ", not of " + type +
                      "; leave it out.");
  require_positive(*eta, "--edge-eta");
  for_directional(sum, [&](DirectionalTv& o) { o.eta = *eta; });
}

void append_edge_eta(std::vector<NamedOption>& list, const RegulariserSum& sum) {
  if (const DirectionalTv* directional = directional_of(sum)) list.emplace_back("edge-eta", directional->eta);
}

}  // namespace bilevel_app
