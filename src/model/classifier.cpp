#include "model/classifier.hpp"

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "bilevel/core/error.hpp"
#include "device/backend.hpp"
#include "model/checks.hpp"

namespace bilevel {
inline namespace v0 {

template <class T>
Classifier<T>::Classifier(Context& context, std::shared_ptr<const LinearOperator<T>> a,
                          std::span<const int> labels)
    : a_(std::move(a)) {
  if (!a_) throw ConfigError("cross entropy needs an operator to scores, none is given.");
  require_count(static_cast<std::size_t>(samples()), labels.size(), "cross entropy (labels)");
  const int end = classes() == 1 ? 2 : classes();
  for (std::size_t j = 0; j < labels.size(); ++j)
    if (labels[j] < 0 || labels[j] >= end)
      throw ConfigError("label " + std::to_string(labels[j]) + " of sample " + std::to_string(j) +
                        " is out of range; with " + std::to_string(classes()) +
                        (classes() == 1 ? " score" : " scores") + " a sample it is 0 to " +
                        std::to_string(end - 1) + ".");
  labels_ = Tensor<std::int32_t>(context, {1, 1, 1, samples()},
                                 std::vector<std::int32_t>(labels.begin(), labels.end()));
}

template <class T>
SampleWeights Classifier<T>::equal_weights(double scale) const {
  return {nullptr, scale, scale, scale * std::sqrt(static_cast<double>(samples()))};
}

template <class T>
View<T> Classifier<T>::scores(Context& context, Frame& frame, const Active& active, View<const T> x) const {
  const View<T> s = frame.view<T>(a_->range());
  a_->apply(context, active, x, s);
  return s;
}

template <class T>
void Classifier<T>::gradient(Context& context, const Active& active, View<const T> x,
                             const SampleWeights& weights, View<T> out, double* value) const {
  Frame frame(context);
  const View<T> s = scores(context, frame, active, x);
  kernel_table<T>(context).score_gradient(
      stream_of(context), {of(active), s.device_data(), labels_.view().device_data(), weights.device,
                           weights.scale, s.device_data(), value});
  a_->adjoint(context, active, s, out);
}

template <class T>
void Classifier<T>::probabilities(Context& context, const Active& active, View<const T> x, T* out) const {
  Frame frame(context);
  kernel_table<T>(context).score_probability(
      stream_of(context), {of(active), scores(context, frame, active, x).device_data(), out});
}

template <class T>
void Classifier<T>::product(Context& context, const Active& active, const T* probabilities, View<const T> p,
                            const SampleWeights& weights, View<T> out) const {
  Frame frame(context);
  const View<T> m = scores(context, frame, active, p);
  kernel_table<T>(context).score_product(
      stream_of(context),
      {of(active), probabilities, weights.device, weights.scale, m.device_data(), m.device_data()});
  a_->adjoint(context, active, m, out);
}

template <class T>
void Classifier<T>::mixed(Context& context, const Active& active, View<const T> x, View<const T> q,
                          double scale, double* rows) const {
  Frame frame(context);
  const View<T> s = scores(context, frame, active, x), m = scores(context, frame, active, q);
  kernel_table<T>(context).score_mixed(
      stream_of(context),
      {of(active), x.shape().n, s.device_data(), labels_.view().device_data(), scale, m.device_data(), rows});
}

/// |(A(x) - A(x')) q| <= third sum_j t_j |A_j| |A_j (x - x')| |A_j q| along a unit direction each.
template <class T>
double Classifier<T>::hessian_lipschitz(const SampleWeights& w) const {
  return w.largest * third() * a_->norm2() * std::sqrt(a_->pixel_norm2());
}

// Scores are off by u rounding() |x| in norm, what is computed of exact ones by of_probabilities() u per
// sample, and A^T adds its own.
template <class T>
double Classifier<T>::reading(const SampleWeights& w) const {
  return std::sqrt(a_->norm2()) * curvature() * w.largest * a_->apply_rounding();
}
template <class T>
double Classifier<T>::still(const SampleWeights& w) const {
  return w.norm * (std::sqrt(a_->norm2()) * of_probabilities() + a_->rounding() * slope());
}
template <class T>
double Classifier<T>::value_reading(const SampleWeights& w) const {
  return w.norm * slope() * a_->apply_rounding();
}
template <class T>
double Classifier<T>::value_still(const SampleWeights& w) const {
  return w.norm * std::sqrt(static_cast<double>(samples())) * of_probabilities();
}
template <class T>
double Classifier<T>::product_rounding(const SampleWeights& w) const {
  const double norm = std::sqrt(a_->norm2());
  return w.largest * norm *
         (curvature() * (a_->apply_rounding() + a_->rounding()) + norm * (3 * of_probabilities() + 4));
}

template class Classifier<float>;
template class Classifier<double>;

}  // namespace v0
}  // namespace bilevel
