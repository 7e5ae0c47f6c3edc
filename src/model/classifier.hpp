#pragma once

// Samples that are classified by scores A x: what the loss cross_entropy() and the term CrossEntropyTerm have
// in common. u is the unit roundoff of T.

#include <cstdint>
#include <limits>
#include <memory>
#include <span>

#include "bilevel/core/tensor.hpp"
#include "bilevel/ops/linear_operator.hpp"
#include "kernels/scores_args.hpp"

namespace bilevel {
inline namespace v0 {

/// Weights of the samples, as kernels and bounds take them: scale t_j.
struct SampleWeights {
  const double* device = nullptr;  ///< t; null: ones
  double scale = 1;
  double largest = 1;  ///< scale max |t_j|
  double norm = 1;     ///< scale |t|
};

template <class T>
class Classifier {
 public:
  static constexpr double unit = static_cast<double>(std::numeric_limits<T>::epsilon()) / 2;

  /// Throws ConfigError without an operator and for labels out of range, ShapeError for another number of
  /// labels.
  Classifier(Context& context, std::shared_ptr<const LinearOperator<T>> a, std::span<const int> labels);

  const LinearOperator<T>& a() const { return *a_; }
  Shape shape() const { return a_->domain(); }
  int classes() const { return a_->range().c; }
  int samples() const { return a_->range().h * a_->range().w; }
  SampleWeights equal_weights(double scale) const;

  /// Norms of the Hessian of a sample's loss in its scores, of its derivative (at unit directions; the third
  /// cumulant of a distribution on the classes), and of its gradient. Largest over all scores.
  double curvature() const { return classes() == 1 ? 0.25 : 0.5; }
  double third() const { return classes() == 1 ? 0.09622504486493764 : 0.2721655269759087; }
  double slope() const { return classes() == 1 ? 1 : 1.4142135623730952; }

  /// A x in scratch of the frame.
  View<T> scores(Context& context, Frame& frame, const Active& active, View<const T> x) const;
  /// out = A^T (scale t_j d l_j / d s_j), value = scale sum_j t_j l_j.
  void gradient(Context& context, const Active& active, View<const T> x, const SampleWeights& weights,
                View<T> out, double* value) const;
  /// Probabilities at x, [N][classes][samples].
  void probabilities(Context& context, const Active& active, View<const T> x, T* out) const;
  /// out = A^T scale t_j H_j A p.
  void product(Context& context, const Active& active, const T* probabilities, View<const T> p,
               const SampleWeights& weights, View<T> out) const;
  /// rows [samples][N]: scale <d l_j / d s_j, (A q)_j>.
  void mixed(Context& context, const Active& active, View<const T> x, View<const T> q, double scale,
             double* rows) const;

  double lipschitz(const SampleWeights& w) const { return w.largest * curvature() * a_->norm2(); }
  double hessian_lipschitz(const SampleWeights& w) const;
  /// A computed gradient is off by at most u (reading |x| + still), a value by u (value_reading |x| +
  /// value_still + 4 |value|), a product by u product_rounding |p|.
  double reading(const SampleWeights& w) const;
  double still(const SampleWeights& w) const;
  double value_reading(const SampleWeights& w) const;
  double value_still(const SampleWeights& w) const;
  double product_rounding(const SampleWeights& w) const;
  /// Roundings of the probabilities of one sample with exact scores, in norm.
  double of_probabilities() const { return 2 * classes() + 12; }

 private:
  kernels::ScoreShape of(const Active& active) const { return {active, classes(), samples()}; }

  std::shared_ptr<const LinearOperator<T>> a_;
  Tensor<std::int32_t> labels_;
};

}  // namespace v0
}  // namespace bilevel
