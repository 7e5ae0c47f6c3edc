// Sums of the directional error bounds of the fields of experts (experts_args.hpp names them), and the norms
// of the patches that they weight.

#include "kernels/error_ball.hpp"
#include "kernels/experts_tile.hpp"
#include "kernels/table.hpp"

namespace bilevel::kernels::BILEVEL_BACKEND {
namespace {

template <class T>
constexpr T roundoff = sizeof(T) == 4 ? T(6e-8) : T(1.2e-16);

/// Squared deviations from the mean, or from zero, row by row of the neighbourhood.
template <class T, int S>
struct Patches {
  static constexpr int R = S / 2, rows = Block::patch_rows, columns = Block::patch_columns;
  using Near = Plane<T, rows, columns, R, 3>;
  using Own = Plane<T, rows, columns, 0>;
  static constexpr int sums = 0, work = S * S;
  static constexpr int scratch = Near::bytes + 2 * Own::bytes + Block::scratch_size<T>(S * S), resident = 4;
  ExpertsPatchesArgs<T> a;

  BILEVEL_HD void operator()(Block& block, const ChannelTile& t, double*) const {
    const ExpertsModel<T>& m = a.model;
    const Near x(block);
    const Own centre(block), total(block);
    T* taps = block.template scratch<T>(S * S);
    x.load(block, m, a.x, t);
    const T share = a.centred ? T(1) / T(S * S) : T(0);
    block.for_elements(0, S * S, [=](int e) { taps[e] = share; });
    const Region own = responses<S>(m, t, 0);
    T *mean = centre.origin, *sum = total.origin;
    correlate<S>(block, own, x, taps, [=](int r, int c, T s) {
      mean[r * columns + c] = s;
      sum[r * columns + c] = T(0);
    });
    for (int i = 0; i < S; ++i) {
      const T* row = x.origin + (i - R) * Near::pitch - R;
      block.for_each(own.row0, own.row1, own.column0, own.column1, [=](int r, int c) {
        T s = sum[r * columns + c];
        for (int j = 0; j < S; ++j) {
          const T d = row[r * Near::pitch + c + j] - mean[r * columns + c];
          s += d * d;
        }
        sum[r * columns + c] = s;
      });
    }
    T* out = pixels_at(a.patches, m, t);
    const int width = m.width, edge = m.padding == Padding::valid ? R : 0;
    block.for_each(own.row0, own.row1, own.column0, own.column1,
                   [=](int r, int c) { out[(r - edge) * width + c - edge] = sum[r * columns + c]; });
  }
};

/// What one response contributes. t is known up to `error`, g and h are upper bounds, X and Q too.
template <class T, class Rho>
struct Ball {
  Rho rho;
  T nu, error, radius, weight, energy, floor, stiffness;

  BILEVEL_HD Sums<experts_bound_sums> operator()(T t, T g, T h, T X, T Q) const {
    const T r = std::abs(t) + error;
    const T d = pixel_radius(rho, r, radius, energy, weight);
    T k, l, w, w_nu, w_r, unused;
    rho.profile(t * t, (d + error) / nu, true, k, l);
    rho.weight_nu(t * t, w, w_nu);
    rho.hessian(r * r, w_r, unused);
    // w_nu t changes by at most 2 / nu times t, and the curvature falls with |t|.
    const T psi = w_r * r, nu_t = std::abs(w_nu * t) + 2 / nu * error,
            bent = rho.softest(maximum(std::abs(t) - error, T(0)));
    const double inverse = 1 / double(floor + stiffness * rho.softest(r + d));
    const double kg = double(k) * g, kh = double(k) * h, ag = double(l) * g, ah = double(l) * h, khg = kh * g,
                 a2q = double(l) * l * Q, kgx = kg * kg * X;
    return {{double(psi) * psi,
             double(nu_t) * nu_t,
             double(bent) * bent * X,
             ag * ag,
             double(g),
             a2q,
             kgx,
             ah * ah,
             khg * khg,
             ah * g,
             khg * khg * inverse,
             ag * ag * inverse,
             a2q * inverse,
             kgx * inverse,
             0,
             kg,
             kh,
             kg * inverse,
             kh * inverse,
             double(l),
             l * inverse,
             double(k),
             double(X)}};
  }
};

/// The responses of one tile and filter to x, q and v, v null for none, and what bounds their errors.
template <class T>
struct Responses {
  const T *t, *g, *h;
  T error_t, error_g, error_h;
  const T *patches_x, *patches_q;
  int width, edge;  // of the patches, which have no border around them
  T above;          // 1 + rounding of a sum of squares
};

/// Sums over the responses. A function of its own because it does not depend on the size of the filters.
template <class T, class Rho>
BILEVEL_HD void add_bounds(Block& block, const Region& own, const Responses<T>& near, const Ball<T, Rho>& of,
                           double* partial) {
  constexpr int columns = Block::patch_columns;
  const Responses<T> n = near;
  const Ball<T, Rho> ball = of;
  block.template reduce<experts_bound_sums, experts_bound_maxima>(
      own.row0, own.row1, own.column0, own.column1,
      [=](int r, int c) -> Sums<experts_bound_sums> {
        const int e = r * columns + c, p = (r - n.edge) * n.width + c - n.edge;
        const T h = n.h ? std::abs(n.h[e]) + n.error_h : T(0);
        return ball(n.t[e], std::abs(n.g[e]) + n.error_g, h, n.patches_x[p] * n.above,
                    n.patches_q[p] * n.above);
      },
      partial);
}

template <class T, int S>
struct Bound {
  static constexpr int R = S / 2, rows = Block::patch_rows, columns = Block::patch_columns;
  using Near = Plane<T, rows, columns, R, 3>;
  using Own = Plane<T, rows, columns, 0>;
  static constexpr int sums = experts_bound_sums, maxima = experts_bound_maxima, work = 6 * S * S;
  static constexpr int scratch =
      Near::bytes + 3 * Own::bytes + Taps<T, S>::bytes + Block::scratch_size<double>(2);
  static constexpr int resident = 2;
  ExpertsBoundArgs<T> a;

  /// Loads an image and its responses; returns the bound of their rounding error, (S^2 + 2) u |c|_1 max|x|.
  BILEVEL_HD T respond(Block& block, const T* batch, const ChannelTile& t, const Near& image,
                       const Taps<T, S>& taps, const Own& response, const double* norm,
                       double* largest) const {
    image.load(block, a.model, batch, t);
    const T* v = image.origin;
    block.for_elements(0, 1, [=](int) { *largest = 0; });
    block.largest(
        -R, t.rows + R, -R, t.columns + R,
        [=](int r, int c) { return double(std::abs(v[r * Near::pitch + c])); }, largest);
    T* out = response.origin;
    correlate<S>(block, responses<S>(a.model, t, 0), image, taps.forward,
                 [=](int r, int c, T s) { out[r * columns + c] = s; });
    return T(double(S * S + 2) * roundoff<T> * *norm * *largest);
  }

  BILEVEL_HD void operator()(Block& block, const ChannelTile& t, double* partial) const {
    const ExpertsModel<T>& m = a.model;
    const Near image(block);
    const Own own_t(block), own_g(block), own_h(block);
    const Taps<T, S> taps(block);
    double* scalars = block.zeros(2);  // |c|_1, max|x|
    taps.load(block, m.taps, t.plane);
    const T* c1 = taps.forward;
    block.template reduce_elements<1>(
        0, S * S, [=](int e) -> Sums<1> { return {{double(std::abs(c1[e]))}}; }, scalars);
    const T error_t = respond(block, a.x, t, image, taps, own_t, scalars, scalars + 1);
    const T* x = image.origin;
    block.template reduce<1>(
        0, t.rows, 0, t.columns,
        [=](int r, int c) -> Sums<1> {
          const T v = x[r * Near::pitch + c];
          return {{double(v) * v}};
        },
        partial + 14);
    const T error_g = respond(block, a.q, t, image, taps, own_g, scalars, scalars + 1);
    const T error_h = a.v ? respond(block, a.v, t, image, taps, own_h, scalars, scalars + 1) : T(0);
    const double eps = a.epsilon[t.image], outward = 1 + 2e-6, inward = 1 - 2e-6;
    const ErrorBall ball(eps, a.gradient[t.image], a.mu);
    const double nu = m.smoothing[t.plane];
    const Region own = responses<S>(m, t, 0);
    const Responses<T> near{own_t.origin,
                            own_g.origin,
                            a.v ? own_h.origin : nullptr,
                            error_t,
                            error_g,
                            error_h,
                            pixels_at(a.patches_x, m, t),
                            pixels_at(a.patches_q, m, t),
                            m.width,
                            m.padding == Padding::valid ? R : 0,
                            T(1) + T(S * S + 8) * roundoff<T>};
    with_potential(m, t.plane, [&](auto rho) {
      const Ball<T, decltype(rho)> of{rho,
                                      T(nu),
                                      error_t,
                                      T(a.row_bound[t.plane] * eps * outward),
                                      m.weight[t.plane],
                                      T(maximum(ball.energy * outward, 1e-36)),
                                      T(0.5 / a.norm2 * inward),
                                      T(0.5 * nu * ball.softness * inward)};
      add_bounds(block, own, near, of, partial);
    });
  }
  BILEVEL_HD void finish(int image, int k, const double* total) const {
    const int stride = a.model.filters * a.n;
    for (int row = 0; row < sums; ++row)
      a.out[static_cast<long long>(row) * stride + k * a.n + image] = total[row];
  }
};

}  // namespace

template <class T>
void fill_experts_bound(Table<T>& table) {
  table.experts_patches = launch_tiles_of_experts<T, Patches, ExpertsPatchesArgs<T>>;
  table.experts_bound = launch_filters<T, Bound, ExpertsBoundArgs<T>>;
}
template void fill_experts_bound(Table<float>&);
template void fill_experts_bound(Table<double>&);

}  // namespace bilevel::kernels::BILEVEL_BACKEND
