#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "bilevel/core/error.hpp"
#include "device/backend.hpp"
#include "learn/lbfgsb_library.hpp"
#include "learn/lower_level.hpp"
#include "learn/step_direction.hpp"

namespace bilevel {
inline namespace v0 {
namespace {

constexpr int memory = 10;
/// Width of an enclosure against the decrease of the last step: what an evaluation aims at.
constexpr double wanted_width = 0.1;

/// A point with its hypergradient and the enclosure that the adjoint gives.
template <class T>
struct Evaluated {
  Point<T> point;
  HypergradientResult gradient = unknown_gradient();
  double width() const { return point.loss.upper - point.loss.lower; }
};

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
        hypergradient_(context, problem, options.linear_solver),
        library_(problem.parameters().lower(), problem.parameters().upper(), memory),
        current_{{{}, Tensor<T>(context, problem.energy().shape()), {}, {}}},
        latest_{{{}, Tensor<T>(context, problem.energy().shape()), {}, {}}},
        epsilon_(options.schedule.epsilon0),
        delta_(options.schedule.delta0) {}

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
    if (theta0.size() != problem_.parameters().size())
      throw ShapeError("theta has " + std::to_string(theta0.size()) + " entries, the problem " +
                       std::to_string(problem_.parameters().size()) + ".");
    current_.point.theta = problem_.parameters().project(theta0);
    copy<T>(context_, first, current_.point.x.view());
    copy<T>(context_, first, latest_.point.x.view());
    evaluate(current_, current_.point.theta);
    restart();
  }

  /// From the current point, whose value and hypergradient are known.
  void restart() {
    library_.start(current_.point.theta);
    task_ = library_.advance(current_.point.loss.value, current_.gradient.z);
  }

  /// One step of L-BFGS-B with a certified decrease.
  void iterate() {
    check_stationarity();
    if (iteration_ >= options_.max_iterations)
      throw Stop{UpperStatus::max_iterations,
                 "The cap of " + std::to_string(iteration_) + " iterations was reached."};
    lower_.watch_progress(current_.point.loss.value);
    for (int round = 0;; ++round) {
      const int evaluations = next_iterate();
      if (evaluations > 0 && certify_decrease()) {
        accept(evaluations);
        return;
      }
      if (options_.schedule.fixed_accuracy || round == options_.schedule.max_rounds) give_up();
      refine(0.25);
      evaluate(current_, current_.point.theta);
      restart();
    }
  }

  /// Evaluates until the library accepts a point, the latest; 0 when its line search fails.
  int next_iterate() {
    int evaluations = 0;
    while (task_ == LbfgsbTask::evaluate) {
      evaluate(latest_, {library_.x().begin(), library_.x().end()});
      evaluations += 1;
      task_ = library_.advance(latest_.point.loss.value, latest_.gradient.z);
    }
    return task_ == LbfgsbTask::accepted ? evaluations : 0;
  }

  /// Value and hypergradient at theta, warm started, refined until the enclosure is narrow against the
  /// progress of the run.
  void evaluate(Evaluated<T>& at, std::vector<double> theta) {
    at.point.theta = std::move(theta);
    problem_.energy().bind(at.point.theta);
    for (int round = 0;; ++round) {
      measure(at);
      const double target = wanted_width * decrease_;
      if (options_.schedule.fixed_accuracy || at.width() <= target || limited(at) ||
          round == options_.schedule.max_rounds)
        return;
      refine(std::sqrt(target / at.width()));
    }
  }

  /// One solve to epsilon and one adjoint to delta at the theta bound to the energy.
  void measure(Evaluated<T>& at) {
    lower_.solve(at.point, epsilon_);
    HypergradientRequest request;
    request.delta = delta_;
    request.columns = false;
    at.gradient =
        hypergradient_.compute(context_, at.point.theta, at.point.x.view(), at.point.epsilon, request);
    lower_.work += at.gradient.work;
    if (at.gradient.status == SolveStatus::failed) throw Stop{UpperStatus::failed, at.gradient.message};
    at.point.loss = enclose_loss(at.point.distance, at.point.epsilon, at.gradient.adjoint_product,
                                 at.gradient.adjoint_error, lower_.penalty(at.point.theta));
  }

  /// Whether upper+ < lower; when the enclosures overlap although the values fall, both points are refined.
  bool certify_decrease() {
    while (latest_.point.loss.upper >= current_.point.loss.lower) {
      const double fall = current_.point.loss.value - latest_.point.loss.value;
      const double width = std::max(latest_.width(), current_.width());
      if (options_.schedule.fixed_accuracy || fall <= 0 || limited(latest_) || limited(current_))
        return false;
      refine(std::sqrt(0.3 * fall / width));
      problem_.energy().bind(current_.point.theta);
      measure(current_);
      problem_.energy().bind(latest_.point.theta);
      measure(latest_);
    }
    return true;
  }

  /// Accuracies finer by the factor, between 0.1 and nu.
  void refine(double factor) {
    lower_.check_limits();
    const double by = std::clamp(factor, 0.1, options_.schedule.nu);
    epsilon_ *= by;
    delta_ *= by;
  }

  static bool limited(const Evaluated<T>& at) {
    return at.point.status == SolveStatus::rounding_limited ||
           at.gradient.status == SolveStatus::rounding_limited;
  }

  void accept(int evaluations) {
    IterationRecord done = record("accepted");
    done.backtracks = evaluations - 1;
    double moved = 0;
    for (std::size_t j = 0; j < current_.point.theta.size(); ++j)
      moved += std::pow(latest_.point.theta[j] - current_.point.theta[j], 2);
    done.step = std::sqrt(moved);
    decrease_ = current_.point.loss.value - latest_.point.loss.value;
    if (!options_.schedule.fixed_accuracy && latest_.width() < 0.1 * wanted_width * decrease_) {
      epsilon_ *= options_.schedule.nu_up;
      delta_ = std::min(delta_ * options_.schedule.nu_up, options_.schedule.delta0);
    }
    copy<T>(context_, std::as_const(latest_.point.x).view(), current_.point.x.view());
    current_.point.theta = latest_.point.theta;
    current_.point.epsilon = latest_.point.epsilon;
    current_.point.distance = latest_.point.distance;
    current_.point.loss = latest_.point.loss;
    current_.point.status = latest_.point.status;
    current_.gradient = latest_.gradient;
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
  /// when only omega is in the way.
  void check_stationarity() {
    const double tolerance = options_.schedule.tolerance;
    while (projected() <= 0.5 * tolerance) {
      const double certified = projected() + current_.gradient.omega;
      if (certified <= tolerance)
        throw Stop{UpperStatus::stationary,
                   "Stationary: the gradient is certified to be at most " + short_number(certified) + "."};
      if (options_.schedule.fixed_accuracy || limited(current_) ||
          current_.gradient.rounding > 0.5 * current_.gradient.omega)
        throw Stop{UpperStatus::accuracy_limit,
                   "No smaller gradient can be certified; |z| + omega = " + short_number(certified) + "."};
      refine(tolerance / certified);
      problem_.energy().bind(current_.point.theta);
      measure(current_);
    }
  }

  [[noreturn]] void give_up() {
    const bool accuracy = options_.schedule.fixed_accuracy || limited(current_);
    throw Stop{accuracy ? UpperStatus::accuracy_limit : UpperStatus::line_search_failed,
               "No step could be certified to decrease the loss; |z| + omega = " +
                   short_number(projected() + current_.gradient.omega) + "."};
  }

  IterationRecord record(const char* status) const {
    IterationRecord r = lower_.record(current_.point, iteration_, status);
    r.gradient = current_.gradient.z;
    r.gradient_norm = current_.gradient.z.empty() ? 0 : projected();
    r.error_bound = current_.gradient.omega;
    r.omega_theorem = current_.gradient.omega_theorem;
    r.omega_adjoint = current_.gradient.omega_adjoint;
    r.omega_directional = current_.gradient.omega_directional;
    r.omega_columns = current_.gradient.omega_columns;
    r.epsilon = epsilon_;
    r.delta = delta_;
    return r;
  }

  /// The numbers of the current point that a resumed run cannot form anew with the same bits.
  std::vector<double> numbers() const {
    const Point<T>& p = current_.point;
    const HypergradientResult& g = current_.gradient;
    std::vector<double> out{p.loss.lower,    p.loss.value,    p.loss.upper,    g.omega,
                            g.rounding,      g.omega_theorem, g.omega_adjoint, g.omega_directional,
                            g.omega_columns, decrease_};
    for (const std::vector<double>* v : {&p.epsilon, &p.distance, &g.z})
      out.insert(out.end(), v->begin(), v->end());
    return out;
  }
  void take_numbers(const std::vector<double>& in) {
    Point<T>& p = current_.point;
    HypergradientResult& g = current_.gradient;
    const auto n = static_cast<std::size_t>(problem_.images()), size = p.theta.size();
    if (in.size() != 10 + 2 * n + size)
      throw ShapeError("the saved state of the run is for another problem.");
    p.loss = {in[0], in[1], in[2]};
    g.omega = in[3];
    g.rounding = in[4];
    g.omega_theorem = in[5];
    g.omega_adjoint = in[6];
    g.omega_directional = in[7];
    g.omega_columns = in[8];
    decrease_ = in[9];
    const auto at = in.begin() + 10, end = at + static_cast<std::ptrdiff_t>(n);
    p.epsilon.assign(at, end);
    p.distance.assign(end, end + static_cast<std::ptrdiff_t>(n));
    g.z.assign(end + static_cast<std::ptrdiff_t>(n), in.end());
  }

  UpperState save() {
    UpperState s;
    s.theta = current_.point.theta;
    s.epsilon = epsilon_;
    s.delta = delta_;
    s.iteration = iteration_;
    s.work = lower_.work;
    s.seconds = lower_.seconds();
    s.losses = lower_.losses;
    s.diagonal = numbers();
    s.x = lower_.raw(download(context_, current_.point.x));
    s.adjoints = lower_.raw(hypergradient_.save(context_));
    s.pairs = library_.save();
    return s;
  }

  void restore(const UpperState& s) {
    current_.point.theta = s.theta;
    current_.point.x.upload(context_, lower_.template values<T>(s.x));
    copy<T>(context_, std::as_const(current_.point.x).view(), latest_.point.x.view());
    hypergradient_.restore(context_, lower_.template values<T>(s.adjoints), false);
    epsilon_ = s.epsilon;
    delta_ = s.delta;
    iteration_ = s.iteration;
    lower_.work = s.work;
    lower_.previous_seconds = s.seconds;
    lower_.losses = s.losses;
    take_numbers(s.diagonal);
    library_.restore(s.pairs);
    task_ = library_.advance(current_.point.loss.value, current_.gradient.z);
    if (task_ == LbfgsbTask::finished) restart();
  }

  Context& context_;
  const BilevelProblem<T>& problem_;
  const UpperOptions& options_;
  Observer& observer_;
  LowerLevel<T> lower_;
  ImplicitHypergradient<T> hypergradient_;
  Lbfgsb library_;
  LbfgsbTask task_ = LbfgsbTask::evaluate;
  Evaluated<T> current_, latest_;
  double epsilon_, delta_;
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
