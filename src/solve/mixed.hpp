#pragma once

#include <memory>
#include <string>

#include "bilevel/solve/linear_solver.hpp"
#include "bilevel/solve/minimiser.hpp"

namespace bilevel {
inline namespace v0 {

/// "newton": Newton with gradients, line search and certificates in double and the linear systems in single
/// precision. A step needs its system to a tenth only, so any accuracy of the double solver is reached;
/// images on which it fails go on with the double solver. Needs 4 arrays of 4 bytes more than Newton, whose
/// weights take half the memory.
///
/// Others: moves in single precision as long as the gradient to reach stands out of the error of
/// single-precision gradients, measured as |grad - grad_single| a rounding of the current point away, and in
/// double from there. Every certificate, also those that `decided` sees (each time they fell by 10 in single
/// precision), comes from a gradient in double. Needs 2 arrays in double and 2 in single precision beside
/// those of the solver.
std::unique_ptr<Minimiser<double>> make_mixed_minimiser(const std::string& solver);

/// Iterative refinement (Wilkinson 1963): r = b - A q in double, A e = r in single precision to 1e-4 |r| or
/// the tolerance, q += e, until the residual in double meets the tolerance. Images whose residual two rounds
/// do not halve go on with the double solver. Needs 2 arrays in double, 2 and the weights in single precision
/// beside those of the solver.
std::unique_ptr<LinearSolver<double>> make_mixed_linear_solver(const std::string& solver);

}  // namespace v0
}  // namespace bilevel
