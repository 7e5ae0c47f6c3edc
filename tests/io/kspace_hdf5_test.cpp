#include <fcntl.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include <limits>

#include "io/hdf5_support.hpp"
#include "kspace_test_support.hpp"

namespace {

using namespace bilevel_test;
using bilevel::io_detail::Hdf5Handle;

class Hdf5File : public KspaceFile {
 protected:
  /// A file of ones that reads.
  void write_ones(const std::string& name, bool latest = false) {
    Hdf5Writer(folder_ / name, latest).complex_dataset("kspace", {1, 2, 3, 4}, ones_);
  }
  void expect_ones(const std::string& name) {
    const Kspace read = read_kspace(folder_ / name);
    EXPECT_EQ(read.coils, 2);
    EXPECT_EQ(read.sampled, std::vector<unsigned char>(12, 1));
  }
  const Floats ones_ = Floats(2 * 3 * 4, 1.0F);
};

TEST_F(Hdf5File, Refusals) {
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
  Hdf5Writer(folder_ / "names.h5").complex_dataset("kspace", {2, 3, 4}, values, H5Z_FILTER_NONE, "x", "y");
  expect_refused("names.h5", "is not complex");
  Hdf5Writer(folder_ / "none.h5").complex_dataset("kspace", {2, 0, 4}, Floats());
  expect_refused("none.h5", "the dataset 'kspace' is empty: dimension 1 is 0");
  Hdf5Writer(folder_ / "huge.h5").complex_dataset("kspace", {1000, 1000, 1000}, Floats());
  expect_refused("huge.h5", "nothing was ever written to the dataset 'kspace'");
  {  // one of its chunks is there
    Hdf5Writer file(folder_ / "holes.h5");
    const Hdf5Handle type(H5Tcreate(H5T_COMPOUND, 8), H5Tclose);
    H5Tinsert(type.get(), "r", 0, H5T_NATIVE_FLOAT);
    H5Tinsert(type.get(), "i", 4, H5T_NATIVE_FLOAT);
    const hsize_t extents[] = {1000, 1000, 1000}, chunk[] = {1, 1, 4}, start[] = {0, 0, 0};
    const Hdf5Handle space(H5Screate_simple(3, extents, nullptr), H5Sclose),
        memory(H5Screate_simple(3, chunk, nullptr), H5Sclose);
    const Hdf5Handle creation(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
    H5Pset_chunk(creation.get(), 3, chunk);
    const Hdf5Handle dataset(
        H5Dcreate2(file.file(), "kspace", type.get(), space.get(), H5P_DEFAULT, creation.get(), H5P_DEFAULT),
        H5Dclose);
    H5Sselect_hyperslab(space.get(), H5S_SELECT_SET, start, nullptr, chunk, nullptr);
    ASSERT_GE(H5Dwrite(dataset.get(), type.get(), memory.get(), space.get(), H5P_DEFAULT, values.data()), 0);
  }
  expect_refused("holes.h5", "claims 1000 x 1000 x 1000 values, more than a file of");
  {
    Hdf5Writer file(folder_ / "group.h5");
    const Hdf5Handle group(H5Gcreate2(file.file(), "kspace", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT),
                           H5Gclose);
    file.float_dataset("kspace/real", {1}, {1});
  }
  expect_refused("group.h5",
                 "'kspace' is a group where a dataset is needed; the datasets in it are: kspace/real");
  Floats bad = values;
  bad[17] = {1.0F, std::numeric_limits<float>::quiet_NaN()};
  Hdf5Writer(folder_ / "nan.h5").complex_dataset("kspace", {1, 2, 3, 4}, bad);
  expect_refused("nan.h5", "the value at row 1, column 1 of coil 1 of slice 0 is NaN, infinite or too large");
  const std::string whole = get_file(folder_ / "nan.h5");
  put_file(folder_ / "cut.h5", whole.substr(0, whole.size() - 8));
  expect_refused("cut.h5", "cut.h5: is cut off");
  put_file(folder_ / "text.h5", "this is no HDF5 file at all");
  expect_refused("text.h5", "holds no k-space that is known");
  expect_refused("text.h5", "is no HDF5 file", KspaceFormat::fastmri);
  put_file(folder_ / "zero.h5", "");
  expect_refused("zero.h5", "empty (0 bytes)");
  expect_refused("missing.h5", "cannot be opened");
  expect_refused(".", "is a folder");
}

/// A filter under the number of LZF that leaves the bytes as they are, or does nothing at all, as the filters
/// of incompressible chunks do.
template <bool kWorks>
std::size_t do_filter(unsigned, std::size_t, const unsigned*, std::size_t size, std::size_t*, void**) {
  return kWorks ? size : 0;
}

TEST_F(Hdf5File, MissingFiltersAreNamed) {
  constexpr H5Z_filter_t kLzf = 32000;
  const auto write = [&](const std::string& name, H5Z_func_t function) {
    const H5Z_class2_t filter{H5Z_CLASS_T_VERS, kLzf, 1, 1, "lzf", nullptr, nullptr, function};
    ASSERT_GE(H5Zregister(&filter), 0);
    Hdf5Writer(folder_ / name).complex_dataset("kspace", {1, 2, 3, 4}, ones_, kLzf);
    ASSERT_GE(H5Zunregister(kLzf), 0);
  };
  write("lzf.h5", do_filter<true>);
  expect_refused("lzf.h5",
                 "slice 0 of the dataset 'kspace' cannot be read: compressed with the filter lzf (32000)");
  expect_refused("lzf.h5", "write the file anew with gzip or uncompressed");
  write("plain.h5", do_filter<false>);
  expect_ones("plain.h5");
}

TEST_F(Hdf5File, LinksToOtherFilesAreNamed) {
  write_ones("values.h5");
  {
    Hdf5Writer file(folder_ / "link.h5");
    H5Lcreate_external("values.h5", "kspace", file.file(), "kspace", H5P_DEFAULT, H5P_DEFAULT);
  }
  {
    Hdf5Writer file(folder_ / "soft.h5");
    H5Lcreate_external("values.h5", "/", file.file(), "elsewhere", H5P_DEFAULT, H5P_DEFAULT);
    H5Lcreate_soft("/elsewhere/kspace", file.file(), "kspace", H5P_DEFAULT, H5P_DEFAULT);
  }
  {
    Hdf5Writer file(folder_ / "group.h5");
    H5Lcreate_external("missing.h5", "/", file.file(), "dataset", H5P_DEFAULT, H5P_DEFAULT);
  }
  {
    Hdf5Writer file(folder_ / "alias.h5");
    file.complex_dataset("raw", {1, 2, 3, 4}, ones_);
    H5Lcreate_soft("/raw", file.file(), "kspace", H5P_DEFAULT, H5P_DEFAULT);
  }
  {
    Hdf5Writer file(folder_ / "dangling.h5");
    file.complex_dataset("raw", {1, 2, 3, 4}, ones_);
    H5Lcreate_soft("/nothing", file.file(), "kspace", H5P_DEFAULT, H5P_DEFAULT);
  }
  expect_refused("link.h5", "the values of 'kspace' lie in the file values.h5; copy them into this one");
  expect_refused("soft.h5", "the values of 'kspace' lie in another file; copy them into this one");
  expect_refused("group.h5", "the values of 'dataset/data' lie in the file missing.h5");
  expect_ones("alias.h5");
  expect_refused("dangling.h5", "has no dataset 'kspace'; the datasets in it are: raw",
                 KspaceFormat::fastmri);
}

TEST_F(Hdf5File, FilesOfAWriterAreNotDamaged) {
  write_ones("locked.h5");
  const int file = ::open((folder_ / "locked.h5").c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_EQ(::flock(file, LOCK_EX | LOCK_NB), 0);
  expect_refused("locked.h5", "locked.h5: is held open for writing by another program (HDF5 file lock)");
  expect_refused("locked.h5", "HDF5_USE_FILE_LOCKING=FALSE");
  ::close(file);
  expect_ones("locked.h5");
  const pid_t writer = ::fork();  // ends without closing its file
  if (writer == 0) {
    const auto* left = new Hdf5Writer(folder_ / "left.h5", true);
    H5Fflush(left->file(), H5F_SCOPE_GLOBAL);
    ::_exit(0);
  }
  ::waitpid(writer, nullptr, 0);
  expect_refused("left.h5", "is being written by another program, or was left unfinished by one");
  expect_refused("left.h5", "h5clear -s");
}

TEST_F(Hdf5File, DamageIsNotANewerFormat) {
  write_ones("latest.h5", true);
  expect_ones("latest.h5");
  const std::string whole = get_file(folder_ / "latest.h5");
  const std::size_t type = whole.find("\x36\x02", whole.find("OHDR"));  // a compound of two, version 3
  ASSERT_NE(type, std::string::npos);
  std::string bytes = whole;
  bytes[type] = '\x46';
  put_file(folder_ / "changed.h5", bytes);
  expect_refused("changed.h5", "damaged");
  bytes = whole;
  for (std::size_t at = 0; (at = bytes.find("OHDR", at)) != std::string::npos;) bytes[at] = '\5';
  put_file(folder_ / "headers.h5", bytes);  // "bad object header version number"
  expect_refused("headers.h5", "headers.h5: is damaged");
  put_file(folder_ / "cut.h5", whole.substr(0, whole.size() - 1));
  expect_refused("cut.h5", "cut.h5: is cut off");
  bytes = whole;
  bytes[8] = '\x04';  // of the superblock
  put_file(folder_ / "unknown.h5", bytes);
  expect_refused("unknown.h5", "has a superblock of version 4, unknown to HDF5 ");
}

/// As fastMRI has it: of variable length in its own files, of a fixed one in others.
TEST_F(Hdf5File, ReconstructionSizeOfFastmri) {
  IsmrmrdSpec spec{640, 320, 368, 184};
  spec.reconstructed_lines = 322;
  for (const bool variable : {false, true}) {
    {
      Hdf5Writer file(folder_ / "a.h5");
      file.complex_dataset("kspace", {1, 2, 3, 4}, ones_);
      file.text_dataset("ismrmrd_header", ismrmrd_xml(spec), variable);
    }
    const Kspace read = read_kspace(folder_ / "a.h5");
    EXPECT_EQ(read.recon_rows, 320);
    EXPECT_EQ(read.recon_columns, 322);
  }
  {
    Hdf5Writer file(folder_ / "b.h5");
    file.complex_dataset("kspace", {1, 2, 3, 4}, ones_);
    file.text_dataset("ismrmrd_header", "<ismrmrdHeader>", true);
  }
  for (const char* name : {"b.h5", "ones.h5"}) {
    write_ones("ones.h5");
    const Kspace read = read_kspace(folder_ / name);
    EXPECT_EQ(read.recon_rows, 0);
    EXPECT_EQ(read.recon_columns, 0);
  }
}

/// Files that other programs wrote.
TEST_F(Hdf5File, FilesOfOtherVersionsAndFilters) {
  if (!shared_folder() || !fs::exists(*shared_folder() / "faults/hdf5-filter-called-damaged"))
    GTEST_SKIP() << "The shared folder is absent; set BILEVEL_SHARED to run this test.";
  const fs::path faults = *shared_folder() / "faults";
  const auto refusal = [&](const std::string& name) -> std::string {
    try {
      read_kspace(faults / name);
    } catch (const bilevel::IoError& error) {
      EXPECT_EQ(std::string(error.what()).find("damaged", error.path().size()), std::string::npos)
          << error.what();
      return error.what();
    }
    return "";
  };
  const std::string filters = "hdf5-filter-called-damaged/", latest = "hdf5-latest-called-damaged/";
  EXPECT_NE(refusal(filters + "lzf.h5").find("the filter lzf (32000)"), std::string::npos);
  EXPECT_NE(refusal(filters + "blosc.h5").find("the filter blosc (32001)"), std::string::npos);
  EXPECT_NE(refusal(filters + "zstd.h5").find("the filter HDF5 zstd filter (32015)"), std::string::npos);
  const Kspace zipped = read_kspace(faults / (filters + "same_values_gzip.h5"));
  EXPECT_EQ(zipped.values[0], 64.0);
  EXPECT_NE(refusal("hdf5-external-link-called-damaged/link.h5").find("lie in the file values.h5"),
            std::string::npos);
  const Kspace plain = read_kspace(faults / (latest + "same_values_default.h5"));
  const std::string newer = refusal(latest + "latest.h5");
  if (newer.empty()) {  // HDF5 1.12 or later
    EXPECT_EQ(read_kspace(faults / (latest + "latest.h5")).values, plain.values);
  } else {
    for (const char* part : {"the dataset 'kspace' is in a format newer than HDF5 1.",
                             "bad version number for datatype message", "libver=('earliest', 'v110')"})
      EXPECT_NE(newer.find(part), std::string::npos) << newer;
  }
}

}  // namespace
