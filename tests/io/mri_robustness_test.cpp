// Damaged files of every MRI format give an IoError or a sound result: no crash, no hang, bounded memory.

#include <sys/resource.h>

#include <chrono>
#include <functional>
#include <map>

#include "bilevel/core/error.hpp"
#include "bilevel/io/array_file.hpp"
#include "bilevel/io/kspace_file.hpp"
#include "bilevel/io/volume_file.hpp"
#include "mri_files.hpp"

#if defined(__SANITIZE_ADDRESS__)
// In a child process nobody sees what sanitizers print; with these its end tells.
extern "C" const char* __asan_default_options() { return "allocator_may_return_null=1"; }
extern "C" const char* __ubsan_default_options() { return "halt_on_error=1"; }
#endif

namespace {

using namespace bilevel_test;

constexpr unsigned kSeed = 20240611;

#if defined(__SANITIZE_ADDRESS__)
constexpr long kMemoryGrowth = 1024;  // MiB; freed memory is kept in quarantine
constexpr int kFewer = 5;             // a child process takes ten times longer to start
#else
constexpr long kMemoryGrowth = 128;
constexpr int kFewer = 1;
#endif

/// A file, what reads it, and how often it is damaged.
struct Sample {
  std::string file;
  std::string bytes;
  std::function<void(const fs::path&)> read;
  int mutations;
};

void read_volume_soundly(const fs::path& path) {
  const bilevel::Volume volume = bilevel::read_volume(path);
  EXPECT_EQ(volume.values.size(), static_cast<std::size_t>(volume.columns) * volume.rows * volume.slices *
                                      volume.parts * volume.frames);
  for (const double value : volume.values) ASSERT_TRUE(std::isfinite(value));
  for (const double spacing : volume.spacing) EXPECT_GT(spacing, 0.0);
  const bilevel::SliceExtents size = bilevel::slice_extents(volume, bilevel::Plane::coronal);
  EXPECT_EQ(bilevel::slice(volume, bilevel::Plane::coronal, 0).size(),
            static_cast<std::size_t>(size.height) * size.width * volume.parts);
}

void read_kspace_soundly(const fs::path& path) {
  const bilevel::Kspace kspace = bilevel::read_kspace(path);
  const std::size_t plane = static_cast<std::size_t>(kspace.rows) * kspace.columns;
  EXPECT_GE(std::min({kspace.slices, kspace.coils, kspace.rows, kspace.columns}), 1);
  EXPECT_EQ(kspace.values.size(), plane * kspace.slices * kspace.coils);
  EXPECT_EQ(kspace.sampled.size(), plane * kspace.slices);
  EXPECT_EQ(kspace.slice_numbers.size(), static_cast<std::size_t>(kspace.slices));
  EXPECT_GE(std::min(kspace.recon_rows, kspace.recon_columns), 0);
  for (std::size_t k = 0; k < kspace.values.size(); ++k) {
    const std::complex<double> value = kspace.values[k];
    ASSERT_TRUE(std::isfinite(value.real()) && std::isfinite(value.imag()));
    ASSERT_TRUE(value == 0.0 || kspace.sampled[k / plane / kspace.coils * plane + k % plane] == 1);
  }
}

std::string fastmri_bytes(H5Z_filter_t filter, bool latest = false) {
  const TemporaryFolder folder;
  std::vector<std::complex<float>> values;
  for (const auto& value : random_complex(2 * 2 * 5 * 4, 31)) values.emplace_back(value);
  {
    Hdf5Writer file(folder / "a.h5", latest);
    file.complex_dataset("kspace", {2, 2, 5, 4}, values, filter);
    file.text_dataset("ismrmrd_header", ismrmrd_xml(IsmrmrdSpec{}), !latest);
    file.float_dataset("reconstruction_rss", {2, 2}, {1, 2, 3, 4});
  }
  return get_file(folder / "a.h5");
}

/// Oversampled along the readout; `partial`: along the lines as well, and without the first two samples.
std::string ismrmrd_bytes(bool partial) {
  const TemporaryFolder folder;
  std::vector<IsmrmrdEcho> echoes;
  for (std::uint16_t line = 0; line < 6; ++line) {
    IsmrmrdEcho echo;
    echo.line = line;
    for (unsigned coil = 0; coil < 2; ++coil) {
      echo.coils.emplace_back();
      for (const auto& value : random_complex(partial ? 6 : 8, 40 + coil))
        echo.coils.back().emplace_back(value);
    }
    if (partial) echo.centre = 2, echo.discard_post = 1, echo.slice = 3;
    echoes.push_back(echo);
  }
  IsmrmrdSpec spec{8, 4, 6, 3};
  if (partial) spec.reconstructed_lines = 3;
  write_ismrmrd(folder / "a.h5", ismrmrd_xml(spec), echoes);
  return get_file(folder / "a.h5");
}

std::map<std::string, Sample> samples() {
  NiftiSpec little{{3, 2, 2}, 4, 2}, big{{2, 2, 1, 2}, 16, 4, true};
  little.slope = 2.0F;
  big.offset = 0.0F;  // wherever the header ends
  big.sform = {{-1, 0, 0, 4}, {0, 0, 1, 0}, {0, 1, 0, 0}};
  std::string floats;
  for (int k = 0; k < 8; ++k) floats += float_bytes(0.25F * static_cast<float>(k), true);
  const std::string shorts = "abcdefghijklmnopqrstuvwx";
  return {{"nifti", {"a.nii", nifti_header(little) + shorts, read_volume_soundly, 250}},
          {"nifti_big_endian", {"b.nii", nifti_header(big) + floats, read_volume_soundly, 250}},
          {"nifti2", {"n.nii", nifti2_header(big) + floats, read_volume_soundly, 250}},
          {"nifti_compressed", {"c.nii.gz", gzip(nifti_header(little) + shorts), read_volume_soundly, 250}},
          {"fastmri", {"a.h5", fastmri_bytes(H5Z_FILTER_NONE), read_kspace_soundly, 300}},
          {"fastmri_compressed", {"b.h5", fastmri_bytes(H5Z_FILTER_DEFLATE), read_kspace_soundly, 300}},
          {"fastmri_latest", {"d.h5", fastmri_bytes(H5Z_FILTER_DEFLATE, true), read_kspace_soundly, 200}},
          {"ismrmrd", {"c.h5", ismrmrd_bytes(false), read_kspace_soundly, 300}},
          {"ismrmrd_partial", {"e.h5", ismrmrd_bytes(true), read_kspace_soundly, 200}},
          {"bart_header", {"a.hdr", "# Dimensions\n1 3 2 2 1\n", read_kspace_soundly, 2000}},
          {"npy",
           {"a.npy", npy_bytes(">c8", true, "(2, 3, 1)", std::string(48, '?')), read_kspace_soundly, 2000}}};
}

long peak_mebibytes() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss / 1024;
}

class MriRobustness : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    sample_ = samples().at(GetParam());
    sample_.mutations /= kFewer;
    if (sample_.file == "a.hdr") put_file(folder_ / "a.cfl", std::string(12 * 8, '?'));
  }

  /// Whether the file was accepted. An exception other than IoError fails the test.
  bool attempt(const std::string& bytes) {
    put_file(folder_ / sample_.file, bytes);
    try {
      sample_.read(folder_ / sample_.file);
      return true;
    } catch (const bilevel::IoError& error) {
      const std::string text = error.what();
      EXPECT_TRUE(std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c <= '~'; })) << text;
      // A child that ended by itself was ended by a sanitizer; HDF5 has errors of its own that they see.
      if (sample_.file.find(".h5") == std::string::npos) {
        EXPECT_EQ(text.find("failed on it;"), std::string::npos) << text;
      }
      EXPECT_EQ(text.find("is in a format newer"), std::string::npos) << text;
      last_refusal_ = text;
      return false;
    }
  }

  Sample sample_;
  std::string last_refusal_;
  TemporaryFolder folder_;
};

TEST_P(MriRobustness, TheWholeFileIsReadAndTruncationsGiveAnErrorOrASoundResult) {
  ASSERT_TRUE(attempt(sample_.bytes)) << last_refusal_;
  const std::size_t step = 1 + sample_.bytes.size() * kFewer / 100;
  int refused = 0, tried = 0;
  for (std::size_t length = 0; length < sample_.bytes.size(); length += step, ++tried) {
    if (!attempt(sample_.bytes.substr(0, length))) ++refused;
  }
  EXPECT_GE(refused, sample_.file == "a.hdr" ? tried / 2 : tried) << "a BART header may lose its last ones";
}

TEST_P(MriRobustness, MutationsGiveAnErrorOrASoundResult) {
  std::mt19937 generator(kSeed);
  const auto below = [&](std::size_t n) {
    return std::uniform_int_distribution<std::size_t>(0, n - 1)(generator);
  };
  // Half of the changes hit bytes that are not zero, which in HDF5 files are few.
  std::vector<std::size_t> filled;
  for (std::size_t k = 0; k < sample_.bytes.size(); ++k) {
    if (sample_.bytes[k] != '\0') filled.push_back(k);
  }
  const long before = peak_mebibytes();
  const auto start = std::chrono::steady_clock::now();
  int accepted = 0;
  for (int round = 0; round < sample_.mutations; ++round) {
    std::string mutated = sample_.bytes;
    const std::size_t changes = 1 + below(3);
    for (std::size_t k = 0; k < changes; ++k) {
      const std::size_t near = below(2) == 0 ? below(mutated.size()) : filled[below(filled.size())];
      const std::size_t at = std::min(near + below(4), mutated.size() - 1);
      switch (below(4)) {
        case 0:
          mutated[at] = static_cast<char>(below(256));
          break;
        case 1:
          mutated[at] = static_cast<char>(mutated[at] ^ (1 << below(8)));
          break;
        case 2:
          mutated[at] = below(2) == 0 ? '\xff' : '\0';
          break;
        default:
          mutated.replace(at, std::min<std::size_t>(8, mutated.size() - at), std::string(8, '\x7f'));
          break;
      }
    }
    if (below(20) == 0) mutated.resize(below(mutated.size()));
    if (attempt(mutated)) ++accepted;
    if (HasFailure()) FAIL() << "seed " << kSeed << ", round " << round;
  }
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
  EXPECT_LT(accepted, sample_.mutations) << "no mutation did anything";
  EXPECT_LT(peak_mebibytes() - before, kMemoryGrowth) << "seed " << kSeed;
  std::printf("seed %u: %d of %d mutated files accepted, %.1f s\n", kSeed, accepted, sample_.mutations,
              taken.count());
}

std::vector<std::string> sample_names() {
  std::vector<std::string> names;
  for (const auto& [name, sample] : samples()) names.push_back(name);
  return names;
}

INSTANTIATE_TEST_SUITE_P(Formats, MriRobustness, ::testing::ValuesIn(sample_names()),
                         [](const auto& parameter) { return parameter.param; });

}  // namespace
