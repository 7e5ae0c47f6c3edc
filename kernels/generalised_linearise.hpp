#pragma once

// The Hessian of total generalised variation at a point, or the primal-dual matrix of Newton's method with
// its dual field: the bodies of kernels/analysis_linearise.hpp for a joint unknown.

#include "kernels/analysis_linearise.hpp"
#include "kernels/generalised.hpp"

namespace bilevel::kernels::BILEVEL_BACKEND {

/// Reads the point, writes the planes of weights and the inverse diagonal: (6 + planes / C) words per
/// channel, and the dual field's floats.
template <class T, class Rho, class K>
struct GeneralisedLinearise {
  static constexpr int C = K::channels, sums = 0;
  using Joint = JointTile<T, C, 3 * C + 3>;
  using G = typename Joint::G;
  using Image = typename Joint::Image;
  using Fluxes = typename Joint::Fluxes;
  static constexpr int scratch = G::scratch, resident = 2;
  AnalysisLineariseArgs<T> a;

  BILEVEL_HD void operator()(Block& block, const Tile& t, double*) const {
    const Image u(block, a.model, a.x, t);
    const Fluxes m(block, a.model, t);
    if (a.dual)
      write<true>(block, t, u, m);
    else
      write<false>(block, t, u, m);
  }

 private:
  /// The matrix of a group at a pixel.
  template <class Group, bool given>
  struct Matrix {
    using Own = Operator<Group, false, C>;
    Rho rho;
    T alpha;
    Image u;
    Border border;
    int width;
    const float* dual[Own::components];

    BILEVEL_HD Matrix(const AnalysisLineariseArgs<T>& a, const Tile& t, const Image& image)
        : rho(a.model.nu),
          alpha(T(Group::first == 0 ? a.model.alpha : a.model.field_alpha)),
          u(image),
          border(a.model, t),
          width(a.model.width) {
      const long long size = static_cast<long long>(a.model.height) * a.model.width;
      const float* start = Joint::plane(a.dual, a.model, t, 0);
      for (int c = 0; c < Own::components; ++c)
        dual[c] = given ? start + dual_offset<Group, C>(c, size, a.n) : nullptr;
    }
    BILEVEL_PIXEL void operator()(int r, int c, CurvedPixel<T, Own>& p) const {
      Joint::template components<Group>(u, r * G::pitch + c, border.at(r, c), p.z);
      p.template bend<given>(rho, dual, r * width + c);
      unrolled<Own::components>([&](auto k) BILEVEL_PIXEL_LAMBDA { p.weight[k] = alpha; });
    }
  };

  template <bool given>
  BILEVEL_HD void write(Block& block, const Tile& t, const Image& u, const Fluxes& m) const {
    group(block, t, m, Matrix<Coupling, given>(a, t, u));
    group(block, t, m, Matrix<Strain, given>(a, t, u));
  }

  template <class Group, bool given>
  BILEVEL_HD void group(Block& block, const Tile& t, const Fluxes& m,
                        const Matrix<Group, given>& matrix) const {
    using Own = Operator<Group, false, C>;
    const int width = a.model.width;
    const WeightPlanes<T, Own> planes(Joint::plane(a.weights, a.model, t, 0), a.model, a.n, 3 * C,
                                      first_plane<Group, C>);
    block.for_each(0, t.rows, 0, t.columns, [=](int r, int c) BILEVEL_PIXEL_LAMBDA {
      CurvedPixel<T, Own> p;
      matrix(r, c, p);
      if constexpr (Own::packed)
        unrolled<Own::size>([&](auto i) BILEVEL_PIXEL_LAMBDA {
          unrolled<Own::size - i>([&](auto j) BILEVEL_PIXEL_LAMBDA {
            planes.p[Own::entry(i, i + j)][r * width + c] = p.template entry<0, i, i + j>();
          });
        });
      else
        planes.store(r * width + c, p, matrix.alpha);
    });
    diagonal<0, Group>(block, t, m, matrix);
    if constexpr (C == 2) diagonal<1, Group>(block, t, m, matrix);
  }

  /// Adds diag(K^T M K) of channel k to what becomes the inverse diagonal.
  template <int k, class Group, bool given>
  BILEVEL_HD void diagonal(Block& block, const Tile& t, const Fluxes& m,
                           const Matrix<Group, given>& matrix) const {
    using Own = Operator<Group, false, C>;
    visit_span<0>(
        block, t, Span<Group>(a.model, t),
        [=](int r, int c) BILEVEL_PIXEL_LAMBDA {
          CurvedPixel<T, Own> p;
          matrix(r, c, p);
          unrolled<Group::directions>([&](auto d) BILEVEL_PIXEL_LAMBDA {
            constexpr int own = d * C + k;
            m.f[d][r * G::pitch + c] = p.template entry<0, own, own>();
          });
        },
        nullptr);
    if constexpr (Group::first == 0) input<0, k>(block, t, m, matrix);
    input<1, k>(block, t, m, matrix);
    input<2, k>(block, t, m, matrix);
  }
  /// 1 / (xi + diagonals + data) of an input of channel k, once both groups have been there.
  template <int i, int k, class Group, bool given>
  BILEVEL_HD void input(Block& block, const Tile& t, const Fluxes& m,
                        const Matrix<Group, given>& matrix) const {
    using Own = Operator<Group, false, C>;
    const int width = a.model.width;
    const T xi = T(i == 0 ? a.model.xi : a.model.field_xi), data = T(i == 0 ? a.data : 0);
    const T* map = at_shared(a.data_map, a.model, t);
    T* inverse = Joint::plane(a.inverse_diagonal, a.model, t, i * C + k);
    block.for_each(0, t.rows, 0, t.columns, [=](int r, int c) BILEVEL_PIXEL_LAMBDA {
      const int o = r * width + c;
      const auto entry = [=](auto d, auto d2, int row, int column) BILEVEL_PIXEL_LAMBDA -> T {
        if constexpr (d == d2) {
          return m.f[d][(r + row) * G::pitch + c + column];
        } else {
          CurvedPixel<T, Own> p;
          matrix(r, c, p);
          return p.template entry<0, d * C + k, d2 * C + k>();
        }
      };
      const T own = Group::template diagonal<i, T>(entry, matrix.border.at(r, c));
      if constexpr (i == 0)
        inverse[o] = T(1) / (xi + own + data * (map ? map[o] : T(1)));
      else if constexpr (Group::first == 0)
        inverse[o] = xi + own;
      else
        inverse[o] = T(1) / (inverse[o] + own);
    });
  }
};

/// 3r per channel (6r with a step), the field's floats r and w.
template <class T, class Rho, class K>
struct GeneralisedDual {
  static constexpr int C = K::channels, sums = 0;
  using Joint = JointTile<T, C, 6 * C>;
  using G = typename Joint::G;
  using Image = typename Joint::Image;
  static constexpr int scratch = G::scratch, resident = 2;
  AnalysisDualArgs<T> a;

  BILEVEL_HD void operator()(Block& block, const Tile& t, double*) const {
    const Image u(block, a.model, a.x, t);
    if (a.d == nullptr) {
      move<Coupling, true>(block, t, u, u);
      move<Strain, true>(block, t, u, u);
    } else {
      const Image d(block, a.model, a.d, t);
      move<Coupling, false>(block, t, u, d);
      move<Strain, false>(block, t, u, d);
    }
  }

 private:
  template <class Group, bool start>
  BILEVEL_HD void move(Block& block, const Tile& t, const Image& u, const Image& d) const {
    using Own = Operator<Group, false, C>;
    const T step = start ? T(0) : T(a.step[t.image]);
    const Rho rho(a.model.nu);
    const int width = a.model.width, n = a.n;
    const long long size = static_cast<long long>(a.model.height) * width;
    float* zeta = Joint::plane(a.dual, a.model, t, 0);
    const Border border(a.model, t);
    block.for_each(0, t.rows, 0, t.columns, [=](int r, int c) BILEVEL_PIXEL_LAMBDA {
      const int e = r * G::pitch + c, o = r * width + c;
      T z[Own::components], v[Own::components] = {};
      Joint::template components<Group>(u, e, border.at(r, c), z);
      if constexpr (!start) Joint::template components<Group>(d, e, border.at(r, c), v);
      move_dual<Own, start>(rho, step, z, v, zeta, [&](auto i) BILEVEL_PIXEL_LAMBDA {
        return dual_offset<Group, C>(i, size, n) + o;
      });
    });
  }
};

}  // namespace bilevel::kernels::BILEVEL_BACKEND
