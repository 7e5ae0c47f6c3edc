#pragma once

#include <CLI/CLI.hpp>
#include <charconv>
#include <limits>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include "bilevel/core/error.hpp"

namespace bilevel_app {

/// The type of one value of an option.
template <class T>
struct OptionValueType {
  using type = T;
};
template <class T>
struct OptionValueType<std::optional<T>> {
  using type = T;
};
template <class T>
struct OptionValueType<std::vector<T>> {
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

/// Throws ConfigError unless all of the text is a number that a double can hold. inf and nan are numbers
/// here; what an option is for tells whether they are allowed.
inline void require_number(const std::string& text, const std::string& option) {
  double value = 0;
  const char* const end = text.data() + text.size();
  const char* const begin = text.data() + (text.size() > 1 && text[0] == '+' && text[1] != '-' ? 1 : 0);
  const auto [stop, error] = std::from_chars(begin, end, value);
  if (stop != end || error != std::errc())
    throw bilevel::ConfigError(option + " " + text + ": use a number such as 0.35.");
}

/// Throws ConfigError unless the text is a value of type T. (CLI11 takes an empty one for 0 or not given.)
template <class T>
void require_value(const std::string& text, const std::string& option) {
  if (text.empty()) throw bilevel::ConfigError(option + " is empty; give it a value, or leave it out.");
  if constexpr (std::is_floating_point_v<T>)
    require_number(text, option);
  else if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>)
    require_whole_number<T>(text, option);
}

/// A value option that shows its unit and default.
template <class T>
CLI::Option* add_value(CLI::App& app, const std::string& name, T& value, const std::string& text,
                       const std::string& type = "X") {
  return app.add_option(name, value, text)
      ->type_name(type)
      ->check(CLI::Validator(
          [name](std::string& given) {
            require_value<typename OptionValueType<T>::type>(given, name);
            return std::string();
          },
          ""));
}

}  // namespace bilevel_app
