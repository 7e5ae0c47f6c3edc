#include "solve/solve_support.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>

#include "bilevel/core/error.hpp"
#include "device/backend.hpp"
#include "kernels/decision_args.hpp"
#include "model/checks.hpp"

namespace bilevel {
inline namespace v0 {
namespace {

Scalars row(View<double> rows, int r) {
  const int n = rows.shape().n;
  return {rows.device_data() + static_cast<std::size_t>(r) * n, {n, 1, 1, 1}};
}

SolveStatus status_of(double device, SolveStatus unfinished) {
  switch (static_cast<kernels::ImageStatus>(static_cast<int>(device))) {
    case kernels::ImageStatus::converged:
      return SolveStatus::converged;
    case kernels::ImageStatus::iteration_cap:
      return SolveStatus::iteration_cap;
    case kernels::ImageStatus::rounding_limited:
      return SolveStatus::rounding_limited;
    case kernels::ImageStatus::failed:
      return SolveStatus::failed;
    case kernels::ImageStatus::budget:
      return SolveStatus::budget;
    case kernels::ImageStatus::active:
      break;
  }
  return unfinished;
}

const char* sentence_of(SolveStatus status) {
  switch (status) {
    case SolveStatus::converged:
      return "reached the tolerance";
    case SolveStatus::decided:
      return "stopped because the caller had its answer";
    case SolveStatus::iteration_cap:
      return "reached the iteration cap before the tolerance";
    case SolveStatus::rounding_limited:
      return "reached the rounding error of this precision before the tolerance";
    case SolveStatus::budget:
      return "spent the budget before the tolerance was reached";
    case SolveStatus::failed:
      return "did not descend or met a value that is not finite";
  }
  return "stopped";
}

}  // namespace

std::string solve_message(const char* solver, const SolveReport& report, const char* measure) {
  const auto count = std::count(report.image_status.begin(), report.image_status.end(), report.status);
  const double worst = *std::max_element(report.certificate.begin(), report.certificate.end());
  const double most = *std::max_element(report.iterations.begin(), report.iterations.end());
  char text[320];
  std::snprintf(text, sizeof text,
                "%s: %td of %zu images %s; the largest %s is %.3g after at most %.0f iterations.", solver,
                count, report.image_status.size(), sentence_of(report.status), measure, worst, most);
  return text;
}

namespace {

template <class T>
void require_constants(const Energy<T>& energy, const char* solver) {
  const Curvature c = energy.curvature();
  if (c.mu > 0 && std::isfinite(c.mu) && c.lipschitz > 0 && std::isfinite(c.lipschitz)) return;
  char text[200];
  std::snprintf(text, sizeof text,
                "%s: the energy states mu = %g and L = %g, which must be positive and finite to certify.",
                solver, c.mu, c.lipschitz);
  throw ConfigError(text);
}

}  // namespace

template <class T>
void require_problem(const Energy<T>& energy, const SolveRequest<T>& request, View<const T> x,
                     const char* solver) {
  require_view(energy.shape(), x, (std::string(solver) + " (energy and start)").c_str());
  request.validate(x.shape().n);
  require_constants(energy, solver);
}
template void require_problem(const Energy<float>&, const SolveRequest<float>&, View<const float>,
                              const char*);
template void require_problem(const Energy<double>&, const SolveRequest<double>&, View<const double>,
                              const char*);

template <class T>
void require_system(const HessianAt<T>& hessian, const LinearRequest& request, View<const T> b,
                    View<const T> q, const char* solver) {
  if (hessian.energy == nullptr) throw ConfigError(std::string(solver) + ": no energy is given.");
  const Energy<T>& energy = *hessian.energy;
  const std::string name(solver);
  require_view(energy.shape(), b, (name + " (right-hand side)").c_str());
  require_view(energy.shape(), q, (name + " (solution)").c_str());
  require_room(static_cast<std::size_t>(energy.weight_arrays()) * energy.shape().count(), hessian.weights,
               (name + " (weights of the Hessian)").c_str());
  require_view(energy.shape(), hessian.inverse_diagonal, (name + " (inverse diagonal)").c_str());
  request.validate(energy.shape().n);
  require_constants(energy, solver);
}
template void require_system(const HessianAt<float>&, const LinearRequest&, View<const float>,
                             View<const float>, const char*);
template void require_system(const HessianAt<double>&, const LinearRequest&, View<const double>,
                             View<const double>, const char*);

template <class T>
LowerState<T>::LowerState(Context& context, Frame& frame, int n, const SolveRequest<T>& asked)
    : images(n), request(asked), active(context, frame, n), sums(new_sums(frame)) {
  results_ = frame.view<double>({n, 3, 1, 1});
  error_bound = row(results_, 0);
  iterations = row(results_, 1);
  status = row(results_, 2);
  tolerance = frame.view<double>({n, 1, 1, 1});
  fill<double>(context, results_, 0);
  fill<double>(context, error_bound, HUGE_VAL);
  if (asked.per_image.empty())
    fill<double>(context, tolerance, asked.tolerance);
  else
    upload<double>(context, asked.per_image, tolerance);
}

template <class T>
GradientSums LowerState<T>::new_sums(Frame& frame) const {
  const View<double> rows = frame.view<double>({images, 3, 1, 1});
  return {row(rows, 0), row(rows, 1), row(rows, 2)};
}

template <class T>
void LowerState<T>::measure(Context& context, double mu) {
  context.impl().scalar_table().certify(
      stream_of(context), {active.active(), sums.norm2.device_data(), sums.rounding.device_data(), mu,
                           tolerance.device_data(), request.joint, images, error_bound.device_data(),
                           iterations.device_data(), status.device_data(), active.mask()});
}

template <class T>
int LowerState<T>::certify(Context& context, double mu) {
  measure(context, mu);
  return active.refresh(context);
}

template <class T>
std::optional<SolveStatus> LowerState<T>::interrupted(Context& context, View<const T> x, const Work& work,
                                                      int iteration) {
  if (iteration >= request.max_iterations) return SolveStatus::iteration_cap;
  if (request.budget > 0 && work.total() >= request.budget) return SolveStatus::budget;
  if (decided(context, x)) return SolveStatus::decided;
  return std::nullopt;
}

template <class T>
bool LowerState<T>::decided(Context& context, View<const T> x) {
  if (!request.decided) return false;
  const std::vector<double> certificate = fetch(context, error_bound).wait(context);
  return request.decided(context, x, certificate);
}

template <class T>
SolveReport LowerState<T>::report(Context& context, std::optional<Work> work, const char* solver,
                                  SolveStatus unfinished, const char* measure) const {
  const std::vector<double> values = fetch(context, results_).wait(context);
  const auto n = static_cast<std::ptrdiff_t>(images);
  SolveReport report;
  report.certificate.assign(values.begin(), values.begin() + n);
  report.iterations.assign(values.begin() + n, values.begin() + 2 * n);
  if (work)
    report.work = *work;
  else
    report.work.gradients =
        static_cast<std::uint64_t>(std::accumulate(report.iterations.begin(), report.iterations.end(), 0.0));
  for (double& k : report.iterations) k = std::max(k - 1, 0.0);
  for (auto s = values.begin() + 2 * n; s != values.end(); ++s)
    report.image_status.push_back(status_of(*s, unfinished));
  report.status = *std::max_element(report.image_status.begin(), report.image_status.end());
  report.message = solve_message(solver, report, measure);
  return report;
}

template class LowerState<float>;
template class LowerState<double>;

}  // namespace v0
}  // namespace bilevel
