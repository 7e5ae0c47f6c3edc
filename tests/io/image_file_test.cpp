#include "bilevel/io/image_file.hpp"

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "bilevel/core/error.hpp"
#include "bilevel/io/array_file.hpp"
#include "jpeg_samples.hpp"
#include "png_oracle.hpp"

namespace {

namespace fs = std::filesystem;
using bilevel::HostImage;
using bilevel::read_image;
using bilevel::write_image;
using namespace bilevel_test;

class ImageFile : public ::testing::Test {
 protected:
  HostImage parse(const std::string& bytes) {
    put_file(folder_ / "image", bytes);
    return read_image(folder_ / "image");
  }
  std::string message(const std::string& bytes) {
    try {
      parse(bytes);
    } catch (const bilevel::IoError& error) {
      return error.what();
    }
    return "accepted";
  }
  void expect_refused(const std::string& bytes, const std::string& reason) {
    const std::string text = message(bytes);
    EXPECT_NE(text.find(reason), std::string::npos) << text;
  }
  /// `expected` holds integers, planar, that are scaled by `largest`.
  static void expect_pixels(const HostImage& image, int channels, int height, int width,
                            const std::vector<int>& expected, double largest) {
    ASSERT_EQ(image.channels, channels);
    ASSERT_EQ(image.height, height);
    ASSERT_EQ(image.width, width);
    ASSERT_EQ(image.pixels.size(), expected.size());
    for (std::size_t k = 0; k < expected.size(); ++k)
      EXPECT_EQ(image.pixels[k], expected[k] / largest) << "value " << k;
  }
  TemporaryFolder folder_;
};

int nearest(double value, int largest) {
  return static_cast<int>(std::lround(std::min(1.0, std::max(0.0, value)) * largest));
}

TEST_F(ImageFile, RoundTripsOfEveryFormatAndDepth) {
  for (const int channels : {1, 3}) {
    const HostImage image = random_image(channels, 13, 7, 40 + static_cast<unsigned>(channels), -0.1, 1.1);
    for (const char* extension : {".png", ".pnm", ".tif", ".tiff", ".PNG"}) {
      for (const int bits : {8, 16}) {
        const fs::path path = folder_ / (std::string("r") + extension);
        write_image(path, image, {bits});
        const HostImage back = read_image(path);
        ASSERT_EQ(back.channels, channels) << extension;
        ASSERT_EQ(back.height, 13);
        ASSERT_EQ(back.width, 7);
        EXPECT_FALSE(back.alpha_dropped);
        const int largest = bits == 8 ? 255 : 65535;
        for (std::size_t k = 0; k < image.pixels.size(); ++k) {
          ASSERT_EQ(back.pixels[k], nearest(image.pixels[k], largest) / static_cast<double>(largest))
              << extension << k;
        }
      }
    }
    write_image(folder_ / "r.tif", image, {32});
    const HostImage single = read_image(folder_ / "r.tif");
    for (std::size_t k = 0; k < image.pixels.size(); ++k) {
      EXPECT_EQ(single.pixels[k], static_cast<double>(static_cast<float>(image.pixels[k])))
          << "stored without clamping";
    }
    write_image(folder_ / "r.npy", image);
    EXPECT_EQ(read_image(folder_ / "r.npy").pixels, image.pixels);
    EXPECT_EQ(read_image(folder_ / "r.npy").channels, channels);
  }
}

TEST_F(ImageFile, ManyTiffStripsRoundTrip) {
  const HostImage image = random_image(3, 150, 211, 9);
  write_image(folder_ / "large.tif", image, {16});
  const HostImage back = read_image(folder_ / "large.tif");
  for (std::size_t k = 0; k < image.pixels.size(); ++k)
    ASSERT_NEAR(back.pixels[k], image.pixels[k], 0.5000001 / 65535);
}

TEST_F(ImageFile, WrittenPngsAreReadByTheOracle) {
  for (const int channels : {1, 3}) {
    for (const int bits : {8, 16}) {
      HostImage image = random_image(channels, 31, 29, 77);
      for (std::size_t k = 0; k < image.pixels.size(); ++k)
        image.pixels[k] = 0.7 * image.pixels[k] + 0.3 * static_cast<double>(k % 29) / 29;
      write_image(folder_ / "o.png", image, {bits});
      const OraclePng png = oracle_read_png(get_file(folder_ / "o.png"));
      ASSERT_EQ(png.bits, bits);
      ASSERT_EQ(png.colour_type, channels == 1 ? 0 : 2);
      ASSERT_EQ(png.samples.size(), image.pixels.size());
      const std::size_t plane = 31 * 29, count = static_cast<std::size_t>(channels);
      for (std::size_t k = 0; k < png.samples.size(); ++k) {
        ASSERT_EQ(png.samples[k],
                  nearest(image.pixels[k % count * plane + k / count], bits == 8 ? 255 : 65535));
      }
    }
  }
}

TEST_F(ImageFile, PngOfEveryGreyDepth) {
  expect_pixels(parse(png_bytes(10, 2, 1, 0, std::string("\0\xA5\x40\0\x5A\x80", 6))), 1, 2, 10,
                {1, 0, 1, 0, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 1, 0, 1, 0, 1, 0}, 1);
  expect_pixels(parse(png_bytes(5, 1, 2, 0, std::string("\0\x1B\xC0", 3))), 1, 1, 5, {0, 1, 2, 3, 3}, 3);
  expect_pixels(parse(png_bytes(3, 1, 4, 0, std::string("\0\x0F\x70", 3))), 1, 1, 3, {0, 15, 7}, 15);
  expect_pixels(parse(png_bytes(2, 2, 8, 0, std::string("\0\x01\xFF\0\x80\x00", 6))), 1, 2, 2,
                {1, 255, 128, 0}, 255);
  expect_pixels(parse(png_bytes(2, 1, 16, 0, std::string("\0\x01\x02\xFF\xFE", 5))), 1, 1, 2, {258, 65534},
                65535);
}

TEST_F(ImageFile, PngColourPaletteAndAlpha) {
  const std::string rgb("\0\x01\x02\x03\x0A\x0B\x0C", 7);
  expect_pixels(parse(png_bytes(2, 1, 8, 2, rgb)), 3, 1, 2, {1, 10, 2, 11, 3, 12}, 255);
  const std::string palette = png_chunk("PLTE", "\x10\x20\x30\x40\x50\x60");
  expect_pixels(parse(png_bytes(3, 1, 2, 3, std::string("\0\x10", 2), palette)), 3, 1, 3,
                {0x10, 0x40, 0x10, 0x20, 0x50, 0x20, 0x30, 0x60, 0x30}, 255);
  EXPECT_FALSE(parse(png_bytes(3, 1, 2, 3, std::string("\0\x10", 2), palette)).alpha_dropped);
  EXPECT_TRUE(parse(png_bytes(3, 1, 2, 3, std::string("\0\x10", 2), palette + png_chunk("tRNS", "\x80")))
                  .alpha_dropped);
  expect_refused(png_bytes(3, 1, 2, 3, std::string("\0\x30", 2), palette),
                 "row 0, column 1 is palette entry 3 of a palette of 2");
  const HostImage grey_alpha = parse(png_bytes(2, 1, 8, 4, std::string("\0\x05\xFF\x06\x00", 5)));
  expect_pixels(grey_alpha, 1, 1, 2, {5, 6}, 255);
  EXPECT_TRUE(grey_alpha.alpha_dropped);
  const HostImage rgb_alpha =
      parse(png_bytes(1, 1, 16, 6, std::string("\0\x00\x01\x00\x02\x00\x03\x00\x00", 9)));
  expect_pixels(rgb_alpha, 3, 1, 1, {1, 2, 3}, 65535);
  EXPECT_TRUE(rgb_alpha.alpha_dropped);
}

TEST_F(ImageFile, InterlacedPng) {
  // Adam7: first column and row, then steps, of the seven passes.
  constexpr int kPasses[7][4] = {{0, 0, 8, 8}, {4, 0, 8, 8}, {0, 4, 4, 8}, {2, 0, 4, 4},
                                 {0, 2, 2, 4}, {1, 0, 2, 2}, {0, 1, 1, 2}};
  std::string rows;
  for (const auto& [x0, y0, dx, dy] : kPasses) {
    for (int y = y0; y < 9 && x0 < 6; y += dy) {
      rows += '\0';
      for (int x = x0; x < 6; x += dx) rows += static_cast<char>(6 * y + x);
    }
  }
  std::vector<int> expected(54);
  for (int k = 0; k < 54; ++k) expected[static_cast<std::size_t>(k)] = k;
  expect_pixels(parse(png_bytes(6, 9, 8, 0, rows, "", true)), 1, 9, 6, expected, 255);
}

TEST_F(ImageFile, DamagedPngIsRefused) {
  std::string good = png_bytes(2, 2, 8, 0, std::string("\0\x01\xFF\0\x80\x00", 6));
  std::string wrong = good;
  wrong[41 + 10] = static_cast<char>(wrong[41 + 10] ^ 1);
  expect_refused(wrong, "bad PNG at byte");
  expect_refused(png_bytes(30000, 30000, 8, 2, std::string("\0\x01", 2)), "more than a file of");
  expect_refused(png_bytes(0x7fffffff, 0x7fffffff, 8, 0, std::string("\0\x01", 2)),
                 "2147483647 x 2147483647 pixels");
  expect_refused(png_bytes(0, 1, 8, 0, std::string("\0", 1)), "bad PNG");
  expect_refused(png_bytes(2, 3, 8, 0, std::string("\0\x01\xFF\0\x80\x00", 6)), "bad PNG");
}

TEST_F(ImageFile, PnmVariants) {
  expect_pixels(parse("P2\n# a comment\n3 # width\n2\n7\n0 1 2\n3 4 7\n"), 1, 2, 3, {0, 1, 2, 3, 4, 7}, 7);
  expect_pixels(parse("P3 2 1 255 1 2 3\t10 11 12\n"), 3, 1, 2, {1, 10, 2, 11, 3, 12}, 255);
  expect_pixels(parse("P5\n2 2\n255\n" + std::string("\x00\x0A\xFF\x20", 4)), 1, 2, 2, {0, 10, 255, 32}, 255);
  expect_pixels(parse("P5 2 1 1000\n" + std::string("\x03\xE8\x00\x01", 4)), 1, 1, 2, {1000, 1}, 1000);
  expect_pixels(parse("P6#c\n1 1#d\n255\n\x01\x02\x03"), 3, 1, 1, {1, 2, 3}, 255);
  expect_pixels(parse("P6 1 1 65535 " + std::string("\x00\x01\x00\x02\xFF\xFF", 6)), 3, 1, 1, {1, 2, 65535},
                65535);
}

TEST_F(ImageFile, BadPnmIsRefused) {
  expect_refused("P5 2 2 255\nabc", "needs 4 bytes but 3 follow");
  expect_refused("P5 2 2 255\nabcde", "1 bytes follow the image");
  expect_refused("P5 0 2 255\n", "0 pixels");
  expect_refused("P5 2 2 0\nabcd", "maximum value is 0");
  expect_refused("P5 2 2 65536\nabcdefgh", "maximum value is 65536");
  expect_refused("P5 1 1 100\nz", "row 0, column 0 is 122, above the maximum value 100");
  expect_refused("P2 2 1 9\n1 x\n", "no number");
  expect_refused("P2 100000 20000 9\n1 2\n", "cannot hold");
  expect_refused("P5 99999999999 1 255\n", "too large");
  expect_refused("P5 2147483647 2147483647 255\n", "pixels");
  expect_refused("P5", "no space before the width");
  expect_refused("P4 8 1\nx", "first bytes");
}

/// Tags of an image whose strips or tiles are already added.
void describe(TiffBuilder& tiff, int width, int height, std::uint32_t bits, std::uint32_t format,
              std::uint32_t samples, std::uint32_t photometric, std::uint32_t planar,
              const std::vector<std::uint32_t>& offsets, const std::vector<std::uint32_t>& sizes,
              std::uint32_t tile, std::uint32_t extra = 0, std::uint32_t extra_kind = 2,
              const std::string& text = "") {
  tiff.tag(256, 4, {static_cast<std::uint32_t>(width)});
  tiff.tag(257, 4, {static_cast<std::uint32_t>(height)});
  tiff.tag(258, 3, std::vector<std::uint32_t>(samples, bits));
  tiff.tag(259, 3, {1});
  tiff.tag(262, 3, {photometric});
  if (!text.empty()) tiff.text(270, text);
  if (tile == 0) tiff.tag(273, 4, offsets);
  tiff.tag(277, 3, {samples});
  if (tile == 0) tiff.tag(278, 4, {static_cast<std::uint32_t>(height)});
  if (tile == 0) tiff.tag(279, 4, sizes);
  tiff.tag(284, 3, {planar});
  if (tile != 0) {
    tiff.tag(322, 4, {tile});
    tiff.tag(323, 4, {tile});
    tiff.tag(324, 4, offsets);
    tiff.tag(325, 4, sizes);
  }
  if (extra != 0) tiff.tag(338, 3, std::vector<std::uint32_t>(extra, extra_kind));
  tiff.tag(339, 3, std::vector<std::uint32_t>(samples, format));
}

TEST_F(ImageFile, TiffInBothByteOrdersAndPlanarConfigurations) {
  for (const bool big : {false, true}) {
    std::string mixed, planes[3];
    std::vector<int> expected(18);
    for (int pixel = 0; pixel < 6; ++pixel) {
      for (int c = 0; c < 3; ++c) {
        const int value = 1000 * c + 300 * pixel;
        expected[static_cast<std::size_t>(6 * c + pixel)] = value;
        mixed += integer(static_cast<std::uint64_t>(value), 2, big);
        planes[c] += integer(static_cast<std::uint64_t>(value), 2, big);
      }
    }
    TiffBuilder together(big);
    const std::uint32_t at = together.add_data(mixed);
    describe(together, 3, 2, 16, 1, 3, 2, 1, {at}, {36}, 0);
    expect_pixels(parse(together.finish()), 3, 2, 3, expected, 65535);
    TiffBuilder apart(big);
    std::vector<std::uint32_t> offsets;
    for (const std::string& plane : planes) offsets.push_back(apart.add_data(plane));
    describe(apart, 3, 2, 16, 1, 3, 2, 2, offsets, {12, 12, 12}, 0);
    expect_pixels(parse(apart.finish()), 3, 2, 3, expected, 65535);
  }
}

TEST_F(ImageFile, TiledTiffWithAlpha) {
  // 20 x 18 pixels in 2 x 2 tiles of 16 x 16, grey and alpha.
  TiffBuilder tiff(false);
  std::vector<std::uint32_t> offsets;
  for (const int y0 : {0, 16}) {
    for (const int x0 : {0, 16}) {
      std::string tile;
      for (int y = y0; y < y0 + 16; ++y) {
        for (int x = x0; x < x0 + 16; ++x)
          tile += {static_cast<char>(x < 20 && y < 18 ? (7 * x + 11 * y) % 256 : 99), '\x55'};
      }
      offsets.push_back(tiff.add_data(tile));
    }
  }
  describe(tiff, 20, 18, 8, 1, 2, 1, 1, offsets, {512, 512, 512, 512}, 16, 1);
  std::vector<int> expected;
  for (int y = 0; y < 18; ++y) {
    for (int x = 0; x < 20; ++x) expected.push_back((7 * x + 11 * y) % 256);
  }
  const HostImage image = parse(tiff.finish());
  expect_pixels(image, 1, 18, 20, expected, 255);
  EXPECT_TRUE(image.alpha_dropped);
}

TEST_F(ImageFile, FloatTiff) {
  const double values[] = {0.25, -1.5, 3.75, 1e-3};
  for (const bool big : {false, true}) {
    for (const int bits : {32, 64}) {
      std::string data;
      for (const double v : values) {
        data += bits == 32 ? integer(std::bit_cast<std::uint32_t>(static_cast<float>(v)), 4, big)
                           : integer(std::bit_cast<std::uint64_t>(v), 8, big);
      }
      TiffBuilder tiff(big);
      const std::uint32_t at = tiff.add_data(data), size = static_cast<std::uint32_t>(data.size());
      describe(tiff, 2, 2, static_cast<std::uint32_t>(bits), 3, 1, 1, 1, {at}, {size}, 0);
      const HostImage image = parse(tiff.finish());
      for (std::size_t k = 0; k < 4; ++k) {
        EXPECT_EQ(image.pixels[k],
                  bits == 32 ? static_cast<double>(static_cast<float>(values[k])) : values[k]);
      }
    }
  }
  TiffBuilder nan(false);
  const std::uint32_t at = nan.add_data(integer(0, 4, false) + integer(0x7FC00000, 4, false));
  describe(nan, 1, 2, 32, 3, 1, 1, 1, {at}, {8}, 0);
  expect_refused(nan.finish(), "row 1, column 0 of channel 0 is NaN");
}

TEST_F(ImageFile, TiffWhiteIsZeroAndLowBitDepths) {
  TiffBuilder inverted(false);
  std::uint32_t at = inverted.add_data("\x01\x02\xFF");
  describe(inverted, 3, 1, 8, 1, 1, 0, 1, {at}, {3}, 0);
  const HostImage image = parse(inverted.finish());
  EXPECT_DOUBLE_EQ(image.pixels[0], 254.0 / 255);
  EXPECT_EQ(image.pixels[2], 0.0);
  TiffBuilder bitmap(false);
  at = bitmap.add_data("\xA0");
  describe(bitmap, 4, 1, 1, 1, 1, 1, 1, {at}, {1}, 0);
  expect_pixels(parse(bitmap.finish()), 1, 1, 4, {1, 0, 1, 0}, 1);
}

TEST_F(ImageFile, UnreadableTiffIsRefused) {
  const std::string data(8, '\1');
  TiffBuilder outside(false);
  outside.add_data(data);
  describe(outside, 4, 2, 8, 1, 1, 1, 1, {5000}, {8}, 0);
  expect_refused(outside.finish(), "is not inside the file");
  TiffBuilder small(false);
  std::uint32_t at = small.add_data(data);
  describe(small, 40000, 40000, 8, 1, 1, 1, 1, {at}, {8}, 0);
  expect_refused(small.finish(), "more than a file");
  TiffBuilder integers(false);
  at = integers.add_data(data);
  describe(integers, 2, 1, 32, 1, 1, 1, 1, {at}, {8}, 0);
  expect_refused(integers.finish(), "32 bits of sample format 1");
  TiffBuilder pages(false);
  at = pages.add_data(data);
  describe(pages, 4, 2, 8, 1, 1, 1, 1, {at}, {8}, 0);
  expect_refused(pages.finish(8), "the directory");
}

/// Two pages, the second twice as wide; what is marked as reduced or as a mask is no image.
std::string two_pages(std::uint32_t kind, bool big = false) {
  TiffBuilder tiff(big);
  for (const std::uint32_t page : {0U, 1U}) {
    const std::uint32_t width = 2 + 2 * page;
    std::string data;
    for (std::uint32_t k = 0; k < width; ++k) data += static_cast<char>(10 * page + k);
    const std::uint32_t at = tiff.add_data(data);
    tiff.tag(254, 4, {page == 0 ? 0 : kind});
    describe(tiff, static_cast<int>(width), 1, 8, 1, 1, 1, 1, {at}, {width}, 0);
    if (page == 0) tiff.next_page();
  }
  return tiff.finish();
}

TEST_F(ImageFile, PagesOfTiff) {
  for (const bool big : {false, true}) {
    const std::string bytes = two_pages(0, big);
    expect_refused(bytes, "more than one page: the file holds 2 images");
    EXPECT_EQ(bilevel::count_images(folder_ / "image"), 2U);
    const auto images = bilevel::read_images(folder_ / "image");
    ASSERT_EQ(images.size(), 2U);
    expect_pixels(images[0], 1, 1, 2, {0, 1}, 255);
    expect_pixels(images[1], 1, 1, 4, {10, 11, 12, 13}, 255);
    EXPECT_TRUE(images[1].from_integers);
    for (std::size_t length = 0; length < bytes.size(); ++length) {
      put_file(folder_ / "cut", bytes.substr(0, length));
      EXPECT_THROW(bilevel::read_images(folder_ / "cut"), bilevel::IoError) << length;
    }
  }
  for (const std::uint32_t kind : {1U, 4U, 5U}) {
    expect_pixels(parse(two_pages(kind)), 1, 1, 2, {0, 1}, 255);
    EXPECT_EQ(bilevel::count_images(folder_ / "image"), 1U);
  }
  expect_pixels(parse(two_pages(1)), 1, 1, 2, {0, 1}, 255);
}

/// Pages that share their strip would make a small file a large image.
TEST_F(ImageFile, PagesThatShareTheirStripAreRefused) {
  TiffBuilder tiff(false);
  const std::uint32_t at = tiff.add_data(std::string(4000, '\1'));
  for (int page = 0; page < 20; ++page) {
    describe(tiff, 40, 100, 8, 1, 1, 1, 1, {at}, {4000}, 0);
    if (page < 19) tiff.next_page();
  }
  put_file(folder_ / "shared.tif", tiff.finish());
  EXPECT_EQ(bilevel::count_images(folder_ / "shared.tif"), 20U);
  EXPECT_THROW(bilevel::read_images(folder_ / "shared.tif"), bilevel::IoError);
}

/// ImageJ and tifffile write large stacks with one directory, that of the first slice.
TEST_F(ImageFile, StacksBehindOneDirectory) {
  for (const bool big : {false, true}) {
    for (const std::string text :
         {"ImageJ=1.11a\nimages=3\nchannels=3\n", R"({"shape": [3, 1, 2], "truncated": true})"}) {
      std::string data;
      for (const int v : {10, 11, 60000, 60001, 30000, 30001})
        data += integer(static_cast<std::uint64_t>(v), 2, big);
      TiffBuilder tiff(big);
      const std::uint32_t at = tiff.add_data(data);
      describe(tiff, 2, 1, 16, 1, 1, 1, 1, {at}, {4}, 0, 0, 0, text);
      expect_refused(tiff.finish(), "more than one page: the file holds 3 images");
      const auto images = bilevel::read_images(folder_ / "image");
      ASSERT_EQ(images.size(), 3U);
      EXPECT_EQ(bilevel::count_images(folder_ / "image"), 3U);
      expect_pixels(images[0], 1, 1, 2, {10, 11}, 65535);
      expect_pixels(images[1], 1, 1, 2, {60000, 60001}, 65535);
      expect_pixels(images[2], 1, 1, 2, {30000, 30001}, 65535);
    }
  }
  for (const char* text : {"ImageJ=1.11a\nimages=1\n", "ImageJ=1.11a\n", R"({"shape": [1, 2]})",
                           "{\"shape\": [7", R"({"shape": [3, 1, 2], "truncated": "no"})", "images=3"}) {
    TiffBuilder tiff(false);
    const std::uint32_t at = tiff.add_data("abcdef");
    describe(tiff, 2, 1, 8, 1, 1, 1, 1, {at}, {2}, 0, 0, 0, text);
    expect_pixels(parse(tiff.finish()), 1, 1, 2, {97, 98}, 255);
  }
  const auto with_strip_at = [](std::size_t place) {
    TiffBuilder tiff(false);
    describe(tiff, 2, 1, 8, 1, 1, 1, 1, {static_cast<std::uint32_t>(place)}, {2}, 0, 0, 0,
             "ImageJ=1\nimages=2\n");
    return tiff.finish();
  };
  const std::string ahead = with_strip_at(with_strip_at(0).size());  // its pixels are to follow
  put_file(folder_ / "end.tif", ahead + "abcd");
  EXPECT_EQ(bilevel::read_images(folder_ / "end.tif").at(1).pixels[1], 'd' / 255.0);
  put_file(folder_ / "end.tif", ahead + "abc");
  EXPECT_THROW(bilevel::read_images(folder_ / "end.tif"), bilevel::IoError) << "the second is cut off";
  TiffBuilder more(false);
  std::uint32_t at = more.add_data("abcdef");
  describe(more, 2, 1, 8, 1, 1, 1, 1, {at}, {2}, 0, 0, 0, "ImageJ=1\nimages=1000000\n");
  expect_refused(more.finish(), "counts more images than the file can hold");
  TiffBuilder packed(false);
  at = packed.add_data(std::string("\x01") + "ab" + std::string(40, '\0'));
  describe(packed, 2, 1, 8, 1, 1, 1, 1, {at}, {3}, 0, 0, 0, "ImageJ=1\nimages=2\n");
  std::string bytes = packed.finish();
  const std::string entry = integer(259, 2, false) + integer(3, 2, false) + integer(1, 4, false);
  bytes[bytes.find(entry) + 8] = '\x05', bytes[bytes.find(entry) + 9] = '\0';  // LZW
  put_file(folder_ / "packed.tif", bytes);
  EXPECT_THROW(bilevel::read_images(folder_ / "packed.tif"), bilevel::IoError);
}

TEST_F(ImageFile, ChannelsBesideTheColours) {
  const auto tiff = [](std::uint32_t samples, std::uint32_t photometric, std::uint32_t extra,
                       std::uint32_t kind) {
    TiffBuilder builder(false);
    const std::uint32_t at = builder.add_data(std::string("\1\2\3\4\5\6\7\x08", 2 * samples));
    describe(builder, 2, 1, 8, 1, samples, photometric, 1, {at}, {2 * samples}, 0, extra, kind);
    return builder.finish();
  };
  for (const std::uint32_t samples : {2U, 3U, 4U})
    expect_refused(tiff(samples, 1, samples - 1, 0), std::to_string(samples) + " channels, of which " +
                                                         std::to_string(samples - 1) + " are neither");
  for (const std::uint32_t alpha : {1U, 2U}) {
    const HostImage grey = parse(tiff(2, 1, 1, alpha));
    expect_pixels(grey, 1, 1, 2, {1, 3}, 255);
    EXPECT_TRUE(grey.alpha_dropped);
    EXPECT_EQ(grey.notes, std::vector<std::string>{"the alpha channel is left out"});
    EXPECT_TRUE(parse(tiff(4, 2, 1, alpha)).alpha_dropped);
  }
  for (const std::uint32_t extra : {0U, 1U}) {
    const HostImage other = parse(tiff(4, 2, extra, 0));
    expect_pixels(other, 3, 1, 2, {1, 5, 2, 6, 3, 7}, 255);
    EXPECT_FALSE(other.alpha_dropped);
    EXPECT_EQ(other.notes,
              std::vector<std::string>{"a channel of unspecified meaning beside the colours is left out"});
  }
  expect_refused(tiff(3, 1, 0, 0), "3 channels, of which 2 are neither");
  const HostImage cmyk = parse(tiff(4, 5, 0, 0));
  EXPECT_EQ(cmyk.channels, 3);
  EXPECT_FALSE(cmyk.alpha_dropped);
  EXPECT_TRUE(cmyk.notes.empty());
}

TEST_F(ImageFile, SharedFaultsOfTiff) {
  const auto shared = shared_folder();
  if (!shared || !fs::is_directory(*shared / "faults")) GTEST_SKIP() << "the shared faults are not here";
  const fs::path channels = *shared / "faults/tiff_extra_samples_called_alpha";
  for (const char* name : {"3ch.tif", "4ch.tif", "3pl.tif"})
    EXPECT_THROW(read_image(channels / name), bilevel::IoError);
  EXPECT_FALSE(read_image(channels / "cmyk.tif").alpha_dropped);
  const fs::path stack = *shared / "faults/tiff_imagej_one_directory_stack/ij1.tif";
  EXPECT_THROW(read_image(stack), bilevel::IoError);
  const auto images = bilevel::read_images(stack);
  ASSERT_EQ(images.size(), 3U);
  EXPECT_EQ(images[0].pixels, std::vector<double>(64, 10 / 65535.0));
  EXPECT_EQ(images[1].pixels, std::vector<double>(64, 60000 / 65535.0));
  EXPECT_EQ(images[2].pixels, std::vector<double>(64, 30000 / 65535.0));
}

TEST_F(ImageFile, JpegAgreesWithPillow) {
  expect_pixels(parse(kJpegColour), 3, 3, 5, kJpegColourPixels, 255);
  expect_pixels(parse(kJpegProgressive), 3, 6, 9, kJpegProgressivePixels, 255);
  expect_pixels(parse(kJpegGrey), 1, 4, 6, kJpegGreyPixels, 255);
  EXPECT_TRUE(parse(kJpegGrey).from_integers);
  EXPECT_EQ(bilevel::count_images(folder_ / "image"), 1U);
  expect_refused(kJpegCmyk, "4 components that are not grey, YCbCr or RGB (CMYK?)");
  expect_refused("\xff\xd8\xff", "bad JPEG");
}

/// Corners as Pillow's ImageOps.exif_transpose has them.
TEST_F(ImageFile, IsTurnedAsExifSays) {
  constexpr int kCorners[8][4] = {{20, 105, 113, 197}, {105, 20, 197, 113}, {197, 113, 105, 20},
                                  {113, 197, 20, 105}, {20, 113, 105, 197}, {113, 20, 197, 105},
                                  {197, 105, 113, 20}, {105, 197, 20, 113}};
  const auto png = [](int orientation, bool big, bool behind) {
    std::string rows;
    for (std::size_t k = 0; k < kJpegGreyPixels.size(); ++k)
      rows += (k % 6 == 0 ? std::string(1, '\0') : "") + static_cast<char>(kJpegGreyPixels[k]);
    const std::string chunk = png_chunk("eXIf", exif_bytes(orientation, big));
    std::string bytes = png_bytes(6, 4, 8, 0, rows, behind ? "" : chunk);
    if (behind) bytes.insert(bytes.size() - 12, chunk);
    return bytes;
  };
  constexpr int kSecond[8] = {38, 88, 180, 131, 51, 83, 167, 136};  // of the first row
  for (const bool big : {false, true}) {
    for (int n = 0; n < 24; ++n) {
      const int k = n % 8;  // as JPEG, as PNG with EXIF before and behind the pixels
      const HostImage image =
          parse(n < 8 ? with_orientation(kJpegGrey, k + 1, big) : png(k + 1, big, n >= 16));
      ASSERT_EQ(image.height, k < 4 ? 4 : 6) << k;
      ASSERT_EQ(image.width, k < 4 ? 6 : 4) << k;
      const std::size_t last = 23, right = static_cast<std::size_t>(image.width) - 1;
      EXPECT_EQ(image.pixels[0] * 255, kCorners[k][0]);
      EXPECT_EQ(image.pixels[right] * 255, kCorners[k][1]);
      EXPECT_EQ(image.pixels[last - right] * 255, kCorners[k][2]);
      EXPECT_EQ(image.pixels[last] * 255, kCorners[k][3]);
      EXPECT_EQ(image.pixels[1] * 255, kSecond[k]);
    }
    for (const int unknown : {0, 9}) {
      EXPECT_EQ(parse(with_orientation(kJpegGrey, unknown, big)).height, 4);
      EXPECT_EQ(parse(png(unknown, big, false)).height, 4);
    }
  }
}

TEST_F(ImageFile, DamagedJpegIsRefused) {
  for (const std::string& good : {kJpegColour, kJpegProgressive, kJpegGrey}) {
    for (std::size_t length = 0; length < good.size(); ++length) {
      put_file(folder_ / "cut", good.substr(0, length));
      EXPECT_THROW(read_image(folder_ / "cut"), bilevel::IoError) << length;
    }
  }
  // The second scan without the lower bit, as often as one likes: each is a pass over the whole image.
  const std::size_t first = kJpegProgressive.find("\xff\xda"),
                    second = kJpegProgressive.find("\xff\xda", first + 2);
  const std::size_t tables = kJpegProgressive.find("\xff\xc4", first),
                    end = kJpegProgressive.find("\xff\xc4", second);
  std::string scan = kJpegProgressive.substr(second, end - second);
  scan[9] = '\0';
  const auto repeated = [&](int times) {
    std::string bytes = kJpegProgressive.substr(0, second);
    for (int k = 0; k < times; ++k) bytes += scan;
    return bytes + "\xff\xd9";
  };
  ASSERT_LT(tables, second);
  EXPECT_EQ(parse(repeated(100)).width, 9);
  expect_refused(repeated(200), "more than 128 scans");
  std::string large = kJpegGrey;
  const std::size_t frame = large.find("\xff\xc0");
  large.replace(frame + 5, 4, "\x70\x00\x70\x00", 4);
  expect_refused(large, "more than a file of");
}

TEST_F(ImageFile, NpyShapesAndScales) {
  expect_pixels(parse(npy_bytes("|u1", false, "(2, 3)", "\x01\x02\x03\x04\x05\xFF")), 1, 2, 3,
                {1, 2, 3, 4, 5, 255}, 255);
  expect_pixels(parse(npy_bytes(">u2", false, "(1, 2)", std::string("\x01\x00\xFF\xFF", 4))), 1, 1, 2,
                {256, 65535}, 65535);
  expect_pixels(parse(npy_bytes("|u1", false, "(2, 1, 3)", "abcdef")), 3, 2, 1, {97, 100, 98, 101, 99, 102},
                255);
  expect_pixels(parse(npy_bytes("|u1", false, "(3, 1, 5)", "abcdefghijklmno")), 3, 1, 5,
                {97, 98, 99, 100, 101, 102, 103, 104, 105, 106, 107, 108, 109, 110, 111}, 255);
  expect_pixels(parse(npy_bytes("|u1", false, "(2, 3, 1)", "abcdef")), 1, 2, 3, {97, 98, 99, 100, 101, 102},
                255);
  expect_pixels(parse(npy_bytes("|u1", false, "(1, 1, 2)", "ab")), 1, 1, 2, {97, 98}, 255);
  const std::string half = integer(std::bit_cast<std::uint32_t>(2.5F), 4, false);
  EXPECT_EQ(parse(npy_bytes("<f4", false, "(1, 1)", half)).pixels[0], 2.5) << "floats are taken as they are";
  expect_refused(npy_bytes("|u1", false, "(3, 1, 3)", "abcdefghi"), "shape [3, 1, 3] can have its channels");
  expect_refused(npy_bytes("|u1", false, "(2, 2, 2)", "abcdefgh"), "shape [2, 2, 2] has a last axis of 2");
  expect_refused(npy_bytes("|u1", false, "(2,)", "ab"), "is no image");
  expect_refused(npy_bytes("|i1", false, "(1, 1)", "a"), "no intensity scale");
  expect_refused(npy_bytes("|u1", false, "(0, 5)", ""), "0 x 5 pixels");
  for (const double bad : {std::nan(""), std::numeric_limits<double>::infinity()}) {
    const std::string data = integer(0, 8, false) + integer(std::bit_cast<std::uint64_t>(bad), 8, false);
    expect_refused(npy_bytes("<f8", false, "(1, 2)", data), "row 0, column 1 of channel 0 is ");
  }
}

TEST_F(ImageFile, StacksInNpy) {
  std::string data;
  for (int k = 0; k < 40; ++k) data += static_cast<char>(k);
  const std::string bytes = npy_bytes("|u1", false, "(2, 4, 5)", data);
  expect_refused(bytes, "an array of shape [2, 4, 5] holds 2 images where one is read");
  EXPECT_EQ(bilevel::count_images(folder_ / "image"), 2U);
  const auto images = bilevel::read_images(folder_ / "image");
  ASSERT_EQ(images.size(), 2U);
  EXPECT_EQ(images[1].pixels[7], 27 / 255.0);
  put_file(folder_ / "cut", bytes.substr(0, bytes.size() - 1));
  EXPECT_THROW(bilevel::count_images(folder_ / "cut"), bilevel::IoError);
  put_file(folder_ / "claim", npy_bytes("|u1", false, "(4000000000, 4, 5)", data));
  EXPECT_THROW(bilevel::count_images(folder_ / "claim"), bilevel::IoError);
  std::string values;
  for (int k = 0; k < 60; ++k) values += integer(k == 33 ? 0x7f800000U : 0U, 4, false);
  put_file(folder_ / "infinite", npy_bytes("<f4", false, "(2, 5, 6)", values));
  try {
    bilevel::read_images(folder_ / "infinite");
    ADD_FAILURE() << "accepted";
  } catch (const bilevel::IoError& error) {
    EXPECT_NE(std::string(error.what()).find("row 0, column 3 of channel 0 of image 1 is infinite"),
              std::string::npos)
        << error.what();
  }
}

TEST_F(ImageFile, UnreadablePathsAreReported) {
  EXPECT_THROW(read_image(folder_ / "missing.png"), bilevel::IoError);
  EXPECT_THROW(read_image(folder_.path()), bilevel::IoError);
  EXPECT_THROW(read_image("/dev/null"), bilevel::IoError);
  EXPECT_THROW(read_image(""), bilevel::IoError);
  expect_refused("", "empty (0 bytes)");
  expect_refused("GIF89a", "first bytes");
}

TEST_F(ImageFile, WritingRefusesWhatItCannotStore) {
  const HostImage grey = random_image(1, 2, 2, 1), colour = random_image(3, 2, 2, 1);
  EXPECT_THROW(write_image(folder_ / "x.jpg", grey), bilevel::IoError);
  EXPECT_THROW(write_image(folder_ / "x", grey), bilevel::IoError);
  EXPECT_THROW(write_image(folder_ / "x.pgm", colour), bilevel::IoError);
  EXPECT_THROW(write_image(folder_ / "x.ppm", grey), bilevel::IoError);
  EXPECT_THROW(write_image(folder_ / "x.png", grey, {32}), bilevel::ConfigError);
  EXPECT_THROW(write_image(folder_ / "x.pgm", grey, {12}), bilevel::ConfigError);
  EXPECT_THROW(write_image(folder_ / "x.tif", grey, {64}), bilevel::ConfigError);
  EXPECT_THROW(write_image(folder_ / "x.png", {1, 2, 2, {0.0}}), bilevel::ShapeError);
  EXPECT_THROW(write_image(folder_ / "x.png", {2, 1, 1, {0.0, 0.0}}), bilevel::ShapeError);
  EXPECT_THROW(write_image(folder_ / "x.png", {1, 0, 0, {}}), bilevel::ShapeError);
  EXPECT_THROW(write_image(folder_ / "x.png", {1, 1, 1, {std::nan("")}}), bilevel::IoError);
  EXPECT_TRUE(fs::is_empty(folder_.path()));
}

TEST_F(ImageFile, LumaWeights) {
  const HostImage image{3, 1, 2, {1.0, 0.5, 0.0, 0.25, 0.0, 0.75}};
  const HostImage luma = bilevel::to_luma(image);
  EXPECT_EQ(luma.channels, 1);
  EXPECT_DOUBLE_EQ(luma.pixels[0], 0.299);
  EXPECT_DOUBLE_EQ(luma.pixels[1], 0.299 * 0.5 + 0.587 * 0.25 + 0.114 * 0.75);
  EXPECT_EQ(bilevel::to_luma(luma).pixels, luma.pixels);
  EXPECT_THROW(bilevel::to_luma({2, 1, 1, {0.0, 0.0}}), bilevel::ShapeError);
}

TEST_F(ImageFile, FoldersAreListedInNaturalOrder) {
  for (const char* name : {"img10.png", "img2.PNG", "img1.tif", "img02.png", "B.npy", "a.ppm", "notes.txt",
                           ".hidden.png", "img.png", "c.JPG", "d.jpeg"}) {
    put_file(folder_ / name, "x");
  }
  fs::create_directory(folder_ / "sub.png");
  std::vector<std::string> names;
  for (const fs::path& path : bilevel::list_images(folder_.path())) names.push_back(path.filename().string());
  EXPECT_EQ(names, (std::vector<std::string>{"B.npy", "a.ppm", "c.JPG", "d.jpeg", "img.png", "img1.tif",
                                             "img2.PNG", "img02.png", "img10.png"}));
  EXPECT_EQ(bilevel::list_images(folder_ / "notes.txt"), std::vector<fs::path>{folder_ / "notes.txt"});
  EXPECT_THROW(bilevel::list_images(folder_ / "sub.png"), bilevel::IoError) << "no images";
  EXPECT_THROW(bilevel::list_images(folder_ / "missing"), bilevel::IoError);
  EXPECT_THROW(bilevel::list_images(""), bilevel::IoError);
}

TEST_F(ImageFile, RealPhotographsAgreeWithTheOracle) {
  const auto shared = shared_folder();
  if (!shared || !fs::is_directory(*shared / "data/kodak"))
    GTEST_SKIP() << "the shared Kodak photographs are not here";
  const auto images = bilevel::list_images(*shared / "data/kodak");
  ASSERT_GE(images.size(), 2U);
  for (const std::size_t which : {std::size_t{0}, images.size() - 1}) {
    const HostImage image = read_image(images[which]);
    const OraclePng png = oracle_read_png(get_file(images[which]));
    ASSERT_EQ(image.channels, 3);
    ASSERT_EQ(image.width, static_cast<int>(png.width));
    ASSERT_EQ(image.height, static_cast<int>(png.height));
    const std::size_t plane = png.samples.size() / 3;
    std::size_t different = 0;
    for (std::size_t k = 0; k < png.samples.size(); ++k) {
      different += image.pixels[k % 3 * plane + k / 3] != png.samples[k] / 255.0;
    }
    EXPECT_EQ(different, 0U) << images[which];
  }
}

}  // namespace
