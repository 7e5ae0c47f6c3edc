#pragma once

#include <array>
#include <span>

#include "bilevel/model/tv_energy.hpp"

namespace bilevel {
inline namespace v0 {

struct TvValues {
  double alpha = 0, nu = 1, xi = 0;
  double ridge(const TvOptions& options) const { return options.xi_inside_alpha ? alpha * xi : xi; }
};

/// Constants of mathematics.md sections 2 to 4; mixed_lipschitz with respect to the values alpha, nu, xi.
struct TvConstants {
  double mu, lipschitz, hessian_lipschitz;
  std::array<double, 3> mixed_lipschitz;
  double norm2;     ///< |K|^2
  double row_norm;  ///< r_K
  double curvature;  ///< l_1
};
TvConstants tv_constants(const TvOptions& options, const Shape& shape, bool masked, const TvValues& value);

struct TvDirectional {
  double hessian_q, hessian_v, hessian_vq;
  std::array<double, 3> mixed_q, rounding;  ///< with respect to the values
};
/// Section 6.1 from the sums of the tv_bound kernel: |a g|^2, sum g, |K h g|^2, sum a h g, |a h|^2, sum h, max K g,
/// max K h. `unit`: rounding unit of the arrays.
TvDirectional tv_directional(const TvConstants& constants, const TvOptions& options, const TvValues& value,
                             std::span<const double> sums, double epsilon, double norm_q, double norm_v, double unit);

}  // namespace v0
}  // namespace bilevel
