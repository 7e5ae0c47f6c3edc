#pragma once

#include <span>
#include <vector>

#include "bilevel/model/energy.hpp"

namespace bilevel {
inline namespace v0 {

/// Measured numbers of one image that its hypergradient error bound is made of. b = grad g_i(x~)/N.
struct BoundInputs {
  double mu = 1;
  double loss_lipschitz = 1;     ///< that of grad g_i/N
  double hessian_lipschitz = 0;  ///< L_H
  double epsilon = 0;            ///< >= |x~ - xhat|
  double residual = 0;           ///< R >= |A~ q - b|
  double norm_b = 0;
  double norm_q = 0;
  std::vector<double> norm_mixed;       ///< |B~_b| per block b of theta
  std::vector<double> mixed_lipschitz;  ///< L_B,b
  DirectionalBound q;                   ///< with v empty
  double residual_rounding = 0;         ///< rounding of the computed b - A~ q, in norm

  /// Adjoint columns A~ v_j = B~ d_j for directions d_j of theta; empty unless solved for.
  std::vector<double> norm_v;
  std::vector<double> residual_v;  ///< rho_j >= |B~ d_j - A~ v_j|
  std::vector<DirectionalBound> v;
  /// Norms of the blocks of each d_j; empty: d_j is the j-th unit vector, and blocks are single entries.
  std::vector<std::vector<double>> direction;
};

/// Bounds on the error of z_b = -(B~^T q)_b per block of theta. `columns` bounds the corrected
/// <z, d_j> = -(B~ d_j)^T q - <v_j, b - A~ q>, whose error is of second order in the residuals.
struct ErrorBound {
  double theorem = 0;                       ///< omega_T
  double adjoint = 0;                       ///< omega_Q
  double directional = 0;                   ///< omega_DL
  double columns = 0;                       ///< omega_ADJ, infinite unless the d_j are the unit vectors
  std::vector<double> directional_entries;  ///< per block
  std::vector<double> column_entries;       ///< per direction
};

/// The forms T (Salehi et al. 2024, theorem 2.1), Q, DL and ADJ with the residual term
/// cancelled by the correction of z: with s_j = B~_j - A~ v_j and rho = (R + L_g eps + |dA q|)/mu >= |q^ -
/// q|,
///   |e_j| <= |v_j| L_g eps + |v_j^T dA q| + |f^T dA v_j| + |s_j| rho + |dB_j^T q| + |f^T dB_j|,  f = q^ - q,
/// and the same for any direction d_j with B_j := B d_j.
BILEVEL_API ErrorBound error_bound(const BoundInputs& in);

}  // namespace v0
}  // namespace bilevel
