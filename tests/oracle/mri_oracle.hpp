#pragma once

#include <string>
#include <vector>

#include "tests/oracle/linear_algebra.hpp"
#include "tests/oracle/tv_exact.hpp"
#include "tests/oracle/tv_oracle.hpp"
#include "tests/support/random.hpp"

namespace bilevel::oracle {

/// Frequencies that share a sampling parameter: none; -j with j; a row; a column; the lists in `groups`.
enum class PatternKind { free, symmetric, rows, columns, groups };
/// u(theta) of a parameter: direct theta^2, rational theta / (1 - theta).
enum class SamplingMap { direct, rational };

/// Phi_i(x) = 1/2 sum_c sum_j w_j |(F sigma_c x - y_{i,c})_j|^2 + alpha sum_p rho_nu(|(grad x)_p|)
///            + xi/2 ||x||^2, or with the other differences of tv_oracle.hpp,
/// with F the unitary discrete Fourier transform (exponent -2 pi i, DC first), sigma_c the coil maps, grad
/// the forward differences with zero last difference (without vertical component for height 1), |.| over all
/// components at a pixel, of both planes for complex images, and w_j = 1 - prod_{k contains j} (1 - u_k) over
/// the sampling parameters k whose group contains j (0 without one).
struct MriProblem {
  int n = 1, h = 8, w = 8;
  bool complex_image = false;
  int coils = 0;  ///< 0: one channel without a map
  Potential potential = Potential::charbonnier;
  Differences differences = Differences::first;
  bool isotropic = true;  ///< one modulus a pixel, or one for each component of the differences
  double alpha = 0.02, nu = 0.05, xi = 1e-3;
  PatternKind pattern = PatternKind::free;
  SamplingMap map = SamplingMap::direct;
  std::vector<std::vector<int>> groups;  ///< frequencies of every parameter, for PatternKind::groups
  std::vector<double> sampling;          ///< one entry per parameter of the pattern
  bool learn_alpha = false, learn_nu = false, learn_xi = false;
  double beta1 = 0, beta2 = 0;    ///< direct: beta1 sum s + beta2 sum s (1 - s); rational: beta1 sum theta
  std::vector<double> maps;       ///< [coils][re, im][h][w]
  std::vector<double> y, x_true;  ///< [n][channels][re, im][h][w] and [n][planes][h][w]

  int pixels() const { return h * w; }
  int planes() const { return complex_image ? 2 : 1; }
  int unknowns() const { return planes() * pixels(); }
  int channels() const { return coils > 0 ? coils : 1; }
  int directions() const {
    if (h == 1 || differences == Differences::none) return 1;
    return differences == Differences::second ? 3 : 2;
  }
  /// Moduli: entry g, g + terms(), ... of a field are under one.
  int terms() const { return isotropic ? pixels() : directions() * pixels(); }
  /// The regulariser, as one of a plane.
  TvModel plane() const {
    TvModel m;
    m.height = h;
    m.width = w;
    m.isotropic = isotropic;
    m.potential = potential;
    m.differences = differences;
    m.alpha = alpha;
    m.nu = nu;
    m.xi = xi;
    return m;
  }
  int samplings() const { return static_cast<int>(sampling.size()); }
  int parameters() const { return samplings() + learn_alpha + learn_nu + learn_xi; }
  Image data(int i) const;   ///< y of image i
  Image truth(int i) const;  ///< x_true of image i
  /// Sampling parameters, then the logarithms of alpha, nu and xi that are learned.
  std::vector<double> theta() const;
};

MriProblem with_theta(MriProblem problem, const std::vector<double>& theta);

/// F z and F^* z of [re, im][h][w].
Image fourier(int h, int w, const Image& z);
Image fourier_adjoint(int h, int w, const Image& z);
/// E x = (F sigma_c x)_c, [channels][re, im][h][w], and its adjoint for the inner product of real numbers.
Image encode(const MriProblem& problem, const Image& x);
Image encode_adjoint(const MriProblem& problem, const Image& k_space);

/// Frequencies of every sampling parameter; conjugate pairs are numbered by their first member, row-major.
std::vector<std::vector<int>> frequency_groups(const MriProblem& problem);
std::vector<double> sampling_weights(const MriProblem& problem);  ///< w
Matrix weight_jacobian(const MriProblem& problem);                ///< dw_j / d theta_k, pixels x samplings

double energy(const MriProblem& problem, const Image& y, const Image& x);
Image gradient(const MriProblem& problem, const Image& y, const Image& x);
Image hessian_product(const MriProblem& problem, const Image& x, const Image& direction);
Matrix hessian(const MriProblem& problem, const Image& x);

/// B = d grad Phi(x) / d theta: B^T q, B dtheta, and B itself by columns (unknowns x parameters).
std::vector<double> mixed_adjoint(const MriProblem& problem, const Image& y, const Image& x, const Image& q);
Image mixed_forward(const MriProblem& problem, const Image& y, const Image& x,
                    const std::vector<double>& dtheta);
Matrix mixed_matrix(const MriProblem& problem, const Image& y, const Image& x);

/// psi = w z per difference, [planes][directions][h][w].
Field dual_field(const MriProblem& problem, const Image& x);
/// Primal-dual Newton product, as in tv_oracle.hpp; with zeta = dual_field(x) the Hessian product.
Image primal_dual_product(const MriProblem& problem, const Image& x, const Field& zeta,
                          const Image& direction);
Field dual_update(const MriProblem& problem, const Image& x, const Field& zeta, const Image& d);

/// Minimises Phi by primal-dual Newton steps with Armijo backtracking, Phi and its gradient in extended
/// precision, the steps by a dense Cholesky factorisation in double, to ||grad Phi|| <= max(tolerance,
/// rounding), for at most about 500 unknowns. Starts from E^* y if `start` is empty. Throws
/// std::runtime_error if this is out of reach.
Minimiser minimise(const MriProblem& problem, const Image& y, const Image& start = {},
                   double tolerance = 1e-14);
/// Solves Hess Phi(x) q = rhs directly.
Image solve_adjoint(const MriProblem& problem, const Image& x, const Image& rhs);

double penalty(const MriProblem& problem);
std::vector<double> penalty_gradient(const MriProblem& problem);
/// f = 1/(2n) sum_i ||xhat_i - x_true_i||^2 + penalty, with its derivative; the contributions of the images
/// are without the penalty.
UpperResult exact_hypergradient(const MriProblem& problem);

/// Constants valid for all x. L_B: of the whole sampling block and of
/// ln alpha, ln nu, ln xi.
struct MriConstants {
  double mu = 0, L = 0, L_H = 0;
  double L_B_sampling = 0, L_B_alpha = 0, L_B_nu = 0, L_B_xi = 0;
};
MriConstants curvature(const MriProblem& problem);

/// The same in extended precision.
namespace extended {
long double energy(const MriProblem& problem, const ExtendedImage& y, const ExtendedImage& x);
ExtendedImage gradient(const MriProblem& problem, const ExtendedImage& y, const ExtendedImage& x);
ExtendedImage hessian_product(const MriProblem& problem, const ExtendedImage& x,
                              const ExtendedImage& direction);
/// E^* W E d, and the products with xi + alpha grad^T M grad; dual_field gives the Hessian.
ExtendedImage data_product(const MriProblem& problem, const ExtendedImage& direction);
ExtendedImage regulariser_product(const MriProblem& problem, const ExtendedImage& x,
                                  const ExtendedImage& zeta, const ExtendedImage& direction);
ExtendedImage dual_field(const MriProblem& problem, const ExtendedImage& x);
ExtendedImage dual_update(const MriProblem& problem, const ExtendedImage& x, const ExtendedImage& zeta,
                          const ExtendedImage& d);
ExtendedImage mixed_adjoint(const MriProblem& problem, const ExtendedImage& y, const ExtendedImage& x,
                            const ExtendedImage& q);
ExtendedImage mixed_forward(const MriProblem& problem, const ExtendedImage& y, const ExtendedImage& x,
                            const ExtendedImage& dtheta);
ExtendedImage solve_adjoint(const MriProblem& problem, const ExtendedImage& x, const ExtendedImage& rhs);
}  // namespace extended

/// Sum of random smooth ellipses, [planes][h][w]; complex images get a smooth phase.
Image random_phantom(int h, int w, bool complex_image, testing_support::Random& random);
/// Smooth complex maps [coils][re, im][h][w] that vanish nowhere.
std::vector<double> random_maps(int coils, int h, int w, testing_support::Random& random);
/// Groups of frequencies on `spokes` lines through DC at equal angles; they all contain DC.
std::vector<std::vector<int>> spoke_groups(int h, int w, int spokes);

/// Fills what is empty of groups (9 spokes), sampling (random, with exact zeros and ones if direct), maps,
/// x_true and y (noise of standard deviation sigma).
MriProblem random_mri(MriProblem shape, double sigma, testing_support::Random& random);

struct NamedMri {
  std::string name;
  MriProblem problem;
};

/// Every pattern, map, potential, real and complex images, without and with coils, at least once each in
/// combination with the sizes n, h, w of `shape`; all scalars learned in some.
std::vector<NamedMri> mri_collection(const MriProblem& shape, testing_support::Random& random);

}  // namespace bilevel::oracle
