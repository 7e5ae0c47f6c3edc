#include "apps/experiments/result_file.hpp"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iterator>
#include <limits>
#include <nlohmann/json.hpp>

#include "bilevel/core/atomic_file.hpp"
#include "bilevel/core/error.hpp"

namespace bilevel_app::experiments {

namespace fs = std::filesystem;
using bilevel::IoError;
using Json = nlohmann::ordered_json;

namespace {

constexpr int format_version = 1;

Json to_json(const Row& row) {
  const auto number = [](const std::optional<double>& v) {
    return v && std::isfinite(*v) ? Json(*v) : Json(nullptr);
  };
  return {{"quantity", row.quantity},
          {"published", number(row.published)},
          {"ours", number(row.ours)},
          {"ratio", number(row.ratio())},
          {"criterion", row.criterion},
          {"verdict", name_of(row.verdict)},
          {"why", row.why}};
}
Row row_from(const Json& json) {
  const auto number = [&json](const char* key) {
    const Json& v = json.at(key);
    return v.is_null() ? std::optional<double>() : std::optional<double>(v.get<double>());
  };
  return {json.at("quantity"),
          number("published"),
          number("ours"),
          json.at("criterion"),
          verdict_from(json.at("verdict")),
          json.at("why")};
}

Json to_json(const bilevel::Axis& axis) { return {{"label", axis.label}, {"logarithmic", axis.logarithmic}}; }
bilevel::Axis axis_from(const Json& json) { return {json.at("label"), json.at("logarithmic")}; }

/// What is not finite is null, and again no number when read.
std::vector<double> numbers_from(const Json& json) {
  std::vector<double> out;
  for (const Json& v : json)
    out.push_back(v.is_null() ? std::numeric_limits<double>::quiet_NaN() : v.get<double>());
  return out;
}

Json to_json(const bilevel::Panel& panel) {
  Json series = Json::array();
  for (const bilevel::Series& s : panel.series)
    series.push_back({{"label", s.label}, {"x", s.x}, {"y", s.y}});
  return {{"title", panel.title},
          {"x", to_json(panel.x)},
          {"y", to_json(panel.y)},
          {"series", std::move(series)}};
}
bilevel::Panel panel_from(const Json& json) {
  bilevel::Panel panel{json.at("title"), axis_from(json.at("x")), axis_from(json.at("y")), {}};
  for (const Json& s : json.at("series"))
    panel.series.push_back({s.at("label"), numbers_from(s.at("x")), numbers_from(s.at("y"))});
  return panel;
}

/// Throws ConfigError for a name that is no plain one.
Picture picture_from(const Json& json) {
  Picture picture{json.at("name"), json.at("caption"), {}};
  if (picture.name.empty() || picture.name.find_first_of("/\\") != std::string::npos)
    throw bilevel::ConfigError("'" + picture.name + "' is no name of a picture");
  return picture;
}

SavedResult result_from(const Json& json) {
  if (json.at("format") != format_version)
    throw bilevel::ConfigError("it has format " + json.at("format").dump() + " instead of " +
                               std::to_string(format_version));
  SavedResult saved;
  saved.id = json.at("id");
  saved.title = json.at("title");
  saved.claim = json.at("claim");
  saved.source = json.at("source");
  saved.command = json.at("command");
  saved.device = json.at("device");
  saved.version = json.at("library_version");
  saved.seconds = json.at("seconds");
  saved.quick = json.at("quick");
  for (const Json& row : json.at("rows")) saved.result.rows.push_back(row_from(row));
  for (const Json& panel : json.at("curves")) saved.result.curves.push_back(panel_from(panel));
  for (const Json& note : json.at("notes")) saved.result.notes.push_back(note);
  if (json.contains("pictures"))
    for (const Json& picture : json.at("pictures")) saved.result.pictures.push_back(picture_from(picture));
  static_cast<void>(bilevel::svg_plot(saved.result.curves));  // x and y of equal lengths
  return saved;
}

/// The number in "E14", what is no number last.
double number_of(const std::string& id) {
  char* end = nullptr;
  const double number = id.empty() ? 0 : std::strtod(id.c_str() + 1, &end);
  return end != nullptr && *end == '\0' ? number : std::numeric_limits<double>::infinity();
}

}  // namespace

Json to_json(const SavedResult& saved) {
  Json rows = Json::array(), curves = Json::array(), pictures = Json::array();
  for (const Row& row : saved.result.rows) rows.push_back(to_json(row));
  for (const bilevel::Panel& panel : saved.result.curves) curves.push_back(to_json(panel));
  for (const Picture& p : saved.result.pictures)
    pictures.push_back({{"name", p.name}, {"caption", p.caption}});
  return {{"format", format_version},       {"id", saved.id},
          {"title", saved.title},           {"claim", saved.claim},
          {"source", saved.source},         {"verdict", name_of(verdict_of(saved.result.rows))},
          {"command", saved.command},       {"quick", saved.quick},
          {"device", saved.device},         {"library_version", saved.version},
          {"seconds", saved.seconds},       {"rows", std::move(rows)},
          {"notes", saved.result.notes},    {"curves", std::move(curves)},
          {"pictures", std::move(pictures)}};
}

fs::path picture_file(const fs::path& folder, const std::string& id, const Picture& picture) {
  return folder / id / (picture.name + ".png");
}

void write_result(const fs::path& folder, const SavedResult& saved) {
  const fs::path own = folder / saved.id;
  std::error_code error;
  fs::create_directories(own, error);
  if (error) throw IoError(own.string(), "the folder cannot be made (" + error.message() + ").");
  bilevel::remove_temporaries(own, true);
  if (!saved.result.curves.empty())
    bilevel::write_file_atomically(own / "curves.svg", bilevel::svg_plot(saved.result.curves));
  for (const Picture& picture : saved.result.pictures)
    bilevel::write_image(picture_file(folder, saved.id, picture), picture.image);
  bilevel::write_file_atomically(own / "result.json", to_json(saved).dump(1) + "\n");
}

SavedResult read_result(const fs::path& file) {
  if (fs::is_directory(file)) throw IoError(file.string(), "is a folder where a file is needed.");
  std::ifstream stream(file, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
  if (!stream) throw IoError(file.string(), "the result cannot be read.");
  try {
    return result_from(Json::parse(text));
  } catch (const std::exception& problem) {
    std::string reason = problem.what();
    if (dynamic_cast<const nlohmann::json::parse_error*>(&problem) != nullptr) reason = "it is no JSON";
    throw IoError(file.string(),
                  "the result is damaged (" + reason + "); run its experiment again, or remove the folder.");
  }
}

std::vector<SavedResult> read_results(const fs::path& folder, const std::vector<std::string>& except) {
  std::error_code error;
  fs::directory_iterator at(folder, error);
  if (error)
    throw IoError(folder.string(), "the folder of results cannot be read (" + error.message() + ").");
  std::vector<SavedResult> all;
  for (const fs::directory_entry& entry : at) {
    const std::string name = entry.path().filename().string();
    if (std::find(except.begin(), except.end(), name) != except.end()) continue;
    const fs::path file = entry.path() / "result.json";
    if (!fs::exists(file, error)) continue;
    all.push_back(read_result(file));
    if (all.back().id != name)
      throw IoError(file.string(),
                    "the result is that of " + all.back().id + "; a folder has the name of its experiment.");
  }
  std::sort(all.begin(), all.end(), [](const SavedResult& a, const SavedResult& b) {
    return std::make_pair(number_of(a.id), a.id) < std::make_pair(number_of(b.id), b.id);
  });
  return all;
}

}  // namespace bilevel_app::experiments
