#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "apps/common/run_folder.hpp"
#include "apps/learn/classifier_model.hpp"
#include "apps/learn/options.hpp"
#include "apps/learn/problem.hpp"
#include "bilevel/observe/observer.hpp"

namespace bilevel_app::learn {

/// What a run gives back to the host. After a failure weights and verdicts may be missing.
struct Outcome {
  bilevel::UpperReport report;
  std::vector<double> weights;  ///< [scores][features]
  std::optional<Verdict> training, validation;
  std::optional<Verdict> plain;  ///< validation of plain_fit_text()
  int resumed_from = -1;         ///< iteration, -1: a run from the start
};

/// Weights of samples, of those whose labels were corrupted against the others.
struct SampleWeights {
  double mean = 0, mean_clean = 0, mean_corrupted = 0, area_under_curve = 0;
};
SampleWeights compare_weights(const std::vector<double>& weights, const std::vector<bool>& corrupted);

/// The classifier that a learned one is compared with: "every sample weighing 1", "the first ridge".
std::string plain_fit_text(Learn learn);

/// Options that decide the result of a run: kept in the model, compared when a run is resumed.
std::vector<bilevel::NamedOption> deciding_options(const TrainOptions& options);

/// images/weights.png: the weights of each score as a picture, zero being grey.
void write_pictures(const RunFolder& folder, const TrainingData& data, const std::vector<double>& weights);

/// Writes summary.json and returns its content.
nlohmann::ordered_json write_summary(const RunFolder& folder, const TrainOptions& options,
                                     const bilevel::Device& device, const TrainingData& data,
                                     const bilevel::Parameters& parameters, const Outcome& outcome);

/// A few lines for people.
std::string summary_text(const TrainingData& data, const TrainOptions& options,
                         const bilevel::Parameters& parameters, const Outcome& outcome,
                         const RunFolder& folder);

}  // namespace bilevel_app::learn
