#pragma once

#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "apps/mri/training_run.hpp"
#include "bilevel/core/tensor.hpp"
#include "bilevel/solve/minimiser.hpp"

namespace bilevel_app::mri {

/// Reconstructs all images under sets of groups of the model's pattern, with the model's weights. Keeps a
/// reference to the data.
class CandidateReconstruction {
 public:
  CandidateReconstruction(const bilevel::Device& device, const MriData& data, const MriModel& model,
                          const Solver& solver);

  /// The mean squared error of `chosen` with each candidate, from the reconstruction that advance() made;
  /// none after a signal. Adds the work, one solve each, to `work`. Throws Error when a solve fails.
  std::vector<double> losses(std::span<const int> chosen, std::span<const int> candidates,
                             bilevel::Work& work);
  /// Later candidates start from the reconstruction under `chosen`.
  void advance(std::span<const int> chosen, bilevel::Work& work);

 private:
  double loss(std::span<const int> set, bilevel::Work& work);

  const MriData& data_;
  bilevel::Context context_;
  std::size_t groups_;
  std::unique_ptr<bilevel::ComposedEnergy<double>> energy_;
  std::unique_ptr<bilevel::Minimiser<double>> minimiser_;
  bilevel::Tensor<double> current_, trial_;
  bilevel::SolveRequest<double> request_;
};

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
