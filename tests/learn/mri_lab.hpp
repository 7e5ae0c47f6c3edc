#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>

#include "bilevel/core/tensor.hpp"
#include "bilevel/learn/hypergradient.hpp"
#include "bilevel/solve/minimiser.hpp"
#include "tests/support/mri_setup.hpp"

namespace bilevel::testing_support {

using oracle::Image;

/// An MRI energy with its training data on the device. The oracle's problem has exactly the theta and the
/// data that the library sees.
template <class T>
struct MriSetup {
  MriProblem problem;
  Shape shape;
  MapsOf maps;
  Parameters parameters;
  Context context;
  Tensor<T> truth;

  explicit MriSetup(const MriProblem& from, const std::string& device = test_device("cpu:1"))
      : problem(bound_problem<T>(from)),
        shape(shape_of(problem)),
        maps(problem),
        parameters(parameters_of(problem)),
        context(Device::open(device)),
        truth(context, shape, narrow<T>(problem.x_true)) {}
  BilevelProblem<T> bilevel() {
    auto energy = std::make_unique<ComposedEnergy<T>>(
        context, shape, complex_of<T>(problem.y, static_cast<std::size_t>(problem.pixels())),
        pattern_of(problem), parameters, options_of(problem), maps.maps());
    energy->bind(problem.theta());
    return BilevelProblem<T>(std::move(energy), truth.view(), parameters,
                             sampling_penalty(parameters, problem.beta1, problem.beta2));
  }
};

/// omega / error of every form and of the derivative along directions.
struct MriRatios {
  explicit MriRatios(const std::string& kind)
      : theorem(kind + ", T / error"),
        adjoint(kind + ", Q / error"),
        directional(kind + ", DL / error"),
        result(kind + ", omega / error"),
        along(kind + ", bound along / error along"),
        loss(kind + ", adjoint_error / error of the loss"),
        enclosure(kind + ", width of the plain enclosure of f / with the adjoint") {}
  RatioRecorder theorem, adjoint, directional, result, along, loss, enclosure;
};

/// One problem with its exact minimisers and hypergradient.
template <class T>
class MriBoundLab {
 public:
  explicit MriBoundLab(const MriProblem& from)
      : setup(from),
        problem(setup.bilevel()),
        gradient(setup.context, problem),
        x(setup.context, setup.shape) {
    const oracle::UpperResult upper = oracle::exact_hypergradient(model());
    minimisers = upper.extended_xhat;
    exact = upper.hypergradient;
  }
  const MriProblem& model() const { return setup.problem; }
  std::vector<double> theta() const { return setup.problem.theta(); }
  std::size_t unknowns() const { return setup.shape.image(); }
  Image minimiser(int i) const { return oracle::extended::rounded(minimisers[static_cast<std::size_t>(i)]); }

  /// Solves to `epsilon` from the current x; returns the certificates.
  std::vector<double> solve(double epsilon, const std::string& solver = "newton") {
    SolveRequest<T> request;
    request.tolerance = epsilon;
    const std::vector<double> certificate =
        make_minimiser<T>(solver)->minimise(setup.context, problem.energy(), request, x.view()).certificate;
    const std::vector<double> at = values();
    for (int i = 0; i < model().n; ++i)
      EXPECT_LE(distance_to_minimiser(at, i), certificate[static_cast<std::size_t>(i)]) << "certificate";
    return certificate;
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
    for (int i = 0; i < model().n; ++i) distances.push_back(distance_to_minimiser(stored, i) * (1 + 1e-15));
    return distances;
  }

  /// Computes the hypergradient and checks every bound it reports against the exact one. `d` asks for the
  /// derivative along a direction; empty: none.
  HypergradientResult check(const std::vector<double>& epsilon, HypergradientRequest request,
                            const std::vector<double>& d, MriRatios* ratios) {
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
    if (ratios != nullptr && plain > 0 && error > 0) {
      ratios->theorem.add(r.omega_theorem / plain);
      ratios->adjoint.add(r.omega_adjoint / plain);
      ratios->directional.add(r.omega_directional / plain);
      ratios->result.add(r.omega / error);
    }
    check_loss(r, epsilon, ratios);
    if (r.along) {
      const double along = std::abs(r.along->slope - dot(exact, d));
      EXPECT_LE(along, r.along->error) << "along";
      if (ratios != nullptr && along > 0) ratios->along.add(r.along->error / along);
    }
    return r;
  }

  std::vector<double> values() {
    const std::vector<T> stored = download(setup.context, x);
    return {stored.begin(), stored.end()};
  }

  double distance_to_minimiser(const std::vector<double>& batch, int i) const {
    long double square = 0;
    for (std::size_t p = 0; p < unknowns(); ++p) {
      const long double d =
          batch[static_cast<std::size_t>(i) * unknowns() + p] - minimisers[static_cast<std::size_t>(i)][p];
      square += d * d;
    }
    return static_cast<double>(std::sqrt(square));
  }

  MriSetup<T> setup;
  BilevelProblem<T> problem;
  ImplicitHypergradient<T> gradient;
  Tensor<T> x;
  std::vector<oracle::ExtendedImage> minimisers;
  std::vector<double> exact;

 private:
  static std::vector<double> part(const std::vector<double>& all, std::size_t first, std::size_t last) {
    return {all.begin() + static_cast<std::ptrdiff_t>(first),
            all.begin() + static_cast<std::ptrdiff_t>(last)};
  }
  /// g(xhat) = g(x) - <q, grad Phi(x)> + |e|^2/(2N), to the bound on its error, and the enclosures of f.
  void check_loss(const HypergradientResult& r, const std::vector<double>& epsilon, MriRatios* ratios) {
    const std::vector<double> at = values();
    std::vector<double> squares;  // |x - truth|^2
    double loss = oracle::penalty(model());
    for (int i = 0; i < model().n; ++i) {
      const auto k = static_cast<std::size_t>(i);
      long double at_minimiser = 0, at_x = 0, square = 0;  // 2 N times
      for (std::size_t p = 0; p < unknowns(); ++p) {
        const long double truth = model().truth(i)[p], xhat = minimisers[k][p], x_p = at[k * unknowns() + p];
        at_minimiser += (xhat - truth) * (xhat - truth);
        at_x += (x_p - truth) * (x_p - truth);
        square += (x_p - xhat) * (x_p - xhat);
      }
      squares.push_back(static_cast<double>(at_x));
      loss += static_cast<double>(at_minimiser) / (2 * model().n);
      const auto error = static_cast<double>(
          std::abs((at_minimiser - at_x - square) / (2 * model().n) + r.adjoint_product[k]));
      const auto rounding = static_cast<double>(1e-18L * (at_minimiser + at_x));  // of the exact minimiser
      EXPECT_LE(error, r.adjoint_error[k] + rounding) << "loss of image " << i;
      if (ratios != nullptr && error > rounding) ratios->loss.add(r.adjoint_error[k] / error);
    }
    const double penalty = oracle::penalty(model()), slack = 1e-14 * (1 + std::abs(loss));
    const UpperLoss<T>& error = problem.loss();
    const LossEnclosure plain = enclose_loss<T>(error, squares, epsilon, penalty),
                        sharp = enclose_loss<T>(error, squares, epsilon, r.adjoint_product, r.adjoint_error,
                                                penalty);
    for (const LossEnclosure& e : {plain, sharp}) {
      EXPECT_LE(e.lower, loss + slack);
      EXPECT_GE(e.upper, loss - slack);
    }
    EXPECT_GE(sharp.value, sharp.lower);
    EXPECT_LE(sharp.value, sharp.upper);
    EXPECT_GE(sharp.lower, plain.lower - slack);
    EXPECT_LE(sharp.upper, plain.upper + slack);
    if (ratios != nullptr && sharp.upper > sharp.lower)
      ratios->enclosure.add((plain.upper - plain.lower) / (sharp.upper - sharp.lower));
  }
  /// -B^T q at the x and q of the last hypergradient, by the oracle, with the gradient of the penalty.
  std::vector<double> plain_gradient() {
    const std::vector<T> state = gradient.save(setup.context);
    const std::vector<double> at = values(), q(state.begin(), state.end());
    std::vector<double> z = oracle::penalty_gradient(model());
    for (int i = 0; i < model().n; ++i)
      z = add_scaled(z, -1,
                     oracle::mixed_adjoint(model(), model().data(i), image_of(at, unknowns(), i),
                                           image_of(q, unknowns(), i)));
    return z;
  }
};

}  // namespace bilevel::testing_support
