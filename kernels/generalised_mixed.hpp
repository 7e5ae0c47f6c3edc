#pragma once

// Derivatives of the gradient of total generalised variation by weights, smoothing and ridges, and the sums
// of its directional bounds: the bodies of kernels/analysis_mixed.hpp for a joint unknown.

#include "kernels/analysis_mixed.hpp"
#include "kernels/generalised.hpp"

namespace bilevel::kernels::BILEVEL_BACKEND {

/// 6r per channel.
template <class T, class Rho, class K>
struct GeneralisedMixedAdjoint {
  static constexpr int C = K::channels, sums = 6;
  using Joint = JointTile<T, C, 6 * C>;
  using G = typename Joint::G;
  using Image = typename Joint::Image;
  static constexpr int scratch = G::scratch, resident = 2;
  AnalysisMixedAdjointArgs<T> a;

  BILEVEL_HD void operator()(Block& block, const Tile& t, double* partial) const {
    const Image u(block, a.model, a.x, t), q(block, a.model, a.q, t);
    group<Coupling, 0, C>(block, t, u, q, partial);
    group<Strain, C, 3 * C>(block, t, u, q, partial + 3);
  }
  BILEVEL_HD void finish(int image, const double* total) const {
    a.weight[image] = total[0];
    a.smoothing[image] = total[1];
    a.ridge[image] = total[2];
    for (int k = 0; k < 3; ++k) a.field[k][image] = total[3 + k];
  }

 private:
  /// The sums of a group, with <u,q> over planes [first, last).
  template <class Group, int first, int last>
  BILEVEL_HD void group(Block& block, const Tile& t, const Image& u, const Image& q, double* partial) const {
    using Own = Operator<Group, false, C>;
    const Rho rho(a.model.nu);
    const Border border(a.model, t);
    block.template reduce<3>(
        0, t.rows, 0, t.columns,
        [=](int r, int c) BILEVEL_PIXEL_LAMBDA -> Sums<3> {
          const int e = r * G::pitch + c;
          T z[Own::components], w[Own::components], by_w = T(0), by_nu = T(0);
          Joint::template components<Group>(u, e, border.at(r, c), z);
          Joint::template components<Group>(q, e, border.at(r, c), w);
          mixed_pixel<Own>(rho, z, w, by_w, by_nu);
          double ridge = 0;
          BILEVEL_UNROLL
          for (int k = first; k < last; ++k) ridge += double(u.v[k][e]) * q.v[k][e];
          return {{double(by_w), double(by_nu), ridge}};
        },
        partial);
  }
};

/// 3r 3w per channel (4r 3w beside what is there).
template <class T, class Rho, class K>
struct GeneralisedMixedForward {
  static constexpr int C = K::channels, sums = 1;
  using Joint = JointTile<T, C, 3 * C + 3>;
  using G = typename Joint::G;
  using Image = typename Joint::Image;
  using Fluxes = typename Joint::Fluxes;
  static constexpr int scratch = G::scratch, resident = 2;
  AnalysisMixedForwardArgs<T> a;

  BILEVEL_HD void operator()(Block& block, const Tile& t, double* partial) const {
    const Image u(block, a.model, a.x, t);
    const Fluxes f(block, a.model, t);
    coupling<0>(block, t, u, f, partial);
    if constexpr (C == 2) coupling<1>(block, t, u, f, partial);
    strain<0>(block, t, u, f, partial);
    if constexpr (C == 2) strain<1>(block, t, u, f, partial);
  }
  BILEVEL_HD void finish(int image, const double* total) const { a.norm2[image] = total[0]; }

 private:
  template <class Group, int k>
  BILEVEL_HD void fluxes(Block& block, const Tile& t, const Image& u, const Fluxes& f, T weight,
                         T smoothing) const {
    using Own = Operator<Group, false, C>;
    const Rho rho(a.model.nu);
    const Border border(a.model, t);
    visit_span<0>(
        block, t, Span<Group>(a.model, t),
        [=](int r, int c) BILEVEL_PIXEL_LAMBDA {
          const int e = r * G::pitch + c;
          T z[Own::components], w, w_nu;
          Joint::template components<Group>(u, e, border.at(r, c), z);
          rho.weight_nu(modulus2<Own, 0>(z), w, w_nu);
          const T own = weight * w + smoothing * w_nu;
          unrolled<Group::directions>([&](auto d) BILEVEL_PIXEL_LAMBDA { f.f[d][e] = own * z[d * C + k]; });
        },
        nullptr);
  }
  template <int k>
  BILEVEL_HD void coupling(Block& block, const Tile& t, const Image& u, const Fluxes& f,
                           double* partial) const {
    fluxes<Coupling, k>(block, t, u, f, T(a.weight), T(a.smoothing));
    T* out = Joint::plane(a.out, a.model, t, k);
    const T* own = u.v[k];
    const T ridge = T(a.ridge);
    const int width = a.model.width;
    const Border border(a.model, t);
    const auto add = [=](int r, int c, T start) BILEVEL_PIXEL_LAMBDA -> Sums<1> {
      const int e = r * G::pitch + c;
      const T g = start + ridge * own[e] + Coupling::adjoint<0, T>(f.f, e, G::pitch, border.at(r, c));
      out[r * width + c] = g;
      return {{double(g) * g}};
    };
    if (a.add)
      block.template reduce<1>(
          0, t.rows, 0, t.columns,
          [=](int r, int c) BILEVEL_PIXEL_LAMBDA { return add(r, c, out[r * width + c]); }, partial);
    else
      block.template reduce<1>(
          0, t.rows, 0, t.columns, [=](int r, int c) BILEVEL_PIXEL_LAMBDA { return add(r, c, T(0)); },
          partial);
    Joint::template start_field<k>(block, a.model, t, u, f, T(a.field_ridge), a.out);
  }
  template <int k>
  BILEVEL_HD void strain(Block& block, const Tile& t, const Image& u, const Fluxes& f,
                         double* partial) const {
    fluxes<Strain, k>(block, t, u, f, T(a.field_weight), T(a.field_smoothing));
    Joint::template add_strain<k, 1>(
        block, a.model, t, u, f, a.out,
        [](T g, T) BILEVEL_PIXEL_LAMBDA -> Sums<1> { return {{double(g) * g}}; }, partial);
  }
};

/// The sums of one group: 9r per channel.
template <class T, class Rho, class K, class Group>
struct GeneralisedBound {
  static constexpr int C = K::channels, sums = analysis_bound_sums, maxima = analysis_bound_maxima;
  using Joint = JointTile<T, C, 9 * C>;
  using G = typename Joint::G;
  using Image = typename Joint::Image;
  static constexpr int scratch = G::scratch, resident = 2;
  AnalysisBoundArgs<T> a;

  BILEVEL_HD void operator()(Block& block, const Tile& t, double* partial) const {
    const AnalysisModel& m = a.model;
    const Image u(block, m, a.x, t), q(block, m, a.q, t);
    if (a.v)
      measure(block, t, u, q, Image(block, m, a.v, t), partial);
    else
      measure(block, t, u, q, q, partial);
  }
  BILEVEL_HD void finish(int image, const double* total) const {
    for (int k = 0; k < sums; ++k) a.out[k * a.n + image] = total[k];
  }

 private:
  BILEVEL_HD void measure(Block& block, const Tile& t, const Image& u, const Image& q, const Image& v,
                          double* partial) const {
    using Own = Operator<Group, false, C>;
    constexpr int first = Group::first * C, last = first == 0 ? C : 3 * C;
    const auto ball = BoundBall<T, Rho>::around(a, t.image, false);
    const Border border(a.model, t);
    block.template reduce<sums, maxima>(
        0, t.rows, 0, t.columns,
        [=](int r, int c) BILEVEL_PIXEL_LAMBDA -> Sums<sums> {
          const int e = r * G::pitch + c;
          T z[Own::components], g[Own::components], h[Own::components];
          Joint::template components<Group>(u, e, border.at(r, c), z);
          Joint::template components<Group>(q, e, border.at(r, c), g);
          Joint::template components<Group>(v, e, border.at(r, c), h);
          Sums<sums> s = ball(modulus2<Own, 0>(z), modulus2<Own, 0>(g), modulus2<Own, 0>(h));
          BILEVEL_UNROLL
          for (int k = first; k < last; ++k) s.v[9] += double(u.v[k][e]) * u.v[k][e];
          return s;
        },
        partial);
  }
};
template <class T, class Rho, class K>
using CouplingBound = GeneralisedBound<T, Rho, K, Coupling>;
template <class T, class Rho, class K>
using StrainBound = GeneralisedBound<T, Rho, K, Strain>;

}  // namespace bilevel::kernels::BILEVEL_BACKEND
