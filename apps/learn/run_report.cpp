#include "apps/learn/run_report.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "apps/common/run_output.hpp"
#include "apps/common/text.hpp"
#include "apps/common/tile_image.hpp"
#include "bilevel/core/atomic_file.hpp"
#include "bilevel/io/image_file.hpp"

namespace bilevel_app::learn {

using namespace bilevel;
using Json = nlohmann::ordered_json;

namespace {

Json verdict_json(const Verdict& v) {
  return {{"samples", v.samples},
          {"errors", v.errors()},
          {"error_rate", v.error_rate()},
          {"cross_entropy", v.cross_entropy()}};
}

std::string verdict_text(const Verdict& v) {
  return format("%.2f %% errors, cross entropy %.4f (%d samples)", 100 * v.error_rate(), v.cross_entropy(),
                v.samples);
}

/// Whether some labels were changed and some were not.
bool has_both(const std::vector<bool>& corrupted) {
  const auto count = std::count(corrupted.begin(), corrupted.end(), true);
  return count > 0 && count < std::ssize(corrupted);
}

std::optional<SampleWeights> learned_weights(const TrainOptions& o, const TrainingData& data,
                                             const Parameters& parameters, const UpperReport& report) {
  if (o.learn != Learn::samples) return {};
  return compare_weights(parameters.values("sample_weight", report.theta), data.corrupted);
}

}  // namespace

SampleWeights compare_weights(const std::vector<double>& weights, const std::vector<bool>& corrupted) {
  double clean = 0, other = 0;
  int number = 0;
  for (std::size_t j = 0; j < weights.size(); ++j) {
    const bool bad = !corrupted.empty() && corrupted[j];
    (bad ? other : clean) += weights[j];
    number += bad;
  }
  const auto all = static_cast<double>(weights.size());
  SampleWeights w{(clean + other) / all, clean / (all - number), other / number, 0};
  if (has_both(corrupted)) w.area_under_curve = area_under_curve(weights, corrupted);
  return w;
}

std::string plain_fit_text(Learn learn) {
  return learn == Learn::samples  ? "every sample weighing 1"
         : learn == Learn::ridges ? "the first ridges"
                                  : "the first ridge";
}

std::vector<NamedOption> deciding_options(const TrainOptions& o) {
  std::vector<NamedOption> list{{"learn", name_of(o.learn)}};
  const auto add_given = [&list](const char* name, const std::optional<int>& count) {
    if (count) list.emplace_back(name, static_cast<std::int64_t>(*count));
  };
  add_given("train", o.train);
  add_given("validation", o.validation);
  add_given("classes", o.classes);
  list.insert(list.end(), {{"bias", o.bias},
                           {"corrupt", o.corrupt},
                           {"init", o.first_value()},
                           {"seed", seed_value(o.common.seed)},
                           {"precision", o.common.precision}});
  if (o.learn == Learn::samples) list.emplace_back("ridge", o.fixed_ridge());
  append_deciding(list, o.method);
  list.insert(list.end(), {{"scaling", o.scaling}, {"solver", o.solver}, {"linear-solver", o.linear_solver}});
  append_deciding(list, o.upper.schedule, "nu");
  return list;
}

void write_pictures(const RunFolder& folder, const TrainingData& data, const std::vector<double>& weights) {
  const Features& f = data.train;
  if (!f.are_images()) return;
  std::vector<double> pixels;  // without the weight of the constant
  const std::ptrdiff_t area = static_cast<std::ptrdiff_t>(f.height_of_image) * f.width_of_image;
  for (auto row = weights.begin(); row != weights.end(); row += f.width)
    pixels.insert(pixels.end(), row, row + area);
  write_image(images_folder(folder) / "weights.png",
              tile_image(data.classes.scores(), f.height_of_image, f.width_of_image, pixels),
              {.forced = false});
}

Json write_summary(const RunFolder& folder, const TrainOptions& o, const Device& device,
                   const TrainingData& data, const Parameters& parameters, const Outcome& outcome) {
  const UpperReport& report = outcome.report;
  const IterationRecord& r = report.last;
  Json json{{"status", upper_status_name(report.status)},
            {"message", report.message},
            {"program", "bilevel-learn train"},
            {"learn", name_of(o.learn)},
            {"theta", values_json(parameters, report.theta, false)},
            {"loss", r.loss},
            {"loss_lower", r.loss_lower},
            {"loss_upper", r.loss_upper},
            {"gradient_norm", r.gradient_norm},
            {"error_bound", r.error_bound},
            {"tolerance", o.upper.schedule.tolerance},
            {"classes", data.classes.count()},
            {"features", data.train.width},
            {"epsilon", r.epsilon}};
  if (outcome.training) json["training"] = verdict_json(*outcome.training);
  if (outcome.validation) json["validation"] = verdict_json(*outcome.validation);
  if (outcome.plain) {
    json["compared_with"] = verdict_json(*outcome.plain);
    json["compared_with"]["what"] = plain_fit_text(o.learn);
  }
  if (const auto w = learned_weights(o, data, parameters, report)) {
    json["sample_weights"] = {{"mean", w->mean}};
    if (has_both(data.corrupted))
      json["sample_weights"].update(
          {{"corrupted", std::count(data.corrupted.begin(), data.corrupted.end(), true)},
           {"mean_clean", w->mean_clean},
           {"mean_corrupted", w->mean_corrupted},
           {"area_under_curve", w->area_under_curve}});
  }
  json["iterations"] = r.iteration;
  json.update(work_json(r.work));
  json["seconds"] = r.seconds;
  json["resumed_from"] = outcome.resumed_from < 0 ? Json(nullptr) : Json(outcome.resumed_from);
  json.update(machine_json(device, o.common.precision));
  write_file_atomically(folder / "summary.json",
                        json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
  return json;
}

std::string summary_text(const TrainingData& data, const TrainOptions& o, const Parameters& parameters,
                         const Outcome& outcome, const RunFolder& folder) {
  const UpperReport& report = outcome.report;
  const IterationRecord& r = report.last;
  std::string text;
  const auto add = [&text](const std::string& name, const std::string& what) {
    text += name + std::string(std::max<std::size_t>(name.size(), 14) - name.size() + 1, ' ') + what + "\n";
  };
  for (const Segment& s : parameters.segments())
    if (s.learned) add(s.name, parameter_text(s, parameters.values(s.name, report.theta), false));
  add("loss", format("%.6g, certainly between %.6g and %.6g", r.loss, r.loss_lower, r.loss_upper));
  if (outcome.training) add("training", verdict_text(*outcome.training));
  if (outcome.validation) add("validation", verdict_text(*outcome.validation));
  if (outcome.plain) add("compared with", verdict_text(*outcome.plain) + ": " + plain_fit_text(o.learn));
  if (const auto w = learned_weights(o, data, parameters, report); w && has_both(data.corrupted))
    add("sample weights",
        format("mean %.4f of clean, %.4f of corrupted samples; area under the ROC curve %.4f", w->mean_clean,
               w->mean_corrupted, w->area_under_curve));
  add("work", format("%d iterations, %llu operator applications, %.1f s", r.iteration,
                     static_cast<unsigned long long>(r.work.total()), r.seconds));
  add("run", folder.path().string());
  return text;
}

}  // namespace bilevel_app::learn
