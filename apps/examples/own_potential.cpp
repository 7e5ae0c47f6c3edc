// Learns a potential that the library does not have: alpha nu sum log cosh(z / nu) of differences z of
// neighbours, as a term of four host functions beside the data term. Checks the term first. Prints what the
// check found, and the learned numbers. Run: own_potential [DEVICE]

#include <bilevel/learn/upper_optimiser.hpp>
#include <bilevel/model/term.hpp>
#include <cmath>
#include <cstdio>
#include <random>

using namespace bilevel;
using Values = std::span<const double>;
using Image = std::span<double>;

constexpr std::size_t side = 32;

/// f(a, b) for neighbours a, b to the right and below.
template <class F>
void for_each_pair(F f) {
  for (std::size_t e = 0; e < side * side; ++e) {
    if (e % side + 1 < side) f(e, e + 1);
    if (e + side < side * side) f(e, e + side);
  }
}
/// out = K^T of what `flux` gives for a pair.
template <class F>
void adjoint(Image out, F flux) {
  for (double& v : out) v = 0;
  for_each_pair([&](std::size_t a, std::size_t b) {
    const double f = flux(a, b);
    out[a] -= f;
    out[b] += f;
  });
}
double sech2(double u) { return 1 / (std::cosh(u) * std::cosh(u)); }

int main(int argc, char** argv) {
  const Shape shape{1, 1, side, side};
  HostTerm<double>::Functions log_cosh;  // t = alpha, nu
  log_cosh.value_and_gradient = [](Values t, Values x, Image gradient) {
    double value = 0;
    adjoint(gradient, [&](std::size_t a, std::size_t b) {
      const double u = (x[b] - x[a]) / t[1];
      value += t[0] * t[1] * (std::fabs(u) + std::log1p(std::exp(-2 * std::fabs(u))) - std::log(2.0));
      return t[0] * std::tanh(u);
    });
    return value;
  };
  log_cosh.hessian_product = [](Values t, Values x, Values p, Image product) {
    adjoint(product, [&](std::size_t a, std::size_t b) {
      return t[0] / t[1] * sech2((x[b] - x[a]) / t[1]) * (p[b] - p[a]);
    });
  };
  log_cosh.mixed = [](Values t, std::size_t j, Values x, Image out) {
    adjoint(out, [&](std::size_t a, std::size_t b) {
      const double u = (x[b] - x[a]) / t[1];
      return j == 0 ? std::tanh(u) : -t[0] * u / t[1] * sech2(u);
    });
  };
  // |K|^2 <= 8, a row of K has norm sqrt 2; |tanh'| <= 1, |tanh''| <= 0.77, |(u tanh'(u))'| <= 1.
  log_cosh.constants = [](Values t) {
    const double alpha = t[0], nu = t[1];
    TermConstants c;
    c.lipschitz = 8 * alpha / nu;
    c.hessian_lipschitz = 8 * std::sqrt(2.0) * 0.77 * alpha / (nu * nu);
    c.mixed_lipschitz = {8 / nu, 8 * alpha / (nu * nu)};
    c.rounding = c.product_rounding = 128 * alpha / nu;
    c.mixed_rounding = 16 * std::sqrt(8.0 * 2 * side * side) * (1 + alpha / nu);
    return c;
  };
  const std::vector<Segment> segments{{"alpha", Transform::exp, 0.05, 1e-6, 1e2, true},
                                      {"nu", Transform::exp, 0.05, 1e-4, 1e1, true}};
  auto term = std::make_shared<HostTerm<double>>(shape, segments, log_cosh);

  Context context(Device::open(argc > 1 ? argv[1] : "auto"));
  const TermReport check = check_term<double>(context, *term, std::vector<double>{0.05, 0.05});
  std::printf("term: %s\n", check ? "right" : check.fault.c_str());

  std::mt19937_64 generator(1);
  std::normal_distribution<double> noise(0, 0.1);
  std::vector<double> clean, noisy;
  for (std::size_t e = 0; e < shape.count(); ++e) {
    clean.push_back((e / side < 11 ? 0.2 : 0.5) + (e % side < 16 ? 0 : 0.3));
    noisy.push_back(clean.back() + noise(generator));
  }
  Tensor<double> truth(context, shape, clean), data(context, shape, noisy);

  std::vector<Segment> all = segments;
  all.push_back({"xi", Transform::exp, 1e-3, 1e-10, 1, false});  // the ridge
  const Parameters parameters(all);
  auto energy =
      std::make_unique<ComposedEnergy<double>>(context, data.view(), parameters, RegulariserSum({}, {term}));
  BilevelProblem<double> problem(std::move(energy), truth.view(), parameters);
  Observer silent;
  UpperOptions options;
  options.schedule.tolerance = 1e-2;
  const UpperReport report =
      make_maid<double>(options)->run(context, problem, parameters.initial(), data.view(), silent);
  std::printf("alpha %.4g, nu %.4g, loss between %.6f and %.6f\n", parameters.value("alpha", report.theta),
              parameters.value("nu", report.theta), report.last.loss_lower, report.last.loss_upper);
}
