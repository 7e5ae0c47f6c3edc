#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "apps/experiments/experiment.hpp"

namespace bilevel_app::experiments {

/// A result with all that the page says of it.
struct SavedResult {
  std::string id, title, claim, source;
  Result result;
  std::string command;          ///< that makes it again
  std::string device, version;  ///< of the library
  double seconds = 0;
  bool quick = false;
};

nlohmann::ordered_json to_json(const SavedResult& saved);

/// DIR/ID/NAME.png.
std::filesystem::path picture_file(const std::filesystem::path& folder, const std::string& id,
                                   const Picture& picture);

/// DIR/ID/result.json, curves.svg where there are curves, and the pictures; each is replaced at once or stays
/// as it was. Throws IoError.
void write_result(const std::filesystem::path& folder, const SavedResult& saved);

/// Without the images of pictures. Throws IoError for a file that cannot be read or is no result.
SavedResult read_result(const std::filesystem::path& file);

/// All DIR/*/result.json by the numbers of the experiments, but for those of `except`. Throws IoError, also
/// when there is no such folder.
std::vector<SavedResult> read_results(const std::filesystem::path& folder,
                                      const std::vector<std::string>& except = {});

}  // namespace bilevel_app::experiments
