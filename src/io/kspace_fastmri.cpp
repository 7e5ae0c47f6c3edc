#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <new>
#include <stdexcept>

#include "bilevel/core/error.hpp"
#include "io/hdf5_support.hpp"
#include "io/kspace_formats.hpp"

namespace bilevel {
inline namespace v0 {
namespace io_detail {
namespace {

/// What the child found: the format, and for fastMRI the extents and the size of the reconstruction.
struct Found {
  bool ismrmrd = false;
  std::array<std::int32_t, 4> extents{};
  std::array<std::int32_t, 2> reconstruction{};
};

bool is_complex(hid_t type) {
  if (H5Tget_class(type) != H5T_COMPOUND || H5Tget_nmembers(type) != 2) return false;
  for (const char* member : {"r", "i"}) {
    const int index = H5Tget_member_index(type, member);
    if (index < 0 || H5Tget_member_class(type, static_cast<unsigned>(index)) != H5T_FLOAT) return false;
  }
  return true;
}

std::array<std::int32_t, 4> checked_extents(const std::string& name, const Hdf5Dataset& kspace,
                                            std::uint64_t file_size) {
  const std::size_t rank = kspace.extents.size();
  if ((rank != 3 && rank != 4) || !is_complex(kspace.type.get())) {
    throw IoError(name,
                  "the dataset 'kspace' has " + std::to_string(rank) +
                      " dimensions or is not complex; [slice, row, column] or [slice, coil, row, column] "
                      "of compounds with floating-point members r and i are read");
  }
  std::array<std::int32_t, 4> extents{1, 1, 1, 1};
  const double value_size = static_cast<double>(H5Tget_size(kspace.type.get()));
  double bytes = value_size;
  std::string shape;
  for (std::size_t d = 0; d < rank; ++d) {
    const hsize_t extent = kspace.extents[d];
    shape += (d > 0 ? " x " : "") + std::to_string(extent);
    if (extent == 0)
      throw IoError(name, "the dataset 'kspace' is empty: dimension " + std::to_string(d) + " is 0");
    bytes *= static_cast<double>(extent);
    extents[rank == 3 && d > 0 ? d + 1 : d] =
        static_cast<std::int32_t>(std::min<hsize_t>(extent, std::numeric_limits<std::int32_t>::max()));
  }
  // Deflate shrinks by 1032 at most.
  if (bytes > (kspace.filtered ? 1032.0 : 1.0) * static_cast<double>(file_size)) {
    if (!kspace.missing_filter.empty()) refuse_values(name, kspace, "the dataset 'kspace'");
    throw IoError(name, "the dataset 'kspace' claims " + shape + " values, more than a file of " +
                            std::to_string(file_size) + " bytes can hold; it is cut off or damaged");
  }
  return extents;
}

/// Sends one slice after the other.
void send_fastmri(const std::string& name, hid_t file, std::uint64_t file_size, Outlet& out) {
  const Hdf5Dataset kspace = open_dataset(name, file, "kspace");
  const std::array<std::int32_t, 4> extents = checked_extents(name, kspace, file_size);
  out.send_value(Found{false, extents, fastmri_reconstruction(name, file)});
  const Hdf5Handle type(H5Tcreate(H5T_COMPOUND, sizeof(std::complex<double>)), H5Tclose);
  H5Tinsert(type.get(), "r", 0, H5T_NATIVE_DOUBLE);
  H5Tinsert(type.get(), "i", sizeof(double), H5T_NATIVE_DOUBLE);
  std::vector<hsize_t> start(kspace.extents.size(), 0), count = kspace.extents;
  count[0] = 1;
  hsize_t slice_size = 1;
  for (const hsize_t extent : count) slice_size *= extent;
  const Hdf5Handle memory(H5Screate_simple(1, &slice_size, nullptr), H5Sclose);
  std::vector<std::complex<double>> slice(slice_size);
  for (; start[0] < kspace.extents[0]; ++start[0]) {
    if (H5Sselect_hyperslab(kspace.space.get(), H5S_SELECT_SET, start.data(), nullptr, count.data(),
                            nullptr) < 0 ||
        H5Dread(kspace.dataset.get(), type.get(), memory.get(), kspace.space.get(), H5P_DEFAULT,
                slice.data()) < 0) {
      refuse_values(name, kspace, "slice " + std::to_string(start[0]) + " of the dataset 'kspace'");
    }
    out.send(slice.data(), slice.size() * sizeof slice[0]);
  }
}

Kspace receive_fastmri(const std::string& name, const Found& found, Inlet& in) {
  Kspace kspace;
  kspace.slices = found.extents[0], kspace.coils = found.extents[1];
  kspace.rows = found.extents[2], kspace.columns = found.extents[3];
  kspace.recon_rows = found.reconstruction[0], kspace.recon_columns = found.reconstruction[1];
  const std::uint64_t slice = std::uint64_t(kspace.coils) * kspace.rows * kspace.columns;
  try {
    kspace.values.reserve(slice * kspace.slices);
    for (int s = 0; s < kspace.slices; ++s) {  // pages are occupied as the values arrive
      kspace.values.resize(slice * (s + 1));
      in.receive(kspace.values.data() + slice * s, slice * sizeof kspace.values[0]);
    }
    return kspace;
  } catch (const std::bad_alloc&) {
  } catch (const std::length_error&) {
  }
  throw IoError(name, "the k-space does not fit in memory");
}

void send_hdf5(const std::string& name, KspaceFormat format, std::uint64_t file_size, Outlet& out) {
  const Hdf5Handle file = open_hdf5(name);
  if (format == KspaceFormat::automatic) {
    const bool ismrmrd = has_dataset(name, file.get(), "dataset/data");
    if (!ismrmrd && !has_dataset(name, file.get(), "kspace")) {
      throw IoError(name, "has neither the dataset 'kspace' of fastMRI nor 'dataset/data' of ISMRMRD; " +
                              datasets_found(file.get()));
    }
    format = ismrmrd ? KspaceFormat::ismrmrd : KspaceFormat::fastmri;
  }
  if (format == KspaceFormat::fastmri) return send_fastmri(name, file.get(), file_size, out);
  out.send_value(Found{.ismrmrd = true});
  send_ismrmrd(name, file.get(), file_size, out);
}

}  // namespace

Kspace read_hdf5_kspace(const std::string& name, KspaceFormat format) {
  const std::uint64_t file_size = regular_file_size(name);
  Kspace kspace;
  read_in_child(
      name, file_size, [&](Outlet& out) { send_hdf5(name, format, file_size, out); },
      [&](Inlet& in) {
        const Found found = in.receive_value<Found>();
        kspace = found.ismrmrd ? receive_ismrmrd(name, file_size, in) : receive_fastmri(name, found, in);
      });
  return kspace;
}

}  // namespace io_detail
}  // namespace v0
}  // namespace bilevel
