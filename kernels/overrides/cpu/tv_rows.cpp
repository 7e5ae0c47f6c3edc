// Row-streaming CPU versions of tv_energy and tv_hessian. A strip of rows is visited row by row: the flux of
// a row is kept in L1 for the row below, nothing is copied, each array is read and written once in long
// contiguous runs. Faster than the tiled bodies by 1.6 (energy) and 2.0 (Hessian product) on 1024x1024 images
// (AVX-512, double).

#include "kernels/launch.hpp"
#include "kernels/tv_pixel.hpp"

namespace bilevel::kernels::BILEVEL_BACKEND {
namespace {

// Strips as wide as keeps their rows of all arrays in L1, measured.
constexpr int strip_rows = 32;
constexpr int strip_columns = 1024;
template <class T>
constexpr int energy_columns = 3072 / static_cast<int>(sizeof(T));
constexpr int lanes = 32;

/// K running sums in `lanes` lanes, added over columns in a fixed order.
template <int K>
struct Lanes {
  alignas(64) double acc[K][lanes] = {};

  /// f(c) for c in [begin, end); lanes start anew at `begin`.
  template <class F>
  void add(int begin, int end, F f) {
    int c0 = begin;
    for (; c0 + lanes <= end; c0 += lanes) {
#pragma GCC ivdep
      for (int l = 0; l < lanes; ++l) {
        const Sums<K> s = f(c0 + l);
        for (int k = 0; k < K; ++k) acc[k][l] += s.v[k];
      }
    }
    const int rest = end - c0;
#pragma GCC ivdep
    for (int l = 0; l < rest; ++l) {
      const Sums<K> s = f(c0 + l);
      for (int k = 0; k < K; ++k) acc[k][l] += s.v[k];
    }
  }
  void total(double* out) {
    for (int k = 0; k < K; ++k) {
      for (int half = lanes / 2; half > 0; half /= 2)
        for (int l = 0; l < half; ++l) acc[k][l] += acc[k][l + half];
      out[k] = acc[k][0];
    }
  }
};

/// Flux rows of a strip: x one entry to the left of the strip, y of this row and of the row above.
template <class T>
struct FluxRows {
  T* x;
  T* y;
  T* above;

  explicit FluxRows(HostBlock& block)
      : x(block.scratch<T>(strip_columns + 64) + 64 / sizeof(T)),
        y(block.scratch<T>(strip_columns)),
        above(block.scratch<T>(strip_columns)) {}
  void next() {
    T* t = y;
    y = above;
    above = t;
  }
};

/// Visits the rows of a tile: flux(r, c, zx, zy) -> fluxes of pixel (r, c) of the image with the differences
/// of `v`; out(r, c, k) at column c = tile.column + k with the rows' fluxes. `S` sums of flux, `O` sums of
/// out.
template <int S, int O, class T, class Flux, class Out>
void stream(HostBlock& block, const Tile& t, int height, int width, const T* v, Flux flux, Out out,
            double* sums) {
  FluxRows<T> rows(block);
  Lanes<(S > 0 ? S : 1)> of_flux;
  Lanes<O> of_out;
  const int begin = t.column, end = t.column + t.columns;
  const int inner = end < width ? end : width - 1;  // the last column of the image has no difference in x
  const auto flux_row = [&](int r, auto accumulate) {
    const T* here = v + static_cast<long long>(r) * width;
    const T* below = r + 1 < height ? here + width : here;
    T *fx = rows.x - begin, *fy = rows.y - begin;
    accumulate(begin, inner,
               [=](int c) { return flux(r, c, here[c + 1] - here[c], below[c] - here[c], fx[c], fy[c]); });
    if (inner < end)
      accumulate(inner, end, [=](int c) { return flux(r, c, T(0), below[c] - here[c], fx[c], fy[c]); });
    rows.x[-1] = T(0);
    if (begin > 0) {
      T unused;
      flux(r, begin - 1, here[begin] - here[begin - 1], below[begin - 1] - here[begin - 1], rows.x[-1],
           unused);
    }
  };
  if (t.row > 0) {
    flux_row(t.row - 1, [](int c0, int c1, auto f) {
#pragma GCC ivdep
      for (int c = c0; c < c1; ++c) f(c);
    });
    rows.next();
  } else {
    for (int k = 0; k < t.columns; ++k) rows.above[k] = T(0);
  }
  for (int r = t.row; r < t.row + t.rows; ++r) {
    flux_row(r, [&](int c0, int c1, auto f) {
      if constexpr (S > 0) {
        of_flux.add(c0, c1, f);
      } else {
#pragma GCC ivdep
        for (int c = c0; c < c1; ++c) f(c);
      }
    });
    const T *fx = rows.x - begin, *fy = rows.y - begin, *up = rows.above - begin;
    of_out.add(begin, end, [=](int c) { return out(r, c, (fx[c - 1] - fx[c]) + (up[c] - fy[c])); });
    rows.next();
  }
  if constexpr (S > 0) of_flux.total(sums);
  of_out.total(sums + S);
}

template <class T>
T* image_of(T* batch, const TvModel& m, int image) {
  return batch + static_cast<long long>(image) * m.height * m.width;
}

template <class T, template <class> class Rho, bool isotropic>
struct EnergyRows {
  static constexpr int sums = 5;
  TvEnergyArgs<T> a;

  void operator()(HostBlock& block, const Tile& t, double* partial) const {
    const TvModel& m = a.model;
    const int width = m.width;
    const T* x = image_of(a.x, m, t.image);
    const T* y = image_of(a.y, m, t.image);
    T* gradient = image_of(a.gradient, m, t.image);
    const T* s = a.sampling;
    const T xi = T(m.xi);
    const EnergyPixel<T, Rho, isotropic> pixel{Rho<T>(m.nu), T(m.alpha)};
    const auto flux = [=](int, int, T zx, T zy, T& fx, T& fy) { return pixel(zx, zy, fx, fy); };
    const auto point = [=](long long e, T weight, T divergence) -> Sums<3> {
      const T v = x[e], d = weight * (v - y[e]), g = d + xi * v + divergence;
      gradient[e] = g;
      return {{double(d) * d, double(v) * v, double(g) * g}};
    };
    if (s)
      stream<2, 3>(
          block, t, m.height, width, x, flux,
          [=](int r, int c, T divergence) {
            const long long e = static_cast<long long>(r) * width + c;
            return point(e, s[e], divergence);
          },
          partial);
    else
      stream<2, 3>(
          block, t, m.height, width, x, flux,
          [=](int r, int c, T divergence) {
            return point(static_cast<long long>(r) * width + c, T(1), divergence);
          },
          partial);
  }
  void finish(int image, const double* total) const { finish_energy(a, image, total); }
};

template <class T, bool isotropic>
struct HessianRows {
  static constexpr int sums = 1;
  TvHessianArgs<T> a;

  void operator()(HostBlock& block, const Tile& t, double* partial) const {
    const TvModel& m = a.model;
    const int width = m.width;
    const T* p = image_of(a.p, m, t.image);
    const T* m11 = image_of(a.m11, m, t.image);
    const T* m22 = image_of(a.m22, m, t.image);
    const T* m12 = isotropic ? image_of(a.m12, m, t.image) : nullptr;
    T* product = image_of(a.product, m, t.image);
    const T* s = a.sampling;
    const T xi = T(m.xi);
    const auto flux = [=](int r, int c, T px, T py, T& fx, T& fy) {
      const long long e = static_cast<long long>(r) * width + c;
      hessian_flux<T, isotropic>(m11[e], m22[e], isotropic ? m12[e] : T(0), px, py, fx, fy);
    };
    const auto point = [=](long long e, T weight, T divergence) -> Sums<1> {
      const T v = p[e], g = weight * v + divergence;
      product[e] = g;
      return {{double(v) * g}};
    };
    if (s)
      stream<0, 1>(
          block, t, m.height, width, p, flux,
          [=](int r, int c, T divergence) {
            const long long e = static_cast<long long>(r) * width + c;
            return point(e, s[e] + xi, divergence);
          },
          partial);
    else
      stream<0, 1>(
          block, t, m.height, width, p, flux,
          [=](int r, int c, T divergence) {
            return point(static_cast<long long>(r) * width + c, T(1) + xi, divergence);
          },
          partial);
  }
  void finish(int image, const double* total) const { a.inner[image] = total[0]; }
};

template <class T>
void energy(const Stream& stream, const TvEnergyArgs<T>& a) {
  const auto launch = [&](const auto& body) {
    launch_grid(stream, a.active, a.model.height, a.model.width, strip_rows, energy_columns<T>, body);
  };
  const bool huber = a.model.potential == Potential::huber_c2;
  if (a.model.isotropic)
    huber ? launch(EnergyRows<T, HuberC2, true>{a}) : launch(EnergyRows<T, Charbonnier, true>{a});
  else
    huber ? launch(EnergyRows<T, HuberC2, false>{a}) : launch(EnergyRows<T, Charbonnier, false>{a});
}

template <class T>
void hessian(const Stream& stream, const TvHessianArgs<T>& a) {
  const auto launch = [&](const auto& body) {
    launch_grid(stream, a.active, a.model.height, a.model.width, strip_rows, strip_columns, body);
  };
  a.model.isotropic ? launch(HessianRows<T, true>{a}) : launch(HessianRows<T, false>{a});
}

}  // namespace

template <class T>
void override_tv(Table<T>& table) {
  table.tv_energy = energy<T>;
  table.tv_hessian = hessian<T>;
}
template void override_tv(Table<float>&);
template void override_tv(Table<double>&);

}  // namespace bilevel::kernels::BILEVEL_BACKEND
