#include <array>
#include <cctype>
#include <fstream>

#include "apps/common/image_data.hpp"

namespace bilevel_app {
namespace {

/// Maximum value of a PNM header: the third number, comments skipped.
long pnm_maximum(std::istream& file) {
  long number = -1;
  int found = 0;
  for (int c = file.get(); file; c = file.get()) {
    if (c == '#') {
      while (file && c != '\n') c = file.get();
    }
    if (std::isdigit(c)) {
      number = number < 0 ? c - '0' : number * 10 + (c - '0');
      if (number > 65535 * 10) return 65535;
    } else if (number >= 0) {
      if (++found == 3) return number;
      number = -1;
    }
  }
  return 255;
}

/// BitsPerSample (tag 258) of the first page of a classic TIFF; 8 when the tag is absent.
int tiff_bits(std::istream& file) {
  std::array<unsigned char, 12> b{};
  const auto read = [&](std::streamoff at, std::streamsize size) {
    file.clear();
    file.seekg(at);
    file.read(reinterpret_cast<char*>(b.data()), size);
    return static_cast<bool>(file);
  };
  if (!read(0, 8)) return 8;
  const bool big = b[0] == 'M';
  const auto integer = [&](std::size_t at, std::size_t size) {
    std::uint32_t value = 0;
    for (std::size_t k = 0; k < size; ++k) value = value << 8 | b[at + (big ? k : size - 1 - k)];
    return value;
  };
  if (integer(2, 2) != 42) return 16;
  const std::uint32_t directory = integer(4, 4);
  if (!read(directory, 2)) return 8;
  const std::uint32_t entries = integer(0, 2);
  for (std::uint32_t k = 0; k < entries && read(directory + 2 + 12ll * k, 12); ++k) {
    if (integer(0, 2) != 258) continue;
    if (integer(4, 4) <= 2) return static_cast<int>(integer(8, 2));
    return read(integer(8, 4), 2) ? static_cast<int>(integer(0, 2)) : 8;
  }
  return 8;
}

}  // namespace

int source_bits(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::array<char, 26> head{};
  file.read(head.data(), 26);
  const std::string_view start(head.data(), head.size());
  if (start.starts_with("\x89PNG")) return start[24] == 16 ? 16 : 8;
  if (start.starts_with("II") || start.starts_with("MM")) {
    const int bits = tiff_bits(file);
    return bits <= 8 ? 8 : bits <= 16 ? 16 : 32;
  }
  if (start.starts_with("\xff\xd8")) return 8;  // JPEG
  if (start.starts_with("\x93NUMPY")) return 32;
  file.clear();
  file.seekg(2);
  return pnm_maximum(file) > 255 ? 16 : 8;
}

}  // namespace bilevel_app
