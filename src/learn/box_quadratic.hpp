#pragma once

#include <cstddef>
#include <utility>
#include <vector>

namespace bilevel {
inline namespace v0 {

/// min <z,d> + 1/2 <d, M d> over low <= d <= high, low <= 0 <= high, M symmetric positive definite, by an
/// active set from d = 0 (Nocedal and Wright 2006, algorithm 16.3). Every d on the way lowers the quadratic,
/// and scaling an entry of d scales its path. Returns false when a system of free entries breaks down.
class BoxQuadratic {
 public:
  BoxQuadratic(std::vector<double> matrix, std::vector<double> z, std::vector<double> low,
               std::vector<double> high)
      : matrix_(std::move(matrix)), z_(std::move(z)), low_(std::move(low)), high_(std::move(high)) {}

  bool minimise();
  const std::vector<double>& solution() const { return d_; }

 private:
  double slope(std::size_t j) const;
  /// To the minimum over the free entries, or up to the first bound on the way there, which fixes its entry.
  bool move();
  /// Frees the fixed entry whose quadratic falls most towards the inside; false when there is none.
  bool release();

  std::vector<double> matrix_, z_, low_, high_, d_;
  std::vector<bool> fixed_;
  bool blocked_ = false;
};

}  // namespace v0
}  // namespace bilevel
