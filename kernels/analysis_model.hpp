#pragma once

// What the kernels of analysis regularisers have in common.

#include <utility>

#include "kernels/potential.hpp"

namespace bilevel::kernels {

/// K, and what is under one modulus. Differences that would reach over the border are zero (Neumann).
enum class Stencil : int {
  gradient = 0,           ///< x_{r,c+1} - x_{r,c} and x_{r+1,c} - x_{r,c} of all channels together
  gradient_separate = 1,  ///< those to the right of all channels together, those down together
  second = 2,             ///< Dxx, Dyy and sqrt 2 Dxy of all channels together
  identity = 3,           ///< the channels of a pixel together
  generalised = 4         ///< of (x, v1, v2), see kernels/generalised.hpp
};
inline constexpr int stencils = 5;

/// alpha R_nu(x) + xi/2 |x|^2; generalised alpha R_nu(D x - v) + field_alpha R_nu(E v) + xi/2 |x|^2 +
/// field_xi/2 |v|^2.
struct AnalysisModel {
  int height = 0, width = 0;
  Potential potential = Potential::charbonnier;
  Stencil stencil = Stencil::gradient;
  double alpha = 0, nu = 1, xi = 0;
  int channels = 1;  // of x
  double field_alpha = 0, field_xi = 0;
};

/// The numbers of channels that kernels are built for: grey and complex images; colour of first differences
/// under one modulus and of the identity, and of the latter also four, two directions of two.
using UsualChannels = std::integer_sequence<int, 1, 2>;
using GradientChannels = std::integer_sequence<int, 1, 2, 3>;
using IdentityChannels = std::integer_sequence<int, 1, 2, 3, 4>;
template <int... C>
inline constexpr bool contains(std::integer_sequence<int, C...>, int channels) {
  return ((channels == C) || ...);
}

/// Components of K per channel; also the arrays [N,C,H,W] of a dual field.
inline constexpr int directions(Stencil s) {
  return s == Stencil::second ? 3 : s == Stencil::identity ? 1 : 2;
}
/// Whether the kernels of a stencil of one unknown are built for so many channels.
inline constexpr bool takes(Stencil s, int channels) {
  return s == Stencil::identity   ? contains(IdentityChannels{}, channels)
         : s == Stencil::gradient ? contains(GradientChannels{}, channels)
                                  : contains(UsualChannels{}, channels);
}
/// Components under one modulus.
inline constexpr int group_size(Stencil s, int channels) {
  return channels * (s == Stencil::gradient_separate ? 1 : directions(s));
}
/// Planes [H,W] that hold the Hessian of a pixel: of up to three components the symmetric matrix of every
/// group, diagonal first; of more w, kappa z and zeta, so that M u = w u - (kappa z <zeta,u> + zeta <kappa
/// z,u>)/2.
inline constexpr int weight_planes(Stencil s, int channels) {
  const int size = group_size(s, channels), groups = channels * directions(s) / size;
  return groups * (size <= 3 ? size * (size + 1) / 2 : 1 + 2 * size);
}
/// Arrays [N,C,H,W] for them: plane k is channel k % C of array k / C.
inline constexpr int weight_arrays(Stencil s, int channels) {
  return (weight_planes(s, channels) + channels - 1) / channels;
}

/// Of the generalised stencil, arrays [N,3C,H,W]: the planes of both groups, of C = 2 channels w, kappa z and
/// zeta each; and a dual field of five components per channel.
inline constexpr int joint_weight_arrays(int channels) { return channels == 1 ? 3 : 4; }
inline constexpr int joint_dual_arrays = 2;

}  // namespace bilevel::kernels
