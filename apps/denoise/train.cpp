#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>
#include <ostream>

#include "apps/common/exit_codes.hpp"
#include "apps/common/reference_option.hpp"
#include "apps/common/run_folder.hpp"
#include "apps/common/run_output.hpp"
#include "apps/common/run_session.hpp"
#include "apps/denoise/filters_image.hpp"
#include "apps/denoise/held_out.hpp"
#include "apps/denoise/options.hpp"
#include "apps/denoise/regulariser.hpp"
#include "apps/denoise/run_report.hpp"
#include "bilevel/core/error.hpp"
#include "bilevel/model/unknown.hpp"

namespace bilevel_app::denoise {

using namespace bilevel;

namespace {

/// What the run gives back to the host.
struct Outcome {
  UpperReport report;
  std::vector<double> reconstructions;
};

template <class T>
std::vector<T> converted(const std::vector<double>& values) {
  return {values.begin(), values.end()};
}

/// The energy of noisy images on the device.
template <class T>
std::unique_ptr<Energy<T>> energy_of(const TrainOptions& o, const Parameters& parameters,
                                     const ImageBatch& batch, Context& context, View<const T> noisy) {
  const RegulariserSum regularisers = with_reference(o.model.regularisers(), batch.reference);
  if (o.data.blur) return make_energy<T>(context, noisy, parameters, regularisers, *o.data.blur);
  return make_energy<T>(context, noisy, parameters, regularisers, batch.mask, o.common.precision == "mixed");
}

Penalty penalty_of(const TrainOptions& o, const Parameters& parameters, const ImageBatch& batch) {
  if (o.condition_penalty == 0) return {};
  return tv_condition_penalty(parameters, *single_differences(o.model.regularisers()), batch.shape(),
                              !batch.mask.empty(), o.condition_penalty);
}

/// Nothing where they are not finite.
template <class T>
std::vector<double> finite_images(std::span<const T> images) {
  const auto finite = [](T v) { return std::isfinite(v); };
  if (!std::all_of(images.begin(), images.end(), finite)) return {};
  return {images.begin(), images.end()};
}

template <class T>
Outcome optimise(const TrainOptions& o, const Parameters& parameters, const ImageBatch& batch,
                 Context& context, Observer& observer, const UpperState* state) {
  const Shape shape = batch.shape();
  const Tensor<T> truth(context, shape, converted<T>(batch.clean));
  const Tensor<T> noisy(context, shape, converted<T>(batch.noisy));
  const BilevelProblem<T> problem(energy_of<T>(o, parameters, batch, context, noisy.view()), truth.view(),
                                  parameters, penalty_of(o, parameters, batch));
  const auto optimiser = make_optimiser<T>(o.method, o.upper);
  const Tensor<T> start = start_from<T>(context, noisy.view(), problem.energy().shape());
  Outcome outcome{optimiser->run(context, problem, parameters.initial(), start.view(), observer, state), {}};
  if (const View<const T> x = optimiser->reconstructions())
    outcome.reconstructions = finite_images<T>(download<T>(context, first_channels<T>(context, x, shape.c)));
  return outcome;
}

/// The same by minibatches: only their images are on the device.
template <class T>
Outcome optimise_minibatches(const TrainOptions& o, const Parameters& parameters, const ImageBatch& batch,
                             Context& context, Observer& observer, const UpperState* state) {
  const auto energy = [&](View<const T> noisy) { return energy_of<T>(o, parameters, batch, context, noisy); };
  ImageBatches<T> source(context, batch.shape(), *o.method.batch, converted<T>(batch.noisy),
                         converted<T>(batch.clean), energy, parameters, penalty_of(o, parameters, batch));
  const auto optimiser = make_stochastic_optimiser<T>(o.method, o.upper, o.common.seed);
  Outcome outcome{optimiser->run(context, source, parameters.initial(), observer, state), {}};
  const std::span<const T> x = optimiser->reconstructions();
  const std::size_t unknown = source.problem().energy().shape().image(), image = batch.shape().image();
  std::vector<T> images;
  for (std::size_t at = 0; at < x.size(); at += unknown)
    images.insert(images.end(), x.begin() + static_cast<std::ptrdiff_t>(at),
                  x.begin() + static_cast<std::ptrdiff_t>(at + image));
  outcome.reconstructions = finite_images<T>(images);
  return outcome;
}

template <class T>
Outcome learn(const TrainOptions& o, const Parameters& parameters, const ImageBatch& batch, Context& context,
              Observer& observer, const UpperState* state) {
  const auto way = o.method.stochastic() ? optimise_minibatches<T> : optimise<T>;
  return way(o, parameters, batch, context, observer, state);
}

DenoiseModel learned_model(const TrainOptions& o, const Parameters& parameters, const ImageBatch& batch,
                           const std::vector<double>& theta) {
  DenoiseModel model;
  model.options = o.model.regularisers();
  model.parameters = parameters.at(theta);
  model.training = deciding_options(o);
  model.data = batch.fingerprint;
  model.blur = o.data.blur;
  model.channels = batch.channels;
  return model;
}

std::vector<NamedOption> identity_of(const TrainOptions& o, const ImageBatch& batch) {
  std::vector<NamedOption> identity = deciding_options(o);
  identity.emplace_back("data (fingerprint)", fingerprint_text(batch.fingerprint.pixels));
  return identity;
}

/// The message of a run that rounding ended, with the options that help.
std::string message_of(const TrainOptions& o, const Parameters& parameters, const UpperReport& report) {
  if (report.status != UpperStatus::accuracy_limit || o.method.fixed_accuracy()) return report.message;
  return with_options(report.message,
                      limit_options(o.method, o.common.precision != "float" ? smoothing_options(parameters)
                                              : o.data.blur                 ? "--precision double"
                                                                            : "--precision mixed or double"));
}

/// Sentences on what learning left at a bound.
std::vector<std::string> bounds_of(const Parameters& parameters, const UpperReport& report) {
  if (report.status == UpperStatus::failed || report.status == UpperStatus::interrupted) return {};
  return bound_notes(parameters, report.theta, [&](const std::string& name) {
    const std::string keep = keeping_options(parameters, {name});
    return keep.empty() ? keep : keep + " keeps it fixed";
  });
}

/// Writes everything but the log and the checkpoints, and tells the user.
int conclude(const TrainOptions& o, const RunFolder& folder, const Device& device, const ImageBatch& batch,
             const Parameters& parameters, const Outcome& outcome, const HeldOut* held_out, int resumed_from,
             bool saved, std::ostream& out, std::ostream& err) {
  folder.require_present();
  const UpperReport& report = outcome.report;
  const bool reconstructed = !outcome.reconstructions.empty();
  Results results{report,      measure_quality(batch, outcome.reconstructions), reconstructed, {}, 0,
                  resumed_from};
  if (held_out != nullptr && held_out->last()) {
    results.test = held_out->last();
    results.test_images = held_out->batch().images;
  }
  if (report.status != UpperStatus::failed)
    write_model(folder / "model.json", learned_model(o, parameters, batch, report.theta));
  const auto summary = write_summary(folder, o, device, batch, parameters, results);
  write_convergence_plot(folder);
  if (reconstructed) write_samples(folder, batch, outcome.reconstructions);
  if (const auto foe = experts_part(o.model.regularisers()))
    write_filters(folder, ranked_filters(parameters, report.theta, foe->options.zero_mean, foe->prefix));

  const int code = exit_code(report.status, o.method.fixed_accuracy());
  return tell_end("bilevel-denoise", code, report.message, summary,
                  summary_text(o, parameters, results, folder), o.common, saved, out, err);
}

}  // namespace

int train(const TrainOptions& o, std::ostream& out, std::ostream& err) {
  const Device device = open_device(o.common, "bilevel-denoise", err);
  RunFolder folder(o.run.out, o.run.resume, "bilevel-denoise train");
  const ImageBatch batch = load_crops(o.data);
  const Parameters parameters = o.model.parameters(o.data.seed);
  const auto note = [&](const std::string& text) {
    if (!o.common.quiet) err << "bilevel-denoise: " << sentence(text) << '\n';
  };
  for (const std::string& text : batch.notes) note(text);
  std::optional<HeldOut> held_out;
  if (!o.test_data.empty()) {
    held_out.emplace(o, device, parameters, err);
    for (const std::string& text : held_out->batch().notes)
      if (std::count(batch.notes.begin(), batch.notes.end(), text) == 0) note(text);
  }

  const std::vector<NamedOption> identity = identity_of(o, batch);
  const auto saved = checkpoint_to_resume(folder, o.run.resume, identity, note);
  const UpperState* state = saved ? &saved->state : nullptr;

  Context context(device);
  JsonlLog::TestPsnr test_psnr;
  if (held_out) test_psnr = [&](const IterationRecord& r, bool end) { return held_out->psnr(r, end); };
  RunObservers observers(folder, parameters, identity, state, o.common, o.upper, err, test_psnr);
  Outcome outcome = o.common.precision == "float"
                        ? learn<float>(o, parameters, batch, context, observers.all(), state)
                        : learn<double>(o, parameters, batch, context, observers.all(), state);
  folder.keep();
  outcome.report.message = message_of(o, parameters, outcome.report);
  for (const std::string& text : bounds_of(parameters, outcome.report)) note(text);
  return conclude(o, folder, device, batch, parameters, outcome, held_out ? &*held_out : nullptr,
                  state ? state->iteration : -1, observers.saved(), out, err);
}

}  // namespace bilevel_app::denoise
