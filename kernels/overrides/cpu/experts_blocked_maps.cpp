// Register-blocked CPU versions of experts_linearise and experts_dual, which map responses to responses.

#include "kernels/overrides/cpu/experts_blocks.hpp"
#include "kernels/table.hpp"

namespace bilevel::kernels::BILEVEL_BACKEND {
namespace {

using namespace blocked;

template <class T, template <class> class Rho, int size>
struct LineariseBlocks {
  static constexpr int sums = 0;
  static constexpr int work = 64;
  ExpertsLineariseArgs<T> a;

  void operator()(HostBlock&, const ChannelTile& t, double*) const {
    const ExpertsModel<T>& m = a.model;
    const Blocks<T, size> tile(m, t, false);
    typename Blocks<T, size>::Image x;
    typename Blocks<T, size>::Rows z;
    tile.load(image_of(a.x, m, t), x);
    tile.groups(m, [&](int k, int count) {
      for (int r = tile.rows.own_begin; r < tile.rows.own_end; ++r) {
        tile.correlate(x, r, m.taps + k * tile.taps, count, z);
        for (int f = 0; f < count; ++f)
          map(k + f, map_element(m, t, k + f, r, t.column), tile.responses, z.v[f]);
      }
    });
    for (int r = t.row; r < t.row + t.rows; ++r) {
      if (a.inverse_diagonal == nullptr) break;
      T* inverse = image_of(a.inverse_diagonal, m, t) + static_cast<long long>(r) * m.width + t.column;
      for (int c = 0; c < t.columns; ++c) inverse[c] = T(1);
    }
  }
  void finish(int, const double*) const {}

 private:
  void map(int k, long long element, int columns, const T* z) const {
    const Rho<T> rho(a.model.smoothing[k]);
    const T b = a.model.weight[k];
    T* out = a.maps + element;
    if (!a.dual) {
#pragma GCC ivdep
      for (int c = 0; c < columns; ++c) out[c] = b * rho.softest(std::abs(z[c]));
      return;
    }
    const float* zeta = a.dual + element;
#pragma GCC ivdep
    for (int c = 0; c < columns; ++c) {
      T w, kappa;
      rho.hessian(z[c] * z[c], w, kappa);
      out[c] = b * (w * (T(1) + lift<T>)-kappa * z[c] * T(zeta[c]));
    }
  }
};

template <class T, template <class> class Rho, int size>
struct DualBlocks {
  static constexpr int sums = 0;
  static constexpr int work = 64;
  ExpertsDualArgs<T> a;

  void operator()(HostBlock&, const ChannelTile& t, double*) const {
    const ExpertsModel<T>& m = a.model;
    const Blocks<T, size> tile(m, t, false);
    typename Blocks<T, size>::Image x, d;
    typename Blocks<T, size>::Rows z, move;
    tile.load(image_of(a.x, m, t), x);
    if (a.d) tile.load(image_of(a.d, m, t), d);
    tile.groups(m, [&](int k, int count) {
      const T* filters = m.taps + k * tile.taps;
      for (int r = tile.rows.own_begin; r < tile.rows.own_end; ++r) {
        tile.correlate(x, r, filters, count, z);
        if (a.d) tile.correlate(d, r, filters, count, move);
        for (int f = 0; f < count; ++f)
          map(Rho<T>(m.smoothing[k + f]), t.image, a.dual + map_element(m, t, k + f, r, t.column),
              tile.responses, z.v[f], move.v[f]);
      }
    });
  }
  void finish(int, const double*) const {}

 private:
  void map(const Rho<T>& rho, int image, float* zeta, int columns, const T* z, const T* moves) const {
    constexpr T inside = T(1) - T(2.4e-7);  // of [-1,1], also after rounding to single precision
    const T step = a.d ? T(a.step[image]) : T(0);
#pragma GCC ivdep
    for (int c = 0; c < columns; ++c) {
      T w, kappa;
      rho.hessian(z[c] * z[c], w, kappa);
      T value = w * z[c];
      if (a.d) {
        const T move = step * moves[c];
        value = w * (z[c] + move) - kappa * z[c] * move * T(zeta[c]);
      }
      zeta[c] = static_cast<float>(minimum(maximum(value, -inside), inside));
    }
  }
};

template <class T>
void linearise(const Stream& stream, const ExpertsLineariseArgs<T>& a) {
  launch_potential<T, LineariseBlocks>(stream, a);
}
template <class T>
void dual(const Stream& stream, const ExpertsDualArgs<T>& a) {
  launch_potential<T, DualBlocks>(stream, a);
}

}  // namespace

template <class T>
void override_experts_maps(Table<T>& table) {
  table.experts_linearise = linearise<T>;
  table.experts_dual = dual<T>;
}
template void override_experts_maps(Table<float>&);
template void override_experts_maps(Table<double>&);

}  // namespace bilevel::kernels::BILEVEL_BACKEND
