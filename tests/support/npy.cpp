#include "tests/support/npy.hpp"

#include <bit>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <sstream>
#include <stdexcept>
#include <string>

namespace bilevel::testing_support {
namespace {

[[noreturn]] void fail(const std::filesystem::path& path, const std::string& reason) {
  throw std::runtime_error(path.string() + ": " + reason);
}

std::string value_of(const std::string& header, const std::string& key, const std::filesystem::path& path) {
  const std::size_t at = header.find("'" + key + "':");
  if (at == std::string::npos) fail(path, "the header lacks '" + key + "'");
  const std::size_t begin = header.find_first_not_of(' ', at + key.size() + 3);
  if (begin == std::string::npos) fail(path, "the header ends after '" + key + "'");
  const std::size_t end = header[begin] == '(' ? header.find(')', begin) : header.find(',', begin);
  return header.substr(begin, end - begin);
}

std::vector<std::size_t> parse_shape(std::string text) {
  for (char& c : text) {
    if (c == '(' || c == ',') c = ' ';
  }
  std::istringstream stream(text);
  return {std::istream_iterator<std::size_t>(stream), std::istream_iterator<std::size_t>()};
}

double little_endian_double(const unsigned char* bytes) {
  std::uint64_t bits = 0;
  for (int k = 7; k >= 0; --k) bits = (bits << 8) | bytes[k];
  return std::bit_cast<double>(bits);
}

}  // namespace

NpyArray read_npy(const std::filesystem::path& path) {
  std::ifstream stream(path, std::ios::binary);
  if (!stream) fail(path, "cannot be opened");
  const std::vector<char> raw{std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
  const std::vector<unsigned char> bytes(raw.begin(), raw.end());
  const unsigned char magic[8] = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0};
  if (bytes.size() < 10 || std::memcmp(bytes.data(), magic, 8) != 0) fail(path, "not a NumPy 1.0 file");
  const std::size_t length = bytes[8] + std::size_t{256} * bytes[9];
  if (bytes.size() < 10 + length) fail(path, "the header is cut off");
  const std::string header(raw.begin() + 10, raw.begin() + 10 + static_cast<std::ptrdiff_t>(length));

  NpyArray array;
  const std::string type = value_of(header, "descr", path);
  if (type != "'<f8'" && type != "'<c16'") fail(path, "dtype " + type + " is neither <f8 nor <c16");
  if (value_of(header, "fortran_order", path) != "False") fail(path, "not in C order");
  array.is_complex = type == "'<c16'";
  array.shape = parse_shape(value_of(header, "shape", path));
  std::size_t count = array.is_complex ? 2 : 1;
  for (const std::size_t extent : array.shape) count *= extent;
  if (bytes.size() != 10 + length + 8 * count) fail(path, "the data does not match the shape");
  array.data.resize(count);
  for (std::size_t k = 0; k < count; ++k) {
    array.data[k] = little_endian_double(bytes.data() + 10 + length + 8 * k);
  }
  return array;
}

}  // namespace bilevel::testing_support
