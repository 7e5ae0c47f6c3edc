#pragma once

#include <memory>

#include "bilevel/model/term.hpp"
#include "model/term.hpp"

namespace bilevel {
inline namespace v0 {

/// A term from outside as a part of an energy. Carries no ridge, comes after terms that are complete, and
/// knows no bound but those of its constants (the theorem's form). Its weights are the point itself; it is
/// left out of the preconditioner.
template <class T>
class OwnRegulariser final : public Regulariser<T> {
 public:
  /// Throws ShapeError unless the term is of these images.
  OwnRegulariser(std::shared_ptr<Term<T>> term, const Shape& images, std::string prefix);

  void bind(Context&, const Parameters&, std::span<const double> theta) override;
  double ridge() const override { return 0; }
  RegulariserConstants constants() const override;
  UnderflowParts underflow() const override;
  double product_rounding() const override { return constants_.product_rounding; }
  std::string values() const override;
  void gradient(Context&, const Active&, View<const T> x, View<T> g, const GradientSums&,
                const GradientStart<T>&, const Roundoff&) const override;
  int weight_arrays() const override { return 1; }
  int dual_arrays() const override { return 0; }
  void linearise(Context&, const Active&, View<const T> x, const float* dual, T* weights, T* inverse_diagonal,
                 const DiagonalStart<T>&) const override;
  void hessian(Context&, const Active&, const T* weights, View<const T> p, View<T> product, Scalars inner,
               const HessianStart<T>&) const override;
  void dual(Context&, const Active&, const T*, const T*, const double*, float*) const override {}
  std::vector<BlockConstant> blocks() const override;
  std::vector<std::size_t> block_ends() const override;
  int mixed_sums() const override { return static_cast<int>(numbers_.size()); }
  void mixed_adjoint(Context&, const Active&, View<const T> x, View<const T> q, double* sums) const override;
  void mixed(const ImageSums& sums, std::span<double> z) const override;
  void mixed_forward(Context&, const Active&, View<const T> x, std::span<const double> direction, View<T> out,
                     Scalars norm2, bool add) const override;
  int bound_sums() const override { return 0; }
  void bound(Context&, const Active&, View<const T>, View<const T>, View<const T>, const BallInputs&, double,
             double*) const override {}
  TermBound directional(const ImageSums& sums, const Ball& ball) const override;
  bool bounds_columns() const override { return many_; }
  bool knows_columns() const override;
  double diagonal() const override { return 1; }
  double symbol(double) const override { return 1; }
  std::unique_ptr<Regulariser<float>> single(Context&) const override;

 private:
  std::shared_ptr<Term<T>> term_;
  Shape images_;
  std::string prefix_;
  std::vector<Number> numbers_;  // of all values
  TermConstants constants_;
  bool many_ = false;  // entries of theta: columns of B are bounded
};

}  // namespace v0
}  // namespace bilevel
