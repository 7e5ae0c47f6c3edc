#include "apps/experiments/small_matrix.hpp"

#include <cmath>
#include <stdexcept>

namespace bilevel_app::experiments {

namespace {

RowMatrix column(const std::vector<double>& x) { return {static_cast<int>(x.size()), 1, x}; }

RowMatrix zeros(int rows, int columns) {
  return {rows, columns,
          std::vector<double>(static_cast<std::size_t>(rows) * static_cast<std::size_t>(columns))};
}

/// L with L L^T = s.
RowMatrix cholesky(const RowMatrix& s) {
  RowMatrix l = zeros(s.rows, s.rows);
  for (int j = 0; j < s.rows; ++j)
    for (int i = j; i < s.rows; ++i) {
      double sum = s(i, j);
      for (int k = 0; k < j; ++k) sum -= l(i, k) * l(j, k);
      if (i == j && !(sum > 0)) throw std::runtime_error("a matrix of normal equations is singular.");
      l(i, j) = i == j ? std::sqrt(sum) : sum / l(j, j);
    }
  return l;
}

}  // namespace

RowMatrix RowMatrix::times(const RowMatrix& b) const {
  RowMatrix out = zeros(rows, b.columns);
  for (int i = 0; i < rows; ++i)
    for (int k = 0; k < columns; ++k)
      for (int j = 0; j < b.columns; ++j) out(i, j) += (*this)(i, k) * b(k, j);
  return out;
}
RowMatrix RowMatrix::transposed_times(const RowMatrix& b) const {
  RowMatrix out = zeros(columns, b.columns);
  for (int k = 0; k < rows; ++k)
    for (int i = 0; i < columns; ++i)
      for (int j = 0; j < b.columns; ++j) out(i, j) += (*this)(k, i) * b(k, j);
  return out;
}
std::vector<double> RowMatrix::times(const std::vector<double>& x) const { return times(column(x)).entries; }
std::vector<double> RowMatrix::transposed_times(const std::vector<double>& y) const {
  return transposed_times(column(y)).entries;
}

RowMatrix solved(const RowMatrix& s, const RowMatrix& b) {
  const RowMatrix l = cholesky(s);
  RowMatrix x = b;
  for (int j = 0; j < b.columns; ++j) {
    for (int i = 0; i < s.rows; ++i) {
      for (int k = 0; k < i; ++k) x(i, j) -= l(i, k) * x(k, j);
      x(i, j) /= l(i, i);
    }
    for (int i = s.rows; i-- > 0;) {
      for (int k = i + 1; k < s.rows; ++k) x(i, j) -= l(k, i) * x(k, j);
      x(i, j) /= l(i, i);
    }
  }
  return x;
}
std::vector<double> solved(const RowMatrix& s, const std::vector<double>& b) {
  return solved(s, column(b)).entries;
}

}  // namespace bilevel_app::experiments
