#pragma once

// Derivatives of the gradient of analysis regularisers by weight, smoothing and ridge, and what the
// directional bounds of their errors are made of.

#include "kernels/analysis_pixel.hpp"
#include "kernels/launch.hpp"
#include "kernels/stencil_tiles.hpp"

namespace bilevel::kernels::BILEVEL_BACKEND {

/// w <z,u> and w_nu <z,u> of a pixel.
template <class K, class T, class Rho>
BILEVEL_PIXEL void mixed_pixel(const Rho& rho, const T (&z)[K::components], const T (&u)[K::components],
                               T& by_w, T& by_nu) {
  unrolled<K::groups>([&](auto g) BILEVEL_PIXEL_LAMBDA {
    T w, w_nu;
    rho.weight_nu(modulus2<K, g>(z), w, w_nu);
    unrolled<K::size>([&](auto i) BILEVEL_PIXEL_LAMBDA {
      constexpr int k = g * K::size + i;
      const T product = z[k] * u[k];
      by_w = k == 0 ? w * product : by_w + w * product;
      by_nu = k == 0 ? w_nu * product : by_nu + w_nu * product;
    });
  });
}

/// 2r.
template <class T, class Rho, class K>
struct AnalysisMixedAdjoint {
  using S = typename K::Differences;
  static constexpr int sums = 3;
  using G = Geometry<T, S, 2 * K::channels>;
  static constexpr int scratch = G::scratch, resident = S::after > 0 ? 2 : K::components > 4 ? 3 : 4;
  AnalysisMixedAdjointArgs<T> a;

  BILEVEL_HD void operator()(Block& block, const Tile& t, double* partial) const {
    const Halo<T, K, G> x(block, a.model, a.x, t), q(block, a.model, a.q, t);
    const Rho rho(a.model.nu);
    block.template reduce<3>(
        0, t.rows, 0, t.columns,
        [=](int r, int c) BILEVEL_PIXEL_LAMBDA -> Sums<3> {
          const int e = r * G::pitch + c;
          T z[K::components], u[K::components], by_w = T(0), by_nu = T(0);
          x.differences(e, z);
          q.differences(e, u);
          mixed_pixel<K>(rho, z, u, by_w, by_nu);
          double ridge = 0;
          BILEVEL_UNROLL
          for (int k = 0; k < K::channels; ++k) ridge += double(x.v[k][e]) * q.v[k][e];
          return {{double(by_w), double(by_nu), ridge}};
        },
        partial);
  }
  BILEVEL_HD void finish(int image, const double* total) const {
    a.weight[image] = total[0];
    a.smoothing[image] = total[1];
    a.ridge[image] = total[2];
  }
};

/// 1r 1w (2r 1w beside what is there).
template <class T, class Rho, class K>
struct AnalysisMixedForward {
  using S = typename K::Differences;
  static constexpr int sums = 1;
  using G = Geometry<T, S, K::channels + K::directions>;
  static constexpr int scratch = G::scratch, resident = S::after > 0 ? 2 : K::channels > 2 ? 3 : 4;
  AnalysisMixedForwardArgs<T> a;

  BILEVEL_HD void operator()(Block& block, const Tile& t, double* partial) const {
    const Halo<T, K, G> x(block, a.model, a.x, t);
    const Flux<T, S, G> f(block, a.model, t);
    unrolled<K::channels>([&](auto k)
                              BILEVEL_PIXEL_LAMBDA { this->template channel<k>(block, t, x, f, partial); });
  }
  BILEVEL_HD void finish(int image, const double* total) const { a.norm2[image] = total[0]; }

 private:
  template <int k>
  BILEVEL_HD void channel(Block& block, const Tile& t, const Halo<T, K, G>& x, const Flux<T, S, G>& f,
                          double* partial) const {
    const Rho rho(a.model.nu);
    const T weight = T(a.weight), smoothing = T(a.smoothing), ridge = T(a.ridge);
    visit_span<0>(
        block, t, Span<S>(a.model, t),
        [=](int r, int c) BILEVEL_PIXEL_LAMBDA {
          const int e = r * G::pitch + c;
          T z[K::components];
          x.differences(e, z);
          unrolled<S::directions>([&](auto d) BILEVEL_PIXEL_LAMBDA {
            constexpr int i = d * K::channels + k;
            T w, w_nu;
            rho.weight_nu(modulus2<K, i / K::size>(z), w, w_nu);
            f.f[d][e] = (weight * w + smoothing * w_nu) * z[i];
          });
        },
        nullptr);
    T* out = plane_at<K::channels>(a.out, a.model, t, k);
    const T* own = x.v[k];
    const int width = a.model.width;
    const Border border(a.model, t);
    const auto add = [=](int r, int c, T start) BILEVEL_PIXEL_LAMBDA -> Sums<1> {
      const int e = r * G::pitch + c;
      const T g = start + ridge * own[e] + f.adjoint(e, border.at(r, c));
      out[r * width + c] = g;
      return {{double(g) * g}};
    };
    if (a.add)
      block.template reduce<1>(
          0, t.rows, 0, t.columns,
          [=](int r, int c) BILEVEL_PIXEL_LAMBDA { return add(r, c, out[r * width + c]); }, partial);
    else
      block.template reduce<1>(
          0, t.rows, 0, t.columns, [=](int r, int c) BILEVEL_PIXEL_LAMBDA { return add(r, c, T(0)); },
          partial);
  }
};

/// 3r.
template <class T, class Rho, class K>
struct AnalysisBound {
  using S = typename K::Differences;
  static constexpr int sums = analysis_bound_sums, maxima = analysis_bound_maxima;
  using G = Geometry<T, S, 3 * K::channels>;
  static constexpr int scratch = G::scratch, resident = 2;
  AnalysisBoundArgs<T> a;

  BILEVEL_PIXEL static Sums<sums> join(const Sums<sums>& x, const Sums<sums>& y) {
    Sums<sums> s = x;
    for (int k = 0; k < sums - maxima; ++k) s.v[k] += y.v[k];
    for (int k = sums - maxima; k < sums; ++k) s.v[k] = maximum(s.v[k], y.v[k]);
    return s;
  }

  BILEVEL_HD void operator()(Block& block, const Tile& t, double* partial) const {
    const AnalysisModel& m = a.model;
    const Halo<T, K, G> x(block, m, a.x, t), q(block, m, a.q, t);
    if (a.v)
      measure(block, t, x, q, Halo<T, K, G>(block, m, a.v, t), partial);
    else
      measure(block, t, x, q, q, partial);
  }
  BILEVEL_HD void finish(int image, const double* total) const {
    for (int k = 0; k < sums; ++k) a.out[k * a.n + image] = total[k];
  }

 private:
  BILEVEL_HD void measure(Block& block, const Tile& t, const Halo<T, K, G>& x, const Halo<T, K, G>& q,
                          const Halo<T, K, G>& v, double* partial) const {
    const bool one = K::size == 1 || (K::channels == 1 && a.model.height == 1);
    const auto ball = BoundBall<T, Rho>::around(a, t.image, one);
    block.template reduce<sums, maxima>(
        0, t.rows, 0, t.columns,
        [=](int r, int c) BILEVEL_PIXEL_LAMBDA -> Sums<sums> {
          const int e = r * G::pitch + c;
          T z[K::components], g[K::components], h[K::components];
          x.differences(e, z);
          q.differences(e, g);
          v.differences(e, h);
          Sums<sums> s = ball(modulus2<K, 0>(z), modulus2<K, 0>(g), modulus2<K, 0>(h));
          unrolled<K::groups - 1>([&](auto k) BILEVEL_PIXEL_LAMBDA {
            s = join(s, ball(modulus2<K, k + 1>(z), modulus2<K, k + 1>(g), modulus2<K, k + 1>(h)));
          });
          BILEVEL_UNROLL
          for (int k = 0; k < K::channels; ++k) s.v[9] += double(x.v[k][e]) * x.v[k][e];
          return s;
        },
        partial);
  }
};

}  // namespace bilevel::kernels::BILEVEL_BACKEND
