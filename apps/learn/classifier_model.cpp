#include "apps/learn/classifier_model.hpp"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "apps/learn/model_json.hpp"
#include "bilevel/core/error.hpp"
#include "bilevel/io/array_file.hpp"

namespace bilevel_app::learn {

using namespace bilevel;
using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;

namespace {

constexpr const char* format_name = "bilevel-classifier";
constexpr int format_version = 1;
constexpr const char* weights_file = "weights.npy";

[[noreturn]] void refuse(const fs::path& path, const std::string& key, const std::string& what) {
  throw IoError(path.string(), "key '" + key + "' " + what + ".");
}

int count_in(const fs::path& path, const Json& json, const char* key, int least) {
  const Json& value = json.at(key);
  const auto number = value.is_number_integer() ? value.get<std::int64_t>() : -1;
  if (number < least || number > 1 << 30)
    refuse(path, key, "is not a whole number from " + std::to_string(least));
  return static_cast<int>(number);
}

Classes classes_in(const fs::path& path, const Json& list) {
  Classes classes;
  for (const Json& label : list) {
    const auto number = label.is_number_integer() ? label.get<std::int64_t>() : std::int64_t{1} << 40;
    if (std::abs(number) > std::int64_t{1} << 30)
      refuse(path, "classes", "holds something that is no whole number of a class");
    classes.labels.push_back(static_cast<int>(number));
  }
  if (classes.count() < 2 || std::adjacent_find(classes.labels.begin(), classes.labels.end(),
                                                std::greater_equal<>()) != classes.labels.end())
    refuse(path, "classes", "does not list two or more different labels in order");
  return classes;
}

void read_weights(const fs::path& path, const Json& json, ClassifierModel& m) {
  const fs::path file = path.parent_path() / weights_file;
  const Array array = read_npy(file);
  const std::vector<std::size_t> expected = extents({m.classes.scores(), m.width});
  if (array.shape != expected ||
      !std::all_of(array.values.begin(), array.values.end(), [](double v) { return std::isfinite(v); }))
    throw IoError(file.string(), "it does not hold the " + std::to_string(expected[0]) + " x " +
                                     std::to_string(expected[1]) + " finite weights of " + path.string() +
                                     ".");
  if (json.at("weights").at("fingerprint") != fingerprint_text(fingerprint(array.values)))
    throw IoError(file.string(), "its weights are not those that " + path.string() +
                                     " was written with; copy both files of a run together.");
  m.weights = array.values;
}

ClassifierModel parse(const fs::path& path, const Json& json) {
  if (json.value("learn", "") == "shift")
    throw IoError(
        path.string(),
        "it is of --learn shift and classifies nothing; shift.npy and x.npy beside it are its result.");
  if (json.value("format", "") != format_name)
    throw IoError(path.string(), "it is no model of bilevel-learn.");
  if (json.at("format_version") != format_version)
    throw IoError(path.string(), "its format version is not " + std::to_string(format_version) +
                                     ", which this program reads.");
  ClassifierModel m;
  m.learn = json.at("learn").get<std::string>();
  m.classes = classes_in(path, json.at("classes"));
  const Json& features = json.at("features");
  m.width = count_in(path, features, "count", 1);
  m.height_of_image = count_in(path, features, "height", 0);
  m.width_of_image = count_in(path, features, "width", 0);
  m.bias = features.at("bias").get<bool>();
  read_weights(path, json, m);
  return m;
}

}  // namespace

Features ClassifierModel::read(const NamedFile& file) const {
  Features f = read_features(file, bias);
  if (f.width != width)
    throw IoError(file.text(), "its samples have " + std::to_string(f.width - bias) +
                                   " features, those of the model " + std::to_string(width - bias) + ".");
  return f;
}

void write_classifier(const fs::path& path, const ClassifierModel& m) {
  Json json = model_head(format_name, format_version, m.learn);
  json["classes"] = m.classes.labels;
  json["features"] = {
      {"count", m.width}, {"height", m.height_of_image}, {"width", m.width_of_image}, {"bias", m.bias}};
  json["weights"] = {{"file", weights_file},
                     {"shape", {m.classes.scores(), m.width}},
                     {"fingerprint", fingerprint_text(fingerprint(m.weights))}};
  json["theta"] = theta_json(m.parameters);
  json["conventions"] = {
      {"logarithm", "natural"},
      {"energy", m.energy},
      {"l", m.classes.scores() == 1 ? "ln(1 + e^s) - y s, y = 1 for the second class, the score s = W x"
                                    : "ln(sum_c e^{s_c}) - s_y, a score for each class, s = W x"},
      {"loss", "mean of l over the validation samples"},
      {"features",
       "pixels of idx files divided by 255, numbers of .npy as they are; with bias, 1 behind them"}};
  json["training"] = training_json(m.training);
  json["data"] = {{"files", m.files},
                  {"samples", m.samples},
                  {"validation_samples", m.validation_samples},
                  {"fingerprint", fingerprint_text(m.fingerprint)}};
  write_npy(path.parent_path() / weights_file, extents({m.classes.scores(), m.width}),
            std::span<const double>(m.weights));
  write_model_json(path, json, m.parameters);
}

ClassifierModel read_classifier(const fs::path& path) {
  if (fs::is_directory(path)) throw IoError(path.string(), "is a folder where a file is needed.");
  std::ifstream file(path, std::ios::binary);
  if (!file) throw IoError(path.string(), "cannot be read.");
  const std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  try {
    return parse(path, Json::parse(text));
  } catch (const Json::exception&) {
    throw IoError(path.string(), "it is no complete model of bilevel-learn.");
  }
}

}  // namespace bilevel_app::learn
