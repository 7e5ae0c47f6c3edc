#pragma once

// Solvers of a user, whose certificates are measured anew at the points they return.

#include <memory>

#include "bilevel/solve/linear_solver.hpp"
#include "bilevel/solve/minimiser.hpp"

namespace bilevel {
inline namespace v0 {

/// The certificates become ((1 + 1e-6) |grad| + rounding) / mu, for one gradient per image. An image that is
/// called converged with a certificate above the tolerance has failed, unless rounding is to blame.
template <class T>
std::shared_ptr<const Minimiser<T>> checked_minimiser(std::shared_ptr<const Minimiser<T>> solver);

/// The same with the residual |b - A q| and the bound on its rounding, for one product per image.
template <class T>
std::shared_ptr<const LinearSolver<T>> checked_linear_solver(std::shared_ptr<const LinearSolver<T>> solver);

}  // namespace v0
}  // namespace bilevel
