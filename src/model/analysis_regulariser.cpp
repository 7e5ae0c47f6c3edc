#include "model/analysis_regulariser.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "bilevel/core/error.hpp"
#include "bilevel/model/named_option.hpp"
#include "model/directional.hpp"
#include "model/underflow.hpp"

namespace bilevel {
inline namespace v0 {

Parameters tv_parameters(const TvOptions& options) {
  const double alpha = options.differences == TvDifferences::none     ? 0.1
                       : options.differences == TvDifferences::second ? 0.02
                       : options.smoothed()                           ? 0.05
                                                                      : 1;
  std::vector<Segment> segments{{"alpha", Transform::exp, alpha, 1e-8, 1e3, true}};
  // Rounding of second differences, which is not relative to them, hides what a smaller nu would do.
  const double least = options.differences == TvDifferences::second ? 1e-4 : 1e-6;
  if (options.smoothed()) segments.push_back({"nu", Transform::exp, 0.01, least, 1e2, true});
  segments.push_back({"xi", Transform::exp, 1e-3, 1e-10, 1e2, false});
  return Parameters(segments);
}

namespace {

enum : std::size_t { kAlpha, kNu, kXi };

template <class T>
const T* data(View<const T> v) {
  return v.device_data();
}

}  // namespace

template <class T>
void complete(Context& context, const Active& active, const Shape& s, View<const T> x, View<T> g,
              const GradientSums& sums, const GradientStart<T>& start, const Roundoff& roundoff) {
  const kernels::AnalysisModel none{s.h, s.w, kernels::Potential::quadratic, kernels::Stencil::identity, 0, 1,
                                    0,   s.c};
  kernel_table<T>(context).analysis[static_cast<int>(none.stencil)].gradient(
      stream_of(context), gradient_args<T>(none, active, s.n, x, g, sums, start, roundoff));
}

template <class T>
AnalysisRegulariser<T>::AnalysisRegulariser(const TvOptions& options, const Shape& images, bool carries_ridge,
                                            std::string prefix)
    : options_(options),
      images_(images),
      carries_ridge_(carries_ridge),
      prefix_(std::move(prefix)),
      stencil_(stencil_of(options, images)) {
  require_options(options);
  if (options.xi_inside_alpha && !carries_ridge)
    throw ConfigError("xi inside alpha is for the first regulariser of a sum.");
}

template <class T>
AnalysisRegulariser<T>::AnalysisRegulariser(const TvOptions& options, const Shape& range, std::string prefix,
                                            const Before& k)
    : options_(options),
      images_(range),
      carries_ridge_(false),
      prefix_(std::move(prefix)),
      stencil_(stencil_of(options, range)),
      before_(k) {}

template <class T>
std::unique_ptr<AnalysisRegulariser<T>> AnalysisRegulariser<T>::ridge_alone(const Shape& images) {
  const TvOptions tikhonov{TvPotential::quadratic, true, false, TvDifferences::none};
  auto ridge = std::make_unique<AnalysisRegulariser<T>>(tikhonov, images, true, "");
  ridge->carries_weight_ = false;
  return ridge;
}

template <class T>
void AnalysisRegulariser<T>::bind(Context&, const Parameters& parameters, std::span<const double> theta) {
  std::array<Number, 3> numbers{};
  numbers[kNu].value = 1;
  const auto read = [&](std::size_t k, const std::string& name) {
    numbers[k] = weight_at(parameters, theta, name, k == kNu);
  };
  const std::string nu = prefix_ + "nu";
  if (carries_weight_) read(kAlpha, prefix_ + "alpha");
  if (options_.smoothed()) {
    read(kNu, nu);
    require_smoothing<T>(numbers[kNu].value, nu.c_str());
  } else if (carries_weight_ && has_segment(parameters, nu) && parameters.entry(nu) >= 0) {
    throw ConfigError("parameter '" + nu + "' has no effect with a quadratic potential; fix it.");
  }
  if (carries_ridge_) read(kXi, "xi");
  numbers_ = numbers;
  values_ = {numbers[kAlpha].value, numbers[kNu].value, numbers[kXi].value};
}

template <class T>
std::string AnalysisRegulariser<T>::values() const {
  if (!carries_weight_) return "xi " + option_text(values_.xi);
  std::string text = prefix_ + "alpha " + option_text(values_.alpha);
  if (options_.smoothed()) text += ", " + prefix_ + "nu " + option_text(values_.nu);
  if (carries_ridge_) text += ", xi " + option_text(values_.xi);
  return text;
}

template <class T>
kernels::AnalysisModel AnalysisRegulariser<T>::model() const {
  return {images_.h, images_.w,     static_cast<kernels::Potential>(options_.potential),
          stencil_,  values_.alpha, values_.nu,
          ridge(),   images_.c};
}

template <class T>
double AnalysisRegulariser<T>::ridge() const {
  return carries_ridge_ ? values_.ridge(options_) : 0;
}
template <class T>
TvConstants AnalysisRegulariser<T>::tv_constants() const {
  TvConstants c = bilevel::tv_constants(options_, images_, true, values_);
  const double norm = std::sqrt(before_.norm2);
  c.norm2 *= before_.norm2;
  c.row_norm *= norm;
  c.hessian_lipschitz *= before_.norm2 * norm;
  for (const std::size_t k : {kAlpha, kNu}) c.mixed_lipschitz[k] *= before_.norm2;
  c.reading += before_.rounding;
  return c;
}

template <class T>
RegulariserConstants AnalysisRegulariser<T>::constants() const {
  const TvConstants c = tv_constants();
  return {values_.alpha * c.curvature * c.norm2, c.hessian_lipschitz};
}

/// Products: the datum, xi x, and of the fluxes w z and alpha psi; |psi| enters flux_roundings |K| alpha
/// times, what rounding does to second differences |K| alpha l_1 times.
template <class T>
UnderflowParts AnalysisRegulariser<T>::underflow() const {
  const bool second = options_.differences == TvDifferences::second;
  const double bent = second ? values_.alpha * (1 + tv_constants().curvature) : values_.alpha;
  return {(second ? 32 : 8) * (1 + bent), (second ? 500 : 120) * bent};
}

template <class T>
void AnalysisRegulariser<T>::gradient(Context& context, const Active& active, View<const T> x, View<T> g,
                                      const GradientSums& sums, const GradientStart<T>& start,
                                      const Roundoff& roundoff) const {
  table(context).gradient(stream_of(context),
                          gradient_args<T>(model(), active, images_.n, x, g, sums, start, roundoff));
}

template <class T>
int AnalysisRegulariser<T>::weight_arrays() const {
  return kernels::weight_arrays(stencil_, images_.c);
}
template <class T>
int AnalysisRegulariser<T>::dual_arrays() const {
  return directions();
}

template <class T>
void AnalysisRegulariser<T>::linearise(Context& context, const Active& active, View<const T> x,
                                       const float* dual, T* weights, T* inverse_diagonal,
                                       const DiagonalStart<T>& start) const {
  table(context).linearise(stream_of(context), {model(), active, images_.n, data(x), dual, weights,
                                                inverse_diagonal, start.mean, start.map, start.before});
}

template <class T>
void AnalysisRegulariser<T>::hessian(Context& context, const Active& active, const T* weights,
                                     View<const T> p, View<T> product, Scalars inner,
                                     const HessianStart<T>& start) const {
  table(context).hessian(stream_of(context),
                         {model(), active, images_.n, weights, data(p), product.device_data(),
                          inner.device_data(), start.add, start.sampling});
}

template <class T>
void AnalysisRegulariser<T>::dual(Context& context, const Active& active, const T* x, const T* d,
                                  const double* step, float* dual) const {
  table(context).dual(stream_of(context), {model(), active, images_.n, x, d, step, dual});
}

template <class T>
std::vector<BlockConstant> AnalysisRegulariser<T>::blocks() const {
  const TvConstants c = tv_constants();
  std::vector<BlockConstant> out;
  for (std::size_t k = 0; k < 3; ++k)
    if (numbers_[k].entry >= 0)
      out.push_back({static_cast<std::size_t>(numbers_[k].entry), c.mixed_lipschitz[k] * numbers_[k].slope});
  return out;
}
template <class T>
std::vector<std::size_t> AnalysisRegulariser<T>::block_ends() const {
  std::vector<std::size_t> ends;
  for (const Number& n : numbers_)
    if (n.entry >= 0) ends.push_back(static_cast<std::size_t>(n.entry) + 1);
  return ends;
}

template <class T>
void AnalysisRegulariser<T>::mixed_adjoint(Context& context, const Active& active, View<const T> x,
                                           View<const T> q, double* sums) const {
  table(context).mixed_adjoint(
      stream_of(context), {model(), active, data(x), data(q), sums, sums + images_.n, sums + 2 * images_.n});
}

/// B_alpha^T q = S_w (+ xi <x,q> inside alpha), B_nu^T q = alpha/nu S_nu, B_xi^T q = <x,q> (alpha <x,q>
/// inside).
template <class T>
void AnalysisRegulariser<T>::mixed(const ImageSums& sums, std::span<double> z) const {
  const TvValues& v = values_;
  const bool inside = options_.xi_inside_alpha;
  const std::array<double, 3> column = {sums[0] + (inside ? v.xi * sums[2] : 0), v.alpha / v.nu * sums[1],
                                        (inside ? v.alpha : 1) * sums[2]};
  for (std::size_t k = 0; k < 3; ++k)
    if (numbers_[k].entry >= 0)
      z[static_cast<std::size_t>(numbers_[k].entry)] = numbers_[k].slope * column[k];
}

template <class T>
void AnalysisRegulariser<T>::mixed_forward(Context& context, const Active& active, View<const T> x,
                                           std::span<const double> direction, View<T> out, Scalars norm2,
                                           bool add) const {
  const TvValues& v = values_;
  const bool inside = options_.xi_inside_alpha;
  const double alpha = numbers_[kAlpha].forward(direction), xi = numbers_[kXi].forward(direction);
  table(context).mixed_forward(
      stream_of(context),
      {model(), active, data(x), alpha, v.alpha / v.nu * numbers_[kNu].forward(direction),
       inside ? v.xi * alpha + v.alpha * xi : xi, out.device_data(), norm2.device_data(), add});
}

template <class T>
void AnalysisRegulariser<T>::bound(Context& context, const Active& active, View<const T> x, View<const T> q,
                                   View<const T> v, const BallInputs& ball, double mu, double* sums) const {
  const TvConstants c = tv_constants();
  table(context).bound(stream_of(context),
                       {model(), active, data(x), data(q), v ? data(v) : nullptr, ball.epsilon.device_data(),
                        ball.gradient.device_data(), mu, c.row_norm, c.norm2, sums, images_.n});
}

template <class T>
TermBound AnalysisRegulariser<T>::directional(const ImageSums& sums, const Ball& ball) const {
  TvConstants c = tv_constants();
  c.mu = ball.mu;
  const double moduli =
      static_cast<double>(images_.h) * images_.w * (stencil_ == kernels::Stencil::gradient_separate ? 2 : 1);
  TermBound out = value_bounds(c, options_, values_, sums, ball, moduli);
  const std::vector<BlockBound> of_values = std::move(out.blocks);
  out.blocks.clear();
  for (std::size_t k = 0; k < 3; ++k)
    if (numbers_[k].entry >= 0) out.blocks.push_back(of_values[k].of(numbers_[k]));
  return out;
}

template <class T>
double AnalysisRegulariser<T>::diagonal() const {
  return stencil_ == kernels::Stencil::identity ? 1 : stencil_ == kernels::Stencil::second ? 20 : 4;
}
template <class T>
double AnalysisRegulariser<T>::symbol(double laplacian) const {
  return stencil_ == kernels::Stencil::identity ? 1
         : stencil_ == kernels::Stencil::second ? laplacian * laplacian
                                                : laplacian;
}

template <class T>
std::unique_ptr<Regulariser<float>> AnalysisRegulariser<T>::single(Context&) const {
  if (!carries_weight_) return AnalysisRegulariser<float>::ridge_alone(images_);
  return std::make_unique<AnalysisRegulariser<float>>(options_, images_, carries_ridge_, prefix_);
}

template class AnalysisRegulariser<float>;
template class AnalysisRegulariser<double>;
#define BILEVEL_INSTANTIATE(T)                                                                               \
  template void complete(Context&, const Active&, const Shape&, View<const T>, View<T>, const GradientSums&, \
                         const GradientStart<T>&, const Roundoff&);
BILEVEL_INSTANTIATE(float)
BILEVEL_INSTANTIATE(double)
#undef BILEVEL_INSTANTIATE

}  // namespace v0
}  // namespace bilevel
