#include "apps/denoise/hypergradient_checks.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "bilevel/learn/a_priori.hpp"
#include "bilevel/solve/linear_solver.hpp"

namespace bilevel_app::denoise {

using namespace bilevel;

namespace {

constexpr double kResidual = 1e-2;  ///< of linear systems, relative
constexpr double kKept = 0.8;       ///< of an accuracy, at least, after what solvers keep for rounding
constexpr double kMost = 500;       ///< a longer prediction is not put to the test
constexpr int kUnrolled = 10;       ///< K

/// A linear solver that tells how many iterations it took, and takes at most `most`.
class Counted final : public LinearSolver<double> {
 public:
  explicit Counted(const std::string& name, int most = LinearRequest().max_iterations)
      : solver_(make_linear_solver<double>(name)), most_(most) {}
  const char* name() const override { return solver_->name(); }
  SolveReport solve(Context& context, const HessianAt<double>& hessian, const LinearRequest& request,
                    View<const double> b, View<double> q) const override {
    LinearRequest capped = request;
    capped.max_iterations = std::min(most_, request.max_iterations);
    SolveReport report = solver_->solve(context, hessian, capped, b, q);
    iterations = *std::max_element(report.iterations.begin(), report.iterations.end());
    return report;
  }

  mutable double iterations = 0;  ///< of the image that took most, in the last solve

 private:
  std::unique_ptr<LinearSolver<double>> solver_;
  int most_;
};

/// What is known at the noisy images.
std::vector<StartInputs> starts(Laboratory& lab, const Vector& theta) {
  const Laboratory::Solved at = lab.certify(theta, lab.start());
  HypergradientRequest request;
  request.delta = std::numeric_limits<double>::max();
  request.columns = false;
  const HypergradientResult r = lab.hypergradient(theta, at, request, std::make_shared<Counted>("cg"));
  std::vector<StartInputs> list;
  for (std::size_t i = 0; i < r.inputs.size(); ++i) {
    const BoundInputs& in = r.inputs[i];
    list.push_back({lab.curvature(theta), in.loss_lipschitz, at.certificate[i], in.norm_b, in.norm_mixed});
  }
  return list;
}

class HypergradientLab {
 public:
  HypergradientLab(Laboratory& lab, const Vector& theta, const HypergradientResult& truth)
      : lab_(lab),
        theta_(theta),
        truth_(truth),
        curvature_(lab.curvature(theta)),
        start_(starts(lab, theta)) {}

  void lower_level(const char* solver, double predicted, double tolerance) {
    Estimate e{std::string("reconstruction by ") + solver, {}, predicted};
    if (predicted <= kMost) {
      e.iterations = lab_.solve_by(solver, theta_, tolerance).iterations;
      count(e);
    }
    found.estimates.push_back(e);
  }
  /// Of the noisy images from their reconstructions, at most.
  double farthest() const {
    double most = 0;
    for (const StartInputs& s : start_) most = std::max(most, s.distance);
    return most;
  }
  const Curvature& curvature() const { return curvature_; }

  void implicit(const char* solver, std::optional<double> predicted, const Laboratory::Solved& at,
                double tolerance, double most = kMost) {
    Estimate e{std::string("implicit, ") + solver, {}, predicted};
    if (predicted.value_or(0) <= most) {
      const auto counted = std::make_shared<Counted>(solver);
      HypergradientRequest request;
      request.delta = kResidual;
      request.relative_delta = true;
      request.columns = false;
      const HypergradientResult r = lab_.hypergradient(theta_, at, request, counted);
      e.iterations = counted->iterations;
      if (predicted) count(e);
      std::vector<double> reached;
      for (const double c : at.certificate) reached.push_back(std::max(tolerance, c));
      hold(e, r, reached, r.status == SolveStatus::converged ? kResidual : 1);
    }
    found.estimates.push_back(e);
  }

  void unrolled(UnrolledMethod method, const char* name, const Vector& d) {
    UnrolledOptions options;
    options.method = method;
    options.steps = kUnrolled;
    const Laboratory::Unrolled kept = lab_.unroll(theta_, options);
    options.checkpoints = true;
    const Laboratory::Unrolled again = lab_.unroll(theta_, options);
    const std::string steps = std::to_string(kUnrolled) + " steps of " + name;
    found.estimates.push_back({"reverse, " + steps, {}, {}, distance(kept.result.z)});
    found.verdicts.push_back({"reverse derivative of " + steps + ", stored against checkpoints",
                              norm(plus(kept.result.z, -1, again.result.z)) + norm(plus(kept.x, -1, again.x)),
                              0});
    against_differences(options, "reverse derivative of " + steps, kept.result.step, d);
    inexact(options, name, steps);
  }

  Findings found;

 private:
  double distance(const Vector& z) const { return norm(plus(z, -1, truth_.z)); }
  void hold(const std::string& what, double error, double bound) {
    found.verdicts.push_back({what, relative(error, bound + truth_.omega), 1});
  }
  void count(const Estimate& e) {
    found.verdicts.push_back(
        {"iterations of " + e.what + " against their prediction", relative(*e.iterations, *e.predicted), 1});
  }
  /// The error of z against the bounds of what was measured and what was known: distances `reached`, and
  /// relative residuals.
  void hold(Estimate& e, const HypergradientResult& r, const std::vector<double>& reached, double residual) {
    e.error = distance(r.z);
    e.bound = r.omega;
    hold("error of " + e.what + " against its bound", *e.error, r.omega);
    double promised = 0;
    for (std::size_t i = 0; i < start_.size(); ++i)
      promised += a_priori_error(start_[i], reached[i], residual);
    if (!std::isfinite(promised)) return;  // no such constants for all x
    e.a_priori = promised;
    hold("error of " + e.what + " against what is known beforehand", *e.error, promised);
  }

  /// f_K as a function of theta for half the step, so that the iteration is stable for larger L too.
  void against_differences(UnrolledOptions options, const std::string& what, double step, const Vector& d) {
    options.step = step / 2;
    const UnrolledResult at = lab_.unroll(theta_, options).result;
    if (options.method == UnrolledMethod::heavy_ball) options.momentum = at.momentum;
    options.derivative = UnrolledDerivative::inexact;  // cheaper, and only f_K counts
    const Vector start = lab_.start();
    const double images = lab_.shape().n, pixels = static_cast<double>(start.size());
    const auto loss = [&](double t) -> Sample {
      const Vector theta = plus(theta_, t, d);
      const double f = lab_.unroll(theta, options).result.loss;
      // Each step adds its rounding, which gradient descent does not amplify and momentum at most K times.
      const double each = 4 * std::numeric_limits<double>::epsilon() * norm(start) +
                          *options.step * lab_.evaluate(theta, start).rounding;
      const double moved = kUnrolled * each * (options.method == UnrolledMethod::heavy_ball ? kUnrolled : 1);
      return {{f}, (std::sqrt(2 * images * f) + moved / 2) * moved / images + rounding(f, pixels)};
    };
    found.verdicts.push_back(compare(what + " against differences of the unrolled loss", {dot(at.z, d)},
                                     norm(at.z), 1e-6, 0.1, loss));
  }

  /// The same as that many steps for A q = grad g, whose residual bounds the error.
  void inexact(UnrolledOptions options, const char* name, const std::string& steps) {
    options.derivative = UnrolledDerivative::inexact;
    const Laboratory::Unrolled unrolled = lab_.unroll(theta_, options);
    HypergradientRequest request;
    request.delta = std::numeric_limits<double>::min();
    request.columns = false;
    const HypergradientResult r = lab_.hypergradient(theta_, lab_.certify(theta_, unrolled.x), request,
                                                     std::make_shared<Counted>(name, kUnrolled));
    Estimate e{"inexact, " + steps};
    found.verdicts.push_back({"inexact derivative of " + steps + " against the linear solver",
                              relative(norm(plus(r.z, -1, unrolled.result.z)), norm(r.z)), 1e-12});
    if (options.method == UnrolledMethod::gradient_descent) {
      std::vector<double> reached;
      for (const StartInputs& s : start_)
        reached.push_back(gradient_descent_factor(curvature_, kUnrolled) * s.distance);
      hold(e, r, reached, richardson_factor(curvature_, unrolled.result.step, kUnrolled));
    } else {  // heavy ball: nothing is known of x^K beforehand
      e.error = distance(r.z);
      e.bound = r.omega;
      hold("error of " + e.what + " against its bound", *e.error, r.omega);
    }
    found.estimates.push_back(e);
  }

  Laboratory& lab_;
  const Vector& theta_;
  const HypergradientResult& truth_;
  Curvature curvature_;
  std::vector<StartInputs> start_;
};

}  // namespace

Findings check_hypergradients(Laboratory& lab, const Vector& theta, const Laboratory::Solved& rough,
                              double tolerance, const HypergradientResult& truth, const Vector& d) {
  HypergradientLab all(lab, theta, truth);
  const Curvature& c = all.curvature();
  const double epsilon = kKept * tolerance, delta = kKept * kResidual;
  all.lower_level("gradient-descent", gradient_descent_iterations(c, all.farthest(), epsilon), tolerance);
  // It evaluates at v_k, |v_k - xhat| <= 2 |x_k - xhat| + |x_{k-1} - xhat|, where |grad| <= L |v_k - xhat|.
  all.lower_level("fista", 1 + fista_iterations(c, 3 * c.lipschitz / c.mu * all.farthest(), epsilon),
                  tolerance);
  all.implicit("cg", conjugate_gradient_iterations(c, 1, delta), rough, tolerance, HUGE_VAL);
  all.implicit("pcg", {}, rough, tolerance);
  all.implicit("gradient-descent", gradient_descent_iterations(c, 1, delta), rough, tolerance);
  all.implicit("heavy-ball", heavy_ball_iterations(c, 1, delta), rough, tolerance);
  all.unrolled(UnrolledMethod::gradient_descent, "gradient-descent", d);
  all.unrolled(UnrolledMethod::heavy_ball, "heavy-ball", d);
  return std::move(all.found);
}

}  // namespace bilevel_app::denoise
