// Lower-level and linear solvers in operator applications and seconds, from a cold start at the data, 25
// images 96x96: isotropic TV, alpha 0.05, nu 1e-2, 1e-3, 1e-4, xi 1e-3, tolerances 1e-1, 1e-3, 1e-5.

#include <benchmark/benchmark.h>

#include <string>

#include "bench_support.hpp"
#include "bilevel/solve/linear_solver.hpp"
#include "bilevel/solve/minimiser.hpp"

namespace {

using namespace bilevel;
using namespace bilevel::bench;

const TrainingData& data() {
  static const TrainingData d = training_data();
  return d;
}

Parameters parameters(double nu) {
  return Parameters({{"alpha", Transform::exp, 0.05, 1e-8, 1e3, true},
                     {"nu", Transform::exp, nu, 1e-6, 1e2, true},
                     {"xi", Transform::exp, 1e-3, 1e-9, 1, false}});
}

template <class T>
void lower(benchmark::State& state, const std::string& solver, double nu, double tolerance) {
  Context context(device());
  const Tensor<T> y(context, data().shape, std::vector<T>(data().noisy.begin(), data().noisy.end()));
  Tensor<T> x(context, data().shape);
  const ComposedEnergy<T> energy(context, y.view(), parameters(nu));
  SolveReport report;
  for (auto _ : state) {
    copy<T>(context, y.view(), x.view());
    SolveRequest<T> request;
    request.tolerance = tolerance;
    request.max_iterations = 200000;
    report = make_minimiser<T>(solver)->minimise(context, energy, request, x.view());
  }
  const double n = data().shape.n;
  state.counters["work"] = static_cast<double>(report.work.total()) / n;
  state.counters["gradients"] = static_cast<double>(report.work.gradients) / n;
  state.counters["hvps"] = static_cast<double>(report.work.hessian_products) / n;
  state.SetLabel(status_name(report.status));
}

void adjoint(benchmark::State& state, const std::string& solver, double nu) {
  using T = double;
  Context context(device());
  const Tensor<T> y(context, data().shape, data().noisy);
  Tensor<T> x(context, data().shape, data().noisy), q(context, data().shape);
  const ComposedEnergy<T> energy(context, y.view(), parameters(nu));
  SolveRequest<T> request;
  request.tolerance = 1e-6;
  make_minimiser<T>()->minimise(context, energy, request, x.view());
  Frame frame(context);
  ActiveSet all(context, frame, data().shape.n);
  const View<T> weights = frame.view<T>({3 * data().shape.n, 1, 96, 96}),
                inverse = frame.view<T>(data().shape);
  energy.linearise(context, all.active(), x.view(), {}, weights, inverse);
  SolveReport report;
  for (auto _ : state) {
    LinearRequest linear;
    linear.tolerance = 1e-6;
    report = make_linear_solver<T>(solver)->solve(context, {&energy, weights, inverse}, linear, y.view(),
                                                  q.view());
  }
  state.counters["hvps"] = static_cast<double>(report.work.hessian_products) / data().shape.n;
  state.SetLabel(status_name(report.status));
}

}  // namespace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  std::printf("%s photographs; work = operator applications per image; device %s, %s\n",
              data().real ? "real" : "synthetic", device().name().c_str(),
              device().instruction_set().c_str());
  for (double nu : {1e-2, 1e-3, 1e-4})
    for (const char* solver : {"newton", "lbfgs", "fista", "fista-restart", "heavy-ball", "gradient-descent"})
      for (double tolerance : {1e-1, 1e-3, 1e-5}) {
        if (std::string(solver) == "gradient-descent" && nu < 1e-2) continue;  // thousands of gradients
        const auto name = [&](const char* type) {
          char text[96];
          std::snprintf(text, sizeof(text), "%s/nu_%.0e/%s/tol_%.0e", solver, nu, type, tolerance);
          return std::string(text);
        };
        benchmark::RegisterBenchmark(name("double").c_str(),
                                     [=](benchmark::State& s) { lower<double>(s, solver, nu, tolerance); })
            ->Iterations(1)
            ->Unit(benchmark::kMillisecond);
        if (tolerance > 1e-4)
          benchmark::RegisterBenchmark(name("float").c_str(),
                                       [=](benchmark::State& s) { lower<float>(s, solver, nu, tolerance); })
              ->Iterations(1)
              ->Unit(benchmark::kMillisecond);
      }
  for (double nu : {1e-2, 1e-3})
    for (const char* solver : {"pcg", "cg", "heavy-ball"}) {
      char text[64];
      std::snprintf(text, sizeof(text), "adjoint/%s/nu_%.0e", solver, nu);
      benchmark::RegisterBenchmark(text, [=](benchmark::State& s) { adjoint(s, solver, nu); })
          ->Iterations(1)
          ->Unit(benchmark::kMillisecond);
    }
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
