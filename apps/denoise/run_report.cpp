#include "apps/denoise/run_report.hpp"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "apps/common/blur_option.hpp"
#include "apps/common/run_output.hpp"
#include "apps/common/text.hpp"
#include "bilevel/core/atomic_file.hpp"
#include "bilevel/io/quality.hpp"

namespace bilevel_app::denoise {

using namespace bilevel;
using Json = nlohmann::ordered_json;

namespace {

/// Pictures that a run can make again are not forced to the disk.
constexpr ImageWriteOptions sample{.forced = false};

}  // namespace

Quality measure_quality(const ImageBatch& batch, const std::vector<double>& reconstructions) {
  Quality q;
  std::vector<double> before, after;
  for (int k = 0; k < batch.images; ++k) {
    const auto clean = batch.clean_image(k), noisy = batch.noisy_image(k);
    before.push_back(psnr(noisy, clean));
    q.ssim_noisy += mean_ssim(noisy, clean, batch.size, batch.size) / batch.images;
    if (reconstructions.empty()) continue;
    const auto result = batch.image_of(reconstructions, k);
    after.push_back(psnr(result, clean));
    q.ssim += mean_ssim(result, clean, batch.size, batch.size) / batch.images;
  }
  q.psnr_noisy = mean_psnr(before).value;
  if (!after.empty()) q.psnr = mean_psnr(after).value;
  return q;
}

std::vector<NamedOption> deciding_options(const TrainOptions& o) {
  std::vector<NamedOption> list = o.model.deciding(o.data.seed);
  if (o.data.noisy.empty()) list.emplace_back("sigma", o.data.sigma);
  if (const auto& blur = o.data.blur)
    list.insert(list.end(), {{"blur", blur_name(o.data.blur_option)},
                             {"blur (fingerprint)", fingerprint_text(fingerprint(blur->values))}});
  list.insert(list.end(), {{"noisy given", !o.data.noisy.empty()},
                           {"mask given", !o.data.mask.empty()},
                           {"images", static_cast<std::int64_t>(o.data.images)},
                           {"crop", static_cast<std::int64_t>(o.data.crop)},
                           {"seed", seed_value(o.common.seed)},
                           {"precision", o.common.precision}});
  append_deciding(list, o.method);
  list.insert(list.end(), {{"scaling", o.scaling},
                           {"solver", o.solver},
                           {"linear-solver", o.linear_solver},
                           {"condition-penalty", o.condition_penalty}});
  append_deciding(list, o.upper.schedule, "nu");
  return list;
}

void write_samples(const RunFolder& folder, const ImageBatch& batch,
                   const std::vector<double>& reconstructions) {
  const std::filesystem::path images = images_folder(folder);
  for (int k = 0; k < std::min(batch.images, 4); ++k) {
    const std::string number = "_" + std::to_string(k) + ".png";
    const auto clean = batch.clean_image(k), noisy = batch.noisy_image(k),
               result = batch.image_of(reconstructions, k);
    const auto single = [&](const char* name, std::span<const double> pixels) {
      write_image(images / (name + number),
                  {batch.channels, batch.size, batch.size, {pixels.begin(), pixels.end()}}, sample);
    };
    single("clean", clean);
    single("noisy", noisy);
    single("reconstructed", result);
    write_image(images / ("strip" + number),
                strip({clean, noisy, result}, batch.size, batch.size, batch.channels), sample);
  }
}

void write_filters(const RunFolder& folder, const RankedFilters& filters) {
  write_image(images_folder(folder) / "filters.png", filters_image(filters), sample);
}

Json write_summary(const RunFolder& folder, const TrainOptions& o, const Device& device,
                   const ImageBatch& batch, const Parameters& parameters, const Results& results) {
  const UpperReport& report = results.report;
  const Quality& q = results.training;
  const IterationRecord& r = report.last;
  Json json{{"status", upper_status_name(report.status)},
            {"message", report.message},
            {"model", o.model.type},
            {"theta", values_json(parameters, report.theta, false)}};
  for (const Segment& s : parameters.segments())
    if (s.shape.size() == 3) json.update({{"filters", s.shape[0]}, {"filter_size", s.shape[1]}});
  if (o.log10) json["theta_log10"] = values_json(parameters, report.theta, true);
  json.update({{"loss", r.loss},
               {"loss_lower", r.loss_lower},
               {"loss_upper", r.loss_upper},
               {"gradient_norm", r.gradient_norm},
               {"error_bound", r.error_bound},
               {"tolerance", o.upper.schedule.tolerance}});
  json["training"] = {{"images", batch.images},
                      {"crop", batch.size},
                      {"psnr_noisy", q.psnr_noisy},
                      {"ssim_noisy", q.ssim_noisy}};
  if (batch.channels != 1) json["training"]["channels"] = batch.channels;
  if (results.reconstructed) json["training"].update({{"psnr", q.psnr}, {"ssim", q.ssim}});
  if (const auto& t = results.test)
    json["test"] = {{"images", results.test_images}, {"crop", batch.size}, {"psnr_noisy", t->psnr_noisy},
                    {"ssim_noisy", t->ssim_noisy},   {"psnr", t->psnr},    {"ssim", t->ssim}};
  json["iterations"] = r.iteration;
  json.update(work_json(r.work));
  json["seconds"] = r.seconds;
  json["resumed_from"] = results.resumed_from < 0 ? Json(nullptr) : Json(results.resumed_from);
  json.update(machine_json(device, o.common.precision));
  write_file_atomically(folder / "summary.json",
                        json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
  return json;
}

std::string summary_text(const TrainOptions& o, const Parameters& parameters, const Results& results,
                         const RunFolder& folder) {
  const UpperReport& report = results.report;
  const IterationRecord& r = report.last;
  std::size_t width = 6;
  for (const Segment& s : parameters.segments()) width = std::max(width, s.name.size());
  std::string text;
  const auto add = [&](const std::string& name, const std::string& what) {
    text += name + std::string(width - name.size() + 1, ' ') + what + "\n";
  };
  for (const Segment& s : parameters.segments())
    add(s.name, parameter_text(s, parameters.values(s.name, report.theta), o.log10));
  add("loss", format("%.6g, certainly between %.6g and %.6g", r.loss, r.loss_lower, r.loss_upper));
  const auto add_quality = [&add](const Quality& q, const char* which) {
    add("PSNR", decibel_text(q.psnr_noisy) + " noisy, " + decibel_text(q.psnr) + " reconstructed (" + which +
                    " images)");
    add("SSIM", format("%.4f noisy, %.4f reconstructed", q.ssim_noisy, q.ssim));
  };
  if (results.reconstructed) add_quality(results.training, "training");
  if (results.test) add_quality(*results.test, "test");
  add("work", format("%d iterations, %llu operator applications, %.1f s", r.iteration,
                     static_cast<unsigned long long>(r.work.total()), r.seconds));
  add("run", folder.path().string());
  return text;
}

}  // namespace bilevel_app::denoise
