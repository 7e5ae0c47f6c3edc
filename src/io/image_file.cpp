#include "bilevel/io/image_file.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <new>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "bilevel/core/atomic_file.hpp"
#include "bilevel/core/error.hpp"
#include "bilevel/io/array_file.hpp"
#include "core/file_bytes.hpp"
#include "io/image_formats.hpp"
#include "io/npy.hpp"

namespace bilevel {
inline namespace v0 {
namespace io_detail {

namespace fs = std::filesystem;

std::string position(std::uint64_t row, std::uint64_t column) {
  return "row " + std::to_string(row) + ", column " + std::to_string(column);
}

void check_extents(const std::string& name, std::uint64_t height, std::uint64_t width) {
  constexpr std::uint64_t kMost = std::uint64_t{1} << 31;
  if (height >= 1 && width >= 1 && height < kMost && width < kMost && height * width <= kMost) return;
  throw IoError(name, "the image has " + std::to_string(height) + " x " + std::to_string(width) +
                          " pixels; sizes from 1 x 1 to 2^31 pixels are read");
}

HostImage make_image(const std::string& name, int channels, std::uint64_t height, std::uint64_t width) {
  HostImage image{channels, static_cast<int>(height), static_cast<int>(width), {}};
  try {
    image.pixels.resize(static_cast<std::size_t>(channels) * height * width);
  } catch (const std::bad_alloc&) {
    throw IoError(name, "the image of " + std::to_string(height) + " x " + std::to_string(width) +
                            " pixels does not fit in memory");
  }
  return image;
}

namespace {

/// Moves [H,W,3] to [3,H,W].
std::vector<double> to_planar(const std::vector<double>& interleaved) {
  std::vector<double> planar(interleaved.size());
  const std::size_t plane = interleaved.size() / 3;
  for (std::size_t pixel = 0; pixel < plane; ++pixel) {
    for (std::size_t c = 0; c < 3; ++c) planar[c * plane + pixel] = interleaved[3 * pixel + c];
  }
  return planar;
}

std::string shape_text(const std::vector<std::size_t>& shape) {
  std::string text;
  for (const std::size_t extent : shape) text += (text.empty() ? "" : ", ") + std::to_string(extent);
  return "[" + text + "]";
}

}  // namespace

HostImage decode_npy_image(const std::string& name, const std::string& bytes) {
  TypedArray typed = decode_npy(name, bytes);
  const std::vector<std::size_t>& shape = typed.array.shape;
  const bool planar = shape.size() == 3 && (shape[0] == 1 || shape[0] == 3);
  const bool interleaved = shape.size() == 3 && shape[2] == 3;
  if (shape.size() != 2 && !planar && !interleaved) {
    throw IoError(name, "an array of shape " + shape_text(shape) +
                            " is no image; use [H,W], [H,W,3] or [C,H,W] with C of 1 or 3");
  }
  if (planar && interleaved) {
    throw IoError(name,
                  "shape " + shape_text(shape) +
                      " can be [C,H,W] or [H,W,3]; pad or crop the image so that only one of them fits");
  }
  const bool scaled = typed.kind == 'u' && typed.size <= 2;
  if (!scaled && typed.kind != 'f' && typed.kind != 'b') {
    throw IoError(name, "integers of type " + std::string(1, typed.kind) + std::to_string(typed.size) +
                            " have no intensity scale; store u1, u2, f4 or f8");
  }
  HostImage image;
  const std::size_t first = planar ? 1 : 0;
  check_extents(name, shape[first], shape[first + 1]);
  image.channels = planar ? static_cast<int>(shape[0]) : interleaved ? 3 : 1;
  image.height = static_cast<int>(shape[first]);
  image.width = static_cast<int>(shape[first + 1]);
  image.pixels = interleaved ? to_planar(typed.array.values) : std::move(typed.array.values);
  if (scaled) {
    const double largest = typed.size == 1 ? 255.0 : 65535.0;
    for (double& value : image.pixels) value /= largest;
  }
  return image;
}

namespace {

void check_finite(const std::string& name, const HostImage& image) {
  const auto bad = std::find_if_not(image.pixels.begin(), image.pixels.end(),
                                    [](double value) { return std::isfinite(value); });
  if (bad == image.pixels.end()) return;
  const std::size_t width = static_cast<std::size_t>(image.width);
  const std::size_t plane = width * static_cast<std::size_t>(image.height);
  const std::size_t index = static_cast<std::size_t>(bad - image.pixels.begin());
  throw IoError(name, "the pixel at " + position(index % plane / width, index % width) + " of channel " +
                          std::to_string(index / plane) + " is " + (std::isnan(*bad) ? "NaN" : "infinite"));
}

void check_consistent(const std::string& name, const HostImage& image) {
  const bool known = image.channels == 1 || image.channels == 3;
  const bool positive = known && image.height > 0 && image.width > 0;
  if (positive && image.pixels.size() == static_cast<std::size_t>(image.channels) *
                                             static_cast<std::size_t>(image.height) *
                                             static_cast<std::size_t>(image.width)) {
    return;
  }
  throw ShapeError(name + ": an image of " + std::to_string(image.channels) + " x " +
                   std::to_string(image.height) + " x " + std::to_string(image.width) + " with " +
                   std::to_string(image.pixels.size()) +
                   " pixel values; 1 or 3 channels, positive extents and their product are needed");
}

std::string lower_extension(const fs::path& path) {
  std::string extension = path.extension().string();
  for (char& c : extension) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return extension;
}

bool has_image_extension(const fs::path& path) {
  constexpr std::array<std::string_view, 7> kKnown{".png", ".pgm", ".ppm", ".pnm", ".tif", ".tiff", ".npy"};
  return std::find(kKnown.begin(), kKnown.end(), lower_extension(path)) != kKnown.end();
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

/// The run of digits at `at` without leading zeros; moves `at` behind it.
std::string_view number_at(std::string_view text, std::size_t& at) {
  const std::size_t begin = at;
  while (at < text.size() && is_digit(text[at])) ++at;
  std::string_view run = text.substr(begin, at - begin);
  while (run.size() > 1 && run[0] == '0') run.remove_prefix(1);
  return run;
}

bool natural_less(std::string_view a, std::string_view b) {
  std::size_t i = 0, j = 0;
  while (i < a.size() && j < b.size()) {
    if (is_digit(a[i]) && is_digit(b[j])) {
      const std::string_view left = number_at(a, i), right = number_at(b, j);
      if (left.size() != right.size()) return left.size() < right.size();
      if (left != right) return left < right;
    } else {
      if (a[i] != b[j]) return static_cast<unsigned char>(a[i]) < static_cast<unsigned char>(b[j]);
      ++i, ++j;
    }
  }
  if ((i == a.size()) != (j == b.size())) return i == a.size();
  return a < b;  // equal up to leading zeros
}

}  // namespace
}  // namespace io_detail

HostImage read_image(const std::filesystem::path& path) {
  using namespace io_detail;
  const std::string name = path.string();
  const std::string bytes = read_file(path);
  const auto begins = [&](std::string_view magic) {
    return std::string_view(bytes).substr(0, magic.size()) == magic;
  };
  HostImage image;
  if (begins("\x89PNG\r\n\x1a\n")) {
    image = decode_png(name, bytes);
  } else if (begins("\x93NUMPY")) {
    image = decode_npy_image(name, bytes);
  } else if (begins("P2") || begins("P3") || begins("P5") || begins("P6")) {
    image = decode_pnm(name, bytes);
  } else if (begins({"II*\0", 4}) || begins({"MM\0*", 4}) || begins({"II+\0", 4}) || begins({"MM\0+", 4})) {
    image = decode_tiff(name, bytes);
  } else {
    throw IoError(name, "the first bytes are those of no PNG, PGM, PPM, TIFF or npy file");
  }
  check_finite(name, image);
  return image;
}

void write_image(const std::filesystem::path& path, const HostImage& image, ImageWriteOptions options) {
  using namespace io_detail;
  const std::string name = path.string();
  check_consistent(name, image);
  check_finite(name, image);
  const std::string extension = lower_extension(path);
  if (extension == ".npy") {
    const std::array<std::size_t, 3> shape{static_cast<std::size_t>(image.channels),
                                           static_cast<std::size_t>(image.height),
                                           static_cast<std::size_t>(image.width)};
    const std::span<const std::size_t> all(shape);
    return write_npy(path, image.channels == 1 ? all.subspan(1) : all, std::span<const double>(image.pixels));
  }
  std::string bytes;
  if (extension == ".png") {
    bytes = encode_png(name, image, options.bits);
  } else if (extension == ".tif" || extension == ".tiff") {
    bytes = encode_tiff(name, image, options.bits);
  } else if (extension == ".pgm" || extension == ".ppm" || extension == ".pnm") {
    if (extension != ".pnm" && (extension == ".pgm") != (image.channels == 1)) {
      throw IoError(name, "an image of " + std::to_string(image.channels) + " channel(s) does not fit " +
                              extension + "; use .pgm for 1 channel, .ppm for 3 or .pnm for either");
    }
    bytes = encode_pnm(name, image, options.bits);
  } else {
    throw IoError(name,
                  "the extension '" + extension + "' is no image format; use .png, .pgm, .ppm, .tif or .npy");
  }
  write_file_atomically(path, bytes, options.forced);
}

HostImage to_luma(const HostImage& image) {
  io_detail::check_consistent("to_luma", image);
  if (image.channels == 1) return image;
  HostImage luma{1, image.height, image.width, {}, image.alpha_dropped};
  const std::size_t plane = image.pixels.size() / 3;
  luma.pixels.resize(plane);
  const double *red = image.pixels.data(), *green = red + plane, *blue = green + plane;
  for (std::size_t k = 0; k < plane; ++k)
    luma.pixels[k] = 0.299 * red[k] + 0.587 * green[k] + 0.114 * blue[k];
  return luma;
}

std::vector<std::filesystem::path> list_images(const std::filesystem::path& file_or_folder) {
  namespace fs = std::filesystem;
  const std::string name = file_or_folder.string();
  std::error_code error;
  const fs::file_status status = fs::status(file_or_folder, error);
  if (status.type() == fs::file_type::not_found) throw IoError(name, "does not exist");
  if (error) throw IoError(name, "cannot be examined (" + error.message() + ")");
  if (status.type() != fs::file_type::directory) return {file_or_folder};
  std::vector<fs::path> images;
  fs::directory_iterator entry(file_or_folder, error);
  for (; !error && entry != fs::directory_iterator(); entry.increment(error)) {
    const fs::path& path = entry->path();
    std::error_code ignored;
    if (!io_detail::has_image_extension(path) || path.filename().string()[0] == '.') continue;
    if (!entry->is_directory(ignored)) images.push_back(path);
  }
  if (error) throw IoError(name, "the folder cannot be read (" + error.message() + ")");
  if (images.empty()) {
    throw IoError(name, "the folder holds no image (.png, .pgm, .ppm, .pnm, .tif, .tiff or .npy)");
  }
  std::sort(images.begin(), images.end(), [](const fs::path& a, const fs::path& b) {
    return io_detail::natural_less(a.filename().string(), b.filename().string());
  });
  return images;
}

}  // namespace v0
}  // namespace bilevel
