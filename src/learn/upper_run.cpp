#include <cmath>
#include <cstdio>
#include <utility>

#include "bilevel/core/error.hpp"
#include "learn/run_support.hpp"

namespace bilevel {
inline namespace v0 {

void UpperOptions::validate() const {
  schedule.validate();
  if (max_iterations < 0) throw ConfigError("max-iterations must not be negative.");
  if (!(min_progress >= 0 && min_progress < 1)) throw ConfigError("min-progress must lie between 0 and 1.");
  if (progress_window < 1) throw ConfigError("the window of min-progress must be at least 1 iteration.");
  if (!(time_limit >= 0)) throw ConfigError("time-limit must not be negative.");
  if (max_lower_iterations < 1) throw ConfigError("the cap of lower-level iterations must be at least 1.");
}

std::string short_number(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.3g", value);
  return text;
}

HypergradientResult unknown_gradient() {
  HypergradientResult r;
  r.omega = r.omega_theorem = r.omega_adjoint = r.omega_directional = r.omega_columns =
      std::numeric_limits<double>::infinity();
  return r;
}

void tell_gradient(const HypergradientResult& gradient, IterationRecord& r) {
  r.gradient = gradient.z;
  r.error_bound = gradient.omega;
  r.omega_theorem = gradient.omega_theorem;
  r.omega_adjoint = gradient.omega_adjoint;
  r.omega_directional = gradient.omega_directional;
  r.omega_columns = gradient.omega_columns;
}

void require_positive(const UpperState& state, std::initializer_list<const char*> names) {
  for (const char* name : names)
    if (!(state.number(name) > 0))
      throw ConfigError("the saved " + std::string(name) + " " + short_number(state.number(name)) +
                        " is none that a run saves.");
}

void require_method(const UpperState& state, const std::string& name) {
  if (state.method != name)
    throw ConfigError("the saved state is of the method '" + state.method + "', not of '" + name + "'.");
}

void require_saved(std::size_t has, std::size_t wants, const char* part) {
  if (has != wants)
    throw ShapeError("the saved state is of another problem: its " + std::string(part) + " has " +
                     std::to_string(has) + " instead of " + std::to_string(wants) + ".");
}

const std::vector<double>& list_like_theta(const UpperState& state, const char* name) {
  const std::vector<double>& list = state.list(name);
  require_saved(list.size(), state.theta.size(), name);
  return list;
}

template <class T>
UpperOptimiser<T>::~UpperOptimiser() = default;
template class BILEVEL_API UpperOptimiser<float>;
template class BILEVEL_API UpperOptimiser<double>;
template <class T>
UpperMethod<T>::~UpperMethod() = default;
template class BILEVEL_API UpperMethod<float>;
template class BILEVEL_API UpperMethod<double>;

namespace {

template <class T>
class UpperRun {
 public:
  UpperRun(const std::string& name, UpperOracle<T>& oracle, UpperMethod<T>& method, Observer& observer)
      : name_(name), oracle_(oracle), method_(method), observer_(observer) {}

  UpperReport run(std::span<const double> theta0, View<const T> first, const UpperState* resume) {
    UpperStop end = loop(theta0, first, resume);
    if (end.status != UpperStatus::failed && end.status != UpperStatus::interrupted) end = concluded(end);
    UpperReport report;
    report.status = end.status;
    report.message = end.message;
    report.theta = method_.point().theta;
    report.last = method_.record(upper_status_name(report.status));
    observer_.finished(report);
    return report;
  }

 private:
  UpperStop loop(std::span<const double> theta0, View<const T> first, const UpperState* resume) {
    try {
      resume ? restore(*resume) : begin(theta0, first);
      while (true) iterate();
    } catch (const UpperStop& stop) {
      return stop;
    }
  }
  UpperStop concluded(UpperStop end) {
    oracle_.lift_limits();
    try {
      method_.conclude(end);
    } catch (const UpperStop& stop) {
      return stop;
    }
    return end;
  }

  void begin(std::span<const double> theta0, View<const T> first) {
    method_.point().theta = oracle_.inside(theta0);
    copy<T>(oracle_.context(), first, method_.point().x.view());
    method_.start();
  }

  void restore(const UpperState& state) {
    require_method(state, name_);
    oracle_.restore(state, method_.point());
    method_.restore(state);
  }

  void iterate() {
    method_.prepare();
    if (oracle_.iteration() >= oracle_.options().max_iterations)
      throw UpperStop{UpperStatus::max_iterations,
                      "The cap of " + std::to_string(oracle_.iteration()) + " iterations was reached."};
    oracle_.watch_progress(method_.point().loss.value);
    const IterationRecord done = method_.step();
    oracle_.finish_step();
    const bool go_on = observer_.iteration(done);
    if (observer_.wants_state(done)) observer_.state(save());
    oracle_.forget_theta();
    if (!go_on) throw UpperStop{UpperStatus::interrupted, "An observer stopped the run."};
  }

  UpperState save() {
    UpperState state;
    state.method = name_;
    oracle_.save(method_.point(), state);
    method_.save(state);
    return state;
  }

  const std::string& name_;
  UpperOracle<T>& oracle_;
  UpperMethod<T>& method_;
  Observer& observer_;
};

template <class T>
class LoopOptimiser final : public UpperOptimiser<T> {
 public:
  LoopOptimiser(const std::string& name, const UpperOptions& options, UpperMethodFactory<T> factory,
                const UpperSolvers<T>& solvers)
      : name_(name), options_(options), factory_(std::move(factory)), solvers_(solvers) {
    options_.validate();
    if (!factory_) throw ConfigError("an upper-level method needs a function that makes it.");
  }
  const char* name() const override { return name_.c_str(); }

  UpperReport run(Context& context, const BilevelProblem<T>& problem, std::span<const double> theta0,
                  View<const T> first, Observer& observer, const UpperState* resume) override {
    require_same(problem.energy().shape(), first.shape(), "start of the lower level");
    UpperOracle<T> oracle(context, problem, options_, observer, solvers_);
    const std::unique_ptr<UpperMethod<T>> method = factory_(oracle);
    UpperReport report = UpperRun<T>(name_, oracle, *method, observer).run(theta0, first, resume);
    reconstructions_ = std::move(method->point().x);
    return report;
  }
  View<const T> reconstructions() const override { return reconstructions_.view(); }

 private:
  std::string name_;
  UpperOptions options_;
  UpperMethodFactory<T> factory_;
  UpperSolvers<T> solvers_;
  Tensor<T> reconstructions_;
};

}  // namespace

template <class T>
std::unique_ptr<UpperOptimiser<T>> make_upper_optimiser(const std::string& name, const UpperOptions& options,
                                                        UpperMethodFactory<T> factory,
                                                        const UpperSolvers<T>& solvers) {
  return std::make_unique<LoopOptimiser<T>>(name, options, std::move(factory), solvers);
}
template BILEVEL_API std::unique_ptr<UpperOptimiser<float>> make_upper_optimiser(const std::string&,
                                                                                 const UpperOptions&,
                                                                                 UpperMethodFactory<float>,
                                                                                 const UpperSolvers<float>&);
template BILEVEL_API std::unique_ptr<UpperOptimiser<double>> make_upper_optimiser(
    const std::string&, const UpperOptions&, UpperMethodFactory<double>, const UpperSolvers<double>&);

}  // namespace v0
}  // namespace bilevel
