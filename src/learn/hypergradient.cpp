#include "bilevel/learn/hypergradient.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "bilevel/core/error.hpp"
#include "bilevel/model/term.hpp"
#include "core/norm.hpp"
#include "device/backend.hpp"
#include "kernels/decision_args.hpp"
#include "kernels/krylov_args.hpp"
#include "solve/checked.hpp"

namespace bilevel {
inline namespace v0 {
namespace {

/// What the accuracies of the solves contribute: the bound with epsilon and everything it drives set to zero.
ErrorBound without_epsilon(BoundInputs in) {
  in.epsilon = 0;
  const auto still = [](DirectionalBound& d) {
    d.hessian_q = d.energy_q = d.hessian_v = d.energy_v = d.hessian_vq = 0;
    std::fill(d.mixed_q.begin(), d.mixed_q.end(), 0);
    std::fill(d.energy_mixed.begin(), d.energy_mixed.end(), 0);
  };
  still(in.q);
  for (DirectionalBound& d : in.v) still(d);
  return error_bound(in);
}

void require_length(std::span<const double> v, std::size_t wanted, const char* what) {
  if (v.size() != wanted)
    throw ShapeError(std::string(what) + " has " + std::to_string(v.size()) + " entries instead of " +
                     std::to_string(wanted) + ".");
}

/// Theta is short and its errors are bounded entry by entry: one column per entry is affordable and of use.
template <class T>
bool columns_for_all(const Energy<T>& energy) {
  static_assert(ImplicitHypergradient<T>::max_columns == measured_columns);
  const std::size_t p = energy.parameters();
  return p <= ImplicitHypergradient<T>::max_columns && energy.blocks().size() == p;
}

}  // namespace

template <class T>
struct ImplicitHypergradient<T>::Impl {
  Impl(Context& context, const BilevelProblem<T>& of, std::shared_ptr<const LinearSolver<T>> by);

  const BilevelProblem<T>& problem;
  std::shared_ptr<const LinearSolver<T>> solver;
  Shape shape;
  std::size_t p;
  Tensor<T> q;
  std::vector<Tensor<T>> v;
  bool warm = false;
  int columns = 0;  // solved for: p, or 1 for a direction
  bool unit_columns() const { return columns_for_all(problem.energy()); }
};

namespace {

/// One computation at fixed x: scratch, host numbers per image.
template <class T>
class Evaluation {
 public:
  Evaluation(Context& context, const BilevelProblem<T>& problem, const LinearSolver<T>& solver,
             View<const T> x, std::span<const double> epsilon, const HypergradientRequest& request,
             Frame& frame)
      : context_(context),
        energy_(problem.energy()),
        loss_(problem.loss()),
        solver_(solver),
        shape_(energy_.shape()),
        n_(static_cast<std::size_t>(shape_.n)),
        p_(energy_.parameters()),
        x_(x),
        epsilon_(epsilon.begin(), epsilon.end()),
        request_(request),
        active_(context, frame, shape_.n),
        weights_(frame.view<T>({shape_.n * energy_.weight_arrays(), shape_.c, shape_.h, shape_.w})),
        inverse_(frame.view<T>(shape_)),
        b_(frame.view<T>(shape_)),
        work_(frame.view<T>(shape_)),
        residual_(frame.view<T>(shape_)),
        told_(frame.view<double>(
            {4 + energy_.mixed_sums() + energy_.bound_sums() + product_rows(), shape_.n, 1, 1})),
        dots_(rows(told_, 0, 4)),
        mixed_(rows(told_, 4, energy_.mixed_sums())),
        bounds_(rows(told_, 4 + energy_.mixed_sums(), energy_.bound_sums())),
        products_(rows(told_, 4 + energy_.mixed_sums() + energy_.bound_sums(), product_rows())),
        device_epsilon_(frame.view<double>({shape_.n, 1, 1, 1})),
        device_gradient_(frame.view<double>({shape_.n, 1, 1, 1})),
        inputs_(n_) {
    fill<double>(context_, told_, 0);
    energy_.linearise(context_, active_.active(), x_, {}, weights_, inverse_);
    const double scale = 1.0 / static_cast<double>(n_);
    loss_.gradient(context_, active_.active(), x_, scale, b_);
    count_other(1);
    const Curvature c = energy_.curvature();
    lipschitz_ = c.product_scale();
    if (request.bounds) measure_ball(c.mu);
    for (std::size_t i = 0; i < n_; ++i) {
      BoundInputs& in = inputs_[i];
      in.mu = c.mu;
      in.loss_lipschitz = scale * loss_.lipschitz();
      in.hessian_lipschitz = c.hessian_lipschitz;
      in.epsilon = epsilon_[i];
      in.mixed_lipschitz = c.mixed_lipschitz;
    }
  }

  /// A q = b; returns (B^T q) per image [N][p], with the inputs of its bounds if they are not to follow
  /// later.
  std::vector<double> solve(View<T> q, bool warm, bool bounds) {
    solve_adjoint(q, warm);
    dot(b_, b_, 0);
    dot(q, q, 1);
    dot(x_, x_, 3);
    dot(q, work_, 2);  // still grad Phi(x), see measure_ball()
    if (bounds) bound(q, {});
    if (unit_columns())
      for (std::size_t j = 0; j < p_; ++j) column(unit_vector(j), static_cast<int>(j));
    const std::vector<double> all = fetch(context_, told_).wait(context_);
    const std::span<const double> norms = part(all, dots_);
    const double unit = std::numeric_limits<T>::epsilon() / 2;
    for (std::size_t i = 0; i < n_; ++i) {
      const double inexact = loss_.gradient_error(std::sqrt(norms[3 * n_ + i])) / static_cast<double>(n_);
      BoundInputs& in = inputs_[i];
      in.residual = residuals[i] + inexact;
      in.norm_b = std::sqrt(norms[i]) + inexact;
      in.norm_q = std::sqrt(norms[n_ + i]);
      in.residual_rounding =
          unit * (kernels::product_roundings * lipschitz_ * in.norm_q + 4 * in.norm_b) + inexact;
      adjoint_product.push_back(norms[2 * n_ + i]);
    }
    if (unit_columns()) measured_norms(part(all, products_));
    if (bounds) take_bounds(part(all, bounds_));
    return energy_.mixed(part(all, mixed_));
  }

  /// B^T q per image [N][p], and no pass for bounds.
  std::vector<double> solve_only(View<T> q, bool warm) {
    solve_adjoint(q, warm);
    return energy_.mixed(fetch(context_, mixed_).wait(context_));
  }

  /// The bounds of z alone, when no direction was chosen.
  void bound_alone(View<T> q) {
    bound(q, {});
    take_bounds(fetch(context_, bounds_).wait(context_));
  }

  /// A v_j = B_j for all j; returns <v_j, b - A q> per image [N][p] and the Gauss-Newton matrix.
  std::vector<double> solve_columns(View<T> q, std::vector<Tensor<T>>& v, bool warm,
                                    std::vector<double>& gauss_newton) {
    correction_residual(q);
    std::vector<double> correction(n_ * p_);
    for (std::size_t j = 0; j < p_; ++j) {
      column(unit_vector(j), 0);
      std::vector<double> norms(n_);
      for (std::size_t i = 0; i < n_; ++i) norms[i] = inputs_[i].norm_mixed[j];
      const std::vector<double> products = solve_column(q, v[j].view(), norms, warm);
      for (std::size_t i = 0; i < n_; ++i) correction[i * p_ + j] = products[i];
    }
    gram(v, gauss_newton);
    return correction;
  }

  /// A v = B d; the derivative of f along d from z and its correction, with the bound ADJ
  /// of error_bound.hpp.
  DirectionalDerivative solve_direction(View<T> q, View<T> v, std::span<const double> d,
                                        std::span<const double> z) {
    correction_residual(q);
    const std::vector<double> blocks = block_norms(d);
    for (BoundInputs& in : inputs_) in.direction = {blocks};
    column(d, 0);
    std::vector<double> norms = fetch(context_, row(products_, 0)).wait(context_);
    for (double& e : norms) e = std::sqrt(e) * (1 + 1e-6);
    const std::vector<double> products = solve_column(q, v, norms, false, true);
    DirectionalDerivative along;
    double still = 0, adding = 0;
    for (std::size_t j = 0; j < d.size(); ++j) {
      along.slope += z[j] * d[j];
      adding += std::abs(z[j] * d[j]);
    }
    for (std::size_t i = 0; i < n_; ++i) {
      along.slope -= products[i];
      along.error += error_bound(inputs_[i]).column_entries[0];
      still += without_epsilon(inputs_[i]).column_entries[0];
    }
    along.error += 1e-15 * adding * static_cast<double>(d.size());
    along.part_delta = std::min(still, along.error);
    along.part_epsilon = along.error - along.part_delta;
    return along;
  }

  /// sum_i J_i^T H_i J_i d / N: A v = B d, A w = H v, B^T w. Uses `v` and the adjoints of the residual as
  /// scratch.
  std::vector<double> gauss_newton_product(std::span<const double> d, View<T> v) {
    LinearRequest request;
    std::vector<double> relative(n_), unused;
    const auto solve_to = [&](View<const T> b, View<double> squares, View<T> out) {
      const std::vector<double> norms = fetch(context_, squares).wait(context_);
      for (std::size_t i = 0; i < n_; ++i)
        relative[i] = norms[i] > 0 ? request_.column_tolerance * std::sqrt(norms[i]) : 1;
      request.per_image = relative;
      absorb(solver_.solve(context_, {&energy_, weights_, inverse_}, request, b, out), unused);
    };
    column(d, 0);
    solve_to(work_, row(products_, 0), v);
    const View<T> hv = weighed(v);
    dot(hv, hv, row(products_, 0));
    solve_to(hv, row(products_, 0), residual_);
    energy_.mixed_adjoint(context_, active_.active(), x_, residual_, mixed_);
    count_other(1);
    const std::vector<double> per_image = energy_.mixed(fetch(context_, mixed_).wait(context_));
    std::vector<double> product(p_, 0);
    for (std::size_t k = 0; k < per_image.size(); ++k)
      product[k % p_] += per_image[k] * curve_ / static_cast<double>(n_);
    return product;
  }

  const std::vector<BoundInputs>& inputs() const { return inputs_; }
  std::vector<BoundInputs> take_inputs() { return std::move(inputs_); }
  void tell(HypergradientResult& result) const {
    result.work = work;
    result.status = status;
    result.message = message;
    result.residual = residuals;
  }
  Work work;
  SolveStatus status = SolveStatus::converged;
  std::string message;
  std::vector<double> residuals, adjoint_product;
  /// Of g(xhat) = g(x~) - <q, grad Phi(x~)> + |e|^2/(2N): |q^T (A~ - M) e| + |b - A~ q| |e|, the rounding of
  /// the gradient and of its product with q.
  std::vector<double> adjoint_error() const {
    std::vector<double> out(n_);
    const double summation = (64 + static_cast<double>(shape_.image()) / 1024) * 0x1p-53;
    for (std::size_t i = 0; i < n_; ++i) {
      const BoundInputs& in = inputs_[i];
      out[i] = in.q.hessian_qe + (in.residual + in.residual_rounding) * in.epsilon +
               in.norm_q * (gradient_rounding_[i] + summation * gradient_[i]);
    }
    return out;
  }

 private:
  /// A q = b, and the sums of B^T q.
  void solve_adjoint(View<T> q, bool warm) {
    LinearRequest request;
    std::vector<double> relative;
    request.tolerance = request_.delta / static_cast<double>(n_);
    if (request_.relative_delta) request.per_image = relative = tolerances_relative_to_b();
    request.warm_start = warm;
    absorb(solver_.solve(context_, {&energy_, weights_, inverse_}, request, b_, q), residuals);
    energy_.mixed_adjoint(context_, active_.active(), x_, q, mixed_);
    count_other(1);
  }

  std::vector<double> tolerances_relative_to_b() {
    dot(b_, b_, 0);
    std::vector<double> tolerances = fetch(context_, row(dots_, 0)).wait(context_);
    for (double& t : tolerances) t = t > 0 ? request_.delta * std::sqrt(t) : 1;
    return tolerances;
  }

  /// |grad Phi(x)| with its rounding, which also certifies epsilon <= |grad| / mu.
  void measure_ball(double mu) {
    energy_.value_and_gradient(context_, active_.active(), x_, work_,
                               {row(dots_, 0), row(dots_, 1), row(dots_, 2)});
    work.gradients += n_;
    const std::vector<double> sums = fetch(context_, dots_).wait(context_);
    gradient_.resize(n_);
    gradient_rounding_.resize(n_);
    for (std::size_t i = 0; i < n_; ++i) {
      gradient_rounding_[i] = sums[2 * n_ + i];
      gradient_[i] = std::sqrt(sums[n_ + i]) * (1 + 1e-6) + gradient_rounding_[i];
      epsilon_[i] = std::min(epsilon_[i], gradient_[i] / mu);
    }
    upload<double>(context_, gradient_, device_gradient_);
    upload<double>(context_, epsilon_, device_epsilon_);
  }

  /// Products A q and the residual b - A q, with which columns correct z.
  void correction_residual(View<T> q) {
    energy_.hessian_product(context_, active_.active(), weights_, q, work_, row(dots_, 2));
    work.hessian_products += n_;
    kernel_table<T>(context_).combine(
        stream_of(context_), {active_.active(), shape_.image(), b_.device_data(), work_.device_data(), 1, -1,
                              nullptr, nullptr, residual_.device_data()});
  }

  /// A v = B d, B d in `work_` with the given norms, and the inputs of its bound (with `first_bounds` also
  /// those of z); returns <v, b - A q> per image.
  std::vector<double> solve_column(View<T> q, View<T> v, std::span<const double> norms, bool warm,
                                   bool first_bounds = false) {
    std::vector<double> tolerance(n_), factors(n_, 1);
    for (std::size_t i = 0; i < n_; ++i) {
      tolerance[i] = norms[i] > 0 ? request_.column_tolerance * norms[i] : 1;
      if (norms[i] == 0) factors[i] = 0;  // where B d vanishes so does v
    }
    LinearRequest request;
    request.per_image = tolerance;
    request.warm_start = warm;
    if (warm && std::count(factors.begin(), factors.end(), 0.0) > 0) scale(v, factors);
    std::vector<double> rho;
    absorb(solver_.solve(context_, {&energy_, weights_, inverse_}, request, work_, v), rho);
    dot(v, residual_, 0);
    dot(v, v, 1);
    bound(q, v);
    const std::vector<double> all = fetch(context_, told_).wait(context_);
    const std::span<const double> products = part(all, dots_), bounds = part(all, bounds_);
    if (first_bounds) take_bounds(bounds);
    for (std::size_t i = 0; i < n_; ++i) {
      BoundInputs& in = inputs_[i];
      in.norm_v.push_back(std::sqrt(products[n_ + i]) * (1 + 1e-6));
      in.residual_v.push_back(rho[i]);
      in.v.push_back(
          energy_.directional(bounds, static_cast<int>(i), epsilon_[i], in.norm_q, in.norm_v.back()));
    }
    return {products.begin(), products.begin() + static_cast<std::ptrdiff_t>(n_)};
  }

  void bound(View<const T> q, View<const T> v) {
    energy_.directional_sums(context_, active_.active(), x_, q, v, {device_epsilon_, device_gradient_},
                             bounds_);
    count_other(1);
  }
  void take_bounds(std::span<const double> bounds) {
    const double summation = (64 + static_cast<double>(shape_.image()) / 1024) * 0x1p-53;
    for (std::size_t i = 0; i < n_; ++i) {
      BoundInputs& in = inputs_[i];
      in.q = energy_.directional(bounds, static_cast<int>(i), epsilon_[i], in.norm_q, 0);
      if (!in.q.norm_mixed.empty()) in.norm_mixed = in.q.norm_mixed;
      if (!in.q.mixed_lipschitz.empty()) in.mixed_lipschitz = in.q.mixed_lipschitz;
      for (std::size_t b = 0; b < in.norm_mixed.size(); ++b)
        in.q.rounding[b] += summation * in.norm_mixed[b] * in.norm_q;
    }
  }

  bool unit_columns() const { return columns_for_all(energy_); }
  int product_rows() const { return unit_columns() ? static_cast<int>(std::max(p_, p_ * (p_ + 1) / 2)) : 1; }
  std::vector<double> unit_vector(std::size_t j) const {
    std::vector<double> unit(p_, 0);
    unit[j] = 1;
    return unit;
  }
  std::vector<double> block_norms(std::span<const double> d) const {
    std::vector<double> norms;
    std::size_t begin = 0;
    for (std::size_t end : energy_.blocks()) {
      norms.push_back(norm_of(d.subspan(begin, end - begin)) * (1 + 1e-14));
      begin = end;
    }
    return norms;
  }
  /// |B_j| of the columns just formed.
  void measured_norms(std::span<const double> squares) {
    for (std::size_t i = 0; i < n_; ++i) {
      inputs_[i].norm_mixed.resize(p_);
      for (std::size_t j = 0; j < p_; ++j)
        inputs_[i].norm_mixed[j] = std::sqrt(squares[j * n_ + i]) * (1 + 1e-6);
    }
  }

  void count_other(std::uint64_t passes) { work.other += passes * n_; }
  /// Rows [first, first + count) of per-image numbers [rows][N].
  static View<double> rows(View<double> of, int first, int count) {
    const int n = of.shape().c;
    return {of.device_data() + static_cast<std::size_t>(first) * n, {count, n, 1, 1}};
  }
  static View<double> row(View<double> of, int k) {
    const int n = of.shape().c;
    return {of.device_data() + static_cast<std::size_t>(k) * n, {n, 1, 1, 1}};
  }
  /// What `rows` of told_ held when it was fetched.
  std::span<const double> part(std::span<const double> all, View<double> rows) const {
    return all.subspan(static_cast<std::size_t>(rows.device_data() - told_.device_data()),
                       rows.shape().count());
  }
  void dot(View<const T> a, View<const T> b, View<double> out) {
    kernel_table<T>(context_).dot(stream_of(context_), {active_.active(), shape_.image(), a.device_data(),
                                                        b.device_data(), false, out.device_data()});
  }
  void dot(View<const T> a, View<const T> b, int k) { dot(a, b, row(dots_, k)); }
  void scale(View<T> v, std::span<const double> factors) {
    upload<double>(context_, factors, row(dots_, 0));
    kernel_table<T>(context_).combine(stream_of(context_),
                                      {active_.active(), shape_.image(), v.device_data(), nullptr, 1, 0,
                                       row(dots_, 0).device_data(), nullptr, v.device_data()});
  }
  /// B d into `work_`, its squared norm into row j of the products.
  void column(std::span<const double> d, int j) {
    energy_.mixed_forward(context_, active_.active(), x_, d, work_, row(products_, j));
    count_other(1);
  }
  void absorb(const SolveReport& report, std::vector<double>& certificate) {
    work += report.work;
    certificate = report.certificate;
    if (report.status > status) {
      status = report.status;
      message = report.message;
    }
  }
  /// H v for the Hessian H of the loss, up to the factor curve_; uses `work_` unless that is v.
  View<T> weighed(View<T> v) {
    const bool own = loss_.weigh(context_, active_.active(), x_, v, work_);
    curve_ = own ? 1 : loss_.lipschitz();
    return own ? work_ : v;
  }
  /// sum_i V_i^T H_i V_i / N
  void gram(std::vector<Tensor<T>>& v, std::vector<double>& matrix) {
    matrix.assign(p_ * p_, 0);
    for (std::size_t j = 0, k = 0; j < p_; ++j) {
      const View<T> hv = weighed(v[j].view());
      for (std::size_t l = 0; l <= j; ++l, ++k) dot(hv, v[l].view(), row(products_, static_cast<int>(k)));
    }
    const std::vector<double> products = fetch(context_, products_).wait(context_);
    for (std::size_t j = 0, k = 0; j < p_; ++j)
      for (std::size_t l = 0; l <= j; ++l, ++k) {
        double sum = 0;
        for (std::size_t i = 0; i < n_; ++i) sum += products[k * n_ + i];
        matrix[j * p_ + l] = matrix[l * p_ + j] = curve_ * sum / static_cast<double>(n_);
      }
  }

  Context& context_;
  Energy<T>& energy_;
  const UpperLoss<T>& loss_;
  const LinearSolver<T>& solver_;
  Shape shape_;
  std::size_t n_, p_;
  View<const T> x_;
  std::vector<double> epsilon_, gradient_, gradient_rounding_;
  const HypergradientRequest& request_;
  double lipschitz_ = 1, curve_ = 1;
  ActiveSet active_;
  View<T> weights_, inverse_, b_, work_, residual_;
  View<double> told_;  // all that the host reads of a solve: one fetch
  View<double> dots_, mixed_, bounds_, products_, device_epsilon_, device_gradient_;
  std::vector<BoundInputs> inputs_;
};

/// z before its bounds are known: they are infinite.
void only_gradient(std::span<const double> mixed, std::span<const double> penalty_gradient,
                   HypergradientResult& r) {
  r.z.assign(penalty_gradient.begin(), penalty_gradient.end());
  for (std::size_t k = 0; k < mixed.size(); ++k) r.z[k % r.z.size()] -= mixed[k];
  r.omega = r.omega_theorem = r.omega_adjoint = r.omega_directional = r.omega_columns =
      std::numeric_limits<double>::infinity();
  r.block_bound.assign(r.block_end.size(), r.omega);
}

/// Sums the images' hypergradients and bounds, each by its best form. `correction` may be empty.
void assemble(const std::vector<BoundInputs>& inputs, std::span<const double> mixed,
              std::span<const double> correction, std::span<const double> penalty_gradient,
              HypergradientResult& r) {
  const std::size_t n = inputs.size(), p = penalty_gradient.size(), blocks = r.block_end.size();
  r.z.assign(penalty_gradient.begin(), penalty_gradient.end());
  r.block_bound.assign(blocks, 0);
  r.block_norm2.assign(blocks, 0);
  std::vector<double> solves(blocks, 0), rounding(blocks, 0);
  r.omega_theorem = r.omega_adjoint = r.omega_directional = r.omega_columns = 0;
  r.corrected = !correction.empty();
  double best = 0;  // sum of the images' smallest bounds
  for (std::size_t i = 0; i < n; ++i) {
    const ErrorBound bound = error_bound(inputs[i]), still = without_epsilon(inputs[i]);
    r.omega_theorem += bound.theorem;
    r.omega_adjoint += bound.adjoint;
    r.omega_directional += bound.directional;
    r.omega_columns += bound.columns;
    const double plain = std::min({bound.theorem, bound.adjoint, bound.directional});
    const bool columns = !inputs[i].norm_v.empty() && bound.columns <= plain;  // both may be infinite
    best += std::min(plain, bound.columns);
    const bool entries = columns || bound.directional <= plain;
    for (std::size_t j = 0; j < p; ++j) r.z[j] -= mixed[i * p + j] + (columns ? correction[i * p + j] : 0);
    for (std::size_t b = 0; b < blocks; ++b) {
      r.block_norm2[b] += inputs[i].norm_mixed[b] * inputs[i].norm_mixed[b] / static_cast<double>(n);
      r.block_bound[b] +=
          columns ? bound.column_entries[b] : (entries ? bound.directional_entries[b] : plain);
      solves[b] += columns ? still.column_entries[b] : still.directional_entries[b];
      rounding[b] +=
          inputs[i].q.rounding[b] + (columns ? inputs[i].norm_v[b] * inputs[i].residual_rounding : 0);
    }
  }
  // Adding up the images and the penalty in double.
  for (std::size_t b = 0, j = 0; b < blocks; ++b)
    for (; j < r.block_end[b]; ++j) {
      const double adding =
          1e-15 * (std::abs(r.z[j]) + std::abs(penalty_gradient[j])) * static_cast<double>(n + 2);
      r.block_bound[b] += adding;
      best += adding;
    }
  r.omega = std::min(norm_of(r.block_bound), best);
  r.rounding = norm_of(rounding);
  r.part_delta = std::min(norm_of(solves), r.omega);
  r.part_epsilon = r.omega - r.part_delta;
}

}  // namespace

template <class T>
ImplicitHypergradient<T>::Impl::Impl(Context& context, const BilevelProblem<T>& of,
                                     std::shared_ptr<const LinearSolver<T>> by)
    : problem(of),
      solver(std::move(by)),
      shape(of.energy().shape()),
      p(of.parameters().size()),
      q(context, shape) {
  for (std::size_t j = 0; j < (unit_columns() ? p : 1); ++j) v.emplace_back(context, shape);
}

template <class T>
ImplicitHypergradient<T>::ImplicitHypergradient(Context& context, const BilevelProblem<T>& problem,
                                                const std::string& solver)
    : impl_(new Impl(context, problem, make_linear_solver<T>(solver))) {}

template <class T>
ImplicitHypergradient<T>::ImplicitHypergradient(Context& context, const BilevelProblem<T>& problem,
                                                std::shared_ptr<const LinearSolver<T>> solver) {
  if (!solver) throw ConfigError("a hypergradient needs a linear solver, none is given.");
  impl_.reset(new Impl(context, problem, checked_linear_solver(std::move(solver))));
}

template <class T>
ImplicitHypergradient<T>::~ImplicitHypergradient() = default;

template <class T>
HypergradientResult ImplicitHypergradient<T>::compute(Context& context, std::span<const double> theta,
                                                      View<const T> x, std::span<const double> epsilon,
                                                      const HypergradientRequest& request) {
  Impl& m = *impl_;
  require_same(m.shape, x.shape(), "hypergradient (energy and point)");
  if (epsilon.size() != static_cast<std::size_t>(m.shape.n))
    throw ShapeError(std::to_string(epsilon.size()) + " certificates were given for " +
                     std::to_string(m.shape.n) + " images.");
  require_length(theta, m.p, "theta");
  for (std::size_t i = 0; i < epsilon.size(); ++i)
    if (!(epsilon[i] >= 0))
      throw ConfigError("the certificate of image " + std::to_string(i) + " is " +
                        std::to_string(epsilon[i]) + "; it must be a number that is not negative.");
  if (!(request.delta > 0) || !(request.column_tolerance > 0))
    throw ConfigError("the accuracies of a hypergradient must be positive.");
  Frame frame(context);
  Evaluation<T> evaluation(context, m.problem, *m.solver, x, epsilon, request, frame);
  std::vector<double> penalty_gradient(m.p, 0);
  m.problem.penalty(theta, penalty_gradient);

  HypergradientResult result;
  result.block_end = m.problem.energy().blocks();
  if (!request.bounds) {
    only_gradient(evaluation.solve_only(m.q.view(), m.warm), penalty_gradient, result);
    m.warm = true;
    if (!m.unit_columns()) m.columns = 0;
    const auto n = static_cast<std::size_t>(m.shape.n);
    result.adjoint_product.assign(n, 0);
    result.adjoint_error.assign(n, std::numeric_limits<double>::infinity());
    evaluation.tell(result);
    return result;
  }
  const bool choose = !m.unit_columns() && request.direction;
  const std::vector<double> mixed = evaluation.solve(m.q.view(), m.warm, !choose);
  m.warm = true;
  if (choose) {
    m.columns = 0;
    only_gradient(mixed, penalty_gradient, result);
    const std::vector<double> d = request.direction(result, [&](std::span<const double> e) {
      require_length(e, m.p, "the direction of a Gauss-Newton product");
      return evaluation.gauss_newton_product(e, m.v[0].view());
    });
    if (!d.empty()) require_length(d, m.p, "the direction");
    if (d.empty()) {
      evaluation.bound_alone(m.q.view());
    } else {
      result.along = evaluation.solve_direction(m.q.view(), m.v[0].view(), d, result.z);
      m.columns = 1;
    }
  }
  assemble(evaluation.inputs(), mixed, {}, penalty_gradient, result);
  const bool enough = (request.sufficient >= 0 && result.omega <= request.sufficient * norm_of(result.z)) ||
                      result.omega <= request.enough;
  if (m.unit_columns() && request.columns && !enough) {
    const std::vector<double> correction =
        evaluation.solve_columns(m.q.view(), m.v, m.columns > 0, result.gauss_newton);
    m.columns = static_cast<int>(m.p);
    assemble(evaluation.inputs(), mixed, correction, penalty_gradient, result);
  }
  evaluation.tell(result);
  result.adjoint_product = evaluation.adjoint_product;
  result.adjoint_error = evaluation.adjoint_error();
  result.inputs = evaluation.take_inputs();
  return result;
}

template <class T>
bool ImplicitHypergradient<T>::predict(Context& context, View<const T> x,
                                       std::span<const double> coefficients, View<T> x0) const {
  const Impl& m = *impl_;
  if (m.columns == 0) return false;
  require_length(coefficients, static_cast<std::size_t>(m.columns), "a prediction's list of columns");
  require_same(m.shape, x.shape(), "prediction (energy and point)");
  require_same(m.shape, x0.shape(), "prediction (energy and result)");
  Frame frame(context);
  ActiveSet active(context, frame, m.shape.n);
  for (std::size_t j = 0; j < static_cast<std::size_t>(m.columns); ++j) {
    const T* from = j == 0 ? x.device_data() : x0.device_data();
    kernel_table<T>(context).combine(stream_of(context),
                                     {active.active(), m.shape.image(), from, m.v[j].view().device_data(), 1,
                                      -coefficients[j], nullptr, nullptr, x0.device_data()});
  }
  return true;
}

template <class T>
std::vector<T> ImplicitHypergradient<T>::save(Context& context) const {
  if (!impl_->warm) return {};
  std::vector<T> state = download(context, impl_->q);
  if (!has_columns()) return state;
  for (const Tensor<T>& v : impl_->v) {
    const std::vector<T> column = download(context, v);
    state.insert(state.end(), column.begin(), column.end());
  }
  return state;
}

template <class T>
void ImplicitHypergradient<T>::restore(Context& context, std::span<const T> state, bool has_columns) {
  Impl& m = *impl_;
  const std::size_t batch = m.shape.count();
  const std::size_t columns = has_columns ? m.v.size() : 0;
  m.warm = has_columns || !state.empty();
  const std::size_t wanted = m.warm ? batch * (1 + columns) : 0;
  if (state.size() != wanted)
    throw ShapeError("the saved adjoint state has " + std::to_string(state.size()) + " values instead of " +
                     std::to_string(wanted) + ".");
  if (m.warm) m.q.upload(context, state.subspan(0, batch));
  for (std::size_t j = 0; j < columns; ++j) m.v[j].upload(context, state.subspan((1 + j) * batch, batch));
  m.columns = static_cast<int>(columns);
}

template <class T>
bool ImplicitHypergradient<T>::has_columns() const {
  return unit_columns() && impl_->columns > 0;
}

template <class T>
bool ImplicitHypergradient<T>::unit_columns() const {
  return impl_->unit_columns();
}

template class BILEVEL_API ImplicitHypergradient<float>;
template class BILEVEL_API ImplicitHypergradient<double>;

}  // namespace v0
}  // namespace bilevel
