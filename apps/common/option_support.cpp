#include "apps/common/option_support.hpp"

#include <cmath>

#include "bilevel/core/error.hpp"
#include "bilevel/model/model_file.hpp"

namespace bilevel_app {

using bilevel::ConfigError;

void require_positive(double value, const char* option) {
  if (!(value > 0) || !std::isfinite(value))
    throw ConfigError(std::string(option) + " " + bilevel::option_text(value) + ": use a positive number.");
}

void require_one_of(const std::string& value, const char* option, std::initializer_list<const char*> known) {
  std::string list;
  for (const char* k : known) {
    if (value == k) return;
    list += (list.empty() ? "" : ", ") + std::string(k);
  }
  throw ConfigError(std::string(option) + " " + value + ": unknown; known are " + list + ".");
}

}  // namespace bilevel_app
