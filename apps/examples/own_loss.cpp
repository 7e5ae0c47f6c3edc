// Total variation denoising learned for what matters to oneself: by the squared error to all of the picture,
// by that to a region of interest, and by a loss of one's own, Huber's, which forgives outliers. Prints what
// was learned and the certified loss of each. Run: own_loss [DEVICE]

#include <bilevel/learn/upper_optimiser.hpp>
#include <cmath>
#include <cstdio>
#include <random>

using namespace bilevel;

int main(int argc, char** argv) {
  const Shape shape{1, 1, 40, 40};
  std::mt19937_64 generator(1);
  std::normal_distribution<double> noise(0, 0.1);
  std::vector<double> clean, noisy, region;
  for (int row = 0; row < shape.h; ++row)
    for (int column = 0; column < shape.w; ++column) {
      const bool textured = column >= 20;  // fine stripes, which a large weight would remove
      clean.push_back(textured ? 0.5 + (row / 2 % 2 ? 0.2 : -0.2) : row < 16 ? 0.2 : 0.8);
      noisy.push_back(clean.back() + noise(generator));
      region.push_back(textured ? 1 : 0);
    }
  Context context(Device::open(argc > 1 ? argv[1] : "auto"));
  Tensor<double> truth(context, shape, clean), data(context, shape, noisy);

  // g(x) = sum_p h(x_p - t_p), h(d) = d^2/(2 w) up to |d| = w, |d| - w/2 beyond; h'' <= 1/w.
  const double w = 0.05;
  const HostLoss<double>::Value value = [=](int, std::span<const double> x) {
    double sum = 0;
    for (std::size_t p = 0; p < x.size(); ++p) {
      const double d = std::abs(x[p] - clean[p]);
      sum += d <= w ? d * d / (2 * w) : d - w / 2;
    }
    return sum;
  };
  const HostLoss<double>::Gradient gradient = [=](int, std::span<const double> x, std::span<double> b) {
    for (std::size_t p = 0; p < x.size(); ++p) b[p] = std::fmax(-1, std::fmin(1, (x[p] - clean[p]) / w));
  };
  HostLoss<double>::Constants constants;
  constants.lipschitz = 1 / w;
  constants.convex = true;
  constants.lower_bound = 0;

  const std::pair<const char*, std::shared_ptr<const UpperLoss<double>>> losses[] = {
      {"whole", squared_error<double>(truth.view(), shape)},
      {"region", squared_error<double>(context, truth.view(), region, shape)},
      {"huber", std::make_shared<HostLoss<double>>(shape, value, gradient, constants)}};
  const Parameters parameters = tv_parameters();
  UpperOptions options;
  options.schedule.tolerance = 1e-2;
  for (const auto& [name, loss] : losses) {
    auto energy = std::make_unique<ComposedEnergy<double>>(context, data.view(), parameters);
    const BilevelProblem<double> problem(std::move(energy), loss, parameters);
    Observer silent;
    const UpperReport report =
        make_maid<double>(options)->run(context, problem, parameters.initial(), data.view(), silent);
    std::printf("%s: alpha %.4g, nu %.4g, loss between %.6f and %.6f\n", name,
                parameters.value("alpha", report.theta), parameters.value("nu", report.theta),
                report.last.loss_lower, report.last.loss_upper);
  }
}
