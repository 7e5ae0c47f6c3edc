#pragma once

#include <span>
#include <string>
#include <vector>

#include "bilevel/core/context.hpp"
#include "bilevel/model/model_file.hpp"
#include "bilevel/solve/report.hpp"

namespace bilevel_app::denoise {

/// One image reconstructed by a learned model.
struct Reconstruction {
  double distance = 0;  ///< certified root-mean-square distance per pixel to the exact minimiser
  bilevel::SolveStatus status = bilevel::SolveStatus::converged;
  bilevel::Work work;
  std::string message;
};

/// Replaces the noisy image `pixels` [model.channels, height, width] by its reconstruction. The host array is
/// released while the solver works. `tolerance` is a root-mean-square distance; `mask` is 0/1 or empty.
/// precision: double, float or mixed; solver: a name or auto. Throws ConfigError for values outside the
/// model's domain; ends early with status `decided` after a signal.
Reconstruction reconstruct(bilevel::Context& context, const bilevel::DenoiseModel& model,
                           const std::string& precision, const std::string& solver, double tolerance,
                           int height, int width, std::span<const double> mask, std::vector<double>& pixels);

}  // namespace bilevel_app::denoise
