#include "bilevel/ops/dense_operator.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <mutex>
#include <string>
#include <type_traits>
#include <vector>

#include "device/blas.hpp"
#include "kernels/krylov_args.hpp"
#include "ops/operands.hpp"

namespace bilevel {
inline namespace v0 {
namespace {

constexpr const char* what = "a dense operator";
constexpr double u = std::numeric_limits<double>::epsilon() / 2;

constexpr int part_rows = 4096;  // of a tall matrix in single precision, converted to double at once

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

}  // namespace

template <class T>
struct DenseOperator<T>::Impl {
  Shape domain, range;
  int rows, columns;
  std::unique_ptr<Blas<T>> blas;
  Tensor<T> a;
  double norm2 = 0, pixel_norm2 = 0, frobenius = 0, error = 0;
  std::vector<double> gram;  // of columns; empty where rows are fewer
  mutable std::once_flag measured;
  mutable double least2 = 0;

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
    : impl_(new Impl{}) {
  Impl& m = *impl_;
  if (images < 1 || vectors < 1 || rows < 1 || columns < 1 ||
      a.size() != static_cast<std::size_t>(rows) * static_cast<std::size_t>(columns))
    throw ShapeError("sizes of a dense operator must be positive and fit its numbers: one of " +
                     std::to_string(rows) + " rows and " + std::to_string(columns) + " columns, for " +
                     std::to_string(images) + " images of " + std::to_string(vectors) +
                     " vectors, was given " + std::to_string(a.size()) + " numbers.");
  std::vector<float> rounded;  // what is kept of a, where that is not a itself
  if constexpr (std::is_same_v<T, float>) rounded.assign(a.begin(), a.end());
  const auto kept = [&] {
    if constexpr (std::is_same_v<T, float>)
      return std::span<const float>(rounded);
    else
      return a;
  }();
  double longest = 0, sum = 0;
  for (std::size_t e = 0, row = 0; row < static_cast<std::size_t>(rows); ++row) {
    double length = 0;
    for (int c = 0; c < columns; ++c, ++e)
      length += static_cast<double>(kept[e]) * static_cast<double>(kept[e]);
    longest = std::max(longest, length);
    sum += length;
  }
  const double slack = 1 + 4 * (static_cast<double>(columns) + rows) * u;
  const bool zero = std::all_of(kept.begin(), kept.end(), [](T e) { return e == 0; });
  if (!std::isfinite(sum * sum) || (!zero && !(sum > 1e-120)))
    throw ConfigError(
        "the matrix of a dense operator must have finite numbers, neither so large nor so small that their "
        "squares leave the range of double precision; scale it.");
  m.domain = {images, 1, vectors, columns};
  m.range = {images, vectors, 1, rows};
  m.rows = rows;
  m.columns = columns;
  m.pixel_norm2 = longest * slack;
  m.frobenius = std::sqrt(sum) * slack;
  m.blas = make_blas<T>(context);
  m.a = Tensor<T>(context, {1, 1, rows, columns}, kept);
  const std::unique_ptr<Blas<double>> blas = make_blas<double>(context);
  const int n = std::min(rows, columns);
  m.error = (std::max(rows, columns) + 4 * gram_parts<T>(rows, columns)) * u * m.frobenius * m.frobenius;
  std::vector<double> g = gram<T>(context, *blas, m.a, kept);
  m.norm2 = std::min(largest_eigenvalue(context, *blas, g, n, m.error), m.frobenius * m.frobenius);
  if (rows >= columns) m.gram = std::move(g);
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
  return (std::max(impl_->rows, impl_->columns) + 3) * impl_->frobenius;
}
template <class T>
double DenseOperator<T>::apply_rounding() const {
  return (impl_->columns + 3) * impl_->frobenius;
}
template <class T>
double DenseOperator<T>::least2() const {
  const Impl& m = *impl_;
  std::call_once(m.measured, [&] {
    if (!m.gram.empty()) m.least2 = least_eigenvalue(m.gram, m.columns, m.error);
  });
  return m.least2;
}

/// Z = X A^T of all vectors of all images.
template <class T>
void DenseOperator<T>::apply(Context& context, const Active& active, View<const T> x, View<T> z) const {
  const Impl& m = *impl_;
  require_operand(context, m.domain, x, what);
  require_operand(context, m.range, z, what);
  m.run(context, active, z, [&](T* out) {
    m.blas->gemm(context, Transpose::no, Transpose::yes, m.domain.n * m.domain.h, m.rows, m.columns, T(1),
                 x.device_data(), m.columns, m.a.view().device_data(), m.columns, T(0), out, m.rows);
  });
}
/// X = Z A.
template <class T>
void DenseOperator<T>::adjoint(Context& context, const Active& active, View<const T> z, View<T> x) const {
  const Impl& m = *impl_;
  require_operand(context, m.range, z, what);
  require_operand(context, m.domain, x, what);
  m.run(context, active, x, [&](T* out) {
    m.blas->gemm(context, Transpose::no, Transpose::no, m.domain.n * m.domain.h, m.columns, m.rows, T(1),
                 z.device_data(), m.rows, m.a.view().device_data(), m.columns, T(0), out, m.columns);
  });
}

template class BILEVEL_API DenseOperator<float>;
template class BILEVEL_API DenseOperator<double>;

}  // namespace v0
}  // namespace bilevel
