// Learns the weight alpha and the smoothing nu of total variation denoising from four pairs of images, and
// prints them with an enclosure of the exact loss. Run: learn_tv [MODEL.json]; the model is for apply_model.

#include <bilevel/learn/upper_optimiser.hpp>
#include <bilevel/model/model_file.hpp>
#include <cmath>
#include <cstdio>
#include <random>

using namespace bilevel;

int main(int argc, char** argv) {
  const Shape shape{4, 1, 48, 48};
  std::mt19937_64 generator(1);
  std::normal_distribution<double> noise(0, 0.1);
  std::vector<double> clean, noisy;
  double noisy_loss = 0;
  for (int n = 0; n < shape.n; ++n)
    for (int row = 0; row < shape.h; ++row)
      for (int column = 0; column < shape.w; ++column) {  // a disc on a step
        const bool disc = std::hypot(row - 24, column - 12 - 8 * n) < 10;
        clean.push_back(disc ? 0.9 : row < 16 ? 0.2 : 0.5);
        noisy.push_back(clean.back() + noise(generator));
        noisy_loss += std::pow(noisy.back() - clean.back(), 2) / (2 * shape.n);
      }

  Context context(Device::open("auto"));
  Tensor<double> truth(context, shape, clean), data(context, shape, noisy);

  Parameters parameters = tv_parameters();  // alpha and nu learned on a log scale, xi fixed
  auto energy = std::make_unique<ComposedEnergy<double>>(context, data.view(), parameters);
  BilevelProblem<double> problem(std::move(energy), truth.view(), parameters);

  Observer silent;
  UpperOptions options;
  options.schedule.tolerance = 1e-2;  // of the gradient of the loss
  auto maid = make_maid<double>(options);
  UpperReport report = maid->run(context, problem, parameters.initial(), data.view(), silent);

  std::puts(report.message.c_str());
  std::printf("alpha %.3g, nu %.3g\n", parameters.value("alpha", report.theta),
              parameters.value("nu", report.theta));
  std::printf("loss between %.9f and %.9f, of the noisy images %.9f\n", report.last.loss_lower,
              report.last.loss_upper, noisy_loss);
  if (argc > 1) write_model(argv[1], {TvOptions{}, parameters.at(report.theta)});
}
