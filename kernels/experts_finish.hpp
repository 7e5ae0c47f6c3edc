#pragma once

// What the sums of an image become, for the tiled and the register-blocked gradient of fields of experts.

#include "kernels/experts_args.hpp"
#include "kernels/math.hpp"

namespace bilevel::kernels::BILEVEL_BACKEND {

/// total = sums of b rho, (rounding_psi psi)^2, |S(x-y)|^2, |x|^2, |grad|^2. Gives Phi, |grad|^2, and the
/// rounding error of the gradient, u (3|S(x-y)| + 3 mu|x| + rounding_x |x| + |(rounding_psi_k |psi_k|)_k|)
/// (counted in src/model/experts_constants.cpp), in single precision with the rounding of mu and of the data,
/// |S y| <= |S(x-y)| + |x|. Beside terms before, whose bound is added, 2u of their gradient.
template <class T>
BILEVEL_HD inline void finish_experts_energy(const ExpertsEnergyArgs<T>& a, int image, const double* total) {
  constexpr double given = conversions<T>;
  const double mu = a.model.mu, distance = std::sqrt(total[2]), norm = std::sqrt(total[3]);
  const double parts = std::sqrt(total[1]);
  if (a.y) {
    const double rounding = (3 + given) * (distance + mu * norm) + (given + a.rounding_x) * norm + parts;
    a.value[image] = 0.5 * total[2] + total[0] + 0.5 * mu * total[3];
    a.rounding[image] = bound_where_finite(a.value[image], a.unit * rounding + a.underflow);
  } else {
    const double rounding =
        2 * std::sqrt(a.norm2[image]) + (3 + given) * mu * norm + a.rounding_x * norm + parts;
    a.value[image] += total[0] + 0.5 * mu * total[3];
    a.rounding[image] =
        bound_where_finite(a.value[image], a.unit * rounding + a.underflow + a.rounding[image]);
  }
  a.norm2[image] = total[4];
}

}  // namespace bilevel::kernels::BILEVEL_BACKEND
