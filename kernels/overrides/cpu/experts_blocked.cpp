// Register-blocked CPU versions of experts_energy and experts_hessian.

#include "kernels/experts_finish.hpp"
#include "kernels/overrides/cpu/experts_blocks.hpp"
#include "kernels/table.hpp"

namespace bilevel::kernels::BILEVEL_BACKEND {
namespace {

using namespace blocked;

template <class T, template <class> class Rho, int size>
struct EnergyBlocks {
  static constexpr int sums = 5;
  static constexpr int work = 64;
  ExpertsEnergyArgs<T> a;

  void operator()(HostBlock&, const ChannelTile& t, double* partial) const {
    const ExpertsModel<T>& m = a.model;
    const Blocks<T, size> tile(m, t, true);
    typename Blocks<T, size>::Gathered gathered;
    ColumnSums<5> sum;
    const int whole = tile.whole(), own_begin = tile.own_begin(), own_end = tile.own_end();
    tile.filtered(
        m, image_of(a.x, m, t), gathered, [&](int k) { return m.weight[k]; },
        [&](int k, int r, const T* z, T* psi) {
          alignas(64) T value[Blocks<T, size>::most_responses];
          const Rho<T> rho(m.smoothing[k]);
          for (int c = 0; c < whole; ++c) {
            T w;
            rho.value_weight(z[c] * z[c], value[c], w);
            psi[c] = w * z[c];
          }
          tile.clear_tail(psi);
          if (!tile.owns_row(r)) return;
          const double b = m.weight[k], rounding = a.unit > 0 ? a.rounding_psi[k] : 0;
          for (int c = own_begin; c < own_end; ++c) {
            const double p = rounding * psi[c];
            sum.v[0][c] += b * value[c];
            sum.v[1][c] += p * p;
          }
        });
    store(tile, gathered, t, sum);
    sum.total(partial);
  }

  void finish(int image, const double* total) const { finish_experts_energy(a, image, total); }

 private:
  void store(const Blocks<T, size>& tile, const typename Blocks<T, size>::Gathered& gathered,
             const ChannelTile& t, ColumnSums<5>& sum) const {
    const T mu = a.model.mu;
    for (int r = t.row; r < t.row + t.rows; ++r) {
      const long long e = static_cast<long long>(r) * a.model.width + t.column;
      const T* x = image_of(a.x, a.model, t) + e;
      T* gradient = image_of(a.gradient, a.model, t) + e;
      const T* regulariser = tile.row(gathered, r);
      if (a.y == nullptr) {
#pragma GCC ivdep
        for (int c = 0; c < t.columns; ++c) {
          const T v = x[c], g = gradient[c] + mu * v + regulariser[c];
          gradient[c] = g;
          sum.v[3][c] += double(v) * v;
          sum.v[4][c] += double(g) * g;
        }
        continue;
      }
      const T* y = image_of(a.y, a.model, t) + e;
      const auto fit = [&](auto residual) {
#pragma GCC ivdep
        for (int c = 0; c < t.columns; ++c) {
          const T v = x[c], d = residual(c), g = d + mu * v + regulariser[c];
          gradient[c] = g;
          sum.v[2][c] += double(d) * d;
          sum.v[3][c] += double(v) * v;
          sum.v[4][c] += double(g) * g;
        }
      };
      if (const T* s = a.sampling ? a.sampling + e : nullptr)
        fit([=](int c) { return s[c] * (x[c] - y[c]); });
      else
        fit([=](int c) { return x[c] - y[c]; });
    }
  }
};

template <class T, int size>
struct HessianBlocks {
  static constexpr int sums = 1;
  static constexpr int work = 64;
  ExpertsHessianArgs<T> a;

  void operator()(HostBlock&, const ChannelTile& t, double* partial) const {
    const ExpertsModel<T>& m = a.model;
    const Blocks<T, size> tile(m, t, true);
    typename Blocks<T, size>::Gathered gathered;
    tile.filtered(
        m, image_of(a.p, m, t), gathered, [](int) { return T(1); },
        [&](int k, int r, const T* z, T* field) {
          const T* map = a.maps + map_element(m, t, k, r, tile.columns.response_begin);
          for (int c = 0; c < tile.responses; ++c) field[c] = map[c] * z[c];
        });
    ColumnSums<1> sum;
    for (int r = t.row; r < t.row + t.rows; ++r) {
      const long long e = static_cast<long long>(r) * m.width + t.column;
      const T* p = image_of(a.p, m, t) + e;
      T* product = image_of(a.product, m, t) + e;
      const T* regulariser = tile.row(gathered, r);
      if (a.add) {
#pragma GCC ivdep
        for (int c = 0; c < t.columns; ++c) {
          const T v = p[c], g = product[c] + m.mu * v + regulariser[c];
          product[c] = g;
          sum.v[0][c] += double(v) * g;
        }
        continue;
      }
      if (a.sampling) {
        const T* s = a.sampling + e;
#pragma GCC ivdep
        for (int c = 0; c < t.columns; ++c) {
          const T v = p[c], g = s[c] * v + m.mu * v + regulariser[c];
          product[c] = g;
          sum.v[0][c] += double(v) * g;
        }
        continue;
      }
#pragma GCC ivdep
      for (int c = 0; c < t.columns; ++c) {
        const T v = p[c], g = v + m.mu * v + regulariser[c];
        product[c] = g;
        sum.v[0][c] += double(v) * g;
      }
    }
    sum.total(partial);
  }
  void finish(int image, const double* total) const { a.inner[image] = total[0]; }
};

template <class T>
void energy(const Stream& stream, const ExpertsEnergyArgs<T>& a) {
  launch_potential<T, EnergyBlocks>(stream, a);
}

template <class T>
void hessian(const Stream& stream, const ExpertsHessianArgs<T>& a) {
  with_size(a.model, [&](auto size) { launch<size>(stream, a, HessianBlocks<T, size>{a}); });
}

}  // namespace

template <class T>
void override_experts_maps(Table<T>& table);
template <class T>
void override_experts_mixed(Table<T>& table);

template <class T>
void override_experts(Table<T>& table) {
  override_experts_maps(table);
  override_experts_mixed(table);
  table.experts_energy = energy<T>;
  table.experts_hessian = hessian<T>;
}
template void override_experts(Table<float>&);
template void override_experts(Table<double>&);

}  // namespace bilevel::kernels::BILEVEL_BACKEND
