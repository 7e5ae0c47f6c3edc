// Fused vector updates and Krylov steps on batches of vectors; sums in double over a fixed partition.

#include "kernels/krylov_steps.hpp"
#include "kernels/launch.hpp"
#include "kernels/table.hpp"

namespace bilevel::kernels::BILEVEL_BACKEND {
namespace {

template <class T, bool extrapolated>
struct Momentum {
  static constexpr int sums = 0;
  static constexpr int scratch = 0, resident = 4;
  MomentumArgs<T> a;

  /// Heavy ball: x+ = x - s g + m (x - previous). FISTA: previous+ = x - s g, x+ = previous+ + m (previous+ -
  /// previous).
  BILEVEL_HD void operator()(Block& block, const Tile& t, double*) const {
    T* x = image_of(a.x, a.size, t);
    T* previous = image_of(a.previous, a.size, t);
    const T* g = image_of(a.g, a.size, t);
    const T step = T(a.step), momentum = T(a.momentum);
    block.for_elements(t.column, t.columns, [=](int e) {
      const T old = x[e], moved = old - step * g[e];
      x[e] = moved + momentum * ((extrapolated ? moved : old) - previous[e]);
      previous[e] = extrapolated ? moved : old;
    });
  }
};

/// Both steps of Momentum, chosen per image.
template <class T>
struct Guarded {
  static constexpr int sums = 0;
  static constexpr int scratch = 0, resident = 4;
  Momentum<T, false> heavy_ball;
  Momentum<T, true> safe;
  const double* guard;

  BILEVEL_HD void operator()(Block& block, const Tile& t, double* partial) const {
    if (guard[t.image] > 0)
      safe(block, t, partial);
    else
      heavy_ball(block, t, partial);
  }
};

/// 3r 2w; the sum decides on the restart.
template <class T>
struct RestartStep {
  static constexpr int sums = 1;
  static constexpr int scratch = 0, resident = 4;
  RestartStepArgs<T> a;

  BILEVEL_HD void operator()(Block& block, const Tile& t, double* partial) const {
    T* x = image_of(a.x, a.size, t);
    T* previous = image_of(a.previous, a.size, t);
    const T* g = image_of(a.g, a.size, t);
    const double now = after(a.t[t.image]), next = after(now);
    const T step = T(a.step), momentum = a.q < 1 ? T((now - 1) / next * (1 - a.q * next) / (1 - a.q)) : T(0);
    block.reduce_elements<1>(
        t.column, t.columns,
        [=](int e) -> Sums<1> {
          const T moved = x[e] - step * g[e], change = moved - previous[e];
          x[e] = moved + momentum * change;
          previous[e] = moved;
          return {{double(g[e]) * change}};
        },
        partial);
  }
  BILEVEL_HD void finish(int image, const double* total) const {
    const bool restart = total[0] > 0;
    a.restarted[image] = restart ? 1 : 0;
    a.t[image] = restart ? 0 : after(a.t[image]);
  }

 private:
  BILEVEL_HD double after(double t) const {
    const double c = 1 - a.q * t * t;
    return 0.5 * (c + std::sqrt(c * c + 4 * t * t));
  }
};

/// 1r 1w for the images that start anew.
template <class T>
struct Restart {
  static constexpr int sums = 0;
  static constexpr int scratch = 0, resident = 4;
  RestartArgs<T> a;

  BILEVEL_HD void operator()(Block& block, const Tile& t, double*) const {
    if (!(a.restarted[t.image] > 0)) return;
    T* x = image_of(a.x, a.size, t);
    const T* previous = image_of(a.previous, a.size, t);
    block.for_elements(t.column, t.columns, [=](int e) { x[e] = previous[e]; });
  }
};

template <class T>
struct CgStart {
  static constexpr int sums = 2;
  static constexpr int scratch = 0, resident = 4;
  CgStartArgs<T> a;

  BILEVEL_HD void operator()(Block& block, const Tile& t, double* partial) const {
    const T* source = image_of(a.source, a.size, t);
    const T* inverse = image_of(a.inverse_diagonal, a.size, t);
    T* x = image_of(a.x, a.size, t);
    T* r = image_of(a.r, a.size, t);
    T* p = image_of(a.p, a.size, t);
    const T sign = T(a.sign);
    if (source) block.for_elements(t.column, t.columns, [=](int e) { r[e] = sign * source[e]; });
    if (a.zero) block.for_elements(t.column, t.columns, [=](int e) { x[e] = T(0); });
    if (inverse)
      block.for_elements(t.column, t.columns, [=](int e) { p[e] = inverse[e] * r[e]; });
    else
      block.for_elements(t.column, t.columns, [=](int e) { p[e] = r[e]; });
    block.reduce_elements<2>(
        t.column, t.columns,
        [=](int e) -> Sums<2> {
          return {{double(r[e]) * r[e], double(r[e]) * p[e]}};
        },
        partial);
  }
  BILEVEL_HD void finish(int image, const double* total) const {
    const CgState& s = a.state;
    s.rr[image] = total[0];
    s.rz[image] = total[1];
    if (!(std::sqrt(total[0]) > s.target[image])) s.mask[image] = 0;
    if (!(total[0] < HUGE_VAL) || !(total[1] > 0)) s.mask[image] = 0;
  }
};

template <class T>
struct CgUpdate {
  static constexpr int sums = 2;
  static constexpr int scratch = 0, resident = 4;
  CgUpdateArgs<T> a;

  BILEVEL_HD void operator()(Block& block, const Tile& t, double* partial) const {
    const T step = cg_step<T>(a.state, t.image);
    const T* p = image_of(a.p, a.size, t);
    const T* product = image_of(a.product, a.size, t);
    const T* inverse = image_of(a.inverse_diagonal, a.size, t);
    T* x = image_of(a.x, a.size, t);
    T* r = image_of(a.r, a.size, t);
    const auto move = [=](int e) {
      x[e] += step * p[e];
      const T residual = r[e] - step * product[e];
      r[e] = residual;
      return residual;
    };
    if (inverse)
      block.reduce_elements<2>(
          t.column, t.columns,
          [=](int e) -> Sums<2> {
            const T residual = move(e);
            return {{double(residual) * residual, double(residual) * (inverse[e] * residual)}};
          },
          partial);
    else
      block.reduce_elements<2>(
          t.column, t.columns,
          [=](int e) -> Sums<2> {
            const T residual = move(e);
            const double square = double(residual) * residual;
            return {{square, square}};
          },
          partial);
  }
  BILEVEL_HD void finish(int image, const double* total) const { finish_cg_update(a.state, image, total); }
};

template <class T>
struct CgDirection {
  static constexpr int sums = 0;
  static constexpr int scratch = 0, resident = 4;
  CgDirectionArgs<T> a;

  BILEVEL_HD void operator()(Block& block, const Tile& t, double*) const {
    const T* r = image_of(a.r, a.size, t);
    const T* inverse = image_of(a.inverse_diagonal, a.size, t);
    T* p = image_of(a.p, a.size, t);
    const T beta = T(a.beta[t.image]);
    if (inverse)
      block.for_elements(t.column, t.columns, [=](int e) { p[e] = inverse[e] * r[e] + beta * p[e]; });
    else
      block.for_elements(t.column, t.columns, [=](int e) { p[e] = r[e] + beta * p[e]; });
  }
};

template <class T>
struct Residual {
  static constexpr int sums = 3;
  static constexpr int scratch = 0, resident = 4;
  ResidualArgs<T> a;

  BILEVEL_HD void operator()(Block& block, const Tile& t, double* partial) const {
    const T* b = image_of(a.b, a.size, t);
    const T* product = image_of(a.product, a.size, t);
    const T* x = image_of(a.x, a.size, t);
    T* r = image_of(a.r, a.size, t);
    block.reduce_elements<3>(
        t.column, t.columns,
        [=](int e) -> Sums<3> {
          const T residual = b[e] - product[e];
          r[e] = residual;
          return {{double(residual) * residual, double(x[e]) * x[e], double(b[e]) * b[e]}};
        },
        partial);
  }
  BILEVEL_HD void finish(int image, const double* total) const {
    a.rr[image] = total[0];
    a.xx[image] = total[1];
    a.bb[image] = total[2];
  }
};

template <class T>
struct Combine {
  static constexpr int sums = 0;
  static constexpr int scratch = 0, resident = 4;
  CombineArgs<T> a;

  BILEVEL_HD void operator()(Block& block, const Tile& t, double*) const {
    const T* x = image_of(a.x, a.size, t);
    const T* y = image_of(a.y, a.size, t);
    T* out = image_of(a.out, a.size, t);
    const T u = T(a.scale_x * (a.factor_x ? a.factor_x[t.image] : 1.0));
    const T v = T(a.scale_y * (a.factor_y ? a.factor_y[t.image] : 1.0));
    if (y)
      block.for_elements(t.column, t.columns, [=](int e) { out[e] = u * x[e] + v * y[e]; });
    else
      block.for_elements(t.column, t.columns, [=](int e) { out[e] = u * x[e]; });
  }
};

template <class T>
struct Dot {
  static constexpr int sums = 1;
  static constexpr int scratch = 0, resident = 4;
  DotArgs<T> a;

  BILEVEL_HD void operator()(Block& block, const Tile& t, double* partial) const {
    const T* x = image_of(a.x, a.size, t);
    const T* y = image_of(a.y, a.size, t);
    if (a.difference)
      block.reduce_elements<1>(
          t.column, t.columns,
          [=](int e) -> Sums<1> {
            const double d = double(x[e]) - double(y[e]);
            return {{d * d}};
          },
          partial);
    else
      block.reduce_elements<1>(
          t.column, t.columns, [=](int e) -> Sums<1> { return {{double(x[e]) * y[e]}}; }, partial);
  }
  BILEVEL_HD void finish(int image, const double* total) const { a.out[image] = total[0]; }
};

template <class T, template <class> class Body, class Args>
void elements(const Stream& stream, const Args& a) {
  launch_elements(stream, a.active, a.size, Body<T>{a});
}

template <class T, bool extrapolated>
void momentum(const Stream& stream, const MomentumArgs<T>& a) {
  launch_elements(stream, a.active, a.size, Momentum<T, extrapolated>{a});
}

template <class T>
void guarded_step(const Stream& stream, const GuardedArgs<T>& a) {
  MomentumArgs<T> safe = a.heavy_ball;
  safe.step = a.step;
  safe.momentum = a.momentum;
  launch_elements(stream, safe.active, safe.size, Guarded<T>{{a.heavy_ball}, {safe}, a.guard});
}

template <class T>
struct Fill {
  T* target;
  T value;
  BILEVEL_HD void operator()(std::size_t e) const { target[e] = value; }
};

template <class T>
void fill(const Stream& stream, T* target, std::size_t size, T value) {
  launch_range(stream, size, Fill<T>{target, value});
}

}  // namespace

template <class T>
void fill_krylov(Table<T>& table) {
  table.momentum_step = momentum<T, false>;
  table.fista_step = momentum<T, true>;
  table.guarded_step = guarded_step<T>;
  table.restart_step = elements<T, RestartStep, RestartStepArgs<T>>;
  table.restart = elements<T, Restart, RestartArgs<T>>;
  table.cg_start = elements<T, CgStart, CgStartArgs<T>>;
  table.cg_update = elements<T, CgUpdate, CgUpdateArgs<T>>;
  table.cg_direction = elements<T, CgDirection, CgDirectionArgs<T>>;
  table.residual = elements<T, Residual, ResidualArgs<T>>;
  table.combine = elements<T, Combine, CombineArgs<T>>;
  table.dot = elements<T, Dot, DotArgs<T>>;
  table.fill = fill<T>;
}
template void fill_krylov(Table<float>&);
template void fill_krylov(Table<double>&);

}  // namespace bilevel::kernels::BILEVEL_BACKEND
