// Learns total variation denoising with a minimiser of one's own, Nesterov's method on the host, and for
// comparison with the library's. Whatever it claims, the library measures the gradient where it ends. Prints
// what was learned with each. Run: own_minimiser [DEVICE]

#include <bilevel/learn/upper_optimiser.hpp>
#include <cmath>
#include <cstdio>
#include <random>

using namespace bilevel;

/// x+ = y - grad Phi(y)/L, y+ = x+ + beta (x+ - x), for all images at once.
struct Nesterov final : Minimiser<double> {
  const char* name() const override { return "nesterov"; }

  SolveReport minimise(Context& context, const Energy<double>& energy, const SolveRequest<double>& request,
                       View<double> x) const override {
    const Shape shape = energy.shape();
    const Curvature c = energy.curvature();
    const double root = std::sqrt(c.mu / c.lipschitz), beta = (1 - root) / (1 + root);
    Frame frame(context);
    ActiveSet all(context, frame, shape.n);
    const View<double> g = frame.view<double>(shape);
    const Shape each{shape.n, 1, 1, 1};
    const GradientSums sums{frame.view<double>(each), frame.view<double>(each), frame.view<double>(each)};

    SolveReport report;
    std::vector<double> previous = download(context, x), y = previous;
    for (int k = 0; k < request.max_iterations; ++k) {
      energy.value_and_gradient(context, all.active(), x, g, sums);
      report.work.gradients += shape.n;
      double largest = 0;
      for (const double norm2 : download(context, sums.norm2))
        largest = std::max(largest, std::sqrt(norm2) / c.mu);
      if (largest <= 0.9 * request.tolerance) return report;  // leaves room for rounding
      const std::vector<double> gradient = download(context, g);
      for (std::size_t e = 0; e < y.size(); ++e) {
        const double next = y[e] - gradient[e] / c.lipschitz;
        y[e] = next + beta * (next - previous[e]);
        previous[e] = next;
      }
      upload<double>(context, y, x);
    }
    report.status = SolveStatus::iteration_cap;
    return report;
  }
};

int main(int argc, char** argv) {
  const Shape shape{1, 1, 32, 32};
  std::mt19937_64 generator(1);
  std::normal_distribution<double> noise(0, 0.1);
  std::vector<double> clean, noisy;
  for (int row = 0; row < shape.h; ++row)
    for (int column = 0; column < shape.w; ++column) {
      clean.push_back((row < 11 ? 0.2 : 0.5) + (column < 16 ? 0 : 0.3));
      noisy.push_back(clean.back() + noise(generator));
    }
  Context context(Device::open(argc > 1 ? argv[1] : "auto"));
  Tensor<double> truth(context, shape, clean), data(context, shape, noisy);
  const Parameters parameters = tv_parameters();
  UpperOptions options;
  options.schedule.tolerance = 1e-2;

  for (const bool own : {true, false}) {
    auto energy = std::make_unique<ComposedEnergy<double>>(context, data.view(), parameters);
    const BilevelProblem<double> problem(std::move(energy), truth.view(), parameters);
    UpperSolvers<double> solvers;
    if (own) solvers.minimiser = std::make_shared<Nesterov>();
    Observer silent;
    const UpperReport report =
        make_maid<double>(options, solvers)->run(context, problem, parameters.initial(), data.view(), silent);
    std::printf("%s: %s, alpha %.4g, nu %.4g, loss between %.6f and %.6f\n", own ? "own" : "newton",
                upper_status_name(report.status), parameters.value("alpha", report.theta),
                parameters.value("nu", report.theta), report.last.loss_lower, report.last.loss_upper);
  }
}
