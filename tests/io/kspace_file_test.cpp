#include "bilevel/io/kspace_file.hpp"

#include <atomic>
#include <limits>
#include <thread>

#include "bilevel/io/array_file.hpp"
#include "kspace_test_support.hpp"

namespace {

using namespace bilevel_test;

TEST_F(KspaceFile, EveryFormatGivesTheImageBack) {
  for (const auto& [rows, columns] : kSizes) {
    constexpr int kSlices = 2, kCoils = 3;
    const auto plane = static_cast<std::size_t>(rows * columns);
    const Complexes images = random_complex(kSlices * kCoils * plane, 20);
    const Complexes kspace = centred_kspace(images, rows, columns);
    const auto h = static_cast<hsize_t>(rows), w = static_cast<hsize_t>(columns);
    for (const H5Z_filter_t filter : {H5Z_FILTER_NONE, H5Z_FILTER_DEFLATE}) {
      Hdf5Writer(folder_ / "a.h5")
          .complex_dataset("kspace", {kSlices, kCoils, h, w}, to_float(kspace), filter);
      Hdf5Writer(folder_ / "b.h5").complex_dataset("kspace", {kSlices * kCoils, h, w}, kspace, filter);
      const Kspace multi = read_kspace(folder_ / "a.h5"), single = read_kspace(folder_ / "b.h5");
      EXPECT_EQ(multi.slices, kSlices);
      EXPECT_EQ(multi.coils, kCoils);
      EXPECT_EQ(multi.rows, rows);
      EXPECT_EQ(multi.columns, columns);
      EXPECT_EQ(single.slices, kSlices * kCoils);
      EXPECT_EQ(single.coils, 1);
      EXPECT_EQ(multi.sampled, std::vector<unsigned char>(kSlices * plane, 1));
      EXPECT_EQ(multi.slice_numbers, (std::vector<int>{0, 1}));
      EXPECT_EQ(multi.recon_rows, 0);
      EXPECT_EQ(multi.notes.size(), 0U);
      expect_near(images_of(multi), images, 1e-6);
      expect_near(images_of(single), images, 1e-13);
    }
    const std::vector<std::size_t> shape{kSlices, kCoils, h, w};
    bilevel::write_npy(folder_ / "a.npy", shape, std::span<const std::complex<double>>(kspace));
    expect_near(images_of(read_kspace(folder_ / "a.npy")), images, 1e-13);
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
  Hdf5Writer(folder_ / "a.h5").complex_dataset("kspace", {1, 4, 6}, kspace);
  const std::vector<std::size_t> shape{4, 6};
  bilevel::write_npy(folder_ / "a.npy", shape, std::span<const std::complex<double>>(kspace));
  for (const char* name : {"a.h5", "a.npy"}) {
    const Kspace read = read_kspace(folder_ / name);
    for (int k = 0; k < 4; ++k) {
      for (int l = 0; l < 6; ++l) {
        const auto stored = kspace[static_cast<std::size_t>((k + 2) % 4 * 6 + (l + 3) % 6)];
        EXPECT_EQ(read.values[static_cast<std::size_t>(k * 6 + l)], (k + l) % 2 == 0 ? stored : -stored);
      }
    }
  }
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

TEST_F(KspaceFile, BartAndNpyRefusals) {
  const Floats values(24, 1.0F);
  write_bart("a", "2 3 4 1", values);
  expect_refused("a", "dimensions 0, 1, 2 are 2 x 3 x 4");
  write_bart("a", "1 3 4 1 2", values);
  expect_refused("a", "dimension 4 has 2 elements");
  expect_refused("a", "bart slice 4 0");
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

/// 2 sets of 3 maps of 4 x 5, coils fastest; `second` is a factor of the second set.
Floats two_sets(float second) {
  Floats maps = to_float(random_complex(2 * 3 * 20, 27));
  std::for_each(maps.begin() + 60, maps.end(), [&](std::complex<float>& value) { value *= second; });
  return maps;
}

TEST_F(KspaceFile, CoilMapsAreOneSet) {
  const auto refused = [&](const std::string& name, const std::string& reason) {
    try {
      bilevel::read_coil_maps(folder_ / name);
      ADD_FAILURE() << "accepted, not refused with: " << reason;
    } catch (const bilevel::IoError& error) {
      EXPECT_NE(std::string(error.what()).find(reason), std::string::npos) << error.what();
    }
  };
  write_bart("zero", "4 5 1 3 2", two_sets(0));
  const bilevel::ComplexImages maps = bilevel::read_coil_maps(folder_ / "zero");
  EXPECT_EQ(maps.count, 3);
  const Complexes all = bilevel::read_complex_images(folder_ / "zero").values;
  EXPECT_EQ(maps.values, Complexes(all.begin(), all.begin() + 60));
  write_bart("two", "4 5 1 3 2", two_sets(1e-20F));
  refused("two.cfl", "two.cfl: it holds 2 sets of 3 sensitivity maps (dimension 4)");
  refused("two.cfl", "bart slice 4 0");
  refused("two.cfl", "bart ecalib -m1");
  EXPECT_EQ(bilevel::read_complex_images(folder_ / "two").count, 6);
  write_bart("slices", "4 5 1 3 1 1 1 1 1 1 1 1 1 2", two_sets(1));
  refused("slices", "dimension 13 has 2 elements");
  Floats bad = two_sets(0);
  bad[20 + 4 * 2 + 3] = std::numeric_limits<float>::infinity();  // of coil 1, row 3, column 2
  write_bart("bad", "4 5 1 3 2", bad);
  refused("bad", "the value at row 3, column 2 of coil 1 is NaN, infinite or too large");
  const std::vector<std::size_t> shape{3, 4, 5};
  bilevel::write_npy(folder_ / "maps.npy", shape, std::span<const std::complex<double>>(maps.values));
  EXPECT_EQ(bilevel::read_coil_maps(folder_ / "maps.npy").values, maps.values);
  const auto write_sets = [&](std::size_t sets, double second) {
    Complexes values = maps.values;
    for (std::size_t k = 0; k < (sets - 1) * maps.values.size(); ++k) values.push_back(second);
    const std::vector<std::size_t> extents{sets, 3, 4, 5};
    bilevel::write_npy(folder_ / "sets.npy", extents, std::span<const std::complex<double>>(values));
  };
  for (const std::size_t sets : {1, 2}) {
    write_sets(sets, 0);
    const bilevel::ComplexImages read = bilevel::read_coil_maps(folder_ / "sets.npy");
    EXPECT_EQ(read.count, 3);
    EXPECT_EQ(read.rows, maps.rows);
    EXPECT_EQ(read.columns, maps.columns);
    EXPECT_EQ(read.values, maps.values);
  }
  write_sets(2, 1e-20);
  refused("sets.npy", "holds 2 sets of 3 sensitivity maps (the first axis");
  refused("sets.npy", "store one as [coil][row][column]");
  if (shared_folder() && fs::exists(*shared_folder() / "faults/two-sets-of-maps")) {
    const fs::path faults = *shared_folder() / "faults/two-sets-of-maps";
    EXPECT_THROW(bilevel::read_coil_maps(faults / "maps"), bilevel::IoError);
    EXPECT_EQ(bilevel::read_coil_maps(faults / "maps1").count, 4);
  }
}

TEST_F(KspaceFile, IsKnownByItsContent) {
  const Complexes values = random_complex(4 * 6, 28);
  Hdf5Writer(folder_ / "a.h5").complex_dataset("kspace", {1, 4, 6}, values);
  const Complexes expected = read_kspace(folder_ / "a.h5").values;
  const std::string bytes = get_file(folder_ / "a.h5");
  for (const char* name : {"scan.mrd", "scan", "scan.npy", "scan.hdr.bak"}) {
    put_file(folder_ / name, bytes);
    EXPECT_TRUE(bilevel::is_kspace(folder_ / name)) << name;
    EXPECT_EQ(read_kspace(folder_ / name).values, expected) << name;
  }
  put_file(folder_ / "behind", std::string(512, 'x') + bytes);  // a user's block
  EXPECT_TRUE(bilevel::is_kspace(folder_ / "behind"));
  write_bart("b", "4 6", Floats(24, 1.0F));
  for (const char* name : {"b", "b.cfl", "b.hdr"}) EXPECT_TRUE(bilevel::is_kspace(folder_ / name)) << name;
  put_file(folder_ / "brain.hdr", std::string(348, '\0'));
  EXPECT_TRUE(bilevel::is_kspace(folder_ / "brain.hdr"));
  put_file(folder_ / "brain.img", "abc");
  const std::vector<std::size_t> shape{4, 6};
  bilevel::write_npy(folder_ / "image.npy", shape, std::span<const std::complex<double>>(values));
  put_file(folder_ / "text.h5", "this is no HDF5 file at all");
  for (const char* name : {"brain.hdr", "brain.img", "image.npy", "text.h5", "missing.h5", "missing", "."})
    EXPECT_FALSE(bilevel::is_kspace(folder_ / name)) << name;
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
