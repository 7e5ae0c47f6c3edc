#pragma once

// The library L-BFGS-B 3.0 by reverse communication. No other file knows its Fortran interface.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace bilevel {
inline namespace v0 {

/// What L-BFGS-B asks for next.
enum class LbfgsbTask {
  evaluate,  ///< value and gradient at x()
  accepted,  ///< x() is the next iterate
  finished   ///< it cannot go on: see text()
};

/// Minimises over lower <= x <= upper with `memory` pairs: generalised Cauchy point, subspace minimisation,
/// line search with the strong Wolfe conditions (1e-3, 0.9). It has no stopping test of its own. Entry j
/// moves by at most reach[j] (infinite: any) from one iterate to the next: the bounds that the library is
/// given are those of this box, too, which follows the iterates.
class Lbfgsb {
 public:
  Lbfgsb(std::vector<double> lower, std::vector<double> upper, int memory, std::vector<double> reach);

  /// Begins anew at x.
  void start(std::span<const double> x);
  /// Goes on, after evaluate() with the value and gradient at x().
  LbfgsbTask advance(double value, std::span<const double> gradient);

  std::span<const double> x() const { return x_; }
  std::string text() const;
  int evaluations() const { return evaluations_; }  ///< since the last iterate

  /// All of its state as bytes, and back.
  std::vector<std::uint8_t> save() const;
  void restore(std::span<const std::uint8_t> state);

 private:
  /// The box around x().
  void follow();

  std::vector<double> lower_, upper_, reach_, near_lower_, near_upper_;
  int memory_;
  std::vector<double> x_, gradient_, work_, dsave_;
  std::vector<int> bounded_, integers_, isave_, lsave_;
  std::string task_, csave_;
  double value_ = 0;
  int evaluations_ = 0;
};

}  // namespace v0
}  // namespace bilevel
