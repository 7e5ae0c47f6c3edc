#include "core/file_bytes.hpp"
#include "io/image_formats.hpp"

namespace bilevel {
inline namespace v0 {
namespace io_detail {

int exif_orientation(const unsigned char* tiff, std::size_t length) {
  if (length < 8) return 0;
  const bool big = tiff[0] == 'M';
  const std::uint64_t directory = load_integer(tiff + 4, 4, big);
  if (directory > length - 2) return 0;
  const std::uint64_t entries = load_integer(tiff + directory, 2, big);
  for (std::uint64_t k = 0, at = directory + 2; k < entries && at + 12 <= length; ++k, at += 12) {
    const std::uint64_t value = load_integer(tiff + at + 8, 2, big);
    if (load_integer(tiff + at, 2, big) == 274 && value >= 1 && value <= 8) return static_cast<int>(value);
  }
  return 0;
}

HostImage turned(const std::string& name, HostImage stored, int turn) {
  if (turn <= 1) return stored;
  const bool transposed = turn >= 5;
  const auto rows = static_cast<std::size_t>(stored.height), columns = static_cast<std::size_t>(stored.width);
  HostImage image =
      make_image(name, stored.channels, transposed ? columns : rows, transposed ? rows : columns);
  const bool from_bottom = turn == 3 || turn == 4 || turn == 7 || turn == 8;
  const bool from_right = turn == 2 || turn == 3 || turn == 6 || turn == 7;
  const auto height = static_cast<std::size_t>(image.height), width = static_cast<std::size_t>(image.width);
  double* to = image.pixels.data();
  for (std::size_t c = 0; c < static_cast<std::size_t>(image.channels); ++c) {
    const double* from = stored.pixels.data() + c * rows * columns;
    for (std::size_t y = 0; y < height; ++y) {
      for (std::size_t x = 0; x < width; ++x) {
        const std::size_t v = from_bottom ? height - 1 - y : y, h = from_right ? width - 1 - x : x;
        *to++ = from[transposed ? h * columns + v : v * columns + h];
      }
    }
  }
  stored.height = image.height, stored.width = image.width;
  stored.pixels = std::move(image.pixels);
  return stored;
}

}  // namespace io_detail
}  // namespace v0
}  // namespace bilevel
