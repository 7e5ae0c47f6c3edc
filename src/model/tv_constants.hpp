#pragma once

#include <array>
#include <span>

#include "bilevel/core/shape.hpp"
#include "bilevel/model/regularisers.hpp"
#include "kernels/analysis_model.hpp"

namespace bilevel {
inline namespace v0 {

struct TvValues {
  double alpha = 0, nu = 1, xi = 0;
  double ridge(const TvOptions& options) const { return options.xi_inside_alpha ? alpha * xi : xi; }
};

/// K of the options on images of this shape. Isotropic where a pixel has one component.
kernels::Stencil stencil_of(const TvOptions& options, const Shape& shape);
/// Throws ConfigError for options that do not go together.
void require_options(const TvOptions& options);

/// Constants of alpha R; mixed_lipschitz with respect to the values alpha, nu, xi.
struct TvConstants {
  double mu, lipschitz, hessian_lipschitz;
  std::array<double, 3> mixed_lipschitz;
  double norm2;      ///< |K|^2
  double row_norm;   ///< r_K
  double curvature;  ///< l_1
  double reading;    ///< rounding of K x is at most unit (|K x| + reading |x|)
};
TvConstants tv_constants(const TvOptions& options, const Shape& shape, bool masked, const TvValues& value);

struct TvDirectional {
  double hessian_q, energy_q, hessian_v, energy_v, hessian_vq, hessian_qe;
  std::array<double, 3> mixed_q, energy_mixed, rounding;  ///< with respect to the values
};

/// Changes of the Hessian and of B between x~ and xhat = x~ + e from the sums of the bound kernel: the
/// forms of learn/error_bound.hpp, and sharper ones from the energy of e and of f = q^ - q. Derivation,
/// with Abar the mean Hessian of the segment (Abar e = -grad Phi(x~)) and m_p, K_p, a_p valid on it:
///   mu |e|^2 + alpha sum m_p |(Ke)_p|^2 <= <e, Abar e> <= |grad| |e|,
/// so sum W_p |(Ke)_p|^2 <= epsilon^2 with W_p = 1/(2|K|^2) + 2 alpha m_p / mu (less when |grad| > mu
/// epsilon). f = f1 + f2 with A^ f1 = (b - A~ q) + (b^ - b), |f1| <= rho1 = (R + L_g epsilon)/mu, for which
/// the same holds with rho1, and A^ f2 = K^T u, u_p = -alpha Delta_p (Kq)_p, |u_p| <= alpha/nu^2 K_p |(Ke)_p|
/// g_p:
///   |f2| <= sqrt(2) M_q epsilon / mu,  (sum W |K f2|^2)^(1/2) <= 2 M_q epsilon / mu,  M_q = alpha/nu^2 max
///   K_p g_p / W_p.
/// With phi = (sum W |Kf|^2)^(1/2): |f^T (A - A~) v| <= M_v epsilon phi, |v^T (A - A~) q| <= alpha/nu^2
/// epsilon |K h g / sqrt W|, |(B - B~)_alpha^T q| <= epsilon |a g / sqrt W|, |f^T (B - B~)_alpha| <= epsilon
/// phi max a/W. The mean Hessian changes by half of it: |q^T (Abar - A~) e| <= M_q epsilon^2 / 2. `unit`:
/// rounding unit of the arrays.
TvDirectional tv_directional(const TvConstants& constants, const TvOptions& options, const TvValues& value,
                             std::span<const double> sums, double epsilon, double norm_q, double norm_v,
                             double unit);

}  // namespace v0
}  // namespace bilevel
