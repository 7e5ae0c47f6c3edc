#include "solve/checked.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>

#include "device/backend.hpp"
#include "kernels/decision_args.hpp"
#include "kernels/krylov_args.hpp"
#include "solve/residual_progress.hpp"
#include "solve/solve_support.hpp"

namespace bilevel {
inline namespace v0 {
namespace {

std::string contradiction(const char* name, std::size_t image, const char* measure, double certificate,
                          double wanted) {
  char text[320];
  std::snprintf(text, sizeof text,
                "%s: says that it has converged, but the %s of image %zu is %.3g instead of at most %.3g.",
                name, measure, image, certificate, wanted);
  return text;
}

/// What a solver claims, against certificates as measured, of which `rounding` no accuracy removes.
SolveReport checked(SolveReport report, const char* name, const char* measure,
                    const std::vector<double>& certificate, const std::vector<double>& rounding,
                    double tolerance, std::span<const double> per_image) {
  const std::size_t n = certificate.size();
  if (report.image_status.size() != n) report.image_status.assign(n, report.status);
  if (report.iterations.size() != n) report.iterations.assign(n, 0);
  report.certificate = certificate;
  std::string lie;
  for (std::size_t i = 0; i < n; ++i) {
    SolveStatus& status = report.image_status[i];
    const double wanted = per_image.empty() ? tolerance : per_image[i];
    if (!std::isfinite(certificate[i])) {
      report.certificate[i] = std::numeric_limits<double>::infinity();
      status = SolveStatus::failed;
    } else if (status == SolveStatus::converged && certificate[i] > wanted) {
      status = rounding[i] > 0.5 * wanted ? SolveStatus::rounding_limited : SolveStatus::failed;
      if (status == SolveStatus::failed && lie.empty())
        lie = contradiction(name, i, measure, certificate[i], wanted);
    }
    report.status = std::max(report.status, status);
  }
  report.message = lie.empty() ? solve_message(name, report, measure) : lie;
  return report;
}

template <class T>
class CheckedMinimiser final : public Minimiser<T> {
 public:
  explicit CheckedMinimiser(std::shared_ptr<const Minimiser<T>> solver) : solver_(std::move(solver)) {}
  const char* name() const override { return solver_->name(); }

  SolveReport minimise(Context& context, const Energy<T>& energy, const SolveRequest<T>& request,
                       View<T> x) const override {
    require_problem<T>(energy, request, x, name());
    SolveReport report = solver_->minimise(context, energy, request, x);
    const int n = energy.shape().n;
    const auto images = static_cast<std::size_t>(n);
    Frame frame(context);
    ActiveSet all(context, frame, n);
    const View<T> gradient = frame.view<T>(energy.shape());
    const View<double> told = frame.view<double>({3, n, 1, 1});
    const auto row = [&](std::size_t k) { return Scalars(told.device_data() + k * images, {n, 1, 1, 1}); };
    energy.value_and_gradient(context, all.active(), x, gradient, {row(0), row(1), row(2)});
    report.work.gradients += images;
    const std::vector<double> sums = fetch(context, told).wait(context);
    const double mu = energy.curvature().mu;
    std::vector<double> certificate, rounding;
    for (std::size_t i = 0; i < images; ++i) {
      rounding.push_back(sums[2 * images + i] / mu);
      certificate.push_back((1 + 1e-6) * std::sqrt(sums[images + i]) / mu + rounding.back());
    }
    return checked(std::move(report), name(), "distance bound", certificate, rounding, request.tolerance,
                   request.per_image);
  }

 private:
  std::shared_ptr<const Minimiser<T>> solver_;
};

template <class T>
class CheckedLinearSolver final : public LinearSolver<T> {
 public:
  explicit CheckedLinearSolver(std::shared_ptr<const LinearSolver<T>> solver) : solver_(std::move(solver)) {}
  const char* name() const override { return solver_->name(); }

  SolveReport solve(Context& context, const HessianAt<T>& hessian, const LinearRequest& request,
                    View<const T> b, View<T> q) const override {
    require_system<T>(hessian, request, b, q, name());
    SolveReport report = solver_->solve(context, hessian, request, b, q);
    const Shape shape = hessian.energy->shape();
    const auto images = static_cast<std::size_t>(shape.n);
    Frame frame(context);
    ActiveSet all(context, frame, shape.n);
    const View<T> product = frame.view<T>(shape), r = frame.view<T>(shape);
    const View<double> told = frame.view<double>({4, shape.n, 1, 1});
    double* out = told.device_data();
    hessian.energy->hessian_product(context, all.active(), hessian.weights, q, product,
                                    {out + 3 * images, {shape.n, 1, 1, 1}});
    report.work.hessian_products += images;
    kernel_table<T>(context).residual(
        stream_of(context), {all.active(), shape.image(), b.device_data(), product.device_data(),
                             q.device_data(), r.device_data(), out, out + images, out + 2 * images});
    const std::vector<double> sums = fetch(context, told).wait(context);
    const ResidualRounding of = residual_rounding(*hessian.energy);
    std::vector<double> certificate, rounding;
    for (std::size_t i = 0; i < images; ++i) {
      rounding.push_back(of.unit * (kernels::product_roundings * of.lipschitz * std::sqrt(sums[images + i]) +
                                    4 * std::sqrt(sums[2 * images + i])) +
                         of.underflow);
      certificate.push_back((1 + 1e-6) * std::sqrt(sums[i]) + rounding.back());
    }
    return checked(std::move(report), name(), "residual", certificate, rounding, request.tolerance,
                   request.per_image);
  }

 private:
  std::shared_ptr<const LinearSolver<T>> solver_;
};

}  // namespace

template <class T>
std::shared_ptr<const Minimiser<T>> checked_minimiser(std::shared_ptr<const Minimiser<T>> solver) {
  return std::make_shared<CheckedMinimiser<T>>(std::move(solver));
}
template <class T>
std::shared_ptr<const LinearSolver<T>> checked_linear_solver(std::shared_ptr<const LinearSolver<T>> solver) {
  return std::make_shared<CheckedLinearSolver<T>>(std::move(solver));
}
template std::shared_ptr<const Minimiser<float>> checked_minimiser(std::shared_ptr<const Minimiser<float>>);
template std::shared_ptr<const Minimiser<double>> checked_minimiser(std::shared_ptr<const Minimiser<double>>);
template std::shared_ptr<const LinearSolver<float>> checked_linear_solver(
    std::shared_ptr<const LinearSolver<float>>);
template std::shared_ptr<const LinearSolver<double>> checked_linear_solver(
    std::shared_ptr<const LinearSolver<double>>);

}  // namespace v0
}  // namespace bilevel
