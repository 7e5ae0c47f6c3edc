#pragma once

#include <CLI/CLI.hpp>
#include <charconv>
#include <limits>
#include <optional>
#include <string>
#include <type_traits>

#include "bilevel/core/error.hpp"

namespace bilevel_app {

template <class T>
struct OptionNumber {
  using type = T;
};
template <class T>
struct OptionNumber<std::optional<T>> {
  using type = T;
};

/// Throws ConfigError unless the text is a decimal whole number that T can hold. (CLI11 would read 010 as 8
/// and the nearest number for one that is too large.)
template <class T>
void require_whole_number(const std::string& text, const std::string& option) {
  T value{};
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  const bool whole = stop == end && !text.empty() && error != std::errc::invalid_argument;
  const std::size_t digit = text.find_first_not_of('-');
  const bool octal = digit != std::string::npos && text[digit] == '0' && digit + 1 < text.size();
  if (whole && error == std::errc() && !octal) return;
  const std::string range = std::is_unsigned_v<T>
                                ? "from 0 to " + std::to_string(std::numeric_limits<T>::max())
                                : "of at most " + std::to_string(std::numeric_limits<T>::max());
  throw bilevel::ConfigError(option + " " + text + ": use a whole number " + range +
                             (octal ? ", without leading zeros." : "."));
}

/// A value option that shows its unit and default.
template <class T>
CLI::Option* add_value(CLI::App& app, const std::string& name, T& value, const std::string& text,
                       const std::string& type = "X") {
  CLI::Option* const option = app.add_option(name, value, text)->type_name(type);
  using Number = typename OptionNumber<T>::type;
  if constexpr (std::is_integral_v<Number> && !std::is_same_v<Number, bool>)
    option->check(CLI::Validator(
        [name](std::string& given) {
          require_whole_number<Number>(given, name);
          return std::string();
        },
        ""));
  return option;
}

}  // namespace bilevel_app
