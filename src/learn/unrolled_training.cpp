#include "bilevel/learn/unrolled_training.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <utility>

#include "bilevel/core/error.hpp"
#include "core/norm.hpp"
#include "learn/adam.hpp"
#include "learn/certified_value.hpp"
#include "learn/names.hpp"
#include "learn/run_support.hpp"
#include "learn/step_direction.hpp"

namespace bilevel {
inline namespace v0 {

namespace {

constexpr std::pair<UnrolledUpdate, const char*> updates[] = {{UnrolledUpdate::gradient, "gradient"},
                                                              {UnrolledUpdate::adam, "adam"}};
constexpr double end_width = 1e-4;  // of the enclosure of f at the end, relative

/// now_ is the last theta whose loss was unrolled, next_ the one that a step proposes.
template <class T>
class UnrolledTraining final : public UpperMethod<T> {
 public:
  UnrolledTraining(const UnrolledTrainingOptions& options, UpperOracle<T>& oracle)
      : UpperMethod<T>(oracle),
        parameters_(oracle.problem().parameters()),
        schedule_(oracle.options().schedule),
        options_(options),
        value_(oracle),
        now_(value_.point()),
        next_(value_.point()),
        start_(oracle.context(), oracle.problem().energy().shape()),
        adam_(parameters_.size()) {}

  UpperPoint<T>& point() override { return now_.point; }
  void start() override {
    copy<T>(this->oracle().context(), std::as_const(now_.point.x).view(), start_.view());
    next_.point.theta = now_.point.theta;
    this->oracle().bind(now_.point.theta);
    unroll(options_.unrolled.fixed_at(this->oracle().problem().energy().curvature()));
  }

  void prepare() override {
    differentiate(next_);
    std::swap(now_, next_);
    if (size() <= schedule_.tolerance)
      throw UpperStop{UpperStatus::accuracy_limit,
                      "The gradient of the unrolled loss, not that of the loss, is at most " +
                          short_number(size()) + "."};
  }

  IterationRecord step() override {
    IterationRecord done = record("uncertified");
    done.epsilon = *std::max_element(now_.point.epsilon.begin(), now_.point.epsilon.end());
    done.delta = std::numeric_limits<double>::infinity();
    done.step = schedule_.step0;
    next_.point.theta = moved();
    return done;
  }

  /// The enclosure of f, z and omega at the end. Where f_K is stationary these are refined until it is
  /// certain whether f is.
  void conclude(UpperStop& end) override {
    if (!std::isfinite(now_.point.loss.upper)) value_.measure(now_);  // a limit came before the first loss
    value_.evaluate(now_, now_.point.theta, end_width * std::abs(now_.point.loss.value));
    const bool judge = end.status == UpperStatus::accuracy_limit;
    for (int round = 0; judge && undecided() && round < schedule_.max_rounds; ++round) {
      value_.refine(schedule_.tolerance / now_.gradient.omega);
      value_.measure(now_);
    }
    const double certified = size() + now_.gradient.omega;
    if (certified <= schedule_.tolerance)
      end = {UpperStatus::stationary,
             "Stationary: the gradient is certified to be at most " + short_number(certified) + "."};
    else
      end.message = end.message.substr(0, end.message.rfind('.')) +
                    "; no step was certified, but of the end that the gradient is at most " +
                    short_number(certified) + ".";
  }

  IterationRecord record(const char* status) override {
    IterationRecord r = value_.record(now_, status);
    r.gradient_norm = now_.gradient.z.empty() ? 0 : norm_of(now_.gradient.z);
    return r;
  }

  void save(UpperState& s) const override {
    s.numbers["next-theta"] = next_.point.theta;
    s.numbers["first-moment"] = adam_.first;
    s.numbers["second-moment"] = adam_.second;
    s.numbers["lower-step"] = {*options_.unrolled.step};
    s.numbers["lower-momentum"] = {options_.unrolled.momentum.value_or(0)};
    s.arrays["start"] = raw_bytes(download<T>(this->oracle().context(), start_));
  }
  void restore(const UpperState& s) override {
    next_.point.theta = list_like_theta(s, "next-theta");
    adam_.first = list_like_theta(s, "first-moment");
    adam_.second = list_like_theta(s, "second-moment");
    const std::vector<T> values = from_raw<T>(s.array("start"));
    require_saved(values.size(), start_.shape().count(), "start");
    start_.upload(this->oracle().context(), values);
    require_positive(s, {"lower-step"});
    UnrolledOptions fixed = options_.unrolled;
    fixed.step = s.number("lower-step");
    if (fixed.method == UnrolledMethod::heavy_ball) fixed.momentum = s.number("lower-momentum");
    unroll(fixed);
  }

 private:
  double size() const { return projected_gradient_norm(parameters_, now_.point.theta, now_.gradient.z); }
  bool undecided() const {
    const double omega = now_.gradient.omega;
    return size() + omega > schedule_.tolerance && size() - omega <= schedule_.tolerance &&
           !CertifiedValue<T>::limited(now_);
  }

  void unroll(const UnrolledOptions& fixed) {
    options_.unrolled = fixed;
    unrolled_.emplace(this->oracle().context(), this->oracle().problem(), fixed);
  }

  /// x^K, f_K and its derivative at the theta of the point, with what the distance measured there tells of f.
  void differentiate(Evaluated<T>& at) {
    UpperOracle<T>& oracle = this->oracle();
    oracle.check_limits();
    oracle.bind(at.point.theta);
    UnrolledResult r =
        unrolled_->compute(oracle.context(), at.point.theta, std::as_const(start_).view(), at.point.x.view());
    oracle.count(r.work);
    at.gradient = unknown_gradient();
    at.gradient.z = std::move(r.z);
    if (!std::isfinite(r.loss + norm_of(at.gradient.z)))
      throw UpperStop{UpperStatus::failed,
                      "The loss after " + std::to_string(options_.unrolled.steps) +
                          " unrolled steps is not finite; use shorter steps of the lower level, or fewer."};
    oracle.solve(at.point, std::numeric_limits<double>::max());
  }

  /// P(theta - a d), d = z or Adam's.
  std::vector<double> moved() {
    const std::vector<double>& z = now_.gradient.z;
    std::vector<double> target = now_.point.theta;
    const std::vector<double> d =
        options_.update == UnrolledUpdate::adam ? adam_.scaled(z, this->oracle().iteration() + 1) : z;
    for (std::size_t j = 0; j < target.size(); ++j) target[j] -= schedule_.step0 * d[j];
    return parameters_.project(target);
  }

  const Parameters& parameters_;
  const ScheduleOptions& schedule_;
  UnrolledTrainingOptions options_;
  std::optional<UnrolledHypergradient<T>> unrolled_;  // from start() or restore() on
  CertifiedValue<T> value_;
  Evaluated<T> now_, next_;
  Tensor<T> start_;
  Adam adam_;
};

}  // namespace

const char* name_of(UnrolledUpdate update) { return name_in(updates, update); }
UnrolledUpdate unrolled_update(const std::string& name) { return value_in(updates, name, "update"); }

void UnrolledTrainingOptions::validate() const { unrolled.validate(); }

template <class T>
std::unique_ptr<UpperOptimiser<T>> make_unrolled(const UnrolledTrainingOptions& own,
                                                 const UpperOptions& options,
                                                 const UpperSolvers<T>& solvers) {
  own.validate();
  return make_upper_optimiser<T>(
      std::string("unrolled-") + name_of(own.update), options,
      [own](UpperOracle<T>& oracle) { return std::make_unique<UnrolledTraining<T>>(own, oracle); }, solvers);
}
template BILEVEL_API std::unique_ptr<UpperOptimiser<float>> make_unrolled(const UnrolledTrainingOptions&,
                                                                          const UpperOptions&,
                                                                          const UpperSolvers<float>&);
template BILEVEL_API std::unique_ptr<UpperOptimiser<double>> make_unrolled(const UnrolledTrainingOptions&,
                                                                           const UpperOptions&,
                                                                           const UpperSolvers<double>&);

}  // namespace v0
}  // namespace bilevel
