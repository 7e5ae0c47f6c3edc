#pragma once

#include <string>
#include <vector>

#include "tests/oracle/linear_algebra.hpp"

namespace bilevel::oracle {

using Image = std::vector<double>;               ///< row-major, height*width
using ExtendedImage = std::vector<long double>;  ///< the same in extended precision

enum class Potential { charbonnier, huber_c2, quadratic };  ///< r^2/2 without nu
enum class Differences { first, second, none };

/// Phi(x) = 1/2 ||mask (x - y)||^2 + alpha sum_p rho_nu((K x)_p) + xi/2 ||x||^2, or with xi_inside_alpha
/// the last term is alpha xi/2 ||x||^2. K: forward differences, zero last difference, all pixels counted;
/// without vertical component for height 1; or (Dxx, Dyy, sqrt 2 Dxy), Dxx = -Dx^T Dx, of height 1 Dxx alone;
/// or the identity. isotropic: rho of the length of the vector at a pixel, else the
/// sum over the components.
struct TvModel {
  int height = 1, width = 1;
  bool isotropic = true;
  Potential potential = Potential::charbonnier;
  double alpha = 0.1, nu = 0.01, xi = 1e-3;
  bool xi_inside_alpha = false;
  std::vector<double> mask;  ///< 0/1 per pixel; empty: ones
  Differences differences = Differences::first;

  int pixels() const { return height * width; }
  int components() const {
    if (height == 1 || differences == Differences::none) return 1;
    return differences == Differences::second ? 3 : 2;
  }
  /// Whether every potential acts on one number (1-D or anisotropic).
  bool scalar_terms() const { return components() == 1 || !isotropic; }
};

/// Difference field: the first component (pixels() entries), then the others.
using Field = std::vector<double>;

/// The operator K and its adjoint.
Field difference(const TvModel& model, const Image& x);
Image difference_adjoint(const TvModel& model, const Field& field);

double energy(const TvModel& model, const Image& y, const Image& x);
Image gradient(const TvModel& model, const Image& y, const Image& x);
Image hessian_product(const TvModel& model, const Image& x, const Image& direction);
Matrix hessian(const TvModel& model, const Image& x);
/// Diagonal of the Hessian (Jacobi preconditioner).
Image hessian_diagonal(const TvModel& model, const Image& x);

/// Derivatives with respect to alpha, nu and xi THEMSELVES; multiply by chain_factor() for others.
struct MixedScalars {
  double alpha = 0, nu = 0, xi = 0;
  double operator[](const std::string& name) const;
};
struct MixedColumns {
  Image alpha, nu, xi;
  const Image& operator[](const std::string& name) const;
};
/// B^T q = d/d(alpha,nu,xi) <grad Phi(x), q>.
MixedScalars mixed_adjoint(const TvModel& model, const Image& x, const Image& q);
/// Columns of B = d grad Phi(x) / d(alpha,nu,xi).
MixedColumns mixed_forward(const TvModel& model, const Image& x);

/// psi = w z, the dual field that belongs to x.
Field dual_field(const TvModel& model, const Image& x);
/// Primal-dual Newton matrix: data and ridge part + alpha K^T M K with, per term of the potential,
/// M = w I - (w1 / (2 w)) (z zeta^T + zeta z^T). With zeta = psi it is the Hessian; charbonnier: w1/w =
/// 1/s^2.
Matrix primal_dual_matrix(const TvModel& model, const Image& x, const Field& zeta);
Image primal_dual_product(const TvModel& model, const Image& x, const Field& zeta, const Image& direction);
/// Dual update after the step d, at the old point x: per term the projection onto the unit ball of
///   w (z + K d) - (w1 / w) <z, K d> zeta,
/// the linearisation of psi(z + K d) with one factor w z replaced by zeta; for charbonnier this is
/// (1/s) (z + K d - <z, K d> zeta / s). Scalar terms are clipped to [-1,1]. w1 z := 0 at z = 0.
Field dual_update(const TvModel& model, const Image& x, const Field& zeta, const Image& d);

/// Learned parameter: name is alpha, nu or xi; its coordinate theta is the value itself (identity),
/// the natural logarithm (exp) or the decimal logarithm (log10) of it.
enum class Transform { identity, exp, log10 };
struct Parameter {
  std::string name;
  Transform transform = Transform::exp;
};
double parameter_value(const TvModel& model, const std::string& name);
double coordinate(const TvModel& model, const Parameter& parameter);    ///< theta of the model's value
double chain_factor(const TvModel& model, const Parameter& parameter);  ///< d value / d theta
TvModel with_coordinates(TvModel model, const std::vector<Parameter>& parameters,
                         const std::vector<double>& theta);

/// Constants of sections 2 to 4, valid for all x; L_B with respect to the parameters themselves (L_B of a
/// coordinate is chain_factor() times it). mu and L are those of Phi.
struct CurvatureConstants {
  double mu = 0, L = 0, L_H = 0;
  MixedScalars L_B;
  double norm_k_squared = 0, row_bound = 0;  ///< bounds of ||K||^2 and of |(K e)_p| / ||e||
  double ell_1 = 0, ell_2 = 0;               ///< sup and Lipschitz constant of the Hessian of the potential
  double b_nu = 0, lip_nu = 0;               ///< the same of d psi / d ln nu
};
CurvatureConstants curvature(const TvModel& model);

/// Everything above in extended precision, for the exact solver.
namespace extended {
ExtendedImage difference(const TvModel& model, const ExtendedImage& x);
ExtendedImage difference_adjoint(const TvModel& model, const ExtendedImage& field);
ExtendedImage widen(const Image& x);
Image rounded(const ExtendedImage& x);
long double norm(const ExtendedImage& x);
/// rho, w, w1 and dw/dnu at the length r.
struct PotentialValues {
  long double value, w, w1, dw_dnu;
};
PotentialValues potential_values(Potential potential, long double nu, long double r);
long double energy(const TvModel& model, const ExtendedImage& y, const ExtendedImage& x);
ExtendedImage gradient(const TvModel& model, const ExtendedImage& y, const ExtendedImage& x);
ExtendedImage dual_field(const TvModel& model, const ExtendedImage& x);
ExtendedImage dual_update(const TvModel& model, const ExtendedImage& x, const ExtendedImage& zeta,
                          const ExtendedImage& d);
ExtendedImage hessian_product(const TvModel& model, const ExtendedImage& x, const ExtendedImage& direction);
/// The primal-dual Newton matrix, rounded to double; with zeta = dual_field(x) the Hessian.
SymmetricBand primal_dual_band(const TvModel& model, const ExtendedImage& x, const ExtendedImage& zeta);
/// B^T q for (alpha, nu, xi), in this order.
std::vector<long double> mixed_adjoint(const TvModel& model, const ExtendedImage& x, const ExtendedImage& q);
}  // namespace extended

}  // namespace bilevel::oracle
