#include "bilevel/io/quality.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

#include "bilevel/core/error.hpp"

namespace bilevel {
inline namespace v0 {
namespace {

constexpr int kLargestWindow = 11;
constexpr double kSigma = 1.5, kK1 = 0.01, kK2 = 0.03;
constexpr std::size_t kMoments = 5;  // a, b, a^2, b^2, a b

/// w_k proportional to exp(-(k - (n-1)/2)^2 / (2 sigma^2)), sum 1.
std::vector<double> gaussian_window(int size) {
  std::vector<double> window(static_cast<std::size_t>(size));
  double sum = 0.0;
  for (int k = 0; k < size; ++k) {
    const double distance = k - 0.5 * (size - 1);
    sum += window[static_cast<std::size_t>(k)] = std::exp(-distance * distance / (2.0 * kSigma * kSigma));
  }
  for (double& weight : window) weight /= sum;
  return window;
}

/// Window averages along one row of the five products, at the `count` valid positions: out[moment * count +
/// x].
void filter_row(const double* a, const double* b, const std::vector<double>& window, std::size_t count,
                double* out) {
  for (std::size_t x = 0; x < count; ++x) {
    double sums[kMoments] = {};
    for (std::size_t k = 0; k < window.size(); ++k) {
      const double p = a[x + k], q = b[x + k], weight = window[k];
      sums[0] += weight * p;
      sums[1] += weight * q;
      sums[2] += weight * p * p;
      sums[3] += weight * q * q;
      sums[4] += weight * p * q;
    }
    for (std::size_t m = 0; m < kMoments; ++m) out[m * count + x] = sums[m];
  }
}

/// Wang et al. 2004, equation (13), from the five window averages.
double similarity(double mean_a, double mean_b, double square_a, double square_b, double product,
                  double range) {
  const double c1 = kK1 * range * kK1 * range, c2 = kK2 * range * kK2 * range;
  const double variances = (square_a - mean_a * mean_a) + (square_b - mean_b * mean_b);
  const double covariance = product - mean_a * mean_b;
  return (2.0 * mean_a * mean_b + c1) * (2.0 * covariance + c2) /
         ((mean_a * mean_a + mean_b * mean_b + c1) * (variances + c2));
}

}  // namespace

double psnr(std::span<const double> a, std::span<const double> reference) {
  if (a.size() != reference.size() || a.empty()) {
    throw ShapeError("psnr: images of " + std::to_string(a.size()) + " and " +
                     std::to_string(reference.size()) + " pixels; equal, positive sizes are needed");
  }
  double sum = 0.0;
  for (std::size_t k = 0; k < a.size(); ++k) sum += (a[k] - reference[k]) * (a[k] - reference[k]);
  return -10.0 * std::log10(sum / static_cast<double>(a.size()));
}

double ssim(const double* a, const double* b, int height, int width, double range) {
  if (height < 1 || width < 1) {
    throw ShapeError("ssim: images of " + std::to_string(height) + " x " + std::to_string(width) +
                     " pixels; positive extents are needed");
  }
  if (!(range > 0.0) || !std::isfinite(range)) throw ConfigError("ssim: range must be positive and finite");
  const int smallest = std::min({height, width, kLargestWindow});
  const std::vector<double> window = gaussian_window(smallest % 2 == 1 ? smallest : smallest - 1);
  const std::size_t size = window.size(), columns = static_cast<std::size_t>(width);
  const std::size_t count = columns - size + 1, rows = static_cast<std::size_t>(height) - size + 1;
  // Ring of the last `size` filtered rows; the vertical pass reads all of them.
  const std::size_t stride = kMoments * count;
  std::vector<double> ring(size * stride), vertical(stride);
  double total = 0.0;
  for (std::size_t y = 0; y < static_cast<std::size_t>(height); ++y) {
    filter_row(a + y * columns, b + y * columns, window, count, ring.data() + (y % size) * stride);
    if (y + 1 < size) continue;
    std::fill(vertical.begin(), vertical.end(), 0.0);
    for (std::size_t k = 0; k < size; ++k) {
      const double* row = ring.data() + ((y + 1 + k) % size) * stride;
      for (std::size_t j = 0; j < stride; ++j) vertical[j] += window[k] * row[j];
    }
    const double* v = vertical.data();
    for (std::size_t x = 0; x < count; ++x) {
      total += similarity(v[x], v[count + x], v[2 * count + x], v[3 * count + x], v[4 * count + x], range);
    }
  }
  return total / static_cast<double>(rows * count);
}

}  // namespace v0
}  // namespace bilevel
