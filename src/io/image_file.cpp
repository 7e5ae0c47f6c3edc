#include "bilevel/io/image_file.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <fstream>
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

std::string several_images(std::size_t count) {
  return "holds " + std::to_string(count) + " images where one is read; store one image per file";
}

namespace {

/// `where` is the image, for files of several.
void check_finite(const std::string& name, const HostImage& image, const std::string& where = "") {
  const auto bad = std::find_if_not(image.pixels.begin(), image.pixels.end(),
                                    [](double value) { return std::isfinite(value); });
  if (bad == image.pixels.end()) return;
  const std::size_t width = static_cast<std::size_t>(image.width);
  const std::size_t plane = width * static_cast<std::size_t>(image.height);
  const std::size_t index = static_cast<std::size_t>(bad - image.pixels.begin());
  throw IoError(name, "the pixel at " + position(index % plane / width, index % width) + " of channel " +
                          std::to_string(index / plane) + where + " is " +
                          (std::isnan(*bad) ? "NaN" : "infinite"));
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

std::string lower(std::string text) {
  for (char& c : text) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return text;
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

enum class ImageFormat { png, npy, pnm, tiff, jpeg };

ImageFormat find_format(const std::string& name, const std::string& bytes) {
  const auto begins = [&](std::string_view magic) {
    return std::string_view(bytes).substr(0, magic.size()) == magic;
  };
  if (begins("\x89PNG\r\n\x1a\n")) return ImageFormat::png;
  if (begins("\x93NUMPY")) return ImageFormat::npy;
  if (begins("P2") || begins("P3") || begins("P5") || begins("P6")) return ImageFormat::pnm;
  if (begins({"II*\0", 4}) || begins({"MM\0*", 4}) || begins({"II+\0", 4}) || begins({"MM\0+", 4}))
    return ImageFormat::tiff;
  if (begins("\xff\xd8\xff")) return ImageFormat::jpeg;
  throw IoError(name, "the first bytes are those of no PNG, JPEG, PGM, PPM, TIFF or npy file");
}

std::vector<HostImage> decode_images(const std::filesystem::path& path, bool only_one) {
  const std::string name = path.string();
  const std::string bytes = read_file(path);
  std::vector<HostImage> images;
  switch (find_format(name, bytes)) {
    case ImageFormat::png:
      images.push_back(decode_png(name, bytes));
      break;
    case ImageFormat::npy:
      images = decode_npy_images(name, bytes, only_one);
      break;
    case ImageFormat::pnm:
      images.push_back(decode_pnm(name, bytes));
      break;
    case ImageFormat::tiff:
      images = decode_tiff(name, bytes, only_one);
      break;
    case ImageFormat::jpeg:
      images.push_back(decode_jpeg(name, bytes));
      break;
  }
  for (std::size_t k = 0; k < images.size(); ++k) {
    check_finite(name, images[k], images.size() > 1 ? " of image " + std::to_string(k) : "");
    if (images[k].alpha_dropped) images[k].notes.push_back("the alpha channel is left out");
  }
  return images;
}

}  // namespace
}  // namespace io_detail

HostImage read_image(const std::filesystem::path& path) {
  return std::move(io_detail::decode_images(path, true).front());
}

std::vector<HostImage> read_images(const std::filesystem::path& path) {
  return io_detail::decode_images(path, false);
}

std::size_t count_images(const std::filesystem::path& path) {
  using namespace io_detail;
  std::string first(8, '\0');
  std::ifstream(path, std::ios::binary).read(first.data(), std::ssize(first));
  const std::string name = path.string();
  const auto begins = [&](std::string_view magic) { return first.starts_with(magic); };
  const bool several = begins("\x93NUMPY") || begins("II") || begins("MM");
  const std::string bytes = several ? read_file(path) : "";
  switch (several ? find_format(name, bytes) : ImageFormat::png) {
    case ImageFormat::npy:
      return image_layout(name, npy_shape(name, bytes)).images;
    case ImageFormat::tiff:
      return count_tiff(name, bytes);
    default:
      return 1;
  }
}

void write_image(const std::filesystem::path& path, const HostImage& image, ImageWriteOptions options) {
  using namespace io_detail;
  const std::string name = path.string();
  check_consistent(name, image);
  check_finite(name, image);
  const std::string extension = lower(path.extension().string());
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
    throw IoError(name, "the extension '" + extension +
                            "' is no format that is written; use .png, .pgm, .ppm, .tif or .npy");
  }
  write_file_atomically(path, bytes);
}

HostImage to_luma(const HostImage& image) {
  io_detail::check_consistent("to_luma", image);
  if (image.channels == 1) return image;
  HostImage luma{1, image.height, image.width, {}, image.alpha_dropped, image.from_integers, image.notes};
  const std::size_t plane = image.pixels.size() / 3;
  luma.pixels.resize(plane);
  const double *red = image.pixels.data(), *green = red + plane, *blue = green + plane;
  for (std::size_t k = 0; k < plane; ++k)
    luma.pixels[k] = 0.299 * red[k] + 0.587 * green[k] + 0.114 * blue[k];
  return luma;
}

const std::vector<std::string>& image_endings() {
  static const std::vector<std::string> endings{".png", ".jpg", ".jpeg", ".pgm", ".ppm",
                                                ".pnm", ".tif", ".tiff", ".npy"};
  return endings;
}

std::vector<std::filesystem::path> list_files(const std::filesystem::path& file_or_folder,
                                              const std::vector<std::string>& endings) {
  namespace fs = std::filesystem;
  const std::string name = file_or_folder.string();
  std::error_code error;
  const fs::file_status status = fs::status(file_or_folder, error);
  if (status.type() == fs::file_type::not_found) throw IoError(name, "does not exist");
  if (error) throw IoError(name, "cannot be examined (" + error.message() + ")");
  if (status.type() != fs::file_type::directory) return {file_or_folder};
  std::vector<fs::path> files;
  fs::directory_iterator entry(file_or_folder, error);
  for (; !error && entry != fs::directory_iterator(); entry.increment(error)) {
    const std::string file = io_detail::lower(entry->path().filename().string());
    const bool wanted = std::any_of(endings.begin(), endings.end(),
                                    [&](const std::string& ending) { return file.ends_with(ending); });
    std::error_code ignored;
    if (wanted && file[0] != '.' && !entry->is_directory(ignored)) files.push_back(entry->path());
  }
  if (error) throw IoError(name, "the folder cannot be read (" + error.message() + ")");
  std::sort(files.begin(), files.end(), [](const fs::path& a, const fs::path& b) {
    return io_detail::natural_less(a.filename().string(), b.filename().string());
  });
  return files;
}

std::vector<std::filesystem::path> list_images(const std::filesystem::path& file_or_folder) {
  std::vector<std::filesystem::path> images = list_files(file_or_folder, image_endings());
  if (!images.empty()) return images;
  std::string endings;
  for (const std::string& ending : image_endings()) endings += (endings.empty() ? "" : ", ") + ending;
  throw IoError(file_or_folder.string(), "the folder holds no image (" + endings + ")");
}

}  // namespace v0
}  // namespace bilevel
