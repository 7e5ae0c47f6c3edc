#pragma once

// What the tiled bodies of analysis regularisers and the row-streaming ones share: the flux of one pixel, the
// planes of the Hessian, and what the sums of an image become.

#include <type_traits>

#include "kernels/error_ball.hpp"
#include "kernels/stencils.hpp"

namespace bilevel::kernels::BILEVEL_BACKEND {

/// <a, b> of group g.
template <class K, int g, class T>
BILEVEL_PIXEL T inner(const T (&a)[K::components], const T (&b)[K::components]) {
  T sum = a[g * K::size] * b[g * K::size];
  unrolled<K::size - 1>([&](auto i)
                            BILEVEL_PIXEL_LAMBDA { sum += a[g * K::size + 1 + i] * b[g * K::size + 1 + i]; });
  return sum;
}
/// |z|^2 of group g.
template <class K, int g, class T>
BILEVEL_PIXEL T modulus2(const T (&z)[K::components]) {
  return inner<K, g>(z, z);
}

/// rho and |psi|^2 of one pixel; flux = alpha psi.
template <class T, class Rho, class K>
struct EnergyPixel {
  Rho rho;
  T alpha;

  BILEVEL_PIXEL Sums<2> operator()(const T (&z)[K::components], T (&flux)[K::components]) const {
    T value = T(0), square = T(0);
    unrolled<K::groups>([&](auto g) BILEVEL_PIXEL_LAMBDA {
      T own, w;
      rho.value_weight(modulus2<K, g>(z), own, w);
      value = g == 0 ? own : value + own;
      unrolled<K::size>([&](auto i) BILEVEL_PIXEL_LAMBDA {
        constexpr int c = g * K::size + i;
        const T psi = w * z[c];
        flux[c] = alpha * psi;
        square = c == 0 ? psi * psi : square + psi * psi;
      });
    });
    return {{static_cast<double>(value), static_cast<double>(square)}};
  }
};

/// Roundings of a flux alpha psi and of K^T of it, relative to |psi|. First differences 13 for charbonnier
/// with exact alpha and nu; 17 also covers huber_c2 and the conversion of alpha and nu. The square of a
/// modulus of n components rounds n times and psi takes half of that, so that n components need (n - 2)/2
/// more: 18 for four, 19 for the six of colour, which 21 covers, of the identity too, which rounds neither z
/// nor K^T of the fluxes; second differences add up to eight more terms in K^T, moduli of up to six
/// components.
template <class K>
inline constexpr double flux_roundings = (K::channels == 1 ? 17 : 21) + (K::Differences::reads ? 15 : 0);

/// The data of a gradient: twice their value, the rounding error of data and ridge in units, and the bound of
/// terms before. u (3 |S(x-y)| + 4 xi|x|) for data and ridge (4 that xi may be a product), or those of the
/// transforms, which cover the conversion of maps, weights and data; beside terms before 2u of their
/// gradient. In single precision data and xi that came in double were rounded, too: u|Sy| <= u (|S(x-y)| +
/// |x|) more.
struct DataSums {
  double residual, rounding, before;
};
template <class T>
BILEVEL_HD inline DataSums data_sums(const AnalysisGradientArgs<T>& a, int image, double fit2, double x2) {
  const AnalysisModel& m = a.model;
  constexpr double given = conversions<T>;
  DataSums s{fit2, 0, 0};
  const double norm = std::sqrt(x2);
  if (a.y) {
    s.rounding = (3 + given) * std::sqrt(fit2) + (4 * m.xi + given) * norm;
  } else if (a.data) {
    double weighted = 0, parts = 0;
    for (int coil = 0; coil < a.coils; ++coil) {
      const double* d = a.data + 3 * coil * a.n + image;
      s.residual += d[0];
      weighted += d[a.n];
      parts += d[2 * a.n];
    }
    s.rounding = (3 + given) * m.xi * norm +
                 a.transform * (a.weight_norm * norm + a.coil_norm * std::sqrt(weighted)) +
                 (4 + 2 * a.coils) * a.coil_norm * std::sqrt(parts);
  } else {
    s.residual = 2 * a.value[image];
    s.rounding = (3 + given) * m.xi * norm + 2 * std::sqrt(a.norm2[image]);
    s.before = a.rounding[image];
  }
  return s;
}

/// What a flux alpha psi with |psi|^2 adds to the rounding of a gradient, in units: flux_roundings alpha |K|
/// |psi| + alpha l_1 |K| reading, l_1 the Lipschitz constant of psi.
template <class K>
BILEVEL_HD inline double flux_rounding(const AnalysisModel& m, double alpha, double psi2, double reading2) {
  using S = typename K::Differences;
  double rounding = flux_roundings<K> * alpha * S::norm * std::sqrt(psi2);
  if constexpr (S::reads) rounding += alpha * steepest(m.potential, m.nu) * S::norm * std::sqrt(reading2);
  return rounding;
}

/// total = sums of rho, |psi|^2, |S(x-y)|^2, |x|^2, |grad|^2, reading. Gives Phi, |grad|^2, and the rounding
/// error of the gradient.
template <class K, class T>
BILEVEL_HD inline void finish_gradient(const AnalysisGradientArgs<T>& a, int image, const double* total) {
  const AnalysisModel& m = a.model;
  const DataSums data = data_sums(a, image, total[2], total[3]);
  const double rounding =
      data.rounding + flux_rounding<K>(m, m.alpha, total[1], K::Differences::reads ? total[5] : 0);
  a.value[image] = 0.5 * data.residual + m.alpha * total[0] + 0.5 * m.xi * total[3];
  a.norm2[image] = total[4];
  a.rounding[image] = bound_where_finite(a.value[image], a.unit * rounding + a.underflow + data.before);
}

/// The Hessian of a pixel, as a point and a dual field give it: M = alpha (w I - kappa/2 (z zeta^T + zeta
/// z^T)), zeta = psi for the exact one. Rows of K that vanish have no weight.
template <class T, class K>
struct CurvedPixel {
  T z[K::components], zeta[K::components], w[K::groups], kappa[K::groups], weight[K::components];

  /// w, kappa and zeta at z, zeta that of a dual field where it is given.
  template <bool given, class Rho, class Index>
  BILEVEL_PIXEL void bend(const Rho& rho, [[maybe_unused]] const float* const (&dual)[K::components],
                          [[maybe_unused]] Index o) {
    unrolled<K::groups>([&](auto g) BILEVEL_PIXEL_LAMBDA {
      rho.hessian(modulus2<K, g>(z), w[g], kappa[g]);
      unrolled<K::size>([&](auto i) BILEVEL_PIXEL_LAMBDA {
        constexpr int k = g * K::size + i;
        if constexpr (given)
          zeta[k] = T(dual[k][o]);
        else
          zeta[k] = w[g] * z[k];
      });
    });
  }
  /// Entry (i,j) of group g.
  template <int g, int i, int j>
  BILEVEL_PIXEL T entry() const {
    constexpr int a = g * K::size + i, b = g * K::size + j;
    if constexpr (i == j)
      return weight[a] * (w[g] * (T(1) + lift<T>)-kappa[g] * z[a] * zeta[a]);
    else
      return weight[a] * (T(-0.5) * kappa[g] * (z[a] * zeta[b] + z[b] * zeta[a]));  // 0 where b has no row
  }
};

/// The planes of the Hessian at a place of an image (weight_planes).
template <class T, class K>
struct WeightPlanes {
  using V = std::remove_const_t<T>;
  T* p[K::planes];

  /// `weights`: the first array at this place in the image's first channel, of `channels`; the first plane is
  /// `first`.
  BILEVEL_HD WeightPlanes(T* weights, const AnalysisModel& m, int n, int channels = K::channels,
                          int first = 0) {
    const long long size = static_cast<long long>(m.height) * m.width;
    BILEVEL_UNROLL
    for (int k = 0; k < K::planes; ++k)
      p[k] = weights + ((first + k) / channels) * size * channels * n + ((first + k) % channels) * size;
  }
  /// Of matrices that are not packed.
  template <class Index>
  BILEVEL_PIXEL void store(Index o, const CurvedPixel<V, K>& m, V alpha) const {
    unrolled<K::groups>([&](auto g) BILEVEL_PIXEL_LAMBDA {
      p[g * K::entries][o] = alpha * m.w[g] * (V(1) + lift<V>);
      unrolled<K::size>([&](auto i) BILEVEL_PIXEL_LAMBDA {
        p[g * K::entries + 1 + i][o] = alpha * m.kappa[g] * m.z[g * K::size + i];
        p[g * K::entries + 1 + K::size + i][o] = m.zeta[g * K::size + i];
      });
    });
  }
  /// M z.
  template <class Index>
  BILEVEL_PIXEL void flux(Index o, const V (&z)[K::components], V (&f)[K::components]) const {
    unrolled<K::groups>([&](auto g) BILEVEL_PIXEL_LAMBDA {
      if constexpr (K::packed)
        packed_flux<g>(o, z, f);
      else
        rank_two_flux<g>(o, z, f);
    });
  }

 private:
  template <int g, class Index>
  BILEVEL_PIXEL void packed_flux(Index o, const V (&z)[K::components], V (&f)[K::components]) const {
    unrolled<K::size>([&](auto i) BILEVEL_PIXEL_LAMBDA {
      V sum = p[g * K::entries + K::entry(i, 0)][o] * z[g * K::size];
      unrolled<K::size - 1>([&](auto j) BILEVEL_PIXEL_LAMBDA {
        sum += p[g * K::entries + K::entry(i, j + 1)][o] * z[g * K::size + j + 1];
      });
      f[g * K::size + i] = sum;
    });
  }
  template <int g, class Index>
  BILEVEL_PIXEL void rank_two_flux(Index o, const V (&z)[K::components], V (&f)[K::components]) const {
    V along = V(0), across = V(0);
    unrolled<K::size>([&](auto i) BILEVEL_PIXEL_LAMBDA {
      along += p[g * K::entries + 1 + i][o] * z[g * K::size + i];
      across += p[g * K::entries + 1 + K::size + i][o] * z[g * K::size + i];
    });
    along *= V(0.5);
    across *= V(0.5);
    const V w = p[g * K::entries][o];
    unrolled<K::size>([&](auto i) BILEVEL_PIXEL_LAMBDA {
      f[g * K::size + i] = w * z[g * K::size + i] - (p[g * K::entries + 1 + i][o] * across +
                                                     p[g * K::entries + 1 + K::size + i][o] * along);
    });
  }
};

/// What one group of a pixel contributes to the directional bounds (AnalysisBoundArgs).
template <class T, class Rho>
struct BoundBall {
  Rho rho;
  T nu, radius, alpha, energy, floor, stiffness;
  bool one_component;

  BILEVEL_HD static BoundBall around(const AnalysisBoundArgs<T>& args, int image, bool one_component) {
    const double eps = args.epsilon[image];
    const ErrorBall error(eps, args.gradient[image], args.mu);
    const double outward = 1 + 2e-6, inward = 1 - 2e-6;
    return {Rho(args.model.nu),
            T(args.model.nu),
            T(args.row_bound * eps * outward),
            T(args.model.alpha),
            T(maximum(error.energy * outward, 1e-36)),
            T(0.5 / args.norm2 * inward),
            T(0.5 * args.model.alpha * error.softness * inward),
            one_component};
  }

  /// z2, g2, h2: the squares of |z|, |Kq|, |Kv|; |x|^2 is not added.
  BILEVEL_PIXEL Sums<analysis_bound_sums> operator()(T z2, T g2, T h2) const {
    const T r = std::sqrt(z2), g = std::sqrt(g2), h = std::sqrt(h2);
    const T d = pixel_radius(rho, r, radius, energy, alpha);
    T k, l, value, slope;
    rho.profile(z2, d / nu, one_component, k, l);
    rho.value_weight(z2, value, slope);
    const double w = 1 / double(floor + stiffness * rho.softest(r + d)), psi2 = double(slope) * slope * z2;
    const double kg = double(k) * g, kh = double(k) * h, ag = double(l) * g, ah = double(l) * h, khg = kh * g;
    return {{ag * ag, double(g), khg * khg, ag * h, ah * ah, khg * khg * w, ag * ag * w, psi2, psi2 * w, 0,
             kg, kh, kg * w, kh * w, double(l) * w}};
  }
};

}  // namespace bilevel::kernels::BILEVEL_BACKEND
