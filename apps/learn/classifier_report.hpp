#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "apps/common/run_folder.hpp"
#include "apps/learn/problem.hpp"
#include "apps/learn/task.hpp"

namespace bilevel_app::learn {

/// What a run on samples gives back to the host. After a failure weights and verdicts may be missing.
struct Outcome {
  std::vector<double> weights;  ///< [scores][features]
  std::optional<Verdict> training, validation;
  std::optional<Verdict> plain;  ///< validation of plain_fit_text()
};

/// Weights of samples, of those whose labels were corrupted against the others.
struct SampleWeights {
  double mean = 0, mean_clean = 0, mean_corrupted = 0, area_under_curve = 0;
};
SampleWeights compare_weights(const std::vector<double>& weights, const std::vector<bool>& corrupted);

/// The classifier that a learned one is compared with: "every sample weighing 1", "the first ridge".
std::string plain_fit_text(Learn learn);

/// images/weights.png: the weights of each score as a picture, zero being grey.
void write_pictures(const RunFolder& folder, const TrainingData& data, const std::vector<double>& weights);

/// Entries of summary.json, and lines for people. `sample_weights`: learned, or none.
nlohmann::ordered_json classifier_summary(Learn learn, const TrainingData& data, const Outcome& outcome,
                                          const std::optional<SampleWeights>& sample_weights);
Lines classifier_lines(Learn learn, const TrainingData& data, const Outcome& outcome,
                       const std::optional<SampleWeights>& sample_weights);

}  // namespace bilevel_app::learn
