// Register-blocked CPU versions of experts_energy and experts_hessian.

#include "kernels/overrides/cpu/experts_tile.hpp"

namespace bilevel::kernels::BILEVEL_BACKEND {
namespace {

template <class T>
T* image_of(T* batch, const ExpertsModel<std::remove_const_t<T>>& m, int image) {
  return batch + static_cast<long long>(image) * m.height * m.width;
}

template <class T, template <class> class Rho, int size>
struct EnergyTile {
  static constexpr int sums = 5;
  static constexpr int work = 64;
  ExpertsEnergyArgs<T> a;

  void operator()(HostBlock&, const Tile& t, double* partial) const {
    using Blocked = ExpertsTile<T, size>;
    const ExpertsModel<T>& m = a.model;
    Blocked tile(m, t);
    const T* x = image_of(a.x, m, t.image);
    ColumnSums<5> sum;
    const int response = tile.columns.response_begin;
    const int own = tile.columns.own_begin - response, own_end = tile.columns.own_end - response;
    const int whole = tile.whole();
    tile.filtered(
        m, x, [&](int k) { return m.weight[k]; },
        [&](int k, int r, const T* c, T* psi) {
          alignas(64) T value[Blocked::t_pitch];
          const Rho<T> rho(m.smoothing[k]);
          for (int e = 0; e < whole; ++e) {
            T w;
            rho.value_weight(c[e] * c[e], value[e], w);
            psi[e] = w * c[e];
          }
          tile.clear_tail(psi);
          if (r < tile.rows.own_begin || r >= tile.rows.own_end) return;
          const double b = m.weight[k], rounding = a.rounding_psi[k];
          for (int e = own; e < own_end; ++e) {
            const double p = rounding * psi[e];
            sum.sum[0][e] += b * value[e];
            sum.sum[1][e] += p * p;
          }
        });
    const T* y = image_of(a.y, m, t.image);
    T* gradient = image_of(a.gradient, m, t.image);
    for (int r = t.row; r < t.row + t.rows; ++r) {
      const long long e = static_cast<long long>(r) * m.width + t.column;
      const T* out = tile.out_row(r) + tile.columns.begin - tile.columns.outer_begin;
      for (int c = 0; c < t.columns; ++c) {
        const T v = x[e + c], d = v - y[e + c], g = d + m.mu * v + out[c];
        gradient[e + c] = g;
        sum.sum[2][c] += double(d) * d;
        sum.sum[3][c] += double(v) * v;
        sum.sum[4][c] += double(g) * g;
      }
    }
    sum.total(partial);
  }
  void finish(int image, const double* total) const {
    const double x = std::sqrt(total[3]);
    a.value[image] = total[0] + 0.5 * total[2] + 0.5 * a.model.mu * total[3];
    a.norm2[image] = total[4];
    a.rounding[image] =
        a.unit * (3 * std::sqrt(total[2]) + 3 * a.model.mu * x + a.rounding_x * x + std::sqrt(total[1]));
  }
};

template <class T, int size>
struct HessianTile {
  static constexpr int sums = 1;
  static constexpr int work = 64;
  ExpertsHessianArgs<T> a;

  void operator()(HostBlock&, const Tile& t, double* partial) const {
    const ExpertsModel<T>& m = a.model;
    ExpertsTile<T, size> tile(m, t);
    const T* p = image_of(a.p, m, t.image);
    const T* maps = image_of(a.maps, m, t.image * m.filters);
    const long long plane = static_cast<long long>(m.height) * m.width;
    tile.filtered(
        m, p, [](int) { return T(1); },
        [&](int k, int r, const T* c, T* psi) {
          const T* map = maps + k * plane + static_cast<long long>(r) * m.width + tile.columns.response_begin;
          for (int e = 0; e < tile.responses; ++e) psi[e] = map[e] * c[e];
        });
    T* product = image_of(a.product, m, t.image);
    ColumnSums<1> sum;
    for (int r = t.row; r < t.row + t.rows; ++r) {
      const long long e = static_cast<long long>(r) * m.width + t.column;
      const T* out = tile.out_row(r) + tile.columns.begin - tile.columns.outer_begin;
      for (int c = 0; c < t.columns; ++c) {
        const T v = p[e + c], g = v + m.mu * v + out[c];
        product[e + c] = g;
        sum.sum[0][c] += double(v) * g;
      }
    }
    sum.total(partial);
  }
  void finish(int image, const double* total) const { a.inner[image] = total[0]; }
};

template <class T>
void energy(const Stream& stream, const ExpertsEnergyArgs<T>& a) {
  with_size(a.model, [&](auto size) {
    using Blocked = ExpertsTile<T, size>;
    const auto launch = [&](const auto& body) {
      launch_grid(stream, a.active, a.model.height, a.model.width, Blocked::tile_rows(a.model.height),
                  Blocked::tile_columns(a.model.width), body);
    };
    a.model.potential == Potential::huber_c2 ? launch(EnergyTile<T, HuberC2, size>{a})
                                             : launch(EnergyTile<T, Charbonnier, size>{a});
  });
}

template <class T>
void hessian(const Stream& stream, const ExpertsHessianArgs<T>& a) {
  with_size(a.model, [&](auto size) {
    using Blocked = ExpertsTile<T, size>;
    launch_grid(stream, a.active, a.model.height, a.model.width, Blocked::tile_rows(a.model.height),
                Blocked::tile_columns(a.model.width), HessianTile<T, size>{a});
  });
}

}  // namespace

template <class T>
void override_experts(Table<T>& table) {
  table.experts_energy = energy<T>;
  table.experts_hessian = hessian<T>;
}
template void override_experts(Table<float>&);
template void override_experts(Table<double>&);

}  // namespace bilevel::kernels::BILEVEL_BACKEND
