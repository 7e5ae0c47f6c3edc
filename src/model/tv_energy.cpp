#include "bilevel/model/tv_energy.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "bilevel/core/error.hpp"
#include "device/backend.hpp"
#include "kernels/analysis_args.hpp"
#include "kernels/precision_args.hpp"
#include "model/checks.hpp"
#include "model/tv_constants.hpp"
#include "model/underflow.hpp"

namespace bilevel {
inline namespace v0 {

Parameters tv_parameters(const TvOptions& options) {
  const double alpha = options.differences == TvDifferences::none     ? 0.1
                       : options.differences == TvDifferences::second ? 0.02
                       : options.smoothed()                           ? 0.05
                                                                      : 1;
  std::vector<Segment> segments{{"alpha", Transform::exp, alpha, 1e-8, 1e3, true}};
  if (options.smoothed()) segments.push_back({"nu", Transform::exp, 0.01, 1e-6, 1e2, true});
  segments.push_back({"xi", Transform::exp, 1e-3, 1e-10, 1e2, false});
  return Parameters(segments);
}

template <class T>
struct TvEnergy<T>::Impl {
  Parameters parameters;
  TvOptions options;
  Shape shape;
  View<const T> y;
  Tensor<T> sampling;
  bool masked = false;
  TvValues value;                 // alpha, nu, xi
  std::array<double, 3> slope{};  // d value / d theta entry, for alpha, nu, xi
  std::array<int, 3> entry{};     // entry of theta, or -1
  double unit = static_cast<double>(std::numeric_limits<T>::epsilon()) / 2;  // of the bound on rounding
  Tensor<float> y_single = {};                                               // data of the next
  std::unique_ptr<TvEnergy<float>> single = {};

  kernels::AnalysisModel model() const {
    return {shape.h,
            shape.w,
            static_cast<kernels::Potential>(options.potential),
            stencil_of(options, shape),
            value.alpha,
            value.nu,
            value.ridge(options)};
  }
  const kernels::AnalysisKernels<T>& table(Context& context) const {
    return kernel_table<T>(context).analysis[static_cast<int>(stencil_of(options, shape))];
  }
  /// Differences and potential as dual, data and ridge, which are diagonal, as primal block.
  class Split final : public ProximalForm<T> {
   public:
    explicit Split(const Impl& m) : m_(m) {}
    ProximalConstants constants() const override {
      const TvConstants c = m_.constants();
      return {c.mu, 1 / std::max(m_.value.alpha * c.curvature, 1e-12), std::sqrt(c.norm2)};
    }
    Shape dual_shape() const override {
      return {kernels::directions(m_.model().stencil) * m_.shape.n, 1, m_.shape.h, m_.shape.w};
    }
    void dual_step(Context& context, const Active& active, View<const T> x, double inverse_step,
                   View<T> w) const override {
      m_.table(context).pdhg_dual(stream_of(context), {m_.model(), active, m_.shape.n, x.device_data(),
                                                       inverse_step, w.device_data()});
    }
    void primal_step(Context& context, const Active& active, View<const T> w, double tau, double theta,
                     View<T> x, View<T> extrapolated) const override {
      m_.table(context).pdhg_primal(stream_of(context), {m_.model(), active, m_.shape.n, w.device_data(),
                                                         m_.y.device_data(), m_.sampling_data(), 1, 1, tau,
                                                         theta, x.device_data(), extrapolated.device_data()});
    }

   private:
    const Impl& m_;
  };
  const Split split{*this};

  TvConstants constants() const { return tv_constants(options, shape, masked, value); }
  /// Products: the datum, xi x, and of the fluxes w z and alpha psi; |psi| enters flux_roundings |K| alpha
  /// times, what rounding does to second differences |K| alpha l_1 times.
  double underflow() const {
    if (!(unit > 0)) return 0;
    const bool second = options.differences == TvDifferences::second;
    const double bent = second ? value.alpha * (1 + constants().curvature) : value.alpha;
    return underflow_bound<T>(shape.image(), unit, (second ? 32 : 8) * (1 + bent),
                              (second ? 400 : 70) * bent);
  }
  const T* sampling_data() const { return masked ? sampling.view().device_data() : nullptr; }
};

namespace {

constexpr std::array<const char*, 3> names = {"alpha", "nu", "xi"};

template <class T>
const T* data(View<const T> v) {
  return v.device_data();
}

}  // namespace

template <class T>
TvEnergy<T>::TvEnergy(Context& context, View<const T> y, const Parameters& parameters,
                      const TvOptions& options, std::span<const double> sampling)
    : impl_(new Impl{parameters, options, y.shape(), y, {}, false, {}, {}, {}}) {
  require_options(options);
  const Shape& s = impl_->shape;
  if (s.c != 1 || s.n < 1 || s.h < 1 || s.w < 1)
    throw ShapeError("smoothed total variation works on images [N,1,H,W], not on " + s.str() + ".");
  if (s.image() > static_cast<std::size_t>(std::numeric_limits<int>::max()))
    throw ShapeError("an image of shape " + s.str() + " has more than 2^31 pixels.");
  require_view(s, y, "smoothed total variation (data)");
  if (!sampling.empty()) {
    if (sampling.size() != s.image())
      throw ShapeError("the sampling image has " + std::to_string(sampling.size()) + " pixels, the data " +
                       s.str() + ".");
    std::vector<T> mask(sampling.size());
    for (std::size_t p = 0; p < mask.size(); ++p) {
      if (sampling[p] != 0 && sampling[p] != 1)
        throw ConfigError("the sampling image must hold only 0 and 1.");
      mask[p] = static_cast<T>(sampling[p]);
      impl_->masked = impl_->masked || sampling[p] == 0;
    }
    impl_->sampling = Tensor<T>(context, {1, 1, s.h, s.w}, mask);
  }
  bind(parameters.initial());
}

template <class T>
TvEnergy<T>::~TvEnergy() = default;

template <class T>
Shape TvEnergy<T>::shape() const {
  return impl_->shape;
}
template <class T>
const Parameters* TvEnergy<T>::layout() const {
  return &impl_->parameters;
}
template <class T>
std::size_t TvEnergy<T>::parameters() const {
  return impl_->parameters.size();
}

template <class T>
void TvEnergy<T>::bind(std::span<const double> theta) {
  const Parameters& p = impl_->parameters;
  if (theta.size() != p.size())
    throw ShapeError("theta has " + std::to_string(theta.size()) + " entries, the model " +
                     std::to_string(p.size()) + ".");
  std::array<double, 3> value{}, slope{};
  std::array<int, 3> entry{};
  for (std::size_t k = 0; k < 3; ++k) {
    if (k == 1 && !impl_->options.smoothed()) {
      value[k] = 1;
      entry[k] = -1;
      continue;
    }
    value[k] = p.value(names[k], theta);
    entry[k] = p.entry(names[k]);
    const auto j = static_cast<std::size_t>(entry[k]);
    slope[k] = entry[k] < 0 ? 0 : transform_slope(p.learned(j).transform, theta[j]);
    const bool zero_allowed = k != 1;
    if (!std::isfinite(value[k]) || value[k] < 0 || (value[k] == 0 && !zero_allowed))
      throw ConfigError(std::string("parameter '") + names[k] + "' = " + std::to_string(value[k]) +
                        " is outside the model's domain: it must be positive and finite.");
  }
  require_smoothing<T>(value[1], "nu");
  const TvValues values{value[0], value[1], value[2]};
  const TvConstants c = tv_constants(impl_->options, impl_->shape, impl_->masked, values);
  if (!(c.mu > 0) || !std::isfinite(c.lipschitz) || !std::isfinite(c.hessian_lipschitz))
    throw ConfigError("alpha " + std::to_string(value[0]) + ", nu " + std::to_string(value[1]) + ", xi " +
                      std::to_string(value[2]) +
                      " do not give a strongly convex energy with finite constants.");
  impl_->value = values;
  impl_->slope = slope;
  impl_->entry = entry;
  if (impl_->single) impl_->single->bind(theta);
}

template <class T>
void TvEnergy<T>::keep_single_precision(Context& context) requires std::same_as<T, double> {
  Impl& m = *impl_;
  Frame frame(context);
  ActiveSet all(context, frame, m.shape.n);
  m.y_single = Tensor<float>(context, m.shape);
  context.impl().scalar_table().narrow(
      stream_of(context), {all.active(), m.shape.image(), data(m.y), 0, m.y_single.view().device_data()});
  std::vector<double> sampling;
  if (m.masked) sampling = download(context, m.sampling);
  m.single = std::make_unique<TvEnergy<float>>(context, std::as_const(m.y_single).view(), m.parameters,
                                               m.options, sampling);
  m.single->impl_->unit = 0;
  m.single->impl_->value = m.value;
  m.single->impl_->slope = m.slope;
  m.single->impl_->entry = m.entry;
}

template <class T>
const Energy<float>* TvEnergy<T>::single_precision() const {
  return impl_->single.get();
}

template <class T>
const ProximalForm<T>* TvEnergy<T>::proximal() const {
  return &impl_->split;
}

template <class T>
Curvature TvEnergy<T>::curvature() const {
  const TvConstants c = impl_->constants();
  Curvature out{c.mu, c.lipschitz, c.hessian_lipschitz, std::vector<double>(parameters(), 0)};
  for (std::size_t k = 0; k < 3; ++k)
    if (impl_->entry[k] >= 0)
      out.mixed_lipschitz[static_cast<std::size_t>(impl_->entry[k])] = c.mixed_lipschitz[k] * impl_->slope[k];
  return out;
}

template <class T>
void TvEnergy<T>::value_and_gradient(Context& context, const Active& active, View<const T> x,
                                     View<T> gradient, const GradientSums& sums) const {
  EnergyViews<T>{*this}.gradient(x, gradient, sums);
  impl_->table(context).gradient(stream_of(context),
                                 {impl_->model(), active, data(x), data(impl_->y), impl_->sampling_data(),
                                  gradient.device_data(), sums.value.device_data(), sums.norm2.device_data(),
                                  sums.rounding.device_data(), impl_->unit, impl_->underflow()});
}

template <class T>
int TvEnergy<T>::weight_arrays() const {
  return kernels::weight_arrays(impl_->model().stencil, 1);
}
template <class T>
int TvEnergy<T>::dual_arrays() const {
  return kernels::directions(impl_->model().stencil);
}

template <class T>
void TvEnergy<T>::linearise(Context& context, const Active& active, View<const T> x, View<const float> dual,
                            View<T> weights, View<T> inverse_diagonal) const {
  EnergyViews<T>{*this}.linearisation(x, dual, weights, inverse_diagonal);
  impl_->table(context).linearise(
      stream_of(context), {impl_->model(), active, impl_->shape.n, data(x), dual.device_data(),
                           weights.device_data(), inverse_diagonal.device_data(), 1, impl_->sampling_data()});
}

template <class T>
void TvEnergy<T>::hessian_product(Context& context, const Active& active, View<const T> weights,
                                  View<const T> p, View<T> product, Scalars inner) const {
  EnergyViews<T>{*this}.product(weights, p, product, inner);
  impl_->table(context).hessian(stream_of(context),
                                {impl_->model(), active, impl_->shape.n, data(weights), data(p),
                                 product.device_data(), inner.device_data(), false, impl_->sampling_data()});
}

template <class T>
void TvEnergy<T>::start_dual(Context& context, const Active& active, View<const T> x,
                             View<float> dual) const {
  require_view(shape(), x, "dual field (point)");
  EnergyViews<T>{*this}.dual_field(dual);
  impl_->table(context).dual(stream_of(context), {impl_->model(), active, impl_->shape.n, data(x), nullptr,
                                                  nullptr, dual.device_data()});
}

template <class T>
void TvEnergy<T>::update_dual(Context& context, const Active& active, View<const T> x, View<const T> d,
                              Scalars step, View<float> dual) const {
  EnergyViews<T>{*this}.dual_step(x, d, step, dual);
  impl_->table(context).dual(stream_of(context), {impl_->model(), active, impl_->shape.n, data(x), data(d),
                                                  step.device_data(), dual.device_data()});
}

template <class T>
int TvEnergy<T>::mixed_sums() const {
  return 3;
}

template <class T>
void TvEnergy<T>::mixed_adjoint(Context& context, const Active& active, View<const T> x, View<const T> q,
                                View<double> sums) const {
  EnergyViews<T>{*this}.mixed_adjoint(x, q, sums);
  double* out = sums.device_data();
  const int n = impl_->shape.n;
  impl_->table(context).mixed_adjoint(stream_of(context),
                                      {impl_->model(), active, data(x), data(q), out, out + n, out + 2 * n});
}

/// B_alpha^T q = S_w (+ xi <x,q> inside alpha), B_nu^T q = alpha/nu S_nu, B_xi^T q = <x,q> (alpha <x,q>
/// inside).
template <class T>
std::vector<double> TvEnergy<T>::mixed(std::span<const double> sums) const {
  require_sums(mixed_sums(), shape().n, sums, 0, "sums of the mixed derivative");
  const auto n = static_cast<std::size_t>(impl_->shape.n);
  const std::size_t p = parameters();
  const TvValues& v = impl_->value;
  const bool inside = impl_->options.xi_inside_alpha;
  std::vector<double> out(n * p);
  for (std::size_t i = 0; i < n; ++i) {
    const double weight = sums[i], smoothing = sums[n + i], ridge = sums[2 * n + i];
    const std::array<double, 3> column = {weight + (inside ? v.xi * ridge : 0), v.alpha / v.nu * smoothing,
                                          (inside ? v.alpha : 1) * ridge};
    for (std::size_t k = 0; k < 3; ++k)
      if (impl_->entry[k] >= 0)
        out[i * p + static_cast<std::size_t>(impl_->entry[k])] = impl_->slope[k] * column[k];
  }
  return out;
}

template <class T>
void TvEnergy<T>::mixed_forward(Context& context, const Active& active, View<const T> x,
                                std::span<const double> direction, View<T> out, Scalars norm2) const {
  EnergyViews<T>{*this}.mixed_forward(x, direction, out, norm2);
  std::array<double, 3> d{};
  for (std::size_t k = 0; k < 3; ++k)
    if (impl_->entry[k] >= 0) d[k] = impl_->slope[k] * direction[static_cast<std::size_t>(impl_->entry[k])];
  const TvValues& v = impl_->value;
  const bool inside = impl_->options.xi_inside_alpha;
  impl_->table(context).mixed_forward(
      stream_of(context),
      {impl_->model(), active, data(x), d[0], v.alpha / v.nu * d[1],
       inside ? v.xi * d[0] + v.alpha * d[2] : d[2], out.device_data(), norm2.device_data()});
}

template <class T>
int TvEnergy<T>::bound_sums() const {
  return kernels::analysis_bound_sums;
}

template <class T>
void TvEnergy<T>::directional_sums(Context& context, const Active& active, View<const T> x, View<const T> q,
                                   View<const T> v, const BallInputs& ball, View<double> sums) const {
  EnergyViews<T>{*this}.directional(x, q, v, ball, sums);
  const TvConstants c = impl_->constants();
  impl_->table(context).bound(
      stream_of(context),
      {impl_->model(), active, data(x), data(q), v ? data(v) : nullptr, ball.epsilon.device_data(),
       ball.gradient.device_data(), c.mu, c.row_norm, c.norm2, sums.device_data(), impl_->shape.n});
}

template <class T>
DirectionalBound TvEnergy<T>::directional(std::span<const double> sums, int image, double epsilon,
                                          double norm_q, double norm_v) const {
  require_sums(bound_sums(), shape().n, sums, image, "sums of the directional bounds");
  const auto n = static_cast<std::size_t>(impl_->shape.n);
  std::array<double, kernels::analysis_bound_sums> s{};
  for (std::size_t k = 0; k < s.size(); ++k) s[k] = sums[k * n + static_cast<std::size_t>(image)];
  // Rounding of the terms, and of adding them up: at most 64 + pixels/1024 additions one after the other.
  const double additions = 64 + static_cast<double>(impl_->shape.image()) / 1024;
  const double unit = std::numeric_limits<T>::epsilon() / 2 + additions * 0x1p-53 / 16;
  const TvDirectional d =
      tv_directional(impl_->constants(), impl_->options, impl_->value, s, epsilon, norm_q, norm_v, unit);
  DirectionalBound out;
  out.hessian_q = d.hessian_q;
  out.energy_q = d.energy_q;
  out.hessian_v = d.hessian_v;
  out.energy_v = d.energy_v;
  out.hessian_vq = d.hessian_vq;
  out.hessian_qe = d.hessian_qe;
  out.mixed_q.resize(parameters());
  out.energy_mixed.resize(parameters());
  out.rounding.resize(parameters());
  for (std::size_t k = 0; k < 3; ++k) {
    if (impl_->entry[k] < 0) continue;
    const auto j = static_cast<std::size_t>(impl_->entry[k]);
    out.mixed_q[j] = d.mixed_q[k] * impl_->slope[k];
    out.energy_mixed[j] = d.energy_mixed[k] * impl_->slope[k];
    out.rounding[j] = d.rounding[k] * impl_->slope[k];
  }
  return out;
}

template <class T>
double TvEnergy<T>::alpha() const {
  return impl_->value.alpha;
}
template <class T>
double TvEnergy<T>::nu() const {
  return impl_->value.nu;
}
template <class T>
double TvEnergy<T>::xi() const {
  return impl_->value.xi;
}

template class BILEVEL_API TvEnergy<float>;
template class BILEVEL_API TvEnergy<double>;

}  // namespace v0
}  // namespace bilevel
