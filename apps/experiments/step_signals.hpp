#pragma once

#include <cstdint>
#include <vector>

#include "apps/experiments/legacy_random.hpp"
#include "bilevel/core/shape.hpp"
#include "bilevel/model/regularisers.hpp"

namespace bilevel_app::experiments {

/// Signals that are 1 on an interval and 0 elsewhere, one after the other, as the code of Ehrhardt and
/// Roberts (2021) draws them: on linspace(-2, 2, length), per signal the centre uniform in (-1, 1) and the
/// radius in
/// (-0.5, -1).
struct StepSignals {
  StepSignals(std::uint32_t seed, int count, int length);
  /// With noise of standard deviation sigma, drawn of every signal in turn.
  std::vector<double> noisy(double sigma);

  std::vector<double> clean;
  LegacyRandom random;  ///< goes on behind the signals
};

/// Differences x_i - x_{i-1}: with x_{-1} = 0 as in the published code, or none at the first point, the
/// library's own.
enum class SignalBorder { zero_left, neumann };

/// alpha sum_p sqrt(|(K x)_p|^2 + nu^2) for signals [N,C,1,W], the modulus over real and imaginary part where
/// C is 2.
bilevel::RegulariserSum signal_regulariser(SignalBorder border, const bilevel::Shape& shape);

}  // namespace bilevel_app::experiments
