#include <algorithm>
#include <cmath>
#include <optional>

#include "bilevel/core/error.hpp"
#include "bilevel/learn/hypergradient.hpp"
#include "bilevel/learn/upper_optimiser.hpp"
#include "device/backend.hpp"
#include "learn/lbfgs_memory.hpp"
#include "learn/lower_level.hpp"
#include "learn/step_direction.hpp"

namespace bilevel {
inline namespace v0 {

void UpperOptions::validate() const {
  schedule.validate();
  if (max_iterations < 0) throw ConfigError("max-iterations must not be negative.");
  if (!(min_progress >= 0 && min_progress < 1)) throw ConfigError("min-progress must lie between 0 and 1.");
  if (progress_window < 1) throw ConfigError("the window of min-progress must be at least 1 iteration.");
  if (!(time_limit >= 0)) throw ConfigError("time-limit must not be negative.");
  if (max_lower_iterations < 1) throw ConfigError("the cap of lower-level iterations must be at least 1.");
}

template <class T>
UpperOptimiser<T>::~UpperOptimiser() = default;
template class BILEVEL_API UpperOptimiser<float>;
template class BILEVEL_API UpperOptimiser<double>;

namespace {

/// Backtracks along a direction whose descent is not certified before it has to be.
constexpr int uncertified_backtracks = 3;
/// Trials along a Gauss-Newton direction before it is damped instead of shortened.
constexpr int undamped_backtracks = 2;

template <class T>
class MaidRun {
 public:
  MaidRun(Context& context, const BilevelProblem<T>& problem, const UpperOptions& options, Observer& observer)
      : context_(context),
        problem_(problem),
        options_(options),
        observer_(observer),
        lower_(context, problem, options, observer),
        gradient_(context, problem, options.linear_solver),
        few_(gradient_.unit_columns()),
        newton_(options.scaling == StepScaling::gauss_newton && options.columns && few_),
        gauss_newton_cg_(options.scaling == StepScaling::gauss_newton && options.columns && !few_),
        lbfgs_(options.scaling == StepScaling::lbfgs ||
               (options.scaling == StepScaling::gauss_newton && !options.columns)),
        schedule_(options.schedule, options.scaling == StepScaling::none ? options.schedule.step0 : 1.0),
        current_{{}, Tensor<T>(context, problem.energy().shape()), {}, {}},
        trial_{{}, Tensor<T>(context, problem.energy().shape()), {}, {}} {}

  UpperReport run(std::span<const double> theta0, const UpperState* resume, View<const T> first) {
    UpperReport report;
    try {
      resume ? restore(*resume) : begin(theta0, first);
      while (true) iterate();
    } catch (const Stop& stop) {
      report.status = stop.status;
      report.message = stop.message;
    }
    report.theta = current_.theta;
    report.last = record(upper_status_name(report.status));
    observer_.finished(report);
    return report;
  }
  Tensor<T> reconstructions() { return std::move(current_.x); }

 private:
  void begin(std::span<const double> theta0, View<const T> first) {
    current_.theta = lower_.start(theta0);
    problem_.energy().bind(current_.theta);
    copy<T>(context_, first, current_.x.view());
  }

  /// One step of MAID: an inexact gradient that is certainly a descent direction, then a certified decrease.
  void iterate() {
    bool certified = inexact_gradient(options_.try_uncertified && !few_);
    if (iteration_ >= options_.max_iterations)
      throw Stop{UpperStatus::max_iterations,
                 "The cap of " + std::to_string(iteration_) + " iterations was reached."};
    lower_.watch_progress(current_.loss.value);
    std::optional<AccuracySchedule::State> tried;
    for (; !line_search(certified); certified = true) {
      if (!tried) tried = schedule_.state();
      if (certified) refine_direction();
      inexact_gradient(false);
    }
    // The accuracies of a certificate are seldom needed again.
    if (tried) schedule_.set_accuracies(tried->epsilon, tried->delta);
    IterationRecord done = record("accepted");
    done.step = used_step_;
    done.backtracks = backtracks_;
    previous_theta_ = current_.theta;
    previous_z_ = result_.z;
    previous_omega_ = result_.omega;
    std::swap(current_, trial_);
    diagonal_ = block_scaling(result_);
    result_ = unknown_gradient();
    iteration_ += 1;
    const bool go_on = observer_.iteration(done);
    if (observer_.wants_state(done)) observer_.state(save());
    if (!go_on) throw Stop{UpperStatus::interrupted, "An observer stopped the run."};
  }

  /// Refines (epsilon, delta) until omega is small against z along the step. With
  /// `may_try` the first z will do; returns whether its descent is certified.
  bool inexact_gradient(bool may_try) {
    schedule_.start_search();
    steepest_ = false;
    while (true) {
      lower_.solve(current_, schedule_.state().epsilon);
      HypergradientRequest request;
      request.delta = schedule_.state().delta;
      if (!few_) request.delta = std::min(request.delta, options_.schedule.delta0);  // pairs of z need it
      request.column_tolerance = std::min(0.05, request.delta);
      request.columns = options_.columns;
      request.sufficient = newton_ ? -1 : 1 - schedule_.options().eta;
      if (options_.columns)
        request.direction = [this](const HypergradientResult& r, const GaussNewtonProduct& product) {
          result_ = r;
          choose_step(product);
          return full_step_.direction;
        };
      result_ = gradient_.compute(context_, current_.theta, current_.x.view(), current_.epsilon, request);
      lower_.work += result_.work;
      if (result_.status == SolveStatus::failed) throw Stop{UpperStatus::failed, result_.message};
      if (result_.along)
        certify_along(*result_.along);
      else
        choose_step();
      const double stationarity = projected_gradient_norm(problem_.parameters(), current_.theta, result_.z);
      const bool floor = at_floor();
      if (newton_ && floor && !descends(step_)) use_decided_entries();
      const GradientVerdict verdict =
          schedule_.judge_gradient(stationarity, result_.omega, step_.slope, step_.error, floor);
      const bool undecided = verdict == GradientVerdict::refine || verdict == GradientVerdict::accuracy_limit;
      if (undecided && may_try && result_.along && step_.slope > 0) return false;
      switch (verdict) {
        case GradientVerdict::stationary:
          throw Stop{UpperStatus::stationary, stationary_text(stationarity)};
        case GradientVerdict::accuracy_limit:
          if ((lbfgs_ || gauss_newton_cg_) && !steepest_ && !schedule_.options().fixed_accuracy) {
            steepest_ = true;  // the direction may be at fault, not the accuracy
            break;
          }
          throw Stop{UpperStatus::accuracy_limit,
                     "No descent direction can be certified at this accuracy; |z| + omega = " +
                         short_number(stationarity + result_.omega) + remedy()};
        case GradientVerdict::descend:
          return true;
        case GradientVerdict::refine:
          refine_gradient(stationarity);
      }
    }
  }

  /// Whether no finer accuracy would shrink the larger part of the bound.
  bool at_floor() const {
    const bool along = result_.along.has_value();
    const double part_epsilon = along ? result_.along->part_epsilon : result_.part_epsilon;
    const double part_delta = along ? result_.along->part_delta : result_.part_delta;
    return (current_.status == SolveStatus::rounding_limited && part_epsilon >= part_delta) ||
           (result_.status == SolveStatus::rounding_limited && part_delta >= part_epsilon) ||
           result_.rounding > 0.5 * result_.omega;
  }

  void refine_gradient(double stationarity) {
    const ScheduleOptions& o = schedule_.options();
    lower_.check_limits();
    if (result_.along) {
      const DirectionalDerivative& d = *result_.along;
      if (-d.slope <= 0) memory_.clear();  // old pairs mislead
      schedule_.refine(d.error, d.part_epsilon, d.part_delta, 0.8 * (1 - o.eta) * std::max(-d.slope, 0.0), 0,
                       0);
      return;
    }
    const double descent =
        step_.slope > 0 && step_.error > 0 ? result_.omega * (1 - o.eta) * step_.slope / step_.error : 0;
    schedule_.refine(result_.omega, result_.part_epsilon, result_.part_delta,
                     0.8 * std::max(descent, o.tolerance - stationarity), 0, 0);
  }

  /// Direction of the step, and the step at the schedule's length.
  void choose_step(const GaussNewtonProduct& product = {}) {
    if (gauss_newton_cg_ && !steepest_) {
      full_step_ = gauss_newton_step(problem_.parameters(), current_.theta, result_, product, 1e-3, 0.3, 12);
    } else if (lbfgs_ || gauss_newton_cg_) {
      pairs_ = memory_;
      if (lbfgs_ && !previous_z_.empty()) push_pair();
      full_step_ = lbfgs_step(problem_.parameters(), current_.theta, result_,
                              steepest_ ? LbfgsMemory() : pairs_, diagonal_);
    } else if (!newton_ && options_.barzilai_borwein && !previous_z_.empty() &&
               schedule_.state().backtracks == 0) {
      const double bb = barzilai_borwein(current_.theta, result_.z, result_.omega, previous_theta_,
                                         previous_z_, previous_omega_);
      if (bb > 0) schedule_.set_step(std::clamp(bb, 1e-2 * last_step_, 1e2 * last_step_));
    }
    if (!lbfgs_ && !gauss_newton_cg_) full_step_ = direct_step();
    first_length_ = schedule_.state().step;
    full_length_ = newton_ ? 1 : first_length_;
    make_step();
  }
  /// A plain step at the schedule's length, or a Gauss-Newton step.
  Step direct_step() const {
    return newton_ ? newton_step(0)
                   : gradient_step(problem_.parameters(), current_.theta, result_, schedule_.state().step);
  }
  Step newton_step(int trial, const std::vector<bool>& moving = {}) const {
    return gauss_newton_step(problem_.parameters(), current_.theta, result_, raised_damping(damping_, trial),
                             moving);
  }
  bool descends(const Step& step) const {
    return step.slope > 0 && step.error <= (1 - schedule_.options().eta) * step.slope;
  }
  /// Entries in which the sign of grad f is certain: small steps along these alone descend.
  std::vector<bool> decided_entries() const {
    std::vector<bool> decided(result_.z.size());
    for (std::size_t j = 0; j < decided.size(); ++j)
      decided[j] = result_.block_bound[j] <= (1 - schedule_.options().eta) * std::abs(result_.z[j]);
    return decided;
  }
  /// A step whose descent is certain although that of the whole one is not, if there is one: the more damped,
  /// the nearer to the scaled gradient.
  void use_decided_entries() {
    const std::vector<bool> decided = decided_entries();
    for (int trial = 0; trial < schedule_.options().max_backtracks; ++trial)
      if (const Step step = newton_step(trial, decided); descends(step)) {
        full_step_ = step;
        make_step();
        return;
      }
  }
  void push_pair() {
    std::vector<double> s = current_.theta, y = result_.z;
    for (std::size_t j = 0; j < s.size(); ++j) {
      s[j] -= previous_theta_[j];
      y[j] -= previous_z_[j];
    }
    pairs_.push(s, y);
  }
  /// The step of the next trial: a shorter one. A Gauss-Newton direction that fails when shortened is damped
  /// instead, as long as its descent is certain.
  void make_step() {
    const double a = schedule_.state().step / full_length_;
    step_ = !newton_ && !lbfgs_ && few_ ? direct_step() : shortened(full_step_, current_.theta, a);
    trial_damping_ = damping_;
    const int raised = schedule_.state().backtracks - undamped_backtracks;
    if (!newton_ || raised <= 0) return;
    if (const Step damped = newton_step(raised); descends(damped)) {
      step_ = shortened(damped, current_.theta, first_length_);
      trial_damping_ = raised_damping(damping_, raised);
    }
  }
  /// The derivative along the direction itself, where its bound is below that of z.
  void certify_along(const DirectionalDerivative& along) {
    full_step_.error = direction_error(result_, full_step_.direction);
    if (along.error < full_step_.error) {
      full_step_.slope = -along.slope;
      full_step_.error = along.error;
    }
    make_step();
  }

  /// Backtracks until upper+ <= lower_k - lambda s; refines when the enclosures cannot tell.
  /// On a direction whose descent is not certified it ends with false after a few steps that certainly fail.
  bool line_search(bool certified) {
    schedule_.start_search();
    backtracks_ = 0;
    while (true) {
      const TrialVerdict verdict = evaluate_trial();
      if (verdict == TrialVerdict::accept && !untold()) break;
      if (certified && below_rounding()) {
        if (rough_direction()) return false;
        give_up();
      }
      if (!certified && (below_rounding() ||
                         (verdict == TrialVerdict::backtrack && backtracks_ == uncertified_backtracks))) {
        problem_.energy().bind(current_.theta);
        return false;
      }
      backtracks_ += 1;
      switch (schedule_.next_trial(verdict, remaining_gap())) {
        case SearchVerdict::try_step:
          break;
        case SearchVerdict::refine:
          refine_values();
          break;
        case SearchVerdict::give_up:
          if (rough_direction()) return false;
          give_up();
      }
      make_step();
    }
    used_step_ = schedule_.state().step;
    last_step_ = used_step_;
    schedule_.accept(used_step_);
    if (newton_) adapt_region();
    if (lbfgs_ || gauss_newton_cg_) schedule_.set_step(1);
    memory_ = pairs_;
    return true;
  }

  /// Whether a direction of long theta comes from a z that the linear solver left too rough to be blamed on
  /// the accuracy; a finer z.
  bool rough_direction() const {
    return !few_ && !schedule_.options().fixed_accuracy && result_.status != SolveStatus::rounding_limited &&
           result_.part_delta > 0.1 * step_norm(result_.z);
  }
  void refine_direction() {
    const double wanted = 0.1 * step_norm(result_.z) / result_.part_delta;
    const double delta = std::min(schedule_.state().delta, options_.schedule.delta0);
    schedule_.set_accuracies(schedule_.state().epsilon,
                             delta * std::clamp(wanted, 1e-3, schedule_.options().nu));
    problem_.energy().bind(current_.theta);
  }

  /// The current point at the finer accuracy, which is to be finer than what the solver reached without it.
  void refine_values() {
    double reached = 0;
    for (const Point<T>* point : {&current_, &trial_})
      for (const double e : point->epsilon) reached = std::max(reached, e);
    const AccuracySchedule::State& s = schedule_.state();
    if (s.epsilon > reached) schedule_.set_accuracies(schedule_.options().nu * reached, s.delta);
    problem_.energy().bind(current_.theta);
    lower_.solve(current_, schedule_.state().epsilon);
  }

  /// Damping and length of the next Gauss-Newton step, from how well the last decrease was predicted.
  void adapt_region() {
    if (trial_damping_ > damping_) schedule_.set_step(first_length_);
    schedule_.set_step(std::min(1.0, schedule_.state().step));
    const double fall = current_.loss.value - trial_.loss.value;
    damping_ = next_damping(trial_damping_, fall / predicted_decrease(result_, step_), backtracks_ == 0);
  }

  /// What to change when the accuracy is the limit.
  std::string remedy() const {
    if (schedule_.options().fixed_accuracy) return "; use a finer fixed accuracy, or adaptive ones.";
    return sizeof(T) == sizeof(float) ? "; use double precision, or a tolerance above that."
                                      : "; use a tolerance above that.";
  }

  /// Whether rounding hides all that the step could gain: a decrease by s is less than double precision tells
  /// of the loss, or than what lies below the value in the enclosure of the current loss.
  bool below_rounding() const {
    const double width = current_.loss.value - current_.loss.lower;
    return untold() || (current_.status == SolveStatus::rounding_limited && step_.slope <= width);
  }
  bool untold() const { return step_.slope <= 1e-15 * std::abs(current_.loss.value); }

  /// Ends the run where only omega keeps |z| + omega above the tolerance and can be refined.
  void look_for_a_certificate() {
    const ScheduleOptions& o = schedule_.options();
    problem_.energy().bind(current_.theta);
    while (true) {
      const double z = projected_gradient_norm(problem_.parameters(), current_.theta, result_.z);
      if (z + result_.omega <= o.tolerance) throw Stop{UpperStatus::stationary, stationary_text(z)};
      if (z >= o.tolerance || o.fixed_accuracy || at_floor()) return;
      schedule_.refine(result_.omega, result_.part_epsilon, result_.part_delta, 0.8 * (o.tolerance - z), 0,
                       0);
      lower_.solve(current_, schedule_.state().epsilon);
      HypergradientRequest request;
      request.delta = schedule_.state().delta;
      request.column_tolerance = std::min(0.05, request.delta);
      request.columns = options_.columns;
      result_ = gradient_.compute(context_, current_.theta, current_.x.view(), current_.epsilon, request);
      lower_.work += result_.work;
      if (result_.status == SolveStatus::failed) throw Stop{UpperStatus::failed, result_.message};
    }
  }
  std::string stationary_text(double stationarity) const {
    return "Stationary: the gradient is certified to be at most " +
           short_number(stationarity + result_.omega) + ".";
  }

  [[noreturn]] void give_up() {
    const bool accuracy = schedule_.options().fixed_accuracy || below_rounding();
    look_for_a_certificate();
    throw Stop{accuracy ? UpperStatus::accuracy_limit : UpperStatus::line_search_failed,
               "No step could be certified to decrease the loss; |z| + omega = " +
                   short_number(step_norm(result_.z) + result_.omega) +
                   (accuracy ? remedy() : std::string("."))};
  }

  /// Solves at theta + d from the predicted reconstructions, only as far as the decision needs.
  TrialVerdict evaluate_trial() {
    trial_.theta = step_.theta;
    try {
      problem_.energy().bind(trial_.theta);
    } catch (const ConfigError&) {
      return TrialVerdict::backtrack;  // outside the model's domain
    }
    const std::vector<double> along{schedule_.state().step / full_length_};
    if (!options_.columns ||
        !gradient_.predict(context_, current_.x.view(),
                           few_ ? std::span<const double>(step_.direction) : along, trial_.x.view()))
      copy<T>(context_, current_.x.view(), trial_.x.view());
    const double penalty = lower_.penalty(trial_.theta);
    TrialVerdict verdict = TrialVerdict::undecided;
    const auto decide = [&](Context&, View<const T> x, std::span<const double> certificate) {
      const LossEnclosure loss = enclose_loss(problem_.loss(), lower_.measure(x), certificate, penalty);
      verdict = schedule_.judge_trial(current_.loss.lower, current_.loss.upper, loss.lower, loss.upper,
                                      step_.slope);
      return verdict != TrialVerdict::undecided;
    };
    lower_.solve(trial_, schedule_.state().epsilon, decide);
    if (trial_.status == SolveStatus::failed) return TrialVerdict::backtrack;
    verdict = schedule_.judge_trial(current_.loss.lower, current_.loss.upper, trial_.loss.lower,
                                    trial_.loss.upper, step_.slope);
    if (verdict != TrialVerdict::undecided || trial_.status != SolveStatus::rounding_limited) return verdict;
    // What rounding leaves undecided no refinement decides.
    if (current_.status == SolveStatus::rounding_limited) verdict = judge_by_adjoints();
    return verdict == TrialVerdict::undecided ? TrialVerdict::backtrack : verdict;
  }

  /// The verdict with the enclosures that the adjoints give, of second order in the accuracies.
  TrialVerdict judge_by_adjoints() {
    for (Point<T>* point : {&current_, &trial_}) {
      problem_.energy().bind(point->theta);
      HypergradientRequest request;
      request.delta = schedule_.state().delta;
      request.columns = false;
      const HypergradientResult r =
          gradient_.compute(context_, point->theta, point->x.view(), point->epsilon, request);
      lower_.work += r.work;
      if (r.status == SolveStatus::failed) throw Stop{UpperStatus::failed, r.message};
      point->loss = enclose_loss(problem_.loss(), point->measured, point->epsilon, r.adjoint_product,
                                 r.adjoint_error, lower_.penalty(point->theta));
    }
    return schedule_.judge_trial(current_.loss.lower, current_.loss.upper, trial_.loss.lower,
                                 trial_.loss.upper, step_.slope);
  }

  /// By how much the enclosures would have to shrink for the values to decide.
  double remaining_gap() const {
    const double decrease = current_.loss.value - options_.schedule.lambda * step_.slope - trial_.loss.value;
    const double width =
        (current_.loss.value - current_.loss.lower) + (trial_.loss.upper - trial_.loss.value);
    return width > 0 ? 0.5 * std::abs(decrease) / width : 0;
  }

  IterationRecord record(const char* status) const {
    IterationRecord r = lower_.record(current_, iteration_, status);
    r.gradient = result_.z;
    r.gradient_norm = step_norm(result_.z);
    r.error_bound = result_.omega;
    r.omega_theorem = result_.omega_theorem;
    r.omega_adjoint = result_.omega_adjoint;
    r.omega_directional = result_.omega_directional;
    r.omega_columns = result_.omega_columns;
    r.epsilon = schedule_.state().epsilon;
    r.delta = schedule_.state().delta;
    r.step = schedule_.state().step;
    return r;
  }

  UpperState save() {
    UpperState s;
    s.theta = current_.theta;
    s.epsilon = schedule_.state().epsilon;
    s.delta = schedule_.state().delta;
    s.step = schedule_.state().step;
    s.iteration = iteration_;
    s.work = lower_.work;
    s.seconds = lower_.seconds();
    s.has_columns = gradient_.has_columns();
    s.previous_theta = previous_theta_;
    s.previous_z = previous_z_;
    s.previous_omega = previous_omega_;
    s.last_step = last_step_;
    s.damping = damping_;
    s.losses = lower_.losses;
    s.diagonal = diagonal_;
    s.x = lower_.raw(download(context_, current_.x));
    s.adjoints = lower_.raw(gradient_.save(context_));
    s.pairs = lower_.raw(memory_.save());
    return s;
  }

  void restore(const UpperState& s) {
    lower_.require_state(s);
    if (!(s.step > 0))
      throw ConfigError("the saved step " + short_number(s.step) + " is none of this method.");
    current_.theta = s.theta;
    problem_.energy().bind(current_.theta);
    current_.x.upload(context_, lower_.template values<T>(s.x));
    gradient_.restore(context_, lower_.template values<T>(s.adjoints), s.has_columns);
    schedule_ = AccuracySchedule(options_.schedule, {s.epsilon, s.delta, s.step});
    iteration_ = s.iteration;
    lower_.work = s.work;
    lower_.previous_seconds = s.seconds;
    previous_theta_ = s.previous_theta;
    previous_z_ = s.previous_z;
    previous_omega_ = s.previous_omega;
    last_step_ = s.last_step;
    damping_ = s.damping;
    lower_.losses = s.losses;
    diagonal_ = s.diagonal;
    memory_.restore(lower_.template values<double>(s.pairs), s.theta.size());
  }

  Context& context_;
  const BilevelProblem<T>& problem_;
  const UpperOptions& options_;
  Observer& observer_;
  LowerLevel<T> lower_;
  ImplicitHypergradient<T> gradient_;
  bool few_;                               // theta has a column per entry
  bool newton_, gauss_newton_cg_, lbfgs_;  // scaling of the steps
  bool steepest_ = false;                  // no direction of these two in this iteration: scaled gradient
  AccuracySchedule schedule_;
  Point<T> current_, trial_;
  HypergradientResult result_ = unknown_gradient();
  Step step_, full_step_;       // the trial, and the whole step it shortens
  LbfgsMemory memory_, pairs_;  // before and with the latest pair
  std::vector<double> previous_theta_, previous_z_;
  std::vector<double> diagonal_;               // that L-BFGS starts from, of the last iteration
  double full_length_ = 1, first_length_ = 1;  // of full_step_, and that the search began with
  double previous_omega_ = 0, used_step_ = 0, last_step_ = 0;
  double damping_ = first_damping, trial_damping_ = first_damping;  // of Gauss-Newton steps
  int iteration_ = 0, backtracks_ = 0;
};

template <class T>
class Maid final : public UpperOptimiser<T> {
 public:
  explicit Maid(const UpperOptions& options) : options_(options) { options_.validate(); }
  const char* name() const override { return options_.schedule.fixed_accuracy ? "fixed" : "maid"; }

  UpperReport run(Context& context, const BilevelProblem<T>& problem, std::span<const double> theta0,
                  View<const T> first, Observer& observer, const UpperState* resume) override {
    require_same(problem.energy().shape(), first.shape(), "start of the lower level");
    MaidRun<T> run(context, problem, options_, observer);
    UpperReport report = run.run(theta0, resume, first);
    reconstructions_ = run.reconstructions();
    return report;
  }
  View<const T> reconstructions() const override { return reconstructions_.view(); }

 private:
  UpperOptions options_;
  Tensor<T> reconstructions_;
};

}  // namespace

template <class T>
std::unique_ptr<UpperOptimiser<T>> make_maid(const UpperOptions& options) {
  return std::make_unique<Maid<T>>(options);
}
template BILEVEL_API std::unique_ptr<UpperOptimiser<float>> make_maid(const UpperOptions&);
template BILEVEL_API std::unique_ptr<UpperOptimiser<double>> make_maid(const UpperOptions&);

}  // namespace v0
}  // namespace bilevel
