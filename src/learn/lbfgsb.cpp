#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

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
class LbfgsbMethod final : public UpperMethod<T> {
 public:
  explicit LbfgsbMethod(UpperOracle<T>& oracle)
      : UpperMethod<T>(oracle),
        parameters_(oracle.problem().parameters()),
        options_(oracle.options()),
        value_(oracle),
        // The library's first guesses on a logarithmic scale are often far off, and reconstructions there
        // cost a hundred times as much.
        library_(parameters_.lower(), parameters_.upper(), memory, factor_reach(parameters_, 10)),
        current_(value_.point()),
        latest_(value_.point()) {}

  UpperPoint<T>& point() override { return current_.point; }

  void start() override {
    copy_start();
    value_.evaluate(current_, current_.point.theta, wanted_width * decrease_);
    restart();
  }

  void prepare() override {
    if (accepted_) advance_from_current();
    check_stationarity(0.5);
  }

  /// One step of L-BFGS-B with a certified decrease.
  IterationRecord step() override {
    for (int round = 0;; ++round) {
      const int evaluations = next_iterate();
      if (evaluations > 0 && value_.certify_decrease(current_, latest_)) return accept(evaluations);
      if (options_.schedule.fixed_accuracy || round == options_.schedule.max_rounds) give_up();
      value_.refine(0.25);
      value_.evaluate(current_, current_.point.theta, wanted_width * decrease_);
      restart();
    }
  }

  IterationRecord record(const char* status) override {
    IterationRecord r = value_.record(current_, status);
    r.gradient_norm = current_.gradient.z.empty() ? 0 : projected();
    return r;
  }

  void save(UpperState& s) const override {
    value_.save(current_, s);
    s.numbers["decrease"] = {decrease_};
    s.arrays["library"] = library_.save();
  }

  void restore(const UpperState& s) override {
    copy_start();
    value_.restore(s, current_);
    decrease_ = s.number("decrease");
    library_.restore(s.array("library"));
    accepted_ = true;
  }

 private:
  void copy_start() {
    copy<T>(this->oracle().context(), std::as_const(current_.point.x).view(), latest_.point.x.view());
  }

  /// From the current point, whose value and hypergradient are known.
  void restart() {
    library_.start(current_.point.theta);
    task_ = library_.advance(current_.point.loss.value, current_.gradient.z);
  }

  /// The library goes on from the iterate that was accepted last.
  void advance_from_current() {
    accepted_ = false;
    task_ = library_.advance(current_.point.loss.value, current_.gradient.z);
    if (task_ == LbfgsbTask::finished) restart();
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

  IterationRecord accept(int evaluations) {
    IterationRecord done = record("accepted");
    done.backtracks = evaluations - 1;
    double moved = 0;
    for (std::size_t j = 0; j < current_.point.theta.size(); ++j)
      moved += std::pow(latest_.point.theta[j] - current_.point.theta[j], 2);
    done.step = std::sqrt(moved);
    decrease_ = current_.point.loss.value - latest_.point.loss.value;
    if (!options_.schedule.fixed_accuracy && latest_.width() < 0.1 * wanted_width * decrease_) value_.relax();
    value_.assign(current_, latest_);
    accepted_ = true;
    return done;
  }

  double projected() const {
    return projected_gradient_norm(parameters_, current_.point.theta, current_.gradient.z);
  }

  /// Ends the run when |P(theta - grad f) - theta| <= |P(theta - z) - theta| + omega <= tolerance; refines
  /// when only omega is in the way and the first term is at most `share` of the tolerance.
  void check_stationarity(double share) {
    const double tolerance = options_.schedule.tolerance;
    constexpr int most = 60;  // halvings that leave nothing of a double
    for (int round = 0;; ++round) {
      const double certified = projected() + current_.gradient.omega;
      if (certified <= tolerance)
        throw UpperStop{UpperStatus::stationary, "Stationary: the gradient is certified to be at most " +
                                                     short_number(certified) + "."};
      if (projected() > share * tolerance) return;
      if (options_.schedule.fixed_accuracy || value_.limited(current_) || round == most ||
          current_.gradient.rounding > 0.5 * current_.gradient.omega)
        throw UpperStop{UpperStatus::accuracy_limit,
                        "No smaller gradient can be certified; |z| + omega = " + short_number(certified) +
                            accuracy_remedy<T>(options_.schedule)};
      value_.refine(tolerance / certified);
      value_.measure(current_);
    }
  }

  [[noreturn]] void give_up() {
    check_stationarity(0.99);
    const bool accuracy = options_.schedule.fixed_accuracy || value_.limited(current_);
    throw UpperStop{accuracy ? UpperStatus::accuracy_limit : UpperStatus::line_search_failed,
                    "No step could be certified to decrease the loss; |z| + omega = " +
                        short_number(projected() + current_.gradient.omega) +
                        (accuracy ? accuracy_remedy<T>(options_.schedule) : std::string("."))};
  }

  const Parameters& parameters_;
  const UpperOptions& options_;
  CertifiedValue<T> value_;
  Lbfgsb library_;
  LbfgsbTask task_ = LbfgsbTask::evaluate;
  Evaluated<T> current_, latest_;
  double decrease_ = std::numeric_limits<double>::infinity();  ///< of the last step
  bool accepted_ = false;  ///< current_, which the library has not left yet
};

}  // namespace

template <class T>
std::unique_ptr<UpperOptimiser<T>> make_lbfgsb(const UpperOptions& options, const UpperSolvers<T>& solvers) {
  return make_upper_optimiser<T>(
      "lbfgsb", options, [](UpperOracle<T>& oracle) { return std::make_unique<LbfgsbMethod<T>>(oracle); },
      solvers);
}
template BILEVEL_API std::unique_ptr<UpperOptimiser<float>> make_lbfgsb(const UpperOptions&,
                                                                        const UpperSolvers<float>&);
template BILEVEL_API std::unique_ptr<UpperOptimiser<double>> make_lbfgsb(const UpperOptions&,
                                                                         const UpperSolvers<double>&);

}  // namespace v0
}  // namespace bilevel
