#pragma once

#include <functional>
#include <vector>

namespace bilevel_app::denoise {

/// A computed value and a bound on its distance from the exact one.
struct Sample {
  std::vector<double> value;
  double error = 0;
};

/// The derivative at 0 by central differences, and an estimate of its error: the truncation as it shows in
/// the differences themselves, plus what the samples' errors can make of them. Infinite when no step gave
/// any.
struct Difference {
  std::vector<double> value;
  double error = 0;
};

/// Extrapolates central differences of `f` with the steps `step`, step/2, ... (Neville's tableau in the
/// square of the step) until the error is at most `enough`, and returns the entry of the smallest error
/// that no finer steps contradict: Ridders, Accurate computation of F'(x) and F'(x)F''(x), Advances in
/// Engineering Software 4 (1982).
Difference differentiate(const std::function<Sample(double)>& f, double step, double enough);

}  // namespace bilevel_app::denoise
