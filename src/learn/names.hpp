#pragma once

#include <cstddef>
#include <string>
#include <utility>

#include "bilevel/core/error.hpp"

namespace bilevel {
inline namespace v0 {

/// The name of a value in a table of both; empty when it is not there.
template <class V, std::size_t n>
const char* name_in(const std::pair<V, const char*> (&table)[n], V value) {
  for (const auto& [own, name] : table)
    if (own == value) return name;
  return "";
}

/// And back. Throws ConfigError "the WHAT 'NAME' is unknown; use A, B or C." for a name that is not there.
template <class V, std::size_t n>
V value_in(const std::pair<V, const char*> (&table)[n], const std::string& name, const char* what) {
  std::string known;
  for (std::size_t k = 0; k < n; ++k) {
    if (name == table[k].second) return table[k].first;
    known += (k == 0 ? "" : k + 1 < n ? ", " : " or ") + std::string(table[k].second);
  }
  throw ConfigError("the " + std::string(what) + " '" + name + "' is unknown; use " + known + ".");
}

}  // namespace v0
}  // namespace bilevel
