#include "bilevel/io/kspace_file.hpp"

#include <atomic>
#include <limits>
#include <thread>

#include "bilevel/core/error.hpp"
#include "bilevel/io/array_file.hpp"
#include "mri_files.hpp"

namespace {

using namespace bilevel_test;
using bilevel::Kspace;
using bilevel::KspaceFormat;
using bilevel::read_kspace;
using Complexes = std::vector<std::complex<double>>;
using Floats = std::vector<std::complex<float>>;

Floats to_float(const Complexes& values) {
  Floats out;
  for (const auto& value : values) out.emplace_back(value);
  return out;
}

/// Images of a k-space by its documentation: the unitary inverse transform with both origins at [0,0].
Complexes images_of(const Kspace& kspace) {
  Complexes images;
  const std::size_t plane = static_cast<std::size_t>(kspace.rows) * kspace.columns;
  for (std::size_t at = 0; at < kspace.values.size(); at += plane) {
    const Complexes one(kspace.values.begin() + static_cast<std::ptrdiff_t>(at),
                        kspace.values.begin() + static_cast<std::ptrdiff_t>(at + plane));
    const Complexes image = dft(one, kspace.rows, kspace.columns, +1, false);
    images.insert(images.end(), image.begin(), image.end());
  }
  return images;
}

/// Centred k-space as files hold it, of `count` images one behind the other.
Complexes centred_kspace(const Complexes& images, int rows, int columns) {
  Complexes all;
  const auto plane = static_cast<std::ptrdiff_t>(rows) * columns;
  for (auto at = images.begin(); at != images.end(); at += plane) {
    const Complexes one = dft({at, at + plane}, rows, columns, -1, true);
    all.insert(all.end(), one.begin(), one.end());
  }
  return all;
}

void expect_near(const Complexes& a, const Complexes& b, double tolerance) {
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t k = 0; k < a.size(); ++k) ASSERT_LT(std::abs(a[k] - b[k]), tolerance) << "value " << k;
}

class KspaceFile : public ::testing::Test {
 protected:
  void expect_refused(const std::string& name, const std::string& reason,
                      KspaceFormat format = KspaceFormat::automatic) {
    try {
      read_kspace(folder_ / name, format);
      ADD_FAILURE() << "accepted, not refused with: " << reason;
    } catch (const bilevel::IoError& error) {
      EXPECT_NE(std::string(error.what()).find(reason), std::string::npos) << error.what();
    }
  }
  void write_bart(const std::string& name, const std::string& dimensions, const Floats& values) {
    put_file(folder_ / (name + ".hdr"), "# Dimensions\n" + dimensions + "\n# Command\nfft 7\n");
    put_file(folder_ / (name + ".cfl"), complex_bytes(values));
  }
  /// One readout per column of a centred k-space [coil][row][column].
  static std::vector<IsmrmrdEcho> echoes_of(const Complexes& kspace, int coils, int rows, int columns) {
    std::vector<IsmrmrdEcho> echoes;
    for (int column = 0; column < columns; ++column) {
      IsmrmrdEcho echo;
      echo.line = static_cast<std::uint16_t>(column);
      echo.coils.resize(static_cast<std::size_t>(coils));
      for (int coil = 0; coil < coils; ++coil) {
        for (int row = 0; row < rows; ++row) {
          echo.coils[static_cast<std::size_t>(coil)].emplace_back(
              kspace[static_cast<std::size_t>((coil * rows + row) * columns + column)]);
        }
      }
      echoes.push_back(std::move(echo));
    }
    return echoes;
  }
  TemporaryFolder folder_;
};

constexpr std::pair<int, int> kSizes[] = {{8, 6}, {7, 5}, {6, 9}, {1, 4}, {11, 8}, {3, 1}};

TEST_F(KspaceFile, EveryFormatGivesTheImageBack) {
  for (const auto& [rows, columns] : kSizes) {
    constexpr int kSlices = 2, kCoils = 3;
    const auto plane = static_cast<std::size_t>(rows * columns);
    const Complexes images = random_complex(kSlices * kCoils * plane, 20);
    const Complexes kspace = centred_kspace(images, rows, columns);
    const auto h = static_cast<hsize_t>(rows), w = static_cast<hsize_t>(columns);
    for (const bool compressed : {false, true}) {
      Hdf5Writer(folder_ / "a.h5")
          .complex_dataset("kspace", {kSlices, kCoils, h, w}, to_float(kspace), compressed);
      Hdf5Writer(folder_ / "b.h5").complex_dataset("kspace", {kSlices * kCoils, h, w}, kspace, compressed);
      const Kspace multi = read_kspace(folder_ / "a.h5"), single = read_kspace(folder_ / "b.h5");
      EXPECT_EQ(multi.slices, kSlices);
      EXPECT_EQ(multi.coils, kCoils);
      EXPECT_EQ(multi.rows, rows);
      EXPECT_EQ(multi.columns, columns);
      EXPECT_EQ(single.slices, kSlices * kCoils);
      EXPECT_EQ(single.coils, 1);
      EXPECT_EQ(multi.sampled, std::vector<unsigned char>(kSlices * plane, 1));
      expect_near(images_of(multi), images, 1e-6);
      expect_near(images_of(single), images, 1e-6);
    }
    const std::vector<std::size_t> shape{kSlices, kCoils, h, w};
    bilevel::write_npy(folder_ / "a.npy", shape, std::span<const std::complex<double>>(kspace));
    expect_near(images_of(read_kspace(folder_ / "a.npy")), images, 1e-6);
    Floats bart(kspace.size());  // first dimension fastest
    for (std::size_t k = 0; k < kspace.size(); ++k) {
      bart[k / plane * plane + k % w * h + k % plane / w] = static_cast<std::complex<float>>(kspace[k]);
    }
    write_bart("a", std::to_string(rows) + " 1 " + std::to_string(columns) + " 3 1 1 1 1 1 1 1 1 1 2", bart);
    if (rows > 1 && columns > 1) {
      for (const char* name : {"a", "a.cfl", "a.hdr"}) {
        const Kspace read = read_kspace(folder_ / name);
        EXPECT_EQ(read.slices, kSlices);
        EXPECT_EQ(read.coils, kCoils);
        expect_near(images_of(read), images, 1e-6);
      }
    }
  }
}

TEST_F(KspaceFile, EvenSizesAreMovedExactly) {
  const Complexes kspace = random_complex(4 * 6, 3);
  Hdf5Writer(folder_ / "a.h5").complex_dataset("kspace", {1, 4, 6}, to_float(kspace));
  const Kspace read = read_kspace(folder_ / "a.h5");
  for (int k = 0; k < 4; ++k) {
    for (int l = 0; l < 6; ++l) {
      const auto stored =
          static_cast<std::complex<float>>(kspace[static_cast<std::size_t>((k + 2) % 4 * 6 + (l + 3) % 6)]);
      EXPECT_EQ(read.values[static_cast<std::size_t>(k * 6 + l)], (k + l) % 2 == 0 ? stored : -stored);
    }
  }
}

TEST_F(KspaceFile, IsmrmrdReadoutsAreColumns) {
  for (const auto& [rows, columns] : kSizes) {
    const Complexes images = random_complex(static_cast<std::size_t>(2 * rows * columns), 21);
    std::vector<IsmrmrdEcho> echoes = echoes_of(centred_kspace(images, rows, columns), 2, rows, columns);
    IsmrmrdEcho noise = echoes[0];
    noise.flag = ISMRMRD::ISMRMRD_ACQ_IS_NOISE_MEASUREMENT;
    noise.repetition = 1;
    noise.coils[0].resize(100);
    noise.coils[1].resize(100);
    echoes.insert(echoes.begin(), noise);
    const IsmrmrdSpec spec{rows, rows, columns, columns / 2};
    write_ismrmrd(folder_ / "a.h5", ismrmrd_xml(spec), echoes);
    const Kspace read = read_kspace(folder_ / "a.h5");
    EXPECT_EQ(read.coils, 2);
    EXPECT_EQ(read.rows, rows);
    EXPECT_EQ(read.columns, columns);
    expect_near(images_of(read), images, 1e-6);
  }
}

TEST_F(KspaceFile, ReadoutOversamplingIsCropped) {
  for (const auto& [wide, narrow] : {std::pair{16, 8}, {14, 7}, {15, 8}, {9, 5}, {12, 11}}) {
    constexpr int kColumns = 5;
    const Complexes images = random_complex(static_cast<std::size_t>(2 * wide * kColumns), 22);
    write_ismrmrd(folder_ / "a.h5", ismrmrd_xml({wide, narrow, kColumns, 2}),
                  echoes_of(centred_kspace(images, wide, kColumns), 2, wide, kColumns));
    const Kspace read = read_kspace(folder_ / "a.h5");
    ASSERT_EQ(read.rows, narrow);
    Complexes cropped;
    for (int coil = 0; coil < 2; ++coil) {
      const int first = wide / 2 - narrow / 2;
      const auto begin = images.begin() + (coil * wide + first) * kColumns;
      cropped.insert(cropped.end(), begin, begin + narrow * kColumns);
    }
    expect_near(images_of(read), cropped, 1e-6);
  }
}

TEST_F(KspaceFile, IsmrmrdLinesLeftOutAndPartialEchoes) {
  const Complexes images = random_complex(8 * 6, 23);
  Complexes kspace = centred_kspace(images, 8, 6);
  std::vector<IsmrmrdEcho> echoes = echoes_of(kspace, 1, 8, 6);
  for (IsmrmrdEcho& echo : echoes) {
    echo.coils[0].erase(echo.coils[0].begin(), echo.coils[0].begin() + 2);  // the centre, 4, is now sample 2
    echo.centre = 2;
    echo.line = static_cast<std::uint16_t>(echo.line + 10);
  }
  echoes.erase(echoes.begin() + 1);
  write_ismrmrd(folder_ / "a.h5", ismrmrd_xml({8, 8, 6, 13}), echoes);
  const Kspace read = read_kspace(folder_ / "a.h5");
  for (int row = 0; row < 8; ++row) {
    for (int column = 0; column < 6; ++column) {
      if (row < 2 || column == 1) kspace[static_cast<std::size_t>(row * 6 + column)] = 0.0;
      const auto moved = static_cast<std::size_t>((row + 4) % 8 * 6 + (column + 3) % 6);
      EXPECT_EQ(read.sampled[moved], row < 2 || column == 1 ? 0 : 1) << row << ", " << column;
    }
  }
  expect_near(images_of(read), dft(kspace, 8, 6, +1, true), 1e-6);
}

TEST_F(KspaceFile, SampledIsTheUnionOfTheCoilsOfASlice) {
  Floats values(2 * 2 * 4);
  values[0 * 8 + 0 * 4 + 3] = 1.0F;  // slice 0, coil 0, centre [1,1]
  values[0 * 8 + 1 * 4 + 0] = 1.0F;  // slice 0, coil 1, corner [0,0]
  Hdf5Writer(folder_ / "a.h5").complex_dataset("kspace", {2, 2, 2, 2}, values);
  EXPECT_EQ(read_kspace(folder_ / "a.h5").sampled, (std::vector<unsigned char>{1, 0, 0, 1, 0, 0, 0, 0}));
}

#if !defined(__SANITIZE_ADDRESS__)  // whose allocator must not be used after a fork beside other threads
TEST_F(KspaceFile, SeveralThreadsRead) {
  const Complexes images = random_complex(2 * 8 * 6, 26), kspace = centred_kspace(images, 8, 6);
  Hdf5Writer(folder_ / "a.h5").complex_dataset("kspace", {1, 2, 8, 6}, to_float(kspace));
  write_ismrmrd(folder_ / "b.h5", ismrmrd_xml({8, 8, 6, 3}), echoes_of(kspace, 2, 8, 6));
  const Kspace expected = read_kspace(folder_ / "a.h5");
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int round = 0; round < 10; ++round) {
        if (read_kspace(folder_ / (t % 2 == 0 ? "a.h5" : "b.h5")).values != expected.values) ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}
#endif

TEST_F(KspaceFile, Hdf5Refusals) {
  const Floats values(2 * 3 * 4, 1.0F);
  {
    Hdf5Writer file(folder_ / "other.h5");
    file.complex_dataset("raw", {2, 3, 4}, values);
    file.float_dataset("reconstruction_rss", {4}, {1, 2, 3, 4});
  }
  expect_refused("other.h5",
                 "neither the dataset 'kspace' of fastMRI nor 'dataset/data' of ISMRMRD; the datasets in it "
                 "are: raw, reconstruction_rss");
  expect_refused("other.h5", "has no dataset 'kspace'; the datasets in it are: raw, reconstruction_rss",
                 KspaceFormat::fastmri);
  expect_refused("other.h5", "has no dataset 'dataset/xml'; the datasets in it are: raw",
                 KspaceFormat::ismrmrd);
  { const Hdf5Writer file(folder_ / "empty.h5"); }
  expect_refused("empty.h5", "it holds no datasets at all");
  Hdf5Writer(folder_ / "two.h5").complex_dataset("kspace", {6, 4}, values);
  expect_refused("two.h5", "'kspace' has 2 dimensions or is not complex");
  Hdf5Writer(folder_ / "real.h5").float_dataset("kspace", {1, 2, 2}, {1, 2, 3, 4});
  expect_refused("real.h5", "is not complex");
  Hdf5Writer(folder_ / "names.h5").complex_dataset("kspace", {2, 3, 4}, values, false, "x", "y");
  expect_refused("names.h5", "is not complex");
  Hdf5Writer(folder_ / "none.h5").complex_dataset("kspace", {2, 0, 4}, Floats());
  expect_refused("none.h5", "the dataset 'kspace' is empty: dimension 1 is 0");
  Hdf5Writer(folder_ / "huge.h5").complex_dataset("kspace", {1000, 1000, 1000}, Floats());
  expect_refused("huge.h5", "claims 1000 x 1000 x 1000 values, more than a file of");
  Floats bad = values;
  bad[17] = {1.0F, std::numeric_limits<float>::quiet_NaN()};
  Hdf5Writer(folder_ / "nan.h5").complex_dataset("kspace", {1, 2, 3, 4}, bad);
  expect_refused("nan.h5", "the value at row 1, column 1 of slice and coil 1 is NaN, infinite or too large");
  const std::string whole = get_file(folder_ / "nan.h5");
  put_file(folder_ / "cut.h5", whole.substr(0, whole.size() - 8));
  expect_refused("cut.h5", "damaged");
  put_file(folder_ / "text.h5", "this is no HDF5 file at all");
  expect_refused("text.h5", "holds no k-space that is known");
  expect_refused("text.h5", "is no HDF5 file", KspaceFormat::fastmri);
  put_file(folder_ / "zero.h5", "");
  expect_refused("zero.h5", "empty (0 bytes)");
  expect_refused("missing.h5", "cannot be opened");
  expect_refused(".", "is a folder");
}

TEST_F(KspaceFile, IsmrmrdRefusals) {
  const std::vector<IsmrmrdEcho> echoes = echoes_of(random_complex(8 * 6, 24), 1, 8, 6);
  const auto refuse = [&](const IsmrmrdSpec& spec, const std::vector<IsmrmrdEcho>& list,
                          const std::string& reason) {
    write_ismrmrd(folder_ / "a.h5", ismrmrd_xml(spec), list);
    expect_refused("a.h5", reason);
  };
  refuse({8, 8, 6, 3, 4}, echoes, "a matrix of 8 x 6 x 4");
  refuse({8, 8, 6, 3, 1, "radial"}, echoes, "not Cartesian");
  refuse({0, 8, 6, 3}, echoes, "a matrix of 0 x 6 x 1");
  refuse({8, 8, 5, 2}, echoes, "encoding step 5 is outside the 5 lines");
  refuse({8, 8, 60000, 30000}, echoes, "more than 64 times what the file holds");
  refuse({60000, 8, 6, 3}, echoes, "more than 64 times what the file holds");
  refuse({7, 7, 6, 3}, echoes, "an echo of 8 samples with its centre at 0 does not fit into the 7");
  const auto changed = [&](auto&& change) {
    std::vector<IsmrmrdEcho> list = echoes;
    change(list[1]);
    return list;
  };
  refuse({}, changed([](IsmrmrdEcho& echo) { echo.repetition = 1; }), "several repetitions");
  refuse({}, changed([](IsmrmrdEcho& echo) { echo.line = 0; }), "encoding step 0 of slice 0 occurs twice");
  refuse({}, changed([](IsmrmrdEcho& echo) { echo.coils.resize(2, echo.coils[0]); }), "have 1 and 2 coils");
  refuse({}, changed([](IsmrmrdEcho& echo) { echo.flag = ISMRMRD::ISMRMRD_ACQ_IS_REVERSE; }), "backwards");
  std::vector<IsmrmrdEcho> noise(1, echoes[0]);
  noise[0].flag = ISMRMRD::ISMRMRD_ACQ_IS_NOISE_MEASUREMENT;
  refuse({}, noise, "no echoes of an image");
  write_ismrmrd(folder_ / "a.h5", "<ismrmrdHeader>", echoes);
  expect_refused("a.h5", "XML header of ISMRMRD is damaged");
  write_ismrmrd(folder_ / "a.h5", ismrmrd_xml({}), {});
  expect_refused("a.h5", "dataset/data");
}

TEST_F(KspaceFile, BartAndNpyRefusals) {
  const Floats values(24, 1.0F);
  write_bart("a", "2 3 4 1", values);
  expect_refused("a", "dimensions 0, 1, 2 are 2 x 3 x 4");
  write_bart("a", "1 3 4 1 2", values);
  expect_refused("a", "dimension 4 has 2 elements");
  write_bart("a", "1 3 4 3", values);
  expect_refused("a", "asks for 288 bytes of values, but it holds 192");
  write_bart("a", "1 0 4 3", values);
  expect_refused("a", "the dimension '0' is none");
  write_bart("a", "1 3 x", values);
  expect_refused("a", "the dimension 'x' is none");
  write_bart("a", "999999999 999999999 999999999", values);
  expect_refused("a", "too many values");
  write_bart("a", "", values);
  expect_refused("a", "holds no extents");
  put_file(folder_ / "a.hdr", "nothing here");
  expect_refused("a.cfl", "no line '# Dimensions'");
  fs::remove(folder_ / "a.hdr");
  expect_refused("a", "a.hdr: cannot be opened");
  const std::vector<std::size_t> shape{4, 6};
  const std::vector<double> real(24);
  bilevel::write_npy(folder_ / "r.npy", shape, std::span<const double>(real));
  expect_refused("r.npy", "the array is real");
  const std::vector<std::size_t> five{1, 1, 1, 4, 6}, none{0, 6};
  bilevel::write_npy(folder_ / "5.npy", five, std::span<const std::complex<float>>(values));
  expect_refused("5.npy", "has 5 dimensions");
  bilevel::write_npy(folder_ / "0.npy", none, std::span<const std::complex<float>>());
  expect_refused("0.npy", "an extent is 0");
}

TEST_F(KspaceFile, ComplexImages) {
  const Complexes values = random_complex(2 * 3 * 4, 25);
  const std::vector<std::size_t> shape{2, 3, 4}, flat{6, 4};
  bilevel::write_npy(folder_ / "a.npy", shape, std::span<const std::complex<double>>(values));
  const bilevel::ComplexImages images = bilevel::read_complex_images(folder_ / "a.npy");
  EXPECT_EQ(images.count, 2);
  EXPECT_EQ(images.rows, 3);
  EXPECT_EQ(images.columns, 4);
  EXPECT_EQ(images.values, values);
  bilevel::write_npy(folder_ / "b.npy", flat, std::span<const std::complex<double>>(values));
  EXPECT_EQ(bilevel::read_complex_images(folder_ / "b.npy").count, 1);
  Floats bart;
  for (int n = 0; n < 2; ++n) {
    for (int column = 0; column < 4; ++column) {
      for (int row = 0; row < 3; ++row) {
        bart.emplace_back(values[static_cast<std::size_t>((n * 3 + row) * 4 + column)]);
      }
    }
  }
  write_bart("c", "1 3 4 2 1 1", bart);
  const bilevel::ComplexImages maps = bilevel::read_complex_images(folder_ / "c");
  EXPECT_EQ(maps.count, 2);
  EXPECT_EQ(to_float(maps.values), to_float(values));
  const std::vector<double> real{1, 2, 3, 4};
  const std::vector<std::size_t> square{2, 2};
  bilevel::write_npy(folder_ / "r.npy", square, std::span<const double>(real));
  EXPECT_EQ(bilevel::read_complex_images(folder_ / "r.npy").values, (Complexes{1, 2, 3, 4}));
  put_file(folder_ / "i.npy", npy_bytes("|u1", false, "(2, 2)", "abcd"));
  EXPECT_THROW(bilevel::read_complex_images(folder_ / "i.npy"), bilevel::IoError);
}

class MeasuredKspace : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!shared_folder() || !fs::exists(*shared_folder() / "data/mri/kspace")) {
      GTEST_SKIP() << "The shared folder is absent; set BILEVEL_SHARED to run this test.";
    }
    folder_ = *shared_folder() / "data/mri";
  }
  /// A float dataset of an HDF5 file.
  std::vector<float> floats(const char* file, const char* name) const {
    const hid_t h5 = H5Fopen((folder_ / file).c_str(), H5F_ACC_RDONLY, H5P_DEFAULT),
                set = H5Dopen2(h5, name, H5P_DEFAULT);
    const hid_t space = H5Dget_space(set);
    std::vector<float> values(static_cast<std::size_t>(H5Sget_simple_extent_npoints(space)));
    H5Dread(set, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data());
    H5Sclose(space);
    H5Dclose(set);
    H5Fclose(h5);
    return values;
  }
  static double largest(const Complexes& values) {
    double most = 0.0;
    for (const auto& value : values) most = std::max(most, std::abs(value));
    return most;
  }
  fs::path folder_;
};

TEST_F(MeasuredKspace, ThreeFormatsOfOneScanAgree) {
  const Kspace fastmri = read_kspace(folder_ / "kspace/brain8_full_fastmri.h5");
  const Kspace ismrmrd = read_kspace(folder_ / "kspace/brain8_full_ismrmrd.h5");
  const Kspace bart = read_kspace(folder_ / "kspace/brain8_full");
  for (const Kspace* kspace : {&fastmri, &ismrmrd, &bart}) {
    EXPECT_EQ(kspace->slices, 1);
    EXPECT_EQ(kspace->coils, 8);
    EXPECT_EQ(kspace->rows, 230);
    EXPECT_EQ(kspace->columns, 180);
    EXPECT_TRUE(kspace->values == fastmri.values);
    EXPECT_EQ(kspace->sampled, std::vector<unsigned char>(230 * 180, 1));
  }
}

TEST_F(MeasuredKspace, RootSumOfSquaresIsTheStoredReconstruction) {
  const Kspace kspace = read_kspace(folder_ / "kspace/brain8_full_fastmri.h5");
  const std::vector<float> stored = floats("kspace/brain8_full_fastmri.h5", "reconstruction_rss");
  const Complexes images = images_of(kspace);
  ASSERT_EQ(stored.size(), 230U * 180U);
  const double scale = largest(images);
  for (std::size_t pixel = 0; pixel < stored.size(); ++pixel) {
    double sum = 0.0;
    for (std::size_t coil = 0; coil < 8; ++coil) sum += std::norm(images[coil * stored.size() + pixel]);
    ASSERT_NEAR(std::sqrt(sum), stored[pixel], 1e-5 * scale) << pixel;
  }
}

TEST_F(MeasuredKspace, SingleCoilImagesAreTheStoredReconstruction) {
  if (!fs::exists(folder_ / "siat_complex/siat_singlecoil_fastmri.h5"))
    GTEST_SKIP() << "No single-coil data.";
  Kspace kspace = read_kspace(folder_ / "siat_complex/siat_singlecoil_fastmri.h5");
  EXPECT_EQ(kspace.slices, 3);
  EXPECT_EQ(kspace.coils, 1);
  const std::vector<float> stored = floats("siat_complex/siat_singlecoil_fastmri.h5", "reconstruction_esc");
  const Complexes images = images_of(kspace);
  ASSERT_EQ(stored.size(), images.size());
  for (std::size_t k = 0; k < stored.size(); ++k) ASSERT_NEAR(std::abs(images[k]), stored[k], 1e-5) << k;
}

TEST_F(MeasuredKspace, UndersampledNpy) {
  const Kspace kspace = read_kspace(folder_ / "kspace/brain8_poisson_c64.npy");
  EXPECT_EQ(kspace.coils, 8);
  EXPECT_EQ(kspace.rows, 230);
  EXPECT_EQ(kspace.columns, 180);
  const auto count = std::count(kspace.sampled.begin(), kspace.sampled.end(), 1);
  EXPECT_NEAR(static_cast<double>(count) / (230 * 180), 0.124, 0.0005);
  EXPECT_EQ(kspace.sampled[0], 1) << "the zero frequency";
}

/// Coil images in the file, [coil][y][x] with x along the readout, are the transposed ones.
TEST_F(MeasuredKspace, SheppLoganIsThePhantom) {
  const Kspace kspace = read_kspace(folder_ / "kspace/shepp_logan_ismrmrd.h5");
  EXPECT_EQ(kspace.coils, 4);
  ASSERT_EQ(kspace.rows, 64);
  ASSERT_EQ(kspace.columns, 64);
  const Complexes images = images_of(kspace);
  const hid_t h5 = H5Fopen((folder_ / "kspace/shepp_logan_ismrmrd.h5").c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
  const hid_t set = H5Dopen2(h5, "dataset/coil_images", H5P_DEFAULT), space = H5Dget_space(set);
  const hid_t type = H5Tcreate(H5T_COMPOUND, 8);
  H5Tinsert(type, "real", 0, H5T_NATIVE_FLOAT);
  H5Tinsert(type, "imag", 4, H5T_NATIVE_FLOAT);
  Floats stored(static_cast<std::size_t>(H5Sget_simple_extent_npoints(space)));
  ASSERT_GE(H5Dread(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, stored.data()), 0);
  H5Tclose(type);
  H5Sclose(space);
  H5Dclose(set);
  H5Fclose(h5);
  // The arrays are as wide as the readout is oversampled.
  const std::size_t width = stored.size() / (4 * 64);
  ASSERT_EQ(width, 128U);
  std::complex<double> product = 0.0;
  double energy = 0.0, measured = 0.0;
  for (std::size_t coil = 0; coil < 4; ++coil) {
    for (std::size_t y = 0; y < 64; ++y) {
      for (std::size_t x = 0; x < 64; ++x) {
        const std::complex<double> expected = stored[(coil * 64 + y) * width + x + 32];
        const std::complex<double> image = images[(coil * 64 + x) * 64 + y];
        product += std::conj(expected) * image;
        energy += std::norm(expected);
        measured += std::norm(image);
      }
    }
  }
  EXPECT_GT(std::abs(product), 0.99999 * std::sqrt(energy * measured));
  EXPECT_LT(std::abs(std::arg(product)), 1e-5);
  RecordProperty("scale", std::to_string(std::abs(product) / energy));
}

TEST_F(MeasuredKspace, SensitivityMapsOfBart) {
  const bilevel::ComplexImages maps = bilevel::read_complex_images(folder_ / "kspace/brain8_full_sens");
  EXPECT_EQ(maps.count, 8);
  ASSERT_EQ(maps.rows, 230);
  ASSERT_EQ(maps.columns, 180);
  int support = 0;
  for (std::size_t pixel = 0; pixel < 230 * 180; ++pixel) {
    double sum = 0.0;
    for (std::size_t coil = 0; coil < 8; ++coil) sum += std::norm(maps.values[coil * 230 * 180 + pixel]);
    if (sum == 0.0) continue;
    ++support;
    ASSERT_NEAR(sum, 1.0, 1e-5);
  }
  EXPECT_NEAR(support / (230.0 * 180.0), 0.82, 0.01);
  // Projecting the coil images on the maps leaves noise and model error only where maps and images belong
  // together.
  const Complexes images = images_of(read_kspace(folder_ / "kspace/brain8_full.cfl"));
  double residual = 0.0, energy = 0.0;
  for (std::size_t pixel = 0; pixel < 230 * 180; ++pixel) {
    std::complex<double> combined = 0.0;
    double size = 0.0, support_size = 0.0;
    for (std::size_t coil = 0; coil < 8; ++coil) {
      const std::size_t at = coil * 230 * 180 + pixel;
      combined += std::conj(maps.values[at]) * images[at];
      size += std::norm(images[at]);
      support_size += std::norm(maps.values[at]);
    }
    if (support_size == 0.0) continue;
    energy += size;
    residual += size - std::norm(combined);
  }
  EXPECT_NEAR(std::sqrt(residual / energy), 0.097, 0.002);
}

}  // namespace
