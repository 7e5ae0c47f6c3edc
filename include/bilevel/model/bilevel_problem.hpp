#pragma once

#include <memory>
#include <span>
#include <vector>

#include "bilevel/model/composed_energy.hpp"
#include "bilevel/model/energy.hpp"
#include "bilevel/model/parameters.hpp"

namespace bilevel {
inline namespace v0 {

/// beta (L/mu)^2 for smoothed TV on images of the given shape: keeps the lower level well conditioned.
/// `masked`: the sampling operator is not the identity. Source: Ehrhardt and Roberts 2021, section 4.
BILEVEL_API Penalty tv_condition_penalty(const Parameters& parameters, const TvOptions& options,
                                         const Shape& shape, bool masked, double beta);

/// min over theta of f(theta) = 1/(2N) sum_i |xhat_i(theta) - x_i|^2 + J(theta), xhat_i = argmin Phi_i(.,
/// theta).
template <class T>
class BILEVEL_API BilevelProblem {
 public:
  /// `truth` has the shape of the energy's unknown. Throws ShapeError otherwise, ConfigError without an
  /// energy, and when theta does not mean the same for it: length, and where it has a layout names,
  /// transforms and order.
  BilevelProblem(std::unique_ptr<Energy<T>> energy, View<const T> truth, Parameters parameters,
                 Penalty penalty = {});

  Energy<T>& energy() const { return *energy_; }
  View<const T> truth() const { return truth_; }
  const Parameters& parameters() const { return parameters_; }
  int images() const { return truth_.shape().n; }
  double penalty(std::span<const double> theta, std::span<double> gradient) const;

 private:
  std::unique_ptr<Energy<T>> energy_;
  View<const T> truth_;
  Parameters parameters_;
  Penalty penalty_;
};

/// Enclosure of f from distances r_i = |x_i - x_i_true| and certificates epsilon_i >= |x_i - xhat_i|:
/// sum (r_i -+ epsilon_i)_+^2 / (2N) + penalty (exact for least squares). Throws
/// ShapeError for arrays of different lengths, and without images.
struct LossEnclosure {
  double lower = 0, value = 0, upper = 0;
};
BILEVEL_API LossEnclosure enclose_loss(std::span<const double> distance, std::span<const double> epsilon,
                                       double penalty);
/// The same with the adjoint q_i at hand. With b = grad g(x~), e = xhat - x~, M the mean Hessian between
/// them, so that M e = -grad Phi(x~),
///   g(xhat) = g(x~) + <b, e> + |e|^2/(2N),
///   <b, e> = -<q, grad Phi(x~)> + <q, (A~ - M) e> + <b - A~ q, e>:
/// `product` holds <q, grad Phi(x~)>, `error` bounds the last two terms. The intersection of both enclosures;
/// `value` is the estimate, of second order in the accuracies.
BILEVEL_API LossEnclosure enclose_loss(std::span<const double> distance, std::span<const double> epsilon,
                                       std::span<const double> product, std::span<const double> error,
                                       double penalty);

}  // namespace v0
}  // namespace bilevel
