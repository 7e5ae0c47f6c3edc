// Parts of bilevel-mri by themselves: data, resampling, the search for a rate.

#include "apps/mri/mri_data.hpp"

#include "apps/mri/problem.hpp"
#include "apps/mri/rate_search.hpp"
#include "apps/mri/resample.hpp"
#include "apps/mri/run_files.hpp"
#include "tests/apps/mri_test_support.hpp"
#include "tests/support/reference_case.hpp"

namespace bilevel_test {
namespace {

using namespace bilevel_app::mri;

TEST(MriResample, AreaAveragesKeepTheMean) {
  std::vector<double> image(10 * 14);
  for (std::size_t p = 0; p < image.size(); ++p) image[p] = static_cast<double>(p * p % 17);
  const auto out = average_to(image, 10, 14, {0, 2, 10}, 4);
  double all = 0, small = 0;
  for (int i = 0; i < 10; ++i)
    for (int j = 2; j < 12; ++j) all += image[static_cast<std::size_t>(i * 14 + j)] / 100;
  for (const double v : out) small += v / 16;
  EXPECT_NEAR(small, all, 1e-12);
  EXPECT_EQ(average_to(image, 10, 14, {-1, -1, 3}, 3)[0], 0) << "outside of the image";
  EXPECT_EQ(average_to(image, 10, 14, {-1, -1, 3}, 3)[4], image[0]);
}

TEST(MriResample, TheSquareIsThatOfTheHead) {
  std::vector<double> image(20 * 20, 0.0);
  for (int i = 4; i < 14; ++i)
    for (int j = 6; j < 12; ++j) image[static_cast<std::size_t>(i * 20 + j)] = 1;
  const Square tight = bounding_square(image, 20, 20, 0.5, 0, 2);
  EXPECT_EQ(tight.side, 10);
  EXPECT_EQ(tight.row, 4);
  EXPECT_EQ(tight.column, 4);
  EXPECT_EQ(bounding_square(image, 20, 20, 0.5, 0.2, 2).side, 12);
  EXPECT_EQ(bounding_square(image, 20, 20, 0.5, 0, 16).side, 16);
  EXPECT_EQ(bounding_square(std::vector<double>(400, 0.0), 20, 20, 0.5, 0, 2).side, 20)
      << "nothing: all of it";
}

TEST(MriResample, BandLimitedImagesKeepTheirValues) {
  const int n = 12, m = 6;
  Complexes image, expected;
  const auto value = [](double y, double x) {
    return std::complex<double>(1 + std::cos(2 * std::numbers::pi * (x - 2 * y)),
                                std::sin(4 * std::numbers::pi * x));
  };
  for (int p = 0; p < n * n; ++p) image.push_back(value(1.0 * (p / n) / n, 1.0 * (p % n) / n));
  for (int p = 0; p < m * m; ++p) expected.push_back(value(1.0 * (p / m) / m, 1.0 * (p % m) / m));
  const auto out = resample(image, n, n, m, m);
  ASSERT_EQ(out.size(), expected.size());
  for (std::size_t p = 0; p < out.size(); ++p)
    EXPECT_LT(std::abs(out[p] - 2.0 * expected[p]), 1e-12) << "unitary transforms scale by n/m";
  const auto padded = resample(expected, m, m, n, n);
  EXPECT_EQ(padded[static_cast<std::size_t>(3 * n + 3)], expected[0]);
  EXPECT_EQ(padded[0], 0.0);
}

TEST(MriData, NoiseHasTheDeviationAskedFor) {
  const TemporaryFolder folder;
  DataOptions o;
  o.data = {head_file(folder, "head.npy", 4, 32)};
  o.sigma = 0.0;
  const MriData clean = load_data(o);
  o.sigma = 0.1;
  o.seed = 3;
  const MriData noisy = load_data(o);
  EXPECT_EQ(clean.truth, noisy.truth);
  double real = 0, imaginary = 0;
  for (std::size_t i = 0; i < clean.kspace.size(); ++i) {
    const auto d = noisy.kspace[i] - clean.kspace[i];
    real += d.real() * d.real(), imaginary += d.imag() * d.imag();
  }
  const auto n = static_cast<double>(clean.kspace.size());
  EXPECT_NEAR(real / n, 0.005, 0.005 * 5 * std::sqrt(2 / n));
  EXPECT_NEAR(imaginary / n, 0.005, 0.005 * 5 * std::sqrt(2 / n));
  EXPECT_EQ(load_data(o).kspace, noisy.kspace) << "the same seed";
  o.slices = "0:1";
  const MriData first = load_data(o);
  for (std::size_t i = 0; i < first.kspace.size(); ++i) ASSERT_EQ(first.kspace[i], noisy.kspace[i]);
  double largest = 0;
  for (const double v : magnitude(std::span(clean.truth).first(2 * 32 * 32), 2))
    largest = std::max(largest, v);
  EXPECT_EQ(largest, 1);
  EXPECT_NE(noisy.fingerprint.pixels, clean.fingerprint.pixels);
}

DataOptions data_of(const std::vector<std::string>& paths) {
  DataOptions o;
  o.data = paths;
  o.sigma = 0.0;
  return o;
}

/// The sentence of the refusal; fails when there is none.
template <class E>
std::string refusal(const DataOptions& o) {
  try {
    load_data(o);
  } catch (const E& error) {
    return error.what();
  }
  ADD_FAILURE() << "accepted";
  return {};
}

/// Changes numbers of a file: int16 or float at the offsets of nifti1.h.
template <class T>
void patch(const std::string& path, const std::vector<std::pair<std::size_t, T>>& changes) {
  std::string bytes = get_file(path);
  for (const auto& [at, value] : changes) std::memcpy(bytes.data() + at, &value, sizeof value);
  put_file(path, bytes);
}

TEST(MriData, OneVolumeOfSeveralIsChosenAndNamed) {
  const TemporaryFolder folder;
  const auto values = head(4, 16);
  write_nifti(folder / "all.nii", 16, 16, 4, values);
  write_nifti(folder / "a.nii", 16, 16, 2, {values.begin(), values.begin() + 512});
  write_nifti(folder / "b.nii", 16, 16, 2, {values.begin() + 512, values.end()});
  const MriData a = load_data(data_of({folder / "a.nii"})), b = load_data(data_of({folder / "b.nii"}));
  EXPECT_NE(a.truth, b.truth);
  EXPECT_TRUE(a.notes.empty());
  using Shorts = std::vector<std::pair<std::size_t, std::int16_t>>;
  // dim[0]; k, t, u: [2][2], and a vector of two components [2][1][2].
  for (const auto& [text, dims] : {std::pair<std::string, Shorts>{"4-D", {{40, 4}, {46, 2}, {48, 2}}},
                                   {"5-D", {{40, 5}, {46, 2}, {48, 1}, {50, 2}}}}) {
    patch(folder / "all.nii", dims);
    DataOptions o = data_of({folder / "all.nii"});
    const MriData first = load_data(o);
    EXPECT_EQ(first.truth, a.truth) << text;
    ASSERT_EQ(first.notes.size(), 1U);
    EXPECT_NE(first.notes[0].find("all.nii is " + text + ": volume 0 of 2 is used; --frame K"),
              std::string::npos)
        << first.notes[0];
    o.frame = 0;
    EXPECT_TRUE(load_data(o).notes.empty()) << "chosen";
    o.frame = 1;
    EXPECT_EQ(load_data(o).truth, b.truth);
    o.frame = 2;
    EXPECT_NE(refusal<bilevel::ConfigError>(o).find("--frame 2: "), std::string::npos);
    EXPECT_NE(refusal<bilevel::ConfigError>(o).find("holds 2 volume(s)"), std::string::npos);
    o.frame = -1;
    EXPECT_THROW(validate(o), bilevel::ConfigError);
  }
  DataOptions o = data_of({head_file(folder, "head.npy", 4, 16)});
  o.frame = 1;
  EXPECT_NE(refusal<bilevel::ConfigError>(o).find("--frame 1"), std::string::npos) << "no volume";
}

TEST(MriData, PixelsThatAreNotSquareAreNamed) {
  const TemporaryFolder folder;
  write_nifti(folder / "v.nii", 16, 16, 4, head(4, 16));
  patch<float>(folder / "v.nii", {{80, 1.5F}, {84, 1.5F}, {88, 3.0F}});
  DataOptions o = data_of({folder / "v.nii"});
  EXPECT_TRUE(load_data(o).notes.empty());
  o.axis = "coronal";
  ASSERT_EQ(load_data(o).notes.size(), 1U);
  EXPECT_NE(load_data(o).notes[0].find("coronal slices are 3 high and 1.5 wide"), std::string::npos);
}

/// What bilevel-denoise makes of the same file.
std::vector<double> scaled_luma(const std::string& path) {
  auto pixels = bilevel::to_luma(bilevel::read_image(path)).pixels;
  const double largest = *std::max_element(pixels.begin(), pixels.end());
  for (double& v : pixels) v /= largest;
  return pixels;
}

void write_array(const std::string& path, const std::vector<std::size_t>& shape, bool complex = false) {
  std::size_t count = 1;
  for (const std::size_t n : shape) count *= n;
  std::vector<double> values;
  for (std::size_t k = 0; k < count; ++k) values.push_back(static_cast<double>(1 + k * k % 97) / 97);
  const Complexes pairs(values.begin(), values.end());
  if (complex)
    bilevel::write_npy(path, shape, std::span<const std::complex<double>>(pairs));
  else
    bilevel::write_npy(path, shape, std::span<const double>(values));
}

TEST(MriData, ArraysAreReadAsByTheDenoiser) {
  const TemporaryFolder folder;
  using Shape = std::vector<std::size_t>;
  for (const Shape& shape : {Shape{12, 10, 3}, Shape{12, 10, 1}, Shape{1, 12, 10}, Shape{12, 10}}) {
    write_array(folder / "a.npy", shape);
    DataOptions o = data_of({folder / "a.npy"});
    o.image = "real";
    const MriData data = load_data(o);
    EXPECT_EQ(data.images, 1);
    EXPECT_EQ(data.height, 12);
    EXPECT_EQ(data.width, 10);
    const auto expected = scaled_luma(folder / "a.npy");
    for (std::size_t i = 0; i < expected.size(); ++i) ASSERT_NEAR(data.truth[i], expected[i], 1e-15);
  }
  for (const Shape& shape :
       {Shape{12, 10, 2}, Shape{12, 10, 4}, Shape{3, 10, 3}, Shape{5, 12, 10, 2}, Shape{7}}) {
    write_array(folder / "a.npy", shape);
    const std::string mri = refusal<bilevel::IoError>(data_of({folder / "a.npy"}));
    EXPECT_THROW(bilevel::read_images(folder / "a.npy"), bilevel::IoError);
    EXPECT_NE(mri.find("an array of shape [" + std::to_string(shape[0])), std::string::npos) << mri;
  }
  write_array(folder / "a.npy", {3, 12, 10});
  EXPECT_EQ(load_data(data_of({folder / "a.npy"})).images, 3);
  ASSERT_EQ(load_data(data_of({folder / "a.npy"})).notes.size(), 1U);
  EXPECT_NE(load_data(data_of({folder / "a.npy"})).notes[0].find("three images"), std::string::npos);
  write_array(folder / "a.npy", {3, 12, 10}, true);
  EXPECT_EQ(load_data(data_of({folder / "a.npy"})).images, 3);
  EXPECT_TRUE(load_data(data_of({folder / "a.npy"})).notes.empty()) << "complex images have no colours";
  write_array(folder / "a.npy", {5, 12, 10, 3});
  EXPECT_EQ(load_data(data_of({folder / "a.npy"})).images, 5);
}

/// 4 x 8 x 8 integers, little endian, `bytes` each.
std::string integer_stack(const std::string& type, int bytes, unsigned scale) {
  std::string file = "\x93NUMPY\1";
  const std::string header = "{'descr': '" + type + "', 'fortran_order': False, 'shape': (4, 8, 8), }\n";
  file += '\0', file += static_cast<char>(header.size()), file += '\0', file += header;
  for (unsigned k = 0; k < 256; ++k)
    for (int b = 0; b < bytes; ++b) file += static_cast<char>((k * scale) >> (8 * b));
  return file;
}

TEST(MriData, IntegersAreScaledByTheirType) {
  const TemporaryFolder folder;
  put_file(folder / "u1.npy", integer_stack("|u1", 1, 1));
  put_file(folder / "u2.npy", integer_stack("<u2", 2, 257));
  put_file(folder / "i2.npy", integer_stack("<i2", 2, 17));
  bilevel::HostImage image{1, 8, 8, std::vector<double>(64, 1.0)};
  bilevel::write_image(folder / "a.png", image, {16});
  const MriData set = load_data(data_of({folder / "a.png", folder / "u1.npy", folder / "u2.npy"}));
  ASSERT_EQ(set.images, 9);
  EXPECT_TRUE(set.notes.empty());
  const auto pixel = [&](int k, std::size_t p) { return set.truth[static_cast<std::size_t>(k) * 128 + p]; };
  EXPECT_EQ(pixel(0, 7), 1);
  EXPECT_EQ(pixel(4, 63), 1) << "255 of 255";
  for (std::size_t p = 0; p < 64; ++p) {
    ASSERT_NEAR(pixel(2, p), static_cast<double>(64 + p) / 255, 1e-15);
    ASSERT_NEAR(pixel(6, p), static_cast<double>(64 + p) / 255, 1e-15);
  }
  std::string half = integer_stack("|u1", 1, 1);
  for (std::size_t at = half.size() - 256; at < half.size(); ++at)
    half[at] = static_cast<char>(half[at] & 127);
  put_file(folder / "half.npy", half);
  const MriData alone = load_data(data_of({folder / "half.npy"}));
  for (std::size_t p = 0; p < 64; ++p)
    ASSERT_EQ(alone.truth[p], static_cast<double>(p) / 127.0) << "as ever, to the last bit";
  EXPECT_EQ(load_data(data_of({folder / "i2.npy"})).truth[64 * 2], 64 * 17.0 / (255 * 17.0))
      << "alone as ever";
  const std::string text = refusal<bilevel::IoError>(data_of({folder / "a.png", folder / "i2.npy"}));
  EXPECT_NE(text.find("i2.npy"), std::string::npos) << text;
  EXPECT_NE(text.find("0 to 4335"), std::string::npos) << text;
  write_nifti(folder / "v.nii", 8, 8, 1, std::vector<double>(64, 900.0));
  EXPECT_THROW(load_data(data_of({folder / "v.nii", folder / "u1.npy"})), bilevel::IoError);
}

TEST(MriData, FoldersOfVolumesAndOfKspace) {
  const TemporaryFolder folder;
  for (const char* name : {"volumes", "scans", "mixed", "empty"}) fs::create_directories(folder / name);
  const auto values = head(3, 16);
  const auto part = [&](int k) {
    return std::vector<double>(values.begin() + 256 * k, values.begin() + 256 * (k + 1));
  };
  write_nifti(folder / "volumes/v10.nii", 16, 16, 1, part(0));
  write_nifti(folder / "volumes/v2.nii", 16, 16, 1, part(1));
  put_file(folder / "volumes/notes.txt", "text");
  EXPECT_EQ(load_data(data_of({folder / "volumes"})).names,
            (std::vector<std::string>{"v2.nii#0", "v10.nii#0"}));
  for (const int k : {0, 1}) {
    const auto image = part(k);
    write_hdf5(folder / ("scans/" + std::to_string(k) + ".h5"), "kspace", {1, 16, 16},
               centred_kspace(Complexes(image.begin(), image.end()), 1, 16));
  }
  const MriData scans = load_data(data_of({folder / "scans"}));
  EXPECT_EQ(scans.names, (std::vector<std::string>{"0.h5#0", "1.h5#0"}));
  for (std::size_t p = 0; p < 256; ++p) ASSERT_NEAR(scans.truth[512 + p], part(1)[p], 1e-6);
  write_nifti(folder / "mixed/v.nii", 16, 16, 1, part(0));
  bilevel::write_image(folder / "mixed/a.png", photograph(16, 16, 1));
  const std::string text = refusal<bilevel::ConfigError>(data_of({folder / "mixed"}));
  for (const char* name : {"mixed", "v.nii", "a.png"}) EXPECT_NE(text.find(name), std::string::npos) << text;
  EXPECT_NE(refusal<bilevel::IoError>(data_of({folder / "empty"})).find(".nii.gz"), std::string::npos);
}

TEST(MriData, WhatIsNotFiniteIsNamedWithItsPlace) {
  const TemporaryFolder folder;
  std::vector<double> values = head(4, 16);
  values[2 * 256 + 3 * 16 + 5] = std::nan("");
  const std::vector<std::size_t> shape{4, 16, 16};
  bilevel::write_npy(folder / "nan.npy", shape, std::span<const double>(values));
  const std::string text = refusal<bilevel::IoError>(data_of({folder / "nan.npy"}));
  EXPECT_NE(text.find("row 3, column 5 of nan.npy#2"), std::string::npos) << text;
}

TEST(MriData, NoiseBeyondTheLargestMagnitudeIsReported) {
  const TemporaryFolder folder;
  DataOptions o = data_of({head_file(folder, "head.npy", 4, 16)});
  o.sigma = 25.0;
  ASSERT_EQ(load_data(o).notes.size(), 1U);
  EXPECT_NE(load_data(o).notes[0].find("--sigma 25"), std::string::npos);
}

TEST(MriData, SharedFaults) {
  const auto shared = bilevel::testing_support::shared_folder();
  if (!shared || !fs::is_directory(*shared / "faults")) GTEST_SKIP() << "the shared faults are not here";
  const fs::path faults = *shared / "faults";
  const MriData four = load_data(data_of({faults / "nifti_4d_first_frame_silent/four.nii.gz"}));
  ASSERT_EQ(four.notes.size(), 1U);
  EXPECT_NE(four.notes[0].find("4-D: volume 0 of 2 is used"), std::string::npos);
  const MriData colour = load_data(data_of({faults / "npy_channels_last_as_stack/rgb_24x20x3.npy"}));
  EXPECT_EQ(colour.images, 1);
  EXPECT_EQ(colour.height, 24);
  EXPECT_EQ(colour.width, 20);
  const MriData stack = load_data(data_of({faults / "tiff_imagej_one_directory_stack/ij1.tif"}));
  EXPECT_EQ(stack.images, 3);
  EXPECT_EQ(stack.truth[128], 1);
}

TEST(MriData, QualityIsPerPixelAndOfMagnitudes) {
  MriData data;
  data.images = 1, data.height = 12, data.width = 13;
  data.truth.assign(2 * 12 * 13, 0.0);
  for (std::size_t p = 0; p < 156; ++p) data.truth[p] = 0.5 + 0.3 * std::sin(0.4 * static_cast<double>(p));
  std::vector<double> x = data.truth;
  for (std::size_t p = 0; p < 156; ++p) x[p] += 0.06, x[156 + p] += 0.08;
  EXPECT_NEAR(quality_of(data, 0, x).psnr, 20, 1e-9) << "|error| = 0.1";
  std::vector<double> turned(data.truth.size(), 0.0);  // the same magnitudes in the imaginary plane
  for (std::size_t p = 0; p < 156; ++p) turned[156 + p] = data.truth[p];
  EXPECT_NEAR(quality_of(data, 0, turned).ssim, 1, 1e-12);
  EXPECT_LT(quality_of(data, 0, turned).psnr, 10);
}

TEST(MriRunFiles, CentringIsUndone) {
  for (const auto& [h, w] : {std::pair(4, 6), std::pair(5, 7), std::pair(1, 3)}) {
    std::vector<double> values(static_cast<std::size_t>(h) * w);
    for (std::size_t p = 0; p < values.size(); ++p) values[p] = static_cast<double>(p + 1);
    const auto image = centred(values, h, w);
    EXPECT_EQ(image.pixels[static_cast<std::size_t>(h / 2 * w + w / 2)], 1) << "zero frequency";
    EXPECT_EQ(uncentred(image), values);
  }
}

/// Runs the search on a model of the rate.
int search(RateSearch& s, const std::function<double(double)>& rate) {
  while (!s.done()) s.add(rate(s.next_penalty()));
  return s.best();
}

TEST(MriRateSearch, BracketsAndBisects) {
  const auto rate = [](double penalty) { return 1 / (1 + std::pow(penalty, 0.7)); };
  for (const double first : {1e-4, 1.0, 1e4})
    for (const double target : {0.05, 0.35, 0.9}) {
      RateSearch s(target, 0.01, first, 40);
      const auto best = static_cast<std::size_t>(search(s, rate));
      EXPECT_LT(s.trials().size(), 40u);
      EXPECT_NEAR(s.trials()[best].rate, target, 0.01 * target);
    }
}

TEST(MriRateSearch, StartsFromThePatternThatKeepsTooMuch) {
  RateSearch s(0.25, 0.01, 1, 4);
  EXPECT_EQ(s.next_start(), -1);
  s.add(0.6);
  EXPECT_EQ(s.next_start(), 0);
  EXPECT_EQ(s.next_penalty(), 4);
  s.add(0.125);
  EXPECT_EQ(s.next_start(), 0) << "not the one that has lost samples for good";
  EXPECT_EQ(s.next_penalty(), 2);
  s.add(0.375);
  EXPECT_EQ(s.next_start(), 2);
  s.add(0.125);
  EXPECT_TRUE(s.done()) << "all runs are spent";
  EXPECT_EQ(s.best(), 2) << "0.375 and 0.125 are equally far; the one that keeps more";
}

TEST(MriRateSearch, AStartThatIsTooSparseGoesBack) {
  RateSearch s(0.3, 0.01, 8, 10);
  s.add(0.05);
  EXPECT_EQ(s.next_start(), -1);
  EXPECT_EQ(s.next_penalty(), 2);
}

}  // namespace
}  // namespace bilevel_test
