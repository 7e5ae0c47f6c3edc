#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "bilevel/io/image_file.hpp"

namespace bilevel {
inline namespace v0 {
namespace io_detail {

/// Decoders of whole files in memory; `name` is used in messages. All throw IoError.
HostImage decode_png(const std::string& name, const std::string& bytes);
HostImage decode_pnm(const std::string& name, const std::string& bytes);
HostImage decode_jpeg(const std::string& name, const std::string& bytes);

/// Formats of several images. `only_one` refuses more before any pixel is decoded.
std::vector<HostImage> decode_tiff(const std::string& name, const std::string& bytes, bool only_one);
std::vector<HostImage> decode_npy_images(const std::string& name, const std::string& bytes, bool only_one);
std::size_t count_tiff(const std::string& name, const std::string& bytes);

/// The sentence for several images where one is read.
std::string several_images(std::size_t count);

/// Encoders; the image is consistent and finite. They throw ConfigError for `bits`, IoError otherwise.
std::string encode_png(const std::string& name, const HostImage& image, int bits);
std::string encode_pnm(const std::string& name, const HostImage& image, int bits);
std::string encode_tiff(const std::string& name, const HostImage& image, int bits);

/// Throws IoError unless 1 <= height, width and height * width <= 2^31.
void check_extents(const std::string& name, std::uint64_t height, std::uint64_t width);

/// An image of zeros. Throws IoError when it does not fit in memory.
HostImage make_image(const std::string& name, int channels, std::uint64_t height, std::uint64_t width);

/// Value of the tag 274 in the first directory of EXIF (from its TIFF header on), 1 to 8; 0 when there is
/// none that can be read. Exif 2.3 (CIPA DC-008), 4.6.4: 1 upright; 2, 4, 5, 7 mirrored; 3, 6, 8 turned.
int exif_orientation(const unsigned char* tiff, std::size_t length);

/// The image as it is to be seen: orientations from 5 on exchange rows and columns, 0 and 1 change nothing.
HostImage turned(const std::string& name, HostImage stored, int turn);

/// "row r, column c" for messages, counted from 0.
std::string position(std::uint64_t row, std::uint64_t column);

/// Nearest integer to `value` * `largest` after clamping to [0, 1].
inline std::uint32_t quantise(double value, std::uint32_t largest) {
  const double clamped = value > 0.0 ? (value < 1.0 ? value : 1.0) : 0.0;
  return static_cast<std::uint32_t>(std::floor(clamped * largest + 0.5));
}

}  // namespace io_detail
}  // namespace v0
}  // namespace bilevel
