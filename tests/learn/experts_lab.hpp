#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <string>

#include "bilevel/learn/hypergradient.hpp"
#include "bilevel/solve/minimiser.hpp"
#include "tests/oracle/tv_oracle.hpp"
#include "tests/support/experts_setup.hpp"
#include "tests/support/test_device.hpp"

namespace bilevel::testing_support {

using oracle::Image;

/// A field of experts with its training data on the device. The oracle's problem has exactly the theta and
/// the data that the library sees.
template <class T>
struct ExpertsSetup {
  Parameters parameters;
  FoeProblem problem;
  ThetaMap map;
  Shape shape;
  Context context;
  Tensor<T> y, truth;

  explicit ExpertsSetup(const FoeProblem& from, const ExpertsLayout& layout = {},
                        const std::string& device = test_device("cpu:1"))
      : parameters(parameters_of(from, layout)),
        problem(bound_problem(from, parameters, layout)),
        map(theta_map(problem, layout)),
        shape{from.n, 1, from.h, from.w},
        context(Device::open(device)),
        y(context, shape, narrow<T>(from.y)),
        truth(context, shape, narrow<T>(from.x_true)) {
    problem.y = representable<T>(from.y);
    problem.x_true = representable<T>(from.x_true);
  }
  BilevelProblem<T> bilevel() {
    return BilevelProblem<T>(
        std::make_unique<ComposedEnergy<T>>(context, y.view(), parameters, options_of(problem)), truth.view(),
        parameters);
  }
  /// The oracle's problem at another theta; weight and smoothing must be on a natural log scale.
  FoeProblem at(const std::vector<double>& theta) const {
    FoeProblem moved = problem;
    for (std::size_t j = 0; j < theta.size(); ++j) moved.theta[map.entry[j]] = theta[j];
    return moved;
  }
};

/// omega / error of every form and of the derivative along directions.
struct ExpertsRatios {
  explicit ExpertsRatios(const std::string& kind)
      : theorem(kind + ", T / error"),
        adjoint(kind + ", Q / error"),
        directional(kind + ", DL / error"),
        result(kind + ", omega / error"),
        along(kind + ", bound along / error along"),
        gain(kind + ", omega |d| / bound along") {}
  RatioRecorder theorem, adjoint, directional, result, along, gain;
};

/// One problem with its exact minimisers and hypergradient.
template <class T>
class ExpertsBoundLab {
 public:
  explicit ExpertsBoundLab(const FoeProblem& from, const ExpertsLayout& layout = {})
      : setup(from, layout),
        problem(setup.bilevel()),
        gradient(setup.context, problem),
        x(setup.context, setup.shape) {
    const oracle::UpperResult upper = oracle::exact_hypergradient(setup.problem);
    minimisers = upper.extended_xhat;
    exact = setup.map.gradient(upper.hypergradient);
  }
  const FoeProblem& model() const { return setup.problem; }
  std::vector<double> theta() const { return setup.parameters.initial(); }
  std::size_t pixels() const { return setup.shape.image(); }
  Image minimiser(int i) const { return oracle::extended::rounded(minimisers[static_cast<std::size_t>(i)]); }

  /// Solves to `epsilon` from the current x; returns the certificates.
  std::vector<double> solve(double epsilon, const std::string& solver = "newton") {
    SolveRequest<T> request;
    request.tolerance = epsilon;
    return make_minimiser<T>(solver)
        ->minimise(setup.context, problem.energy(), request, x.view())
        .certificate;
  }
  void start(const std::vector<double>& batch) { x.upload(setup.context, narrow<T>(batch)); }
  /// x = xhat + e; returns the distances rounded up.
  std::vector<double> perturb(const std::vector<Image>& e) {
    std::vector<double> batch;
    for (std::size_t i = 0; i < e.size(); ++i)
      append(batch, add_scaled(minimiser(static_cast<int>(i)), 1, e[i]));
    start(batch);
    const std::vector<double> stored = values();
    std::vector<double> distances;
    for (std::size_t i = 0; i < e.size(); ++i) {
      long double square = 0;
      for (std::size_t p = 0; p < pixels(); ++p) {
        const long double d = stored[i * pixels() + p] - minimisers[i][p];
        square += d * d;
      }
      distances.push_back(static_cast<double>(std::sqrt(square)) * (1 + 1e-15));
    }
    return distances;
  }

  /// Computes the hypergradient and checks every bound it reports against the exact one. `d` asks for the
  /// derivative along a direction; empty: none.
  HypergradientResult check(const std::vector<double>& epsilon, HypergradientRequest request,
                            const std::vector<double>& d, ExpertsRatios* ratios) {
    if (!d.empty())
      request.direction = [&](const HypergradientResult&, const GaussNewtonProduct&) { return d; };
    const HypergradientResult r = gradient.compute(setup.context, theta(), x.view(), epsilon, request);
    const double error = distance(r.z, exact), plain = distance(plain_gradient(), exact);
    EXPECT_LE(error, r.omega);
    std::size_t begin = 0;
    for (std::size_t b = 0; b < r.block_end.size(); begin = r.block_end[b++])
      EXPECT_LE(distance(part(r.z, begin, r.block_end[b]), part(exact, begin, r.block_end[b])),
                r.block_bound[b])
          << "block " << b;
    EXPECT_LE(plain, r.omega_theorem) << "T";
    EXPECT_LE(plain, r.omega_adjoint) << "Q";
    EXPECT_LE(plain, r.omega_directional) << "DL";
    if (ratios != nullptr) {
      ratios->theorem.add(r.omega_theorem / plain);
      ratios->adjoint.add(r.omega_adjoint / plain);
      ratios->directional.add(r.omega_directional / plain);
      ratios->result.add(r.omega / error);
    }
    if (r.along) {
      const double along = std::abs(r.along->slope - dot(exact, d));
      EXPECT_LE(along, r.along->error) << "along";
      EXPECT_GE(r.along->part_epsilon, 0);
      EXPECT_GE(r.along->part_delta, 0);
      if (ratios != nullptr) {
        if (along > 0) ratios->along.add(r.along->error / along);
        ratios->gain.add(r.omega * norm(d) / r.along->error);
      }
    }
    return r;
  }

  std::vector<double> values() {
    const std::vector<T> stored = download(setup.context, x);
    return {stored.begin(), stored.end()};
  }
  static std::vector<double> part(const std::vector<double>& all, std::size_t first, std::size_t last) {
    return {all.begin() + static_cast<std::ptrdiff_t>(first),
            all.begin() + static_cast<std::ptrdiff_t>(last)};
  }

  ExpertsSetup<T> setup;
  BilevelProblem<T> problem;
  ImplicitHypergradient<T> gradient;
  Tensor<T> x;
  std::vector<oracle::ExtendedImage> minimisers;
  std::vector<double> exact;

 private:
  /// -B^T q at the x and q of the last hypergradient, by the oracle.
  std::vector<double> plain_gradient() {
    const std::vector<T> state = gradient.save(setup.context);
    const std::vector<double> at = values(), q(state.begin(), state.end());
    std::vector<double> z(exact.size(), 0);
    for (int i = 0; i < model().n; ++i)
      z = add_scaled(z, -1,
                     setup.map.gradient(oracle::mixed_adjoint(model(), image_of(at, pixels(), i),
                                                              image_of(q, pixels(), i))));
    return z;
  }
};

}  // namespace bilevel::testing_support
