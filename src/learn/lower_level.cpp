#include "learn/lower_level.hpp"

#include <cmath>
#include <cstdio>
#include <cstring>

#include "bilevel/core/error.hpp"

namespace bilevel {
inline namespace v0 {

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

template <class T>
LowerLevel<T>::LowerLevel(Context& context, const BilevelProblem<T>& problem, const UpperOptions& options,
                          Observer& observer)
    : context_(context),
      problem_(problem),
      options_(options),
      observer_(observer),
      minimiser_(make_minimiser<T>(options.minimiser)) {}

template <class T>
void LowerLevel<T>::solve(Point<T>& point, double epsilon, const Decide& decided) {
  check_limits();
  SolveRequest<T> request;
  request.tolerance = epsilon;
  request.max_iterations = options_.max_lower_iterations;
  request.decided = decided;
  const SolveReport report = minimiser_->minimise(context_, problem_.energy(), request, point.x.view());
  work += report.work;
  work.solves += 1;
  point.status = report.status;
  point.epsilon = report.certificate;
  point.measured = measure(point.x.view());
  point.loss = enclose_loss(problem_.loss(), point.measured, point.epsilon, penalty(point.theta));
  if (report.status == SolveStatus::failed && !decided) throw Stop{UpperStatus::failed, report.message};
}

template <class T>
std::vector<double> LowerLevel<T>::measure(View<const T> x) {
  const UpperLoss<T>& loss = problem_.loss();
  Frame frame(context_);
  ActiveSet all(context_, frame, x.shape().n);
  const View<double> out = frame.view<double>({loss.measures(), x.shape().n, 1, 1});
  loss.measure(context_, all.active(), x, out);
  return fetch(context_, out).wait(context_);
}

template <class T>
double LowerLevel<T>::penalty(std::span<const double> theta) const {
  std::vector<double> ignored(theta.size(), 0);
  return problem_.penalty(theta, ignored);
}

template <class T>
void LowerLevel<T>::check_limits() {
  if (!observer_.alive()) throw Stop{UpperStatus::interrupted, "The run was interrupted."};
  if (options_.time_limit > 0 && seconds() > options_.time_limit)
    throw Stop{UpperStatus::time_limit, "The time limit was reached."};
  if (options_.budget > 0 && work.total() >= options_.budget)
    throw Stop{UpperStatus::budget, "The budget of operator applications was spent."};
}

template <class T>
void LowerLevel<T>::watch_progress(double loss) {
  if (options_.min_progress == 0) return;
  const auto window = static_cast<std::size_t>(options_.progress_window);
  losses.push_back(loss);
  if (losses.size() <= window) return;
  const double fall = losses.front() - losses.back();
  losses.erase(losses.begin());
  if (fall < options_.min_progress * losses.back())
    throw Stop{UpperStatus::slow_progress, "The loss fell by " + short_number(100 * fall / losses.back()) +
                                               " % over " + std::to_string(window) +
                                               " iterations, less than min-progress asks for."};
}

template <class T>
std::vector<double> LowerLevel<T>::start(std::span<const double> theta0) const {
  const Parameters& parameters = problem_.parameters();
  if (theta0.size() != parameters.size())
    throw ShapeError("theta has " + std::to_string(theta0.size()) + " entries, the problem " +
                     std::to_string(parameters.size()) + ".");
  for (std::size_t j = 0; j < theta0.size(); ++j)
    if (!std::isfinite(theta0[j]))
      throw ConfigError("entry " + std::to_string(j) + " of theta is " + std::to_string(theta0[j]) +
                        "; start at finite numbers.");
  return parameters.project(theta0);
}

template <class T>
void LowerLevel<T>::require_state(const UpperState& s) const {
  const std::size_t p = problem_.parameters().size(), bytes = problem_.energy().shape().count() * sizeof(T);
  const auto require = [](bool good, const char* what, std::size_t has, std::size_t wants) {
    if (!good)
      throw ShapeError("the saved state is of another problem: its " + std::string(what) + " has " +
                       std::to_string(has) + " instead of " + std::to_string(wants) + ".");
  };
  require(s.theta.size() == p, "theta", s.theta.size(), p);
  require(s.x.size() == bytes, "reconstructions (in bytes)", s.x.size(), bytes);
  for (const std::vector<double>* v : {&s.previous_theta, &s.previous_z})
    require(v->empty() || v->size() == p, "last theta or z", v->size(), p);
  require(s.previous_theta.size() == s.previous_z.size(), "last z", s.previous_z.size(),
          s.previous_theta.size());
  for (const double t : s.theta)
    if (!std::isfinite(t)) throw ConfigError("the saved theta holds " + std::to_string(t) + ".");
  if (!(s.epsilon > 0 && s.delta > 0 && s.damping >= 0) || s.iteration < 0)
    throw ConfigError("the saved accuracies " + short_number(s.epsilon) + " and " + short_number(s.delta) +
                      ", damping " + short_number(s.damping) + " and iteration " +
                      std::to_string(s.iteration) + " are none that a run saves.");
}

template <class T>
double LowerLevel<T>::seconds() const {
  return previous_seconds + std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
}

namespace {

template <class T>
double mean_psnr(const UpperLoss<T>& loss, const std::vector<double>& measured) {
  const auto n = static_cast<std::size_t>(loss.shape().n);
  std::vector<double> own(measured.size() / n);
  double psnr = 0;
  for (std::size_t i = 0; i < n && !own.empty(); ++i) {
    for (std::size_t k = 0; k < own.size(); ++k) own[k] = measured[k * n + i];
    psnr -= 10 * std::log10(loss.mean_square(own)) / static_cast<double>(n);
  }
  return psnr;
}

}  // namespace

template <class T>
IterationRecord LowerLevel<T>::record(const Point<T>& point, int iteration, const char* status) const {
  IterationRecord r;
  r.iteration = iteration;
  r.theta = point.theta;
  r.loss = point.loss.value;
  r.loss_lower = point.loss.lower;
  r.loss_upper = point.loss.upper;
  r.psnr = mean_psnr(problem_.loss(), point.measured);
  r.work = work;
  r.seconds = seconds();
  r.status = status;
  return r;
}

template <class T>
template <class V>
std::vector<std::uint8_t> LowerLevel<T>::raw(const std::vector<V>& values) {
  std::vector<std::uint8_t> bytes(values.size() * sizeof(V));
  if (!bytes.empty()) std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

template <class T>
template <class V>
std::vector<V> LowerLevel<T>::values(const std::vector<std::uint8_t>& bytes) {
  std::vector<V> out(bytes.size() / sizeof(V));
  if (!out.empty()) std::memcpy(out.data(), bytes.data(), out.size() * sizeof(V));
  return out;
}

#define BILEVEL_INSTANTIATE(T)                                                                \
  template class LowerLevel<T>;                                                               \
  template std::vector<std::uint8_t> LowerLevel<T>::raw(const std::vector<float>&);           \
  template std::vector<std::uint8_t> LowerLevel<T>::raw(const std::vector<double>&);          \
  template std::vector<float> LowerLevel<T>::values<float>(const std::vector<std::uint8_t>&); \
  template std::vector<double> LowerLevel<T>::values<double>(const std::vector<std::uint8_t>&);
BILEVEL_INSTANTIATE(float)
BILEVEL_INSTANTIATE(double)
#undef BILEVEL_INSTANTIATE

}  // namespace v0
}  // namespace bilevel
