#pragma once

#include "kernels/block_types.hpp"

namespace bilevel::kernels::BILEVEL_BACKEND {

inline constexpr unsigned full_warp = 0xffffffffu;

/// Sum (or, with `largest`, maximum) of one value per lane, in a fixed order; valid in lane 0.
__device__ inline double join_warp(double value, bool largest) {
  for (int offset = 16; offset > 0; offset /= 2) {
    const double other = __shfl_down_sync(full_warp, value, offset);
    value = largest ? maximum(value, other) : value + other;
  }
  return value;
}

/// 256 threads with their scratch in shared memory. Elements are dealt out in steps of the block.
class CudaBlock {
 public:
  static constexpr int threads = 256, warps = threads / 32;
  static constexpr int tile_rows = 16;
  static constexpr int tile_columns = 64;
  static constexpr int patch_rows = 32, patch_columns = 32;  ///< tile of a body with a wide halo
  static constexpr int chunk = 4096;                         ///< elements of a vector that one block takes
  static constexpr int most_sums = 24;                       ///< of one reduction
  static constexpr int most_scratch = 44 * 1024;             ///< of what a launch can have, 48 KiB

  /// What the collectives themselves keep in shared memory.
  struct Shared {
    double warp_sums[most_sums * warps];
  };

  __device__ CudaBlock(unsigned char* scratch, Shared& shared) : scratch_(scratch), shared_(shared) {}

  /// Bytes that scratch<T>(count) takes.
  template <class T>
  static constexpr int scratch_size(int count) {
    return (count * static_cast<int>(sizeof(T)) + 15) / 16 * 16;
  }
  /// `count` elements of scratch shared by the block, 16-byte aligned.
  template <class T>
  __device__ T* scratch(int count) {
    T* p = reinterpret_cast<T*>(scratch_ + used_);
    used_ += scratch_size<T>(count);
    return p;
  }

  /// `count` sums, zero.
  __device__ double* zeros(int count) {
    double* sums = scratch<double>(count);
    for (int k = static_cast<int>(threadIdx.x); k < count; k += threads) sums[k] = 0;
    __syncthreads();
    return sums;
  }

  template <class F>
  __device__ void for_each(int row0, int row1, int column0, int column1, F f) {
    visit(row0, row1, column0, column1, f);
    __syncthreads();
  }

  /// Sums that run over several loops, one partial sum per thread; the last M are maxima (of values >= 0).
  template <int K, int M = 0>
  struct Running {
    Sums<K> own = {};

    __device__ void add(int, const Sums<K>& s) { gather<K, M>(own, s); }
  };

  /// Joins running sums into out[0..K): trees over the lanes, then the warps in turn.
  template <int K, int M>
  __device__ void join(const Running<K, M>& running, double* out) {
    join<K, M>(running.own, out);
  }

  /// Adds f(r, c) over the rectangle into out[0..K-M) and joins the last M by maximum (of values >= 0),
  /// leaving out columns below zero. The order of the additions is a function of the rectangle alone: one sum
  /// per thread, then trees over the lanes, then the warps in turn.
  template <int K, int M = 0, class F>
  __device__ void reduce(int row0, int row1, int column0, int column1, F f, double* out) {
    Sums<K> own = {};
    visit(row0, row1, column0, column1, [&](int r, int c) {
      const Sums<K> s = f(r, c);
      if (c >= 0) gather<K, M>(own, s);
    });
    join<K, M>(own, out);
  }

  /// Adds f(k, r, c) over the rectangle into out[k], k < count: one warp per sum, in a fixed order.
  template <class F>
  __device__ void reduce_each(int count, int row0, int row1, int column0, int column1, F f, double* out) {
    const int lane = static_cast<int>(threadIdx.x) % 32, columns = column1 - column0;
    const int size = columns > 0 ? (row1 - row0) * columns : 0;
    for (int k = static_cast<int>(threadIdx.x) / 32; k < count; k += warps) {
      double sum = 0;
      for (int e = lane; e < size; e += 32) sum += f(k, row0 + e / columns, column0 + e % columns);
      sum = join_warp(sum, false);
      if (lane == 0) out[k] += sum;
    }
    __syncthreads();
  }

  /// f(r, c, sum) over the rectangle, where sum is the correlation of `source` with a filter of S x S taps,
  /// taps[j * S + i] in row i and column j, centred at (r, c). A thread computes four outputs below each
  /// other: S + 3 words of the image and S taps are loaded for 4 S products. Up to three rows below what the
  /// rectangle needs are read.
  template <int S, class T, class F>
  __device__ void correlate(int row0, int row1, int column0, int column1, const T* source, int pitch,
                            const T* taps, F f) {
    constexpr int outputs = 4;
    visit(0, (row1 - row0 + outputs - 1) / outputs, column0, column1, [&](int strip, int c) {
      const int r = row0 + outputs * strip;
      const T* column = source + (r - S / 2) * pitch + c - S / 2;
      T sum[outputs] = {};
#pragma unroll 1
      for (int j = 0; j < S; ++j, ++column) {
        T tap[S];
#pragma unroll
        for (int i = 0; i < S; ++i) tap[i] = taps[j * S + i];
#pragma unroll
        for (int y = 0; y < S + outputs - 1; ++y) {
          const T v = column[y * pitch];
#pragma unroll
          for (int o = 0; o < outputs; ++o)
            if (y >= o && y - o < S) sum[o] += tap[y - o] * v;
        }
      }
#pragma unroll
      for (int o = 0; o < outputs; ++o)
        if (r + o < row1) f(r + o, c, sum[o]);
    });
    __syncthreads();
  }

  /// f(e) for the elements [begin, begin + count) of a vector.
  template <class F>
  __device__ void for_elements(int begin, int count, F f) {
    for (int e = static_cast<int>(threadIdx.x); e < count; e += threads) f(begin + e);
    __syncthreads();
  }

  template <int K, int M = 0, class F>
  __device__ void reduce_elements(int begin, int count, F f, double* out) {
    Sums<K> own = {};
    for (int e = static_cast<int>(threadIdx.x); e < count; e += threads) gather<K, M>(own, f(begin + e));
    join<K, M>(own, out);
  }

  /// Largest f(r, c) >= 0 over the rectangle, joined into *out.
  template <class F>
  __device__ void largest(int row0, int row1, int column0, int column1, F f, double* out) {
    Sums<1> own = {};
    visit(row0, row1, column0, column1, [&](int r, int c) { own.v[0] = maximum(own.v[0], f(r, c)); });
    join<1, 1>(own, out);
  }

 private:
  template <int K, int M>
  __device__ static void gather(Sums<K>& own, const Sums<K>& s) {
    for (int k = 0; k < K - M; ++k) own.v[k] += s.v[k];
    for (int k = K - M; k < K; ++k) own.v[k] = maximum(own.v[k], s.v[k]);
  }

  /// Row and column of a thread's elements by one division, then by steps.
  template <class F>
  __device__ void visit(int row0, int row1, int column0, int column1, F f) {
    const int columns = column1 - column0;
    if (columns <= 0) return;
    const int row_step = threads / columns, column_step = threads - row_step * columns;
    const int thread = static_cast<int>(threadIdx.x);
    int r = row0 + thread / columns, c = column0 + thread % columns;
    while (r < row1) {
      f(r, c);
      r += row_step;
      c += column_step;
      if (c >= column1) {
        c -= columns;
        r += 1;
      }
    }
  }

  template <int K, int M>
  __device__ void join(const Sums<K>& own, double* out) {
    static_assert(K <= most_sums);
    const int thread = static_cast<int>(threadIdx.x);
#pragma unroll
    for (int k = 0; k < K; ++k) {
      const double sum = join_warp(own.v[k], k >= K - M);
      if (thread % 32 == 0) shared_.warp_sums[k * warps + thread / 32] = sum;
    }
    __syncthreads();
    if (thread < K) {
      double total = out[thread];
      for (int w = 0; w < warps; ++w) {
        const double sum = shared_.warp_sums[thread * warps + w];
        total = thread < K - M ? total + sum : maximum(total, sum);
      }
      out[thread] = total;
    }
    __syncthreads();
  }

  unsigned char* scratch_;
  Shared& shared_;
  int used_ = 0;
};

/// Copies the tile with a halo of `reach` pixels to where its pixel (0,0) is `tile`. Pixels outside the image
/// repeat its edge, which makes every first difference across the border zero (Neumann).
template <int reach, class T>
__device__ inline void load_halo(CudaBlock& block, const T* image, int height, int width, const Tile& t,
                                 T* tile, int pitch) {
  block.for_each(-reach, t.rows + reach, -reach, t.columns + reach, [=](int r, int c) {
    const int row = minimum(maximum(t.row + r, 0), height - 1);
    const int column = minimum(maximum(t.column + c, 0), width - 1);
    tile[r * pitch + c] = image[static_cast<long long>(row) * width + column];
  });
}

using Block = CudaBlock;

}  // namespace bilevel::kernels::BILEVEL_BACKEND
