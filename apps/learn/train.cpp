#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <ostream>

#include "apps/common/exit_codes.hpp"
#include "apps/common/run_output.hpp"
#include "apps/common/run_session.hpp"
#include "apps/learn/run_report.hpp"

namespace bilevel_app::learn {

using namespace bilevel;

namespace {

constexpr const char* program = "bilevel-learn";

/// theta of the classifier that the learned one is compared with: its start, or all samples weighing 1.
std::vector<double> plain_theta(const TrainOptions& o, const Parameters& parameters) {
  if (o.learn != Learn::samples) return parameters.initial();
  constexpr double one = 40;  // sigma(40) is 1 in double
  return std::vector<double>(parameters.size(), one);
}

bool over(const UpperReport& report) {
  return report.status != UpperStatus::failed && report.status != UpperStatus::interrupted;
}

template <class T>
Outcome optimise(const TrainOptions& o, const Parameters& parameters, TrainingData& data, Context& context,
                 Observer& observer, const UpperState* state) {
  const Classifier<T> classifier(context, o, parameters, data);
  const auto optimiser = make_optimiser<T>(o.method, o.upper);
  const Tensor<T> start = classifier.zero();
  Outcome outcome;
  outcome.report =
      optimiser->run(context, classifier.problem(), parameters.initial(), start.view(), observer, state);
  outcome.resumed_from = state ? state->iteration : -1;
  const View<const T> w = optimiser->reconstructions();
  if (!w) return outcome;
  const std::vector<T> weights = download<T>(context, w);
  if (!std::all_of(weights.begin(), weights.end(), [](T v) { return std::isfinite(v); })) return outcome;
  outcome.weights.assign(weights.begin(), weights.end());
  outcome.training = classifier.on_training(w);
  outcome.validation = classifier.on_validation(w);
  if (over(outcome.report)) {
    const Tensor<T> plain = classifier.fit(plain_theta(o, parameters), o.solver);
    outcome.plain = classifier.on_validation(plain.view());
  }
  return outcome;
}

ClassifierModel learned_model(const TrainOptions& o, const Parameters& parameters, const TrainingData& data,
                              const Outcome& outcome) {
  ClassifierModel m;
  m.learn = name_of(o.learn);
  m.energy = energy_text(o.learn);
  m.classes = data.classes;
  m.width = data.train.width;
  m.height_of_image = data.train.height_of_image;
  m.width_of_image = data.train.width_of_image;
  m.bias = o.bias;
  m.weights = outcome.weights;
  m.parameters = parameters.at(outcome.report.theta);
  m.training = deciding_options(o);
  m.files = data.files;
  m.samples = data.train.count;
  m.validation_samples = data.validation.count;
  m.fingerprint = data.fingerprint;
  return m;
}

std::vector<NamedOption> identity_of(const TrainOptions& o, const TrainingData& data) {
  std::vector<NamedOption> identity = deciding_options(o);
  identity.emplace_back("program", "bilevel-learn train");
  identity.emplace_back("features (fingerprint)", fingerprint_text(data.fingerprint));
  return identity;
}

std::string message_of(const TrainOptions& o, const UpperReport& report) {
  if (report.status != UpperStatus::accuracy_limit || o.method.fixed_accuracy()) return report.message;
  return with_options(report.message,
                      limit_options(o.method, o.common.precision == "float" ? "--precision double"
                                              : o.learn == Learn::samples ? "a larger --ridge or --tolerance"
                                                                          : "a larger --tolerance"));
}

}  // namespace

int train(const TrainOptions& o, std::ostream& out, std::ostream& err) {
  const Device device = open_device(o.common, program, err);
  RunFolder folder(o.run.out, o.run.resume, "bilevel-learn train");
  TrainingData data = load_training_data(o);
  const Parameters parameters = parameters_of(o, data);
  const auto note = [&](const std::string& text) {
    if (!o.common.quiet) err << program << ": " << sentence(text) << '\n';
  };
  const std::vector<NamedOption> identity = identity_of(o, data);
  const auto saved = checkpoint_to_resume(folder, o.run.resume, identity, note);
  const UpperState* state = saved ? &saved->state : nullptr;

  Context context(device);
  RunObservers observers(folder, parameters, identity, state, o.common, o.upper, err);
  Outcome outcome = o.common.precision == "float"
                        ? optimise<float>(o, parameters, data, context, observers.all(), state)
                        : optimise<double>(o, parameters, data, context, observers.all(), state);
  folder.keep();
  folder.require_present();
  outcome.report.message = message_of(o, outcome.report);
  if (over(outcome.report))
    for (const std::string& text :
         bound_notes(parameters, outcome.report.theta, [](const std::string&) { return std::string(); }))
      note(text);

  if (outcome.report.status != UpperStatus::failed && !outcome.weights.empty()) {
    write_classifier(folder / "model.json", learned_model(o, parameters, data, outcome));
    write_pictures(folder, data, outcome.weights);
  }
  const auto summary = write_summary(folder, o, device, data, parameters, outcome);
  write_convergence_plot(folder);
  return tell_end(program, exit_code(outcome.report.status, o.method.fixed_accuracy()),
                  outcome.report.message, summary, summary_text(data, o, parameters, outcome, folder),
                  o.common, observers.saved(), out, err);
}

}  // namespace bilevel_app::learn
