#pragma once

// Total generalised variation of second order (Bredies, Kunisch and Pock 2010): the two operators on a joint
// unknown u = (x, v1, v2), of C channels each, as groups of components with a weight of their own. A group is
// like a stencil of kernels/stencils.hpp, on the three inputs of a channel:
//
//   reading          what rounding does to differences of differences, and to sums of them, in units
//   adjoint<i>       of a field of fluxes, input i
//   diagonal<i>      of K^T M K; m(d, d2, row, column) is an entry of M, off the pixel itself a diagonal one
//
// Plane k of input i is plane i C + k of an image.

#include "kernels/stencil_tiles.hpp"

namespace bilevel::kernels::BILEVEL_BACKEND {

/// z = D x - v, D x = (x_{r,c+1} - x_{r,c}, x_{r+1,c} - x_{r,c}), zero where it would reach over the border.
struct Coupling {
  static constexpr int directions = 2, reach = 1, after = 0, first = 0;
  static constexpr bool reads = true;
  static constexpr double norm = 3;

  template <class T>
  BILEVEL_PIXEL static void forward(const T* const (&u)[3], int e, int pitch, const Edges&, T (&z)[2]) {
    z[0] = (u[0][e + 1] - u[0][e]) - u[1][e];
    z[1] = (u[0][e + pitch] - u[0][e]) - u[2][e];
  }
  template <class T>
  BILEVEL_PIXEL static T reading(const T* const (&u)[3], int e, int pitch, const Edges&) {
    const T right = u[0][e + 1] - u[0][e], down = u[0][e + pitch] - u[0][e];
    return right * right + down * down;
  }
  template <int input, class T>
  BILEVEL_PIXEL static T adjoint(T* const* f, int e, int pitch, const Edges& g) {
    if constexpr (input == 0)
      return (f[0][e - 1] - inside<T>(g.right) * f[0][e]) + (f[1][e - pitch] - inside<T>(g.down) * f[1][e]);
    else
      return -f[input - 1][e];
  }
  template <int input, class T, class Matrix>
  BILEVEL_PIXEL static T diagonal(const Matrix& m, const Edges& g) {
    if constexpr (input == 1) return m(at<0>, at<0>, 0, 0);
    if constexpr (input == 2) return m(at<1>, at<1>, 0, 0);
    const T before = m(at<0>, at<0>, 0, -1) + m(at<1>, at<1>, -1, 0);
    const T right = inside<T>(g.right), down = inside<T>(g.down);
    const T own = right * m(at<0>, at<0>, 0, 0) + down * m(at<1>, at<1>, 0, 0);
    return (before + own) + T(2) * right * down * m(at<0>, at<1>, 0, 0);
  }
};

/// z = E v = (Bx v1, By v2, (By v1 + Bx v2)/sqrt 2), B = -D^T: (Bx v)_{r,c} = v_{r,c} - v_{r,c-1}, where the
/// last column has not the first term and the first column not the second.
struct Strain {
  static constexpr int directions = 3, reach = 1, after = 1, first = 1;
  static constexpr bool reads = true;
  static constexpr double norm = 2.8284271247461903;

  template <class T>
  BILEVEL_PIXEL static void forward(const T* const (&u)[3], int e, int pitch, const Edges& g, T (&z)[3]) {
    z[0] = along(u[1], e, g);
    z[1] = down(u[2], e, pitch, g);
    z[2] = half_root<T> * (down(u[1], e, pitch, g) + along(u[2], e, g));
  }
  /// (|a| + |b|)^2 for (a + b)/sqrt 2, halved.
  template <class T>
  BILEVEL_PIXEL static T reading(const T* const (&u)[3], int e, int pitch, const Edges& g) {
    const T mixed = std::fabs(down(u[1], e, pitch, g)) + std::fabs(along(u[2], e, g));
    return T(0.5) * (mixed * mixed);
  }
  template <int input, class T>
  BILEVEL_PIXEL static T adjoint(T* const* f, int e, int pitch, const Edges& g) {
    const T* own = f[input - 1];
    const int step = input == 1 ? 1 : pitch, aside = input == 1 ? pitch : 1;
    const T far = inside<T>(input == 1 ? g.right : g.down), across = inside<T>(input == 1 ? g.down : g.right);
    return far * (own[e] - own[e + step]) + half_root<T> * across * (f[2][e] - f[2][e + aside]);
  }
  template <int input, class T, class Matrix>
  BILEVEL_PIXEL static T diagonal(const Matrix& m, const Edges& g) {
    constexpr int d = input - 1, row = input == 1 ? 0 : 1;  // along v1, down v2
    const T far = inside<T>(input == 1 ? g.right : g.down), across = inside<T>(input == 1 ? g.down : g.right);
    const T own = m(at<d>, at<d>, 0, 0) + m(at<d>, at<d>, row, 1 - row);
    const T mixed = m(at<2>, at<2>, 0, 0) + m(at<2>, at<2>, 1 - row, row);
    const T both = T(2) * half_root<T> * m(at<d>, at<2>, 0, 0);
    return (far * own + T(0.5) * across * mixed) + far * across * both;
  }

 private:
  template <class T>
  static constexpr T half_root = T(0.70710678118654752);
  template <class T>
  BILEVEL_PIXEL static T along(const T* v, int e, const Edges& g) {
    return inside<T>(g.right) * v[e] - inside<T>(g.left) * v[e - 1];
  }
  template <class T>
  BILEVEL_PIXEL static T down(const T* v, int e, int pitch, const Edges& g) {
    return inside<T>(g.down) * v[e] - inside<T>(g.up) * v[e - pitch];
  }
};

/// The planes of a joint unknown of C channels, like an operator of kernels/stencils.hpp.
template <int C>
struct JointUnknown {
  struct Differences {
    static constexpr int reach = 1, after = 1;
  };
  static constexpr int channels = 3 * C, components = 5 * C;
};

/// Where the planes of a group begin in the arrays of weights.
template <class Group, int C>
inline constexpr int first_plane = Group::first == 0 ? 0 : Operator<Coupling, false, C>::planes;
/// Offset of component c of a group in a dual field, arrays [n,3C,H,W] of planes of `size` pixels.
template <class Group, int C>
BILEVEL_PIXEL long long dual_offset(int c, long long size, int n) {
  const int plane = (Group::first == 0 ? 0 : Coupling::directions * C) + c;
  return plane / (3 * C) * size * 3 * C * n + plane % (3 * C) * size;
}

/// What the bodies of a joint unknown have in common: `tiles` arrays in scratch.
template <class T, int C, int tiles>
struct JointTile {
  using Unknown = JointUnknown<C>;
  using S = typename Unknown::Differences;
  using G = Geometry<T, S, tiles>;
  using Image = Halo<T, Unknown, G>;
  using Fluxes = Flux<T, S, G, 3>;

  /// The components of a group at a pixel; component d C + k is direction d of channel k. (Edges are to be
  /// temporaries: a variable of them keeps the loop over pixels from being vectors, GCC 12.)
  template <class Group>
  BILEVEL_PIXEL static void components(const Image& u, int e, const Edges& g, T (&z)[Group::directions * C]) {
    BILEVEL_UNROLL
    for (int k = 0; k < C; ++k) {
      const T* const inputs[3] = {u.v[k], u.v[C + k], u.v[2 * C + k]};
      T own[Group::directions];
      Group::forward(inputs, e, G::pitch, g, own);
      BILEVEL_UNROLL
      for (int d = 0; d < Group::directions; ++d) z[d * C + k] = own[d];
    }
  }
  template <class Group>
  BILEVEL_PIXEL static T reading(const Image& u, int e, const Edges& g) {
    T sum = T(0);
    BILEVEL_UNROLL
    for (int k = 0; k < C; ++k) {
      const T* const inputs[3] = {u.v[k], u.v[C + k], u.v[2 * C + k]};
      sum += Group::reading(inputs, e, G::pitch, g);
    }
    return sum;
  }
  /// Address of pixel (0,0) of the tile in a plane of its image; null stays null.
  template <class V>
  BILEVEL_HD static V* plane(V* batch, const AnalysisModel& m, const Tile& t, int k) {
    return plane_at<Unknown::channels>(batch, m, t, k);
  }

  /// out = ridge v + K^T f of the coupling, for v of channel k.
  template <int k>
  BILEVEL_HD static void start_field(Block& block, const AnalysisModel& m, const Tile& t, const Image& u,
                                     const Fluxes& f, T ridge, T* out) {
    start_input<1, k>(block, m, t, u, f, ridge, out);
    start_input<2, k>(block, m, t, u, f, ridge, out);
  }
  /// out += E^T f for v of channel k, and adds up Q sums f(out, v).
  template <int k, int Q, class F>
  BILEVEL_HD static void add_strain(Block& block, const AnalysisModel& m, const Tile& t, const Image& u,
                                    const Fluxes& f, T* out, F sums, double* partial) {
    add_input<1, k, Q>(block, m, t, u, f, out, sums, partial);
    add_input<2, k, Q>(block, m, t, u, f, out, sums, partial);
  }

 private:
  template <int input, int k>
  BILEVEL_HD static void start_input(Block& block, const AnalysisModel& m, const Tile& t, const Image& u,
                                     const Fluxes& f, T ridge, T* batch) {
    const int width = m.width;
    const T* own = u.v[input * C + k];
    T* out = plane(batch, m, t, input * C + k);
    const Border border(m, t);
    block.for_each(0, t.rows, 0, t.columns, [=](int r, int c) BILEVEL_PIXEL_LAMBDA {
      const int e = r * G::pitch + c;
      out[r * width + c] = ridge * own[e] + Coupling::adjoint<input, T>(f.f, e, G::pitch, border.at(r, c));
    });
  }
  template <int input, int k, int Q, class F>
  BILEVEL_HD static void add_input(Block& block, const AnalysisModel& m, const Tile& t, const Image& u,
                                   const Fluxes& f, T* batch, F sums, double* partial) {
    const int width = m.width;
    const T* own = u.v[input * C + k];
    T* out = plane(batch, m, t, input * C + k);
    const Border border(m, t);
    block.template reduce<Q>(
        0, t.rows, 0, t.columns,
        [=](int r, int c) BILEVEL_PIXEL_LAMBDA -> Sums<Q> {
          const int e = r * G::pitch + c, o = r * width + c;
          const T g = out[o] + Strain::adjoint<input, T>(f.f, e, G::pitch, border.at(r, c));
          out[o] = g;
          return sums(g, own[e]);
        },
        partial);
  }
};

}  // namespace bilevel::kernels::BILEVEL_BACKEND
