// Learns total variation for an operator of one's own: y are means of 2x2 pixels with noise
// (super-resolution). Checks the operator first. Prints what the check found, and the learned weight. Run:
// own_operator [DEVICE]

#include <bilevel/learn/upper_optimiser.hpp>
#include <bilevel/ops/host_operator.hpp>
#include <bilevel/ops/operator_check.hpp>
#include <cstdio>
#include <random>

using namespace bilevel;

int main(int argc, char** argv) {
  const Shape fine{1, 1, 32, 32}, coarse{1, 1, 16, 16};
  const auto block = [](std::size_t e) { return e / 16 * 2 * 32 + e % 16 * 2; };  // first pixel of a mean
  const HostOperator<double>::Map means = [=](std::span<const double> x, std::span<double> z) {
    for (std::size_t e = 0; e < z.size(); ++e) {
      const double* p = &x[block(e)];
      z[e] = (p[0] + p[1] + p[32] + p[33]) / 4;
    }
  };
  const HostOperator<double>::Map spread = [=](std::span<const double> z, std::span<double> x) {
    for (std::size_t e = 0; e < z.size(); ++e) {
      double* p = &x[block(e)];
      p[0] = p[1] = p[32] = p[33] = z[e] / 4;
    }
  };
  // |A|^2 = 1/4: rows are orthogonal, each of norm 1/2. Four additions round an entry.
  auto op = std::make_shared<HostOperator<double>>(fine, coarse, means, spread,
                                                   HostOperator<double>::Constants{0.25, 4});

  Context context(Device::open(argc > 1 ? argv[1] : "auto"));
  const OperatorReport check = check_operator(context, *op);
  std::printf("operator: %s\n", check ? "right" : check.fault.c_str());

  std::mt19937_64 generator(1);
  std::normal_distribution<double> noise(0, 0.05);
  std::vector<double> clean(fine.count()), data(coarse.count());
  for (int row = 0; row < fine.h; ++row)
    for (int column = 0; column < fine.w; ++column)
      clean[row * fine.w + column] = (row < 11 ? 0.2 : 0.5) + (column < 16 ? 0 : 0.3);
  means(clean, data);
  for (double& y : data) y += noise(generator);

  Tensor<double> truth(context, fine, clean), y(context, coarse, data), start(context, fine);
  std::vector<double> first(fine.count());
  spread(data, first);
  for (double& v : first) v *= 4;
  start.upload(context, first);

  std::vector<Segment> segments = tv_parameters().segments();
  for (Segment& s : segments)
    if (s.name == "xi") s.initial = 0.01;
  const Parameters parameters(segments);
  auto energy = std::make_unique<ComposedEnergy<double>>(context, op, y.view(), parameters);
  BilevelProblem<double> problem(std::move(energy), truth.view(), parameters);
  Observer silent;
  UpperOptions options;
  options.schedule.tolerance = 1e-2;
  const UpperReport report =
      make_maid<double>(options)->run(context, problem, parameters.initial(), start.view(), silent);
  std::printf("alpha %.4g, nu %.4g, loss between %.6f and %.6f\n", parameters.value("alpha", report.theta),
              parameters.value("nu", report.theta), report.last.loss_lower, report.last.loss_upper);
}
