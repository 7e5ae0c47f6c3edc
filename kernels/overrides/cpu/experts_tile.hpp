#pragma once

// Register-blocked correlations for the fields-of-experts kernels of the CPU. One job is a tile of pixels:
// the image around it is copied once, padding included; the responses of a group of filters go to a buffer in
// L2, from where the adjoint gathers them into the tile. No response is computed twice but those within a
// filter's radius of the tile.
//
// Every element is a chain of fused multiply-adds in the order of the taps, and one more addition per filter,
// whatever the width of the vectors: the variants with fused multiply-add (AVX2, AVX-512) agree in every bit.
// The baseline rounds products and differs from them by roundoff.

#include <type_traits>
#include <utility>

#include "kernels/launch.hpp"

namespace bilevel::kernels::BILEVEL_BACKEND {

// Accumulators held in registers: correlate_filters x 4 and adjoint_rows x 4 vectors.
#if defined(__AVX512F__)
inline constexpr int vector_bytes = 64, correlate_filters = 6, adjoint_rows = 6;
#elif defined(__AVX2__)
inline constexpr int vector_bytes = 32, correlate_filters = 3, adjoint_rows = 3;
#else
inline constexpr int vector_bytes = 16, correlate_filters = 3, adjoint_rows = 3;
#endif

/// A vector register's worth of T; `Loose` is one in memory, aligned like a T.
template <class T>
struct Simd {
  typedef T Vector __attribute__((vector_size(vector_bytes)));
  typedef T Loose __attribute__((vector_size(vector_bytes), aligned(alignof(T)), may_alias));
  static constexpr int lanes = vector_bytes / static_cast<int>(sizeof(T));
};

/// f(0), ..., f(N-1) with constants.
template <int N, class F>
[[gnu::always_inline]] inline void unroll(F f) {
  [&]<int... n>(std::integer_sequence<int, n...>) __attribute__((always_inline)) {
    (f(std::integral_constant<int, n>()), ...);
  }
  (std::make_integer_sequence<int, N>());
}

/// t_f[c] = sum_ij taps_f[i][j] x[i][c + j] for F filters and V vectors of columns c.
template <class T, int size, int F, int V>
void correlate_block(const T* x, int x_pitch, const T* taps, T* t, int t_pitch) {
  using S = Simd<T>;
  typename S::Vector sum[F][V] = {};
  for (int i = 0; i < size; ++i, x += x_pitch, taps += size)
    unroll<size>([&](auto j) __attribute__((always_inline)) {
      typename S::Vector v[V];
      unroll<V>([&](auto n) __attribute__((always_inline)) {
        v[n] = *reinterpret_cast<const typename S::Loose*>(x + j + n * S::lanes);
      });
      unroll<F>([&](auto f) __attribute__((always_inline)) {
        const T tap = taps[f * size * size + j];
        unroll<V>([&](auto n) __attribute__((always_inline)) { sum[f][n] += tap * v[n]; });
      });
    });
  unroll<F>([&](auto f) __attribute__((always_inline)) {
    unroll<V>([&](auto n) __attribute__((always_inline)) {
      *reinterpret_cast<typename S::Loose*>(t + f * t_pitch + n * S::lanes) = sum[f][n];
    });
  });
}

/// out[q][c] += scale sum_ij taps[i][j] psi[size - 1 - i + q][c + size - 1 - j] for R rows q and V vectors of
/// columns c; rows of psi outside [first, last) are zero and not read.
template <class T, int size, int R, int V>
void adjoint_block(const T* psi, int psi_pitch, int first, int last, const T* taps, T scale, T* out,
                   int out_pitch) {
  using S = Simd<T>;
  typename S::Vector sum[R][V] = {};
  unroll<size + R - 1>([&](auto s) __attribute__((always_inline)) {
    if (s < first || s >= last) return;
    const T* row = psi + s * psi_pitch;
    unroll<size>([&](auto j) __attribute__((always_inline)) {
      typename S::Vector v[V];
      unroll<V>([&](auto n) __attribute__((always_inline)) {
        v[n] = *reinterpret_cast<const typename S::Loose*>(row + j + n * S::lanes);
      });
      unroll<R>([&](auto q) __attribute__((always_inline)) {
        constexpr int i = size - 1 - s + q;
        if constexpr (i >= 0 && i < size) {
          const T tap = taps[i * size + size - 1 - j];
          unroll<V>([&](auto n) __attribute__((always_inline)) { sum[q][n] += tap * v[n]; });
        }
      });
    });
  });
  unroll<R>([&](auto q) __attribute__((always_inline)) {
    unroll<V>([&](auto n) __attribute__((always_inline)) {
      auto* o = reinterpret_cast<typename S::Loose*>(out + q * out_pitch + n * S::lanes);
      *o = *o + scale * sum[q][n];
    });
  });
}

/// f(first vector, V) for blocks of 4 and 3 vectors that cover `vectors`, and at most two more.
template <class F>
[[gnu::always_inline]] inline void vector_blocks(int vectors, F f) {
  const int threes = vectors < 4 ? 1 : vectors == 5 ? 2 : 4 - ((vectors - 1) % 4 + 1);
  int v = 0;
  for (; v + 3 * threes < vectors; v += 4) f(v, std::integral_constant<int, 4>());
  for (int k = 0; k < threes; ++k, v += 3) f(v, std::integral_constant<int, 3>());
}

/// Rows (or columns) of a tile: its pixels, those outside the image that reflect into it, the responses that
/// read any of these, and the responses that it counts. Response r reads pixels r - offset + [0, size).
struct Span {
  int begin, end;
  int outer_begin, outer_end;
  int response_begin, response_end;
  int own_begin, own_end;
  int offset;

  Span(int first, int count, int length, int size, Padding padding)
      : begin(first), end(first + count), offset(padding == Padding::symmetric ? size / 2 : 0) {
    const int responses = length - (size - 1) + 2 * offset;
    outer_begin = begin == 0 ? -offset : begin;
    outer_end = end == length ? end + offset : end;
    response_begin = maximum(outer_begin + offset - size + 1, 0);
    response_end = minimum(outer_end + offset, responses);
    own_begin = begin;
    own_end = minimum(end, responses);
  }
  /// The first response that the adjoint at outer_begin reads.
  int origin(int size) const { return outer_begin + offset - size + 1; }
};

/// Largest length of tiles of at most `limit` that cover `length` evenly and leave no last one shorter than
/// what reflects into it.
inline int tile_length(int length, int limit, int size) {
  const int tiles = (length + limit - 1) / limit;
  int tile = (length + tiles - 1) / tiles;
  while (length % tile != 0 && length % tile < size / 2) --tile;
  return tile;
}

/// Pixel that r stands for under half-sample symmetric padding.
inline int reflected(int r, int length) { return r < 0 ? -1 - r : (r >= length ? 2 * length - 1 - r : r); }

/// A tile of one image with what it takes to correlate and to gather adjoints. Buffers of a thread: 600 KB.
template <class T, int size>
struct ExpertsTile {
  static constexpr int radius = size / 2;
  static constexpr int group = 6;  ///< filters whose responses are kept at a time
  static constexpr int most_rows = 48;
  static constexpr int most_responses = 128;  ///< in a row
  static constexpr int pad = vector_bytes / static_cast<int>(sizeof(T));
  static constexpr int t_pitch = most_responses;
  static constexpr int x_pitch = 144, psi_pitch = 160, out_pitch = 144;
  static constexpr int psi_rows = most_rows + 2 * radius;
  static constexpr int psi_plane = psi_rows * psi_pitch;

  static int tile_rows(int height) { return tile_length(height, most_rows, size); }
  static int tile_columns(int width) {
    return width <= most_responses ? width : tile_length(width, most_responses - 2 * radius, size);
  }

  int height, width;
  Span rows, columns;
  int lead;       ///< zeros to the left of the responses in a row of psi
  int responses;  ///< in a row
  alignas(64) T x[(psi_rows + 2 * radius) * x_pitch + 32];
  alignas(64) T psi[group * psi_plane + 32];
  alignas(64) T out[(psi_rows + adjoint_rows) * out_pitch + 32];

  ExpertsTile(const ExpertsModel<T>& m, const Tile& t)
      : height(m.height),
        width(m.width),
        rows(t.row, t.rows, m.height, size, m.padding),
        columns(t.column, t.columns, m.width, size, m.padding),
        lead(columns.response_begin - columns.origin(size)),
        responses(columns.response_end - columns.response_begin) {
    for (int e = 0; e < (rows.outer_end - rows.outer_begin + adjoint_rows) * out_pitch; ++e) out[e] = T(0);
    for (int f = 0; f < group; ++f)
      for (int r = rows.response_begin; r < rows.response_end; ++r) {
        T* p = psi + f * psi_plane + (r - rows.response_begin) * psi_pitch;
        for (int c = 0; c < lead; ++c) p[c] = T(0);
        for (int c = lead + responses; c < psi_pitch; ++c) p[c] = T(0);
      }
  }

  /// Copies the pixels that the responses read from `image` into `buffer`.
  void load(const T* image, T* buffer) const {
    const int first = columns.response_begin - columns.offset, last = first + responses + size - 1;
    const int inner_first = maximum(first, 0), inner_last = minimum(last, width);
    for (int r = rows.response_begin; r < rows.response_end + size - 1; ++r, buffer += x_pitch) {
      const T* source = image + static_cast<long long>(reflected(r - rows.offset, height)) * width;
      for (int c = first; c < inner_first; ++c) buffer[c - first] = source[reflected(c, width)];
      for (int c = inner_first; c < inner_last; ++c) buffer[c - first] = source[c];
      for (int c = inner_last; c < last; ++c) buffer[c - first] = source[reflected(c, width)];
      for (int c = last - first; c < x_pitch; ++c) buffer[c] = T(0);
    }
  }

  /// t_f = responses of filters taps_f, f < count, in row r; whole vectors are written.
  void correlate(const T* buffer, int r, const T* taps, int count, T* t) const {
    constexpr int F = correlate_filters;
    const T* source = buffer + (r - rows.response_begin) * x_pitch;
    const auto blocks = [&](auto filters, int f) __attribute__((always_inline)) {
      vector_blocks(
          whole() / pad, [&](int v, auto vectors) __attribute__((always_inline)) {
            correlate_block<T, size, filters, vectors>(source + v * pad, x_pitch, taps + f * size * size,
                                                       t + f * t_pitch + v * pad, t_pitch);
          });
    };
    int f = 0;
    for (; f + F <= count; f += F) blocks(std::integral_constant<int, F>(), f);
    if (F > 3 && f + 3 <= count) {
      blocks(std::integral_constant<int, 3>(), f);
      f += 3;
    }
    for (; f < count; ++f) blocks(std::integral_constant<int, 1>(), f);
  }

  /// Responses that fill whole vectors; those beyond `responses` are of no account.
  int whole() const { return (responses + pad - 1) / pad * pad; }
  /// Zeros what whole vectors wrote beyond the responses.
  void clear_tail(T* psi_row) const {
    for (int c = responses; c < whole(); ++c) psi_row[c] = T(0);
  }
  /// Row r of the f-th filter's psi, at the first response.
  T* psi_row(int f, int r) { return psi + f * psi_plane + (r - rows.response_begin) * psi_pitch + lead; }

  /// out += scale C^T psi_f.
  void adjoint(int f, const T* taps, T scale) {
    const int outer = columns.outer_end - columns.outer_begin;
    for (int e = rows.outer_begin; e < rows.outer_end; e += adjoint_rows) {
      const int from = e + rows.offset - size + 1;  // the first response that row e reads
      const int first = maximum(rows.response_begin - from, 0), last = rows.response_end - from;
      const T* source = psi + f * psi_plane + (from - rows.response_begin) * psi_pitch;
      T* target = out + (e - rows.outer_begin) * out_pitch;
      vector_blocks((outer + pad - 1) / pad, [&](int v, auto vectors) __attribute__((always_inline)) {
        adjoint_block<T, size, adjoint_rows, vectors>(source + v * pad, psi_pitch, first, last, taps, scale,
                                                      target + v * pad, out_pitch);
      });
    }
  }

  /// Adds what lies outside the image to the pixels that it reflects; rows first.
  void fold() {
    const int outer = columns.outer_end - columns.outer_begin;
    for (int r = rows.outer_begin; r < rows.outer_end; ++r) {
      if (r == rows.begin) r = rows.end;
      if (r == rows.outer_end) break;
      const T* from = out_row(r);
      T* to = out_row(reflected(r, height));
      for (int c = 0; c < outer; ++c) to[c] += from[c];
    }
    for (int r = rows.begin; r < rows.end; ++r) {
      T* row = out_row(r) - columns.outer_begin;
      for (int c = columns.outer_begin; c < columns.begin; ++c) row[reflected(c, width)] += row[c];
      for (int c = columns.end; c < columns.outer_end; ++c) row[reflected(c, width)] += row[c];
    }
  }
  /// Row r of the gathered adjoints, at column outer_begin.
  T* out_row(int r) { return out + (r - rows.outer_begin) * out_pitch; }

  /// out = sum_k scale(k) C_k^T psi_k; point(k, r, t, psi) maps a row of responses to a row of psi.
  template <class Scale, class Point>
  void filtered(const ExpertsModel<T>& m, const T* image, Scale scale, Point point) {
    alignas(64) T t[group * t_pitch];
    load(image, x);
    for (int k = 0; k < m.filters; k += group) {
      const int count = minimum(group, m.filters - k);
      const T* taps = m.taps + k * size * size;
      for (int r = rows.response_begin; r < rows.response_end; ++r) {
        correlate(x, r, taps, count, t);
        for (int f = 0; f < count; ++f) point(k + f, r, t + f * t_pitch, psi_row(f, r));
      }
      for (int f = 0; f < count; ++f) adjoint(f, taps + f * size * size, scale(k + f));
    }
    fold();
  }
};

/// f(size) with the filters' size as a constant.
template <class T, class F>
void with_size(const ExpertsModel<T>& m, F f) {
  switch (m.size) {
    case 3:
      return f(std::integral_constant<int, 3>());
    case 5:
      return f(std::integral_constant<int, 5>());
    case 7:
      return f(std::integral_constant<int, 7>());
    case 9:
      return f(std::integral_constant<int, 9>());
    default:
      return f(std::integral_constant<int, 11>());
  }
}

/// S sums over the rows of a tile, in one accumulator per column.
template <int S>
struct ColumnSums {
  static constexpr int width = 128;
  alignas(64) double sum[S][width] = {};

  /// Sums over columns in a binary tree.
  void total(double* out) {
    for (int s = 0; s < S; ++s) {
      for (int half = width / 2; half > 0; half /= 2)
        for (int c = 0; c < half; ++c) sum[s][c] += sum[s][c + half];
      out[s] += sum[s][0];
    }
  }
};

}  // namespace bilevel::kernels::BILEVEL_BACKEND
