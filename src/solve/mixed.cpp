#include "solve/mixed.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "bilevel/core/error.hpp"
#include "device/backend.hpp"
#include "kernels/krylov_args.hpp"
#include "kernels/precision_args.hpp"
#include "solve/conjugate_gradient.hpp"
#include "solve/newton.hpp"
#include "solve/residual_progress.hpp"
#include "solve/solve_support.hpp"

namespace bilevel {
inline namespace v0 {
namespace {

/// Of the residual, by one round of iterative refinement.
constexpr double smallest_reduction = 1e-4;

constexpr double infinity = std::numeric_limits<double>::infinity();

const Energy<float>& single_of(const Energy<double>& energy) {
  const Energy<float>* single = energy.single_precision();
  if (single == nullptr)
    throw ConfigError("mixed precision needs an energy that keeps itself in single precision too.");
  return *single;
}

void narrow(Context& context, const ActiveSet& active, View<const double> source, View<float> target,
            double dither = 0) {
  context.impl().scalar_table().narrow(
      stream_of(context),
      {active.active(), target.shape().image(), source.device_data(), dither, target.device_data()});
}
void widen(Context& context, const ActiveSet& active, View<const float> source, bool add,
           View<double> target) {
  context.impl().scalar_table().widen(stream_of(context), {active.active(), target.shape().image(),
                                                           source.device_data(), add, target.device_data()});
}

/// Puts `of` for the images of `chosen` into `total`, whose iterations and work go on.
void absorb(SolveReport& total, const SolveReport& of, std::span<const std::uint8_t> chosen) {
  total.work += of.work;
  for (std::size_t i = 0; i < chosen.size(); ++i) {
    if (!chosen[i]) continue;
    total.image_status[i] = of.image_status[i];
    total.certificate[i] = of.certificate[i];
    total.iterations[i] += of.iterations[i];
  }
}

std::vector<double> tolerances(double tolerance, std::span<const double> per_image, std::size_t n) {
  if (per_image.empty()) return std::vector<double>(n, tolerance);
  return {per_image.begin(), per_image.end()};
}
/// Tolerances with which only the chosen images are worked on.
std::vector<double> only(std::span<const std::uint8_t> chosen, std::vector<double> tolerance) {
  for (std::size_t i = 0; i < chosen.size(); ++i)
    if (!chosen[i]) tolerance[i] = infinity;
  return tolerance;
}
double most(std::span<const double> values, std::span<const std::uint8_t> chosen) {
  double largest = 0;
  for (std::size_t i = 0; i < chosen.size(); ++i)
    if (chosen[i]) largest = std::max(largest, values[i]);
  return largest;
}

/// What is left of a budget of operator applications, at least one; 0: no budget.
std::uint64_t left_of(std::uint64_t budget, const Work& spent) {
  return budget == 0 ? 0 : budget - std::min(budget - 1, spent.total());
}

/// Continues the `open` images of a solve with `solver`; the others keep their points.
void continue_with(const Minimiser<double>& solver, Context& context, const Energy<double>& energy,
                   const SolveRequest<double>& request, std::span<const std::uint8_t> open,
                   SolveReport& report, View<double> x) {
  SolveRequest<double> rest = request;
  const std::vector<double> tolerance =
      only(open, tolerances(request.tolerance, request.per_image, open.size()));
  if (!request.joint) rest.per_image = tolerance;
  rest.max_iterations = request.max_iterations - static_cast<int>(most(report.iterations, open));
  rest.budget = left_of(request.budget, report.work);
  absorb(report, solver.minimise(context, energy, rest, x), open);
}

/// Why a solve that got as far as `report` may not go on.
std::optional<SolveStatus> exhausted(const SolveRequest<double>& request, const SolveReport& report,
                                     std::span<const std::uint8_t> open) {
  if (most(report.iterations, open) >= request.max_iterations) return SolveStatus::iteration_cap;
  if (request.budget > 0 && report.work.total() >= request.budget) return SolveStatus::budget;
  return std::nullopt;
}

void conclude(SolveReport& report, const char* name) {
  report.status = *std::max_element(report.image_status.begin(), report.image_status.end());
  report.message = solve_message(name, report, "distance bound");
}

/// One solve in both precisions.
class MixedRun {
 public:
  MixedRun(Context& context, const Energy<double>& energy, const SolveRequest<double>& request,
           const Minimiser<float>& in_single, const Minimiser<double>& in_double, View<double> x,
           Frame& frame)
      : context_(context),
        energy_(energy),
        single_(single_of(energy)),
        request_(request),
        in_single_(in_single),
        in_double_(in_double),
        shape_(x.shape()),
        n_(static_cast<std::size_t>(shape_.n)),
        mu_(energy.curvature().mu),
        x_(x),
        trial_(frame.view<double>(shape_)),
        g_(frame.view<double>(shape_)),
        x_single_(frame.view<float>(shape_)),
        g_single_(frame.view<float>(shape_)),
        told_(frame.view<double>({6, shape_.n, 1, 1})),
        active_(context, frame, shape_.n),
        tolerance_(tolerances(request.tolerance, request.per_image, n_)),
        noise_(n_, 0),
        here_{std::vector<double>(n_, infinity), std::vector<double>(n_, 0)},
        there_(here_),
        open_(n_, 1),
        chosen_(n_, 1),
        single_enough_(n_, 1) {
    fill<double>(context, told_, 0);
    report_.image_status.assign(n_, SolveStatus::converged);
    report_.certificate.assign(n_, infinity);
    report_.iterations.assign(n_, 0);
    if (!request.joint) return;
    tolerance_.assign(n_, tolerance_[0]);
    share_ = 1 / std::sqrt(static_cast<double>(n_));
  }

  SolveReport run(const char* name) {
    certify(x_, here_);
    narrow(context_, active_, x_, x_single_);
    for (int round = 0; close() > 0; ++round) {
      if (const auto stop = interrupted()) {
        finish(*stop);
        break;
      }
      measure_noise();
      const std::vector<std::uint8_t> moving = choose(round);
      if (std::count(moving.begin(), moving.end(), 1) == 0) {
        continue_with(in_double_, context_, energy_, request_, open_, report_, x_);
        break;
      }
      move_in_single(moving);
    }
    conclude(report_, name);
    return std::move(report_);
  }

 private:
  static constexpr int most_rounds = 6;
  /// The caller is asked each time the certificates of a solve in single precision fell by this factor.
  static constexpr double look_factor = 10;

  /// Per image, from a gradient in double.
  struct Certified {
    std::vector<double> certificate, rounding;
  };

  Scalars row(int k) const {
    return {told_.device_data() + static_cast<std::size_t>(k) * n_, {shape_.n, 1, 1, 1}};
  }
  double sum(std::span<const double> values, std::span<const std::uint8_t> chosen) const {
    double total = 0;
    for (std::size_t i = 0; i < n_; ++i)
      if (chosen[i]) total += values[i];
    return total;
  }

  void activate(std::span<const std::uint8_t> images) {
    chosen_.assign(images.begin(), images.end());
    active_.assign(context_, chosen_);
  }

  /// |x - xhat| <= ((1 + 1e-6) |grad| + rounding) / mu for the active images.
  void certify(View<const double> x, Certified& out) {
    energy_.value_and_gradient(context_, active_.active(), x, g_, {row(0), row(1), row(2)});
    report_.work.gradients += static_cast<std::uint64_t>(active_.count());
    const std::vector<double> sums = fetch(context_, told_).wait(context_);
    for (std::size_t i = 0; i < n_; ++i) {
      if (!chosen_[i]) continue;
      out.rounding[i] = sums[2 * n_ + i];
      const double epsilon = (std::sqrt(sums[n_ + i]) * (1 + 1e-6) + out.rounding[i]) / mu_;
      out.certificate[i] = epsilon < infinity ? epsilon : infinity;  // not a number: infinite
    }
  }

  /// |grad Phi(x) - grad_single| a rounding away from x: how far single precision can see. Its own rounding
  /// moves x by about 2.8 times less, in the root mean square.
  void measure_noise() {
    std::vector<std::uint8_t> images(n_, 0);
    for (std::size_t i = 0; i < n_; ++i) images[i] = open_[i] && single_enough_[i] && !met(i, here_);
    if (std::count(images.begin(), images.end(), 1) == 0) return;
    activate(images);
    narrow(context_, active_, x_, x_single_, std::numeric_limits<float>::epsilon());
    single_.value_and_gradient(context_, active_.active(), x_single_, g_single_, {row(3), row(4), row(5)});
    report_.work.gradients += static_cast<std::uint64_t>(active_.count());
    context_.impl().scalar_table().distance(
        stream_of(context_),
        {active_.active(), shape_.image(), g_.device_data(), g_single_.device_data(), row(3).device_data()});
    narrow(context_, active_, x_, x_single_);
    const std::vector<double> sums = fetch(context_, told_).wait(context_);
    for (std::size_t i = 0; i < n_; ++i)
      if (chosen_[i]) noise_[i] = std::sqrt(sums[3 * n_ + i]);
  }

  bool met(std::size_t i, const Certified& at) const { return at.certificate[i] <= share_ * tolerance_[i]; }
  static double norm2(const Certified& at) {
    double total = 0;
    for (double c : at.certificate) total += c * c;
    return total;
  }
  /// Closes the images that are done; returns how many are left.
  int close() {
    if (request_.joint && std::sqrt(norm2(here_)) <= tolerance_[0]) open_.assign(n_, 0);
    for (std::size_t i = 0; i < n_; ++i)
      if (!request_.joint && met(i, here_)) open_[i] = 0;
    report_.certificate = here_.certificate;
    return static_cast<int>(std::count(open_.begin(), open_.end(), 1));
  }

  std::optional<SolveStatus> interrupted() {
    if (stop_) return stop_;
    if (const auto stop = exhausted(request_, report_, open_)) return stop;
    if (request_.decided && request_.decided(context_, x_, here_.certificate)) return SolveStatus::decided;
    return std::nullopt;
  }
  void finish(SolveStatus status) {
    for (std::size_t i = 0; i < n_; ++i)
      if (open_[i]) report_.image_status[i] = status;
  }

  /// The gradient to reach in single precision before the noise is measured again: what the tolerance leaves
  /// beside rounding, at once when it is far above the noise, else by a hundredth of the way. A tolerance
  /// that asks for double is left to it from a few times the noise. Zero: nothing to gain.
  double goal(std::size_t i) const {
    const double noise = noise_[i], gradient = mu_ * here_.certificate[i];
    const double target = 0.9 * (mu_ * share_ * tolerance_[i] - here_.rounding[i]) - 0.25 * noise;
    if (target > 0 && target >= 32 * noise) return target;
    if (target > 0 && target >= 2 * noise) return std::max(target, 0.01 * gradient);
    return gradient >= 256 * noise ? std::max(4 * noise, 0.01 * gradient) : 0;
  }
  /// The open images that move in single precision; the others never do again.
  std::vector<std::uint8_t> choose(int round) {
    std::vector<std::uint8_t> moving(n_, 0);
    if (request_.joint && !(norm2(here_) < infinity)) return moving;
    for (std::size_t i = 0; i < n_; ++i) {
      if (!open_[i] || met(i, here_)) continue;
      single_enough_[i] = single_enough_[i] && round < most_rounds && goal(i) > 0;
      moving[i] = single_enough_[i];
    }
    return moving;
  }

  void move_in_single(const std::vector<std::uint8_t>& moving) {
    std::vector<double> tolerance(n_, infinity);
    for (std::size_t i = 0; i < n_; ++i)
      if (moving[i]) tolerance[i] = goal(i) / mu_;
    SolveRequest<float> request;
    request.per_image = tolerance;
    request.max_iterations = request_.max_iterations - static_cast<int>(most(report_.iterations, moving));
    request.check_every = request_.check_every;
    request.budget = left_of(request_.budget, report_.work);
    double last = sum(here_.certificate, moving);
    if (request_.decided)
      request.decided = [&](Context&, View<const float> x, std::span<const double> certificate) {
        const double now = sum(certificate, moving);
        if (!(now <= last / look_factor)) return false;
        last = now;
        look(x);
        if (request_.decided(context_, trial_, there_.certificate)) stop_ = SolveStatus::decided;
        return stop_.has_value();
      };
    copy<double>(context_, x_, trial_);
    activate(moving);
    there_ = here_;
    const SolveReport done = in_single_.minimise(context_, single_, request, x_single_);
    report_.work += done.work;
    for (std::size_t i = 0; i < n_; ++i) {
      if (!moving[i]) continue;
      report_.iterations[i] += done.iterations[i];
      if (done.image_status[i] == SolveStatus::budget) stop_ = SolveStatus::budget;
    }
    if (stop_ != SolveStatus::decided) look(x_single_);
    accept(moving);
  }

  /// Certificates at a point in single precision.
  void look(View<const float> x) {
    widen(context_, active_, x, false, trial_);
    certify(trial_, there_);
  }

  /// Takes the points that are certified better than the ones before.
  void accept(std::span<const std::uint8_t> moving) {
    std::vector<std::uint8_t> taken(n_, 0);
    for (std::size_t i = 0; i < n_; ++i) {
      if (!moving[i]) continue;
      single_enough_[i] = there_.certificate[i] <= 0.5 * here_.certificate[i];
      taken[i] = stop_ == SolveStatus::decided || there_.certificate[i] < here_.certificate[i];
      if (!taken[i]) continue;
      here_.certificate[i] = there_.certificate[i];
      here_.rounding[i] = there_.rounding[i];
    }
    activate(taken);
    widen(context_, active_, x_single_, false, x_);
  }

  Context& context_;
  const Energy<double>& energy_;
  const Energy<float>& single_;
  const SolveRequest<double>& request_;
  const Minimiser<float>& in_single_;
  const Minimiser<double>& in_double_;
  Shape shape_;
  std::size_t n_;
  double mu_, share_ = 1;
  View<double> x_, trial_, g_;
  View<float> x_single_, g_single_;
  View<double> told_;
  ActiveSet active_;
  std::vector<double> tolerance_, noise_;
  Certified here_, there_;
  std::vector<std::uint8_t> open_, chosen_, single_enough_;
  std::optional<SolveStatus> stop_;
  SolveReport report_;
};

class MixedMinimiser final : public Minimiser<double> {
 public:
  explicit MixedMinimiser(const std::string& solver)
      : name_("mixed:" + solver),
        single_(make_minimiser<float>(solver)),
        double_(make_minimiser<double>(solver)) {}
  const char* name() const override { return name_.c_str(); }
  SolveReport minimise(Context& context, const Energy<double>& energy, const SolveRequest<double>& request,
                       View<double> x) const override {
    require_problem<double>(energy, request, x, name());
    Frame frame(context);
    return MixedRun(context, energy, request, *single_, *double_, x, frame).run(name());
  }

 private:
  std::string name_;
  std::unique_ptr<Minimiser<float>> single_;
  std::unique_ptr<Minimiser<double>> double_;
};

class MixedNewton final : public Minimiser<double> {
 public:
  const char* name() const override { return "mixed:newton"; }
  SolveReport minimise(Context& context, const Energy<double>& energy, const SolveRequest<double>& request,
                       View<double> x) const override {
    require_problem<double>(energy, request, x, name());
    SolveReport report = newton_with_single(context, energy, single_of(energy), request, x);
    std::vector<std::uint8_t> open;
    for (const SolveStatus s : report.image_status)
      open.push_back(s == SolveStatus::failed || s == SolveStatus::rounding_limited);
    if (std::count(open.begin(), open.end(), 1) > 0 && !exhausted(request, report, open))
      continue_with(Newton<double>(), context, energy, request, open, report, x);
    conclude(report, name());
    return report;
  }
};

/// A e = r in single precision, with weights rounded from those in double.
class SingleSystem {
 public:
  /// Without `solver`: conjugate gradients.
  SingleSystem(Context& context, const HessianAt<double>& hessian, const LinearSolver<float>* solver,
               bool jacobi, const ActiveSet& all, Frame& frame)
      : r(frame.view<float>(hessian.energy->shape())),
        e(frame.view<float>(r.shape())),
        context_(context),
        solver_(solver),
        scalars_(frame, r.shape().n),
        list_(context) {
    const Energy<float>& single = single_of(*hessian.energy);
    const Shape& shape = r.shape();
    const int arrays = single.weight_arrays();
    hessian_ = {&single, frame.view<float>({shape.n * arrays, shape.c, shape.h, shape.w}),
                frame.view<float>(shape)};
    for (int k = 0; k < arrays; ++k) {
      const std::size_t first = static_cast<std::size_t>(k) * shape.count();
      narrow(context, all, View<const double>(hessian.weights.device_data() + first, shape),
             View<float>(hessian_.weights.device_data() + first, shape));
    }
    narrow(context, all, hessian.inverse_diagonal, hessian_.inverse_diagonal);
    fill<float>(context, r, 0);
    if (solver != nullptr) return;
    told_ = frame.view<double>({2, shape.n, 1, 1});
    scalars_.rr = {told_.device_data(), {shape.n, 1, 1, 1}};
    scalars_.iterations = {told_.device_data() + shape.n, {shape.n, 1, 1, 1}};
    fill<double>(context, told_, 0);
    vectors_ = {e, r, frame.view<float>(shape), frame.view<float>(shape),
                jacobi ? View<const float>(hessian_.inverse_diagonal) : View<const float>()};
  }

  struct Round {
    std::vector<double> iterations;
    std::vector<std::uint8_t> solved;  ///< e may be used
  };
  /// To the residuals given, for the open images. Conjugate gradients take at most 500 iterations and do not
  /// recompute their residual. Adds to `work`.
  Round solve(ActiveSet& active, std::span<const std::uint8_t> open, std::span<const double> tolerance,
              int cap, int check_every, Work& work) {
    Round out;
    out.solved.assign(open.begin(), open.end());
    if (solver_ == nullptr) {
      upload<double>(context_, tolerance, scalars_.target);
      run_conjugate_gradient<float>(context_, hessian_, active, {{}, 1, true}, vectors_, scalars_, list_,
                                    std::min(cap, 500), check_every);
      work.hessian_products += static_cast<std::uint64_t>(active.tally());
      const std::vector<double> told = fetch(context_, told_).wait(context_);
      out.iterations.assign(told.begin() + static_cast<std::ptrdiff_t>(open.size()), told.end());
      for (std::size_t i = 0; i < open.size(); ++i)
        if (!std::isfinite(told[i])) out.solved[i] = 0;
      return out;
    }
    LinearRequest request;
    const std::vector<double> only_open = only(open, {tolerance.begin(), tolerance.end()});
    request.per_image = only_open;
    request.max_iterations = cap;
    request.check_every = check_every;
    SolveReport report = solver_->solve(context_, hessian_, request, r, e);
    work += report.work;
    for (std::size_t i = 0; i < open.size(); ++i)
      if (!std::isfinite(report.certificate[i])) out.solved[i] = 0;
    out.iterations = std::move(report.iterations);
    return out;
  }

  View<float> r, e;

 private:
  Context& context_;
  const LinearSolver<float>* solver_;
  HessianAt<float> hessian_;
  CgScalars scalars_;
  CgVectors<float> vectors_;
  View<double> told_;  // |r|^2 and the iterations: one fetch
  LaunchList list_;
};

class MixedLinearSolver final : public LinearSolver<double> {
 public:
  explicit MixedLinearSolver(const std::string& solver)
      : name_("mixed:" + solver), jacobi_(solver == "pcg"), double_(make_linear_solver<double>(solver)) {
    if (solver != "pcg" && solver != "cg") single_ = make_linear_solver<float>(solver);
  }
  const char* name() const override { return name_.c_str(); }
  SolveReport solve(Context&, const HessianAt<double>&, const LinearRequest&, View<const double> b,
                    View<double> q) const override;

 private:
  void continue_in_double(Context&, const HessianAt<double>&, const LinearRequest&, View<const double> b,
                          View<double> q, SolveReport& report) const;

  std::string name_;
  bool jacobi_;
  std::unique_ptr<LinearSolver<float>> single_;  // null: conjugate gradients
  std::unique_ptr<LinearSolver<double>> double_;
};

SolveReport MixedLinearSolver::solve(Context& context, const HessianAt<double>& hessian,
                                     const LinearRequest& request, View<const double> b,
                                     View<double> q) const {
  require_system<double>(hessian, request, b, q, name());
  const Energy<double>& energy = *hessian.energy;
  const Shape shape = energy.shape();
  const auto n = static_cast<std::size_t>(shape.n);
  const ResidualRounding rounding = residual_rounding(energy);
  const int cap = request.max_iterations;

  Frame frame(context);
  ActiveSet active(context, frame, shape.n);
  SingleSystem single(context, hessian, single_.get(), jacobi_, active, frame);
  const View<double> r = frame.view<double>(shape), product = frame.view<double>(shape);
  const View<double> told = frame.view<double>({3, shape.n, 1, 1});
  const Scalars inner = frame.view<double>({shape.n, 1, 1, 1});
  double* out = told.device_data();
  fill<double>(context, product, 0);
  if (!request.warm_start) fill<double>(context, q, 0);

  ResidualProgress progress(n, request);
  std::vector<double> tolerance(n, 0);
  Work work;
  for (bool first = !request.warm_start;; first = false) {
    // r = b - A q with its norms
    active.assign(context, progress.open);
    if (!first) {
      energy.hessian_product(context, active.active(), hessian.weights, q, product, inner);
      work.hessian_products += static_cast<std::uint64_t>(active.count());
    }
    kernel_table<double>(context).residual(
        stream_of(context), {active.active(), shape.image(), b.device_data(), product.device_data(),
                             q.device_data(), r.device_data(), out, out + n, out + 2 * n});
    const std::vector<double> norms = fetch(context, told).wait(context);
    if (!progress.judge(norms, rounding, cap, std::numeric_limits<int>::max())) break;
    // A e = r
    active.assign(context, progress.open);
    narrow(context, active, r, single.r);
    for (std::size_t i = 0; i < n; ++i)
      tolerance[i] = std::max(progress.target(i), smallest_reduction * progress.residual[i]);
    const SingleSystem::Round round = single.solve(active, progress.open, tolerance,
                                                   progress.next_run(cap, cap), request.check_every, work);
    progress.advance(round.iterations);
    // q += e
    active.assign(context, round.solved);
    widen(context, active, single.e, true, q);
  }
  SolveReport report = progress.report(work, name());
  continue_in_double(context, hessian, request, b, q, report);
  return report;
}

void MixedLinearSolver::continue_in_double(Context& context, const HessianAt<double>& hessian,
                                           const LinearRequest& request, View<const double> b, View<double> q,
                                           SolveReport& report) const {
  std::vector<std::uint8_t> open;
  for (const SolveStatus s : report.image_status) open.push_back(s == SolveStatus::rounding_limited);
  const int left = request.max_iterations - static_cast<int>(most(report.iterations, open));
  if (std::count(open.begin(), open.end(), 1) == 0 || left < 1) return;
  const std::vector<double> tolerance =
      only(open, tolerances(request.tolerance, request.per_image, open.size()));
  LinearRequest rest = request;
  rest.per_image = tolerance;
  rest.warm_start = true;
  rest.max_iterations = left;
  absorb(report, double_->solve(context, hessian, rest, b, q), open);
  report.status = *std::max_element(report.image_status.begin(), report.image_status.end());
  report.message = solve_message(name(), report, "residual bound");
}

}  // namespace

std::unique_ptr<Minimiser<double>> make_mixed_minimiser(const std::string& solver) {
  if (solver == "newton") return std::make_unique<MixedNewton>();
  return std::make_unique<MixedMinimiser>(solver);
}

std::unique_ptr<LinearSolver<double>> make_mixed_linear_solver(const std::string& solver) {
  return std::make_unique<MixedLinearSolver>(solver);
}

}  // namespace v0
}  // namespace bilevel
