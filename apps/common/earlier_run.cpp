#include "apps/common/earlier_run.hpp"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <vector>

#include "bilevel/core/error.hpp"

namespace bilevel_app {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

namespace {

const std::string denoise = "bilevel-denoise train", mri = "bilevel-mri";

/// The object in a file; an empty one where there is none.
Json object_in(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  const Json json = Json::parse(text, nullptr, false);
  return json.is_object() ? json : Json::object();
}

std::string text_in(const Json& json, const char* key) {
  const auto found = json.find(key);
  return found != json.end() && found->is_string() ? found->get<std::string>() : "";
}

Json member(const Json& json, const char* key) {
  const auto found = json.find(key);
  return found != json.end() && found->is_object() ? *found : Json::object();
}

std::string mri_command(const std::string& command) { return command.empty() ? mri : mri + " " + command; }

std::string command_of_model(const Json& model) {
  const std::string type = text_in(model, "model");
  if (type.starts_with("mri-")) return mri_command(text_in(member(model, "training"), "command"));
  return type.empty() ? "" : denoise;
}

std::string command_of_summary(const Json& summary) {
  if (const std::string command = text_in(summary, "command"); !command.empty()) return mri_command(command);
  return summary.contains("model") ? denoise : "";
}

std::vector<fs::path> entries(const fs::path& folder) {
  std::vector<fs::path> found;
  std::error_code error;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error))
    found.push_back(at->path());
  std::sort(found.begin(), found.end());
  return found;
}

/// bilevel-denoise keeps checkpoint/000001/state.json, bilevel-mri has a folder for each stage between.
std::string command_of_checkpoints(const fs::path& checkpoints) {
  std::error_code error;
  for (const fs::path& entry : entries(checkpoints)) {
    if (fs::exists(entry / "state.json", error)) return denoise;
    std::vector<fs::path> files{entry / "result.json"};
    for (const fs::path& saved : entries(entry)) files.push_back(saved / "state.json");
    for (const fs::path& file : files)
      if (const Json identity = member(object_in(file), "identity"); identity.contains("command"))
        return mri_command(text_in(identity, "command"));
  }
  return {};
}

}  // namespace

std::string command_of_run(const fs::path& folder) {
  std::string command = command_of_model(object_in(folder / "model.json"));
  if (command.empty()) command = command_of_summary(object_in(folder / "summary.json"));
  if (command.empty()) command = command_of_checkpoints(folder / "checkpoint");
  return command;
}

bool holds_result(const fs::path& folder) {
  std::error_code error;
  if (!fs::exists(folder / "model.json", error) && !fs::exists(folder / "summary.json", error)) return false;
  const Json summary = object_in(folder / "summary.json");
  const std::string status = text_in(summary, "status");
  const bool cut = status == "interrupted" || status == "failed";
  const auto iterations = summary.find("iterations");
  return !cut || iterations == summary.end() || *iterations != 0;
}

void require_no_result(const fs::path& folder) {
  if (!holds_result(folder)) return;
  const std::string command = command_of_run(folder);
  throw bilevel::ConfigError("--resume: " + folder.string() + " holds the result of a run" +
                             (command.empty() ? "" : " of " + command) +
                             " and no checkpoint to take it up; choose another --out.");
}

}  // namespace bilevel_app
