#include "apps/experiments/sampled_signal.hpp"

#include <algorithm>
#include <numeric>
#include <utility>

#include "apps/experiments/legacy_random.hpp"
#include "bilevel/solve/minimiser.hpp"

namespace bilevel_app::experiments {

using namespace bilevel;

namespace {

int below(LegacyRandom& random, int n) { return static_cast<int>(random.uniform() * n); }

/// `count` of 0, ..., n-1, sorted.
std::vector<int> chosen_points(LegacyRandom& random, int n, int count) {
  std::vector<int> all(static_cast<std::size_t>(n));
  std::iota(all.begin(), all.end(), 0);
  for (int k = 0; k < count; ++k)
    std::swap(all[static_cast<std::size_t>(k)], all[static_cast<std::size_t>(k + below(random, n - k))]);
  all.resize(static_cast<std::size_t>(count));
  std::sort(all.begin(), all.end());
  return all;
}

TvOptions huber() {
  TvOptions options;
  options.potential = TvPotential::huber_c2;
  return options;
}

/// Empty where all samples are seen.
std::vector<double> sampling(const SampledSignal& signal) {
  const bool all = std::count(signal.mask.begin(), signal.mask.end(), 0.0) == 0;
  return all ? std::vector<double>{} : signal.mask;
}

}  // namespace

SampledSignal sampled_signal(std::uint32_t seed, int length, int seen) {
  LegacyRandom random(seed);
  const auto n = static_cast<std::size_t>(length);
  SampledSignal out{std::vector<double>(n, 0), {}, std::vector<double>(n, 0)};
  const std::vector<int> breaks = chosen_points(random, length, 2 * (1 + below(random, 3)));
  for (std::size_t k = 0; k + 1 < breaks.size(); ++k)
    std::fill(out.truth.begin() + breaks[k], out.truth.begin() + breaks[k + 1], below(random, 5) - 2);
  for (const int p : chosen_points(random, length, seen)) out.mask[static_cast<std::size_t>(p)] = 1;
  for (std::size_t i = 0; i < n; ++i)
    out.data.push_back(out.mask[i] * (out.truth[i] + 0.03 * random.normal()));
  return out;
}

SignalDenoising::SignalDenoising(const Device& device, const SampledSignal& signal, double smoothing,
                                 Transform transform)
    : context(device),
      layout({{"alpha", transform, 1, 1e-4, 1, true},
              {"nu", Transform::identity, smoothing, 0, 1, false},
              {"xi", Transform::identity, smoothing, 0, 1, false}}),
      truth(context, {1, 1, 1, static_cast<int>(signal.truth.size())}, signal.truth),
      data(context, truth.shape(), signal.data),
      problem(std::make_unique<ComposedEnergy<double>>(context, first(), layout, huber(), sampling(signal)),
              std::as_const(truth).view(), layout) {}

Tensor<double> SignalDenoising::start() {
  Tensor<double> x(context, data.shape());
  copy<double>(context, first(), x.view());
  return x;
}

HypergradientResult SignalDenoising::hypergradient(double alpha, const Effort& effort, Tensor<double>& x) {
  const std::vector<double> theta{alpha};
  problem.energy().bind(theta);
  SolveRequest<double> request;
  request.tolerance = effort.epsilon;
  request.max_iterations = effort.iterations;
  const SolveReport solved =
      make_minimiser<double>(effort.minimiser)->minimise(context, problem.energy(), request, x.view());
  ImplicitHypergradient<double> implicit(context, problem);
  HypergradientRequest wanted;
  wanted.delta = effort.delta;
  wanted.columns = effort.columns;
  return implicit.compute(context, theta, std::as_const(x).view(), solved.certificate, wanted);
}

double SignalDenoising::exact_gradient(double alpha) {
  Tensor<double> x = start();
  return hypergradient(alpha, {"newton", 1e-13, 1e-13, true, 100}, x).z[0];
}

}  // namespace bilevel_app::experiments
