#pragma once

namespace bilevel::kernels {

enum class Potential : int { charbonnier = 0, huber_c2 = 1, quadratic = 2 };

/// l_1, the Lipschitz constant of psi = rho'.
constexpr double steepest(Potential potential, double nu) {
  return potential == Potential::quadratic ? 1 : (potential == Potential::huber_c2 ? 2 : 1) / nu;
}

}  // namespace bilevel::kernels
