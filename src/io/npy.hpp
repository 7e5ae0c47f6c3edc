#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "bilevel/io/array_file.hpp"

namespace bilevel {
inline namespace v0 {
namespace io_detail {

/// An array with the type its file stored: kind 'b', 'i', 'u' or 'f' and bytes per value.
struct TypedArray {
  char kind = 'f';
  int size = 8;
  Array array;
};

/// The same with the kind 'c' as well; `size` is that of the whole value.
struct TypedComplexArray {
  char kind = 'c';
  int size = 16;
  ComplexArray array;
};

/// The shape that the header states, of as many values as follow. Throws IoError.
std::vector<std::size_t> npy_shape(const std::string& name, const std::string& bytes);

/// Decode the bytes of a `.npy` file; `name` is used in messages. Throw IoError; decode_npy also for 'c'.
TypedArray decode_npy(const std::string& name, const std::string& bytes);
TypedComplexArray decode_complex_npy(const std::string& name, const std::string& bytes);

}  // namespace io_detail
}  // namespace v0
}  // namespace bilevel
