#include "bilevel/learn/dfo.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "bilevel/core/error.hpp"
#include "learn/dfo_model.hpp"
#include "learn/dfo_values.hpp"
#include "learn/run_support.hpp"

namespace bilevel {
inline namespace v0 {
namespace {

constexpr std::size_t most_parameters = 500;
constexpr double shortest_step = 0.01;  ///< of the radius; shorter ones are not worth an evaluation
constexpr double least_volume = 0.3;    ///< of the points, that a step which is not accepted may leave
constexpr double infinite = std::numeric_limits<double>::infinity();

/// A theta with its residuals. `finest`: no solve can make them more accurate.
struct Sample {
  std::vector<double> theta;
  Residuals values;
  bool finest = false;
};

/// The best point is current_, whose reconstructions start every other; the models interpolate at it and at
/// the samples of set_. Every evaluation is kept.
template <class T>
class DfoMethod final : public UpperMethod<T> {
 public:
  DfoMethod(const DfoOptions& options, UpperOracle<T>& oracle)
      : UpperMethod<T>(oracle),
        options_(options),
        dynamic_(options.dynamic && !oracle.options().schedule.fixed_accuracy),
        box_(oracle.problem().parameters().lower(), oracle.problem().parameters().upper()),
        radius_max_(std::min(options.radius_max_factor * options.radius0, box_.diagonal())),
        current_(oracle.point()),
        trial_(oracle.point()) {
    require_loss_and_size();
  }

  UpperPoint<T>& point() override { return current_; }

  /// theta0 and a point along every axis, as accurate as the radius asks for.
  void start() override {
    radius_ = std::min(options_.radius0, radius_max_);
    const std::optional<std::size_t> first = evaluate(current_.theta, {});
    if (!first) throw UpperStop{UpperStatus::failed, not_finite(current_.theta) + failure_};
    move_to(*first);
    while (dynamic_ && !known(0.5) && !samples_[best_].finest)
      sharpen_best({0.1 * std::sqrt(best().upper), false});
    scale_ = std::sqrt(best().value);
    if (dynamic_ && !point_goal().met(best())) sharpen_best(point_goal());
    const std::vector<double> centre = current_.theta;
    for (std::size_t t = 0; t < box_.size(); ++t) {
      const std::size_t sample = evaluate_near(centre, axis(centre, t), point_goal());
      set_.push_back(sample);
      if (samples_[sample].values.value < best().value) become_best(sample, t);
    }
  }

  void prepare() override { build(); }

  /// Trust-region steps until one is accepted.
  IterationRecord step() override {
    IterationRecord done = record("accepted");
    const int before = evaluations_;
    while (!try_once()) {
    }
    std::vector<double> moved = current_.theta;
    for (std::size_t j = 0; j < moved.size(); ++j) moved[j] -= done.theta[j];
    done.step = norm_of(moved);
    done.backtracks = evaluations_ - before - 1;
    done.work = this->oracle().work();
    done.seconds = this->oracle().seconds();
    return done;
  }

  IterationRecord record(const char* status) override {
    IterationRecord r = this->oracle().record(current_, status);
    tell_gradient(unknown_gradient(), r);
    r.gradient_norm = slope_;
    for (const double e : current_.epsilon) r.epsilon = std::max(r.epsilon, e);
    return r;
  }

  void save(UpperState& s) const override;
  void restore(const UpperState& s) override;

 private:
  // ---- evaluations

  void require_loss_and_size() const {
    const UpperLoss<T>& loss = this->oracle().problem().loss();
    const std::size_t p = this->oracle().problem().parameters().size();
    if (!(loss.lower_bound() >= 0))
      throw ConfigError(
          "dfo takes square roots of the loss, and '" + std::string(loss.name()) +
          "' does not say that it is never negative; give it a lower bound of 0, or use maid or lbfgsb.");
    if (p > most_parameters)
      throw ConfigError("dfo takes up to " + std::to_string(most_parameters) + " entries of theta, not " +
                        std::to_string(p) + "; use maid or lbfgsb.");
    if (box_.size() == 0) throw ConfigError("dfo finds every entry of theta held by its bounds.");
  }

  const Residuals& best() const { return samples_[best_].values; }
  double first_loss() const { return scale_ * scale_; }
  Goal point_goal() const { return {options_.point_accuracy * radius_ * radius_ * scale_, false}; }
  Goal value_goal(double predicted) const { return {options_.eta1_prime * predicted, true}; }
  static Goal scaled(Goal goal, double factor) {
    goal.bound *= factor;
    return goal;
  }

  /// The accuracy that meets the goal with the numbers measured at `at`.
  double accuracy(const UpperPoint<T>& at, const Goal& goal) const {
    const double most = this->oracle().options().schedule.epsilon0;
    if (!dynamic_ || std::isinf(goal.bound)) return most;
    return accuracy_for(this->oracle().problem().loss(), at.measured, this->oracle().penalty(at.theta),
                        scaled(goal, 0.9), most);
  }

  /// A sample at theta that meets the goal or is as accurate as can be, from the reconstructions at the best
  /// point; trial_ is its point. Nothing where the loss is not finite.
  std::optional<std::size_t> evaluate(std::vector<double> theta, const Goal& goal) {
    count();
    return refine(std::move(theta), goal);
  }
  void count() {
    if (options_.max_evaluations > 0 && evaluations_ >= options_.max_evaluations)
      throw UpperStop{UpperStatus::budget,
                      "The cap of " + std::to_string(evaluations_) + " evaluations was reached."};
    evaluations_ += 1;
  }

  /// The same, of a theta that was evaluated before.
  std::optional<std::size_t> refine(std::vector<double> theta, const Goal& goal) {
    trial_.theta = std::move(theta);
    copy<T>(this->oracle().context(), std::as_const(current_.x).view(), trial_.x.view());
    for (double epsilon = accuracy(current_, goal);;) {
      const std::optional<double> penalty = solve_trial(epsilon);
      if (!penalty) return {};
      Sample sample{trial_.theta,
                    residuals_of(this->oracle().problem().loss(), trial_.measured, trial_.epsilon, *penalty)};
      if (!sample.values.finite()) return {};
      sample.finest = !dynamic_ || trial_.status != SolveStatus::converged;
      if (sample.finest || goal.met(sample.values)) {
        samples_.push_back(std::move(sample));
        return samples_.size() - 1;
      }
      epsilon = std::min(0.5 * epsilon, accuracy(trial_, goal));
    }
  }

  /// J at trial_.theta, with reconstructions to epsilon; nothing outside the model's domain, where J is not
  /// finite and where a solve fails.
  std::optional<double> solve_trial(double epsilon) {
    const double penalty = this->oracle().penalty(trial_.theta);
    if (penalty < 0)
      throw UpperStop{UpperStatus::failed,
                      "The penalty is " + short_number(penalty) +
                          "; dfo takes square roots and needs one that is never negative."};
    failure_.clear();
    trial_.status = SolveStatus::converged;
    try {
      this->oracle().bind(trial_.theta);
      this->oracle().solve(trial_, epsilon);
    } catch (const ConfigError& outside) {
      failure_ = std::string(" ") + outside.what();
      return {};
    } catch (const UpperStop& stop) {
      if (trial_.status != SolveStatus::failed) throw;
      failure_ = " " + stop.message;
      return {};
    }
    return std::isfinite(penalty) ? std::optional(penalty) : std::nullopt;
  }

  /// At centre + s or, where the loss is not finite there, on the other side or nearer.
  std::size_t evaluate_near(const std::vector<double>& centre, std::vector<double> s, const Goal& goal) {
    const Room room = box_.room(centre);
    for (int trial = 0; trial < 20; ++trial) {
      bool inside = true;
      for (std::size_t j = 0; j < s.size(); ++j)
        inside = inside && s[j] >= room.low[j] && s[j] <= room.high[j];
      if (inside)
        if (const auto sample = evaluate(box_.at(centre, s), goal)) return *sample;
      for (double& e : s) e *= trial % 2 == 0 ? -1 : -0.5;
    }
    throw UpperStop{UpperStatus::failed, not_finite(centre) + " Nor is it near there." + failure_};
  }
  static std::string not_finite(const std::vector<double>& theta) {
    std::string text = "The loss is not finite at theta = (";
    for (std::size_t j = 0; j < std::min<std::size_t>(theta.size(), 5); ++j)
      text += (j > 0 ? ", " : "") + short_number(theta[j]);
    return text + (theta.size() > 5 ? ", ...)." : ").");
  }

  /// Along axis t, to the side with room for the radius.
  std::vector<double> axis(const std::vector<double>& centre, std::size_t t) const {
    const Room room = box_.room(centre);
    std::vector<double> s(box_.size(), 0);
    const bool up = room.high[t] >= radius_ || room.high[t] >= -room.low[t];
    s[t] = up ? std::min(radius_, room.high[t]) : std::max(-radius_, room.low[t]);
    return s;
  }

  // ---- points

  /// trial_, the point of the sample, is the best from now on.
  void move_to(std::size_t sample) {
    best_ = sample;
    std::swap(current_, trial_);
    models_.reset();
  }
  /// And the one of before takes its place t among the others.
  void become_best(std::size_t sample, std::size_t t) {
    set_[t] = best_;
    move_to(sample);
  }
  void replace(std::size_t t, std::size_t sample) {
    set_[t] = sample;
    models_.reset();
  }

  /// Ends the run where the best point cannot be evaluated more accurately.
  void sharpen_best(const Goal& goal) {
    if (samples_[best_].finest) end_by_accuracy(goal);
    const std::optional<std::size_t> sample = refine(current_.theta, goal);
    if (!sample) throw UpperStop{UpperStatus::failed, not_finite(current_.theta) + failure_};
    move_to(*sample);
  }
  void sharpen_others() {
    for (std::size_t t = 0; t < set_.size(); ++t) {
      if (!inaccurate(samples_[set_[t]])) continue;
      const std::optional<std::size_t> sample = refine(samples_[set_[t]].theta, point_goal());
      if (!sample) throw UpperStop{UpperStatus::failed, not_finite(trial_.theta) + failure_};
      replace(t, *sample);
    }
  }
  [[noreturn]] void end_by_accuracy(const Goal& goal) const {
    const bool cap = current_.status == SolveStatus::iteration_cap;
    if (!cap && known(1e-6))
      throw UpperStop{UpperStatus::converged,
                      "Converged: what the models still promise is less than rounding lets be certified; no "
                      "gradient is known."};
    throw UpperStop{UpperStatus::accuracy_limit,
                    "The next step needs residuals or a loss to " + short_number(goal.bound) +
                        ", certified is " + short_number(goal.error(best())) +
                        (cap ? "; the cap of lower-level iterations is the limit: raise it."
                             : "; rounding is the limit: use a larger end radius" +
                                   std::string(sizeof(T) == sizeof(float) ? ", or double precision." : "."))};
  }

  /// The models at the best point and the others, and whether they are fully linear.
  void build() {
    if (models_) return;
    const std::vector<double>& centre = current_.theta;
    std::vector<double> steps, differences;
    for (const std::size_t t : set_) {
      const std::vector<double> d = box_.displacement(samples_[t].theta, centre);
      steps.insert(steps.end(), d.begin(), d.end());
      for (std::size_t i = 0; i < best().r.size(); ++i)
        differences.push_back(samples_[t].values.r[i] - best().r[i]);
    }
    room_ = box_.room(centre);
    models_.emplace(steps, differences, best().r);
    slope_ = criticality_of(*models_, room_);
  }
  std::optional<Replacement> misplaced() const {
    return improve_geometry(*models_, room_, radius_, options_.lagrange);
  }
  /// Whether a sample is to be evaluated more finely for the radius.
  bool inaccurate(const Sample& sample) const { return !sample.finest && !point_goal().met(sample.values); }
  bool sharp() const {
    return std::none_of(set_.begin(), set_.end(), [&](std::size_t t) { return inaccurate(samples_[t]); });
  }
  bool fully_linear() const { return sharp() && !misplaced(); }

  // ---- the algorithm

  /// One pass of the loop; true when the best point has moved.
  bool try_once() {
    build();
    check_end();
    if (ends()) return inaccurate(samples_[best_]) ? sharpen() : improve();
    if (slope_ <= options_.criticality * first_loss()) {
      if (!fully_linear()) return improve();
      if (radius_ * first_loss() > slope_) return shrink();
    }
    const std::vector<double> s = trust_region_step(*models_, room_, radius_);
    const double predicted = models_->fall(s);
    if (norm_of(s) < shortest_step * radius_ || !(predicted > 0))
      return fully_linear() ? shrink() : improve();
    if (dynamic_ && !value_goal(predicted).met(best())) {
      sharpen_best(scaled(value_goal(predicted), 0.99));
      return false;
    }
    return try_step(s, predicted);
  }

  bool ends() const { return radius_ < std::max(options_.radius_end, box_.resolution(current_.theta)); }
  void check_end() const {
    if (!ends() || inaccurate(samples_[best_]) || !fully_linear()) return;
    if (!known(1e-4))
      throw UpperStop{UpperStatus::accuracy_limit,
                      "The trust region fell to the radius " + short_number(radius_) +
                          ", and the loss is only known to lie between " + short_number(best().lower) +
                          " and " + short_number(best().upper) +
                          (dynamic_ ? "; rounding or the cap of lower-level iterations is the limit."
                                    : "; use a finer fixed accuracy, or adaptive ones.")};
    throw UpperStop{UpperStatus::converged, "Converged: the trust region fell to the radius " +
                                                short_number(radius_) + "; no gradient is known."};
  }
  /// Whether the loss at the best point is certain to a fraction of itself.
  bool known(double fraction) const { return best().upper - best().lower <= fraction * best().value; }
  bool sharpen() {
    sharpen_best(point_goal());
    return false;
  }
  /// The smaller radius asks more of the best point too: a value that was too good would keep all others
  /// away.
  bool shrink() {
    if (inaccurate(samples_[best_])) return sharpen();
    radius_ *= options_.gamma_dec;
    return false;
  }

  bool try_step(const std::vector<double>& s, double predicted) {
    const std::optional<std::size_t> sample = evaluate(box_.at(current_.theta, s), value_goal(predicted));
    const double ratio = sample ? ratio_of(samples_[*sample].values, predicted) : -infinite;
    const bool good = fully_linear(), moves = sample && certainly_lower(samples_[*sample].values);
    if (sample) take_in(*sample, s, moves);
    change_radius(ratio, norm_of(s), good);
    if (good || ratio >= options_.eta2) return moves;
    build();
    return (!fully_linear() && improve()) || moves;
  }

  /// A certainly better point becomes the best. Another one joins the set where it costs little of the
  /// points' volume, less than a replacement of improve() gains, so that improving them ends.
  void take_in(std::size_t sample, const std::vector<double>& s, bool moves) {
    const std::size_t t = least_useful(*models_, s, radius_, moves);
    if (moves && t == set_.size())
      move_to(sample);
    else if (moves)
      become_best(sample, t);
    else if (std::abs(models_->lagrange_values(s)[t]) >= least_volume)
      replace(t, sample);
  }

  /// As in DFO-LS. Where the models are not fully linear the radius stays, unless the loss rose by more than
  /// was to be gained: it is too large for models that were right at a smaller one, and check_end() sees to
  /// it that no run ends on poor models.
  void change_radius(double ratio, double size, bool good) {
    if (ratio >= options_.eta2)
      radius_ = std::min(radius_max_,
                         radius_ * (size > 0.95 * radius_ ? options_.gamma_inc_bar : options_.gamma_inc));
    else if (good && ratio >= options_.eta1)
      radius_ = std::max(options_.gamma_dec * radius_, size);
    else if (good || ratio <= -1)
      radius_ = std::min(options_.gamma_dec * radius_, size);
  }

  /// Of fixed accuracies: by the values.
  bool certainly_lower(const Residuals& next) const {
    return dynamic_ ? next.upper < best().lower : next.value < best().value;
  }

  /// Actual over predicted decrease, the least that the errors leave where they are larger than wanted.
  double ratio_of(const Residuals& next, double predicted) const {
    const bool sharp = !dynamic_ || value_goal(predicted).met(next);
    return (sharp ? best().value - next.value : best().lower - next.upper) / predicted;
  }

  /// Replaces a point that keeps the models from being fully linear. Where that finds a certainly smaller
  /// loss it is the best from now on.
  bool improve() {
    if (const auto next = misplaced()) {
      if (const auto known = recall(*next)) {
        replace(next->point, *known);
        return false;
      }
      const std::size_t sample = evaluate_near(current_.theta, next->step, point_goal());
      if (certainly_lower(samples_[sample].values)) {
        become_best(sample, next->point);
        return true;
      }
      replace(next->point, sample);
    } else {
      sharpen_others();
    }
    return false;
  }

  /// An earlier sample that does half as well as the replacement, if there is one.
  std::optional<std::size_t> recall(const Replacement& next) const {
    const auto value = [&](const std::vector<double>& s) {
      double sum = 0;
      for (std::size_t j = 0; j < s.size(); ++j) sum += models_->lagrange(next.point)[j] * s[j];
      return std::abs(sum);
    };
    std::optional<std::size_t> chosen;
    double most = 0.5 * value(next.step);
    for (std::size_t k = 0; k < samples_.size(); ++k) {
      const std::vector<double> s = box_.displacement(samples_[k].theta, current_.theta);
      if (k == set_[next.point] || norm_of(s) > 2 * radius_ || !(value(s) > most)) continue;
      if (inaccurate(samples_[k])) continue;
      most = value(s);
      chosen = k;
    }
    return chosen;
  }

  DfoOptions options_;
  bool dynamic_;
  ScaledBox box_;
  double radius_max_;
  UpperPoint<T> current_, trial_;
  std::vector<Sample> samples_;   // every evaluation
  std::vector<std::size_t> set_;  // the others
  std::size_t best_ = 0;
  std::optional<LinearModels> models_;  // at the best point, for this set
  Room room_;
  double radius_ = 0, scale_ = 0, slope_ = 0;
  int evaluations_ = 0;
  std::string failure_;  // why the last evaluation gave nothing, for messages
};

template <class T>
void DfoMethod<T>::save(UpperState& s) const {
  s.numbers = {{"radius", {radius_}},
               {"scale", {scale_}},
               {"best", {static_cast<double>(best_)}},
               {"evaluations", {static_cast<double>(evaluations_)}},
               {"others", {set_.begin(), set_.end()}},
               {"measured", current_.measured},
               {"epsilon", current_.epsilon}};
  std::vector<double> all;
  for (const Sample& sample : samples_) {
    for (const std::vector<double>* v : {&sample.theta, &sample.values.r, &sample.values.error})
      all.insert(all.end(), v->begin(), v->end());
    all.insert(all.end(), {sample.values.value, sample.values.lower, sample.values.upper,
                           static_cast<double>(sample.finest)});
  }
  s.arrays = {{"samples", raw_bytes(all)}};
}

template <class T>
void DfoMethod<T>::restore(const UpperState& s) {
  const UpperLoss<T>& loss = this->oracle().problem().loss();
  const auto n = static_cast<std::size_t>(loss.shape().n);
  const std::size_t p = current_.theta.size(), each = p + 2 * (n + 1) + 4;
  const std::vector<double> all = from_raw<double>(s.array("samples"));
  const auto index = [&](double number) {
    const auto k = static_cast<std::size_t>(number);
    if (!(number >= 0) || !(number < static_cast<double>(all.size() / each)))
      throw ConfigError("the saved point " + short_number(number) + " of the run is none that a run saves.");
    return k;
  };
  require_positive(s, {"radius", "evaluations"});
  current_.measured = s.list("measured");
  current_.epsilon = s.list("epsilon");
  if (all.size() % each != 0 || s.list("others").size() != box_.size() || current_.epsilon.size() != n)
    throw ShapeError("the saved state of the run is for another problem.");
  radius_ = s.number("radius");
  scale_ = s.number("scale");
  best_ = index(s.number("best"));
  evaluations_ = static_cast<int>(s.number("evaluations"));
  for (const double k : s.list("others")) set_.push_back(index(k));
  for (auto next = all.begin(); next != all.end();) {
    const auto take = [&](std::vector<double>& out, std::size_t count) {
      out.assign(next, next + static_cast<std::ptrdiff_t>(count));
      next += static_cast<std::ptrdiff_t>(count);
    };
    Sample sample;
    take(sample.theta, p);
    take(sample.values.r, n + 1);
    take(sample.values.error, n + 1);
    sample.values.value = *next++;
    sample.values.lower = *next++;
    sample.values.upper = *next++;
    sample.finest = *next++ != 0;
    samples_.push_back(std::move(sample));
  }
  current_.loss =
      enclose_loss(loss, current_.measured, current_.epsilon, this->oracle().penalty(current_.theta));
}

}  // namespace

void DfoOptions::validate() const {
  const auto require = [](bool right, const char* what) {
    if (!right) throw ConfigError(what);
  };
  const auto positive = [](double v) { return v > 0 && std::isfinite(v); };
  require(positive(radius0), "radius0 must be positive and finite.");
  require(radius_end > 0 && radius_end < radius0, "radius-end must be positive and below radius0.");
  require(radius_max_factor >= 1 && std::isfinite(radius_max_factor),
          "radius-max-factor must be at least 1.");
  require(max_evaluations >= 0, "max-evaluations must not be negative.");
  require(0 < eta1 && eta1 <= eta2 && eta2 < 1, "eta1 and eta2 must fulfil 0 < eta1 <= eta2 < 1.");
  require(0 < eta1_prime && eta1_prime < 0.5 * std::min(eta1, 1 - eta2),
          "eta1-prime must lie between 0 and half the lesser of eta1 and 1 - eta2.");
  require(0 < gamma_dec && gamma_dec < 1, "gamma-dec must lie between 0 and 1.");
  require(gamma_inc > 1 && gamma_inc_bar >= gamma_inc && std::isfinite(gamma_inc_bar),
          "gamma-inc and gamma-inc-bar must fulfil 1 < gamma-inc <= gamma-inc-bar.");
  require(criticality >= 0 && std::isfinite(criticality), "criticality must not be negative.");
  require(lagrange > 1 && std::isfinite(lagrange), "lagrange must be above 1.");
  require(positive(point_accuracy), "point-accuracy must be positive and finite.");
}

template <class T>
std::unique_ptr<UpperOptimiser<T>> make_dfo(const DfoOptions& dfo, const UpperOptions& options,
                                            const UpperSolvers<T>& solvers) {
  dfo.validate();
  return make_upper_optimiser<T>(
      "dfo", options, [dfo](UpperOracle<T>& oracle) { return std::make_unique<DfoMethod<T>>(dfo, oracle); },
      solvers);
}
template BILEVEL_API std::unique_ptr<UpperOptimiser<float>> make_dfo(const DfoOptions&, const UpperOptions&,
                                                                     const UpperSolvers<float>&);
template BILEVEL_API std::unique_ptr<UpperOptimiser<double>> make_dfo(const DfoOptions&, const UpperOptions&,
                                                                      const UpperSolvers<double>&);

}  // namespace v0
}  // namespace bilevel
