// Smoothed total variation on [N,1,H,W] with forward differences and zero last difference.
// Each body visits a tile with a halo of one pixel: a flux field f on the tile and its
// upper and left neighbours, then (K^T f)(r,c) = -f_x(r,c) + f_x(r,c-1) - f_y(r,c) + f_y(r-1,c) with f zero
// outside the image.

#include "kernels/launch.hpp"
#include "kernels/table.hpp"
#include "kernels/tv_ball.hpp"
#include "kernels/tv_pixel.hpp"

namespace bilevel::kernels::BILEVEL_BACKEND {
namespace {

template <class T, template <class> class Rho, bool isotropic>
struct Energy {
  static constexpr int sums = 5;
  static constexpr int scratch = halos<T>(3), resident = 4;
  TvEnergyArgs<T> a;

  BILEVEL_HD void operator()(Block& block, const Tile& t, double* partial) const {
    const T* x = load(block, a.model, a.x, t);
    Flux<T> f(block, t);
    const EnergyPixel<T, Rho, isotropic> pixel{Rho<T>(a.model.nu), T(a.model.alpha)};
    T *fx = f.x, *fy = f.y;
    const auto flux = [=](int r, int c) -> Sums<2> {
      const int e = r * pitch + c;
      return pixel(dx(x, e), dy(x, e), fx[e], fy[e]);
    };
    block.for_each(f.row0, 0, f.column0, t.columns, [=](int r, int c) { flux(r, c); });
    block.reduce<2>(0, t.rows, f.column0, t.columns, flux, partial);

    const int width = a.model.width;
    const T* y = at(a.y, a.model, t);
    const T* s = at_shared(a.sampling, a.model, t);
    T* gradient = at(a.gradient, a.model, t);
    const T xi = T(a.model.xi);
    const auto out = [=](int r, int c, T d) -> Sums<3> {
      const T v = x[r * pitch + c];
      const T g = d + xi * v + adjoint<T>(fx, fy, r, c);
      gradient[r * width + c] = g;
      return {{double(d) * d, double(v) * v, double(g) * g}};
    };
    if (s)
      block.reduce<3>(
          0, t.rows, 0, t.columns,
          [=](int r, int c) { return out(r, c, s[r * width + c] * (x[r * pitch + c] - y[r * width + c])); },
          partial + 2);
    else
      block.reduce<3>(
          0, t.rows, 0, t.columns,
          [=](int r, int c) { return out(r, c, x[r * pitch + c] - y[r * width + c]); }, partial + 2);
  }

  BILEVEL_HD void finish(int image, const double* total) const { finish_energy(a, image, total); }
};

/// M = alpha (w I - kappa/2 (z zeta^T + zeta z^T)), zeta = psi for the exact Hessian. Rows of K that vanish
/// at the right and lower border have weight zero, so that they also leave the diagonal.
template <class T, template <class> class Rho, bool isotropic>
struct Linearise {
  static constexpr int sums = 0;
  static constexpr int scratch = halos<T>(4), resident = 3;
  TvLineariseArgs<T> a;

  BILEVEL_HD void operator()(Block& block, const Tile& t, double*) const {
    const TvModel& m = a.model;
    const T* x = load(block, m, a.x, t);
    Flux<T> f(block, t);  // m11 in x, m22 in y
    T* cross = block.scratch<T>(halo_size) + pitch + 1;
    const Rho<T> rho(m.nu);
    const T alpha = T(m.alpha);
    const float* dual_x = at(a.dual_x, m, t);
    const float* dual_y = at(a.dual_y, m, t);
    const int width = m.width, last_column = m.width - 1 - t.column, last_row = m.height - 1 - t.row;
    T *fx = f.x, *fy = f.y;
    const auto weights = [=](int r, int c, T zx, T zy, auto dual) {
      const int e = r * pitch + c;
      const T in_x = c < last_column ? alpha : T(0), in_y = r < last_row ? alpha : T(0);
      T w, kappa;
      [[maybe_unused]] T w_y, kappa_y;
      if constexpr (isotropic) {
        rho.hessian(zx * zx + zy * zy, w, kappa);
        const T px = dual ? T(dual_x[r * width + c]) : w * zx, py = dual ? T(dual_y[r * width + c]) : w * zy;
        fx[e] = in_x * (w * (T(1) + lift<T>)-kappa * zx * px);
        fy[e] = in_y * (w * (T(1) + lift<T>)-kappa * zy * py);
        cross[e] = in_x * (in_y > T(0) ? T(-0.5) * kappa * (zx * py + zy * px) : T(0));
      } else {
        rho.hessian(zx * zx, w, kappa);
        rho.hessian(zy * zy, w_y, kappa_y);
        const T px = dual ? T(dual_x[r * width + c]) : w * zx,
                py = dual ? T(dual_y[r * width + c]) : w_y * zy;
        fx[e] = in_x * (w * (T(1) + lift<T>)-kappa * zx * px);
        fy[e] = in_y * (w_y * (T(1) + lift<T>)-kappa_y * zy * py);
      }
    };
    if (dual_x)
      block.for_each(f.row0, t.rows, f.column0, t.columns, [=](int r, int c) {
        weights(r, c, dx(x, r * pitch + c), dy(x, r * pitch + c), std::true_type{});
      });
    else
      block.for_each(f.row0, t.rows, f.column0, t.columns, [=](int r, int c) {
        weights(r, c, dx(x, r * pitch + c), dy(x, r * pitch + c), std::false_type{});
      });
    store(block, t, fx, fy, cross);
  }

 private:
  BILEVEL_HD void store(Block& block, const Tile& t, const T* fx, const T* fy, const T* cross) const {
    const TvModel& m = a.model;
    T* m11 = at(a.m11, m, t);
    T* m22 = at(a.m22, m, t);
    T* m12 = at(a.m12, m, t);
    T* inverse = at(a.inverse_diagonal, m, t);
    const T* s = at_shared(a.sampling, m, t);
    const T xi = T(m.xi);
    const int width = m.width;
    block.for_each(0, t.rows, 0, t.columns, [=](int r, int c) {
      const int e = r * pitch + c, o = r * width + c;
      m11[o] = fx[e];
      m22[o] = fy[e];
      T diagonal = xi + ((fx[e] + fx[e - 1]) + (fy[e] + fy[e - pitch]));
      if constexpr (isotropic) {
        m12[o] = cross[e];
        diagonal += T(2) * cross[e];
      }
      inverse[o] = diagonal;
    });
    block.for_each(0, t.rows, 0, t.columns, [=](int r, int c) {
      const int o = r * width + c;
      inverse[o] = T(1) / (inverse[o] + (s ? s[o] : T(1)));
    });
  }
};

template <class T, bool isotropic>
struct Hessian {
  static constexpr int sums = 1;
  static constexpr int scratch = halos<T>(3), resident = 4;
  TvHessianArgs<T> a;

  BILEVEL_HD void operator()(Block& block, const Tile& t, double* partial) const {
    const TvModel& m = a.model;
    const T* p = load(block, m, a.p, t);
    Flux<T> f(block, t);
    const T* m11 = at(a.m11, m, t);
    const T* m22 = at(a.m22, m, t);
    const T* m12 = at(a.m12, m, t);
    const int width = m.width;
    T *fx = f.x, *fy = f.y;
    block.for_each(f.row0, t.rows, f.column0, t.columns, [=](int r, int c) {
      const int e = r * pitch + c, o = r * width + c;
      hessian_flux<T, isotropic>(m11[o], m22[o], isotropic ? m12[o] : T(0), dx(p, e), dy(p, e), fx[e], fy[e]);
    });
    T* product = at(a.product, m, t);
    const T* s = at_shared(a.sampling, m, t);
    const T xi = T(m.xi);
    const auto out = [=](int r, int c, T weight) -> Sums<1> {
      const T v = p[r * pitch + c];
      const T g = weight * v + adjoint<T>(fx, fy, r, c);
      product[r * width + c] = g;
      return {{double(v) * g}};
    };
    if (s)
      block.reduce<1>(
          0, t.rows, 0, t.columns, [=](int r, int c) { return out(r, c, s[r * width + c] + xi); }, partial);
    else
      block.reduce<1>(
          0, t.rows, 0, t.columns, [=](int r, int c) { return out(r, c, T(1) + xi); }, partial);
  }
  BILEVEL_HD void finish(int image, const double* total) const { a.inner[image] = total[0]; }
};

template <class T, template <class> class Rho, bool isotropic>
struct Dual {
  static constexpr int sums = 0;
  static constexpr int scratch = halos<T>(2), resident = 4;
  TvDualArgs<T> a;

  BILEVEL_HD void operator()(Block& block, const Tile& t, double*) const {
    const TvModel& m = a.model;
    const T* x = load(block, m, a.x, t);
    const T* d = a.d ? load(block, m, a.d, t) : x;
    const T step = a.d ? T(a.step[t.image]) : T(0);
    const Rho<T> rho(m.nu);
    float* zeta_x = at(a.dual_x, m, t);
    float* zeta_y = at(a.dual_y, m, t);
    const int width = m.width;
    const bool start = a.d == nullptr;
    const T inside = T(1) - T(2.4e-7);  // of the unit ball, also after rounding to single precision
    block.for_each(0, t.rows, 0, t.columns, [=](int r, int c) {
      const int e = r * pitch + c, o = r * width + c;
      const T zx = dx(x, e), zy = dy(x, e), ex = step * dx(d, e), ey = step * dy(d, e);
      const T old_x = start ? T(0) : T(zeta_x[o]), old_y = start ? T(0) : T(zeta_y[o]);
      T w, kappa, w_y, kappa_y, nx, ny;
      if constexpr (isotropic) {
        rho.hessian(zx * zx + zy * zy, w, kappa);
        const T bend = kappa * (zx * ex + zy * ey);
        nx = w * (zx + ex) - bend * old_x;
        ny = w * (zy + ey) - bend * old_y;
        const T length = std::sqrt(nx * nx + ny * ny);
        const T scale = inside / maximum(length, inside);
        nx *= scale;
        ny *= scale;
      } else {
        rho.hessian(zx * zx, w, kappa);
        rho.hessian(zy * zy, w_y, kappa_y);
        nx = w * (zx + ex) - kappa * zx * ex * old_x;
        ny = w_y * (zy + ey) - kappa_y * zy * ey * old_y;
        nx = minimum(maximum(nx, -inside), inside);
        ny = minimum(maximum(ny, -inside), inside);
      }
      zeta_x[o] = static_cast<float>(nx);
      zeta_y[o] = static_cast<float>(ny);
    });
  }
};

template <class T, template <class> class Rho, bool isotropic>
struct MixedAdjoint {
  static constexpr int sums = 3;
  static constexpr int scratch = halos<T>(2), resident = 4;
  TvMixedAdjointArgs<T> a;

  BILEVEL_HD void operator()(Block& block, const Tile& t, double* partial) const {
    const T* x = load(block, a.model, a.x, t);
    const T* q = load(block, a.model, a.q, t);
    const Rho<T> rho(a.model.nu);
    block.reduce<3>(
        0, t.rows, 0, t.columns,
        [=](int r, int c) -> Sums<3> {
          const int e = r * pitch + c;
          const T zx = dx(x, e), zy = dy(x, e), ux = zx * dx(q, e), uy = zy * dy(q, e);
          T w, w_nu, w_y, w_nu_y;
          if constexpr (isotropic) {
            rho.weight_nu(zx * zx + zy * zy, w, w_nu);
            w_y = w;
            w_nu_y = w_nu;
          } else {
            rho.weight_nu(zx * zx, w, w_nu);
            rho.weight_nu(zy * zy, w_y, w_nu_y);
          }
          return {{double(w * ux + w_y * uy), double(w_nu * ux + w_nu_y * uy), double(x[e]) * q[e]}};
        },
        partial);
  }
  BILEVEL_HD void finish(int image, const double* total) const {
    a.weight[image] = total[0];
    a.smoothing[image] = total[1];
    a.ridge[image] = total[2];
  }
};

template <class T, template <class> class Rho, bool isotropic>
struct MixedForward {
  static constexpr int sums = 1;
  static constexpr int scratch = halos<T>(3), resident = 4;
  TvMixedForwardArgs<T> a;

  BILEVEL_HD void operator()(Block& block, const Tile& t, double* partial) const {
    const T* x = load(block, a.model, a.x, t);
    Flux<T> f(block, t);
    const Rho<T> rho(a.model.nu);
    const T weight = T(a.weight), smoothing = T(a.smoothing), ridge = T(a.ridge);
    T *fx = f.x, *fy = f.y;
    block.for_each(f.row0, t.rows, f.column0, t.columns, [=](int r, int c) {
      const int e = r * pitch + c;
      const T zx = dx(x, e), zy = dy(x, e);
      T w, w_nu;
      rho.weight_nu(isotropic ? zx * zx + zy * zy : zx * zx, w, w_nu);
      fx[e] = (weight * w + smoothing * w_nu) * zx;
      if constexpr (!isotropic) rho.weight_nu(zy * zy, w, w_nu);
      fy[e] = (weight * w + smoothing * w_nu) * zy;
    });
    T* out = at(a.out, a.model, t);
    const int width = a.model.width;
    block.reduce<1>(
        0, t.rows, 0, t.columns,
        [=](int r, int c) -> Sums<1> {
          const T g = ridge * x[r * pitch + c] + adjoint<T>(fx, fy, r, c);
          out[r * width + c] = g;
          return {{double(g) * g}};
        },
        partial);
  }
  BILEVEL_HD void finish(int image, const double* total) const { a.norm2[image] = total[0]; }
};

template <class T, template <class> class Rho, bool isotropic>
struct Bound {
  static constexpr int sums = tv_bound_sums, maxima = tv_bound_maxima;
  static constexpr int scratch = halos<T>(3), resident = 2;
  TvBoundArgs<T> a;

  BILEVEL_HD static Sums<sums> join(const Sums<sums>& x, const Sums<sums>& y) {
    Sums<sums> s = x;
    for (int k = 0; k < sums - maxima; ++k) s.v[k] += y.v[k];
    for (int k = sums - maxima; k < sums; ++k) s.v[k] = maximum(s.v[k], y.v[k]);
    return s;
  }

  BILEVEL_HD void operator()(Block& block, const Tile& t, double* partial) const {
    const TvModel& m = a.model;
    const T* x = load(block, m, a.x, t);
    const T* q = load(block, m, a.q, t);
    const T* v = a.v ? load(block, m, a.v, t) : q;
    const auto ball = TvBall<T, Rho<T>>::around(a, t.image, !isotropic || m.height == 1);
    block.reduce<sums, maxima>(
        0, t.rows, 0, t.columns,
        [=](int r, int c) -> Sums<sums> {
          const int e = r * pitch + c;
          const T zx = dx(x, e), zy = dy(x, e), gx = dx(q, e), gy = dy(q, e), hx = dx(v, e), hy = dy(v, e);
          double w;
          if constexpr (isotropic)
            return ball(zx * zx + zy * zy, gx * gx + gy * gy, hx * hx + hy * hy, w);
          else
            return join(ball(zx * zx, gx * gx, hx * hx, w), ball(zy * zy, gy * gy, hy * hy, w));
        },
        partial);
  }
  BILEVEL_HD void finish(int image, const double* total) const {
    for (int k = 0; k < sums; ++k) a.out[k * a.n + image] = total[k];
  }
};

/// Picks the body for the model's potential and isotropy.
template <class T, template <class, template <class> class, bool> class Body, class Args>
void dispatch(const Stream& stream, const Args& a) {
  const auto run = [&](auto body) { launch_tiles(stream, a.active, a.model.height, a.model.width, body); };
  const bool huber = a.model.potential == Potential::huber_c2;
  if (a.model.isotropic)
    huber ? run(Body<T, HuberC2, true>{a}) : run(Body<T, Charbonnier, true>{a});
  else
    huber ? run(Body<T, HuberC2, false>{a}) : run(Body<T, Charbonnier, false>{a});
}

template <class T>
void hessian(const Stream& stream, const TvHessianArgs<T>& a) {
  if (a.model.isotropic)
    launch_tiles(stream, a.active, a.model.height, a.model.width, Hessian<T, true>{a});
  else
    launch_tiles(stream, a.active, a.model.height, a.model.width, Hessian<T, false>{a});
}

}  // namespace

template <class T>
void fill_tv(Table<T>& table) {
  table.tv_energy = dispatch<T, Energy, TvEnergyArgs<T>>;
  table.tv_linearise = dispatch<T, Linearise, TvLineariseArgs<T>>;
  table.tv_hessian = hessian<T>;
  table.tv_dual = dispatch<T, Dual, TvDualArgs<T>>;
  table.tv_mixed_adjoint = dispatch<T, MixedAdjoint, TvMixedAdjointArgs<T>>;
  table.tv_mixed_forward = dispatch<T, MixedForward, TvMixedForwardArgs<T>>;
  table.tv_bound = dispatch<T, Bound, TvBoundArgs<T>>;
}
template void fill_tv(Table<float>&);
template void fill_tv(Table<double>&);

}  // namespace bilevel::kernels::BILEVEL_BACKEND
