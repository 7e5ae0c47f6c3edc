#include "kernels/launch.hpp"
#include "kernels/table.hpp"
#include "kernels/wavelet_args.hpp"

// One level of a periodised orthogonal wavelet transform. With low-pass taps h_i and high-pass taps
// g_i = (-1)^i h_{L-1-i}, i < L, and indices modulo the size,
//   a_k = sum_i h_i x_{2k+i-s},  d_k = sum_i g_i x_{2k+i-s},  s = L/2 - 1,
// along rows and then along columns: order, sign and phase of PyWavelets' mode "periodization".
// What neighbouring outputs read stands side by side in a tile: even and odd columns are kept apart.

namespace bilevel::kernels::BILEVEL_BACKEND {
namespace {

/// h of Daubechies' wavelets with L/2 vanishing moments and extremal phase; |h| = 1.
template <int L>
inline constexpr double daubechies[L] = {};
template <>
inline constexpr double daubechies<2>[2] = {0.7071067811865475244008, 0.7071067811865475244008};
template <>
inline constexpr double daubechies<4>[4] = {0.4829629131445341433749, 0.8365163037378079055753,
                                            0.2241438680420133810260, -0.1294095225512603811744};
template <>
inline constexpr double daubechies<8>[8] = {
    0.2303778133088965008633,  0.7148465705529156470899, 0.6308807679298589078817, -0.0279837694168598542114,
    -0.1870348117190930840796, 0.0308413818355607636272, 0.0328830116668851997354, -0.0105974017850690321049};

template <class T, int L, int i>
inline constexpr T low_tap = T(daubechies<L>[i]);
template <class T, int L, int i>
inline constexpr T high_tap = T((i % 2 == 0 ? 1 : -1) * daubechies<L>[L - 1 - i]);

/// Tiles of finer samples, taken as pairs, with `reach` pairs around them. `flat`: single rows, which are not
/// transformed along the columns.
template <int L, bool flat>
struct Geometry {
  static constexpr int shift = L / 2 - 1, reach = L / 4, above = flat ? 0 : reach;
  static constexpr int rows = flat ? 1 : Block::tile_rows, pairs = Block::tile_columns / 2;
  static constexpr int pitch = pairs + 2 * reach;

  static BILEVEL_HD int row_pairs(int count) { return flat ? 1 : count / 2; }
  static BILEVEL_HD int first_pair(const Tile& t) { return flat ? 0 : t.row / 2; }
};

/// e modulo `size`, of places near an array.
BILEVEL_HD inline int wrapped(int e, int size) {
  while (e < 0) e += size;
  while (e >= size) e -= size;
  return e;
}

/// read(r, row, c, column) for the pairs of a tile and those around it: tile row r comes from `row`, c from
/// `column`, both within the array. `count` rows, the first of which is `first`.
template <class G, class F>
BILEVEL_HD void load_pairs(Block& block, int first, int count, int height, const Tile& t, int width, F read) {
  int* source = block.scratch<int>(G::rows + 4 * G::reach);
  block.for_elements(0, count, [=](int r) { source[r] = wrapped(first + r, height); });
  const int left = t.column / 2, inner = t.columns / 2;
  block.for_each(0, count, 0, inner,
                 [=](int r, int c) BILEVEL_PIXEL_LAMBDA { read(r, source[r], c, left + c); });
  if constexpr (G::reach > 0)
    block.for_each(0, count, 0, 2 * G::reach, [=](int r, int e) BILEVEL_PIXEL_LAMBDA {
      const int c = e < G::reach ? e - G::reach : inner + e - G::reach;
      read(r, source[r], c, wrapped(left + c, width));
    });
}

template <class T>
BILEVEL_HD T* plane_of(T* batch, const WaveletLevel& level, const Tile& t, std::size_t plane) {
  return batch + (static_cast<std::size_t>(t.image) * level.channels + t.plane) * plane;
}

/// Where approximations and details of a level stand in the coefficients.
struct Bands {
  BILEVEL_HD explicit Bands(const WaveletLevel& level)
      : right(level.width / 2), below(static_cast<long long>(level.height / 2) * level.pitch) {}
  long long right, below;
};

template <class T, int L, bool flat>
struct Analyse {
  using G = Geometry<L, flat>;
  static constexpr int rows = G::rows + 4 * G::above;  // of finer samples
  static constexpr int sums = 0, resident = 4, work = L;
  static constexpr int scratch = Block::template scratch_size<int>(G::rows + 4 * G::reach) +
                                 2 * Block::template scratch_size<T>(rows * G::pitch) +
                                 2 * Block::template scratch_size<T>(rows * G::pairs);
  WaveletAnalyseArgs<T> a;

  BILEVEL_HD void operator()(Block& block, const Tile& t, double*) const {
    const WaveletLevel& level = a.level;
    const int count = t.rows + 4 * G::above, inner = t.columns / 2, width = level.width;
    T* even = block.scratch<T>(rows * G::pitch) + G::reach;
    T* odd = block.scratch<T>(rows * G::pitch) + G::reach;
    const T* fine = plane_of(a.fine, level, t, static_cast<std::size_t>(level.height) * width);
    load_pairs<G>(block, t.row - 2 * G::above, count, level.height, t, width / 2,
                  [=](int r, int row, int c, int column) BILEVEL_PIXEL_LAMBDA {
                    const T* pair = fine + static_cast<long long>(row) * width + 2 * column;
                    even[r * G::pitch + c] = pair[0];
                    odd[r * G::pitch + c] = pair[1];
                  });
    T* low = block.scratch<T>(rows * G::pairs);
    T* high = block.scratch<T>(rows * G::pairs);
    block.for_each(0, count, 0, inner, [=](int r, int c) BILEVEL_PIXEL_LAMBDA {
      const T *e = even + r * G::pitch + c, *o = odd + r * G::pitch + c;
      T l = T(0), h = T(0);
      unrolled<L>([&](auto i) BILEVEL_PIXEL_LAMBDA {
        constexpr int m = i - G::shift + L;  // finer sample 2c + m - L
        const T v = m % 2 == 0 ? e[m / 2 - L / 2] : o[m / 2 - L / 2];
        l += low_tap<T, L, i> * v;
        h += high_tap<T, L, i> * v;
      });
      low[r * G::pairs + c] = l;
      high[r * G::pairs + c] = h;
    });
    columns(block, t, low, high);
  }

 private:
  BILEVEL_HD void columns(Block& block, const Tile& t, const T* low, const T* high) const {
    const WaveletLevel& level = a.level;
    const Bands bands(level);
    const int pitch = level.pitch, coarse_pitch = level.coarse_pitch, row = G::first_pair(t),
              left = t.column / 2;
    T* coarse =
        plane_of(a.coarse, level, t, level.coarse_plane) + static_cast<long long>(row) * coarse_pitch + left;
    T* right = plane_of(a.coefficients, level, t, level.plane) + static_cast<long long>(row) * pitch + left +
               bands.right;
    if constexpr (flat) {
      block.for_each(0, 1, 0, t.columns / 2, [=](int, int c) BILEVEL_PIXEL_LAMBDA {
        coarse[c] = low[c];
        right[c] = high[c];
      });
    } else {
      T *below = right - bands.right + bands.below, *both = right + bands.below;
      block.for_each(0, t.rows / 2, 0, t.columns / 2, [=](int r, int c) BILEVEL_PIXEL_LAMBDA {
        const int first = (2 * (r + G::above) - G::shift) * G::pairs + c;
        T ll = T(0), lh = T(0), hl = T(0), hh = T(0);
        unrolled<L>([&](auto i) BILEVEL_PIXEL_LAMBDA {
          const T l = low[first + i * G::pairs], h = high[first + i * G::pairs];
          ll += low_tap<T, L, i> * l;
          hl += high_tap<T, L, i> * l;
          lh += low_tap<T, L, i> * h;
          hh += high_tap<T, L, i> * h;
        });
        coarse[r * coarse_pitch + c] = ll;
        right[r * pitch + c] = lh;
        below[r * pitch + c] = hl;
        both[r * pitch + c] = hh;
      });
    }
    if (!level.keep_approximation)  // a choice in the loops above would keep them from being vectors
      block.for_each(0, G::row_pairs(t.rows), 0, t.columns / 2,
                     [=](int r, int c) BILEVEL_PIXEL_LAMBDA { coarse[r * coarse_pitch + c] = T(0); });
  }
};

/// x_{2q+p} of the pair around `place`: sum_j h_{t+2j} a_{q+b-j} + g_{t+2j} d_{q+b-j}, p + s = 2b + t, or
/// with h^2 and g^2.
template <class T, int L, int p, bool squared>
BILEVEL_PIXEL T sample(const T* low, const T* high, int place, int step) {
  constexpr int t = (p + L / 2 - 1) % 2, b = (p + L / 2 - 1) / 2;
  T sum = T(0);
  unrolled<L / 2>([&](auto j) BILEVEL_PIXEL_LAMBDA {
    const int e = place + (b - j) * step;
    constexpr T l = low_tap<T, L, t + 2 * j>, h = high_tap<T, L, t + 2 * j>;
    sum += (squared ? l * l : l) * low[e] + (squared ? h * h : h) * high[e];
  });
  return sum;
}

template <class T, int L, bool flat, bool squared>
struct Reconstruct {
  using G = Geometry<L, flat>;
  static constexpr int row_pairs = (flat ? 1 : G::rows / 2) + 2 * G::above;
  static constexpr int sums = 0, resident = 4, work = L;
  static constexpr int scratch = Block::template scratch_size<int>(G::rows + 4 * G::reach) +
                                 4 * Block::template scratch_size<T>(row_pairs * G::pitch) +
                                 (flat ? 0 : 2 * Block::template scratch_size<T>(G::rows * G::pitch));
  WaveletSynthesiseArgs<T> a;

  BILEVEL_HD void operator()(Block& block, const Tile& t, double*) const {
    const WaveletLevel& level = a.level;
    const Bands bands(level);
    T* ll = block.scratch<T>(row_pairs * G::pitch) + G::reach;
    T* lh = block.scratch<T>(row_pairs * G::pitch) + G::reach;
    const T* coarse = plane_of(a.coarse, level, t, level.coarse_plane);
    const T* in = plane_of(a.coefficients, level, t, level.plane);
    const int pitch = level.pitch, coarse_pitch = level.coarse_pitch;
    const bool keep = level.keep_approximation, reciprocal = squared && a.reciprocal_coarse;
    const auto approximation = [=](long long at) BILEVEL_PIXEL_LAMBDA {
      return keep ? reciprocal ? T(1) / coarse[at] : coarse[at] : T(0);
    };
    const auto detail = [=](long long at) BILEVEL_PIXEL_LAMBDA { return squared ? T(1) / in[at] : in[at]; };
    const int count = G::row_pairs(t.rows) + 2 * G::above, height = G::row_pairs(level.height);
    if constexpr (flat) {
      load_pairs<G>(block, 0, 1, 1, t, level.width / 2,
                    [=](int, int, int c, int column) BILEVEL_PIXEL_LAMBDA {
                      ll[c] = approximation(column);
                      lh[c] = detail(bands.right + column);
                    });
      rows(block, t, ll, lh);
    } else {
      T* hl = block.scratch<T>(row_pairs * G::pitch) + G::reach;
      T* hh = block.scratch<T>(row_pairs * G::pitch) + G::reach;
      load_pairs<G>(block, G::first_pair(t) - G::above, count, height, t, level.width / 2,
                    [=](int r, int row, int c, int column) BILEVEL_PIXEL_LAMBDA {
                      const int e = r * G::pitch + c;
                      const long long at = static_cast<long long>(row) * pitch + column;
                      ll[e] = approximation(static_cast<long long>(row) * coarse_pitch + column);
                      lh[e] = detail(at + bands.right);
                      hl[e] = detail(at + bands.below);
                      hh[e] = detail(at + bands.below + bands.right);
                    });
      T* low = block.scratch<T>(G::rows * G::pitch) + G::reach;
      T* high = block.scratch<T>(G::rows * G::pitch) + G::reach;
      block.for_each(0, t.rows / 2, -G::reach, t.columns / 2 + G::reach,
                     [=](int r, int c) BILEVEL_PIXEL_LAMBDA {
                       const int place = (r + G::above) * G::pitch + c, e = 2 * r * G::pitch + c;
                       low[e] = sample<T, L, 0, squared>(ll, hl, place, G::pitch);
                       low[e + G::pitch] = sample<T, L, 1, squared>(ll, hl, place, G::pitch);
                       high[e] = sample<T, L, 0, squared>(lh, hh, place, G::pitch);
                       high[e + G::pitch] = sample<T, L, 1, squared>(lh, hh, place, G::pitch);
                     });
      rows(block, t, low, high);
    }
  }

 private:
  BILEVEL_HD void rows(Block& block, const Tile& t, const T* low, const T* high) const {
    const int width = a.level.width;
    const auto first = [&](T* fine) BILEVEL_PIXEL_LAMBDA {
      return plane_of(fine, a.level, t, static_cast<std::size_t>(a.level.height) * width) +
             static_cast<long long>(t.row) * width + t.column;
    };
    if (squared && a.inverse) {
      T* inverse = first(a.inverse);
      block.for_each(0, t.rows, 0, t.columns / 2, [=](int r, int c) BILEVEL_PIXEL_LAMBDA {
        const int place = r * G::pitch + c;
        T* pair = inverse + r * width + 2 * c;
        pair[0] = T(1) / (T(1) / pair[0] + sample<T, L, 0, squared>(low, high, place, 1));
        pair[1] = T(1) / (T(1) / pair[1] + sample<T, L, 1, squared>(low, high, place, 1));
      });
      return;
    }
    T* out = first(a.fine);
    block.for_each(0, t.rows, 0, t.columns / 2, [=](int r, int c) BILEVEL_PIXEL_LAMBDA {
      const int place = r * G::pitch + c;
      out[r * width + 2 * c] = sample<T, L, 0, squared>(low, high, place, 1);
      out[r * width + 2 * c + 1] = sample<T, L, 1, squared>(low, high, place, 1);
    });
  }
};
template <class T, int L, bool flat>
using Synthesise = Reconstruct<T, L, flat, false>;
template <class T, int L, bool flat>
using Diagonal = Reconstruct<T, L, flat, true>;

template <class T, template <class, int, bool> class Body, int L, class Args>
void launch_taps(const Stream& stream, const Args& a) {
  const WaveletLevel& l = a.level;
  if (l.height == 1)
    launch_grid(stream, l.active, 1, l.width, 1, Block::tile_columns, Body<T, L, true>{a}, l.channels);
  else
    launch_tiles(stream, l.active, l.height, l.width, Body<T, L, false>{a}, l.channels);
}

template <class T, template <class, int, bool> class Body, class Args>
void launch_level(const Stream& stream, const Args& a) {
  switch (a.level.taps) {
    case 2:
      return launch_taps<T, Body, 2>(stream, a);
    case 4:
      return launch_taps<T, Body, 4>(stream, a);
    default:
      return launch_taps<T, Body, 8>(stream, a);
  }
}

template <class T>
void analyse(const Stream& stream, const WaveletAnalyseArgs<T>& a) {
  launch_level<T, Analyse>(stream, a);
}
template <class T>
void synthesise(const Stream& stream, const WaveletSynthesiseArgs<T>& a) {
  a.squared ? launch_level<T, Diagonal>(stream, a) : launch_level<T, Synthesise>(stream, a);
}

}  // namespace

template <class T>
void fill_wavelet(Table<T>& table) {
  table.wavelet_analyse = analyse<T>;
  table.wavelet_synthesise = synthesise<T>;
}
template void fill_wavelet(Table<float>&);
template void fill_wavelet(Table<double>&);

}  // namespace bilevel::kernels::BILEVEL_BACKEND
