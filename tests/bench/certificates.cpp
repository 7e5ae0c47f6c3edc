// How tight the hypergradient's error bound is over a training run: omega of every form and their minimum
// divided by the true error |z - grad f|, with grad f from a lower level and linear systems solved to 1e-10.

#include <algorithm>
#include <cstdio>

#include "bench_support.hpp"
#include "bilevel/learn/hypergradient.hpp"
#include "bilevel/solve/minimiser.hpp"

namespace {

using namespace bilevel;
using namespace bilevel::bench;

struct Recorder : Observer {
  std::vector<IterationRecord> records;
  bool iteration(const IterationRecord& r) override {
    records.push_back(r);
    return true;
  }
};

std::vector<double> exact(TrainingProblem<double>& p, std::span<const double> theta) {
  p.problem->energy().bind(theta);
  Tensor<double> x(p.context, p.truth.shape());
  copy<double>(p.context, p.data.view(), x.view());
  SolveRequest<double> request;
  request.tolerance = 1e-10;
  const SolveReport solved =
      make_minimiser<double>()->minimise(p.context, p.problem->energy(), request, x.view());
  ImplicitHypergradient<double> gradient(p.context, *p.problem);
  HypergradientRequest tight;
  tight.delta = 1e-11;
  tight.column_tolerance = 1e-9;
  return gradient.compute(p.context, theta, x.view(), solved.certificate, tight).z;
}

void report(const char* form, std::vector<double> ratios) {
  if (ratios.empty()) return;
  std::sort(ratios.begin(), ratios.end());
  std::printf("  %-12s smallest %9.3g   median %9.3g   largest %9.3g\n", form, ratios.front(),
              ratios[ratios.size() / 2], ratios.back());
}

void run(const TrainingData& data, bool isotropic, double tolerance) {
  TrainingProblem<double> p(data, isotropic);
  UpperOptions options;
  options.schedule.tolerance = tolerance;
  Recorder recorder;
  make_maid<double>(options)->run(p.context, *p.problem, p.parameters.initial(), p.data.view(), recorder);
  std::vector<double> theorem, adjoint, directional, columns, best;
  for (const IterationRecord& r : recorder.records) {
    const std::vector<double> g = exact(p, r.theta);
    double error = 0;
    for (std::size_t j = 0; j < g.size(); ++j) error += (g[j] - r.gradient[j]) * (g[j] - r.gradient[j]);
    error = std::sqrt(error);
    theorem.push_back(r.omega_theorem / error);
    adjoint.push_back(r.omega_adjoint / error);
    directional.push_back(r.omega_directional / error);
    columns.push_back(r.omega_columns / error);
    best.push_back(r.error_bound / error);
  }
  std::printf("%s TV, %zu gradients, omega / true error:\n", isotropic ? "isotropic" : "anisotropic",
              best.size());
  report("theorem", theorem);
  report("q-based", adjoint);
  report("directional", directional);
  report("columns", columns);
  report("minimum", best);
}

}  // namespace

int main() {
  const TrainingData data = training_data();
  std::printf("%s photographs\n", data.real ? "real" : "synthetic");
  for (bool isotropic : {false, true}) run(data, isotropic, 1e-4);
  return 0;
}
