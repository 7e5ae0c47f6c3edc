#pragma once

#include <array>
#include <complex>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "bilevel/io/kspace_file.hpp"
#include "io/child_process.hpp"

namespace bilevel {
inline namespace v0 {
namespace io_detail {

/// Dimensions of BART's arrays; 0 to 2 are space.
constexpr std::size_t kBartCoils = 3, kBartSets = 4, kBartSlices = 13;

/// A BART file: the extents of its dimensions, and its values as planes [...][row][column], of whose other
/// dimensions the lowest runs fastest. Rows and columns are the two of the dimensions 0, 1, 2 that are not 1.
struct BartArray {
  std::vector<std::size_t> extents;
  std::size_t rows = 1, columns = 1;
  std::vector<std::complex<double>> values;

  std::size_t extent(std::size_t d) const { return d < extents.size() ? extents[d] : 1; }
};

/// Whether BART's pair of files is meant: an extension .cfl, or .hdr unless only a volume's .img is beside
/// it, or another name without a file but with a .cfl file beside it.
bool names_bart(const std::filesystem::path& path);
/// Throws IoError also when all three spatial dimensions are larger than 1.
BartArray read_bart(const std::filesystem::path& path);

/// k-space as HDF5 files store it, centred. `format` is fastmri, ismrmrd or automatic. `sampled` is filled
/// where the format tells what was measured, else empty.
Kspace read_hdf5_kspace(const std::string& name, KspaceFormat format);

/// The ends of a child's conversation about ISMRMRD data.
void send_ismrmrd(const std::string& name, std::int64_t hdf5_file, std::uint64_t file_size, Outlet& out);
Kspace receive_ismrmrd(const std::string& name, std::uint64_t file_size, Inlet& in);

/// Rows and columns of the reconstruction in fastMRI's ismrmrd_header; zeros when it is missing or
/// unreadable.
std::array<std::int32_t, 2> fastmri_reconstruction(const std::string& name, std::int64_t hdf5_file);

/// `count` zeros. Throws IoError when they do not fit in memory.
std::vector<std::complex<double>> make_complex_values(const std::string& name, std::uint64_t count);

}  // namespace io_detail
}  // namespace v0
}  // namespace bilevel
