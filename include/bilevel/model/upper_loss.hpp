#pragma once

#include <functional>
#include <limits>
#include <memory>
#include <span>
#include <vector>

#include "bilevel/core/active.hpp"
#include "bilevel/core/scalars.hpp"
#include "bilevel/core/tensor.hpp"
#include "bilevel/ops/linear_operator.hpp"

namespace bilevel {
inline namespace v0 {

/// lower <= the loss at xhat <= upper; `value` is an estimate between them.
struct LossEnclosure {
  double lower = 0, value = 0, upper = 0;
};

/// What reconstructions are judged by: g_i of image i, in f(theta) = 1/N sum_i g_i(xhat_i) + J(theta). Known
/// of it are numbers measured at an inexact x~, the gradient there and a Lipschitz constant of the gradient,
/// from which follow certified values and hypergradients. A class of one's own derives from this one; see
/// HostLoss for functions of the host. Functions that take a Context treat the active images.
template <class T>
class BILEVEL_API UpperLoss {
 public:
  virtual ~UpperLoss();
  virtual const char* name() const = 0;
  virtual Shape shape() const = 0;  ///< of the unknown: [N,C,H,W]
  /// L_g >= |grad g_i(x) - grad g_i(y)| / |x - y| for all x, y.
  virtual double lipschitz() const = 0;
  virtual bool convex() const { return false; }  ///< whether every g_i is
  /// <= g_i everywhere.
  virtual double lower_bound() const { return -std::numeric_limits<double>::infinity(); }
  /// Bounds on the rounding of a measured g_i, from the numbers measured, and of a computed grad g_i(x) (in
  /// norm) beyond a few units in the last place of its own norm, from |x|.
  virtual double value_error(std::span<const double> measured) const;
  virtual double gradient_error(double norm) const;

  /// Rows of N doubles that measure() writes: with enclose() as it is here, g_i(x), |grad g_i(x)|^2 and,
  /// where the errors above depend on it, |x_i|^2.
  virtual int measures() const { return 2; }
  virtual void measure(Context&, const Active&, View<const T> x, View<double> out) const = 0;
  /// out_i = scale grad g_i(x_i), for every element of the unknown.
  virtual void gradient(Context&, const Active&, View<const T> x, double scale, View<T> out) const = 0;
  /// out_i = H v_i, H >= 0 the Hessian of g_i at x or near it, for steps of Gauss-Newton; false: H is L_g
  /// times the identity, and out is left alone.
  virtual bool weigh(Context&, const Active&, View<const T> x, View<const T> v, View<T> out) const;

  /// g_i(x~), and bounds on g_i(xhat) for |xhat - x~| <= epsilon, from the numbers measured of image i at x~:
  /// with b = grad g_i(x~), |g_i(xhat) - g_i(x~)| <= |b| epsilon + L_g epsilon^2/2, below without the last
  /// term where g_i is convex, and not below lower_bound().
  virtual LossEnclosure enclose(std::span<const double> measured, double epsilon) const;
  /// Mean squared error per pixel, of which reports tell the PSNR; NaN where there is none.
  virtual double mean_square(std::span<const double> measured) const;
};

/// g_i(x) = 1/2 sum_p w_p (x_p - t_p)^2 over the channels that `truth` has, which must be the first of the
/// unknown's (of total generalised variation: the image, without its vector field). `truth` must stay where
/// it is. Throws ShapeError for another number or size of images, or more channels.
template <class T>
BILEVEL_API std::shared_ptr<const UpperLoss<T>> squared_error(View<const T> truth, const Shape& unknown);
/// With weights w >= 0 of a region of interest, one for every element of an image of `truth`, shared by the
/// batch and kept in T. Throws ConfigError unless they are finite, not negative and not all zero.
template <class T>
BILEVEL_API std::shared_ptr<const UpperLoss<T>> squared_error(Context&, View<const T> truth,
                                                              std::span<const double> weights,
                                                              const Shape& unknown);

/// g_i(x) = 1/2 |A x - b_i|^2: the misfit of data that were observed and not used below, for want of a truth.
/// `b` must stay where it is. Throws ConfigError without an operator, ShapeError when b is not of its range.
template <class T>
BILEVEL_API std::shared_ptr<const UpperLoss<T>> observed_least_squares(
    Context&, std::shared_ptr<const LinearOperator<T>> a, View<const T> b);

/// Mean cross entropy g_i(x) = 1/M sum_j l(s_j, label_j) of the scores s = A x of M samples. A maps to
/// [N,C,H,W], M = H W. One channel: labels 0 and 1, the score of class 1 against 0,
///   l(s, y) = ln(1 + e^s) - y s,
/// several: labels 0 ... C-1, a score per class, l(s, y) = ln(sum_c e^{s_c}) - s_y. L_g = |A|^2/(4M) of one
/// channel, |A|^2/(2M) of several, as the Hessian of l has norm at most 1/4 and 1/2. `labels` are shared by
/// the batch. Throws ConfigError without an operator and for labels out of range, ShapeError for another
/// number of labels.
template <class T>
BILEVEL_API std::shared_ptr<const UpperLoss<T>> cross_entropy(Context&,
                                                              std::shared_ptr<const LinearOperator<T>> a,
                                                              std::span<const int> labels);

/// A loss of two functions of the host, for one image each: slow on a GPU, as every use takes the batch to
/// the host and waits.
template <class T>
class BILEVEL_API HostLoss : public UpperLoss<T> {
 public:
  /// g_i(x), and grad g_i(x) into all of b; i is the number of the image.
  using Value = std::function<double(int i, std::span<const T> x)>;
  using Gradient = std::function<void(int i, std::span<const T> x, std::span<T> b)>;
  /// See UpperLoss.
  struct Constants {
    double lipschitz = 1;
    bool convex = false;
    double lower_bound = -std::numeric_limits<double>::infinity();
    double value_error = 0, gradient_error = 0;
  };

  /// Throws ConfigError for a function that is missing or constants that are negative or not finite.
  HostLoss(const Shape& unknown, Value value, Gradient gradient, const Constants& constants);

  const char* name() const override { return "loss of the host"; }
  Shape shape() const override { return unknown_; }
  double lipschitz() const override { return constants_.lipschitz; }
  bool convex() const override { return constants_.convex; }
  double lower_bound() const override { return constants_.lower_bound; }
  double value_error(std::span<const double>) const override { return constants_.value_error; }
  double gradient_error(double) const override { return constants_.gradient_error; }
  void measure(Context&, const Active&, View<const T> x, View<double> out) const override;
  void gradient(Context&, const Active&, View<const T> x, double scale, View<T> out) const override;

 private:
  Shape unknown_;
  Value value_;
  Gradient gradient_;
  Constants constants_;
};

/// Enclosure of f from what was measured at the points x~_i ([measures][N]) and certificates epsilon_i >=
/// |x~_i - xhat_i|. Throws ShapeError for arrays of other lengths.
template <class T>
BILEVEL_API LossEnclosure enclose_loss(const UpperLoss<T>& loss, std::span<const double> measured,
                                       std::span<const double> epsilon, double penalty);
/// The same with the adjoint q_i at hand. With b = grad g_i(x~)/N, e = xhat - x~, M the mean Hessian of the
/// energy between them, so that M e = -grad Phi(x~),
///   g_i(xhat)/N = g_i(x~)/N + <b, e> + rest, |rest| <= L_g |e|^2/(2N), and rest >= 0 for a convex g_i,
///   <b, e> = -<q, grad Phi(x~)> + <q, (A~ - M) e> + <b - A~ q, e>:
/// `product` holds <q, grad Phi(x~)>, `error` bounds the last two terms. The intersection of both enclosures;
/// `value` is the estimate, of second order in the accuracies.
template <class T>
BILEVEL_API LossEnclosure enclose_loss(const UpperLoss<T>& loss, std::span<const double> measured,
                                       std::span<const double> epsilon, std::span<const double> product,
                                       std::span<const double> error, double penalty);

}  // namespace v0
}  // namespace bilevel
