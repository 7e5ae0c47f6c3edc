#include "apps/denoise/run_report.hpp"

#include <sys/resource.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "apps/common/text.hpp"
#include "bilevel/core/error.hpp"
#include "bilevel/core/version.hpp"
#include "bilevel/io/atomic_file.hpp"
#include "bilevel/io/quality.hpp"
#include "bilevel/io/svg_plot.hpp"

namespace bilevel_app::denoise {

using namespace bilevel;
using Json = nlohmann::ordered_json;

namespace {

std::span<const double> image_of(const std::vector<double>& images, const ImageBatch& batch, int k) {
  return std::span(images).subspan(static_cast<std::size_t>(k) * batch.pixels(), batch.pixels());
}

/// Images side by side with white gaps.
HostImage strip(const std::vector<std::span<const double>>& parts, int size) {
  constexpr int gap = 4;
  const int count = static_cast<int>(parts.size());
  HostImage image{1, size, count * size + (count - 1) * gap, {}};
  image.pixels.assign(static_cast<std::size_t>(image.height) * image.width, 1.0);
  for (int p = 0; p < count; ++p)
    for (int i = 0; i < size; ++i)
      for (int j = 0; j < size; ++j)
        image.pixels[static_cast<std::size_t>(i) * image.width + p * (size + gap) + j] =
            parts[static_cast<std::size_t>(p)][static_cast<std::size_t>(i) * size + j];
  return image;
}

struct Curves {
  std::vector<double> work;
  std::vector<std::vector<double>> values;  ///< one per name
};

Curves read_log(const std::filesystem::path& path, const std::vector<const char*>& names) {
  Curves curves{{}, std::vector<std::vector<double>>(names.size())};
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    const Json record = Json::parse(line, nullptr, false);
    if (!record.is_object()) continue;
    const auto number = [&record](const char* name) {
      const auto found = record.find(name);
      return found != record.end() && found->is_number() ? found->get<double>() : std::nan("");
    };
    curves.work.push_back(number("lower_gradients") + number("hessian_products") + number("other_operators"));
    for (std::size_t k = 0; k < names.size(); ++k) curves.values[k].push_back(number(names[k]));
  }
  return curves;
}

/// Extremes and median of an array.
struct Spread {
  double least, median, most;
};
Spread spread(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return {values.front(), values[values.size() / 2], values.back()};
}

/// Numbers as they are, arrays (all of them are in model.json) by their spread. With log10 only what is
/// positive by its nature.
Json values_json(const Parameters& parameters, const std::vector<double>& theta, bool log10) {
  Json json = Json::object();
  for (const Segment& s : parameters.segments()) {
    if (log10 && s.transform == Transform::identity) continue;
    std::vector<double> values = parameters.values(s.name, theta);
    if (log10)
      for (double& v : values) v = std::log10(v);
    if (s.shape.empty()) {
      json[s.name] = values[0];
      continue;
    }
    const Spread range = spread(values);
    json[s.name] = {{"least", range.least}, {"median", range.median}, {"most", range.most}};
  }
  return json;
}

/// A parameter for people: filters by their norms, other arrays by their spread.
std::string parameter_text(const Segment& s, const std::vector<double>& values, bool log10) {
  std::string text;
  if (s.shape.empty()) {
    text = format("%.6g", values[0]);
    if (log10) text += format("  (log10 %.6f)", std::log10(values[0]));
  } else if (s.shape.size() == 3) {
    const std::size_t area = static_cast<std::size_t>(s.shape[1]) * s.shape[2];
    std::vector<double> squares(static_cast<std::size_t>(s.shape[0]), 0.0);
    for (std::size_t k = 0; k < values.size(); ++k) squares[k / area] += values[k] * values[k];
    const Spread range = spread(squares);
    text = format("%d of %d x %d taps, norms %.3g to %.3g, median %.3g", s.shape[0], s.shape[1], s.shape[2],
                  std::sqrt(range.least), std::sqrt(range.most), std::sqrt(range.median));
  } else {
    const Spread range = spread(values);
    text = format("%zu numbers, %.3g to %.3g, median %.3g", values.size(), range.least, range.most,
                  range.median);
    if (log10) text += format("  (log10 %.4f to %.4f)", std::log10(range.least), std::log10(range.most));
  }
  return text + (s.learned ? "" : "  (fixed)");
}

std::filesystem::path images_folder(const RunFolder& folder) {
  std::filesystem::path images = folder / "images";
  std::error_code error;
  std::filesystem::create_directories(images, error);
  if (error) throw IoError(images.string(), "cannot be made (" + error.message() + ").");
  return images;
}

std::uint64_t peak_memory() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<std::uint64_t>(usage.ru_maxrss) * 1024;
}

}  // namespace

Quality measure_quality(const ImageBatch& batch, const std::vector<double>& reconstructions) {
  Quality q;
  for (int k = 0; k < batch.images; ++k) {
    const auto clean = batch.clean_image(k), noisy = batch.noisy_image(k);
    q.psnr_noisy += psnr(noisy, clean) / batch.images;
    q.ssim_noisy += ssim(noisy.data(), clean.data(), batch.size, batch.size) / batch.images;
    if (reconstructions.empty()) continue;
    const auto result = image_of(reconstructions, batch, k);
    q.psnr += psnr(result, clean) / batch.images;
    q.ssim += ssim(result.data(), clean.data(), batch.size, batch.size) / batch.images;
  }
  return q;
}

std::vector<NamedOption> deciding_options(const TrainOptions& o) {
  const ScheduleOptions& s = o.upper.schedule;
  std::vector<NamedOption> list = o.model.deciding(o.data.seed);
  if (o.data.noisy.empty()) list.emplace_back("sigma", o.data.sigma);
  list.insert(list.end(), {{"noisy given", !o.data.noisy.empty()},
                           {"mask given", !o.data.mask.empty()},
                           {"images", static_cast<std::int64_t>(o.data.images)},
                           {"crop", static_cast<std::int64_t>(o.data.crop)},
                           {"seed", o.common.seed},
                           {"precision", o.common.precision},
                           {"algorithm", o.algorithm},
                           {"scaling", o.scaling},
                           {"solver", o.solver},
                           {"linear-solver", o.linear_solver},
                           {"condition-penalty", o.condition_penalty},
                           {"tolerance", s.tolerance},
                           {"epsilon0", s.epsilon0},
                           {"delta0", s.delta0},
                           {"step0", s.step0},
                           {"rho", s.rho},
                           {"rho-up", s.rho_up},
                           {"nu", s.nu},
                           {"nu-up", s.nu_up},
                           {"eta", s.eta},
                           {"lambda", s.lambda},
                           {"max-backtracks", static_cast<std::int64_t>(s.max_backtracks)}});
  return list;
}

void write_samples(const RunFolder& folder, const ImageBatch& batch,
                   const std::vector<double>& reconstructions) {
  const std::filesystem::path images = images_folder(folder);
  for (int k = 0; k < std::min(batch.images, 4); ++k) {
    const std::string number = "_" + std::to_string(k) + ".png";
    const auto clean = batch.clean_image(k), noisy = batch.noisy_image(k),
               result = image_of(reconstructions, batch, k);
    const auto single = [&](const char* name, std::span<const double> pixels) {
      write_image(images / (name + number), {1, batch.size, batch.size, {pixels.begin(), pixels.end()}});
    };
    single("clean", clean);
    single("noisy", noisy);
    single("reconstructed", result);
    write_image(images / ("strip" + number), strip({clean, noisy, result}, batch.size));
  }
}

void write_filters(const RunFolder& folder, const RankedFilters& filters) {
  write_image(images_folder(folder) / "filters.png", filters_image(filters));
}

void write_convergence_plot(const RunFolder& folder) {
  const std::vector<const char*> names{"loss_lower", "loss",        "loss_upper",   "epsilon",
                                       "delta",      "error_bound", "gradient_norm"};
  const Curves c = read_log(folder / "log.jsonl", names);
  const auto series = [&c](const char* label, std::size_t k) { return Series{label, c.work, c.values[k]}; };
  std::vector<Panel> panels(2);
  for (Panel& panel : panels) panel.x.label = "operator applications";
  panels[0].title = "Loss and its certified enclosure";
  panels[0].y.label = "loss";
  panels[0].series = {series("upper end", 2), series("loss", 1), series("lower end", 0)};
  panels[1].title = "Gradient of the loss and accuracies";
  panels[1].y.logarithmic = true;
  panels[1].series = {series("|z|", 6), series("omega: bound on its error", 5),
                      series("epsilon: reconstructions", 3), series("delta: linear systems", 4)};
  write_file_atomically(folder / "convergence.svg", svg_plot(panels));
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
  if (results.reconstructed) json["training"].update({{"psnr", q.psnr}, {"ssim", q.ssim}});
  if (const auto& t = results.test)
    json["test"] = {{"images", results.test_images}, {"crop", batch.size}, {"psnr_noisy", t->psnr_noisy},
                    {"ssim_noisy", t->ssim_noisy},   {"psnr", t->psnr},    {"ssim", t->ssim}};
  json.update({{"iterations", r.iteration},
               {"lower_gradients", r.work.gradients},
               {"hessian_products", r.work.hessian_products},
               {"other_operators", r.work.other},
               {"operators", r.work.total()},
               {"seconds", r.seconds},
               {"resumed_from", results.resumed_from < 0 ? Json(nullptr) : Json(results.resumed_from)},
               {"device", device.name()},
               {"instruction_set", device.instruction_set()},
               {"threads", device.threads()},
               {"precision", o.common.precision},
               {"peak_memory_bytes", peak_memory()},
               {"library_version", BILEVEL_VERSION}});
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
    add("PSNR", format("%.2f dB noisy, %.2f dB reconstructed (%s images)", q.psnr_noisy, q.psnr, which));
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
