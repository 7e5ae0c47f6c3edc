#include "learn/batch_step.hpp"

#include <cmath>
#include <utility>

#include "learn/adam.hpp"
#include "learn/run_support.hpp"
#include "learn/step_direction.hpp"
#include "learn/trial.hpp"

namespace bilevel {
inline namespace v0 {

namespace {

/// (1 + k)^-power.
double falling(int k, double power) { return std::pow(1.0 + k, -power); }

/// Steps and accuracies by schedules, whatever z is.
template <class T>
class ScheduledStep final : public BatchStep<T> {
 public:
  ScheduledStep(const StochasticOptions& options, UpperOracle<T>& oracle)
      : BatchStep<T>(oracle),
        options_(options),
        moments_(oracle.problem().parameters().size(), options.first_moment, options.second_moment) {}

  Accuracies accuracies() const override {
    const double by = falling(this->oracle().iteration(), options_.accuracy_decay);
    return {this->schedule().epsilon0 * by, this->schedule().delta0 * by};
  }

  IterationRecord move(UpperPoint<T>& now) override {
    const Accuracies wanted = accuracies();
    this->oracle().solve(now, wanted.epsilon);
    HypergradientRequest request;
    request.delta = wanted.delta;
    request.columns = false;
    const HypergradientResult gradient = this->oracle().gradient(now, request);
    IterationRecord done = batch_record(this->oracle(), now, gradient, wanted, "minibatch");
    done.step = this->schedule().step0 * falling(this->oracle().iteration(), options_.step_decay);
    const std::vector<double> d = direction(gradient.z);
    std::vector<double> target = now.theta;
    for (std::size_t j = 0; j < target.size(); ++j) target[j] -= done.step * d[j];
    now.theta = this->oracle().problem().parameters().project(target);
    return done;
  }

  void save(UpperState& s) const override {
    s.numbers["mean"] = moments_.first;
    s.numbers["square"] = moments_.second;
  }
  void restore(const UpperState& s) override {
    moments_.first = list_like_theta(s, "mean");
    moments_.second = list_like_theta(s, "square");
  }

 private:
  /// z scaled; takes z into the moments.
  std::vector<double> direction(std::vector<double> z) {
    if (options_.step == StochasticStep::adam) return moments_.scaled(z, this->oracle().iteration() + 1);
    if (options_.step == StochasticStep::adagrad)
      for (std::size_t j = 0; j < z.size(); ++j) {
        moments_.second[j] += z[j] * z[j];
        z[j] /= std::sqrt(moments_.second[j]) + Adam::least;
      }
    return z;
  }

  StochasticOptions options_;
  Adam moments_;  // of z; adagrad's sum of squares as the second
};

/// A step of MAID on the loss of the minibatch.
template <class T>
class CertifiedStep final : public BatchStep<T> {
 public:
  CertifiedStep(const StochasticOptions& options, int batches, UpperOracle<T>& oracle)
      : BatchStep<T>(oracle),
        options_(options),
        batches_(batches),
        parameters_(oracle.problem().parameters()),
        may_try_(oracle.options().try_uncertified && !oracle.hypergradient().unit_columns()),
        schedule_(oracle.options().schedule, oracle.options().schedule.step0),
        trial_(oracle.point()) {}

  Accuracies accuracies() const override { return {schedule_.state().epsilon, schedule_.state().delta}; }

  IterationRecord move(UpperPoint<T>& now) override {
    if (skipped_ == batches_)
      throw UpperStop{UpperStatus::accuracy_limit,
                      "No minibatch of an epoch had a step that certainly decreases its loss" +
                          accuracy_remedy<T>(this->schedule())};
    const double longest = this->schedule().step0 * falling(this->oracle().iteration(), options_.step_decay);
    const Accuracies before = accuracies();
    const double first_step = std::min(schedule_.state().step, longest);
    schedule_.set_step(first_step);
    backtracks_ = 0;
    const bool moves = descends(now) && search(now);
    IterationRecord done =
        batch_record(this->oracle(), now, gradient_, accuracies(), moves ? "minibatch" : "skipped");
    done.step = moves ? schedule_.state().step : 0;
    done.backtracks = backtracks_;
    skipped_ = moves ? 0 : skipped_ + 1;
    if (moves) {
      schedule_.accept(done.step);
      std::swap(now, trial_);
    } else {  // what failed here need not fail on another minibatch
      schedule_.set_step(first_step);
      schedule_.set_accuracies(before.epsilon, before.delta);
    }
    return done;
  }

  void save(UpperState& s) const override {
    s.numbers["epsilon"] = {schedule_.state().epsilon};
    s.numbers["delta"] = {schedule_.state().delta};
    s.numbers["step"] = {schedule_.state().step};
    s.numbers["skipped"] = {static_cast<double>(skipped_)};
  }
  void restore(const UpperState& s) override {
    require_positive(s, {"epsilon", "delta", "step"});
    schedule_ =
        AccuracySchedule(this->schedule(), {s.number("epsilon"), s.number("delta"), s.number("step")});
    skipped_ = static_cast<int>(s.number("skipped"));
  }

 private:
  /// Refines the accuracies until the step certainly descends; for long theta it may be tried without.
  bool descends(UpperPoint<T>& now) {
    schedule_.start_search();
    while (true) {
      this->oracle().solve(now, schedule_.state().epsilon);
      differentiate(now);
      const HypergradientResult& g = gradient_;
      const double stationarity = projected_gradient_norm(parameters_, now.theta, g.z);
      switch (schedule_.judge_gradient(stationarity, g.omega, step_.slope, step_.error,
                                       rounding_rules(now.status, g, g.part_epsilon, g.part_delta))) {
        case GradientVerdict::descend:
          return true;
        case GradientVerdict::stationary:
          return false;
        case GradientVerdict::accuracy_limit:
          return may_try_ && step_.slope > 0;
        case GradientVerdict::refine:
          if (may_try_ && step_.slope > 0) return true;
          this->oracle().check_limits();
          schedule_.refine(g.omega, g.part_epsilon, g.part_delta,
                           wanted_omega(this->schedule(), g, step_, stationarity), 0, 0);
      }
    }
  }

  void differentiate(UpperPoint<T>& now) {
    HypergradientRequest request;
    request.delta = schedule_.state().delta;
    request.column_tolerance = std::min(0.05, request.delta);
    request.columns = this->oracle().options().columns;
    request.sufficient = 1 - this->schedule().eta;
    gradient_ = this->oracle().gradient(now, request);
    step_ = gradient_step(parameters_, now.theta, gradient_, schedule_.state().step);
  }

  /// Backtracks until f_I(theta+) <= f_I(theta) - lambda s is certain.
  bool search(UpperPoint<T>& now) {
    schedule_.start_search();
    while (step_.slope > 1e-15 * std::abs(now.loss.value)) {
      const TrialVerdict verdict = evaluate(now);
      if (verdict == TrialVerdict::accept) return true;
      backtracks_ += 1;
      switch (schedule_.next_trial(verdict)) {
        case SearchVerdict::try_step:
          break;
        case SearchVerdict::refine:
          refine_beyond(schedule_, now, trial_);
          this->oracle().solve(now, schedule_.state().epsilon);
          break;
        case SearchVerdict::give_up:
          return false;
      }
      step_ = gradient_step(parameters_, now.theta, gradient_, schedule_.state().step);
    }
    return false;
  }

  TrialVerdict evaluate(const UpperPoint<T>& now) {
    trial_.theta = step_.theta;
    copy<T>(this->oracle().context(), now.x.view(), trial_.x.view());
    const auto judge = [&](const LossEnclosure& loss) {
      return schedule_.judge_trial(now.loss.lower, now.loss.upper, loss.lower, loss.upper, step_.slope);
    };
    const TrialVerdict verdict = solve_trial<T>(this->oracle(), trial_, schedule_.state().epsilon, judge);
    const bool undecidable =
        verdict == TrialVerdict::undecided && trial_.status == SolveStatus::rounding_limited;
    return undecidable ? TrialVerdict::backtrack : verdict;
  }

  StochasticOptions options_;
  int batches_;
  const Parameters& parameters_;
  bool may_try_;
  AccuracySchedule schedule_;
  UpperPoint<T> trial_;
  HypergradientResult gradient_ = unknown_gradient();
  Step step_;
  int backtracks_ = 0, skipped_ = 0;  // of this step; minibatches in a row
};

}  // namespace

template <class T>
IterationRecord batch_record(const UpperOracle<T>& oracle, const UpperPoint<T>& at,
                             const HypergradientResult& gradient, const Accuracies& accuracies,
                             const char* status) {
  IterationRecord r = oracle.record(at, status);
  tell_gradient(gradient, r);
  r.gradient_norm = gradient.z.empty() ? std::nan("") : step_norm(gradient.z);
  r.epsilon = accuracies.epsilon;
  r.delta = accuracies.delta;
  return r;
}

template <class T>
std::unique_ptr<BatchStep<T>> make_batch_step(const StochasticOptions& options, int batches,
                                              UpperOracle<T>& oracle) {
  if (options.step == StochasticStep::certified)
    return std::make_unique<CertifiedStep<T>>(options, batches, oracle);
  return std::make_unique<ScheduledStep<T>>(options, oracle);
}

#define BILEVEL_INSTANTIATE(T)                                                                       \
  template IterationRecord batch_record(const UpperOracle<T>&, const UpperPoint<T>&,                 \
                                        const HypergradientResult&, const Accuracies&, const char*); \
  template std::unique_ptr<BatchStep<T>> make_batch_step(const StochasticOptions&, int, UpperOracle<T>&);
BILEVEL_INSTANTIATE(float)
BILEVEL_INSTANTIATE(double)
#undef BILEVEL_INSTANTIATE

}  // namespace v0
}  // namespace bilevel
