#pragma once

#include <array>
#include <span>
#include <vector>

#include "bilevel/model/energy.hpp"
#include "bilevel/model/regularisers.hpp"
#include "model/filter_norms.hpp"

namespace bilevel {
inline namespace v0 {

/// A field of experts at one theta, with effective filters (mean removed where the model says so).
struct ExpertsValues {
  std::vector<double> weight, smoothing;  ///< b_k, nu_k
  std::vector<double> filters;            ///< [K][size][size]
  std::vector<double> tap_error;  ///< bounds on the rounding of taps of each filter, in units; empty: 0
  int size = 0;
  double mu = 0;

  std::span<const double> filter(std::size_t k) const {
    return std::span(filters).subspan(k * taps(), taps());
  }
  std::size_t count() const { return weight.size(); }
  std::size_t taps() const { return static_cast<std::size_t>(size) * size; }
};

/// Constants of a field of experts, with respect to the values b_k, nu_k and the taps, for images with any
/// number of channels: A and the columns B_beta, B_gamma act on each channel alone, where D_c is bounded by L
/// |e_c| |q_c| or L |e_c|, and sum_c |e_c|^2 |q_c|^2 <= |e|^2 |q|^2. The column of a tap adds inner products
/// over the channels, which the patches of all of them bound by Cauchy's inequality.
struct ExpertsConstants {
  double hessian_lipschitz;
  double norm2;                         ///< Lambda >= |sum_k b_k/nu_k C_k^T C_k|
  double extension;                     ///< e: |patches of x| <= e sqrt(taps) |x|
  std::vector<double> operators, rows;  ///< >= |C_k|; row norms
  std::vector<double> weight_lipschitz, smoothing_lipschitz;
  /// Rounding of the computed gradient: unit (3|x-y| + 3 mu|x| + rounding_x |x| + |(rounding_psi_k
  /// |psi_k|)|).
  double rounding_x;
  std::vector<double> reading;  ///< rounding of C_k x in units of |x|
  std::vector<double> rounding_psi;
  double underflow_products;  ///< of underflow_bound(): factors with which products reach an entry
};
ExpertsConstants experts_constants(const ExpertsOptions& options, const ExpertsValues& values, int height,
                                   int width);

/// Sums of one filter and one image by the kernel experts_bound, by name.
struct ExpertsSums {
  double psi, psi_nu, bend_x;  ///< norms of psi, w_nu t, [phi'' S_tap x]
  double ag, g, aq, kgx, ah, khg, ahg, khg_w, ag_w, aq_w, kgx_w;
  double x;  ///< |x|
  double kg, kh, kg_max_w, kh_max_w, a, a_w, k, patch;
};

/// Bounds per filter, with respect to the values.
struct ExpertsDirectional {
  double hessian_q, energy_q, hessian_v, energy_v, hessian_vq, hessian_qe;
  struct Block {
    double mixed_q, energy_mixed, rounding, norm_mixed, lipschitz;
  };
  std::vector<Block> weight, smoothing, filters;
  Block overall;  ///< of the logarithm of a number that multiplies all weights
};

/// Changes between x~ and xhat = x~ + e, |e| <= epsilon, from the sums of the kernel. With the scaled
/// responses y_kp = (b_k/nu_k)^(1/2) |(C_k e)_p|, which satisfy |y|^2 <= Lambda |e|^2 and sum W y^2 <=
/// epsilon^2, W = 1/(2 Lambda) + stiffness nu_k m / 2, every form of src/model/tv_constants.hpp holds with
/// C_k for K:
///   |Delta_A q| <= Lambda epsilon max K g/nu,  Lambda^(1/2) |((b nu)^(1/2) a g)|,  L_H epsilon |q|,
/// and those that use the energy with M_q = max K g/(nu W). The blocks of B:
///   weight    C^T psi                                    |Delta^T q| <= sum a |C e| g
///   overall   sum_k b_k C_k^T psi_k                      |Delta^T q| <= sum_k (b nu)^(1/2) sum a g y
///   smoothing b/nu C^T (w_nu t)                          the same times b/nu (charbonnier)
///   filter    b (S^T psi + C^T [phi'' S_tap x])          |Delta^T q| <= b (sum a |C e| |Q| + e m^(1/2)
///   epsilon
///                                                          |a g| + nu^-2 sum K |C e| g |X|)
/// with the patches Q, X of q and x. The forms in W are derived
/// as for total variation.
ExpertsDirectional experts_directional(const ExpertsConstants& constants, const ExpertsOptions& options,
                                       const ExpertsValues& values, std::span<const ExpertsSums> sums,
                                       double epsilon, double norm_q, double norm_v, double unit);

}  // namespace v0
}  // namespace bilevel
