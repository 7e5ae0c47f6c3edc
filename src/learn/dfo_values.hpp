#pragma once

// Residuals of an upper loss as a sum of squares, with certified errors, and the accuracy that a wanted error
// takes.

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <vector>

#include "bilevel/model/upper_loss.hpp"
#include "core/norm.hpp"

namespace bilevel {
inline namespace v0 {

/// r_i = sqrt(g_i/N) at inexact reconstructions, then sqrt(J), and bounds on their distance from the exact
/// ones; [lower, upper] encloses f = sum of the exact squares.
struct Residuals {
  std::vector<double> r, error;
  double value = 0, lower = 0, upper = 0;  ///< value: sum of r^2

  bool finite() const { return std::isfinite(value); }
  /// >= |value - f|.
  double value_error() const { return std::max(upper - value, value - lower); }
  /// >= |r - r^|.
  double norm_error() const { return norm_of(error); }
};

/// From what was measured at points with certificates epsilon_i ([measures][N] and N) and J >= 0. NaN where
/// the loss is.
template <class T>
Residuals residuals_of(const UpperLoss<T>& loss, std::span<const double> measured,
                       std::span<const double> epsilon, double penalty) {
  const std::size_t n = epsilon.size();
  const double scale = 1 / static_cast<double>(n);
  std::vector<double> own(static_cast<std::size_t>(loss.measures()));
  Residuals out;
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t k = 0; k < own.size(); ++k) own[k] = measured[k * n + i];
    const LossEnclosure g = loss.enclose(own, epsilon[i]);
    const double low = std::sqrt(scale * std::max(g.lower, 0.0)), high = std::sqrt(scale * g.upper);
    const double r = g.value < 0 ? 0 : std::sqrt(scale * g.value);
    out.r.push_back(r);
    out.error.push_back(std::max(high - r, r - low) + 4e-16 * r);
    out.lower += scale * std::max(g.lower, 0.0);
    out.upper += scale * g.upper;
  }
  out.r.push_back(std::sqrt(penalty));
  out.error.push_back(2e-16 * out.r.back());
  for (const double r : out.r) out.value += r * r;
  out.lower += penalty;
  out.upper += penalty;
  const double rounding = 1e-15 * static_cast<double>(n + 4) * out.value;
  out.lower -= rounding;
  out.upper += rounding;
  return out;
}

/// A bound that an evaluation aims at: on the error of the value, or on that of the residuals (in norm).
struct Goal {
  double bound = std::numeric_limits<double>::infinity();
  bool of_value = true;
  double error(const Residuals& at) const { return of_value ? at.value_error() : at.norm_error(); }
  bool met(const Residuals& at) const { return error(at) <= bound; }
};

/// The largest epsilon <= most of all images that meets the goal with the numbers measured here, to 1 %, by
/// bisection: the error grows with epsilon. For the squared error and equal residuals of sum f, epsilon =
/// sqrt(2) (sqrt(f + bound) - sqrt(f)) (Ehrhardt and Roberts 2021). Goals that rounding keeps out of reach
/// give an epsilon that no solve meets.
template <class T>
double accuracy_for(const UpperLoss<T>& loss, std::span<const double> measured, double penalty,
                    const Goal& goal, double most) {
  const auto n = static_cast<std::size_t>(loss.shape().n);
  const auto meets = [&](double epsilon) {
    return goal.met(residuals_of(loss, measured, std::vector<double>(n, epsilon), penalty));
  };
  constexpr double least = 1e-100;
  double fine = most, coarse = most;
  while (!meets(fine) && fine > least) {
    coarse = fine;
    fine /= 16;
  }
  while (coarse > 1.01 * fine) {
    const double middle = std::sqrt(fine * coarse);
    (meets(middle) ? fine : coarse) = middle;
  }
  return fine;
}

}  // namespace v0
}  // namespace bilevel
