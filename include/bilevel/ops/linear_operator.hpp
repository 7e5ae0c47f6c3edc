#pragma once

#include "bilevel/core/scalars.hpp"

namespace bilevel {
inline namespace v0 {

/// A linear map A between batches of images ([N,C,H,W]), the same for every image of a batch. Derive from it
/// to bring an operator of your own; check_operator() tells whether it keeps what is said here.
///
/// apply, adjoint and normal work on the active images and leave the results of the others as they are. They
/// only enqueue: no waits, no allocation but scratch of a Frame. Arrays that are read and written must not
/// overlap. Throw ShapeError for arrays of other shapes and ConfigError for those that are not of the
/// context.
template <class T>
class BILEVEL_API LinearOperator {
 public:
  LinearOperator() = default;
  virtual ~LinearOperator();

  virtual Shape domain() const = 0;  ///< of x
  virtual Shape range() const = 0;   ///< of A x, of as many images
  virtual void apply(Context&, const Active&, View<const T> x, View<T> z) const = 0;    ///< z = A x
  virtual void adjoint(Context&, const Active&, View<const T> z, View<T> x) const = 0;  ///< x = A^T z
  /// out = A^T A x. As it is here: both in turn, with scratch of the size of the range.
  virtual void normal(Context&, const Active&, View<const T> x, View<T> out) const;

  virtual double norm2() const = 0;            ///< >= |A|^2
  virtual double least2() const { return 0; }  ///< <= smallest eigenvalue of A^T A
  /// >= |A_p|^2 for the rows A_p of any one pixel of the range, all its channels.
  virtual double pixel_norm2() const { return norm2(); }
  /// Computed A x (A^T z) differ from the exact ones by at most rounding() u |x| (|z|) in Euclidean norm,
  /// image by image, u the unit roundoff of T, where nothing underflows; A^T A x then by at most
  /// 2 |A| rounding() u |x| to first order.
  virtual double rounding() const = 0;
  /// The same of A x alone.
  virtual double apply_rounding() const { return rounding(); }

 protected:
  LinearOperator(const LinearOperator&) = default;
  LinearOperator& operator=(const LinearOperator&) = default;
};

}  // namespace v0
}  // namespace bilevel
