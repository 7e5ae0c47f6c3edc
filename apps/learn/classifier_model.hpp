#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "apps/learn/samples.hpp"
#include "bilevel/model/model_file.hpp"

namespace bilevel_app::learn {

/// A learned classifier: what `evaluate` and `apply` need, and how it was learned.
struct ClassifierModel {
  std::string learn;   ///< ridge, ridges or samples
  std::string energy;  ///< in words
  Classes classes;
  int width = 0;  ///< features of a sample, the constant one included
  int height_of_image = 0, width_of_image = 0;
  bool bias = false;
  std::vector<double> weights;               ///< [scores][width]
  std::vector<bilevel::Segment> parameters;  ///< with their learned values
  std::vector<bilevel::NamedOption> training;
  std::vector<std::string> files;
  int samples = 0, validation_samples = 0;
  std::uint64_t fingerprint = 0;  ///< of the data

  /// Features of this model's kind. Throws IoError, also for samples of another width.
  Features read(const NamedFile& file) const;
};

/// Writes model.json, and beside it weights.npy [scores][features] and the arrays of theta, ridge_weight.npy
/// [scores][features] or sample_weight.npy [samples]; model.json last, each atomically.
void write_classifier(const std::filesystem::path& path, const ClassifierModel& model);
/// Reads model.json and weights.npy, not the parameters and the training. Throws IoError naming the file and
/// what is wrong with it.
ClassifierModel read_classifier(const std::filesystem::path& path);

}  // namespace bilevel_app::learn
