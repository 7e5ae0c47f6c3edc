#include "bilevel/model/named_option.hpp"

#include <cmath>
#include <nlohmann/json.hpp>

namespace bilevel {
inline namespace v0 {

std::string option_text(const OptionValue& value) {
  if (const auto* text = std::get_if<std::string>(&value)) return *text;
  if (const auto* number = std::get_if<double>(&value); number && !std::isfinite(*number))
    return std::isnan(*number) ? "nan" : *number > 0 ? "inf" : "-inf";
  return std::visit([](const auto& v) { return nlohmann::ordered_json(v).dump(); }, value);
}

}  // namespace v0
}  // namespace bilevel
