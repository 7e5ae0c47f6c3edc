#include "apps/experiments/pattern_learning.hpp"

#include <algorithm>
#include <optional>

#include "apps/common/interrupt.hpp"
#include "apps/common/run_output.hpp"
#include "apps/common/text.hpp"
#include "apps/mri/pattern_choice.hpp"
#include "apps/mri/rate_search.hpp"
#include "bilevel/core/error.hpp"
#include "bilevel/learn/baseline_patterns.hpp"
#include "bilevel/learn/pattern_exchange.hpp"
#include "bilevel/model/unknown.hpp"

namespace bilevel_app::experiments {

using namespace bilevel;
using mri::MriData;
using mri::MriModel;

namespace {

constexpr double kRateTolerance = 0.05;  // of the search for penalties, relative

/// A run from the zero-filled images. Throws Error when it fails.
MeasuredRun run_on(const std::string& name, const Device& device, const MriData& data,
                   const RegulariserSum& regulariser, const SamplingPattern& pattern,
                   const Parameters& parameters, const std::vector<double>& theta0, const Penalty& penalty,
                   UpperOptimiser<double>& optimiser) {
  Context context(device);
  const Tensor<double> truth(context, data.shape(), data.truth);
  auto energy = mri::make_energy<double>(context, data, pattern, parameters, regulariser, false);
  energy->bind(theta0);
  const Tensor<double> zero_filled = mri::zero_filled<double>(context, *energy, data);
  const Tensor<double> first = start_from<double>(context, zero_filled.view(), energy->shape());
  const BilevelProblem<double> problem(std::move(energy), truth.view(), parameters, penalty);
  MeasuredRun run = measured(name, context, problem, optimiser, theta0, first.view());
  if (run.report.status == UpperStatus::failed) throw Error(name + ": " + run.report.message);
  return run;
}

UpperOptions learning_options(const RelaxOptions& o) {
  UpperOptions options;
  options.schedule.tolerance = 1e-6;
  options.scaling = StepScaling::lbfgs;
  options.max_iterations = o.max_iterations;
  options.min_progress = o.min_progress;
  return options;
}

std::uint64_t solves_of(const MeasuredRun& run) { return run.report.last.work.solves; }

/// The samples of a binary pattern exchanged at its rate, the weight following.
MeasuredRun exchange_samples(const Device& device, const MriData& data, const RelaxOptions& o,
                             MriModel& model) {
  const SamplingPattern pattern(model.kind, model.height, model.width, SamplingMap::linear);
  const Parameters parameters = model.parameters(pattern, model.s, true, true);
  RelaxOptions all = o;
  all.min_progress = 0;
  const auto optimiser = make_pattern_exchange<double>(learning_options(all));
  MeasuredRun run = run_on("exchange", device, data, model.regulariser, pattern, parameters,
                           parameters.initial(), {}, *optimiser);
  model.s = parameters.values("s", run.report.theta);
  model.take_weights(parameters, run.report.theta);
  return run;
}

/// Throws Error unless the reconstruction is as it should be.
std::vector<double> images_of(mri::Reconstruction reconstruction) {
  if (interrupted()) throw Interrupted();
  if (reconstruction.status != SolveStatus::converged)
    throw Error("the reconstruction ended early: " + reconstruction.message);
  return std::move(reconstruction.x);
}

constexpr double kAccuracy = 1e-4;

}  // namespace

MriModel full_sampling(const MriData& data, const std::string& regulariser, PatternKind kind) {
  mri::ModelOptions options;
  options.regulariser = regulariser;
  options.potential = "huber_c2";
  MriModel model;
  model.kind = kind;
  model.height = data.height;
  model.width = data.width;
  model.complex = data.complex;
  model.take(options);
  model.s.assign(model.pattern().groups(), 1.0);
  return model;
}

MeasuredRun tune_weight(const Device& device, const MriData& data, MriModel& model) {
  UpperOptions options;
  options.schedule.tolerance = 1e-4;
  options.max_iterations = 50;
  const Parameters parameters = model.parameters(true);
  MeasuredRun run = run_on("maid", device, data, model.regulariser, model.pattern(), parameters,
                           parameters.initial(), {}, *make_maid<double>(options));
  model.take_weights(parameters, run.report.theta);
  return run;
}

Relaxed relax(const Device& device, const MriData& data, const MriModel& model, const Penalties& penalties,
              const RelaxOptions& o, const Relaxed* from) {
  const SamplingPattern pattern(model.kind, model.height, model.width);
  const Parameters parameters = o.weight_from_below ? mri::relaxed_parameters(pattern, model, true)
                                                    : model.parameters(pattern, {}, true, true);
  const auto optimiser = make_lbfgsb<double>(learning_options(o));
  MeasuredRun run = run_on("lbfgsb", device, data, model.regulariser, pattern, parameters,
                           from != nullptr ? from->run.report.theta : parameters.initial(),
                           sampling_penalty(parameters, penalties.beta1, penalties.beta2), *optimiser);
  return {pattern, parameters, std::move(run)};
}

LearnedPattern learn_at_rate(const Settings& settings, const MriData& data, const std::string& regulariser,
                             const RateOptions& o) {
  LearnedPattern learned{full_sampling(data, regulariser, o.kind)};
  MriModel& model = learned.model;
  settings.tell(regulariser + ": the weight at full sampling");
  learned.certified_solves += solves_of(tune_weight(settings.device, data, model));
  const SamplingPattern pattern = model.pattern();
  mri::RateSearch search(o.rate, kRateTolerance, mri::first_penalty(data, pattern, o.rate), o.runs);
  std::vector<Relaxed> tried;
  while (!search.done()) {
    const int start = search.next_start();
    const double penalty = search.next_penalty();
    settings.tell(format("%s: pattern with penalty %.3g", regulariser.c_str(), penalty));
    tried.push_back(relax(settings.device, data, model, {penalty, 0}, o.relax,
                          start < 0 ? nullptr : &tried[static_cast<std::size_t>(start)]));
    learned.other_solves += solves_of(tried.back().run);
    search.add(pattern.rate(pattern.threshold(tried.back().s())));
  }
  const Relaxed& best = tried[static_cast<std::size_t>(search.best())];
  model.s = pattern.threshold_to_rate(best.s(), o.rate);
  model.take_weights(best.parameters, best.run.report.theta);
  if (o.exchange) {
    settings.tell(regulariser + ": samples exchanged");
    learned.certified_solves += solves_of(exchange_samples(settings.device, data, o.relax, model));
  }
  learned.certified_solves += solves_of(tune_weight(settings.device, data, model));
  return learned;
}

MriModel with_pattern(const Device& device, const MriData& data, MriModel model, std::vector<double> s) {
  model.s = std::move(s);
  tune_weight(device, data, model);
  return model;
}

std::vector<double> variable_density(const SamplingPattern& pattern, std::size_t count, std::uint64_t seed) {
  VariableDensityOptions options;
  options.seed = seed;
  return variable_density_groups(group_distances(pattern), count, options,
                                 [&](std::span<const double> v) { return mri::side_lobe(pattern, v); })
      .s;
}

std::size_t chosen_groups(const MriModel& model) {
  return static_cast<std::size_t>(std::count(model.s.begin(), model.s.end(), 1.0));
}

std::vector<double> reconstructed(const Device& device, const MriData& data, const MriModel& model) {
  return images_of(mri::reconstruct(device, data, model, {.tolerance = kAccuracy}));
}
std::vector<double> reconstructed(const Device& device, const MriData& data, const MriModel& model,
                                  const Relaxed& relaxed) {
  return images_of(mri::reconstruct(device, data, relaxed.pattern, relaxed.parameters,
                                    relaxed.run.report.theta, model.regulariser, {.tolerance = kAccuracy}));
}

double squared_error(const MriData& data, const std::vector<double>& x) {
  double sum = 0;
  for (std::size_t k = 0; k < x.size(); ++k) sum += (x[k] - data.truth[k]) * (x[k] - data.truth[k]);
  return sum / (2 * data.images);
}

HostImage enlarged(const HostImage& image) {
  const int zoom = std::max(1, 128 / std::max(image.height, image.width));
  HostImage out{1, zoom * image.height, zoom * image.width, {}};
  for (int i = 0; i < out.height; ++i)
    for (int j = 0; j < out.width; ++j)
      out.pixels.push_back(image.pixels[static_cast<std::size_t>(i / zoom) * image.width + j / zoom]);
  return out;
}

HostImage beside(const std::vector<HostImage>& images) {
  std::vector<std::span<const double>> parts;
  for (const HostImage& image : images) parts.push_back(image.pixels);
  return strip(parts, images.front().height, images.front().width);
}

HostImage pattern_image(const MriModel& model, const std::vector<double>& s) {
  const std::vector<double> weights = model.pattern().weights(s);
  HostImage image{1, model.height, model.width, {}};
  for (int i = 0; i < model.height; ++i)
    for (int j = 0; j < model.width; ++j) {
      const int row = (i + (model.height + 1) / 2) % model.height,
                column = (j + (model.width + 1) / 2) % model.width;
      image.pixels.push_back(weights[static_cast<std::size_t>(row) * model.width + column]);
    }
  return enlarged(image);
}

}  // namespace bilevel_app::experiments
