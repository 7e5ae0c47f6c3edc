#pragma once

#include <complex>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "bilevel/core/export.hpp"

namespace bilevel {
inline namespace v0 {

/// A dense array in C order (last index fastest). An empty shape is a single number.
struct Array {
  std::vector<std::size_t> shape;
  std::vector<double> values;
  std::string type = "f8";  ///< in the file: b1, i1..i8, u1..u8, f2, f4 or f8
};
struct ComplexArray {
  std::vector<std::size_t> shape;
  std::vector<std::complex<double>> values;
  std::string type = "c16";  ///< in the file: also c8 or c16
};

/// Reads a NumPy `.npy` file, format 1.0, 2.0 or 3.0, of bool, i1..i8, u1..u8, f2, f4 or f8 in either byte
/// order; Fortran order is turned into C order. Values are taken as they are, NaN included; 64-bit integers
/// beyond 2^53 are rounded to the nearest double.
/// Throws IoError, also when the file holds fewer or more bytes than its header says.
/// Format: NumPy enhancement proposal 1 and numpy.lib.format.
BILEVEL_API Array read_npy(const std::filesystem::path& path);

/// The same for c8 and c16 (two f4 or f8: real and imaginary part); arrays of the real types are read too.
BILEVEL_API ComplexArray read_complex_npy(const std::filesystem::path& path);

/// Writes `values` (C order, extent product of `shape`) as `.npy` format 1.0 of f8, f4, i8, c16 or c8,
/// atomically (see write_file_atomically). Throws ShapeError when shape and values disagree, IoError on
/// failure.
BILEVEL_API void write_npy(const std::filesystem::path& path, std::span<const std::size_t> shape,
                           std::span<const double> values);
BILEVEL_API void write_npy(const std::filesystem::path& path, std::span<const std::size_t> shape,
                           std::span<const float> values);
BILEVEL_API void write_npy(const std::filesystem::path& path, std::span<const std::size_t> shape,
                           std::span<const std::int64_t> values);
BILEVEL_API void write_npy(const std::filesystem::path& path, std::span<const std::size_t> shape,
                           std::span<const std::complex<double>> values);
BILEVEL_API void write_npy(const std::filesystem::path& path, std::span<const std::size_t> shape,
                           std::span<const std::complex<float>> values);

}  // namespace v0
}  // namespace bilevel
