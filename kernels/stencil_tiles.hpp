#pragma once

// Stencils on tiles of an image: the tile with its halo, fluxes on it and around it.

#include "kernels/stencils.hpp"

namespace bilevel::kernels::BILEVEL_BACKEND {

/// The tiles of a body that keeps `count` of them with their halo: as wide as scratch has room for. Pixel
/// (0,0) is `origin` elements from the start.
template <class T, class S, int count>
struct Geometry {
  static constexpr int bytes(int columns) {
    return count * Block::scratch_size<T>((Block::tile_rows + 2 * S::reach) * (columns + 2 * S::reach));
  }
  static constexpr int widest() {
    int columns = Block::tile_columns;
    while (columns > 8 && bytes(columns) > Block::most_scratch) columns /= 2;
    return columns;
  }
  static constexpr int columns = widest();
  static constexpr int rows = Block::tile_rows, pitch = columns + 2 * S::reach;
  static constexpr int size = (rows + 2 * S::reach) * pitch;
  static constexpr int origin = S::reach * (pitch + 1);
  static constexpr int scratch = bytes(columns);
  static_assert(scratch <= Block::most_scratch);

  BILEVEL_HD static T* tile(Block& block) { return block.scratch<T>(size) + origin; }
};

/// Address of pixel (0,0) of the tile in channel `k` of its image, in a batch of C channels; null stays null.
template <int C, class T>
BILEVEL_HD inline T* plane_at(T* batch, const AnalysisModel& m, const Tile& t, int k) {
  return batch ? batch + ((static_cast<long long>(t.image) * C + k) * m.height + t.row) * m.width + t.column
               : nullptr;
}
/// The same inside one image shared by the batch.
template <class T>
BILEVEL_HD inline T* at_shared(T* image, const AnalysisModel& m, const Tile& t) {
  return image ? image + static_cast<long long>(t.row) * m.width + t.column : nullptr;
}

/// The pixels of a tile, and those around it inside the image, whose fluxes K^T takes.
template <class S>
struct Span {
  int row0, row1, column0, column1;

  BILEVEL_HD Span(const AnalysisModel& m, const Tile& t)
      : row0(S::reach > 0 && t.row > 0 ? -1 : 0),
        row1(t.row + t.rows < m.height ? t.rows + S::after : t.rows),
        column0(S::reach > 0 && t.column > 0 ? -1 : 0),
        column1(t.column + t.columns < m.width ? t.columns + S::after : t.columns) {}
};

/// The channels of the tile's image with their halo.
template <class T, class K, class G>
struct Halo {
  using S = typename K::Differences;
  const T* v[K::channels];

  BILEVEL_HD Halo(Block& block, const AnalysisModel& m, const T* batch, const Tile& t) {
    for (int k = 0; k < K::channels; ++k) {
      T* tile = G::tile(block);
      const long long plane = static_cast<long long>(t.image) * K::channels + k;
      load_halo<S::reach>(block, batch + plane * m.height * m.width, m.height, m.width, t, tile, G::pitch);
      v[k] = tile;
    }
  }
  BILEVEL_PIXEL void differences(int e, T (&z)[K::components]) const {
    unrolled<K::channels>([&](auto k) BILEVEL_PIXEL_LAMBDA {
      T own[S::directions];
      S::forward(v[k], e, G::pitch, own);
      unrolled<S::directions>([&](auto d) BILEVEL_PIXEL_LAMBDA { z[d * K::channels + k] = own[d]; });
    });
  }
};

/// `count` arrays on a tile and around it, zero outside the image.
template <class T, class S, class G, int count = S::directions>
struct Flux {
  T* f[count];

  BILEVEL_HD Flux(Block& block, const AnalysisModel& m, const Tile& t) {
    for (int d = 0; d < count; ++d) f[d] = G::tile(block);
    clear_outside(block, m, t);
  }
  BILEVEL_HD void clear_outside(Block& block, const AnalysisModel& m, const Tile& t) const {
    if constexpr (S::reach > 0) {
      const Flux own = *this;
      const auto clear = [own](int r, int c) {
        BILEVEL_UNROLL
        for (int d = 0; d < count; ++d) own.f[d][r * G::pitch + c] = T(0);
      };
      const int rows = t.rows + S::after, columns = t.columns + S::after;
      if (t.row == 0) block.for_each(-1, 0, -1, columns, clear);
      if (t.column == 0) block.for_each(-1, rows, -1, 0, clear);
      if (S::after > 0 && t.row + t.rows == m.height) block.for_each(t.rows, rows, -1, columns, clear);
      if (S::after > 0 && t.column + t.columns == m.width)
        block.for_each(-1, rows, t.columns, columns, clear);
    }
  }
  BILEVEL_PIXEL T adjoint(int e, const Edges& g) const {
    const T* field[S::directions];
    BILEVEL_UNROLL
    for (int d = 0; d < S::directions; ++d) field[d] = f[d];
    return S::adjoint(field, e, G::pitch, g);
  }
};

/// f(r, c) over the span outside the tile, then over the tile and what is to its left; the second with sums
/// unless Q = 0.
template <int Q, class S, class F>
BILEVEL_HD inline void visit_span(Block& block, const Tile& t, const Span<S>& span, F f,
                                  [[maybe_unused]] double* partial) {
  const auto visit = [=](int r, int c) BILEVEL_PIXEL_LAMBDA { f(r, c); };
  if (span.row0 < 0) block.for_each(span.row0, 0, span.column0, span.column1, visit);
  if (span.row1 > t.rows) block.for_each(t.rows, span.row1, span.column0, span.column1, visit);
  if (span.column1 > t.columns) block.for_each(0, t.rows, t.columns, span.column1, visit);
  if constexpr (Q > 0)
    block.template reduce<Q>(0, t.rows, span.column0, t.columns, f, partial);
  else
    block.for_each(0, t.rows, span.column0, t.columns, visit);
}

}  // namespace bilevel::kernels::BILEVEL_BACKEND
