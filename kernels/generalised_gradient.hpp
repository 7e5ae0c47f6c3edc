#pragma once

// Value and gradient, and Hessian products, of total generalised variation: the bodies of
// kernels/analysis_gradient.hpp for a joint unknown. One group of one channel at a time, so that only its
// fluxes are in scratch; what the groups add to v meets in the output.

#include "kernels/analysis_gradient.hpp"
#include "kernels/generalised.hpp"

namespace bilevel::kernels::BILEVEL_BACKEND {

/// 4r 3w per channel (5r masked; beside another data term 4r 3w).
template <class T, class Rho, class K>
struct GeneralisedGradient {
  static constexpr int C = K::channels, sums = 10;
  using Joint = JointTile<T, C, 3 * C + 3>;
  using G = typename Joint::G;
  using Image = typename Joint::Image;
  using Fluxes = typename Joint::Fluxes;
  static constexpr int scratch = G::scratch, resident = 2;
  AnalysisGradientArgs<T> a;

  BILEVEL_HD void operator()(Block& block, const Tile& t, double* partial) const {
    const Image u(block, a.model, a.x, t);
    const Fluxes f(block, a.model, t);
    coupling<0>(block, t, u, f, partial);
    if constexpr (C == 2) coupling<1>(block, t, u, f, partial);
    strain<0>(block, t, u, f, partial);
    if constexpr (C == 2) strain<1>(block, t, u, f, partial);
  }
  /// total = sums of rho, |psi|^2 and reading of D x - v and of E v, |S(x-y)|^2, |x|^2, |grad|^2, |v|^2.
  BILEVEL_HD void finish(int image, const double* total) const {
    const AnalysisModel& m = a.model;
    const DataSums data = data_sums(a, image, total[6], total[7]);
    const double rounding = data.rounding + 4 * m.field_xi * std::sqrt(total[9]) +
                            flux_rounding<Operator<Coupling, false, C>>(m, m.alpha, total[1], total[2]) +
                            flux_rounding<Operator<Strain, false, C>>(m, m.field_alpha, total[4], total[5]);
    a.value[image] = 0.5 * data.residual + m.alpha * total[0] + m.field_alpha * total[3] +
                     0.5 * (m.xi * total[7] + m.field_xi * total[9]);
    a.norm2[image] = total[8];
    a.rounding[image] = bound_where_finite(a.value[image], a.unit * rounding + a.underflow + data.before);
  }

 private:
  template <class Group, int k>
  BILEVEL_HD void fluxes(Block& block, const Tile& t, const Image& u, const Fluxes& f, double alpha,
                         double* partial) const {
    using Own = Operator<Group, false, C>;
    const EnergyPixel<T, Rho, Own> pixel{Rho(a.model.nu), T(alpha)};
    const Border border(a.model, t);
    const auto flux = [=](int r, int c) BILEVEL_PIXEL_LAMBDA -> Sums<3> {
      const int e = r * G::pitch + c;
      T z[Own::components], p[Own::components];
      Joint::template components<Group>(u, e, border.at(r, c), z);
      const Sums<2> s = pixel(z, p);
      unrolled<Group::directions>([&](auto d) BILEVEL_PIXEL_LAMBDA { f.f[d][e] = p[d * C + k]; });
      const T reading = Joint::template reading<Group>(u, e, border.at(r, c));
      return {{s.v[0], s.v[1], static_cast<double>(reading)}};
    };
    visit_span<k == 0 ? 3 : 0>(block, t, Span<Group>(a.model, t), flux, partial);
  }

  template <int k>
  BILEVEL_HD void coupling(Block& block, const Tile& t, const Image& u, const Fluxes& f,
                           double* partial) const {
    fluxes<Coupling, k>(block, t, u, f, a.model.alpha, partial);
    const int width = a.model.width;
    const T* own = u.v[k];
    T* gradient = Joint::plane(a.gradient, a.model, t, k);
    const T xi = T(a.model.xi);
    const Border border(a.model, t);
    const auto out = [=](int r, int c, T d, T fit) BILEVEL_PIXEL_LAMBDA -> Sums<3> {
      const int e = r * G::pitch + c;
      const T v = own[e];
      const T g = d + xi * v + Coupling::adjoint<0, T>(f.f, e, G::pitch, border.at(r, c));
      gradient[r * width + c] = g;
      return {{double(fit) * fit, double(v) * v, double(g) * g}};
    };
    reduce_data<G::pitch>(block, t, width, plane_at<C>(a.y, a.model, t, k), at_shared(a.sampling, a.model, t),
                          gradient, own, out, partial + 6);
    Joint::template start_field<k>(block, a.model, t, u, f, T(a.model.field_xi), a.gradient);
  }

  template <int k>
  BILEVEL_HD void strain(Block& block, const Tile& t, const Image& u, const Fluxes& f,
                         double* partial) const {
    fluxes<Strain, k>(block, t, u, f, a.model.field_alpha, partial + 3);
    Joint::template add_strain<k, 2>(
        block, a.model, t, u, f, a.gradient,
        [](T g, T v) BILEVEL_PIXEL_LAMBDA -> Sums<2> {
          return {{double(g) * g, double(v) * v}};
        },
        partial + 8);
  }
};

/// (3 + planes / C)r 3w per channel (1r more masked or beside another data term).
template <class T, class K>
struct GeneralisedHessian {
  static constexpr int C = K::channels, sums = 1;
  using Joint = JointTile<T, C, 3 * C + 3>;
  using G = typename Joint::G;
  using Image = typename Joint::Image;
  using Fluxes = typename Joint::Fluxes;
  static constexpr int scratch = G::scratch, resident = 2;
  AnalysisHessianArgs<T> a;

  BILEVEL_HD void operator()(Block& block, const Tile& t, double* partial) const {
    const Image p(block, a.model, a.p, t);
    const Fluxes f(block, a.model, t);
    coupling<0>(block, t, p, f, partial);
    if constexpr (C == 2) coupling<1>(block, t, p, f, partial);
    strain<0>(block, t, p, f, partial);
    if constexpr (C == 2) strain<1>(block, t, p, f, partial);
  }
  BILEVEL_HD void finish(int image, const double* total) const { a.inner[image] = total[0]; }

 private:
  template <class Group, int k>
  BILEVEL_HD void fluxes(Block& block, const Tile& t, const Image& p, const Fluxes& f) const {
    using Own = Operator<Group, false, C>;
    const int width = a.model.width;
    const WeightPlanes<const T, Own> m(Joint::plane(a.weights, a.model, t, 0), a.model, a.n, 3 * C,
                                       first_plane<Group, C>);
    const Border border(a.model, t);
    visit_span<0>(
        block, t, Span<Group>(a.model, t),
        [=](int r, int c) BILEVEL_PIXEL_LAMBDA {
          const int e = r * G::pitch + c;
          T z[Own::components], flux[Own::components];
          Joint::template components<Group>(p, e, border.at(r, c), z);
          m.flux(r * width + c, z, flux);
          unrolled<Group::directions>([&](auto d) BILEVEL_PIXEL_LAMBDA { f.f[d][e] = flux[d * C + k]; });
        },
        nullptr);
  }

  template <int k>
  BILEVEL_HD void coupling(Block& block, const Tile& t, const Image& p, const Fluxes& f,
                           double* partial) const {
    fluxes<Coupling, k>(block, t, p, f);
    const int width = a.model.width;
    const T* own = p.v[k];
    T* product = Joint::plane(a.product, a.model, t, k);
    const Border border(a.model, t);
    const auto out = [=](int r, int c, T start) BILEVEL_PIXEL_LAMBDA -> Sums<1> {
      const int e = r * G::pitch + c;
      const T g = start + Coupling::adjoint<0, T>(f.f, e, G::pitch, border.at(r, c));
      product[r * width + c] = g;
      return {{double(own[e]) * g}};
    };
    reduce_product<G::pitch>(block, t, width, a.add, at_shared(a.sampling, a.model, t), product, own,
                             T(a.model.xi), out, partial);
    Joint::template start_field<k>(block, a.model, t, p, f, T(a.model.field_xi), a.product);
  }

  template <int k>
  BILEVEL_HD void strain(Block& block, const Tile& t, const Image& p, const Fluxes& f,
                         double* partial) const {
    fluxes<Strain, k>(block, t, p, f);
    Joint::template add_strain<k, 1>(
        block, a.model, t, p, f, a.product,
        [](T g, T v) BILEVEL_PIXEL_LAMBDA -> Sums<1> { return {{double(v) * g}}; }, partial);
  }
};

}  // namespace bilevel::kernels::BILEVEL_BACKEND
