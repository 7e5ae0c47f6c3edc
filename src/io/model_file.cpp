#include "bilevel/io/model_file.hpp"

#include <array>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>

#include "bilevel/core/error.hpp"
#include "bilevel/core/version.hpp"
#include "bilevel/io/atomic_file.hpp"
#include "io/file_bytes.hpp"

namespace bilevel {
inline namespace v0 {
namespace {

using Json = nlohmann::ordered_json;
constexpr const char* kFormat = "bilevel-model";
constexpr int kFormatVersion = 1;

Json to_json(const OptionValue& value) {
  return std::visit([](const auto& v) { return Json(v); }, value);
}

/// Looks up keys and reports what is wrong as "key 'theta[0].value' ...".
class Reader {
 public:
  Reader(const std::filesystem::path& path, const Json& json, std::string prefix)
      : path_(path), json_(json), prefix_(std::move(prefix)) {}

  [[noreturn]] void fail(const std::string& key, const std::string& what) const {
    throw IoError(path_.string(), "key '" + prefix_ + key + "' " + what + ".");
  }
  const Json& at(const char* key) const {
    const auto found = json_.find(key);
    if (found == json_.end()) fail(key, "is missing; the file is no complete model");
    return *found;
  }
  std::string text(const char* key) const {
    if (!at(key).is_string()) fail(key, "is not a text");
    return at(key).get<std::string>();
  }
  bool flag(const char* key) const {
    if (!at(key).is_boolean()) fail(key, "is neither true nor false");
    return at(key).get<bool>();
  }
  double number(const char* key) const {
    if (!at(key).is_number()) fail(key, "is not a finite number");
    const double value = at(key).get<double>();
    if (!std::isfinite(value)) fail(key, "is not a finite number");
    return value;
  }
  int count(const char* key) const {
    if (!at(key).is_number_integer() || at(key).get<std::int64_t>() < 0 ||
        at(key).get<std::int64_t>() > 1 << 30)
      fail(key, "is not a count");
    return at(key).get<int>();
  }
  Reader object(const char* key) const {
    if (!at(key).is_object()) fail(key, "is not an object");
    return Reader(path_, at(key), prefix_ + key + ".");
  }
  Reader element(const char* key, std::size_t index) const {
    const std::string name = std::string(key) + "[" + std::to_string(index) + "]";
    if (!at(key)[index].is_object()) fail(name, "is not an object");
    return Reader(path_, at(key)[index], prefix_ + name + ".");
  }
  const Json& json() const { return json_; }

 private:
  const std::filesystem::path& path_;
  const Json& json_;
  std::string prefix_;
};

/// A limit of a segment; null stands for none.
double limit(const Reader& reader, const char* key, double none) {
  return reader.at(key).is_null() ? none : reader.number(key);
}

Segment read_segment(const Reader& reader) {
  Segment s;
  s.name = reader.text("name");
  const std::string transform = reader.text("transform");
  if (transform != "identity" && transform != "exp" && transform != "log10")
    reader.fail("transform", "is '" + transform + "'; known are identity, exp and log10");
  s.transform = transform_from(transform);
  s.initial = reader.number("value");
  s.lower = limit(reader, "lower", -std::numeric_limits<double>::infinity());
  s.upper = limit(reader, "upper", std::numeric_limits<double>::infinity());
  s.learned = reader.flag("learned");
  if (!(s.lower <= s.upper)) reader.fail("upper", "is below key 'lower'");
  if (s.initial < s.lower || s.initial > s.upper)
    reader.fail("value", "is " + option_text(s.initial) + ", outside its bounds " + option_text(s.lower) +
                             " to " + option_text(s.upper));
  const bool logarithmic = s.transform != Transform::identity;
  if (s.initial < 0 || (logarithmic && s.learned && s.initial == 0))
    reader.fail("value", "is " + option_text(s.initial) + ", but parameters are positive");
  return s;
}

std::vector<Segment> read_segments(const Reader& reader) {
  const Json& list = reader.at("theta");
  if (!list.is_array()) reader.fail("theta", "is not a list");
  std::vector<Segment> segments;
  std::set<std::string> names;
  for (std::size_t k = 0; k < list.size(); ++k) {
    segments.push_back(read_segment(reader.element("theta", k)));
    const std::string& name = segments.back().name;
    if (name != "alpha" && name != "nu" && name != "xi")
      reader.fail("theta", "has a parameter '" + name + "' that this model does not know (alpha, nu, xi)");
    if (!names.insert(name).second) reader.fail("theta", "has the parameter '" + name + "' twice");
  }
  for (const char* name : {"alpha", "nu", "xi"})
    if (!names.count(name)) reader.fail("theta", "has no parameter '" + std::string(name) + "'");
  return segments;
}

std::vector<NamedOption> read_options(const Reader& reader) {
  std::vector<NamedOption> options;
  for (const auto& [key, value] : reader.json().items()) {
    if (value.is_boolean()) {
      options.emplace_back(key, value.get<bool>());
    } else if (value.is_number_integer()) {
      options.emplace_back(key, value.get<std::int64_t>());
    } else if (value.is_number()) {
      options.emplace_back(key, value.get<double>());
    } else if (value.is_string()) {
      options.emplace_back(key, value.get<std::string>());
    } else {
      reader.fail(key, "is neither a number nor a text");
    }
  }
  return options;
}

DataFingerprint read_data(const Reader& reader) {
  DataFingerprint data;
  data.images = reader.count("images");
  data.height = reader.count("height");
  data.width = reader.count("width");
  if (!reader.at("files").is_array()) reader.fail("files", "is not a list");
  for (const Json& name : reader.at("files")) {
    if (!name.is_string()) reader.fail("files", "holds something that is not a text");
    data.files.push_back(name.get<std::string>());
  }
  const std::string digits = reader.text("fingerprint");
  if (digits.size() != 16 || digits.find_first_not_of("0123456789abcdef") != std::string::npos)
    reader.fail("fingerprint", "is not 16 hexadecimal digits");
  data.pixels = std::stoull(digits, nullptr, 16);
  return data;
}

Json segment_json(const Segment& s) {
  return Json{{"name", s.name},     {"transform", transform_name(s.transform)},
              {"value", s.initial}, {"lower", s.lower},
              {"upper", s.upper},   {"learned", s.learned}};
}

}  // namespace

std::string option_text(const OptionValue& value) {
  if (const auto* text = std::get_if<std::string>(&value)) return *text;
  return to_json(value).dump();
}

std::uint64_t fingerprint(std::span<const std::byte> bytes, std::uint64_t start) {
  constexpr std::uint64_t prime = 0x100000001b3u;
  std::uint64_t hash = start;
  const auto* data = reinterpret_cast<const unsigned char*>(bytes.data());
  std::size_t at = 0;
  for (; at + 8 <= bytes.size(); at += 8) {
    hash = (hash ^ io_detail::load_integer(data + at, 8, false)) * prime;
    hash ^= hash >> 32;
  }
  if (at < bytes.size())
    hash = (hash ^ io_detail::load_integer(data + at, static_cast<int>(bytes.size() - at), false)) * prime;
  hash = (hash ^ bytes.size()) * prime;
  return hash ^ (hash >> 32);
}

std::uint64_t fingerprint(std::span<const double> values, std::uint64_t start) {
  return fingerprint(std::as_bytes(values), start);
}

std::string fingerprint_text(std::uint64_t value) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string text(16, '0');
  for (std::size_t k = 0; k < 16; ++k) text[15 - k] = digits[(value >> (4 * k)) & 15];
  return text;
}

double DenoiseModel::value(const std::string& name) const {
  for (const Segment& s : parameters)
    if (s.name == name) return s.initial;
  throw ConfigError("parameter '" + name + "' is not part of the model.");
}

const char* model_type(const TvOptions& options) { return options.isotropic ? "tv" : "tv-aniso"; }

const char* potential_name(TvPotential potential) {
  return potential == TvPotential::charbonnier ? "charbonnier" : "huber_c2";
}

TvPotential potential_from(const std::string& name) {
  if (name == "charbonnier") return TvPotential::charbonnier;
  if (name == "huber_c2") return TvPotential::huber_c2;
  throw ConfigError("potential '" + name + "' is unknown; use charbonnier or huber_c2.");
}

DenoiseModel read_model(const std::filesystem::path& path) {
  const std::string text = io_detail::read_file(path);
  Json json;
  try {
    json = Json::parse(text);
  } catch (const Json::parse_error& error) {
    throw IoError(path.string(), "is no complete JSON text (byte " + std::to_string(error.byte) + " of " +
                                     std::to_string(text.size()) + "); it is truncated or no model.");
  } catch (const Json::exception&) {
    throw IoError(path.string(), "holds a number that is out of range.");
  }
  if (!json.is_object()) throw IoError(path.string(), "is JSON but no model.");
  const Reader reader(path, json, "");
  if (reader.text("format") != kFormat) reader.fail("format", std::string("is not '") + kFormat + "'");
  if (const int version = reader.count("format_version"); version != kFormatVersion)
    reader.fail("format_version", "is " + std::to_string(version) + "; this library reads version " +
                                      std::to_string(kFormatVersion));
  DenoiseModel model;
  const std::string type = reader.text("model");
  if (type != "tv" && type != "tv-aniso")
    reader.fail("model", "is '" + type + "'; known are tv and tv-aniso");
  model.options.isotropic = type == "tv";
  if (reader.flag("isotropic") != model.options.isotropic)
    reader.fail("isotropic", "contradicts key 'model'");
  const std::string potential = reader.text("potential");
  if (potential != "charbonnier" && potential != "huber_c2")
    reader.fail("potential", "is '" + potential + "'; known are charbonnier and huber_c2");
  model.options.potential = potential_from(potential);
  model.options.xi_inside_alpha = reader.flag("xi_inside_alpha");
  model.parameters = read_segments(reader);
  model.training = read_options(reader.object("training"));
  model.data = read_data(reader.object("data"));
  model.library_version = reader.text("library_version");
  return model;
}

void write_model(const std::filesystem::path& path, const DenoiseModel& model) {
  for (const Segment& s : model.parameters)
    if (!std::isfinite(s.initial) || s.initial < s.lower || s.initial > s.upper)
      throw ConfigError("parameter " + s.name + " = " + std::to_string(s.initial) +
                        " is not finite or outside its bounds; the model was not written.");
  for (const char* name : {"alpha", "nu", "xi"}) static_cast<void>(model.value(name));
  Json json{{"format", kFormat},
            {"format_version", kFormatVersion},
            {"model", model_type(model.options)},
            {"potential", potential_name(model.options.potential)},
            {"isotropic", model.options.isotropic},
            {"xi_inside_alpha", model.options.xi_inside_alpha}};
  json["theta"] = Json::array();
  for (const Segment& s : model.parameters) json["theta"].push_back(segment_json(s));
  json["conventions"] = {
      {"logarithm", "natural"},
      {"loss", "1/(2N) sum_i |xhat_i - x_i|^2"},
      {"intensities", "0 to 1"},
      {"energy", model.options.xi_inside_alpha ? "1/2 |x - y|^2 + alpha (R_nu(x) + xi/2 |x|^2)"
                                               : "1/2 |x - y|^2 + alpha R_nu(x) + xi/2 |x|^2"}};
  json["training"] = Json::object();
  for (const auto& [name, value] : model.training) json["training"][name] = to_json(value);
  json["data"] = {{"files", model.data.files},
                  {"images", model.data.images},
                  {"height", model.data.height},
                  {"width", model.data.width},
                  {"fingerprint", fingerprint_text(model.data.pixels)}};
  json["library_version"] = BILEVEL_VERSION;
  write_file_atomically(path, json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
}

}  // namespace v0
}  // namespace bilevel
