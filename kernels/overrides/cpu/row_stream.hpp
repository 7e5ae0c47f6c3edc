#pragma once

// A strip of rows visited row by row: the flux of a row is kept in L1 for the row below, nothing is copied,
// each array is read and written once in long contiguous runs.

#include <type_traits>
#include <utility>

#include "kernels/launch.hpp"

namespace bilevel::kernels::BILEVEL_BACKEND {

// Strips as wide as keeps their rows of all arrays in L1, measured.
constexpr int strip_rows = 32;
constexpr int strip_columns = 1024;
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

/// Flux rows of a strip, C components: x one entry to the left of the strip, y of this row and of the row
/// above.
template <class T, int C>
struct FluxRows {
  T* x[C];
  T* y[C];
  T* above[C];

  explicit FluxRows(HostBlock& block) {
    for (int k = 0; k < C; ++k) {
      x[k] = block.scratch<T>(strip_columns / C + 64) + 64 / sizeof(T);
      y[k] = block.scratch<T>(strip_columns / C);
      above[k] = block.scratch<T>(strip_columns / C);
    }
  }
  void next() {
    for (int k = 0; k < C; ++k) std::swap(y[k], above[k]);
  }
};

/// Visits the rows of a tile of at most strip_columns / C columns: flux(r, c, zx, zy, fx, fy) gives the
/// fluxes of pixel (r, c) of the image from the differences of the components `v`, and S sums (none: it
/// returns nothing); out(visit) calls visit(pixel) once, and pixel(r, c, d) gets K^T flux of each
/// component there and gives O sums.
template <int S, int O, int C, class T, class Flux, class Out>
void stream_rows(HostBlock& block, const Tile& t, int height, int width, const T* const (&v)[C], Flux flux,
                 Out out, double* sums) {
  FluxRows<T, C> rows(block);
  Lanes<(S > 0 ? S : 1)> of_flux;
  Lanes<O> of_out;
  const int begin = t.column, end = t.column + t.columns;
  const int inner = end < width ? end : width - 1;  // the last column of the image has no difference in x
  const auto flux_row = [&](int r, auto accumulate) {
    const T *here[C], *below[C];
    T *fx[C], *fy[C];
    for (int k = 0; k < C; ++k) {
      here[k] = v[k] + static_cast<long long>(r) * width;
      below[k] = r + 1 < height ? here[k] + width : here[k];
      fx[k] = rows.x[k] - begin;
      fy[k] = rows.y[k] - begin;
    }
    const auto pixel = [=](int c, auto has_x) {
      T zx[C], zy[C], px[C], py[C];
      for (int k = 0; k < C; ++k) {
        zx[k] = has_x.value ? here[k][c + 1] - here[k][c] : T(0);
        zy[k] = below[k][c] - here[k][c];
      }
      const Sums<(S > 0 ? S : 1)> s = flux(r, c, zx, zy, px, py);
      for (int k = 0; k < C; ++k) {
        fx[k][c] = px[k];
        fy[k][c] = py[k];
      }
      return s;
    };
    accumulate(begin, inner, [=](int c) { return pixel(c, std::true_type{}); });
    if (inner < end) accumulate(inner, end, [=](int c) { return pixel(c, std::false_type{}); });
    for (int k = 0; k < C; ++k) rows.x[k][-1] = T(0);
    if (begin > 0) {
      T zx[C], zy[C], px[C], py[C];
      for (int k = 0; k < C; ++k) {
        zx[k] = here[k][begin] - here[k][begin - 1];
        zy[k] = below[k][begin - 1] - here[k][begin - 1];
      }
      flux(r, begin - 1, zx, zy, px, py);
      for (int k = 0; k < C; ++k) rows.x[k][-1] = px[k];
    }
  };
  const auto visit = [](int c0, int c1, auto f) {
#pragma GCC ivdep
    for (int c = c0; c < c1; ++c) f(c);
  };
  if (t.row > 0) {
    flux_row(t.row - 1, visit);
    rows.next();
  } else {
    for (int k = 0; k < C; ++k)
      for (int c = 0; c < t.columns; ++c) rows.above[k][c] = T(0);
  }
  for (int r = t.row; r < t.row + t.rows; ++r) {
    flux_row(r, [&](int c0, int c1, auto f) {
      if constexpr (S > 0)
        of_flux.add(c0, c1, f);
      else
        visit(c0, c1, f);
    });
    const T *fx[C], *fy[C], *up[C];
    for (int k = 0; k < C; ++k) {
      fx[k] = rows.x[k] - begin;
      fy[k] = rows.y[k] - begin;
      up[k] = rows.above[k] - begin;
    }
    out([&](auto pixel) {
      of_out.add(begin, end, [=](int c) {
        T d[C];
        for (int k = 0; k < C; ++k) d[k] = (fx[k][c - 1] - fx[k][c]) + (up[k][c] - fy[k][c]);
        return pixel(r, c, d);
      });
    });
    rows.next();
  }
  if constexpr (S > 0) of_flux.total(sums);
  of_out.total(sums + S);
}

}  // namespace bilevel::kernels::BILEVEL_BACKEND
