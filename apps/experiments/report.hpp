#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "apps/experiments/result_file.hpp"

namespace bilevel_app::experiments {

/// Of one result, for terminals: verdict, table, notes.
std::string text_report(const SavedResult& saved);

/// A page that needs nothing else: no scripts, no other files, curves as SVG inside, pictures too, read from
/// the folder of the results. Throws IoError for one that cannot be read.
std::string html_report(const std::filesystem::path& folder, const std::vector<SavedResult>& results);

/// Writes DIR/index.html from the results in DIR and returns its path. Throws IoError, also when there are
/// none.
std::filesystem::path write_report(const std::filesystem::path& folder);

}  // namespace bilevel_app::experiments
