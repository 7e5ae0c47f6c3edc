#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <variant>

#include "bilevel/core/export.hpp"

namespace bilevel {
inline namespace v0 {

/// An option as a file keeps it, for people and for comparing runs.
using OptionValue = std::variant<bool, std::int64_t, double, std::string>;
using NamedOption = std::pair<std::string, OptionValue>;

/// The value as JSON writes it, text without quotes: true, 25, 0.1, maid; numbers that JSON lacks: nan, inf,
/// -inf.
BILEVEL_API std::string option_text(const OptionValue& value);

}  // namespace v0
}  // namespace bilevel
