// Row-streaming CPU versions of joint_tv_gradient and joint_tv_hessian: see row_stream.hpp.

#include "kernels/joint_tv_pixel.hpp"
#include "kernels/overrides/cpu/row_stream.hpp"
#include "kernels/table.hpp"

namespace bilevel::kernels::BILEVEL_BACKEND {
namespace {

template <int C>
constexpr int joint_columns = strip_columns / (2 * C);

/// The first of an image's C components.
template <int C, class T>
T* image_of(T* batch, const TvModel& m, int image) {
  return batch + static_cast<long long>(image) * C * m.height * m.width;
}

template <class T, template <class> class Rho, int C>
struct GradientRows {
  static constexpr int sums = 4;
  JointTvGradientArgs<T> a;

  void operator()(HostBlock& block, const Tile& t, double* partial) const {
    const TvModel& m = a.model;
    const int width = m.width;
    const long long size = static_cast<long long>(m.height) * width;
    const T* x = image_of<C>(a.x, m, t.image);
    T* gradient = image_of<C>(a.gradient, m, t.image);
    const Rho<T> rho(m.nu);
    const T alpha = T(m.alpha), xi = T(m.xi);
    const auto flux = [=](int, int, const T(&zx)[C], const T(&zy)[C], T(&fx)[C], T(&fy)[C]) {
      T modulus2 = 0, weight;
      for (int k = 0; k < C; ++k) modulus2 += zx[k] * zx[k] + zy[k] * zy[k];
      const Sums<2> s = joint_weight(rho, alpha, modulus2, weight);
      for (int k = 0; k < C; ++k) {
        fx[k] = weight * zx[k];
        fy[k] = weight * zy[k];
      }
      return s;
    };
    const auto out = [=](int r, int c, const T(&divergence)[C]) {
      const long long e = static_cast<long long>(r) * width + c;
      Sums<2> s = {};
      for (int k = 0; k < C; ++k) {
        const T v = x[k * size + e], g = gradient[k * size + e] + xi * v + divergence[k];
        gradient[k * size + e] = g;
        s.v[0] += double(v) * v;
        s.v[1] += double(g) * g;
      }
      return s;
    };
    const T* v[C];
    for (int k = 0; k < C; ++k) v[k] = x + k * size;
    stream_rows<2, 2, C, T>(block, t, m.height, width, v, flux, out, partial);
  }
  void finish(int image, const double* total) const { finish_joint_gradient(a, image, total); }
};

template <class T, int C>
struct HessianRows {
  static constexpr int sums = 1;
  JointTvHessianArgs<T> a;

  void operator()(HostBlock& block, const Tile& t, double* partial) const {
    const TvModel& m = a.model;
    const int width = m.width;
    const long long size = static_cast<long long>(m.height) * width;
    const T* p = image_of<C>(a.p, m, t.image);
    T* product = image_of<C>(a.product, m, t.image);
    const JointPlanes<T, C> weights(image_of<C>(a.weights, m, t.image), m, a.n);
    const T xi = T(m.xi);
    const auto flux = [=](int r, int c, const T(&px)[C], const T(&py)[C], T(&fx)[C], T(&fy)[C]) -> Sums<1> {
      const long long e = static_cast<long long>(r) * width + c;
      T along, across;
      weights.turn(e, px, py, along, across);
      for (int k = 0; k < C; ++k) weights.flux(e, k, px[k], py[k], along, across, fx[k], fy[k]);
      return {};
    };
    const auto out = [=](int r, int c, const T(&divergence)[C]) {
      const long long e = static_cast<long long>(r) * width + c;
      Sums<1> s = {};
      for (int k = 0; k < C; ++k) {
        const T v = p[k * size + e], g = product[k * size + e] + xi * v + divergence[k];
        product[k * size + e] = g;
        s.v[0] += double(v) * g;
      }
      return s;
    };
    const T* v[C];
    for (int k = 0; k < C; ++k) v[k] = p + k * size;
    stream_rows<0, 1, C, T>(block, t, m.height, width, v, flux, out, partial);
  }
  void finish(int image, const double* total) const { a.inner[image] = total[0]; }
};

template <int C, class T>
void gradient(const Stream& stream, const JointTvGradientArgs<T>& a) {
  const auto launch = [&](const auto& body) {
    launch_grid(stream, a.active, a.model.height, a.model.width, strip_rows, joint_columns<C>, body);
  };
  a.model.potential == Potential::huber_c2 ? launch(GradientRows<T, HuberC2, C>{a})
                                           : launch(GradientRows<T, Charbonnier, C>{a});
}

template <int C, class T>
void hessian(const Stream& stream, const JointTvHessianArgs<T>& a) {
  launch_grid(stream, a.active, a.model.height, a.model.width, strip_rows, joint_columns<C>,
              HessianRows<T, C>{a});
}

}  // namespace

template <class T>
void override_joint_tv(Table<T>& table) {
  table.joint_tv_gradient = [](const Stream& s, const JointTvGradientArgs<T>& a) {
    a.components == 2 ? gradient<2>(s, a) : gradient<1>(s, a);
  };
  table.joint_tv_hessian = [](const Stream& s, const JointTvHessianArgs<T>& a) {
    a.components == 2 ? hessian<2>(s, a) : hessian<1>(s, a);
  };
}
template void override_joint_tv(Table<float>&);
template void override_joint_tv(Table<double>&);

}  // namespace bilevel::kernels::BILEVEL_BACKEND
