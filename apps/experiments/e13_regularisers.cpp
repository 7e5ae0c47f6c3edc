// E13: one regulariser after the other learned on the same crops of photographs and tested on others; and
// what each parameter of smoothed total variation does by itself.

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>

#include "apps/common/run_output.hpp"
#include "apps/common/text.hpp"
#include "apps/experiments/denoising.hpp"
#include "apps/experiments/registry.hpp"
#include "bilevel/io/quality.hpp"
#include "bilevel/model/catalogue.hpp"

namespace bilevel_app::experiments {

namespace {

using namespace bilevel;

constexpr const char* kModels[] = {"tikhonov", "h1", "wavelet", "tv2", "tv", "tgv2", "foe"};
constexpr int kShown = 2;  ///< test images in pictures

/// A regulariser learned on the training crops and used on the others.
struct Tested {
  Learned learned;
  std::vector<double> x;
  Quality quality;
};

Tested test(const Settings& s, const Photographs& photographs, const std::string& name) {
  s.tell(name);
  const RegulariserSum sum = regulariser_options(name);
  Denoising problem(s.device, photographs.train, sum, regulariser_parameters(sum.parts.front()));
  UpperOptions options = usual_options(sum);
  if (name == "foe") options.budget = s.quick ? 4000 : 60000;
  Tested out{learned(name, problem, *make_maid<double>(options)), {}, {}};
  out.x = denoised(s.device, out.learned.model, photographs.test);
  out.quality = quality_of(photographs.test, out.x);
  return out;
}

using Models = std::map<std::string, Tested>;

void add_models(const Models& models, const ImageBatch& batch, std::vector<Row>& rows) {
  const Quality noisy = quality_of(batch, batch.noisy);
  rows.push_back(reported({"noisy: PSNR of the test crops, dB", {}, noisy.psnr}));
  rows.push_back(reported({"noisy: their SSIM", {}, noisy.ssim}));
  for (const char* name : kModels) {
    const Tested& model = models.at(name);
    rows.push_back(reported({std::string(name) + ": PSNR of the test crops, dB", {}, model.quality.psnr}));
    rows.push_back(reported({std::string(name) + ": their SSIM", {}, model.quality.ssim}));
    rows.push_back(reported({std::string(name) + ": operator applications of learning",
                             {},
                             static_cast<double>(model.learned.run.report.last.work.total())}));
  }
}

void add_order(const Models& models, std::vector<Row>& rows) {
  const auto psnr = [&models](const char* name) { return models.at(name).quality.psnr; };
  rows.push_back(at_least({"tgv2 over tv, dB", {}, psnr("tgv2") - psnr("tv")}, -0.05));
  rows.push_back(at_least({"tv over h1, dB", {}, psnr("tv") - psnr("h1")}, 0.5));
  double next = std::numeric_limits<double>::infinity();
  for (const char* name : kModels)
    if (name != std::string("tikhonov")) next = std::min(next, psnr(name));
  rows.push_back(
      below({"tikhonov, the next worst being 0, dB", {}, psnr("tikhonov") - next}, 0, "the worst"));
}

Picture models_picture(const Models& models, const ImageBatch& batch, int number) {
  const auto k = static_cast<int>(number - 1);
  std::vector<std::span<const double>> parts{batch.clean_image(k), batch.noisy_image(k)};
  std::string caption = format("%s, from the left: the truth, noisy (%.2f dB)", batch.names[k].c_str(),
                               psnr(batch.noisy_image(k), batch.clean_image(k)));
  for (const char* name : kModels) {
    parts.push_back(batch.image_of(models.at(name).x, k));
    caption += format(", %s (%.2f)", name, psnr(parts.back(), batch.clean_image(k)));
  }
  return {format("models-%d", number), caption + ".", strip(parts, batch.size, batch.size)};
}

// --- One parameter at a time, the others at (alpha, nu, xi) = (1, 1e-3, 1e-3).

constexpr double kSwept[] = {1e-3, 1e-2, 1e-1, 1, 10};

struct Numbers {
  double alpha = 1, nu = 1e-3, xi = 1e-3;
};

DenoiseModel smoothed_tv(const Numbers& n, bool xi_inside_alpha = false) {
  TvOptions options;
  options.xi_inside_alpha = xi_inside_alpha;
  return {options,
          {{"alpha", Transform::exp, n.alpha, 1e-12, 1e9, false},
           {"nu", Transform::exp, n.nu, 1e-12, 1e9, false},
           {"xi", Transform::exp, n.xi, 1e-12, 1e9, false}}};
}
DenoiseModel h1(double alpha, double xi) {
  return {TvOptions{TvPotential::quadratic},
          {{"alpha", Transform::exp, alpha, 1e-12, 1e9, false}, {"xi", Transform::exp, xi, 0, 1e9, false}}};
}

/// The first test crop alone.
ImageBatch first_of(const ImageBatch& batch) {
  ImageBatch one;
  one.images = 1;
  one.size = batch.size;
  one.clean.assign(batch.clean_image(0).begin(), batch.clean_image(0).end());
  one.noisy.assign(batch.noisy_image(0).begin(), batch.noisy_image(0).end());
  one.names = {batch.names.front()};
  return one;
}

double relative_distance(std::span<const double> a, std::span<const double> b) {
  double difference = 0, norm = 0;
  for (std::size_t k = 0; k < a.size(); ++k) {
    difference += (a[k] - b[k]) * (a[k] - b[k]);
    norm += b[k] * b[k];
  }
  return std::sqrt(difference / norm);
}
double sum_of(std::span<const double> a) { return std::accumulate(a.begin(), a.end(), 0.0); }

/// Reconstructions of the first test crop for every value of one parameter: a picture and a curve.
void sweep(const Settings& s, const ImageBatch& one, const std::string& name, double Numbers::*which,
           Panel& panel, std::vector<Picture>& pictures) {
  s.tell("sweep of " + name);
  std::vector<std::vector<double>> x;
  Series series{name, {}, {}};
  std::string caption =
      "Smoothed total variation at (alpha, nu, xi) = (1, 0.001, 0.001) but for " + name + " =";
  for (const double value : kSwept) {
    Numbers numbers;
    numbers.*which = value;
    x.push_back(denoised(s.device, smoothed_tv(numbers), one));
    series.x.push_back(value);
    series.y.push_back(psnr(x.back(), one.clean));
    caption += format("%s %g", series.x.size() > 1 ? "," : "", value);
  }
  const std::vector<std::span<const double>> parts(x.begin(), x.end());
  pictures.push_back({"sweep-" + name, caption + ".", strip(parts, one.size, one.size)});
  panel.series.push_back(std::move(series));
}

/// What the ends of the sweeps must be.
void add_limits(const Settings& s, const ImageBatch& one, std::vector<Row>& rows) {
  rows.push_back(
      at_most({"alpha = 0.001: relative distance to the data",
               {},
               relative_distance(denoised(s.device, smoothed_tv({1e-3, 1e-3, 1e-3}), one), one.noisy)},
              1e-2));
  rows.push_back(at_most({"nu = 10: relative distance to h1 with alpha / nu",
                          {},
                          relative_distance(denoised(s.device, smoothed_tv({1, 10, 1e-3}), one),
                                            denoised(s.device, h1(1.0 / 10, 1e-3), one))},
                         1e-2));
  const auto shrunk = [&](const Numbers& numbers, bool inside) {
    return sum_of(denoised(s.device, smoothed_tv(numbers, inside), one)) / sum_of(one.noisy);
  };
  const Numbers large{0.1, 1e-3, 1};
  rows.push_back(
      relative_to({"xi = 1 beside alpha = 0.1: mean over that of the data", {}, shrunk(large, false)}, 0.5,
                  1e-3, "1 / (1 + xi)"));
  rows.push_back(
      relative_to({"xi = 1 inside alpha = 0.1: mean over that of the data", {}, shrunk(large, true)}, 1 / 1.1,
                  1e-3, "1 / (1 + alpha xi)"));
}

Result run(const Settings& s) {
  PhotographOptions options;
  if (s.quick) options = {2, 48, 4, 48};
  const Photographs photographs = load_photographs(s, options);
  Models models;
  for (const char* name : kModels) models.emplace(name, test(s, photographs, name));
  Result result;
  add_models(models, photographs.test, result.rows);
  add_order(models, result.rows);
  for (int k = 1; k <= std::min(kShown, photographs.test.images); ++k)
    result.pictures.push_back(models_picture(models, photographs.test, k));
  const ImageBatch one = first_of(photographs.test);
  Panel sweeps{one.names.front() + ": one parameter of smoothed total variation at a time",
               {"value", true},
               {"PSNR, dB", false},
               {}};
  sweep(s, one, "alpha", &Numbers::alpha, sweeps, result.pictures);
  sweep(s, one, "nu", &Numbers::nu, sweeps, result.pictures);
  sweep(s, one, "xi", &Numbers::xi, sweeps, result.pictures);
  add_limits(s, one, result.rows);
  result.curves = {std::move(sweeps)};
  result.notes = {
      data_note("Learned from", photographs.train), data_note("Tested on", photographs.test),
      format("Noise 0.1, seeds %llu and %llu. No number is published.",
             static_cast<unsigned long long>(s.seed), static_cast<unsigned long long>(s.seed) + 1)};
  for (const char* name : kModels) {
    const Learned& learned = models.at(name).learned;
    const std::string numbers = numbers_text(learned.model);
    result.notes.push_back(std::string(name) + ": learned " + numbers + ". " + ending(learned.run));
  }
  for (const ImageBatch* batch : {&photographs.train, &photographs.test})
    result.notes.insert(result.notes.end(), batch->notes.begin(), batch->notes.end());
  return result;
}

}  // namespace

Experiment regularisers() {
  return {
      "E13",
      "Regularisers side by side",
      "Generalised variation is as good as total variation on photographs or better, total variation better "
      "than squares of differences, and squares of intensities are the worst.",
      "Ehrhardt, talks",
      true,
      DataKind::photographs,
      run};
}

}  // namespace bilevel_app::experiments
