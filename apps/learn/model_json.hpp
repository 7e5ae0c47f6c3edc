#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "bilevel/model/named_option.hpp"
#include "bilevel/model/parameters.hpp"

namespace bilevel_app::learn {

/// What every model.json of this program begins with; `format` tells them apart.
nlohmann::ordered_json model_head(const std::string& format, int version, const std::string& learn);
/// Segments with their values: a number stands here, an array in a file NAME.npy of its own.
nlohmann::ordered_json theta_json(const std::vector<bilevel::Segment>& parameters);
nlohmann::ordered_json training_json(const std::vector<bilevel::NamedOption>& options);

/// Writes the files of the arrays, and then model.json at `path`, each atomically. Throws IoError.
void write_model_json(const std::filesystem::path& path, const nlohmann::ordered_json& json,
                      const std::vector<bilevel::Segment>& parameters);

/// Extents as files of arrays have them.
std::vector<std::size_t> extents(const std::vector<int>& shape);

}  // namespace bilevel_app::learn
