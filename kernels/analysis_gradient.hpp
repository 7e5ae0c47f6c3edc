#pragma once

// Value and gradient, and Hessian products, of analysis regularisers: one body for every stencil, grouping
// and potential. Fluxes of what a pixel's components are, on a tile and around it, then K^T of them; one
// channel at a time, so that only its fluxes are in scratch.

#include "kernels/analysis_pixel.hpp"
#include "kernels/launch.hpp"
#include "kernels/stencil_tiles.hpp"

namespace bilevel::kernels::BILEVEL_BACKEND {

/// Adds up out(r, c, d, fit) over the tile of a channel: d = S (x - y) and fit = d, or d the gradient of
/// another data term (y null) and fit = 0.
template <int pitch, class T, class Out>
BILEVEL_HD inline void reduce_data(Block& block, const Tile& t, int width, const T* y, const T* s,
                                   const T* gradient, const T* own, Out out, double* partial) {
  if (y == nullptr)
    block.template reduce<3>(
        0, t.rows, 0, t.columns,
        [=](int r, int c) BILEVEL_PIXEL_LAMBDA { return out(r, c, gradient[r * width + c], T(0)); }, partial);
  else if (s != nullptr)
    block.template reduce<3>(
        0, t.rows, 0, t.columns,
        [=](int r, int c) BILEVEL_PIXEL_LAMBDA {
          const int o = r * width + c;
          const T d = s[o] * (own[r * pitch + c] - y[o]);
          return out(r, c, d, d);
        },
        partial);
  else
    block.template reduce<3>(
        0, t.rows, 0, t.columns,
        [=](int r, int c) BILEVEL_PIXEL_LAMBDA {
          const T d = own[r * pitch + c] - y[r * width + c];
          return out(r, c, d, d);
        },
        partial);
}

/// Adds up out(r, c, start) over the tile of a channel: start = (S + xi) p, or with `add` what is in product
/// and xi p.
template <int pitch, class T, class Out>
BILEVEL_HD inline void reduce_product(Block& block, const Tile& t, int width, bool add, const T* s,
                                      const T* product, const T* own, T xi, Out out, double* partial) {
  if (add)
    block.template reduce<1>(
        0, t.rows, 0, t.columns,
        [=](int r, int c)
            BILEVEL_PIXEL_LAMBDA { return out(r, c, product[r * width + c] + xi * own[r * pitch + c]); },
        partial);
  else if (s != nullptr)
    block.template reduce<1>(
        0, t.rows, 0, t.columns,
        [=](int r, int c)
            BILEVEL_PIXEL_LAMBDA { return out(r, c, (s[r * width + c] + xi) * own[r * pitch + c]); },
        partial);
  else
    block.template reduce<1>(
        0, t.rows, 0, t.columns,
        [=](int r, int c) BILEVEL_PIXEL_LAMBDA { return out(r, c, (T(1) + xi) * own[r * pitch + c]); },
        partial);
}

/// 2r 1w per channel (3r masked; beside another data term 2r 1w).
template <class T, class Rho, class K>
struct AnalysisGradient {
  using S = typename K::Differences;
  static constexpr int reading = S::reads ? 1 : 0, sums = 5 + reading;
  using G = Geometry<T, S, K::channels + K::directions>;
  static constexpr int scratch = G::scratch, resident = S::after > 0 ? 2 : K::channels > 2 ? 3 : 4;
  AnalysisGradientArgs<T> a;

  BILEVEL_HD void operator()(Block& block, const Tile& t, double* partial) const {
    const Halo<T, K, G> x(block, a.model, a.x, t);
    const Flux<T, S, G> f(block, a.model, t);
    unrolled<K::channels>([&](auto k)
                              BILEVEL_PIXEL_LAMBDA { this->template channel<k>(block, t, x, f, partial); });
    if constexpr (S::reads) {
      const Border border(a.model, t);
      block.template reduce<1>(
          0, t.rows, 0, t.columns,
          [=](int r, int c) BILEVEL_PIXEL_LAMBDA -> Sums<1> {
            T sum = T(0);
            for (int k = 0; k < K::channels; ++k)
              sum += S::reading(x.v[k], r * G::pitch + c, G::pitch, border.at(r, c));
            return {{static_cast<double>(sum)}};
          },
          partial + 5);
    }
  }
  BILEVEL_HD void finish(int image, const double* total) const { finish_gradient<K>(a, image, total); }

 private:
  template <int k>
  BILEVEL_HD void channel(Block& block, const Tile& t, const Halo<T, K, G>& x, const Flux<T, S, G>& f,
                          double* partial) const {
    const EnergyPixel<T, Rho, K> pixel{Rho(a.model.nu), T(a.model.alpha)};
    const auto flux = [=](int r, int c) BILEVEL_PIXEL_LAMBDA -> Sums<2> {
      const int e = r * G::pitch + c;
      T z[K::components], p[K::components];
      x.differences(e, z);
      const Sums<2> s = pixel(z, p);
      unrolled<S::directions>([&](auto d) BILEVEL_PIXEL_LAMBDA { f.f[d][e] = p[d * K::channels + k]; });
      return s;
    };
    visit_span<k == 0 ? 2 : 0>(block, t, Span<S>(a.model, t), flux, partial);

    const int width = a.model.width;
    const T* y = plane_at<K::channels>(a.y, a.model, t, k);
    const T* s = at_shared(a.sampling, a.model, t);
    T* gradient = plane_at<K::channels>(a.gradient, a.model, t, k);
    const T* own = x.v[k];
    const T xi = T(a.model.xi);
    const Border border(a.model, t);
    const auto out = [=](int r, int c, T d, T fit) BILEVEL_PIXEL_LAMBDA -> Sums<3> {
      const int e = r * G::pitch + c;
      const T v = own[e];
      const T g = d + xi * v + f.adjoint(e, border.at(r, c));
      gradient[r * width + c] = g;
      return {{double(fit) * fit, double(v) * v, double(g) * g}};
    };
    reduce_data<G::pitch>(block, t, width, y, s, gradient, own, out, partial + 2);
  }
};

/// (1 + planes / C)r 1w per channel (1r more masked or beside another data term).
template <class T, class K>
struct AnalysisHessian {
  using S = typename K::Differences;
  static constexpr int sums = 1;
  using G = Geometry<T, S, K::channels + K::directions>;
  static constexpr int scratch = G::scratch, resident = S::after > 0 ? 2 : K::channels > 1 ? 3 : 4;
  AnalysisHessianArgs<T> a;

  BILEVEL_HD void operator()(Block& block, const Tile& t, double* partial) const {
    const Halo<T, K, G> p(block, a.model, a.p, t);
    const Flux<T, S, G> f(block, a.model, t);
    unrolled<K::channels>([&](auto k)
                              BILEVEL_PIXEL_LAMBDA { this->template channel<k>(block, t, p, f, partial); });
  }
  BILEVEL_HD void finish(int image, const double* total) const { a.inner[image] = total[0]; }

 private:
  template <int k>
  BILEVEL_HD void channel(Block& block, const Tile& t, const Halo<T, K, G>& p, const Flux<T, S, G>& f,
                          double* partial) const {
    const int width = a.model.width;
    const WeightPlanes<const T, K> m(plane_at<K::channels>(a.weights, a.model, t, 0), a.model, a.n);
    visit_span<0>(
        block, t, Span<S>(a.model, t),
        [=](int r, int c) BILEVEL_PIXEL_LAMBDA {
          const int e = r * G::pitch + c;
          T z[K::components], flux[K::components];
          p.differences(e, z);
          m.flux(r * width + c, z, flux);
          unrolled<S::directions>([&](auto d)
                                      BILEVEL_PIXEL_LAMBDA { f.f[d][e] = flux[d * K::channels + k]; });
        },
        nullptr);
    T* product = plane_at<K::channels>(a.product, a.model, t, k);
    const T* own = p.v[k];
    const T* s = at_shared(a.sampling, a.model, t);
    const T xi = T(a.model.xi);
    const Border border(a.model, t);
    const auto out = [=](int r, int c, T start) BILEVEL_PIXEL_LAMBDA -> Sums<1> {
      const int e = r * G::pitch + c;
      const T g = start + f.adjoint(e, border.at(r, c));
      product[r * width + c] = g;
      return {{double(own[e]) * g}};
    };
    reduce_product<G::pitch>(block, t, width, a.add, s, product, own, xi, out, partial);
  }
};

}  // namespace bilevel::kernels::BILEVEL_BACKEND
