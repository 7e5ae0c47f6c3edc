#include "bilevel/io/array_file.hpp"

#include <bit>
#include <cmath>
#include <limits>

#include "bilevel/core/error.hpp"
#include "io_test_support.hpp"

namespace {

using bilevel_test::get_file;
using bilevel_test::integer;
using bilevel_test::npy_bytes;
using bilevel_test::put_file;
using Shape = std::vector<std::size_t>;

class ArrayFile : public ::testing::Test {
 protected:
  bilevel::Array parse(const std::string& bytes) {
    put_file(folder_ / "a.npy", bytes);
    return bilevel::read_npy(folder_ / "a.npy");
  }
  std::string message(const std::string& bytes) {
    try {
      parse(bytes);
    } catch (const bilevel::IoError& error) {
      EXPECT_EQ(error.path(), (folder_ / "a.npy").string());
      return error.what();
    }
    return "accepted";
  }
  bilevel_test::TemporaryFolder folder_;
};

TEST_F(ArrayFile, RoundTripKeepsEveryBit) {
  const std::vector<double> values{0.0,    -0.0,   1.0 / 3,
                                   -1e300, 5e-324, std::numeric_limits<double>::infinity()};
  for (const Shape& shape : {Shape{6}, Shape{2, 3}, Shape{1, 3, 1, 2}}) {
    bilevel::write_npy(folder_ / "b.npy", shape, std::span<const double>(values));
    const bilevel::Array back = bilevel::read_npy(folder_ / "b.npy");
    EXPECT_EQ(back.shape, shape);
    ASSERT_EQ(back.values.size(), values.size());
    for (std::size_t k = 0; k < values.size(); ++k) {
      EXPECT_EQ(std::bit_cast<std::uint64_t>(back.values[k]), std::bit_cast<std::uint64_t>(values[k]));
    }
  }
}

TEST_F(ArrayFile, WritesTheDocumentedHeader) {
  const Shape shape{2, 3};
  const std::vector<float> values{1, 2, 3, 4, 5, 6};
  bilevel::write_npy(folder_ / "f.npy", shape, std::span<const float>(values));
  const std::string bytes = get_file(folder_ / "f.npy");
  EXPECT_EQ(bytes.substr(0, 8), std::string("\x93NUMPY\1\0", 8));
  EXPECT_EQ(bytes.substr(10, 59), "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }");
  EXPECT_EQ(bytes.size(), 128U + 24U) << "data begin at a multiple of 64";
  EXPECT_EQ(bytes[127], '\n');
  EXPECT_EQ(bytes.substr(128, 8), integer(0x3F800000, 4, false) + integer(0x40000000, 4, false));
  EXPECT_EQ(bilevel::read_npy(folder_ / "f.npy").values, (std::vector<double>{1, 2, 3, 4, 5, 6}));
}

TEST_F(ArrayFile, WritesIntegers) {
  const std::vector<std::int64_t> values{-1, 0, std::int64_t{1} << 40};
  bilevel::write_npy(folder_ / "i.npy", Shape{3}, std::span<const std::int64_t>(values));
  const bilevel::Array back = bilevel::read_npy(folder_ / "i.npy");
  EXPECT_EQ(back.type, "i8");
  EXPECT_EQ(back.values, (std::vector<double>{-1, 0, 0x1p40}));
}

TEST_F(ArrayFile, ScalarsVectorsAndEmptyArrays) {
  const std::vector<double> one{42.0};
  bilevel::write_npy(folder_ / "s.npy", Shape{}, std::span<const double>(one));
  EXPECT_TRUE(bilevel::read_npy(folder_ / "s.npy").shape.empty());
  EXPECT_NE(get_file(folder_ / "s.npy").find("'shape': ()"), std::string::npos);
  bilevel::write_npy(folder_ / "v.npy", Shape{1}, std::span<const double>(one));
  EXPECT_NE(get_file(folder_ / "v.npy").find("'shape': (1,)"), std::string::npos);
  bilevel::write_npy(folder_ / "e.npy", Shape{0, 4}, std::span<const double>());
  EXPECT_EQ(bilevel::read_npy(folder_ / "e.npy").shape, (Shape{0, 4}));
}

TEST_F(ArrayFile, EveryTypeInBothByteOrders) {
  for (const bool big : {false, true}) {
    const std::string order = big ? ">" : "<";
    for (const int size : {1, 2, 4, 8}) {
      const std::uint64_t minus_two = ~std::uint64_t{0} - 1;
      const std::string data = integer(minus_two, size, big) + integer(5, size, big);
      const std::string digit = std::to_string(size);
      EXPECT_EQ(parse(npy_bytes(order + "i" + digit, false, "(2,)", data)).values,
                (std::vector<double>{-2, 5}));
      EXPECT_EQ(bilevel::read_npy(folder_ / "a.npy").type, "i" + digit);
      const double largest = std::ldexp(1.0, 8 * size) - 2;
      EXPECT_EQ(parse(npy_bytes(order + "u" + digit, false, "(2,)", data)).values,
                (std::vector<double>{largest, 5}));
    }
    const std::string doubles = integer(std::bit_cast<std::uint64_t>(-1.25e-7), 8, big);
    EXPECT_EQ(parse(npy_bytes(order + "f8", false, "(1,)", doubles)).values[0], -1.25e-7);
    const std::string floats = integer(std::bit_cast<std::uint32_t>(0.1F), 4, big);
    EXPECT_EQ(parse(npy_bytes(order + "f4", false, "(1,)", floats)).values[0], static_cast<double>(0.1F));
  }
  EXPECT_EQ(parse(npy_bytes("|b1", false, "(3,)", std::string("\0\1\1", 3))).values,
            (std::vector<double>{0, 1, 1}));
}

TEST_F(ArrayFile, HalfPrecision) {
  const std::vector<std::pair<int, double>> cases{{0x3C00, 1.0},
                                                  {0xC000, -2.0},
                                                  {0x3555, 0.333251953125},
                                                  {0x7BFF, 65504.0},
                                                  {0x0001, std::ldexp(1.0, -24)},
                                                  {0x0400, std::ldexp(1.0, -14)},
                                                  {0x0000, 0.0}};
  for (const auto& [bits, value] : cases) {
    EXPECT_EQ(
        parse(npy_bytes("<f2", false, "(1,)", integer(static_cast<std::uint64_t>(bits), 2, false))).values[0],
        value);
  }
  EXPECT_TRUE(std::isinf(parse(npy_bytes("<f2", false, "(1,)", integer(0x7C00, 2, false))).values[0]));
  EXPECT_TRUE(std::isnan(parse(npy_bytes("<f2", false, "(1,)", integer(0x7E00, 2, false))).values[0]));
}

TEST_F(ArrayFile, FortranOrderBecomesCOrder) {
  std::string data;
  for (int k = 0; k < 24; ++k) data += static_cast<char>(k);
  const bilevel::Array array = parse(npy_bytes("|u1", true, "(2, 3, 4)", data));
  for (int i = 0; i < 2; ++i) {
    for (int j = 0; j < 3; ++j) {
      for (int k = 0; k < 4; ++k) {
        EXPECT_EQ(array.values[static_cast<std::size_t>((i * 3 + j) * 4 + k)], i + 2 * j + 6 * k);
      }
    }
  }
}

TEST_F(ArrayFile, ComplexRoundTripKeepsEveryBit) {
  const std::vector<std::complex<double>> values{{0.0, -0.0}, {1.0 / 3, -1e300}, {5e-324, 2.0}, {-7.0, 0.1}};
  const std::vector<std::complex<float>> floats(values.begin() + 2, values.end());
  for (const Shape& shape : {Shape{4}, Shape{2, 2}, Shape{1, 4, 1}}) {
    bilevel::write_npy(folder_ / "c.npy", shape, std::span<const std::complex<double>>(values));
    const bilevel::ComplexArray back = bilevel::read_complex_npy(folder_ / "c.npy");
    EXPECT_EQ(back.shape, shape);
    EXPECT_EQ(back.values, values);
    EXPECT_TRUE(std::signbit(back.values[0].imag()));
  }
  bilevel::write_npy(folder_ / "d.npy", Shape{2}, std::span<const std::complex<float>>(floats));
  EXPECT_NE(get_file(folder_ / "d.npy").find("'descr': '<c8'"), std::string::npos);
  EXPECT_EQ(bilevel::read_complex_npy(folder_ / "d.npy").type, "c8");
  EXPECT_EQ(bilevel::read_complex_npy(folder_ / "d.npy").values[1], std::complex<double>(floats[1]));
  EXPECT_THROW(bilevel::write_npy(folder_ / "e.npy", Shape{3}, std::span<const std::complex<float>>(floats)),
               bilevel::ShapeError);
}

TEST_F(ArrayFile, ComplexInBothByteOrdersAndFortranOrder) {
  const auto read = [&](const std::string& bytes) {
    put_file(folder_ / "a.npy", bytes);
    return bilevel::read_complex_npy(folder_ / "a.npy").values;
  };
  for (const bool big : {false, true}) {
    const std::string order = big ? ">" : "<";
    std::string singles, doubles;
    for (int k = 0; k < 12; ++k) {
      singles += integer(std::bit_cast<std::uint32_t>(static_cast<float>(k)), 4, big);
      doubles += integer(std::bit_cast<std::uint64_t>(static_cast<double>(k)), 8, big);
    }
    for (const auto& [type, data] : {std::pair{"c8", singles}, {"c16", doubles}}) {
      EXPECT_EQ(read(npy_bytes(order + type, false, "(6,)", data))[5], std::complex<double>(10, 11));
      EXPECT_EQ(read(npy_bytes(order + type, true, "(2, 3)", data)),
                (std::vector<std::complex<double>>{{0, 1}, {4, 5}, {8, 9}, {2, 3}, {6, 7}, {10, 11}}));
    }
  }
  EXPECT_EQ(read(npy_bytes("|u1", false, "(2,)", "ab")), (std::vector<std::complex<double>>{97, 98}));
  EXPECT_THROW(read(npy_bytes("<c16", false, "(2,)", "12345678")), bilevel::IoError);
  EXPECT_THROW(read(npy_bytes("<c4", false, "(2,)", "12345678")), bilevel::IoError);
}

TEST_F(ArrayFile, FormatsTwoAndThree) {
  for (const int major : {1, 2, 3}) {
    EXPECT_EQ(parse(npy_bytes("|u1", false, "(3,)", "abc", major)).values, (std::vector<double>{97, 98, 99}));
  }
  EXPECT_NE(message(npy_bytes("|u1", false, "(3,)", "abc", 4)).find("format 4.0"), std::string::npos);
}

TEST_F(ArrayFile, NanIsKept) {
  const auto bits = std::bit_cast<std::uint64_t>(std::numeric_limits<double>::quiet_NaN());
  EXPECT_TRUE(std::isnan(parse(npy_bytes("<f8", false, "(1,)", integer(bits, 8, false))).values[0]));
}

TEST_F(ArrayFile, RefusalsNameTheReason) {
  EXPECT_NE(message(npy_bytes("<f8", false, "(2,)", "12345678")).find("16 bytes of values but 8"),
            std::string::npos);
  EXPECT_NE(message(npy_bytes("|u1", false, "(2,)", "123")).find("2 bytes of values but 3"),
            std::string::npos);
  EXPECT_NE(message(npy_bytes("<c16", false, "(1,)", "")).find("'c16' is not supported where real"),
            std::string::npos);
  EXPECT_NE(message(npy_bytes("<f3", false, "(1,)", "")).find("not supported"), std::string::npos);
  EXPECT_NE(message(npy_bytes("|f8", false, "(1,)", "12345678")).find("not supported"), std::string::npos);
  for (const char* type : {"|O", "<U5", "<M8[ns]", "<f3"})
    EXPECT_NE(message(npy_bytes(type, false, "(1,)", "")).find("use bool, integers, f2, f4, f8"),
              std::string::npos)
        << type;
  EXPECT_NE(message(npy_bytes("|u1", false, "(4294967296, 4294967296)", "")).find("too many"),
            std::string::npos);
  EXPECT_NE(message(npy_bytes("|u1", false, "(99999999999999999999999,)", "")).find("too large"),
            std::string::npos);
  EXPECT_NE(message(npy_bytes("|u1", false, "(-1,)", "")).find("bad npy header at byte"), std::string::npos);
  EXPECT_NE(message("").find("empty"), std::string::npos);
  EXPECT_NE(message("not an array").find("does not begin"), std::string::npos);
  EXPECT_THROW(bilevel::read_npy(folder_ / "missing.npy"), bilevel::IoError);
  EXPECT_THROW(bilevel::read_npy(folder_.path()), bilevel::IoError);
}

TEST_F(ArrayFile, ShapeAndValuesMustAgree) {
  const std::vector<double> values(5);
  EXPECT_THROW(bilevel::write_npy(folder_ / "x.npy", Shape{2, 3}, std::span<const double>(values)),
               bilevel::ShapeError);
  EXPECT_FALSE(std::filesystem::exists(folder_ / "x.npy"));
}

}  // namespace
