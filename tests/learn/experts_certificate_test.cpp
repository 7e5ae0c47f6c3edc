#include <gtest/gtest.h>

#include "learn/lbfgs_memory.hpp"
#include "tests/learn/experts_lab.hpp"
#include "tests/oracle/foe_reference.hpp"
#include "tests/support/reference_case.hpp"

// Hypergradients of fields of experts and their certified errors, per block and along directions.

namespace bilevel {
namespace {

using namespace testing_support;
using oracle::NamedFoe;

HypergradientRequest asking(double delta, double column_tolerance = 0.05) {
  HypergradientRequest request;
  request.delta = delta;
  request.column_tolerance = column_tolerance;
  return request;
}

TEST(ExpertsHypergradient, IsThatOfTheReferenceCases) {
  if (reference_names("foe_").empty())
    GTEST_SKIP() << "Set BILEVEL_SHARED to the folder that holds reference/.";
  ExpertsRatios ratios("reference cases, Newton iterates");
  for (const std::string& name : reference_names("foe_")) {
    SCOPED_TRACE(name);
    const ReferenceCase data = read_reference(name);
    if (data.H > 40) continue;  // checked without the oracle below
    ExpertsBoundLab<double> lab(oracle::foe_problem(data));
    lab.start(data.y);
    for (const double accuracy : {1e-1, 1e-3, 1e-6}) {
      const std::vector<double> certificate = lab.solve(accuracy);
      lab.check(certificate, asking(accuracy), lab.exact, &ratios);
    }
    const HypergradientResult r = lab.check(lab.solve(1e-11), asking(1e-11), {}, nullptr);
    EXPECT_LE(max_relative_difference(r.z, data.hypergradient), 1e-8);
    EXPECT_FALSE(r.along.has_value());
  }
}

TEST(ExpertsHypergradient, IsThatOfTheLargestReferenceCase) {
  for (const std::string& name : reference_names("foe_")) {
    const ReferenceCase data = read_reference(name);
    if (data.H <= 40 || on_cuda()) continue;
    SCOPED_TRACE(name);
    ExpertsSetup<double> setup(oracle::foe_problem(data));
    BilevelProblem<double> problem = setup.bilevel();
    ImplicitHypergradient<double> gradient(setup.context, problem);
    Tensor<double> x(setup.context, setup.shape, data.y);
    SolveRequest<double> request;
    request.tolerance = 1e-11;
    const SolveReport lower =
        make_minimiser<double>()->minimise(setup.context, problem.energy(), request, x.view());
    const HypergradientResult r =
        gradient.compute(setup.context, data.theta, x.view(), lower.certificate, asking(1e-11));
    EXPECT_LE(max_relative_difference(r.z, data.hypergradient), 1e-8);
    EXPECT_LE(distance(r.z, data.hypergradient), r.omega + 1e-12 * norm(data.hypergradient));
  }
}

/// <e, G d> = sum_i <J_i e, J_i d> / N, J by differences of tight solves.
TEST(ExpertsHypergradient, GaussNewtonProductIsThatOfDifferences) {
  Random random(seed(2410));
  ExpertsBoundLab<double> lab(oracle::random_foe(oracle::FoeKind::generic, foe_shape(3, 7, 8, 3, 3), random));
  const std::vector<double> theta = lab.theta();
  lab.start(lab.model().y);
  const std::vector<double> certificate = lab.solve(1e-10);
  const std::vector<double> here = lab.values();
  const auto direction = [&] {
    std::vector<double> d(theta.size());
    for (double& v : d) v = random.normal();
    return d;
  };
  const std::vector<double> d = direction(), e = direction();
  std::vector<double> product;
  HypergradientRequest request = asking(1e-10, 1e-9);
  request.direction = [&](const HypergradientResult&, const GaussNewtonProduct& gauss_newton) {
    product = gauss_newton(d);
    return d;
  };
  lab.gradient.compute(lab.setup.context, theta, lab.x.view(), certificate, request);
  const auto jacobian = [&](const std::vector<double>& along) {
    constexpr double t = 1e-4;  // solves to 1e-11 leave 1e-7
    const auto at = [&](double step) {
      lab.problem.energy().bind(add_scaled(theta, step, along));
      lab.start(here);
      lab.solve(1e-11);
      return lab.values();
    };
    std::vector<double> difference = add_scaled(at(t), -1, at(-t));
    for (double& v : difference) v /= 2 * t;
    return difference;
  };
  const double expected = dot(jacobian(e), jacobian(d)) / 3;
  ASSERT_EQ(product.size(), theta.size());
  EXPECT_NEAR(dot(e, product), expected, 1e-5 * std::abs(expected));
}

/// One problem of every kind, padding and potential with random sizes.
std::vector<NamedFoe> problems(int side, Random& random) {
  const int size = random.integer(0, 2) == 0 ? 5 : 3;
  FoeProblem shape = foe_shape(random.integer(1, 2), random.integer(size, side), random.integer(size, side),
                               random.integer(2, 3), size, random.integer(0, 1) == 0 ? 1e-3 : 0);
  return oracle::foe_collection(shape, random);
}

/// Directions of theta: random, the gradient, the inverse Hessian of random L-BFGS pairs, the largest error,
/// and single blocks (a weight, a smoothing, the taps of a filter, a tap).
std::vector<double> direction_of(int kind, const FoeProblem& m, const std::vector<double>& exact,
                                 Random& random) {
  const std::size_t p = exact.size();
  std::vector<double> d(p, 0);
  const int k = random.integer(0, m.filters - 1), first = 2 * m.filters + k * m.taps();
  switch (kind % 7) {
    case 0:
      return random.normal_vector(p);
    case 1:
      return add_scaled(d, -random.log_uniform(1e-3, 1e3), exact);
    case 2: {
      LbfgsMemory memory;
      const std::vector<double> bend = random.normal_vector(p);
      for (int pair = 0; pair < 5; ++pair) {
        const std::vector<double> s = random.normal_vector(p);
        std::vector<double> y = s;
        for (std::size_t j = 0; j < p; ++j) y[j] *= 0.01 + bend[j] * bend[j];
        memory.push(s, y);
      }
      return add_scaled(d, -1, memory.apply(exact));
    }
    case 3:
      d[static_cast<std::size_t>(k)] = random.normal();
      return d;
    case 4:
      d[static_cast<std::size_t>(m.filters + k)] = random.normal();
      return d;
    case 5:
      for (int j = first; j < first + m.taps(); ++j) d[static_cast<std::size_t>(j)] = random.normal();
      return d;
    default:
      d[static_cast<std::size_t>(random.integer(first, first + m.taps() - 1))] = 1;
      return d;
  }
}

template <class T>
void check_iterates(std::uint64_t from, int rounds, const std::string& solver, double finest,
                    const std::string& name) {
  Random random(seed(from));
  ExpertsRatios ratios(name);
  int kind = 0;
  for (int round = 0; round < repetitions(rounds); ++round)
    for (const NamedFoe& named : problems(9, random)) {
      if (solver == "gradient-descent" && named.name.find("tiny") != std::string::npos) continue;
      if (solver == "gradient-descent" && named.name.find("large") != std::string::npos) continue;
      SCOPED_TRACE(describe(named));
      ExpertsBoundLab<T> lab(named.problem);
      for (int k = 0; k < 4; ++k, ++kind) {
        if (k % 2 == 0) lab.start(lab.model().y);
        const std::vector<double> certificate = lab.solve(random.log_uniform(finest, 1), solver);
        lab.check(certificate, asking(random.log_uniform(finest, 1), random.log_uniform(1e-6, 0.5)),
                  direction_of(kind, lab.model(), lab.exact, random), &ratios);
      }
    }
}

TEST(ExpertsCertificate, HoldsForNewtonIterates) {
  check_iterates<double>(1501, 2, "newton", 1e-8, "Newton iterates");
}
TEST(ExpertsCertificate, HoldsForIteratesOfGradientDescent) {
  check_iterates<double>(1502, 1, "gradient-descent", 1e-5, "gradient-descent iterates");
}
TEST(ExpertsCertificate, HoldsForIteratesOfLbfgs) {
  check_iterates<double>(1503, 1, "lbfgs", 1e-8, "L-BFGS iterates");
}
TEST(ExpertsCertificate, HoldsInSinglePrecision) {
  check_iterates<float>(1504, 2, "newton", 1e-5, "single precision");
}

/// Directions in which the hypergradient may be most wrong, one batch each.
std::vector<std::vector<Image>> perturbations_of(const ExpertsBoundLab<double>& lab, Random& random) {
  const FoeProblem& m = lab.model();
  std::vector<std::vector<Image>> out(7);
  for (int i = 0; i < m.n; ++i) {
    const Image x = lab.minimiser(i), truth = m.image(m.x_true, i);
    out[0].push_back(random.normal_vector(x.size()));
    out[1].push_back(spike(m.h, m.w, 0, 0, 1));
    out[2].push_back(oracle::solve_adjoint(m, x, add_scaled(x, -1, truth)));
    Image largest = random.normal_vector(x.size()), least = largest;
    for (int k = 0; k < 12; ++k) {
      largest = scaled_to(oracle::hessian_product(m, x, largest), 1);
      least = scaled_to(oracle::solve_adjoint(m, x, least), 1);
    }
    out[3].push_back(largest);
    out[4].push_back(least);
    out[5].push_back(
        oracle::solve_adjoint(m, x, oracle::mixed_forward(m, x, random.normal_vector(m.theta.size()))));
    Image flatter(x.size(), 0);  // responses towards zero
    for (int k = 0; k < m.filters; ++k)
      flatter = add_scaled(flatter, -1, oracle::correlate_adjoint(m, k, oracle::correlate(m, k, x)));
    out[6].push_back(flatter);
  }
  return out;
}

bool usable(const std::vector<Image>& batch) {
  for (const Image& image : batch)
    if (!(norm(image) > 0) || !std::isfinite(norm(image))) return false;
  return true;
}

TEST(ExpertsCertificate, HoldsForPerturbationsOfExactLength) {
  Random random(seed(1505));
  ExpertsRatios ratios("perturbations of exact length");
  int kind = 0;
  for (int round = 0; round < repetitions(2); ++round)
    for (const NamedFoe& named : problems(8, random)) {
      SCOPED_TRACE(describe(named));
      ExpertsBoundLab<double> lab(named.problem);
      for (const std::vector<Image>& batch : perturbations_of(lab, random)) {
        if (!usable(batch)) continue;
        std::vector<Image> e;
        for (const Image& image : batch)
          e.push_back(scaled_to(image, (random.integer(0, 1) == 0 ? -1 : 1) * random.log_uniform(1e-6, 1)));
        lab.check(lab.perturb(e), asking(random.log_uniform(1e-8, 1), random.log_uniform(1e-6, 0.5)),
                  direction_of(kind++, lab.model(), lab.exact, random), &ratios);
      }
    }
}

/// -B(x)^T A(x)^{-1} (x - truth) of the only image.
std::vector<double> gradient_at(const FoeProblem& m, const Image& x) {
  const Image q = oracle::solve_adjoint(m, x, add_scaled(x, -1, m.x_true));
  return add_scaled(std::vector<double>(m.theta.size(), 0), -1, oracle::mixed_adjoint(m, x, q));
}

/// Climbs on the sphere |e| = epsilon towards the largest error of the gradient, or of its part along d.
Image worst_perturbation(const FoeProblem& m, const Image& xhat, double epsilon, const std::vector<double>& d,
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

TEST(ExpertsCertificate, HoldsForTheWorstPerturbationsFound) {
  Random random(seed(1506));
  ExpertsRatios ratios("climbed perturbations");
  int kind = 0;
  for (const FoeProblem& shape : {foe_shape(1, 4, 5, 2, 3), foe_shape(1, 5, 5, 1, 5)})
    for (const NamedFoe& named : oracle::foe_collection(shape, random)) {
      SCOPED_TRACE(describe(named));
      ExpertsBoundLab<double> lab(named.problem);
      const Image xhat = lab.minimiser(0);
      const double unit = norm(image_with_responses(lab.model(), 1, random));
      for (const double relative : {1e-2, 0.3, 5.0}) {
        const std::vector<double> d = direction_of(kind, lab.model(), lab.exact, random);
        const bool along = kind++ % 2 == 0;
        const Image e = worst_perturbation(lab.model(), xhat, relative * unit,
                                           along ? d : std::vector<double>(), repetitions(24), random);
        lab.check(lab.perturb({e}), asking(1e-10, 1e-8), d, &ratios);
      }
    }
}

/// Few entries of theta: columns for all, also where the blocks are fewer than the entries.
TEST(ExpertsCertificate, HoldsForFewParameters) {
  Random random(seed(1507));
  ExpertsRatios ratios("few parameters");
  RatioRecorder columns("few parameters, ADJ / error of the corrected z");
  struct Case {
    int filters;
    std::array<bool, 3> learned;
  };
  for (const Case& c :
       {Case{3, {true, true, false}}, Case{2, {true, false, false}}, Case{1, {false, false, true}},
        Case{1, {true, false, true}}, Case{1, {true, true, true}}, Case{4, {false, true, false}}}) {
    ExpertsLayout layout;
    layout.learned = c.learned;
    for (const NamedFoe& named : oracle::foe_collection(foe_shape(2, 6, 7, c.filters, 3), random)) {
      SCOPED_TRACE(describe(named) + ", learned " + std::to_string(c.learned[0]) +
                   std::to_string(c.learned[1]) + std::to_string(c.learned[2]));
      ExpertsBoundLab<double> lab(named.problem, layout);
      lab.start(lab.model().y);
      for (const double accuracy : {1e-1, 1e-4}) {
        const std::vector<double> d = random.normal_vector(lab.exact.size());
        const HypergradientResult r =
            lab.check(lab.solve(accuracy), asking(accuracy * random.log_uniform(0.1, 10)), d, &ratios);
        EXPECT_EQ(r.block_bound.size(), r.block_end.size());
        if (r.corrected) columns.add(r.omega_columns / distance(r.z, lab.exact));
        EXPECT_NE(r.corrected, r.along.has_value());
      }
    }
  }
}

/// The column of the direction predicts the reconstructions to first order.
TEST(ExpertsCertificate, TheColumnPredictsTheReconstruction) {
  Random random(seed(1508));
  FoeProblem problem = oracle::random_foe(oracle::FoeKind::generic, foe_shape(1, 9, 8, 2, 3), random);
  ExpertsBoundLab<double> lab(problem);
  lab.start(lab.model().y);
  const std::vector<double> d = random.normal_vector(lab.exact.size());
  Tensor<double> predicted(lab.setup.context, lab.setup.shape);
  EXPECT_FALSE(
      lab.gradient.predict(lab.setup.context, lab.x.view(), std::vector<double>{1}, predicted.view()));
  lab.check(lab.solve(1e-12), asking(1e-12, 1e-12), d, nullptr);
  const auto error = [&](double t) {
    EXPECT_TRUE(
        lab.gradient.predict(lab.setup.context, lab.x.view(), std::vector<double>{t}, predicted.view()));
    const FoeProblem moved = lab.setup.at(add_scaled(lab.theta(), t, d));
    return distance(download(lab.setup.context, predicted), oracle::minimise(moved, moved.y).x);
  };
  EXPECT_NEAR(taylor_slope(error, 1e-2, 1e-5, 7, 1e-11), 2, 0.15);
}

}  // namespace
}  // namespace bilevel
