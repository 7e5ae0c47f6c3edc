// Total variation denoising with a penalty J(theta) of one's own on the learned parameters: here J pulls nu
// towards 0.05, on the scale on which nu is learned. Prints nu without and with the penalty. Run: own_penalty

#include <bilevel/learn/upper_optimiser.hpp>
#include <cstdio>
#include <random>

using namespace bilevel;

int main() {
  const Shape shape{1, 1, 48, 48};
  std::mt19937_64 generator(1);
  std::normal_distribution<double> noise(0, 0.1);
  std::vector<double> clean, noisy;
  for (int row = 0; row < shape.h; ++row)
    for (int column = 0; column < shape.w; ++column) {
      clean.push_back((row < 16 ? 0.2 : 0.5) + (column < 24 ? 0 : 0.3));
      noisy.push_back(clean.back() + noise(generator));
    }

  Context context(Device::open("auto"));
  Tensor<double> truth(context, shape, clean), data(context, shape, noisy);
  const Parameters parameters = tv_parameters();

  const int nu = parameters.entry("nu");
  const double target = to_theta(parameters.learned(nu).transform, 0.05);
  const Penalty pull = [=](std::span<const double> theta, std::span<double> gradient) {
    const double weight = 5, distance = theta[nu] - target;
    gradient[nu] += weight * distance;  // the gradient is added to
    return weight / 2 * distance * distance;
  };

  UpperOptions options;
  options.schedule.tolerance = 1e-2;
  for (const Penalty& penalty : {Penalty(), pull}) {
    auto energy = std::make_unique<ComposedEnergy<double>>(context, data.view(), parameters);
    BilevelProblem<double> problem(std::move(energy), truth.view(), parameters, penalty);
    Observer silent;
    UpperReport report =
        make_maid<double>(options)->run(context, problem, parameters.initial(), data.view(), silent);
    std::printf("%s penalty: alpha %.3g, nu %.3g, loss + penalty between %.9f and %.9f\n",
                penalty ? "with" : "without", parameters.value("alpha", report.theta),
                parameters.value("nu", report.theta), report.last.loss_lower, report.last.loss_upper);
  }
}
