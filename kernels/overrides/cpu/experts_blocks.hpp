#pragma once

// Register-blocked correlations for the fields-of-experts kernels of the CPU. A job is a tile of pixels: the
// image around it is copied once, padding included; the responses of a group of filters go to fields in L2,
// from where the adjoints are gathered into the tile. Responses are computed once, but for those within a
// filter's radius of several tiles.
//
// Every element is a chain of fused multiply-adds in the order of the taps, and one more per filter, whatever
// the width of the registers; partitions are functions of the shape. So AVX2 and AVX-512 agree in every bit;
// the generic bodies, which are all that the baseline has, round every product and differ by roundoff.

#include <type_traits>
#include <utility>

#include "kernels/experts_tile.hpp"

namespace bilevel::kernels::BILEVEL_BACKEND::blocked {

/// Rows (or columns) of a tile: its pixels, those outside the image that reflect into it, and responses: the
/// tile's own and, with `halo`, all that read its pixels. Response r reads pixels r - offset + [0, size).
struct Span {
  int begin, end;
  int outer_begin, outer_end;
  int response_begin, response_end;
  int own_begin, own_end;
  int offset;

  Span(int first, int count, int length, int size, Padding padding, bool halo)
      : begin(first), end(first + count), offset(padding == Padding::symmetric ? size / 2 : 0) {
    const int responses = length - (size - 1) + 2 * offset;
    outer_begin = begin == 0 ? -offset : begin;
    outer_end = end == length ? end + offset : end;
    own_begin = begin;
    own_end = maximum(begin, minimum(end, responses));
    response_begin = halo ? maximum(outer_begin + offset - size + 1, 0) : own_begin;
    response_end = halo ? minimum(outer_end + offset, responses) : own_end;
  }
};

/// Even tiles of at most `limit`, the last no shorter than what reflects into it.
inline int tile_length(int length, int limit, int size) {
  const int tiles = (length + limit - 1) / limit;
  int tile = (length + tiles - 1) / tiles;
  while (length % tile != 0 && length % tile < size / 2) --tile;
  return tile;
}

/// Pixel that r stands for under half-sample symmetric padding.
inline int mirrored(int r, int length) { return r < 0 ? -1 - r : (r >= length ? 2 * length - 1 - r : r); }

/// A tile of one image, with the buffers that it is worked on in: 610 KB with one image, a group of fields
/// and one gathered sum.
template <class T, int size>
struct Blocks {
  static constexpr int radius = size / 2, taps = size * size;
  static constexpr int group = 6;  ///< filters that are worked on at a time
  static constexpr int most_rows = 48, most_responses = 128;
  static constexpr int response_rows = most_rows + 2 * radius;
  static constexpr int image_pitch = 144, field_pitch = 160, sum_pitch = 144;

  /// The pixels that the tile's responses read.
  struct Image {
    alignas(64) T v[(response_rows + 2 * radius) * image_pitch + 32];
  };
  /// One value per response, zero to their left and right.
  struct Field {
    alignas(64) T v[response_rows * field_pitch + 32];
  };
  /// Adjoints gathered at the pixels of the tile and those that reflect into it.
  struct Gathered {
    alignas(64) T v[(response_rows + 6) * sum_pitch + 32];
  };
  /// A row of responses of every filter of the group.
  struct Rows {
    alignas(64) T v[group][most_responses];
  };

  /// Eight rows of a field of every filter of the group, zero beyond the responses.
  struct Strip {
    static constexpr int rows = 8;
    alignas(64) T v[group][rows][most_responses];
  };
  /// Inner products of fields with shifts of an image, one lane per element of 64 bytes.
  struct PatchSums {
    static constexpr int lanes = 64 / static_cast<int>(sizeof(T));
    alignas(64) double v[group][taps][lanes] = {};

    double total(int f, int tap) {
      double* sum = v[f][tap];
      for (int half = lanes / 2; half > 0; half /= 2)
        for (int l = 0; l < half; ++l) sum[l] += sum[l + half];
      return sum[0];
    }
  };

  static int tile_rows(int height) { return tile_length(height, most_rows, size); }
  static int tile_columns(int width) {
    return width <= most_responses ? width : tile_length(width, most_responses - 2 * radius, size);
  }

  int height, width;
  Span rows, columns;
  int responses;  ///< in a row
  int lead;       ///< zeros before them in the row of a field

  Blocks(const ExpertsModel<T>& m, const ChannelTile& t, bool halo)
      : height(m.height),
        width(m.width),
        rows(t.row, t.rows, m.height, size, m.padding, halo),
        columns(t.column, t.columns, m.width, size, m.padding, halo),
        responses(columns.response_end - columns.response_begin),
        lead(halo ? columns.response_begin - columns.outer_begin - columns.offset + size - 1 : 0) {}

  void load(const T* image, Image& buffer) const;
  void clear(Field& field) const;
  void clear(Gathered& sum) const;
  /// Row r of the responses to `count` <= 6 filters.
  void correlate(const Image& image, int r, const T* filters, int count, Rows& out) const;
  /// sum += scale C^T field.
  void adjoint(const Field& field, const T* filter, T scale, Gathered& sum) const;
  /// sum_f,tap += <S_tap image, field_f> over the responses of rows r + [0, count), S_tap the shift that
  /// picks a tap. A lane adds at most 64 products in T.
  void add_patches(const Image& image, int r, int count, const Strip& fields, PatchSums& sum) const;
  /// Adds what lies outside the image to the pixels that it reflects, rows first.
  void fold(Gathered& sum) const;

  /// The responses, made up to whole vectors of any register.
  int whole() const { return (responses + 15) / 16 * 16; }
  /// Row r of a field, at the first response.
  T* row(Field& field, int r) const { return field.v + (r - rows.response_begin) * field_pitch + lead; }
  void clear_tail(T* field_row) const {
    for (int c = responses; c < whole(); ++c) field_row[c] = T(0);
  }
  /// Row r of what was gathered, at the tile's first pixel.
  const T* row(const Gathered& sum, int r) const {
    return sum.v + (r - rows.outer_begin) * sum_pitch + columns.begin - columns.outer_begin;
  }
  bool owns_row(int r) const { return r >= rows.own_begin && r < rows.own_end; }
  int own_begin() const { return columns.own_begin - columns.response_begin; }
  int own_end() const { return columns.own_end - columns.response_begin; }

  /// f(k, count) for the groups k + [0, count) of the filters.
  template <class F>
  static void groups(const ExpertsModel<T>& m, F f) {
    for (int k = 0; k < m.filters; k += group) f(k, minimum(group, m.filters - k));
  }
  /// sum = sum_k scale(k) C_k^T field_k; point(k, r, t, field) maps row r of the responses of filter k.
  template <class Scale, class Point>
  void filtered(const ExpertsModel<T>& m, const T* image, Gathered& sum, Scale scale, Point point) const {
    Image x;
    Field fields[group];
    Rows t;
    load(image, x);
    clear(sum);
    for (Field& f : fields) clear(f);
    groups(m, [&](int k, int count) {
      const T* filters = m.taps + k * taps;
      for (int r = rows.response_begin; r < rows.response_end; ++r) {
        correlate(x, r, filters, count, t);
        for (int f = 0; f < count; ++f) point(k + f, r, t.v[f], row(fields[f], r));
      }
      for (int f = 0; f < count; ++f) adjoint(fields[f], filters + f * taps, scale(k + f), sum);
    });
    fold(sum);
  }
};

/// S sums over the rows of a tile, one accumulator per column.
template <int S>
struct ColumnSums {
  static constexpr int columns = 128;
  alignas(64) double v[S][columns] = {};

  /// Binary tree over the columns.
  void total(double* out) {
    for (int s = 0; s < S; ++s) {
      for (int half = columns / 2; half > 0; half /= 2)
        for (int c = 0; c < half; ++c) v[s][c] += v[s][c + half];
      out[s] = v[s][0];
    }
  }
};

/// f(size) with the size of the model's filters as a constant.
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

/// Every tile of every plane once.
template <int size, class T, template <class> class Args, class Body>
void launch(const Stream& stream, const Args<T>& a, const Body& body, int planes = 1) {
  launch_channels(stream, a, body, Blocks<T, size>::tile_rows(a.model.height),
                  Blocks<T, size>::tile_columns(a.model.width), planes);
}

/// Launches the body for the model's potential and the size of its filters.
template <class T, template <class, template <class> class, int> class Body, template <class> class Args>
void launch_potential(const Stream& stream, const Args<T>& a, int planes = 1) {
  with_size(a.model, [&](auto size) {
    if (a.model.potential == Potential::huber_c2)
      launch<size>(stream, a, Body<T, HuberC2, size>{a}, planes);
    else
      launch<size>(stream, a, Body<T, Charbonnier, size>{a}, planes);
  });
}

/// The first pixel of the tile's channel.
template <class V, class T>
V* image_of(V* batch, const ExpertsModel<T>& m, const ChannelTile& t) {
  return batch + static_cast<long long>(t.channel) * m.height * m.width;
}
/// Where maps hold the response of filter k at (row, column).
template <class T>
long long map_element(const ExpertsModel<T>& m, const ChannelTile& t, int k, int row, int column) {
  return ((static_cast<long long>(t.channel) * m.filters + k) * m.height + row) * m.width + column;
}

}  // namespace bilevel::kernels::BILEVEL_BACKEND::blocked
