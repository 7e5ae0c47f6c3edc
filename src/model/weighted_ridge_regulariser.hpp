#pragma once

#include <string>
#include <vector>

#include "bilevel/model/weighted_ridge.hpp"
#include "model/term.hpp"

namespace bilevel {
inline namespace v0 {

/// WeightedRidge in an energy; its weights are one block of theta. Comes after terms that are complete.
template <class T>
class WeightedRidgeRegulariser final : public Regulariser<T> {
 public:
  /// Throws ShapeError for several images.
  WeightedRidgeRegulariser(Context& context, const Shape& images, std::string prefix);

  void bind(Context&, const Parameters&, std::span<const double> theta) override;
  double ridge() const override { return 0; }
  RegulariserConstants constants() const override { return {largest_, 0}; }
  Convexity with(const Convexity& before) const override {
    return {before.mu + least_, before.lipschitz + largest_};
  }
  UnderflowParts underflow() const override { return {8 * (1 + largest_), 8 * (1 + largest_), 0}; }
  double product_rounding() const override { return 4 * largest_; }
  std::string values() const override;
  void gradient(Context&, const Active&, View<const T> x, View<T> g, const GradientSums&,
                const GradientStart<T>&, const Roundoff&) const override;
  int weight_arrays() const override { return 0; }
  int dual_arrays() const override { return 0; }
  void linearise(Context&, const Active&, View<const T> x, const float* dual, T* weights, T* inverse_diagonal,
                 const DiagonalStart<T>&) const override;
  void hessian(Context&, const Active&, const T* weights, View<const T> p, View<T> product, Scalars inner,
               const HessianStart<T>&) const override;
  void dual(Context&, const Active&, const T*, const T*, const double*, float*) const override {}
  std::vector<BlockConstant> blocks() const override;
  std::vector<std::size_t> block_ends() const override;
  int mixed_sums() const override { return learned() ? static_cast<int>(images_.image()) : 0; }
  void mixed_adjoint(Context&, const Active&, View<const T> x, View<const T> q, double* sums) const override;
  void mixed(const ImageSums& sums, std::span<double> z) const override;
  void mixed_forward(Context&, const Active&, View<const T> x, std::span<const double> direction, View<T> out,
                     Scalars norm2, bool add) const override;
  /// sum_e (t'_e x_e)^2, sum_e (t'_e q_e)^2, t' = d t / d theta relative to the largest.
  int bound_sums() const override { return 2; }
  void bound(Context&, const Active&, View<const T> x, View<const T> q, View<const T> v, const BallInputs&,
             double, double* sums) const override;
  TermBound directional(const ImageSums& sums, const Ball& ball) const override;
  bool bounds_columns() const override { return learned(); }
  double diagonal() const override { return 1; }
  double symbol(double) const override { return 1; }
  std::unique_ptr<Regulariser<float>> single(Context&) const override;

 private:
  bool learned() const { return first_ >= 0; }
  /// out = weight x, element by element.
  void multiply(Context&, const Active&, const T* weight, View<const T> x, View<T> out) const;

  Shape images_;
  std::string prefix_, name_;
  Tensor<T> weights_, slope_squares_;  // t, and t'^2 so scaled
  mutable Tensor<T> direction_;        // of theta, in mixed_forward()
  std::vector<double> slopes_;
  double least_ = 0, largest_ = 0, steepest_ = 0;
  int first_ = -1;
};

}  // namespace v0
}  // namespace bilevel
