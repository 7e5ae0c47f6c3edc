#pragma once

#include <CLI/CLI.hpp>
#include <initializer_list>
#include <string>

namespace bilevel_app {

/// A value option that shows its unit and default.
template <class T>
CLI::Option* add_value(CLI::App& app, const std::string& name, T& value, const std::string& text,
                       const std::string& type = "X") {
  return app.add_option(name, value, text)->type_name(type);
}

/// Throw ConfigError naming the option and what it takes.
void require_positive(double value, const char* option);
void require_one_of(const std::string& value, const char* option, std::initializer_list<const char*> known);

}  // namespace bilevel_app
