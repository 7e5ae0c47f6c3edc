#pragma once

#include <memory>
#include <vector>

#include "model/term.hpp"

namespace bilevel {
inline namespace v0 {

/// A data term on x, the first third of the channels of an unknown (x, v1, v2). Of pointwise data it is what
/// they are; for others x is copied out and what is made of it back.
template <class T>
class ImageChannels final : public DataTerm<T> {
 public:
  explicit ImageChannels(std::unique_ptr<DataTerm<T>> data) : data_(std::move(data)) {}

  Shape shape() const override;
  void bind(Context& context, const Parameters& p, std::span<const double> theta) override {
    data_->bind(context, p, theta);
  }
  double mu() const override { return data_->mu(); }
  double lipschitz() const override { return data_->lipschitz(); }
  double product_rounding() const override { return data_->product_rounding(); }
  UnderflowParts underflow(double unit) const override { return data_->underflow(unit); }
  bool pointwise() const override { return data_->pointwise(); }
  const DataTerm<T>& inner() const override { return *data_; }

  GradientStart<T> gradient(Context&, Frame&, const Active&, View<const T> u, View<T> out) const override;
  HessianStart<T> hessian(Context&, const Active&, View<const T> p, View<T> product) const override;
  DiagonalStart<T> diagonal() const override { return data_->diagonal(); }

  std::vector<BlockConstant> blocks() const override { return data_->blocks(); }
  std::vector<std::size_t> block_ends() const override { return data_->block_ends(); }
  int mixed_sums() const override { return data_->mixed_sums(); }
  void mixed_adjoint(Context&, const Active&, View<const T> u, View<const T> q, double* sums) const override;
  void mixed(const ImageSums& sums, std::span<double> z) const override { data_->mixed(sums, z); }
  bool mixed_forward(Context&, const Active&, View<const T> u, std::span<const double> direction,
                     View<T> out) const override;
  int bound_sums() const override { return data_->bound_sums(); }
  void bound(Context&, const Active&, View<const T> u, View<const T> q, const BallInputs& ball,
             double* sums) const override;
  std::vector<BlockBound> directional(const ImageSums& sums, const Ball& ball, double ridge) const override {
    return data_->directional(sums, ball, ridge);
  }
  bool bounds_columns() const override { return data_->bounds_columns(); }
  std::unique_ptr<DataTerm<float>> single(Context& context) const override;

 private:
  /// x of u, in scratch of the frame.
  View<const T> image(Context&, Frame&, const Active&, View<const T> u) const;
  /// x of u = from.
  void put(Context&, const Active&, View<const T> from, View<T> u) const;

  std::unique_ptr<DataTerm<T>> data_;
};

}  // namespace v0
}  // namespace bilevel
