#include <limits>

#include "bilevel/io/array_file.hpp"
#include "kspace_test_support.hpp"

namespace {

using namespace bilevel_test;

struct Extents {
  int rows, columns;
};

/// A millimetre a pixel.
IsmrmrdSpec spec_of(Extents encoded, Extents reconstructed) {
  IsmrmrdSpec spec{encoded.rows, reconstructed.rows, encoded.columns, encoded.columns / 2};
  spec.reconstructed_lines = reconstructed.columns;
  return spec;
}

int count_measured(const Kspace& kspace) {
  return static_cast<int>(std::count(kspace.sampled.begin(), kspace.sampled.end(), 1));
}

Complexes to_double(const Floats& values) { return {values.begin(), values.end()}; }

/// Centred transforms of images one behind the other.
Complexes dft_all(const Complexes& images, Extents extents, int sign) {
  Complexes all;
  const auto plane = static_cast<std::ptrdiff_t>(extents.rows) * extents.columns;
  for (auto at = images.begin(); at != images.end(); at += plane) {
    const Complexes one = dft({at, at + plane}, extents.rows, extents.columns, sign, true);
    all.insert(all.end(), one.begin(), one.end());
  }
  return all;
}

class IsmrmrdFile : public KspaceFile {};

TEST_F(IsmrmrdFile, ReadoutsAreColumns) {
  for (const auto& [rows, columns] : kSizes) {
    const Complexes images = random_complex(static_cast<std::size_t>(2 * rows * columns), 21);
    std::vector<IsmrmrdEcho> echoes = echoes_of(centred_kspace(images, rows, columns), 2, rows, columns);
    IsmrmrdEcho noise = echoes[0];
    noise.flag = ISMRMRD::ISMRMRD_ACQ_IS_NOISE_MEASUREMENT;
    noise.counters.repetition = 1;
    noise.coils[0].resize(100);
    noise.coils[1].resize(100);
    echoes.insert(echoes.begin(), noise);
    IsmrmrdSpec spec{rows, rows, columns, columns / 2};
    spec.reconstructed_lines = columns;
    write_ismrmrd(folder_ / "a.h5", ismrmrd_xml(spec), echoes);
    const Kspace read = read_kspace(folder_ / "a.h5");
    EXPECT_EQ(read.coils, 2);
    EXPECT_EQ(read.rows, rows);
    EXPECT_EQ(read.columns, columns);
    expect_near(images_of(read), images, 1e-6);
  }
}

/// The middle rows and columns of images.
Complexes cropped(const Complexes& images, Extents from, Extents to) {
  Complexes out;
  const std::size_t count = images.size() / static_cast<std::size_t>(from.rows * from.columns);
  for (std::size_t image = 0; image < count; ++image) {
    for (int row = 0; row < to.rows; ++row) {
      for (int column = 0; column < to.columns; ++column) {
        const int y = row + from.rows / 2 - to.rows / 2, x = column + from.columns / 2 - to.columns / 2;
        out.push_back(images[(image * from.rows + y) * from.columns + x]);
      }
    }
  }
  return out;
}

/// The image is cropped as an image is, in double, and everything was measured.
TEST_F(IsmrmrdFile, OversamplingIsCroppedInBothDirections) {
  constexpr Extents kCases[][2] = {
      {{16, 5}, {8, 5}}, {{14, 5}, {7, 5}},  {{15, 4}, {8, 4}},  {{9, 6}, {5, 6}}, {{12, 5}, {11, 5}},
      {{5, 16}, {5, 8}}, {{4, 14}, {4, 7}},  {{6, 15}, {6, 8}},  {{5, 9}, {5, 5}}, {{3, 12}, {3, 11}},
      {{8, 6}, {4, 3}},  {{15, 14}, {8, 7}}, {{11, 13}, {6, 6}}, {{4, 2}, {1, 1}}};
  for (const auto& [wide, narrow] : kCases) {
    SCOPED_TRACE(std::to_string(wide.rows) + " x " + std::to_string(wide.columns));
    const Complexes images = random_complex(static_cast<std::size_t>(2 * wide.rows * wide.columns), 22);
    const Complexes kspace = centred_kspace(images, wide.rows, wide.columns);
    const auto echoes = echoes_of(kspace, 2, wide.rows, wide.columns);
    write_ismrmrd(folder_ / "a.mrd", ismrmrd_xml(spec_of(wide, narrow)), echoes);
    const Kspace read = read_kspace(folder_ / "a.mrd");
    ASSERT_EQ(read.rows, narrow.rows);
    ASSERT_EQ(read.columns, narrow.columns);
    EXPECT_EQ(read.recon_rows, narrow.rows);
    EXPECT_EQ(read.recon_columns, narrow.columns);
    EXPECT_EQ(read.notes.size(), 0U);
    EXPECT_EQ(count_measured(read), narrow.rows * narrow.columns);
    Complexes stored = dft_all(to_double(to_float(kspace)), wide, +1);  // float32 in the file
    expect_near(images_of(read), cropped(stored, wide, narrow), 1e-13);
  }
}

/// Matrix sizes decide nothing; a reconstructed matrix only settles the rounding.
TEST_F(IsmrmrdFile, FieldsOfViewTellWhatIsOversampled) {
  struct Case {
    int encoded, reconstructed;
    double encoded_mm, reconstructed_mm;
    int expected;
  };
  constexpr Case kCases[] = {{16, 8, 300, 300, 16},    {16, 16, 600, 300, 8},  {16, 8, 300, 400, 16},
                             {15, 8, 600, 320, 8},     {15, 32, 600, 320, 8},  {16, 8, 300, 299.9, 16},
                             {16, 15, 300, 299.9, 16}, {16, 10, 300, 180, 10}, {16, 9, 300, 180, 9},
                             {16, 64, 300, 180, 10},   {16, 8, 300, 180, 10},  {16, 8, 600, 300, 8},
                             {16, 16, 0, 0, 16}};
  for (const Case& c : kCases) {
    SCOPED_TRACE(std::to_string(c.encoded) + " to " + std::to_string(c.reconstructed) + " of " +
                 std::to_string(c.encoded_mm) + " mm to " + std::to_string(c.reconstructed_mm));
    for (const bool along_columns : {false, true}) {
      const auto turn = [&](int n) { return along_columns ? Extents{3, n} : Extents{n, 3}; };
      const Extents wide = turn(c.encoded), narrow = turn(c.expected);
      IsmrmrdSpec spec = spec_of(wide, turn(c.reconstructed));
      spec.encoded_mm = spec.reconstructed_mm = {3, 3};
      spec.encoded_mm[along_columns ? 1 : 0] = c.encoded_mm;
      spec.reconstructed_mm[along_columns ? 1 : 0] = c.reconstructed_mm;
      const Complexes images = random_complex(static_cast<std::size_t>(3 * c.encoded), 29);
      write_ismrmrd(folder_ / "a.h5", ismrmrd_xml(spec),
                    echoes_of(centred_kspace(images, wide.rows, wide.columns), 1, wide.rows, wide.columns));
      const Kspace read = read_kspace(folder_ / "a.h5");
      EXPECT_EQ(read.rows, narrow.rows);
      EXPECT_EQ(read.columns, narrow.columns);
      expect_near(images_of(read), cropped(images, wide, narrow), 1e-6);
    }
  }
  const auto echoes = echoes_of(random_complex(16 * 3, 30), 1, 16, 3);
  IsmrmrdSpec spec = spec_of({16, 3}, {8, 3});
  spec.encoded_mm = {0, 3}, spec.reconstructed_mm = {0, 3};
  write_ismrmrd(folder_ / "a.h5", ismrmrd_xml(spec), echoes);
  expect_refused("a.h5", "16 encoded and 8 reconstructed pixels but no fields of view");
  spec.encoded_mm = {600, 3}, spec.reconstructed_mm = {1, 3};
  write_ismrmrd(folder_ / "a.h5", ismrmrd_xml(spec), echoes);
  expect_refused("a.h5", "field of view, 1 mm of 600 mm, is less than a pixel");
}

TEST_F(IsmrmrdFile, PhaseOversamplingStaysWhereLinesAreMissing) {
  const Extents wide{8, 12}, narrow{4, 6};
  const Complexes images = random_complex(8 * 12, 31);
  auto echoes = echoes_of(centred_kspace(images, 8, 12), 1, 8, 12);
  echoes.erase(echoes.begin() + 3);
  IsmrmrdSpec spec = spec_of(wide, narrow);
  spec.encoded_mm = {300, 600}, spec.reconstructed_mm = {150, 300};
  write_ismrmrd(folder_ / "a.h5", ismrmrd_xml(spec), echoes);
  const Kspace read = read_kspace(folder_ / "a.h5");
  EXPECT_EQ(read.rows, 4);
  EXPECT_EQ(read.columns, 12);
  EXPECT_EQ(read.recon_columns, 6);
  ASSERT_EQ(read.notes.size(), 1U);
  EXPECT_NE(read.notes[0].find("encoded field of view of 600 mm (reconstructed: 300 mm)"), std::string::npos)
      << read.notes[0];
  for (int k = 0; k < 4 * 12; ++k) EXPECT_EQ(read.sampled[k], k % 12 == (3 + 6) % 12 ? 0 : 1) << k;
  Complexes kspace = centred_kspace(images, 8, 12);
  for (int row = 0; row < 8; ++row) kspace[row * 12 + 3] = 0.0;
  expect_near(images_of(read), cropped(dft(kspace, 8, 12, +1, true), wide, {4, 12}), 1e-6);
}

/// All lines lack the same frequencies of the readout: rows that were measured, were measured completely.
TEST_F(IsmrmrdFile, PhaseOversamplingOfPartialEchoesIsCropped) {
  const Complexes images = random_complex(8 * 12, 32);
  Complexes kspace = centred_kspace(images, 8, 12);
  auto echoes = echoes_of(kspace, 1, 8, 12);
  for (IsmrmrdEcho& echo : echoes) echo.discard_pre = 2, echo.centre = 4;
  write_ismrmrd(folder_ / "a.h5", ismrmrd_xml(spec_of({8, 12}, {8, 7})), echoes);
  const Kspace read = read_kspace(folder_ / "a.h5");
  ASSERT_EQ(read.columns, 7);
  for (int k = 0; k < 8 * 7; ++k) EXPECT_EQ(read.sampled[k], (k / 7 + 4) % 8 < 2 ? 0 : 1) << k;
  std::fill_n(kspace.begin(), 2 * 12, 0.0);
  expect_near(images_of(read), cropped(dft(kspace, 8, 12, +1, true), {8, 12}, {8, 7}), 1e-6);
}

TEST_F(IsmrmrdFile, ZerosInsideAnEchoAreMeasured) {
  for (const int narrow : {8, 5}) {
    auto echoes = echoes_of(random_complex(8 * 6, 33), 1, 8, 6);
    std::fill(echoes[1].coils[0].begin(), echoes[1].coils[0].end(), 0.0F);
    echoes[2].coils[0][3] = 0.0F;
    echoes.erase(echoes.begin() + 4);
    write_ismrmrd(folder_ / "a.h5", ismrmrd_xml(spec_of({8, 6}, {narrow, 6})), echoes);
    const Kspace read = read_kspace(folder_ / "a.h5");
    ASSERT_EQ(read.rows, narrow);
    for (int k = 0; k < narrow * 6; ++k) EXPECT_EQ(read.sampled[k], k % 6 == (4 + 3) % 6 ? 0 : 1) << k;
  }
}

TEST_F(IsmrmrdFile, DiscardedSamplesAreNotMeasured) {
  for (const int narrow : {16, 8, 7}) {
    const Complexes kspace = centred_kspace(random_complex(2 * 16 * 4, 34), 16, 4);
    auto whole = echoes_of(kspace, 2, 16, 4), cut = whole;
    for (std::size_t k = 0; k < whole.size(); ++k) {
      whole[k].discard_pre = 3, whole[k].discard_post = 2, whole[k].centre = 8;
      cut[k].centre = 8 - 3;
      for (Floats& coil : cut[k].coils) coil = Floats(coil.begin() + 3, coil.end() - 2);
    }
    write_ismrmrd(folder_ / "a.h5", ismrmrd_xml(spec_of({16, 4}, {narrow, 4})), whole);
    write_ismrmrd(folder_ / "b.h5", ismrmrd_xml(spec_of({16, 4}, {narrow, 4})), cut);
    const Kspace a = read_kspace(folder_ / "a.h5"), b = read_kspace(folder_ / "b.h5");
    EXPECT_EQ(a.values, b.values);
    EXPECT_EQ(a.sampled, b.sampled);
    EXPECT_EQ(count_measured(a), 4 * (narrow == 16 ? 11 : 5));
  }
}

/// 1 at the frequencies of a cropped line of which every encoded one nearer than a step was measured.
std::vector<bool> expected_measured(int n, int m, int begin, int end) {
  std::vector<bool> measured;
  for (int k = 0; k < m; ++k) {
    const double place = static_cast<double>(k - m / 2) * n / m;
    bool all = true;
    for (int j = 0; j < n; ++j)
      if (std::abs(j - n / 2 - place) < 1 - 1e-9) all = all && j >= begin && j < end;
    measured.push_back(all);
  }
  return measured;
}

/// A line without the frequencies outside [begin, end), completed by iteration and cropped.
Complexes complete_and_crop(Complexes line, int m, int begin, int end, double epsilon) {
  const int n = static_cast<int>(line.size()), first = n / 2 - m / 2;
  for (int round = 0; round < 2000; ++round) {
    Complexes image = dft(line, 1, n, +1, true);
    for (int p = 0; p < n; ++p)
      if (p < first || p >= first + m) image[p] = 0.0;
    const Complexes projected = dft(image, 1, n, -1, true);
    for (int k = 0; k < n; ++k)
      if (k < begin || k >= end) line[k] = (1 - epsilon) * projected[k];
  }
  return dft(cropped(dft(line, 1, n, +1, true), {1, n}, {1, m}), 1, m, -1, true);
}

/// Against the iteration of Papoulis and Gerchberg, with the energy outside as the echoes show it.
TEST_F(IsmrmrdFile, PartialEchoesAreCompletedForTheCrop) {
  struct Case {
    int n, m, begin, end;
  };
  for (const Case& c :
       {Case{16, 8, 5, 16}, Case{15, 8, 0, 11}, Case{14, 7, 3, 12}, Case{9, 5, 2, 9}, Case{15, 8, 2, 15}}) {
    SCOPED_TRACE(std::to_string(c.n) + " to " + std::to_string(c.m));
    Complexes images = random_complex(static_cast<std::size_t>(c.n) * 3, 35);
    const int first = c.n / 2 - c.m / 2;
    for (int row = 0; row < c.n; ++row)
      for (int column = 0; column < 3; ++column)
        if (row < first || row >= first + c.m) images[row * 3 + column] *= 0.3;
    auto echoes = echoes_of(centred_kspace(images, c.n, 3), 1, c.n, 3);
    std::vector<Complexes> lines;
    double inside = 0, outside = 0;
    for (IsmrmrdEcho& echo : echoes) {
      const int begin = c.begin + echo.line % 2;
      Floats& samples = echo.coils[0];
      Complexes line(samples.begin(), samples.end());
      std::fill(line.begin(), line.begin() + begin, 0.0);
      std::fill(line.begin() + c.end, line.end(), 0.0);
      const Complexes image = dft(line, 1, c.n, +1, true);
      for (int p = 0; p < c.n; ++p) (p < first || p >= first + c.m ? outside : inside) += std::norm(image[p]);
      lines.push_back(line);
      samples = Floats(samples.begin() + begin, samples.begin() + c.end);
      echo.centre = static_cast<std::uint16_t>(c.n / 2 - begin);
    }
    write_ismrmrd(folder_ / "a.h5", ismrmrd_xml(spec_of({c.n, 3}, {c.m, 3})), echoes);
    const Kspace read = read_kspace(folder_ / "a.h5");
    ASSERT_EQ(read.rows, c.m);
    const double epsilon = outside / (c.n - c.m) / (inside / c.m);
    ASSERT_LT(epsilon, 1);
    Complexes expected(static_cast<std::size_t>(c.m) * 3);
    for (int column = 0; column < 3; ++column) {
      const int begin = c.begin + column % 2;
      const std::vector<bool> measured = expected_measured(c.n, c.m, begin, c.end);
      const Complexes line = complete_and_crop(lines[column], c.m, begin, c.end, epsilon);
      for (int row = 0; row < c.m; ++row) {
        expected[row * 3 + column] = measured[row] ? line[row] : 0.0;
        EXPECT_EQ(read.sampled[(row + c.m - c.m / 2) % c.m * 3 + (column + 2) % 3], measured[row] ? 1 : 0);
      }
    }
    expect_near(images_of(read), dft(expected, c.m, 3, +1, true), 1e-10);
  }
}

/// What lies inside the reconstructed field of view comes back from partial echoes as it was.
TEST_F(IsmrmrdFile, PartialEchoesOfAnObjectInside) {
  const int n = 64, m = 32, begin = 20;
  Complexes images(static_cast<std::size_t>(n) * 4);
  const Complexes inside = random_complex(20 * 4, 36);
  std::copy(inside.begin(), inside.end(), images.begin() + (n / 2 - 10) * 4);
  auto echoes = echoes_of(centred_kspace(images, n, 4), 1, n, 4);
  for (IsmrmrdEcho& echo : echoes) {
    echo.coils[0].erase(echo.coils[0].begin(), echo.coils[0].begin() + begin);
    echo.centre = n / 2 - begin;
  }
  write_ismrmrd(folder_ / "a.h5", ismrmrd_xml(spec_of({n, 4}, {m, 4})), echoes);
  const Kspace read = read_kspace(folder_ / "a.h5");
  const Complexes truth = centred_kspace(cropped(images, {n, 4}, {m, 4}), m, 4);
  Complexes expected = truth;
  std::fill_n(expected.begin(), begin / 2 * 4, 0.0);
  EXPECT_EQ(count_measured(read), (m - begin / 2) * 4);
  const Complexes images_read = images_of(read), image = dft(expected, m, 4, +1, true);
  double error = 0, energy = 0;
  for (std::size_t k = 0; k < image.size(); ++k)
    error += std::norm(images_read[k] - image[k]), energy += std::norm(image[k]);
  EXPECT_LT(std::sqrt(error / energy), 0.02) << "0.1 without the completion";
}

TEST_F(IsmrmrdFile, SlicesWithoutAnEchoAreNone) {
  const Complexes images = random_complex(2 * 2 * 8 * 6, 37), kspace = centred_kspace(images, 8, 6);
  std::vector<IsmrmrdEcho> echoes;
  for (const std::uint16_t slice : {std::uint16_t{9}, std::uint16_t{5}}) {  // in the order of the scan
    const auto begin = kspace.begin() + (slice == 5 ? 0 : 2 * 8 * 6);
    for (IsmrmrdEcho& echo : echoes_of({begin, begin + 2 * 8 * 6}, 2, 8, 6)) {
      echo.slice = slice;
      echoes.push_back(std::move(echo));
    }
  }
  write_ismrmrd(folder_ / "a.h5", ismrmrd_xml(IsmrmrdSpec{}), echoes);
  const Kspace read = read_kspace(folder_ / "a.h5");
  EXPECT_EQ(read.slices, 2);
  EXPECT_EQ(read.slice_numbers, (std::vector<int>{5, 9}));
  expect_near(images_of(read), images, 1e-6);
  EXPECT_EQ(count_measured(read), 2 * 8 * 6);
  echoes[8].coils[1][3] = std::numeric_limits<float>::quiet_NaN();
  for (const int narrow : {8, 4}) {
    for (IsmrmrdEcho& echo : echoes) echo.discard_pre = narrow == 4 ? 1 : 0;
    write_ismrmrd(folder_ / "a.h5", ismrmrd_xml(spec_of({8, 6}, {narrow, 6})), echoes);
    expect_refused("a.h5", "sample 3 of encoding step 2 and coil 1 of slice 5 is NaN or infinite");
  }
}

constexpr std::pair<const char*, std::uint16_t ISMRMRD::ISMRMRD_EncodingCounters::*> kCounters[] = {
    {"second encoding steps", &ISMRMRD::ISMRMRD_EncodingCounters::kspace_encode_step_2},
    {"averages", &ISMRMRD::ISMRMRD_EncodingCounters::average},
    {"contrasts", &ISMRMRD::ISMRMRD_EncodingCounters::contrast},
    {"phases", &ISMRMRD::ISMRMRD_EncodingCounters::phase},
    {"repetitions", &ISMRMRD::ISMRMRD_EncodingCounters::repetition},
    {"sets", &ISMRMRD::ISMRMRD_EncodingCounters::set}};

/// One repetition of a scan, taken out of it, keeps its number.
TEST_F(IsmrmrdFile, CountersMayBeConstant) {
  const Complexes images = random_complex(8 * 6, 38);
  const auto plain = echoes_of(centred_kspace(images, 8, 6), 1, 8, 6);
  for (const auto& [what, counter] : kCounters) {
    auto echoes = plain;
    for (IsmrmrdEcho& echo : echoes) echo.counters.*counter = 3;
    write_ismrmrd(folder_ / "a.h5", ismrmrd_xml(IsmrmrdSpec{}), echoes);
    expect_near(images_of(read_kspace(folder_ / "a.h5")), images, 1e-6);
    echoes[4].counters.*counter = 0;
    write_ismrmrd(folder_ / "a.h5", ismrmrd_xml(IsmrmrdSpec{}), echoes);
    expect_refused("a.h5", std::string("several ") + what + " (3 and 0)");
  }
  auto echoes = plain;
  for (IsmrmrdEcho& echo : echoes) echo.encoding = 1;
  write_ismrmrd(folder_ / "a.h5", ismrmrd_xml(IsmrmrdSpec{}), echoes);
  expect_near(images_of(read_kspace(folder_ / "a.h5")), images, 1e-6);
  echoes[4].encoding = 0;
  write_ismrmrd(folder_ / "a.h5", ismrmrd_xml(IsmrmrdSpec{}), echoes);
  expect_refused("a.h5", "several encoding spaces (1 and 0)");
}

/// Of several encodings in the header the one counts that the echoes name; the others may be what is not
/// read.
TEST_F(IsmrmrdFile, EchoesNameTheirEncoding) {
  const Complexes images = random_complex(8 * 6, 39);
  auto echoes = echoes_of(centred_kspace(images, 8, 6), 1, 8, 6);
  for (IsmrmrdEcho& echo : echoes) echo.encoding = 1;
  IsmrmrdSpec other{32, 8, 4, 1};
  other.trajectory = "radial";
  const std::string first = ismrmrd_encoding(other), second = ismrmrd_encoding(IsmrmrdSpec{});
  write_ismrmrd(folder_ / "a.h5", ismrmrd_header(first + second), echoes);
  expect_near(images_of(read_kspace(folder_ / "a.h5")), images, 1e-6);
  write_ismrmrd(folder_ / "a.h5", ismrmrd_header(second + first), echoes);
  expect_refused("a.h5", "not Cartesian");
  for (IsmrmrdEcho& echo : echoes) echo.encoding = 2;
  write_ismrmrd(folder_ / "a.h5", ismrmrd_header(first + second), echoes);
  expect_refused("a.h5", "encoding 2, but it describes 2");
}

TEST_F(IsmrmrdFile, LinesLeftOutAndPartialEchoes) {
  const Complexes images = random_complex(8 * 6, 23);
  Complexes kspace = centred_kspace(images, 8, 6);
  std::vector<IsmrmrdEcho> echoes = echoes_of(kspace, 1, 8, 6);
  for (IsmrmrdEcho& echo : echoes) {
    echo.coils[0].erase(echo.coils[0].begin(), echo.coils[0].begin() + 2);  // the centre, 4, is now sample 2
    echo.centre = 2;
    echo.line = static_cast<std::uint16_t>(echo.line + 10);
  }
  echoes.erase(echoes.begin() + 1);
  write_ismrmrd(folder_ / "a.h5", ismrmrd_xml({8, 8, 6, 13}), echoes);
  const Kspace read = read_kspace(folder_ / "a.h5");
  for (int row = 0; row < 8; ++row) {
    for (int column = 0; column < 6; ++column) {
      if (row < 2 || column == 1) kspace[static_cast<std::size_t>(row * 6 + column)] = 0.0;
      const auto moved = static_cast<std::size_t>((row + 4) % 8 * 6 + (column + 3) % 6);
      EXPECT_EQ(read.sampled[moved], row < 2 || column == 1 ? 0 : 1) << row << ", " << column;
    }
  }
  expect_near(images_of(read), dft(kspace, 8, 6, +1, true), 1e-6);
}

TEST_F(IsmrmrdFile, Refusals) {
  const std::vector<IsmrmrdEcho> echoes = echoes_of(random_complex(8 * 6, 24), 1, 8, 6);
  const auto refuse = [&](const IsmrmrdSpec& spec, const std::vector<IsmrmrdEcho>& list,
                          const std::string& reason) {
    write_ismrmrd(folder_ / "a.h5", ismrmrd_xml(spec), list);
    expect_refused("a.h5", reason);
  };
  refuse({8, 8, 6, 3, 4}, echoes, "a matrix of 8 x 6 x 4");
  refuse({8, 8, 6, 3, 1, "radial"}, echoes, "not Cartesian");
  refuse({0, 8, 6, 3}, echoes, "a matrix of 0 x 6 x 1");
  refuse({8, 8, 5, 2}, echoes, "encoding step 5 is outside the 5 lines");
  refuse({8, 8, 60000, 30000}, echoes, "more than 64 times what the file holds");
  refuse({60000, 8, 6, 3}, echoes, "more than 64 times what the file holds");
  refuse({7, 7, 6, 3}, echoes, "an echo of 8 samples with its centre at 0 does not fit into the 7");
  const auto changed = [&](auto&& change) {
    std::vector<IsmrmrdEcho> list = echoes;
    change(list[1]);
    return list;
  };
  refuse({}, changed([](IsmrmrdEcho& echo) { echo.counters.repetition = 1; }),
         "several repetitions (0 and 1)");
  refuse({}, changed([](IsmrmrdEcho& echo) { echo.line = 0; }), "encoding step 0 of slice 0 occurs twice");
  refuse({}, changed([](IsmrmrdEcho& echo) { echo.coils.resize(2, echo.coils[0]); }), "have 1 and 2 coils");
  refuse({}, changed([](IsmrmrdEcho& echo) { echo.flag = ISMRMRD::ISMRMRD_ACQ_IS_REVERSE; }), "backwards");
  std::vector<IsmrmrdEcho> noise(1, echoes[0]);
  noise[0].flag = ISMRMRD::ISMRMRD_ACQ_IS_NOISE_MEASUREMENT;
  refuse({}, noise, "no echoes of an image");
  write_ismrmrd(folder_ / "a.h5", "<ismrmrdHeader>", echoes);
  expect_refused("a.h5", "XML header of ISMRMRD is damaged");
  write_ismrmrd(folder_ / "a.h5", ismrmrd_xml(IsmrmrdSpec{}), {});
  expect_refused("a.h5", "dataset/data");
}

/// Files that other programs wrote, and images that NumPy computed from them.
class IsmrmrdFaults : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!shared_folder() || !fs::exists(*shared_folder() / "faults/ismrmrd_fov_ignored"))
      GTEST_SKIP() << "The shared folder is absent; set BILEVEL_SHARED to run this test.";
    folder_ = *shared_folder() / "faults";
  }
  static double relative_distance(const Complexes& a, const Complexes& b) {
    double error = 0, energy = 0;
    for (std::size_t k = 0; k < b.size(); ++k) error += std::norm(a.at(k) - b[k]), energy += std::norm(b[k]);
    return std::sqrt(error / energy);
  }
  fs::path folder_;
};

TEST_F(IsmrmrdFaults, EqualFieldsOfViewKeepTheImage) {
  const Kspace read = read_kspace(folder_ / "ismrmrd_fov_ignored/same_fov.h5");
  EXPECT_EQ(read.rows, 48);
  EXPECT_EQ(read.columns, 20);
  const auto expected = bilevel::read_complex_npy(folder_ / "ismrmrd_fov_ignored/same_fov_full_image.npy");
  EXPECT_LT(relative_distance(images_of(read), expected.values), 1e-6);
}

TEST_F(IsmrmrdFaults, PartialEchoesWithAndWithoutOversampling) {
  const Kspace plain = read_kspace(folder_ / "ismrmrd_partial_echo_oversampled/pe.h5"),
               wide = read_kspace(folder_ / "ismrmrd_partial_echo_oversampled/peos.h5");
  EXPECT_EQ(count_measured(plain), 16 * 20);
  EXPECT_EQ(wide.sampled, plain.sampled);
  ASSERT_EQ(wide.rows, 24);
  EXPECT_LT(relative_distance(wide.values, plain.values), 0.002) << "0.032 without the completion";
}

TEST_F(IsmrmrdFaults, NumbersOfSlicesAndRepetitions) {
  const Kspace slice = read_kspace(folder_ / "ismrmrd_sparse_slice_numbers/sl5.h5");
  EXPECT_EQ(slice.slices, 1);
  EXPECT_EQ(slice.slice_numbers, std::vector<int>{5});
  EXPECT_EQ(count_measured(slice), 24 * 20);
  EXPECT_EQ(count_measured(read_kspace(folder_ / "ismrmrd_counter_not_zero/rep1.h5")), 24 * 20);
}

}  // namespace
