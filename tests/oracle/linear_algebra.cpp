#include "tests/oracle/linear_algebra.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace bilevel::oracle {

std::vector<double> multiply(const Matrix& a, const std::vector<double>& x) {
  std::vector<double> product(a.rows);
  for (int i = 0; i < a.rows; ++i) {
    long double sum = 0;
    for (int j = 0; j < a.cols; ++j) sum += static_cast<long double>(a(i, j)) * x.at(j);
    product[i] = static_cast<double>(sum);
  }
  return product;
}

double asymmetry(const Matrix& a) {
  double largest = 0;
  for (int i = 0; i < a.rows; ++i) {
    for (int j = 0; j < i; ++j) largest = std::max(largest, std::abs(a(i, j) - a(j, i)));
  }
  return largest;
}

std::vector<double> cholesky_solve(const Matrix& a, const std::vector<double>& b) {
  SymmetricBand band(a.rows, std::max(a.rows - 1, 0));
  for (int i = 0; i < a.rows; ++i) {
    for (int j = 0; j <= i; ++j) band.add(i, j, a(i, j));
  }
  band.factorise();
  const std::vector<long double> x = band.solve({b.begin(), b.end()});
  std::vector<double> rounded;
  for (const long double entry : x) rounded.push_back(static_cast<double>(entry));
  return rounded;
}

namespace {

// Applies the rotation that makes A(p,q) zero.
void rotate(Matrix& a, int p, int q) {
  const double theta = (a(q, q) - a(p, p)) / (2.0 * a(p, q));
  const double t = std::copysign(1.0, theta) / (std::abs(theta) + std::hypot(theta, 1.0));
  const double c = 1.0 / std::hypot(t, 1.0), s = t * c;
  for (int k = 0; k < a.rows; ++k) {
    const double kp = a(k, p), kq = a(k, q);
    a(k, p) = c * kp - s * kq;
    a(k, q) = s * kp + c * kq;
  }
  for (int k = 0; k < a.rows; ++k) {
    const double pk = a(p, k), qk = a(q, k);
    a(p, k) = c * pk - s * qk;
    a(q, k) = s * pk + c * qk;
  }
}

}  // namespace

std::vector<double> eigenvalues(Matrix a) {
  double scale = 0;
  for (const double entry : a.entries) scale = std::max(scale, std::abs(entry));
  for (int sweep = 0; sweep < 60; ++sweep) {
    double off = 0;
    for (int p = 0; p < a.rows; ++p) {
      for (int q = p + 1; q < a.rows; ++q) {
        off = std::max(off, std::abs(a(p, q)));
        if (std::abs(a(p, q)) > 1e-18 * scale) rotate(a, p, q);
      }
    }
    if (off <= 1e-15 * scale) break;
  }
  std::vector<double> values;
  for (int i = 0; i < a.rows; ++i) values.push_back(a(i, i));
  std::sort(values.begin(), values.end());
  return values;
}

double spectral_norm(const Matrix& a) {
  const std::vector<double> values = eigenvalues(a);
  return std::max(std::abs(values.front()), std::abs(values.back()));
}

SymmetricBand::SymmetricBand(int size, int half_width)
    : size_(size), half_width_(half_width), rows_(size, std::vector<long double>(half_width + 1, 0.0L)) {}

void SymmetricBand::add(int i, int j, long double value) {
  if (i < j) return;
  if (i - j > half_width_) throw std::out_of_range("entry outside the band");
  lower(i, j) += value;
}

void SymmetricBand::factorise() {
  for (int i = 0; i < size_; ++i) {
    const int first = std::max(0, i - half_width_);
    for (int j = first; j <= i; ++j) {
      long double sum = lower(i, j);
      for (int k = std::max(first, j - half_width_); k < j; ++k) sum -= lower(i, k) * lower(j, k);
      if (j < i) {
        lower(i, j) = sum / lower(j, j);
      } else {
        if (!(sum > 0)) throw std::domain_error("matrix is not positive definite");
        lower(i, i) = std::sqrt(sum);
      }
    }
  }
}

std::vector<long double> SymmetricBand::solve(std::vector<long double> b) const {
  for (int i = 0; i < size_; ++i) {
    for (int k = std::max(0, i - half_width_); k < i; ++k) b[i] -= lower(i, k) * b[k];
    b[i] /= lower(i, i);
  }
  for (int i = size_ - 1; i >= 0; --i) {
    for (int k = i + 1; k <= std::min(size_ - 1, i + half_width_); ++k) b[i] -= lower(k, i) * b[k];
    b[i] /= lower(i, i);
  }
  return b;
}

}  // namespace bilevel::oracle
