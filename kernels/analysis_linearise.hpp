#pragma once

// The Hessian of analysis regularisers at a point, or the primal-dual matrix of Newton's method with its dual
// field (Chan, Golub and Mulet 1999).

#include <type_traits>

#include "kernels/analysis_pixel.hpp"
#include "kernels/launch.hpp"
#include "kernels/stencil_tiles.hpp"

namespace bilevel::kernels::BILEVEL_BACKEND {

/// Reads the point, writes the planes of weights and the inverse diagonal: (1 + planes / C + 1) words per
/// channel, and the dual field's floats.
template <class T, class Rho, class K>
struct AnalysisLinearise {
  using S = typename K::Differences;
  static constexpr int sums = 0;
  using OneChannel = Operator<S, false, 1>;
  // of every entry of the matrices, or of those between the directions of one channel
  static constexpr int tiles = K::packed ? K::planes : OneChannel::entries;
  using G = Geometry<T, S, K::channels + tiles>;
  static constexpr int scratch = G::scratch, resident = S::after > 0 ? 2 : 3;
  AnalysisLineariseArgs<T> a;

  BILEVEL_HD void operator()(Block& block, const Tile& t, double*) const {
    const Halo<T, K, G> x(block, a.model, a.x, t);
    const Matrices m(block, a.model, t);
    if (a.dual)
      write(block, t, x, m, std::true_type{});
    else
      write(block, t, x, m, std::false_type{});
  }

 private:
  using Matrices = Flux<T, S, G, tiles>;
  struct Dual {
    const float* f[K::components];
  };

  template <class Given>
  BILEVEL_HD void write(Block& block, const Tile& t, const Halo<T, K, G>& x, const Matrices& m, Given) const {
    const long long size = static_cast<long long>(a.model.height) * a.model.width,
                    batch = size * K::channels * a.n;
    const float* first = plane_at<K::channels>(a.dual, a.model, t, 0);
    Dual dual;
    for (int c = 0; c < K::components; ++c)
      dual.f[c] = Given::value ? first + (c / K::channels) * batch + (c % K::channels) * size : nullptr;
    const Rho rho(a.model.nu);
    const T alpha = T(a.model.alpha);
    const int width = a.model.width;
    const Border border(a.model, t);
    const auto matrix = [=](int r, int c, CurvedPixel<T, K>& p) BILEVEL_PIXEL_LAMBDA {
      x.differences(r * G::pitch + c, p.z);
      p.template bend<Given::value>(rho, dual.f, r * width + c);
      unrolled<K::components>([&](auto k) BILEVEL_PIXEL_LAMBDA {
        p.weight[k] = S::template exists<k / K::channels>(border, r, c) ? alpha : T(0);
      });
    };
    const WeightPlanes<T, K> planes(plane_at<K::channels>(a.weights, a.model, t, 0), a.model, a.n);
    if constexpr (K::packed) {
      visit_span<0>(
          block, t, Span<S>(a.model, t),
          [=](int r, int c) BILEVEL_PIXEL_LAMBDA {
            CurvedPixel<T, K> p;
            matrix(r, c, p);
            const int e = r * G::pitch + c;
            unrolled<K::groups>([&](auto g) BILEVEL_PIXEL_LAMBDA {
              unrolled<K::size>([&](auto i) BILEVEL_PIXEL_LAMBDA {
                unrolled<K::size - i>([&](auto j) BILEVEL_PIXEL_LAMBDA {
                  m.f[g * K::entries + K::entry(i, i + j)][e] = p.template entry<g, i, i + j>();
                });
              });
            });
          },
          nullptr);
      block.for_each(0, t.rows, 0, t.columns, [=](int r, int c) BILEVEL_PIXEL_LAMBDA {
        unrolled<K::planes>(
            [&](auto k) BILEVEL_PIXEL_LAMBDA { planes.p[k][r * width + c] = m.f[k][r * G::pitch + c]; });
      });
    } else {
      block.for_each(0, t.rows, 0, t.columns, [=](int r, int c) BILEVEL_PIXEL_LAMBDA {
        CurvedPixel<T, K> p;
        matrix(r, c, p);
        planes.store(r * width + c, p, alpha);
      });
    }
    unrolled<K::channels>([&](auto k)
                              BILEVEL_PIXEL_LAMBDA { this->template diagonal<k>(block, t, m, matrix); });
  }

  /// 1 / (xi + diag(K^T M K) + data) of channel k.
  template <int k, class F>
  BILEVEL_HD void diagonal(Block& block, const Tile& t, const Matrices& m, F matrix) const {
    if constexpr (!K::packed)
      visit_span<0>(
          block, t, Span<S>(a.model, t),
          [=](int r, int c) BILEVEL_PIXEL_LAMBDA {
            CurvedPixel<T, K> p;
            matrix(r, c, p);
            unrolled<S::directions>([&](auto i) BILEVEL_PIXEL_LAMBDA {
              unrolled<S::directions - i>([&](auto j) BILEVEL_PIXEL_LAMBDA {
                constexpr int own = i * K::channels + k, other = (i + j) * K::channels + k;
                m.f[OneChannel::entry(i, i + j)][r * G::pitch + c] = p.template entry<0, own, other>();
              });
            });
          },
          nullptr);
    const int width = a.model.width;
    const T xi = T(a.model.xi), data = T(a.data);
    const T* map = at_shared(a.data_map, a.model, t);
    T* inverse = plane_at<K::channels>(a.inverse_diagonal, a.model, t, k);
    const Border border(a.model, t);
    block.for_each(0, t.rows, 0, t.columns, [=](int r, int c) BILEVEL_PIXEL_LAMBDA {
      // entry (d,d2) of the channel, of the pixel at this offset
      const auto entry = [=](auto d, auto d2, int row, int column) BILEVEL_PIXEL_LAMBDA -> T {
        [[maybe_unused]] constexpr int own = d * K::channels + k, other = d2 * K::channels + k;
        const int e = (r + row) * G::pitch + c + column;
        if constexpr (K::packed && K::joint)
          return m.f[K::entry(own, other)][e];
        else if constexpr (K::packed)
          return m.f[d * K::entries + K::entry(k, k)][e];
        else
          return m.f[OneChannel::entry(d, d2)][e];
      };
      inverse[r * width + c] = S::template diagonal<K::joint, T>(xi, entry, border.at(r, c));
    });
    if (const T* before = plane_at<K::channels>(a.before, a.model, t, k))
      block.for_each(0, t.rows, 0, t.columns, [=](int r, int c) BILEVEL_PIXEL_LAMBDA {
        const int o = r * width + c;
        inverse[o] = T(1) / (inverse[o] + T(1) / before[o]);
      });
    else
      block.for_each(0, t.rows, 0, t.columns, [=](int r, int c) BILEVEL_PIXEL_LAMBDA {
        const int o = r * width + c;
        inverse[o] = T(1) / (inverse[o] + data * (map ? map[o] : T(1)));
      });
  }
};

/// The dual variables of a pixel, component i at zeta[place(i)], after the step z + step v, or at z (start).
template <class K, bool start, class T, class Rho, class Place>
BILEVEL_PIXEL void move_dual(const Rho& rho, T step, const T (&z)[K::components], T (&v)[K::components],
                             float* zeta, Place place) {
  const T inside = T(1) - T(2.4e-7);  // of the unit ball, also after rounding to single precision
  T next[K::components];
  unrolled<K::groups>([&](auto g) BILEVEL_PIXEL_LAMBDA {
    constexpr int first = g * K::size;
    T w, kappa, length2 = T(0);
    rho.hessian(modulus2<K, g>(z), w, kappa);
    unrolled<K::size>([&](auto i) BILEVEL_PIXEL_LAMBDA { v[first + i] *= step; });
    T bend = T(0);
    if constexpr (!start) bend = K::size == 1 ? kappa * z[g] * v[g] : kappa * inner<K, g>(z, v);
    unrolled<K::size>([&](auto i) BILEVEL_PIXEL_LAMBDA {
      constexpr std::integral_constant<int, first + i> k{};
      const T old = start ? T(0) : T(zeta[place(k)]);
      next[k] = w * (z[k] + v[k]) - bend * old;
      length2 += next[k] * next[k];
    });
    const T scale = inside / maximum(std::sqrt(length2), inside);
    unrolled<K::size>([&](auto i) BILEVEL_PIXEL_LAMBDA {
      constexpr std::integral_constant<int, first + i> k{};
      const T moved = next[k];
      const T own = K::size == 1 ? minimum(maximum(moved, -inside), inside) : scale * moved;
      zeta[place(k)] = static_cast<float>(own);
    });
  });
}

/// 1r (2r with a step), the field's floats r and w.
template <class T, class Rho, class K>
struct AnalysisDual {
  using S = typename K::Differences;
  static constexpr int sums = 0;
  using G = Geometry<T, S, 2 * K::channels>;
  static constexpr int scratch = G::scratch, resident = S::after > 0 ? 2 : 4;
  AnalysisDualArgs<T> a;

  BILEVEL_HD void operator()(Block& block, const Tile& t, double*) const {
    const AnalysisModel& m = a.model;
    const bool start = a.d == nullptr;
    const Halo<T, K, G> x(block, m, a.x, t);
    if (start)
      move(block, t, x, x, std::true_type{});
    else
      move(block, t, x, Halo<T, K, G>(block, m, a.d, t), std::false_type{});
  }

 private:
  template <class Start>
  BILEVEL_HD void move(Block& block, const Tile& t, const Halo<T, K, G>& x, const Halo<T, K, G>& d,
                       Start) const {
    const AnalysisModel& m = a.model;
    const T step = Start::value ? T(0) : T(a.step[t.image]);
    const Rho rho(m.nu);
    const int width = m.width;
    const long long size = static_cast<long long>(m.height) * width, batch = size * K::channels * a.n;
    float* zeta = plane_at<K::channels>(a.dual, m, t, 0);
    block.for_each(0, t.rows, 0, t.columns, [=](int r, int c) BILEVEL_PIXEL_LAMBDA {
      const int e = r * G::pitch + c, o = r * width + c;
      T z[K::components], v[K::components] = {};
      x.differences(e, z);
      if constexpr (!Start::value) d.differences(e, v);
      const auto place = [&](auto i) BILEVEL_PIXEL_LAMBDA {
        return (i / K::channels) * batch + (i % K::channels) * size + o;
      };
      move_dual<K, Start::value>(rho, step, z, v, zeta, place);
    });
  }
};

}  // namespace bilevel::kernels::BILEVEL_BACKEND
