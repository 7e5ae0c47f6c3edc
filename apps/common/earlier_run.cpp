#include "apps/common/earlier_run.hpp"

#include <algorithm>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <vector>

#include "bilevel/core/error.hpp"

namespace bilevel_app {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

namespace {

const char data_entry[] = "data (fingerprint)", features_entry[] = "features (fingerprint)",
           matrices_entry[] = "matrices (fingerprint)";  // of bilevel-learn
const char program_key[] = "program";                    // of bilevel-learn alone: the command
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
  if (const std::string program = text_in(model, program_key); !program.empty()) return program;
  const std::string type = text_in(model, "model");
  if (type.starts_with("mri-")) return mri_command(text_in(member(model, "training"), "command"));
  return type.empty() ? "" : denoise;
}

std::string command_of_summary(const Json& summary) {
  if (const std::string program = text_in(summary, program_key); !program.empty()) return program;
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

/// result.json of a stage, and state.json of each checkpoint.
std::vector<fs::path> files_of_stage(const fs::path& stage) {
  std::vector<fs::path> files{stage / "result.json"};
  for (const fs::path& saved : entries(stage)) files.push_back(saved / "state.json");
  return files;
}

/// An entry of an identity as the user knows it; one without values is told by them being others.
struct OptionName {
  std::string text;
  bool values = true;
};
OptionName option_name(const std::string& name) {
  static const std::map<std::string, OptionName> special{
      {"command", {"the command"}},
      {"weight1", {"--weight (alpha1)"}},
      {"weight0", {"--weight (alpha0)"}},
      {"kind", {"the pattern of --from", false}},
      {"kept", {"the pattern of --from", false}},
      {"experts", {"the model of --experts", false}},
      {"blur (fingerprint)", {"the kernel of --blur", false}},
      {features_entry, {"the data of --train-data or of the other files", false}},
      {matrices_entry, {"the data of --upper-matrix or of the other files", false}},
      {data_entry, {"the data of --data and of the options on it", false}}};
  if (const auto found = special.find(name); found != special.end()) return found->second;
  const std::size_t part = name.find(".weight"), given = name.find(" given");
  if (part != std::string::npos) return {"--weight (" + name.substr(0, part) + ".alpha)"};
  if (name.starts_with("penalty ")) return {"--penalty"};
  return {"--" + name.substr(0, given)};
}

/// " was A, not B" of two values, none being empty.
std::string change_text(const std::string& name, const std::string& before, const std::string& now) {
  if (name.ends_with(" given"))
    return before == "true" ? " was given, and is not now" : " was not given, and is now";
  const auto text = [](const std::string& v) { return v == "true" ? "on" : v == "false" ? "off" : v; };
  if (before.empty()) return " was not given, and is " + text(now) + " now";
  if (now.empty()) return " was " + text(before) + ", and is not given now";
  return " was " + text(before) + ", not " + text(now);
}

/// bilevel-denoise and bilevel-learn keep checkpoint/000001/state.json, bilevel-mri has a folder for each
/// stage between.
std::string command_of_checkpoints(const fs::path& checkpoints) {
  std::error_code error;
  for (const fs::path& entry : entries(checkpoints)) {
    if (fs::exists(entry / "state.json", error)) {
      const std::string program = text_in(member(object_in(entry / "state.json"), "identity"), program_key);
      return program.empty() ? denoise : program;
    }
    for (const fs::path& file : files_of_stage(entry))
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
  const bool cut =
      status == "interrupted" || status == "failed" || status == "time_limit" || status == "budget";
  const auto iterations = summary.find("iterations");
  return !cut || iterations == summary.end() || *iterations != 0;
}

void require_same_options(const fs::path& run, const fs::path& saved,
                          const std::vector<bilevel::NamedOption>& identity) {
  const auto refuse = [&run](const std::string& name, const std::string& before, const std::string& now) {
    const auto [text, values] = option_name(name);
    throw bilevel::ConfigError(
        "the run in " + run.string() + " cannot be resumed: " + text +
        (values ? change_text(name, before, now) : " is another now") +
        "; resume with the same options and data, or start a new run in another folder.");
  };
  for (const fs::path& file : files_of_stage(saved)) {
    Json before = member(object_in(file), "identity");
    if (before.empty()) continue;
    before.erase("start");  // of a stage of bilevel-mri, which no option gives
    // Data last, as options change them; before them what is not given now.
    std::vector<bilevel::NamedOption> entries = identity;
    const auto is_data = [](const auto& entry) {
      return entry.first == data_entry || entry.first == features_entry || entry.first == matrices_entry;
    };
    std::stable_partition(entries.begin(), entries.end(), std::not_fn(is_data));
    for (const auto& [name, value] : before.items())
      if (std::none_of(identity.begin(), identity.end(), [&](const auto& e) { return e.first == name; }))
        entries.emplace(std::find_if(entries.begin(), entries.end(), is_data), name, std::string());
    for (const auto& [name, value] : entries) {
      const std::string now = bilevel::option_text(value), then = text_in(before, name.c_str());
      if (then != now) refuse(name, then, now);
    }
  }
}

void require_no_result(const fs::path& folder) {
  if (!holds_result(folder)) return;
  const std::string command = command_of_run(folder);
  throw bilevel::ConfigError("--resume: " + folder.string() + " holds the result of a run" +
                             (command.empty() ? "" : " of " + command) +
                             " and no checkpoint to take it up; choose another --out.");
}

}  // namespace bilevel_app
