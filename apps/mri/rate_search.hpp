#pragma once

#include <vector>

namespace bilevel_app::mri {

/// Which penalties to try until a pattern keeps the fraction asked for of k-space: decisions on doubles that
/// know no images. A larger penalty keeps less. Runs start from the pattern of the sparsest run that still
/// kept too much (frequencies that have reached 0 stay there), and the penalty is bracketed and bisected on a
/// log scale.
class RateSearch {
 public:
  struct Trial {
    double penalty = 0, rate = 0;
  };

  /// Done when the rate is within `tolerance` of the target, relative to it, or after `runs` trials.
  RateSearch(double target, double tolerance, double first_penalty, int runs)
      : target_(target), tolerance_(tolerance), first_(first_penalty), runs_(runs) {}

  bool done() const;
  double next_penalty() const;
  /// The trial whose pattern the next one starts from; -1: the full one.
  int next_start() const;
  void add(double rate);  ///< of the run with next_penalty()

  const std::vector<Trial>& trials() const { return trials_; }
  /// The trial nearest to the target; of equal ones the one that keeps more.
  int best() const;

 private:
  /// The trial with the largest penalty above, or the smallest below the target; -1.
  int nearest(bool above) const;

  double target_, tolerance_, first_;
  int runs_;
  std::vector<Trial> trials_;
};

}  // namespace bilevel_app::mri
