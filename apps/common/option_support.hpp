#pragma once

#include <initializer_list>
#include <string>

#include "bilevel/core/error.hpp"

namespace bilevel_app {

/// Throw ConfigError naming the option and what it takes.
void require_positive(double value, const char* option);
void require_one_of(const std::string& value, const char* option, std::initializer_list<const char*> known);

/// What `read` reads from the file of an option; the sentence of its IoError begins with that option.
template <class Read>
auto read_for(const std::string& option, const Read& read) {
  try {
    return read();
  } catch (const bilevel::IoError& error) {
    const std::string reason = error.what();
    throw bilevel::IoError(option + " " + error.path(), reason.substr(error.path().size() + 2));
  }
}

}  // namespace bilevel_app
