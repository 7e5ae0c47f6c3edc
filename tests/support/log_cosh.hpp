#pragma once

#include <cmath>
#include <memory>
#include <vector>

#include "bilevel/model/term.hpp"

namespace bilevel::testing_support {

enum class TermMistake { none, value, hessian, lipschitz, hessian_lipschitz, mixed, mixed_lipschitz };

/// alpha nu sum log cosh(z / nu) over the forward differences z of every channel to the right and down, zero
/// across the border, as a term of host functions, with a mistake if one is asked for.
template <class T>
class LogCosh {
 public:
  LogCosh(const Shape& images, TermMistake mistake) : s_(images), mistake_(mistake) {}

  double value_and_gradient(double alpha, double nu, std::span<const T> x, std::span<T> g) const {
    double value = 0;
    clear(g);
    each([&](std::size_t a, std::size_t b) {
      const double u = (static_cast<double>(x[b]) - x[a]) / nu, size = std::fabs(u);
      value += alpha * nu * (size + std::log1p(std::exp(-2 * size)) - std::log(2.0));
      add(g, a, b, alpha * std::tanh(u));
    });
    return mistake_ == TermMistake::value ? 1.01 * value : value;
  }
  void hessian_product(double alpha, double nu, std::span<const T> x, std::span<const T> p,
                       std::span<T> out) const {
    clear(out);
    each([&](std::size_t a, std::size_t b) {
      const double bend = alpha / nu * sech2((static_cast<double>(x[b]) - x[a]) / nu);
      add(out, a, b, bend * (static_cast<double>(p[b]) - p[a]));
      if (mistake_ == TermMistake::hessian) out[a] += static_cast<T>(0.01 * bend * p[b]);
    });
  }
  void mixed(double alpha, double nu, std::size_t j, std::span<const T> x, std::span<T> out) const {
    clear(out);
    each([&](std::size_t a, std::size_t b) {
      const double u = (static_cast<double>(x[b]) - x[a]) / nu;
      add(out, a, b, j == 0 ? std::tanh(u) : -alpha * u / nu * sech2(u));
    });
    if (mistake_ == TermMistake::mixed && j == 1)
      for (T& v : out) v = -v;
  }
  /// |K|^2 <= 8, rows of norm sqrt 2; |tanh'| <= 1, |tanh''| <= 4/(3 sqrt 3), |(u tanh'(u))'| <= 1.
  TermConstants constants(double alpha, double nu) const {
    TermConstants c;
    const double norm2 = 8, rows = 2.0 * static_cast<double>(s_.image());
    c.lipschitz = alpha / nu * norm2 * (mistake_ == TermMistake::lipschitz ? 0.2 : 1);
    c.hessian_lipschitz = alpha / (nu * nu) * norm2 * std::sqrt(2.0) * 0.7699 *
                          (mistake_ == TermMistake::hessian_lipschitz ? 0.01 : 1);
    c.mixed_lipschitz = {norm2 / nu, alpha / (nu * nu) * norm2};
    if (mistake_ == TermMistake::mixed_lipschitz) c.mixed_lipschitz[0] *= 0.02;
    c.mixed_norm = {std::sqrt(norm2 * rows), alpha / nu * std::sqrt(norm2 * rows)};
    c.rounding = c.product_rounding = 16 * alpha / nu * norm2;
    c.mixed_rounding = 16 * std::sqrt(norm2 * rows) * (1 + alpha / nu);
    return c;
  }

 private:
  static double sech2(double u) { return 1 / (std::cosh(u) * std::cosh(u)); }
  static void clear(std::span<T> v) {
    for (T& e : v) e = T(0);
  }
  static void add(std::span<T> v, std::size_t a, std::size_t b, double flux) {
    v[b] = static_cast<T>(v[b] + flux);
    v[a] = static_cast<T>(v[a] - flux);
  }
  template <class F>
  void each(F f) const {
    for (int k = 0; k < s_.c; ++k)
      for (int r = 0; r < s_.h; ++r)
        for (int c = 0; c < s_.w; ++c) {
          const std::size_t e = (static_cast<std::size_t>(k) * s_.h + r) * s_.w + c;
          if (c + 1 < s_.w) f(e, e + 1);
          if (r + 1 < s_.h) f(e, e + s_.w);
        }
  }
  Shape s_;
  TermMistake mistake_;
};

template <class T>
std::shared_ptr<HostTerm<T>> log_cosh_term(const Shape& images, double alpha, double nu,
                                           TermMistake mistake = TermMistake::none) {
  using Values = std::span<const double>;
  const LogCosh<T> of(images, mistake);
  typename HostTerm<T>::Functions f;
  f.value_and_gradient = [=](Values t, std::span<const T> x, std::span<T> g) {
    return of.value_and_gradient(t[0], t[1], x, g);
  };
  f.hessian_product = [=](Values t, std::span<const T> x, std::span<const T> p, std::span<T> out) {
    of.hessian_product(t[0], t[1], x, p, out);
  };
  f.mixed = [=](Values t, std::size_t j, std::span<const T> x, std::span<T> out) {
    of.mixed(t[0], t[1], j, x, out);
  };
  f.constants = [=](Values t) { return of.constants(t[0], t[1]); };
  return std::make_shared<HostTerm<T>>(images,
                                       std::vector<Segment>{{"alpha", Transform::exp, alpha, 1e-8, 1e3, true},
                                                            {"nu", Transform::exp, nu, 1e-6, 1e2, true}},
                                       f);
}

}  // namespace bilevel::testing_support
