#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "apps/learn/options.hpp"
#include "apps/learn/samples.hpp"
#include "bilevel/model/bilevel_problem.hpp"
#include "bilevel/model/model_file.hpp"
#include "bilevel/ops/dense_operator.hpp"

namespace bilevel_app::learn {

/// Training and validation samples; labels are numbers of classes.
struct TrainingData {
  Features train, validation;
  std::vector<int> labels, validation_labels;
  Classes classes;
  std::vector<bool> corrupted;     ///< of the training labels; empty: none was
  std::uint64_t fingerprint = 0;   ///< of features and labels, corrupted ones included
  std::vector<std::string> files;  ///< names without folders

  bilevel::Shape unknown() const { return {1, 1, classes.scores(), train.width}; }
};

/// Reads, splits and checks the files of the options. Throws IoError, and ConfigError for numbers of samples
/// that the files do not hold.
TrainingData load_training_data(const TrainOptions& options);

/// theta of a classifier: xi (ridge), ridge_weight [classes][features] or sample_weight [samples].
bilevel::Parameters parameters_of(const TrainOptions& options, const TrainingData& data);

/// The energy of the classifier W in words.
std::string energy_text(Learn learn);

/// How a classifier does on labelled samples.
struct Verdict {
  int samples = 0;
  std::vector<int> of_class, wrong;     ///< numbers of samples and of errors of each class
  std::vector<double> cross_entropies;  ///< their sums

  int errors() const;
  double error_rate() const;
  double cross_entropy() const;  ///< mean
};
/// `scores` of one sample after the other, [samples][scores].
Verdict judge(const Classes& classes, std::span<const double> scores, const std::vector<int>& labels);
/// The most likely class of each sample, the first of several.
std::vector<int> most_likely(const Classes& classes, std::span<const double> scores);

/// The samples on a device, or streamed to it, with the problem they make.
template <class T>
class Classifier {
 public:
  /// Gives up the features of `data`, but with --block-rows reads them as long as it lives.
  Classifier(bilevel::Context& context, const TrainOptions& options, const bilevel::Parameters& parameters,
             TrainingData& data);

  const bilevel::BilevelProblem<T>& problem() const { return *problem_; }
  bilevel::Tensor<T> zero() const;
  /// Weights [scores][features] of the classifier at theta, within 1e-3 of the minimiser where that can be
  /// certified.
  bilevel::Tensor<T> fit(std::span<const double> theta, const std::string& solver) const;
  Verdict on_training(bilevel::View<const T> weights) const;
  Verdict on_validation(bilevel::View<const T> weights) const;

 private:
  using Scores = std::shared_ptr<const bilevel::DenseOperator<T>>;
  Verdict judge_by(const bilevel::DenseOperator<T>& scores, bilevel::View<const T> weights,
                   const std::vector<int>& labels) const;

  bilevel::Context& context_;
  const TrainingData& data_;
  Scores train_, validation_;
  std::unique_ptr<bilevel::BilevelProblem<T>> problem_;
};

/// Scores [samples][scores] of samples by weights [scores][features].
template <class T>
std::vector<double> scores_of(bilevel::Context& context, const Features& features,
                              std::span<const double> weights);

}  // namespace bilevel_app::learn
