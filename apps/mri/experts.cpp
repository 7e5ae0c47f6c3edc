#include "apps/mri/experts.hpp"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <span>

#include "bilevel/core/error.hpp"
#include "bilevel/model/model_file.hpp"

namespace bilevel_app::mri {

using namespace bilevel;
using Json = nlohmann::ordered_json;

namespace {

constexpr int most_filters = 64;

/// Throws IoError unless numbers and sizes make a field of experts.
void require_whole(const std::filesystem::path& path, const Experts& e) {
  const auto fail = [&](const std::string& what) {
    throw IoError(path.string(), "its experts " + what + ".");
  };
  const std::size_t count = e.weight.size();
  if (count < 1 || count > most_filters) fail("are not 1 to 64 filters");
  if (e.size < 3 || e.size > 11 || e.size % 2 == 0)
    fail("have filters of a size other than 3, 5, 7, 9 or 11");
  if (e.smoothing.size() != count || e.filters.size() != count * static_cast<std::size_t>(e.size * e.size))
    fail("have lists of numbers that do not fit together");
  const auto positive = [](double v) { return v > 0 && std::isfinite(v); };
  if (!std::all_of(e.weight.begin(), e.weight.end(), positive) ||
      !std::all_of(e.smoothing.begin(), e.smoothing.end(), positive))
    fail("have weights or smoothings that are not positive");
  if (!std::all_of(e.filters.begin(), e.filters.end(), [](double v) { return std::isfinite(v); }))
    fail("have filters with numbers that are not finite");
}

}  // namespace

double Experts::usual_weight() const {
  constexpr double product = 0.007;  // of what brains at noise 0.003 to 0.02 learned and sigma
  return std::clamp(product / sigma, 0.01, 1.0);
}

std::vector<Segment> Experts::segments(const std::string& prefix) const {
  const int count = static_cast<int>(weight.size());
  return {{prefix + "weight", Transform::identity, 1, 0, 1e12, false, {count}, weight},
          {prefix + "smoothing", Transform::identity, 1, 0, 1e12, false, {count}, smoothing},
          {prefix + "filters", Transform::identity, 1, -1e12, 1e12, false, {count, size, size}, filters}};
}

std::uint64_t Experts::fingerprint() const {
  std::uint64_t print = 0;
  const double kind[] = {static_cast<double>(options.padding), static_cast<double>(options.potential),
                         static_cast<double>(options.zero_mean), static_cast<double>(size)};
  for (const std::span<const double> part :
       {std::span<const double>(kind), std::span<const double>(weight), std::span<const double>(smoothing),
        std::span<const double>(filters)})
    print = bilevel::fingerprint(std::as_bytes(part), print);
  return print;
}

Experts read_experts(const std::filesystem::path& path) {
  const DenoiseModel model = read_model(path);
  Experts e;
  std::string prefix;
  bool found = false;
  for (std::size_t k = 0; k < model.options.parts.size(); ++k)
    if (const auto* options = std::get_if<ExpertsOptions>(&model.options.parts[k])) {
      e.options = *options;
      prefix = part_prefix(k);
      found = true;
    }
  if (!found)
    throw IoError(path.string(),
                  "the model " + model_type(model.options) +
                      " has no field of experts; name the model.json of a run of bilevel-denoise with foe.");
  for (const Segment& s : model.parameters) {
    const std::span<const double> values = s.initial_values();
    if (s.name == prefix + "weight") e.weight.assign(values.begin(), values.end());
    if (s.name == prefix + "smoothing") e.smoothing.assign(values.begin(), values.end());
    if (s.name != prefix + "filters") continue;
    e.filters.assign(values.begin(), values.end());
    e.size = s.shape.at(1);
  }
  for (const auto& [name, value] : model.training)
    if (const auto* sigma = std::get_if<double>(&value); name == "sigma" && sigma && *sigma > 0)
      e.sigma = *sigma;
  require_whole(path, e);
  return e;
}

void require_large_enough(const Experts& e, int height, int width, const std::string& path) {
  const int least = e.options.padding == FilterPadding::valid ? e.size : e.size / 2;
  if (std::min(height, width) >= least) return;
  const std::string size = std::to_string(least);
  throw IoError(path, "images of " + std::to_string(width) + " x " + std::to_string(height) +
                          " pixels are too small for its filters, which need " + size + " x " + size + ".");
}

Json experts_json(const Experts& e) {
  return {{"potential", potential_name(e.options.potential)},
          {"padding", padding_name(e.options.padding)},
          {"zero_mean", e.options.zero_mean},
          {"size", e.size},
          {"weight", e.weight},
          {"smoothing", e.smoothing},
          {"filters", e.filters}};
}

Experts experts_from(const std::filesystem::path& path, const Json& json) {
  Experts e;
  e.options = {padding_from(json.at("padding").get<std::string>()),
               potential_from(json.at("potential").get<std::string>()), json.at("zero_mean").get<bool>()};
  e.size = json.at("size").get<int>();
  e.weight = json.at("weight").get<std::vector<double>>();
  e.smoothing = json.at("smoothing").get<std::vector<double>>();
  e.filters = json.at("filters").get<std::vector<double>>();
  require_whole(path, e);
  return e;
}

}  // namespace bilevel_app::mri
