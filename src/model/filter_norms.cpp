#include "model/filter_norms.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

namespace bilevel {
inline namespace v0 {
namespace {

constexpr int frequencies = 128;           // of the whole circle
constexpr int half = frequencies / 2 + 1;  // those in [0, pi]
constexpr std::size_t points = static_cast<std::size_t>(half) * half;

/// Real parts of one axis: cosines belong to the even part of a filter, sines to the odd part.
struct Wave {
  std::vector<double> cosine, sine;  // [half][radius + 1]

  explicit Wave(int radius) {
    for (int j = 0; j < half; ++j)
      for (int i = 0; i <= radius; ++i) {
        const double angle = 2 * std::numbers::pi * j * i / frequencies;
        cosine.push_back(std::cos(angle));
        sine.push_back(std::sin(angle));
      }
  }
};

/// sum over the row-folded taps f[i][j] of wave_i(omega_1) wave_j(omega_2), on the grid.
void transform(const std::vector<double>& folded, const std::vector<double>& rows,
               const std::vector<double>& columns, int radius, double* out) {
  const int n = radius + 1;
  std::vector<double> line(static_cast<std::size_t>(n));
  for (int a = 0; a < half; ++a) {
    for (int j = 0; j < n; ++j) {
      double sum = 0;
      for (int i = 0; i < n; ++i)
        sum += folded[static_cast<std::size_t>(i * n + j)] * rows[static_cast<std::size_t>(a * n + i)];
      line[static_cast<std::size_t>(j)] = sum;
    }
    for (int b = 0; b < half; ++b) {
      double sum = 0;
      for (int j = 0; j < n; ++j)
        sum += line[static_cast<std::size_t>(j)] * columns[static_cast<std::size_t>(b * n + j)];
      out[a * half + b] = sum;
    }
  }
}

/// Taps at (+-i, +-j) of parity (row, column) added up with their signs.
std::vector<double> fold(std::span<const double> c, int radius, bool odd_rows, bool odd_columns) {
  const int n = radius + 1, size = 2 * radius + 1;
  const auto tap = [&](int i, int j) {
    return c[static_cast<std::size_t>((i + radius) * size + j + radius)];
  };
  std::vector<double> f(static_cast<std::size_t>(n) * n, 0);
  for (int i = 0; i < n; ++i)
    for (int j = 0; j < n; ++j) {
      double& sum = f[static_cast<std::size_t>(i * n + j)];
      for (int si = 0; si < (i > 0 ? 2 : 1); ++si)
        for (int sj = 0; sj < (j > 0 ? 2 : 1); ++sj) {
          const double sign = ((odd_rows && si) ? -1 : 1) * ((odd_columns && sj) ? -1 : 1);
          sum += sign * tap(si ? -i : i, sj ? -j : j);
        }
    }
  return f;
}

}  // namespace

/// Largest sums over the grid, with what lies between its points: of both quarters of the symbol, and of the
/// four parity parts.
struct FilterNorms::Peaks {
  double symbol = 0;
  std::array<double, 4> parity{};
};

FilterNorms::FilterNorms(std::span<const double> filters, int size, FilterPadding padding)
    : count_(filters.size() / (static_cast<std::size_t>(size) * size)),
      size_(size),
      padding_(padding),
      squares_(count_ * 6 * points) {
  const int radius = size / 2;
  const std::size_t taps = static_cast<std::size_t>(size) * size;
  const Wave wave(radius);
  std::array<std::vector<double>, 4> part;
  for (std::vector<double>& p : part) p.resize(points);
  for (std::size_t k = 0; k < count_; ++k) {
    const std::span<const double> c = filters.subspan(k * taps, taps);
    for (std::size_t s = 0; s < 4; ++s) {
      const bool odd_rows = s & 1, odd_columns = s & 2;
      transform(fold(c, radius, odd_rows, odd_columns), odd_rows ? wave.sine : wave.cosine,
                odd_columns ? wave.sine : wave.cosine, radius, part[s].data());
    }
    double* out = squares_.data() + k * 6 * points;
    for (std::size_t g = 0; g < points; ++g) {
      const double ee = part[0][g], oe = part[1][g], eo = part[2][g], oo = part[3][g];
      out[g] = (ee - oo) * (ee - oo) + (oe + eo) * (oe + eo);
      out[points + g] = (ee + oo) * (ee + oo) + (oe - eo) * (oe - eo);
      for (std::size_t s = 0; s < 4; ++s) out[(2 + s) * points + g] = part[s][g] * part[s][g];
    }
  }
  std::vector<double> one(count_, 0);
  for (std::size_t k = 0; k < count_; ++k) {
    one[k] = 1;
    operators_.push_back(std::sqrt(bound(peaks(one))));
    one[k] = 0;
  }
}

FilterNorms::Peaks FilterNorms::peaks(std::span<const double> a) const {
  // The squares have degree size - 1 in each of two variables; no point is farther than pi / frequencies.
  const double between = std::cos((size_ - 1) * std::numbers::pi / frequencies);
  const double outward = (1 + 1e-12) / (between * between);
  std::vector<double> sum(6 * points, 0);
  for (std::size_t k = 0; k < count_; ++k) {
    if (a[k] == 0) continue;
    const double* square = squares_.data() + k * 6 * points;
    for (std::size_t g = 0; g < sum.size(); ++g) sum[g] += a[k] * square[g];
  }
  const auto largest = [&](std::size_t first, std::size_t count) {
    const auto begin = sum.begin() + static_cast<std::ptrdiff_t>(first * points);
    return outward * *std::max_element(begin, begin + static_cast<std::ptrdiff_t>(count * points));
  };
  return {largest(0, 2), {largest(2, 1), largest(3, 1), largest(4, 1), largest(5, 1)}};
}

/// valid: max |symbol|^2; symmetric: min { 4 max |symbol|^2, (sum over the parities of their roots)^2 }.
double FilterNorms::bound(const Peaks& p) const {
  if (padding_ == FilterPadding::valid) return p.symbol;
  double roots = 0;
  for (double square : p.parity) roots += std::sqrt(square);
  return std::min(extension() * extension() * p.symbol, roots * roots);
}

double FilterNorms::joint(std::span<const double> a) const {
  double separate = 0;
  for (std::size_t k = 0; k < count_; ++k) separate += a[k] * operators_[k] * operators_[k];
  return std::min(bound(peaks(a)), separate * (1 + 1e-12));
}

namespace {

/// Half-sample symmetric reflection into [0, n), for indices within n of the range.
int reflect(int i, int n) { return i < 0 ? -i - 1 : (i >= n ? 2 * n - 1 - i : i); }

/// Output positions of one axis that differ in what the border folds together.
std::vector<int> distinct_positions(int n, int radius) {
  std::vector<int> positions;
  for (int i = 0; i < n; ++i)
    if (i <= radius || i >= n - radius) positions.push_back(i);
  return positions;
}

/// Squared norm of one row of C_k: taps that read the same pixel are added before squaring.
double folded_square(std::span<const double> c, int size, int row, int column, int height, int width) {
  const int radius = size / 2, top = std::max(row - radius, 0), left = std::max(column - radius, 0);
  std::array<double, 121> pixels{};
  for (int i = 0; i < size; ++i)
    for (int j = 0; j < size; ++j) {
      const int r = reflect(row + i - radius, height) - top, s = reflect(column + j - radius, width) - left;
      pixels[static_cast<std::size_t>(r * size + s)] += c[static_cast<std::size_t>(i * size + j)];
    }
  double sum = 0;
  for (double p : pixels) sum += p * p;
  return sum;
}

}  // namespace

std::vector<double> row_norms(std::span<const double> filters, int size, FilterPadding padding, int height,
                              int width) {
  const std::size_t taps = static_cast<std::size_t>(size) * size;
  std::vector<double> norms;
  for (std::size_t k = 0; k * taps < filters.size(); ++k) {
    const std::span<const double> c = filters.subspan(k * taps, taps);
    double largest = 0;
    for (double tap : c) largest += tap * tap;
    if (padding == FilterPadding::symmetric)
      for (int row : distinct_positions(height, size / 2))
        for (int column : distinct_positions(width, size / 2))
          largest = std::max(largest, folded_square(c, size, row, column, height, width));
    norms.push_back(std::sqrt(largest) * (1 + 1e-12));
  }
  return norms;
}

}  // namespace v0
}  // namespace bilevel
