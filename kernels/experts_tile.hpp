#pragma once

#include "kernels/experts_args.hpp"
#include "kernels/launch.hpp"

// What the fields-of-experts bodies share. A response belongs to the pixel in
// the centre of its neighbourhood: with `symmetric` padding every pixel has one, with `valid` padding those
// at least R = (size-1)/2 away from the edge. Coordinates are relative to the tile of a block.

namespace bilevel::kernels::BILEVEL_BACKEND {

/// A tile of one channel of an image.
struct ChannelTile : Tile {
  int channel;  // counted over the batch
};

/// A body on images of several channels, launched as one image with the channels below each other, each made
/// up to whole tiles, so that sums are those of all channels.
template <class Body>
struct Stacked : Body {
  int tile_rows;

  BILEVEL_HD static int stacked_rows(int height, int tile_rows) {
    return (height + tile_rows - 1) / tile_rows * tile_rows;
  }
  BILEVEL_HD void operator()(Block& block, const Tile& t, double* partial) const {
    const int height = this->a.model.height, each = stacked_rows(height, tile_rows), row = t.row % each;
    Body::operator()(
        block,
        ChannelTile{{t.image, row, t.column, minimum(height - row, tile_rows), t.columns, t.plane},
                    t.image * this->a.model.channels + t.row / each},
        partial);
  }
};

/// Every tile of every channel and plane once.
template <class Body, class Args>
void launch_channels(const Stream& stream, const Args& a, const Body& body, int tile_rows, int tile_columns,
                     int planes) {
  // As stacked_rows(), which is for the device alone.
  const int channels = a.model.channels, each = (a.model.height + tile_rows - 1) / tile_rows * tile_rows;
  launch_grid(stream, a.active, channels == 1 ? a.model.height : channels * each, a.model.width, tile_rows,
              tile_columns, Stacked<Body>{body, tile_rows}, planes);
}

struct Region {
  int row0, row1, column0, column1;
};

template <class T>
BILEVEL_HD inline Region image_region(const ExpertsModel<T>& m, const ChannelTile& t) {
  return {-t.row, m.height - t.row, -t.column, m.width - t.column};
}

/// Responses at most `halo` away from the tile.
template <int S, class T>
BILEVEL_HD inline Region responses(const ExpertsModel<T>& m, const ChannelTile& t, int halo) {
  const int edge = m.padding == Padding::valid ? S / 2 : 0;
  return {maximum(-halo, edge - t.row), minimum(t.rows + halo, m.height - edge - t.row),
          maximum(-halo, edge - t.column), minimum(t.columns + halo, m.width - edge - t.column)};
}

/// Address of pixel (0,0) of the tile inside a batch of images.
template <class T, class V>
BILEVEL_HD inline V* pixels_at(V* batch, const ExpertsModel<T>& m, const ChannelTile& t) {
  return batch + (static_cast<long long>(t.channel) * m.height + t.row) * m.width + t.column;
}
/// And inside an image that all channels share, null for none.
template <class T>
BILEVEL_HD inline const T* sampling_at(const T* sampling, const ExpertsModel<T>& m, const ChannelTile& t) {
  return sampling ? sampling + static_cast<long long>(t.row) * m.width + t.column : nullptr;
}

/// The responses of filter k inside maps [N][C][K][H][W], by the coordinates of their pixels.
template <class V>
struct ResponseMap {
  V* first;  // of the tile's first pixel, had the map one response per pixel
  int width, edge;

  template <class T>
  BILEVEL_HD ResponseMap(V* maps, const ExpertsModel<T>& m, const ChannelTile& t, int k)
      : first(maps + (static_cast<long long>(t.channel * m.filters + k) * m.height + t.row) * m.width +
              t.column),
        width(m.width),
        edge(m.padding == Padding::valid ? m.size / 2 : 0) {}
  BILEVEL_HD V& operator()(int r, int c) const { return first[(r - edge) * width + c - edge]; }
};

/// Row or column i of an image of n, reflected about the edges (half-sample symmetric). Further out than one
/// image: the edge, which nothing reads.
BILEVEL_HD inline int reflected(int i, int n) {
  i = i < 0 ? -1 - i : (i >= n ? 2 * n - 1 - i : i);
  return minimum(maximum(i, 0), n - 1);
}

/// Scratch for a tile of `rows` x `columns` pixels with a halo, and `spare` rows below for collectives that
/// read beyond it.
template <class T, int rows, int columns, int halo, int spare = 0>
struct Plane {
  static constexpr int pitch = columns + 2 * halo, size = (rows + 2 * halo + spare) * pitch;
  static constexpr int bytes = Block::scratch_size<T>(size);
  T* origin;

  BILEVEL_HD explicit Plane(Block& block) : origin(block.scratch<T>(size) + halo * (pitch + 1)) {}

  BILEVEL_HD void zero(Block& block) const {
    T* first = origin - halo * (pitch + 1);
    block.for_elements(0, size, [=](int e) { first[e] = T(0); });
  }
  /// The tile of the image with its halo, reflected.
  BILEVEL_HD void load(Block& block, const ExpertsModel<T>& m, const T* batch, const ChannelTile& t) const {
    const T* image = batch + static_cast<long long>(t.channel) * m.height * m.width;
    T* target = origin;
    const int height = m.height, width = m.width, row = t.row, column = t.column;
    block.for_each(-halo, t.rows + halo, -halo, t.columns + halo, [=](int r, int c) {
      target[r * pitch + c] =
          image[static_cast<long long>(reflected(row + r, height)) * width + reflected(column + c, width)];
    });
  }
};

/// The taps of one filter by columns, and those of its adjoint.
template <class T, int S>
struct Taps {
  static constexpr int bytes = 2 * Block::scratch_size<T>(S * S);
  T* forward;
  T* flipped;

  BILEVEL_HD explicit Taps(Block& block)
      : forward(block.scratch<T>(S * S)), flipped(block.scratch<T>(S * S)) {}

  BILEVEL_HD void load(Block& block, const T* filters, int k) const {
    const T* source = filters + k * S * S;
    T *f = forward, *b = flipped;
    block.for_elements(0, S * S, [=](int e) {
      const int place = e % S * S + e / S;
      f[place] = b[S * S - 1 - place] = source[e];
    });
  }
};

/// f(r, c, (C s)(r, c)) for the responses of a region.
template <int S, class P, class T, class F>
BILEVEL_HD inline void correlate(Block& block, const Region& g, const P& source, const T* taps, F f) {
  block.template correlate<S>(g.row0, g.row1, g.column0, g.column1, source.origin, P::pitch, taps, f);
}

/// out += C^T field on the tile. With `symmetric` padding C is a correlation of the reflected image, so C^T
/// adds what the adjoint correlation gives at the reflections of a pixel, on the field without reflection.
template <class T, int S, class Field, class Out>
struct Adjoint {
  static constexpr int R = S / 2;
  const T* field;
  const T* taps;  // flipped
  T* out;
  Region image;

  BILEVEL_HD Adjoint(const Field& f, const Taps<T, S>& filter, const Out& sum, const ExpertsModel<T>& m,
                     const ChannelTile& t)
      : field(f.origin), taps(filter.flipped), out(sum.origin), image(image_region(m, t)) {}

  /// The adjoint correlation at (r, c), which may be outside the image, of the responses inside it.
  BILEVEL_HD T around(int r, int c) const {
    const int i0 = maximum(0, image.row0 - r + R), i1 = minimum(S, image.row1 - r + R);
    const int j0 = maximum(0, image.column0 - c + R), j1 = minimum(S, image.column1 - c + R);
    T sum = T(0);
    for (int j = j0; j < j1; ++j)
      for (int i = i0; i < i1; ++i) sum += taps[j * S + i] * field[(r + i - R) * Field::pitch + c + j - R];
    return sum;
  }
  BILEVEL_HD int left_of(int c) const { return 2 * image.column0 - 1 - c; }
  BILEVEL_HD int right_of(int c) const { return 2 * image.column1 - 1 - c; }

  /// Adds what the rows [row0, row1) get from their reflections, in the row mirror - r.
  BILEVEL_HD void add_rows(Block& block, int row0, int row1, int columns, int mirror) const {
    if (row0 >= row1) return;
    const Adjoint a = *this;
    block.for_each(row0, row1, 0, columns, [=](int r, int c) {
      T sum = a.around(mirror - r, c);
      if (c < a.image.column0 + R) sum += a.around(mirror - r, a.left_of(c));
      if (c >= a.image.column1 - R) sum += a.around(mirror - r, a.right_of(c));
      a.out[r * Out::pitch + c] += sum;
    });
  }
  BILEVEL_HD void add_columns(Block& block, int rows, int column0, int column1, int mirror) const {
    if (column0 >= column1) return;
    const Adjoint a = *this;
    block.for_each(0, rows, column0, column1,
                   [=](int r, int c) { a.out[r * Out::pitch + c] += a.around(r, mirror - c); });
  }
};

template <int S, class T, class Field, class Out>
BILEVEL_HD inline void add_adjoint(Block& block, const ExpertsModel<T>& m, const ChannelTile& t,
                                   const Field& field, const Taps<T, S>& taps, const Out& out) {
  T* sum = out.origin;
  block.template correlate<S>(0, t.rows, 0, t.columns, field.origin, Field::pitch, taps.flipped,
                              [=](int r, int c, T s) { sum[r * Out::pitch + c] += s; });
  if (m.padding != Padding::symmetric) return;
  const Adjoint<T, S, Field, Out> a(field, taps, out, m, t);
  constexpr int R = S / 2;
  const Region g = a.image;
  a.add_rows(block, 0, minimum(t.rows, g.row0 + R), t.columns, 2 * g.row0 - 1);
  a.add_rows(block, maximum(0, g.row1 - R), t.rows, t.columns, 2 * g.row1 - 1);
  a.add_columns(block, t.rows, 0, minimum(t.columns, g.column0 + R), 2 * g.column0 - 1);
  a.add_columns(block, t.rows, maximum(0, g.column1 - R), t.columns, 2 * g.column1 - 1);
}

/// f(rho) with the potential of filter k.
template <class T, class F>
BILEVEL_HD inline void with_potential(const ExpertsModel<T>& m, int k, F f) {
  if (m.potential == Potential::huber_c2)
    f(HuberC2<T>(m.smoothing[k]));
  else
    f(Charbonnier<T>(m.smoothing[k]));
}

/// Launches the body for the size of the model's filters, over tiles of its own.
template <class T, template <class, int> class Body, class Args>
void launch_experts(const Stream& stream, const Args& a, int planes) {
  const auto run = [&](auto body) { launch_channels(stream, a, body, body.rows, body.columns, planes); };
  switch (a.model.size) {
    case 3:
      return run(Body<T, 3>{a});
    case 5:
      return run(Body<T, 5>{a});
    case 7:
      return run(Body<T, 7>{a});
    case 9:
      return run(Body<T, 9>{a});
    default:
      return run(Body<T, 11>{a});
  }
}

/// Every tile once, with all filters; every tile of every filter.
template <class T, template <class, int> class Body, class Args>
void launch_tiles_of_experts(const Stream& stream, const Args& a) {
  launch_experts<T, Body>(stream, a, 1);
}
template <class T, template <class, int> class Body, class Args>
void launch_filters(const Stream& stream, const Args& a) {
  launch_experts<T, Body>(stream, a, a.model.filters);
}

}  // namespace bilevel::kernels::BILEVEL_BACKEND
