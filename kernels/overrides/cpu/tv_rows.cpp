// Row-streaming CPU versions of tv_energy and tv_hessian: see row_stream.hpp. Faster than the tiled bodies
// by 1.6 (energy) and 2.0 (Hessian product) on 1024x1024 images (AVX-512, double).

#include "kernels/overrides/cpu/row_stream.hpp"
#include "kernels/table.hpp"
#include "kernels/tv_pixel.hpp"

namespace bilevel::kernels::BILEVEL_BACKEND {
namespace {

template <class T>
constexpr int energy_columns = 3072 / static_cast<int>(sizeof(T));

template <class T>
T* image_of(T* batch, const TvModel& m, int image) {
  return batch + static_cast<long long>(image) * m.height * m.width;
}

template <class T, template <class> class Rho, bool isotropic>
struct EnergyRows {
  static constexpr int sums = 5;
  TvEnergyArgs<T> a;

  void operator()(HostBlock& block, const Tile& t, double* partial) const {
    const TvModel& m = a.model;
    const int width = m.width;
    const T* x = image_of(a.x, m, t.image);
    const T* y = image_of(a.y, m, t.image);
    T* gradient = image_of(a.gradient, m, t.image);
    const T* s = a.sampling;
    const T xi = T(m.xi);
    const EnergyPixel<T, Rho, isotropic> pixel{Rho<T>(m.nu), T(m.alpha)};
    const auto flux = [=](int, int, const T(&zx)[1], const T(&zy)[1], T(&fx)[1], T(&fy)[1]) {
      return pixel(zx[0], zy[0], fx[0], fy[0]);
    };
    const auto point = [=](long long e, T weight, T divergence) -> Sums<3> {
      const T v = x[e], d = weight * (v - y[e]), g = d + xi * v + divergence;
      gradient[e] = g;
      return {{double(d) * d, double(v) * v, double(g) * g}};
    };
    if (s)
      stream_rows<2, 3, 1, T>(
          block, t, m.height, width, {x}, flux,
          [=](int r, int c, const T(&divergence)[1]) {
            const long long e = static_cast<long long>(r) * width + c;
            return point(e, s[e], divergence[0]);
          },
          partial);
    else
      stream_rows<2, 3, 1, T>(
          block, t, m.height, width, {x}, flux,
          [=](int r, int c, const T(&divergence)[1]) {
            return point(static_cast<long long>(r) * width + c, T(1), divergence[0]);
          },
          partial);
  }
  void finish(int image, const double* total) const { finish_energy(a, image, total); }
};

template <class T, bool isotropic>
struct HessianRows {
  static constexpr int sums = 1;
  TvHessianArgs<T> a;

  void operator()(HostBlock& block, const Tile& t, double* partial) const {
    const TvModel& m = a.model;
    const int width = m.width;
    const T* p = image_of(a.p, m, t.image);
    const T* m11 = image_of(a.m11, m, t.image);
    const T* m22 = image_of(a.m22, m, t.image);
    const T* m12 = isotropic ? image_of(a.m12, m, t.image) : nullptr;
    T* product = image_of(a.product, m, t.image);
    const T* s = a.sampling;
    const T xi = T(m.xi);
    const auto flux = [=](int r, int c, const T(&px)[1], const T(&py)[1], T(&fx)[1], T(&fy)[1]) -> Sums<1> {
      const long long e = static_cast<long long>(r) * width + c;
      hessian_flux<T, isotropic>(m11[e], m22[e], isotropic ? m12[e] : T(0), px[0], py[0], fx[0], fy[0]);
      return {};
    };
    const auto point = [=](long long e, T weight, T divergence) -> Sums<1> {
      const T v = p[e], g = weight * v + divergence;
      product[e] = g;
      return {{double(v) * g}};
    };
    if (s)
      stream_rows<0, 1, 1, T>(
          block, t, m.height, width, {p}, flux,
          [=](int r, int c, const T(&divergence)[1]) {
            const long long e = static_cast<long long>(r) * width + c;
            return point(e, s[e] + xi, divergence[0]);
          },
          partial);
    else
      stream_rows<0, 1, 1, T>(
          block, t, m.height, width, {p}, flux,
          [=](int r, int c, const T(&divergence)[1]) {
            return point(static_cast<long long>(r) * width + c, T(1) + xi, divergence[0]);
          },
          partial);
  }
  void finish(int image, const double* total) const { a.inner[image] = total[0]; }
};

template <class T>
void energy(const Stream& stream, const TvEnergyArgs<T>& a) {
  const auto launch = [&](const auto& body) {
    launch_grid(stream, a.active, a.model.height, a.model.width, strip_rows, energy_columns<T>, body);
  };
  const bool huber = a.model.potential == Potential::huber_c2;
  if (a.model.isotropic)
    huber ? launch(EnergyRows<T, HuberC2, true>{a}) : launch(EnergyRows<T, Charbonnier, true>{a});
  else
    huber ? launch(EnergyRows<T, HuberC2, false>{a}) : launch(EnergyRows<T, Charbonnier, false>{a});
}

template <class T>
void hessian(const Stream& stream, const TvHessianArgs<T>& a) {
  const auto launch = [&](const auto& body) {
    launch_grid(stream, a.active, a.model.height, a.model.width, strip_rows, strip_columns, body);
  };
  a.model.isotropic ? launch(HessianRows<T, true>{a}) : launch(HessianRows<T, false>{a});
}

}  // namespace

template <class T>
void override_tv(Table<T>& table) {
  table.tv_energy = energy<T>;
  table.tv_hessian = hessian<T>;
}
template void override_tv(Table<float>&);
template void override_tv(Table<double>&);

}  // namespace bilevel::kernels::BILEVEL_BACKEND
