#include <numeric>
#include <set>

#include "apps/common/image_data.hpp"
#include "apps/common/noise.hpp"
#include "bilevel/core/error.hpp"
#include "tests/apps/app_test_support.hpp"

namespace bilevel_test {
namespace {

using namespace bilevel_app;

/// Known answers of the Random123 distribution (kat_vectors, philox4x32 10).
TEST(Noise, PhiloxKnownAnswers) {
  using Block = std::array<std::uint32_t, 4>;
  constexpr std::uint32_t ones = 0xffffffffu;
  EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}), (Block{0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u}));
  EXPECT_EQ(philox4x32({ones, ones, ones, ones}, {ones, ones}),
            (Block{0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu}));
  EXPECT_EQ(philox4x32({0x243f6a88u, 0x85a308d3u, 0x13198a2eu, 0x03707344u}, {0xa4093822u, 0x299f31d0u}),
            (Block{0xd16cfe09u, 0x94fdccebu, 0x5001e420u, 0x24126ea1u}));
}

TEST(Noise, IsNormalWithTheGivenDeviation) {
  std::vector<double> pixels(200001, 0.5);
  add_noise(pixels, 0.1, 42, 7);
  double mean = 0, square = 0, third = 0, fourth = 0;
  for (const double p : pixels) {
    const double z = (p - 0.5) / 0.1;
    mean += z, square += z * z, third += z * z * z, fourth += z * z * z * z;
  }
  const double n = static_cast<double>(pixels.size());
  EXPECT_NEAR(mean / n, 0, 5 / std::sqrt(n));
  EXPECT_NEAR(square / n, 1, 5 * std::sqrt(2 / n));
  EXPECT_NEAR(third / n, 0, 5 * std::sqrt(15 / n));
  EXPECT_NEAR(fourth / n, 3, 5 * std::sqrt(96 / n));
}

TEST(Noise, DependsOnSeedAndStreamOnly) {
  const auto sample = [](std::uint64_t seed, std::uint32_t stream, std::size_t size) {
    std::vector<double> pixels(size, 0.0);
    add_noise(pixels, 1, seed, stream);
    return pixels;
  };
  const auto a = sample(1, 2, 10), longer = sample(1, 2, 20);
  EXPECT_EQ(a, std::vector<double>(longer.begin(), longer.begin() + 10));
  EXPECT_NE(a, sample(2, 2, 10));
  EXPECT_NE(a, sample(1, 3, 10));
  EXPECT_NE(a, sample(1 + (std::uint64_t{1} << 32), 2, 10));
  for (const double z : a) EXPECT_EQ(z * 0x1p24, std::nearbyint(z * 0x1p24));
}

DataOptions options(const std::string& data, int images, int crop) {
  DataOptions o;
  o.data = {data};
  o.images = images;
  o.crop = crop;
  return o;
}

TEST(Crops, AreTheCentresOfTheFirstFiles) {
  const TemporaryFolder folder;
  const auto data = photographs(folder, "photos", 4, 41, 60);
  DataOptions o = options(data, 3, 32);
  o.sigma = 0;
  const ImageBatch batch = load_crops(o);
  EXPECT_EQ(batch.images, 3);
  EXPECT_EQ(batch.names, (std::vector<std::string>{"photo1.png", "photo2.png", "photo3.png"}));
  EXPECT_TRUE(batch.notes.empty());
  EXPECT_EQ(batch.clean, batch.noisy);
  const auto image = bilevel::read_image(fs::path(data) / "photo2.png");
  for (int i = 0; i < 32; ++i)
    for (int j = 0; j < 32; ++j)
      ASSERT_EQ(batch.clean_image(1)[static_cast<std::size_t>(i * 32 + j)],
                image.pixels[static_cast<std::size_t>((i + 4) * 60 + j + 14)]);
}

/// With fewer files than images, further crops overlap neither each other nor the centre, and depend on the
/// seed only.
TEST(Crops, FurtherOnesDoNotOverlap) {
  const TemporaryFolder folder;
  fs::create_directories(folder / "one");
  bilevel::HostImage numbered{1, 50, 70, {}};
  numbered.pixels.resize(3500);
  std::iota(numbered.pixels.begin(), numbered.pixels.end(), 0.0);
  bilevel::write_image(fs::path(folder / "one") / "numbers.npy", numbered);
  DataOptions o = options(folder / "one", 9, 16);
  o.sigma = 0;
  const ImageBatch batch = load_crops(o);
  ASSERT_EQ(batch.notes.size(), 1u);
  std::set<double> seen(batch.clean.begin(), batch.clean.end());
  EXPECT_EQ(seen.size(), batch.clean.size());
  EXPECT_EQ(batch.clean[0], 17 * 70 + 27);
  EXPECT_EQ(load_crops(o).clean, batch.clean);
  o.seed = 5;
  EXPECT_NE(load_crops(o).clean, batch.clean);
  o.images = 100;
  EXPECT_THROW(load_crops(o), bilevel::ConfigError);
}

TEST(Crops, ColourBecomesLuma) {
  const TemporaryFolder folder;
  fs::create_directories(folder / "colour");
  bilevel::write_image(fs::path(folder / "colour") / "a.ppm", photograph(32, 32, 3, 3));
  DataOptions o = options(folder / "colour", 1, 32);
  o.sigma = 0;
  const auto image = bilevel::read_image(fs::path(folder / "colour") / "a.ppm");
  const ImageBatch batch = load_crops(o);
  EXPECT_NEAR(batch.clean[5],
              .299 * image.pixels[5] + .587 * image.pixels[1024 + 5] + .114 * image.pixels[2048 + 5], 1e-12);
}

TEST(Crops, TheFingerprintSeesDataNoiseAndMask) {
  const TemporaryFolder folder;
  DataOptions o = options(photographs(folder, "photos", 2, 40, 40), 2, 32);
  std::set<std::uint64_t> seen;
  const auto add = [&] { return seen.insert(load_crops(o).fingerprint.pixels).second; };
  EXPECT_TRUE(add());
  EXPECT_FALSE(add());
  o.seed = 1;
  EXPECT_TRUE(add());
  o.sigma = 0.2;
  EXPECT_TRUE(add());
  bilevel::HostImage mask{1, 32, 32, std::vector<double>(1024, 1.0)};
  mask.pixels[7] = 0;
  bilevel::write_image(folder / "mask.png", mask);
  o.mask = folder / "mask.png";
  EXPECT_TRUE(add());
  EXPECT_EQ(load_crops(o).noisy[7], 0);
}

TEST(SourceBits, AreThoseOfTheFile) {
  const TemporaryFolder folder;
  const auto image = photograph(20, 20, 1);
  for (const char* name : {"a.png", "a.pgm", "a.tif"})
    for (const int bits : {8, 16}) {
      bilevel::write_image(folder / name, image, {bits});
      EXPECT_EQ(source_bits(folder / name), bits) << name;
    }
  bilevel::write_image(folder / "a.tif", image, {32});
  EXPECT_EQ(source_bits(folder / "a.tif"), 32);
  bilevel::write_image(folder / "rgb.tif", photograph(20, 20, 1, 3), {16});
  EXPECT_EQ(source_bits(folder / "rgb.tif"), 16);
  put_file(folder / "comment.pgm", "P2 # 65535\n2 # x\n1\n255\n1 2\n");
  EXPECT_EQ(source_bits(folder / "comment.pgm"), 8);
}

}  // namespace
}  // namespace bilevel_test
