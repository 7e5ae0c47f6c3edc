#pragma once

#include <initializer_list>
#include <string>

namespace bilevel_app {

/// Throw ConfigError naming the option and what it takes.
void require_positive(double value, const char* option);
void require_one_of(const std::string& value, const char* option, std::initializer_list<const char*> known);

}  // namespace bilevel_app
