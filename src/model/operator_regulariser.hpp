#pragma once

#include <functional>
#include <memory>

#include "bilevel/ops/wavelet.hpp"
#include "model/analysis_regulariser.hpp"

namespace bilevel {
inline namespace v0 {

/// alpha sum_j rho_nu(|(K x)_j|) for any linear operator K, the modulus over the channels of an entry: the
/// regulariser without differences of K x. Carries no ridge, and comes after terms that are complete. The
/// diagonal of K^T M K stands in the preconditioner for wavelets (ops/wavelet_diagonal.hpp); that of other
/// operators is unknown and left out.
template <class T>
class OperatorRegulariser final : public Regulariser<T> {
 public:
  OperatorRegulariser(std::shared_ptr<const LinearOperator<T>> k, TvPotential potential, std::string prefix);
  // Those of the catalogue, which single() makes again.
  OperatorRegulariser(Context&, const Shape& images, const WaveletSparsity& options, std::string prefix);
  OperatorRegulariser(Context&, const Shape& images, const DirectionalTv& options, std::string prefix);

  void bind(Context& c, const Parameters& p, std::span<const double> theta) override {
    of_.bind(c, p, theta);
  }
  double ridge() const override { return 0; }
  RegulariserConstants constants() const override { return of_.constants(); }
  UnderflowParts underflow() const override;
  double product_rounding() const override;
  std::string values() const override { return of_.values(); }
  void gradient(Context&, const Active&, View<const T> x, View<T> g, const GradientSums&,
                const GradientStart<T>&, const Roundoff&) const override;
  int weight_arrays() const override { return copies_ * of_.weight_arrays(); }
  int dual_arrays() const override { return copies_ * of_.dual_arrays(); }
  void linearise(Context&, const Active&, View<const T> x, const float* dual, T* weights, T* inverse_diagonal,
                 const DiagonalStart<T>&) const override;
  void hessian(Context&, const Active&, const T* weights, View<const T> p, View<T> product, Scalars inner,
               const HessianStart<T>&) const override;
  void dual(Context&, const Active&, const T* x, const T* d, const double* step, float* dual) const override;
  std::vector<BlockConstant> blocks() const override { return of_.blocks(); }
  std::vector<std::size_t> block_ends() const override { return of_.block_ends(); }
  int mixed_sums() const override { return of_.mixed_sums(); }
  void mixed_adjoint(Context&, const Active&, View<const T> x, View<const T> q, double* sums) const override;
  void mixed(const ImageSums& sums, std::span<double> z) const override { of_.mixed(sums, z); }
  void mixed_forward(Context&, const Active&, View<const T> x, std::span<const double> direction, View<T> out,
                     Scalars norm2, bool add) const override;
  int bound_sums() const override { return of_.bound_sums(); }
  void bound(Context&, const Active&, View<const T> x, View<const T> q, View<const T> v,
             const BallInputs& ball, double mu, double* sums) const override;
  TermBound directional(const ImageSums& sums, const Ball& ball) const override {
    return of_.directional(sums, ball);
  }
  double diagonal() const override { return k_->norm2(); }
  double symbol(double) const override { return k_->norm2(); }
  std::unique_ptr<Regulariser<float>> single(Context&) const override;

 private:
  /// K x, in scratch of the frame.
  View<const T> transformed(Context&, Frame&, const Active&, View<const T> x) const;
  /// out += K^T f.
  void add_adjoint(Context&, Frame&, const Active&, View<const T> f, View<T> out) const;

  std::shared_ptr<const LinearOperator<T>> k_;
  const Wavelet<T>* transform_ = nullptr;                              // k_ where it is one of these
  std::function<std::unique_ptr<Regulariser<float>>(Context&)> twin_;  // empty: an operator of one's own
  AnalysisRegulariser<T> of_;                                          // of K x
  int copies_ = 1;  // arrays of the domain that hold one of the range
};

}  // namespace v0
}  // namespace bilevel
