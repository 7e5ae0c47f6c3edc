#include "apps/mri/mri_model.hpp"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "apps/common/option_support.hpp"
#include "apps/common/reference_option.hpp"
#include "bilevel/core/atomic_file.hpp"
#include "bilevel/core/error.hpp"
#include "bilevel/core/version.hpp"
#include "bilevel/model/catalogue.hpp"

namespace bilevel_app::mri {

using namespace bilevel;
using Json = nlohmann::ordered_json;

namespace {

constexpr const char* kFormat = "bilevel-model";
constexpr const char* kFamily = "mri-";  // before the regulariser; older files have mri-tv whatever it is
constexpr const char* kMaskFile = "mask_npy_zero_frequency";  // runs without it had it at [0,0]

bool of_experts(const RegulariserOptions& part) { return std::holds_alternative<ExpertsOptions>(part); }
/// The numbers of a field of experts in the place of a smoothing; its ridge is called mu.
void put_experts(std::vector<Segment>& segments, const Experts& experts) {
  std::erase_if(segments, [](const Segment& s) { return s.name == "nu"; });
  for (Segment& s : segments)
    if (s.name == "xi") s.name = "mu";
  for (Segment& s : experts.segments("")) segments.push_back(std::move(s));
}

/// Of a part of a sum that is not the first.
Parameters further_parameters(const RegulariserOptions& options, const std::optional<Experts>& experts,
                              const FurtherPart& values, bool learn_weight) {
  std::vector<Segment> segments =
      regulariser_parameters(of_experts(options) ? RegulariserOptions(TvOptions{}) : options).segments();
  if (of_experts(options)) put_experts(segments, experts.value());
  for (Segment& s : segments) {
    if (s.name == "alpha") s.initial = values.alpha;
    if (s.name == "nu") s.initial = values.nu;
    s.learned = learn_weight && s.name == "alpha";
  }
  return Parameters(std::move(segments));
}

/// The pattern and the numbers of total generalised variation.
Parameters generalised_parameters(Segment pattern, const MriModel& m, bool learn_weights) {
  const std::pair<const char*, double> values[] = {
      {"alpha1", m.alpha}, {"alpha0", m.alpha0}, {"nu", m.nu}, {"xi", m.xi}, {"xi_v", m.xi_v}};
  std::vector<Segment> segments = tgv_parameters().segments();
  for (Segment& s : segments) {
    for (const auto& [name, value] : values)
      if (s.name == name) s.initial = value;
    s.learned = learn_weights && s.name.starts_with("alpha");
  }
  segments.insert(segments.begin(), std::move(pattern));
  return Parameters(std::move(segments));
}

std::string energy_text(const RegulariserSum& sum) {
  std::string text = "1/2 sum_c |S(F sigma_c x - y_c)|^2";
  if (is_generalised(sum))
    return text +
           " + alpha1 R_nu(D x - v) + alpha0 R_nu(E v) + xi/2 |x|^2 + xi_v/2 |v|^2, minimised over x " +
           "and v, F unitary, S = diag(s)";
  for (std::size_t k = 0; k < sum.parts.size(); ++k)
    text += " + " + part_prefix(k) + "alpha " +
            (of_experts(sum.parts[k]) ? "(R(Re x) + R(Im x))"
             : k == 0                 ? "R_nu(x)"
                                      : "R_" + std::to_string(k + 1) + "(x)");
  text += " + xi/2 |x|^2, F unitary, S = diag(s)";
  if (std::any_of(sum.parts.begin(), sum.parts.end(), of_experts))
    text += ", R(x) = sum_k weight_k sum_p rho((filter_k * x)_p; smoothing_k)";
  return text;
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

/// Whether a model file of this program keeps it; fields of experts stand there by themselves.
bool kept(const RegulariserOptions& part, const RegulariserSetting& s) {
  return s.scope == RegulariserSetting::Scope::all &&
         (!of_experts(part) || s.key == std::string("potential"));
}

OptionValue setting_from(const Json& value, const OptionValue& usual, const RegulariserSetting& setting) {
  const std::vector<std::string>& known = setting.known;
  OptionValue given = option_from(value);
  if (std::holds_alternative<double>(usual) && value.is_number()) given = value.get<double>();
  const auto* number = std::get_if<std::int64_t>(&given);
  const auto* real = std::get_if<double>(&given);
  if (given.index() != usual.index() || (number && (*number < 1 || *number > 1 << 30)) ||
      (real && !(*real > 0 && std::isfinite(*real))) ||
      (!known.empty() && std::find(known.begin(), known.end(), option_text(given)) == known.end()))
    throw ConfigError(std::string("key '") + setting.key + "' is '" + option_text(given) +
                      "', which the regulariser does not know.");
  return given;
}

RegulariserOptions options_from(const std::string& name, const Json& json,
                                const std::optional<Experts>& experts) {
  RegulariserOptions options = catalogue_entry(name).options;
  if (of_experts(options)) return experts.value().options;
  for (const RegulariserSetting& s : regulariser_settings(options))
    if (kept(options, s)) s.set(options, setting_from(json.at(s.key), s.get(options), s));
  return options;
}

/// Older files have no regulariser; the parts of a sum stand in a list of their own.
RegulariserSum regularisers_from(const std::filesystem::path& path, const Json& json,
                                 const std::optional<Experts>& experts) {
  const std::string name = json.value("regulariser", "tv");
  if (name.find('+') == std::string::npos) return RegulariserSum(options_from(name, json, experts));
  const std::vector<std::string> names = regulariser_parts(name);
  const Json& list = json.at("parts");
  if (!list.is_array() || list.size() != names.size())
    throw IoError(path.string(), "key 'parts' does not hold the parts of the regulariser " + name + ".");
  std::vector<RegulariserOptions> parts;
  for (std::size_t k = 0; k < names.size(); ++k) {
    if (list[k].at("regulariser") != names[k])
      throw IoError(path.string(), "key 'parts[" + std::to_string(k) + "].regulariser' contradicts key " +
                                       "'regulariser', which is " + name + ".");
    parts.push_back(options_from(names[k], list[k], experts));
  }
  return RegulariserSum(std::move(parts));
}

std::vector<FurtherPart> further_from(const std::filesystem::path& path, const Json& theta,
                                      const RegulariserSum& sum) {
  std::vector<FurtherPart> further;
  for (std::size_t k = 1; k < sum.parts.size(); ++k) {
    const auto number = [&](const char* name) {
      const std::string key = part_prefix(k) + name;
      if (!theta.contains(key)) throw IoError(path.string(), "key 'theta." + key + "' is missing.");
      return positive(path, theta, key.c_str());
    };
    further.push_back({number("alpha"), smoothed(sum.parts[k]) ? number("nu") : 0});
  }
  return further;
}

MriModel parse_model(const std::filesystem::path& path, const Json& json) {
  if (json.value("format", "") != kFormat || json.value("format_version", 0) != 1)
    throw IoError(path.string(), "it is no model of format version 1.");
  if (!json.value("model", "").starts_with(kFamily))
    throw IoError(path.string(), "the model is '" + json.value("model", "") + "', not one of bilevel-mri.");
  MriModel m;
  m.library_version = json.at("library_version").get<std::string>();
  if (json.contains("experts")) m.experts = experts_from(path, json.at("experts"));
  m.regulariser = regularisers_from(path, json, m.experts);
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
  const bool generalised = is_generalised(m.regulariser);
  m.alpha = positive(path, theta, generalised ? "alpha1" : "alpha");
  if (generalised) m.alpha0 = positive(path, theta, "alpha0");
  m.nu = positive(path, theta, "nu");
  m.xi = positive(path, theta, "xi");
  if (generalised) m.xi_v = positive(path, theta, "xi_v");
  m.further = further_from(path, theta, m.regulariser);
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

Json regularisers_json(const RegulariserSum& sum) {
  const auto one = [](const RegulariserOptions& part) {
    Json json{{"regulariser", regulariser_name(part)}};
    for (const RegulariserSetting& s : regulariser_settings(part))
      if (kept(part, s)) json[s.key] = std::visit([](const auto& v) { return Json(v); }, s.get(part));
    return json;
  };
  if (sum.parts.size() == 1) return one(sum.parts[0]);
  Json json{{"regulariser", model_type(sum)}, {"parts", Json::array()}};
  for (const RegulariserOptions& part : sum.parts) json["parts"].push_back(one(part));
  return json;
}

}  // namespace

bool smoothed(const RegulariserOptions& part) {
  return !of_experts(part) && catalogue_entry(part).smoothed();
}

bool is_generalised(const RegulariserSum& sum) {
  return std::any_of(sum.parts.begin(), sum.parts.end(),
                     [](const auto& part) { return std::holds_alternative<TgvOptions>(part); });
}

std::vector<std::string> weight_names(const RegulariserSum& sum, const std::string& alpha) {
  if (is_generalised(sum)) return {alpha + "1", alpha + "0"};
  std::vector<std::string> names;
  for (std::size_t k = 0; k < sum.parts.size(); ++k) names.push_back(part_prefix(k) + alpha);
  return names;
}

double ModelOptions::weight_of(std::size_t number) const {
  if (number < weight.size()) return weight[number];
  const RegulariserSum sum = regularisers();
  if (is_generalised(sum)) return number == 1 ? usual_alpha0 : usual_weight;
  return of_experts(sum.parts.at(number)) ? learned.value_or(Experts{}).usual_weight() : usual_weight;
}
double ModelOptions::smoothing() const {
  return nu.value_or(is_generalised(regularisers()) ? usual_tgv_nu : usual_nu);
}

RegulariserSum ModelOptions::regularisers() const {
  std::vector<std::string> names;
  try {
    names = regulariser_parts(regulariser);
  } catch (const ConfigError& error) {
    throw ConfigError("--regulariser " + regulariser + ": " + error.what());
  }
  const TvPotential rho = potential_from(potential);
  std::vector<RegulariserOptions> parts;
  for (const std::string& name : names) {
    parts.push_back(regulariser_options(name, rho));
    if (of_experts(parts.back())) parts.back() = learned.value_or(Experts{}).options;
  }
  RegulariserSum sum(std::move(parts));
  choose(sum, regulariser);
  choose_edge_eta(sum, eta, regulariser);
  return sum;
}

bool ModelOptions::has_experts() const {
  const RegulariserSum sum = regularisers();
  return std::any_of(sum.parts.begin(), sum.parts.end(), of_experts);
}
bool ModelOptions::quadratic() const {
  const RegulariserSum sum = regularisers();
  return std::none_of(sum.parts.begin(), sum.parts.end(), smoothed);
}

void validate(ModelOptions& o) {
  if (o.has_experts()) {
    if (o.experts.empty())
      throw ConfigError("--regulariser " + o.regulariser +
                        " needs --experts MODEL.json, of a run of bilevel-denoise with --model foe.");
    o.learned = read_for("--experts", [&o] { return read_experts(o.experts); });
  } else if (!o.experts.empty()) {
    throw ConfigError("--experts is for --regulariser foe, and sums with it; leave it out.");
  }
  const RegulariserSum sum = o.regularisers();
  if (!o.weight.empty() && o.weight.size() != weight_names(sum).size())
    throw ConfigError("--weight has " + std::to_string(o.weight.size()) + " numbers for --regulariser " +
                      o.regulariser + "; give " +
                      (is_generalised(sum) ? "two, alpha1 and alpha0." : "one for each part."));
  for (const double weight : o.weight) require_positive(weight, "--weight");
  require_positive(o.smoothing(), "--nu");
  require_positive(o.xi, "--xi");
}

SamplingPattern MriModel::pattern() const {
  return SamplingPattern(kind, height, width, SamplingMap::direct, spokes);
}

void MriModel::take(const ModelOptions& options) {
  regulariser = options.regularisers();
  experts = options.learned;
  nu = options.smoothing();
  xi = xi_v = options.xi;
  further.assign(regulariser.parts.size() - 1, {0, nu});
  std::vector<double> list;
  for (std::size_t k = 0; k < weight_names(regulariser).size(); ++k) list.push_back(options.weight_of(k));
  set_weights(list);
}

std::vector<double> MriModel::weights() const {
  std::vector<double> list{alpha};
  if (is_generalised(regulariser)) list.push_back(alpha0);
  for (const FurtherPart& part : further) list.push_back(part.alpha);
  return list;
}

void MriModel::set_weights(const std::vector<double>& list) {
  std::size_t k = 0;
  alpha = list.at(k++);
  if (is_generalised(regulariser)) alpha0 = list.at(k++);
  for (FurtherPart& part : further) part.alpha = list.at(k++);
}

void MriModel::take_weights(const Parameters& parameters, std::span<const double> theta) {
  std::vector<double> list;
  for (const std::string& name : weight_names(regulariser)) list.push_back(parameters.value(name, theta));
  set_weights(list);
}

Parameters MriModel::parameters(bool learn_weights) const {
  return parameters(pattern(), s, false, learn_weights);
}

Parameters MriModel::parameters(const SamplingPattern& sampling, const std::vector<double>& values,
                                bool learn_pattern, bool learn_weights) const {
  std::vector<Segment> first =
      mri_parameters(sampling, {1, alpha, nu, xi, learn_pattern, learn_weights, values}).segments();
  if (is_generalised(regulariser))
    return generalised_parameters(std::move(first.at(0)), *this, learn_weights);
  if (of_experts(regulariser.parts.at(0))) put_experts(first, experts.value());
  std::vector<Parameters> parts{Parameters(std::move(first))};
  for (std::size_t k = 0; k < further.size(); ++k)
    parts.push_back(further_parameters(regulariser.parts.at(k + 1), experts, further[k], learn_weights));
  return joined_parameters(parts);
}

void put_weights(Json& json, const MriModel& m, const std::string& name) {
  const std::vector<std::string> names = weight_names(m.regulariser, name);
  const std::vector<double> weights = m.weights();
  for (std::size_t k = 0; k < names.size(); ++k) json[names[k]] = weights[k];
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
            {"model", kFamily + model_type(m.regulariser)},
            {"energy", energy_text(m.regulariser)}};
  json.update(regularisers_json(m.regulariser));
  if (m.experts) json["experts"] = experts_json(*m.experts);
  json["image"] = m.complex ? "complex" : "real";
  json["pattern"] = {
      {"kind", pattern_name(m.kind)}, {"height", m.height},        {"width", m.width},
      {"spokes", m.spokes},           {"zero_frequency", "[0,0]"}, {kMaskFile, middle_text(m)}};
  if (is_generalised(m.regulariser))
    json["theta"] = {{"s", m.s},   {"alpha1", m.alpha}, {"alpha0", m.alpha0},
                     {"nu", m.nu}, {"xi", m.xi},        {"xi_v", m.xi_v}};
  else
    json["theta"] = {{"s", m.s}, {"alpha", m.alpha}, {"nu", m.nu}, {"xi", m.xi}};
  for (std::size_t k = 0; k < m.further.size(); ++k) {
    json["theta"][part_prefix(k + 1) + "alpha"] = m.further[k].alpha;
    if (smoothed(m.regulariser.parts.at(k + 1))) json["theta"][part_prefix(k + 1) + "nu"] = m.further[k].nu;
  }
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
