#pragma once

#include <optional>
#include <string>
#include <vector>

#include "apps/denoise/laboratory.hpp"
#include "apps/denoise/verdict.hpp"

namespace bilevel_app::denoise {

/// A way to reconstructions or to the hypergradient: iterations (of the image that takes most) and their
/// prediction, the distance of z from the hypergradient of tight solves, and bounds on it: of what was
/// measured, and known beforehand. Empty: there is none, or the prediction was too large for it to be run.
struct Estimate {
  std::string what;
  std::optional<double> iterations = {}, predicted = {}, error = {}, bound = {}, a_priori = {};
};

/// What checks found: verdicts, and numbers without a limit.
struct Findings {
  std::vector<Verdict> verdicts = {};
  std::vector<Estimate> estimates = {};
  double size = 0;  ///< norm of the hypergradient of tight solves
};

/// Every method of the library for hypergradients against the one of tight solves, `truth`, and against what
/// is known of it: implicit differentiation at the reconstructions `rough` by every linear solver, and the
/// derivative of a few unrolled steps, reverse and inexact; the iterations of first-order methods of the
/// lower level to `tolerance`, which `rough` has, against their prediction. `d`: a direction of theta for
/// differences. Throws Error when a
/// solver of the lower level fails.
Findings check_hypergradients(Laboratory& lab, const Vector& theta, const Laboratory::Solved& rough,
                              double tolerance, const bilevel::HypergradientResult& truth, const Vector& d);

}  // namespace bilevel_app::denoise
