#include "bilevel/model/mri_energy.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <utility>

#include "bilevel/core/error.hpp"
#include "device/backend.hpp"
#include "kernels/analysis_args.hpp"
#include "kernels/krylov_args.hpp"
#include "model/checks.hpp"
#include "model/tv_constants.hpp"
#include "model/underflow.hpp"
#include "ops/sampled_fourier.hpp"

namespace bilevel {
inline namespace v0 {
namespace {

/// The numbers beside the sampling: their order in arrays, and in theta when learned.
constexpr std::array<const char*, 3> names = {"alpha", "nu", "xi"};
constexpr int tv_sums = kernels::analysis_bound_sums;

template <class T>
const T* data(View<const T> v) {
  return v.device_data();
}

}  // namespace

template <class T>
struct MriEnergy<T>::Impl {
  Context* context;
  SamplingPattern pattern;
  Parameters parameters;
  TvOptions regulariser;
  SampledFourier<T> fourier;
  Tensor<T> y = {};
  std::vector<double> data_norm = {};  // of each image's k-space
  CoilMaps maps = {};
  std::vector<std::complex<double>> map_values = {};
  TvValues value = {};
  std::vector<double> s = {}, weights = {};
  double least_weight = 0, most_weight = 0;
  std::array<double, 3> slope{};                                             // d value / d theta entry
  std::array<int, 3> entry{};                                                // entry of theta, or -1
  int sampling_entry = -1;                                                   // first, or -1
  double unit = static_cast<double>(std::numeric_limits<T>::epsilon()) / 2;  // of the bound on rounding
  std::unique_ptr<MriEnergy<float>> single = {};

  const Shape& shape() const { return fourier.images(); }
  std::size_t groups() const { return sampling_entry < 0 ? 0 : pattern.groups(); }
  kernels::AnalysisModel model() const {
    return {shape().h, shape().w,   static_cast<kernels::Potential>(regulariser.potential),
            stencil(), value.alpha, value.nu,
            value.xi,  shape().c};
  }
  kernels::Stencil stencil() const { return stencil_of(regulariser, shape()); }
  const kernels::AnalysisKernels<T>& table(Context& on) const {
    return kernel_table<T>(on).analysis[static_cast<int>(stencil())];
  }
  /// A real image mixes the weights of conjugate frequencies.
  double least_pair(std::span<const double> w) const { return extreme_pair(w, false); }
  double most_pair(std::span<const double> w) const { return extreme_pair(w, true); }
  double extreme_pair(std::span<const double> w, bool largest) const {
    const int h = shape().h, wd = shape().w;
    double out = largest ? 0 : std::numeric_limits<double>::infinity();
    for (int k = 0; k < h; ++k)
      for (int l = 0; l < wd; ++l) {
        double e = w[static_cast<std::size_t>(k * wd + l)];
        if (shape().c == 1 && !fourier.has_maps())
          e = 0.5 * (e + w[static_cast<std::size_t>((h - k) % h * wd + (wd - l) % wd)]);
        out = largest ? std::max(out, e) : std::min(out, e);
      }
    return out;
  }
  TvConstants constants() const {
    TvConstants c = tv_constants(regulariser, shape(), true, value);
    c.mu = value.xi + least_weight * fourier.least_coil_power();
    c.lipschitz = value.xi + most_weight * fourier.most_coil_power() + value.alpha * c.curvature * c.norm2;
    return c;
  }
  /// Data and regulariser, in k-space and on differences, as dual blocks F1(E x) + F2(D x), the ridge as
  /// primal one; |K|^2 <= |E|^2 + |D|^2. w holds E* u, the arrays of D and u.
  class Split final : public ProximalForm<T> {
   public:
    explicit Split(const Impl& m) : m_(m) {}
    ProximalConstants constants() const override {
      const TvConstants c = m_.constants();
      const double steepest = std::max({m_.most_weight_alone(), m_.value.alpha * c.curvature, 1e-12});
      return {m_.value.xi, 1 / steepest, std::sqrt(m_.fourier.most_coil_power() + c.norm2)};
    }
    Shape dual_shape() const override {
      const Shape& s = m_.shape();
      const int columns = static_cast<int>(m_.fourier.rows()) / s.h;
      return {s.n, 1, s.h, (1 + directions()) * s.c * s.w + 2 * m_.fourier.coils() * columns};
    }
    void dual_step(Context& context, const Active& active, View<const T> x, double inverse_step,
                   View<T> w) const override {
      m_.fourier.dual_step(context, active, x, m_.y, inverse_step,
                           block(w, static_cast<std::size_t>(1 + directions())), {block(w, 0), m_.shape()});
      m_.table(context).pdhg_dual(
          stream_of(context), {m_.model(), active, m_.shape().n, x.device_data(), inverse_step, block(w, 1)});
    }
    void primal_step(Context& context, const Active& active, View<const T> w, double tau, double theta,
                     View<T> x, View<T> extrapolated) const override {
      m_.table(context).pdhg_primal(
          stream_of(context), {m_.model(), active, m_.shape().n, block(w, 1), block(w, 0), nullptr, -1, 0,
                               tau, theta, x.device_data(), extrapolated.device_data()});
    }

   private:
    int directions() const { return kernels::directions(m_.stencil()); }
    template <class U>
    auto* block(View<U> w, std::size_t k) const {
      return w.device_data() + k * m_.shape().count();
    }
    const Impl& m_;
  };
  const Split split{*this};
  double most_weight_alone() const { return *std::max_element(weights.begin(), weights.end()); }
  /// Squares of weights that underflow hide, in the rounding bound, less than this factor of the spectra.
  double hidden_weight() const {
    return 2 * (4 + 2 * fourier.coils()) * (1 + fourier.most_coil_power()) *
           std::sqrt(static_cast<double>(std::numeric_limits<T>::min()));
  }
  /// As for total variation; the transforms add up to H W numbers per entry, log2(H W) times, on both sides
  /// of weights and maps.
  double underflow() const {
    if (!(unit > 0)) return 0;
    const bool second = stencil() == kernels::Stencil::second;
    const double bent = second ? value.alpha * (1 + constants().curvature) : value.alpha;
    const double pixels = static_cast<double>(fourier.frequencies()), power = 1 + fourier.most_coil_power();
    const double reach = fourier.coils() * pixels * transform() * power * (1 + most_weight_alone());
    const double bound =
        underflow_bound<T>(shape().image(), unit, (second ? 32 : 8) * (1 + bent) + 8 * reach,
                           (second ? 500 : 120) * bent + (transform() + 4 + 2 * fourier.coils()) * power *
                                                             (1 + most_weight_alone()) * fourier.coils());
    return bound +
           unit * (transform() + 1) * hidden_weight() * *std::max_element(data_norm.begin(), data_norm.end());
  }
  /// Rounding of a transform relative to its norm, in units: 10 log2(H W).
  double transform() const {
    return 10 * std::max(1.0, std::log2(static_cast<double>(fourier.frequencies())));
  }
};

template <class T>
MriEnergy<T>::MriEnergy(Context& context, const Shape& images, std::span<const std::complex<T>> kspace,
                        const SamplingPattern& pattern, const Parameters& parameters,
                        const TvOptions& regulariser, const CoilMaps& maps)
    : impl_(new Impl{&context, pattern, parameters, regulariser, SampledFourier<T>(context, images, maps)}) {
  require_options(regulariser);
  if (regulariser.xi_inside_alpha)
    throw ConfigError("xi inside alpha is for denoising; leave it out for magnetic resonance.");
  Impl& m = *impl_;
  const std::size_t each = m.fourier.frequencies() * static_cast<std::size_t>(maps.coils);
  if (pattern.height() != images.h || pattern.width() != images.w)
    throw ShapeError("the sampling pattern has " + std::to_string(pattern.height()) + "x" +
                     std::to_string(pattern.width()) + " frequencies, the images have " +
                     std::to_string(images.h) + "x" + std::to_string(images.w) + " pixels.");
  if (kspace.size() != each * static_cast<std::size_t>(images.n))
    throw ShapeError("k-space holds " + std::to_string(kspace.size()) + " values, " +
                     std::to_string(images.n) + " images of " + std::to_string(maps.coils) + " coils have " +
                     std::to_string(each * static_cast<std::size_t>(images.n)) + ".");
  m.data_norm.assign(static_cast<std::size_t>(images.n), 0);
  for (std::size_t e = 0; e < kspace.size(); ++e)
    m.data_norm[e / each] += std::norm(std::complex<double>(kspace[e]));
  for (double& norm : m.data_norm) {
    if (!std::isfinite(norm))
      throw ConfigError(std::string("k-space holds values that are not finite, or too large for ") +
                        (sizeof(T) == 4 ? "single" : "double") + " precision.");
    norm = std::sqrt(norm) * (1 + 1e-12);
  }
  m.map_values.assign(maps.values.begin(), maps.values.end());
  m.maps = {maps.coils, m.map_values};
  m.y = m.fourier.upload_data(context, kspace);
  bind(parameters.initial());
}

template <class T>
MriEnergy<T>::~MriEnergy() = default;

template <class T>
void MriEnergy<T>::keep_single_precision(Context& context) requires std::same_as<T, double> {
  Impl& m = *impl_;
  const Shape& s = m.shape();
  std::vector<std::complex<float>> none(static_cast<std::size_t>(s.n) * m.fourier.frequencies() *
                                        static_cast<std::size_t>(m.maps.coils));
  m.single =
      std::make_unique<MriEnergy<float>>(context, s, none, m.pattern, m.parameters, m.regulariser, m.maps);
  const std::vector<double> y = download(context, m.y);
  m.single->impl_->y.upload(context, std::vector<float>(y.begin(), y.end()));
  m.single->impl_->data_norm = m.data_norm;
  m.single->impl_->unit = 0;
  std::vector<double> theta = m.parameters.initial();
  if (m.sampling_entry >= 0) std::copy(m.s.begin(), m.s.end(), theta.begin() + m.sampling_entry);
  const std::array<double, 3> values = {m.value.alpha, m.value.nu, m.value.xi};
  for (std::size_t k = 0; k < 3; ++k)
    if (m.entry[k] >= 0) {
      const auto j = static_cast<std::size_t>(m.entry[k]);
      theta[j] = to_theta(m.parameters.learned(j).transform, values[k]);
    }
  m.single->bind(theta);
}

template <class T>
const Energy<float>* MriEnergy<T>::single_precision() const {
  return impl_->single.get();
}
template <class T>
const ProximalForm<T>* MriEnergy<T>::proximal() const {
  return &impl_->split;
}
template <class T>
Shape MriEnergy<T>::shape() const {
  return impl_->shape();
}
template <class T>
const Parameters* MriEnergy<T>::layout() const {
  return &impl_->parameters;
}
template <class T>
std::size_t MriEnergy<T>::parameters() const {
  return impl_->parameters.size();
}
template <class T>
const SamplingPattern& MriEnergy<T>::pattern() const {
  return impl_->pattern;
}
template <class T>
std::span<const double> MriEnergy<T>::weights() const {
  return impl_->weights;
}

template <class T>
std::vector<std::size_t> MriEnergy<T>::blocks() const {
  std::vector<std::size_t> ends;
  const auto first = static_cast<std::size_t>(std::max(impl_->sampling_entry, 0));
  for (std::size_t j = 0; j < parameters();) {
    j += impl_->sampling_entry >= 0 && j == first ? impl_->groups() : 1;
    ends.push_back(j);
  }
  return ends;
}

template <class T>
void MriEnergy<T>::bind(std::span<const double> theta) {
  Impl& m = *impl_;
  const Parameters& p = m.parameters;
  if (theta.size() != p.size())
    throw ShapeError("theta has " + std::to_string(theta.size()) + " entries, the model " +
                     std::to_string(p.size()) + ".");
  std::array<double, 3> value{}, slope{};
  std::array<int, 3> entry{};
  for (std::size_t k = 0; k < 3; ++k) {
    value[k] = p.value(names[k], theta);
    entry[k] = p.entry(names[k]);
    if (k == 1 && !m.regulariser.smoothed()) {
      if (entry[k] >= 0)
        throw ConfigError("parameter 'nu' has no effect with a quadratic potential; fix it.");
      value[k] = 1;
      continue;
    }
    const auto j = static_cast<std::size_t>(entry[k]);
    slope[k] = entry[k] < 0 ? 0 : transform_slope(p.learned(j).transform, theta[j]);
    if (!std::isfinite(value[k]) || value[k] < 0 || (value[k] == 0 && k != 0))
      throw ConfigError(std::string("parameter '") + names[k] + "' = " + std::to_string(value[k]) +
                        " is outside the model's domain: it must be positive and finite.");
  }
  require_smoothing<T>(value[1], "nu");
  std::vector<double> s = p.values("s", theta);
  if (s.size() != m.pattern.groups())
    throw ShapeError("parameter 's' has " + std::to_string(s.size()) + " entries, the pattern " +
                     std::to_string(m.pattern.groups()) + " groups.");
  const double most = m.pattern.map() == SamplingMap::rational ? 0.999999 : 1;
  for (double e : s)
    if (!(e >= 0 && e <= most))
      throw ConfigError("sampling parameter " + std::to_string(e) + " lies outside [0,1].");
  m.value = {value[0], value[1], value[2]};
  m.slope = slope;
  m.entry = entry;
  m.sampling_entry = p.entry("s");
  m.s = std::move(s);
  m.weights = m.pattern.weights(m.s);
  m.least_weight = m.least_pair(m.weights);
  m.most_weight = m.most_pair(m.weights);
  m.fourier.set_weights(*m.context, m.weights);
  if (m.single) m.single->bind(theta);
}

template <class T>
Curvature MriEnergy<T>::curvature() const {
  const Impl& m = *impl_;
  const TvConstants c = m.constants();
  Curvature out{c.mu, c.lipschitz, c.hessian_lipschitz, {}};
  for (std::size_t j = 0; j < parameters();) {
    if (static_cast<int>(j) == m.sampling_entry) {
      out.mixed_lipschitz.push_back(m.fourier.most_coil_power() * m.pattern.slope_bound(m.s));
      j += m.groups();
      continue;
    }
    for (std::size_t k = 0; k < 3; ++k)
      if (m.entry[k] == static_cast<int>(j)) out.mixed_lipschitz.push_back(c.mixed_lipschitz[k] * m.slope[k]);
    j += 1;
  }
  return out;
}

template <class T>
void MriEnergy<T>::value_and_gradient(Context& context, const Active& active, View<const T> x,
                                      View<T> gradient, const GradientSums& sums) const {
  EnergyViews<T>{*this}.gradient(x, gradient, sums);
  const Impl& m = *impl_;
  Frame frame(context);
  const View<double> data_sums = frame.view<double>({m.fourier.coils(), 3, m.shape().n, 1});
  m.fourier.gradient(context, active, x, m.y, gradient, data_sums);
  const double power = m.fourier.most_coil_power();
  m.table(context).gradient(
      stream_of(context),
      {m.model(), active, data(x), nullptr, nullptr, gradient.device_data(), sums.value.device_data(),
       sums.norm2.device_data(), sums.rounding.device_data(), m.unit, m.underflow(), data_sums.device_data(),
       m.fourier.coils(), m.shape().n, m.transform(), m.most_weight_alone() * power + m.hidden_weight(),
       std::sqrt(power)});
}

template <class T>
int MriEnergy<T>::weight_arrays() const {
  return kernels::weight_arrays(impl_->stencil(), impl_->shape().c);
}
template <class T>
int MriEnergy<T>::dual_arrays() const {
  return kernels::directions(impl_->stencil());
}

template <class T>
void MriEnergy<T>::linearise(Context& context, const Active& active, View<const T> x, View<const float> dual,
                             View<T> weights, View<T> inverse_diagonal) const {
  EnergyViews<T>{*this}.linearisation(x, dual, weights, inverse_diagonal);
  const Impl& m = *impl_;
  m.table(context).linearise(stream_of(context), {m.model(), active, m.shape().n, data(x), dual.device_data(),
                                                  weights.device_data(), inverse_diagonal.device_data(),
                                                  m.fourier.mean_weight(), data(m.fourier.coil_power())});
}

template <class T>
void MriEnergy<T>::hessian_product(Context& context, const Active& active, View<const T> weights,
                                   View<const T> p, View<T> product, Scalars inner) const {
  EnergyViews<T>{*this}.product(weights, p, product, inner);
  const Impl& m = *impl_;
  m.fourier.normal(context, active, p, product);
  m.table(context).hessian(stream_of(context), {m.model(), active, m.shape().n, data(weights), data(p),
                                                product.device_data(), inner.device_data(), true});
}

template <class T>
void MriEnergy<T>::start_dual(Context& context, const Active& active, View<const T> x,
                              View<float> dual) const {
  require_view(shape(), x, "dual field (point)");
  EnergyViews<T>{*this}.dual_field(dual);
  const Impl& m = *impl_;
  m.table(context).dual(stream_of(context),
                        {m.model(), active, m.shape().n, data(x), nullptr, nullptr, dual.device_data()});
}

template <class T>
void MriEnergy<T>::update_dual(Context& context, const Active& active, View<const T> x, View<const T> d,
                               Scalars step, View<float> dual) const {
  EnergyViews<T>{*this}.dual_step(x, d, step, dual);
  const Impl& m = *impl_;
  m.table(context).dual(stream_of(context), {m.model(), active, m.shape().n, data(x), data(d),
                                             step.device_data(), dual.device_data()});
}

template <class T>
int MriEnergy<T>::mixed_sums() const {
  return 3 + (impl_->sampling_entry < 0 ? 0 : static_cast<int>(impl_->fourier.rows()));
}

template <class T>
void MriEnergy<T>::mixed_adjoint(Context& context, const Active& active, View<const T> x, View<const T> q,
                                 View<double> sums) const {
  EnergyViews<T>{*this}.mixed_adjoint(x, q, sums);
  const Impl& m = *impl_;
  double* out = sums.device_data();
  const int n = m.shape().n;
  m.table(context).mixed_adjoint(stream_of(context),
                                 {m.model(), active, data(x), data(q), out, out + n, out + 2 * n});
  if (m.sampling_entry >= 0)
    m.fourier.mixed(context, active, x, q, m.y, false,
                    {out + 3 * n, {static_cast<int>(m.fourier.rows()), n, 1, 1}});
}

/// (B_s^T q)_k = sum_j dw_j/ds_k Re conj(E q)_j (E x - y)_j; alpha, nu and xi as for total variation.
template <class T>
std::vector<double> MriEnergy<T>::mixed(std::span<const double> sums) const {
  require_sums(mixed_sums(), shape().n, sums, 0, "sums of the mixed derivative");
  const Impl& m = *impl_;
  const auto n = static_cast<std::size_t>(m.shape().n);
  const std::size_t p = parameters();
  std::vector<double> out(n * p);
  for (std::size_t i = 0; i < n; ++i) {
    const std::array<double, 3> column = {sums[i], m.value.alpha / m.value.nu * sums[n + i], sums[2 * n + i]};
    for (std::size_t k = 0; k < 3; ++k)
      if (m.entry[k] >= 0) out[i * p + static_cast<std::size_t>(m.entry[k])] = m.slope[k] * column[k];
    if (m.sampling_entry < 0) continue;
    const std::vector<double> per_frequency = m.fourier.to_frequencies(sums.subspan(3 * n), i);
    const std::vector<double> per_group = m.pattern.adjoint(m.s, per_frequency);
    std::copy(per_group.begin(), per_group.end(),
              out.begin() + static_cast<std::ptrdiff_t>(i * p) + m.sampling_entry);
  }
  return out;
}

template <class T>
void MriEnergy<T>::mixed_forward(Context& context, const Active& active, View<const T> x,
                                 std::span<const double> direction, View<T> out, Scalars norm2) const {
  EnergyViews<T>{*this}.mixed_forward(x, direction, out, norm2);
  const Impl& m = *impl_;
  std::array<double, 3> d{};
  for (std::size_t k = 0; k < 3; ++k)
    if (m.entry[k] >= 0) d[k] = m.slope[k] * direction[static_cast<std::size_t>(m.entry[k])];
  if (m.sampling_entry >= 0) {
    m.fourier.set_direction(
        context,
        m.pattern.forward(m.s, direction.subspan(static_cast<std::size_t>(m.sampling_entry), m.groups())));
    m.fourier.weigh(context, active, x, m.y, out);
  } else {
    fill<T>(context, out, T(0));
  }
  m.table(context).mixed_forward(stream_of(context),
                                 {m.model(), active, data(x), d[0], m.value.alpha / m.value.nu * d[1], d[2],
                                  out.device_data(), norm2.device_data(), true});
}

template <class T>
int MriEnergy<T>::bound_sums() const {
  return tv_sums + (impl_->sampling_entry < 0 ? 0 : 1 + 2 * static_cast<int>(impl_->fourier.rows()));
}

template <class T>
void MriEnergy<T>::directional_sums(Context& context, const Active& active, View<const T> x, View<const T> q,
                                    View<const T> v, const BallInputs& ball, View<double> sums) const {
  EnergyViews<T>{*this}.directional(x, q, v, ball, sums);
  const Impl& m = *impl_;
  const TvConstants c = m.constants();
  const int n = m.shape().n;
  double* out = sums.device_data();
  m.table(context).bound(stream_of(context), {m.model(), active, data(x), data(q), v ? data(v) : nullptr,
                                              ball.epsilon.device_data(), ball.gradient.device_data(), c.mu,
                                              c.row_norm, c.norm2, out, n});
  if (m.sampling_entry < 0) return;
  copy<double>(context, ball.gradient, {out + tv_sums * n, {n, 1, 1, 1}});
  m.fourier.mixed(context, active, x, q, m.y, true,
                  {out + (tv_sums + 1) * n, {2 * static_cast<int>(m.fourier.rows()), n, 1, 1}});
}

/// The bounds of alpha, nu and xi are those of total variation. For the sampling, with R_j = sum_c |(E x -
/// y)_j|^2, Q_j = sum_c |(E q)_j|^2 and the norm |f|_P^2 = sum_j w_j sum_c |(E f)_j|^2 + xi |f|^2 <= <f, A
/// f>: what is bounded by a column norm of diag(dw) sqrt(R) times |E f| is also bounded by the one of
/// sqrt(R/(w + xi/power)) times |f|_P, and |f|_P <= sqrt(mu) times the bound on |f|, because both come from
/// A f = u with |u| <= mu |f|_bound. The smaller of the two, as a factor of |f|. Likewise |e|_P^2 <= <e, Abar
/// e>
/// <= |grad Phi(x~)| epsilon.
template <class T>
DirectionalBound MriEnergy<T>::directional(std::span<const double> sums, int image, double epsilon,
                                           double norm_q, double norm_v) const {
  require_sums(bound_sums(), shape().n, sums, image, "sums of the directional bounds");
  const Impl& m = *impl_;
  const auto n = static_cast<std::size_t>(m.shape().n), i = static_cast<std::size_t>(image);
  std::array<double, tv_sums> s{};
  for (std::size_t k = 0; k < s.size(); ++k) s[k] = sums[k * n + i];
  const double additions = 64 + static_cast<double>(m.shape().image()) / 1024;
  const double unit = std::numeric_limits<T>::epsilon() / 2 + additions * 0x1p-53 / 16;
  const TvConstants c = m.constants();
  const TvDirectional d = tv_directional(c, m.regulariser, m.value, s, epsilon, norm_q, norm_v, unit);
  const double slack = 1 + 64 * unit, power = std::sqrt(m.fourier.most_coil_power());
  DirectionalBound out;
  out.hessian_q = d.hessian_q;
  out.energy_q = d.energy_q;
  out.hessian_v = d.hessian_v;
  out.energy_v = d.energy_v;
  out.hessian_vq = d.hessian_vq;
  out.hessian_qe = d.hessian_qe;
  const auto push = [&](double norm, double lipschitz, double moved, double energy, double rounding) {
    out.norm_mixed.push_back(norm);
    out.mixed_lipschitz.push_back(lipschitz);
    out.mixed_q.push_back(moved);
    out.energy_mixed.push_back(energy);
    out.rounding.push_back(rounding);
  };
  // |<psi, K f>| <= |K| |psi| |f|, and <= |psi/sqrt W| times the energy norm, at most sqrt 2 times |f|'s
  // bound
  const double psi = std::min(std::sqrt(c.norm2 * s[7]), std::sqrt(2 * s[8]));
  const double bound_nu = m.regulariser.potential == TvPotential::huber_c2 ? 0.5 : 2 / (3 * std::sqrt(3.0));
  const double pixels = static_cast<double>(m.fourier.frequencies()) *
                        (m.stencil() == kernels::Stencil::gradient_separate ? 2 : 1);
  const std::array<double, 3> norms = {
      psi, m.value.alpha / m.value.nu * bound_nu * std::sqrt(c.norm2 * pixels), std::sqrt(s[9])};
  for (std::size_t j = 0; j < parameters();) {
    if (static_cast<int>(j) == m.sampling_entry) {
      const double gradient = sums[static_cast<std::size_t>(tv_sums) * n + i];
      const auto rows = sums.subspan(static_cast<std::size_t>(tv_sums + 1) * n);
      const std::vector<double> r2 = m.fourier.to_frequencies(rows, i),
                                q2 = m.fourier.to_frequencies(rows.subspan(m.fourier.rows() * n), i);
      const double share = m.value.xi / m.fourier.most_coil_power(), root = std::sqrt(c.mu);
      const double plain_r = m.pattern.norm_bound(m.s, r2), plain_q = m.pattern.norm_bound(m.s, q2);
      double norm_r = 0;
      for (double e : r2) norm_r += e;
      // rounding of E x - y and of E q, and |dw d| <= slope |d|
      const double transform = m.transform() * unit, slope = m.pattern.slope_bound(m.s);
      const double off_r = (transform + 4 * unit) * (std::sqrt(norm_r) + m.data_norm[i]),
                   off_q = transform * power * norm_q;
      push(slack * std::min(power * plain_r, root * m.pattern.norm_bound(m.s, r2, share)) +
               power * slope * off_r,
           m.fourier.most_coil_power() * slope,
           slack * std::min(epsilon * power * plain_q,
                            std::sqrt(gradient * epsilon) * m.pattern.norm_bound(m.s, q2, share)) +
               epsilon * power * slope * off_q,
           std::numeric_limits<double>::infinity(), (plain_r + slope * off_r) * off_q + plain_q * off_r);
      j += m.groups();
      continue;
    }
    for (std::size_t k = 0; k < 3; ++k)
      if (m.entry[k] == static_cast<int>(j))
        push(slack * norms[k] * m.slope[k], c.mixed_lipschitz[k] * m.slope[k], d.mixed_q[k] * m.slope[k],
             d.energy_mixed[k] * m.slope[k], d.rounding[k] * m.slope[k]);
    j += 1;
  }
  return out;
}

template <class T>
void MriEnergy<T>::zero_filled(Context& context, const Active& active, View<T> x) const {
  const Impl& m = *impl_;
  require_same(m.shape(), x.shape(), "zero-filled reconstruction");
  Frame frame(context);
  const View<T> zero = frame.view<T>(m.shape());
  const View<double> sums = frame.view<double>({m.fourier.coils(), 3, m.shape().n, 1});
  fill<T>(context, zero, T(0));
  m.fourier.gradient(context, active, zero, m.y, x, sums);
  kernel_table<T>(context).combine(stream_of(context), {active, m.shape().image(), x.device_data(), nullptr,
                                                        -1, 0, nullptr, nullptr, x.device_data()});
}

template <class T>
double MriEnergy<T>::alpha() const {
  return impl_->value.alpha;
}
template <class T>
double MriEnergy<T>::nu() const {
  return impl_->value.nu;
}
template <class T>
double MriEnergy<T>::xi() const {
  return impl_->value.xi;
}

template <class T>
std::vector<double> MriEnergy<T>::residual_powers(Context& context, View<const T> x) const {
  const Impl& m = *impl_;
  const int n = m.shape().n;
  Frame frame(context);
  ActiveSet all(context, frame, n);
  const View<double> sums = frame.view<double>({2 * static_cast<int>(m.fourier.rows()), n, 1, 1});
  m.fourier.mixed(context, all.active(), x, x, m.y, true, sums);
  const std::vector<double> rows = download(context, sums);
  std::vector<double> out(m.fourier.frequencies(), 0);
  for (std::size_t i = 0; i < static_cast<std::size_t>(n); ++i) {
    const std::vector<double> image = m.fourier.to_frequencies(rows, i);
    for (std::size_t j = 0; j < out.size(); ++j) out[j] += image[j];
  }
  return out;
}

template <class T>
double MriEnergy<T>::mean_stiffness(Context& context, View<const T> x) const {
  const Impl& m = *impl_;
  const Shape& s = m.shape();
  Frame frame(context);
  ActiveSet all(context, frame, s.n);
  const View<T> weights = frame.view<T>({s.n * weight_arrays(), s.c, s.h, s.w}), inverse = frame.view<T>(s);
  linearise(context, all.active(), x, {}, weights, inverse);
  double sum = 0;
  for (T e : download(context, inverse)) sum += 1 / static_cast<double>(e);
  double power = 1;
  if (m.fourier.has_maps()) {
    power = 0;
    for (T e : download(context, m.fourier.coil_power())) power += e / static_cast<double>(s.h) / s.w;
  }
  const double data = m.fourier.mean_weight() * power + m.value.xi;
  const kernels::Stencil k = m.stencil();
  const double diagonal = k == kernels::Stencil::identity ? 1 : k == kernels::Stencil::second ? 20 : 4;
  return std::max(0.0, sum / static_cast<double>(s.count()) - data) / diagonal;
}

template <class T>
double MriEnergy<T>::symbol(double laplacian) const {
  const kernels::Stencil k = impl_->stencil();
  return k == kernels::Stencil::identity ? 1
         : k == kernels::Stencil::second ? laplacian * laplacian
                                         : laplacian;
}

template class BILEVEL_API MriEnergy<float>;
template class BILEVEL_API MriEnergy<double>;

}  // namespace v0
}  // namespace bilevel
