#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "bilevel/core/export.hpp"

namespace bilevel {
inline namespace v0 {
namespace io_detail {

/// What the system says of an error number; where descriptors are short, how many there are and the remedy.
BILEVEL_API std::string reason_of(int error);

/// All bytes of a regular file. Throws IoError (missing, folder, not regular, unreadable, empty, no memory).
/// Exported for libbilevel_io.
BILEVEL_API std::string read_file(const std::filesystem::path& path);

/// Unsigned integer of `size` bytes, 1 to 8, at `bytes`.
inline std::uint64_t load_integer(const unsigned char* bytes, int size, bool big_endian) {
  std::uint64_t value = 0;
  for (int k = 0; k < size; ++k) value = (value << 8) | bytes[big_endian ? k : size - 1 - k];
  return value;
}

/// Foreign text for a message of one line: at most 100 bytes, other than ASCII text replaced by '?'.
inline std::string printable(std::string_view text) {
  std::string shown(text.substr(0, 100));
  for (char& c : shown) c = c >= ' ' && c <= '~' ? c : '?';
  return shown;
}

inline const unsigned char* as_bytes(const std::string& text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

/// Zeroed bytes whose pages are only occupied once written, so that a size claimed by a header costs nothing
/// before data arrives. Null when the system refuses.
struct FreeDeleter {
  void operator()(unsigned char* bytes) const { std::free(bytes); }
};
using LazyBytes = std::unique_ptr<unsigned char[], FreeDeleter>;
inline LazyBytes lazy_bytes(std::size_t size) {
  return LazyBytes(static_cast<unsigned char*>(std::calloc(size > 0 ? size : 1, 1)));
}

}  // namespace io_detail
}  // namespace v0
}  // namespace bilevel
