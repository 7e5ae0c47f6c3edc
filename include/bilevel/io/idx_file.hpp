#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <vector>

#include "bilevel/core/export.hpp"

namespace bilevel {
inline namespace v0 {

/// Unsigned bytes in C order (last index fastest).
struct ByteArray {
  std::vector<std::size_t> shape;
  std::vector<std::uint8_t> values;
};

/// Whether the file begins as an idx file does; false also for one that cannot be read.
BILEVEL_API bool is_idx(const std::filesystem::path& path);

/// Reads an idx file of unsigned bytes, one to three dimensions: MNIST's images (idx3-ubyte, [N,H,W]) and
/// labels (idx1-ubyte, [N]). Two zero bytes, the type 8, the number of dimensions, an extent of four bytes
/// for each, high byte first, then the values. Throws IoError, also for other types, for gzip (unpack it
/// first), and when the file holds fewer or more bytes than its header says. Format: LeCun, Cortes, Burges,
/// yann.lecun.com/exdb/mnist.
BILEVEL_API ByteArray read_idx(const std::filesystem::path& path);

}  // namespace v0
}  // namespace bilevel
