#include "bilevel/model/field_of_experts.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <utility>

#include "bilevel/core/error.hpp"
#include "device/backend.hpp"
#include "kernels/experts_args.hpp"
#include "kernels/precision_args.hpp"
#include "model/checks.hpp"
#include "model/experts_constants.hpp"
#include "model/underflow.hpp"

namespace bilevel {
inline namespace v0 {
namespace {

constexpr std::array<const char*, 3> names = {"weight", "smoothing", "filters"};
enum Part : std::size_t { weights = 0, smoothings = 1, taps = 2 };

/// Takes the mean of every filter out of a vector of taps.
void remove_means(std::span<double> filters, std::size_t taps) {
  for (std::size_t first = 0; first < filters.size(); first += taps) {
    double mean = 0;
    for (std::size_t j = 0; j < taps; ++j) mean += filters[first + j] / static_cast<double>(taps);
    for (std::size_t j = 0; j < taps; ++j) filters[first + j] -= mean;
  }
}

/// Bound on what rounding does to a tap when the mean is taken out: a sum of quotients and a difference.
double mean_rounding(std::span<const double> filter) {
  double largest = 0;
  for (double c : filter) largest = std::max(largest, std::abs(c));
  return (static_cast<double>(filter.size()) + 3) * 0x1p-53 * largest;
}

template <class T>
std::vector<T> in_precision(std::span<const double> values) {
  return {values.begin(), values.end()};
}

}  // namespace

template <class T>
struct FieldOfExperts<T>::Impl {
  Context& context;
  Parameters parameters;
  ExpertsOptions options;
  Shape shape;
  View<const T> y;
  ExpertsValues value{};
  ExpertsConstants constants{};
  std::array<std::vector<double>, 3> slope{};  // d value / d theta of every entry; empty when fixed
  std::array<std::size_t, 3> entry{};          // first entry of theta
  Tensor<T> taps{}, weight{}, smoothing{};     // on the device
  Tensor<T> direction_taps{}, direction_weight{}, direction_smoothing{};
  Tensor<double> rounding_psi{}, rows{};
  std::vector<double> bound{};  // theta
  static constexpr double unit_roundoff = static_cast<double>(std::numeric_limits<T>::epsilon()) / 2;
  double unit = unit_roundoff;  // of the bound on rounding
  Tensor<float> y_single{};     // data of the next
  std::unique_ptr<FieldOfExperts<float>> single{};

  std::size_t count() const { return value.count(); }
  std::size_t part_size(std::size_t part) const {
    return part == Part::taps ? count() * value.taps() : count();
  }
  bool learned(std::size_t part) const { return !slope[part].empty(); }

  kernels::ExpertsModel<T> model() {
    return {shape.h,
            shape.w,
            static_cast<int>(count()),
            value.size,
            options.padding == FilterPadding::valid ? kernels::Padding::valid : kernels::Padding::symmetric,
            static_cast<kernels::Potential>(options.potential),
            static_cast<T>(value.mu),
            taps.view().device_data(),
            weight.view().device_data(),
            smoothing.view().device_data()};
  }
  double underflow() const {
    return unit > 0 ? underflow_bound<T>(shape.image(), unit, constants.underflow_products, 0) : 0;
  }
  void require_parameters() const;
  void require_shape() const;
  /// Values at theta, filters with their mean removed where the model says so.
  ExpertsValues values_at(std::span<const double> theta) const;
  /// Sums of one image by the kernel experts_bound.
  std::vector<ExpertsSums> sums_of(std::span<const double> sums, int image) const;
};

template <class T>
void FieldOfExperts<T>::Impl::require_parameters() const {
  const auto shape_of = [&](const char* name) -> const std::vector<int>& {
    for (const Segment& s : parameters.segments())
      if (s.name == name) return s.shape;
    throw ConfigError(std::string("a field of experts needs the parameter '") + name + "'.");
  };
  const std::vector<int>&w = shape_of("weight"), &s = shape_of("smoothing"), &f = shape_of("filters");
  if (!shape_of("mu").empty() || parameters.entry("mu") >= 0)
    throw ConfigError("mu of a field of experts is one fixed number.");
  if (w.size() != 1 || s.size() != 1 || f.size() != 3 || w[0] != s[0] || w[0] != f[0] || f[1] != f[2])
    throw ConfigError("a field of experts needs weight [K], smoothing [K] and filters [K,size,size].");
  if (w[0] > kernels::most_filters)
    throw ConfigError(std::to_string(w[0]) + " filters: at most " + std::to_string(kernels::most_filters) +
                      " are possible.");
  if (f[1] < 3 || f[1] > kernels::largest_filter || f[1] % 2 == 0)
    throw ConfigError("filters of size " + std::to_string(f[1]) + ": use 3, 5, 7, 9 or 11.");
}

template <class T>
void FieldOfExperts<T>::Impl::require_shape() const {
  const Shape& s = shape;
  if (s.c != 1 || s.n < 1 || s.h < 1 || s.w < 1)
    throw ShapeError("a field of experts works on images [N,1,H,W], not on " + s.str() + ".");
  if (s.image() > static_cast<std::size_t>(std::numeric_limits<int>::max()))
    throw ShapeError("an image of shape " + s.str() + " has more than 2^31 pixels.");
  const bool valid = options.padding == FilterPadding::valid;
  if (std::min(s.h, s.w) < (valid ? value.size : value.size / 2))
    throw ShapeError("images of shape " + s.str() + " are too small for filters of size " +
                     std::to_string(value.size) + " with " + (valid ? "valid" : "symmetric") + " padding.");
}

template <class T>
ExpertsValues FieldOfExperts<T>::Impl::values_at(std::span<const double> theta) const {
  ExpertsValues v;
  v.weight = parameters.values("weight", theta);
  v.smoothing = parameters.values("smoothing", theta);
  v.filters = parameters.values("filters", theta);
  v.mu = parameters.value("mu", theta);
  v.size = value.size;
  v.tap_error.assign(v.count(), 0);
  if (options.zero_mean) {
    for (std::size_t k = 0; k < v.count(); ++k) v.tap_error[k] = mean_rounding(v.filter(k)) / unit_roundoff;
    remove_means(v.filters, v.taps());
  }
  const auto require = [](const std::vector<double>& values, const char* name, bool positive) {
    for (double e : values)
      if (!std::isfinite(e) || (positive && !(e > 0)))
        throw ConfigError(std::string("parameter '") + name + "' = " + std::to_string(e) +
                          " is outside the model's domain: it must be " +
                          (positive ? "positive and finite." : "finite."));
  };
  require(v.weight, "weight", true);
  require(v.smoothing, "smoothing", true);
  for (double nu : v.smoothing) require_smoothing<T>(nu, "smoothing");
  require(v.filters, "filters", false);
  if (!std::isfinite(v.mu) || v.mu < 0)
    throw ConfigError("parameter 'mu' = " + std::to_string(v.mu) + " must be finite and not negative.");
  return v;
}

template <class T>
FieldOfExperts<T>::FieldOfExperts(Context& context, View<const T> y, const Parameters& parameters,
                                  const ExpertsOptions& options)
    : impl_(new Impl{context, parameters, options, y.shape(), y}) {
  Impl& m = *impl_;
  m.require_parameters();
  for (const Segment& s : parameters.segments())
    if (s.name == "filters") m.value.size = s.shape[1];
  m.require_shape();
  require_view(m.shape, y, "field of experts (data)");
  for (std::size_t part = 0; part < 3; ++part) {
    const int first = parameters.entry(names[part]);
    const std::size_t size = parameters.values(names[part], parameters.initial()).size();
    if (first >= 0) m.slope[part].assign(size, 1);
    m.entry[part] = static_cast<std::size_t>(std::max(first, 0));
    const Shape flat{1, 1, 1, static_cast<int>(size)};
    (part == weights ? m.weight : part == smoothings ? m.smoothing : m.taps) = Tensor<T>(context, flat);
    (part == weights      ? m.direction_weight
     : part == smoothings ? m.direction_smoothing
                          : m.direction_taps) = Tensor<T>(context, flat);
    if (part == weights) {
      m.rounding_psi = Tensor<double>(context, flat);
      m.rows = Tensor<double>(context, flat);
    }
  }
  bind(parameters.initial());
}

template <class T>
FieldOfExperts<T>::~FieldOfExperts() = default;

template <class T>
Shape FieldOfExperts<T>::shape() const {
  return impl_->shape;
}
template <class T>
const Parameters* FieldOfExperts<T>::layout() const {
  return &impl_->parameters;
}
template <class T>
std::size_t FieldOfExperts<T>::parameters() const {
  return impl_->parameters.size();
}
template <class T>
int FieldOfExperts<T>::filters() const {
  return static_cast<int>(impl_->count());
}
template <class T>
int FieldOfExperts<T>::filter_size() const {
  return impl_->value.size;
}

template <class T>
std::vector<std::size_t> FieldOfExperts<T>::blocks() const {
  const Impl& m = *impl_;
  std::vector<std::size_t> ends;
  for (std::size_t part = 0; part < 3; ++part) {
    if (!m.learned(part)) continue;
    const std::size_t size = part == taps ? m.value.taps() : 1;
    for (std::size_t k = 0; k < m.count(); ++k) ends.push_back(m.entry[part] + (k + 1) * size);
  }
  std::sort(ends.begin(), ends.end());
  return ends;
}

template <class T>
void FieldOfExperts<T>::bind(std::span<const double> theta) {
  Impl& m = *impl_;
  if (theta.size() != parameters())
    throw ShapeError("theta has " + std::to_string(theta.size()) + " entries, the model " +
                     std::to_string(parameters()) + ".");
  ExpertsValues v = m.values_at(theta);
  ExpertsConstants c = experts_constants(m.options, v, m.shape.h, m.shape.w);
  if (!std::isfinite(c.lipschitz) || !std::isfinite(c.hessian_lipschitz) || !std::isfinite(c.rounding_x))
    throw ConfigError("the filters, weights and smoothings do not give finite constants.");
  for (std::size_t part = 0; part < 3; ++part)
    for (std::size_t j = 0; j < m.slope[part].size(); ++j) {
      const std::size_t at = m.entry[part] + j;
      m.slope[part][j] = transform_slope(m.parameters.learned(at).transform, theta[at]);
    }
  m.value = std::move(v);
  m.constants = std::move(c);
  m.weight.upload(m.context, in_precision<T>(m.value.weight));
  m.smoothing.upload(m.context, in_precision<T>(m.value.smoothing));
  m.taps.upload(m.context, in_precision<T>(m.value.filters));
  m.rounding_psi.upload(m.context, m.constants.rounding_psi);
  m.rows.upload(m.context, m.constants.rows);
  m.bound.assign(theta.begin(), theta.end());
  if (m.single) m.single->bind(theta);
}

template <class T>
void FieldOfExperts<T>::keep_single_precision(Context& context) requires std::same_as<T, double> {
  Impl& m = *impl_;
  Frame frame(context);
  ActiveSet all(context, frame, m.shape.n);
  m.y_single = Tensor<float>(context, m.shape);
  context.impl().scalar_table().narrow(stream_of(context), {all.active(), m.shape.image(), m.y.device_data(),
                                                            0, m.y_single.view().device_data()});
  m.single = std::make_unique<FieldOfExperts<float>>(context, std::as_const(m.y_single).view(), m.parameters,
                                                     m.options);
  m.single->impl_->unit = 0;
  m.single->bind(m.bound);
}

template <class T>
const Energy<float>* FieldOfExperts<T>::single_precision() const {
  return impl_->single.get();
}

template <class T>
Curvature FieldOfExperts<T>::curvature() const {
  const Impl& m = *impl_;
  const ExpertsConstants& c = m.constants;
  Curvature out{c.mu, c.lipschitz, c.hessian_lipschitz, {}};
  // Blocks in the order of theta.
  std::vector<std::pair<std::size_t, double>> blocks;
  for (std::size_t k = 0; k < m.count(); ++k) {
    if (m.learned(weights))
      blocks.emplace_back(m.entry[weights] + k, c.weight_lipschitz[k] * m.slope[weights][k]);
    if (m.learned(smoothings))
      blocks.emplace_back(m.entry[smoothings] + k, c.smoothing_lipschitz[k] * m.slope[smoothings][k]);
    if (m.learned(taps))  // grows with x
      blocks.emplace_back(m.entry[taps] + k * m.value.taps(), std::numeric_limits<double>::infinity());
  }
  std::sort(blocks.begin(), blocks.end());
  for (const auto& [entry, lipschitz] : blocks) out.mixed_lipschitz.push_back(lipschitz);
  return out;
}

template <class T>
void FieldOfExperts<T>::value_and_gradient(Context& context, const Active& active, View<const T> x,
                                           View<T> gradient, const GradientSums& sums) const {
  EnergyViews<T>{*this}.gradient(x, gradient, sums);
  Impl& m = *impl_;
  kernel_table<T>(context).experts_energy(
      stream_of(context),
      {m.model(), active, x.device_data(), m.y.device_data(), gradient.device_data(),
       sums.value.device_data(), sums.norm2.device_data(), sums.rounding.device_data(), m.unit,
       m.constants.rounding_x, m.rounding_psi.view().device_data(), m.underflow()});
}

template <class T>
int FieldOfExperts<T>::weight_arrays() const {
  return filters();
}
template <class T>
int FieldOfExperts<T>::dual_arrays() const {
  return filters();
}

template <class T>
void FieldOfExperts<T>::linearise(Context& context, const Active& active, View<const T> x,
                                  View<const float> dual, View<T> maps, View<T> inverse_diagonal) const {
  EnergyViews<T>{*this}.linearisation(x, dual, maps, inverse_diagonal);
  kernel_table<T>(context).experts_linearise(
      stream_of(context), {impl_->model(), active, x.device_data(), dual ? dual.device_data() : nullptr,
                           maps.device_data(), inverse_diagonal.device_data()});
}

template <class T>
void FieldOfExperts<T>::hessian_product(Context& context, const Active& active, View<const T> maps,
                                        View<const T> p, View<T> product, Scalars inner) const {
  EnergyViews<T>{*this}.product(maps, p, product, inner);
  kernel_table<T>(context).experts_hessian(
      stream_of(context), {impl_->model(), active, maps.device_data(), p.device_data(), product.device_data(),
                           inner.device_data()});
}

template <class T>
void FieldOfExperts<T>::start_dual(Context& context, const Active& active, View<const T> x,
                                   View<float> dual) const {
  require_view(shape(), x, "dual field (point)");
  EnergyViews<T>{*this}.dual_field(dual);
  kernel_table<T>(context).experts_dual(
      stream_of(context), {impl_->model(), active, x.device_data(), nullptr, nullptr, dual.device_data()});
}

template <class T>
void FieldOfExperts<T>::update_dual(Context& context, const Active& active, View<const T> x, View<const T> d,
                                    Scalars step, View<float> dual) const {
  EnergyViews<T>{*this}.dual_step(x, d, step, dual);
  kernel_table<T>(context).experts_dual(
      stream_of(context),
      {impl_->model(), active, x.device_data(), d.device_data(), step.device_data(), dual.device_data()});
}

template <class T>
int FieldOfExperts<T>::mixed_sums() const {
  return static_cast<int>((2 + impl_->value.taps()) * impl_->count());
}

template <class T>
void FieldOfExperts<T>::mixed_adjoint(Context& context, const Active& active, View<const T> x,
                                      View<const T> q, View<double> sums) const {
  EnergyViews<T>{*this}.mixed_adjoint(x, q, sums);
  kernel_table<T>(context).experts_mixed_adjoint(
      stream_of(context),
      {impl_->model(), active, x.device_data(), q.device_data(), sums.device_data(), impl_->shape.n});
}

template <class T>
std::vector<double> FieldOfExperts<T>::mixed(std::span<const double> sums) const {
  require_sums(mixed_sums(), shape().n, sums, 0, "sums of the mixed derivative");
  const Impl& m = *impl_;
  const auto n = static_cast<std::size_t>(m.shape.n);
  const std::size_t p = parameters(), count = m.count(), size = m.value.taps();
  std::vector<double> out(n * p);
  for (std::size_t i = 0; i < n; ++i) {
    double* z = out.data() + i * p;
    const auto sum = [&](std::size_t row, std::size_t k) { return sums[(row * count + k) * n + i]; };
    for (std::size_t k = 0; k < count; ++k) {
      const double b = m.value.weight[k];
      if (m.learned(weights)) z[m.entry[weights] + k] = m.slope[weights][k] * sum(0, k);
      if (m.learned(smoothings))
        z[m.entry[smoothings] + k] = m.slope[smoothings][k] * b / m.value.smoothing[k] * sum(1, k);
      if (!m.learned(taps)) continue;
      const std::span<double> filter(z + m.entry[taps] + k * size, size);
      for (std::size_t j = 0; j < size; ++j) filter[j] = b * sum(2 + j, k);
      if (m.options.zero_mean) remove_means(filter, size);
      for (std::size_t j = 0; j < size; ++j) filter[j] *= m.slope[taps][k * size + j];
    }
  }
  return out;
}

template <class T>
void FieldOfExperts<T>::mixed_forward(Context& context, const Active& active, View<const T> x,
                                      std::span<const double> direction, View<T> out, Scalars norm2) const {
  EnergyViews<T>{*this}.mixed_forward(x, direction, out, norm2);
  Impl& m = *impl_;
  std::array<std::vector<double>, 3> d;
  for (std::size_t part = 0; part < 3; ++part) {
    d[part].assign(m.part_size(part), 0);
    for (std::size_t j = 0; j < m.slope[part].size(); ++j)
      d[part][j] = m.slope[part][j] * direction[m.entry[part] + j];
  }
  // The kernel multiplies by b and takes w_nu t, the derivative with respect to ln nu.
  for (std::size_t k = 0; k < m.count(); ++k) {
    d[weights][k] /= m.value.weight[k];
    d[smoothings][k] /= m.value.smoothing[k];
  }
  if (m.options.zero_mean) remove_means(d[taps], m.value.taps());
  m.direction_weight.upload(context, in_precision<T>(d[weights]));
  m.direction_smoothing.upload(context, in_precision<T>(d[smoothings]));
  m.direction_taps.upload(context, in_precision<T>(d[taps]));
  kernel_table<T>(context).experts_mixed_forward(
      stream_of(context),
      {m.model(), active, x.device_data(), m.direction_taps.view().device_data(),
       m.direction_weight.view().device_data(), m.direction_smoothing.view().device_data(), out.device_data(),
       norm2.device_data()});
}

template <class T>
int FieldOfExperts<T>::bound_sums() const {
  return kernels::experts_bound_sums * filters();
}

template <class T>
void FieldOfExperts<T>::directional_sums(Context& context, const Active& active, View<const T> x,
                                         View<const T> q, View<const T> v, const BallInputs& ball,
                                         View<double> sums) const {
  EnergyViews<T>{*this}.directional(x, q, v, ball, sums);
  Impl& m = *impl_;
  const kernels::Table<T>& kernel = kernel_table<T>(context);
  const kernels::Stream& stream = stream_of(context);
  Frame frame(context);
  const View<T> patches_x = frame.view<T>(m.shape), patches_q = frame.view<T>(m.shape);
  const kernels::ExpertsModel<T> model = m.model();
  const bool centred = m.options.zero_mean;
  kernel.experts_patches(stream, {model, active, x.device_data(), centred, patches_x.device_data()});
  kernel.experts_patches(stream, {model, active, q.device_data(), centred, patches_q.device_data()});
  kernel.experts_bound(
      stream, {model, active, x.device_data(), q.device_data(), v ? v.device_data() : nullptr,
               patches_x.device_data(), patches_q.device_data(), ball.epsilon.device_data(),
               ball.gradient.device_data(), m.constants.mu, m.constants.norm2, m.rows.view().device_data(),
               sums.device_data(), m.shape.n});
}

template <class T>
std::vector<ExpertsSums> FieldOfExperts<T>::Impl::sums_of(std::span<const double> sums, int image) const {
  const auto n = static_cast<std::size_t>(shape.n);
  std::vector<ExpertsSums> out(count());
  for (std::size_t k = 0; k < count(); ++k) {
    const auto row = [&](std::size_t r) {
      return sums[(r * count() + k) * n + static_cast<std::size_t>(image)];
    };
    const auto root = [&](std::size_t r) { return std::sqrt(row(r)); };
    out[k] = {root(0), root(1), root(2),  root(3),  row(4),   root(5),  root(6),  root(7),
              root(8), row(9),  root(10), root(11), root(12), root(13), root(14), row(15),
              row(16), row(17), row(18),  row(19),  row(20),  row(21),  root(22)};
  }
  return out;
}

template <class T>
DirectionalBound FieldOfExperts<T>::directional(std::span<const double> sums, int image, double epsilon,
                                                double norm_q, double norm_v) const {
  require_sums(bound_sums(), shape().n, sums, image, "sums of the directional bounds");
  const Impl& m = *impl_;
  const double additions = 64 + static_cast<double>(m.shape.image()) / 1024;
  const double unit = std::numeric_limits<T>::epsilon() / 2 + additions * 0x1p-53 / 16;
  const ExpertsDirectional d = experts_directional(m.constants, m.options, m.value, m.sums_of(sums, image),
                                                   epsilon, norm_q, norm_v, unit);
  struct Entry {
    std::size_t at;
    double slope;
    const ExpertsDirectional::Block* block;
  };
  std::vector<Entry> blocks;
  for (std::size_t k = 0; k < m.count(); ++k) {
    if (m.learned(weights)) blocks.push_back({m.entry[weights] + k, m.slope[weights][k], &d.weight[k]});
    if (m.learned(smoothings))
      blocks.push_back({m.entry[smoothings] + k, m.slope[smoothings][k], &d.smoothing[k]});
    if (!m.learned(taps)) continue;
    const std::size_t first = k * m.value.taps();
    const auto begin = m.slope[taps].begin() + static_cast<std::ptrdiff_t>(first);
    const double steepest = *std::max_element(begin, begin + static_cast<std::ptrdiff_t>(m.value.taps()));
    blocks.push_back({m.entry[taps] + first, steepest, &d.filters[k]});
  }
  std::sort(blocks.begin(), blocks.end(), [](const Entry& a, const Entry& b) { return a.at < b.at; });
  DirectionalBound out;
  out.hessian_q = d.hessian_q;
  out.energy_q = d.energy_q;
  out.hessian_v = d.hessian_v;
  out.energy_v = d.energy_v;
  out.hessian_vq = d.hessian_vq;
  out.hessian_qe = d.hessian_qe;
  for (const Entry& e : blocks) {
    out.mixed_q.push_back(e.slope * e.block->mixed_q);
    out.energy_mixed.push_back(e.slope * e.block->energy_mixed);
    out.rounding.push_back(e.slope * e.block->rounding);
    out.norm_mixed.push_back(e.slope * e.block->norm_mixed);
    out.mixed_lipschitz.push_back(e.slope * e.block->lipschitz);
  }
  return out;
}

template class BILEVEL_API FieldOfExperts<float>;
template class BILEVEL_API FieldOfExperts<double>;

}  // namespace v0
}  // namespace bilevel
