// E9: weight, ridge and smoothing of total variation learned on photographs: without gradients, with dynamic
// accuracies and with a fixed number of iterations, and by MAID; then the learned numbers for less and less
// noise.

#include <algorithm>
#include <cmath>
#include <limits>

#include "apps/common/run_output.hpp"
#include "apps/common/text.hpp"
#include "apps/experiments/denoising.hpp"
#include "apps/experiments/registry.hpp"
#include "bilevel/learn/dfo.hpp"

namespace bilevel_app::experiments {

namespace {

using namespace bilevel;

constexpr int kFixedIterations = 2000;  ///< of FISTA

constexpr double kLeast = 1e-7;  ///< of each parameter

/// theta = (log10 alpha, log10 xi, log10 nu) in [-7,7] x [-7,0] x [-7,0].
Parameters layout_of(double alpha, double xi, double nu) {
  return Parameters({{"alpha", Transform::log10, alpha, kLeast, 1e7, true},
                     {"xi", Transform::log10, xi, kLeast, 1, true},
                     {"nu", Transform::log10, nu, kLeast, 1, true}});
}

ImageBatch crops(const Settings& s, int most, int crop, double sigma) {
  DataOptions options;
  options.data = s.data;
  options.images =
      std::min(static_cast<int>(list_sources(s.data, static_cast<std::size_t>(most)).size()), most);
  options.crop = crop;
  options.sigma = sigma;
  options.seed = s.seed;
  return load_crops(options);
}

// --- The methods at noise 0.1 from (0, -1, -1).

UpperOptions options_with(const char* minimiser, const char* linear_solver) {
  UpperOptions options;
  options.minimiser = minimiser;
  options.linear_solver = linear_solver;
  options.schedule.tolerance = 1e-3;
  options.max_iterations = 100000;
  options.max_lower_iterations = 1000000;
  return options;
}

std::unique_ptr<UpperOptimiser<double>> dfo(bool dynamic, int evaluations) {
  UpperOptions options = options_with("fista", "cg");
  DfoOptions how;
  how.dynamic = dynamic;
  how.max_evaluations = evaluations;
  if (!dynamic) {
    options.schedule.epsilon0 = 1e-10;
    options.max_lower_iterations = kFixedIterations;
  }
  return make_dfo<double>(how, options);
}

/// Lower-level solves, of fixed accuracies one for each evaluation, until the loss is at most `target`.
double solves_to(const MeasuredRun& run, const Gap& loss, double target) {
  double solves = 0;
  for (const IterationRecord& r : run.records) {
    if (loss(r.theta) <= target) return solves;
    solves = static_cast<double>(r.work.solves);
  }
  return std::numeric_limits<double>::infinity();
}

/// Runs from the same start, dfo dynamic and fixed, MAID with FISTA and with Newton below.
std::vector<Learned> run_methods(const Settings& s, Denoising& problem, int evaluations) {
  std::vector<Learned> runs;
  const auto go = [&](const char* name, UpperOptimiser<double>& optimiser) {
    s.tell(name);
    runs.push_back(learned(name, problem, optimiser));
  };
  go("dfo, dynamic", *dfo(true, evaluations));
  go("dfo, fixed", *dfo(false, evaluations));
  go("MAID, FISTA below", *make_maid<double>(options_with("fista", "cg")));
  go("MAID, Newton below", *make_maid<double>(options_with("newton", "pcg")));
  return runs;
}

void add_costs(const Settings& s, const std::vector<Learned>& runs, const std::vector<double>& losses,
               const Gap& loss, int images, std::vector<Row>& rows) {
  const auto work = [&](std::size_t run, double target) { return work_to(runs[run].run, loss, target); };
  const double common = 1.005 * std::max(losses[0], losses[1]);
  const double dynamic = work(0, common), all = static_cast<double>(runs[0].run.report.last.work.total());
  const std::string target = " over that of dynamic ones, to the larger of their losses + 0.5 %";
  rows.push_back(
      at_full_size(s, at_least({"dfo: work of 2000 iterations at every evaluation" + target, 10,
                                kFixedIterations * images * solves_to(runs[1].run, loss, common) / dynamic},
                               5)));
  rows.push_back(at_full_size(
      s, because(at_least({"dfo: work of fixed accuracies" + target, 10, work(1, common) / dynamic}, 5),
                 "solves that end at 1e-10 take far fewer than 2000 iterations")));
  rows.push_back(at_full_size(
      s, at_most(
             {"MAID, FISTA below: work to the loss of dfo, dynamic, over that", {}, work(2, losses[0]) / all},
             1.0 / 3)));
  rows.push_back(reported({"MAID, Newton below: the same", {}, work(3, losses[0]) / all}));
}

void add_methods(const Settings& s, Result& result) {
  const ImageBatch batch = crops(s, s.quick ? 2 : 25, s.quick ? 32 : 96, 0.1);
  const int evaluations = s.quick ? 20 : 100;
  Denoising problem(s.device, batch, TvOptions{}, layout_of(1, 0.1, 0.1));
  const std::vector<Learned> runs = run_methods(s, problem, evaluations);
  ExactLoss exact(problem.context, *problem.problem, problem.first(), 1e-5);
  const Gap loss = [&](std::span<const double> theta) { return exact(theta).value; };
  std::vector<double> losses;
  for (const Learned& run : runs) {
    losses.push_back(loss(run.run.report.theta));
    result.rows.push_back(reported({run.run.name + ": loss at the end", {}, losses.back()}));
    result.rows.push_back(
        reported({run.run.name + ": its mean PSNR, dB", {}, quality_of(batch, run.x).psnr}));
    result.rows.push_back(
        reported({run.run.name + ": work", {}, static_cast<double>(run.run.report.last.work.total())}));
  }
  add_costs(s, runs, losses, loss, batch.images, result.rows);
  const double best = *std::min_element(losses.begin(), losses.end());
  Panel gaps = gap_panel("Noise 0.1");
  result.notes.push_back(data_note(format("Noise 0.1, %d evaluations of dfo", evaluations), batch));
  for (const Learned& run : runs) {
    gaps.series.push_back(
        gap_curve(run.run, [&](std::span<const double> theta) { return loss(theta) - best; }));
    result.notes.push_back(ending(run.run) + " Learned " + numbers_text(run.model) + ".");
  }
  result.curves.push_back(std::move(gaps));
  result.pictures.push_back({"crop",
                             batch.names.front() + ", from the left: the truth, noisy, dfo dynamic, MAID.",
                             strip({batch.clean_image(0), batch.noisy_image(0), batch.image_of(runs[0].x, 0),
                                    batch.image_of(runs[3].x, 0)},
                                   batch.size, batch.size)});
}

// --- Less and less noise.

/// What was learned at one noise level.
struct Level {
  double sigma, alpha, xi, nu, psnr;
  bool limited;  ///< rounding ended the run
};

/// From what was learned at the level before, scaled to the noise.
Level learn_level(const Settings& s, double sigma, const Level* before, Result& result) {
  const ImageBatch batch = crops(s, s.quick ? 1 : 4, s.quick ? 32 : 64, sigma);
  const auto inside = [](double value) { return std::clamp(value, 1e-6, 0.5); };
  const Parameters layout = before == nullptr ? layout_of(0.05, 1e-3, 1e-2)
                                              : layout_of(inside(before->alpha * sigma / before->sigma),
                                                          inside(before->xi), inside(before->nu));
  Denoising problem(s.device, batch, TvOptions{}, layout);
  UpperOptions options = options_with("newton", "pcg");
  options.max_iterations = s.quick ? 15 : 60;
  const double loss0 = sigma * sigma * static_cast<double>(batch.shape().image()) / 2;
  options.schedule.tolerance = 1e-3 * loss0;
  options.schedule.epsilon0 = options.schedule.delta0 = 0.1 * std::sqrt(loss0);
  const std::string name = format("sigma %.0e", sigma);
  s.tell(name);
  const Learned run = learned(name, problem, *make_maid<double>(options));
  result.notes.push_back(ending(run.run));
  const DenoiseModel& m = run.model;
  return {sigma,
          m.value("alpha"),
          m.value("xi"),
          m.value("nu"),
          quality_of(batch, run.x).psnr,
          run.run.report.status == UpperStatus::accuracy_limit};
}

void add_vanishing_noise(const Settings& s, Result& result) {
  std::vector<Level> levels;
  for (int k = 1; k <= (s.quick ? 3 : 8); ++k)
    levels.push_back(learn_level(s, std::pow(10.0, -k), levels.empty() ? nullptr : &levels.back(), result));
  const std::size_t judged = std::min<std::size_t>(levels.size(), 4);
  double rise = 0, least_gain = std::numeric_limits<double>::infinity();
  for (std::size_t k = 1; k < judged; ++k) {
    rise = std::max(rise, levels[k].alpha / levels[k - 1].alpha);
    least_gain = std::min(least_gain, levels[k].psnr - levels[k - 1].psnr);
  }
  std::vector<Row>& rows = result.rows;
  for (const Level& level : levels) {
    rows.push_back(reported({format("sigma %.0e: learned alpha", level.sigma), {}, level.alpha}));
    rows.push_back(reported({format("sigma %.0e: PSNR, dB", level.sigma), {}, level.psnr}));
  }
  rows.push_back(
      at_most({"alpha at a level over that at ten times the noise, the largest down to 1e-4", {}, rise}, 1));
  if (levels.size() >= 4)
    rows.push_back(
        at_most({"alpha at noise 1e-4 over that at 0.1", {}, levels[3].alpha / levels[0].alpha}, 1e-2));
  const auto denoising = [&levels](std::size_t k) {
    return levels[k].psnr + 20 * std::log10(levels[k].sigma);
  };
  rows.push_back(because(
      at_least({"PSNR gained by a tenth of the noise, the least down to 1e-4, dB", {}, least_gain}, 15),
      format("denoising gains %.1f dB at 0.1 and %.1f dB at 0.01, the noise falls by 20 dB", denoising(0),
             denoising(1))));
  const auto curve = [&](const char* label, double Level::*which) {
    Series series{label, {}, {}};
    for (const Level& level : levels) {
      series.x.push_back(level.sigma);
      series.y.push_back(level.*which);
    }
    return series;
  };
  result.curves.push_back(
      {"Learned numbers for less and less noise",
       {"sigma", true},
       {"value", true},
       {curve("alpha", &Level::alpha), curve("nu", &Level::nu), curve("xi", &Level::xi)}});
  for (const Level& level : levels)
    if (level.limited || level.alpha <= 1.001 * kLeast) {
      result.notes.push_back(format("From noise %.0e on %s is what ends learning.", level.sigma,
                                    level.limited ? "rounding" : "the least alpha that the box allows"));
      break;
    }
}

Result run(const Settings& s) {
  Result result;
  add_methods(s, result);
  add_vanishing_noise(s, result);
  result.notes.push_back(
      "Published: crops of 256 x 256 of 25 photographs, no numbers. Work is in operator applications, each "
      "to "
      "one image; an iteration of FISTA is one gradient here and two there. dfo, fixed: every reconstruction "
      "to 1e-10, or 2000 iterations of FISTA; the published form, 2000 at every evaluation, is counted, not "
      "run.");
  if (s.quick) result.notes.push_back(kQuickNote);
  return result;
}

}  // namespace

Experiment three_parameters_2d() {
  return {
      "E9",
      "Three parameters of total variation, photographs",
      "Dynamic accuracies make learning without gradients about ten times cheaper, and the learned weight "
      "vanishes with the noise.",
      "Ehrhardt and Roberts 2021",
      true,
      DataKind::photographs,
      run};
}

}  // namespace bilevel_app::experiments
