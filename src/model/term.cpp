#include "model/term.hpp"

#include <algorithm>

namespace bilevel {
inline namespace v0 {

bool has_segment(const Parameters& parameters, const std::string& name) {
  const std::vector<Segment>& all = parameters.segments();
  return std::any_of(all.begin(), all.end(), [&](const Segment& s) { return s.name == name; });
}

Number number_at(const Parameters& parameters, std::span<const double> theta, const std::string& name) {
  Number number{parameters.value(name, theta), 0, parameters.entry(name)};
  if (number.entry >= 0) {
    const auto j = static_cast<std::size_t>(number.entry);
    number.slope = transform_slope(parameters.learned(j).transform, theta[j]);
  }
  return number;
}

}  // namespace v0
}  // namespace bilevel
