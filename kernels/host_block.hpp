#pragma once

#include "kernels/block_types.hpp"

namespace bilevel::kernels::BILEVEL_BACKEND {

/// One thread with its scratch in L1. Loops over columns are innermost and vectorisable.
class HostBlock {
 public:
  static constexpr int tile_rows = 16;
  static constexpr int tile_columns = 128;
  static constexpr int patch_rows = 32, patch_columns = 128;  ///< tile of a body with a wide halo
  static constexpr int chunk = 4096;                          ///< elements of a vector that one block takes
  static constexpr int lanes = tile_columns + 16;
  static constexpr int scratch_bytes = 160 * 1024, most_scratch = scratch_bytes;

  explicit HostBlock(unsigned char* scratch) : scratch_(scratch) {}

  /// Bytes that scratch<T>(count) takes.
  template <class T>
  static constexpr int scratch_size(int count) {
    return (count * static_cast<int>(sizeof(T)) + 63) / 64 * 64;
  }
  /// `count` elements of scratch shared by the block, 64-byte aligned.
  template <class T>
  T* scratch(int count) {
    T* p = reinterpret_cast<T*>(scratch_ + used_);
    used_ += scratch_size<T>(count);
    return p;
  }

  /// `count` sums, zero.
  double* zeros(int count) {
    double* sums = scratch<double>(count);
    for (int k = 0; k < count; ++k) sums[k] = 0;
    return sums;
  }

  template <class F>
  void for_each(int row0, int row1, int column0, int column1, F f) {
    for (int r = row0; r < row1; ++r) {
#pragma GCC ivdep
      for (int c = column0; c < column1; ++c) f(r, c);
    }
  }

  /// Sums that run over several loops, one partial sum per column; the last M are maxima (of values >= 0).
  template <int K, int M = 0>
  struct Running {
    alignas(64) double v[K][lanes] = {};

    void add(int c, const Sums<K>& s) {
      for (int k = 0; k < K - M; ++k) v[k][c + 8] += s.v[k];
      for (int k = K - M; k < K; ++k) v[k][c + 8] = maximum(v[k][c + 8], s.v[k]);
    }
  };

  /// Joins running sums into out[0..K), leaving out columns outside [0, tile_columns): a binary tree over the
  /// columns.
  template <int K, int M>
  void join(Running<K, M>& running, double* out) {
    for (int k = 0; k < K; ++k) {
      double* a = running.v[k] + 8;
      for (int half = tile_columns / 2; half > 0; half /= 2)
        for (int c = 0; c < half; ++c) a[c] = k < K - M ? a[c] + a[c + half] : maximum(a[c], a[c + half]);
      out[k] = k < K - M ? out[k] + a[0] : maximum(out[k], a[0]);
    }
  }

  /// Adds f(r, c) over the rectangle into out[0..K-M) and joins the last M by maximum (of values >= 0),
  /// leaving out columns below zero. The order of the additions is a function of the rectangle alone: one
  /// partial sum per column, then a binary tree over the columns.
  template <int K, int M = 0, class F>
  void reduce(int row0, int row1, int column0, int column1, F f, double* out) {
    Running<K, M> running;
    for (int r = row0; r < row1; ++r) {
#pragma GCC ivdep
      for (int c = column0; c < column1; ++c) running.add(c, f(r, c));
    }
    join(running, out);
  }

  /// Adds f(k, r, c) over the rectangle into out[k], k < count. The order of the additions is that of reduce.
  template <class F>
  void reduce_each(int count, int row0, int row1, int column0, int column1, F f, double* out) {
    for (int k = 0; k < count; ++k) {
      Running<1> running;
      for (int r = row0; r < row1; ++r) {
#pragma GCC ivdep
        for (int c = column0; c < column1; ++c) running.v[0][c + 8] += f(k, r, c);
      }
      join(running, out + k);
    }
  }

  /// f(r, c, sum) over the rectangle, where sum is the correlation of `source` with a filter of S x S taps,
  /// taps[j * S + i] in row i and column j, centred at (r, c).
  template <int S, class T, class F>
  void correlate(int row0, int row1, int column0, int column1, const T* source, int pitch, const T* taps,
                 F f) {
    alignas(64) T sum[lanes];
    const int columns = column1 - column0;
    for (int r = row0; r < row1; ++r) {
      correlate_row<S>(source + (r - S / 2) * pitch + column0 - S / 2, pitch, taps, columns, sum);
#pragma GCC ivdep
      for (int c = 0; c < columns; ++c) f(r, column0 + c, sum[c]);
    }
  }

  /// f(e) for the elements [begin, begin + count) of a vector.
  template <class F>
  void for_elements(int begin, int count, F f) {
#pragma GCC ivdep
    for (int e = begin; e < begin + count; ++e) f(e);
  }

  /// Adds f(e) over [begin, begin + count) into out[0..K), in the order of reduce with rows of tile_columns
  /// elements.
  template <int K, int M = 0, class F>
  void reduce_elements(int begin, int count, F f, double* out) {
    const int rows = count / tile_columns, rest = count % tile_columns;
    reduce<K, M>(
        0, rows, 0, tile_columns, [=](int r, int c) { return f(begin + r * tile_columns + c); }, out);
    if (rest > 0)
      reduce<K, M>(
          rows, rows + 1, 0, rest, [=](int r, int c) { return f(begin + r * tile_columns + c); }, out);
  }

  /// Largest f(r, c) >= 0 over the rectangle, joined into `out`.
  template <class F>
  void largest(int row0, int row1, int column0, int column1, F f, double* out) {
    alignas(64) double acc[lanes] = {};
    for (int r = row0; r < row1; ++r) {
#pragma GCC ivdep
      for (int c = column0; c < column1; ++c) {
        const double s = f(r, c);
        acc[c + 8] = acc[c + 8] < s ? s : acc[c + 8];
      }
    }
    for (int c = 0; c < lanes; ++c) *out = maximum(*out, acc[c]);
  }

 private:
  /// A row of a correlation; `source` is the first tap's pixel. Compiled once for all that is done with it.
  template <int S, class T>
  [[gnu::noinline]] static void correlate_row(const T* source, int pitch, const T* taps, int columns,
                                              T* sum) {
    for (int c = 0; c < columns; ++c) sum[c] = T(0);
    for (int i = 0; i < S; ++i) {
      const T* row = source + i * pitch;
      T tap[S];
      for (int j = 0; j < S; ++j) tap[j] = taps[j * S + i];
#pragma GCC ivdep
      for (int c = 0; c < columns; ++c) {
        T s = tap[0] * row[c];
#pragma GCC unroll 16
        for (int j = 1; j < S; ++j) s += tap[j] * row[c + j];
        sum[c] += s;
      }
    }
  }

  unsigned char* scratch_;
  int used_ = 0;
};

/// Copies the tile with a halo of `reach` pixels to where its pixel (0,0) is `tile`. Pixels outside the image
/// repeat its edge, which makes every first difference across the border zero (Neumann).
template <int reach, class T>
inline void load_halo(HostBlock& block, const T* image, int height, int width, const Tile& t, T* tile,
                      int pitch) {
  for (int r = -reach; r < t.rows + reach; ++r) {
    const int row = minimum(maximum(t.row + r, 0), height - 1);
    const T* source = image + static_cast<long long>(row) * width + t.column;
    T* target = tile + r * pitch;
    block.for_each(0, 1, 0, t.columns, [=](int, int c) { target[c] = source[c]; });
    for (int c = 1; c <= reach; ++c) {
      target[-c] = source[-minimum(c, t.column)];
      target[t.columns - 1 + c] = source[minimum(t.columns - 1 + c, width - 1 - t.column)];
    }
  }
}

using Block = HostBlock;

}  // namespace bilevel::kernels::BILEVEL_BACKEND
