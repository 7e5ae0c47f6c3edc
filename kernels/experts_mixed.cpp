// The mixed derivative B = d^2 Phi / dx dtheta of the fields of experts, theta = (beta, gamma, filters), and
// its adjoint.

#include "kernels/experts_tile.hpp"
#include "kernels/table.hpp"

namespace bilevel::kernels::BILEVEL_BACKEND {
namespace {

template <class T, int S>
struct MixedAdjoint {
  static constexpr int R = S / 2, rows = Block::patch_rows / 2, columns = Block::patch_columns;
  using Near = Plane<T, rows, columns, R, 3>;
  using Own = Plane<T, rows, columns, 0>;
  static constexpr int sums = 2 + S * S, work = 4 * S * S;
  static constexpr int scratch = 2 * Near::bytes + 2 * Own::bytes + Taps<T, S>::bytes, resident = 4;
  ExpertsMixedAdjointArgs<T> a;

  BILEVEL_HD void operator()(Block& block, const ChannelTile& t, double* partial) const {
    const ExpertsModel<T>& m = a.model;
    const Near x(block), q(block);
    const Own gradient(block), curved(block);  // psi, phi'' u
    const Taps<T, S> taps(block);
    x.load(block, m, a.x, t);
    q.load(block, m, a.q, t);
    taps.load(block, m.taps, t.plane);
    const Region own = responses<S>(m, t, 0);
    typename Block::template Running<2> running;
    T *psi = gradient.origin, *bent = curved.origin;
    correlate<S>(block, own, x, taps.forward, [=](int r, int c, T s) { psi[r * columns + c] = s; });
    with_potential(m, t.plane, [&](auto rho) {
      correlate<S>(block, own, q, taps.forward, [=, &running](int r, int c, T u) {
        const int e = r * columns + c;
        const T s = psi[e];
        T w, w_nu;
        rho.weight_nu(s * s, w, w_nu);
        psi[e] = w * s;
        bent[e] = rho.softest(std::abs(s)) * u;
        running.add(c, {{double(w * s) * u, double(w_nu * s) * u}});
      });
    });
    block.join(running, partial);
    const T *xs = x.origin, *qs = q.origin;
    block.reduce_each(
        S * S, own.row0, own.row1, own.column0, own.column1,
        [=](int tap, int r, int c) {
          const int e = r * columns + c, shifted = (r + tap / S - R) * Near::pitch + c + tap % S - R;
          return double(qs[shifted] * psi[e] + xs[shifted] * bent[e]);
        },
        partial + 2);
  }
  BILEVEL_HD void finish(int image, int k, const double* total) const {
    const int count = 2 + a.model.size * a.model.size, stride = a.model.filters * a.n;
    for (int row = 0; row < count; ++row)
      a.sums[static_cast<long long>(row) * stride + k * a.n + image] = total[row];
  }
};

template <class T, int S>
struct MixedForward {
  static constexpr int R = S / 2, rows = Block::patch_rows / 2, columns = Block::patch_columns;
  using Image = Plane<T, rows, columns, 2 * R, 3>;
  using Field = Plane<T, rows, columns, R>;
  using Own = Plane<T, rows, columns, 0>;
  static constexpr int sums = 1, work = 8 * S * S;
  static constexpr int scratch = Image::bytes + 2 * Field::bytes + Own::bytes + 2 * Taps<T, S>::bytes;
  static constexpr int resident = sizeof(T) == 8 ? 2 : 3;
  ExpertsMixedForwardArgs<T> a;

  BILEVEL_HD void operator()(Block& block, const ChannelTile& t, double* partial) const {
    const ExpertsModel<T>& m = a.model;
    const Image x(block);
    const Field inner(block), outer(block);  // what C_k^T and C'_k^T are applied to
    const Own sum(block);
    const Taps<T, S> taps(block), direction(block);
    x.load(block, m, a.x, t);
    inner.zero(block);
    outer.zero(block);
    sum.zero(block);
    const Region near = responses<S>(m, t, R);
    for (int k = 0; k < m.filters; ++k) {
      taps.load(block, m.taps, k);
      direction.load(block, a.taps, k);
      const T b = m.weight[k], weight = a.weight[k], smoothing = a.smoothing[k];
      T *f = inner.origin, *g = outer.origin;
      correlate<S>(block, near, x, taps.forward, [=](int r, int c, T s) { f[r * Field::pitch + c] = s; });
      with_potential(m, k, [&](auto rho) {
        correlate<S>(block, near, x, direction.forward, [=](int r, int c, T moved) {
          const int e = r * Field::pitch + c;
          const T s = f[e];
          T w, w_nu;
          rho.weight_nu(s * s, w, w_nu);
          f[e] = b * ((weight * w + smoothing * w_nu) * s + rho.softest(std::abs(s)) * moved);
          g[e] = b * (w * s);
        });
      });
      add_adjoint(block, m, t, inner, taps, sum);
      add_adjoint(block, m, t, outer, direction, sum);
    }
    T* out = pixels_at(a.out, m, t);
    const int width = m.width;
    const T* total = sum.origin;
    const auto store = [=](int r, int c, T v) -> Sums<1> {
      out[r * width + c] = v;
      return {{double(v) * v}};
    };
    if (a.add)
      block.template reduce<1>(
          0, t.rows, 0, t.columns,
          [=](int r, int c) { return store(r, c, out[r * width + c] + total[r * columns + c]); }, partial);
    else
      block.template reduce<1>(
          0, t.rows, 0, t.columns, [=](int r, int c) { return store(r, c, total[r * columns + c]); },
          partial);
  }
  BILEVEL_HD void finish(int image, const double* total) const { a.norm2[image] = total[0]; }
};

}  // namespace

template <class T>
void fill_experts_mixed(Table<T>& table) {
  table.experts_mixed_adjoint = launch_filters<T, MixedAdjoint, ExpertsMixedAdjointArgs<T>>;
  table.experts_mixed_forward = launch_tiles_of_experts<T, MixedForward, ExpertsMixedForwardArgs<T>>;
}
template void fill_experts_mixed(Table<float>&);
template void fill_experts_mixed(Table<double>&);

}  // namespace bilevel::kernels::BILEVEL_BACKEND
