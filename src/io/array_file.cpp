#include "bilevel/io/array_file.hpp"

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <new>
#include <string>
#include <type_traits>

#include "bilevel/core/atomic_file.hpp"
#include "bilevel/core/error.hpp"
#include "core/file_bytes.hpp"
#include "io/npy.hpp"

namespace bilevel {
inline namespace v0 {
namespace io_detail {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr const char* kTypes = "use bool, integers, f2, f4, f8, c8 or c16";

struct NpyHeader {
  char kind = 0;
  int size = 0;   ///< of a value in bytes
  int parts = 1;  ///< numbers a value consists of
  bool big_endian = false;
  bool fortran = false;
  std::vector<std::size_t> shape;
  std::size_t data_offset = 0;

  std::string type() const { return kind + std::to_string(size); }
};

/// Scanner for the header, a Python dictionary literal with the keys descr, fortran_order and shape.
class HeaderParser {
 public:
  HeaderParser(const std::string& name, std::string_view text, std::size_t offset)
      : name_(name), text_(text), offset_(offset) {}

  NpyHeader parse() {
    NpyHeader header;
    bool seen[3] = {false, false, false};
    expect('{');
    while (!accept('}')) {
      const std::string_view key = quoted();
      expect(':');
      const int which = key == "descr" ? 0 : key == "fortran_order" ? 1 : key == "shape" ? 2 : 3;
      if (which == 3 || seen[which]) fail("the key '" + printable(key) + "' does not belong here");
      seen[which] = true;
      if (which == 0) parse_type(header);
      if (which == 1) header.fortran = boolean();
      if (which == 2) header.shape = tuple();
      if (!accept(',')) {
        expect('}');
        break;
      }
    }
    skip_space();
    if (at_ != text_.size()) fail("unexpected text follows the dictionary");
    if (!seen[0] || !seen[1] || !seen[2]) fail("descr, fortran_order or shape is missing");
    return header;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw IoError(name_, "bad npy header at byte " + std::to_string(offset_ + at_) + ": " + what);
  }
  void skip_space() {
    while (at_ < text_.size() && (text_[at_] == ' ' || (text_[at_] >= '\t' && text_[at_] <= '\r'))) ++at_;
  }
  [[noreturn]] void refuse_type(const std::string& shown) const {
    fail("the type '" + shown + "' is not supported; " + kTypes);
  }
  bool accept(char c) {
    skip_space();
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  void expect(char c) {
    if (!accept(c)) fail(std::string("'") + c + "' is missing");
  }
  std::string_view quoted() {
    skip_space();
    if (at_ >= text_.size() || (text_[at_] != '\'' && text_[at_] != '"')) {
      fail(std::string("a quoted word is missing (structured types are not supported; ") + kTypes + ")");
    }
    const std::size_t end = text_.find(text_[at_], at_ + 1);
    if (end == std::string_view::npos) fail("a quoted word does not end");
    const std::string_view word = text_.substr(at_ + 1, end - at_ - 1);
    at_ = end + 1;
    return word;
  }
  bool boolean() {
    skip_space();
    for (const std::string_view word : {"True", "False"}) {
      if (text_.substr(at_, word.size()) == word) {
        at_ += word.size();
        return word == "True";
      }
    }
    fail("True or False is missing");
  }
  std::size_t integer() {
    skip_space();
    const std::size_t begin = at_;
    std::size_t value = 0;
    for (; at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9'; ++at_) {
      const std::size_t digit = static_cast<std::size_t>(text_[at_] - '0');
      if (value > (std::numeric_limits<std::size_t>::max() - digit) / 10) fail("an extent is too large");
      value = 10 * value + digit;
    }
    if (at_ == begin) fail("an extent is missing");
    accept('L');  // written by Python 2
    return value;
  }
  std::vector<std::size_t> tuple() {
    std::vector<std::size_t> extents;
    expect('(');
    while (!accept(')')) {
      extents.push_back(integer());
      if (extents.size() > 32) fail("there are more than 32 dimensions");
      if (!accept(',')) {
        expect(')');
        break;
      }
    }
    return extents;
  }
  void parse_type(NpyHeader& header) {
    const std::string_view type = quoted();
    const std::string shown = printable(type);
    if (type.size() < 3 || type.size() > 4 ||
        std::string_view("<>|=").find(type[0]) == std::string_view::npos) {
      refuse_type(shown);
    }
    header.kind = type[1];
    const std::string_view sizes = header.kind == 'b'                         ? " 1 "
                                   : header.kind == 'f'                       ? " 2 4 8 "
                                   : header.kind == 'i' || header.kind == 'u' ? " 1 2 4 8 "
                                   : header.kind == 'c'                       ? " 8 16 "
                                                                              : "";
    const std::string digits(type.substr(2));
    const bool known = sizes.find(" " + digits + " ") != std::string_view::npos;
    if (known) header.size = std::stoi(digits);
    if (!known || (type[0] == '|' && header.size > 1)) {
      refuse_type(shown);
    }
    header.parts = header.kind == 'c' ? 2 : 1;
    header.big_endian = type[0] == '>' || (type[0] == '=' && std::endian::native == std::endian::big);
  }

  const std::string& name_;
  std::string_view text_;
  std::size_t offset_;
  std::size_t at_ = 0;
};

NpyHeader parse_header(const std::string& name, const std::string& bytes) {
  if (bytes.compare(0, kMagic.size(), kMagic) != 0) throw IoError(name, "does not begin like a npy file");
  if (bytes.size() < 12)
    throw IoError(name, "the npy header is cut off at byte " + std::to_string(bytes.size()));
  const int major = as_bytes(bytes)[6], minor = as_bytes(bytes)[7];
  if (major < 1 || major > 3 || minor != 0) {
    throw IoError(name, "npy format " + std::to_string(major) + "." + std::to_string(minor) +
                            " is not known; formats 1.0, 2.0 and 3.0 are");
  }
  const std::size_t begin = major == 1 ? 10 : 12;
  const std::size_t length = load_integer(as_bytes(bytes) + 8, major == 1 ? 2 : 4, false);
  if (length > bytes.size() - begin) {
    throw IoError(name, "the npy header of " + std::to_string(length) + " bytes is cut off at byte " +
                            std::to_string(bytes.size()));
  }
  NpyHeader header = HeaderParser(name, std::string_view(bytes).substr(begin, length), begin).parse();
  header.data_offset = begin + length;
  return header;
}

/// Number of values; the bytes after the header must be exactly these.
std::size_t checked_count(const std::string& name, const NpyHeader& header, std::size_t file_size) {
  const std::size_t available = file_size - header.data_offset;
  const std::size_t limit = std::numeric_limits<std::size_t>::max() / static_cast<std::size_t>(header.size);
  std::size_t count = 1;
  for (const std::size_t extent : header.shape) {
    if (extent != 0 && count > limit / extent) throw IoError(name, "the npy shape has too many values");
    count *= extent;
  }
  const std::size_t needed = count * static_cast<std::size_t>(header.size);
  if (needed != available) {
    throw IoError(name, "the npy header asks for " + std::to_string(needed) + " bytes of values but " +
                            std::to_string(available) + " follow byte " + std::to_string(header.data_offset));
  }
  return count;
}

/// IEEE 754 binary16.
double half_to_double(std::uint64_t bits) {
  const int exponent = static_cast<int>((bits >> 10) & 31);
  const double fraction = static_cast<double>(bits & 1023);
  double value = exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024.0 + fraction, exponent - 25);
  if (exponent == 31) {
    value =
        fraction == 0 ? std::numeric_limits<double>::infinity() : std::numeric_limits<double>::quiet_NaN();
  }
  return (bits >> 15) != 0 ? -value : value;
}

double decode_number(const unsigned char* at, const NpyHeader& header) {
  const int size = header.size / header.parts;
  const std::uint64_t bits = load_integer(at, size, header.big_endian);
  switch (header.kind) {
    case 'b':
      return bits != 0 ? 1.0 : 0.0;
    case 'u':
      return static_cast<double>(bits);
    case 'i': {
      const int unused = 64 - 8 * size;
      return static_cast<double>(static_cast<std::int64_t>(bits << unused) >> unused);
    }
    default:
      if (size == 8) return std::bit_cast<double>(bits);
      if (size == 4) return static_cast<double>(std::bit_cast<float>(static_cast<std::uint32_t>(bits)));
      return half_to_double(bits);
  }
}

void decode_value(const unsigned char* at, const NpyHeader& header, double& value) {
  value = decode_number(at, header);
}

void decode_value(const unsigned char* at, const NpyHeader& header, std::complex<double>& value) {
  value = {decode_number(at, header), header.parts == 2 ? decode_number(at + header.size / 2, header) : 0.0};
}

template <typename T>
void decode_values(const unsigned char* data, const NpyHeader& header, std::vector<T>& values) {
  const std::size_t dimensions = header.shape.size();
  if (!header.fortran || dimensions < 2) {
    for (std::size_t k = 0; k < values.size(); ++k) decode_value(data + k * header.size, header, values[k]);
    return;
  }
  std::vector<std::size_t> stride(dimensions, 1);
  for (std::size_t d = dimensions - 1; d > 0; --d) stride[d - 1] = stride[d] * header.shape[d];
  // In file order the first index runs fastest; `to` follows it in C order.
  std::vector<std::size_t> index(dimensions, 0);
  std::size_t to = 0;
  for (std::size_t k = 0; k < values.size(); ++k) {
    decode_value(data + k * header.size, header, values[to]);
    for (std::size_t d = 0; d < dimensions; ++d) {
      to += stride[d];
      if (++index[d] < header.shape[d]) break;
      to -= stride[d] * header.shape[d];
      index[d] = 0;
    }
  }
}

template <typename T>
std::vector<T> decode_all(const std::string& name, const NpyHeader& header, const std::string& bytes) {
  std::vector<T> values;
  try {
    values.resize(checked_count(name, header, bytes.size()));
  } catch (const std::bad_alloc&) {
    throw IoError(name, "the array does not fit in memory");
  }
  decode_values(as_bytes(bytes) + header.data_offset, header, values);
  return values;
}

template <typename T>
constexpr char kKind = std::is_floating_point_v<T> ? 'f'
                       : std::is_integral_v<T>     ? 'i'
                                                   : 'c';

template <typename T>
void write_typed(const std::filesystem::path& path, std::span<const std::size_t> shape,
                 std::span<const T> values) {
  std::size_t count = 1;
  std::string extents;
  for (const std::size_t extent : shape) {
    if (extent != 0 && count > std::numeric_limits<std::size_t>::max() / extent) {
      throw ShapeError(path.string() + ": the extents of the array overflow");
    }
    count *= extent;
    extents += std::to_string(extent) + (shape.size() == 1 ? "," : ", ");
  }
  if (shape.size() > 1) extents.resize(extents.size() - 2);
  if (count != values.size()) {
    throw ShapeError(path.string() + ": shape (" + extents + ") does not hold " +
                     std::to_string(values.size()) + " values");
  }
  const char order = std::endian::native == std::endian::little ? '<' : '>';
  std::string header = std::string("{'descr': '") + order + kKind<T> + std::to_string(sizeof(T)) +
                       "', 'fortran_order': False, 'shape': (" + extents + "), }";
  header.append(63 - (10 + header.size()) % 64, ' ');  // data begin at a multiple of 64
  header += '\n';
  std::string bytes(kMagic);
  bytes += {'\1', '\0', static_cast<char>(header.size() & 255), static_cast<char>(header.size() >> 8)};
  bytes += header;
  bytes.append(reinterpret_cast<const char*>(values.data()), values.size_bytes());
  write_file_atomically(path, bytes);
}

}  // namespace

std::vector<std::size_t> npy_shape(const std::string& name, const std::string& bytes) {
  const NpyHeader header = parse_header(name, bytes);
  checked_count(name, header, bytes.size());
  return header.shape;
}

TypedArray decode_npy(const std::string& name, const std::string& bytes) {
  const NpyHeader header = parse_header(name, bytes);
  if (header.kind == 'c') {
    throw IoError(name, "the type 'c" + std::to_string(header.size) +
                            "' is not supported where real numbers are needed");
  }
  return {header.kind, header.size, {header.shape, decode_all<double>(name, header, bytes), header.type()}};
}

TypedComplexArray decode_complex_npy(const std::string& name, const std::string& bytes) {
  const NpyHeader header = parse_header(name, bytes);
  return {header.kind,
          header.size,
          {header.shape, decode_all<std::complex<double>>(name, header, bytes), header.type()}};
}

}  // namespace io_detail

Array read_npy(const std::filesystem::path& path) {
  return io_detail::decode_npy(path.string(), io_detail::read_file(path)).array;
}

void write_npy(const std::filesystem::path& path, std::span<const std::size_t> shape,
               std::span<const double> values) {
  io_detail::write_typed(path, shape, values);
}

ComplexArray read_complex_npy(const std::filesystem::path& path) {
  return io_detail::decode_complex_npy(path.string(), io_detail::read_file(path)).array;
}

void write_npy(const std::filesystem::path& path, std::span<const std::size_t> shape,
               std::span<const float> values) {
  io_detail::write_typed(path, shape, values);
}

void write_npy(const std::filesystem::path& path, std::span<const std::size_t> shape,
               std::span<const std::int64_t> values) {
  io_detail::write_typed(path, shape, values);
}

void write_npy(const std::filesystem::path& path, std::span<const std::size_t> shape,
               std::span<const std::complex<double>> values) {
  io_detail::write_typed(path, shape, values);
}

void write_npy(const std::filesystem::path& path, std::span<const std::size_t> shape,
               std::span<const std::complex<float>> values) {
  io_detail::write_typed(path, shape, values);
}

}  // namespace v0
}  // namespace bilevel
