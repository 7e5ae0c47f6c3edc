#pragma once

#include <string>
#include <vector>

namespace bilevel_app {

/// printf into a string.
[[gnu::format(printf, 1, 2)]] std::string format(const char* pattern, ...);

/// Rows of cells, the first row being the head; the first column is aligned left, the others right.
std::string table(const std::vector<std::vector<std::string>>& rows);

}  // namespace bilevel_app
