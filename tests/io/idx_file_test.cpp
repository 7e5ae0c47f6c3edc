#include "bilevel/io/idx_file.hpp"

#include <random>

#include "bilevel/core/error.hpp"
#include "io_test_support.hpp"

namespace {

using bilevel_test::integer;
using bilevel_test::put_file;
using Shape = std::vector<std::size_t>;

std::string idx_bytes(const Shape& shape, const std::string& data, char type = 8) {
  std::string bytes{'\0', '\0', type, static_cast<char>(shape.size())};
  for (const std::size_t extent : shape) bytes += integer(extent, 4, true);
  return bytes + data;
}

class IdxFile : public ::testing::Test {
 protected:
  bilevel::ByteArray parse(const std::string& bytes) {
    put_file(folder_ / "a", bytes);
    return bilevel::read_idx(folder_ / "a");
  }
  std::string message(const std::string& bytes) {
    try {
      parse(bytes);
    } catch (const bilevel::IoError& error) {
      EXPECT_EQ(error.path(), (folder_ / "a").string());
      return error.what();
    }
    return "accepted";
  }
  void expect_refused(const std::string& bytes, const std::string& why) {
    EXPECT_NE(message(bytes).find(why), std::string::npos) << why << ": " << message(bytes);
  }
  bilevel_test::TemporaryFolder folder_;
};

TEST_F(IdxFile, ImagesAndLabelsAreRead) {
  const bilevel::ByteArray images = parse(idx_bytes({2, 1, 3}, "\x01\x02\x03\xfd\xfe\xff"));
  EXPECT_EQ(images.shape, (Shape{2, 1, 3}));
  EXPECT_EQ(images.values, (std::vector<std::uint8_t>{1, 2, 3, 253, 254, 255}));
  EXPECT_EQ(parse(idx_bytes({3}, "abc")).values, (std::vector<std::uint8_t>{97, 98, 99}));
  EXPECT_TRUE(parse(idx_bytes({0, 28, 28}, "")).values.empty());
  EXPECT_TRUE(bilevel::is_idx(folder_ / "a"));
  put_file(folder_ / "a", "\x93NUMPY");
  EXPECT_FALSE(bilevel::is_idx(folder_ / "a"));
  EXPECT_FALSE(bilevel::is_idx(folder_ / "missing"));
}

TEST_F(IdxFile, RefusalsNameTheReason) {
  expect_refused("", "empty");
  expect_refused("\x1f\x8b\b and so on", "compressed with gzip; unpack it first");
  expect_refused("\x93NUMPY", "does not begin like an idx file");
  expect_refused(std::string("\0\0\10", 3), "cut off at byte 3");
  expect_refused(idx_bytes({2, 2}, "abcd").substr(0, 11), "cut off at byte 11");
  for (const char type : {'\0', '\x09', '\x0b', '\x0c', '\x0d', '\x0e'})
    expect_refused(idx_bytes({1}, "a", type), "type " + std::to_string(type) + " is not supported");
  expect_refused(idx_bytes({}, "a"), "0 dimensions");
  expect_refused(idx_bytes({1, 1, 1, 1}, "a"), "4 dimensions");
  expect_refused(idx_bytes({2, 2}, "abc"), "asks for 4 bytes of values but 3 follow byte 12");
  expect_refused(idx_bytes({2, 2}, "abcde"), "asks for 4 bytes of values but 5 follow byte 12");
  const std::size_t most = 0xffffffffu;
  expect_refused(idx_bytes({most, most, most}, "abc"), "too large");
  expect_refused(idx_bytes({most, most}, "abc"), "asks for 18446744065119617025 bytes");
  EXPECT_THROW(bilevel::read_idx(folder_ / "missing"), bilevel::IoError);
  EXPECT_THROW(bilevel::read_idx(folder_.path()), bilevel::IoError);
}

/// Every truncation is refused; damage gives a sentence, or an array whose extents fit its values.
TEST_F(IdxFile, DamageIsRefusedOrHarmless) {
  const std::string good = idx_bytes({3, 2, 2}, "abcdefghijkl");
  for (std::size_t length = 0; length < good.size(); ++length)
    EXPECT_THROW(parse(good.substr(0, length)), bilevel::IoError) << length;
  int refused = 0;
  const auto attempt = [&](const std::string& bytes) {
    try {
      const bilevel::ByteArray array = parse(bytes);
      std::size_t count = 1;
      for (const std::size_t extent : array.shape) count *= extent;
      ASSERT_EQ(count, array.values.size());
      ASSERT_LE(count, bytes.size());
    } catch (const bilevel::IoError&) {
      ++refused;
    }
  };
  for (std::size_t at = 0; at < 16; ++at)
    for (int value = 0; value < 256; ++value) {
      std::string bytes = good;
      bytes[at] = static_cast<char>(value);
      attempt(bytes);
      if (HasFailure()) FAIL() << "byte " << at << ", value " << value;
    }
  EXPECT_GT(refused, 16 * 200);
  std::mt19937 generator(20261);
  const auto below = [&](std::size_t n) {
    return std::uniform_int_distribution<std::size_t>(0, n - 1)(generator);
  };
  for (int round = 0; round < 2000; ++round) {
    std::string bytes = good;
    for (std::size_t k = 0; k <= below(4); ++k) bytes[below(bytes.size())] = static_cast<char>(below(256));
    if (below(4) == 0) bytes.insert(below(bytes.size()), 1 + below(4), static_cast<char>(below(256)));
    attempt(bytes);
    if (HasFailure()) FAIL() << "round " << round;
  }
}

TEST_F(IdxFile, RealDigitsAreRead) {
  const auto shared = bilevel_test::shared_folder();
  if (!shared) GTEST_SKIP() << "The shared folder is absent; set BILEVEL_SHARED to run this test.";
  const bilevel::ByteArray images = bilevel::read_idx(*shared / "data/digits/val-images-idx3-ubyte"),
                           labels = bilevel::read_idx(*shared / "data/digits/val-labels-idx1-ubyte");
  EXPECT_EQ(images.shape, (Shape{2000, 28, 28}));
  const std::vector<int> counts{205, 195, 212, 192, 206, 207, 191, 179, 188, 225};  // as its README says
  for (int label = 0; label < 10; ++label)
    EXPECT_EQ(std::count(labels.values.begin(), labels.values.end(), label),
              counts[static_cast<std::size_t>(label)]);
  EXPECT_THROW(bilevel::read_idx(*shared / "data/digits/val-images-idx3-ubyte.gz"), bilevel::IoError);
}

}  // namespace
