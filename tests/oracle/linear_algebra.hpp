#pragma once

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

/// Symmetric positive definite band matrix in extended precision, factorised by band Cholesky.
class SymmetricBand {
 public:
  SymmetricBand(int size, int half_width);
  /// A(i,j) += value; only i >= j is kept, so that both halves may be offered.
  void add(int i, int j, long double value);
  /// Replaces A by its factor; throws std::domain_error if A is not positive definite.
  void factorise();
  /// Solves A x = b after factorise().
  std::vector<long double> solve(std::vector<long double> b) const;

 private:
  long double& lower(int i, int j) { return rows_[i][j - i + half_width_]; }
  long double lower(int i, int j) const { return rows_[i][j - i + half_width_]; }
  int size_, half_width_;
  std::vector<std::vector<long double>> rows_;
};

}  // namespace bilevel::oracle
