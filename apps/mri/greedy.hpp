#pragma once

#include <functional>
#include <vector>

#include "apps/mri/training_run.hpp"

namespace bilevel_app::mri {

struct GreedySelection {
  std::vector<int> order;  ///< groups, first added first
  bilevel::Work work;
  double seconds = 0;
  bool interrupted = false;
};

/// Adds `count` groups of the model's pattern one after the other (see greedy_groups), the loss being the
/// mean squared error of the training reconstructions with the model's alpha, each started from the
/// reconstruction of the set before. What is chosen is kept in checkpoint/selection.json after every step,
/// and with --resume taken from there.
GreedySelection select_greedily(TrainingRun& run, const MriModel& model, std::size_t count, bool resume,
                                const std::function<void(const std::string&)>& progress);

}  // namespace bilevel_app::mri
