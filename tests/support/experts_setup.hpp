#pragma once

#include <array>
#include <cmath>
#include <string>
#include <vector>

#include "bilevel/model/composed_energy.hpp"
#include "tests/oracle/foe_oracle.hpp"
#include "tests/support/batches.hpp"
#include "tests/support/numeric.hpp"
#include "tests/support/random.hpp"

namespace bilevel::testing_support {

using oracle::FoeProblem;

/// How theta is made of weight, smoothing and filters (parts 0, 1, 2).
struct ExpertsLayout {
  std::array<std::size_t, 3> order = {0, 1, 2};  ///< of the segments
  std::array<bool, 3> learned = {true, true, true};
  std::array<Transform, 3> transform = {Transform::exp, Transform::exp, Transform::identity};
};

inline ExpertsOptions options_of(const FoeProblem& problem) {
  return {problem.padding == oracle::Padding::valid ? FilterPadding::valid : FilterPadding::symmetric,
          problem.potential == oracle::Potential::huber_c2 ? TvPotential::huber_c2 : TvPotential::charbonnier,
          problem.zero_mean};
}

inline Parameters parameters_of(const FoeProblem& problem, const ExpertsLayout& layout = {}) {
  const auto count = static_cast<std::size_t>(problem.filters);
  std::array<std::vector<double>, 3> values;
  for (std::size_t k = 0; k < count; ++k) {
    values[0].push_back(problem.weight(static_cast<int>(k)));
    values[1].push_back(problem.smoothing(static_cast<int>(k)));
  }
  values[2].assign(problem.theta.begin() + 2 * problem.filters, problem.theta.end());
  const char* names[] = {"weight", "smoothing", "filters"};
  std::vector<Segment> segments;
  for (const std::size_t part : layout.order) {
    Segment s{names[part], layout.transform[part], 1, part == 2 ? -1e9 : 1e-12, 1e9, layout.learned[part]};
    if (part == 2 && layout.transform[part] != Transform::identity) s.lower = 1e-12;
    s.shape = part == 2 ? std::vector<int>{problem.filters, problem.size, problem.size}
                        : std::vector<int>{problem.filters};
    s.values = values[part];
    segments.push_back(s);
  }
  segments.push_back({"mu", Transform::identity, problem.mu, 0, 1e9, false});
  return Parameters(segments);
}

/// Entries of the library's theta in terms of the oracle's: d / d theta_j = factor_j d / d theta'_(entry_j).
struct ThetaMap {
  std::vector<std::size_t> entry;
  std::vector<double> factor;

  std::vector<double> gradient(const std::vector<double>& of_oracle) const {
    std::vector<double> out;
    for (std::size_t j = 0; j < entry.size(); ++j) out.push_back(factor[j] * of_oracle[entry[j]]);
    return out;
  }
  /// A direction of the oracle's theta, whose length is `size`.
  std::vector<double> direction(const std::vector<double>& d, std::size_t size) const {
    std::vector<double> out(size, 0);
    for (std::size_t j = 0; j < entry.size(); ++j) out[entry[j]] = factor[j] * d[j];
    return out;
  }
};

inline ThetaMap theta_map(const FoeProblem& problem, const ExpertsLayout& layout) {
  const auto count = static_cast<std::size_t>(problem.filters);
  const std::size_t sizes[] = {count, count, problem.theta.size() - 2 * count};
  const std::size_t first[] = {0, count, 2 * count};
  ThetaMap map;
  for (const std::size_t part : layout.order) {
    if (!layout.learned[part]) continue;
    for (std::size_t j = 0; j < sizes[part]; ++j) {
      const double theta = problem.theta[first[part] + j], value = part == 2 ? theta : std::exp(theta);
      const double slope = transform_slope(layout.transform[part], to_theta(layout.transform[part], value));
      map.entry.push_back(first[part] + j);
      map.factor.push_back(part == 2 ? slope : slope / value);
    }
  }
  return map;
}

/// The values that the library has at its theta: exact for logarithms of weight and smoothing.
inline FoeProblem bound_problem(FoeProblem problem, const Parameters& parameters,
                                const ExpertsLayout& layout) {
  const std::vector<double> theta = parameters.initial();
  const ThetaMap map = theta_map(problem, layout);
  for (std::size_t j = 0; j < theta.size(); ++j) {
    const Transform transform = parameters.learned(j).transform;
    const double value = to_value(transform, theta[j]);
    const bool taps = map.entry[j] >= 2 * static_cast<std::size_t>(problem.filters);
    problem.theta[map.entry[j]] = taps ? value : transform == Transform::exp ? theta[j] : std::log(value);
  }
  return problem;
}

inline FoeProblem foe_shape(int n, int h, int w, int filters, int size, double mu = 1e-3) {
  FoeProblem shape;
  shape.n = n;
  shape.h = h;
  shape.w = w;
  shape.filters = filters;
  shape.size = size;
  shape.mu = mu;
  return shape;
}

inline std::string describe(const oracle::NamedFoe& named) {
  const FoeProblem& p = named.problem;
  return named.name + ", " + std::to_string(p.n) + " images " + std::to_string(p.h) + "x" +
         std::to_string(p.w) + ", " + std::to_string(p.filters) + " filters of size " +
         std::to_string(p.size);
}

/// Noise whose responses, in units of nu_k, have the given root mean square.
inline std::vector<double> image_with_responses(const FoeProblem& problem, double size, Random& random) {
  const std::vector<double> x = noise(problem.h, problem.w, 1, random);
  double square = 0;
  for (int k = 0; k < problem.filters; ++k) {
    const std::vector<double> t = oracle::correlate(problem, k, x);
    square += dot(t, t) / std::pow(problem.smoothing(k), 2) / (problem.filters * problem.responses());
  }
  return add_scaled(std::vector<double>(x.size(), 0), size / std::sqrt(square), x);
}

}  // namespace bilevel::testing_support
