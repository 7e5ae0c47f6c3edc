#pragma once

// Analysis regularisers by plain loops in double over the rows of K.

#include <cmath>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "kernels/analysis_args.hpp"
#include "tests/kernels/mri_lab.hpp"
#include "tests/support/numeric.hpp"

namespace bilevel::testing_support {

using kernels::Potential;
using kernels::Stencil;

/// Every stencil with its potentials.
inline std::vector<std::pair<Stencil, Potential>> analysis_kinds() {
  using enum Potential;
  return {{Stencil::gradient, charbonnier}, {Stencil::gradient, huber_c2},
          {Stencil::gradient, quadratic},   {Stencil::gradient_separate, charbonnier},
          {Stencil::second, charbonnier},   {Stencil::gradient_separate, huber_c2},
          {Stencil::second, huber_c2},      {Stencil::identity, quadratic},
          {Stencil::identity, charbonnier}, {Stencil::identity, huber_c2}};
}
/// The numbers of channels that its kernels take.
inline std::vector<int> channel_counts(Stencil stencil) {
  std::vector<int> out;
  for (int channels = 1; channels <= 4; ++channels)
    if (kernels::takes(stencil, channels)) out.push_back(channels);
  return out;
}

/// alpha R_nu(x) + xi/2 |x|^2 on images [C,H,W].
struct Naive {
  Stencil stencil;
  Potential potential;
  int channels, height, width;
  double alpha, nu, xi;

  int points() const { return height * width; }
  int values() const { return channels * points(); }
  int directions() const { return kernels::directions(stencil); }
  int components() const { return channels * directions(); }
  int group_size() const { return kernels::group_size(stencil, channels); }
  std::size_t index(int k, int p) const { return static_cast<std::size_t>(k * points() + p); }
  bool has_right(int p) const { return p % width + 1 < width; }
  bool has_below(int p) const { return p + width < points(); }
  kernels::AnalysisModel model() const {
    return {height, width, potential, stencil, alpha, nu, xi, channels};
  }
  std::string str() const {
    const char* stencils[] = {"gradient", "gradient, separate", "second", "identity"};
    const char* potentials[] = {"charbonnier", "huber_c2", "quadratic"};
    return std::string(stencils[static_cast<int>(stencil)]) + ", " + potentials[static_cast<int>(potential)] +
           ", " + std::to_string(channels) + " x " + std::to_string(height) + " x " + std::to_string(width);
  }

  /// A difference of two differences, or of two values: pixels and their factors.
  struct Term {
    int pixel;
    double factor;
  };
  using Row = std::vector<Term>;
  /// Row of K in a direction at a pixel; empty where it would reach over the border.
  Row row(int d, int p) const {
    const int step = d == 0 ? 1 : width;
    const bool after = d == 0 ? has_right(p) : has_below(p), before = d == 0 ? p % width > 0 : p >= width;
    if (stencil == Stencil::identity) return {{p, 1}};
    if (stencil != Stencil::second) return after ? Row{{p, -1}, {p + step, 1}} : Row{};
    const double root = std::sqrt(2.0);
    if (d == 2) {
      if (!has_right(p) || !has_below(p)) return {};
      return {{p + width + 1, root}, {p + width, -root}, {p + 1, -root}, {p, root}};
    }
    Row out;
    if (after) out = {{p + step, 1}, {p, -1}};
    if (before) {
      out.push_back({p - step, 1});
      out.push_back({p, -1});
    }
    return out;
  }

  /// The components of pixel p: direction d of channel k is d C + k.
  using Pixel = std::vector<double>;
  Pixel zero() const { return Pixel(static_cast<std::size_t>(components()), 0); }
  std::size_t component(int d, int k) const { return static_cast<std::size_t>(d * channels + k); }
  /// Terms by twos are differences, which round like those of the kernels: not with the size of x.
  Pixel difference(const Numbers& x, int p) const {
    Pixel z = zero();
    for (int d = 0; d < directions(); ++d)
      for (int k = 0; k < channels; ++k) {
        const Row terms = row(d, p);
        const auto at = [&](std::size_t e) { return e < terms.size() ? x[index(k, terms[e].pixel)] : 0; };
        for (std::size_t e = 0; e < terms.size(); e += 2)
          z[component(d, k)] += terms[e].factor * (at(e) - at(e + 1));
      }
    return z;
  }
  /// Magnitudes of what rounding does to them in the difference of two rounded differences.
  double reading(const Numbers& x, int p) const {
    if (stencil != Stencil::second) return 0;
    double sum = 0;
    for (int d = 0; d < 3; ++d)
      for (int k = 0; k < channels; ++k) {
        const Row terms = row(d, p);
        double own = 0;
        for (std::size_t e = 0; e + 1 < terms.size(); e += 2)
          own += std::abs(terms[e].factor * x[index(k, terms[e].pixel)] +
                          terms[e + 1].factor * x[index(k, terms[e + 1].pixel)]);
        sum += own * own;
      }
    return std::sqrt(sum);
  }
  /// Modulus of the group that a component belongs to.
  double modulus(const Pixel& z, std::size_t component) const {
    return std::sqrt(inner(z, z, group_of(component)));
  }
  std::size_t group_of(std::size_t component) const {
    return component / static_cast<std::size_t>(group_size());
  }
  std::size_t groups() const { return static_cast<std::size_t>(components() / group_size()); }
  double inner(const Pixel& a, const Pixel& b, std::size_t group) const {
    double sum = 0;
    const auto size = static_cast<std::size_t>(group_size());
    for (std::size_t k = group * size; k < (group + 1) * size; ++k) sum += a[k] * b[k];
    return sum;
  }
  double length(const Pixel& a, std::size_t group) const { return std::sqrt(inner(a, a, group)); }
  static double length(const Pixel& a) { return norm(a); }
  /// out += K^T f.
  void add_adjoint(const std::function<Pixel(int)>& f, Numbers& out) const {
    for (int p = 0; p < points(); ++p) {
      const Pixel v = f(p);
      for (int d = 0; d < directions(); ++d)
        for (int k = 0; k < channels; ++k)
          for (const Term& t : row(d, p)) out[index(k, t.pixel)] += t.factor * v[component(d, k)];
    }
  }
  /// |K|^T f for lengths f.
  Numbers spread(const std::function<double(int)>& f) const {
    Numbers out(static_cast<std::size_t>(values()));
    for (int p = 0; p < points(); ++p) {
      const double length = f(p);
      for (int d = 0; d < directions(); ++d)
        for (int k = 0; k < channels; ++k)
          for (const Term& t : row(d, p)) out[index(k, t.pixel)] += std::abs(t.factor) * length;
    }
    return out;
  }

  bool huber() const { return potential == Potential::huber_c2; }
  bool quadratic() const { return potential == Potential::quadratic; }
  double rho(double r) const {
    if (quadratic()) return r * r / 2;
    if (!huber()) return std::hypot(r, nu);
    return r <= nu ? r * r / nu - r * r * r / (3 * nu * nu) : r - nu / 3;
  }
  double w(double r) const {
    if (quadratic()) return 1;
    if (!huber()) return 1 / std::hypot(r, nu);
    return r <= nu ? 2 / nu - r / (nu * nu) : 1 / r;
  }
  /// -w'(r)/r, times z z^T; 0 where z = 0.
  double w1(double r) const {
    if (r == 0 || quadratic()) return 0;
    if (!huber()) return std::pow(std::hypot(r, nu), -3);
    return r <= nu ? 1 / (nu * nu * r) : 1 / (r * r * r);
  }
  double w_nu(double r) const {
    if (quadratic()) return 0;
    if (!huber()) return -nu * nu * std::pow(std::hypot(r, nu), -3);
    return r <= nu ? 2 * (r / nu - 1) / nu : 0;
  }
  double w_nu_terms(double r) const { return huber() ? (r <= nu * (1 + 1e-5) ? 2 / nu : 0) : -w_nu(r); }
  /// Largest change of psi, and of w r, with r.
  double steepest() const { return quadratic() ? 1 : (huber() ? 2 : 1) / nu; }
  /// sum of w over the groups of a pixel times a function of their moduli.
  double weighted(const Pixel& z, const Pixel& v) const {
    double sum = 0;
    for (std::size_t g = 0; g < groups(); ++g) sum += w(length(z, g)) * length(v, g);
    return sum;
  }

  /// psi.
  Pixel flux(const Pixel& z) const {
    Pixel out = z;
    for (std::size_t c = 0; c < z.size(); ++c) out[c] *= w(modulus(z, c));
    return out;
  }
  /// M v of pixel p, alpha included: w v - ((w1/w) z <zeta,v> + zeta <(w1/w) z,v>)/2.
  Pixel curved(const Pixel& z, const Pixel& zeta, const Pixel& v) const {
    Pixel out = zero();
    for (std::size_t c = 0; c < z.size(); ++c) {
      const std::size_t g = group_of(c);
      const double r = length(z, g), kappa = w1(r) / w(r);
      out[c] =
          alpha * (w(r) * v[c] - 0.5 * (kappa * z[c] * inner(zeta, v, g) + zeta[c] * kappa * inner(z, v, g)));
    }
    return out;
  }
};

}  // namespace bilevel::testing_support
