#include <sys/resource.h>

#include <bit>
#include <cmath>
#include <functional>
#include <map>

#include "bilevel/core/error.hpp"
#include "bilevel/io/array_file.hpp"
#include "bilevel/io/image_file.hpp"
#include "jpeg_samples.hpp"
#include "png_oracle.hpp"

namespace {

using namespace bilevel_test;

constexpr unsigned kSeed = 20240607;
constexpr int kMutations = 2000;  // of several bytes; single ones are tried one after the other

#if defined(__SANITIZE_ADDRESS__)
constexpr long kMemoryGrowth = 1024;  // MiB; freed memory is kept in quarantine
#else
constexpr long kMemoryGrowth = 128;
#endif

std::string written(const std::string& extension, int channels, int bits) {
  const TemporaryFolder folder;
  bilevel::write_image(folder / ("x" + extension), random_image(channels, 6, 5, 3), {bits});
  return get_file(folder / ("x" + extension));
}

std::string tiled_tiff() {
  TiffBuilder tiff(true);
  std::string tile(16 * 16 * 3, '\0');
  for (std::size_t k = 0; k < tile.size(); ++k) tile[k] = static_cast<char>(k * 7);
  const std::uint32_t at = tiff.add_data(tile);
  const std::vector<std::pair<int, std::vector<std::uint32_t>>> tags{
      {256, {12}}, {257, {9}},  {258, {8, 8, 8}}, {259, {1}},  {262, {2}},   {277, {3}},
      {284, {1}},  {322, {16}}, {323, {16}},      {324, {at}}, {325, {768}}, {339, {1, 1, 1}}};
  for (const auto& [number, values] : tags) tiff.tag(number, number == 324 || number == 325 ? 4 : 3, values);
  return tiff.finish();
}

std::string palette_tiff(std::uint32_t compression, const std::string& data) {
  TiffBuilder tiff(false);
  const std::uint32_t at = tiff.add_data(data);
  std::vector<std::uint32_t> colours(768);
  for (std::size_t k = 0; k < colours.size(); ++k) colours[k] = static_cast<std::uint32_t>(k * 80);
  const std::vector<std::pair<int, std::vector<std::uint32_t>>> tags{
      {256, {4}},           {257, {2}}, {258, {8}},
      {259, {compression}}, {262, {3}}, {273, {at}},
      {277, {1}},           {278, {2}}, {279, {static_cast<std::uint32_t>(data.size())}},
      {320, colours}};
  for (const auto& [number, values] : tags) tiff.tag(number, 3, values);
  return tiff.finish();
}

/// LZW of literals alone: nine-bit codes from the highest bit on, 256 before and 257 behind them.
std::string lzw_literals(const std::string& data) {
  std::vector<int> codes{256};
  for (const char c : data) codes.push_back(static_cast<unsigned char>(c));
  codes.push_back(257);
  std::string out((codes.size() * 9 + 7) / 8, '\0');
  for (std::size_t bit = 0; bit < codes.size() * 9; ++bit) {
    if ((codes[bit / 9] >> (8 - bit % 9) & 1) != 0)
      out[bit / 8] = static_cast<char>(out[bit / 8] | 0x80 >> bit % 8);
  }
  return out;
}

/// A TIFF whose strip is compressed: 5 LZW, 8 deflate, 32773 PackBits.
std::string packed_tiff(std::uint32_t compression, const std::string& data) {
  TiffBuilder tiff(false);
  const std::uint32_t at = tiff.add_data(data);
  const std::vector<std::pair<int, std::vector<std::uint32_t>>> tags{
      {256, {4}},           {257, {2}}, {258, {8}},
      {259, {compression}}, {262, {1}}, {273, {at}},
      {277, {1}},           {278, {2}}, {279, {static_cast<std::uint32_t>(data.size())}}};
  for (const auto& [number, values] : tags) tiff.tag(number, 3, values);
  return tiff.finish();
}

/// Two pages of 3 x 2 pixels, or as many behind the first directory.
std::string tiff_stack(bool one_directory) {
  TiffBuilder tiff(false);
  for (int page = 0; page < (one_directory ? 1 : 2); ++page) {
    const std::uint32_t at = tiff.add_data(one_directory ? "abcdefghijkl" : "abcdef");
    if (page > 0) tiff.tag(254, 4, {0});
    for (const auto& [number, value] :
         std::vector<std::pair<int, std::uint32_t>>{{256, 3}, {257, 2}, {258, 8}, {259, 1}, {262, 1}})
      tiff.tag(number, 3, {value});
    if (one_directory) tiff.text(270, "ImageJ=1.54f\nimages=2\n");
    for (const auto& [number, value] :
         std::vector<std::pair<int, std::uint32_t>>{{273, at}, {277, 1}, {278, 2}, {279, 6}})
      tiff.tag(number, 3, {value});
    if (!one_directory && page == 0) tiff.next_page();
  }
  return tiff.finish();
}

/// One small valid file of every format and storage.
std::map<std::string, std::string> samples() {
  std::string ascii = "P3\n# text\n2 2\n255\n";
  for (int k = 0; k < 12; ++k) ascii += std::to_string(20 * k) + (k % 3 == 2 ? "\n" : " ");
  const std::string palette = png_chunk("PLTE", "\x10\x20\x30\x40\x50\x60");
  return {{"png_grey8", written(".png", 1, 8)},
          {"png_rgb16", written(".png", 3, 16)},
          {"png_palette", png_bytes(3, 1, 2, 3, std::string("\0\x10", 2), palette)},
          {"png_interlaced", png_bytes(1, 3, 8, 0, std::string("\0\1\0\2\0\3", 6), "", true)},
          {"pgm8", written(".pgm", 1, 8)},
          {"ppm16", written(".ppm", 3, 16)},
          {"ppm_text", ascii},
          {"tiff_grey8", written(".tif", 1, 8)},
          {"tiff_rgb16", written(".tif", 3, 16)},
          {"tiff_float", written(".tif", 1, 32)},
          {"tiff_tiled", tiled_tiff()},
          {"tiff_palette", palette_tiff(1, "\1\2\3\4\5\6\7\1")},
          {"tiff_packbits", packed_tiff(32773, "\x07\1\2\3\4\5\6\7\1")},
          {"tiff_lzw", packed_tiff(5, lzw_literals("\1\2\3\4\5\6\7\1"))},
          {"tiff_deflate", packed_tiff(8, zlib_stored("\1\2\3\4\5\6\7\1"))},
          {"tiff_pages", tiff_stack(false)},
          {"tiff_stack", tiff_stack(true)},
          {"jpeg_colour", kJpegColour},
          {"jpeg_progressive", kJpegProgressive},
          {"jpeg_turned", with_orientation(kJpegGrey, 6, true)},
          {"npy_stack", npy_bytes("|u1", false, "(2, 3, 5)", "abcdefghijklmnopqrstuvwxyzABCD")},
          {"npy_f8", written(".npy", 1, 8)},
          {"npy_u1", npy_bytes("|u1", true, "(2, 3)", "abcdef")}};
}

/// What a damaged byte may become: the first two show whether it belongs to pixels, then single bits and ends
/// of ranges.
std::string changes_of(char byte) {
  std::string changes{static_cast<char>(byte ^ 0x80), '\x7f'};
  for (int bit = 0; bit < 7; ++bit) changes += static_cast<char>(byte ^ (1 << bit));
  for (const int value : {0, 1, 2, 0x80, 0xfe, 0xff}) changes += static_cast<char>(value);
  return changes;
}

class ImageRobustness : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override { bytes_ = samples().at(GetParam()); }

  /// The first image, or nothing when the file was refused with an IoError. Everything else fails the test.
  std::optional<bilevel::HostImage> attempt(const std::string& bytes) {
    put_file(folder_ / "image", bytes);
    try {
      const std::vector<bilevel::HostImage> images = bilevel::read_images(folder_ / "image");
      EXPECT_EQ(bilevel::count_images(folder_ / "image"), images.size());
      for (const bilevel::HostImage& image : images) expect_sound(image);
      return images.at(0);
    } catch (const bilevel::IoError& error) {
      const std::string text = error.what();
      EXPECT_EQ(text.find("fit in memory"), std::string::npos) << text;
      EXPECT_TRUE(std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c <= '~'; })) << text;
      last_refusal_ = text;
      return std::nullopt;
    }
  }

  void expect_sound(const bilevel::HostImage& image) {
    EXPECT_TRUE(image.channels == 1 || image.channels == 3);
    EXPECT_GE(image.height, 1);
    EXPECT_GE(image.width, 1);
    EXPECT_EQ(image.pixels.size(), static_cast<std::size_t>(image.channels) *
                                       static_cast<std::size_t>(image.height) *
                                       static_cast<std::size_t>(image.width));
    EXPECT_TRUE(
        std::all_of(image.pixels.begin(), image.pixels.end(), [](double v) { return std::isfinite(v); }));
  }

  static long peak_mebibytes() {
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss / 1024;
  }

  std::string bytes_, last_refusal_;
  TemporaryFolder folder_;
};

TEST_P(ImageRobustness, TheWholeFileIsReadAndEveryTruncationRefused) {
  const auto whole = attempt(bytes_);
  ASSERT_TRUE(whole.has_value()) << last_refusal_;
  expect_sound(*whole);
  for (std::size_t length = 0; length < bytes_.size(); ++length) {
    EXPECT_FALSE(attempt(bytes_.substr(0, length)).has_value())
        << length << " of " << bytes_.size() << " bytes";
  }
}

TEST_P(ImageRobustness, MutationsGiveAnErrorOrAFiniteImage) {
  const auto whole = attempt(bytes_);
  ASSERT_TRUE(whole.has_value()) << last_refusal_;
  const long before = peak_mebibytes();
  int accepted = 0;
  // Whether the image is read and has its extents.
  const auto keeps_extents = [&](const std::string& mutated) {
    const auto image = attempt(mutated);
    if (!image) return false;
    ++accepted;
    expect_sound(*image);
    return image->channels == whole->channels && image->height == whole->height &&
           image->width == whole->width;
  };
  // Every byte in turn; one that seems to belong to pixels is left after three changes.
  for (std::size_t at = 0; at < bytes_.size(); ++at) {
    std::string mutated = bytes_;
    const std::size_t eight = std::min<std::size_t>(8, bytes_.size() - at);
    bool pixel = keeps_extents(mutated.replace(at, eight, std::string(eight, '\xff')));
    int tried = 0;
    for (const char change : changes_of(bytes_[at])) {
      if (tried++ == 2 && pixel) break;
      mutated = bytes_;
      mutated[at] = change;
      pixel = keeps_extents(mutated) && pixel;
    }
    if (HasFailure()) FAIL() << "byte " << at;
  }
  std::mt19937 generator(kSeed);
  const auto below = [&](std::size_t n) {
    return std::uniform_int_distribution<std::size_t>(0, n - 1)(generator);
  };
  for (int round = 0; round < kMutations; ++round) {
    std::string mutated = bytes_;
    const std::size_t changes = 2 + below(2);
    for (std::size_t k = 0; k < changes; ++k) {
      char& byte = mutated[below(mutated.size())];
      const std::string choices = changes_of(byte) + static_cast<char>(below(256));
      byte = choices[below(choices.size())];
    }
    (void)keeps_extents(mutated);
    if (HasFailure()) FAIL() << "seed " << kSeed << ", round " << round;
  }
  EXPECT_LT(peak_mebibytes() - before, kMemoryGrowth) << "seed " << kSeed;
  std::cout << "seed " << kSeed << ", " << accepted << " accepted" << std::endl;
}

/// Checksums stop most mutations of a PNG before they reach the decoder, so they are repaired here.
TEST(ImageRobustnessPng, MutationsBehindValidChecksums) {
  std::mt19937 generator(kSeed);
  const auto below = [&](std::size_t n) {
    return std::uniform_int_distribution<std::size_t>(0, n - 1)(generator);
  };
  const TemporaryFolder folder;
  constexpr int kImages = 5000;
  int accepted = 0, refused = 0;
  for (int round = 0; round < kImages; ++round) {
    constexpr int kDepths[] = {1, 2, 4, 8, 16, 8}, kTypes[] = {0, 2, 3, 4, 6, 0},
                  kChannels[] = {1, 3, 1, 2, 4, 1};
    const std::size_t kind = below(6), depth = kind == 1 || kind == 3 || kind == 4 ? 3 + below(2) : below(6);
    const std::size_t width = below(12), height = below(12);
    std::string rows;
    for (std::size_t y = 0; y < height; ++y) {
      rows += static_cast<char>(below(40) == 0 ? below(256) : below(5));
      const std::size_t size = (width * static_cast<std::size_t>(kDepths[depth] * kChannels[kind]) + 7) / 8;
      for (std::size_t k = 0; k < size; ++k) rows += static_cast<char>(below(256));
    }
    if (below(4) == 0) rows.resize(rows.size() / 2);
    std::string stream = zlib_stored(rows);
    if (below(4) == 0) stream[below(stream.size())] = static_cast<char>(below(256));
    std::string palette(3 * (1 + below(16)), '\0');
    for (char& byte : palette) byte = static_cast<char>(below(256));
    std::string header = integer(width, 4, true) + integer(height, 4, true);
    header += {static_cast<char>(kDepths[depth]), static_cast<char>(kTypes[kind]), '\0', '\0',
               static_cast<char>(below(8) == 0)};
    const std::string bytes = "\x89PNG\r\n\x1a\n" + png_chunk("IHDR", header) +
                              (kind == 2 ? png_chunk("PLTE", palette) : "") +
                              (below(3) == 0 ? png_chunk("tRNS", palette.substr(0, below(7))) : "") +
                              png_chunk("IDAT", stream) + png_chunk("IEND", "");
    put_file(folder / "image", bytes);
    try {
      const bilevel::HostImage image = bilevel::read_image(folder / "image");
      ++accepted;
      ASSERT_TRUE(
          std::all_of(image.pixels.begin(), image.pixels.end(), [](double v) { return v >= 0 && v <= 1; }))
          << "seed " << kSeed << ", round " << round;
    } catch (const bilevel::IoError&) {
      ++refused;
    }
  }
  EXPECT_GT(accepted, kImages / 10) << "the generator reaches the decoder";
  EXPECT_GT(refused, kImages / 10);
}

TEST(ImageRobustnessNpy, ArrayMutationsGiveAnErrorOrAnArray) {
  const TemporaryFolder folder;
  const std::string good = npy_bytes("<i2", true, "(2, 3, 1)", "abcdefghijkl", 2);
  int refused = 0;
  const auto attempt = [&](const std::string& mutated) {
    put_file(folder / "a", mutated);
    try {
      const bilevel::Array array = bilevel::read_npy(folder / "a");
      std::size_t count = 1;
      for (const std::size_t extent : array.shape) count *= extent;
      ASSERT_EQ(count, array.values.size());
      ASSERT_LE(count, 12U);
    } catch (const bilevel::IoError&) {
      ++refused;
    }
  };
  for (std::size_t at = 0; at < good.size(); ++at)
    for (const char change : changes_of(good[at])) {
      std::string mutated = good;
      mutated[at] = change;
      attempt(mutated);
      if (HasFailure()) FAIL() << "byte " << at;
    }
  EXPECT_GT(refused, 0);
  std::mt19937 generator(kSeed + 1);
  const auto below = [&](std::size_t n) {
    return std::uniform_int_distribution<std::size_t>(0, n - 1)(generator);
  };
  refused = 0;
  for (int round = 0; round < kMutations; ++round) {
    std::string mutated = good;
    for (std::size_t k = 0; k <= below(3); ++k)
      mutated[below(mutated.size())] = static_cast<char>(below(256));
    if (below(8) == 0) mutated.insert(below(mutated.size()), 1 + below(4), static_cast<char>(below(256)));
    attempt(mutated);
    if (HasFailure()) FAIL() << "seed " << kSeed + 1 << ", round " << round;
  }
  EXPECT_GT(refused, kMutations / 10);
}

std::vector<std::string> sample_names() {
  std::vector<std::string> names;
  for (const auto& [name, bytes] : samples()) names.push_back(name);
  return names;
}

INSTANTIATE_TEST_SUITE_P(Formats, ImageRobustness, ::testing::ValuesIn(sample_names()),
                         [](const auto& parameter) { return parameter.param; });

}  // namespace
