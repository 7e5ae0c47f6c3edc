#include "kernels/blur_args.hpp"
#include "kernels/launch.hpp"
#include "kernels/table.hpp"

namespace bilevel::kernels::BILEVEL_BACKEND {
namespace {

/// Rows of the torus that hold a pixel's row and its mirror image, and where the latter of its column is.
template <class T>
struct Mirrors {
  BILEVEL_HD Mirrors(T* torus, int height, int width, int row)
      : own(torus + static_cast<long long>(row) * 2 * width),
        below(torus + (2LL * height - 1 - row) * 2 * width),
        last(2 * width - 1) {}
  T *own, *below;
  int last;
};

template <class T, bool even>
struct Extend {
  static constexpr int sums = 0, scratch = 0, resident = 4, work = 4;
  TorusExtendArgs<T> a;

  BILEVEL_HD void operator()(Block& block, const Tile& t, double*) const {
    const int height = a.height, width = a.width;
    const long long size = static_cast<long long>(height) * width;
    const T* in = a.in + t.plane * size;
    T* out = a.out + t.plane * 4 * size;
    const bool open = a.mask[t.plane / a.channels] != 0;
    block.for_each(
        t.row, t.row + t.rows, t.column, t.column + t.columns, [=](int r, int c) BILEVEL_PIXEL_LAMBDA {
          const Mirrors<T> m(out, height, width, r);
          const T v = open ? in[static_cast<long long>(r) * width + c] : T(0), mirrored = even ? v : T(0);
          m.own[c] = v;
          m.own[m.last - c] = mirrored;
          m.below[c] = mirrored;
          m.below[m.last - c] = mirrored;
        });
  }
};

template <class T>
void torus_extend(const Stream& stream, const TorusExtendArgs<T>& a) {
  if (a.even)
    launch_tiles(stream, a.one, a.height, a.width, Extend<T, true>{a}, a.n * a.channels);
  else
    launch_tiles(stream, a.one, a.height, a.width, Extend<T, false>{a}, a.n * a.channels);
}

template <class T, bool even>
struct Fold {
  static constexpr int sums = 0, scratch = 0, resident = 4, work = 4;
  TorusFoldArgs<T> a;

  BILEVEL_HD void operator()(Block& block, const Tile& t, double*) const {
    const int height = a.height, width = a.width;
    const long long size = static_cast<long long>(height) * width,
                    plane = static_cast<long long>(t.image) * a.channels + t.plane;
    const T* in = a.in + plane * 4 * size;
    T* out = a.out + plane * size;
    block.for_each(t.row, t.row + t.rows, t.column, t.column + t.columns,
                   [=](int r, int c) BILEVEL_PIXEL_LAMBDA {
                     const Mirrors<const T> m(in, height, width, r);
                     T sum = m.own[c];
                     if constexpr (even) sum = (sum + m.own[m.last - c]) + (m.below[c] + m.below[m.last - c]);
                     out[static_cast<long long>(r) * width + c] = sum;
                   });
  }
};

template <class T>
void torus_fold(const Stream& stream, const TorusFoldArgs<T>& a) {
  if (a.even)
    launch_tiles(stream, a.active, a.height, a.width, Fold<T, true>{a}, a.channels);
  else
    launch_tiles(stream, a.active, a.height, a.width, Fold<T, false>{a}, a.channels);
}

}  // namespace

template <class T>
void fill_blur(Table<T>& table) {
  table.torus_extend = torus_extend<T>;
  table.torus_fold = torus_fold<T>;
}
template void fill_blur(Table<float>&);
template void fill_blur(Table<double>&);

}  // namespace bilevel::kernels::BILEVEL_BACKEND
