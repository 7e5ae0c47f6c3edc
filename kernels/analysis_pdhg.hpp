#pragma once

// Steps of the primal-dual hybrid gradient method (Chambolle and Pock 2011, algorithm 3) for analysis
// regularisers. The dual field w has an array [N,C,H,W] per direction and stays zero where K has no row.

#include "kernels/launch.hpp"
#include "kernels/stencil_tiles.hpp"

namespace bilevel::kernels::BILEVEL_BACKEND {

/// The proximal step of a dual variable z = w/sigma + Kx of modulus r: w = alpha psi(p) with p + a psi(p) =
/// z, a = alpha/sigma (Moreau), is scale(r) z. Here psi(p) = e (2 - e), e = p/nu up to 1: a e^2 - (2a + nu) e
/// + r = 0, smaller root.
template <class T>
struct DualHuberC2 {
  T alpha, nu, a;
  BILEVEL_HD DualHuberC2(const AnalysisModel& m, double inverse_step)
      : alpha(T(m.alpha)), nu(T(m.nu)), a(T(m.alpha * inverse_step)) {}

  BILEVEL_HD T scale(T r) const {
    const T left = a + nu - r;
    const T root = std::sqrt(nu * nu + T(4) * a * maximum(left, T(0)));
    const T slope = T(2) / (T(2) * a + nu + root);  // e / r
    return alpha * (left > T(0) ? slope * (T(2) - slope * r) : T(1) / maximum(r, nu));
  }
};

/// The same with psi(p) = t / sqrt(1 + t^2), p = nu t: nu t + a t / sqrt(1 + t^2) = r. The left side is
/// concave, so that Newton's method from below the root rises to it; it grows by half or more while far away.
template <class T>
struct DualCharbonnier {
  T alpha, nu, a;
  BILEVEL_HD DualCharbonnier(const AnalysisModel& m, double inverse_step)
      : alpha(T(m.alpha)), nu(T(m.nu)), a(T(m.alpha * inverse_step)) {}

  BILEVEL_HD T scale(T modulus) const {
    constexpr T rounding = T(1) - below_one<T>;
    const T r = maximum(modulus, T(1e-30));
    T t = maximum(r / (a + nu), (r - a) / nu), s = std::sqrt(T(1) + t * t);
    for (int k = 0; k < 64; ++k) {
      const T change = (r - (nu * t + a * (t / s))) / (nu + a / (s * s * s));
      if (!(change > rounding * t)) break;
      t += change;
      s = std::sqrt(T(1) + t * t);
    }
    return alpha * ((t / r) / s);
  }
};

/// The same with psi(p) = p: w = alpha r / (1 + a).
template <class T>
struct DualQuadratic {
  T factor;
  BILEVEL_HD DualQuadratic(const AnalysisModel& m, double inverse_step)
      : factor(T(m.alpha) / (T(1) + T(m.alpha * inverse_step))) {}

  BILEVEL_HD T scale(T) const { return factor; }
};

template <class Rho>
struct DualOf;
template <class T>
struct DualOf<Charbonnier<T>> {
  using type = DualCharbonnier<T>;
};
template <class T>
struct DualOf<HuberC2<T>> {
  using type = DualHuberC2<T>;
};
template <class T>
struct DualOf<Quadratic<T>> {
  using type = DualQuadratic<T>;
};

/// (1 + D)r Dw per channel, D directions.
template <class T, class Rho, class K>
struct PdhgDual {
  using S = typename K::Differences;
  static constexpr int sums = 0, work = 4;
  using G = Geometry<T, S, K::channels>;
  static constexpr int scratch = G::scratch, resident = 4;
  PdhgDualArgs<T> a;

  BILEVEL_HD void operator()(Block& block, const Tile& t, double*) const {
    const AnalysisModel& m = a.model;
    const int width = m.width;
    const long long size = static_cast<long long>(m.height) * width, batch = size * K::channels * a.n;
    const Halo<T, K, G> x(block, m, a.x, t);
    T* first = plane_at<K::channels>(a.dual, m, t, 0);
    const typename DualOf<Rho>::type rho(m, a.inverse_step);
    const T inverse = T(a.inverse_step);
    const bool start = !(a.inverse_step > 0);
    block.for_each(0, t.rows, 0, t.columns, [=](int r, int c) BILEVEL_PIXEL_LAMBDA {
      T z[K::components], square[K::groups];
      x.differences(r * G::pitch + c, z);
      const long long o = static_cast<long long>(r) * width + c;
      const auto place = [&](auto i) BILEVEL_PIXEL_LAMBDA {
        return (i / K::channels) * batch + (i % K::channels) * size + o;
      };
      unrolled<K::components>([&](auto i) BILEVEL_PIXEL_LAMBDA {
        const T old = start ? T(0) : inverse * first[place(i)];
        z[i] = old + z[i];
        square[i / K::size] = i % K::size == 0 ? z[i] * z[i] : square[i / K::size] + z[i] * z[i];
      });
      T scale[K::groups];
      unrolled<K::groups>([&](auto g) BILEVEL_PIXEL_LAMBDA { scale[g] = rho.scale(std::sqrt(square[g])); });
      unrolled<K::components>([&](auto i)
                                  BILEVEL_PIXEL_LAMBDA { first[place(i)] = z[i] * scale[i / K::size]; });
    });
  }
};

/// (2 + D)r 2w per channel ((3 + D)r masked).
template <class T, class S>
struct PdhgPrimal {
  static constexpr int sums = 0;
  using G = Geometry<T, S, S::directions>;
  static constexpr int scratch = G::scratch, resident = 4;
  PdhgPrimalArgs<T> a;

  BILEVEL_HD void operator()(Block& block, const Tile& t, double*) const {
    const AnalysisModel& m = a.model;
    const int width = m.width;
    const long long size = static_cast<long long>(m.height) * width,
                    plane = (static_cast<long long>(t.image) * m.channels + t.plane) * size;
    const Flux<T, S, G> w(block, m, t);
    for (int d = 0; d < S::directions; ++d)
      load_halo<S::reach>(block, a.dual + d * size * m.channels * a.n + plane, m.height, width, t, w.f[d],
                          G::pitch);
    w.clear_outside(block, m, t);  // where the halo repeats the border
    const long long first = plane + static_cast<long long>(t.row) * width + t.column;
    const T* source = a.source + first;
    const T* s = at_shared(a.sampling, m, t);
    T* x = a.x + first;
    T* extrapolated = a.extrapolated + first;
    const T tau = T(a.step), theta = T(a.relaxation), pull = T(a.pull), fit = T(a.fit), xi = T(m.xi);
    const Border border(m, t);
    const auto move = [=](int r, int c, T weight) BILEVEL_PIXEL_LAMBDA {
      const int o = r * width + c;
      const T adjoint = w.adjoint(r * G::pitch + c, border.at(r, c)), old = x[o];
      const T next = (old + tau * (pull * weight * source[o] - adjoint)) / (T(1) + tau * (xi + fit * weight));
      extrapolated[o] = next + theta * (next - old);
      x[o] = next;
    };
    if (s)
      block.for_each(0, t.rows, 0, t.columns,
                     [=](int r, int c) BILEVEL_PIXEL_LAMBDA { move(r, c, s[r * width + c]); });
    else
      block.for_each(0, t.rows, 0, t.columns, [=](int r, int c) BILEVEL_PIXEL_LAMBDA { move(r, c, T(1)); });
  }
};

}  // namespace bilevel::kernels::BILEVEL_BACKEND
