#pragma once

#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "bilevel/io/svg_plot.hpp"
#include "bilevel/learn/upper_optimiser.hpp"

namespace bilevel_app::experiments {

/// f(theta) from solves to `tolerance`, enclosed; each starts from the minimisers before.
class ExactLoss {
 public:
  /// Keeps references to context and problem. `first`: minimisers to begin with; `minimiser`: a solver.
  ExactLoss(bilevel::Context& context, const bilevel::BilevelProblem<double>& problem,
            bilevel::View<const double> first, double tolerance = 1e-9,
            const std::string& minimiser = "newton");
  bilevel::LossEnclosure operator()(std::span<const double> theta);

 private:
  bilevel::Context& context_;
  const bilevel::BilevelProblem<double>& problem_;
  std::unique_ptr<bilevel::Minimiser<double>> minimiser_;
  bilevel::Tensor<double> x_;
  double tolerance_;
};

/// f of one number on a grid, and the least found from there by golden section.
struct Scan {
  bilevel::Series curve;
  double best = 0;               ///< of the points of the grid
  bool inside = false;           ///< the best point is no end of the grid
  double minimiser = 0;          ///< refined
  bilevel::LossEnclosure least;  ///< at `minimiser`
};
/// Grid of `points` on [low, high], then 40 steps of golden section between the neighbours of the best.
Scan scan(ExactLoss& exact, double low, double high, int points);

/// A theta that a run was at, and the operator applications, to one image each, until it was chosen.
struct Visit {
  std::vector<double> theta;
  double work = 0;
};

/// What a run did.
struct MeasuredRun {
  std::string name;
  bilevel::UpperReport report;
  std::vector<bilevel::IterationRecord> records;  ///< of all iterations, and that of the end

  std::vector<Visit> visits() const;
};

/// Runs a method. Throws Interrupted after a signal.
MeasuredRun measured(const std::string& name, bilevel::Context& context,
                     const bilevel::BilevelProblem<double>& problem,
                     bilevel::UpperOptimiser<double>& optimiser, std::span<const double> theta0,
                     bilevel::View<const double> first);

using Gap = std::function<double(std::span<const double> theta)>;  ///< f - f*

/// Work until the gap is at most `target`; infinite when it never is.
double work_to(const MeasuredRun& run, const Gap& gap, double target);
/// Gap against work.
bilevel::Series gap_curve(const MeasuredRun& run, const Gap& gap);
/// epsilon or delta against the iteration.
bilevel::Series accuracy_curve(const MeasuredRun& run, double bilevel::IterationRecord::*which);

/// The middle one of the sorted values, the upper of two; NaN of none.
double median(std::vector<double> values);

/// Axes that curves of several experiments share.
bilevel::Panel gap_panel(const std::string& title);
bilevel::Panel accuracy_panel(const std::string& title, const std::string& which);

/// A sentence on how a run ended.
std::string ending(const MeasuredRun& run);

}  // namespace bilevel_app::experiments
