#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "bilevel/io/image_file.hpp"

namespace bilevel_test {

namespace fs = std::filesystem;

/// A folder that exists as long as the object.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = (fs::temp_directory_path() / "bilevel-io-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("cannot make " + pattern);
    path_ = pattern;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  fs::path operator/(const std::string& name) const { return path_ / name; }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

inline void put_file(const fs::path& path, const std::string& bytes) {
  fs::remove(path);  // some file systems flush files that are overwritten
  std::ofstream(path, std::ios::binary | std::ios::trunc).write(bytes.data(), std::ssize(bytes));
}

inline std::string get_file(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

inline std::size_t entries(const fs::path& folder) {
  return static_cast<std::size_t>(std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

/// The shared folder of reference data, if there is one.
inline std::optional<fs::path> shared_folder() {
  fs::path folder;
  if (const char* named = std::getenv("BILEVEL_SHARED")) {
    folder = named;
  } else {
#ifdef BILEVEL_SHARED_DEFAULT
    folder = BILEVEL_SHARED_DEFAULT;
#endif
  }
  return fs::is_directory(folder) ? std::optional<fs::path>(folder) : std::nullopt;
}

inline std::string integer(std::uint64_t value, int size, bool big_endian) {
  std::string out;
  for (int k = 0; k < size; ++k) out += static_cast<char>(value >> (8 * (big_endian ? size - 1 - k : k)));
  return out;
}

inline bilevel::HostImage random_image(int channels, int height, int width, unsigned seed, double low = 0.0,
                                       double high = 1.0) {
  bilevel::HostImage image{channels, height, width, {}};
  std::mt19937 generator(seed);
  std::uniform_real_distribution<double> value(low, high);
  image.pixels.resize(static_cast<std::size_t>(channels * height * width));
  for (double& pixel : image.pixels) pixel = value(generator);
  return image;
}

/// A `.npy` file of format `major`.0 with the header fields as given.
inline std::string npy_bytes(const std::string& type, bool fortran, const std::string& shape,
                             const std::string& data, int major = 1) {
  std::string header = "{'descr': '" + type + "', 'fortran_order': " + (fortran ? "True" : "False") +
                       ", 'shape': " + shape + ", }\n";
  std::string out = "\x93NUMPY";
  out += static_cast<char>(major);
  out += '\0';
  return out + integer(header.size(), major == 1 ? 2 : 4, false) + header + data;
}

/// A TIFF built tag by tag, page by page: header, data, values that do not fit their entry, directory.
class TiffBuilder {
 public:
  TiffBuilder(bool big_endian) : big_(big_endian) {
    bytes_ = big_ ? std::string("MM\0*", 4) : std::string("II*\0", 4);
    bytes_ += integer(0, 4, big_);
  }
  std::uint32_t add_data(const std::string& data) {
    const auto at = static_cast<std::uint32_t>(bytes_.size());
    bytes_ += data;
    if (bytes_.size() % 2 != 0) bytes_ += '\0';
    return at;
  }
  /// type 3: two bytes, type 4: four bytes.
  void tag(int number, int type, const std::vector<std::uint32_t>& values) {
    std::string payload;
    for (const std::uint32_t value : values) payload += integer(value, type == 3 ? 2 : 4, big_);
    const std::size_t count = values.size();
    if (payload.size() > 4) payload = integer(add_data(payload), 4, big_);
    payload.resize(4, '\0');
    directory_ += integer(static_cast<std::uint64_t>(number), 2, big_) +
                  integer(static_cast<std::uint64_t>(type), 2, big_) + integer(count, 4, big_) + payload;
    ++entries_;
  }
  void text(int number, const std::string& value) {
    directory_ += integer(static_cast<std::uint64_t>(number), 2, big_) + integer(2, 2, big_) +
                  integer(value.size() + 1, 4, big_) + integer(add_data(value + '\0'), 4, big_);
    ++entries_;
  }
  /// Ends a page; the tags that follow are those of the next one.
  void next_page() { end_page(0); }
  std::string finish(std::uint32_t next = 0) {
    end_page(next);
    return bytes_;
  }

 private:
  /// Puts the directory behind what there is, and its place where the one before points to.
  void end_page(std::uint32_t next) {
    if (bytes_.size() % 2 != 0) bytes_ += '\0';
    const std::string place = integer(bytes_.size(), 4, big_);
    std::copy(place.begin(), place.end(), bytes_.begin() + static_cast<std::ptrdiff_t>(pointer_));
    bytes_ += integer(static_cast<std::uint64_t>(entries_), 2, big_) + directory_;
    pointer_ = bytes_.size();
    bytes_ += integer(next, 4, big_);
    directory_.clear();
    entries_ = 0;
  }

  bool big_;
  std::string bytes_, directory_;
  int entries_ = 0;
  std::size_t pointer_ = 4;  ///< where the place of the next directory goes
};

}  // namespace bilevel_test
