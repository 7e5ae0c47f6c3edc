#include "model/term.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "bilevel/model/regularisers.hpp"

namespace bilevel {
inline namespace v0 {

bool has_segment(const Parameters& parameters, const std::string& name) {
  const std::vector<Segment>& all = parameters.segments();
  return std::any_of(all.begin(), all.end(), [&](const Segment& s) { return s.name == name; });
}

std::string part_prefix(std::size_t k) { return k == 0 ? "" : std::to_string(k + 1) + "."; }

Parameters joined_parameters(const std::vector<Parameters>& parts) {
  if (parts.empty()) throw ConfigError("a sum of regularisers needs parts.");
  std::vector<Segment> segments;
  for (std::size_t k = 0; k < parts.size(); ++k)
    for (Segment s : parts[k].segments()) {
      if (k > 0 && (s.name == "xi" || s.name == "mu")) continue;
      s.name = part_prefix(k) + s.name;
      segments.push_back(std::move(s));
    }
  return Parameters(std::move(segments));
}

Number number_at(const Parameters& parameters, std::span<const double> theta, const std::string& name) {
  Number number{parameters.value(name, theta), 0, parameters.entry(name)};
  if (number.entry >= 0) {
    const auto j = static_cast<std::size_t>(number.entry);
    number.slope = transform_slope(parameters.learned(j).transform, theta[j]);
  }
  return number;
}

Number weight_at(const Parameters& parameters, std::span<const double> theta, const std::string& name,
                 bool positive) {
  const Number number = number_at(parameters, theta, name);
  if (!std::isfinite(number.value) || number.value < 0 || (number.value == 0 && positive))
    throw ConfigError("parameter '" + name + "' = " + std::to_string(number.value) +
                      " is outside the model's domain: it must be positive and finite.");
  return number;
}

}  // namespace v0
}  // namespace bilevel
