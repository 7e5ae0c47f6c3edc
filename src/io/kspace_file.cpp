#include "bilevel/io/kspace_file.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <fstream>
#include <functional>
#include <limits>
#include <new>
#include <numbers>
#include <numeric>
#include <stdexcept>
#include <string>
#include <utility>

#include "bilevel/core/error.hpp"
#include "bilevel/io/array_file.hpp"
#include "core/file_bytes.hpp"
#include "io/hdf5_support.hpp"
#include "io/kspace_formats.hpp"
#include "io/npy.hpp"

namespace bilevel {
inline namespace v0 {
namespace io_detail {

std::vector<std::complex<double>> make_complex_values(const std::string& name, std::uint64_t count) {
  try {
    return std::vector<std::complex<double>>(count);
  } catch (const std::bad_alloc&) {
  } catch (const std::length_error&) {
  }
  throw IoError(name, "its " + std::to_string(count) + " complex values do not fit in memory");
}

namespace {

namespace fs = std::filesystem;

/// Throws IoError with the place of the first value that is not finite, or would not stay so when its phase
/// is changed. `plane_name` tells what plane k of rows and columns is.
void check_finite(const std::string& name, const std::vector<std::complex<double>>& values, int rows,
                  int columns, const std::function<std::string(std::size_t)>& plane_name) {
  constexpr double kMost = std::numeric_limits<double>::max() / 2;
  const auto bad = std::find_if_not(values.begin(), values.end(), [](const std::complex<double>& value) {
    return std::abs(value.real()) <= kMost && std::abs(value.imag()) <= kMost;
  });
  if (bad == values.end()) return;
  const std::size_t index = static_cast<std::size_t>(bad - values.begin());
  const std::size_t width = static_cast<std::size_t>(columns), plane = width * rows;
  throw IoError(name, "the value at row " + std::to_string(index % plane / width) + ", column " +
                          std::to_string(index % width) + " of " + plane_name(index / plane) +
                          " is NaN, infinite or too large");
}

/// The same for images, or maps of coils.
void check_finite(const std::string& name, const ComplexImages& images, const char* what) {
  check_finite(name, images.values, images.rows, images.columns,
               [&](std::size_t k) { return what + (" " + std::to_string(k)); });
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

/// Moves zero frequency from the centre of each plane [rows][columns] to [0,0].
template <class T>
void move_zero_frequency(std::vector<T>& planes, int rows, int columns) {
  const std::ptrdiff_t h = rows, w = columns;
  std::vector<T> centred(static_cast<std::size_t>(h * w));
  for (auto plane = planes.begin(); plane != planes.end(); plane += h * w) {
    std::copy(plane, plane + h * w, centred.begin());
    for (std::ptrdiff_t k = 0; k < h; ++k) {
      const auto line = centred.begin() + (k + h / 2) % h * w;
      std::rotate_copy(line, line + w / 2, line + w, plane + k * w);
    }
  }
}

/// Moves the zero frequency and the image's origin from the centre to [0,0].
void move_centre(Kspace& kspace) {
  move_zero_frequency(kspace.values, kspace.rows, kspace.columns);
  move_zero_frequency(kspace.sampled, kspace.rows, kspace.columns);
  const std::vector<std::complex<double>> row_phases = centre_phases(kspace.rows),
                                          column_phases = centre_phases(kspace.columns);
  auto value = kspace.values.begin();
  while (value != kspace.values.end())
    for (const std::complex<double>& row : row_phases)
      for (const std::complex<double>& column : column_phases) *value++ *= row * column;
}

/// Sampled is where a coil has a value that is not zero.
void mark_sampled(Kspace& kspace) {
  const std::size_t plane = static_cast<std::size_t>(kspace.rows) * kspace.columns;
  kspace.sampled.assign(plane * kspace.slices, 0);
  const std::size_t slice = plane * kspace.coils;
  for (std::size_t k = 0; k < kspace.values.size(); ++k) {
    if (kspace.values[k] != 0.0) kspace.sampled[k / slice * plane + k % plane] = 1;
  }
}

Kspace make_kspace(int slices, int coils, int rows, int columns, std::vector<std::complex<double>> values) {
  Kspace kspace;
  kspace.slices = slices, kspace.coils = coils;
  kspace.rows = rows, kspace.columns = columns;
  kspace.values = std::move(values);
  return kspace;
}

/// Throws unless every dimension from 4 on has one element, but for the one `allowed`.
void check_other_dimensions(const std::string& name, const BartArray& array, std::size_t allowed) {
  for (std::size_t d = 4; d < array.extents.size(); ++d) {
    if (d == allowed || array.extent(d) == 1) continue;
    throw IoError(name, "its dimension " + std::to_string(d) + " has " + std::to_string(array.extent(d)) +
                            " elements; space (0 to 2), coils (3)" +
                            (allowed == kBartSlices ? " and slices (13)" : "") +
                            " are read, so extract one (bart slice " + std::to_string(d) + " 0)");
  }
}

Kspace bart_kspace(const fs::path& path) {
  const std::string name = path.string();
  BartArray array = read_bart(path);
  check_other_dimensions(name, array, kBartSlices);
  return make_kspace(checked_extent(name, array.extent(kBartSlices)),
                     checked_extent(name, array.extent(kBartCoils)), checked_extent(name, array.rows),
                     checked_extent(name, array.columns), std::move(array.values));
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
  TypedComplexArray typed = decode_complex_npy(name, read_file(path));
  if (typed.kind != 'c')
    throw IoError(name, "the array is real where k-space is complex (complex64 or complex128)");
  const std::array<int, 4> extents = leading_extents<4>(name, typed.array.shape);
  return make_kspace(extents[0], extents[1], extents[2], extents[3], std::move(typed.array.values));
}

/// By the name for BART, else by the first bytes; automatic for one of the two HDF5 formats.
KspaceFormat find_format(const fs::path& path) {
  if (names_bart(path)) return KspaceFormat::bart;
  const std::string name = path.string();
  regular_file_size(name);
  if (hdf5_superblock(path)) return KspaceFormat::automatic;
  std::string first(6, '\0');
  std::ifstream(path, std::ios::binary).read(first.data(), std::ssize(first));
  if (first == "\x93NUMPY") return KspaceFormat::npy;
  throw IoError(name,
                "holds no k-space that is known: fastMRI or ISMRMRD HDF5, BART (.cfl with .hdr) or .npy");
}

/// BART's images, coils being the fastest of their numbers.
ComplexImages bart_images(const std::string& name, BartArray array) {
  return {checked_extent(name, array.values.size() / (array.rows * array.columns)),
          checked_extent(name, array.rows), checked_extent(name, array.columns), std::move(array.values)};
}

/// Numbers with an intensity scale, and their extents with ones in front.
template <std::size_t N>
std::pair<std::array<int, N>, std::vector<std::complex<double>>> npy_complex(const fs::path& path) {
  const std::string name = path.string();
  TypedComplexArray typed = decode_complex_npy(name, read_file(path));
  if (typed.kind != 'c' && typed.kind != 'f')
    throw IoError(name, "integers have no intensity scale; store complex64, complex128, float32 or float64");
  return {leading_extents<N>(name, typed.array.shape), std::move(typed.array.values)};
}

ComplexImages npy_images(const fs::path& path) {
  auto [extents, values] = npy_complex<3>(path);
  return {extents[0], extents[1], extents[2], std::move(values)};
}

/// Leaves the first set of maps if the others are zero. `where` and `extract`: the axis, and how to take one.
void keep_one_set(const std::string& name, std::size_t sets, std::size_t coils,
                  std::vector<std::complex<double>>& values, const std::string& where,
                  const std::string& extract) {
  if (sets == 1) return;
  const auto others = values.begin() + static_cast<std::ptrdiff_t>(values.size() / sets);
  if (std::any_of(others, values.end(), [](const auto& value) { return value != 0.0; })) {
    throw IoError(name, "it holds " + std::to_string(sets) + " sets of " + std::to_string(coils) +
                            " sensitivity maps (" + where + "); one is read, so " + extract);
  }
  values.erase(others, values.end());
}

ComplexImages bart_maps(const fs::path& path) {
  const std::string name = path.string();
  BartArray array = read_bart(path);
  check_other_dimensions(name, array, kBartSets);
  keep_one_set(name, array.extent(kBartSets), array.extent(kBartCoils), array.values, "dimension 4",
               "extract it (bart slice 4 0) or estimate one (bart ecalib -m1)");
  return bart_images(name, std::move(array));
}

/// [H,W], [coil][H][W] or [set][coil][H][W].
ComplexImages npy_maps(const fs::path& path) {
  auto [extents, values] = npy_complex<4>(path);
  const auto [sets, coils, rows, columns] = extents;
  keep_one_set(path.string(), static_cast<std::size_t>(sets), static_cast<std::size_t>(coils), values,
               "the first axis of [set][coil][row][column]", "store one as [coil][row][column]");
  return {coils, rows, columns, std::move(values)};
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
  if (kspace.slice_numbers.empty()) {
    kspace.slice_numbers.resize(static_cast<std::size_t>(kspace.slices));
    std::iota(kspace.slice_numbers.begin(), kspace.slice_numbers.end(), 0);
  }
  check_finite(name, kspace.values, kspace.rows, kspace.columns, [&](std::size_t plane) {
    const auto coils = static_cast<std::size_t>(kspace.coils);
    return "coil " + std::to_string(plane % coils) + " of slice " + std::to_string(plane / coils);
  });
  if (kspace.sampled.empty()) mark_sampled(kspace);
  move_centre(kspace);
  return kspace;
}

bool is_kspace(const std::filesystem::path& path) {
  return io_detail::names_bart(path) || io_detail::hdf5_superblock(path).has_value();
}

ComplexImages read_complex_images(const std::filesystem::path& path) {
  using namespace io_detail;
  const std::string name = path.string();
  const ComplexImages images = names_bart(path) ? bart_images(name, read_bart(path)) : npy_images(path);
  check_finite(name, images, "image");
  return images;
}

ComplexImages read_coil_maps(const std::filesystem::path& path) {
  using namespace io_detail;
  const std::string name = path.string();
  const ComplexImages maps = names_bart(path) ? bart_maps(path) : npy_maps(path);
  check_finite(name, maps, "coil");
  return maps;
}

}  // namespace v0
}  // namespace bilevel
