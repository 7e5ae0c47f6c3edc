#include <algorithm>
#include <cmath>
#include <optional>

#include "bilevel/core/error.hpp"
#include "learn/lbfgs_memory.hpp"
#include "learn/run_support.hpp"
#include "learn/step_direction.hpp"
#include "learn/trial.hpp"

namespace bilevel {
inline namespace v0 {

namespace {

/// Backtracks along a direction whose descent is not certified before it has to be.
constexpr int uncertified_backtracks = 3;
/// Trials along a Gauss-Newton direction before it is damped instead of shortened.
constexpr int undamped_backtracks = 2;

template <class T>
class Maid final : public UpperMethod<T> {
 public:
  explicit Maid(UpperOracle<T>& oracle)
      : UpperMethod<T>(oracle),
        context_(oracle.context()),
        parameters_(oracle.problem().parameters()),
        options_(oracle.options()),
        oracle_(oracle),
        few_(oracle.hypergradient().unit_columns()),
        newton_(options_.scaling == StepScaling::gauss_newton && options_.columns && few_),
        gauss_newton_cg_(options_.scaling == StepScaling::gauss_newton && options_.columns && !few_),
        lbfgs_(options_.scaling == StepScaling::lbfgs ||
               (options_.scaling == StepScaling::gauss_newton && !options_.columns)),
        schedule_(options_.schedule, options_.scaling == StepScaling::none ? options_.schedule.step0 : 1.0),
        current_(oracle.point()),
        trial_(oracle.point()) {}

  UpperPoint<T>& point() override { return current_; }

  /// An inexact gradient that is certainly a descent direction, or one to be tried.
  void prepare() override { certified_ = inexact_gradient(options_.try_uncertified && !few_); }

  /// A certified decrease.
  IterationRecord step() override {
    std::optional<AccuracySchedule::State> tried;
    for (; !line_search(certified_); certified_ = true) {
      if (!tried) tried = schedule_.state();
      if (certified_) refine_direction();
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
    average_ = reference();
    average_weight_ = options_.schedule.non_monotone * average_weight_ + 1;
    std::swap(current_, trial_);
    diagonal_ = block_scaling(result_);
    result_ = unknown_gradient();
    return done;
  }

  IterationRecord record(const char* status) override {
    IterationRecord r = oracle_.record(current_, status);
    tell_gradient(result_, r);
    r.gradient_norm = step_norm(result_.z);
    r.epsilon = schedule_.state().epsilon;
    r.delta = schedule_.state().delta;
    r.step = schedule_.state().step;
    return r;
  }

  void save(UpperState& s) const override {
    const AccuracySchedule::State& schedule = schedule_.state();
    s.numbers = {{"epsilon", {schedule.epsilon}}, {"delta", {schedule.delta}},
                 {"step", {schedule.step}},       {"previous-theta", previous_theta_},
                 {"previous-z", previous_z_},     {"previous-omega", {previous_omega_}},
                 {"last-step", {last_step_}},     {"damping", {damping_}},
                 {"diagonal", diagonal_}};
    if (options_.schedule.non_monotone > 0)
      s.numbers["average"] = {average_.lower, average_.value, average_.upper, average_weight_};
    s.arrays = {{"pairs", raw_bytes(memory_.save())}};
  }

  void restore(const UpperState& s) override {
    require_positive(s, {"epsilon", "delta", "step", "damping"});
    for (const char* name : {"previous-theta", "previous-z"})
      if (s.list(name).size() != s.theta.size())
        throw ShapeError("the saved state is of another problem: its " + std::string(name) + " has " +
                         std::to_string(s.list(name).size()) + " entries.");
    schedule_ =
        AccuracySchedule(options_.schedule, {s.number("epsilon"), s.number("delta"), s.number("step")});
    previous_theta_ = s.list("previous-theta");
    previous_z_ = s.list("previous-z");
    previous_omega_ = s.number("previous-omega");
    last_step_ = s.number("last-step");
    damping_ = s.number("damping");
    diagonal_ = s.list("diagonal");
    if (options_.schedule.non_monotone > 0) restore_average(s.list("average"));
    memory_.restore(from_raw<double>(s.array("pairs")), s.theta.size());
  }

 private:
  /// Refines (epsilon, delta) until omega is small against z along the step. With
  /// `may_try` the first z will do; returns whether its descent is certified.
  bool inexact_gradient(bool may_try) {
    schedule_.start_search();
    steepest_ = false;
    while (true) {
      oracle_.solve(current_, schedule_.state().epsilon);
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
      result_ = oracle_.gradient(current_, request);
      if (result_.along)
        certify_along(*result_.along);
      else
        choose_step();
      const double stationarity = projected_gradient_norm(parameters_, current_.theta, result_.z);
      const bool floor = at_floor();
      if (newton_ && floor && !descends(step_)) use_decided_entries();
      const GradientVerdict verdict =
          schedule_.judge_gradient(stationarity, result_.omega, step_.slope, step_.error, floor);
      const bool undecided = verdict == GradientVerdict::refine || verdict == GradientVerdict::accuracy_limit;
      if (undecided && may_try && result_.along && step_.slope > 0) return false;
      switch (verdict) {
        case GradientVerdict::stationary:
          throw UpperStop{UpperStatus::stationary, stationary_text(stationarity)};
        case GradientVerdict::accuracy_limit:
          if ((lbfgs_ || gauss_newton_cg_) && !steepest_ && !schedule_.options().fixed_accuracy) {
            steepest_ = true;  // the direction may be at fault, not the accuracy
            break;
          }
          throw UpperStop{UpperStatus::accuracy_limit,
                          "No descent direction can be certified at this accuracy; |z| + omega = " +
                              short_number(stationarity + result_.omega) +
                              accuracy_remedy<T>(schedule_.options())};
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
    return rounding_rules(current_.status, result_, part_epsilon, part_delta);
  }

  void refine_gradient(double stationarity) {
    const ScheduleOptions& o = schedule_.options();
    oracle_.check_limits();
    if (result_.along) {
      const DirectionalDerivative& d = *result_.along;
      if (-d.slope <= 0) memory_.clear();  // old pairs mislead
      schedule_.refine(d.error, d.part_epsilon, d.part_delta, 0.8 * (1 - o.eta) * std::max(-d.slope, 0.0), 0,
                       0);
      return;
    }
    schedule_.refine(result_.omega, result_.part_epsilon, result_.part_delta,
                     wanted_omega(o, result_, step_, stationarity), 0, 0);
  }

  /// Direction of the step, and the step at the schedule's length.
  void choose_step(const GaussNewtonProduct& product = {}) {
    if (gauss_newton_cg_ && !steepest_) {
      full_step_ = gauss_newton_step(parameters_, current_.theta, result_, product, 1e-3, 0.3, 12);
    } else if (lbfgs_ || gauss_newton_cg_) {
      pairs_ = memory_;
      if (lbfgs_ && !previous_z_.empty()) push_pair();
      full_step_ =
          lbfgs_step(parameters_, current_.theta, result_, steepest_ ? LbfgsMemory() : pairs_, diagonal_);
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
                   : gradient_step(parameters_, current_.theta, result_, schedule_.state().step);
  }
  Step newton_step(int trial, const std::vector<bool>& moving = {}) const {
    return gauss_newton_step(parameters_, current_.theta, result_, raised_damping(damping_, trial), moving);
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

  /// C_k of ScheduleOptions::non_monotone, or the loss of the current point: averages of lower and of upper
  /// ends enclose the average of what they enclose.
  LossEnclosure reference() const {
    const double earlier = options_.schedule.non_monotone * average_weight_;
    if (earlier == 0) return current_.loss;
    const auto mean = [earlier](double before, double now) {
      return (earlier * before + now) / (earlier + 1);
    };
    return {mean(average_.lower, current_.loss.lower), mean(average_.value, current_.loss.value),
            mean(average_.upper, current_.loss.upper)};
  }
  void restore_average(const std::vector<double>& saved) {
    if (saved.size() != 4) throw ShapeError("the saved average of losses is none that a run saves.");
    average_ = {saved[0], saved[1], saved[2]};
    average_weight_ = saved[3];
  }

  /// Whether the trial's loss is certain to be below the reference by lambda s, or not to be.
  TrialVerdict judge(const LossEnclosure& trial) const {
    const LossEnclosure before = reference();
    return schedule_.judge_trial(before.lower, before.upper, trial.lower, trial.upper, step_.slope);
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
  }

  /// The current point at the finer accuracy, which is to be finer than what the solver reached without it.
  void refine_values() {
    refine_beyond(schedule_, current_, trial_);
    oracle_.solve(current_, schedule_.state().epsilon);
  }

  /// Damping and length of the next Gauss-Newton step, from how well the last decrease was predicted.
  void adapt_region() {
    if (trial_damping_ > damping_) schedule_.set_step(first_length_);
    schedule_.set_step(std::min(1.0, schedule_.state().step));
    const double fall = current_.loss.value - trial_.loss.value;
    damping_ = next_damping(trial_damping_, fall / predicted_decrease(result_, step_), backtracks_ == 0);
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
    while (true) {
      const double z = projected_gradient_norm(parameters_, current_.theta, result_.z);
      if (z + result_.omega <= o.tolerance) throw UpperStop{UpperStatus::stationary, stationary_text(z)};
      if (z >= o.tolerance || o.fixed_accuracy || at_floor()) return;
      schedule_.refine(result_.omega, result_.part_epsilon, result_.part_delta, 0.8 * (o.tolerance - z), 0,
                       0);
      oracle_.solve(current_, schedule_.state().epsilon);
      HypergradientRequest request;
      request.delta = schedule_.state().delta;
      request.column_tolerance = std::min(0.05, request.delta);
      request.columns = options_.columns;
      result_ = oracle_.gradient(current_, request);
    }
  }
  std::string stationary_text(double stationarity) const {
    return "Stationary: the gradient is certified to be at most " +
           short_number(stationarity + result_.omega) + ".";
  }

  [[noreturn]] void give_up() {
    const bool accuracy = schedule_.options().fixed_accuracy || below_rounding();
    look_for_a_certificate();
    throw UpperStop{accuracy ? UpperStatus::accuracy_limit : UpperStatus::line_search_failed,
                    "No step could be certified to decrease the loss; |z| + omega = " +
                        short_number(step_norm(result_.z) + result_.omega) +
                        (accuracy ? accuracy_remedy<T>(schedule_.options()) : std::string("."))};
  }

  /// Solves at theta + d from the predicted reconstructions, only as far as the decision needs.
  TrialVerdict evaluate_trial() {
    trial_.theta = step_.theta;
    const std::vector<double> along{schedule_.state().step / full_length_};
    if (!options_.columns || !oracle_.hypergradient().predict(
                                 context_, current_.x.view(),
                                 few_ ? std::span<const double>(step_.direction) : along, trial_.x.view()))
      copy<T>(context_, current_.x.view(), trial_.x.view());
    TrialVerdict verdict = solve_trial<T>(oracle_, trial_, schedule_.state().epsilon,
                                          [this](const LossEnclosure& loss) { return judge(loss); });
    if (verdict != TrialVerdict::undecided || trial_.status != SolveStatus::rounding_limited) return verdict;
    // What rounding leaves undecided no refinement decides.
    if (current_.status == SolveStatus::rounding_limited) verdict = judge_by_adjoints();
    return verdict == TrialVerdict::undecided ? TrialVerdict::backtrack : verdict;
  }

  /// The verdict with the enclosures that the adjoints give, of second order in the accuracies.
  TrialVerdict judge_by_adjoints() {
    for (UpperPoint<T>* point : {&current_, &trial_}) {
      HypergradientRequest request;
      request.delta = schedule_.state().delta;
      request.columns = false;
      oracle_.enclose(*point, oracle_.gradient(*point, request));
    }
    return judge(trial_.loss);
  }

  /// By how much the enclosures would have to shrink for the values to decide.
  double remaining_gap() const {
    const LossEnclosure before = reference();
    const double decrease = before.value - options_.schedule.lambda * step_.slope - trial_.loss.value;
    const double width = (before.value - before.lower) + (trial_.loss.upper - trial_.loss.value);
    return width > 0 ? 0.5 * std::abs(decrease) / width : 0;
  }

  Context& context_;
  const Parameters& parameters_;
  const UpperOptions& options_;
  UpperOracle<T>& oracle_;
  bool few_;                               // theta has a column per entry
  bool newton_, gauss_newton_cg_, lbfgs_;  // scaling of the steps
  bool certified_ = false;                 // descent along the first z of the iteration
  bool steepest_ = false;                  // no direction of these two in this iteration: scaled gradient
  AccuracySchedule schedule_;
  UpperPoint<T> current_, trial_;
  HypergradientResult result_ = unknown_gradient();
  Step step_, full_step_;       // the trial, and the whole step it shortens
  LbfgsMemory memory_, pairs_;  // before and with the latest pair
  std::vector<double> previous_theta_, previous_z_;
  std::vector<double> diagonal_;               // that L-BFGS starts from, of the last iteration
  double full_length_ = 1, first_length_ = 1;  // of full_step_, and that the search began with
  double previous_omega_ = 0, used_step_ = 0, last_step_ = 0;
  LossEnclosure average_;  // C of the last iteration, whose Q is the weight
  double average_weight_ = 0;
  double damping_ = first_damping, trial_damping_ = first_damping;  // of Gauss-Newton steps
  int backtracks_ = 0;
};

}  // namespace

template <class T>
std::unique_ptr<UpperOptimiser<T>> make_maid(const UpperOptions& options, const UpperSolvers<T>& solvers) {
  return make_upper_optimiser<T>(
      options.schedule.fixed_accuracy ? "fixed" : "maid", options,
      [](UpperOracle<T>& oracle) { return std::make_unique<Maid<T>>(oracle); }, solvers);
}
template BILEVEL_API std::unique_ptr<UpperOptimiser<float>> make_maid(const UpperOptions&,
                                                                      const UpperSolvers<float>&);
template BILEVEL_API std::unique_ptr<UpperOptimiser<double>> make_maid(const UpperOptions&,
                                                                       const UpperSolvers<double>&);

}  // namespace v0
}  // namespace bilevel
