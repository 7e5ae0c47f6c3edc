#include "bilevel/observe/checkpoint.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <nlohmann/json.hpp>
#include <system_error>

#include "bilevel/core/atomic_file.hpp"
#include "bilevel/core/error.hpp"
#include "core/file_bytes.hpp"

namespace bilevel {
inline namespace v0 {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;
constexpr int kFormatVersion = 3;
constexpr std::size_t kKept = 2;

std::string folder_name(int iteration) {
  std::string digits = std::to_string(iteration);
  return std::string(digits.size() < 6 ? 6 - digits.size() : 0, '0') + digits;
}

/// Iteration of a checkpoint's folder name, -1 for other names.
int iteration_of(const std::string& name) {
  if (name.size() < 6 || name.size() > 9 || name.find_first_not_of("0123456789") != std::string::npos)
    return -1;
  return std::atoi(name.c_str());
}

/// Newest first. Throws IoError for a folder that is there and cannot be read.
std::vector<int> saved_iterations(const fs::path& folder) {
  std::vector<int> found;
  std::error_code error;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error))
    if (const int k = iteration_of(at->path().filename().string()); k >= 0) found.push_back(k);
  if (error && error != std::errc::no_such_file_or_directory)
    throw IoError(folder.string(), "the checkpoints cannot be read (" + error.message() + ").");
  std::sort(found.rbegin(), found.rend());
  return found;
}

/// JSON has no infinities; they become texts.
Json number(double value) {
  if (std::isfinite(value)) return value;
  return std::isnan(value) ? "nan" : value > 0 ? "inf" : "-inf";
}

double number_from(const Json& json) {
  if (json.is_number()) return json.get<double>();
  const auto text = json.get<std::string>();
  if (text == "inf") return std::numeric_limits<double>::infinity();
  if (text == "-inf") return -std::numeric_limits<double>::infinity();
  if (text == "nan") return std::numeric_limits<double>::quiet_NaN();
  throw Error("'" + text + "' is no number");
}

Json numbers(const std::vector<double>& values) {
  Json list = Json::array();
  for (const double v : values) list.push_back(number(v));
  return list;
}

std::vector<double> numbers_from(const Json& json) {
  std::vector<double> values;
  for (const Json& v : json) values.push_back(number_from(v));
  return values;
}

std::uint64_t checksum(const std::vector<std::uint8_t>& bytes) {
  return fingerprint(std::as_bytes(std::span(bytes)));
}
std::uint64_t checksum(const std::string& text) { return fingerprint(std::as_bytes(std::span(text))); }

Json array_json(const std::string& name, const std::vector<std::uint8_t>& bytes) {
  return {{"file", name + ".bin"}, {"bytes", bytes.size()}, {"checksum", fingerprint_text(checksum(bytes))}};
}

/// The arrays of a state by the names of their files.
std::map<std::string, const std::vector<std::uint8_t>*> arrays_of(const UpperState& s) {
  std::map<std::string, const std::vector<std::uint8_t>*> all;
  for (const auto& [name, bytes] : s.arrays) all[name] = &bytes;
  all["x"] = &s.x;
  all["adjoints"] = &s.adjoints;
  return all;
}

/// Throws ConfigError for names that are none of a file, or taken.
void require_names(const UpperState& s) {
  const auto require = [](const std::string& name) {
    const bool good =
        !name.empty() && name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-") == std::string::npos;
    if (!good || name == "x" || name == "adjoints")
      throw ConfigError("a state cannot keep '" + name +
                        "'; use lower-case letters, digits and hyphens, and neither x nor adjoints.");
  };
  for (const auto& [name, values] : s.numbers) require(name);
  for (const auto& [name, values] : s.arrays) require(name);
}

std::string state_text(const UpperState& s, const std::vector<NamedOption>& identity) {
  Json json{{"format", "bilevel-checkpoint"}, {"format_version", kFormatVersion}};
  json["identity"] = Json::object();
  for (const auto& [name, value] : identity) json["identity"][name] = option_text(value);
  json["method"] = s.method;
  json["iteration"] = s.iteration;
  json["theta"] = numbers(s.theta);
  json["work"] = {{"gradients", s.work.gradients},
                  {"hessian_products", s.work.hessian_products},
                  {"other", s.work.other},
                  {"solves", s.work.solves}};
  json["seconds"] = number(s.seconds);
  json["losses"] = numbers(s.losses);
  json["has_columns"] = s.has_columns;
  json["numbers"] = Json::object();
  for (const auto& [name, values] : s.numbers) json["numbers"][name] = numbers(values);
  json["arrays"] = Json::object();
  for (const auto& [name, bytes] : arrays_of(s)) json["arrays"][name] = array_json(name, *bytes);
  json["checksum"] = fingerprint_text(checksum(json.dump()));
  return json.dump(1) + "\n";
}

std::vector<std::uint8_t> read_array(const fs::path& folder, const Json& json) {
  const auto size = json.at("bytes").get<std::size_t>();
  if (size == 0) return {};
  const fs::path path = folder / json.at("file").get<std::string>();
  const std::string bytes = io_detail::read_file(path);
  if (bytes.size() != size) throw Error(path.filename().string() + " has another size");
  std::vector<std::uint8_t> values(bytes.begin(), bytes.end());
  if (fingerprint_text(checksum(values)) != json.at("checksum").get<std::string>())
    throw Error(path.filename().string() + " has another checksum");
  return values;
}

void require_identity(const fs::path& folder, const Json& saved, const std::vector<NamedOption>& identity) {
  const std::string remedy = "; resume with the same options and data, or start a new run in another folder.";
  const std::string run = folder.parent_path().empty() ? "." : folder.parent_path().string();
  for (const auto& [name, value] : identity) {
    const auto found = saved.find(name);
    const std::string before = found == saved.end() ? "not set" : found->get<std::string>();
    if (before != option_text(value))
      throw ConfigError("the run in " + run + " cannot be resumed: its " + name + " is " + before + ", not " +
                        option_text(value) + remedy);
  }
  for (const auto& [name, value] : saved.items())
    if (std::none_of(identity.begin(), identity.end(), [&](const NamedOption& o) { return o.first == name; }))
      throw ConfigError("the run in " + run + " cannot be resumed: its " + name + " is " +
                        value.get<std::string>() + ", which is not set now" + remedy);
}

/// Throws ConfigError for another identity, anything else for a damaged checkpoint.
UpperState load(const fs::path& folder, const std::vector<NamedOption>& identity) {
  Json json = Json::parse(io_detail::read_file(folder / "state.json"));
  const auto sum = json.at("checksum").get<std::string>();
  json.erase("checksum");
  if (fingerprint_text(checksum(json.dump())) != sum) throw Error("state.json has another checksum");
  if (json.at("format_version").get<int>() != kFormatVersion)
    throw Error("state.json has another format version");
  require_identity(folder.parent_path(), json.at("identity"), identity);
  UpperState s;
  s.method = json.at("method").get<std::string>();
  s.iteration = json.at("iteration").get<int>();
  s.theta = numbers_from(json.at("theta"));
  s.work = {json.at("work").at("gradients").get<std::uint64_t>(),
            json.at("work").at("hessian_products").get<std::uint64_t>(),
            json.at("work").at("other").get<std::uint64_t>(),
            json.at("work").at("solves").get<std::uint64_t>()};
  s.seconds = number_from(json.at("seconds"));
  s.losses = numbers_from(json.at("losses"));
  s.has_columns = json.at("has_columns").get<bool>();
  for (const auto& [name, values] : json.at("numbers").items()) s.numbers[name] = numbers_from(values);
  for (const auto& [name, array] : json.at("arrays").items())
    (name == "x" ? s.x : name == "adjoints" ? s.adjoints : s.arrays[name]) = read_array(folder, array);
  return s;
}

void remove_quietly(const fs::path& path) {
  std::error_code ignored;
  fs::remove_all(path, ignored);
}

std::string_view as_text(const std::vector<std::uint8_t>& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

Checkpoint::Checkpoint(fs::path folder, std::vector<NamedOption> identity, double force_every)
    : folder_(std::move(folder)), identity_(std::move(identity)), force_every_(force_every) {
  std::error_code error;
  fs::create_directories(folder_, error);
  if (error) throw IoError(folder_.string(), "cannot be made (" + error.message() + ").");
  remove_temporaries(folder_);
}

bool Checkpoint::wants_state(const IterationRecord&) { return true; }

/// Waits until a checkpoint of this number is on the disk.
void Checkpoint::force(const fs::path& checkpoint, int iteration) {
  std::error_code error;
  for (fs::directory_iterator at(checkpoint, error), end; !error && at != end; at.increment(error))
    force_to_disk(at->path());
  force_to_disk(checkpoint);
  forced_ = iteration;
  forced_at_ = std::chrono::steady_clock::now();
}

/// Of those up to `newest` keeps the last two, and the last one that is surely on the disk.
void Checkpoint::forget_before(int newest) const {
  std::size_t kept = 0;
  for (const int k : saved_iterations(folder_))
    if (k <= newest && ++kept > kKept && k != forced_) remove_quietly(folder_ / folder_name(k));
}

void Checkpoint::state(const UpperState& state) {
  if (state.iteration < 0 || state.iteration > 999999999)
    throw ConfigError("a checkpoint of " + std::to_string(state.iteration) +
                      " iterations cannot be kept; it has 0 to 999999999.");
  require_names(state);
  const fs::path target = folder_ / folder_name(state.iteration);
  const fs::path temporary = folder_ / ("." + folder_name(state.iteration) + ".tmp");
  remove_quietly(temporary);
  std::error_code error;
  try {
    fs::create_directory(temporary, error);
    if (error) throw IoError(temporary.string(), "cannot be made (" + error.message() + ").");
    for (const auto& [name, bytes] : arrays_of(state))
      if (!bytes->empty()) write_file_atomically(temporary / (name + ".bin"), as_text(*bytes), false);
    write_file_atomically(temporary / "state.json", state_text(state, identity_), false);
    if (std::chrono::steady_clock::now() - forced_at_ >= force_every_) force(temporary, state.iteration);
    remove_quietly(target);
    fs::rename(temporary, target, error);
    if (error) throw IoError(target.string(), "cannot be made (" + error.message() + ").");
    if (forced_ == state.iteration) force_to_disk(folder_);
  } catch (...) {
    remove_quietly(temporary);
    if (!fs::exists(folder_, error) && !error)
      throw IoError(folder_.string(), "was removed or renamed while the run was going on.");
    throw;
  }
  last_ = state.iteration;
  for (const int k : saved_iterations(folder_))
    if (k > last_) remove_quietly(folder_ / folder_name(k));
  forget_before(last_);
}

/// A run that was taken up at its end saves nothing, and may find one more than are kept.
void Checkpoint::finished(const UpperReport& report) {
  if (last_ >= 0 && last_ != forced_) {
    force(folder_ / folder_name(last_), last_);
    force_to_disk(folder_);
  }
  forget_before(last_ >= 0 ? last_ : report.last.iteration);
}

std::optional<Checkpoint::Loaded> Checkpoint::load_latest(const fs::path& folder,
                                                          const std::vector<NamedOption>& identity) {
  std::string damaged;
  for (const int k : saved_iterations(folder)) {
    const fs::path path = folder / folder_name(k);
    try {
      Loaded loaded{load(path, identity), ""};
      if (!damaged.empty())
        loaded.note =
            "checkpoint " + path.string() + " is used because a newer one is damaged: " + damaged + ".";
      return loaded;
    } catch (const ConfigError&) {
      throw;
    } catch (const Json::exception&) {
      damaged += (damaged.empty() ? "" : "; ") + path.string() + " (state.json is incomplete)";
    } catch (const std::exception& error) {
      damaged += (damaged.empty() ? "" : "; ") + path.string() + " (" + error.what() + ")";
    }
  }
  if (!damaged.empty())
    throw IoError(folder.string(),
                  "no checkpoint can be used: " + damaged + "; start a new run in another folder.");
  return std::nullopt;
}

}  // namespace v0
}  // namespace bilevel
