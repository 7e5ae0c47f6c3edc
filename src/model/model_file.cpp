#include "bilevel/model/model_file.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>

#include "bilevel/core/atomic_file.hpp"
#include "bilevel/core/error.hpp"
#include "bilevel/core/version.hpp"
#include "bilevel/model/catalogue.hpp"
#include "core/file_bytes.hpp"

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

/// What is wrong with a segment, and with which key.
struct Fault {
  std::string key, what;
};

std::string shape_text(const std::vector<int>& shape) {
  std::string text;
  for (int extent : shape) text += (text.empty() ? "[" : ",") + std::to_string(extent);
  return text + "]";
}

/// Values lie inside their bounds; those on a logarithmic scale are not negative, and positive when learned.
std::optional<Fault> fault_of(const Segment& s) {
  if (!(s.lower <= s.upper)) return Fault{"upper", "is below key 'lower'"};
  const std::span<const double> values = s.initial_values();
  if (values.size() != s.size())
    return Fault{"values",
                 "holds " + std::to_string(values.size()) + " numbers for the shape " + shape_text(s.shape)};
  for (std::size_t k = 0; k < values.size(); ++k) {
    const std::string key = s.shape.empty() ? "value" : "values[" + std::to_string(k) + "]";
    const double v = values[k];
    if (!std::isfinite(v)) return Fault{key, "is not a finite number"};
    if (v < s.lower || v > s.upper)
      return Fault{key, "is " + option_text(v) + ", outside its bounds " + option_text(s.lower) + " to " +
                            option_text(s.upper)};
    if (s.transform != Transform::identity && (v < 0 || (s.learned && v == 0)))
      return Fault{key, "is " + option_text(v) + ", but parameters are positive"};
  }
  return {};
}

constexpr int most_filters = 64, largest_filter = 11;

/// The parameters of a sum, in the order in which messages name them.
std::vector<std::string> parameter_names(const RegulariserSum& sum) {
  std::vector<Parameters> parts;
  for (const RegulariserOptions& part : sum.parts) parts.push_back(regulariser_parameters(part));
  std::vector<std::string> names;
  const Parameters joined = joined_parameters(parts);
  for (const Segment& s : joined.segments()) names.push_back(s.name);
  return names;
}

/// Without what part_prefix() puts before it.
std::string base_name(const std::string& name) { return name.substr(name.find('.') + 1); }

/// Weight and smoothing [K], filters [K,size,size] of the part whose names begin with `prefix`.
std::optional<Fault> fault_of_shapes(const std::vector<Segment>& segments, const std::string& prefix) {
  const auto shape_of = [&](const std::string& name) -> const std::vector<int>& {
    return std::find_if(segments.begin(), segments.end(),
                        [&](const Segment& s) { return s.name == prefix + name; })
        ->shape;
  };
  const std::vector<int>& f = shape_of("filters");
  if (f.size() != 3 || f[1] != f[2])
    return Fault{"theta", "has filters of shape " + shape_text(f) + ", not [K,size,size]"};
  if (f[0] < 1 || f[0] > most_filters)
    return Fault{"theta", "has " + std::to_string(f[0]) + " filters; a model has 1 to 64"};
  if (f[1] < 3 || f[1] > largest_filter || f[1] % 2 == 0)
    return Fault{"theta",
                 "has filters of size " + std::to_string(f[1]) + "; known sizes are 3, 5, 7, 9 and 11"};
  for (const char* name : {"weight", "smoothing"})
    if (shape_of(name) != std::vector<int>{f[0]})
      return Fault{"theta", "has " + std::string(name) + " of shape " + shape_text(shape_of(name)) +
                                " beside " + std::to_string(f[0]) + " filters"};
  return {};
}

/// Which parameters there are, and whether they fit together.
std::optional<Fault> fault_of(const RegulariserSum& sum, const std::vector<Segment>& segments) {
  const std::vector<std::string> names = parameter_names(sum);
  for (std::size_t k = 0; k < segments.size(); ++k) {
    const Segment& s = segments[k];
    if (std::find(names.begin(), names.end(), s.name) == names.end()) {
      std::string list;
      for (const std::string& name : names) list += (list.empty() ? "" : ", ") + name;
      return Fault{"theta", "has a parameter '" + s.name + "' that this model does not know (" + list + ")"};
    }
    for (std::size_t j = 0; j < k; ++j)
      if (segments[j].name == s.name) return Fault{"theta", "has the parameter '" + s.name + "' twice"};
    const std::string base = base_name(s.name);
    const bool array = base == "weight" || base == "smoothing" || base == "filters";
    if (array == s.shape.empty())
      return Fault{"theta",
                   "has a parameter '" + s.name + "' that is " +
                       (array ? "one number instead of an array" : "an array instead of one number")};
    const std::span<const double> values = s.initial_values();
    const double least = values.empty() ? 0 : *std::min_element(values.begin(), values.end());
    if (base != "filters" && (least < 0 || (array && least == 0)))
      return Fault{"theta", "has values of the parameter '" + s.name + "' that are not positive"};
  }
  for (const std::string& name : names)
    if (std::none_of(segments.begin(), segments.end(), [&](const Segment& s) { return s.name == name; }))
      return Fault{"theta", "has no parameter '" + name + "'"};
  for (std::size_t k = 0; k < sum.parts.size(); ++k)
    if (std::holds_alternative<ExpertsOptions>(sum.parts[k]))
      if (const auto fault = fault_of_shapes(segments, part_prefix(k))) return fault;
  return {};
}

/// "shape" and "values" of an array. Extents are small, so their product tells how many values there must be
/// before any is read.
void read_array(const Reader& reader, Segment& s) {
  const Json &shape = reader.at("shape"), &values = reader.at("values");
  if (!shape.is_array() || shape.empty() || shape.size() > 3)
    reader.fail("shape", "is not a list of one to three extents");
  for (const Json& extent : shape) {
    if (!extent.is_number_integer() || extent.get<std::int64_t>() < 1 ||
        extent.get<std::int64_t>() > most_filters)
      reader.fail("shape", "holds something that is not a number from 1 to 64");
    s.shape.push_back(extent.get<int>());
  }
  if (!values.is_array()) reader.fail("values", "is not a list");
  if (values.size() != s.size())
    reader.fail("values",
                "holds " + std::to_string(values.size()) + " numbers for the shape " + shape_text(s.shape));
  for (std::size_t k = 0; k < values.size(); ++k) {
    if (!values[k].is_number()) reader.fail("values[" + std::to_string(k) + "]", "is not a finite number");
    s.values.push_back(values[k].get<double>());
  }
}

Segment read_segment(const Reader& reader) {
  Segment s;
  s.name = reader.text("name");
  const std::string transform = reader.text("transform");
  if (transform != "identity" && transform != "exp" && transform != "log10")
    reader.fail("transform", "is '" + transform + "'; known are identity, exp and log10");
  s.transform = transform_from(transform);
  if (reader.json().contains("shape")) {
    read_array(reader, s);
  } else {
    s.initial = reader.number("value");
  }
  s.lower = limit(reader, "lower", -std::numeric_limits<double>::infinity());
  s.upper = limit(reader, "upper", std::numeric_limits<double>::infinity());
  s.learned = reader.flag("learned");
  if (const auto fault = fault_of(s)) reader.fail(fault->key, fault->what);
  return s;
}

std::vector<Segment> read_segments(const Reader& reader, const RegulariserSum& options) {
  const Json& list = reader.at("theta");
  if (!list.is_array()) reader.fail("theta", "is not a list");
  std::vector<Segment> segments;
  for (std::size_t k = 0; k < list.size(); ++k) segments.push_back(read_segment(reader.element("theta", k)));
  if (const auto fault = fault_of(options, segments)) reader.fail(fault->key, fault->what);
  return segments;
}

OptionValue read_setting(const Reader& reader, const RegulariserSetting& setting, const OptionValue& usual) {
  if (std::holds_alternative<bool>(usual)) return reader.flag(setting.key);
  if (std::holds_alternative<std::int64_t>(usual)) {
    const int count = reader.count(setting.key);
    if (count < 1) reader.fail(setting.key, "is not a number from 1");
    return std::int64_t{count};
  }
  if (std::holds_alternative<double>(usual)) {
    const double number = reader.number(setting.key);
    if (!(number > 0)) reader.fail(setting.key, "is not a positive number");
    return number;
  }
  return reader.text(setting.key);
}

void require_known(const Reader& reader, const RegulariserSetting& setting, const OptionValue& value) {
  const std::vector<std::string>& known = setting.known;
  if (known.empty() || std::find(known.begin(), known.end(), option_text(value)) != known.end()) return;
  if (known.size() == 1) reader.fail(setting.key, "contradicts key 'model', which demands " + known.front());
  std::string list = known.front();
  for (std::size_t k = 1; k < known.size(); ++k) list += (k + 1 < known.size() ? ", " : " and ") + known[k];
  reader.fail(setting.key, "is '" + option_text(value) + "'; known are " + list);
}

/// Options of the regulariser, with keys of their own for each kind.
RegulariserOptions read_regulariser(const Reader& reader) {
  const std::string type = reader.text("model");
  const auto known = regulariser_catalogue();
  const auto entry = std::find_if(known.begin(), known.end(), [&](const auto& e) { return e.name == type; });
  if (entry == known.end()) reader.fail("model", "is '" + type + "'; known are " + regulariser_sums());
  RegulariserOptions options = entry->options;
  for (const RegulariserSetting& setting : regulariser_settings(options)) {
    const OptionValue usual = setting.get(options), value = read_setting(reader, setting, usual);
    if (setting.scope != RegulariserSetting::Scope::name) {
      require_known(reader, setting, value);
      setting.set(options, value);
    } else if (value != usual) {
      reader.fail(setting.key, "contradicts key 'model', which demands " + option_text(usual));
    }
  }
  return options;
}

/// A single regulariser stands beside the keys of the model, the parts of a sum in a list of their own.
RegulariserSum read_regularisers(const Reader& reader) {
  const std::string type = reader.text("model");
  if (type.find('+') == std::string::npos) return read_regulariser(reader);
  std::vector<std::string> names;
  try {
    names = regulariser_parts(type);
  } catch (const ConfigError& error) {
    const std::string what = error.what();
    reader.fail("model", "is no sum: " + what.substr(0, what.size() - 1));
  }
  const Json& list = reader.at("parts");
  if (!list.is_array()) reader.fail("parts", "is not a list");
  if (list.size() != names.size())
    reader.fail("parts", "holds " + std::to_string(list.size()) + " parts of the model " + type);
  std::vector<RegulariserOptions> parts;
  for (std::size_t k = 0; k < names.size(); ++k) {
    const Reader part = reader.element("parts", k);
    parts.push_back(read_regulariser(part));
    if (part.text("model") != names[k]) part.fail("model", "contradicts key 'model', which is " + type);
    const auto* tv = std::get_if<TvOptions>(&parts[k]);
    if (k > 0 && tv && tv->xi_inside_alpha)
      part.fail("xi_inside_alpha", "is true, but xi is of the first part alone");
  }
  return RegulariserSum(std::move(parts));
}

/// What is wrong with a kernel; empty: nothing.
std::string fault_of(const BlurKernel& k) {
  if (k.height < 1 || k.width < 1 || k.height % 2 == 0 || k.width % 2 == 0)
    return "has " + std::to_string(k.height) + " x " + std::to_string(k.width) + " taps, not odd sides";
  if (k.values.size() != static_cast<std::size_t>(k.height) * static_cast<std::size_t>(k.width))
    return "holds " + std::to_string(k.values.size()) + " numbers for " + std::to_string(k.height) + " x " +
           std::to_string(k.width) + " taps";
  if (!std::all_of(k.values.begin(), k.values.end(), [](double v) { return std::isfinite(v); }))
    return "holds numbers that are not finite";
  return {};
}

/// Older models, and those that denoise, have none.
std::optional<BlurKernel> read_blur(const Reader& reader) {
  if (!reader.json().contains("blur")) return {};
  const Reader of = reader.object("blur");
  BlurKernel kernel{of.count("height"), of.count("width"), {}};
  const Json& values = of.at("values");
  if (!values.is_array()) of.fail("values", "is not a list");
  for (const Json& v : values) {
    if (!v.is_number()) of.fail("values", "holds something that is not a number");
    kernel.values.push_back(v.get<double>());
  }
  if (const std::string fault = fault_of(kernel); !fault.empty()) reader.fail("blur", fault);
  return kernel;
}

/// What is wrong with a number of channels; empty: nothing.
std::string fault_of_channels(int channels, const RegulariserSum& sum) {
  if (channels != 1 && channels != 3) return "is " + std::to_string(channels) + ", not 1 or 3";
  if (channels == 3 && !std::all_of(sum.parts.begin(), sum.parts.end(), takes_colour))
    return "is 3, but the model " + model_type(sum) + " is of grey images; tv and h1 couple channels";
  return {};
}

/// Older models, and grey ones, do not name them.
int read_channels(const Reader& reader, const RegulariserSum& sum) {
  if (!reader.json().contains("channels")) return 1;
  const int channels = reader.count("channels");
  if (const std::string fault = fault_of_channels(channels, sum); !fault.empty())
    reader.fail("channels", fault);
  return channels;
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
  Json json{{"name", s.name}, {"transform", transform_name(s.transform)}};
  if (s.shape.empty()) {
    json["value"] = s.initial;
  } else {
    json["shape"] = s.shape;
    json["values"] = s.values;
  }
  json.update({{"lower", s.lower}, {"upper", s.upper}, {"learned", s.learned}});
  return json;
}

/// Two spaces per level, but lists of numbers on one line.
std::string text_of(const Json& json) {
  const std::string text = json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
  std::string compact;
  for (std::size_t at = 0; at < text.size(); ++at) {
    compact += text[at];
    if (text.compare(at, 2, "[\n") != 0) continue;  // a line never ends inside a text
    const std::size_t stop = text.find_first_of("[]{\"", at + 1);
    if (text[stop] != ']') continue;
    for (++at; at < stop; ++at) {
      if (text[at] == '\n' && compact.back() == ',') compact += ' ';
      if (text[at] != '\n' && text[at] != ' ') compact += text[at];
    }
    compact += ']';
  }
  return compact;
}

const char* argument(const RegulariserOptions& options) { return catalogue_entry(options).argument; }

/// The energy of one regulariser in words.
std::string energy_text(const TvOptions& o) {
  const std::string r = o.smoothed() ? "R_nu(x)" : "R(x)";
  return "1/2 |x - y|^2 + alpha " + (o.xi_inside_alpha ? "(" + r + " + xi/2 |x|^2)" : r + " + xi/2 |x|^2") +
         (o.differences == TvDifferences::first && o.smoothed()
              ? ""
              : std::string(", R = sum_p rho(|z_p|), z = ") + argument(o));
}
std::string energy_text(const ExpertsOptions& o) {
  return std::string("1/2 |x - y|^2 + sum_k weight_k sum_p rho((") + argument(o) +
         ")_p; smoothing_k) + mu/2 |x|^2, * cross-correlation, c_k = filters_k" +
         (o.zero_mean ? " minus its mean" : "");
}
std::string part_text(const WaveletSparsity& o, const std::string& prefix);
std::string energy_text(const WaveletSparsity& o) { return "1/2 |x - y|^2 + " + part_text(o, ""); }

/// Of a model that stands alone.
std::string part_text(const TgvOptions&, const std::string&) {
  return "alpha1 sum_p rho(|(D x - v)_p|; nu) + alpha0 sum_p rho(|(E v)_p|; nu) + xi/2 |x|^2 + xi_v/2 |v|^2, "
         "jointly in x and v, D x = (Dx x, Dy x), E v = (Bx v1, By v2, (By v1 + Bx v2)/sqrt 2), B = -D^T";
}
std::string energy_text(const TgvOptions& o) { return "1/2 |x - y|^2 + " + part_text(o, ""); }

std::string part_text(const DirectionalTv& o, const std::string& prefix) {
  return prefix + "alpha sum_p rho(|z_p|; " + prefix + "nu)" + (prefix.empty() ? " + xi/2 |x|^2" : "") +
         " (z = " + argument(o) + ", zeta = (Dx r, Dy r) / sqrt(eta^2 + |D r|^2), r a reference image)";
}
std::string energy_text(const DirectionalTv& o) { return "1/2 |x - y|^2 + " + part_text(o, ""); }

/// The part of a sum whose parameters begin with `prefix`, with its ridge when that is empty.
std::string part_text(const TvOptions& o, const std::string& prefix) {
  const std::string r =
      std::string("sum_p rho(|") + argument(o) + "_p|" + (o.smoothed() ? "; " + prefix + "nu)" : ")");
  const std::string ridge = prefix.empty() ? " + xi/2 |x|^2" : "";
  return prefix + "alpha " + (o.xi_inside_alpha ? "(" + r + ridge + ")" : r + ridge);
}
std::string part_text(const ExpertsOptions& o, const std::string& prefix) {
  return "sum_k " + prefix + "weight_k sum_p rho((" + argument(o) + ")_p; " + prefix + "smoothing_k)" +
         (prefix.empty() ? " + mu/2 |x|^2" : "") + " (* cross-correlation, c_k = " + prefix + "filters_k" +
         (o.zero_mean ? " minus its mean)" : ")");
}
std::string part_text(const WaveletSparsity& o, const std::string& prefix) {
  return prefix + "alpha sum_j rho((" + argument(o) + ")_j" +
         (o.potential == TvPotential::quadratic ? ")" : "; " + prefix + "nu)") +
         (prefix.empty() ? " + xi/2 |x|^2" : "") + " (W: " + name_of(o.wavelet.filter) + ", " +
         std::to_string(o.wavelet.levels) + " levels" +
         (o.wavelet.keep_approximation ? ")" : ", without the approximation)");
}

std::string energy_text(const RegulariserSum& sum) {
  if (sum.parts.size() == 1) return std::visit([](const auto& o) { return energy_text(o); }, sum.parts[0]);
  std::string text = "1/2 |x - y|^2";
  for (std::size_t k = 0; k < sum.parts.size(); ++k)
    text += " + " + std::visit([k](const auto& o) { return part_text(o, part_prefix(k)); }, sum.parts[k]);
  return text;
}

std::string energy_text(const DenoiseModel& model) {
  std::string text = energy_text(model.options);
  if (model.blur)
    text.replace(text.find("x - y"), 5, "B x - y") +=
        ", B x the convolution with the kernel blur, the image mirrored about its edges";
  if (model.channels == 3) text += "; |z_p| over all channels of x [3,H,W]";
  return text;
}

/// Keys of the regularisers.
Json regularisers_json(const RegulariserSum& sum) {
  const auto one = [](const RegulariserOptions& part) {
    Json json{{"model", regulariser_name(part)}};
    for (const RegulariserSetting& s : regulariser_settings(part)) json[s.key] = to_json(s.get(part));
    return json;
  };
  if (sum.parts.size() == 1) return one(sum.parts[0]);
  Json json{{"model", model_type(sum)}, {"parts", Json::array()}};
  for (const RegulariserOptions& part : sum.parts) json["parts"].push_back(one(part));
  return json;
}

/// Throws ConfigError for a sum that read_regularisers() would refuse.
void require_readable(const RegulariserSum& sum) {
  if (sum.parts.empty()) throw ConfigError("the model was not written: it has no regulariser.");
  static_cast<void>(regulariser_parts(model_type(sum)));
  for (const RegulariserOptions& part : sum.parts) {
    if (const auto* sparse = std::get_if<WaveletSparsity>(&part)) sparse->wavelet.validate();
    if (const auto* directional = std::get_if<DirectionalTv>(&part))
      if (!(directional->eta > 0) || !std::isfinite(directional->eta))
        throw ConfigError("the model was not written: its eta is not positive and finite.");
    for (const RegulariserSetting& s : regulariser_settings(part))
      if (!s.known.empty() &&
          std::find(s.known.begin(), s.known.end(), option_text(s.get(part))) == s.known.end())
        throw ConfigError("the model was not written: the " + std::string(s.key) + " of " +
                          regulariser_name(part) + " is " + option_text(s.get(part)) + ".");
  }
  for (std::size_t k = 1; k < sum.parts.size(); ++k)
    if (const auto* tv = std::get_if<TvOptions>(&sum.parts[k]); tv && tv->xi_inside_alpha)
      throw ConfigError("the model was not written: xi inside alpha is of the first part alone.");
}

}  // namespace

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
    if (s.name == name && s.shape.empty()) return s.initial;
  throw ConfigError("parameter '" + name + "' is no number of the model.");
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
  model.options = read_regularisers(reader);
  model.parameters = read_segments(reader, model.options);
  model.blur = read_blur(reader);
  model.channels = read_channels(reader, model.options);
  model.training = read_options(reader.object("training"));
  model.data = read_data(reader.object("data"));
  model.library_version = reader.text("library_version");
  return model;
}

void write_model(const std::filesystem::path& path, const DenoiseModel& model) {
  const auto refuse = [](const std::string& what) {
    throw ConfigError("the model was not written: " + what + ".");
  };
  require_readable(model.options);
  for (const Segment& s : model.parameters)
    if (const auto fault = fault_of(s))
      refuse("parameter '" + s.name + "', " + fault->key + " " + fault->what);
  if (const auto fault = fault_of(model.options, model.parameters)) refuse(fault->key + " " + fault->what);
  if (const std::string fault = model.blur ? fault_of(*model.blur) : std::string(); !fault.empty())
    refuse("its blur " + fault);
  if (const std::string fault = fault_of_channels(model.channels, model.options); !fault.empty())
    refuse("the number of its channels " + fault);
  Json json{{"format", kFormat}, {"format_version", kFormatVersion}};
  json.update(regularisers_json(model.options));
  if (const auto& k = model.blur)
    json["blur"] = {{"height", k->height}, {"width", k->width}, {"values", k->values}};
  if (model.channels != 1) json["channels"] = model.channels;
  json["theta"] = Json::array();
  for (const Segment& s : model.parameters) json["theta"].push_back(segment_json(s));
  json["conventions"] = {{"logarithm", "natural"},
                         {"loss", "1/(2N) sum_i |xhat_i - x_i|^2"},
                         {"intensities", "0 to 1"},
                         {"energy", energy_text(model)}};
  json["training"] = Json::object();
  for (const auto& [name, value] : model.training) json["training"][name] = to_json(value);
  json["data"] = {{"files", model.data.files},
                  {"images", model.data.images},
                  {"height", model.data.height},
                  {"width", model.data.width},
                  {"fingerprint", fingerprint_text(model.data.pixels)}};
  json["library_version"] = BILEVEL_VERSION;
  write_file_atomically(path, text_of(json));
}

}  // namespace v0
}  // namespace bilevel
