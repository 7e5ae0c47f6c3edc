#pragma once

// Difference operators K on a tile with its halo. A stencil gives the components of a pixel of one channel
// (`forward`), K^T of a field of fluxes (`adjoint`) and the diagonal of K^T M K; fluxes are zero outside the
// image. To add one: a struct here, a value of Stencil with its number of directions, a file like
// analysis_second.cpp.
//
//   Channels    the numbers of channels that kernels are built for, by whether directions are separate
//   directions  components per channel
//   reach       the halo of an image, in pixels
//   after       rows and columns of fluxes to the right and below that K^T takes (it takes one before)
//   norm        |K| <= norm
//   reads       components are differences of differences: `reading` is what rounding does to them, in units

#include <type_traits>

#include "kernels/analysis_args.hpp"
#include "kernels/block.hpp"

namespace bilevel::kernels::BILEVEL_BACKEND {

/// Which neighbours of a pixel are inside the image.
struct Edges {
  bool left, right, up, down;
};

/// Whether a neighbour is inside, as a factor: a choice would keep loops over pixels from being vectors.
template <class T>
BILEVEL_PIXEL T inside(bool neighbour) {
  return neighbour ? T(1) : T(0);
}

/// Where a tile stands in its image.
struct Border {
  int row, column, last_row, last_column;

  BILEVEL_HD Border(const AnalysisModel& m, const Tile& t)
      : row(t.row), column(t.column), last_row(m.height - 1 - t.row), last_column(m.width - 1 - t.column) {}
  BILEVEL_PIXEL Edges at(int r, int c) const {
    return {column + c > 0, c<last_column, row + r> 0, r < last_row};
  }
};

/// A direction, as a constant.
template <int d>
inline constexpr std::integral_constant<int, d> at{};

/// z = (x_{r,c+1} - x_{r,c}, x_{r+1,c} - x_{r,c}).
struct FirstDifferences {
  template <bool separate>
  using Channels = std::conditional_t<separate, UsualChannels, GradientChannels>;
  static constexpr int directions = 2, reach = 1, after = 0;
  static constexpr bool reads = false;
  static constexpr double norm = 2.8284271247461903;

  template <class T>
  BILEVEL_PIXEL static void forward(const T* v, int e, int pitch, T (&z)[2]) {
    z[0] = v[e + 1] - v[e];
    z[1] = v[e + pitch] - v[e];
  }
  template <class T>
  BILEVEL_PIXEL static T reading(const T*, int, int, const Edges&) {
    return T(0);
  }
  /// Whether K has a row in direction d at a pixel.
  template <int d>
  BILEVEL_PIXEL static bool exists(const Border& b, int r, int c) {
    return d == 0 ? c < b.last_column : r < b.last_row;
  }
  template <class T>
  BILEVEL_PIXEL static T adjoint(const T* const (&f)[2], int e, int pitch, const Edges&) {
    return (f[0][e - 1] - f[0][e]) + (f[1][e - pitch] - f[1][e]);
  }
  /// start + the diagonal; m(d, d2, row, column) is an entry of M at this offset, zero outside the image.
  template <bool joint, class T, class Matrix>
  BILEVEL_PIXEL static T diagonal(T start, const Matrix& m, const Edges&) {
    T sum = start + ((m(at<0>, at<0>, 0, 0) + m(at<0>, at<0>, 0, -1)) +
                     (m(at<1>, at<1>, 0, 0) + m(at<1>, at<1>, -1, 0)));
    if constexpr (joint) sum += T(2) * m(at<0>, at<1>, 0, 0);
    return sum;
  }
};

/// z = (Dxx, Dyy, sqrt 2 Dxy), Dxx = x_{r,c+1} - 2 x_{r,c} + x_{r,c-1} with differences across the border
/// zero (that is -Dx^T Dx), Dxy = x_{r+1,c+1} - x_{r+1,c} - x_{r,c+1} + x_{r,c}. K^T K = (Dx^T Dx + Dy^T
/// Dy)^2.
struct SecondDifferences {
  template <bool>
  using Channels = UsualChannels;
  static constexpr int directions = 3, reach = 2, after = 1;
  static constexpr bool reads = true;
  static constexpr double norm = 8;

  template <class T>
  BILEVEL_PIXEL static void forward(const T* v, int e, int pitch, T (&z)[3]) {
    const T right = v[e + 1] - v[e], down = v[e + pitch] - v[e];
    z[0] = right - (v[e] - v[e - 1]);
    z[1] = down - (v[e] - v[e - pitch]);
    z[2] = root2<T> * ((v[e + pitch + 1] - v[e + pitch]) - right);
  }
  /// sum over the components of (|a| + |b|)^2 for a - b, each difference rounded once.
  template <class T>
  BILEVEL_PIXEL static T reading(const T* v, int e, int pitch, const Edges& g) {
    const T right = std::fabs(v[e + 1] - v[e]), down = std::fabs(v[e + pitch] - v[e]);
    const T x = right + std::fabs(v[e] - v[e - 1]), y = down + std::fabs(v[e] - v[e - pitch]),
            xy = right + std::fabs(v[e + pitch + 1] - v[e + pitch]);
    return x * x + y * y + (g.right & g.down ? T(2) * (xy * xy) : T(0));
  }
  template <int d>
  BILEVEL_PIXEL static bool exists(const Border& b, int r, int c) {
    if constexpr (d == 2) return (c < b.last_column) & (r < b.last_row);
    return d == 0 ? b.column + b.last_column > 0 : b.row + b.last_row > 0;  // a width, a height of 1
  }
  template <class T>
  BILEVEL_PIXEL static T adjoint(const T* const (&f)[3], int e, int pitch, const Edges& g) {
    const T along = (f[0][e - 1] + f[0][e + 1]) - count<T>(g.left, g.right) * f[0][e];
    const T down = (f[1][e - pitch] + f[1][e + pitch]) - count<T>(g.up, g.down) * f[1][e];
    const T mixed = (f[2][e] - f[2][e - 1]) - (f[2][e - pitch] - f[2][e - pitch - 1]);
    return (along + down) + root2<T> * mixed;
  }
  template <bool joint, class T, class Matrix>
  BILEVEL_PIXEL static T diagonal(T start, const Matrix& m, const Edges& g) {
    static_assert(joint);
    const T x = count<T>(g.left, g.right), y = count<T>(g.up, g.down), twice = T(2) * root2<T>;
    const T xx = x * x * m(at<0>, at<0>, 0, 0) + (m(at<0>, at<0>, 0, -1) + m(at<0>, at<0>, 0, 1));
    const T yy = y * y * m(at<1>, at<1>, 0, 0) + (m(at<1>, at<1>, -1, 0) + m(at<1>, at<1>, 1, 0));
    const T xy =
        (m(at<2>, at<2>, 0, 0) + m(at<2>, at<2>, 0, -1)) + (m(at<2>, at<2>, -1, 0) + m(at<2>, at<2>, -1, -1));
    const T own = x * y * T(2) * m(at<0>, at<1>, 0, 0) -
                  twice * (x * m(at<0>, at<2>, 0, 0) + y * m(at<1>, at<2>, 0, 0));
    const T beside = inside<T>(g.left) * m(at<0>, at<2>, 0, -1) + inside<T>(g.up) * m(at<1>, at<2>, -1, 0);
    return start + ((xx + yy) + T(2) * xy) + (own - twice * beside);
  }

 private:
  template <class T>
  static constexpr T root2 = T(1.4142135623730951);
  template <class T>
  BILEVEL_PIXEL static T count(bool a, bool b) {
    return inside<T>(a) + inside<T>(b);
  }
};

/// z = x.
struct Identity {
  template <bool>
  using Channels = IdentityChannels;
  static constexpr int directions = 1, reach = 0, after = 0;
  static constexpr bool reads = false;
  static constexpr double norm = 1;

  template <class T>
  BILEVEL_PIXEL static void forward(const T* v, int e, int, T (&z)[1]) {
    z[0] = v[e];
  }
  template <class T>
  BILEVEL_PIXEL static T reading(const T*, int, int, const Edges&) {
    return T(0);
  }
  template <int d>
  BILEVEL_PIXEL static bool exists(const Border&, int, int) {
    return true;
  }
  template <class T>
  BILEVEL_PIXEL static T adjoint(const T* const (&f)[1], int e, int, const Edges&) {
    return f[0][e];
  }
  template <bool joint, class T, class Matrix>
  BILEVEL_PIXEL static T diagonal(T start, const Matrix& m, const Edges&) {
    return start + m(at<0>, at<0>, 0, 0);
  }
};

/// A stencil on C channels. Component d C + k is direction d of channel k.
template <class S, bool separate, int C>
struct Operator {
  using Differences = S;
  static constexpr bool joint = !separate;
  static constexpr int channels = C, directions = S::directions, components = C * S::directions;
  static constexpr int groups = separate ? S::directions : 1, size = components / groups;
  static constexpr bool packed = size <= 3;  // weights are symmetric matrices
  static constexpr int entries = packed ? size * (size + 1) / 2 : 1 + 2 * size;
  static constexpr int planes = groups * entries;

  /// Place of entry (i,j) of a symmetric matrix: the diagonal, then the rows above it.
  BILEVEL_HD static constexpr int entry(int i, int j) {
    if (i == j) return i;
    const int a = i < j ? i : j, b = i < j ? j : i;
    return size + a * (2 * size - a - 1) / 2 + (b - a - 1);
  }
};

}  // namespace bilevel::kernels::BILEVEL_BACKEND
