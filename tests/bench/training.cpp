// The whole training run, MAID against fixed accuracies, in operator applications per image and seconds: 25
// photographs 96x96, sigma 0.1, anisotropic TV, alpha and nu learned from exp(-5). `excess` is loss / best
// loss - 1.

#include <benchmark/benchmark.h>

#include <map>
#include <string>

#include "bench_support.hpp"

namespace {

using namespace bilevel;
using namespace bilevel::bench;

/// Work and seconds at which the first theta with loss <= target was accepted. A record describes theta
/// before its step and the work after it.
struct Reach : Observer {
  double target = 0, seconds = -1, work = -1, last_seconds = 0, last_work = 0;
  void look(double loss) {
    if (work >= 0 || loss > target) return;
    seconds = last_seconds;
    work = last_work;
  }
  bool iteration(const IterationRecord& r) override {
    look(r.loss);
    last_seconds = r.seconds;
    last_work = static_cast<double>(r.work.total()) / 25;
    return true;
  }
  void finished(const UpperReport& report) override { look(report.last.loss); }
};

const TrainingData& data() {
  static const TrainingData d = training_data();
  return d;
}

double best_loss() {
  static const double best = [] {
    TrainingProblem<double> p(data(), false);
    UpperOptions o;
    o.schedule.tolerance = 1e-6;
    Observer silent;
    return make_maid<double>(o)
        ->run(p.context, *p.problem, p.parameters.initial(), p.data.view(), silent)
        .last.loss;
  }();
  return best;
}

template <class T>
void train(benchmark::State& state, const UpperOptions& options, double within) {
  UpperReport report;
  Reach reach;
  for (auto _ : state) {
    TrainingProblem<T> p(data(), false);
    reach = {};
    reach.target = best_loss() * (1 + within);
    report = make_maid<T>(options)->run(p.context, *p.problem, p.parameters.initial(), p.data.view(), reach);
  }
  state.counters["seconds_to_target"] = reach.seconds;
  state.counters["work_to_target"] = reach.work;
  state.counters["work"] = static_cast<double>(report.last.work.total()) / 25;
  state.counters["gradients"] = static_cast<double>(report.last.work.gradients) / 25;
  state.counters["hvps"] = static_cast<double>(report.last.work.hessian_products) / 25;
  state.counters["excess"] = report.last.loss / best_loss() - 1;
  state.counters["upper_its"] = report.last.iteration;
  state.SetLabel(upper_status_name(report.status));
}

void add(const std::string& name, const UpperOptions& o, double within, bool single = false) {
  benchmark::RegisterBenchmark(
      name.c_str(),
      [=](benchmark::State& s) { single ? train<float>(s, o, within) : train<double>(s, o, within); })
      ->Iterations(1)
      ->Unit(benchmark::kMillisecond);
}

}  // namespace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  std::printf("%s photographs; work = operator applications per image; device %s, %s\n",
              data().real ? "real" : "synthetic", device().name().c_str(),
              device().instruction_set().c_str());
  for (double within : {1e-3, 1e-4}) {
    const std::string target = within == 1e-3 ? "0.1%" : "0.01%";
    UpperOptions o;
    o.schedule.tolerance = 1e-2;
    add("maid/gauss-newton/to_" + target, o, within);
    if (within == 1e-3) add("maid/gauss-newton/float/to_" + target, o, within, true);
    for (double e : {1.0, 1e-2, 1e-4}) {
      UpperOptions start = o;
      start.schedule.epsilon0 = start.schedule.delta0 = e;
      add("maid/gauss-newton/start_" + std::to_string(e) + "/to_" + target, start, within);
    }
    UpperOptions plain = o;
    plain.scaling = StepScaling::none;
    add("maid/gradient/to_" + target, plain, within);
    for (int k = 1; k <= 6; ++k) {
      UpperOptions fixed = o;
      fixed.schedule.fixed_accuracy = true;
      fixed.schedule.epsilon0 = fixed.schedule.delta0 = std::pow(10.0, -k);
      add("fixed/1e-" + std::to_string(k) + "/to_" + target, fixed, within);
    }
  }
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
