// Differences across the edges of a reference image (directional total variation).

#include "kernels/launch.hpp"
#include "kernels/projected_args.hpp"
#include "kernels/table.hpp"

namespace bilevel::kernels::BILEVEL_BACKEND {
namespace {

/// Where channel t.plane of image t.image and its fluxes are.
template <class T>
struct ProjectedPlanes {
  const T *zeta_x, *zeta_y;
  long long channel, across, down;  // first elements: of the channel, of its two components

  BILEVEL_HD ProjectedPlanes(const ProjectedArgs<T>& a, const Tile& t) {
    const long long size = static_cast<long long>(a.height) * a.width, image = t.image;
    zeta_x = a.zeta + 2 * image * size;
    zeta_y = zeta_x + size;
    channel = (image * a.channels + t.plane) * size;
    across = (2 * image * a.channels + t.plane) * size;
    down = across + a.channels * size;
  }
};

/// 3r 2w per channel, the field once for all of them.
template <class T>
struct Forward {
  static constexpr int sums = 0, scratch = 0, resident = 4, work = 2;
  ProjectedArgs<T> a;

  BILEVEL_HD void operator()(Block& block, const Tile& t, double*) const {
    const ProjectedPlanes<T> p(a, t);
    const int height = a.height, width = a.width;
    const T* x = a.in + p.channel;
    T *across = a.out + p.across, *down = a.out + p.down;
    block.for_each(
        t.row, t.row + t.rows, t.column, t.column + t.columns, [=](int r, int c) BILEVEL_PIXEL_LAMBDA {
          const long long e = static_cast<long long>(r) * width + c;
          const T v = x[e];
          const T dx = x[c + 1 < width ? e + 1 : e] - v, dy = x[r + 1 < height ? e + width : e] - v;
          const T along = p.zeta_x[e] * dx + p.zeta_y[e] * dy;
          across[e] = dx - p.zeta_x[e] * along;
          down[e] = dy - p.zeta_y[e] * along;
        });
  }
};

/// 4r 1w per channel.
template <class T>
struct Adjoint {
  static constexpr int sums = 0, scratch = 0, resident = 4, work = 2;
  ProjectedArgs<T> a;

  BILEVEL_HD void operator()(Block& block, const Tile& t, double*) const {
    const ProjectedPlanes<T> p(a, t);
    const int height = a.height, width = a.width;
    const T *across = a.in + p.across, *down = a.in + p.down;
    T* x = a.out + p.channel;
    block.for_each(t.row, t.row + t.rows, t.column, t.column + t.columns,
                   [=](int r, int c) BILEVEL_PIXEL_LAMBDA {
                     const long long e = static_cast<long long>(r) * width + c;
                     const auto along = [=](long long o) BILEVEL_PIXEL_LAMBDA {
                       return p.zeta_x[o] * across[o] + p.zeta_y[o] * down[o];
                     };
                     const long long left = c > 0 ? e - 1 : e, up = r > 0 ? e - width : e;
                     const T here = along(e);
                     const T out_x = c + 1 < width ? across[e] - p.zeta_x[e] * here : T(0);
                     const T out_y = r + 1 < height ? down[e] - p.zeta_y[e] * here : T(0);
                     const T in_x = c > 0 ? across[left] - p.zeta_x[left] * along(left) : T(0);
                     const T in_y = r > 0 ? down[up] - p.zeta_y[up] * along(up) : T(0);
                     x[e] = (in_x - out_x) + (in_y - out_y);
                   });
  }
};

template <class T, template <class> class Body>
void projected(const Stream& stream, const ProjectedArgs<T>& a) {
  launch_tiles(stream, a.active, a.height, a.width, Body<T>{a}, a.channels);
}

}  // namespace

template <class T>
void fill_projected(Table<T>& table) {
  table.projected_forward = projected<T, Forward>;
  table.projected_adjoint = projected<T, Adjoint>;
}
template void fill_projected(Table<float>&);
template void fill_projected(Table<double>&);

}  // namespace bilevel::kernels::BILEVEL_BACKEND
