#include "io/kspace_crop.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numbers>

namespace bilevel {
inline namespace v0 {
namespace io_detail {
namespace {

/// Real and imaginary parts of lines as images of one row.
Shape images(int lines, int length) { return {lines, 2, 1, length}; }

/// Frequencies and positions -length/2, ... are counted from zero, modulo the length.
std::size_t at(int line, int plane, int position, int length) {
  return (static_cast<std::size_t>(line) * 2 + plane) * length + (position + length) % length;
}

/// C[j,k] = 1/n sum_{p inside} exp(-2 pi i (j-k) p/n) for j - k = 0..n-1; C[k,j] is its conjugate.
Complexes projection(int n, int m) {
  Complexes turns(static_cast<std::size_t>(n)), sums(static_cast<std::size_t>(n));
  for (int k = 0; k < n; ++k) turns[k] = std::polar(1.0 / n, -2.0 * std::numbers::pi * k / n);
  for (std::int64_t d = 0; d < n; ++d)
    for (std::int64_t p = -(m / 2); p < m - m / 2; ++p) sums[d] += turns[((d * p) % n + n) % n];
  return sums;
}

/// Solves A X = B for a Hermitian positive definite A [n][n] and B [n][columns], by Cholesky's A = L L^*;
/// both are overwritten, B by X.
void solve_hermitian(Complexes& a, Complexes& b, std::size_t n, std::size_t columns) {
  for (std::size_t j = 0; j < n; ++j) {
    for (std::size_t i = j; i < n; ++i) {
      std::complex<double> sum = a[i * n + j];
      for (std::size_t k = 0; k < j; ++k) sum -= a[i * n + k] * std::conj(a[j * n + k]);
      a[i * n + j] = i == j ? std::sqrt(sum.real()) : sum / a[j * n + j].real();
    }
  }
  const auto subtract = [&](std::size_t i, std::size_t k, std::complex<double> factor) {
    for (std::size_t c = 0; c < columns; ++c) b[i * columns + c] -= factor * b[k * columns + c];
  };
  const auto divide = [&](std::size_t i) {
    for (std::size_t c = 0; c < columns; ++c) b[i * columns + c] /= a[i * n + i].real();
  };
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t k = 0; k < i; ++k) subtract(i, k, a[i * n + k]);
    divide(i);
  }
  for (std::size_t i = n; i-- > 0;) {
    for (std::size_t k = i + 1; k < n; ++k) subtract(i, k, std::conj(a[k * n + i]));
    divide(i);
  }
}

}  // namespace

LineCrop::LineCrop(int lines, int n, int m)
    : lines_(lines),
      n_(n),
      m_(m),
      context_(Device::open("cpu:1")),
      frame_(context_),
      all_(context_, frame_, lines),
      inverse_(context_, images(lines, n)),
      forward_(context_, images(lines, m)),
      wide_(context_, images(lines, n)),
      wide_image_(context_, images(lines, n)),
      image_(context_, images(lines, m)),
      narrow_(context_, images(lines, m)),
      values_(wide_.shape().count()),
      cropped_(image_.shape().count()) {
  all_.reset(context_);
}

void LineCrop::operator()(const std::complex<double>* from, std::complex<double>* to) {
  for (int line = 0; line < lines_; ++line) {
    for (int k = 0; k < n_; ++k) {
      const std::complex<double> value = from[static_cast<std::size_t>(line) * n_ + k];
      values_[at(line, 0, k - n_ / 2, n_)] = value.real();
      values_[at(line, 1, k - n_ / 2, n_)] = value.imag();
    }
  }
  wide_.upload(context_, values_);
  inverse_.adjoint(context_, all_.active(), wide_.view(), wide_image_.view());
  const std::vector<double> image = download(context_, wide_image_);
  for (int line = 0; line < lines_; ++line)
    for (int plane = 0; plane < 2; ++plane)
      for (int x = -(m_ / 2); x < m_ - m_ / 2; ++x)
        cropped_[at(line, plane, x, m_)] = image[at(line, plane, x, n_)];
  image_.upload(context_, cropped_);
  forward_.apply(context_, all_.active(), image_.view(), narrow_.view());
  const std::vector<double> narrow = download(context_, narrow_);
  for (int line = 0; line < lines_; ++line)
    for (int k = 0; k < m_; ++k)
      to[static_cast<std::size_t>(line) * m_ + k] = {narrow[at(line, 0, k - m_ / 2, m_)],
                                                     narrow[at(line, 1, k - m_ / 2, m_)]};
}

std::vector<unsigned char> crop_measured(const std::vector<unsigned char>& measured, int m) {
  const auto n = std::ssize(measured), first = -(n / 2), last = first + n - 1;
  std::vector<unsigned char> cropped;
  for (std::int64_t k = -(m / 2); k < m - m / 2; ++k) {
    const std::int64_t below = (k * n - (k * n < 0 ? m - 1 : 0)) / m,
                       above = below + (k * n % m != 0 ? 1 : 0);
    cropped.push_back(measured[static_cast<std::size_t>(std::max(below, first) - first)] &&
                      measured[static_cast<std::size_t>(std::min(above, last) - first)]);
  }
  return cropped;
}

LineCompletion::LineCompletion(const std::vector<unsigned char>& measured, int m, double epsilon) {
  const int n = static_cast<int>(measured.size());
  for (int k = 0; k < n; ++k) (measured[static_cast<std::size_t>(k)] != 0 ? known_ : unknown_).push_back(k);
  const Complexes sums = projection(n, m);
  const auto entry = [&](int j, int k) {
    return (1.0 - epsilon) * (j >= k ? sums[static_cast<std::size_t>(j - k)]
                                     : std::conj(sums[static_cast<std::size_t>(k - j)]));
  };
  Complexes matrix;
  for (const int j : unknown_) {
    for (const int k : unknown_) matrix.push_back((j == k ? 1.0 : 0.0) - entry(j, k));
    for (const int k : known_) weights_.push_back(entry(j, k));
  }
  solve_hermitian(matrix, weights_, unknown_.size(), known_.size());
}

void LineCompletion::operator()(std::complex<double>* line) const {
  const std::complex<double>* weight = weights_.data();
  for (const int j : unknown_) {
    std::complex<double> sum = 0.0;
    for (const int k : known_) sum += *weight++ * line[k];
    line[j] = sum;
  }
}

}  // namespace io_detail
}  // namespace v0
}  // namespace bilevel
