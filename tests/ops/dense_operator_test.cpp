#include "bilevel/ops/dense_operator.hpp"

#include <gmock/gmock.h>

#include <cmath>

#include "bilevel/core/error.hpp"
#include "tests/ops/operator_lab.hpp"
#include "tests/support/thrown.hpp"

namespace bilevel {
namespace {

using namespace testing_support;
using ::testing::HasSubstr;

/// H x, H = I - 2 w w^T / |w|^2.
void reflect(std::vector<double>& x, const std::vector<double>& w) {
  const double factor = 2 * dot(w, x) / dot(w, w);
  for (std::size_t e = 0; e < x.size(); ++e) x[e] -= factor * w[e];
}

/// A matrix with these singular values, min(rows, columns) of them, between random reflections.
std::vector<double> with_singular_values(int rows, int columns, const std::vector<double>& values,
                                         Random& random) {
  const auto m = static_cast<std::size_t>(rows), n = static_cast<std::size_t>(columns);
  const std::vector<double> left = random.normal_vector(m), right = random.normal_vector(n);
  std::vector<std::vector<double>> by_row(m, std::vector<double>(n, 0));
  for (std::size_t k = 0; k < values.size(); ++k) by_row[k][k] = values[k];
  for (auto& row : by_row) reflect(row, right);
  for (std::size_t c = 0; c < n; ++c) {
    std::vector<double> column;
    for (const auto& row : by_row) column.push_back(row[c]);
    reflect(column, left);
    for (std::size_t r = 0; r < m; ++r) by_row[r][c] = column[r];
  }
  std::vector<double> a;
  for (const auto& row : by_row) append(a, row);
  return a;
}

template <class T>
typename OperatorLab<T>::Make dense(int images, int vectors, int rows, int columns,
                                    const std::vector<double>& a) {
  return [=](Context& c) { return std::make_unique<DenseOperator<T>>(c, images, vectors, rows, columns, a); };
}

/// The same matrix, read from the host in blocks.
template <class T>
typename OperatorLab<T>::Make streamed(int images, int vectors, int rows, int columns,
                                       const std::vector<double>& a, int block_rows) {
  return [=](Context& c) {
    const RowReader<T> read = [a, columns](int first, int count, std::span<T> out) {
      ASSERT_EQ(out.size(), static_cast<std::size_t>(count * columns));
      std::copy_n(a.begin() + static_cast<std::ptrdiff_t>(first) * columns, out.size(), out.begin());
    };
    return std::make_unique<DenseOperator<T>>(c, images, vectors, rows, columns, read, block_rows);
  };
}

template <class T>
class DenseOperators : public ::testing::Test {};
using Precisions = ::testing::Types<float, double>;
TYPED_TEST_SUITE(DenseOperators, Precisions);

TYPED_TEST(DenseOperators, AreMatricesTimesVectors) {
  using T = TypeParam;
  Random random(seed(3811));
  for (const auto& [vectors, rows, columns] :
       {std::array{1, 1, 1}, {1, 7, 4}, {3, 4, 9}, {10, 33, 20}, {2, 300, 270}}) {
    SCOPED_TRACE(std::to_string(vectors) + " x " + std::to_string(rows) + " x " + std::to_string(columns));
    const std::vector<double> a =
        representable<T>(random.normal_vector(static_cast<std::size_t>(rows * columns)));
    OperatorLab<T> lab(dense<T>(2, vectors, rows, columns, a));
    const Image x = lab.noise(lab.op().domain(), random), z = lab.apply(x);
    const double allowed = unit_roundoff<T> * (columns + 3);
    for (int k = 0; k < 2 * vectors; ++k)
      for (int r = 0; r < rows; ++r) {
        double sum = 0, size = 0;
        for (int c = 0; c < columns; ++c) {
          const double product =
              a[static_cast<std::size_t>(r * columns + c)] * x[static_cast<std::size_t>(k * columns + c)];
          sum += product;
          size += std::abs(product);
        }
        ASSERT_NEAR(z[static_cast<std::size_t>(k * rows + r)], sum, (allowed + 1e-15 * columns) * size);
      }
    const OperatorReport report = check_operator(lab.context(), lab.op());
    EXPECT_EQ(report.fault, "");
    expect_only_enqueues(lab);
  }
}

/// Tall matrices, in single precision added up in parts; double precision uploads its numbers once.
TYPED_TEST(DenseOperators, OfManyRowsAreUploadedOnce) {
  using T = TypeParam;
  Random random(seed(3816));
  Context context(Device::open(test_device("cpu:2")));
  const int rows = 9000, columns = 3;
  const std::vector<double> a = random.normal_vector(static_cast<std::size_t>(rows * columns));
  std::vector<double> kept;
  for (const double v : a) kept.push_back(static_cast<T>(v));
  const auto before = context.counters();
  const DenseOperator<T> op(context, 1, 1, rows, columns, a);
  const auto uploaded = context.counters().bytes_uploaded - before.bytes_uploaded;
  const std::size_t numbers = a.size(), small = 20 * 9 * sizeof(double);
  EXPECT_LE(uploaded, numbers * (sizeof(T) == 4 ? 4 + 8 : 8) + small);
  double trace = 0, least = HUGE_VAL;  // of the diagonal of A^T A, which is near N I
  for (std::size_t c = 0; c < columns; ++c) {
    double sum = 0;
    for (std::size_t e = c; e < kept.size(); e += columns) sum += kept[e] * kept[e];
    trace += sum;
    least = std::min(least, sum);
  }
  EXPECT_GE(op.norm2(), trace / columns * (1 - 1e-12));
  EXPECT_LE(op.norm2(), trace / columns * 1.2);
  EXPECT_LE(op.least2(), least);
  EXPECT_GE(op.least2(), 0.8 * trace / columns);
}

/// Rows of the host: the size of the blocks changes nothing, and results are those of rows on the device but
/// for rounding.
TYPED_TEST(DenseOperators, OfTheHostHaveTheSameBitsWhateverTheBlocks) {
  using T = TypeParam;
  Random random(seed(3817));
  const int rows = 2500, columns = 7, vectors = 3;
  const std::vector<double> a =
      representable<T>(random.normal_vector(static_cast<std::size_t>(rows * columns)));
  OperatorLab<T> whole(dense<T>(2, vectors, rows, columns, a)),
      first(streamed<T>(2, vectors, rows, columns, a, 1));
  const Image x = whole.noise(whole.op().domain(), random), z = whole.noise(whole.op().range(), random);
  const Image ax = first.apply(x), atz = first.adjoint(z);
  EXPECT_LE(distance(ax, whole.apply(x)),
            unit_roundoff<T> * (first.op().apply_rounding() + whole.op().apply_rounding()) * norm(x));
  EXPECT_LE(distance(atz, whole.adjoint(z)),
            unit_roundoff<T> * (first.op().rounding() + whole.op().rounding()) * norm(z));
  EXPECT_NEAR(first.op().norm2(), whole.op().norm2(), 1e-11 * whole.op().norm2());
  EXPECT_NEAR(first.op().least2(), whole.op().least2(), 0.02 * whole.op().least2());
  EXPECT_EQ(first.op().pixel_norm2(), whole.op().pixel_norm2());
  EXPECT_EQ(check_operator(first.context(), first.op()).fault, "");
  for (const int block_rows : {1500, 2048, 3000000}) {
    OperatorLab<T> other(streamed<T>(2, vectors, rows, columns, a, block_rows));
    EXPECT_EQ(other.apply(x), ax) << block_rows;
    EXPECT_EQ(other.adjoint(z), atz) << block_rows;
    EXPECT_EQ(other.op().norm2(), first.op().norm2()) << block_rows;
    EXPECT_EQ(other.op().least2(), first.op().least2()) << block_rows;
  }
  first.enqueue();
  const Counters before = first.context().counters();
  first.enqueue();
  const Counters after = first.context().counters();
  EXPECT_EQ(after.allocations, before.allocations);
  EXPECT_EQ(after.host_syncs, before.host_syncs);
  EXPECT_EQ(after.bytes_uploaded - before.bytes_uploaded, 4 * a.size() * sizeof(T));
  expect_same_bits<T>(streamed<T>(2, vectors, rows, columns, a, 1), random);
}

/// What is certified holds for them too, on the device is a block alone, and more columns than rows are
/// allowed.
TYPED_TEST(DenseOperators, OfTheHostAreBounded) {
  using T = TypeParam;
  Random random(seed(3818));
  for (const auto& [rows, columns] : {std::array{40, 12}, {12, 40}}) {
    const int n = std::min(rows, columns);
    std::vector<double> values;
    for (int k = 0; k < n; ++k) values.push_back(random.uniform(0.5, 1));
    const std::vector<double> a = representable<T>(with_singular_values(rows, columns, values, random));
    const double top = *std::max_element(values.begin(), values.end()),
                 bottom = *std::min_element(values.begin(), values.end()), off = 100 * unit_roundoff<T>;
    OperatorLab<T> lab(streamed<T>(1, 1, rows, columns, a, 5));
    EXPECT_GE(lab.op().norm2(), (top - off) * (top - off));
    EXPECT_LE(lab.op().norm2(), (top + off) * (top + off) * std::pow(columns, 1.0 / 32));
    EXPECT_LE(lab.op().least2(), rows < columns ? 0 : (bottom + off) * (bottom + off));
    EXPECT_GE(lab.op().least2(), rows < columns ? 0 : 0.97 * (bottom - off) * (bottom - off));
  }
  const auto allocated = [&](int rows) {
    Context context(Device::open(test_device("cpu:2")));
    const auto op =
        streamed<T>(1, 1, rows, 4, random.normal_vector(static_cast<std::size_t>(rows) * 4), 100)(context);
    return context.counters().bytes_allocated;
  };
  EXPECT_EQ(allocated(20000), allocated(2000));
  OperatorLab<T> three(streamed<T>(3, 2, 1500, 4, random.normal_vector(6000), 1));
  expect_frozen_images_alone(three, random);
}

TYPED_TEST(DenseOperators, LeaveFrozenImagesAlone) {
  Random random(seed(3812));
  OperatorLab<TypeParam> lab(dense<TypeParam>(3, 2, 5, 4, random.normal_vector(20)));
  expect_frozen_images_alone(lab, random);
}

/// Bounds hold for clustered, spread and vanishing singular values, of any size, and are as sharp as stated.
TYPED_TEST(DenseOperators, BoundTheirSingularValues) {
  using T = TypeParam;
  Random random(seed(3813));
  Context context(Device::open(test_device("cpu:2")));
  RatioRecorder largest(std::string(sizeof(T) == 4 ? "float" : "double") + ", norm2 / |A|^2"),
      least(std::string(sizeof(T) == 4 ? "float" : "double") + ", least2 / smallest eigenvalue");
  for (int trial = 0; trial < 60; ++trial) {
    const int columns = random.integer(1, 40), rows = random.integer(1, 60), n = std::min(rows, columns);
    const double size = random.log_uniform(1e-12, 1e12), spread = random.log_uniform(1e-7, 1);
    std::vector<double> values;
    for (int k = 0; k < n; ++k)
      values.push_back(size * (trial % 3 == 0   ? 1
                               : trial % 3 == 1 ? random.log_uniform(spread, 1)
                                                : random.uniform(spread, 1)));
    const double top = *std::max_element(values.begin(), values.end()),
                 bottom = *std::min_element(values.begin(), values.end());
    const DenseOperator<T> op(context, 1, 1, rows, columns,
                              with_singular_values(rows, columns, values, random));
    // the matrix itself is rounded, to T as well
    const double off = 60 * unit_roundoff<T> * top * std::sqrt(static_cast<double>(n)) + 1e-13 * top;
    EXPECT_GE(op.norm2(), (top - off) * (top - off));
    EXPECT_LE(op.norm2(), (top + off) * (top + off) * std::pow(n, 1.0 / 32) * (1 + 1e-6));
    largest.add(op.norm2() / (top * top));
    if (rows < columns) {
      EXPECT_EQ(op.least2(), 0);
      continue;
    }
    EXPECT_LE(op.least2(), (bottom + off) * (bottom + off));
    const double rounding = 1e-12 * top * top * n;  // what a factorisation in double can tell
    if (bottom * bottom > 100 * rounding && bottom > 100 * off) {
      EXPECT_GE(op.least2(), 0.97 * (bottom - off) * (bottom - off) - rounding);
      least.add(op.least2() / (bottom * bottom));
    }
  }
  EXPECT_GT(least.count(), 5u);
}

TYPED_TEST(DenseOperators, OfLowRankHaveNoLeastEigenvalue) {
  using T = TypeParam;
  Random random(seed(3814));
  Context context(Device::open(test_device("cpu:2")));
  for (const int rank : {0, 1, 5}) {
    std::vector<double> values(12, 0);
    for (int k = 0; k < rank; ++k) values[static_cast<std::size_t>(k)] = random.uniform(0.5, 1);
    const DenseOperator<T> op(context, 1, 1, 20, 12, with_singular_values(20, 12, values, random));
    EXPECT_LE(op.least2(), sizeof(T) == 4 ? 1e-11 : 1e-13);
    if (rank == 0) {
      EXPECT_EQ(op.norm2(), 0);
    }
  }
}

TEST(DenseOperatorMisuse, IsRefused) {
  Context context(Device::open(test_device("cpu:1")));
  using Op = DenseOperator<double>;
  const std::vector<double> six(6, 1.0), infinite = {1, HUGE_VAL}, huge(2, 1e200), tiny(2, 1e-200);
  EXPECT_THAT(message_of<ShapeError>([&] { Op(context, 1, 1, 2, 2, six); }), HasSubstr("6 numbers"));
  EXPECT_THROW(Op(context, 0, 1, 2, 3, six), ShapeError);
  EXPECT_THROW(Op(context, 1, 1, 1, 2, infinite), ConfigError);
  EXPECT_THROW(Op(context, 1, 1, 1, 2, huge), ConfigError);
  EXPECT_THROW(Op(context, 1, 1, 1, 2, tiny), ConfigError);
  const RowReader<double> read = [](int, int, std::span<double> out) {
    std::fill(out.begin(), out.end(), HUGE_VAL);
  };
  EXPECT_THAT(message_of<ConfigError>([&] { Op(context, 1, 1, 2, 3, nullptr, 1); }), HasSubstr("a reader"));
  EXPECT_THROW(Op(context, 1, 1, 2, 3, read, 0), ConfigError);
  EXPECT_THROW(Op(context, 1, 1, 0, 3, read, 1), ShapeError);
  EXPECT_THAT(message_of<ConfigError>([&] { Op(context, 1, 1, 2, 3, read, 1); }),
              HasSubstr("finite numbers"));
  const Op op(context, 1, 1, 2, 3, six);
  Frame frame(context);
  ActiveSet all(context, frame, 1);
  EXPECT_THROW(
      op.apply(context, all.active(), frame.view<double>({1, 1, 1, 2}), frame.view<double>({1, 1, 1, 2})),
      ShapeError);
}

}  // namespace
}  // namespace bilevel
