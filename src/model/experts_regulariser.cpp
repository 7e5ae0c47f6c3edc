#include "model/experts_regulariser.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "bilevel/core/error.hpp"
#include "device/backend.hpp"
#include "model/analysis_regulariser.hpp"
#include "model/underflow.hpp"

namespace bilevel {
inline namespace v0 {
namespace {

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
ExpertsRegulariser<T>::ExpertsRegulariser(Context& context, const ExpertsOptions& options,
                                          const Shape& images, const Parameters& parameters,
                                          bool carries_ridge, std::string prefix)
    : options_(options),
      images_(images),
      parameters_(parameters),
      carries_ridge_(carries_ridge),
      prefix_(std::move(prefix)) {
  require_parameters(parameters);
  for (const Segment& s : parameters.segments())
    if (s.name == name(kTaps)) value_.size = s.shape[1];
  require_shape();
  for (std::size_t part = 0; part < 3; ++part) {
    const int first = parameters.entry(name(part));
    const std::size_t size = parameters.values(name(part), parameters.initial()).size();
    if (first >= 0) slope_[part].assign(size, 1);
    entry_[part] = static_cast<std::size_t>(std::max(first, 0));
    const Shape flat{1, 1, 1, static_cast<int>(size)};
    device_[part] = Tensor<T>(context, flat);
    direction_[part] = Tensor<T>(context, flat);
    if (part != kWeight) continue;
    rounding_psi_ = Tensor<double>(context, flat);
    rows_ = Tensor<double>(context, flat);
  }
}

template <class T>
std::string ExpertsRegulariser<T>::name(std::size_t part) const {
  constexpr std::array<const char*, 3> names = {"weight", "smoothing", "filters"};
  return prefix_ + names[part];
}
template <class T>
std::string ExpertsRegulariser<T>::values() const {
  return std::to_string(count()) + " filters" + (carries_ridge_ ? ", mu " + std::to_string(value_.mu) : "");
}

template <class T>
kernels::ExpertsModel<T> ExpertsRegulariser<T>::model() const {
  return {images_.h,
          images_.w,
          static_cast<int>(count()),
          value_.size,
          options_.padding == FilterPadding::valid ? kernels::Padding::valid : kernels::Padding::symmetric,
          static_cast<kernels::Potential>(options_.potential),
          static_cast<T>(value_.mu),
          device_[kTaps].view().device_data(),
          device_[kWeight].view().device_data(),
          device_[kSmoothing].view().device_data(),
          images_.c};
}

template <class T>
void ExpertsRegulariser<T>::require_parameters(const Parameters& parameters) const {
  const auto shape_of = [&](const std::string& name) -> const std::vector<int>& {
    for (const Segment& s : parameters.segments())
      if (s.name == name) return s.shape;
    throw ConfigError("a field of experts needs the parameter '" + name + "'.");
  };
  const std::vector<int>&w = shape_of(name(kWeight)), &s = shape_of(name(kSmoothing)),
        &f = shape_of(name(kTaps));
  if (carries_ridge_ && (!shape_of("mu").empty() || parameters.entry("mu") >= 0))
    throw ConfigError("mu of a field of experts is one fixed number.");
  if (w.size() != 1 || s.size() != 1 || f.size() != 3 || w[0] != s[0] || w[0] != f[0] || f[1] != f[2])
    throw ConfigError("a field of experts needs weight [K], smoothing [K] and filters [K,size,size].");
  if (has_segment(parameters, prefix_ + "alpha") && !shape_of(prefix_ + "alpha").empty())
    throw ConfigError("alpha of a field of experts is one number.");
  if (w[0] > kernels::most_filters)
    throw ConfigError(std::to_string(w[0]) + " filters: at most " + std::to_string(kernels::most_filters) +
                      " are possible.");
  if (f[1] < 3 || f[1] > kernels::largest_filter || f[1] % 2 == 0)
    throw ConfigError("filters of size " + std::to_string(f[1]) + ": use 3, 5, 7, 9 or 11.");
}

template <class T>
void ExpertsRegulariser<T>::require_shape() const {
  const Shape& s = images_;
  if (s.c < 1 || s.n < 1 || s.h < 1 || s.w < 1)
    throw ShapeError("a field of experts works on images [N,C,H,W], not on " + s.str() + ".");
  if (s.image() > static_cast<std::size_t>(std::numeric_limits<int>::max()))
    throw ShapeError("an image of shape " + s.str() + " has more than 2^31 pixels.");
  const bool valid = options_.padding == FilterPadding::valid;
  if (std::min(s.h, s.w) < (valid ? value_.size : value_.size / 2))
    throw ShapeError("images of shape " + s.str() + " are too small for filters of size " +
                     std::to_string(value_.size) + " with " + (valid ? "valid" : "symmetric") + " padding.");
}

template <class T>
ExpertsValues ExpertsRegulariser<T>::values_at(const Parameters& parameters,
                                               std::span<const double> theta) const {
  ExpertsValues v;
  v.weight = parameters.values(name(kWeight), theta);
  v.smoothing = parameters.values(name(kSmoothing), theta);
  v.filters = parameters.values(name(kTaps), theta);
  v.mu = carries_ridge_ ? parameters.value("mu", theta) : 0;
  v.size = value_.size;
  v.tap_error.assign(v.count(), 0);
  if (options_.zero_mean) {
    for (std::size_t k = 0; k < v.count(); ++k)
      v.tap_error[k] = mean_rounding(v.filter(k)) / (std::numeric_limits<T>::epsilon() / 2);
    remove_means(v.filters, v.taps());
  }
  const auto require = [](const std::vector<double>& values, const std::string& name, bool positive) {
    for (double e : values)
      if (!std::isfinite(e) || (positive && !(e > 0)))
        throw ConfigError("parameter '" + name + "' = " + std::to_string(e) +
                          " is outside the model's domain: it must be " +
                          (positive ? "positive and finite." : "finite."));
  };
  require(v.weight, name(kWeight), true);
  require(v.smoothing, name(kSmoothing), true);
  for (double nu : v.smoothing) require_smoothing<T>(nu, name(kSmoothing).c_str());
  require(v.filters, name(kTaps), false);
  if (!std::isfinite(v.mu) || v.mu < 0)
    throw ConfigError("parameter 'mu' = " + std::to_string(v.mu) + " must be finite and not negative.");
  return v;
}

template <class T>
void ExpertsRegulariser<T>::bind(Context& context, const Parameters& parameters,
                                 std::span<const double> theta) {
  Number overall{1};
  if (has_segment(parameters, prefix_ + "alpha")) overall = number_at(parameters, theta, prefix_ + "alpha");
  if (!(overall.value > 0) || !std::isfinite(overall.value))
    throw ConfigError("parameter '" + prefix_ + "alpha' = " + std::to_string(overall.value) +
                      " must be positive and finite.");
  ExpertsValues v = values_at(parameters, theta);
  for (double& b : v.weight) b *= overall.value;
  ExpertsConstants c = experts_constants(options_, v, images_.h, images_.w);
  if (!std::isfinite(c.norm2) || !std::isfinite(c.hessian_lipschitz) || !std::isfinite(c.rounding_x))
    throw ConfigError("the filters, weights and smoothings do not give finite constants.");
  for (std::size_t part = 0; part < 3; ++part)
    for (std::size_t j = 0; j < slope_[part].size(); ++j) {
      const std::size_t at = entry_[part] + j;
      slope_[part][j] = transform_slope(parameters.learned(at).transform, theta[at]);
      if (part == kWeight) slope_[part][j] *= overall.value;
    }
  overall_ = overall;
  value_ = std::move(v);
  constants_ = std::move(c);
  device_[kWeight].upload(context, in_precision<T>(value_.weight));
  device_[kSmoothing].upload(context, in_precision<T>(value_.smoothing));
  device_[kTaps].upload(context, in_precision<T>(value_.filters));
  rounding_psi_.upload(context, constants_.rounding_psi);
  rows_.upload(context, constants_.rows);
}

template <class T>
RegulariserConstants ExpertsRegulariser<T>::constants() const {
  const double curved = kernels::steepest(static_cast<kernels::Potential>(options_.potential), 1);
  return {curved * constants_.norm2, constants_.hessian_lipschitz};
}
template <class T>
UnderflowParts ExpertsRegulariser<T>::underflow() const {
  return {constants_.underflow_products, 0};
}

template <class T>
std::vector<std::size_t> ExpertsRegulariser<T>::block_ends() const {
  std::vector<std::size_t> ends;
  for (std::size_t part = 0; part < 3; ++part) {
    if (!learned(part)) continue;
    const std::size_t size = part == kTaps ? value_.taps() : 1;
    for (std::size_t k = 0; k < count(); ++k) ends.push_back(entry_[part] + (k + 1) * size);
  }
  if (overall_.entry >= 0) ends.push_back(static_cast<std::size_t>(overall_.entry) + 1);
  return ends;
}

template <class T>
std::vector<BlockConstant> ExpertsRegulariser<T>::blocks() const {
  const ExpertsConstants& c = constants_;
  std::vector<BlockConstant> out;
  for (std::size_t k = 0; k < count(); ++k) {
    if (learned(kWeight)) out.push_back({entry_[kWeight] + k, c.weight_lipschitz[k] * slope_[kWeight][k]});
    if (learned(kSmoothing))
      out.push_back({entry_[kSmoothing] + k, c.smoothing_lipschitz[k] * slope_[kSmoothing][k]});
    if (learned(kTaps))  // grows with x
      out.push_back({entry_[kTaps] + k * value_.taps(), std::numeric_limits<double>::infinity()});
  }
  if (overall_.entry >= 0)
    out.push_back({static_cast<std::size_t>(overall_.entry), constants().lipschitz * overall_slope()});
  return out;
}

template <class T>
void ExpertsRegulariser<T>::gradient(Context& context, const Active& active, View<const T> x, View<T> g,
                                     const GradientSums& sums, const GradientStart<T>& start,
                                     const Roundoff& roundoff) const {
  double underflow = roundoff.underflow;
  if (start.sums != nullptr) {  // data that the pass over the filters cannot take
    complete<T>(context, active, images_, x, g, sums, start, roundoff);
    underflow = 0;
  }
  kernel_table<T>(context).experts_energy(
      stream_of(context),
      {model(), active, x.device_data(), start.y, g.device_data(), sums.value.device_data(),
       sums.norm2.device_data(), sums.rounding.device_data(), roundoff.unit, constants_.rounding_x,
       rounding_psi_.view().device_data(), underflow, start.sampling});
}

template <class T>
void ExpertsRegulariser<T>::linearise(Context& context, const Active& active, View<const T> x,
                                      const float* dual, T* maps, T* inverse_diagonal,
                                      const DiagonalStart<T>& start) const {
  kernel_table<T>(context).experts_linearise(
      stream_of(context),
      {model(), active, x.device_data(), dual, maps, start.before ? nullptr : inverse_diagonal});
}

template <class T>
void ExpertsRegulariser<T>::hessian(Context& context, const Active& active, const T* maps, View<const T> p,
                                    View<T> product, Scalars inner, const HessianStart<T>& start) const {
  kernel_table<T>(context).experts_hessian(
      stream_of(context), {model(), active, maps, p.device_data(), product.device_data(), inner.device_data(),
                           start.add, start.sampling});
}

template <class T>
void ExpertsRegulariser<T>::dual(Context& context, const Active& active, const T* x, const T* d,
                                 const double* step, float* dual) const {
  kernel_table<T>(context).experts_dual(stream_of(context), {model(), active, x, d, step, dual});
}

template <class T>
int ExpertsRegulariser<T>::mixed_sums() const {
  return static_cast<int>((2 + value_.taps()) * count());
}

template <class T>
void ExpertsRegulariser<T>::mixed_adjoint(Context& context, const Active& active, View<const T> x,
                                          View<const T> q, double* sums) const {
  kernel_table<T>(context).experts_mixed_adjoint(
      stream_of(context), {model(), active, x.device_data(), q.device_data(), sums, images_.n});
}

template <class T>
void ExpertsRegulariser<T>::mixed(const ImageSums& sums, std::span<double> z) const {
  const std::size_t size = value_.taps();
  const auto sum = [&](std::size_t row, std::size_t k) { return sums[row * count() + k]; };
  for (std::size_t k = 0; k < count(); ++k) {
    const double b = value_.weight[k];
    if (learned(kWeight)) z[entry_[kWeight] + k] = slope_[kWeight][k] * sum(0, k);
    if (learned(kSmoothing))
      z[entry_[kSmoothing] + k] = slope_[kSmoothing][k] * b / value_.smoothing[k] * sum(1, k);
    if (!learned(kTaps)) continue;
    const std::span<double> filter = z.subspan(entry_[kTaps] + k * size, size);
    for (std::size_t j = 0; j < size; ++j) filter[j] = b * sum(2 + j, k);
    if (options_.zero_mean) remove_means(filter, size);
    for (std::size_t j = 0; j < size; ++j) filter[j] *= slope_[kTaps][k * size + j];
  }
  if (overall_.entry < 0) return;
  double all = 0;
  for (std::size_t k = 0; k < count(); ++k) all += value_.weight[k] * sum(0, k);
  z[static_cast<std::size_t>(overall_.entry)] = overall_slope() * all;
}

template <class T>
void ExpertsRegulariser<T>::mixed_forward(Context& context, const Active& active, View<const T> x,
                                          std::span<const double> direction, View<T> out, Scalars norm2,
                                          bool add) const {
  std::array<std::vector<double>, 3> d;
  for (std::size_t part = 0; part < 3; ++part) {
    d[part].assign(part == kTaps ? count() * value_.taps() : count(), 0);
    for (std::size_t j = 0; j < slope_[part].size(); ++j)
      d[part][j] = slope_[part][j] * direction[entry_[part] + j];
  }
  // The kernel multiplies by b and takes w_nu t, the derivative with respect to ln nu.
  for (std::size_t k = 0; k < count(); ++k) {
    d[kWeight][k] = d[kWeight][k] / value_.weight[k] + overall_.forward(direction) / overall_.value;
    d[kSmoothing][k] /= value_.smoothing[k];
  }
  if (options_.zero_mean) remove_means(d[kTaps], value_.taps());
  for (std::size_t part = 0; part < 3; ++part) direction_[part].upload(context, in_precision<T>(d[part]));
  const auto at = [&](std::size_t part) { return std::as_const(direction_[part]).view().device_data(); };
  kernel_table<T>(context).experts_mixed_forward(
      stream_of(context), {model(), active, x.device_data(), at(kTaps), at(kWeight), at(kSmoothing),
                           out.device_data(), norm2.device_data(), add});
}

template <class T>
int ExpertsRegulariser<T>::bound_sums() const {
  return kernels::experts_bound_sums * static_cast<int>(count());
}

template <class T>
void ExpertsRegulariser<T>::bound(Context& context, const Active& active, View<const T> x, View<const T> q,
                                  View<const T> v, const BallInputs& ball, double mu, double* sums) const {
  const kernels::Table<T>& kernel = kernel_table<T>(context);
  const kernels::Stream& stream = stream_of(context);
  Frame frame(context);
  const View<T> patches_x = frame.view<T>(images_), patches_q = frame.view<T>(images_);
  const kernels::ExpertsModel<T> m = model();
  const bool centred = options_.zero_mean;
  kernel.experts_patches(stream, {m, active, x.device_data(), centred, patches_x.device_data()});
  kernel.experts_patches(stream, {m, active, q.device_data(), centred, patches_q.device_data()});
  kernel.experts_bound(stream, {m, active, x.device_data(), q.device_data(), v ? v.device_data() : nullptr,
                                patches_x.device_data(), patches_q.device_data(), ball.epsilon.device_data(),
                                ball.gradient.device_data(), mu, constants_.norm2, rows_.view().device_data(),
                                sums, images_.n});
}

template <class T>
std::vector<ExpertsSums> ExpertsRegulariser<T>::sums_of(const ImageSums& sums) const {
  std::vector<ExpertsSums> out(count());
  for (std::size_t k = 0; k < count(); ++k) {
    const auto row = [&](std::size_t r) { return sums[r * count() + k]; };
    const auto root = [&](std::size_t r) { return std::sqrt(row(r)); };
    out[k] = {root(0), root(1), root(2),  root(3),  row(4),   root(5),  root(6),  root(7),
              root(8), row(9),  root(10), root(11), root(12), root(13), root(14), row(15),
              row(16), row(17), row(18),  row(19),  row(20),  row(21),  root(22)};
  }
  return out;
}

template <class T>
TermBound ExpertsRegulariser<T>::directional(const ImageSums& sums, const Ball& ball) const {
  const ExpertsDirectional d = experts_directional(constants_, options_, value_, sums_of(sums), ball.epsilon,
                                                   ball.norm_q, ball.norm_v, ball.unit);
  TermBound out{d.hessian_q, d.energy_q, d.hessian_v, d.energy_v, d.hessian_vq, d.hessian_qe, {}};
  const auto push = [&](std::size_t first, double slope, const ExpertsDirectional::Block& b) {
    out.blocks.push_back({first, slope * b.norm_mixed, slope * b.lipschitz, slope * b.mixed_q,
                          slope * b.energy_mixed, slope * b.rounding});
  };
  for (std::size_t k = 0; k < count(); ++k) {
    if (learned(kWeight)) push(entry_[kWeight] + k, slope_[kWeight][k], d.weight[k]);
    if (learned(kSmoothing)) push(entry_[kSmoothing] + k, slope_[kSmoothing][k], d.smoothing[k]);
    if (!learned(kTaps)) continue;
    const std::size_t first = k * value_.taps();
    const auto begin = slope_[kTaps].begin() + static_cast<std::ptrdiff_t>(first);
    push(entry_[kTaps] + first, *std::max_element(begin, begin + static_cast<std::ptrdiff_t>(value_.taps())),
         d.filters[k]);
  }
  if (overall_.entry >= 0) push(static_cast<std::size_t>(overall_.entry), overall_slope(), d.overall);
  return out;
}

/// sum_k |c_k|^2 times the mean of the maps, as inside an image.
template <class T>
double ExpertsRegulariser<T>::mean_left_out(Context& context, const T* maps) const {
  const int planes = images_.n * images_.c, all = planes * static_cast<int>(count());
  const std::vector<T> v = download(context, View<const T>(maps, {all, 1, images_.h, images_.w}));
  const bool valid = options_.padding == FilterPadding::valid;
  const int rows = images_.h - (valid ? value_.size - 1 : 0),
            columns = images_.w - (valid ? value_.size - 1 : 0);
  double sum = 0;
  for (std::size_t plane = 0; plane < static_cast<std::size_t>(all); ++plane) {
    double square = 0, of_map = 0;
    for (double tap : value_.filter(plane % count())) square += tap * tap;
    for (int r = 0; r < rows; ++r)
      for (int c = 0; c < columns; ++c)
        of_map += v[(plane * static_cast<std::size_t>(images_.h) + static_cast<std::size_t>(r)) *
                        static_cast<std::size_t>(images_.w) +
                    static_cast<std::size_t>(c)];
    sum += square * of_map;
  }
  return sum / (static_cast<double>(planes) * images_.h * images_.w);
}

template <class T>
double ExpertsRegulariser<T>::diagonal() const {
  double sum = 0;
  for (double tap : value_.filters) sum += tap * tap;
  return sum;
}
/// Of the Laplacian that the filters are likened to.
template <class T>
double ExpertsRegulariser<T>::symbol(double laplacian) const {
  return laplacian * diagonal() / 4;
}

template <class T>
std::unique_ptr<Regulariser<float>> ExpertsRegulariser<T>::single(Context& context) const {
  return std::make_unique<ExpertsRegulariser<float>>(context, options_, images_, parameters_, carries_ridge_,
                                                     prefix_);
}

template class ExpertsRegulariser<float>;
template class ExpertsRegulariser<double>;

}  // namespace v0
}  // namespace bilevel
