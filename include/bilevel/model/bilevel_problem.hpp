#pragma once

#include <memory>
#include <span>
#include <vector>

#include "bilevel/model/composed_energy.hpp"
#include "bilevel/model/energy.hpp"
#include "bilevel/model/parameters.hpp"
#include "bilevel/model/upper_loss.hpp"

namespace bilevel {
inline namespace v0 {

/// beta (L/mu)^2 for smoothed TV on images of the given shape: keeps the lower level well conditioned.
/// `masked`: the sampling operator is not the identity. Source: Ehrhardt and Roberts 2021, section 4.
BILEVEL_API Penalty tv_condition_penalty(const Parameters& parameters, const TvOptions& options,
                                         const Shape& shape, bool masked, double beta);

/// min over theta of f(theta) = 1/N sum_i g_i(xhat_i(theta)) + J(theta), xhat_i = argmin Phi_i(., theta).
template <class T>
class BILEVEL_API BilevelProblem {
 public:
  /// Throws ShapeError when loss and energy have unknowns of different shapes, ConfigError when one is
  /// missing, and when theta does not mean the same for the energy: length, and where it has a layout names,
  /// transforms and order.
  BilevelProblem(std::unique_ptr<Energy<T>> energy, std::shared_ptr<const UpperLoss<T>> loss,
                 Parameters parameters, Penalty penalty = {});
  /// With the squared error to `truth`, see squared_error(). Throws ShapeError unless it has the shape of the
  /// images of a ComposedEnergy.
  BilevelProblem(std::unique_ptr<Energy<T>> energy, View<const T> truth, Parameters parameters,
                 Penalty penalty = {});

  Energy<T>& energy() const { return *energy_; }
  const UpperLoss<T>& loss() const { return *loss_; }
  const Parameters& parameters() const { return parameters_; }
  int images() const { return loss_->shape().n; }
  double penalty(std::span<const double> theta, std::span<double> gradient) const;

 private:
  void check() const;

  std::unique_ptr<Energy<T>> energy_;
  std::shared_ptr<const UpperLoss<T>> loss_;
  Parameters parameters_;
  Penalty penalty_;
};

}  // namespace v0
}  // namespace bilevel
