// E5: weight and smoothing of anisotropic total variation learned on crops of photographs, by MAID from
// thirteen starts of its accuracies, with fixed accuracies, and by HOAG.

#include <algorithm>
#include <cmath>

#include "apps/common/image_data.hpp"
#include "apps/common/text.hpp"
#include "apps/experiments/measured_run.hpp"
#include "apps/experiments/registry.hpp"
#include "bilevel/learn/hoag.hpp"

namespace bilevel_app::experiments {

namespace {

using namespace bilevel;

ImageBatch crops(const Settings& s) {
  DataOptions options;
  options.data = s.data;
  options.images = std::min(static_cast<int>(list_sources(s.data, 25).size()), s.quick ? 3 : 25);
  options.crop = s.quick ? 48 : 96;
  options.seed = s.seed;
  return load_crops(options);
}

/// theta = (ln alpha, ln nu), first (-5, -5); no ridge.
Parameters layout_of(const TvOptions& tv) {
  std::vector<Segment> segments = tv_parameters(tv).segments();
  for (Segment& segment : segments) {
    if (segment.name == "xi")
      segment.initial = segment.lower = 0;
    else
      segment.initial = std::exp(-5);
  }
  return Parameters(segments);
}

struct Denoising {
  Denoising(const Settings& s, const ImageBatch& batch)
      : context(s.device),
        layout(layout_of(tv())),
        truth(context, batch.shape(), batch.clean),
        data(context, batch.shape(), batch.noisy),
        problem(std::make_unique<ComposedEnergy<double>>(context, std::as_const(data).view(), layout, tv()),
                std::as_const(truth).view(), layout) {}
  static TvOptions tv() {
    TvOptions options;
    options.isotropic = false;
    return options;
  }

  Context context;
  Parameters layout;
  Tensor<double> truth, data;
  BilevelProblem<double> problem;
};

UpperOptions options_of(double accuracy, bool fixed) {
  UpperOptions options;
  options.schedule.epsilon0 = options.schedule.delta0 = accuracy;
  options.schedule.fixed_accuracy = fixed;
  options.schedule.tolerance = 1e-3;
  options.max_iterations = 100;
  return options;
}

struct Runs {
  std::vector<MeasuredRun> dynamic, fixed, hoag;

  std::vector<const MeasuredRun*> all() const {
    std::vector<const MeasuredRun*> out;
    for (const auto* group : {&dynamic, &fixed, &hoag})
      for (const MeasuredRun& run : *group) out.push_back(&run);
    return out;
  }
};

Runs run_all(const Settings& s, Denoising& p) {
  Runs runs;
  const auto go = [&](const std::string& name, UpperOptimiser<double>& optimiser) {
    s.tell(name);
    return measured(name, p.context, p.problem, optimiser, p.layout.initial(), std::as_const(p.data).view());
  };
  for (int k = 0; k <= 12; k += s.quick ? 6 : 1) {
    const double accuracy = std::pow(10, 1 - 0.5 * k);
    runs.dynamic.push_back(
        go(format("MAID from %.2g", accuracy), *make_maid<double>(options_of(accuracy, false))));
  }
  for (int k = 1; k <= 6; k += s.quick ? 2 : 1) {
    const double accuracy = std::pow(10, -k);
    runs.fixed.push_back(go(format("fixed %.0e", accuracy), *make_maid<double>(options_of(accuracy, true))));
  }
  runs.hoag.push_back(go("HOAG, quadratic", *make_hoag<double>({}, options_of(0.1, false))));
  return runs;
}

/// Work of the runs sorted, the best first.
std::vector<double> works(const std::vector<MeasuredRun>& runs, const Gap& gap, double enough) {
  std::vector<double> out;
  for (const MeasuredRun& run : runs) out.push_back(work_to(run, gap, enough));
  std::sort(out.begin(), out.end());
  return out;
}

void add_work(const std::vector<double>& dynamic, const std::vector<double>& fixed, std::vector<Row>& rows) {
  const double usual = dynamic[dynamic.size() / 2];
  const auto never = std::count_if(fixed.begin(), fixed.end(), [](double w) { return std::isinf(w); });
  rows.push_back(at_most({"MAID, median of the starts: work to the best loss + 0.1 %", {}, usual},
                         1.2 * fixed.front(), "at most 1.2 times the best fixed one"));
  rows.push_back(reported({"MAID, the worst start: the same", {}, dynamic.back()}));
  rows.push_back(reported({"fixed accuracies, the best: the same", {}, fixed.front()}));
  rows.push_back(reported({format("fixed accuracies that never get there, of %zu", fixed.size()),
                           {},
                           static_cast<double>(never)}));
  rows.push_back(at_most({"MAID, median, over the worst fixed accuracy (never: 0)", {}, usual / fixed.back()},
                         1.0 / 3, "at most 1/3"));
}

Result run(const Settings& s) {
  const ImageBatch batch = crops(s);
  Denoising p(s, batch);
  const Runs runs = run_all(s, p);
  ExactLoss exact(p.context, p.problem, std::as_const(p.data).view(), 1e-5);
  s.tell("exact losses");
  double best = std::numeric_limits<double>::infinity(), worst = 0, psnr = 0;
  for (const MeasuredRun* run : runs.all()) best = std::min(best, exact(run->report.theta).value);
  for (const MeasuredRun& run : runs.dynamic) {
    worst = std::max(worst, exact(run.report.theta).value);
    psnr = std::max(psnr, run.report.last.psnr);
  }
  const Gap gap = [&](std::span<const double> theta) { return exact(theta).value - best; };

  Result result;
  result.rows = {
      at_most({"loss at the end, the worst of MAID's starts over the best of all runs", {}, worst / best},
              1.005),
      because(at_least({"mean PSNR, dB", {}, psnr}, 27.5),
              "every run of MAID ends at this loss, so it is what the model gives on these crops")};
  add_work(works(runs.dynamic, gap, 1e-3 * best), works(runs.fixed, gap, 1e-3 * best), result.rows);
  Panel dynamic = gap_panel("MAID"), fixed = gap_panel("Fixed accuracies"), hoag = gap_panel("HOAG"),
        accuracies = accuracy_panel("MAID", "epsilon");
  for (const MeasuredRun& run : runs.dynamic) {
    dynamic.series.push_back(gap_curve(run, gap));
    accuracies.series.push_back(accuracy_curve(run, &IterationRecord::epsilon));
  }
  for (const MeasuredRun& run : runs.fixed) fixed.series.push_back(gap_curve(run, gap));
  for (const MeasuredRun& run : runs.hoag) hoag.series.push_back(gap_curve(run, gap));
  result.curves = {std::move(dynamic), std::move(accuracies), std::move(fixed), std::move(hoag)};
  for (const MeasuredRun* run : runs.all()) result.notes.push_back(ending(*run));
  std::string names;
  for (const std::string& name : batch.names) names += (names.empty() ? "" : ", ") + name;
  result.notes.insert(
      result.notes.begin(),
      format("Data: crops of %d x %d of %s, noise 0.1, seed %llu. The published scripts state no losses.",
             batch.size, batch.size, names.c_str(), static_cast<unsigned long long>(s.seed)));
  for (const std::string& note : batch.notes) result.notes.push_back(note);
  return result;
}

}  // namespace

Experiment two_parameters() {
  return {"E5",
          "Two parameters of total variation, photographs",
          "Where the accuracies start does not matter to the learned parameters, and dynamic accuracies need "
          "no tuning.",
          "Salehi, Mukherjee, Roberts and Ehrhardt 2024",
          true,
          DataKind::photographs,
          run};
}

}  // namespace bilevel_app::experiments
