#include <cmath>
#include <utility>

#include "bilevel/core/error.hpp"
#include "learn/run_support.hpp"
#include "solve/checked.hpp"

namespace bilevel {
inline namespace v0 {

namespace {

template <class T>
std::shared_ptr<const Minimiser<T>> minimiser_of(const UpperOptions& options, const UpperSolvers<T>& own) {
  if (own.minimiser) return checked_minimiser(own.minimiser);
  return make_minimiser<T>(options.minimiser);
}

}  // namespace

template <class T>
UpperOracle<T>::UpperOracle(Context& context, const BilevelProblem<T>& problem, const UpperOptions& options,
                            Observer& observer, const UpperSolvers<T>& solvers)
    : context_(context),
      problem_(problem),
      options_(options),
      observer_(observer),
      minimiser_(minimiser_of(options, solvers)),
      hypergradient_(solvers.linear ? ImplicitHypergradient<T>(context, problem, solvers.linear)
                                    : ImplicitHypergradient<T>(context, problem, options.linear_solver)) {}

template <class T>
UpperPoint<T> UpperOracle<T>::point() const {
  UpperPoint<T> made{{}, Tensor<T>(context_, problem_.energy().shape()), {}, {}};
  fill<T>(context_, made.x.view(), T(0));
  return made;
}

template <class T>
void UpperOracle<T>::bind(std::span<const double> theta) {
  if (!bound_.empty() && std::equal(theta.begin(), theta.end(), bound_.begin(), bound_.end())) return;
  bound_.clear();
  problem_.energy().bind(theta);
  bound_.assign(theta.begin(), theta.end());
}

template <class T>
void UpperOracle<T>::solve(UpperPoint<T>& point, double epsilon, const Decide& decided) {
  check_limits();
  bind(point.theta);
  SolveRequest<T> request;
  request.tolerance = epsilon;
  request.max_iterations = options_.max_lower_iterations;
  request.decided = decided;
  const SolveReport report = minimiser_->minimise(context_, problem_.energy(), request, point.x.view());
  work_ += report.work;
  work_.solves += 1;
  point.status = report.status;
  point.epsilon = report.certificate;
  point.measured = measure(point.x.view());
  point.loss = enclose_loss(problem_.loss(), point.measured, point.epsilon, penalty(point.theta));
  if (report.status == SolveStatus::failed && !decided) throw UpperStop{UpperStatus::failed, report.message};
}

template <class T>
HypergradientResult UpperOracle<T>::gradient(const UpperPoint<T>& point,
                                             const HypergradientRequest& request) {
  bind(point.theta);
  HypergradientResult result =
      hypergradient_.compute(context_, point.theta, point.x.view(), point.epsilon, request);
  work_ += result.work;
  if (result.status == SolveStatus::failed) throw UpperStop{UpperStatus::failed, result.message};
  return result;
}

template <class T>
void UpperOracle<T>::enclose(UpperPoint<T>& point, const HypergradientResult& gradient) const {
  point.loss = enclose_loss(problem_.loss(), point.measured, point.epsilon, gradient.adjoint_product,
                            gradient.adjoint_error, penalty(point.theta));
}

template <class T>
std::vector<double> UpperOracle<T>::measure(View<const T> x) const {
  const UpperLoss<T>& loss = problem_.loss();
  Frame frame(context_);
  ActiveSet all(context_, frame, x.shape().n);
  const View<double> out = frame.view<double>({loss.measures(), x.shape().n, 1, 1});
  loss.measure(context_, all.active(), x, out);
  return fetch(context_, out).wait(context_);
}

template <class T>
double UpperOracle<T>::penalty(std::span<const double> theta) const {
  std::vector<double> ignored(theta.size(), 0);
  return problem_.penalty(theta, ignored);
}

template <class T>
void UpperOracle<T>::check_limits() const {
  if (!observer_.alive()) throw UpperStop{UpperStatus::interrupted, "The run was interrupted."};
  if (!limited_) return;
  if (options_.time_limit > 0 && seconds() > options_.time_limit)
    throw UpperStop{UpperStatus::time_limit, "The time limit was reached."};
  if (options_.budget > 0 && work_.total() >= options_.budget)
    throw UpperStop{UpperStatus::budget, "The budget of operator applications was spent."};
}

template <class T>
void UpperOracle<T>::watch_progress(double loss) {
  if (options_.min_progress == 0) return;
  const auto window = static_cast<std::size_t>(options_.progress_window);
  losses_.push_back(loss);
  if (losses_.size() <= window) return;
  const double fall = losses_.front() - losses_.back();
  losses_.erase(losses_.begin());
  if (fall < options_.min_progress * losses_.back())
    throw UpperStop{UpperStatus::slow_progress,
                    "The loss fell by " + short_number(100 * fall / losses_.back()) + " % over " +
                        std::to_string(window) + " iterations, less than min-progress asks for."};
}

template <class T>
double UpperOracle<T>::seconds() const {
  return previous_seconds_ + std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
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
IterationRecord UpperOracle<T>::record(const UpperPoint<T>& point, const char* status) const {
  IterationRecord r;
  r.iteration = iteration_;
  r.theta = point.theta;
  r.loss = point.loss.value;
  r.loss_lower = point.loss.lower;
  r.loss_upper = point.loss.upper;
  r.psnr = mean_psnr(problem_.loss(), point.measured);
  r.work = work_;
  r.seconds = seconds();
  r.status = status;
  return r;
}

template <class T>
std::vector<double> UpperOracle<T>::inside(std::span<const double> theta0) const {
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
void UpperOracle<T>::save_progress(UpperState& s) const {
  s.iteration = iteration_;
  s.work = work_;
  s.seconds = seconds();
  s.losses = losses_;
}

template <class T>
void UpperOracle<T>::restore_progress(const UpperState& s) {
  require_saved(s.theta.size(), problem_.parameters().size(), "theta");
  for (const double t : s.theta)
    if (!std::isfinite(t)) throw ConfigError("the saved theta holds " + std::to_string(t) + ".");
  if (s.iteration < 0)
    throw ConfigError("the saved iteration " + std::to_string(s.iteration) + " is none that a run saves.");
  iteration_ = s.iteration;
  work_ = s.work;
  previous_seconds_ = s.seconds;
  losses_ = s.losses;
}

template <class T>
void UpperOracle<T>::save(const UpperPoint<T>& point, UpperState& s) const {
  save_progress(s);
  s.theta = point.theta;
  s.has_columns = hypergradient_.has_columns();
  s.x = raw_bytes(download(context_, point.x));
  s.adjoints = raw_bytes(hypergradient_.save(context_));
}

template <class T>
void UpperOracle<T>::restore(const UpperState& s, UpperPoint<T>& point) {
  restore_progress(s);
  require_saved(s.x.size(), problem_.energy().shape().count() * sizeof(T), "reconstructions (in bytes)");
  point.theta = s.theta;
  bind(s.theta);
  point.x.upload(context_, from_raw<T>(s.x));
  hypergradient_.restore(context_, from_raw<T>(s.adjoints), s.has_columns);
}

template <class T>
std::vector<T> UpperOracle<T>::adjoints() const {
  std::vector<T> q = hypergradient_.save(context_);
  q.resize(problem_.energy().shape().count());  // columns stand behind
  return q;
}

template <class T>
void UpperOracle<T>::warm_start(std::span<const T> adjoints) {
  hypergradient_.restore(context_, adjoints, false);
}

template class BILEVEL_API UpperOracle<float>;
template class BILEVEL_API UpperOracle<double>;

}  // namespace v0
}  // namespace bilevel
