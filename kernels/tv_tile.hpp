#pragma once

// A tile of an image with its halo, and the flux field of differences on it.

#include "kernels/block.hpp"
#include "kernels/tv_model.hpp"

namespace bilevel::kernels::BILEVEL_BACKEND {

inline constexpr int pitch = Block::tile_columns + 2;
inline constexpr int halo_size = (Block::tile_rows + 2) * pitch;

/// Scratch of a body that holds `count` tiles with their halo.
template <class T>
constexpr int halos(int count) {
  return count * Block::scratch_size<T>(halo_size);
}

/// Flux field of a tile: entries (r,c) for r, c >= -1.
template <class T>
struct Flux {
  T* x;
  T* y;
  int row0, column0;  // first row and column inside the image: -1, or 0 at its upper and left border

  BILEVEL_HD Flux(Block& block, const Tile& t)
      : x(block.scratch<T>(halo_size) + pitch + 1),
        y(block.scratch<T>(halo_size) + pitch + 1),
        row0(t.row > 0 ? -1 : 0),
        column0(t.column > 0 ? -1 : 0) {
    T* fx = x;
    T* fy = y;
    if (row0 == 0) block.for_each(-1, 0, -1, t.columns, [=](int r, int c) { fy[r * pitch + c] = T(0); });
    if (column0 == 0) block.for_each(-1, t.rows, -1, 0, [=](int r, int c) { fx[r * pitch + c] = T(0); });
  }
};

template <class T>
BILEVEL_HD inline T adjoint(const T* fx, const T* fy, int r, int c) {
  const int e = r * pitch + c;
  return (fx[e - 1] - fx[e]) + (fy[e - pitch] - fy[e]);
}

/// Loads v with its halo; returns the address of pixel (0,0) of the tile.
template <class T>
BILEVEL_HD inline const T* load(Block& block, const TvModel& m, const T* v, const Tile& t) {
  T* buffer = block.scratch<T>(halo_size);
  load_halo(block, v + static_cast<long long>(t.image) * m.height * m.width, m.height, m.width, t, buffer,
            pitch);
  return buffer + pitch + 1;
}

template <class T>
BILEVEL_HD inline T dx(const T* v, int e) {
  return v[e + 1] - v[e];
}
template <class T>
BILEVEL_HD inline T dy(const T* v, int e) {
  return v[e + pitch] - v[e];
}

/// Address of pixel (0,0) of the tile inside a batch of images.
template <class T>
BILEVEL_HD inline T* at(T* batch, const TvModel& m, const Tile& t) {
  return batch ? batch + (static_cast<long long>(t.image) * m.height + t.row) * m.width + t.column : nullptr;
}
/// The same inside one image shared by the batch.
template <class T>
BILEVEL_HD inline T* at_shared(T* image, const TvModel& m, const Tile& t) {
  return image ? image + static_cast<long long>(t.row) * m.width + t.column : nullptr;
}

}  // namespace bilevel::kernels::BILEVEL_BACKEND
