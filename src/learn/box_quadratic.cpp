#include "learn/box_quadratic.hpp"

#include <cmath>

namespace bilevel {
inline namespace v0 {
namespace {

/// Solves a x = b, a symmetric positive definite, in place of b (Cholesky); false when it breaks down.
bool cholesky_solve(std::vector<double> a, std::vector<double>& b) {
  const std::size_t n = b.size();
  for (std::size_t j = 0; j < n; ++j) {
    for (std::size_t i = j; i < n; ++i) {
      double sum = a[i * n + j];
      for (std::size_t k = 0; k < j; ++k) sum -= a[i * n + k] * a[j * n + k];
      if (i == j && !(sum > 0)) return false;
      a[i * n + j] = i == j ? std::sqrt(sum) : sum / a[j * n + j];
    }
  }
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t k = 0; k < i; ++k) b[i] -= a[i * n + k] * b[k];
    b[i] /= a[i * n + i];
  }
  for (std::size_t i = n; i-- > 0;) {
    for (std::size_t k = i + 1; k < n; ++k) b[i] -= a[k * n + i] * b[k];
    b[i] /= a[i * n + i];
  }
  return true;
}

}  // namespace

bool BoxQuadratic::minimise() {
  d_.assign(z_.size(), 0);
  fixed_.assign(z_.size(), false);
  for (std::size_t j = 0; j < z_.size(); ++j) fixed_[j] = (z_[j] < 0 ? high_[j] : low_[j]) == 0 || z_[j] == 0;
  const std::size_t most = 20 * (z_.size() + 1);  // far above what is needed; rounding must not cycle
  for (std::size_t round = 0; round < most; ++round) {
    if (!move()) return false;
    if (!blocked_ && !release()) break;
  }
  return true;
}

double BoxQuadratic::slope(std::size_t j) const {
  double sum = z_[j];
  for (std::size_t k = 0; k < d_.size(); ++k) sum += matrix_[j * d_.size() + k] * d_[k];
  return sum;
}

bool BoxQuadratic::move() {
  std::vector<std::size_t> free;
  for (std::size_t j = 0; j < d_.size(); ++j)
    if (!fixed_[j]) free.push_back(j);
  const std::size_t n = free.size();
  std::vector<double> matrix(n * n), way(n);
  for (std::size_t i = 0; i < n; ++i) {
    way[i] = -slope(free[i]);
    for (std::size_t k = 0; k < n; ++k) matrix[i * n + k] = matrix_[free[i] * d_.size() + free[k]];
  }
  if (!cholesky_solve(std::move(matrix), way)) return false;
  double t = 1;
  blocked_ = false;
  std::size_t first = 0;
  for (std::size_t i = 0; i < n; ++i) {
    const double room = (way[i] < 0 ? low_ : high_)[free[i]] - d_[free[i]];
    if (std::abs(way[i]) * t <= std::abs(room)) continue;
    t = room / way[i];
    blocked_ = true;
    first = i;
  }
  for (std::size_t i = 0; i < n; ++i) d_[free[i]] += t * way[i];
  if (blocked_) {
    d_[free[first]] = (way[first] < 0 ? low_ : high_)[free[first]];
    fixed_[free[first]] = true;
  }
  return true;
}

bool BoxQuadratic::release() {
  double most = 0;
  std::size_t chosen = d_.size();
  for (std::size_t j = 0; j < d_.size(); ++j) {
    const double g = slope(j), room = (g < 0 ? high_ : low_)[j] - d_[j];
    const double gain = g * g / matrix_[j * d_.size() + j];
    if (fixed_[j] && room != 0 && gain > 1e-14 * z_[j] * z_[j] / matrix_[j * d_.size() + j] && gain > most) {
      most = gain;
      chosen = j;
    }
  }
  if (chosen < d_.size()) fixed_[chosen] = false;
  return chosen < d_.size();
}

}  // namespace v0
}  // namespace bilevel
