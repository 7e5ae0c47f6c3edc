#include "apps/common/run_output.hpp"

#include <sys/resource.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "apps/common/exit_codes.hpp"
#include "apps/common/text.hpp"
#include "bilevel/core/atomic_file.hpp"
#include "bilevel/core/error.hpp"
#include "bilevel/core/version.hpp"
#include "bilevel/io/quality.hpp"
#include "bilevel/io/svg_plot.hpp"

namespace bilevel_app {

using namespace bilevel;
using Json = nlohmann::ordered_json;

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

struct Curves {
  std::vector<double> work;
  std::vector<std::vector<double>> values;  ///< one per name
};

Curves read_log(const std::filesystem::path& path, const std::vector<const char*>& names) {
  Curves curves{{}, std::vector<std::vector<double>>(names.size())};
  bool checks = false;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    const Json record = Json::parse(line, nullptr, false);
    if (!record.is_object()) continue;
    const auto told = record.find("status");
    const std::string status = told != record.end() && told->is_string() ? told->get<std::string>() : "";
    if (status == "minibatch" || status == "skipped") continue;  // not of the loss of all images
    if (status == "whole") checks = true;
    const auto number = [&record](const char* name) {
      const auto found = record.find(name);
      return found != record.end() && found->is_number() ? found->get<double>() : std::nan("");
    };
    curves.work.push_back(number("lower_gradients") + number("hessian_products") + number("other_operators"));
    for (std::size_t k = 0; k < names.size(); ++k) curves.values[k].push_back(number(names[k]));
  }
  // A record counts the work of its step, which leads to the theta of the next one; a check has no step.
  if (!curves.work.empty() && !checks) {
    curves.work.insert(curves.work.begin(), 0);
    curves.work.pop_back();
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

}  // namespace

std::uint64_t peak_memory() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<std::uint64_t>(usage.ru_maxrss) * 1024;
}

std::filesystem::path images_folder(const RunFolder& folder) {
  std::filesystem::path images = folder / "images";
  std::error_code error;
  std::filesystem::create_directories(images, error);
  if (error) throw IoError(images.string(), "cannot be made (" + error.message() + ").");
  return images;
}

HostImage strip(const std::vector<std::span<const double>>& parts, int height, int width, int channels) {
  constexpr int gap = 4;
  const int count = static_cast<int>(parts.size());
  HostImage image{channels, height, count * width + (count - 1) * gap, {}};
  image.pixels.assign(static_cast<std::size_t>(channels) * image.height * image.width, 1.0);
  for (int p = 0; p < count; ++p)
    for (int i = 0; i < channels * height; ++i)
      for (int j = 0; j < width; ++j)
        image.pixels[static_cast<std::size_t>(i) * image.width + p * (width + gap) + j] =
            parts[static_cast<std::size_t>(p)][static_cast<std::size_t>(i) * width + j];
  return image;
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
  write_file_atomically(folder / "convergence.svg", svg_plot(panels), false);
}

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

std::string with_options(const std::string& sentence, const std::string& options) {
  return sentence.substr(0, sentence.find_last_not_of('.') + 1) + " (" + options + ").";
}

std::vector<std::string> bound_notes(const Parameters& parameters, std::span<const double> theta,
                                     const std::function<std::string(const std::string&)>& keep) {
  constexpr double equal = 1e-9;  // what exp and log may lose
  std::vector<std::string> notes;
  for (const Segment& s : parameters.segments()) {
    if (!s.learned || !s.shape.empty()) continue;
    const double value = parameters.value(s.name, theta);
    const bool low = value <= s.lower * (1 + equal), high = value >= s.upper * (1 - equal);
    if (!low && !high) continue;
    const std::string kept = keep(s.name);
    notes.push_back(s.name +
                    format(" ended at its %s bound, %g", low ? "lower" : "upper", low ? s.lower : s.upper) +
                    (kept.empty() ? "" : "; " + kept));
  }
  return notes;
}

Json work_json(const Work& work) {
  return {{"lower_gradients", work.gradients},
          {"hessian_products", work.hessian_products},
          {"other_operators", work.other},
          {"operators", work.total()}};
}

Json machine_json(const Device& device, const std::string& precision) {
  return {{"device", device.name()},
          {"instruction_set", device.instruction_set()},
          {"threads", device.threads()},
          {"precision", precision},
          {"peak_memory_bytes", peak_memory()},
          {"library_version", BILEVEL_VERSION}};
}

int exit_code(UpperStatus status, bool fixed_accuracy) {
  switch (status) {
    case UpperStatus::stationary:
    case UpperStatus::converged:
    case UpperStatus::slow_progress:
    case UpperStatus::max_iterations:
    case UpperStatus::time_limit:
    case UpperStatus::budget:
      return exit_ok;
    case UpperStatus::accuracy_limit:
      return fixed_accuracy ? exit_ok : exit_numerical;
    case UpperStatus::line_search_failed:
    case UpperStatus::failed:
      return exit_numerical;
    case UpperStatus::interrupted:
      return exit_interrupted;
  }
  return exit_numerical;
}

int exit_code(SolveStatus status) {
  switch (status) {
    case SolveStatus::converged:
      return exit_ok;
    case SolveStatus::decided:
      return exit_interrupted;
    case SolveStatus::iteration_cap:
    case SolveStatus::rounding_limited:
    case SolveStatus::budget:
    case SolveStatus::failed:
      return exit_numerical;
  }
  return exit_numerical;
}

double mean_ssim(std::span<const double> a, std::span<const double> b, int height, int width) {
  const std::size_t plane = static_cast<std::size_t>(height) * width, channels = a.size() / plane;
  double sum = 0;
  for (std::size_t at = 0; at < a.size(); at += plane)
    sum += ssim(a.data() + at, b.data() + at, height, width);
  return sum / static_cast<double>(channels);
}

MeanPsnr mean_psnr(std::span<const double> values) {
  if (values.empty()) return {std::nan(""), 0};
  const auto exact = std::count(values.begin(), values.end(), infinity);
  const double others = static_cast<double>(std::ssize(values) - exact);
  MeanPsnr mean{others > 0 ? 0 : infinity, static_cast<int>(exact)};
  for (const double v : values)
    if (v != infinity) mean.value += v / others;
  return mean;
}

std::string psnr_text(double psnr) { return psnr == infinity ? "exact" : format("%.2f", psnr); }
std::string decibel_text(double psnr) { return psnr_text(psnr) + (psnr == infinity ? "" : " dB"); }
std::string gain_text(double before, double after) {
  return before == infinity || after == infinity ? "-" : format("%+.2f", after - before);
}

}  // namespace bilevel_app
