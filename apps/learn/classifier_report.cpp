#include "apps/learn/classifier_report.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "apps/common/run_output.hpp"
#include "apps/common/text.hpp"
#include "apps/common/tile_image.hpp"
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

Json classifier_summary(Learn learn, const TrainingData& data, const Outcome& outcome,
                        const std::optional<SampleWeights>& sample_weights) {
  Json json{{"classes", data.classes.count()}, {"features", data.train.width}};
  if (outcome.training) json["training"] = verdict_json(*outcome.training);
  if (outcome.validation) json["validation"] = verdict_json(*outcome.validation);
  if (outcome.plain) {
    json["compared_with"] = verdict_json(*outcome.plain);
    json["compared_with"]["what"] = plain_fit_text(learn);
  }
  if (const auto& w = sample_weights) {
    json["sample_weights"] = {{"mean", w->mean}};
    if (has_both(data.corrupted))
      json["sample_weights"].update(
          {{"corrupted", std::count(data.corrupted.begin(), data.corrupted.end(), true)},
           {"mean_clean", w->mean_clean},
           {"mean_corrupted", w->mean_corrupted},
           {"area_under_curve", w->area_under_curve}});
  }
  return json;
}

Lines classifier_lines(Learn learn, const TrainingData& data, const Outcome& outcome,
                       const std::optional<SampleWeights>& sample_weights) {
  Lines lines;
  if (outcome.training) lines.emplace_back("training", verdict_text(*outcome.training));
  if (outcome.validation) lines.emplace_back("validation", verdict_text(*outcome.validation));
  if (outcome.plain)
    lines.emplace_back("compared with", verdict_text(*outcome.plain) + ": " + plain_fit_text(learn));
  if (const auto& w = sample_weights; w && has_both(data.corrupted))
    lines.emplace_back("sample weights",
                       format("mean %.4f of clean, %.4f of corrupted samples; area under the ROC curve %.4f",
                              w->mean_clean, w->mean_corrupted, w->area_under_curve));
  return lines;
}

}  // namespace bilevel_app::learn
