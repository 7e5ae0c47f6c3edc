#include "apps/mri/training_run.hpp"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <ostream>

#include "apps/common/exit_codes.hpp"
#include "apps/common/interrupt.hpp"
#include "apps/common/reference_option.hpp"
#include "apps/common/run_output.hpp"
#include "apps/common/text.hpp"
#include "apps/mri/run_files.hpp"
#include "bilevel/core/atomic_file.hpp"
#include "bilevel/core/error.hpp"

namespace bilevel_app::mri {

using namespace bilevel;
using Json = nlohmann::ordered_json;

namespace {

constexpr int weight_iterations = 50;
constexpr double weight_tolerance = 1e-3;  // of d loss / d log alpha

std::optional<MriData> load_test(const TrainingOptions& o) {
  if (o.test_data.empty()) return {};
  DataOptions test = o.data;
  test.data = o.test_data;
  test.slices = o.test_slices;
  if (!o.test_slices.empty()) test.slices_option = "--test-slices";
  test.seed = o.data.seed + 1;
  return load_data(test);
}

std::vector<NamedOption> identity_of(const TrainingOptions& o, const std::string& command,
                                     std::vector<NamedOption> list, const MriData& data,
                                     const HostImage& reference, const RegulariserSum& regulariser) {
  const std::vector<std::string> names = weight_names(regulariser, "weight");
  list.insert(list.begin(), {"command", command});
  list.insert(list.end(), {{"image", o.data.image},
                           {"sigma", data.sigma},
                           {"seed", seed_value(o.common.seed)},
                           {"precision", o.common.precision},
                           {"regulariser", o.model.regulariser},
                           {"potential", o.model.potential},
                           {names[0], o.model.weight_of(0)},
                           {"nu", o.model.smoothing()},
                           {"xi", o.model.xi}});
  append_deciding(list, o.algorithm.method);
  list.insert(list.end(), {{"solver", o.algorithm.solver}, {"linear-solver", o.algorithm.linear_solver}});
  for (std::size_t k = 1; k < names.size(); ++k) list.emplace_back(names[k], o.model.weight_of(k));
  append_deciding(list, regulariser);
  append_edge_eta(list, regulariser);
  if (!o.reference.empty())
    list.emplace_back("reference (fingerprint)", fingerprint_text(fingerprint(reference.pixels)));
  if (o.model.learned) list.emplace_back("experts", fingerprint_text(o.model.learned->fingerprint()));
  if (!o.data.crop_to.empty()) list.emplace_back("crop-to", o.data.crop_to);
  append_deciding(list, o.algorithm.upper.schedule, "nu-down");
  list.emplace_back("data (fingerprint)", fingerprint_text(data.fingerprint.pixels));
  return list;
}

/// That of the options, with the levels of wavelets that the images allow, and the reference.
RegulariserSum regulariser_of(const TrainingOptions& o, MriData& data, const HostImage& reference) {
  RegulariserSum sum = o.model.regularisers();
  fit_levels(o.model, sum, data.height, data.width, "--size or --crop-to", data.notes);
  return with_reference(std::move(sum), reference.pixels);
}

/// Reconstructions of one set before and after the pattern was made binary.
struct SetReport {
  std::optional<Quality> before;
  Quality zero_filled, after;
  Reconstruction reconstruction;

  Json json(const MriData& data) const {
    Json json{{"images", data.images}, {"height", data.height}, {"width", data.width}, {"coils", data.coils}};
    json["zero_filled"] = quality_json(zero_filled);
    if (before) json["relaxed"] = quality_json(*before);
    json["binary"] = quality_json(after);
    return json;
  }
};

void require_converged(const Reconstruction& r) {
  if (r.status == SolveStatus::failed) throw Error("the final reconstruction failed: " + r.message);
}

SetReport report_on(const Device& device, const MriData& data, const MriModel& model,
                    const std::optional<Relaxed>& relaxed, const Solver& solver) {
  SetReport report;
  if (relaxed) {
    const Reconstruction r = reconstruct(device, data, relaxed->pattern, relaxed->parameters, relaxed->theta,
                                         model.regulariser, solver);
    require_converged(r);
    report.before = mean_quality(data, r.x);
  }
  report.reconstruction = reconstruct(device, data, model, solver);
  require_converged(report.reconstruction);
  report.zero_filled = mean_quality(data, report.reconstruction.zero_filled);
  report.after = mean_quality(data, report.reconstruction.x);
  return report;
}

Json stage_json(const StageResult& r) {
  Json json{{"stage", r.name},
            {"status", upper_status_name(r.status)},
            {"message", r.message},
            {"iterations", r.iterations},
            {"loss", r.loss},
            {"loss_lower", r.loss_lower},
            {"loss_upper", r.loss_upper},
            {"gradient_norm", r.gradient_norm},
            {"error_bound", r.error_bound},
            {"lower_level_solves", r.work.solves},
            {"operators", r.work.total()},
            {"seconds", r.seconds}};
  return json;
}

std::string set_text(const char* which, const SetReport& s) {
  std::string text = format("%-9s PSNR ", which) + decibel_text(s.zero_filled.psnr) + " zero-filled";
  if (s.before) text += ", " + decibel_text(s.before->psnr) + " with the relaxed pattern";
  text += ", " + decibel_text(s.after.psnr) + " reconstructed\n" +
          format("          SSIM %.4f zero-filled", s.zero_filled.ssim);
  if (s.before) text += format(", %.4f with the relaxed pattern", s.before->ssim);
  text += format(", %.4f reconstructed\n", s.after.ssim);
  if (s.after.exact + s.zero_filled.exact > 0)
    text += format("          exact images, not in the means of the PSNR: %d zero-filled, %d reconstructed\n",
                   s.zero_filled.exact, s.after.exact);
  return text;
}

}  // namespace

bool stops_run(const StageResult& stage) {
  return stage.status == UpperStatus::failed || stage.status == UpperStatus::interrupted;
}

TrainingRun::TrainingRun(const TrainingOptions& options, const std::string& command,
                         std::vector<NamedOption> deciding, std::ostream& out, std::ostream& err)
    : options_(options),
      command_(command),
      out_(out),
      err_(err),
      device_(open_device(options.common, "bilevel-mri", err)),
      folder_(options.run.out, options.run.resume, "bilevel-mri " + command),
      data_(load_data(options.data)),
      test_(load_test(options)),
      reference_(load_reference(options.reference, data_)),
      regulariser_(regulariser_of(options, data_, reference_)),
      identity_(identity_of(options, command, std::move(deciding), data_, reference_, regulariser_)),
      stages_(folder_, options.common, options.run.resume, identity_, device_, data_, regulariser_, err) {
  if (const auto& experts = options.model.learned)
    require_large_enough(*experts, data_.height, data_.width, options.model.experts);
  for (const std::string& text : data_.notes) note(text);
  if (test_)
    for (const std::string& text : test_->notes)
      if (std::count(data_.notes.begin(), data_.notes.end(), text) == 0) note(text);
  if (test_ && (test_->height != data_.height || test_->width != data_.width || test_->coils != data_.coils))
    throw IoError(options.test_data.front(),
                  format("the held-out images have %d x %d pixels, those of --data %d x %d; use --size N.",
                         test_->width, test_->height, data_.width, data_.height));
}

Solver TrainingRun::solver() const {
  return {options_.common.precision, options_.algorithm.solver, options_.algorithm.accuracy};
}

void TrainingRun::note(const std::string& text) const {
  if (!options_.common.quiet) err_ << "bilevel-mri: " << sentence(text) << '\n' << std::flush;
}

MriModel TrainingRun::model(PatternKind kind, int spokes, std::vector<double> s) const {
  MriModel m;
  m.kind = kind;
  m.height = data_.height;
  m.width = data_.width;
  m.spokes = spokes;
  m.complex = data_.complex;
  m.take(options_.model);
  m.regulariser = regulariser_;
  m.s = std::move(s);
  m.training = identity_;
  m.training.emplace_back("size", static_cast<std::int64_t>(options_.data.size));  // 0: as they are
  m.data = data_.fingerprint;
  return m;
}

StageResult TrainingRun::tune_weight(const std::string& name, const std::string& task, MriModel& model) {
  Stage stage{name, task, model.pattern(), model.parameters(true), {}};
  stage.theta0 = stage.parameters.initial();
  stage.upper = options_.algorithm.upper;
  stage.upper.scaling = StepScaling::gauss_newton;
  stage.upper.schedule.tolerance = std::max(stage.upper.schedule.tolerance, weight_tolerance);
  stage.upper.max_iterations = weight_iterations;
  stage.upper.time_limit = 0;
  stage.upper.budget = 0;
  const StageResult result = stages_.run(stage);
  if (stops_run(result)) return result;
  model.take_weights(stage.parameters, result.theta);
  bound_notes_ = bound_notes(stage.parameters, result.theta, [this](const std::string&) {
    return std::string(command_ == "learn" ? "--no-learn-weight keeps it at --weight" : "");
  });
  return result;
}

Json TrainingRun::summary(const StageResult& main, const Work& more, double seconds) const {
  Work work = stages_.work();
  work += more;
  Json json{{"status", upper_status_name(main.status)}, {"message", main.message}, {"command", command_}};
  json["loss"] = main.loss;
  json["loss_lower"] = main.loss_lower;
  json["loss_upper"] = main.loss_upper;
  json["lower_level_solves"] = work.solves;
  json["iterations"] = stages_.iterations();
  json.update(work_json(work));
  json.erase("lower_solves");
  json["seconds"] = stages_.seconds() + seconds;
  json["stages"] = Json::array();
  for (const StageResult& r : stages_.results()) json["stages"].push_back(stage_json(r));
  json["resumed"] = stages_.resumed();
  json.update(machine_json(device_, options_.common.precision));
  return json;
}

int TrainingRun::finish(const Json& json, const std::string& text, const StageResult& main) {
  folder_.require_present();
  write_file_atomically(folder_ / "summary.json",
                        json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
  write_convergence_plot(folder_);
  folder_.keep();
  const int code = exit_code(main.status, options_.algorithm.method.fixed_accuracy());
  if (options_.common.json)
    out_ << json.dump(2, ' ', false, Json::error_handler_t::replace) << '\n';
  else if (!options_.common.quiet)
    out_ << (code == exit_numerical ? "" : sentence(main.message) + "\n") << text;
  if (code == exit_interrupted)
    err_ << "bilevel-mri: interrupted; "
         << (stages_.saved() ? "the last finished iteration is saved" : "no iteration was finished yet")
         << ", go on with the same command and --resume.\n";
  else if (code != exit_ok)
    err_ << "bilevel-mri: " << sentence(main.message) << '\n';
  return code;
}

int TrainingRun::conclude_early(const StageResult& stage) { return finish(summary(stage, {}, 0), "", stage); }

int TrainingRun::conclude(const MriModel& model, const std::optional<Relaxed>& relaxed,
                          const StageResult& main, const Json& extra, const Work& work, double seconds) {
  const SetReport training = report_on(device_, data_, model, relaxed, solver());
  std::optional<SetReport> test;
  if (test_) test = report_on(device_, *test_, model, relaxed, solver());
  if (interrupted()) {  // what was reconstructed is not what is to be reported
    StageResult cut = main;
    cut.status = UpperStatus::interrupted;
    cut.message = "The run was interrupted before the final reconstructions were done.";
    return conclude_early(cut);
  }
  const auto tell = [this](const SetReport& set) {
    if (set.reconstruction.status != SolveStatus::converged)
      note("the final reconstructions: " + set.reconstruction.message);
  };
  tell(training);
  if (test) tell(*test);
  for (const std::string& text : bound_notes_) note(text);
  Json json = summary(main, work, seconds);
  json["rate"] = model.rate();
  put_weights(json, model, "alpha");
  if (!options_.model.quadratic()) json["nu"] = model.nu;
  json["xi"] = model.xi;
  if (is_generalised(model.regulariser)) json["xi_v"] = model.xi_v;
  json["regulariser"] = options_.model.regulariser;
  json["pattern"] = pattern_name(model.kind);
  json["mask_npy_zero_frequency"] = middle_text(model);
  json["sigma"] = data_.sigma;
  json.update(extra);
  json["training"] = training.json(data_);
  if (test) json["test"] = test->json(*test_);
  json["error_scale"] = error_scale;

  folder_.require_present();
  write_mri_model(folder_ / "model.json", model);
  std::vector<double> weights;
  if (relaxed) weights = relaxed->pattern.weights(relaxed->parameters.values("s", relaxed->theta));
  write_patterns(folder_, model, weights);
  write_strips(folder_, "strip", data_, training.reconstruction);
  if (test) write_strips(folder_, "test_strip", *test_, test->reconstruction);

  std::string text =
      format("samples   %.2f %% of k-space, ", 100 * model.rate()) + options_.model.regulariser;
  const std::vector<std::string> names = weight_names(model.regulariser);
  for (std::size_t k = 0; k < names.size(); ++k)
    text += ", " + names[k] + format(" %.6g", model.weights()[k]);
  text += "\n";
  text += set_text("training", training);
  if (test) text += set_text("test", *test);
  Work all = stages_.work();
  all += work;
  text += format("work      %llu lower-level solves, %llu operator applications, %.1f s\n",
                 static_cast<unsigned long long>(all.solves), static_cast<unsigned long long>(all.total()),
                 stages_.seconds() + seconds);
  text += "run       " + folder_.path().string() + "\n";
  return finish(json, text, main);
}

}  // namespace bilevel_app::mri
