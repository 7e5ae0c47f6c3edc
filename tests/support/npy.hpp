#pragma once

#include <cstddef>
#include <filesystem>
#include <vector>

namespace bilevel::testing_support {

/// An array read from a NumPy file. `data` is in C order; a complex array holds (re, im) pairs.
struct NpyArray {
  std::vector<std::size_t> shape;
  bool is_complex = false;
  std::vector<double> data;
};

/// Reads a NumPy file of format 1.0, little endian, C order, dtype <f8 or <c16.
/// Throws std::runtime_error naming the file for every other content.
NpyArray read_npy(const std::filesystem::path& path);

}  // namespace bilevel::testing_support
