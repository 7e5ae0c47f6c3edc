#pragma once

#include <functional>
#include <memory>
#include <span>

#include "bilevel/ops/linear_operator.hpp"

namespace bilevel {
inline namespace v0 {

/// Writes rows [first, first + count) of a matrix, row-major, to all of `out`; the same numbers in every
/// call.
template <class T>
using RowReader = std::function<void(int first, int count, std::span<T> out)>;

/// A dense matrix A of M rows and D columns, applied to K vectors of each image at once: x [N,1,K,D] to
/// z [N,K,1,M], z_k = A x_k. So A may hold M samples with D features, and x a row of weights for each of K
/// classes, to scores with the classes in channels. Products by CBLAS or cuBLAS; 2 M D K flops and one pass
/// over A for each image.
///
/// norm2() is (|(A^T A)^32|_F)^(1/32) or the same of A A^T, whichever is smaller, rounded up: at most
/// min(M,D)^(1/64) too large. apply_rounding() is (D + 3) |A|_F, rounding() takes the larger of M and D.
///
/// A matrix that is larger than the memory of the device stays with the host: its rows are read and uploaded
/// a block at a time in every product, which is a pass over A by the host too. Sums over rows are in parts of
/// 1024 rows, so that the size of the blocks changes no bit.
template <class T>
class BILEVEL_API DenseOperator final : public LinearOperator<T> {
 public:
  /// `a` row-major, M times D = columns numbers, kept in T on the device and uploaded once (in single
  /// precision twice, some rows at a time the second time). Allocates and waits; 2 M D min(M,D) flops, and
  /// 2 min(M,D)^3 five times. Throws ShapeError when `a` has another count or sizes are not positive,
  /// ConfigError for numbers that are not finite.
  DenseOperator(Context& context, int images, int vectors, int rows, int columns, std::span<const double> a);
  /// Keeps `read` and `block_rows` rows, rounded up to a multiple of 1024, on the device and on the host.
  /// Reads all rows once and waits; 2 M D^2 flops, and 2 D^3 five times: for M > D. In norm2() A^T A whatever
  /// the shape, in rounding() M + 3 M/1024 + 1024 in place of M. Throws as above, ConfigError without a
  /// reader and for blocks without rows.
  DenseOperator(Context& context, int images, int vectors, int rows, int columns, RowReader<T> read,
                int block_rows);
  ~DenseOperator() override;

  Shape domain() const override;
  Shape range() const override;
  void apply(Context&, const Active&, View<const T> x, View<T> z) const override;
  void adjoint(Context&, const Active&, View<const T> z, View<T> x) const override;
  double norm2() const override;
  /// Certified by a Cholesky factorisation of A^T A - s I that runs to its end (Rump 2006), s from bisection
  /// to 1 %; computed when first asked for, D^3/3 flops about ten times. 0 where M < D.
  double least2() const override;
  double pixel_norm2() const override;  ///< of the longest row
  double rounding() const override;
  double apply_rounding() const override;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace v0
}  // namespace bilevel
