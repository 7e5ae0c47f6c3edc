#include <algorithm>
#include <bit>
#include <cstdint>
#include <limits>
#include <sstream>
#include <system_error>

#include "bilevel/core/error.hpp"
#include "core/file_bytes.hpp"
#include "io/kspace_formats.hpp"

// BART: NAME.hdr is text, in which the line after "# Dimensions" holds the extents; NAME.cfl holds complex
// numbers of two little-endian float32, first dimension fastest.

namespace bilevel {
inline namespace v0 {
namespace io_detail {
namespace {

namespace fs = std::filesystem;

fs::path with_extension(const fs::path& path, const char* extension) {
  const bool named = path.extension() == ".cfl" || path.extension() == ".hdr";
  return (named ? path.parent_path() / path.stem() : path).string() + extension;
}

std::vector<std::size_t> parse_header(const std::string& name, const std::string& text) {
  std::istringstream lines(text);
  std::string line;
  while (std::getline(lines, line) && line.rfind("# Dimensions", 0) != 0) continue;
  std::vector<std::size_t> extents;
  if (!std::getline(lines, line)) throw IoError(name, "has no line '# Dimensions' followed by extents");
  std::istringstream numbers(line);
  for (std::string number; numbers >> number;) {
    std::size_t extent = 0;
    const bool digits = number.size() < 10 && number.find_first_not_of("0123456789") == std::string::npos;
    if (digits) extent = std::stoul(number);
    if (extent < 1 || extents.size() == 32) {
      throw IoError(name, "the dimension '" + printable(number) +
                              "' is none; up to 32 whole numbers from 1 to 999999999 are read");
    }
    extents.push_back(extent);
  }
  if (extents.empty()) throw IoError(name, "the line after '# Dimensions' holds no extents");
  return extents;
}

}  // namespace

bool names_bart(const fs::path& path) {
  std::error_code ignored;
  if (path.extension() == ".cfl") return true;
  const bool data = fs::exists(with_extension(path, ".cfl"), ignored);
  if (path.extension() == ".hdr")
    return data || !fs::exists(fs::path(path).replace_extension(".img"), ignored);
  return data && !fs::exists(path, ignored);
}

namespace {

/// The two of the dimensions 0, 1, 2 that are rows and columns.
void set_plane(const std::string& name, BartArray& array) {
  std::vector<std::size_t> spatial;
  for (std::size_t d = 0; d < 3; ++d) {
    if (array.extent(d) > 1) spatial.push_back(array.extent(d));
  }
  if (spatial.size() > 2) {
    throw IoError(name, "its dimensions 0, 1, 2 are " + std::to_string(spatial[0]) + " x " +
                            std::to_string(spatial[1]) + " x " + std::to_string(spatial[2]) +
                            "; slices are needed (one of them 1), so transform along one and extract slices");
  }
  spatial.resize(2, 1);
  array.rows = spatial[0], array.columns = spatial[1];
}

}  // namespace

BartArray read_bart(const fs::path& path) {
  const fs::path header = with_extension(path, ".hdr"), data = with_extension(path, ".cfl");
  BartArray array;
  array.extents = parse_header(header.string(), read_file(header));
  const std::string name = data.string(), bytes = read_file(data);
  std::size_t count = 1;
  for (const std::size_t extent : array.extents) {
    if (count > std::numeric_limits<std::size_t>::max() / 8 / extent) {
      throw IoError(header.string(), "the dimensions have too many values");
    }
    count *= extent;
  }
  if (count * 8 != bytes.size()) {
    throw IoError(name, "its header asks for " + std::to_string(count * 8) +
                            " bytes of values, but it holds " + std::to_string(bytes.size()) +
                            "; one of the two files is damaged");
  }
  set_plane(name, array);
  array.values = make_complex_values(name, count);
  const auto part = [&](std::size_t k) {
    return std::bit_cast<float>(static_cast<std::uint32_t>(load_integer(as_bytes(bytes) + 4 * k, 4, false)));
  };
  const std::size_t rows = array.rows, columns = array.columns, size = rows * columns;
  for (std::size_t k = 0; k < count; ++k) {  // rows run fastest in the file
    array.values[k / size * size + k % rows * columns + k % size / rows] = {part(2 * k), part(2 * k + 1)};
  }
  return array;
}

}  // namespace io_detail
}  // namespace v0
}  // namespace bilevel
