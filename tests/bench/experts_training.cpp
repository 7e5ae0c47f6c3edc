// Learning 30 filters of 7x7 on 25 photographs 96x96, sigma 0.1: what each choice of the upper level costs,
// in operator applications (to the whole batch) and seconds, to losses below that of learned total variation.
//
//   bench_experts_training [NAME=VALUE...]
//     scaling=lbfgs|none|gauss-newton  init=tv|dct|random  accuracy=adaptive|1e-1..  solver=lbfgs|newton
//     precision=double|float seconds=600  columns=1|0  try=1|0  zero_mean=1|0  least_nu=1e-3  epsilon0=0.1
//     filters=30  size=7 every=10

#include <cstdio>
#include <cstring>
#include <map>
#include <string>

#include "bench_support.hpp"
#include "bilevel/model/composed_energy.hpp"

namespace {

using namespace bilevel;
using namespace bilevel::bench;

std::map<std::string, std::string> options = {
    {"scaling", "lbfgs"}, {"init", "tv"},      {"accuracy", "adaptive"},
    {"solver", "lbfgs"},  {"linear", "cg"},    {"precision", "double"},
    {"seconds", "600"},   {"columns", "1"},    {"try", "1"},
    {"zero_mean", "1"},   {"epsilon0", "0.1"}, {"delta0", "0.1"},
    {"filters", "30"},    {"size", "7"},       {"every", "10"},
    {"alpha", "0.055"},   {"nu", "0.0066"},    {"iterations", "100000"},
    {"eta", "0.5"},       {"lambda", "0.1"},   {"potential", "charbonnier"},
    {"least_nu", "1e-3"}};

double number(const char* name) { return std::stod(options.at(name)); }

/// One line every few iterations; the first crossing of each target.
struct Trace : Observer {
  struct Target {
    double below, work = -1, seconds = -1;
  };
  double best_tv = 0;
  int every = 10;
  // A record describes theta before its step and the work after it.
  double last_work = 0, last_seconds = 0;
  std::vector<Target> targets = {{0.04}, {0.06}, {0.08}, {0.1}, {0.12}};

  void reach(const IterationRecord& r) {
    for (Target& t : targets)
      if (t.work < 0 && r.loss <= best_tv * (1 - t.below)) t = {t.below, last_work, last_seconds};
    last_work = static_cast<double>(r.work.total()) / 25;
    last_seconds = r.seconds;
  }
  bool iteration(const IterationRecord& r) override {
    reach(r);
    show(r, r.iteration % every == 0);
    return true;
  }
  void finished(const UpperReport& report) override {
    reach(report.last);
    show(report.last, true);
    std::printf("%s: %s\nwork and seconds to", upper_status_name(report.status), report.message.c_str());
    for (const Target& t : targets) {
      if (t.work >= 0)
        std::printf("  -%.0f %%: %.0f, %.1f s", 100 * t.below, t.work, t.seconds);
      else
        std::printf("  -%.0f %%: -", 100 * t.below);
    }
    std::printf("\n");
  }
  void show(const IterationRecord& r, bool line) {
    const double images = 25;
    if (line) {
      std::printf(
          "%5d loss %.4f [%.4f %.4f] (%+.2f %% of TV) |z| %.2e omega %.1e eps %.1e delta %.1e bt %d ops %.0f "
          "(%.0f "
          "grad %.0f hvp %.0f other) %.1f s\n",
          r.iteration, r.loss, r.loss_lower, r.loss_upper, 100 * (r.loss / best_tv - 1), r.gradient_norm,
          r.error_bound, r.epsilon, r.delta, r.backtracks, static_cast<double>(r.work.total()) / images,
          static_cast<double>(r.work.gradients) / images,
          static_cast<double>(r.work.hessian_products) / images, static_cast<double>(r.work.other) / images,
          r.seconds);
      const std::size_t k = static_cast<std::size_t>(std::stoi(options.at("filters")));
      std::vector<double> nu, b;
      for (std::size_t j = 0; j < k; ++j) {
        b.push_back(std::exp(r.theta[j]));
        nu.push_back(std::exp(r.theta[k + j]));
      }
      std::sort(b.begin(), b.end());
      std::sort(nu.begin(), nu.end());
      std::printf("      weights %.2e %.2e %.2e, smoothings %.2e %.2e %.2e\n", b[0], b[k / 2], b[k - 1],
                  nu[0], nu[k / 2], nu[k - 1]);
      std::fflush(stdout);
    }
  }
};

double total_variation_loss(const TrainingData& data, bool isotropic) {
  TrainingProblem<double> p(data, isotropic);
  UpperOptions o;
  o.schedule.tolerance = 1e-4;
  Observer silent;
  const UpperReport r =
      make_maid<double>(o)->run(p.context, *p.problem, p.parameters.initial(), p.data.view(), silent);
  std::printf("%s TV: loss %.4f, alpha %.4g, nu %.4g\n", isotropic ? "isotropic" : "anisotropic", r.last.loss,
              p.parameters.value("alpha", r.theta), p.parameters.value("nu", r.theta));
  return r.last.loss;
}

template <class T>
void train(const TrainingData& data, double best_tv) {
  Context context(device());
  const Tensor<T> truth(context, data.shape, std::vector<T>(data.clean.begin(), data.clean.end()));
  const Tensor<T> noisy(context, data.shape, std::vector<T>(data.noisy.begin(), data.noisy.end()));
  const std::string& init = options.at("init");
  Parameters parameters = experts_parameters(
      std::stoi(options.at("filters")), std::stoi(options.at("size")),
      init == "tv" ? FilterInit::tv : (init == "dct" ? FilterInit::dct : FilterInit::random), number("alpha"),
      number("nu"));
  std::vector<Segment> segments = parameters.segments();
  for (Segment& s : segments)
    if (s.name == "smoothing") s.lower = number("least_nu");
  parameters = Parameters(segments);
  ExpertsOptions model;
  model.zero_mean = number("zero_mean") != 0;
  if (options.at("potential") == "huber_c2") model.potential = TvPotential::huber_c2;
  auto energy = std::make_unique<ComposedEnergy<T>>(context, noisy.view(), parameters, model);
  const bool mixed = options.at("precision") == "mixed";
  if constexpr (sizeof(T) == sizeof(double))
    if (mixed) energy->keep_single_precision(context);
  const BilevelProblem<T> problem(std::move(energy), truth.view(), parameters);
  UpperOptions o;
  const std::string& scaling = options.at("scaling");
  o.scaling = scaling == "none"           ? StepScaling::none
              : scaling == "gauss-newton" ? StepScaling::gauss_newton
                                          : StepScaling::lbfgs;
  o.minimiser = (mixed ? "mixed:" : "") + options.at("solver");
  o.linear_solver = (mixed ? "mixed:" : "") + options.at("linear");
  o.columns = number("columns") != 0;
  o.try_uncertified = number("try") != 0;
  o.time_limit = number("seconds");
  o.max_iterations = std::stoi(options.at("iterations"));
  o.schedule.tolerance = 1e-4;
  o.schedule.epsilon0 = number("epsilon0");
  o.schedule.delta0 = number("delta0");
  o.schedule.eta = number("eta");
  o.schedule.lambda = number("lambda");
  if (options.at("accuracy") != "adaptive") {
    o.schedule.fixed_accuracy = true;
    o.schedule.epsilon0 = o.schedule.delta0 = number("accuracy");
  }
  Trace trace;
  trace.best_tv = best_tv;
  trace.every = std::stoi(options.at("every"));
  make_maid<T>(o)->run(context, problem, parameters.initial(), noisy.view(), trace);
}

}  // namespace

int main(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    const char* split = std::strchr(argv[i], '=');
    const std::string name(argv[i], split ? static_cast<std::size_t>(split - argv[i]) : std::strlen(argv[i]));
    if (!split || !options.count(name)) {
      std::fprintf(stderr, "bench_experts_training: unknown option %s\n", argv[i]);
      return 2;
    }
    options[name] = split + 1;
  }
  const TrainingData data = training_data();
  std::printf("%s photographs; device %s, %s\n", data.real ? "real" : "synthetic", device().name().c_str(),
              device().instruction_set().c_str());
  total_variation_loss(data, true);
  const double best_tv = total_variation_loss(data, false);
  options.at("precision") == "float" ? train<float>(data, best_tv) : train<double>(data, best_tv);
}
