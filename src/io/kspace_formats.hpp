#pragma once

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

/// A BART file: the extents of its dimensions, the first of which runs fastest, and its values.
struct BartArray {
  std::vector<std::size_t> extents;
  std::vector<std::complex<float>> values;
};

/// Whether BART's pair of files is meant: an extension .cfl or .hdr, or none and a .cfl file beside it.
bool names_bart(const std::filesystem::path& path);
BartArray read_bart(const std::filesystem::path& path);

/// The two of the dimensions 0, 1, 2 that are rows and columns. Throws IoError when all three are larger
/// than 1.
struct BartPlane {
  std::size_t rows = 1, columns = 1;
};
BartPlane bart_plane(const std::string& name, const BartArray& array);

/// k-space as HDF5 files store it, centred. `format` is fastmri, ismrmrd or automatic.
Kspace read_hdf5_kspace(const std::string& name, KspaceFormat format);

/// The ends of a child's conversation about ISMRMRD data.
void send_ismrmrd(const std::string& name, std::int64_t hdf5_file, std::uint64_t file_size, Outlet& out);
Kspace receive_ismrmrd(const std::string& name, std::uint64_t file_size, Inlet& in);

/// `count` zeros. Throws IoError when they do not fit in memory.
std::vector<std::complex<float>> make_kspace_values(const std::string& name, std::uint64_t count);

}  // namespace io_detail
}  // namespace v0
}  // namespace bilevel
