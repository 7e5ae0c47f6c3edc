#include "kernels/blur_args.hpp"
#include "kernels/launch.hpp"
#include "kernels/table.hpp"

namespace bilevel::kernels::BILEVEL_BACKEND {
namespace {

/// A pixel and its mirror images on the torus.
struct Mirrors {
  BILEVEL_HD Mirrors(int height, int width, int r, int c)
      : own(static_cast<long long>(r) * 2 * width + c),
        across(2 * width - 1 - 2 * c),
        down((2LL * height - 1 - 2LL * r) * 2 * width) {}
  long long own, across, down;
};

template <class T>
struct Extend {
  TorusExtendArgs<T> a;

  BILEVEL_HD void operator()(std::size_t e) const {
    const unsigned p = static_cast<unsigned>(e), width = static_cast<unsigned>(a.width), row = p / width,
                   height = static_cast<unsigned>(a.height), plane = row / height;
    const Mirrors m(a.height, a.width, static_cast<int>(row % height), static_cast<int>(p % width));
    const T v = a.mask[plane / static_cast<unsigned>(a.channels)] ? a.in[e] : T(0);
    const T mirrored = a.even ? v : T(0);
    T* out = a.out + static_cast<long long>(plane) * 4 * a.height * a.width + m.own;
    out[0] = v;
    out[m.across] = mirrored;
    out[m.down] = mirrored;
    out[m.down + m.across] = mirrored;
  }
};

template <class T>
void torus_extend(const Stream& stream, const TorusExtendArgs<T>& a) {
  const std::size_t rows = static_cast<std::size_t>(a.n) * a.channels * a.height;
  launch_range(stream, rows * a.width, Extend<T>{a});
}

template <class T, bool even>
struct Fold {
  static constexpr int sums = 0, scratch = 0, resident = 4;
  TorusFoldArgs<T> a;

  BILEVEL_HD void operator()(Block& block, const Tile& t, double*) const {
    const int height = a.height, width = a.width;
    const long long size = static_cast<long long>(height) * width,
                    plane = static_cast<long long>(t.image) * a.channels + t.plane;
    const T* in = a.in + plane * 4 * size;
    T* out = a.out + plane * size;
    block.for_each(0, t.rows, 0, t.columns, [=](int r, int c) {
      const int row = t.row + r, column = t.column + c;
      const Mirrors m(height, width, row, column);
      const T* v = in + m.own;
      T sum = v[0];
      if constexpr (even) sum = (v[0] + v[m.across]) + (v[m.down] + v[m.down + m.across]);
      out[static_cast<long long>(row) * width + column] = sum;
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
