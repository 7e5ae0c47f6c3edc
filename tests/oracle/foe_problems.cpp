#include <algorithm>
#include <cmath>

#include "tests/oracle/foe_oracle.hpp"

namespace bilevel::oracle {
namespace {

using testing_support::Random;

std::vector<double> random_taps(FoeKind kind, int k, int size, Random& random) {
  const double length = random.log_uniform(0.3, 1.5);
  if (kind == FoeKind::corner_taps) {
    std::vector<double> taps(static_cast<std::size_t>(size) * size, 0.0);
    const int corners[] = {0, size - 1, size * (size - 1), size * size - 1};
    taps[corners[k % 4]] = k % 2 == 0 ? length : -length;
    return taps;
  }
  std::vector<double> taps = random.normal_vector(static_cast<std::size_t>(size) * size);
  if (kind == FoeKind::one_sign) {
    for (double& tap : taps) tap = k % 2 == 0 ? std::abs(tap) : -std::abs(tap);
  }
  return testing_support::scaled_to(taps, length);
}

std::vector<double> random_theta(FoeKind kind, const FoeProblem& shape, Random& random) {
  std::vector<double> theta;
  for (int k = 0; k < shape.filters; ++k) {
    const double b = random.log_uniform(0.02, 0.2), large = random.log_uniform(5.0, 50.0);
    theta.push_back(std::log(kind == FoeKind::large_weights ? large : b));
  }
  for (int k = 0; k < shape.filters; ++k) {
    const double nu = random.log_uniform(0.01, 0.3), tiny = random.log_uniform(1e-5, 1e-4);
    theta.push_back(std::log(kind == FoeKind::tiny_smoothing ? tiny : nu));
  }
  for (int k = 0; k < shape.filters; ++k) {
    const std::vector<double> taps = random_taps(kind, k, shape.size, random);
    theta.insert(theta.end(), taps.begin(), taps.end());
  }
  return theta;
}

std::vector<double> random_truth(FoeKind kind, const FoeProblem& shape, Random& random) {
  if (kind == FoeKind::constant_images) return testing_support::constant(shape.h, shape.w, random.uniform());
  if (kind != FoeKind::edges) return testing_support::piecewise_constant(shape.h, shape.w, 0.0, random);
  std::vector<double> x = testing_support::constant(shape.h, shape.w, 0.0);
  for (int p = 0; p < shape.pixels(); ++p) x[p] = (p % shape.w) * 2 < shape.w ? 0.0 : 1.0;
  return x;
}

}  // namespace

FoeProblem random_foe(FoeKind kind, FoeProblem shape, Random& random) {
  shape.theta = random_theta(kind, shape, random);
  shape.zero_mean = kind == FoeKind::zero_mean;
  shape.y.clear();
  shape.x_true.clear();
  for (int i = 0; i < shape.n; ++i) {
    const std::vector<double> truth = random_truth(kind, shape, random);
    const double sigma = kind == FoeKind::constant_images ? 0.0 : 0.1;
    for (const double value : truth) {
      shape.x_true.push_back(value);
      shape.y.push_back(value + sigma * random.normal());
    }
  }
  return shape;
}

std::vector<NamedFoe> foe_collection(const FoeProblem& shape, Random& random) {
  const std::vector<std::pair<std::string, FoeKind>> kinds = {{"generic", FoeKind::generic},
                                                              {"corner taps", FoeKind::corner_taps},
                                                              {"one sign", FoeKind::one_sign},
                                                              {"zero mean", FoeKind::zero_mean},
                                                              {"tiny smoothing", FoeKind::tiny_smoothing},
                                                              {"large weights", FoeKind::large_weights},
                                                              {"constant images", FoeKind::constant_images},
                                                              {"edges", FoeKind::edges}};
  std::vector<NamedFoe> problems;
  for (const Padding padding : {Padding::symmetric, Padding::valid}) {
    if (padding == Padding::valid && shape.size > std::min(shape.h, shape.w)) continue;
    for (const Potential potential : {Potential::charbonnier, Potential::huber_c2}) {
      for (const auto& [name, kind] : kinds) {
        FoeProblem problem = shape;
        problem.padding = padding;
        problem.potential = potential;
        problems.push_back({name + (padding == Padding::valid ? ", valid, " : ", symmetric, ") +
                                (potential == Potential::charbonnier ? "charbonnier" : "huber_c2"),
                            kind, random_foe(kind, problem, random)});
      }
    }
  }
  return problems;
}

}  // namespace bilevel::oracle
