#pragma once

// What the generic Krylov bodies and their overrides share.

#include "kernels/block.hpp"
#include "kernels/krylov_args.hpp"

namespace bilevel::kernels::BILEVEL_BACKEND {

/// a = <r,z> / <p,Ap>; 0 where that is no step.
template <class T>
BILEVEL_HD inline T cg_step(const CgState& s, int image) {
  const double curvature = s.pap[image];
  return curvature > 0 ? T(s.rz[image] / curvature) : T(0);
}

/// total = |r|^2, <r,z>. Gives beta and the stop.
BILEVEL_HD inline void finish_cg_update(const CgState& s, int image, const double* total) {
  // Not finite, or underflow: x stays where it is and the recomputed residual tells.
  if (!(s.pap[image] > 0) || !(total[0] < HUGE_VAL)) {
    s.mask[image] = 0;
    return;
  }
  s.slope[image] -= s.rz[image] / s.pap[image] * s.rz[image];
  s.beta[image] = s.rz[image] > 0 ? total[1] / s.rz[image] : 0;
  s.rz[image] = total[1];
  s.rr[image] = total[0];
  s.iterations[image] += 1;
  const bool done = std::sqrt(total[0]) <= s.target[image] || !(total[1] > 0);
  if (done || s.iterations[image] >= s.cap) s.mask[image] = 0;
}

}  // namespace bilevel::kernels::BILEVEL_BACKEND
