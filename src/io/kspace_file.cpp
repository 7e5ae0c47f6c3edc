#include "bilevel/io/kspace_file.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <fstream>
#include <limits>
#include <new>
#include <numbers>
#include <stdexcept>
#include <string>
#include <utility>

#include "bilevel/core/error.hpp"
#include "bilevel/io/array_file.hpp"
#include "core/file_bytes.hpp"
#include "io/kspace_formats.hpp"
#include "io/npy.hpp"

namespace bilevel {
inline namespace v0 {
namespace io_detail {

std::vector<std::complex<float>> make_kspace_values(const std::string& name, std::uint64_t count) {
  try {
    return std::vector<std::complex<float>>(count);
  } catch (const std::bad_alloc&) {
  } catch (const std::length_error&) {
  }
  throw IoError(name, "its " + std::to_string(count) + " complex values do not fit in memory");
}

namespace {

namespace fs = std::filesystem;

/// Throws IoError with the place of the first value that is not finite. float32 values must also stay finite
/// when their phase is changed. `what` is what the planes are.
template <class T>
void check_finite(const std::string& name, const std::vector<std::complex<T>>& values, int rows, int columns,
                  const char* what) {
  constexpr T kMost = std::numeric_limits<T>::max() / 2;
  const auto bad = std::find_if_not(values.begin(), values.end(), [](const std::complex<T>& value) {
    return std::abs(value.real()) <= kMost && std::abs(value.imag()) <= kMost;
  });
  if (bad == values.end()) return;
  const std::size_t index = static_cast<std::size_t>(bad - values.begin());
  const std::size_t width = static_cast<std::size_t>(columns), plane = width * rows;
  throw IoError(name, "the value at row " + std::to_string(index % plane / width) + ", column " +
                          std::to_string(index % width) + " of " + what + " " +
                          std::to_string(index / plane) + " is NaN, infinite or too large");
}

int checked_extent(const std::string& name, std::size_t extent) {
  if (extent >= 1 && extent <= std::numeric_limits<int>::max()) return static_cast<int>(extent);
  throw IoError(name, "an extent is " + std::to_string(extent) + "; extents from 1 to 2^31 - 1 are read");
}

/// exp(-2 pi i c k/n) for k = 0..n-1, c = floor(n/2); exactly (-1)^k when n is even.
std::vector<std::complex<double>> centre_phases(int n) {
  std::vector<std::complex<double>> phases(static_cast<std::size_t>(n));
  for (std::int64_t k = 0; k < n; ++k) {
    const double angle = -2.0 * std::numbers::pi * static_cast<double>(n / 2 * k % n) / n;
    phases[static_cast<std::size_t>(k)] = n % 2 == 0 ? (k % 2 == 0 ? 1.0 : -1.0) : std::polar(1.0, angle);
  }
  return phases;
}

/// Moves the zero frequency and the image's origin from the centre to [0,0].
void move_centre(Kspace& kspace) {
  const int rows = kspace.rows, columns = kspace.columns;
  const std::vector<std::complex<double>> row_phases = centre_phases(rows),
                                          column_phases = centre_phases(columns);
  std::vector<std::complex<float>> centred(static_cast<std::size_t>(rows) * columns);
  for (auto plane = kspace.values.begin(); plane != kspace.values.end(); plane += std::ssize(centred)) {
    std::copy(plane, plane + std::ssize(centred), centred.begin());
    for (int k = 0; k < rows; ++k) {
      const std::complex<float>* from =
          centred.data() + static_cast<std::size_t>((k + rows / 2) % rows) * columns;
      std::complex<float>* to = &*plane + static_cast<std::size_t>(k) * columns;
      for (int l = 0; l < columns; ++l) {
        const std::complex<double> value = from[(l + columns / 2) % columns];
        to[l] = static_cast<std::complex<float>>(
            value * (row_phases[static_cast<std::size_t>(k)] * column_phases[static_cast<std::size_t>(l)]));
      }
    }
  }
}

void mark_sampled(Kspace& kspace) {
  const std::size_t plane = static_cast<std::size_t>(kspace.rows) * kspace.columns;
  kspace.sampled.assign(plane * kspace.slices, 0);
  const std::size_t slice = plane * kspace.coils;
  for (std::size_t k = 0; k < kspace.values.size(); ++k) {
    if (kspace.values[k] != 0.0F) kspace.sampled[k / slice * plane + k % plane] = 1;
  }
}

Kspace bart_kspace(const fs::path& path) {
  const std::string name = path.string();
  const BartArray array = read_bart(path);
  const auto extent = [&](std::size_t d) { return d < array.extents.size() ? array.extents[d] : 1; };
  for (std::size_t d = 4; d < array.extents.size(); ++d) {
    if (d != 13 && extent(d) > 1) {
      throw IoError(
          name,
          "its dimension " + std::to_string(d) + " has " + std::to_string(extent(d)) +
              " elements; space (0 to 2), coils (3) and slices (13) are read, so extract one (bart slice)");
    }
  }
  const BartPlane plane = bart_plane(name, array);
  Kspace kspace{checked_extent(name, extent(13)),
                checked_extent(name, extent(3)),
                checked_extent(name, plane.rows),
                checked_extent(name, plane.columns),
                {},
                {}};
  kspace.values = make_kspace_values(name, array.values.size());
  const std::size_t size = plane.rows * plane.columns;
  for (std::size_t k = 0; k < array.values.size(); ++k) {
    kspace.values[k / size * size + k % plane.rows * plane.columns + k % size / plane.rows] = array.values[k];
  }
  return kspace;
}

/// The extents of a shape, with ones in front.
template <std::size_t N>
std::array<int, N> leading_extents(const std::string& name, const std::vector<std::size_t>& shape) {
  std::array<int, N> extents;
  extents.fill(1);
  if (shape.size() < 2 || shape.size() > N) {
    throw IoError(name, "the array has " + std::to_string(shape.size()) + " dimensions; 2 to " +
                            std::to_string(N) + " are read, rows and columns last");
  }
  for (std::size_t d = 0; d < shape.size(); ++d) {
    extents[N - shape.size() + d] = checked_extent(name, shape[d]);
  }
  return extents;
}

Kspace npy_kspace(const fs::path& path) {
  const std::string name = path.string();
  const TypedComplexArray typed = decode_complex_npy(name, read_file(path));
  if (typed.kind != 'c')
    throw IoError(name, "the array is real where k-space is complex (complex64 or complex128)");
  const std::array<int, 4> extents = leading_extents<4>(name, typed.array.shape);
  Kspace kspace{extents[0], extents[1], extents[2], extents[3], {}, {}};
  kspace.values = make_kspace_values(name, typed.array.values.size());
  for (std::size_t k = 0; k < kspace.values.size(); ++k) {
    kspace.values[k] = static_cast<std::complex<float>>(typed.array.values[k]);
  }
  return kspace;
}

/// By the name for BART, else by the first bytes; automatic for one of the two HDF5 formats.
KspaceFormat find_format(const fs::path& path) {
  if (names_bart(path)) return KspaceFormat::bart;
  const std::string name = path.string();
  regular_file_size(name);
  std::ifstream file(path, std::ios::binary);
  std::string first(8, '\0');
  // HDF5 may begin behind a block of the user's, at 512, 1024, 2048, ...
  for (std::streamoff at = 0; at <= 1 << 16; at = at == 0 ? 512 : 2 * at) {
    file.seekg(at);
    if (!file.read(first.data(), std::ssize(first))) break;
    if (at == 0 && first.compare(0, 6, "\x93NUMPY") == 0) return KspaceFormat::npy;
    if (first == "\x89HDF\r\n\x1a\n") return KspaceFormat::automatic;
  }
  throw IoError(name,
                "holds no k-space that is known: fastMRI or ISMRMRD HDF5, BART (.cfl with .hdr) or .npy");
}

}  // namespace
}  // namespace io_detail

Kspace read_kspace(const std::filesystem::path& path, KspaceFormat format) {
  using namespace io_detail;
  const std::string name = path.string();
  if (format == KspaceFormat::automatic) format = find_format(path);
  Kspace kspace = format == KspaceFormat::bart  ? bart_kspace(path)
                  : format == KspaceFormat::npy ? npy_kspace(path)
                                                : read_hdf5_kspace(name, format);
  check_finite(name, kspace.values, kspace.rows, kspace.columns, "slice and coil");
  move_centre(kspace);
  mark_sampled(kspace);
  return kspace;
}

ComplexImages read_complex_images(const std::filesystem::path& path) {
  using namespace io_detail;
  const std::string name = path.string();
  ComplexImages images;
  if (names_bart(path)) {
    const BartArray array = read_bart(path);
    const BartPlane plane = bart_plane(name, array);
    const std::size_t size = plane.rows * plane.columns;
    images = {checked_extent(name, array.values.size() / size), checked_extent(name, plane.rows),
              checked_extent(name, plane.columns), std::vector<std::complex<double>>(array.values.size())};
    for (std::size_t k = 0; k < array.values.size(); ++k) {
      images.values[k / size * size + k % plane.rows * plane.columns + k % size / plane.rows] =
          array.values[k];
    }
  } else {
    TypedComplexArray typed = decode_complex_npy(name, read_file(path));
    if (typed.kind != 'c' && typed.kind != 'f') {
      throw IoError(name,
                    "integers have no intensity scale; store complex64, complex128, float32 or float64");
    }
    const std::array<int, 3> extents = leading_extents<3>(name, typed.array.shape);
    images = {extents[0], extents[1], extents[2], std::move(typed.array.values)};
  }
  check_finite(name, images.values, images.rows, images.columns, "image");
  return images;
}

}  // namespace v0
}  // namespace bilevel
