#include "tests/oracle/linear_algebra.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
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
  const std::vector<long double> x =
      band.solve({b.begin(), b.end()}, [&a](const std::vector<long double>& at) {
        std::vector<long double> product(at.size(), 0);
        for (int i = 0; i < a.rows; ++i) {
          for (int j = 0; j < a.cols; ++j) product[i] += a(i, j) * at[j];
        }
        return product;
      });
  return {x.begin(), x.end()};
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
    : size_(size), half_width_(half_width), entries_(static_cast<std::size_t>(size) * (half_width + 1)) {}

void SymmetricBand::factorise() {
  for (int j = 0; j < size_; ++j) {
    double* const pivot = column(j);
    if (!(pivot[0] > 0)) throw std::domain_error("matrix is not positive definite");
    const double root = std::sqrt(pivot[0]);
    for (int i = 0; i <= below(j); ++i) pivot[i] /= root;
    for (int k = 1; k <= below(j); ++k) {
      double* const other = column(j + k);
      const double factor = pivot[k];
      if (factor == 0) continue;
      for (int i = 0; i <= below(j) - k; ++i) other[i] -= factor * pivot[k + i];
    }
  }
}

std::vector<long double> SymmetricBand::solve(const std::vector<long double>& b) const {
  std::vector<double> x(b.begin(), b.end());
  for (int j = 0; j < size_; ++j) {
    const double* const l = column(j);
    x[j] /= l[0];
    for (int k = 1; k <= below(j); ++k) x[j + k] -= l[k] * x[j];
  }
  for (int j = size_ - 1; j >= 0; --j) {
    const double* const l = column(j);
    for (int k = 1; k <= below(j); ++k) x[j] -= l[k] * x[j + k];
    x[j] /= l[0];
  }
  return {x.begin(), x.end()};
}

std::vector<long double> SymmetricBand::solve(
    const std::vector<long double>& b,
    const std::function<std::vector<long double>(const std::vector<long double>&)>& product) const {
  const auto largest = [](const std::vector<long double>& v) {
    long double most = 0;
    for (const long double entry : v) most = std::max(most, std::abs(entry));
    return most;
  };
  std::vector<long double> x(b.size(), 0), residual = b;
  long double last = std::numeric_limits<long double>::infinity();
  while (true) {
    const std::vector<long double> correction = solve(residual);
    const long double now = largest(correction);
    const bool at_rounding = !(now <= last / 2);
    if (at_rounding && !(now <= 1e-14L * largest(x)))
      throw std::domain_error("matrix is too ill-conditioned");
    for (std::size_t p = 0; p < x.size(); ++p) x[p] += correction[p];
    if (at_rounding || now <= 1e-19L * largest(x)) return x;
    last = now;
    residual = product(x);
    for (std::size_t p = 0; p < x.size(); ++p) residual[p] = b[p] - residual[p];
  }
}

}  // namespace bilevel::oracle
