#include "bilevel/learn/inexact_gradient.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "bilevel/core/error.hpp"
#include "core/norm.hpp"
#include "learn/certified_value.hpp"
#include "learn/names.hpp"
#include "learn/step_direction.hpp"

namespace bilevel {
inline namespace v0 {

namespace {

constexpr std::pair<ErrorSequence, const char*> sequences[] = {{ErrorSequence::constant, "constant"},
                                                               {ErrorSequence::harmonic, "harmonic"},
                                                               {ErrorSequence::exponential, "exponential"},
                                                               {ErrorSequence::list, "list"}};
constexpr std::pair<GradientBound, const char*> bounds[] = {{GradientBound::printed, "printed"},
                                                            {GradientBound::corrected, "corrected"},
                                                            {GradientBound::best, "best"}};
constexpr double finest = 1e-30;  // of any accuracy; rounding is met before

/// The form Q with the caller's constants and the accuracies asked for, unless more was measured; summed over
/// the images.
double printed_bound(const InexactGradientOptions& options, const HypergradientResult& gradient,
                     double epsilon, double delta) {
  const double residual = delta / static_cast<double>(gradient.inputs.size());
  double sum = 0;
  for (BoundInputs in : gradient.inputs) {
    const double mu = options.strong_convexity.value_or(in.mu);
    in.epsilon = std::max(epsilon, in.epsilon * in.mu / mu);
    in.residual = std::max(residual, in.residual);
    in.mu = mu;
    in.hessian_lipschitz = options.hessian_lipschitz.value_or(in.hessian_lipschitz);
    sum += error_bound(in).adjoint;
  }
  return sum;
}

/// now_ is the last point accepted, next_ the one that a step tries.
template <class T>
class InexactGradientMethod final : public UpperMethod<T> {
 public:
  InexactGradientMethod(const InexactGradientOptions& options, UpperOracle<T>& oracle)
      : UpperMethod<T>(oracle),
        parameters_(oracle.problem().parameters()),
        schedule_(oracle.options().schedule),
        options_(options),
        value_(oracle),
        now_(value_.point()),
        next_(value_.point()),
        step_(schedule_.step0) {}

  UpperPoint<T>& point() override { return now_.point; }
  void start() override { reach(now_, options_.error(0), std::numeric_limits<double>::infinity()); }

  void prepare() override {
    const double bound = certified(now_), size = norm_of(now_.gradient.z);
    if (bound <= schedule_.tolerance)
      throw UpperStop{UpperStatus::stationary,
                      "Stationary: the gradient is certified to be at most " + short_number(bound) + "."};
    if (size * size < options_.published_stop)
      throw UpperStop{UpperStatus::accuracy_limit,
                      "The published stop was reached, |z|^2 = " + short_number(size * size) +
                          "; the gradient is certified to be at most " + short_number(bound) + "."};
  }

  /// theta <- P(theta - tau z).
  IterationRecord step() override {
    const double epsilon = value_.epsilon, delta = value_.delta;
    const double limit = options_.error(this->oracle().iteration() + 1);
    const double most = options_.safeguard ? now_.point.loss.upper : std::numeric_limits<double>::infinity();
    relax();
    int backtracks = 0;
    for (propose(); !reach(next_, limit, most); propose()) {
      step_ *= schedule_.rho;
      backtracks += 1;
    }
    IterationRecord done = record("accepted");
    done.epsilon = epsilon;
    done.delta = delta;
    done.step = step_;
    done.backtracks = backtracks;
    if (backtracks == 0) step_ = std::min(schedule_.step0, step_ * schedule_.rho_up);
    std::swap(now_, next_);
    return done;
  }

  IterationRecord record(const char* status) override {
    IterationRecord r = value_.record(now_, status);
    r.gradient_norm = now_.gradient.z.empty() ? 0 : norm_of(now_.gradient.z);
    return r;
  }

  void save(UpperState& s) const override {
    value_.save(now_, s);
    s.numbers["step"] = {step_};
  }
  void restore(const UpperState& s) override {
    value_.restore(s, now_);
    require_positive(s, {"step"});
    step_ = s.number("step");
  }

 private:
  void propose() {
    std::vector<double> target = now_.point.theta;
    for (std::size_t j = 0; j < target.size(); ++j) target[j] -= step_ * now_.gradient.z[j];
    next_.point.theta = parameters_.project(target);
    copy<T>(this->oracle().context(), std::as_const(now_.point.x).view(), next_.point.x.view());
  }

  /// Refines the accuracies until the error bound of z is at most E_k = `limit`, or the point is stationary;
  /// false as soon as its loss is certainly above `most`.
  bool reach(Evaluated<T>& at, double limit, double most) {
    for (;; refine(at, limit)) {
      this->oracle().solve(at.point, distance(at.point.theta));
      if (at.point.loss.lower > most) return false;
      differentiate(at, limit);
      if (at.point.loss.lower > most) return false;
      if (error(at.gradient) <= limit || certified(at) <= schedule_.tolerance) return true;
    }
  }

  /// epsilon, or what certifies |grad Phi| <= mu epsilon with the caller's mu.
  double distance(std::span<const double> theta) {
    if (!options_.strong_convexity) return value_.epsilon;
    this->oracle().bind(theta);
    return value_.epsilon * *options_.strong_convexity / this->oracle().problem().energy().curvature().mu;
  }

  void differentiate(Evaluated<T>& at, double limit) {
    HypergradientRequest request;
    request.delta = value_.delta;
    request.columns = options_.bound == GradientBound::best && this->oracle().options().columns;
    request.enough = limit;
    at.gradient = this->oracle().gradient(at.point, request);
    this->oracle().enclose(at.point, at.gradient);
  }

  double error(const HypergradientResult& gradient) const {
    if (options_.bound == GradientBound::printed)
      return printed_bound(options_, gradient, value_.epsilon, value_.delta);
    return options_.bound == GradientBound::corrected ? gradient.omega_adjoint : gradient.omega;
  }
  double certified(const Evaluated<T>& at) const {
    return projected_gradient_norm(parameters_, at.point.theta, at.gradient.z) + at.gradient.omega;
  }

  /// Finer accuracies, as far as rounding lets them be met.
  void refine(const Evaluated<T>& at, double limit) {
    this->oracle().check_limits();
    const HypergradientResult& g = at.gradient;
    const bool solve = at.point.status == SolveStatus::rounding_limited || value_.epsilon <= finest,
               adjoint = g.status == SolveStatus::rounding_limited || value_.delta <= finest;
    if ((solve && adjoint) || (solve && g.part_epsilon > limit) || (adjoint && g.part_delta > limit) ||
        g.rounding > limit)
      throw UpperStop{UpperStatus::accuracy_limit, "No error of at most " + short_number(limit) +
                                                       " could be certified of the hypergradient, but " +
                                                       short_number(error(g)) + accuracy_remedy<T>({})};
    if (!solve) value_.epsilon = std::max(finest, value_.epsilon * options_.epsilon_down);
    if (!adjoint) value_.delta = std::max(finest, value_.delta * options_.delta_down);
  }
  void relax() {
    value_.epsilon = std::min(schedule_.epsilon0, value_.epsilon * options_.epsilon_up);
    value_.delta = std::min(schedule_.delta0, value_.delta * options_.delta_up);
  }

  const Parameters& parameters_;
  const ScheduleOptions& schedule_;
  InexactGradientOptions options_;
  CertifiedValue<T> value_;
  Evaluated<T> now_, next_;
  double step_;
};

}  // namespace

const char* name_of(ErrorSequence sequence) { return name_in(sequences, sequence); }
ErrorSequence error_sequence(const std::string& name) {
  return value_in(sequences, name, "sequence of errors");
}
const char* name_of(GradientBound bound) { return name_in(bounds, bound); }
GradientBound gradient_bound(const std::string& name) { return value_in(bounds, name, "error bound"); }

double InexactGradientOptions::error(int k) const {
  double wanted = error0;
  if (sequence == ErrorSequence::harmonic) wanted = error0 / (k + 1.0);
  if (sequence == ErrorSequence::exponential) wanted = error0 * std::pow(10, -rate * k);
  if (sequence == ErrorSequence::list)
    wanted = errors[std::min(errors.size() - 1, static_cast<std::size_t>(k))];
  return std::max(floor, wanted);
}

void InexactGradientOptions::validate() const {
  const auto require = [](bool good, const char* what) {
    if (!good) throw ConfigError(what);
  };
  const auto positive = [](double v) { return v > 0 && std::isfinite(v); };
  const auto falls = [](double v) { return v > 0 && v < 1; };
  const auto grows = [](double v) { return v >= 1 && std::isfinite(v); };
  require(positive(error0), "error0 must be positive and finite.");
  require(positive(rate), "the rate of the exponential errors must be positive and finite.");
  require(floor >= 0 && std::isfinite(floor), "the floor of the errors must not be negative.");
  require(sequence != ErrorSequence::list || !errors.empty(), "a list of errors needs at least one entry.");
  require(std::all_of(errors.begin(), errors.end(), positive),
          "every error of the list must be positive and finite.");
  require(falls(epsilon_down), "epsilon-down must lie between 0 and 1.");
  require(falls(delta_down), "delta-down must lie between 0 and 1.");
  require(grows(epsilon_up), "epsilon-up must be at least 1.");
  require(grows(delta_up), "delta-up must be at least 1.");
  require(published_stop >= 0 && std::isfinite(published_stop), "the published stop must not be negative.");
  require(positive(strong_convexity.value_or(1)), "strong-convexity must be positive and finite.");
  const double change = hessian_lipschitz.value_or(0);
  require(change >= 0 && std::isfinite(change), "hessian-lipschitz must not be negative.");
  require(
      bound == GradientBound::printed || !(strong_convexity || hessian_lipschitz),
      "strong-convexity and hessian-lipschitz belong to the printed bound; choose that one, or leave them "
      "out.");
}

template <class T>
std::unique_ptr<UpperOptimiser<T>> make_inexact_gradient(const InexactGradientOptions& own,
                                                         const UpperOptions& options,
                                                         const UpperSolvers<T>& solvers) {
  own.validate();
  return make_upper_optimiser<T>(
      "inexact-gradient", options,
      [own](UpperOracle<T>& oracle) { return std::make_unique<InexactGradientMethod<T>>(own, oracle); },
      solvers);
}
template BILEVEL_API std::unique_ptr<UpperOptimiser<float>> make_inexact_gradient(
    const InexactGradientOptions&, const UpperOptions&, const UpperSolvers<float>&);
template BILEVEL_API std::unique_ptr<UpperOptimiser<double>> make_inexact_gradient(
    const InexactGradientOptions&, const UpperOptions&, const UpperSolvers<double>&);

}  // namespace v0
}  // namespace bilevel
