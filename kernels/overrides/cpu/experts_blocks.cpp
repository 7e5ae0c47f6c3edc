// The correlations of experts_blocks.hpp: loops over registers that compilers do not find by themselves.

#include "kernels/overrides/cpu/experts_blocks.hpp"

namespace bilevel::kernels::BILEVEL_BACKEND::blocked {
namespace {

// Accumulators held in registers: `filters` x 4 vectors of columns, `adjoint_rows` x 4.
#if defined(__AVX512F__)
constexpr int vector_bytes = 64, correlate_filters = 6, adjoint_rows = 6;
#else
constexpr int vector_bytes = 32, correlate_filters = 3, adjoint_rows = 3;
#endif

/// A vector register of T; `Loose` is one in memory, aligned like a T.
template <class T>
struct Simd {
  typedef T Vector __attribute__((vector_size(vector_bytes)));
  typedef T Loose __attribute__((vector_size(vector_bytes), aligned(alignof(T)), may_alias));
  static constexpr int lanes = vector_bytes / static_cast<int>(sizeof(T));
};

#define BILEVEL_INLINE __attribute__((always_inline))

/// f(0), ..., f(N-1) with constants.
template <int N, class F>
[[gnu::always_inline]] inline void unroll(F f) {
  [&]<int... n>(std::integer_sequence<int, n...>) BILEVEL_INLINE {
    (f(std::integral_constant<int, n>()), ...);
  }
  (std::make_integer_sequence<int, N>());
}

/// t_f[c] = sum_ij taps_f[i][j] x[i][c + j] for F filters and V vectors of columns c.
template <class T, int size, int F, int V>
[[gnu::noinline]] void correlate_block(const T* x, int x_pitch, const T* taps, T* t, int t_pitch) {
  using S = Simd<T>;
  typename S::Vector sum[F][V] = {};
  for (int i = 0; i < size; ++i, x += x_pitch)
    for (int j = 0; j < size; ++j, ++taps) {
      typename S::Vector v[V];
      unroll<V>([&](auto n) BILEVEL_INLINE {
        v[n] = *reinterpret_cast<const typename S::Loose*>(x + j + n * S::lanes);
      });
      unroll<F>([&](auto f) BILEVEL_INLINE {
        const T tap = taps[f * size * size];
        unroll<V>([&](auto n) BILEVEL_INLINE { sum[f][n] += tap * v[n]; });
      });
    }
  unroll<F>([&](auto f) BILEVEL_INLINE {
    unroll<V>([&](auto n) BILEVEL_INLINE {
      *reinterpret_cast<typename S::Loose*>(t + f * t_pitch + n * S::lanes) = sum[f][n];
    });
  });
}

/// out[q][c] += scale sum_ij taps[i][j] field[size - 1 - i + q][c + size - 1 - j] for R rows q and V vectors
/// of columns c; rows of the field outside [first, last) are zero and not read.
template <class T, int size, int R, int V>
[[gnu::noinline]] void adjoint_block(const T* field, int field_pitch, int first, int last, const T* taps,
                                     T scale, T* out, int out_pitch) {
  using S = Simd<T>;
  typename S::Vector sum[R][V] = {};
  unroll<size + R - 1>([&](auto s) BILEVEL_INLINE {
    if (s < first || s >= last) return;
    const T* row = field + s * field_pitch;
    for (int j = 0; j < size; ++j) {
      typename S::Vector v[V];
      unroll<V>([&](auto n) BILEVEL_INLINE {
        v[n] = *reinterpret_cast<const typename S::Loose*>(row + j + n * S::lanes);
      });
      unroll<R>([&](auto q) BILEVEL_INLINE {
        constexpr int i = size - 1 - s + q;
        if constexpr (i >= 0 && i < size) {
          const T tap = taps[i * size + size - 1 - j];
          unroll<V>([&](auto n) BILEVEL_INLINE { sum[q][n] += tap * v[n]; });
        }
      });
    }
  });
  unroll<R>([&](auto q) BILEVEL_INLINE {
    unroll<V>([&](auto n) BILEVEL_INLINE {
      auto* o = reinterpret_cast<typename S::Loose*>(out + q * out_pitch + n * S::lanes);
      *o = *o + scale * sum[q][n];
    });
  });
}

/// sum_f,j += sum x[r][c + j] field_f[r][c] over `rows` rows and columns c of lanes `lane` + [0, S::lanes) of
/// 64 bytes.
template <class T, int size, int F>
[[gnu::noinline]] void patch_block(const T* x, int x_pitch, const T* fields, int field_pitch, int row_pitch,
                                   int rows, int columns, double* sum, int sum_pitch) {
  using S = Simd<T>;
  constexpr int step = 64 / static_cast<int>(sizeof(T));
  typename S::Vector part[F][size] = {};
  for (int r = 0; r < rows; ++r, x += x_pitch, fields += row_pitch)
    for (int c = 0; c < columns; c += step) {
      typename S::Vector field[F];
      unroll<F>([&](auto f) BILEVEL_INLINE {
        field[f] = *reinterpret_cast<const typename S::Loose*>(fields + f * field_pitch + c);
      });
      unroll<size>([&](auto j) BILEVEL_INLINE {
        const typename S::Vector v = *reinterpret_cast<const typename S::Loose*>(x + c + j);
        unroll<F>([&](auto f) BILEVEL_INLINE { part[f][j] += v * field[f]; });
      });
    }
  unroll<F>([&](auto f) BILEVEL_INLINE {
    unroll<size>([&](auto j) BILEVEL_INLINE {
      double* lane = sum + f * sum_pitch + j * step;
      for (int l = 0; l < S::lanes; ++l) lane[l] += double(part[f][j][l]);
    });
  });
}

#undef BILEVEL_INLINE

/// f(first vector, V) for blocks of 4 and 3 vectors that cover `vectors`, and at most two more.
template <class F>
void vector_blocks(int vectors, F f) {
  const int threes = vectors < 4 ? 1 : vectors == 5 ? 2 : 4 - ((vectors - 1) % 4 + 1);
  int v = 0;
  for (; v + 3 * threes < vectors; v += 4) f(v, std::integral_constant<int, 4>());
  for (int k = 0; k < threes; ++k, v += 3) f(v, std::integral_constant<int, 3>());
}

}  // namespace

template <class T, int size>
void Blocks<T, size>::load(const T* image, Image& buffer) const {
  const int first = columns.response_begin - columns.offset, last = first + responses + size - 1;
  const int inner_first = maximum(first, 0), inner_last = minimum(last, width);
  T* to = buffer.v;
  for (int r = rows.response_begin; r < rows.response_end + size - 1; ++r, to += image_pitch) {
    const T* from = image + static_cast<long long>(mirrored(r - rows.offset, height)) * width;
    for (int c = first; c < inner_first; ++c) to[c - first] = from[mirrored(c, width)];
    for (int c = inner_first; c < inner_last; ++c) to[c - first] = from[c];
    for (int c = inner_last; c < last; ++c) to[c - first] = from[mirrored(c, width)];
    for (int c = last - first; c < image_pitch; ++c) to[c] = T(0);
  }
}

template <class T, int size>
void Blocks<T, size>::clear(Field& field) const {
  T* v = field.v;
  for (int r = rows.response_begin; r < rows.response_end; ++r, v += field_pitch) {
    for (int c = 0; c < lead; ++c) v[c] = T(0);
    for (int c = lead + responses; c < field_pitch; ++c) v[c] = T(0);
  }
}

template <class T, int size>
void Blocks<T, size>::clear(Gathered& sum) const {
  const int count = (rows.outer_end - rows.outer_begin + adjoint_rows) * sum_pitch;
  for (int e = 0; e < count; ++e) sum.v[e] = T(0);
}

template <class T, int size>
void Blocks<T, size>::correlate(const Image& image, int r, const T* filters, int count, Rows& out) const {
  constexpr int F = correlate_filters, lanes = Simd<T>::lanes;
  const T* from = image.v + (r - rows.response_begin) * image_pitch;
  const auto blocks = [&](auto many, int f) {
    vector_blocks((responses + lanes - 1) / lanes, [&](int v, auto vectors) {
      correlate_block<T, size, many, vectors>(from + v * lanes, image_pitch, filters + f * taps,
                                              out.v[f] + v * lanes, most_responses);
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

template <class T, int size>
void Blocks<T, size>::adjoint(const Field& field, const T* filter, T scale, Gathered& sum) const {
  constexpr int lanes = Simd<T>::lanes;
  const int outer = columns.outer_end - columns.outer_begin;
  for (int e = rows.outer_begin; e < rows.outer_end; e += adjoint_rows) {
    const int from = e + rows.offset - size + 1;  // the first response that reads row e
    const int first = maximum(rows.response_begin - from, 0), last = rows.response_end - from;
    const T* source = field.v + (from - rows.response_begin) * field_pitch;
    T* target = sum.v + (e - rows.outer_begin) * sum_pitch;
    vector_blocks((outer + lanes - 1) / lanes, [&](int v, auto vectors) {
      adjoint_block<T, size, adjoint_rows, vectors>(source + v * lanes, field_pitch, first, last, filter,
                                                    scale, target + v * lanes, sum_pitch);
    });
  }
}

template <class T, int size>
void Blocks<T, size>::add_patches(const Image& image, int r, int count, const Strip& fields,
                                  PatchSums& sum) const {
  constexpr int F = size > 9 ? 2 : 3;
  const T* from = image.v + (r - rows.response_begin) * image_pitch;
  for (int f = 0; f < group; f += F)
    for (int i = 0; i < size; ++i)
      for (int lane = 0; lane < PatchSums::lanes; lane += Simd<T>::lanes)
        patch_block<T, size, F>(from + i * image_pitch + lane, image_pitch, fields.v[f][0] + lane,
                                Strip::rows * most_responses, most_responses, count, responses,
                                sum.v[f][i * size] + lane, taps * PatchSums::lanes);
}

template <class T, int size>
void Blocks<T, size>::fold(Gathered& sum) const {
  const auto row_of = [&](int r) { return sum.v + (r - rows.outer_begin) * sum_pitch; };
  const auto add_row = [&](int r) {
    T *from = row_of(r), *to = row_of(mirrored(r, height));
    for (int c = 0; c < columns.outer_end - columns.outer_begin; ++c) to[c] += from[c];
  };
  for (int r = rows.outer_begin; r < rows.begin; ++r) add_row(r);
  for (int r = rows.end; r < rows.outer_end; ++r) add_row(r);
  for (int r = rows.begin; r < rows.end; ++r) {
    T* v = row_of(r) - columns.outer_begin;
    for (int c = columns.outer_begin; c < columns.begin; ++c) v[mirrored(c, width)] += v[c];
    for (int c = columns.end; c < columns.outer_end; ++c) v[mirrored(c, width)] += v[c];
  }
}

template struct Blocks<float, 3>;
template struct Blocks<float, 5>;
template struct Blocks<float, 7>;
template struct Blocks<float, 9>;
template struct Blocks<float, 11>;
template struct Blocks<double, 3>;
template struct Blocks<double, 5>;
template struct Blocks<double, 7>;
template struct Blocks<double, 9>;
template struct Blocks<double, 11>;

}  // namespace bilevel::kernels::BILEVEL_BACKEND::blocked
