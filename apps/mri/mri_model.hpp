#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "apps/common/wavelet_choice.hpp"
#include "apps/mri/experts.hpp"
#include "bilevel/model/composed_energy.hpp"
#include "bilevel/model/model_file.hpp"
#include "bilevel/model/sampling_pattern.hpp"

namespace bilevel_app::mri {

/// How the unknown is penalised: alpha R_nu(x) + xi/2 |x|^2, R of differences or wavelets, or a sum of such,
/// or total generalised variation.
struct ModelOptions : WaveletChoice {
  std::string regulariser = "tv", potential = "charbonnier";
  std::vector<double> weight;      ///< by weight_names(); empty: usual ones
  std::optional<double> nu;        ///< empty: the usual one
  double xi = 0.01;                ///< xi_v too
  std::optional<double> eta;       ///< of dtv; empty: the usual one
  std::string experts;             ///< file of --experts, for foe
  std::optional<Experts> learned;  ///< what validate() has read there

  static constexpr double usual_weight = 0.01, usual_nu = 0.01;
  static constexpr double usual_alpha0 = 0.02, usual_tgv_nu = 0.002;  ///< of tgv2
  double weight_of(std::size_t number) const;
  double smoothing() const;
  bool has_experts() const;
  bool quadratic() const;  ///< no part has a smoothing that can be chosen
  /// Throws ConfigError for unknown names.
  bilevel::RegulariserSum regularisers() const;
};

/// Whether a part has a smoothing of its own, which --nu gives.
bool smoothed(const bilevel::RegulariserOptions& part);
/// Whether it is total generalised variation.
bool is_generalised(const bilevel::RegulariserSum& sum);

/// alpha, 2.alpha, ... or alpha1 and alpha0, with `alpha` in the place of "alpha".
std::vector<std::string> weight_names(const bilevel::RegulariserSum& sum, const std::string& alpha = "alpha");

/// Reads the file of --experts. Throws ConfigError for unknown names, foe without --experts and values that
/// are not positive, IoError for that file.
void validate(ModelOptions& options);

/// The numbers of a part of a sum that is not the first.
struct FurtherPart {
  double alpha = 0, nu = 0;
};

/// A binary sampling pattern with the reconstruction that belongs to it: what `evaluate` and `reconstruct`
/// need.
struct MriModel {
  bilevel::PatternKind kind = bilevel::PatternKind::free;
  int height = 0, width = 0, spokes = 64;
  bool complex = true;
  bilevel::RegulariserSum regulariser;
  std::optional<Experts> experts;    ///< where the regulariser has foe
  std::vector<double> s;             ///< 0 or 1 per group of the pattern
  std::vector<double> relaxed;       ///< theta of the pattern before it was made binary; empty: none
  double alpha = 0, nu = 0, xi = 0;  ///< alpha1 of tgv2
  double alpha0 = 0, xi_v = 0;       ///< of tgv2 alone
  std::vector<FurtherPart> further;  ///< of a sum, from its second part on
  std::vector<bilevel::NamedOption> training;  ///< options of the run
  bilevel::DataFingerprint data;
  std::string library_version;
  bool centred_mask_file =
      true;  ///< images/mask.npy of the run has zero frequency in the middle, not at [0,0]

  bilevel::SamplingPattern pattern() const;
  /// Regularisers and their numbers from the options.
  void take(const ModelOptions& options);
  /// All weights, by weight_names().
  std::vector<double> weights() const;
  void set_weights(const std::vector<double>& list);
  /// The same from theta.
  void take_weights(const bilevel::Parameters& parameters, std::span<const double> theta);
  /// All fixed, or with the weights learned.
  bilevel::Parameters parameters(bool learn_weights = false) const;
  /// For another pattern, with these s (empty: 1).
  bilevel::Parameters parameters(const bilevel::SamplingPattern& pattern, const std::vector<double>& s,
                                 bool learn_pattern, bool learn_weights) const;
  double rate() const { return pattern().rate(s); }
  double mean_radius() const { return pattern().mean_radius(s); }
};

/// Puts the weights under their names, `name` in the place of "alpha".
void put_weights(nlohmann::ordered_json& json, const MriModel& model, const std::string& name);

/// Index of the middle of k-space, where images/mask.npy has zero frequency: "[H/2,W/2]".
std::string middle_text(const MriModel& model);

/// Reads a model.json of bilevel-mri. Throws IoError naming the file and what is wrong with it.
MriModel read_mri_model(const std::filesystem::path& path);
/// Writes it atomically.
void write_mri_model(const std::filesystem::path& path, const MriModel& model);

}  // namespace bilevel_app::mri
