#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <string>

#include "bilevel/learn/hypergradient.hpp"
#include "bilevel/solve/minimiser.hpp"
#include "tests/oracle/tv_certificate.hpp"
#include "tests/support/tv_setup.hpp"

namespace bilevel::testing_support {

/// omega / error of every form and of the result.
struct BoundRatios {
  explicit BoundRatios(const std::string& kind)
      : theorem(kind + ", T"),
        adjoint(kind + ", Q"),
        directional(kind + ", DL"),
        columns(kind + ", ADJ"),
        least(kind + ", minimum"),
        result(kind + ", omega of the result") {}
  RatioRecorder theorem, adjoint, directional, columns, least, result;
};

/// z from the q and v_j of a hypergradient, in double by the oracle: plain -B^T q, and corrected by <v_j, b -
/// A q>.
struct OracleGradients {
  std::vector<double> plain, corrected;
};
template <class T>
OracleGradients oracle_gradients(const TvInstance& instance, const std::vector<Image>& x,
                                 const std::vector<T>& state) {
  const std::size_t p = instance.learned.size(), n = instance.y.size(), batch = n * x[0].size();
  OracleGradients out{std::vector<double>(p, 0), std::vector<double>(p, 0)};
  const auto part = [&](std::size_t k) {
    const auto from = state.begin() + static_cast<std::ptrdiff_t>(k * batch);
    return unflatten(std::vector<T>(from, from + static_cast<std::ptrdiff_t>(batch)), n);
  };
  const std::vector<Image> q = part(0);
  for (std::size_t i = 0; i < n; ++i) {
    const std::vector<double> z = oracle::inexact_hypergradient(instance.model, x[i], q[i], instance.learned);
    const Image b = oracle::upper_gradient(x[i], instance.truth[i], instance.images());
    const Image residual = add_scaled(b, -1, oracle::hessian_product(instance.model, x[i], q[i]));
    for (std::size_t j = 0; j < p; ++j) {
      out.plain[j] += z[j];
      out.corrected[j] += z[j] - dot(part(1 + j)[i], residual);
    }
  }
  return out;
}

/// One problem with its exact hypergradient.
template <class T>
class BoundLab {
 public:
  explicit BoundLab(const TvInstance& from)
      : setup(from),
        problem(setup.problem()),
        gradient(setup.context, problem),
        x(setup.context, from.shape()) {
    // The values that the library computed from theta.
    TvInstance& own = setup.instance;
    own.model.alpha = setup.energy->value("alpha");
    if (own.model.potential != oracle::Potential::quadratic) own.model.nu = setup.energy->value("nu");
    own.model.xi = setup.energy->value("xi");
    const oracle::UpperResult upper = oracle::exact_hypergradient(own.model, own.learned, own.y, own.truth);
    minimisers = upper.extended_xhat;
    exact = upper.hypergradient;
  }
  const TvInstance& instance() const { return setup.instance; }

  /// Solves to `epsilon` from the current x; returns the certificates.
  std::vector<double> solve(double epsilon, const std::string& solver = "newton") {
    SolveRequest<T> request;
    request.tolerance = epsilon;
    return make_minimiser<T>(solver)->minimise(setup.context, *setup.energy, request, x.view()).certificate;
  }
  void start(const std::vector<Image>& images) { x.upload(setup.context, flat<T>(images)); }
  /// x = xhat + e; returns the distances rounded up.
  std::vector<double> perturb(const std::vector<Image>& e) {
    std::vector<Image> moved;
    for (std::size_t i = 0; i < e.size(); ++i)
      moved.push_back(add_scaled(oracle::extended::rounded(minimisers[i]), 1, e[i]));
    start(moved);
    std::vector<double> distance;
    const std::vector<Image> stored = setup.images(x);
    for (std::size_t i = 0; i < e.size(); ++i)
      distance.push_back(exact_distance(stored[i], minimisers[i]) * (1 + 1e-15));
    return distance;
  }

  /// Computes the hypergradient and checks every bound it reports against the exact one.
  HypergradientResult check(const std::vector<double>& epsilon, const HypergradientRequest& request,
                            BoundRatios* ratios) {
    const HypergradientResult r =
        gradient.compute(setup.context, instance().theta(), x.view(), epsilon, request);
    const OracleGradients z = oracle_gradients(instance(), setup.images(x), gradient.save(setup.context));
    const double error = distance(r.z, exact), plain = distance(z.plain, exact);
    EXPECT_LE(error, r.omega);
    for (std::size_t j = 0; j < exact.size(); ++j) EXPECT_LE(std::fabs(r.z[j] - exact[j]), r.block_bound[j]);
    EXPECT_LE(plain, r.omega_theorem) << "T";
    EXPECT_LE(plain, r.omega_adjoint) << "Q";
    EXPECT_LE(plain, r.omega_directional) << "DL";
    if (ratios != nullptr) {
      ratios->theorem.add(r.omega_theorem / plain);
      ratios->adjoint.add(r.omega_adjoint / plain);
      ratios->directional.add(r.omega_directional / plain);
      ratios->result.add(r.omega / error);
    }
    if (r.corrected) {
      const double corrected = distance(z.corrected, exact);
      EXPECT_LE(corrected, r.omega_columns) << "ADJ";
      if (ratios != nullptr) {
        ratios->columns.add(r.omega_columns / corrected);
        ratios->least.add(std::min({r.omega_theorem, r.omega_adjoint, r.omega_directional, r.omega_columns}) /
                          error);
      }
    }
    return r;
  }

  TvSetup<T> setup;
  BilevelProblem<T> problem;
  ImplicitHypergradient<T> gradient;
  Tensor<T> x;
  std::vector<oracle::ExtendedImage> minimisers;
  std::vector<double> exact;
};

}  // namespace bilevel::testing_support
