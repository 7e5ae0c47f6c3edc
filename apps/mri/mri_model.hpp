#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "bilevel/model/composed_energy.hpp"
#include "bilevel/model/model_file.hpp"
#include "bilevel/model/sampling_pattern.hpp"

namespace bilevel_app::mri {

/// How the unknown is penalised: alpha R_nu(x) + xi/2 |x|^2.
struct ModelOptions {
  std::string regulariser = "tv", potential = "charbonnier";
  double weight = 0.01, nu = 0.01, xi = 0.01;

  bool quadratic() const { return !regulariser_options().smoothed(); }
  /// Throws ConfigError for unknown names.
  bilevel::TvOptions regulariser_options() const;
};

/// Throws ConfigError for unknown names (naming those that this version does not have) and values that are
/// not positive.
void validate(const ModelOptions& options);

/// A binary sampling pattern with the reconstruction that belongs to it: what `evaluate` and `reconstruct`
/// need.
struct MriModel {
  bilevel::PatternKind kind = bilevel::PatternKind::free;
  int height = 0, width = 0, spokes = 64;
  bool complex = true;
  bilevel::TvOptions regulariser;
  std::vector<double> s;        ///< 0 or 1 per group of the pattern
  std::vector<double> relaxed;  ///< theta of the pattern before it was made binary; empty: none
  double alpha = 0, nu = 0, xi = 0;
  std::vector<bilevel::NamedOption> training;  ///< options of the run
  bilevel::DataFingerprint data;
  std::string library_version;
  bool centred_mask_file =
      true;  ///< images/mask.npy of the run has zero frequency in the middle, not at [0,0]

  bilevel::SamplingPattern pattern() const;
  /// All fixed, or with alpha learned.
  bilevel::Parameters parameters(bool learn_alpha = false) const;
  double rate() const { return pattern().rate(s); }
};

/// Index of the middle of k-space, where images/mask.npy has zero frequency: "[H/2,W/2]".
std::string middle_text(const MriModel& model);

/// Reads a model.json of bilevel-mri. Throws IoError naming the file and what is wrong with it.
MriModel read_mri_model(const std::filesystem::path& path);
/// Writes it atomically.
void write_mri_model(const std::filesystem::path& path, const MriModel& model);

}  // namespace bilevel_app::mri
