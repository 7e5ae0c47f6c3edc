#include <gtest/gtest.h>

#include <functional>

#include "tests/learn/bound_lab.hpp"

namespace bilevel {
namespace {

using namespace testing_support;

HypergradientRequest asking(double delta, double column_tolerance = 0.05, bool columns = true) {
  HypergradientRequest request;
  request.delta = delta;
  request.column_tolerance = column_tolerance;
  request.columns = columns;
  return request;
}

/// Every subset of {alpha, nu, xi}, by `number` 1 to 7, with random transforms; alpha at least, and no nu, of
/// quadratic potentials.
std::vector<oracle::Parameter> subset(int number, const oracle::TvModel& model, Random& random) {
  if (model.potential == oracle::Potential::quadratic) number = (number | 1) & ~2;
  std::vector<oracle::Parameter> out;
  const char* names[] = {"alpha", "nu", "xi"};
  const oracle::Transform transforms[] = {oracle::Transform::identity, oracle::Transform::exp,
                                          oracle::Transform::log10};
  for (int k = 0; k < 3; ++k)
    if (number & (1 << k)) out.push_back({names[k], transforms[random.integer(0, 2)]});
  return out;
}

/// One instance of every kind of model with at most `side` pixels a side, random values and a random set of
/// parameters.
std::vector<TvInstance> instances(int side, Random& random) {
  std::vector<TvInstance> out;
  const int h = random.integer(3, side), w = random.integer(3, side);
  std::vector<oracle::NamedModel> all = oracle::model_collection(h, w, random);
  for (oracle::NamedModel& named : oracle::further_models(h, w, random)) all.push_back(std::move(named));
  for (oracle::NamedModel& named : all) {
    named.model.alpha = random.log_uniform(1e-2, 0.5);
    named.model.nu = random.log_uniform(1e-3, 1e-1);
    TvInstance instance = random_instance(named.model, random.integer(1, 3), 0.1, random);
    instance.name = named.name;
    instance.learned = subset(random.integer(1, 7), instance.model, random);
    out.push_back(instance);
  }
  return out;
}

TEST(Certificate, HoldsForSolverIteratesOnTheReferenceCases) {
  BILEVEL_REQUIRE_REFERENCE();
  Random random(seed(320));
  BoundRatios ratios("reference cases, Newton iterates");
  for (const TvInstance& instance : reference_instances()) {
    if (instance.model.pixels() > 1000) continue;
    SCOPED_TRACE(instance.name);
    BoundLab<double> lab(instance);
    lab.start(instance.y);
    for (double epsilon = 1e-1; epsilon > 1e-8; epsilon *= random.log_uniform(0.05, 0.6)) {
      const std::vector<double> certificate = lab.solve(epsilon);
      lab.check(certificate, asking(epsilon * random.log_uniform(0.1, 10)), &ratios);
      lab.check(certificate, asking(epsilon, 0.05, false), nullptr);
    }
  }
}

// The dual-field Newton method lands closer than it certifies; gradient methods are the fair measure of the
// bounds.
TEST(Certificate, HoldsForIteratesOfGradientDescent) {
  BILEVEL_REQUIRE_REFERENCE();
  Random random(seed(321));
  BoundRatios ratios("reference cases, gradient-descent iterates");
  for (const TvInstance& instance : reference_instances()) {
    if (instance.model.pixels() > 1000 || instance.model.nu < 1e-3 || !instance.model.mask.empty()) continue;
    SCOPED_TRACE(instance.name);
    BoundLab<double> lab(instance);
    lab.start(instance.y);
    for (double epsilon = 1e-1; epsilon > 1e-7; epsilon *= 0.1)
      lab.check(lab.solve(epsilon, "gradient-descent"), asking(epsilon), &ratios);
  }
  EXPECT_LE(ratios.least.median(), 50);
}

TEST(Certificate, HoldsForSolverIteratesOfRandomProblems) {
  Random random(seed(322));
  BoundRatios ratios("random problems, Newton iterates");
  for (int round = 0; round < repetitions(4); ++round) {
    for (const TvInstance& instance : instances(16, random)) {
      SCOPED_TRACE(instance.name);
      BoundLab<double> lab(instance);
      for (int k = 0; k < 4; ++k) {
        if (k % 2 == 0) lab.start(instance.y);
        const double epsilon = random.log_uniform(1e-8, 1e-1), delta = random.log_uniform(1e-8, 1e-1);
        lab.check(lab.solve(epsilon), asking(delta, random.log_uniform(1e-6, 0.5)), &ratios);
      }
    }
  }
}

TEST(Certificate, HoldsInSinglePrecision) {
  Random random(seed(323));
  BoundRatios ratios("single precision, Newton iterates");
  for (int round = 0; round < repetitions(3); ++round) {
    for (const TvInstance& instance : instances(16, random)) {
      SCOPED_TRACE(instance.name);
      BoundLab<float> lab(instance);
      lab.start(instance.y);
      for (double epsilon : {1e-1, 1e-2, 1e-3, 1e-5})
        lab.check(lab.solve(epsilon), asking(epsilon, random.log_uniform(1e-3, 0.5)), &ratios);
    }
  }
}

/// Directions in which the hypergradient may be most wrong, one batch each.
std::vector<std::vector<Image>> directions(const BoundLab<double>& lab, Random& random) {
  const TvInstance& in = lab.instance();
  const std::size_t n = in.y.size();
  std::vector<std::vector<Image>> out(5 + in.learned.size(), std::vector<Image>(n));
  for (std::size_t i = 0; i < n; ++i) {
    const Image x = oracle::extended::rounded(lab.minimisers[i]);
    out[0][i] = random.normal_vector(x.size());
    out[1][i] = spike(in.model.height, in.model.width, in.model.height / 2, in.model.width / 2, 1);
    out[2][i] = oracle::solve_adjoint(in.model, x, oracle::upper_gradient(x, in.truth[i], in.images()));
    Image largest = random.normal_vector(x.size()), least = largest;
    for (int k = 0; k < 30; ++k) {
      largest = scaled_to(oracle::hessian_product(in.model, x, largest), 1);
      least = scaled_to(oracle::solve_adjoint(in.model, x, least), 1);
    }
    out[3][i] = largest;
    out[4][i] = least;
    const std::vector<Image> columns = oracle::scaled_columns(in.model, x, in.learned);
    for (std::size_t j = 0; j < columns.size(); ++j)
      out[5 + j][i] = oracle::solve_adjoint(in.model, x, columns[j]);
  }
  return out;
}

bool usable(const std::vector<Image>& batch) {
  for (const Image& image : batch)
    if (!(norm(image) > 0) || !std::isfinite(norm(image))) return false;
  return true;
}

TEST(Certificate, HoldsForPerturbationsOfExactLength) {
  Random random(seed(324));
  BoundRatios ratios("random problems, perturbations of exact length");
  for (int round = 0; round < repetitions(3); ++round) {
    for (const TvInstance& instance : instances(12, random)) {
      SCOPED_TRACE(instance.name);
      BoundLab<double> lab(instance);
      for (const std::vector<Image>& direction : directions(lab, random)) {
        if (!usable(direction)) continue;
        for (const double sign : {-1.0, 1.0}) {
          std::vector<Image> e;
          for (const Image& d : direction) e.push_back(scaled_to(d, sign * random.log_uniform(1e-6, 1e-1)));
          lab.check(lab.perturb(e), asking(random.log_uniform(1e-8, 1e-1), random.log_uniform(1e-6, 0.5)),
                    &ratios);
        }
      }
    }
  }
}

/// -B(x)^T A(x)^{-1} grad g(x) of the first image.
std::vector<double> gradient_at(const TvInstance& in, const Image& x) {
  const Image q = oracle::solve_adjoint(in.model, x, oracle::upper_gradient(x, in.truth[0], in.images()));
  return oracle::inexact_hypergradient(in.model, x, q, in.learned);
}

/// Ascent of the error on the sphere |e| = epsilon: e <- epsilon times the gradient of the error's norm
/// there.
Image worst_perturbation(const TvInstance& in, const Image& xhat, double epsilon, int steps, Random& random) {
  const std::vector<double> exact = gradient_at(in, xhat);
  Image e = scaled_to(random.normal_vector(xhat.size()), epsilon), best = e;
  double most = 0;
  for (int k = 0; k <= steps; ++k) {
    const Image x = add_scaled(xhat, 1, e);
    const std::vector<double> z = gradient_at(in, x);
    const double error = distance(z, exact);
    if (error > most) {
      most = error;
      best = e;
    }
    const double h = 1e-3 * std::min(epsilon, in.model.nu);
    Image ascent(x.size());
    for (std::size_t p = 0; p < x.size(); ++p) {
      Image moved = x;
      moved[p] += h;
      const std::vector<double> change = add_scaled(gradient_at(in, moved), -1, z);
      ascent[p] = dot(change, add_scaled(z, -1, exact));
    }
    if (!(norm(ascent) > 0)) break;
    e = scaled_to(ascent, epsilon);
  }
  return best;
}

TEST(Certificate, HoldsForTheWorstPerturbationsFound) {
  Random random(seed(325));
  BoundRatios ratios("random problems, ascended perturbations");
  for (int round = 0; round < repetitions(4); ++round) {
    for (TvInstance instance : instances(5, random)) {
      SCOPED_TRACE(instance.name);
      instance.y.resize(1);
      instance.truth.resize(1);
      BoundLab<double> lab(instance);
      const Image xhat = oracle::extended::rounded(lab.minimisers[0]);
      for (const double relative : {1e-3, 0.1, 1.0, 10.0}) {
        const double epsilon = relative * lab.instance().model.nu;
        const Image e = worst_perturbation(lab.instance(), xhat, epsilon, 6, random);
        lab.check(lab.perturb({e}), asking(1e-10, 1e-8), &ratios);
      }
    }
  }
}

// q and v_j that no solver would return: exact ones plus disturbances, kept because their residuals pass.
TEST(Certificate, HoldsForDisturbedAdjoints) {
  Random random(seed(326));
  BoundRatios ratios("random problems, disturbed adjoints");
  for (const TvInstance& instance : instances(9, random)) {
    SCOPED_TRACE(instance.name);
    BoundLab<double> lab(instance);
    lab.start(instance.y);
    const std::vector<double> certificate = lab.solve(1e-6);
    lab.check(certificate, asking(1e-9, 1e-8), nullptr);
    const std::vector<double> good = lab.gradient.save(lab.setup.context);
    for (const double size : {1e-6, 1e-3, 1e-1}) {
      std::vector<double> state = good;
      for (double& v : state) v += size * random.normal();
      lab.gradient.restore(lab.setup.context, state, true);
      lab.check(certificate, asking(1e9, 1e9), &ratios);
      // q is the one given: its residual passes.
      const std::vector<double> after = lab.gradient.save(lab.setup.context);
      EXPECT_TRUE(std::equal(after.begin(),
                             after.begin() + static_cast<std::ptrdiff_t>(instance.shape().count()),
                             state.begin()));
    }
  }
}

}  // namespace
}  // namespace bilevel
