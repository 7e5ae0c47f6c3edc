#pragma once

#include <memory>
#include <string>
#include <vector>

#include "bilevel/model/cross_entropy_term.hpp"
#include "model/classifier.hpp"
#include "model/term.hpp"

namespace bilevel {
inline namespace v0 {

/// CrossEntropyTerm in an energy. Carries no ridge, comes after terms that are complete, and is left out of
/// the preconditioner. Its weights are the probabilities at x; the samples' weights are one block of theta.
template <class T>
class CrossEntropyRegulariser final : public Regulariser<T> {
 public:
  /// Throws ShapeError unless the scores are of `images`, and what Classifier throws.
  CrossEntropyRegulariser(Context& context, const CrossEntropyTerm<T>& term, const Shape& images,
                          std::string prefix);

  void bind(Context&, const Parameters&, std::span<const double> theta) override;
  double ridge() const override { return 0; }
  RegulariserConstants constants() const override {
    return {of_.lipschitz(weights_), of_.hessian_lipschitz(weights_)};
  }
  UnderflowParts underflow() const override;
  double product_rounding() const override { return of_.product_rounding(weights_); }
  std::string values() const override;
  void gradient(Context&, const Active&, View<const T> x, View<T> g, const GradientSums&,
                const GradientStart<T>&, const Roundoff&) const override;
  int weight_arrays() const override { return copies_; }
  int dual_arrays() const override { return 0; }
  void linearise(Context&, const Active&, View<const T> x, const float* dual, T* weights, T* inverse_diagonal,
                 const DiagonalStart<T>&) const override;
  void hessian(Context&, const Active&, const T* weights, View<const T> p, View<T> product, Scalars inner,
               const HessianStart<T>&) const override;
  void dual(Context&, const Active&, const T*, const T*, const double*, float*) const override {}
  std::vector<BlockConstant> blocks() const override;
  std::vector<std::size_t> block_ends() const override;
  int mixed_sums() const override { return learned() ? of_.samples() : 0; }
  void mixed_adjoint(Context&, const Active&, View<const T> x, View<const T> q, double* sums) const override;
  void mixed(const ImageSums& sums, std::span<double> z) const override;
  void mixed_forward(Context&, const Active&, View<const T> x, std::span<const double> direction, View<T> out,
                     Scalars norm2, bool add) const override;
  /// sum_j t_j^2 |(A q)_j|^2, sum_j t'_j^2 |(A q)_j|^2, |A q|^2, |x|^2; t' = d t / d theta, both relative to
  /// the largest.
  int bound_sums() const override { return 4; }
  void bound(Context&, const Active&, View<const T> x, View<const T> q, View<const T> v, const BallInputs&,
             double, double* sums) const override;
  TermBound directional(const ImageSums& sums, const Ball& ball) const override;
  bool bounds_columns() const override { return learned(); }
  double diagonal() const override { return 1; }
  double symbol(double) const override { return 1; }
  std::unique_ptr<Regulariser<float>> single(Context&) const override;

 private:
  bool learned() const { return first_ >= 0; }

  Classifier<T> of_;
  std::string name_;  // of the samples' weights; empty: they are ones
  double factor_;
  int copies_;                           // arrays of the unknown that hold the probabilities
  std::vector<double> values_, slopes_;  // t, and t' where they are learned
  double steepest_ = 0;                  // factor max |t'|
  int first_ = -1;                       // entry of theta
  SampleWeights weights_;
  Tensor<double> device_weights_;
  Tensor<T> squares_, slope_squares_;  // t^2 and t'^2, so scaled, an image of the scores each
  mutable Tensor<double> direction_;   // of theta, in mixed_forward()
};

}  // namespace v0
}  // namespace bilevel
