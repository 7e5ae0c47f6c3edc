#include <gtest/gtest.h>

#include <cmath>

#include "tests/learn/mri_lab.hpp"
#include "tests/oracle/mri_reference.hpp"
#include "tests/support/reference_case.hpp"

// Hypergradients of sampling patterns and their certified errors.

namespace bilevel {
namespace {

using namespace testing_support;
using oracle::NamedMri;

HypergradientRequest asking(double delta, double column_tolerance = 0.05) {
  HypergradientRequest request;
  request.delta = delta;
  request.column_tolerance = column_tolerance;
  return request;
}

TEST(MriHypergradient, IsThatOfTheReferenceCases) {
  if (reference_names("mri_").empty())
    GTEST_SKIP() << "Set BILEVEL_SHARED to the folder that holds reference/.";
  MriRatios ratios("reference cases, Newton iterates");
  for (const std::string& name : reference_names("mri_")) {
    SCOPED_TRACE(name);
    const ReferenceCase data = read_reference(name);
    if (on_cuda() && data.H * data.W * data.N > 200) continue;
    MriBoundLab<double> lab(oracle::mri_problem(data));
    lab.start(data.x0);
    for (const double accuracy : {1e-1, 1e-4}) lab.check(lab.solve(accuracy), asking(accuracy), {}, &ratios);
    const HypergradientResult r = lab.check(lab.solve(1e-11), asking(1e-11), {}, nullptr);
    EXPECT_LE(max_relative_difference(r.z, data.hypergradient), 1e-8);
  }
}

/// f at another theta by the library alone.
double loss_at(const MriProblem& m, const std::vector<double>& theta) {
  MriSetup<double> setup(oracle::with_theta(m, theta));
  BilevelProblem<double> problem = setup.bilevel();
  Tensor<double> x(setup.context, setup.shape, m.x_true);
  SolveRequest<double> request;
  request.tolerance = 1e-11;
  make_minimiser<double>()->minimise(setup.context, problem.energy(), request, x.view());
  std::vector<double> unused(theta.size(), 0);
  return std::pow(distance(download(setup.context, x), m.x_true), 2) / (2 * m.n) +
         problem.penalty(setup.problem.theta(), unused);
}

/// Every pattern, map, potential, kind of image and set of learned scalars.
TEST(MriHypergradient, MatchesDifferencesOfTheLoss) {
  Random random(seed(2601));
  for (NamedMri& named : oracle::mri_collection(mri_shape(on_cuda() ? 1 : 2, 5, 6), random)) {
    SCOPED_TRACE(describe(named));
    for (double& s : named.problem.sampling) s = 0.05 + 0.85 * s;  // differences stay inside the bounds
    MriBoundLab<double> lab(named.problem);
    lab.start(lab.model().x_true);
    const HypergradientResult r = lab.check(lab.solve(1e-11), asking(1e-11), {}, nullptr);
    const std::vector<double> d = scaled_to(random.normal_vector(r.z.size()), 1);
    const auto f = [&](double t) { return loss_at(lab.model(), add_scaled(lab.theta(), t, d)); };
    // the second derivative of f jumps where a difference passes nu of huber_c2
    const double h = lab.model().potential == oracle::Potential::huber_c2 ? 2e-5 : 5e-4,
                 slope = (f(-2 * h) - 8 * f(-h) + 8 * f(h) - f(2 * h)) / (12 * h);
    EXPECT_NEAR(slope, dot(r.z, d), 1e-6 * norm(r.z));
  }
}

std::vector<NamedMri> problems(int side, Random& random) {
  return oracle::mri_collection(
      mri_shape(random.integer(1, 2), random.integer(1, side), random.integer(3, side)), random);
}

/// Directions of theta: random, the gradient, single entries.
std::vector<double> direction_of(int kind, const std::vector<double>& exact, Random& random) {
  std::vector<double> d(exact.size(), 0);
  if (kind % 3 == 0) return random.normal_vector(exact.size());
  if (kind % 3 == 1) return add_scaled(d, -random.log_uniform(1e-3, 1e3), exact);
  d[static_cast<std::size_t>(random.integer(0, static_cast<int>(d.size()) - 1))] = 1;
  return d;
}

template <class T>
void check_iterates(std::uint64_t from, int rounds, const std::string& solver, double finest,
                    const std::string& name) {
  Random random(seed(from));
  MriRatios ratios(name);
  int kind = 0;
  for (int round = 0; round < repetitions(rounds); ++round)
    for (const NamedMri& named : problems(on_cuda() ? 5 : 8, random)) {
      SCOPED_TRACE(describe(named));
      MriBoundLab<T> lab(named.problem);
      for (int k = 0; k < (on_cuda() ? 2 : 4); ++k, ++kind) {
        if (k % 2 == 0) lab.start(lab.model().x_true);
        const std::vector<double> certificate = lab.solve(random.log_uniform(finest, 1), solver);
        lab.check(certificate, asking(random.log_uniform(finest, 1), random.log_uniform(1e-6, 0.5)),
                  direction_of(kind, lab.exact, random), &ratios);
      }
    }
}

TEST(MriCertificate, HoldsForNewtonIterates) {
  check_iterates<double>(2602, 2, "newton", 1e-8, "Newton iterates");
}
TEST(MriCertificate, HoldsForIteratesOfFista) {
  check_iterates<double>(2603, 1, "fista", 1e-5, "FISTA iterates");
}
TEST(MriCertificate, HoldsInSinglePrecision) {
  check_iterates<float>(2604, 2, "newton", 1e-5, "single precision");
}

/// Directions in which the hypergradient may be most wrong, one batch each.
std::vector<std::vector<Image>> perturbations_of(const MriBoundLab<double>& lab, Random& random) {
  const MriProblem& m = lab.model();
  std::vector<std::vector<Image>> out(6);
  for (int i = 0; i < m.n; ++i) {
    const Image x = lab.minimiser(i);
    out[0].push_back(random.normal_vector(x.size()));
    out[1].push_back(oracle::solve_adjoint(m, x, add_scaled(x, -1, m.truth(i))));
    Image largest = random.normal_vector(x.size()), least = largest;
    for (int k = 0; k < 6; ++k) {
      largest = scaled_to(oracle::hessian_product(m, x, largest), 1);
      least = scaled_to(oracle::solve_adjoint(m, x, least), 1);
    }
    out[2].push_back(largest);
    out[3].push_back(least);
    const Image d = random.normal_vector(m.theta().size());
    out[4].push_back(oracle::solve_adjoint(m, x, oracle::mixed_forward(m, m.data(i), x, d)));
    Image flatter = x;  // differences towards zero
    for (double& v : flatter) v = -v;
    out[5].push_back(flatter);
  }
  return out;
}

TEST(MriCertificate, HoldsForPerturbationsOfExactLength) {
  Random random(seed(2605));
  MriRatios ratios("perturbations of exact length");
  int kind = 0;
  for (const NamedMri& named : problems(on_cuda() ? 4 : 7, random)) {
    SCOPED_TRACE(describe(named));
    MriBoundLab<double> lab(named.problem);
    for (const std::vector<Image>& batch : perturbations_of(lab, random)) {
      if (on_cuda() && random.integer(0, 3) > 0) continue;
      std::vector<Image> e;
      for (const Image& image : batch)
        e.push_back(scaled_to(image, (random.integer(0, 1) == 0 ? -1 : 1) * random.log_uniform(1e-6, 1)));
      lab.check(lab.perturb(e), asking(random.log_uniform(1e-8, 1), random.log_uniform(1e-6, 0.5)),
                direction_of(kind++, lab.exact, random), &ratios);
    }
  }
}

/// -B(x)^T A(x)^{-1} (x - truth) of the only image, without the penalty.
std::vector<double> gradient_at(const MriProblem& m, const Image& x) {
  const Image q = oracle::solve_adjoint(m, x, add_scaled(x, -1, m.x_true));
  return add_scaled(std::vector<double>(m.theta().size(), 0), -1, oracle::mixed_adjoint(m, m.data(0), x, q));
}

/// Climbs on the sphere |e| = epsilon towards the largest error of the gradient, or of its part along d.
Image worst_perturbation(const MriProblem& m, const Image& xhat, double epsilon, const std::vector<double>& d,
                         int steps, Random& random) {
  const std::vector<double> exact = gradient_at(m, xhat);
  Image e = scaled_to(random.normal_vector(xhat.size()), epsilon);
  double most = -1, reach = 0.7;
  for (int k = 0; k < steps; ++k) {
    const Image trial = scaled_to(
        add_scaled(e, k == 0 ? 0 : reach * epsilon / std::sqrt(e.size()), random.normal_vector(e.size())),
        epsilon);
    const std::vector<double> change = add_scaled(gradient_at(m, add_scaled(xhat, 1, trial)), -1, exact);
    const double value = d.empty() ? norm(change) : std::abs(dot(change, d));
    reach *= value > most ? 1.3 : 0.9;
    if (value <= most) continue;
    most = value;
    e = trial;
  }
  return e;
}

TEST(MriCertificate, HoldsForTheWorstPerturbationsFound) {
  Random random(seed(2606));
  MriRatios ratios("climbed perturbations");
  int kind = 0;
  for (const NamedMri& named : oracle::mri_collection(mri_shape(1, 3, 4), random)) {
    SCOPED_TRACE(describe(named));
    MriBoundLab<double> lab(named.problem);
    const MriProblem& m = lab.model();
    const Image xhat = lab.minimiser(0);
    for (const double relative : {1e-2, 0.3, 5.0}) {
      const std::vector<double> d = direction_of(kind, lab.exact, random);
      const bool along = kind++ % 2 == 0;
      const Image e = worst_perturbation(m, xhat, relative * m.nu * std::sqrt(m.unknowns()),
                                         along ? d : std::vector<double>(), repetitions(24), random);
      lab.check(lab.perturb({e}), asking(1e-10, 1e-8), d, &ratios);
    }
  }
}

/// |grad|/mu against the distance to the minimiser where every sample is taken with s >= 0.3: mu is then near
/// the curvature that an error meets.
TEST(MriCertificate, DistanceIsTightWhereNoSampleIsTiny) {
  Random random(seed(2608));
  RatioRecorder newton("s >= 0.3, Newton iterates, certificate / distance"),
      fista("s >= 0.3, FISTA iterates, certificate / distance");
  for (NamedMri& named : oracle::mri_collection(mri_shape(1, 9, 8), random)) {
    SCOPED_TRACE(describe(named));
    for (double& s : named.problem.sampling) s = 0.3 + 0.7 * s;
    MriBoundLab<double> lab(named.problem);
    for (const char* solver : {"newton", "fista"})
      for (const double accuracy : {1e-1, 1e-2, 1e-4}) {
        lab.start(lab.model().x_true);
        const double certificate = lab.solve(accuracy, solver)[0];
        (*solver == 'n' ? newton : fista).add(certificate / lab.distance_to_minimiser(lab.values(), 0));
      }
  }
  EXPECT_LT(newton.median(), 10);
  EXPECT_LT(fista.median(), 10);
}

/// Few entries of theta: columns for all.
TEST(MriCertificate, HoldsForFewParameters) {
  Random random(seed(2607));
  MriRatios ratios("few parameters");
  for (const auto& [h, w] : {std::pair{3, 7}, {2, 2}, {1, 5}})
    for (const NamedMri& named : oracle::mri_collection(mri_shape(2, h, w), random)) {
      if (named.problem.parameters() > 10) continue;
      SCOPED_TRACE(describe(named));
      MriBoundLab<double> lab(named.problem);
      lab.start(lab.model().x_true);
      for (const double accuracy : {1e-1, 1e-4})
        lab.check(lab.solve(accuracy), asking(accuracy * random.log_uniform(0.1, 10)),
                  random.normal_vector(lab.exact.size()), &ratios);
    }
}

}  // namespace
}  // namespace bilevel
