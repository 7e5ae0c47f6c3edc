#include "bilevel/io/image_file.hpp"

#include <bit>
#include <cmath>
#include <limits>

#include "bilevel/core/error.hpp"
#include "bilevel/io/array_file.hpp"
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
              std::uint32_t tile, std::uint32_t extra = 0) {
  tiff.tag(256, 4, {static_cast<std::uint32_t>(width)});
  tiff.tag(257, 4, {static_cast<std::uint32_t>(height)});
  tiff.tag(258, 3, std::vector<std::uint32_t>(samples, bits));
  tiff.tag(259, 3, {1});
  tiff.tag(262, 3, {photometric});
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
  if (extra != 0) tiff.tag(338, 3, std::vector<std::uint32_t>(extra, 2));
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
  expect_refused(pages.finish(8), "more than one page");
}

TEST_F(ImageFile, NpyShapesAndScales) {
  expect_pixels(parse(npy_bytes("|u1", false, "(2, 3)", "\x01\x02\x03\x04\x05\xFF")), 1, 2, 3,
                {1, 2, 3, 4, 5, 255}, 255);
  expect_pixels(parse(npy_bytes(">u2", false, "(1, 2)", std::string("\x01\x00\xFF\xFF", 4))), 1, 1, 2,
                {256, 65535}, 65535);
  expect_pixels(parse(npy_bytes("|u1", false, "(2, 1, 3)", "abcdef")), 3, 2, 1, {97, 100, 98, 101, 99, 102},
                255);
  expect_pixels(parse(npy_bytes("|u1", false, "(3, 1, 2)", "abcdef")), 3, 1, 2, {97, 98, 99, 100, 101, 102},
                255);
  expect_pixels(parse(npy_bytes("|u1", false, "(1, 1, 2)", "ab")), 1, 1, 2, {97, 98}, 255);
  const std::string half = integer(std::bit_cast<std::uint32_t>(2.5F), 4, false);
  EXPECT_EQ(parse(npy_bytes("<f4", false, "(1, 1)", half)).pixels[0], 2.5) << "floats are taken as they are";
  expect_refused(npy_bytes("|u1", false, "(3, 1, 3)", "abcdefghi"), "can be [C,H,W] or [H,W,3]");
  expect_refused(npy_bytes("|u1", false, "(2, 2, 2)", "abcdefgh"), "shape [2, 2, 2] is no image");
  expect_refused(npy_bytes("|u1", false, "(2,)", "ab"), "is no image");
  expect_refused(npy_bytes("|i1", false, "(1, 1)", "a"), "no intensity scale");
  expect_refused(npy_bytes("|u1", false, "(0, 5)", ""), "0 x 5 pixels");
  for (const double bad : {std::nan(""), std::numeric_limits<double>::infinity()}) {
    const std::string data = integer(0, 8, false) + integer(std::bit_cast<std::uint64_t>(bad), 8, false);
    expect_refused(npy_bytes("<f8", false, "(1, 2)", data), "row 0, column 1 of channel 0 is ");
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
                           ".hidden.png", "img.png"}) {
    put_file(folder_ / name, "x");
  }
  fs::create_directory(folder_ / "sub.png");
  std::vector<std::string> names;
  for (const fs::path& path : bilevel::list_images(folder_.path())) names.push_back(path.filename().string());
  EXPECT_EQ(names, (std::vector<std::string>{"B.npy", "a.ppm", "img.png", "img1.tif", "img2.PNG", "img02.png",
                                             "img10.png"}));
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
