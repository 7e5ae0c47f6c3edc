// Smoothed isotropic total variation joint over the C components of images [N,C,H,W], forward differences
// with zero last difference: z_p holds the 2C differences of a pixel, and
// rho is taken of its modulus. Beside a data term whose value, gradient or product is there already.

#include <type_traits>

#include "kernels/joint_tv_pixel.hpp"
#include "kernels/launch.hpp"
#include "kernels/table.hpp"
#include "kernels/tv_ball.hpp"

namespace bilevel::kernels::BILEVEL_BACKEND {
namespace {

/// Address of pixel (0,0) of the tile inside plane `k` of its image's `planes`.
template <class T>
BILEVEL_HD inline T* plane_at(T* batch, const TvModel& m, const Tile& t, int planes, int k) {
  return batch + ((static_cast<long long>(t.image) * planes + k) * m.height + t.row) * m.width + t.column;
}

/// The components of the tile's image with their halo.
template <class T, int C>
struct Halo {
  const T* v[C];

  BILEVEL_HD Halo(Block& block, const TvModel& m, const T* batch, const Tile& t) {
    for (int k = 0; k < C; ++k) {
      T* buffer = block.scratch<T>(halo_size);
      load_halo(block, batch + (static_cast<long long>(t.image) * C + k) * m.height * m.width, m.height,
                m.width, t, buffer, pitch);
      v[k] = buffer + pitch + 1;
    }
  }
  /// |z|^2 of the pixel at e.
  BILEVEL_HD T modulus2(int e) const {
    T sum = 0;
    BILEVEL_UNROLL
    for (int k = 0; k < C; ++k) sum += dx(v[k], e) * dx(v[k], e) + dy(v[k], e) * dy(v[k], e);
    return sum;
  }
};

/// Differences read from the image itself, zero across the right and lower border.
template <class T, int C>
struct Differences {
  const T* v;  // pixel (0,0) of the tile in the first component
  long long size;
  int width, last_row, last_column;

  BILEVEL_HD Differences(const TvModel& m, const T* batch, const Tile& t)
      : v(plane_at(batch, m, t, C, 0)),
        size(static_cast<long long>(m.height) * m.width),
        width(m.width),
        last_row(m.height - 1 - t.row),
        last_column(m.width - 1 - t.column) {}

  BILEVEL_HD T value(int k, int r, int c) const { return v[k * size + r * width + c]; }
  BILEVEL_HD T x(int k, int r, int c) const {
    const T* p = v + k * size + r * width + c;
    return p[c < last_column ? 1 : 0] - p[0];
  }
  BILEVEL_HD T y(int k, int r, int c) const {
    const T* p = v + k * size + r * width + c;
    return p[r < last_row ? width : 0] - p[0];
  }
  /// <Ka, Kb> of a pixel.
  BILEVEL_HD T inner(const Differences& other, int r, int c) const {
    T sum = 0;
    BILEVEL_UNROLL
    for (int k = 0; k < C; ++k) sum += x(k, r, c) * other.x(k, r, c) + y(k, r, c) * other.y(k, r, c);
    return sum;
  }
};

/// (K^T (w z))_e of one component, w and v with their halo: differences across the border are zero.
template <class T>
BILEVEL_HD inline T weighted_adjoint(const T* w, const T* v, int e) {
  return (w[e - 1] * dx(v, e - 1) - w[e] * dx(v, e)) + (w[e - pitch] * dy(v, e - pitch) - w[e] * dy(v, e));
}

template <class T, template <class> class Rho, int C>
struct Gradient {
  static constexpr int sums = 4;
  static constexpr int scratch = halos<T>(C + 1), resident = 4;
  JointTvGradientArgs<T> a;

  BILEVEL_HD void operator()(Block& block, const Tile& t, double* partial) const {
    const Halo<T, C> x(block, a.model, a.x, t);
    T* weight = block.scratch<T>(halo_size) + pitch + 1;
    const Rho<T> rho(a.model.nu);
    const T alpha = T(a.model.alpha), xi = T(a.model.xi);
    const auto weigh = [=](int r, int c) -> Sums<2> {
      const int e = r * pitch + c;
      return joint_weight(rho, alpha, x.modulus2(e), weight[e]);
    };
    block.for_each(-1, 0, -1, t.columns, [=](int r, int c) { weigh(r, c); });
    block.reduce<2>(0, t.rows, -1, t.columns, weigh, partial);

    const int width = a.model.width;
    const long long size = static_cast<long long>(a.model.height) * width;
    T* gradient = plane_at(a.gradient, a.model, t, C, 0);
    block.reduce<2>(
        0, t.rows, 0, t.columns,
        [=](int r, int c) -> Sums<2> {
          const int e = r * pitch + c;
          Sums<2> s = {};
          BILEVEL_UNROLL
          for (int k = 0; k < C; ++k) {
            const T v = x.v[k][e];
            T& out = gradient[k * size + r * width + c];
            const T g = out + xi * v + weighted_adjoint(weight, x.v[k], e);
            out = g;
            s.v[0] += double(v) * v;
            s.v[1] += double(g) * g;
          }
          return s;
        },
        partial + 2);
  }

  BILEVEL_HD void finish(int image, const double* total) const { finish_joint_gradient(a, image, total); }
};

template <class T, template <class> class Rho, int C>
struct Linearise {
  static constexpr int sums = 0;
  static constexpr int scratch = halos<T>(C + 2), resident = 4;
  JointTvLineariseArgs<T> a;

  /// w, kappa z and zeta of one pixel, each by component: x-differences first.
  struct Matrix {
    T w, a[2 * C], zeta[2 * C];
  };

  BILEVEL_HD void operator()(Block& block, const Tile& t, double*) const {
    const TvModel& m = a.model;
    const Halo<T, C> x(block, m, a.x, t);
    T* m11 = block.scratch<T>(halo_size) + pitch + 1;
    T* m22 = block.scratch<T>(halo_size) + pitch + 1;
    const Rho<T> rho(m.nu);
    const T alpha = T(m.alpha);
    const int width = m.width;
    const long long size = static_cast<long long>(m.height) * width, batch = size * C * a.n;
    const float* dual = a.dual ? plane_at(a.dual, m, t, C, 0) : nullptr;
    const auto matrix = [=](auto given) {
      return [=](int r, int c) {
        const int e = r * pitch + c;
        T w, kappa;
        rho.hessian(x.modulus2(e), w, kappa);
        Matrix out;
        out.w = alpha * w * (T(1) + lift<T>);
        BILEVEL_UNROLL
        for (int k = 0; k < C; ++k) {
          const T zx = dx(x.v[k], e), zy = dy(x.v[k], e);
          out.a[k] = alpha * kappa * zx;
          out.a[C + k] = alpha * kappa * zy;
          if constexpr (decltype(given)::value) {
            out.zeta[k] = T(dual[k * size + r * width + c]);
            out.zeta[C + k] = T(dual[batch + k * size + r * width + c]);
          } else {
            out.zeta[k] = w * zx;
            out.zeta[C + k] = w * zy;
          }
        }
        return out;
      };
    };
    if (dual)
      write(block, t, matrix(std::true_type{}), m11, m22);
    else
      write(block, t, matrix(std::false_type{}), m11, m22);
  }

 private:
  template <class F>
  BILEVEL_HD void write(Block& block, const Tile& t, F matrix, T* m11, T* m22) const {
    const int width = a.model.width;
    const long long size = static_cast<long long>(a.model.height) * width, batch = size * C * a.n;
    T* weights = plane_at(a.weights, a.model, t, C, 0);
    T *w = weights, *planes[4 * C];
    for (int k = 0; k < 4 * C; ++k) planes[k] = weights + ((1 + k) / C) * batch + ((1 + k) % C) * size;
    block.for_each(0, t.rows, 0, t.columns, [=](int r, int c) {
      const Matrix here = matrix(r, c);
      const int o = r * width + c;
      w[o] = here.w;
      BILEVEL_UNROLL
      for (int k = 0; k < 2 * C; ++k) {
        planes[k][o] = here.a[k];
        planes[2 * C + k][o] = here.zeta[k];
      }
    });
    diagonal(block, t, matrix, m11, m22);
  }

  /// xi + data + diag(K^T M K): rows of K that vanish at the right and lower border do not count.
  template <class F>
  BILEVEL_HD void diagonal(Block& block, const Tile& t, F matrix, T* m11, T* m22) const {
    const int row0 = t.row > 0 ? -1 : 0, column0 = t.column > 0 ? -1 : 0;
    if (row0 == 0) block.for_each(-1, 0, -1, t.columns, [=](int r, int c) { m22[r * pitch + c] = T(0); });
    if (column0 == 0) block.for_each(-1, t.rows, -1, 0, [=](int r, int c) { m11[r * pitch + c] = T(0); });
    component<0>(block, t, matrix, m11, m22, row0, column0);
    if constexpr (C == 2) component<1>(block, t, matrix, m11, m22, row0, column0);
  }

  template <int k, class F>
  BILEVEL_HD void component(Block& block, const Tile& t, F matrix, T* m11, T* m22, int row0,
                            int column0) const {
    const TvModel& m = a.model;
    const int width = m.width, last_column = m.width - 1 - t.column, last_row = m.height - 1 - t.row;
    const T* power = a.coil_power ? at_shared(a.coil_power, m, t) : nullptr;
    const T data = T(a.data_diagonal), xi = T(m.xi);
    block.for_each(row0, t.rows, column0, t.columns, [=](int r, int c) {
      const Matrix here = matrix(r, c);
      const int e = r * pitch + c;
      const T in_x = c < last_column ? T(1) : T(0), in_y = r < last_row ? T(1) : T(0);
      m11[e] = in_x * (here.w - here.a[k] * here.zeta[k]);
      m22[e] = in_y * (here.w - here.a[C + k] * here.zeta[C + k]);
    });
    T* inverse = plane_at(a.inverse_diagonal, m, t, C, k);
    block.for_each(0, t.rows, 0, t.columns, [=](int r, int c) {
      const Matrix here = matrix(r, c);
      const int e = r * pitch + c;
      const T inside = c < last_column && r < last_row ? T(1) : T(0);
      const T cross = inside * (here.a[k] * here.zeta[C + k] + here.a[C + k] * here.zeta[k]);
      const T tv = ((m11[e] + m11[e - 1]) + (m22[e] + m22[e - pitch])) - cross;
      inverse[r * width + c] = xi + tv;
    });
    block.for_each(0, t.rows, 0, t.columns, [=](int r, int c) {
      const int o = r * width + c;
      inverse[o] = T(1) / (inverse[o] + data * (power ? power[o] : T(1)));
    });
  }
};

template <class T, int C>
struct Hessian {
  static constexpr int sums = 1;
  static constexpr int scratch = halos<T>(C + 2), resident = 4;
  JointTvHessianArgs<T> a;

  BILEVEL_HD void operator()(Block& block, const Tile& t, double* partial) const {
    const TvModel& m = a.model;
    const Halo<T, C> p(block, m, a.p, t);
    const Flux<T> f(block, t);
    const JointPlanes<T, C> w(plane_at(a.weights, m, t, C, 0), m, a.n);
    component<0>(block, t, p, f, w, partial);
    if constexpr (C == 2) component<1>(block, t, p, f, w, partial);
  }
  BILEVEL_HD void finish(int image, const double* total) const { a.inner[image] = total[0]; }

 private:
  /// Row k of A p: the flux field of one component at a time, for the sake of shared memory.
  template <int k>
  BILEVEL_HD void component(Block& block, const Tile& t, const Halo<T, C>& p, const Flux<T>& f,
                            const JointPlanes<T, C>& weights, double* partial) const {
    const int width = a.model.width;
    T *fx = f.x, *fy = f.y;
    const T xi = T(a.model.xi);
    block.for_each(f.row0, t.rows, f.column0, t.columns, [=](int r, int c) {
      const int e = r * pitch + c, o = r * width + c;
      T px[C], py[C], along, across;
      BILEVEL_UNROLL
      for (int l = 0; l < C; ++l) {
        px[l] = dx(p.v[l], e);
        py[l] = dy(p.v[l], e);
      }
      weights.turn(o, px, py, along, across);
      weights.flux(o, k, px[k], py[k], along, across, fx[e], fy[e]);
    });
    T* product = plane_at(a.product, a.model, t, C, k);
    const T* own = p.v[k];
    block.template reduce<1>(
        0, t.rows, 0, t.columns,
        [=](int r, int c) -> Sums<1> {
          const T v = own[r * pitch + c];
          const T g = product[r * width + c] + xi * v + adjoint(fx, fy, r, c);
          product[r * width + c] = g;
          return {{double(v) * g}};
        },
        partial);
  }
};

template <class T, template <class> class Rho, int C>
struct Dual {
  static constexpr int sums = 0;
  static constexpr int scratch = 0, resident = 4;
  JointTvDualArgs<T> a;

  BILEVEL_HD void operator()(Block& block, const Tile& t, double*) const {
    const TvModel& m = a.model;
    const bool start = a.d == nullptr;
    const Differences<T, C> z(m, a.x, t), d(m, start ? a.x : a.d, t);
    const T step = start ? T(0) : T(a.step[t.image]);
    const Rho<T> rho(m.nu);
    const int width = m.width;
    const long long size = z.size, batch = size * C * a.n;
    float* zeta = plane_at(a.dual, m, t, C, 0);
    const T inside = T(1) - T(2.4e-7);  // of the unit ball, also after rounding to single precision
    block.for_each(0, t.rows, 0, t.columns, [=](int r, int c) {
      const int o = r * width + c;
      T w, kappa, n[2 * C], length2 = 0;
      rho.hessian(z.inner(z, r, c), w, kappa);
      const T bend = kappa * step * z.inner(d, r, c);
      BILEVEL_UNROLL
      for (int k = 0; k < C; ++k) {
        const T old_x = start ? T(0) : T(zeta[k * size + o]),
                old_y = start ? T(0) : T(zeta[batch + k * size + o]);
        n[k] = w * (z.x(k, r, c) + step * d.x(k, r, c)) - bend * old_x;
        n[C + k] = w * (z.y(k, r, c) + step * d.y(k, r, c)) - bend * old_y;
        length2 += n[k] * n[k] + n[C + k] * n[C + k];
      }
      const T scale = inside / maximum(std::sqrt(length2), inside);
      BILEVEL_UNROLL
      for (int k = 0; k < C; ++k) {
        zeta[k * size + o] = static_cast<float>(scale * n[k]);
        zeta[batch + k * size + o] = static_cast<float>(scale * n[C + k]);
      }
    });
  }
};

template <class T, template <class> class Rho, int C>
struct MixedAdjoint {
  static constexpr int sums = 3;
  static constexpr int scratch = 0, resident = 4;
  JointTvMixedAdjointArgs<T> a;

  BILEVEL_HD void operator()(Block& block, const Tile& t, double* partial) const {
    const Differences<T, C> z(a.model, a.x, t), q(a.model, a.q, t);
    const Rho<T> rho(a.model.nu);
    block.reduce<3>(
        0, t.rows, 0, t.columns,
        [=](int r, int c) -> Sums<3> {
          T w, w_nu;
          rho.weight_nu(z.inner(z, r, c), w, w_nu);
          const T u = z.inner(q, r, c);
          double ridge = 0;
          BILEVEL_UNROLL
          for (int k = 0; k < C; ++k) ridge += double(z.value(k, r, c)) * q.value(k, r, c);
          return {{double(w * u), double(w_nu * u), ridge}};
        },
        partial);
  }
  BILEVEL_HD void finish(int image, const double* total) const {
    a.weight[image] = total[0];
    a.smoothing[image] = total[1];
    a.ridge[image] = total[2];
  }
};

template <class T, template <class> class Rho, int C>
struct MixedForward {
  static constexpr int sums = 1;
  static constexpr int scratch = halos<T>(C + 1), resident = 4;
  JointTvMixedForwardArgs<T> a;

  BILEVEL_HD void operator()(Block& block, const Tile& t, double* partial) const {
    const Halo<T, C> x(block, a.model, a.x, t);
    T* combined = block.scratch<T>(halo_size) + pitch + 1;
    const Rho<T> rho(a.model.nu);
    const T weight = T(a.weight), smoothing = T(a.smoothing), ridge = T(a.ridge);
    block.for_each(-1, t.rows, -1, t.columns, [=](int r, int c) {
      const int e = r * pitch + c;
      T w, w_nu;
      rho.weight_nu(x.modulus2(e), w, w_nu);
      combined[e] = weight * w + smoothing * w_nu;
    });
    const int width = a.model.width;
    const long long size = static_cast<long long>(a.model.height) * width;
    T* out = plane_at(a.out, a.model, t, C, 0);
    block.reduce<1>(
        0, t.rows, 0, t.columns,
        [=](int r, int c) -> Sums<1> {
          const int e = r * pitch + c;
          Sums<1> s = {};
          BILEVEL_UNROLL
          for (int k = 0; k < C; ++k) {
            T& o = out[k * size + r * width + c];
            const T g = o + ridge * x.v[k][e] + weighted_adjoint(combined, x.v[k], e);
            o = g;
            s.v[0] += double(g) * g;
          }
          return s;
        },
        partial);
  }
  BILEVEL_HD void finish(int image, const double* total) const { a.norm2[image] = total[0]; }
};

template <class T, template <class> class Rho, int C>
struct Bound {
  static constexpr int sums = joint_tv_bound_sums, maxima = tv_bound_maxima;
  static constexpr int scratch = 0, resident = 2;
  JointTvBoundArgs<T> a;

  BILEVEL_HD void operator()(Block& block, const Tile& t, double* partial) const {
    const Differences<T, C> z(a.model, a.x, t), q(a.model, a.q, t), v(a.model, a.v ? a.v : a.q, t);
    const auto ball = TvBall<T, Rho<T>>::around(a, t.image, C == 1 && a.model.height == 1);
    block.reduce<sums, maxima>(
        0, t.rows, 0, t.columns,
        [=](int r, int c) -> Sums<sums> {
          const T z2 = z.inner(z, r, c);
          double w;
          const Sums<tv_bound_sums> s = ball(z2, q.inner(q, r, c), v.inner(v, r, c), w);
          T value, slope;
          ball.rho.value_weight(z2, value, slope);
          const double psi2 = double(slope) * slope * z2;
          Sums<sums> out;
          constexpr int first = tv_bound_sums - tv_bound_maxima;
          for (int k = 0; k < first; ++k) out.v[k] = s.v[k];
          out.v[first] = psi2;
          out.v[first + 1] = psi2 * w;
          out.v[first + 2] = 0;
          BILEVEL_UNROLL
          for (int k = 0; k < C; ++k) out.v[first + 2] += double(z.value(k, r, c)) * z.value(k, r, c);
          for (int k = first; k < tv_bound_sums; ++k) out.v[k + 3] = s.v[k];
          return out;
        },
        partial);
  }
  BILEVEL_HD void finish(int image, const double* total) const {
    for (int k = 0; k < sums; ++k) a.out[k * a.n + image] = total[k];
  }
};

/// Picks the body for the model's potential and the number of components.
template <class T, template <class, template <class> class, int> class Body, class Args>
void dispatch(const Stream& stream, const Args& a) {
  const auto run = [&](auto body) { launch_tiles(stream, a.active, a.model.height, a.model.width, body); };
  const bool huber = a.model.potential == Potential::huber_c2;
  if (a.components == 2)
    huber ? run(Body<T, HuberC2, 2>{a}) : run(Body<T, Charbonnier, 2>{a});
  else
    huber ? run(Body<T, HuberC2, 1>{a}) : run(Body<T, Charbonnier, 1>{a});
}

template <class T>
void hessian(const Stream& stream, const JointTvHessianArgs<T>& a) {
  if (a.components == 2)
    launch_tiles(stream, a.active, a.model.height, a.model.width, Hessian<T, 2>{a});
  else
    launch_tiles(stream, a.active, a.model.height, a.model.width, Hessian<T, 1>{a});
}

}  // namespace

template <class T>
void fill_joint_tv(Table<T>& table) {
  table.joint_tv_gradient = dispatch<T, Gradient, JointTvGradientArgs<T>>;
  table.joint_tv_linearise = dispatch<T, Linearise, JointTvLineariseArgs<T>>;
  table.joint_tv_hessian = hessian<T>;
  table.joint_tv_dual = dispatch<T, Dual, JointTvDualArgs<T>>;
  table.joint_tv_mixed_adjoint = dispatch<T, MixedAdjoint, JointTvMixedAdjointArgs<T>>;
  table.joint_tv_mixed_forward = dispatch<T, MixedForward, JointTvMixedForwardArgs<T>>;
  table.joint_tv_bound = dispatch<T, Bound, JointTvBoundArgs<T>>;
}
template void fill_joint_tv(Table<float>&);
template void fill_joint_tv(Table<double>&);

}  // namespace bilevel::kernels::BILEVEL_BACKEND
