#pragma once

#include <string>
#include <vector>

#include "tests/oracle/linear_algebra.hpp"
#include "tests/oracle/tv_exact.hpp"
#include "tests/oracle/tv_oracle.hpp"
#include "tests/support/random.hpp"

namespace bilevel::oracle {

enum class Padding { symmetric, valid };

/// Phi_i(x) = 1/2 ||x - y_i||^2 + sum_k b_k sum_p rho_{nu_k}((C_k x)_p) + mu/2 ||x||^2 with b_k = e^{beta_k},
/// nu_k = e^{gamma_k} and C_k the cross-correlation with filter c_k. symmetric: the image is continued by
/// half-sample reflection (edge pixel repeated), one response per pixel; valid: only patches inside the
/// image.
struct FoeProblem {
  int n = 1, h = 8, w = 8;    ///< images
  int filters = 1, size = 3;  ///< K and the odd side of a filter
  Padding padding = Padding::symmetric;
  Potential potential = Potential::charbonnier;
  double mu = 1e-3;
  bool zero_mean = false;         ///< correlate with c_k - mean(c_k)
  std::vector<double> theta;      ///< beta_1..beta_K, gamma_1..gamma_K, c_1 (row-major), ..., c_K
  std::vector<double> y, x_true;  ///< [n][h][w]

  int pixels() const { return h * w; }
  int taps() const { return size * size; }
  int parameters() const { return filters * (2 + taps()); }
  int response_height() const { return padding == Padding::valid ? h - size + 1 : h; }
  int response_width() const { return padding == Padding::valid ? w - size + 1 : w; }
  int responses() const { return response_height() * response_width(); }
  double weight(int k) const;               ///< b_k
  double smoothing(int k) const;            ///< nu_k
  std::vector<double> filter(int k) const;  ///< taps of C_k, without their mean if zero_mean
  Image image(const std::vector<double>& batch, int i) const;  ///< image i of y or x_true
};

FoeProblem with_theta(FoeProblem problem, std::vector<double> theta);

/// t = C_k x, [response_height][response_width], and its adjoint.
Image correlate(const FoeProblem& problem, int k, const Image& x);
Image correlate_adjoint(const FoeProblem& problem, int k, const Image& t);

double energy(const FoeProblem& problem, const Image& y, const Image& x);
Image gradient(const FoeProblem& problem, const Image& y, const Image& x);
Image hessian_product(const FoeProblem& problem, const Image& x, const Image& direction);
Matrix hessian(const FoeProblem& problem, const Image& x);

/// B = d grad Phi(x) / d theta: B^T q, B dtheta, and B itself by columns (pixels x parameters).
std::vector<double> mixed_adjoint(const FoeProblem& problem, const Image& x, const Image& q);
Image mixed_forward(const FoeProblem& problem, const Image& x, const std::vector<double>& dtheta);
Matrix mixed_matrix(const FoeProblem& problem, const Image& x);

/// Fields hold one value per filter and response, [K][response_height][response_width]. psi = w t is the
/// dual field of x. The primal-dual maps b (w - (w1 / w) t zeta) replace b rho'' in the Hessian and equal it
/// at zeta = psi; charbonnier: w1 / w = 1/s^2.
Field dual_field(const FoeProblem& problem, const Image& x);
Field primal_dual_maps(const FoeProblem& problem, const Image& x, const Field& zeta);
/// (1 + mu) direction + sum_k C_k^T maps_k C_k direction, and its matrix.
Image maps_product(const FoeProblem& problem, const Field& maps, const Image& direction);
Matrix maps_matrix(const FoeProblem& problem, const Field& maps);
/// Dual update after the step d, at the old point x: w (t + C d) - (w1 / w) t (C d) zeta, clipped to [-1,1].
Field dual_update(const FoeProblem& problem, const Image& x, const Field& zeta, const Image& d);

/// Exact norms through dense matrices, for small problems.
Matrix correlation_matrix(const FoeProblem& problem, int k);  ///< C_k, responses x pixels
double operator_norm(const Matrix& a);                        ///< largest singular value of any matrix
double correlation_norm(const FoeProblem& problem, int k);    ///< ||C_k||
/// ||sum_k a_k C_k^T C_k||, a_k >= 0.
double joint_norm(const FoeProblem& problem, const std::vector<double>& a);
/// max_p of the length of row p of C_k, taps that read the same pixel added: |(C_k e)_p| <= row_norm ||e||.
double row_norm(const FoeProblem& problem, int k);

/// Minimises Phi by primal-dual Newton steps with Armijo backtracking, Phi and its gradient in extended
/// precision, the steps by a band Cholesky factorisation in double, to ||grad Phi|| <= max(tolerance, 4e-19 L
/// (1 + ||x||)), L bounding the Hessian at x; the distance to the true minimiser is at most gradient_norm /
/// (1 + mu). Starts from `start`, or from the data if it is empty. Throws std::runtime_error if this is out
/// of reach.
Minimiser minimise(const FoeProblem& problem, const Image& y, const Image& start = {},
                   double tolerance = 1e-14);
/// Solves Hess Phi(x) q = rhs directly.
Image solve_adjoint(const FoeProblem& problem, const Image& x, const Image& rhs);
/// f(theta) = 1/(2n) sum_i ||xhat_i - x_true_i||^2 and its derivative.
UpperResult exact_hypergradient(const FoeProblem& problem);

/// The same in extended precision.
namespace extended {
long double energy(const FoeProblem& problem, const ExtendedImage& y, const ExtendedImage& x);
ExtendedImage gradient(const FoeProblem& problem, const ExtendedImage& y, const ExtendedImage& x);
ExtendedImage hessian_product(const FoeProblem& problem, const ExtendedImage& x,
                              const ExtendedImage& direction);
ExtendedImage mixed_adjoint(const FoeProblem& problem, const ExtendedImage& x, const ExtendedImage& q);
ExtendedImage mixed_forward(const FoeProblem& problem, const ExtendedImage& x, const ExtendedImage& dtheta);
ExtendedImage solve_adjoint(const FoeProblem& problem, const ExtendedImage& x, const ExtendedImage& rhs);
}  // namespace extended

/// What a random problem stresses. corner_taps: one tap in a corner of every filter, where symmetric padding
/// amplifies most; one_sign: no tap cancels another; tiny_smoothing: nu from 1e-5 to 1e-4; large_weights: b
/// from 5 to 50; constant_images: x_true = y is constant; edges: x_true steps from 0 to 1.
enum class FoeKind {
  generic,
  corner_taps,
  one_sign,
  zero_mean,
  tiny_smoothing,
  large_weights,
  constant_images,
  edges
};

/// Fills theta, y, x_true and zero_mean of a problem whose sizes, padding, potential and mu are given.
FoeProblem random_foe(FoeKind kind, FoeProblem shape, testing_support::Random& random);

struct NamedFoe {
  std::string name;
  FoeKind kind;
  FoeProblem problem;
};

/// One problem of every kind, padding and potential with the sizes n, h, w, filters, size and the mu of
/// `shape`; without valid padding if the filter is larger than the image.
std::vector<NamedFoe> foe_collection(const FoeProblem& shape, testing_support::Random& random);

}  // namespace bilevel::oracle
