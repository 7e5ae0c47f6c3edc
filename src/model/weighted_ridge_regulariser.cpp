#include "model/weighted_ridge_regulariser.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "bilevel/core/error.hpp"
#include "kernels/loss_args.hpp"
#include "kernels/precision_args.hpp"
#include "model/added_term.hpp"

namespace bilevel {
inline namespace v0 {

template <class T>
WeightedRidge<T>::~WeightedRidge() = default;
template class BILEVEL_API WeightedRidge<float>;
template class BILEVEL_API WeightedRidge<double>;

template <class T>
WeightedRidgeRegulariser<T>::WeightedRidgeRegulariser(Context& context, const Shape& images,
                                                      std::string prefix)
    : images_(images), prefix_(std::move(prefix)), name_(prefix_ + "ridge_weight") {
  if (images.n != 1)
    throw ShapeError("a weighted ridge is of one image, not of " + std::to_string(images.n) + ".");
  weights_ = Tensor<T>(context, images);
  slope_squares_ = Tensor<T>(context, images);
  direction_ = Tensor<T>(context, images);
}

template <class T>
void WeightedRidgeRegulariser<T>::bind(Context& context, const Parameters& parameters,
                                       std::span<const double> theta) {
  const std::vector<double> values = parameters.values(name_, theta);
  if (values.size() != images_.image())
    throw ConfigError("'" + name_ + "' has " + std::to_string(values.size()) + " entries for " +
                      std::to_string(images_.image()) + " elements of the unknown.");
  for (double t : values)
    if (!(t >= 0) || !std::isfinite(t)) throw ConfigError("'" + name_ + "' must be finite and not negative.");
  first_ = parameters.entry(name_);
  std::vector<double> slopes(values.size(), 0);
  for (std::size_t e = 0; e < slopes.size() && learned(); ++e) {
    const std::size_t entry = static_cast<std::size_t>(first_) + e;
    slopes[e] = std::abs(transform_slope(parameters.learned(entry).transform, theta[entry]));
  }
  steepest_ = *std::max_element(slopes.begin(), slopes.end());
  const double most = std::max(steepest_, std::numeric_limits<double>::min());
  std::vector<T> squares;
  for (double s : slopes) squares.push_back(static_cast<T>((s / most) * (s / most)));
  weights_.upload(context, std::vector<T>(values.begin(), values.end()));
  slope_squares_.upload(context, squares);
  const double slack = std::numeric_limits<T>::epsilon();  // weights are kept in T
  least_ = *std::min_element(values.begin(), values.end()) * (1 - slack);
  largest_ = *std::max_element(values.begin(), values.end()) * (1 + slack);
  slopes_ = std::move(slopes);
}

template <class T>
std::string WeightedRidgeRegulariser<T>::values() const {
  return name_ + " between " + std::to_string(least_) + " and " + std::to_string(largest_);
}

template <class T>
void WeightedRidgeRegulariser<T>::multiply(Context& context, const Active& active, const T* weight,
                                           View<const T> x, View<T> out) const {
  kernel_table<T>(context).misfit_gradient(
      stream_of(context),
      {active, images_.image(), images_.image(), 1, x.device_data(), nullptr, weight, out.device_data()});
}

/// t x rounds twice where t is rounded to T.
template <class T>
void WeightedRidgeRegulariser<T>::gradient(Context& context, const Active& active, View<const T> x, View<T> g,
                                           const GradientSums& sums, const GradientStart<T>&,
                                           const Roundoff& roundoff) const {
  Frame frame(context);
  const View<T> term = frame.view<T>(images_);
  const auto row = [&] { return frame.view<double>({1, 1, 1, 1}); };
  const Scalars square = row(), value = row();
  const T* weights = weights_.view().device_data();
  multiply(context, active, weights, x, term);
  const std::size_t size = images_.image();
  kernel_table<T>(context).misfit(
      stream_of(context), {active, size, size, x.device_data(), nullptr, weights, square.device_data()});
  kernel_table<double>(context).combine(stream_of(context), {active, 1, square.device_data(), nullptr, 0.5, 0,
                                                             nullptr, nullptr, value.device_data()});
  add_gradient<T>(context, active, x, term, value, {0, 4, 0}, roundoff.unit, g, sums);
}

template <class T>
void WeightedRidgeRegulariser<T>::linearise(Context& context, const Active& active, View<const T>,
                                            const float*, T*, T* inverse_diagonal,
                                            const DiagonalStart<T>&) const {
  kernel_table<T>(context).add_diagonal(
      stream_of(context), {active, images_.image(), weights_.view().device_data(), inverse_diagonal});
}

template <class T>
void WeightedRidgeRegulariser<T>::hessian(Context& context, const Active& active, const T*, View<const T> p,
                                          View<T> product, Scalars inner, const HessianStart<T>&) const {
  Frame frame(context);
  const View<T> term = frame.view<T>(images_);
  multiply(context, active, weights_.view().device_data(), p, term);
  add_product<T>(context, active, p, term, product, inner);
}

/// B = diag(t'_e x_e).
template <class T>
std::vector<BlockConstant> WeightedRidgeRegulariser<T>::blocks() const {
  if (!learned()) return {};
  return {{static_cast<std::size_t>(first_), steepest_}};
}
template <class T>
std::vector<std::size_t> WeightedRidgeRegulariser<T>::block_ends() const {
  if (!learned()) return {};
  return {static_cast<std::size_t>(first_) + images_.image()};
}

template <class T>
void WeightedRidgeRegulariser<T>::mixed_adjoint(Context& context, const Active& active, View<const T> x,
                                                View<const T> q, double* sums) const {
  if (!learned()) return;
  if constexpr (sizeof(T) == sizeof(double)) {
    multiply(context, active, q.device_data(), x, {sums, images_});
  } else {
    Frame frame(context);
    const View<T> products = frame.view<T>(images_);
    multiply(context, active, q.device_data(), x, products);
    context.impl().scalar_table().widen(stream_of(context),
                                        {active, images_.image(), products.device_data(), false, sums});
  }
}
template <class T>
void WeightedRidgeRegulariser<T>::mixed(const ImageSums& sums, std::span<double> z) const {
  if (!learned()) return;
  for (std::size_t e = 0; e < slopes_.size(); ++e)
    z[static_cast<std::size_t>(first_) + e] = slopes_[e] * sums[e];
}

template <class T>
void WeightedRidgeRegulariser<T>::mixed_forward(Context& context, const Active& active, View<const T> x,
                                                std::span<const double> direction, View<T> out, Scalars norm2,
                                                bool add) const {
  Frame frame(context);
  const View<T> term = add ? frame.view<T>(images_) : out;
  std::vector<T> t(slopes_.begin(), slopes_.end());
  for (std::size_t e = 0; e < t.size(); ++e)
    t[e] = learned() ? static_cast<T>(slopes_[e] * direction[static_cast<std::size_t>(first_) + e]) : T(0);
  direction_.upload(context, t);
  multiply(context, active, direction_.view().device_data(), x, term);
  add_forward<T>(context, active, term, add, out, norm2);
}

template <class T>
void WeightedRidgeRegulariser<T>::bound(Context& context, const Active& active, View<const T> x,
                                        View<const T> q, View<const T>, const BallInputs&, double,
                                        double* sums) const {
  const auto weighted = [&](View<const T> v, double* to) {
    kernel_table<T>(context).misfit(stream_of(context),
                                    {active, images_.image(), images_.image(), v.device_data(), nullptr,
                                     slope_squares_.view().device_data(), to});
  };
  weighted(x, sums);
  weighted(q, sums + 1);
}

/// The Hessian does not change. |B_e| <= |(t'_e x_e)_e|; B^T q changes by t'_e (x - x~)_e q_e.
template <class T>
TermBound WeightedRidgeRegulariser<T>::directional(const ImageSums& sums, const Ball& ball) const {
  TermBound out;
  if (!learned()) return out;
  const double scale = steepest_ * (1 + 1e-6);
  const double columns = scale * std::sqrt(sums[0]), moved = scale * std::sqrt(sums[1]);
  out.blocks.push_back({static_cast<std::size_t>(first_), columns, steepest_, ball.epsilon * moved,
                        std::numeric_limits<double>::infinity(), 4 * ball.unit * columns * ball.norm_q});
  return out;
}

template <class T>
std::unique_ptr<Regulariser<float>> WeightedRidgeRegulariser<T>::single(Context& context) const {
  return std::make_unique<WeightedRidgeRegulariser<float>>(context, images_, prefix_);
}

template class WeightedRidgeRegulariser<float>;
template class WeightedRidgeRegulariser<double>;

}  // namespace v0
}  // namespace bilevel
