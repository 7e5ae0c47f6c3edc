#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "bilevel/core/error.hpp"
#include "device/backend.hpp"
#include "learn/certified_value.hpp"
#include "learn/lbfgsb_library.hpp"
#include "learn/step_direction.hpp"

namespace bilevel {
inline namespace v0 {
namespace {

constexpr int memory = 10;
/// Width of an enclosure against the decrease of the last step: what an evaluation aims at.
constexpr double wanted_width = 0.1;

template <class T>
class LbfgsbRun {
 public:
  LbfgsbRun(Context& context, const BilevelProblem<T>& problem, const UpperOptions& options,
            Observer& observer)
      : context_(context),
        problem_(problem),
        options_(options),
        observer_(observer),
        lower_(context, problem, options, observer),
        value_(context, problem, options, lower_),
        // The library's first guesses on a logarithmic scale are often far off, and reconstructions there
        // cost a hundred times as much.
        library_(problem.parameters().lower(), problem.parameters().upper(), memory,
                 factor_reach(problem.parameters(), 10)),
        current_(value_.point()),
        latest_(value_.point()) {}

  UpperReport run(std::span<const double> theta0, const UpperState* resume, View<const T> first) {
    UpperReport report;
    try {
      resume ? restore(*resume) : begin(theta0, first);
      while (true) iterate();
    } catch (const Stop& stop) {
      report.status = stop.status;
      report.message = stop.message;
    }
    report.theta = current_.point.theta;
    report.last = record(upper_status_name(report.status));
    observer_.finished(report);
    return report;
  }
  Tensor<T> reconstructions() { return std::move(current_.point.x); }

 private:
  void begin(std::span<const double> theta0, View<const T> first) {
    current_.point.theta = lower_.start(theta0);
    copy<T>(context_, first, current_.point.x.view());
    copy<T>(context_, first, latest_.point.x.view());
    value_.evaluate(current_, current_.point.theta, wanted_width * decrease_);
    restart();
  }

  /// From the current point, whose value and hypergradient are known.
  void restart() {
    library_.start(current_.point.theta);
    task_ = library_.advance(current_.point.loss.value, current_.gradient.z);
  }

  /// One step of L-BFGS-B with a certified decrease.
  void iterate() {
    check_stationarity(0.5);
    if (iteration_ >= options_.max_iterations)
      throw Stop{UpperStatus::max_iterations,
                 "The cap of " + std::to_string(iteration_) + " iterations was reached."};
    lower_.watch_progress(current_.point.loss.value);
    for (int round = 0;; ++round) {
      const int evaluations = next_iterate();
      if (evaluations > 0 && value_.certify_decrease(current_, latest_)) {
        accept(evaluations);
        return;
      }
      if (options_.schedule.fixed_accuracy || round == options_.schedule.max_rounds) give_up();
      value_.refine(0.25);
      value_.evaluate(current_, current_.point.theta, wanted_width * decrease_);
      restart();
    }
  }

  /// Evaluates until the library accepts a point, the latest; 0 when its line search fails.
  int next_iterate() {
    int evaluations = 0;
    while (task_ == LbfgsbTask::evaluate) {
      value_.evaluate(latest_, {library_.x().begin(), library_.x().end()}, wanted_width * decrease_);
      evaluations += 1;
      task_ = library_.advance(latest_.point.loss.value, latest_.gradient.z);
    }
    return task_ == LbfgsbTask::accepted ? evaluations : 0;
  }

  void accept(int evaluations) {
    IterationRecord done = record("accepted");
    done.backtracks = evaluations - 1;
    double moved = 0;
    for (std::size_t j = 0; j < current_.point.theta.size(); ++j)
      moved += std::pow(latest_.point.theta[j] - current_.point.theta[j], 2);
    done.step = std::sqrt(moved);
    decrease_ = current_.point.loss.value - latest_.point.loss.value;
    if (!options_.schedule.fixed_accuracy && latest_.width() < 0.1 * wanted_width * decrease_) value_.relax();
    value_.assign(current_, latest_);
    iteration_ += 1;
    const bool go_on = observer_.iteration(done);
    if (observer_.wants_state(done)) observer_.state(save());
    if (!go_on) throw Stop{UpperStatus::interrupted, "An observer stopped the run."};
    task_ = library_.advance(current_.point.loss.value, current_.gradient.z);
    if (task_ == LbfgsbTask::finished) restart();
  }

  double projected() const {
    return projected_gradient_norm(problem_.parameters(), current_.point.theta, current_.gradient.z);
  }

  /// Ends the run when |P(theta - grad f) - theta| <= |P(theta - z) - theta| + omega <= tolerance; refines
  /// when only omega is in the way and the first term is at most `share` of the tolerance.
  void check_stationarity(double share) {
    const double tolerance = options_.schedule.tolerance;
    constexpr int most = 60;  // halvings that leave nothing of a double
    for (int round = 0;; ++round) {
      const double certified = projected() + current_.gradient.omega;
      if (certified <= tolerance)
        throw Stop{UpperStatus::stationary,
                   "Stationary: the gradient is certified to be at most " + short_number(certified) + "."};
      if (projected() > share * tolerance) return;
      if (options_.schedule.fixed_accuracy || value_.limited(current_) || round == most ||
          current_.gradient.rounding > 0.5 * current_.gradient.omega)
        throw Stop{UpperStatus::accuracy_limit,
                   "No smaller gradient can be certified; |z| + omega = " + short_number(certified) + "."};
      value_.refine(tolerance / certified);
      value_.remeasure(current_);
    }
  }

  [[noreturn]] void give_up() {
    check_stationarity(0.99);
    const bool accuracy = options_.schedule.fixed_accuracy || value_.limited(current_);
    throw Stop{accuracy ? UpperStatus::accuracy_limit : UpperStatus::line_search_failed,
               "No step could be certified to decrease the loss; |z| + omega = " +
                   short_number(projected() + current_.gradient.omega) + "."};
  }

  IterationRecord record(const char* status) const {
    IterationRecord r = value_.record(current_, iteration_, status);
    r.gradient_norm = current_.gradient.z.empty() ? 0 : projected();
    return r;
  }

  UpperState save() {
    UpperState s;
    s.theta = current_.point.theta;
    s.epsilon = value_.epsilon;
    s.delta = value_.delta;
    s.iteration = iteration_;
    s.work = lower_.work;
    s.seconds = lower_.seconds();
    s.losses = lower_.losses;
    s.diagonal = value_.numbers(current_);
    s.last_step = decrease_;
    s.x = lower_.raw(download(context_, current_.point.x));
    s.adjoints = lower_.raw(value_.hypergradient.save(context_));
    s.pairs = library_.save();
    return s;
  }

  void restore(const UpperState& s) {
    lower_.require_state(s);
    current_.point.theta = s.theta;
    current_.point.x.upload(context_, lower_.template values<T>(s.x));
    copy<T>(context_, std::as_const(current_.point.x).view(), latest_.point.x.view());
    value_.hypergradient.restore(context_, lower_.template values<T>(s.adjoints), false);
    value_.epsilon = s.epsilon;
    value_.delta = s.delta;
    decrease_ = s.last_step;
    iteration_ = s.iteration;
    lower_.work = s.work;
    lower_.previous_seconds = s.seconds;
    lower_.losses = s.losses;
    std::vector<double> numbers = s.diagonal;
    value_.take_numbers(numbers, current_);
    library_.restore(s.pairs);
    task_ = library_.advance(current_.point.loss.value, current_.gradient.z);
    if (task_ == LbfgsbTask::finished) restart();
  }

  Context& context_;
  const BilevelProblem<T>& problem_;
  const UpperOptions& options_;
  Observer& observer_;
  LowerLevel<T> lower_;
  CertifiedValue<T> value_;
  Lbfgsb library_;
  LbfgsbTask task_ = LbfgsbTask::evaluate;
  Evaluated<T> current_, latest_;
  double decrease_ = std::numeric_limits<double>::infinity();  ///< of the last step
  int iteration_ = 0;
};

template <class T>
class LbfgsbOptimiser final : public UpperOptimiser<T> {
 public:
  explicit LbfgsbOptimiser(const UpperOptions& options) : options_(options) { options_.validate(); }
  const char* name() const override { return "lbfgsb"; }

  UpperReport run(Context& context, const BilevelProblem<T>& problem, std::span<const double> theta0,
                  View<const T> first, Observer& observer, const UpperState* resume) override {
    require_same(problem.energy().shape(), first.shape(), "start of the lower level");
    LbfgsbRun<T> run(context, problem, options_, observer);
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
std::unique_ptr<UpperOptimiser<T>> make_lbfgsb(const UpperOptions& options) {
  return std::make_unique<LbfgsbOptimiser<T>>(options);
}
template BILEVEL_API std::unique_ptr<UpperOptimiser<float>> make_lbfgsb(const UpperOptions&);
template BILEVEL_API std::unique_ptr<UpperOptimiser<double>> make_lbfgsb(const UpperOptions&);

}  // namespace v0
}  // namespace bilevel
