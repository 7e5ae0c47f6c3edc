#pragma once

#include <cmath>
#include <vector>

#include "tests/oracle/linear_algebra.hpp"
#include "tests/support/batches.hpp"
#include "tests/support/numeric.hpp"
#include "tests/support/random.hpp"

// Search for the largest changes that constants bound.

namespace bilevel::testing_support {

using oracle::Matrix;

inline Matrix difference_of(const Matrix& a, const Matrix& b) {
  Matrix d = a;
  for (std::size_t k = 0; k < d.entries.size(); ++k) d.entries[k] -= b.entries[k];
  return d;
}

/// Lower estimate of the spectral norm of a symmetric matrix by power iterations from `v`, which they
/// improve.
inline double power_iteration(const Matrix& a, std::vector<double>& v, int turns = 12) {
  double size = 0;
  for (int k = 0; k < turns; ++k) {
    std::vector<double> next = oracle::multiply(a, v);
    size = norm(next) / norm(v);
    if (!(norm(next) > 0)) return 0;
    v = scaled_to(next, 1);
  }
  return size;
}

inline std::vector<double> multiply_transposed(const Matrix& a, const std::vector<double>& x) {
  std::vector<double> out(static_cast<std::size_t>(a.cols), 0);
  for (int i = 0; i < a.rows; ++i)
    for (int j = 0; j < a.cols; ++j)
      out[static_cast<std::size_t>(j)] += a(i, j) * x[static_cast<std::size_t>(i)];
  return out;
}

/// Norm of a block of columns: exact for one column, else a lower estimate by power iterations.
inline double block_norm(const Matrix& a, Random& random) {
  std::vector<double> v = random.normal_vector(static_cast<std::size_t>(a.cols));
  double size = 0;
  for (int k = 0; k < (a.cols == 1 ? 1 : 8); ++k) {
    const std::vector<double> forward = oracle::multiply(a, v);
    size = norm(forward) / norm(v);
    if (!(size > 0)) return 0;
    if (a.cols > 1) v = multiply_transposed(a, forward);
  }
  return size;
}

/// Columns of B of the entries [first, last).
inline Matrix block_of(const Matrix& b, std::size_t first, std::size_t last) {
  Matrix out(b.rows, static_cast<int>(last - first));
  for (int i = 0; i < b.rows; ++i)
    for (int j = 0; j < out.cols; ++j) out(i, j) = b(i, static_cast<int>(first) + j);
  return out;
}
inline std::vector<double> column_of(const Matrix& b, std::size_t j) {
  std::vector<double> out;
  for (int i = 0; i < b.rows; ++i) out.push_back(b(i, static_cast<int>(j)));
  return out;
}

/// Parts of the image's length that a climb moves: [x, e].
inline void halves(const std::vector<double>& whole, std::vector<double>& x, std::vector<double>& moved,
                   double& length) {
  x = image_of(whole, whole.size() / 2, 0);
  moved = add_scaled(x, 1, image_of(whole, whole.size() / 2, 1));
  length = distance(moved, x);
}

/// Maximises f over points: random moves whose size adapts, accepted when they raise f.
template <class F>
double climb(std::vector<double> point, double scale, int turns, Random& random, const F& f) {
  double best = f(point);
  for (int k = 0; k < turns; ++k) {
    const std::vector<double> trial = add_scaled(point, scale, random.normal_vector(point.size()));
    const double value = f(trial);
    if (value > best) {
      best = value;
      point = trial;
      scale *= 1.5;
    } else {
      scale *= 0.85;
    }
  }
  return best;
}

}  // namespace bilevel::testing_support
