#include "apps/mri/mri_model.hpp"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "apps/common/option_support.hpp"
#include "bilevel/core/atomic_file.hpp"
#include "bilevel/core/error.hpp"
#include "bilevel/core/version.hpp"
#include "bilevel/model/catalogue.hpp"

namespace bilevel_app::mri {

using namespace bilevel;
using Json = nlohmann::ordered_json;

namespace {

constexpr const char* kFormat = "bilevel-model";
constexpr const char* kModel = "mri-tv";
constexpr const char* kMaskFile = "mask_npy_zero_frequency";  // runs without it had it at [0,0]
constexpr const char* kEnergy =
    "1/2 sum_c |S(F sigma_c x - y_c)|^2 + alpha R_nu(x) + xi/2 |x|^2, F unitary, S = diag(s)";

MriParameterValues values_of(const MriModel& m, bool learn_alpha) {
  return {1, m.alpha, m.nu, m.xi, false, learn_alpha, m.s};
}

/// Numbers of an array between two bounds.
std::vector<double> numbers(const std::filesystem::path& path, const Json& json, const char* key,
                            double most) {
  std::vector<double> out;
  if (!json.at(key).is_array()) throw IoError(path.string(), std::string("key '") + key + "' is no list.");
  for (const Json& v : json.at(key)) {
    const double value = v.is_number() ? v.get<double>() : std::nan("");
    if (!(value >= 0 && value <= most))
      throw IoError(path.string(), std::string("key '") + key +
                                       "' holds something that is no number from 0 to " + option_text(most) +
                                       ".");
    out.push_back(value);
  }
  return out;
}

double positive(const std::filesystem::path& path, const Json& json, const char* key) {
  const double value = json.at(key).is_number() ? json.at(key).get<double>() : 0;
  if (!(value > 0) || !std::isfinite(value))
    throw IoError(path.string(), std::string("key '") + key + "' is not a positive number.");
  return value;
}

int extent(const std::filesystem::path& path, const Json& json, const char* key) {
  const auto value = json.at(key).is_number_integer() ? json.at(key).get<std::int64_t>() : 0;
  if (value < 1 || value > 1 << 13)
    throw IoError(path.string(), std::string("key '") + key + "' is not a number from 1 to 8192.");
  return static_cast<int>(value);
}

OptionValue option_from(const Json& value) {
  if (value.is_boolean()) return value.get<bool>();
  if (value.is_number_integer()) return value.get<std::int64_t>();
  if (value.is_number()) return value.get<double>();
  return value.get<std::string>();
}

MriModel parse_model(const std::filesystem::path& path, const Json& json) {
  if (json.value("format", "") != kFormat || json.value("format_version", 0) != 1)
    throw IoError(path.string(), "it is no model of format version 1.");
  if (json.value("model", "") != kModel)
    throw IoError(path.string(), "the model is '" + json.value("model", "") + "', not one of bilevel-mri.");
  MriModel m;
  m.library_version = json.at("library_version").get<std::string>();
  const auto potential = json.at("potential").get<std::string>();  // older files have no regulariser
  m.regulariser = regulariser_options(json.value("regulariser", "tv"));
  if (m.regulariser.smoothed()) m.regulariser.potential = potential_from(potential);
  m.complex = json.at("image").get<std::string>() == "complex";
  const Json& pattern = json.at("pattern");
  m.kind = pattern_from(pattern.at("kind").get<std::string>());
  m.height = extent(path, pattern, "height");
  m.width = extent(path, pattern, "width");
  m.spokes = extent(path, pattern, "spokes");
  m.centred_mask_file = pattern.contains(kMaskFile);
  const Json& theta = json.at("theta");
  m.s = numbers(path, theta, "s", 1);
  m.relaxed = numbers(path, json, "relaxed_s", 1);
  m.alpha = positive(path, theta, "alpha");
  m.nu = positive(path, theta, "nu");
  m.xi = positive(path, theta, "xi");
  const std::size_t groups = m.pattern().groups();
  if (m.s.size() != groups || (!m.relaxed.empty() && m.relaxed.size() != groups))
    throw IoError(path.string(), "key 's' holds " + std::to_string(m.s.size()) +
                                     " numbers, its pattern has " + std::to_string(groups) + " groups.");
  for (const auto& [name, value] : json.at("training").items())
    m.training.emplace_back(name, option_from(value));
  const Json& data = json.at("data");
  m.data.files = data.at("files").get<std::vector<std::string>>();
  m.data.images = data.at("images").get<int>();
  m.data.height = m.height;
  m.data.width = m.width;
  m.data.pixels = std::stoull(data.at("fingerprint").get<std::string>(), nullptr, 16);
  return m;
}

}  // namespace

TvOptions ModelOptions::regulariser_options() const {
  const auto known = regulariser_catalogue();
  if (std::none_of(known.begin(), known.end(), [&](const auto& e) { return e.name == regulariser; }))
    throw ConfigError("--regulariser " + regulariser + " is unknown; known are " + regulariser_names() + ".");
  return bilevel::regulariser_options(regulariser, potential_from(potential));
}

void validate(const ModelOptions& o) {
  if (o.regulariser == "foe")
    throw ConfigError("--regulariser foe is for denoising; MRI has those of differences, tv among them.");
  static_cast<void>(o.regulariser_options());
  require_positive(o.weight, "--weight");
  require_positive(o.nu, "--nu");
  require_positive(o.xi, "--xi");
}

SamplingPattern MriModel::pattern() const {
  return SamplingPattern(kind, height, width, SamplingMap::direct, spokes);
}

Parameters MriModel::parameters(bool learn_alpha) const {
  return mri_parameters(pattern(), values_of(*this, learn_alpha));
}

std::string middle_text(const MriModel& m) {
  return "[" + std::to_string(m.height / 2) + "," + std::to_string(m.width / 2) + "]";
}

MriModel read_mri_model(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw IoError(path.string(), "cannot be read.");
  const std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  try {
    return parse_model(path, Json::parse(text));
  } catch (const Json::exception&) {
    throw IoError(path.string(), "it is no complete model of bilevel-mri.");
  } catch (const std::logic_error&) {
    throw IoError(path.string(), "its data fingerprint is not hexadecimal.");
  } catch (const ConfigError& error) {
    throw IoError(path.string(), error.what());
  }
}

void write_mri_model(const std::filesystem::path& path, const MriModel& m) {
  Json json{{"format", kFormat},
            {"format_version", 1},
            {"library_version", BILEVEL_VERSION},
            {"model", kModel},
            {"energy", kEnergy},
            {"regulariser", regulariser_name(m.regulariser)},
            {"potential", potential_name(m.regulariser.potential)},
            {"image", m.complex ? "complex" : "real"}};
  json["pattern"] = {
      {"kind", pattern_name(m.kind)}, {"height", m.height},        {"width", m.width},
      {"spokes", m.spokes},           {"zero_frequency", "[0,0]"}, {kMaskFile, middle_text(m)}};
  json["theta"] = {{"s", m.s}, {"alpha", m.alpha}, {"nu", m.nu}, {"xi", m.xi}};
  json["relaxed_s"] = m.relaxed;
  json["training"] = Json::object();
  for (const auto& [name, value] : m.training)
    json["training"][name] = std::visit([](const auto& v) { return Json(v); }, value);
  json["data"] = {
      {"files", m.data.files}, {"images", m.data.images}, {"fingerprint", fingerprint_text(m.data.pixels)}};
  const auto replace = Json::error_handler_t::replace;
  std::string out = "{\n";  // one line per key, long lists included
  for (auto item = json.begin(); item != json.end(); ++item)
    out += (item == json.begin() ? "  " : ",\n  ") + Json(item.key()).dump() + ": " +
           item.value().dump(-1, ' ', false, replace);
  write_file_atomically(path, out + "\n}\n");
}

}  // namespace bilevel_app::mri
