// E3: error of the hypergradient of a least-squares problem against the iterations of the adjoint system,
// with the bounds that are known before and after: conjugate gradients, and inexact automatic differentiation
// of heavy ball and gradient descent.

#include <algorithm>
#include <cmath>
#include <functional>

#include "apps/common/interrupt.hpp"
#include "apps/common/text.hpp"
#include "apps/experiments/capped_solver.hpp"
#include "apps/experiments/quadratic_draws.hpp"
#include "apps/experiments/registry.hpp"
#include "bilevel/learn/a_priori.hpp"
#include "bilevel/learn/hypergradient.hpp"

namespace bilevel_app::experiments {

namespace {

using namespace bilevel;

constexpr double kAccuracies[] = {1, 0.1, 0.01};  ///< epsilon
constexpr int kSettled = 5;                       ///< iterations before which bounds are not compared

/// A solver of the adjoint system: its residual factor after k iterations, the rate of its errors, and the
/// iterations looked at.
struct Method {
  const char *solver, *name;
  std::function<double(const Curvature&, int)> factor;
  bool accelerated;
  int last, every;
};
const Method kMethods[] = {
    {"cg", "conjugate gradients", conjugate_gradient_factor, true, 30, 1},
    {"heavy-ball", "heavy ball", heavy_ball_factor, true, 100, 2},
    {"gradient-descent", "gradient descent",
     [](const Curvature& c, int k) { return richardson_factor(c, 2 / (c.lipschitz + c.mu), k); }, false, 400,
     10}};

/// ln of (r - 1)/(r + 1), r the condition number or its root.
double log_rate(const Curvature& c, bool accelerated) {
  const double kappa = c.lipschitz / c.mu, r = accelerated ? std::sqrt(kappa) : kappa;
  return std::log((r - 1) / (r + 1));
}

double distance(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (std::size_t j = 0; j < a.size(); ++j) sum += (a[j] - b[j]) * (a[j] - b[j]);
  return std::sqrt(sum);
}
double norm(const std::vector<double>& a) { return distance(a, std::vector<double>(a.size(), 0)); }

/// After k iterations; `tail` is the distance to what they tend to, relative.
struct Point {
  int k;
  double error, before, after, tail;
};

/// The lower level solved to one epsilon, and the iterations of one method from there.
struct Decay {
  double epsilon;
  std::vector<Point> points;
};

class Lab {
 public:
  Lab(const Device& device, const QuadraticDraws& draws)
      : exact_(draws), p_(device, draws), theta_(p_.layout.initial()), gradient_(exact_.gradient(theta_)) {
    p_.problem->energy().bind(theta_);
    start_ = start();
  }
  Curvature curvature() const { return p_.problem->energy().curvature(); }

  Decay decay(const Method& method, double epsilon) {
    Tensor<double> x(p_.context, p_.start.shape());
    copy<double>(p_.context, std::as_const(p_.start).view(), x.view());
    SolveRequest<double> request;
    request.tolerance = epsilon;
    const std::vector<double> measured = make_minimiser<double>("gradient-descent")
                                             ->minimise(p_.context, p_.problem->energy(), request, x.view())
                                             .certificate;
    const std::vector<double> limit = exact_.gradient_at(download(p_.context, x));
    Decay out{epsilon, {}};
    for (int k = 1; k <= method.last; k += method.every) {
      if (interrupted()) throw Interrupted();
      const HypergradientResult r = after(method, k, std::as_const(x).view(), measured);
      out.points.push_back({k, distance(r.z, gradient_),
                            a_priori_error(start_, epsilon, method.factor(curvature(), k)), r.omega,
                            distance(r.z, limit) / norm(limit)});
    }
    return out;
  }

 private:
  /// The hypergradient of k iterations from q = 0.
  HypergradientResult after(const Method& method, int k, View<const double> x,
                            std::span<const double> epsilon) {
    ImplicitHypergradient<double> implicit(p_.context, *p_.problem,
                                           std::make_shared<CappedSolver>(method.solver, k));
    HypergradientRequest request;
    request.delta = 1e-250;
    return implicit.compute(p_.context, theta_, x, epsilon, request);
  }
  /// What is known at x = 0.
  StartInputs start() {
    ImplicitHypergradient<double> implicit(p_.context, *p_.problem);
    HypergradientRequest request;
    request.columns = false;
    const BoundInputs in =
        implicit
            .compute(p_.context, theta_, std::as_const(p_.start).view(), std::vector<double>{1e300}, request)
            .inputs.at(0);
    return {curvature(), in.loss_lipschitz, in.epsilon, in.norm_b, in.norm_mixed};
  }

  QuadraticSolution exact_;
  QuadraticProblem p_;
  std::vector<double> theta_, gradient_;
  StartInputs start_;
};

/// Slope of ln(tail) over k by least squares, where rounding does not show, and of the stationary methods
/// where the factor k of the heavy ball changes little.
double slope_of(const std::vector<Decay>& decays, bool cg) {
  double n = 0, sk = 0, se = 0, skk = 0, ske = 0;
  for (const Decay& decay : decays)
    for (const Point& p : decay.points) {
      if (!(p.tail > 1e-13) || !(cg || p.tail < 1e-8)) continue;
      const double e = std::log(p.tail);
      n += 1, sk += p.k, se += e, skk += p.k * p.k, ske += p.k * e;
    }
  return (n * ske - sk * se) / (n * skk - sk * sk);
}

void add_rows(const Method& method, const std::vector<Decay>& decays, const Curvature& c,
              std::vector<Row>& rows) {
  const std::string name = std::string(method.name) + ": ";
  double before = 0, after = 0, tighter = 0, settled = 0;
  for (const Decay& decay : decays)
    for (const Point& p : decay.points) {
      before = std::max(before, p.error / p.before);
      after = std::max(after, p.error / p.after);
      if (p.k <= kSettled) continue;
      settled += 1;
      tighter += p.after <= p.before ? 1 : 0;
    }
  rows.push_back(at_most({name + "error / a priori bound, largest", {}, before}, 1));
  rows.push_back(at_most({name + "error / a posteriori bound, largest", {}, after}, 1));
  rows.push_back(
      at_least({name + "a posteriori at most a priori, part of the points", {}, tighter / settled}, 0.9));
  const bool cg = std::string(method.solver) == "cg";
  const double rate = std::exp(log_rate(c, method.accelerated)), ours = slope_of(decays, cg);
  const Quantity slope{name + "error per iteration, ln of its factor", std::log(rate), ours};
  rows.push_back(cg ? at_most(slope, std::log(rate), "at most that of theory")
                    : relative_to(slope, std::log(rate), 0.05, "that of theory"));
}

Panel panel_of(const Method& method, const std::vector<Decay>& decays) {
  Panel panel{
      method.name, {"iteration of the adjoint system", false}, {"error of the hypergradient", true}, {}};
  const auto add = [&panel](const std::string& label, const Decay& decay, double Point::*which) {
    Series series{label, {}, {}};
    for (const Point& p : decay.points) {
      series.x.push_back(p.k);
      series.y.push_back(p.*which);
    }
    panel.series.push_back(std::move(series));
  };
  for (const Decay& d : decays) add(format("error, epsilon %g", d.epsilon), d, &Point::error);
  for (const Decay& d : decays) add(format("a posteriori, epsilon %g", d.epsilon), d, &Point::after);
  for (const Decay& d : decays) add(format("a priori, epsilon %g", d.epsilon), d, &Point::before);
  return panel;
}

Result run(const Settings& s) {
  const int rows = s.quick ? 200 : 1000, columns = 10;
  const QuadraticDraws draws(static_cast<std::uint32_t>(s.seed), rows, columns);
  Lab lab(s.device, draws);
  const Curvature c = lab.curvature();
  Result result;
  for (const Method& method : kMethods) {
    s.tell(method.name);
    std::vector<Decay> decays;
    for (const double epsilon : kAccuracies) decays.push_back(lab.decay(method, epsilon));
    add_rows(method, decays, c, result.rows);
    result.curves.push_back(panel_of(method, decays));
  }
  result.notes = {
      format("Data: our own draws with the distributions of E2, %d x %d, noise 0.01, seed %llu, at "
             "theta = 1; the condition number of the lower level is %.3g. Its minimisers are those "
             "of gradient descent, solved to epsilon = 1, 0.1 and 0.01.",
             rows, columns, static_cast<unsigned long long>(s.seed), c.lipschitz / c.mu),
      "Slopes are fitted to the distance from what the iterations tend to, the hypergradient of an "
      "adjoint solved exactly, as an error stays where the lower level is not solved exactly; of "
      "heavy ball and gradient descent below 1e-8, where the factor k of the former changes little."};
  return result;
}

}  // namespace

Experiment least_squares_bounds() {
  return {
      "E3",
      "Bounds on the error of hypergradients, before and after",
      "Both bounds hold, and the a posteriori one is tighter; errors of conjugate gradients and heavy ball "
      "fall with the root of the condition number, those of gradient descent with itself.",
      "Ehrhardt and Roberts 2023",
      true,
      DataKind::none,
      run};
}

}  // namespace bilevel_app::experiments
