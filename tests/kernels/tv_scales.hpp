#pragma once

// Naive magnitudes of the terms of an energy, from which the rounding error of a kernel is bounded: each
// entry of a result is a sum of terms, and a term computed with k roundings is off by at most k u times its
// magnitude. Sums in double add their number of additions.

#include <algorithm>
#include <cmath>
#include <vector>

#include "tests/model/tv_lab.hpp"

namespace bilevel::testing_support {

/// |D|^T f for a field of nonnegative entries, rows of K that vanish left out.
inline std::vector<double> spread(const oracle::TvModel& m, const oracle::Field& f) {
  std::vector<double> out(static_cast<std::size_t>(m.pixels()), 0);
  const auto n = static_cast<std::size_t>(m.pixels()), width = static_cast<std::size_t>(m.width);
  for (std::size_t p = 0; p < n; ++p) {
    if (p % width + 1 < width) {
      out[p] += f[p];
      out[p + 1] += f[p];
    }
    if (m.components() == 2 && p + width < n) {
      out[p] += f[n + p];
      out[p + width] += f[n + p];
    }
  }
  return out;
}

/// Length of the vector that the potential sees at every entry of a field.
inline oracle::Field lengths(const oracle::TvModel& m, const oracle::Field& z) {
  oracle::Field r(z.size());
  const auto n = static_cast<std::size_t>(m.pixels());
  for (std::size_t e = 0; e < z.size(); ++e)
    r[e] = m.scalar_terms() ? std::abs(z[e]) : std::hypot(z[e % n], z[n + e % n]);
  return r;
}

/// w(r).
inline double weight(const oracle::TvModel& m, double r) {
  if (m.potential == oracle::Potential::charbonnier) return 1 / std::hypot(r, m.nu);
  return r <= m.nu ? 2 / m.nu - r / (m.nu * m.nu) : 1 / r;
}
/// Size of the terms of nu^-1 d psi / d ln nu: nu^2 r / s^3, or 2 r / nu inside the quadratic zone of
/// huber_c2, whose border is taken a little wider for the rounding of nu and r.
inline double smoothing_terms(const oracle::TvModel& m, double r) {
  if (m.potential == oracle::Potential::charbonnier) {
    const double s = std::hypot(r, m.nu);
    return m.nu * m.nu * r / (s * s * s);
  }
  return r <= m.nu * (1 + 1e-5) ? 2 * r / m.nu : 0;
}
inline double ridge(const oracle::TvModel& m) { return m.xi_inside_alpha ? m.alpha * m.xi : m.xi; }
inline double sample(const oracle::TvModel& m, std::size_t p) { return m.mask.empty() ? 1 : m.mask[p]; }

/// Additions in double on the way from one pixel to a sum over the image, at most: strips of 32 rows, each
/// row of up to 1024 columns in 32 lanes, a tree over the lanes, strips. Tiles of 16 x 128 have fewer.
inline double additions(const oracle::TvModel& m) {
  const double per_row = std::ceil(std::min(m.width, 1024) / 32.0) + 1;
  return std::min(m.height, 32) * per_row + 16 + 8 + std::ceil(m.height / 16.0) * std::ceil(m.width / 128.0);
}

/// |got - want| <= bound per entry; in double also |got - want|_2 <= 1e-12 |scale|_2.
template <class T>
void expect_entries(const std::vector<double>& got, const std::vector<double>& want,
                    const std::vector<double>& bound, const std::vector<double>& scale, const char* what) {
  ASSERT_EQ(got.size(), want.size()) << what;
  double worst = -1;
  std::size_t at = 0;
  for (std::size_t p = 0; p < got.size(); ++p) {
    const double error = std::abs(got[p] - want[p]);
    const double ratio = error == 0 ? 0 : error / bound[p];
    if (!(ratio <= worst)) {
      worst = ratio;
      at = p;
    }
  }
  EXPECT_LE(worst, 1) << what << " at entry " << at << ": " << got[at] << " instead of " << want[at];
  if (sizeof(T) == sizeof(double)) {
    EXPECT_LE(distance(got, want), 1e-12 * norm(scale)) << what;
  }
}

/// bound = roundings u scale.
template <class T>
void expect_entries(const std::vector<double>& got, const std::vector<double>& want,
                    const std::vector<double>& scale, double roundings, const char* what) {
  std::vector<double> bound = scale;
  for (double& b : bound) b *= roundings * unit_roundoff<T>;
  expect_entries<T>(got, want, bound, scale, what);
}

}  // namespace bilevel::testing_support
