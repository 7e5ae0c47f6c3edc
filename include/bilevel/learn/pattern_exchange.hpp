#pragma once

#include "bilevel/learn/upper_optimiser.hpp"

namespace bilevel {
inline namespace v0 {

struct BILEVEL_API ExchangeOptions {
  double share = 0.02;      ///< of the groups that the first trial may exchange
  double alpha_step = 0.2;  ///< first step of log alpha, when it is learned
  int rejections = 16;      ///< trials in a row without a certified decrease that end the run
  double smallest = 1e-5;   ///< fraction of the loss below which an open decrease is not refined for

  void validate() const;
};

/// Improves a binary sampling pattern at its rate: groups that are predicted to help most are added, as many
/// that are predicted to be missed least are dropped, and alpha takes a step against its hypergradient; a
/// trial is kept when the decrease of the loss is certified, and otherwise fewer groups are exchanged.
///
/// Prediction for a frequency j and the squared error (all sums over images and coils), from the
/// hypergradient z_j with respect to its weight, R_j = sum |E x - y|_j^2, and kappa_j = xi + c lambda_j, the
/// stiffness of the regulariser there (lambda_j the symbol of the Laplacian, c its mean weight): with h =
/// 1/kappa, a rank-one change of the normal equations (Sherman and Morrison) changes the loss by
///   z_j/(1+h) + 1/2 (h/(1+h))^2 R_j/N          when j is added,
///   -z_j (1+kappa)/kappa + 1/2 R_j/(kappa^2 N)  when it is dropped.
/// The problem's energy must be a ComposedEnergy of magnetic resonance whose pattern is learned, binary at
/// the start, and has the linear map; penalties on the pattern do not matter at a fixed rate. Throws
/// ConfigError otherwise.
template <class T>
BILEVEL_API std::unique_ptr<UpperOptimiser<T>> make_pattern_exchange(const UpperOptions& options,
                                                                     const ExchangeOptions& exchange = {},
                                                                     const UpperSolvers<T>& solvers = {});

}  // namespace v0
}  // namespace bilevel
