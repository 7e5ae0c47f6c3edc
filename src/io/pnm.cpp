#include <cstddef>
#include <limits>

#include "bilevel/core/error.hpp"
#include "core/file_bytes.hpp"
#include "io/image_formats.hpp"

namespace bilevel {
inline namespace v0 {
namespace io_detail {
namespace {

bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

/// Reads a PNM from its first byte on; comments run from '#' to the end of the line.
class PnmParser {
 public:
  PnmParser(const std::string& name, const std::string& bytes) : name_(name), bytes_(bytes) {}

  HostImage parse() {
    kind_ = bytes_[1];
    at_ = 2;
    channels_ = kind_ == '2' || kind_ == '5' ? 1 : 3;
    width_ = number("width");
    height_ = number("height");
    largest_ = number("maximum value");
    check_extents(name_, height_, width_);
    if (largest_ < 1 || largest_ > 65535) {
      fail("the maximum value is " + std::to_string(largest_) + ", not between 1 and 65535");
    }
    return kind_ < '4' ? parse_text() : parse_binary();
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw IoError(name_, "bad PNM at byte " + std::to_string(at_) + ": " + what);
  }

  void skip_space_and_comments() {
    while (at_ < bytes_.size() && (is_space(bytes_[at_]) || bytes_[at_] == '#')) {
      if (bytes_[at_] == '#') {
        while (at_ < bytes_.size() && bytes_[at_] != '\n' && bytes_[at_] != '\r') ++at_;
      } else {
        ++at_;
      }
    }
  }

  std::uint32_t number(const char* what) {
    const std::size_t before = at_;
    skip_space_and_comments();
    if (at_ == before) fail(std::string("no space before the ") + what);
    const std::size_t begin = at_;
    std::uint64_t value = 0;
    for (; at_ < bytes_.size() && bytes_[at_] >= '0' && bytes_[at_] <= '9'; ++at_) {
      value = 10 * value + static_cast<std::uint64_t>(bytes_[at_] - '0');
      if (value > std::numeric_limits<std::uint32_t>::max())
        fail(std::string("the ") + what + " is too large");
    }
    if (at_ == begin)
      fail(std::string("the ") + what + (at_ < bytes_.size() ? " is no number" : " is cut off"));
    return static_cast<std::uint32_t>(value);
  }

  std::size_t samples() const {
    return static_cast<std::size_t>(height_) * width_ * static_cast<std::size_t>(channels_);
  }

  void store(HostImage& image, std::size_t sample, std::uint32_t value) const {
    const std::size_t pixel = sample / channels_, plane = sample % channels_;
    if (value > largest_) {
      fail("pixel at " + position(pixel / width_, pixel % width_) + " is " + std::to_string(value) +
           ", above the maximum value " + std::to_string(largest_));
    }
    image.pixels[plane * (static_cast<std::size_t>(height_) * width_) + pixel] =
        static_cast<double>(value) / static_cast<double>(largest_);
  }

  HostImage parse_text() {
    // A sample takes a space and a digit at least.
    const std::size_t available = bytes_.size() - at_;
    if (samples() > available / 2) {
      fail(std::to_string(available) + " bytes cannot hold " + std::to_string(samples()) + " samples");
    }
    HostImage image = make_image(name_, channels_, height_, width_);
    for (std::size_t sample = 0; sample < samples(); ++sample) store(image, sample, number("next sample"));
    // A number that the end of the file cuts off is still a number, so the space behind the last is needed.
    if (at_ == bytes_.size()) fail("the file ends in the last sample; add a line end if it is complete");
    check_end();
    return image;
  }

  HostImage parse_binary() {
    if (at_ >= bytes_.size() || !is_space(bytes_[at_])) fail("no space follows the maximum value");
    ++at_;
    const std::size_t size = largest_ < 256 ? 1 : 2;
    const std::size_t available = bytes_.size() - at_;
    if (samples() > available / size) {
      fail("the image needs " + std::to_string(samples() * size) + " bytes but " + std::to_string(available) +
           " follow");
    }
    HostImage image = make_image(name_, channels_, height_, width_);
    for (std::size_t sample = 0; sample < samples(); ++sample, at_ += size) {
      const std::uint64_t value = load_integer(as_bytes(bytes_) + at_, static_cast<int>(size), true);
      store(image, sample, static_cast<std::uint32_t>(value));
    }
    check_end();
    return image;
  }

  void check_end() {
    skip_space_and_comments();
    if (at_ != bytes_.size()) {
      fail(std::to_string(bytes_.size() - at_) + " bytes follow the image; one image per file is read");
    }
  }

  const std::string& name_;
  const std::string& bytes_;
  std::size_t at_ = 0;
  char kind_ = 0;
  int channels_ = 1;
  std::uint32_t width_ = 0, height_ = 0, largest_ = 0;
};

}  // namespace

HostImage decode_pnm(const std::string& name, const std::string& bytes) {
  HostImage image = PnmParser(name, bytes).parse();
  image.from_integers = true;
  return image;
}

std::string encode_pnm(const std::string& name, const HostImage& image, int bits) {
  if (bits != 8 && bits != 16) {
    throw ConfigError(name + ": PGM and PPM store 8 or 16 bits per sample, not " + std::to_string(bits));
  }
  const std::uint32_t largest = bits == 8 ? 255 : 65535;
  const std::size_t plane = static_cast<std::size_t>(image.height) * static_cast<std::size_t>(image.width);
  std::string bytes = (image.channels == 1 ? "P5\n" : "P6\n") + std::to_string(image.width) + " " +
                      std::to_string(image.height) + "\n" + std::to_string(largest) + "\n";
  bytes.reserve(bytes.size() + image.pixels.size() * static_cast<std::size_t>(bits / 8));
  for (std::size_t pixel = 0; pixel < plane; ++pixel) {
    for (int c = 0; c < image.channels; ++c) {
      const std::uint32_t value =
          quantise(image.pixels[static_cast<std::size_t>(c) * plane + pixel], largest);
      if (bits == 16) bytes += static_cast<char>(value >> 8);
      bytes += static_cast<char>(value & 255);
    }
  }
  return bytes;
}

}  // namespace io_detail
}  // namespace v0
}  // namespace bilevel
