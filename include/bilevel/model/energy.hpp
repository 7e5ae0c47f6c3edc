#pragma once

#include <limits>
#include <span>
#include <vector>

#include "bilevel/core/scalars.hpp"
#include "bilevel/model/parameters.hpp"

namespace bilevel {
inline namespace v0 {

/// Constants valid for all x: mu-strong convexity, L-smoothness, Lipschitz constants of the Hessian (L_H) and
/// of the mixed derivative (L_B).
struct Curvature {
  double mu = 0;
  double lipschitz = 0;
  double hessian_lipschitz = 0;
  std::vector<double> mixed_lipschitz;  ///< one per block of theta; infinite where there is none for all x
  /// What operators add to the rounding of a Hessian product: |fl(A p) - A p| <= 56 u product_scale() |p|, u
  /// the unit roundoff.
  double operator_rounding = 0;
  double product_scale() const { return lipschitz + operator_rounding; }
};

/// Per-image results of value_and_gradient.
struct GradientSums {
  Scalars value;  ///< Phi_i
  Scalars norm2;  ///< |grad Phi_i|^2
  /// Bound on the distance of the computed gradient from that of the energy meant, whose data and parameters
  /// are given in double: rounding of the computation, with T = float of what was given, underflow. Infinite
  /// where the value is not finite.
  Scalars rounding;
};

/// Bounds on what changes between x~ and xhat = x~ + e, |e| <= epsilon, for directions q, v and f = q^ - q
/// (forms DL and ADJ of learn/error_bound.hpp, sharpened by the energy of e and f, see
/// src/model/tv_constants.hpp).
struct DirectionalBound {
  double hessian_q = 0;   ///< mu |f| grows by at most this through (A - A~) q
  double energy_q = 0;    ///< the same for mu times the energy norm of f
  double hessian_v = 0;   ///< |f^T (A - A~) v| <= hessian_v |f|
  double energy_v = 0;    ///< and <= energy_v times the energy norm of f
  double hessian_vq = 0;  ///< |v^T (A - A~) q|
  /// |q^T (M - A~) e|, M the mean Hessian between x~ and xhat.
  double hessian_qe = std::numeric_limits<double>::infinity();
  /// |(A(x~) - A~) q| where A~ was linearised at K x~ with rounding that is not relative to it; the numbers
  /// before count it.
  double linearisation = 0;
  std::vector<double> mixed_q;       ///< |(B - B~)_b^T q| per block b of theta
  std::vector<double> energy_mixed;  ///< |(B - B~)_b^T f| <= energy_mixed_b times the energy norm of f
  std::vector<double> rounding;      ///< rounding of the computed (B~^T q)_b
  /// Factors with |B~_b^T f| <= norm_mixed_b |u|/mu for every A f = u, at most |B~_b| (the energy norm of f
  /// can do better), and the Lipschitz constants of B_b between x~ and xhat; empty where the columns are
  /// measured and the constants of curvature() hold.
  std::vector<double> norm_mixed, mixed_lipschitz;
};

/// Per-image measurements that directional bounds start from.
struct BallInputs {
  Scalars epsilon;   ///< |xhat - x~| <= epsilon
  Scalars gradient;  ///< |grad Phi(x~)|, rounding included
};

/// Of Phi_i(x) = G(x) + F(K x): moduli of strong convexity of G and of the conjugate F*, and |K|.
struct ProximalConstants {
  double primal = 0, dual = 0;
  double norm = 0;
};

/// An energy as G(x) + F(K x) for primal-dual methods, at the bound theta. w is the dual variable of all
/// images. Both functions only enqueue.
template <class T>
class BILEVEL_API ProximalForm {
 public:
  virtual ~ProximalForm();
  virtual ProximalConstants constants() const = 0;
  virtual Shape dual_shape() const = 0;  ///< of w
  /// w <- prox_{sigma F*}(w + sigma K x), inverse_step = 1/sigma; with 0 w <- grad F(K x), and w is not read.
  virtual void dual_step(Context&, const Active&, View<const T> x, double inverse_step, View<T> w) const = 0;
  /// x+ = prox_{tau G}(x - tau K^T w), extrapolated = x+ + theta (x+ - x), x <- x+.
  virtual void primal_step(Context&, const Active&, View<const T> w, double tau, double theta, View<T> x,
                           View<T> extrapolated) const = 0;
};

/// A batch of strongly convex lower-level energies Phi_i(x, theta), one per image, bound to its data.
/// Every function that takes a Context only enqueues: it neither allocates nor synchronises.
/// A is the Hessian in x, B the mixed derivative with respect to theta. T is float or double.
template <class T>
class BILEVEL_API Energy {
 public:
  virtual ~Energy();

  virtual Shape shape() const = 0;             ///< of x: [N,C,H,W]
  virtual std::size_t parameters() const = 0;  ///< entries of theta
  /// The named layout of theta; null where the energy has none.
  virtual const Parameters* layout() const { return nullptr; }
  /// Ends of the blocks of theta whose errors are bounded together, in order; one entry each by default.
  virtual std::vector<std::size_t> blocks() const;
  /// Sets theta. Throws ConfigError when a value is outside the model's domain.
  virtual void bind(std::span<const double> theta) = 0;
  virtual Curvature curvature() const = 0;
  /// The same energy in single precision, bound to the same theta and with weights in the same order, for
  /// solvers that certify in double; null where none is kept. Its gradients come without a bound on rounding.
  virtual const Energy<float>* single_precision() const { return nullptr; }
  /// The energy split for primal-dual methods; null where none is known.
  virtual const ProximalForm<T>* proximal() const { return nullptr; }

  virtual void value_and_gradient(Context&, const Active&, View<const T> x, View<T> gradient,
                                  const GradientSums&) const = 0;

  /// Image-sized arrays that hold a linearisation, and single-precision arrays of its dual field.
  virtual int weight_arrays() const = 0;
  virtual int dual_arrays() const = 0;
  /// Weights of the Hessian at x, or of the primal-dual Newton matrix when `dual` is given, with the inverse
  /// of the diagonal. `weights` has weight_arrays() times N images.
  virtual void linearise(Context&, const Active&, View<const T> x, View<const float> dual, View<T> weights,
                         View<T> inverse_diagonal) const = 0;
  /// product = A p and inner_i = <p_i, A p_i>.
  virtual void hessian_product(Context&, const Active&, View<const T> weights, View<const T> p,
                               View<T> product, Scalars inner) const = 0;
  virtual void start_dual(Context&, const Active&, View<const T> x, View<float> dual) const = 0;
  /// The dual field after the step x + step_i d, from the field at x.
  virtual void update_dual(Context&, const Active&, View<const T> x, View<const T> d, Scalars step,
                           View<float> dual) const = 0;

  /// Per-image sums from which mixed() forms B^T q on the host: mixed_sums() rows of N doubles.
  virtual int mixed_sums() const = 0;
  virtual void mixed_adjoint(Context&, const Active&, View<const T> x, View<const T> q,
                             View<double> sums) const = 0;
  /// (B^T q) per image, [N][p], p entries of theta.
  virtual std::vector<double> mixed(std::span<const double> sums) const = 0;
  /// out = B direction and its squared norm per image.
  virtual void mixed_forward(Context&, const Active&, View<const T> x, std::span<const double> direction,
                             View<T> out, Scalars norm2) const = 0;

  /// Per-image sums of the directional bounds: bound_sums() rows of N doubles. v may be empty.
  virtual int bound_sums() const = 0;
  virtual void directional_sums(Context&, const Active&, View<const T> x, View<const T> q, View<const T> v,
                                const BallInputs& ball, View<double> sums) const = 0;
  /// The bounds of one image; norms are those of q and v.
  virtual DirectionalBound directional(std::span<const double> sums, int image, double epsilon, double norm_q,
                                       double norm_v) const = 0;
};

}  // namespace v0
}  // namespace bilevel
