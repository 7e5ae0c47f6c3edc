#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <stdexcept>
#include <vector>

namespace bilevel::oracle {

/// Dense row-major matrix.
struct Matrix {
  int rows = 0, cols = 0;
  std::vector<double> entries;

  Matrix() = default;
  Matrix(int rows_, int cols_) : rows(rows_), cols(cols_), entries(static_cast<std::size_t>(rows_) * cols_) {}
  double& operator()(int i, int j) { return entries[static_cast<std::size_t>(i) * cols + j]; }
  double operator()(int i, int j) const { return entries[static_cast<std::size_t>(i) * cols + j]; }
};

std::vector<double> multiply(const Matrix& a, const std::vector<double>& x);
/// max |A - A^T|.
double asymmetry(const Matrix& a);
/// Solves A x = b by a Cholesky factorisation; throws std::domain_error if A is not positive definite.
std::vector<double> cholesky_solve(const Matrix& a, const std::vector<double>& b);
/// Eigenvalues of a symmetric matrix, ascending, by cyclic Jacobi rotations (for n up to about 200).
std::vector<double> eigenvalues(Matrix a);
/// Largest modulus of the eigenvalues of a symmetric matrix.
double spectral_norm(const Matrix& a);

/// Symmetric positive definite band matrix, factorised by band Cholesky.
class SymmetricBand {
 public:
  SymmetricBand(int size, int half_width);
  /// A(i,j) += value; only i >= j is kept, so that both halves may be offered.
  void add(int i, int j, double value) {
    if (i < j) return;
    if (i - j > half_width_) throw std::out_of_range("entry outside the band");
    column(j)[i - j] += value;
  }
  /// Replaces A by its factor; throws std::domain_error if A is not positive definite.
  void factorise();
  /// Solves A x = b to double precision after factorise().
  std::vector<long double> solve(const std::vector<long double>& b) const;
  /// Solves A x = b in extended precision after factorise(): iterative refinement, `product` being A x in
  /// extended precision. Throws std::domain_error if A is too ill-conditioned for that.
  std::vector<long double> solve(
      const std::vector<long double>& b,
      const std::function<std::vector<long double>(const std::vector<long double>&)>& product) const;

 private:
  double* column(int j) { return entries_.data() + static_cast<std::size_t>(j) * (half_width_ + 1); }
  const double* column(int j) const {
    return entries_.data() + static_cast<std::size_t>(j) * (half_width_ + 1);
  }
  int below(int j) const { return std::min(half_width_, size_ - 1 - j); }
  int size_, half_width_;
  std::vector<double> entries_;  // column j from its diagonal entry down
};

}  // namespace bilevel::oracle
