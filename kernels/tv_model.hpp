#pragma once

// What the kernels of total variation have in common, those of one component and the joint ones.

#include "kernels/potential.hpp"

namespace bilevel::kernels {

/// alpha R_nu(x) + xi/2 |x|^2 on height x width images with Neumann differences. `isotropic` also for 1-D
/// signals.
struct TvModel {
  int height = 0, width = 0;
  Potential potential = Potential::charbonnier;
  bool isotropic = true;
  double alpha = 0, nu = 1, xi = 0;
};

/// Sums of the directional error bounds (TvBoundArgs, JointTvBoundArgs), the last of them maxima.
inline constexpr int tv_bound_sums = 12;
inline constexpr int tv_bound_maxima = 5;

}  // namespace bilevel::kernels
