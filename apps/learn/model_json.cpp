#include "apps/learn/model_json.hpp"

#include <nlohmann/json.hpp>

#include "bilevel/core/atomic_file.hpp"
#include "bilevel/core/version.hpp"
#include "bilevel/io/array_file.hpp"

namespace bilevel_app::learn {

using namespace bilevel;
using Json = nlohmann::ordered_json;

namespace {

std::string file_of(const Segment& s) { return s.name + ".npy"; }

Json segment_json(const Segment& s) {
  Json json{{"name", s.name}, {"transform", transform_name(s.transform)}};
  if (s.shape.empty()) {
    json["value"] = s.initial;
  } else {
    json["shape"] = s.shape;
    json["file"] = file_of(s);
  }
  json.update({{"lower", s.lower}, {"upper", s.upper}, {"learned", s.learned}});
  return json;
}

}  // namespace

std::vector<std::size_t> extents(const std::vector<int>& shape) { return {shape.begin(), shape.end()}; }

Json model_head(const std::string& format, int version, const std::string& learn) {
  return {{"format", format},
          {"format_version", version},
          {"program", "bilevel-learn train"},
          {"library_version", BILEVEL_VERSION},
          {"learn", learn}};
}

Json theta_json(const std::vector<Segment>& parameters) {
  Json list = Json::array();
  for (const Segment& s : parameters) list.push_back(segment_json(s));
  return list;
}

Json training_json(const std::vector<NamedOption>& options) {
  Json json = Json::object();
  for (const auto& [name, value] : options)
    json[name] = std::visit([](const auto& v) { return Json(v); }, value);
  return json;
}

void write_model_json(const std::filesystem::path& path, const Json& json,
                      const std::vector<Segment>& parameters) {
  for (const Segment& s : parameters)
    if (!s.shape.empty())
      write_npy(path.parent_path() / file_of(s), extents(s.shape), std::span<const double>(s.values));
  write_file_atomically(path, json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
}

}  // namespace bilevel_app::learn
