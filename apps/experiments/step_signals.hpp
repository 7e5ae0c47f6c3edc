#pragma once

#include <cstdint>
#include <vector>

#include "bilevel/core/shape.hpp"
#include "bilevel/model/regularisers.hpp"

namespace bilevel_app::experiments {

constexpr int kSignals = 10, kSignalLength = 256;

/// Signals that are 1 on an interval and 0 elsewhere, and with noise of standard deviation 0.1, one after the
/// other, as the code of Ehrhardt and Roberts (2021) draws them: on linspace(-2, 2, 256), per signal the
/// centre uniform in (-1, 1) and the radius in (-0.5, -1); then the noise of every signal in turn.
struct StepSignals {
  std::vector<double> clean, noisy;
};
StepSignals step_signals(std::uint32_t seed);

/// Differences x_i - x_{i-1}: with x_{-1} = 0 as in the published code, or none at the first point, the
/// library's own.
enum class SignalBorder { zero_left, neumann };

/// alpha sum_p sqrt((K x)_p^2 + nu^2) for signals [N,1,1,W].
bilevel::RegulariserSum signal_regulariser(SignalBorder border, const bilevel::Shape& shape);

}  // namespace bilevel_app::experiments
