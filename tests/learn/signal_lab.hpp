#pragma once

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>
#include <vector>

#include "tests/oracle/tv_exact.hpp"
#include "tests/support/tv_setup.hpp"

namespace bilevel::testing_support {

/// A signal of 64 samples with 2, 4 or 6 break points, heights in {-2, ..., 2} between them and zero outside,
/// of which 32 samples are seen with noise .03 (Pawley 2021, section 5): huber_c2 with nu = xi = 1e-3, alpha
/// = 1 to be learned as it is.
inline TvInstance signal_draw(Random& random) {
  constexpr int n = 64, m = 32;
  const auto chosen = [&](int count) {  // of 0, ..., n-1, sorted
    std::vector<int> all(n);
    std::iota(all.begin(), all.end(), 0);
    for (int k = 0; k < count; ++k)
      std::swap(all[static_cast<std::size_t>(k)], all[static_cast<std::size_t>(random.integer(k, n - 1))]);
    std::sort(all.begin(), all.begin() + count);
    return std::vector<int>(all.begin(), all.begin() + count);
  };
  TvInstance out{"signal", {}, {{"alpha", oracle::Transform::identity}}, {}, {Image(n, 0)}};
  const std::vector<int> breaks = chosen(2 * random.integer(1, 3));
  for (std::size_t k = 0; k + 1 < breaks.size(); ++k)
    std::fill(out.truth[0].begin() + breaks[k], out.truth[0].begin() + breaks[k + 1], random.integer(-2, 2));
  out.model.width = n;
  out.model.potential = oracle::Potential::huber_c2;
  out.model.alpha = 1;
  out.model.nu = out.model.xi = 1e-3;
  out.model.mask.assign(n, 0);
  for (int p : chosen(m)) out.model.mask[static_cast<std::size_t>(p)] = 1;
  Image y = add_scaled(out.truth[0], 0.03, random.normal_vector(n));
  for (std::size_t p = 0; p < y.size(); ++p) y[p] *= out.model.mask[p];
  out.y.push_back(y);
  return out;
}

/// f and f' at alpha.
inline oracle::UpperResult exact_at(const TvInstance& signal, double alpha) {
  const TvInstance moved = signal.at({alpha});
  return oracle::exact_hypergradient(moved.model, moved.learned, moved.y, moved.truth);
}

struct ScanOptimum {
  double alpha = 0, f = 0;
  int minima = 0;  ///< local ones on the scan, its ends included
};
/// The least of `points` values of alpha in [1e-4, 1], sharpened by bisection of f' where it is inside.
inline ScanOptimum scan_optimum(const TvInstance& signal, int points) {
  std::vector<double> alpha, f;
  for (int k = 0; k < points; ++k) {
    alpha.push_back(std::pow(10, -4 + 4.0 * k / (points - 1)));
    f.push_back(exact_at(signal, alpha.back()).f);
  }
  ScanOptimum out;
  for (std::size_t k = 0; k < f.size(); ++k)
    out.minima += (k == 0 || f[k] < f[k - 1]) && (k + 1 == f.size() || f[k] <= f[k + 1]);
  const auto least = static_cast<std::size_t>(std::min_element(f.begin(), f.end()) - f.begin());
  out.alpha = alpha[least];
  out.f = f[least];
  if (least == 0 || least + 1 == f.size()) return out;
  double low = alpha[least - 1], high = alpha[least + 1];
  while (high > low * (1 + 1e-5)) {
    out.alpha = std::sqrt(low * high);
    const oracle::UpperResult at = exact_at(signal, out.alpha);
    out.f = at.f;
    (at.hypergradient[0] > 0 ? high : low) = out.alpha;
  }
  return out;
}

/// The next draw with one minimum, inside (.01, .3) and of a signal that can be recovered.
struct LearnableSignal {
  TvInstance signal;
  ScanOptimum best;
};
inline LearnableSignal learnable_signal(Random& random, int points) {
  while (true) {
    LearnableSignal out{signal_draw(random), {}};
    out.best = scan_optimum(out.signal, points);
    if (out.best.minima == 1 && out.best.alpha > 0.01 && out.best.alpha < 0.3 && out.best.f <= 0.6)
      return out;
  }
}

}  // namespace bilevel::testing_support
