#include "bilevel/learn/stochastic.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <optional>
#include <utility>

#include "bilevel/core/error.hpp"
#include "bilevel/core/philox.hpp"
#include "learn/batch_step.hpp"
#include "learn/names.hpp"
#include "learn/run_support.hpp"
#include "learn/step_direction.hpp"

namespace bilevel {
inline namespace v0 {

namespace {

constexpr std::pair<StochasticStep, const char*> steps[] = {{StochasticStep::plain, "plain"},
                                                            {StochasticStep::adagrad, "adagrad"},
                                                            {StochasticStep::adam, "adam"},
                                                            {StochasticStep::certified, "certified"}};

/// The images in the order of an epoch: sorted by random numbers of seed and epoch alone.
std::vector<int> epoch_order(std::uint64_t seed, int epoch, int images) {
  constexpr std::uint32_t purpose = 4;  // the programs number theirs from 0 to 3
  std::vector<std::pair<std::uint64_t, int>> keyed;
  for (int i = 0; i < images; ++i) {
    const auto bits =
        philox4x32({static_cast<std::uint32_t>(i), 0, static_cast<std::uint32_t>(epoch), purpose},
                   {static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)});
    keyed.emplace_back(static_cast<std::uint64_t>(bits[1]) << 32 | bits[0], i);
  }
  std::sort(keyed.begin(), keyed.end());
  std::vector<int> order;
  for (const auto& [key, image] : keyed) order.push_back(image);
  return order;
}

/// An array of the unknown's shape for every image, on the host.
template <class T>
class WarmStarts {
 public:
  WarmStarts(int images, std::size_t size) : size_(size), values_(static_cast<std::size_t>(images) * size) {}

  std::span<T> of(int image) { return std::span(values_).subspan(at(image), size_); }
  const std::vector<T>& gather(std::span<const int> batch) {
    staging_.clear();
    for (const int i : batch) staging_.insert(staging_.end(), of(i).begin(), of(i).end());
    return staging_;
  }
  void scatter(std::span<const int> batch, std::span<const T> values) {
    for (std::size_t k = 0; k < batch.size(); ++k)
      std::copy_n(values.begin() + static_cast<std::ptrdiff_t>(k * size_), size_, of(batch[k]).begin());
  }
  std::vector<std::uint8_t> save() const { return raw_bytes(values_); }
  void restore(const std::vector<std::uint8_t>& saved, const char* part) {
    require_saved(saved.size(), values_.size() * sizeof(T), part);
    values_ = from_raw<T>(saved);
  }
  std::vector<T> take() { return std::move(values_); }

 private:
  std::size_t at(int image) const { return static_cast<std::size_t>(image) * size_; }

  std::size_t size_;
  std::vector<T> values_, staging_;
};

/// Adds the record of a part of the whole set to that of the parts before: means, and the work of all.
void add_part(const IterationRecord& part, double share, IterationRecord& whole) {
  IterationRecord sum = part;
  const auto add = [&](double IterationRecord::*what) { sum.*what = whole.*what + share * part.*what; };
  for (double IterationRecord::*what :
       {&IterationRecord::loss, &IterationRecord::loss_lower, &IterationRecord::loss_upper,
        &IterationRecord::error_bound, &IterationRecord::omega_theorem, &IterationRecord::omega_adjoint,
        &IterationRecord::omega_directional, &IterationRecord::omega_columns, &IterationRecord::psnr})
    add(what);
  for (std::size_t j = 0; j < sum.gradient.size(); ++j)
    sum.gradient[j] = (whole.gradient.empty() ? 0 : whole.gradient[j]) + share * part.gradient[j];
  if (!sum.gradient.empty()) sum.gradient_norm = step_norm(sum.gradient);
  whole = std::move(sum);
}

template <class T>
class StochasticRun {
 public:
  StochasticRun(const char* name, Context& context, BatchSource<T>& source, const StochasticOptions& own,
                const UpperOptions& options, Observer& observer, const UpperSolvers<T>& solvers)
      : name_(name),
        context_(context),
        source_(source),
        options_(own),
        observer_(observer),
        oracle_(context, source.problem(), options, observer, solvers),
        images_(source.images()),
        batch_(source.problem().images()),
        now_(oracle_.point()),
        x_(images_, source.problem().energy().shape().image()),
        q_(images_, source.problem().energy().shape().image()) {
    if (batch_ < 1 || images_ < 1 || images_ % batch_ != 0)
      throw ConfigError("minibatches of " + std::to_string(batch_) + " do not divide " +
                        std::to_string(images_) + " images; use a divisor of their number.");
    step_ = make_batch_step<T>(own, batches(), oracle_);
  }

  UpperReport run(std::span<const double> theta0, const UpperState* resume) {
    UpperReport report;
    try {
      resume ? restore(*resume) : begin(theta0);
      while (true) iterate();
    } catch (const UpperStop& stop) {
      end(stop, report);
    }
    if (unsaved_) offer(*unsaved_);
    conclude(report);
    observer_.finished(report);
    return report;
  }

  /// At the report's theta; empty where they are not known.
  std::vector<T> take_reconstructions() { return whole_known() ? x_.take() : std::vector<T>(); }

 private:
  int batches() const { return images_ / batch_; }  // of an epoch
  bool epoch_begins() const { return oracle_.iteration() % batches() == 0; }
  bool whole_known() const { return whole_ && whole_->iteration == oracle_.iteration(); }

  void begin(std::span<const double> theta0) {
    now_.theta = oracle_.inside(theta0);
    for (int i = 0; i < images_; ++i) source_.start(i, x_.of(i));
  }

  void restore(const UpperState& state) {
    require_method(state, name_);
    oracle_.restore_progress(state);
    require_saved(static_cast<std::size_t>(state.number("batch")), static_cast<std::size_t>(batch_),
                  "minibatch");
    now_.theta = state.theta;
    x_.restore(state.x, "reconstructions (in bytes)");
    q_.restore(state.adjoints, "adjoints (in bytes)");
    step_->restore(state);
  }

  void iterate() {
    if (oracle_.iteration() >= oracle_.options().max_iterations)
      throw UpperStop{UpperStatus::max_iterations,
                      "The cap of " + std::to_string(oracle_.iteration()) + " iterations was reached."};
    const int epoch = oracle_.iteration() / batches();
    if (options_.check_every > 0 && epoch_begins() && epoch % options_.check_every == 0) check();
    step();
  }

  /// What is known of the whole set; ends the run where that is stationary.
  void check() {
    whole_ = whole();
    if (!tell(*whole_)) throw UpperStop{UpperStatus::interrupted, "An observer stopped the run."};
    if (!options_.check_gradient) return;
    const double bound =
        projected_gradient_norm(source_.problem().parameters(), now_.theta, whole_->gradient) +
        whole_->error_bound;
    if (bound <= oracle_.options().schedule.tolerance)
      throw UpperStop{UpperStatus::stationary,
                      "Stationary: the gradient is certified to be at most " + short_number(bound) + "."};
  }

  void step() {
    const int k = oracle_.iteration() % batches() * batch_;
    const std::vector<int> order = epoch_order(options_.seed, oracle_.iteration() / batches(), images_);
    const std::span<const int> batch = std::span(order).subspan(static_cast<std::size_t>(k), now_size());
    load(batch);
    const IterationRecord done = step_->move(now_);
    keep(batch);
    oracle_.finish_step();
    save_progress();
    unsaved_ = done;
    const bool go_on = tell(done);
    if (epoch_begins()) offer(done);
    if (!go_on) throw UpperStop{UpperStatus::interrupted, "An observer stopped the run."};
  }

  bool tell(const IterationRecord& record) {
    const bool go_on = observer_.iteration(record);
    oracle_.forget_theta();
    return go_on;
  }

  std::size_t now_size() const { return static_cast<std::size_t>(batch_); }
  void load(std::span<const int> batch) {
    source_.load(context_, batch);
    now_.x.upload(context_, x_.gather(batch));
    oracle_.warm_start(q_.gather(batch));
  }
  void keep(std::span<const int> batch) {
    x_.scatter(batch, download(context_, now_.x));
    q_.scatter(batch, oracle_.adjoints());
  }

  /// The record of f at theta: f, its gradient and their bounds are means of those of equal parts.
  IterationRecord whole() {
    IterationRecord record;
    std::vector<int> part(now_size());
    for (int first = 0; first < images_; first += batch_) {
      std::iota(part.begin(), part.end(), first);
      load(part);
      add_part(part_record(), 1.0 / batches(), record);
      keep(part);
    }
    return record;
  }
  IterationRecord part_record() {
    const Accuracies wanted = step_->accuracies();
    HypergradientResult gradient = unknown_gradient();
    oracle_.solve(now_, wanted.epsilon);
    if (options_.check_gradient) {
      HypergradientRequest request;
      request.delta = wanted.delta;
      request.column_tolerance = std::min(0.05, request.delta);
      request.columns = oracle_.options().columns;
      gradient = oracle_.gradient(now_, request);
      oracle_.enclose(now_, gradient);
    }
    return batch_record(oracle_, now_, gradient, wanted, "whole");
  }

  /// What the last finished step left, but the warm starts: a step in progress changes no more than these.
  void save_progress() {
    saved_ = {};
    saved_.method = name_;
    saved_.theta = now_.theta;
    saved_.numbers["batch"] = {static_cast<double>(batch_)};
    oracle_.save_progress(saved_);
    step_->save(saved_);
  }
  void offer(const IterationRecord& record) {
    if (observer_.wants_state(record)) {
      saved_.x = x_.save();
      saved_.adjoints = q_.save();
      observer_.state(saved_);
      oracle_.forget_theta();
    }
    unsaved_.reset();
  }

  static void end(const UpperStop& stop, UpperReport& report) {
    report.status = stop.status;
    report.message = stop.message;
  }
  /// The last record is of the whole set, if that can still be known.
  void conclude(UpperReport& report) {
    const bool may = report.status != UpperStatus::interrupted && report.status != UpperStatus::failed;
    if (!whole_known() && may) {
      try {
        oracle_.lift_limits();
        whole_ = whole();
      } catch (const UpperStop& stop) {
        end(stop, report);
      }
    }
    report.theta = now_.theta;
    report.last = whole_known() ? *whole_ : unknown_record();
    report.last.status = upper_status_name(report.status);
  }
  IterationRecord unknown_record() const {
    constexpr double infinity = std::numeric_limits<double>::infinity();
    IterationRecord r = batch_record(oracle_, now_, unknown_gradient(), step_->accuracies(), "");
    r.loss = r.psnr = std::nan("");
    r.loss_lower = -infinity;
    r.loss_upper = infinity;
    return r;
  }

  const char* name_;
  Context& context_;
  BatchSource<T>& source_;
  const StochasticOptions& options_;
  Observer& observer_;
  UpperOracle<T> oracle_;
  int images_, batch_;
  UpperPoint<T> now_;
  WarmStarts<T> x_, q_;
  std::unique_ptr<BatchStep<T>> step_;
  std::optional<IterationRecord> whole_;    // the last check
  std::optional<IterationRecord> unsaved_;  // a finished step whose state was not offered
  UpperState saved_;
};

template <class T>
class Stochastic final : public StochasticOptimiser<T> {
 public:
  Stochastic(const StochasticOptions& own, const UpperOptions& options, const UpperSolvers<T>& solvers)
      : own_(own), options_(options), solvers_(solvers) {
    own_.validate();
    options_.validate();
  }
  const char* name() const override {
    return own_.step == StochasticStep::certified ? "stochastic-maid" : "isgd";
  }

  UpperReport run(Context& context, BatchSource<T>& source, std::span<const double> theta0,
                  Observer& observer, const UpperState* resume) override {
    StochasticRun<T> run(name(), context, source, own_, options_, observer, solvers_);
    UpperReport report = run.run(theta0, resume);
    reconstructions_ = run.take_reconstructions();
    return report;
  }
  std::span<const T> reconstructions() const override { return reconstructions_; }

 private:
  StochasticOptions own_;
  UpperOptions options_;
  UpperSolvers<T> solvers_;
  std::vector<T> reconstructions_;
};

}  // namespace

const char* name_of(StochasticStep step) { return name_in(steps, step); }
StochasticStep stochastic_step(const std::string& name) {
  return value_in(steps, name, "step of minibatches");
}

void StochasticOptions::validate() const {
  const auto require = [](bool good, const char* what) {
    if (!good) throw ConfigError(what);
  };
  require(step_decay >= 0 && std::isfinite(step_decay), "step-decay must not be negative.");
  require(accuracy_decay >= 0 && std::isfinite(accuracy_decay), "accuracy-decay must not be negative.");
  require(first_moment >= 0 && first_moment < 1, "the first moment must be at least 0 and below 1.");
  require(second_moment >= 0 && second_moment < 1, "the second moment must be at least 0 and below 1.");
  require(check_every >= 0, "check-every must not be negative.");
}

template <class T>
StochasticOptimiser<T>::~StochasticOptimiser() = default;
template class BILEVEL_API StochasticOptimiser<float>;
template class BILEVEL_API StochasticOptimiser<double>;

template <class T>
std::unique_ptr<StochasticOptimiser<T>> make_stochastic(const StochasticOptions& own,
                                                        const UpperOptions& options,
                                                        const UpperSolvers<T>& solvers) {
  return std::make_unique<Stochastic<T>>(own, options, solvers);
}
template BILEVEL_API std::unique_ptr<StochasticOptimiser<float>> make_stochastic(const StochasticOptions&,
                                                                                 const UpperOptions&,
                                                                                 const UpperSolvers<float>&);
template BILEVEL_API std::unique_ptr<StochasticOptimiser<double>> make_stochastic(
    const StochasticOptions&, const UpperOptions&, const UpperSolvers<double>&);

}  // namespace v0
}  // namespace bilevel
