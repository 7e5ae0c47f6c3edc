#pragma once

#include <vector>

namespace bilevel_app::experiments {

/// A dense matrix of the host, row after row, for exact solutions of small problems.
struct RowMatrix {
  int rows = 0, columns = 0;
  std::vector<double> entries;

  double operator()(int i, int j) const { return entries[index(i, j)]; }
  double& operator()(int i, int j) { return entries[index(i, j)]; }
  std::vector<double> times(const std::vector<double>& x) const;
  RowMatrix times(const RowMatrix& b) const;
  std::vector<double> transposed_times(const std::vector<double>& y) const;
  RowMatrix transposed_times(const RowMatrix& b) const;

 private:
  std::size_t index(int i, int j) const {
    return static_cast<std::size_t>(i) * static_cast<std::size_t>(columns) + static_cast<std::size_t>(j);
  }
};

/// s^-1 b for a symmetric positive definite s, by Cholesky. Throws std::runtime_error when s is not.
std::vector<double> solved(const RowMatrix& s, const std::vector<double>& b);
RowMatrix solved(const RowMatrix& s, const RowMatrix& b);

}  // namespace bilevel_app::experiments
