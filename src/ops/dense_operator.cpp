#include "bilevel/ops/dense_operator.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <mutex>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "device/blas.hpp"
#include "kernels/krylov_args.hpp"
#include "ops/operands.hpp"

namespace bilevel {
inline namespace v0 {
namespace {

constexpr const char* what = "a dense operator";
constexpr double u = std::numeric_limits<double>::epsilon() / 2;

constexpr int part_rows = 4096;      // of a tall matrix in single precision, converted to double at once
constexpr int streamed_rows = 1024;  // in one product of a matrix that stays with the host

/// How many matrices gram() adds up.
template <class T>
int gram_parts(int rows, int columns) {
  return std::is_same_v<T, float> && rows >= columns ? (rows + part_rows - 1) / part_rows : 1;
}

/// A^T A, or A A^T where that is smaller, in double. A in double is used where it lies; `kept` has its
/// numbers.
template <class T>
std::vector<double> gram(Context& context, const Blas<double>& blas, const Tensor<T>& a,
                         std::span<const T> kept) {
  const int rows = a.shape().h, columns = a.shape().w, n = std::min(rows, columns);
  Tensor<double> g(context, {1, 1, n, n}, std::vector<double>(static_cast<std::size_t>(n) * n, 0));
  const auto add = [&](const double* m, int count) {
    const bool tall = rows >= columns;
    blas.gemm(context, tall ? Transpose::yes : Transpose::no, tall ? Transpose::no : Transpose::yes, n, n,
              tall ? count : columns, 1, m, columns, m, columns, 1, g.view().device_data(), n);
  };
  if constexpr (std::is_same_v<T, double>) {
    add(a.view().device_data(), rows);
    return download(context, g);
  } else {
    const int part = gram_parts<T>(rows, columns) > 1 ? part_rows : rows;
    Tensor<double> some(context, {1, 1, part, columns});
    double* const m = some.view().device_data();
    for (int first = 0; first < rows; first += part) {
      const Shape shape{1, 1, std::min(part, rows - first), columns};
      const auto of =
          kept.subspan(static_cast<std::size_t>(first) * static_cast<std::size_t>(columns), shape.count());
      upload<double>(context, std::vector<double>(of.begin(), of.end()), View<double>(m, shape));
      add(m, shape.h);
    }
    return download(context, g);
  }
}

double frobenius(const std::vector<double>& a) {
  double sum = 0;
  for (double e : a) sum += e * e;
  return std::sqrt(sum);
}

/// >= the largest eigenvalue of a positive semidefinite G, computed with an error of at most `error` in norm,
/// from |G^32|_F. A squaring of a matrix of norm 1 in |.|_F errs by (n + 3) u, relative to its square's at
/// least 1/sqrt n by (n + 3) sqrt(n) u.
double largest_eigenvalue(Context& context, const Blas<double>& blas, std::vector<double> g, int n,
                          double error) {
  const double first = frobenius(g);
  if (!(first > 0)) return error;
  for (double& e : g) e /= first;
  Tensor<double> power(context, {1, 1, n, n}, g), square(context, {1, 1, n, n});
  double exponent = 1, logarithm = std::log(first);  // of the bound so far
  for (int k = 0; k < 5; ++k) {
    blas.gemm(context, Transpose::no, Transpose::no, n, n, n, 1, power.view().device_data(), n,
              power.view().device_data(), n, 0, square.view().device_data(), n);
    std::vector<double> values = download(context, square);
    const double norm = frobenius(values);
    exponent /= 2;
    logarithm += exponent * std::log(norm);
    for (double& e : values) e /= norm;
    power.upload(context, values);
  }
  const double relative = 8.0 * n * (n + 8) * u;
  return std::exp(logarithm) * (1 + relative) + error;
}

/// Whether the Cholesky factorisation of G - shift I runs to its end; n^3/3 flops.
bool factorises(std::vector<double> g, int n, double shift) {
  const auto row = [&](int i) { return g.data() + static_cast<std::ptrdiff_t>(i) * n; };
  for (int j = 0; j < n; ++j) {
    double* const lj = row(j);
    double pivot = lj[j] - shift;
    for (int k = 0; k < j; ++k) pivot -= lj[k] * lj[k];
    if (!(pivot > 0)) return false;
    lj[j] = std::sqrt(pivot);
    for (int i = j + 1; i < n; ++i) {
      double* const li = row(i);
      double sum = li[j];
      for (int k = 0; k < j; ++k) sum -= li[k] * lj[k];
      li[j] = sum / lj[j];
    }
  }
  return true;
}

/// <= the smallest eigenvalue of G, computed with an error of at most `error` in norm: where the
/// factorisation of G - (s + c) I ends, s is one, c = gamma_{n+1} tr G / (1 - gamma_{n+1}).
double least_eigenvalue(const std::vector<double>& g, int n, double error) {
  double trace = 0, least = std::numeric_limits<double>::infinity();
  for (int i = 0; i < n; ++i) {
    const double e = g[static_cast<std::size_t>(i) * static_cast<std::size_t>(n + 1)];
    trace += e;
    least = std::min(least, e);
  }
  const double gamma = (n + 2) * u / (1 - (n + 2) * u), c = gamma * trace / (1 - gamma) * (1 + 1e-6) + error;
  double low = 0, high = least;  // the smallest eigenvalue is below every diagonal entry
  while (high > 1.01 * low && high > 16 * c) {
    const double guess = low > 0 ? std::sqrt(low * high) : high / 16;
    (factorises(g, n, guess + c) ? low : high) = guess;
  }
  return low;
}

/// Squares of rows, summed up.
struct RowSquares {
  double longest = 0, sum = 0;
  bool zero = true;

  template <class T>
  void add(std::span<const T> rows, int columns) {
    for (std::size_t e = 0; e < rows.size();) {
      double length = 0;
      for (int c = 0; c < columns; ++c, ++e) {
        length += static_cast<double>(rows[e]) * static_cast<double>(rows[e]);
        zero = zero && rows[e] == 0;
      }
      longest = std::max(longest, length);
      sum += length;
    }
  }
  void require_range() const {
    if (!std::isfinite(sum * sum) || (!zero && !(sum > 1e-120)))
      throw ConfigError(
          "the matrix of a dense operator must have finite numbers, neither so large nor so small that their "
          "squares leave the range of double precision; scale it.");
  }
};

}  // namespace

template <class T>
struct DenseOperator<T>::Impl {
  Shape domain, range;
  int rows, columns;
  std::unique_ptr<Blas<T>> blas;
  std::unique_ptr<Blas<double>> wide;  // of the constructor
  Tensor<T> a;                         // all rows, or a block of those that `read` has
  RowReader<T> read;
  std::vector<T> block;  // the same block on the host
  double norm2 = 0, pixel_norm2 = 0, frobenius = 0, error = 0;
  double inner = 0;          // of rounding(): additions in a sum over rows
  std::vector<double> gram;  // of columns; empty where rows are fewer
  std::once_flag measured;
  double least2 = 0;

  Impl(Context& context, int images, int vectors, int m, int d)
      : domain{images, 1, vectors, d}, range{images, vectors, 1, m}, rows(m), columns(d) {
    if (images < 1 || vectors < 1 || rows < 1 || columns < 1)
      throw ShapeError("sizes of a dense operator must be positive, not " + std::to_string(rows) +
                       " rows and " + std::to_string(columns) + " columns, for " + std::to_string(images) +
                       " images of " + std::to_string(vectors) + " vectors.");
    blas = make_blas<T>(context);
    wide = make_blas<double>(context);
  }

  void keep_norms(const RowSquares& squares) {
    squares.require_range();
    const double slack = 1 + 4 * (static_cast<double>(columns) + rows) * u;
    pixel_norm2 = squares.longest * slack;
    frobenius = std::sqrt(squares.sum) * slack;
  }
  /// From the smaller of A^T A and A A^T, or the former; its entries are sums of `additions`.
  void keep_gram(Context& context, std::vector<double> g, double additions) {
    const int n = static_cast<int>(std::sqrt(static_cast<double>(g.size())) + 0.5);
    error = additions * u * frobenius * frobenius;
    norm2 = std::min(largest_eigenvalue(context, *wide, g, n, error), frobenius * frobenius);
    if (rows >= columns) gram = std::move(g);
    wide.reset();
  }

  /// f(rows on the device, first, count) for all rows in order: at once, or in parts of those of the host.
  template <class F>
  void for_each_part(Context& context, F f) {
    if (!read) return f(std::as_const(a).view().device_data(), 0, rows);
    for (int first = 0; first < rows; first += a.shape().h) {
      const View<T> some = next_block(first);
      upload<T>(context, block_of(some), some);
      parts_of(View<const T>(some), [&](const T* part, int at, int count) { f(part, first + at, count); });
    }
  }
  /// Reads rows from `first` on, as many as a block has, into `block`; where they go on the device.
  View<T> next_block(int first) {
    const View<T> some(a.view().device_data(), {1, 1, std::min(a.shape().h, rows - first), columns});
    read(first, some.shape().h, std::span(block).first(some.shape().count()));
    return some;
  }
  std::span<const T> block_of(View<T> some) const { return std::span(block).first(some.shape().count()); }
  template <class Number, class F>
  void parts_of(View<const Number> some, F f) const {
    for (int at = 0; at < some.shape().h; at += streamed_rows)
      f(some.device_data() + static_cast<std::ptrdiff_t>(at) * columns, at,
        std::min(streamed_rows, some.shape().h - at));
  }
  /// A^T A of the rows of the host, and their squares.
  std::vector<double> read_gram(Context& context, RowSquares& squares) {
    Tensor<double> g(context, {1, 1, columns, columns},
                     std::vector<double>(static_cast<std::size_t>(columns) * columns, 0)),
        some(context, a.shape());
    for (int first = 0; first < rows; first += a.shape().h) {
      const std::span<const T> numbers = block_of(next_block(first));
      squares.add(numbers, columns);
      const View<double> target(some.view().device_data(),
                                {1, 1, static_cast<int>(numbers.size() / columns), columns});
      upload<double>(context, std::vector<double>(numbers.begin(), numbers.end()), target);
      parts_of(View<const double>(target), [&](const double* part, int, int count) {
        wide->gemm(context, Transpose::yes, Transpose::no, columns, columns, count, 1, part, columns, part,
                   columns, 1, g.view().device_data(), columns);
      });
    }
    return download(context, g);
  }

  /// A product of all images, through scratch, so that those that are not active keep what they have.
  template <class Product>
  void run(Context& context, const Active& active, View<T> out, Product product) const {
    require_active(active, domain.n, what);
    if (active.count == 0) return;
    Frame frame(context);
    const View<T> all = frame.view<T>(out.shape());
    product(all.device_data());
    kernel_table<T>(context).combine(
        stream_of(context),
        {active, out.shape().image(), all.device_data(), nullptr, 1, 0, nullptr, nullptr, out.device_data()});
  }
};

template <class T>
DenseOperator<T>::DenseOperator(Context& context, int images, int vectors, int rows, int columns,
                                std::span<const double> a)
    : impl_(new Impl(context, images, vectors, rows, columns)) {
  Impl& m = *impl_;
  if (a.size() != static_cast<std::size_t>(rows) * static_cast<std::size_t>(columns))
    throw ShapeError("a dense operator of " + std::to_string(rows) + " rows and " + std::to_string(columns) +
                     " columns was given " + std::to_string(a.size()) + " numbers.");
  std::vector<float> rounded;  // what is kept of a, where that is not a itself
  if constexpr (std::is_same_v<T, float>) rounded.assign(a.begin(), a.end());
  const auto kept = [&] {
    if constexpr (std::is_same_v<T, float>)
      return std::span<const float>(rounded);
    else
      return a;
  }();
  RowSquares squares;
  squares.add(kept, columns);
  m.keep_norms(squares);
  m.inner = rows;
  m.a = Tensor<T>(context, {1, 1, rows, columns}, kept);
  m.keep_gram(context, gram<T>(context, *m.wide, m.a, kept),
              std::max(rows, columns) + 4 * gram_parts<T>(rows, columns));
}

/// A sum in P parts errs by at most (K + 3) u of its own terms, K the most in a part, and by as much, of that
/// part, of what was summed up before: K + 3 + M + 3 P in all.
template <class T>
DenseOperator<T>::DenseOperator(Context& context, int images, int vectors, int rows, int columns,
                                RowReader<T> read, int block_rows)
    : impl_(new Impl(context, images, vectors, rows, columns)) {
  Impl& m = *impl_;
  if (!read || block_rows < 1)
    throw ConfigError("a dense operator of rows of the host needs a reader and blocks of at least one row.");
  const int parts = (rows - 1) / streamed_rows + 1,
            in_block = std::min((block_rows - 1) / streamed_rows + 1, parts);
  m.read = std::move(read);
  m.a = Tensor<T>(context, {1, 1, std::min(in_block * streamed_rows, rows), columns});
  m.block.resize(m.a.shape().count());
  m.inner = rows + 3.0 * parts + streamed_rows;
  RowSquares squares;
  std::vector<double> g = m.read_gram(context, squares);
  m.keep_norms(squares);
  m.keep_gram(context, std::move(g), m.inner + 3);
}

template <class T>
DenseOperator<T>::~DenseOperator() = default;
template <class T>
Shape DenseOperator<T>::domain() const {
  return impl_->domain;
}
template <class T>
Shape DenseOperator<T>::range() const {
  return impl_->range;
}
template <class T>
double DenseOperator<T>::norm2() const {
  return impl_->norm2;
}
template <class T>
double DenseOperator<T>::pixel_norm2() const {
  return impl_->pixel_norm2;
}
template <class T>
double DenseOperator<T>::rounding() const {
  return (std::max(impl_->inner, static_cast<double>(impl_->columns)) + 3) * impl_->frobenius;
}
template <class T>
double DenseOperator<T>::apply_rounding() const {
  return (impl_->columns + 3) * impl_->frobenius;
}
template <class T>
double DenseOperator<T>::least2() const {
  Impl& m = *impl_;
  std::call_once(m.measured, [&m] {
    if (!m.gram.empty()) m.least2 = least_eigenvalue(m.gram, m.columns, m.error);
  });
  return m.least2;
}

/// Z = X A^T of all vectors of all images.
template <class T>
void DenseOperator<T>::apply(Context& context, const Active& active, View<const T> x, View<T> z) const {
  Impl& m = *impl_;
  require_operand(context, m.domain, x, what);
  require_operand(context, m.range, z, what);
  m.run(context, active, z, [&](T* out) {
    m.for_each_part(context, [&](const T* part, int first, int count) {
      m.blas->gemm(context, Transpose::no, Transpose::yes, m.domain.n * m.domain.h, count, m.columns, T(1),
                   x.device_data(), m.columns, part, m.columns, T(0), out + first, m.rows);
    });
  });
}
/// X = Z A.
template <class T>
void DenseOperator<T>::adjoint(Context& context, const Active& active, View<const T> z, View<T> x) const {
  Impl& m = *impl_;
  require_operand(context, m.range, z, what);
  require_operand(context, m.domain, x, what);
  m.run(context, active, x, [&](T* out) {
    m.for_each_part(context, [&](const T* part, int first, int count) {
      m.blas->gemm(context, Transpose::no, Transpose::no, m.domain.n * m.domain.h, m.columns, count, T(1),
                   z.device_data() + first, m.rows, part, m.columns, first == 0 ? T(0) : T(1), out,
                   m.columns);
    });
  });
}

template class BILEVEL_API DenseOperator<float>;
template class BILEVEL_API DenseOperator<double>;

}  // namespace v0
}  // namespace bilevel
