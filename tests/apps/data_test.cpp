#include <numeric>
#include <set>
#include <sstream>

#include "apps/common/image_data.hpp"
#include "apps/common/noise.hpp"
#include "apps/denoise/options.hpp"
#include "bilevel/core/error.hpp"
#include "bilevel/io/array_file.hpp"
#include "bilevel/model/model_file.hpp"
#include "tests/apps/app_test_support.hpp"
#include "tests/io/jpeg_samples.hpp"
#include "tests/support/reference_case.hpp"

namespace bilevel_test {
namespace {

using namespace bilevel_app;
using bilevel::philox4x32;

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
  ASSERT_EQ(batch.notes.size(), 2u);
  EXPECT_NE(batch.notes[1].find("0 to 3499"), std::string::npos) << batch.notes[1];
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

/// Writes `images` of one size as [N,H,W].
void write_stack(const std::string& path, const std::vector<bilevel::HostImage>& images) {
  std::vector<double> all;
  for (const bilevel::HostImage& image : images)
    all.insert(all.end(), image.pixels.begin(), image.pixels.end());
  const std::vector<std::size_t> shape{images.size(), static_cast<std::size_t>(images[0].height),
                                       static_cast<std::size_t>(images[0].width)};
  bilevel::write_npy(path, shape, std::span<const double>(all));
}

TEST(Crops, ImagesOfAStackCountAsFiles) {
  const TemporaryFolder folder;
  fs::create_directories(folder / "apart");
  std::vector<bilevel::HostImage> images;
  for (int k = 0; k < 4; ++k) {
    images.push_back(photograph(40, 44, static_cast<unsigned>(k)));
    bilevel::write_image(fs::path(folder / "apart") / (std::to_string(k) + ".npy"), images.back());
  }
  write_stack(folder / "stack.npy", images);
  for (const int count : {3, 4, 5}) {
    const ImageBatch apart = load_crops(options(folder / "apart", count, 12));
    const ImageBatch together = load_crops(options(folder / "stack.npy", count, 12));
    EXPECT_EQ(together.clean, apart.clean);
    EXPECT_EQ(together.noisy, apart.noisy);
    EXPECT_EQ(together.names[0].substr(0, 11), "stack.npy#0");
  }
  DataOptions o = options(folder / "apart", 4, 20);
  o.noisy = {folder / "stack.npy"};
  EXPECT_EQ(load_crops(o).noisy, load_crops(o).clean);
  PairReader reader;
  const auto pairs = paired_sources(o);
  ASSERT_EQ(pairs.size(), 4U);
  EXPECT_EQ(load_pair(pairs[2], o, 2, reader).noisy.pixels, images[2].pixels);
  EXPECT_TRUE(reader.notes().empty());
  write_stack(folder / "three.npy", {images[0], images[1], images[2], images[3], images[0]});
  o.noisy = {folder / "three.npy"};
  EXPECT_THROW(load_crops(o), bilevel::ConfigError) << "5 for 4";
}

std::string joined(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += line + "\n";
  return text;
}

TEST(Crops, ThreePlanesAreNamedAsTheColoursTheyAreTakenFor) {
  const TemporaryFolder folder;
  write_stack(folder / "three.npy", {photograph(16, 16, 1), photograph(16, 16, 2), photograph(16, 16, 3)});
  const ImageBatch batch = load_crops(options(folder / "three.npy", 1, 16));
  ASSERT_EQ(batch.notes.size(), 1U);
  EXPECT_NE(batch.notes[0].find("three.npy: shape [3, 16, 16] is taken for one colour image"),
            std::string::npos)
      << batch.notes[0];
}

TEST(Census, NamesRangesScalesAndWhatReadersLeaveOut) {
  ImageCensus census(0.25);
  const std::vector<double> inside{-0.2, 1.2}, wide{0, 2.5}, negative{-0.5, 0.5}, large{0, 255};
  census.see("a", inside, true, {"the alpha channel is left out"});
  EXPECT_EQ(joined(census.notes()), "a: the alpha channel is left out\n");
  ImageCensus one(0.25);
  one.see("c", negative, false);
  EXPECT_EQ(joined(one.notes()), "c: intensities from -0.5 to 0.5; they are meant to be 0 to 1\n");
  census.see("b", wide, false, {"the alpha channel is left out"});
  census.see("c", negative, false);
  EXPECT_EQ(joined(census.notes()),
            "a and 1 more: the alpha channel is left out\n"
            "b and 1 more: intensities from -0.5 to 2.5; they are meant to be 0 to 1\n");
  try {
    census.see("d", large, false);
    ADD_FAILURE() << "two scales";
  } catch (const bilevel::IoError& error) {
    EXPECT_EQ(error.path(), "d");
    EXPECT_NE(std::string(error.what()).find("0 to 255"), std::string::npos) << error.what();
  }
  ImageCensus free(std::nullopt);
  free.see("small", inside, false);
  free.see("large", large, false);
  EXPECT_EQ(joined(free.notes()), "small reaches 1.2 and large reaches 255, taken on one scale\n");
  ImageCensus alone(std::nullopt);
  alone.see("large", large, false);
  EXPECT_TRUE(alone.notes().empty());
}

TEST(Crops, IntensitiesAndNoiseBeyondTheScaleAreReported) {
  const TemporaryFolder folder;
  bilevel::HostImage image = photograph(32, 32, 1);
  for (double& v : image.pixels) v *= 255;
  bilevel::write_image(folder / "f255.tif", image, {32});
  DataOptions o = options(folder / "f255.tif", 1, 24);
  o.sigma = 25;
  const std::string notes = joined(load_crops(o).notes);
  EXPECT_NE(notes.find("f255.tif: intensities from "), std::string::npos) << notes;
  EXPECT_NE(notes.find("--sigma 25"), std::string::npos) << notes;
  o.sigma = 0.1;
  o.data = {photographs(folder, "photos", 1, 32, 32), folder / "f255.tif"};
  EXPECT_TRUE(load_crops(o).notes.empty()) << "only the first file is used";
  o.images = 2;
  EXPECT_THROW(load_crops(o), bilevel::IoError) << "one file of 0 to 1 and one of 0 to 255";
  bilevel::write_image(folder / "noisy.tif", photograph(32, 32, 1), {32});
  DataOptions given = options(folder / "noisy.tif", 1, 24);
  given.noisy = {folder / "f255.tif"};
  given.sigma = 25;
  EXPECT_NE(joined(load_crops(given).notes).find("f255.tif"), std::string::npos);
  EXPECT_EQ(load_crops(given).notes.size(), 1U) << "sigma is not used";
}

/// Integers of 8 and 16 bits become 0 to 1 whatever holds them.
TEST(Crops, IntegersAreScaledByTheirType) {
  const TemporaryFolder folder;
  bilevel::write_image(folder / "a.png", photograph(20, 20, 1), {16});
  const bilevel::HostImage image = bilevel::read_image(folder / "a.png");
  std::string bytes = "\x93NUMPY\1";
  const std::string header = "{'descr': '<u2', 'fortran_order': False, 'shape': (20, 20), }\n";
  bytes += '\0', bytes += static_cast<char>(header.size()), bytes += '\0', bytes += header;
  for (const double v : image.pixels) {
    const auto word = static_cast<unsigned>(std::lround(v * 65535));
    bytes += static_cast<char>(word & 255), bytes += static_cast<char>(word >> 8);
  }
  put_file(folder / "a.npy", bytes);
  DataOptions o = options(folder / "a.png", 2, 20);
  o.data.push_back(folder / "a.npy");
  o.sigma = 0;
  const ImageBatch batch = load_crops(o);
  EXPECT_TRUE(batch.notes.empty());
  EXPECT_EQ(std::vector<double>(batch.clean.begin(), batch.clean.begin() + 400),
            std::vector<double>(batch.clean.begin() + 400, batch.clean.end()));
}

/// apply in this process, of one image, with a model of total variation.
class Apply : public testing::Test {
 protected:
  void SetUp() override {
    bilevel::DenoiseModel model;
    model.parameters = bilevel::tv_parameters().segments();
    bilevel::write_model(folder_ / "model.json", model);
  }
  /// What it tells on the error stream.
  std::string apply(const std::string& input, const std::string& output, int bits = 0) {
    denoise::ApplyOptions o;
    o.model = folder_ / "model.json";
    o.input = {input};
    o.output = output;
    o.bits = bits;
    std::ostringstream out, err;
    EXPECT_EQ(denoise::apply(o, out, err), 0) << err.str();
    return err.str();
  }
  TemporaryFolder folder_;
};

TEST_F(Apply, SaysWhatIsOutsideOfTheScaleAndWhatIsCutOff) {
  bilevel::HostImage image = photograph(16, 16, 1);
  bilevel::write_image(folder_ / "good.tif", image, {32});
  EXPECT_EQ(apply(folder_ / "good.tif", folder_ / "o.png"), "");
  bilevel::HostImage negative = image;
  for (double& v : negative.pixels) v -= 0.5;
  bilevel::write_image(folder_ / "negative.tif", negative, {32});
  const std::string cut = apply(folder_ / "negative.tif", folder_ / "o.png");
  EXPECT_EQ(lines_of(cut).size(), 1U) << cut;
  EXPECT_NE(cut.find("o.png: the result, -0."), std::string::npos) << cut;
  EXPECT_NE(cut.find("cut off at 0 and 1"), std::string::npos) << cut;
  EXPECT_EQ(apply(folder_ / "negative.tif", folder_ / "o.npy"), "");
  EXPECT_EQ(apply(folder_ / "negative.tif", folder_ / "o.tif"), "") << "32 bits as the input";
  EXPECT_NE(apply(folder_ / "negative.tif", folder_ / "o.tif", 16), "");
  for (double& v : image.pixels) v *= 255;
  bilevel::write_image(folder_ / "f255.tif", image, {32});
  const std::string wide = apply(folder_ / "f255.tif", folder_ / "o.npy");
  EXPECT_NE(wide.find("f255.tif: intensities from "), std::string::npos) << wide;
}

TEST_F(Apply, SaysSoOfInputsThatBecameWhiteOrBlack) {
  const auto shared = bilevel::testing_support::shared_folder();
  if (!shared || !fs::is_directory(*shared / "faults")) GTEST_SKIP() << "the shared faults are not here";
  const fs::path faults = *shared / "faults/intensities_beyond_0_1_silent";
  const std::string wide = apply(faults / "f255.tif", folder_ / "o.png");
  EXPECT_NE(wide.find("f255.tif: intensities from "), std::string::npos) << wide;
  EXPECT_NE(wide.find("cut off at 0 and 1"), std::string::npos) << wide;
  const std::string negative = apply(faults / "fneg.tif", folder_ / "o.png");
  EXPECT_NE(negative.find("cut off at 0 and 1"), std::string::npos) << negative;
  EXPECT_NE(load_crops(options(faults / "f255.tif", 1, 24)).notes, std::vector<std::string>{});
}

TEST_F(Apply, SoDoesEvaluate) {
  bilevel::HostImage image = photograph(16, 16, 1);
  for (double& v : image.pixels) v *= 255;
  bilevel::write_image(folder_ / "f255.tif", image, {32});
  denoise::EvaluateOptions o;
  o.model = folder_ / "model.json";
  o.data = options(folder_ / "f255.tif", 0, 0);
  o.sigma = 25.0;
  std::ostringstream out, err;
  EXPECT_EQ(denoise::evaluate(o, out, err), 0) << err.str();
  EXPECT_NE(err.str().find("f255.tif: intensities from "), std::string::npos) << err.str();
  EXPECT_NE(err.str().find("--sigma 25"), std::string::npos) << err.str();
}

TEST_F(Apply, PhotographsOfCamerasBecomePng) {
  fs::create_directories(folder_ / "in");
  put_file(folder_ / "in/a.JPG", kJpegColour);
  put_file(folder_ / "in/b.jpeg", with_orientation(kJpegGrey, 6, false));
  EXPECT_EQ(apply(folder_ / "in", folder_ / "out"), "");
  EXPECT_EQ(tree(folder_ / "out"), (std::vector<std::string>{"a.png", "b.png"}));
  EXPECT_EQ(bilevel::read_image(folder_ / "out/a.png").channels, 3);
  EXPECT_EQ(bilevel::read_image(folder_ / "out/b.png").height, 6) << "turned";
  put_file(folder_ / "in/a.png", get_file(folder_ / "out/a.png"));
  EXPECT_THROW(apply(folder_ / "in", folder_ / "out"), bilevel::ConfigError) << "two results of one name";
}

TEST_F(Apply, StacksAreRefusedWithTheirNumber) {
  write_stack(folder_ / "stack.npy", {photograph(16, 16, 1), photograph(16, 16, 2)});
  try {
    apply(folder_ / "stack.npy", folder_ / "o.npy");
    ADD_FAILURE() << "accepted";
  } catch (const bilevel::IoError& error) {
    EXPECT_NE(std::string(error.what()).find("holds 2 images where one is read"), std::string::npos);
  }
  const auto shared = bilevel::testing_support::shared_folder();
  if (!shared || !fs::is_directory(*shared / "faults")) GTEST_SKIP() << "the shared faults are not here";
  const std::string stack = *shared / "faults/tiff_imagej_one_directory_stack/ij1.tif";
  EXPECT_THROW(apply(stack, folder_ / "o.npy"), bilevel::IoError);
  EXPECT_EQ(apply(*shared / "faults/tiff_extra_samples_called_alpha/cmyk.tif", folder_ / "o.npy"), "");
  DataOptions o = options(stack, 3, 8);
  o.sigma = 0;
  const ImageBatch batch = load_crops(o);
  EXPECT_EQ(batch.clean[64], 60000 / 65535.0);
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
  put_file(folder / "photo.jpg", kJpegColour);
  EXPECT_EQ(source_bits(folder / "photo.jpg"), 8);
  put_file(folder / "comment.pgm", "P2 # 65535\n2 # x\n1\n255\n1 2\n");
  EXPECT_EQ(source_bits(folder / "comment.pgm"), 8);
}

}  // namespace
}  // namespace bilevel_test
