#include "bilevel/io/volume_file.hpp"

#include <cmath>
#include <limits>

#include "bilevel/core/error.hpp"
#include "bilevel/io/array_file.hpp"
#include "mri_files.hpp"

namespace {

using namespace bilevel_test;
using bilevel::Plane;
using bilevel::read_volume;
using bilevel::Volume;

class VolumeFile : public ::testing::Test {
 protected:
  Volume parse(const std::string& bytes, const std::string& name = "v.nii") {
    put_file(folder_ / name, bytes);
    return read_volume(folder_ / name);
  }
  void expect_refused(const std::string& bytes, const std::string& reason,
                      const std::string& name = "v.nii") {
    try {
      parse(bytes, name);
      ADD_FAILURE() << "accepted, not refused with: " << reason;
    } catch (const bilevel::IoError& error) {
      EXPECT_NE(std::string(error.what()).find(reason), std::string::npos) << error.what();
      EXPECT_EQ(error.path(), (folder_ / name).string());
    }
  }
  static std::string floats(const std::vector<float>& values, bool big_endian = false) {
    std::string out;
    for (const float value : values) out += float_bytes(value, big_endian);
    return out;
  }
  /// A volume whose voxel (i, j, k) is i + 10 j + 100 k.
  static Volume numbered(const std::string& orientation, int columns, int rows, int slices) {
    Volume volume;
    volume.columns = columns, volume.rows = rows, volume.slices = slices;
    volume.orientation = orientation;
    for (int k = 0; k < slices; ++k) {
      for (int j = 0; j < rows; ++j) {
        for (int i = 0; i < columns; ++i) volume.values.push_back(i + 10 * j + 100 * k);
      }
    }
    return volume;
  }
  TemporaryFolder folder_;
};

TEST_F(VolumeFile, EveryTypeInBothByteOrders) {
  struct Case {
    int datatype, bytes;
    bool is_signed, is_float;
  };
  constexpr Case kCases[] = {{2, 1, false, false},   {256, 1, true, false},   {4, 2, true, false},
                             {512, 2, false, false}, {8, 4, true, false},     {768, 4, false, false},
                             {1024, 8, true, false}, {1280, 8, false, false}, {16, 4, true, true},
                             {64, 8, true, true}};
  for (const bool big : {false, true}) {
    for (const Case& type : kCases) {
      const double negative = type.is_float    ? -1.5
                              : type.is_signed ? -3.0
                                               : std::ldexp(1.0, 8 * type.bytes) - 3;
      std::string data;
      for (const double value : {0.0, 1.0, negative, 100.0}) {
        const std::uint64_t bits = !type.is_float
                                       ? value == negative ? ~std::uint64_t{0} - 2 : std::uint64_t(value)
                                   : type.bytes == 4 ? std::bit_cast<std::uint32_t>(static_cast<float>(value))
                                                     : std::bit_cast<std::uint64_t>(value);
        data += integer(bits, type.bytes, big);
      }
      NiftiSpec spec{{2, 1, 2}, type.datatype, type.bytes, big};
      const Volume volume = parse(nifti_header(spec) + data);
      EXPECT_EQ(volume.values, (std::vector<double>{0.0, 1.0, negative, 100.0}))
          << "type " << type.datatype << (big ? ", big" : ", little") << " endian";
      spec.slope = 0.5F, spec.intercept = -2.0F;
      EXPECT_EQ(parse(nifti_header(spec) + data).values,
                (std::vector<double>{-2.0, -1.5, 0.5 * negative - 2.0, 48.0}));
    }
  }
}

TEST_F(VolumeFile, ComplexVoxelsBecomeTwoParts) {
  for (const bool big : {false, true}) {
    const NiftiSpec spec{{2, 1, 1, 2}, 32, 8, big};
    const Volume volume = parse(nifti_header(spec) + floats({1, 2, 3, 4, 5, 6, 7, 8}, big));
    EXPECT_EQ(volume.parts, 2);
    EXPECT_EQ(volume.frames, 2);
    EXPECT_EQ(volume.values, (std::vector<double>{1, 3, 2, 4, 5, 7, 6, 8}));
    EXPECT_EQ(bilevel::slice(volume, Plane::axial, 0, 1), (std::vector<double>{7, 5, 8, 6}))
        << "left is left";
  }
}

TEST_F(VolumeFile, ExtentsSpacingFramesAndOffset) {
  NiftiSpec spec{{2, 3, 1, 2, 1, 2}, 2, 1};
  spec.spacing = {0.5F, 2.0F, 3.25F};
  spec.offset = 368.0F;
  std::string data(16, '\xff');
  for (int k = 0; k < 24; ++k) data += static_cast<char>(k);
  const Volume volume = parse(nifti_header(spec) + data);
  EXPECT_EQ(volume.columns, 2);
  EXPECT_EQ(volume.rows, 3);
  EXPECT_EQ(volume.slices, 1);
  EXPECT_EQ(volume.frames, 4);
  EXPECT_EQ(volume.parts, 1);
  EXPECT_EQ(volume.spacing, (std::array<double, 3>{0.5, 2.0, 3.25}));
  EXPECT_EQ(volume.dimensions, 6);
  EXPECT_EQ(volume.orientation, "LAS") << "no form: as NiBabel";
  const bilevel::SliceExtents coronal = bilevel::slice_extents(volume, Plane::coronal);
  EXPECT_EQ(coronal.row_spacing, 3.25);
  EXPECT_EQ(coronal.column_spacing, 0.5);
  for (std::size_t k = 0; k < 24; ++k) EXPECT_EQ(volume.values[k], static_cast<double>(k));
}

TEST_F(VolumeFile, CompressedFilesAndPairs) {
  const NiftiSpec spec{{2, 1, 2}};
  const std::vector<float> values{1, -2, 3, -4};
  const std::vector<double> expected(values.begin(), values.end());
  EXPECT_EQ(parse(gzip(nifti_header(spec) + floats(values)), "c.nii.gz").values, expected);
  NiftiSpec pair = spec;
  pair.pair = true;
  put_file(folder_ / "p.img", floats(values));
  EXPECT_EQ(parse(nifti_header(pair), "p.hdr").values, expected);
  EXPECT_EQ(read_volume(folder_ / "p.img").values, expected);
  put_file(folder_ / "q.img.gz", gzip(floats(values)));
  EXPECT_EQ(parse(nifti_header(pair), "q.hdr").values, expected);
  expect_refused(nifti_header(pair), "the .img file that belongs to this header", "lonely.hdr");
}

TEST_F(VolumeFile, NamesAgreeWithTheContent) {
  const std::string good = nifti_header({{2, 1, 2}}) + floats({1, -2, 3, -4});
  for (const char* name : {"v.nii", "v.hdr", "V.NII"})
    expect_refused(gzip(good), "is compressed by gzip, which its name does not say; rename it", name);
  std::string damaged = good;
  damaged.replace(344, 4, "abcd");
  expect_refused(damaged, "lacks the mark of NIfTI", "v.nii");
  expect_refused(gzip(damaged), "lacks the mark of NIfTI", "v.nii.gz");
  NiftiSpec spec{{2, 1, 2}};
  spec.pair = true;
  std::string analyze = nifti_header(spec);
  analyze.replace(344, 4, 4, '\0');
  put_file(folder_ / "a.img", floats({1, -2, 3, -4}));
  EXPECT_EQ(parse(analyze, "a.hdr").values, (std::vector<double>{1, -2, 3, -4}));
}

TEST_F(VolumeFile, OrientationFromTheHeader) {
  using Rows = std::vector<std::array<float, 4>>;
  const std::vector<std::pair<Rows, std::string>> cases{
      {{{1, 0, 0, 0}, {0, 1, 0, 0}, {0, 0, 1, 0}}, "RAS"},
      {{{-1, 0, 0, 90}, {0, -2, 0, 0}, {0, 0, 3, 0}}, "LPS"},
      {{{0, 0, 1, 0}, {1, 0, 0, 0}, {0, -1, 0, 0}}, "AIR"},
      {{{0.9F, 0.2F, 0, 0}, {-0.2F, 0.9F, 0.3F, 0}, {0, -0.3F, -0.9F, 0}}, "RAI"},
      {{{0, 0, 0, 0}, {0, 0, 0, 0}, {0, 0, 0, 0}}, "LAS"}};
  for (const auto& [rows, letters] : cases) {
    NiftiSpec spec{{1, 1, 1}};
    spec.sform = rows;
    EXPECT_EQ(parse(nifti_header(spec) + floats({1})).orientation, letters);
  }
}

/// Bytes between the header and the first voxel belong to neither.
TEST_F(VolumeFile, VoxelsBeginBehindTheHeader) {
  NiftiSpec spec{{3, 1, 1}};
  const std::string voxels = floats({1, 2, 3});
  for (const float offset : {0.0F, 352.0F}) {
    spec.offset = offset;
    EXPECT_EQ(parse(nifti_header(spec) + voxels).values, (std::vector<double>{1, 2, 3})) << offset;
  }
  for (const int offset : {1, 16, 340, 348, 351}) {
    spec.offset = static_cast<float>(offset);
    expect_refused(nifti_header(spec) + voxels, "begin at byte " + std::to_string(offset) +
                                                    ", inside of itself; in one file vox_offset is 352");
  }
  spec.offset = -16.0F;
  expect_refused(nifti_header(spec) + voxels, "impossible offset");
  spec.pair = true;
  put_file(folder_ / "p.img", voxels);
  EXPECT_EQ(parse(nifti_header(spec), "p.hdr").values, (std::vector<double>{1, 2, 3}));
}

TEST_F(VolumeFile, SecondVersionOfTheFormat) {
  for (const bool big : {false, true}) {
    NiftiSpec spec{{2, 1, 2, 2}, 4, 2, big};
    spec.slope = 0.5F, spec.intercept = -2.0F;
    spec.sform = {{-1, 0, 0, 90}, {0, -2, 0, 0}, {0, 0, 3, 0}};
    spec.spacing = {1.0F, 2.0F, 3.0F};
    std::string voxels;
    for (const int v : {1, -2, 3, 4, 5, 6, 7, 8}) voxels += integer(static_cast<std::uint64_t>(v), 2, big);
    const std::vector<double> expected{-1.5, -3, -0.5, 0, 0.5, 1, 1.5, 2};
    for (const float offset : {0.0F, 544.0F}) {
      spec.offset = offset;
      const Volume volume = parse(nifti2_header(spec) + voxels);
      EXPECT_EQ(volume.values, expected);
      EXPECT_EQ(
          (std::array<int, 5>{volume.columns, volume.rows, volume.slices, volume.frames, volume.dimensions}),
          (std::array<int, 5>{2, 1, 2, 2, 4}));
      EXPECT_EQ(volume.orientation, "LPS");
      EXPECT_EQ(volume.spacing, (std::array<double, 3>{1.0, 2.0, 3.0}));
    }
    EXPECT_EQ(parse(gzip(nifti2_header(spec) + voxels), "c.nii.gz").values, expected);
    spec.offset = 352.0F;
    expect_refused(nifti2_header(spec) + voxels,
                   "begin at byte 352, inside of itself; in one file vox_offset is 544");
    spec.pair = true;
    put_file(folder_ / "p.img", voxels);
    EXPECT_EQ(parse(nifti2_header(spec), "p.hdr").values, expected);
    spec = {{2, 1, 2, 2}, 4, 2, big};
    spec.offset = 0.0F;
    const std::string whole = nifti2_header(spec) + voxels;
    for (const std::size_t length : {100u, 400u, 539u, 550u})
      EXPECT_THROW(parse(whole.substr(0, length)), bilevel::IoError) << length;
    spec.extents = {1 << 30, 1 << 30, 1 << 30, 1 << 30, 4};
    expect_refused(nifti2_header(spec) + voxels, "more than 2^31 frames or voxels along an axis");
    spec.extents = {2, 0, 2};
    expect_refused(nifti2_header(spec) + voxels, "the volume is empty: dimension 2");
  }
}

TEST_F(VolumeFile, SlicesAreUpright) {
  const Volume ras = numbered("RAS", 2, 3, 4);
  EXPECT_EQ(bilevel::slice(ras, Plane::axial, 1), (std::vector<double>{120, 121, 110, 111, 100, 101}));
  EXPECT_EQ(bilevel::slice(ras, Plane::coronal, 2),
            (std::vector<double>{320, 321, 220, 221, 120, 121, 20, 21}));
  EXPECT_EQ(bilevel::slice(ras, Plane::sagittal, 0),
            (std::vector<double>{300, 310, 320, 200, 210, 220, 100, 110, 120, 0, 10, 20}));
  const bilevel::SliceExtents size = bilevel::slice_extents(ras, Plane::sagittal);
  EXPECT_EQ(size.count, 2);
  EXPECT_EQ(size.height, 4);
  EXPECT_EQ(size.width, 3);
  const Volume lpi = numbered("LPI", 2, 3, 4);
  EXPECT_EQ(bilevel::slice(lpi, Plane::axial, 1), (std::vector<double>{101, 100, 111, 110, 121, 120}));
  EXPECT_EQ(bilevel::slice(lpi, Plane::sagittal, 1)[0], 21.0) << "superior, posterior: k = 0, j = 2";
}

/// Whatever the voxel axes, the slice shows the same place of the body.
TEST_F(VolumeFile, SlicesAgreeForAllOrientations) {
  const std::array<int, 3> size{2, 3, 4};  // to the right, anterior, superior
  int order[3] = {0, 1, 2};
  do {
    for (int flips = 0; flips < 8; ++flips) {
      Volume volume;
      volume.orientation.clear();
      int extents[3];
      for (int d = 0; d < 3; ++d) {
        extents[d] = size[static_cast<std::size_t>(order[d])];
        volume.orientation += std::string(flips >> d & 1 ? "LPI" : "RAS")[static_cast<std::size_t>(order[d])];
      }
      volume.columns = extents[0], volume.rows = extents[1], volume.slices = extents[2];
      for (int k = 0; k < extents[2]; ++k) {
        for (int j = 0; j < extents[1]; ++j) {
          for (int i = 0; i < extents[0]; ++i) {
            const int voxel[3] = {i, j, k};
            int place[3];
            for (int d = 0; d < 3; ++d)
              place[order[d]] = flips >> d & 1 ? extents[d] - 1 - voxel[d] : voxel[d];
            volume.values.push_back(place[0] + 10 * place[1] + 100 * place[2]);
          }
        }
      }
      const Volume ras = numbered("RAS", size[0], size[1], size[2]);
      const std::pair<Plane, std::size_t> axes[] = {
          {Plane::axial, 2}, {Plane::coronal, 1}, {Plane::sagittal, 0}};
      for (const auto& [axis, normal] : axes) {
        const auto d = static_cast<int>(std::find(order, order + 3, static_cast<int>(normal)) - order);
        const int index = flips >> d & 1 ? extents[d] - 2 : 1;
        EXPECT_EQ(bilevel::slice(volume, axis, index), bilevel::slice(ras, axis, 1)) << volume.orientation;
      }
    }
  } while (std::next_permutation(order, order + 3));
}

TEST_F(VolumeFile, RefusalsNameTheReason) {
  const auto header = [](std::vector<int> extents, int type = 16, int bytes = 4) {
    return nifti_header({std::move(extents), type, bytes});
  };
  const std::string four = floats({1, 2, 3, 4});
  expect_refused(header({2, 2, 0}) + four, "the volume is empty: dimension 3 has 0 voxels");
  expect_refused(header({2, -2, 1}) + four, "the volume is empty: dimension 2");
  expect_refused(header({2, 2, 1}, 128, 3) + four, "its voxels are colours");
  expect_refused(header({2, 2, 1}, 2304, 4) + four, "its voxels are colours");
  expect_refused(header({2, 2, 1}, 1, 1) + four, "NIfTI type 1 are not read; convert");
  expect_refused(header({2, 2, 1}, 1536, 16) + four, "NIfTI type 1536");
  expect_refused(header({2, 2, 2}) + four, "2 x 2 x 2 x 1 voxels of 4 bytes, more than a file of");
  expect_refused(header({30000, 30000, 30000, 30000}) + four, "more than a file of");
  expect_refused(header({2, 30000, 30000, 30000, 30000, 30000}) + four, "more than 2^31 frames");
  expect_refused(gzip(header({3000, 3000, 1}) + four), "more than a file of", "v.nii.gz");
  expect_refused(gzip(header({20, 20, 1}) + four), "end or cannot be decompressed after 0 of 1600",
                 "v.nii.gz");
  expect_refused(header({2, 2, 1}) + floats({1, 2, 3, std::numeric_limits<float>::quiet_NaN()}),
                 "the voxel (1, 1, 0) of frame 0 is NaN");
  expect_refused(header({2, 1, 1, 2}) + floats({1, 2, std::numeric_limits<float>::infinity(), 4}),
                 "the voxel (0, 0, 0) of frame 1 is infinite");
  expect_refused("no NIfTI at all, but some text", "has no header of NIfTI-1 or NIfTI-2");
  expect_refused(header({2, 2, 1}) + four, "has no header of NIfTI-1 or NIfTI-2", "v.txt");
  expect_refused("", "empty (0 bytes)");
  EXPECT_THROW(read_volume(folder_ / "missing.nii"), bilevel::IoError);
  EXPECT_THROW(read_volume(folder_.path()), bilevel::IoError);
}

TEST_F(VolumeFile, ChecksumsOfCompressedFiles) {
  for (int rows = 150; rows < 350; rows += 7) {
    const bilevel::HostImage noise = random_image(1, rows, 300, 5);
    std::string bytes =
        gzip(nifti_header({{300, rows, 1}}) + floats({noise.pixels.begin(), noise.pixels.end()}));
    EXPECT_EQ(parse(bytes, "v.nii.gz").values.size(), noise.pixels.size());
    bytes[bytes.size() - 7] ^= 1;
    expect_refused(bytes, "damaged", "v.nii.gz");
  }
}

TEST_F(VolumeFile, NothingIsPrinted) {
  ::testing::internal::CaptureStderr();
  ::testing::internal::CaptureStdout();
  EXPECT_THROW(parse("no NIfTI at all"), bilevel::IoError);
  EXPECT_THROW(parse(nifti_header({{0, 0, 0}})), bilevel::IoError);
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
  EXPECT_EQ(::testing::internal::GetCapturedStdout(), "");
}

TEST_F(VolumeFile, RangesOfSlices) {
  using bilevel::parse_slice_range;
  EXPECT_EQ(parse_slice_range("2:8:3").indices(10), (std::vector<int>{2, 5}));
  EXPECT_EQ(parse_slice_range("2:9:3").indices(9), (std::vector<int>{2, 5, 8}));
  EXPECT_EQ(parse_slice_range("1:4").indices(4), (std::vector<int>{1, 2, 3}));
  EXPECT_EQ(parse_slice_range("7").indices(8), (std::vector<int>{7}));
  EXPECT_EQ(parse_slice_range(":").indices(3), (std::vector<int>{0, 1, 2}));
  EXPECT_EQ(parse_slice_range("::2").indices(4), (std::vector<int>{0, 2}));
  EXPECT_EQ(parse_slice_range("2:").indices(4), (std::vector<int>{2, 3}));
  EXPECT_EQ(parse_slice_range("0:2147483647:2147483647").indices(2147483647), (std::vector<int>{0}));
  for (const char* bad :
       {"", "a", "1:2:0", "-1:3", "1:2:3:4", "1,2", "1:2x", " 1:2", "99999999999", "1.5:3", "2147483647"}) {
    EXPECT_THROW(parse_slice_range(bad), bilevel::ConfigError) << bad;
  }
  EXPECT_THROW(parse_slice_range("3:3").indices(5), bilevel::ConfigError);
  EXPECT_THROW(parse_slice_range("0:6").indices(5), bilevel::ConfigError);
  EXPECT_THROW(parse_slice_range("5").indices(5), bilevel::ConfigError);
  EXPECT_EQ(bilevel::parse_plane("coronal"), Plane::coronal);
  EXPECT_THROW(bilevel::parse_plane("x"), bilevel::ConfigError);
}

TEST_F(VolumeFile, SlicesOutsideAndContradictoryVolumes) {
  Volume volume = numbered("RAS", 2, 3, 4);
  EXPECT_THROW(bilevel::slice(volume, Plane::axial, 4), bilevel::ConfigError);
  EXPECT_THROW(bilevel::slice(volume, Plane::axial, -1), bilevel::ConfigError);
  EXPECT_THROW(bilevel::slice(volume, Plane::axial, 0, 1), bilevel::ConfigError);
  volume.values.pop_back();
  EXPECT_THROW(bilevel::slice(volume, Plane::axial, 0), bilevel::ShapeError);
  EXPECT_THROW(bilevel::slice(numbered("RLS", 2, 3, 4), Plane::axial, 0), bilevel::ShapeError);
  EXPECT_THROW(bilevel::slice(numbered("RA", 2, 3, 4), Plane::axial, 0), bilevel::ShapeError);
}

class MeasuredVolumes : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!shared_folder() || !fs::exists(*shared_folder() / "data/mri/nifti")) {
      GTEST_SKIP() << "The shared folder is absent; set BILEVEL_SHARED to run this test.";
    }
    folder_ = *shared_folder() / "data/mri";
  }
  fs::path folder_;
};

TEST_F(MeasuredVolumes, SizesTypesAndRanges) {
  struct Case {
    const char* name;
    std::array<int, 4> extents;
    std::array<double, 3> spacing;
  };
  for (const Case& c :
       {Case{"example4d.nii.gz", {128, 96, 24, 2}, {2.0, 2.0, 2.2}},
        Case{"anatomical.nii", {33, 41, 25, 1}, {}}, Case{"S0_10slices.nii.gz", {128, 128, 10, 1}, {}},
        Case{"colin27_slab_z058-099.nii.gz", {181, 217, 42, 1}, {1.0, 1.0, 1.0}}}) {
    const Volume volume = read_volume(folder_ / "nifti" / c.name);
    EXPECT_EQ((std::array<int, 4>{volume.columns, volume.rows, volume.slices, volume.frames}), c.extents)
        << c.name;
    for (std::size_t d = 0; d < 3; ++d) {
      if (c.spacing[d] > 0) {
        EXPECT_NEAR(volume.spacing[d], c.spacing[d], 1e-6) << c.name;
      }
    }
    const auto [low, high] = std::minmax_element(volume.values.begin(), volume.values.end());
    EXPECT_LT(*low, *high) << c.name;
    EXPECT_LT(*high, 70000.0) << c.name;
  }
}

/// The images beside the volume were cut from it by other means: padded to 224 x 224, anterior at the top,
/// columns from left to right.
TEST_F(MeasuredVolumes, SlicesOfColin27AreTheImagesCutFromIt) {
  const Volume volume = read_volume(folder_ / "nifti/colin27_slab_z058-099.nii.gz");
  const bilevel::Array images = bilevel::read_npy(folder_ / "colin27/colin27_slices_u8.npy");
  ASSERT_EQ(images.shape, (std::vector<std::size_t>{12, 224, 224}));
  const bilevel::SliceExtents size = bilevel::slice_extents(volume, Plane::axial);
  ASSERT_EQ(size.height, 217);
  ASSERT_EQ(size.width, 181);
  for (int n = 0; n < 12; ++n) {
    const std::vector<double> slice = bilevel::slice(volume, Plane::axial, 62 + 3 * n - 58);
    const double* image = images.values.data() + static_cast<std::ptrdiff_t>(n) * 224 * 224;
    int matches = 0;
    for (int top = 0; top <= 7; ++top) {
      for (int left = 0; left <= 43; ++left) {
        bool same = true;
        for (int y = 0; same && y < 217; ++y) {
          same = std::equal(slice.begin() + y * 181, slice.begin() + (y + 1) * 181,
                            image + (y + top) * 224 + left);
        }
        matches += same ? 1 : 0;
      }
    }
    EXPECT_EQ(matches, 1) << "slice " << n;
  }
}

}  // namespace
