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

/// image[p] of centred k-space by the definition, the origin of both at floor(n/2).
Complexes image_of(const Complexes& kspace, int h, int w) {
  Complexes out;
  for (int p = 0; p < h; ++p)
    for (int q = 0; q < w; ++q) {
      std::complex<double> sum = 0;
      for (int k = 0; k < h; ++k)
        for (int l = 0; l < w; ++l)
          sum += kspace[static_cast<std::size_t>(k * w + l)] *
                 std::polar(1.0,
                            2 * std::numbers::pi *
                                (1.0 * (k - h / 2) * (p - h / 2) / h + 1.0 * (l - w / 2) * (q - w / 2) / w));
      out.push_back(sum / std::sqrt(1.0 * h * w));
    }
  return out;
}

/// Two coils of 10 x 8 random frequencies in the layout of fastMRI, with its header when `header` is not
/// empty.
std::vector<std::complex<float>> write_scan(const std::string& path, const std::string& header) {
  std::vector<std::complex<float>> values;
  for (int i = 0; i < 160; ++i)
    values.emplace_back(static_cast<float>(std::sin(1.0 + i * i)), static_cast<float>(std::cos(2.0 * i)));
  write_hdf5(path, "kspace", {1, 2, 10, 8}, values);
  if (header.empty()) return values;
  const hid_t file = H5Fopen(path.c_str(), H5F_ACC_RDWR, H5P_DEFAULT), type = H5Tcopy(H5T_C_S1);
  H5Tset_size(type, H5T_VARIABLE);
  const hid_t space = H5Screate(H5S_SCALAR);
  const hid_t set = H5Dcreate2(file, "ismrmrd_header", type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  const char* text = header.c_str();
  H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, static_cast<const void*>(&text));
  H5Dclose(set), H5Sclose(space), H5Tclose(type), H5Fclose(file);
  return values;
}

std::string fastmri_header(int x, int y) {
  const auto space = [](const char* name, int a, int b) {
    const std::string m = "<x>" + std::to_string(a) + "</x><y>" + std::to_string(b) + "</y><z>1</z>";
    return std::string("<") + name + "><matrixSize>" + m + "</matrixSize><fieldOfView_mm>" + m +
           "</fieldOfView_mm></" + name + ">";
  };
  return "<?xml version=\"1.0\" encoding=\"utf-8\"?><ismrmrdHeader "
         "xmlns=\"http://www.ismrm.org/ISMRMRD\"><experimentalConditions><H1resonanceFrequency_Hz>1</"
         "H1resonanceFrequency_Hz></experimentalConditions><encoding>" +
         space("encodedSpace", 10, 8) + space("reconSpace", x, y) +
         "<encodingLimits></encodingLimits><trajectory>cartesian</trajectory></encoding></ismrmrdHeader>";
}

/// The target of fastMRI: the root of the sum of squares of the coil images, cropped from floor((n - m)/2)
/// on.
TEST(MriCrop, IsThatOfFastMri) {
  const TemporaryFolder folder;
  const auto scan = write_scan(folder / "scan.h5", fastmri_header(5, 6));
  std::vector<Complexes> coils;
  for (int c = 0; c < 2; ++c)
    coils.push_back(image_of(Complexes(scan.begin() + 80 * c, scan.begin() + 80 * (c + 1)), 10, 8));
  DataOptions o;
  o.data = {folder / "scan.h5"};
  for (const auto& [text, rows, columns] : {std::tuple("6", 6, 6), std::tuple("7x4", 7, 4),
                                            std::tuple("recon", 5, 6), std::tuple("10x8", 10, 8)}) {
    SCOPED_TRACE(text);
    o.crop_to = text;
    const MriData data = load_data(o);
    ASSERT_EQ(data.height, rows);
    ASSERT_EQ(data.width, columns);
    std::vector<double> target;
    for (int i = 0; i < rows; ++i)
      for (int j = 0; j < columns; ++j) {
        const auto p = static_cast<std::size_t>((i + (10 - rows) / 2) * 8 + j + (8 - columns) / 2);
        target.push_back(std::sqrt(std::norm(coils[0][p]) + std::norm(coils[1][p])));
      }
    const double largest = *std::max_element(target.begin(), target.end());
    for (std::size_t p = 0; p < target.size(); ++p)
      ASSERT_NEAR(data.truth[p], target[p] / largest, 1e-6) << p;
  }
  EXPECT_THROW(load_data([&] {
                 DataOptions narrow = o;
                 write_scan(folder / "narrow.h5", fastmri_header(12, 6));
                 narrow.data = {folder / "narrow.h5"}, narrow.crop_to = "recon";
                 return narrow;
               }()),
               bilevel::IoError);
}

/// With maps, of the whole image or of the part: k-space is that of the part seen by the coils, before
/// --size.
TEST(MriCrop, MapsAreCroppedAlike) {
  const TemporaryFolder folder;
  const auto scan = write_scan(folder / "scan.h5", "");
  Complexes maps, part;
  for (int c = 0; c < 2; ++c)
    for (int p = 0; p < 80; ++p) maps.push_back(std::polar(1.0 + 0.1 * c + 0.01 * p, 0.2 * p * (c + 1)));
  for (int c = 0; c < 2; ++c)
    for (int i = 0; i < 6; ++i)
      for (int j = 0; j < 4; ++j)
        part.push_back(maps[static_cast<std::size_t>(80 * c + (i + 2) * 8 + j + 2)]);
  const auto write = [&](const char* name, std::size_t h, std::size_t w, const Complexes& values) {
    bilevel::write_npy(folder / name, std::vector<std::size_t>{2, h, w},
                       std::span<const std::complex<double>>(values));
    return folder / name;
  };
  DataOptions o;
  o.data = {folder / "scan.h5"};
  o.crop_to = "6x4";
  o.sensitivities = write("whole.npy", 10, 8, maps);
  const MriData data = load_data(o);
  ASSERT_EQ(data.maps.size(), part.size());
  for (std::size_t p = 0; p < part.size(); ++p) ASSERT_EQ(data.maps[p], part[p]);
  Complexes x(24);
  for (int i = 0; i < 6; ++i)
    for (int j = 0; j < 4; ++j) {
      const auto p = static_cast<std::size_t>((i + 2) * 8 + j + 2), q = static_cast<std::size_t>(4 * i + j);
      double power = 0;
      for (std::size_t c = 0; c < 2; ++c) {
        const auto at = scan.begin() + static_cast<std::ptrdiff_t>(80 * c);
        x[q] += std::conj(maps[80 * c + p]) * image_of(Complexes(at, at + 80), 10, 8)[p];
        power += std::norm(maps[80 * c + p]);
      }
      x[q] /= power;
    }
  double largest = 0;
  for (const auto& v : x) largest = std::max(largest, std::abs(v));
  for (std::size_t p = 0; p < 24; ++p) {
    ASSERT_NEAR(data.truth[p], x[p].real() / largest, 1e-6);
    ASSERT_NEAR(data.truth[24 + p], x[p].imag() / largest, 1e-6);
  }
  o.sensitivities = write("part.npy", 6, 4, part);
  EXPECT_EQ(load_data(o).truth, data.truth);
  o.size = 4;
  const MriData small = load_data(o);
  EXPECT_EQ(small.height, 4);
  o.sensitivities = folder / "whole.npy";
  EXPECT_EQ(load_data(o).maps, small.maps);
  for (auto* values : {&maps, &part}) std::fill(values->begin(), values->end(), 1.0);
  for (const std::string& constant : {write("whole.npy", 10, 8, maps), write("part.npy", 6, 4, part)}) {
    o.sensitivities = constant;
    for (const auto& s : load_data(o).maps)
      ASSERT_NEAR(std::abs(s - 1.0), 0, 1e-12) << "resampled, not scaled";
  }
  o.sensitivities = write("other.npy", 8, 10, maps);
  EXPECT_THROW(load_data(o), bilevel::IoError);
}

/// Complex .npy is k-space to reconstruct and images here; magnitudes of maps lack the phase of the coils.
TEST(MriNotes, ComplexImagesAndRealMaps) {
  const TemporaryFolder folder;
  const auto write = [&](const char* name, std::size_t count, std::complex<double> unit) {
    Complexes values;
    for (std::size_t p = 0; p < 48 * count; ++p) values.push_back(unit * (1.0 + static_cast<double>(p % 7)));
    bilevel::write_npy(folder / name, std::vector<std::size_t>{count, 8, 6},
                       std::span<const std::complex<double>>(values));
    return folder / name;
  };
  const auto notes = [](const std::vector<std::string>& data, const std::string& maps = {}) {
    DataOptions o;
    o.data = data;
    o.sensitivities = maps;
    return load_data(o).notes;
  };
  const std::string one = write("one.npy", 1, {1, 0.5}), two = write("two.npy", 2, {0, 1}),
                    real = write("real.npy", 2, 1.0);
  EXPECT_EQ(notes({one}),
            (std::vector<std::string>{one + " (1 complex image): complex .npy is taken for "
                                            "images; k-space is read from .h5, .mrd and .cfl"}));
  const auto both = notes({one, two});
  ASSERT_EQ(both.size(), 1U);
  EXPECT_NE(both[0].find("one.npy (1 complex image) and 1 more: "), std::string::npos) << both[0];
  EXPECT_TRUE(notes({real}).empty());

  ASSERT_EQ(notes({real}, real).size(), 1U);
  EXPECT_NE(notes({real}, real)[0].find("real.npy: the sensitivity maps are real"), std::string::npos);
  EXPECT_TRUE(notes({real}, two).empty());
  EXPECT_TRUE(notes({real}, write("single.npy", 1, 1.0)).empty()) << "one coil needs no phase";
}

TEST(MriCrop, Images) {
  const TemporaryFolder folder;
  std::vector<double> values(2 * 9 * 7);
  for (std::size_t p = 0; p < values.size(); ++p) values[p] = 1 + static_cast<double>(p % 31);
  bilevel::write_npy(folder / "images.npy", std::vector<std::size_t>{2, 9, 7},
                     std::span<const double>(values));
  DataOptions o;
  o.data = {folder / "images.npy"};
  o.crop_to = "4x5";
  o.image = "real";
  const MriData data = load_data(o);
  double largest = 0;
  std::vector<double> expected;
  for (std::size_t k = 0; k < 2; ++k)
    for (std::size_t i = 0; i < 4; ++i)
      for (std::size_t j = 0; j < 5; ++j)
        largest = std::max(largest, expected.emplace_back(values[k * 63 + (i + 2) * 7 + j + 1]));
  for (double& v : expected) v /= largest;
  EXPECT_EQ(data.truth, expected);
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
