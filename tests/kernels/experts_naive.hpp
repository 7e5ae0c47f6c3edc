#pragma once

#include <cmath>
#include <cstddef>
#include <functional>
#include <vector>

#include "kernels/experts_args.hpp"

namespace bilevel::testing_support {

/// Fields of experts in long double, tap by tap. C is a list of pixels per
/// response, so that its adjoint scatters along the same list.
struct NaiveExperts {
  using Real = long double;
  using Field = std::vector<Real>;

  int height = 0, width = 0, filters = 0, size = 0;
  bool valid = false, huber = false;
  double mu = 0;
  std::vector<double> taps, weight, smoothing;

  int edge() const { return size / 2; }
  int rows() const { return valid ? height - size + 1 : height; }
  int columns() const { return valid ? width - size + 1 : width; }
  std::size_t pixels() const { return static_cast<std::size_t>(height) * static_cast<std::size_t>(width); }
  std::size_t responses() const {
    return static_cast<std::size_t>(rows()) * static_cast<std::size_t>(columns());
  }
  std::size_t taps_of_one() const { return static_cast<std::size_t>(size) * static_cast<std::size_t>(size); }
  Real tap(const std::vector<double>& all, int k, int i, int j) const {
    return all[static_cast<std::size_t>((k * size + i) * size + j)];
  }

  static int reflect(int i, int n) { return i < 0 ? -1 - i : i >= n ? 2 * n - 1 - i : i; }
  /// The pixel that tap (i, j) of response (r, c) reads.
  std::size_t pixel(int r, int c, int i, int j) const {
    const int y = valid ? r + i : reflect(r + i - edge(), height);
    const int x = valid ? c + j : reflect(c + j - edge(), width);
    return static_cast<std::size_t>(y) * static_cast<std::size_t>(width) + static_cast<std::size_t>(x);
  }
  /// f(response, pixel, tap) for all taps of all responses.
  template <class F>
  void visit(const F& f) const {
    std::size_t p = 0;
    for (int r = 0; r < rows(); ++r)
      for (int c = 0; c < columns(); ++c, ++p)
        for (int i = 0; i < size; ++i)
          for (int j = 0; j < size; ++j) f(p, pixel(r, c, i, j), static_cast<std::size_t>(i * size + j));
  }
  Field correlate(const std::vector<double>& all, int k, const Field& x, bool absolute = false) const {
    Field t(responses(), 0);
    const std::size_t first = static_cast<std::size_t>(k) * taps_of_one();
    visit([&](std::size_t p, std::size_t at, std::size_t tap) {
      const Real product = all[first + tap] * x[at];
      t[p] += absolute ? std::abs(product) : product;
    });
    return t;
  }
  Field adjoint(const std::vector<double>& all, int k, const Field& field, bool absolute = false) const {
    Field out(pixels(), 0);
    const std::size_t first = static_cast<std::size_t>(k) * taps_of_one();
    visit([&](std::size_t p, std::size_t at, std::size_t tap) {
      const Real product = all[first + tap] * field[p];
      out[at] += absolute ? std::abs(product) : product;
    });
    return out;
  }

  Real nu(int k) const { return smoothing[static_cast<std::size_t>(k)]; }
  Real b(int k) const { return weight[static_cast<std::size_t>(k)]; }
  Real rho(int k, Real t) const {
    const Real r = std::abs(t), n = nu(k);
    if (!huber) return std::sqrt(t * t + n * n);
    return r <= n ? r * r / n - r * r * r / (3 * n * n) : r - n / 3;
  }
  Real w(int k, Real t) const {
    const Real r = std::abs(t), n = nu(k);
    if (!huber) return 1 / std::sqrt(t * t + n * n);
    return r <= n ? 2 / n - r / (n * n) : 1 / r;
  }
  Real psi(int k, Real t) const { return w(k, t) * t; }
  Real curvature(int k, Real t) const {
    const Real r = std::abs(t), n = nu(k);
    if (!huber) return n * n * w(k, t) * w(k, t) * w(k, t);
    return r <= n ? 2 / n - 2 * r / (n * n) : 0;
  }
  Real psi_nu(int k, Real t) const {
    const Real r = std::abs(t), n = nu(k);
    if (!huber) return -n * n * w(k, t) * w(k, t) * w(k, t) * t;
    return r <= n ? (-2 / n + 2 * r / (n * n)) * t : 0;
  }
  /// kappa t: the PD weight is w - kappa t zeta, with zeta = psi the Hessian.
  Real bend(int k, Real t) const {
    const Real n = nu(k);
    if (!huber) return t / (t * t + n * n);
    if (t == 0) return 0;
    return std::abs(t) <= n ? std::copysign(1 / (2 * n - std::abs(t)), t) : 1 / t;
  }
  /// Suprema of the derivatives of psi and phi'', and of w_nu t.
  Real lip1(int k) const { return (huber ? 2 : 1) / nu(k); }
  Real lip2(int k) const { return (huber ? 2 : Real(0.8586502)) / (nu(k) * nu(k)); }
  Real lip_nu(int k) const { return (huber ? 2 : 1) / nu(k); }
};

}  // namespace bilevel::testing_support
