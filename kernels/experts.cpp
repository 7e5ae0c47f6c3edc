// Fields of experts on [N,C,H,W]. A block holds its tile of the image with a
// halo of 2R pixels and takes the filters one after the other: responses on the tile and R pixels around it,
// their pointwise function as a field, and the adjoint correlation of the field added to the tile's gradient.

#include "kernels/experts_finish.hpp"
#include "kernels/experts_tile.hpp"
#include "kernels/table.hpp"

namespace bilevel::kernels::BILEVEL_BACKEND {
namespace {

/// Scratch of a body that applies C_k^T f(C_k x): the image, a field, the sum over the filters.
template <class T, int S>
struct Shape {
  static constexpr int R = S / 2, rows = Block::patch_rows, columns = Block::patch_columns;
  using Image = Plane<T, rows, columns, 2 * R, 3>;
  using Near = Plane<T, rows, columns, R, 3>;  // the image for responses on the tile alone
  using Field = Plane<T, rows, columns, R>;
  using Own = Plane<T, rows, columns, 0>;
};

template <class T, int S>
struct Energy {
  using Of = Shape<T, S>;
  static constexpr int rows = Of::rows, columns = Of::columns;
  static constexpr int sums = 5, work = 4 * S * S;
  static constexpr int scratch = Of::Image::bytes + Of::Field::bytes + Of::Own::bytes + Taps<T, S>::bytes;
  static constexpr int resident = sizeof(T) == 8 ? 2 : 3;
  ExpertsEnergyArgs<T> a;

  BILEVEL_HD void operator()(Block& block, const ChannelTile& t, double* partial) const {
    const ExpertsModel<T>& m = a.model;
    const typename Of::Image x(block);
    const typename Of::Field field(block);
    const typename Of::Own sum(block);
    const Taps<T, S> taps(block);
    x.load(block, m, a.x, t);
    field.zero(block);
    sum.zero(block);
    typename Block::template Running<2> running;
    const Region near = responses<S>(m, t, Of::R);
    const unsigned height = static_cast<unsigned>(t.rows), width = static_cast<unsigned>(t.columns);
    for (int k = 0; k < m.filters; ++k) {
      taps.load(block, m.taps, k);
      const T b = m.weight[k];
      const double rounding = a.unit > 0 ? a.rounding_psi[k] : 0, share = rounding * rounding;
      T* f = field.origin;
      with_potential(m, k, [&](auto rho) {
        correlate<S>(block, near, x, taps.forward, [=, &running](int r, int c, T s) {
          T value, w;
          rho.value_weight(s * s, value, w);
          const T psi = w * s;
          f[r * Of::Field::pitch + c] = b * psi;
          const bool own = static_cast<unsigned>(r) < height && static_cast<unsigned>(c) < width;
          running.add(c, {{own ? double(b) * value : 0, own ? share * (double(psi) * psi) : 0}});
        });
      });
      add_adjoint(block, m, t, field, taps, sum);
    }
    block.join(running, partial);
    store(block, t, x.origin, sum.origin, partial + 2);
  }

  BILEVEL_HD void finish(int image, const double* total) const { finish_experts_energy(a, image, total); }

 private:
  BILEVEL_HD void store(Block& block, const ChannelTile& t, const T* x, const T* sum, double* partial) const {
    const T* y = a.y ? pixels_at(a.y, a.model, t) : nullptr;
    const T* s = sampling_at(a.sampling, a.model, t);
    T* gradient = pixels_at(a.gradient, a.model, t);
    const int width = a.model.width;
    const T mu = a.model.mu;
    // d: S (x - y), or the gradient of the terms before
    const auto out = [=](int r, int c, T v, T d, T fit) -> Sums<3> {
      const T g = d + mu * v + sum[r * columns + c];
      gradient[r * width + c] = g;
      return {{double(fit) * fit, double(v) * v, double(g) * g}};
    };
    if (y == nullptr)
      block.template reduce<3>(
          0, t.rows, 0, t.columns,
          [=](int r, int c) { return out(r, c, x[r * Of::Image::pitch + c], gradient[r * width + c], T(0)); },
          partial);
    else if (s != nullptr)
      block.template reduce<3>(
          0, t.rows, 0, t.columns,
          [=](int r, int c) {
            const T v = x[r * Of::Image::pitch + c], d = s[r * width + c] * (v - y[r * width + c]);
            return out(r, c, v, d, d);
          },
          partial);
    else
      block.template reduce<3>(
          0, t.rows, 0, t.columns,
          [=](int r, int c) {
            const T v = x[r * Of::Image::pitch + c], d = v - y[r * width + c];
            return out(r, c, v, d, d);
          },
          partial);
  }
};

/// phi'' is `softest`: of one component, the Hessian is its radial curvature.
template <class T, int S>
struct Linearise {
  using Of = Shape<T, S>;
  static constexpr int rows = Of::rows, columns = Of::columns;
  static constexpr int sums = 0, work = 2 * S * S;
  static constexpr int scratch = Of::Near::bytes + Taps<T, S>::bytes, resident = 3;
  ExpertsLineariseArgs<T> a;

  BILEVEL_HD void operator()(Block& block, const ChannelTile& t, double*) const {
    const ExpertsModel<T>& m = a.model;
    const typename Of::Near x(block);
    const Taps<T, S> taps(block);
    x.load(block, m, a.x, t);
    const Region own = responses<S>(m, t, 0);
    for (int k = 0; k < m.filters; ++k) {
      taps.load(block, m.taps, k);
      const T b = m.weight[k];
      const ResponseMap<T> map(a.maps, m, t, k);
      if (a.dual) {
        const ResponseMap<const float> zeta(a.dual, m, t, k);
        with_potential(m, k, [&](auto rho) {
          correlate<S>(block, own, x, taps.forward, [=](int r, int c, T s) {
            T w, kappa;
            rho.hessian(s * s, w, kappa);
            map(r, c) = b * (w * (T(1) + lift<T>)-kappa * s * T(zeta(r, c)));
          });
        });
      } else {
        with_potential(m, k, [&](auto rho) {
          correlate<S>(block, own, x, taps.forward,
                       [=](int r, int c, T s) { map(r, c) = b * rho.softest(std::abs(s)); });
        });
      }
    }
    if (a.inverse_diagonal == nullptr) return;
    T* inverse = pixels_at(a.inverse_diagonal, m, t);
    const int width = m.width;
    block.for_each(0, t.rows, 0, t.columns, [=](int r, int c) { inverse[r * width + c] = T(1); });
  }
};

template <class T, int S>
struct Hessian {
  using Of = Shape<T, S>;
  static constexpr int rows = Of::rows, columns = Of::columns;
  static constexpr int sums = 1, work = 4 * S * S;
  static constexpr int scratch = Of::Image::bytes + Of::Field::bytes + Of::Own::bytes + Taps<T, S>::bytes;
  static constexpr int resident = 3;
  ExpertsHessianArgs<T> a;

  BILEVEL_HD void operator()(Block& block, const ChannelTile& t, double* partial) const {
    const ExpertsModel<T>& m = a.model;
    const typename Of::Image p(block);
    const typename Of::Field field(block);
    const typename Of::Own sum(block);
    const Taps<T, S> taps(block);
    p.load(block, m, a.p, t);
    field.zero(block);
    sum.zero(block);
    const Region near = responses<S>(m, t, Of::R);
    for (int k = 0; k < m.filters; ++k) {
      taps.load(block, m.taps, k);
      const ResponseMap<const T> map(a.maps, m, t, k);
      T* f = field.origin;
      correlate<S>(block, near, p, taps.forward,
                   [=](int r, int c, T s) { f[r * Of::Field::pitch + c] = map(r, c) * s; });
      add_adjoint(block, m, t, field, taps, sum);
    }
    T* product = pixels_at(a.product, m, t);
    const T* s = sampling_at(a.sampling, m, t);
    const int width = m.width;
    const bool add = a.add;
    const T mu = m.mu;
    const T *v = p.origin, *adjoint = sum.origin;
    block.template reduce<1>(
        0, t.rows, 0, t.columns,
        [=](int r, int c) -> Sums<1> {
          const int o = r * width + c;
          const T value = v[r * Of::Image::pitch + c];
          const T start = add ? product[o] + mu * value : ((s ? s[o] : T(1)) + mu) * value;
          const T g = start + adjoint[r * columns + c];
          product[o] = g;
          return {{double(value) * g}};
        },
        partial);
  }
  BILEVEL_HD void finish(int image, const double* total) const { a.inner[image] = total[0]; }
};

template <class T, int S>
struct Dual {
  using Of = Shape<T, S>;
  static constexpr int rows = Of::rows / 2, columns = Of::columns;
  using Near = Plane<T, rows, columns, Of::R, 3>;
  using Own = Plane<T, rows, columns, 0>;
  static constexpr int sums = 0, work = 4 * S * S;
  static constexpr int scratch = 2 * Near::bytes + Own::bytes + Taps<T, S>::bytes, resident = 3;
  ExpertsDualArgs<T> a;

  BILEVEL_HD void operator()(Block& block, const ChannelTile& t, double*) const {
    const ExpertsModel<T>& m = a.model;
    const bool start = a.d == nullptr;
    const Near x(block), d(block);
    const Own response(block);
    const Taps<T, S> taps(block);
    x.load(block, m, a.x, t);
    if (!start) d.load(block, m, a.d, t);
    const T step = start ? T(0) : T(a.step[t.image]);
    const T inside = T(1) - T(2.4e-7);  // of [-1,1], also after rounding to single precision
    const Region own = responses<S>(m, t, 0);
    T* z = response.origin;
    for (int k = 0; k < m.filters; ++k) {
      taps.load(block, m.taps, k);
      const ResponseMap<float> zeta(a.dual, m, t, k);
      with_potential(m, k, [&](auto rho) {
        const auto project = [=](T value) {
          return static_cast<float>(minimum(maximum(value, -inside), inside));
        };
        if (start) {
          correlate<S>(block, own, x, taps.forward, [=](int r, int c, T s) {
            T w, kappa;
            rho.hessian(s * s, w, kappa);
            zeta(r, c) = project(w * s);
          });
        } else {
          correlate<S>(block, own, x, taps.forward, [=](int r, int c, T s) { z[r * columns + c] = s; });
          correlate<S>(block, own, d, taps.forward, [=](int r, int c, T s) {
            const T v = z[r * columns + c], move = step * s;
            T w, kappa;
            rho.hessian(v * v, w, kappa);
            zeta(r, c) = project(w * (v + move) - kappa * v * move * T(zeta(r, c)));
          });
        }
      });
    }
  }
};

}  // namespace

template <class T>
void fill_experts_mixed(Table<T>& table);

template <class T>
void fill_experts(Table<T>& table) {
  table.experts_energy = launch_tiles_of_experts<T, Energy, ExpertsEnergyArgs<T>>;
  table.experts_linearise = launch_tiles_of_experts<T, Linearise, ExpertsLineariseArgs<T>>;
  table.experts_hessian = launch_tiles_of_experts<T, Hessian, ExpertsHessianArgs<T>>;
  table.experts_dual = launch_tiles_of_experts<T, Dual, ExpertsDualArgs<T>>;
  fill_experts_mixed(table);
}
template void fill_experts(Table<float>&);
template void fill_experts(Table<double>&);

}  // namespace bilevel::kernels::BILEVEL_BACKEND
