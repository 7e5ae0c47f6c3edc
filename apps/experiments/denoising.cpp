#include "apps/experiments/denoising.hpp"

#include <algorithm>
#include <cmath>

#include "apps/common/interrupt.hpp"
#include "apps/common/run_output.hpp"
#include "apps/common/text.hpp"
#include "bilevel/core/error.hpp"
#include "bilevel/io/quality.hpp"
#include "bilevel/model/catalogue.hpp"
#include "bilevel/model/unknown.hpp"

namespace bilevel_app::experiments {

using namespace bilevel;

namespace {

bool newton(const RegulariserSum& sum) {
  return std::all_of(sum.parts.begin(), sum.parts.end(),
                     [](const auto& part) { return catalogue_entry(part).newton; });
}

std::vector<std::string> texts(std::span<const std::filesystem::path> files) {
  std::vector<std::string> out;
  for (const auto& file : files) out.push_back(file.string());
  return out;
}

}  // namespace

Denoising::Denoising(const Device& device, const ImageBatch& batch, const RegulariserSum& sum,
                     const Parameters& parameters)
    : context(device),
      regularisers(sum),
      layout(parameters),
      truth(context, batch.shape(), batch.clean),
      data(context, batch.shape(), batch.noisy) {
  auto energy = make_energy<double>(context, std::as_const(data).view(), layout, regularisers);
  start = start_from<double>(context, std::as_const(data).view(), energy->shape());
  problem = std::make_unique<BilevelProblem<double>>(std::move(energy), std::as_const(truth).view(), layout);
}

UpperOptions usual_options(const RegulariserSum& sum) {
  UpperOptions options;
  options.schedule.tolerance = 1e-3;
  if (newton(sum)) return options;
  options.scaling = StepScaling::lbfgs;
  options.minimiser = "lbfgs";
  options.linear_solver = "cg";
  options.max_iterations = 500;
  return options;
}

Learned learned(const std::string& name, Denoising& p, UpperOptimiser<double>& optimiser) {
  MeasuredRun run = measured(name, p.context, *p.problem, optimiser, p.layout.initial(), p.first());
  if (run.report.status == UpperStatus::failed) throw Error(name + ": " + run.report.message);
  DenoiseModel model{p.regularisers, p.layout.at(run.report.theta)};
  const Tensor<double> x = first_channels<double>(p.context, optimiser.reconstructions(), p.truth.shape().c);
  return {std::move(model), std::move(run), download(p.context, x)};
}

Learned learned_by_maid(const std::string& name, Denoising& p) {
  return learned(name, p, *make_maid<double>(usual_options(p.regularisers)));
}

std::vector<double> denoised(const Device& device, const DenoiseModel& model, const ImageBatch& batch) {
  Context context(device);
  const Tensor<double> data(context, batch.shape(), batch.noisy);
  const auto energy = make_energy<double>(context, data.view(), model);
  Tensor<double> x = start_from<double>(context, data.view(), energy->shape());
  SolveRequest<double> request;
  request.tolerance = 1e-4 * std::sqrt(static_cast<double>(batch.shape().image()));
  request.decided = [](Context&, View<const double>, std::span<const double>) { return interrupted(); };
  const SolveReport report = make_minimiser<double>(newton(model.options) ? "newton" : "lbfgs")
                                 ->minimise(context, *energy, request, x.view());
  if (interrupted()) throw Interrupted();
  if (report.status != SolveStatus::converged)
    throw Error(model_type(model.options) + ": the reconstruction ended early: " + report.message);
  return download(context, first_channels<double>(context, std::as_const(x).view(), batch.channels));
}

Quality quality_of(const ImageBatch& batch, std::span<const double> x) {
  const std::size_t each = batch.shape().image();
  Quality mean;
  for (int k = 0; k < batch.images; ++k) {
    const auto image = x.subspan(static_cast<std::size_t>(k) * each, each);
    mean.psnr += psnr(image, batch.clean_image(k)) / batch.images;
    mean.ssim += mean_ssim(image, batch.clean_image(k), batch.size, batch.size) / batch.images;
  }
  return mean;
}

Photographs load_photographs(const Settings& s, const PhotographOptions& o) {
  const std::vector<std::filesystem::path> files = list_all(s.data);
  if (files.size() < 2)
    throw ConfigError("--data names one photograph; two are needed, one to learn from and another to test.");
  const std::span all(files);
  const std::size_t train = std::min<std::size_t>(static_cast<std::size_t>(o.train), files.size() / 2);
  const std::size_t test = std::min<std::size_t>(static_cast<std::size_t>(o.test), files.size() - train);
  const auto load = [&](std::span<const std::filesystem::path> part, int images, int crop,
                        std::uint64_t seed) {
    DataOptions options;
    options.data = texts(part);
    options.images = images;
    options.crop = crop;
    options.sigma = o.sigma;
    options.seed = seed;
    return load_crops(options);
  };
  return {load(all.first(train), static_cast<int>(train), o.train_crop, s.seed),
          load(all.last(test), static_cast<int>(test), o.test_crop, s.seed + 1)};
}

std::string data_note(const std::string& what, const ImageBatch& batch) {
  std::string names;
  for (const std::string& name : batch.names) names += (names.empty() ? "" : ", ") + name;
  return format("%s: crops of %d x %d of %s.", what.c_str(), batch.size, batch.size, names.c_str());
}

std::string numbers_text(const DenoiseModel& model) {
  std::string text;
  for (const Segment& segment : model.parameters)
    if (segment.shape.empty())
      text += format("%s%s %.4g%s", text.empty() ? "" : ", ", segment.name.c_str(), segment.initial,
                     segment.learned ? "" : " (fixed)");
  return text;
}

}  // namespace bilevel_app::experiments
