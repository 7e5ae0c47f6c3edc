#pragma once

// Naive double versions of what bilevel-mri prints of 10 x 8 images.

#include "tests/apps/mri_in_process.hpp"
#include "tests/oracle/mri_oracle.hpp"

namespace bilevel_test {

constexpr int h = 10, w = 8, pixels = h * w;

/// Unitary transform of a centred plane, zero frequency and origin at floor(n/2), the exponent's sign given.
inline Complexes centred_transform(const Complexes& in, double sign) {
  Complexes out;
  for (int k = 0; k < h; ++k)
    for (int l = 0; l < w; ++l) {
      std::complex<double> sum = 0;
      for (int p = 0; p < h; ++p)
        for (int q = 0; q < w; ++q)
          sum += in[static_cast<std::size_t>(p * w + q)] *
                 std::polar(1.0,
                            sign * 2 * std::numbers::pi *
                                (1.0 * (k - h / 2) * (p - h / 2) / h + 1.0 * (l - w / 2) * (q - w / 2) / w));
      out.push_back(sum / std::sqrt(1.0 * pixels));
    }
  return out;
}

inline std::vector<double> planes(const Complexes& z) {
  std::vector<double> out;
  for (const auto& v : z) out.push_back(v.real());
  for (const auto& v : z) out.push_back(v.imag());
  return out;
}

inline double norm2(std::span<const double> x) {
  return std::inner_product(x.begin(), x.end(), x.begin(), 0.0);
}

inline double largest_magnitude(std::span<const double> image) {
  double largest = 0;
  for (int p = 0; p < pixels; ++p)
    largest = std::max(
        largest, std::hypot(image[static_cast<std::size_t>(p)], image[static_cast<std::size_t>(pixels + p)]));
  return largest;
}

/// Structural similarity of magnitudes over the Gaussian windows of 7 x 7 pixels (the largest odd size that
/// fits 10 x 8) inside the image: each window's moments by their definition.
inline double ssim_of(std::span<const double> x, std::span<const double> truth) {
  constexpr int size = 7;
  std::vector<double> a, b;
  for (int p = 0; p < pixels; ++p) {
    const auto q = static_cast<std::size_t>(p);
    a.push_back(std::hypot(x[q], x[q + pixels])), b.push_back(std::hypot(truth[q], truth[q + pixels]));
  }
  const double range = *std::max_element(b.begin(), b.end());
  const double c1 = std::pow(0.01 * range, 2), c2 = std::pow(0.03 * range, 2);
  double total = 0;
  int windows = 0;
  for (int i = 0; i + size <= h; ++i)
    for (int j = 0; j + size <= w; ++j) {
      double weights = 0, ma = 0, mb = 0;
      const auto each = [&](const auto& f) {
        for (int u = 0; u < size; ++u)
          for (int v = 0; v < size; ++v)
            f(std::exp(-((u - 3) * (u - 3) + (v - 3) * (v - 3)) / (2 * 1.5 * 1.5)),
              static_cast<std::size_t>((i + u) * w + j + v));
      };
      each([&](double g, std::size_t p) { weights += g, ma += g * a[p], mb += g * b[p]; });
      ma /= weights, mb /= weights;
      double va = 0, vb = 0, cov = 0;
      each([&](double g, std::size_t p) {
        va += g * (a[p] - ma) * (a[p] - ma) / weights, vb += g * (b[p] - mb) * (b[p] - mb) / weights;
        cov += g * (a[p] - ma) * (b[p] - mb) / weights;
      });
      total += (2 * ma * mb + c1) * (2 * cov + c2) / ((ma * ma + mb * mb + c1) * (va + vb + c2));
      ++windows;
    }
  return total / windows;
}

inline double psnr_of(std::span<const double> x, std::span<const double> truth) {
  double e = 0;
  for (std::size_t p = 0; p < x.size(); ++p) e += (x[p] - truth[p]) * (x[p] - truth[p]);
  return -10 * std::log10(e / pixels);
}

}  // namespace bilevel_test
