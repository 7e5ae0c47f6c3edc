#include "apps/denoise/laboratory.hpp"

#include <algorithm>
#include <limits>
#include <utility>

#include "apps/denoise/regulariser.hpp"
#include "bilevel/core/error.hpp"
#include "bilevel/model/unknown.hpp"
#include "bilevel/solve/minimiser.hpp"

namespace bilevel_app::denoise {

using namespace bilevel;

/// Binds theta, uploads x, activates every image.
struct Laboratory::Scratch {
  Scratch(Laboratory& lab, const Vector& theta, const Vector& x)
      : frame(lab.context_), active(lab.context_, frame, lab.shape_.n) {
    lab.energy().bind(theta);
    lab.x_.upload(lab.context_, x);
  }
  Frame frame;
  ActiveSet active;
};

Laboratory::Laboratory(Context& context, const ImageBatch& batch, const Parameters& parameters,
                       const RegulariserSum& options, const EnergyMaker& make)
    : context_(context),
      options_(options),
      truth_(context, batch.shape(), batch.clean),
      noisy_(context, truth_.shape(), batch.noisy),
      problem_(make ? make(context, noisy_.view())
                    : make_energy<double>(context, noisy_.view(), parameters, options, batch.mask, false),
               truth_.view(), parameters),
      shape_(energy().shape()),
      x_(context, shape_) {}

Scalars Laboratory::scalars(Frame& frame) const { return frame.view<double>({shape_.n, 1, 1, 1}); }

Vector Laboratory::start() { return download(context_, start_from<double>(context_, noisy_.view(), shape_)); }

Curvature Laboratory::curvature(const Vector& theta) {
  energy().bind(theta);
  return energy().curvature();
}

Laboratory::Evaluated Laboratory::evaluate(const Vector& theta, const Vector& x) {
  const Scratch s(*this, theta, x);
  Frame frame(context_);
  const View<double> gradient = frame.view<double>(shape_);
  const GradientSums sums{scalars(frame), scalars(frame), scalars(frame)};
  energy().value_and_gradient(context_, s.active.active(), x_.view(), gradient, sums);
  Evaluated result;
  for (const double v : fetch(context_, sums.value).wait(context_)) result.value += v;
  result.gradient = download(context_, gradient);
  result.rounding = norm(fetch(context_, sums.rounding).wait(context_));
  return result;
}

Vector Laboratory::hessian_product(const Vector& theta, const Vector& x, const Vector& d) {
  const Scratch s(*this, theta, x);
  Frame frame(context_);
  const View<double> weights =
      frame.view<double>({shape_.n * energy().weight_arrays(), shape_.c, shape_.h, shape_.w});
  const View<double> inverse = frame.view<double>(shape_), product = frame.view<double>(shape_);
  const Tensor<double> direction(context_, shape_, d);
  energy().linearise(context_, s.active.active(), x_.view(), {}, weights, inverse);
  energy().hessian_product(context_, s.active.active(), weights, direction.view(), product, scalars(frame));
  return download(context_, product);
}

Vector Laboratory::mixed(const Vector& theta, const Vector& x, const Vector& direction) {
  const Scratch s(*this, theta, x);
  Frame frame(context_);
  const View<double> product = frame.view<double>(shape_);
  energy().mixed_forward(context_, s.active.active(), x_.view(), direction, product, scalars(frame));
  return download(context_, product);
}

Vector Laboratory::mixed_adjoint(const Vector& theta, const Vector& x, const Vector& q) {
  const Scratch s(*this, theta, x);
  Frame frame(context_);
  const View<double> sums = frame.view<double>({energy().mixed_sums(), shape_.n, 1, 1});
  const Tensor<double> field(context_, shape_, q);
  energy().mixed_adjoint(context_, s.active.active(), x_.view(), field.view(), sums);
  const Vector per_image = energy().mixed(fetch(context_, sums).wait(context_));
  Vector sum(theta.size(), 0.0);
  for (std::size_t k = 0; k < per_image.size(); ++k) sum[k % theta.size()] += per_image[k];
  return sum;
}

Laboratory::Solved Laboratory::solve(const Vector& theta, double tolerance) {
  Solved solved = solve_by(lower_solver("auto", options_), theta, tolerance);
  if (!solved.failure.empty()) throw Error(solved.failure);
  return solved;
}

Laboratory::Solved Laboratory::solve_by(const std::string& solver, const Vector& theta, double tolerance) {
  energy().bind(theta);
  x_ = start_from<double>(context_, noisy_.view(), shape_);
  return go_on(solver, tolerance);
}

Laboratory::Solved Laboratory::certify(const Vector& theta, const Vector& x) {
  energy().bind(theta);
  x_.upload(context_, x);
  return go_on("gradient-descent", std::numeric_limits<double>::max());
}

/// From x_.
Laboratory::Solved Laboratory::go_on(const std::string& solver, double tolerance) {
  SolveRequest<double> request;
  request.tolerance = tolerance;
  const SolveReport report = make_minimiser<double>(solver)->minimise(context_, energy(), request, x_.view());
  Solved solved{download(context_, x_), report.certificate,
                *std::max_element(report.iterations.begin(), report.iterations.end())};
  if (report.status == SolveStatus::failed) {
    solved.iterations = std::numeric_limits<double>::infinity();
    solved.failure = report.message;
  }
  return solved;
}

HypergradientResult Laboratory::hypergradient(const Vector& theta, const Solved& at, double delta,
                                              const Vector& direction) {
  HypergradientRequest request;
  request.delta = delta;
  request.column_tolerance = delta;
  if (!direction.empty())
    request.direction = [&](const HypergradientResult&, const auto&) { return direction; };
  ImplicitHypergradient<double> gradient(context_, problem_, linear_solver("auto", options_));
  HypergradientResult result = computed(gradient, theta, at, request);
  if (result.status == SolveStatus::failed) throw Error(result.message);
  return result;
}

HypergradientResult Laboratory::hypergradient(const Vector& theta, const Solved& at,
                                              const HypergradientRequest& request,
                                              std::shared_ptr<const LinearSolver<double>> solver) {
  ImplicitHypergradient<double> gradient(context_, problem_, std::move(solver));
  return computed(gradient, theta, at, request);
}

HypergradientResult Laboratory::computed(ImplicitHypergradient<double>& gradient, const Vector& theta,
                                         const Solved& at, const HypergradientRequest& request) {
  energy().bind(theta);
  x_.upload(context_, at.x);
  return gradient.compute(context_, theta, x_.view(), at.certificate, request);
}

Laboratory::Unrolled Laboratory::unroll(const Vector& theta, const UnrolledOptions& options) {
  energy().bind(theta);
  x_ = start_from<double>(context_, noisy_.view(), shape_);
  UnrolledHypergradient<double> unrolling(context_, problem_, options);
  UnrolledResult result = unrolling.compute(context_, theta, std::as_const(x_).view(), x_.view());
  return {std::move(result), download(context_, x_)};
}

}  // namespace bilevel_app::denoise
