// Steps of the primal-dual hybrid gradient method (Chambolle and Pock 2011, algorithm 3) for smoothed total
// variation with forward differences and zero last difference, so that w stays zero in the last column and
// row.

#include "kernels/launch.hpp"
#include "kernels/pdhg_args.hpp"
#include "kernels/table.hpp"

namespace bilevel::kernels::BILEVEL_BACKEND {
namespace {

constexpr int pitch = Block::tile_columns + 2;
constexpr int halo_size = (Block::tile_rows + 2) * pitch;

/// The proximal step of a dual variable z = w/sigma + Kx of modulus r: w = alpha psi(p) with p + a psi(p) =
/// z, a = alpha/sigma (Moreau), is scale(r) z. Here psi(p) = e (2 - e), e = p/nu up to 1: a e^2 - (2a + nu) e
/// + r = 0, smaller root.
template <class T>
struct DualHuberC2 {
  T alpha, nu, a;
  BILEVEL_HD DualHuberC2(const TvModel& m, double inverse_step)
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
  BILEVEL_HD DualCharbonnier(const TvModel& m, double inverse_step)
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

/// (1 + 2)r 2w per component.
template <class T, template <class> class Rho, bool isotropic, int components>
struct DualStep {
  static constexpr int sums = 0, work = 4;
  static constexpr int scratch = components * Block::scratch_size<T>(halo_size), resident = 4;
  PdhgDualArgs<T> a;

  BILEVEL_HD void operator()(Block& block, const Tile& t, double*) const {
    const TvModel& m = a.model;
    const int width = m.width;
    const long long plane = static_cast<long long>(m.height) * width;
    const long long image = static_cast<long long>(t.image) * components * plane;
    const T* x[components];
    for (int k = 0; k < components; ++k) {
      T* buffer = block.scratch<T>(halo_size);
      load_halo(block, a.x + image + k * plane, m.height, width, t, buffer, pitch);
      x[k] = buffer + pitch + 1;
    }
    const long long first = image + static_cast<long long>(t.row) * width + t.column;
    T* wx = a.dual_x + first;
    T* wy = a.dual_y + first;
    const T* v = x[0];
    const T* other = x[components - 1];
    const Rho<T> rho(m, a.inverse_step);
    const T inverse = T(a.inverse_step);
    const bool start = !(a.inverse_step > 0);
    block.for_each(0, t.rows, 0, t.columns, [=](int r, int c) {
      const int e = r * pitch + c;
      T z[2 * components];
      for (int k = 0; k < components; ++k) {
        const T* u = k == 0 ? v : other;
        const long long o = k * plane + static_cast<long long>(r) * width + c;
        z[2 * k] = (start ? T(0) : inverse * wx[o]) + (u[e + 1] - u[e]);
        z[2 * k + 1] = (start ? T(0) : inverse * wy[o]) + (u[e + pitch] - u[e]);
      }
      T square = T(0);
      for (int k = 0; k < 2 * components; ++k) square += z[k] * z[k];
      const T joint = isotropic ? rho.scale(std::sqrt(square)) : T(0);
      for (int k = 0; k < components; ++k) {
        const long long o = k * plane + static_cast<long long>(r) * width + c;
        wx[o] = z[2 * k] * (isotropic ? joint : rho.scale(std::fabs(z[2 * k])));
        wy[o] = z[2 * k + 1] * (isotropic ? joint : rho.scale(std::fabs(z[2 * k + 1])));
      }
    });
  }
};

/// 4r 2w per component (5r masked).
template <class T>
struct PrimalStep {
  static constexpr int sums = 0;
  static constexpr int scratch = 2 * Block::scratch_size<T>(halo_size), resident = 4;
  PdhgPrimalArgs<T> a;

  BILEVEL_HD void operator()(Block& block, const Tile& t, double*) const {
    const TvModel& m = a.model;
    const int width = m.width;
    const long long plane = (static_cast<long long>(t.image) * a.components + t.plane) * m.height * width;
    T* wx = load(block, a.dual_x + plane, t);
    T* wy = load(block, a.dual_y + plane, t);
    // w is zero outside the image, where the halo repeats the border.
    if (t.column == 0) block.for_each(0, t.rows, -1, 0, [=](int r, int c) { wx[r * pitch + c] = T(0); });
    if (t.row == 0) block.for_each(-1, 0, 0, t.columns, [=](int r, int c) { wy[r * pitch + c] = T(0); });
    const long long first = static_cast<long long>(t.row) * width + t.column;
    const T* source = a.source + plane + first;
    const T* s = a.sampling ? a.sampling + first : nullptr;
    T* x = a.x + plane + first;
    T* extrapolated = a.extrapolated + plane + first;
    const T tau = T(a.step), theta = T(a.relaxation), pull = T(a.pull), fit = T(a.fit), xi = T(m.xi);
    const auto move = [=](int r, int c, T weight) {
      const int e = r * pitch + c, o = r * width + c;
      const T adjoint = (wx[e - 1] - wx[e]) + (wy[e - pitch] - wy[e]), old = x[o];
      const T next = (old + tau * (pull * weight * source[o] - adjoint)) / (T(1) + tau * (xi + fit * weight));
      extrapolated[o] = next + theta * (next - old);
      x[o] = next;
    };
    if (s)
      block.for_each(0, t.rows, 0, t.columns, [=](int r, int c) { move(r, c, s[r * width + c]); });
    else
      block.for_each(0, t.rows, 0, t.columns, [=](int r, int c) { move(r, c, T(1)); });
  }

 private:
  BILEVEL_HD T* load(Block& block, const T* w, const Tile& t) const {
    T* buffer = block.scratch<T>(halo_size);
    load_halo(block, w, a.model.height, a.model.width, t, buffer, pitch);
    return buffer + pitch + 1;
  }
};

template <class T, template <class> class Rho, bool isotropic>
void dual_step(const Stream& stream, const PdhgDualArgs<T>& a) {
  const int height = a.model.height, width = a.model.width;
  if (a.components == 1)
    launch_tiles(stream, a.active, height, width, DualStep<T, Rho, isotropic, 1>{a});
  else
    launch_tiles(stream, a.active, height, width, DualStep<T, Rho, isotropic, 2>{a});
}

template <class T>
void dual(const Stream& stream, const PdhgDualArgs<T>& a) {
  const bool huber = a.model.potential == Potential::huber_c2;
  if (a.model.isotropic)
    huber ? dual_step<T, DualHuberC2, true>(stream, a) : dual_step<T, DualCharbonnier, true>(stream, a);
  else
    huber ? dual_step<T, DualHuberC2, false>(stream, a) : dual_step<T, DualCharbonnier, false>(stream, a);
}

template <class T>
void primal(const Stream& stream, const PdhgPrimalArgs<T>& a) {
  launch_tiles(stream, a.active, a.model.height, a.model.width, PrimalStep<T>{a}, a.components);
}

}  // namespace

template <class T>
void fill_pdhg(Table<T>& table) {
  table.pdhg_dual = dual<T>;
  table.pdhg_primal = primal<T>;
}
template void fill_pdhg(Table<float>&);
template void fill_pdhg(Table<double>&);

}  // namespace bilevel::kernels::BILEVEL_BACKEND
