#pragma once

#include <string>
#include <vector>

#include "apps/experiments/experiment.hpp"
#include "apps/experiments/measured_run.hpp"
#include "apps/mri/mri_data.hpp"
#include "apps/mri/mri_model.hpp"
#include "apps/mri/problem.hpp"

namespace bilevel_app::experiments {

/// Every frequency measured: where learning starts. Huber potential with nu = xi = 0.01, weight 0.01.
mri::MriModel full_sampling(const mri::MriData& data, const std::string& regulariser,
                            bilevel::PatternKind kind = bilevel::PatternKind::free);

/// The weight of a model learned under its pattern, which stays, by MAID.
MeasuredRun tune_weight(const bilevel::Device& device, const mri::MriData& data, mri::MriModel& model);

/// Every s between 0 and 1, and the weight.
struct Relaxed {
  bilevel::SamplingPattern pattern;
  bilevel::Parameters parameters;
  MeasuredRun run;

  std::vector<double> s() const { return parameters.values("s", run.report.theta); }
  double rate() const { return pattern.rate(s()); }  ///< of frequencies with s above 0
  double alpha() const { return parameters.value("alpha", run.report.theta); }
};
struct Penalties {
  double beta1 = 0, beta2 = 0;  ///< of sum s and sum s (1 - s)
};
struct RelaxOptions {
  int max_iterations = 200;
  double min_progress = 1e-3;
  /// The weight stays at least that of the model, see mri::relaxed_parameters().
  bool weight_from_below = true;
};
/// L-BFGS-B from the model, or from the end of another such run.
Relaxed relax(const bilevel::Device& device, const mri::MriData& data, const mri::MriModel& model,
              const Penalties& penalties, const RelaxOptions& options, const Relaxed* from = nullptr);

/// As bilevel-mri learn does it at a rate: the weight at full sampling, penalties searched for, the largest s
/// kept, samples exchanged, the weight tuned.
struct RateOptions {
  bilevel::PatternKind kind = bilevel::PatternKind::free;
  double rate = 0.3;
  int runs = 3;  ///< penalties at most
  RelaxOptions relax = {};
  bool exchange = true;
};
struct LearnedPattern {
  mri::MriModel model;
  /// Lower-level solves of all images: by methods that certify every decrease (MAID, the exchange), and by
  /// L-BFGS-B, which does not.
  std::uint64_t certified_solves = 0, other_solves = 0;

  std::uint64_t solves() const { return certified_solves + other_solves; }
};
LearnedPattern learn_at_rate(const Settings& settings, const mri::MriData& data,
                             const std::string& regulariser, const RateOptions& options);

/// The model with `s` in place of its pattern, its weight tuned.
mri::MriModel with_pattern(const bilevel::Device& device, const mri::MriData& data, mri::MriModel model,
                           std::vector<double> s);
/// `count` groups of variable density with the usual options.
std::vector<double> variable_density(const bilevel::SamplingPattern& pattern, std::size_t count,
                                     std::uint64_t seed);
/// Groups that are 1.
std::size_t chosen_groups(const mri::MriModel& model);

/// Images by a model, certified to a root-mean-square distance of 1e-4 per pixel. Throws Error when that
/// fails, Interrupted after a signal.
std::vector<double> reconstructed(const bilevel::Device& device, const mri::MriData& data,
                                  const mri::MriModel& model);
std::vector<double> reconstructed(const bilevel::Device& device, const mri::MriData& data,
                                  const mri::MriModel& model, const Relaxed& relaxed);
/// 1/(2N) sum_i |x_i - truth_i|^2.
double squared_error(const mri::MriData& data, const std::vector<double>& x);

/// Every pixel a square of them, so that the longer side has about 128.
bilevel::HostImage enlarged(const bilevel::HostImage& image);
/// Images of one size with white gaps.
bilevel::HostImage beside(const std::vector<bilevel::HostImage>& images);
/// The weights of s with zero frequency in the middle, enlarged.
bilevel::HostImage pattern_image(const mri::MriModel& model, const std::vector<double>& s);

}  // namespace bilevel_app::experiments
