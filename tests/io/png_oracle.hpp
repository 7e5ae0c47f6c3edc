#pragma once

#include <array>
#include <cstdint>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <vector>

#include "io_test_support.hpp"

/// PNG by the letter of ISO/IEC 15948 and RFC 1950, 1951, independent of libpng and zlib.
namespace bilevel_test {

inline std::uint32_t crc32(const std::string& bytes) {
  std::uint32_t crc = 0xFFFFFFFFU;
  for (const char c : bytes) {
    crc ^= static_cast<unsigned char>(c);
    for (int k = 0; k < 8; ++k) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0xEDB88320U : 0U);
  }
  return ~crc;
}

inline std::uint32_t adler32(const std::string& bytes) {
  std::uint32_t a = 1, b = 0;
  for (const char c : bytes) {
    a = (a + static_cast<unsigned char>(c)) % 65521;
    b = (b + a) % 65521;
  }
  return b << 16 | a;
}

inline std::string png_chunk(const std::string& type, const std::string& data) {
  return integer(data.size(), 4, true) + type + data + integer(crc32(type + data), 4, true);
}

/// zlib stream of one stored block.
inline std::string zlib_stored(const std::string& data) {
  return std::string("\x78\x01\x01") + integer(data.size(), 2, false) +
         integer(~data.size() & 0xFFFF, 2, false) + data + integer(adler32(data), 4, true);
}

/// A PNG whose filtered rows are `rows`; `more` are chunks before the data.
inline std::string png_bytes(std::uint32_t width, std::uint32_t height, int bits, int colour_type,
                             const std::string& rows, const std::string& more = "", bool interlaced = false) {
  std::string header = integer(width, 4, true) + integer(height, 4, true);
  for (const int value : {bits, colour_type, 0, 0, interlaced ? 1 : 0}) header += static_cast<char>(value);
  return "\x89PNG\r\n\x1a\n" + png_chunk("IHDR", header) + more + png_chunk("IDAT", zlib_stored(rows)) +
         png_chunk("IEND", "");
}

/// Canonical Huffman code: symbols in order of code length, then value.
struct Huffman {
  std::array<int, 16> count{};
  std::vector<int> symbols;
  explicit Huffman(const std::vector<int>& lengths) {
    for (const int length : lengths) ++count[static_cast<std::size_t>(length)];
    count[0] = 0;
    for (int length = 1; length < 16; ++length) {
      for (std::size_t s = 0; s < lengths.size(); ++s) {
        if (lengths[s] == length) symbols.push_back(static_cast<int>(s));
      }
    }
  }
};

class Inflater {
 public:
  explicit Inflater(const std::string& deflated) : in_(deflated) {}

  std::string run() {
    bool last = false;
    while (!last) {
      last = bits(1) == 1;
      const int type = bits(2);
      if (type == 0) stored();
      if (type == 1) fixed();
      if (type == 2) dynamic();
      if (type == 3) throw std::runtime_error("bad block");
    }
    return out_;
  }

 private:
  int bits(int count) {
    int value = 0;
    for (int k = 0; k < count; ++k, ++at_) value |= ((in_.at(at_ / 8) >> (at_ % 8)) & 1) << k;
    return value;
  }
  int symbol(const Huffman& code) {
    int value = 0, first = 0, index = 0;
    for (std::size_t length = 1; length < 16; ++length) {
      value |= bits(1);
      if (value - first < code.count[length])
        return code.symbols.at(static_cast<std::size_t>(index + value - first));
      index += code.count[length];
      first = (first + code.count[length]) << 1;
      value <<= 1;
    }
    throw std::runtime_error("bad code");
  }
  void stored() {
    at_ = (at_ + 7) / 8 * 8;
    const int size = bits(16);
    bits(16);
    for (int k = 0; k < size; ++k) out_ += static_cast<char>(bits(8));
  }
  void fixed() {
    std::vector<int> lengths(288, 8);
    for (std::size_t s = 144; s < 256; ++s) lengths[s] = 9;
    for (std::size_t s = 256; s < 280; ++s) lengths[s] = 7;
    block(Huffman(lengths), Huffman(std::vector<int>(30, 5)));
  }
  void dynamic() {
    static constexpr int kOrder[] = {16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};
    const int literals = bits(5) + 257, distances = bits(5) + 1, codes = bits(4) + 4;
    std::vector<int> lengths(19, 0);
    for (int k = 0; k < codes; ++k) lengths[static_cast<std::size_t>(kOrder[k])] = bits(3);
    const Huffman meta(lengths);
    std::vector<int> all;
    while (std::ssize(all) < literals + distances) {
      const int s = symbol(meta);
      if (s < 16) {
        all.push_back(s);
      } else {
        const int value = s == 16 ? all.at(all.size() - 1) : 0;
        const int times = s == 16 ? 3 + bits(2) : s == 17 ? 3 + bits(3) : 11 + bits(7);
        all.insert(all.end(), static_cast<std::size_t>(times), value);
      }
    }
    block(Huffman({all.begin(), all.begin() + literals}), Huffman({all.begin() + literals, all.end()}));
  }
  void block(const Huffman& literals, const Huffman& distances) {
    for (int s = symbol(literals); s != 256; s = symbol(literals)) {
      if (s < 256) {
        out_ += static_cast<char>(s);
        continue;
      }
      // RFC 1951, 3.2.5: groups of four lengths and two distances share a number of extra bits.
      int length = 258;
      if (s < 285) {
        const int extra = s < 265 ? 0 : (s - 261) / 4;
        length = (s < 265 ? s - 254 : 3 + ((4 + (s - 265) % 4) << extra)) + bits(extra);
      }
      const int d = symbol(distances), extra = d < 4 ? 0 : d / 2 - 1;
      const int distance = (d < 4 ? d + 1 : 1 + ((2 + d % 2) << extra)) + bits(extra);
      for (int k = 0; k < length; ++k) out_ += out_.at(out_.size() - static_cast<std::size_t>(distance));
    }
  }

  const std::string& in_;
  std::size_t at_ = 0;
  std::string out_;
};

struct OraclePng {
  std::uint32_t width = 0, height = 0;
  int bits = 0, colour_type = 0;
  std::vector<int> samples;  ///< interleaved, row by row
};

inline int paeth(int a, int b, int c) {
  const int p = a + b - c, pa = std::abs(p - a), pb = std::abs(p - b), pc = std::abs(p - c);
  return pa <= pb && pa <= pc ? a : pb <= pc ? b : c;
}

/// Reads an 8 or 16-bit, non-interlaced grey or RGB PNG.
inline OraclePng oracle_read_png(const std::string& bytes) {
  const auto number = [&](std::size_t at, int size) {
    std::uint32_t value = 0;
    for (int k = 0; k < size; ++k)
      value = value << 8 | static_cast<unsigned char>(bytes.at(at + static_cast<std::size_t>(k)));
    return value;
  };
  OraclePng png;
  std::string data;
  for (std::size_t at = 8; at < bytes.size();) {
    const std::uint32_t size = number(at, 4);
    const std::string type = bytes.substr(at + 4, 4), body = bytes.substr(at + 8, size);
    if (crc32(type + body) != number(at + 8 + size, 4)) throw std::runtime_error("bad checksum");
    if (type == "IHDR") {
      png = {number(at + 8, 4), number(at + 12, 4), body.at(8), body.at(9), {}};
      if (body.at(12) != 0) throw std::runtime_error("interlaced");
    }
    if (type == "IDAT") data += body;
    at += 12 + size;
  }
  const std::string deflated = data.substr(2, data.size() - 6), raw = Inflater(deflated).run();
  const std::size_t sample = static_cast<std::size_t>(png.bits / 8), channels = png.colour_type == 0 ? 1 : 3;
  const std::size_t step = sample * channels, row_size = step * png.width;
  std::string above(row_size, '\0');
  for (std::uint32_t y = 0; y < png.height; ++y) {
    const int filter = raw.at(y * (row_size + 1));
    std::string row = raw.substr(y * (row_size + 1) + 1, row_size);
    for (std::size_t k = 0; k < row_size; ++k) {
      const int a = k < step ? 0 : static_cast<unsigned char>(row[k - step]),
                b = static_cast<unsigned char>(above[k]);
      const int c = k < step ? 0 : static_cast<unsigned char>(above[k - step]);
      const int predicted[] = {0, a, b, (a + b) / 2, paeth(a, b, c)};
      row[k] = static_cast<char>(static_cast<unsigned char>(row[k]) + predicted[filter]);
    }
    for (std::size_t k = 0; k < row_size; k += sample) {
      const int high = static_cast<unsigned char>(row[k]);
      png.samples.push_back(sample == 1 ? high : high << 8 | static_cast<unsigned char>(row[k + 1]));
    }
    above = row;
  }
  return png;
}

}  // namespace bilevel_test
