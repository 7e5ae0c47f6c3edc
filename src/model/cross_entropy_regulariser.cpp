#include "model/cross_entropy_regulariser.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "bilevel/core/error.hpp"
#include "core/norm.hpp"
#include "kernels/loss_args.hpp"
#include "model/added_term.hpp"

namespace bilevel {
inline namespace v0 {

template <class T>
CrossEntropyTerm<T>::~CrossEntropyTerm() = default;
template class BILEVEL_API CrossEntropyTerm<float>;
template class BILEVEL_API CrossEntropyTerm<double>;

namespace {

constexpr double unknown = std::numeric_limits<double>::infinity();

double largest(const std::vector<double>& v) {
  double most = 0;
  for (double e : v) most = std::max(most, std::abs(e));
  return most;
}

}  // namespace

template <class T>
CrossEntropyRegulariser<T>::CrossEntropyRegulariser(Context& context, const CrossEntropyTerm<T>& term,
                                                    const Shape& images, std::string prefix)
    : of_(context, term.scores(), term.labels()),
      name_(term.weighted() ? prefix + "sample_weight" : ""),
      factor_(term.factor()) {
  require_same(images, of_.shape(), "cross entropy (unknown of the energy and of the scores)");
  if (!(factor_ > 0) || !std::isfinite(factor_))
    throw ConfigError("the factor of a cross entropy must be a positive number.");
  const std::size_t scores = of_.a().range().image();
  copies_ = static_cast<int>((scores + images.image() - 1) / images.image());
  weights_ = of_.equal_weights(factor_);
  values_.assign(static_cast<std::size_t>(of_.samples()), 1);
  const Shape shared{1, of_.classes(), 1, of_.samples()}, row{1, 1, 1, of_.samples()};
  squares_ = Tensor<T>(context, shared, std::vector<T>(shared.count(), T(1)));
  if (name_.empty()) return;
  slope_squares_ = Tensor<T>(context, shared);
  device_weights_ = Tensor<double>(context, row);
  direction_ = Tensor<double>(context, row);
}

template <class T>
void CrossEntropyRegulariser<T>::bind(Context& context, const Parameters& parameters,
                                      std::span<const double> theta) {
  if (name_.empty()) return;
  std::vector<double> values = parameters.values(name_, theta);
  if (values.size() != values_.size())
    throw ConfigError("'" + name_ + "' has " + std::to_string(values.size()) + " entries for " +
                      std::to_string(values_.size()) + " samples.");
  for (double t : values)
    if (!(t >= 0) || !std::isfinite(t)) throw ConfigError("'" + name_ + "' must be finite and not negative.");
  first_ = parameters.entry(name_);
  std::vector<double> slopes(values.size(), 0);
  for (std::size_t j = 0; j < slopes.size() && first_ >= 0; ++j) {
    const std::size_t entry = static_cast<std::size_t>(first_) + j;
    slopes[j] = transform_slope(parameters.learned(entry).transform, theta[entry]);
  }
  // Relative to the largest, so that small ones are not lost in T all together.
  const auto squares = [&](const std::vector<double>& v) {
    const double most = std::max(largest(v), std::numeric_limits<double>::min());
    std::vector<T> out;
    for (int c = 0; c < of_.classes(); ++c)
      for (double e : v) out.push_back(static_cast<T>((e / most) * (e / most)));
    return out;
  };
  device_weights_.upload(context, values);
  squares_.upload(context, squares(values));
  slope_squares_.upload(context, squares(slopes));
  weights_ = {device_weights_.view().device_data(), factor_, factor_ * largest(values),
              factor_ * norm_of(values) * (1 + 1e-12)};
  steepest_ = factor_ * largest(slopes);
  values_ = std::move(values);
  slopes_ = std::move(slopes);
}

template <class T>
UnderflowParts CrossEntropyRegulariser<T>::underflow() const {
  const double entries = static_cast<double>(std::max(of_.shape().image(), of_.a().range().image()));
  const double power = 8 * (1 + of_.a().norm2()) * (1 + weights_.largest), times = of_.a().rounding() + 8;
  return {entries * times * power, times * power, 0};
}

template <class T>
std::string CrossEntropyRegulariser<T>::values() const {
  return "a cross entropy of " + std::to_string(of_.samples()) + " samples";
}

template <class T>
void CrossEntropyRegulariser<T>::gradient(Context& context, const Active& active, View<const T> x, View<T> g,
                                          const GradientSums& sums, const GradientStart<T>&,
                                          const Roundoff& roundoff) const {
  Frame frame(context);
  const View<T> term = frame.view<T>(of_.shape());
  const Scalars value = frame.view<double>({x.shape().n, 1, 1, 1});
  of_.gradient(context, active, x, weights_, term, value.device_data());
  add_gradient<T>(context, active, x, term, value, {of_.reading(weights_), 1, of_.still(weights_)},
                  roundoff.unit, g, sums);
}

template <class T>
void CrossEntropyRegulariser<T>::linearise(Context& context, const Active& active, View<const T> x,
                                           const float*, T* weights, T*, const DiagonalStart<T>&) const {
  of_.probabilities(context, active, x, weights);
}

template <class T>
void CrossEntropyRegulariser<T>::hessian(Context& context, const Active& active, const T* weights,
                                         View<const T> p, View<T> product, Scalars inner,
                                         const HessianStart<T>&) const {
  Frame frame(context);
  const View<T> term = frame.view<T>(of_.shape());
  of_.product(context, active, weights, p, weights_, term);
  add_product<T>(context, active, p, term, product, inner);
}

/// |(B(x) - B(x'))_b| <= curvature max |t'_j| |A_j (x - x')| |A|, the columns being t'_j A_j^T (d l_j / d s).
template <class T>
std::vector<BlockConstant> CrossEntropyRegulariser<T>::blocks() const {
  if (!learned()) return {};
  return {{static_cast<std::size_t>(first_),
           steepest_ * of_.curvature() * std::sqrt(of_.a().norm2()) * std::sqrt(of_.a().pixel_norm2())}};
}
template <class T>
std::vector<std::size_t> CrossEntropyRegulariser<T>::block_ends() const {
  if (!learned()) return {};
  return {static_cast<std::size_t>(first_ + of_.samples())};
}

template <class T>
void CrossEntropyRegulariser<T>::mixed_adjoint(Context& context, const Active& active, View<const T> x,
                                               View<const T> q, double* sums) const {
  if (learned()) of_.mixed(context, active, x, q, factor_, sums);
}
template <class T>
void CrossEntropyRegulariser<T>::mixed(const ImageSums& sums, std::span<double> z) const {
  if (!learned()) return;
  for (std::size_t j = 0; j < slopes_.size(); ++j)
    z[static_cast<std::size_t>(first_) + j] = slopes_[j] * sums[j];
}

template <class T>
void CrossEntropyRegulariser<T>::mixed_forward(Context& context, const Active& active, View<const T> x,
                                               std::span<const double> direction, View<T> out, Scalars norm2,
                                               bool add) const {
  Frame frame(context);
  const View<T> term = add ? frame.view<T>(of_.shape()) : out;
  if (learned()) {
    std::vector<double> t(slopes_);
    for (std::size_t j = 0; j < t.size(); ++j) t[j] *= direction[static_cast<std::size_t>(first_) + j];
    direction_.upload(context, t);
    const SampleWeights along{direction_.view().device_data(), factor_};
    of_.gradient(context, active, x, along, term, frame.view<double>({x.shape().n, 1, 1, 1}).device_data());
  } else {
    kernel_table<T>(context).combine(stream_of(context), {active, x.shape().image(), x.device_data(), nullptr,
                                                          0, 0, nullptr, nullptr, term.device_data()});
  }
  add_forward<T>(context, active, term, add, out, norm2);
}

template <class T>
void CrossEntropyRegulariser<T>::bound(Context& context, const Active& active, View<const T> x,
                                       View<const T> q, View<const T>, const BallInputs&, double,
                                       double* sums) const {
  Frame frame(context);
  const View<T> m = of_.scores(context, frame, active, q);
  const kernels::Table<T>& kernel = kernel_table<T>(context);
  const int n = x.shape().n;
  const std::size_t scores = m.shape().image();
  const auto weighted = [&](const Tensor<T>& weight, double* to) {
    kernel.misfit(stream_of(context),
                  {active, scores, scores, m.device_data(), nullptr, weight.view().device_data(), to});
  };
  weighted(squares_, sums);
  if (learned()) weighted(slope_squares_, sums + n);
  kernel.dot(stream_of(context), {active, scores, m.device_data(), m.device_data(), false, sums + 2 * n});
  kernel.dot(stream_of(context),
             {active, x.shape().image(), x.device_data(), x.device_data(), false, sums + 3 * n});
}

/// With a = max |A_j| and m = A q, |(A - A~) q| <= third |A| a epsilon |(t_j |m_j|)_j|; the computed scores
/// at x~ move A~ like a step of u rounding() |x| in all of them, and the probabilities add theirs. The energy
/// norm as for any term: sqrt 2 |u| / mu where mu |f| <= |u|; of e alone half of the change.
template <class T>
TermBound CrossEntropyRegulariser<T>::directional(const ImageSums& sums, const Ball& ball) const {
  const double inexact = 1 + 1e-6;  // rounding of the sums and of A q
  const double norm = std::sqrt(of_.a().norm2()), pixel = std::sqrt(of_.a().pixel_norm2());
  const double unit = of_.unit, reading = unit * of_.a().apply_rounding();
  const double noise = reading * ball.norm_q;  // of m
  const double weighted = weights_.largest * (std::sqrt(sums[0]) * inexact + noise);
  const double all = std::sqrt(sums[2]) * inexact + noise, x = std::sqrt(sums[3]) * inexact;
  TermBound out;
  const double shift = norm * (of_.third() * reading * x + 3 * unit * of_.of_probabilities());
  out.linearisation = shift * weighted;
  const double change = of_.third() * norm * pixel * ball.epsilon * weighted;
  const double along = constants().hessian_lipschitz * ball.epsilon;
  out.hessian_q = change + out.linearisation;
  out.energy_q = std::sqrt(2.0) * (1 + 1e-15) * out.hessian_q;
  out.hessian_v = (along + shift * weights_.largest * norm) * ball.norm_v;
  out.energy_v = unknown;
  out.hessian_vq = out.hessian_q * ball.norm_v;
  out.hessian_qe = (0.5 * change + out.linearisation) * ball.epsilon;
  if (!learned()) return out;
  const double slopes = steepest_ * (std::sqrt(sums[1]) * inexact + noise);
  out.blocks.push_back({static_cast<std::size_t>(first_), steepest_ * of_.slope() * norm,
                        blocks().front().lipschitz, of_.curvature() * pixel * ball.epsilon * slopes, unknown,
                        slopes * (of_.curvature() * reading * x + unit * of_.of_probabilities()) +
                            steepest_ * of_.slope() * noise + ball.unit * of_.slope() * steepest_ * all});
  return out;
}

template <class T>
std::unique_ptr<Regulariser<float>> CrossEntropyRegulariser<T>::single(Context&) const {
  throw ConfigError("a cross entropy is not kept in single precision; compute in double.");
}

template class CrossEntropyRegulariser<float>;
template class CrossEntropyRegulariser<double>;

}  // namespace v0
}  // namespace bilevel
