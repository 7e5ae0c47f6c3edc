#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace bilevel {
inline namespace v0 {

/// The last pairs s = change of theta, y = change of z, and the inverse Hessian they stand for (L-BFGS,
/// Nocedal 1980).
class LbfgsMemory {
 public:
  explicit LbfgsMemory(std::size_t most = 20) : most_(most) {}

  /// Keeps the pair when it tells of positive curvature, <s,y> > 1e-8 |s| |y|.
  void push(std::span<const double> s, std::span<const double> y);
  /// H z by the two-loop recursion from H_0 = <s,y>/<y,Dy> D with the last pair, D the diagonal given (empty:
  /// I); D z without pairs.
  std::vector<double> apply(std::span<const double> z, std::span<const double> diagonal = {}) const;
  void clear() { pairs_.clear(); }
  bool empty() const { return pairs_.empty(); }

  /// All s and y, oldest first: [pairs][2][p].
  std::vector<double> save() const;
  void restore(std::span<const double> values, std::size_t p);

 private:
  struct Pair {
    std::vector<double> s, y;
    double sy;
  };
  std::size_t most_;
  std::vector<Pair> pairs_;
};

}  // namespace v0
}  // namespace bilevel
