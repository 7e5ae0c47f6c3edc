#include "bilevel/io/idx_file.hpp"

#include <fstream>
#include <limits>
#include <string>

#include "bilevel/core/error.hpp"
#include "core/file_bytes.hpp"

namespace bilevel {
inline namespace v0 {
namespace {

constexpr int most_dimensions = 3;

bool begins_like_idx(std::string_view bytes) {
  return bytes.size() >= 2 && bytes[0] == '\0' && bytes[1] == '\0';
}

/// The extents; their product is the number of values, and no header makes it overflow unseen.
std::vector<std::size_t> extents(const std::string& name, const std::string& bytes) {
  const unsigned char* const data = io_detail::as_bytes(bytes);
  if (bytes.size() >= 2 && data[0] == 0x1f && data[1] == 0x8b)
    throw IoError(name, "is compressed with gzip; unpack it first, with gunzip");
  if (!begins_like_idx(bytes)) throw IoError(name, "does not begin like an idx file");
  if (bytes.size() < 4)
    throw IoError(name, "the idx header is cut off at byte " + std::to_string(bytes.size()));
  if (data[2] != 8)
    throw IoError(name,
                  "the idx type " + std::to_string(data[2]) + " is not supported; use 8, unsigned bytes");
  const int dimensions = data[3];
  if (dimensions < 1 || dimensions > most_dimensions)
    throw IoError(name, "the idx file has " + std::to_string(dimensions) + " dimensions; use one to three");
  const std::size_t header = 4 + 4 * static_cast<std::size_t>(dimensions);
  if (bytes.size() < header)
    throw IoError(name, "the idx header is cut off at byte " + std::to_string(bytes.size()));
  std::vector<std::size_t> shape;
  std::size_t count = 1;
  for (int d = 0; d < dimensions; ++d) {
    const std::size_t extent = io_detail::load_integer(data + 4 + 4 * d, 4, true);
    if (extent != 0 && count > std::numeric_limits<std::size_t>::max() / extent)
      throw IoError(name, "the idx extents are too large");
    count *= extent;
    shape.push_back(extent);
  }
  if (count != bytes.size() - header)
    throw IoError(name, "the idx header asks for " + std::to_string(count) + " bytes of values but " +
                            std::to_string(bytes.size() - header) + " follow byte " + std::to_string(header));
  return shape;
}

}  // namespace

bool is_idx(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  char start[2] = {1, 1};
  return file.read(start, 2) && begins_like_idx({start, 2});
}

ByteArray read_idx(const std::filesystem::path& path) {
  const std::string bytes = io_detail::read_file(path);
  std::vector<std::size_t> shape = extents(path.string(), bytes);
  const std::size_t header = 4 + 4 * shape.size();
  const unsigned char* const values = io_detail::as_bytes(bytes) + header;
  return {std::move(shape), {values, values + (bytes.size() - header)}};
}

}  // namespace v0
}  // namespace bilevel
