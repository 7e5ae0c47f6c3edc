#pragma once

#include <array>

#include "bilevel/model/regularisers.hpp"
#include "device/backend.hpp"
#include "kernels/analysis_args.hpp"
#include "model/term.hpp"
#include "model/tv_constants.hpp"

namespace bilevel {
inline namespace v0 {

/// Total generalised variation of TgvOptions with both ridges, alone beside data on x.
template <class T>
class GeneralisedRegulariser final : public Regulariser<T> {
 public:
  /// `images`: the shape of x; the unknown has three channels for each of it.
  GeneralisedRegulariser(const TgvOptions& options, const Shape& images);

  void bind(Context&, const Parameters&, std::span<const double> theta) override;
  double ridge() const override { return number(kXi); }
  RegulariserConstants constants() const override;
  Convexity with(const Convexity& data) const override;
  UnderflowParts underflow() const override;
  double product_rounding() const override;
  std::string values() const override;
  void gradient(Context&, const Active&, View<const T> u, View<T> g, const GradientSums&,
                const GradientStart<T>&, const Roundoff&) const override;
  int weight_arrays() const override { return kernels::joint_weight_arrays(images_.c); }
  int dual_arrays() const override { return kernels::joint_dual_arrays; }
  void linearise(Context&, const Active&, View<const T> u, const float* dual, T* weights, T* inverse_diagonal,
                 const DiagonalStart<T>&) const override;
  void hessian(Context&, const Active&, const T* weights, View<const T> p, View<T> product, Scalars inner,
               const HessianStart<T>&) const override;
  void dual(Context&, const Active&, const T* u, const T* d, const double* step, float* dual) const override;
  std::vector<BlockConstant> blocks() const override;
  std::vector<std::size_t> block_ends() const override;
  int mixed_sums() const override { return 6; }
  void mixed_adjoint(Context&, const Active&, View<const T> u, View<const T> q, double* sums) const override;
  void mixed(const ImageSums& sums, std::span<double> z) const override;
  void mixed_forward(Context&, const Active&, View<const T> u, std::span<const double> direction, View<T> out,
                     Scalars norm2, bool add) const override;
  int bound_sums() const override { return 2 * kernels::analysis_bound_sums; }
  void bound(Context&, const Active&, View<const T> u, View<const T> q, View<const T> v,
             const BallInputs& ball, double mu, double* sums) const override;
  TermBound directional(const ImageSums& sums, const Ball& ball) const override;
  double diagonal() const override { return 4; }  ///< of x, as symbol
  double symbol(double laplacian) const override { return laplacian; }
  std::unique_ptr<Regulariser<float>> single(Context&) const override;

 private:
  enum : std::size_t { kAlpha1, kAlpha0, kNu, kXi, kXiV };
  /// Of D x - v, of E v: where their weight and ridge stand.
  struct Group {
    std::size_t alpha, ridge;
  };
  static constexpr std::array<Group, 2> groups{{{kAlpha1, kXi}, {kAlpha0, kXiV}}};

  double number(std::size_t k) const { return numbers_[k].value; }
  TvOptions potential() const;
  TvValues values_of(std::size_t group) const;
  TvConstants constants_of(std::size_t group) const;
  /// l times the squared norm of both operators, weighed, and that with rows.
  double steepest() const;
  kernels::AnalysisModel model() const;
  const kernels::AnalysisKernels<T>& table(Context& context) const;

  TgvOptions options_;
  Shape images_;
  std::array<Number, 5> numbers_{};
};

}  // namespace v0
}  // namespace bilevel
