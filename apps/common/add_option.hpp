#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace bilevel_app {

/// A value option that shows its unit and default.
template <class T>
CLI::Option* add_value(CLI::App& app, const std::string& name, T& value, const std::string& text,
                       const std::string& type = "X") {
  return app.add_option(name, value, text)->type_name(type);
}

}  // namespace bilevel_app
