#pragma once

// What tests of k-space files share: the images of a k-space by its documentation, and files of them.

#include "bilevel/core/error.hpp"
#include "bilevel/io/kspace_file.hpp"
#include "mri_files.hpp"

namespace bilevel_test {

using bilevel::Kspace;
using bilevel::KspaceFormat;
using bilevel::read_kspace;
using Complexes = std::vector<std::complex<double>>;
using Floats = std::vector<std::complex<float>>;

inline Floats to_float(const Complexes& values) {
  Floats out;
  for (const auto& value : values) out.emplace_back(value);
  return out;
}

/// Images of a k-space by its documentation: the unitary inverse transform with both origins at [0,0].
inline Complexes images_of(const Kspace& kspace) {
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
inline Complexes centred_kspace(const Complexes& images, int rows, int columns) {
  Complexes all;
  const auto plane = static_cast<std::ptrdiff_t>(rows) * columns;
  for (auto at = images.begin(); at != images.end(); at += plane) {
    const Complexes one = dft({at, at + plane}, rows, columns, -1, true);
    all.insert(all.end(), one.begin(), one.end());
  }
  return all;
}

inline void expect_near(const Complexes& a, const Complexes& b, double tolerance) {
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t k = 0; k < a.size(); ++k) ASSERT_LT(std::abs(a[k] - b[k]), tolerance) << "value " << k;
}

constexpr std::pair<int, int> kSizes[] = {{8, 6}, {7, 5}, {6, 9}, {1, 4}, {11, 8}, {3, 1}};

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

}  // namespace bilevel_test
