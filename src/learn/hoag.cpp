#include "bilevel/learn/hoag.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "bilevel/core/error.hpp"
#include "core/norm.hpp"
#include "learn/names.hpp"
#include "learn/run_support.hpp"
#include "learn/step_direction.hpp"

namespace bilevel {
inline namespace v0 {

namespace {

constexpr std::pair<HoagSchedule, const char*> schedules[] = {{HoagSchedule::quadratic, "quadratic"},
                                                              {HoagSchedule::cubic, "cubic"},
                                                              {HoagSchedule::geometric, "geometric"},
                                                              {HoagSchedule::exact, "exact"}};
constexpr double finest = 1e-12;  ///< of any accuracy

/// epsilon_k.
double accuracy(const HoagOptions& options, int k) {
  switch (options.schedule) {
    case HoagSchedule::quadratic:
      return options.epsilon0 / std::pow(k, 2);
    case HoagSchedule::cubic:
      return options.epsilon0 / std::pow(k, 3);
    case HoagSchedule::geometric:
      return options.epsilon0 * std::pow(0.9, k);
    case HoagSchedule::exact:
      break;
  }
  return finest;
}

double first_lipschitz(std::span<const double> z) {
  const double size = norm_of(z);
  return size > 1e-3 ? size / std::sqrt(static_cast<double>(z.size())) : 1;
}

double least(std::span<const double> theta) { return *std::min_element(theta.begin(), theta.end()); }

/// What both forms share: the last point that was solved for, now_, its hypergradient, the theta that a step
/// proposes, next_, and when a run is at its end.
template <class T>
class HoagBase : public UpperMethod<T> {
 public:
  HoagBase(const HoagOptions& options, UpperOracle<T>& oracle)
      : UpperMethod<T>(oracle),
        parameters_(oracle.problem().parameters()),
        options_(options),
        now_(oracle.point()),
        next_(oracle.point()) {}

  UpperPoint<T>& point() override { return now_; }
  void start() override { next_.theta = now_.theta; }

  IterationRecord record(const char* status) override {
    IterationRecord r = this->oracle().record(now_, status);
    tell_gradient(gradient_, r);
    r.gradient_norm = gradient_.z.empty() ? 0 : norm_of(gradient_.z);
    r.epsilon = epsilon_;
    r.delta = epsilon_;
    return r;
  }

 protected:
  /// From the reconstructions at now_.
  void solve_next(double epsilon) {
    copy<T>(this->oracle().context(), std::as_const(now_.x).view(), next_.x.view());
    this->oracle().solve(next_, epsilon);
  }

  /// now_ is next_, with its hypergradient.
  void arrive() {
    std::swap(now_, next_);
    differentiate(false);
    if (lipschitz_ == 0) lipschitz_ = first_lipschitz(gradient_.z);
    check_stationarity();
  }

  void save_shared(UpperState& s) const {
    s.numbers["lipschitz"] = {lipschitz_};
    s.numbers["previous-loss"] = {previous_loss_};
    s.numbers["next-theta"] = next_.theta;
  }
  void restore_shared(const UpperState& s) {
    require_positive(s, {"lipschitz"});
    lipschitz_ = s.number("lipschitz");
    previous_loss_ = s.number("previous-loss");
    next_.theta = s.list("next-theta");
    if (next_.theta.size() != parameters_.size())
      throw ShapeError("the saved state is of another problem: its next theta has " +
                       std::to_string(next_.theta.size()) + " entries instead of " +
                       std::to_string(parameters_.size()) + ".");
  }

  void differentiate(bool bounds) {
    HypergradientRequest request;
    request.delta = epsilon_;
    request.relative_delta = options_.published_code;
    request.bounds = bounds;
    gradient_ = this->oracle().gradient(now_, request);
  }

  void check_stationarity() {
    const double tolerance = this->oracle().options().schedule.tolerance;
    const double size = projected_gradient_norm(parameters_, now_.theta, gradient_.z);
    if (size > tolerance) return;
    differentiate(true);
    const double certified = projected_gradient_norm(parameters_, now_.theta, gradient_.z) + gradient_.omega;
    if (certified <= tolerance)
      throw UpperStop{UpperStatus::stationary,
                      "Stationary: the gradient is certified to be at most " + short_number(certified) + "."};
    if (epsilon_ <= finest || now_.status == SolveStatus::rounding_limited)
      throw UpperStop{UpperStatus::accuracy_limit,
                      "No smaller gradient can be certified; |z| + omega = " + short_number(certified) +
                          accuracy_remedy<T>(this->oracle().options().schedule)};
  }

  const Parameters& parameters_;
  HoagOptions options_;
  UpperPoint<T> now_, next_;
  HypergradientResult gradient_ = unknown_gradient();
  double epsilon_ = 1, lipschitz_ = 0;
  double previous_loss_ = std::numeric_limits<double>::infinity();  // of the last step
};

template <class T>
class HoagMethod final : public HoagBase<T> {
 public:
  using HoagBase<T>::HoagBase;

  void prepare() override {
    epsilon_ = std::max(finest, shrink_ * accuracy(options_, this->oracle().iteration() + 1));
    solve_next(epsilon_);
    while (!takes_step()) {
      lipschitz_ *= 2;
      shrink_ /= 2;
      epsilon_ = std::max(finest, epsilon_ / 2);
      next_.theta = now_.theta;
      distance_ = 0;
      solve_next(epsilon_);
    }
    arrive();
  }

  IterationRecord step() override {
    IterationRecord done = record("accepted");
    done.step = 1 / lipschitz_;
    std::vector<double> target = now_.theta;
    for (std::size_t j = 0; j < target.size(); ++j) target[j] -= gradient_.z[j] / lipschitz_;
    next_.theta = parameters_.project(target);
    for (std::size_t j = 0; j < target.size(); ++j) target[j] = next_.theta[j] - now_.theta[j];
    distance_ = norm_of(target);
    previous_loss_ = now_.loss.value;
    previous_epsilon_ = epsilon_;
    return done;
  }

  void save(UpperState& s) const override {
    this->save_shared(s);
    s.numbers["shrink"] = {shrink_};
    s.numbers["distance"] = {distance_};
    s.numbers["previous-epsilon"] = {previous_epsilon_};
  }
  void restore(const UpperState& s) override {
    this->restore_shared(s);
    require_positive(s, {"shrink", "previous-epsilon"});
    shrink_ = s.number("shrink");
    distance_ = s.number("distance");
    previous_epsilon_ = s.number("previous-epsilon");
  }

 private:
  /// The rule of the step length; false: the step is to be taken back.
  bool takes_step() {
    if (lipschitz_ == 0 || distance_ == 0) return true;
    const double value = next_.loss.value;
    if (value <= previous_loss_ + 0.25 * epsilon_ + 1.25 * previous_epsilon_ * distance_ -
                     lipschitz_ * distance_ * distance_) {
      lipschitz_ *= 0.95;
      return true;
    }
    return value < 1.2 * previous_loss_;
  }

  double shrink_ = 1;
  double distance_ = 0, previous_epsilon_ = 1;  // of the last step

  using HoagBase<T>::parameters_, HoagBase<T>::options_, HoagBase<T>::now_, HoagBase<T>::next_;
  using HoagBase<T>::gradient_, HoagBase<T>::epsilon_, HoagBase<T>::lipschitz_;
  using HoagBase<T>::previous_loss_, HoagBase<T>::solve_next, HoagBase<T>::arrive, HoagBase<T>::record;
};

/// HoagOptions::published_code.
template <class T>
class PublishedHoag final : public HoagBase<T> {
 public:
  using HoagBase<T>::HoagBase;

  void start() override {
    HoagBase<T>::start();
    epsilon_ = options_.schedule == HoagSchedule::exact ? finest : options_.epsilon0;
    least0_ = least(now_.theta);
    this->oracle().solve(now_, std::numeric_limits<double>::max());  // the start, for its certificate
    gradient0_ = mu() * *std::max_element(now_.epsilon.begin(), now_.epsilon.end());
  }

  void prepare() override {
    this->oracle().bind(next_.theta);
    const double relative = epsilon_ * std::exp(least(next_.theta) - least0_);
    solve_next(std::max(relative * gradient0_ / mu(), std::numeric_limits<double>::min()));
    arrive();
  }

  IterationRecord step() override {
    IterationRecord done = record("accepted");
    done.step = 1 / lipschitz_;
    const double used = epsilon_, value = now_.loss.value;
    next_epsilon();
    const double length = norm_of(gradient_.z) / lipschitz_;
    const bool falls =
        value <= previous_loss_ + 0.25 * epsilon_ + 1.25 * used * length - lipschitz_ * length * length;
    next_.theta = now_.theta;
    if (falls || value < 1.2 * previous_loss_) {
      move_twice();
      if (falls) lipschitz_ *= 0.95;
    } else {
      lipschitz_ *= 2;
      epsilon_ *= 0.5;
      done.status = "rejected";
    }
    previous_loss_ = value;
    return done;
  }

  void save(UpperState& s) const override {
    this->save_shared(s);
    s.numbers["accuracy"] = {epsilon_};
    s.numbers["least"] = {least0_};
    s.numbers["gradient"] = {gradient0_};
  }
  void restore(const UpperState& s) override {
    this->restore_shared(s);
    require_positive(s, {"accuracy", "gradient"});
    epsilon_ = s.number("accuracy");
    least0_ = s.number("least");
    gradient0_ = s.number("gradient");
  }

 private:
  double mu() const { return this->oracle().problem().energy().curvature().mu; }

  void next_epsilon() {
    const int k = this->oracle().iteration() + 1;
    const double next = options_.schedule == HoagSchedule::geometric ? 0.9 * epsilon_ : accuracy(options_, k);
    epsilon_ = std::max(next, finest);
  }

  void move_twice() {
    for (std::size_t j = 0; j < next_.theta.size(); ++j) {
      const double move = gradient_.z[j] / lipschitz_;
      next_.theta[j] = std::clamp(now_.theta[j] - move, -6.0, 6.0) - move;
    }
    next_.theta = parameters_.project(next_.theta);
  }

  double least0_ = 0, gradient0_ = 1;  // min theta_0 and |grad Phi(x_0)|

  using HoagBase<T>::parameters_, HoagBase<T>::options_, HoagBase<T>::now_, HoagBase<T>::next_;
  using HoagBase<T>::gradient_, HoagBase<T>::epsilon_, HoagBase<T>::lipschitz_;
  using HoagBase<T>::previous_loss_, HoagBase<T>::solve_next, HoagBase<T>::arrive, HoagBase<T>::record;
};

}  // namespace

const char* name_of(HoagSchedule schedule) { return name_in(schedules, schedule); }
HoagSchedule hoag_schedule(const std::string& name) { return value_in(schedules, name, "schedule"); }

void HoagOptions::validate() const {
  if (!(epsilon0 > 0) || !std::isfinite(epsilon0)) throw ConfigError("epsilon0 must be positive and finite.");
}

template <class T>
std::unique_ptr<UpperOptimiser<T>> make_hoag(const HoagOptions& hoag, const UpperOptions& options,
                                             const UpperSolvers<T>& solvers) {
  hoag.validate();
  return make_upper_optimiser<T>(
      hoag.published_code ? "hoag-published" : "hoag", options,
      [hoag](UpperOracle<T>& oracle) -> std::unique_ptr<UpperMethod<T>> {
        if (hoag.published_code) return std::make_unique<PublishedHoag<T>>(hoag, oracle);
        return std::make_unique<HoagMethod<T>>(hoag, oracle);
      },
      solvers);
}
template BILEVEL_API std::unique_ptr<UpperOptimiser<float>> make_hoag(const HoagOptions&, const UpperOptions&,
                                                                      const UpperSolvers<float>&);
template BILEVEL_API std::unique_ptr<UpperOptimiser<double>> make_hoag(const HoagOptions&,
                                                                       const UpperOptions&,
                                                                       const UpperSolvers<double>&);

}  // namespace v0
}  // namespace bilevel
