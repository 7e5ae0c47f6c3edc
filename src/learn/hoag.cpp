#include "bilevel/learn/hoag.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "bilevel/core/error.hpp"
#include "core/norm.hpp"
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

/// Holds the last point that was solved for, now_, and the theta that a step proposes, next_.
template <class T>
class HoagMethod final : public UpperMethod<T> {
 public:
  HoagMethod(const HoagOptions& options, UpperOracle<T>& oracle)
      : UpperMethod<T>(oracle),
        parameters_(oracle.problem().parameters()),
        options_(options),
        now_(oracle.point()),
        next_(oracle.point()) {}

  UpperPoint<T>& point() override { return now_; }
  void start() override { next_.theta = now_.theta; }

  void prepare() override {
    epsilon_ = std::max(finest, shrink_ * accuracy(options_, this->oracle().iteration() + 1));
    solve_next();
    while (!takes_step()) {
      lipschitz_ *= 2;
      shrink_ /= 2;
      epsilon_ = std::max(finest, epsilon_ / 2);
      next_.theta = now_.theta;
      distance_ = 0;
      solve_next();
    }
    std::swap(now_, next_);
    differentiate(false);
    if (lipschitz_ == 0) {
      const double size = norm_of(gradient_.z), entries = static_cast<double>(parameters_.size());
      lipschitz_ = size > 1e-3 ? size / std::sqrt(entries) : 1;
    }
    check_stationarity();
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

  IterationRecord record(const char* status) override {
    IterationRecord r = this->oracle().record(now_, status);
    tell_gradient(gradient_, r);
    r.gradient_norm = gradient_.z.empty() ? 0 : norm_of(gradient_.z);
    r.epsilon = epsilon_;
    r.delta = epsilon_;
    return r;
  }

  void save(UpperState& s) const override {
    s.numbers = {{"lipschitz", {lipschitz_}},
                 {"shrink", {shrink_}},
                 {"distance", {distance_}},
                 {"previous-loss", {previous_loss_}},
                 {"previous-epsilon", {previous_epsilon_}},
                 {"next-theta", next_.theta}};
  }
  void restore(const UpperState& s) override {
    require_positive(s, {"lipschitz", "shrink", "previous-epsilon"});
    lipschitz_ = s.number("lipschitz");
    shrink_ = s.number("shrink");
    distance_ = s.number("distance");
    previous_loss_ = s.number("previous-loss");
    previous_epsilon_ = s.number("previous-epsilon");
    next_.theta = s.list("next-theta");
    if (next_.theta.size() != parameters_.size())
      throw ShapeError("the saved state is of another problem: its next theta has " +
                       std::to_string(next_.theta.size()) + " entries instead of " +
                       std::to_string(parameters_.size()) + ".");
  }

 private:
  /// From the reconstructions at now_.
  void solve_next() {
    copy<T>(this->oracle().context(), std::as_const(now_.x).view(), next_.x.view());
    this->oracle().solve(next_, epsilon_);
  }

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

  void differentiate(bool bounds) {
    HypergradientRequest request;
    request.delta = epsilon_;
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
  double epsilon_ = 1, lipschitz_ = 0, shrink_ = 1;
  double distance_ = 0, previous_loss_ = 0, previous_epsilon_ = 1;  // of the last step
};

}  // namespace

const char* name_of(HoagSchedule schedule) {
  for (const auto& [value, name] : schedules)
    if (value == schedule) return name;
  return "";
}
HoagSchedule hoag_schedule(const std::string& name) {
  for (const auto& [value, own] : schedules)
    if (name == own) return value;
  throw ConfigError("the schedule '" + name + "' is unknown; use quadratic, cubic, geometric or exact.");
}

void HoagOptions::validate() const {
  if (!(epsilon0 > 0) || !std::isfinite(epsilon0)) throw ConfigError("epsilon0 must be positive and finite.");
}

template <class T>
std::unique_ptr<UpperOptimiser<T>> make_hoag(const HoagOptions& hoag, const UpperOptions& options,
                                             const UpperSolvers<T>& solvers) {
  hoag.validate();
  return make_upper_optimiser<T>(
      "hoag", options,
      [hoag](UpperOracle<T>& oracle) { return std::make_unique<HoagMethod<T>>(hoag, oracle); }, solvers);
}
template BILEVEL_API std::unique_ptr<UpperOptimiser<float>> make_hoag(const HoagOptions&, const UpperOptions&,
                                                                      const UpperSolvers<float>&);
template BILEVEL_API std::unique_ptr<UpperOptimiser<double>> make_hoag(const HoagOptions&,
                                                                       const UpperOptions&,
                                                                       const UpperSolvers<double>&);

}  // namespace v0
}  // namespace bilevel
