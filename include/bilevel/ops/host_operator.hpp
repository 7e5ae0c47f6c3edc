#pragma once

#include <functional>
#include <span>

#include "bilevel/ops/linear_operator.hpp"

namespace bilevel {
inline namespace v0 {

/// A linear operator of two functions of the host, for one image each: out of reach for no one, and slow on a
/// GPU, as every application takes the batch to the host and back and waits. check_operator() looks for
/// mistakes in functions and constants.
template <class T>
class BILEVEL_API HostOperator : public LinearOperator<T> {
 public:
  /// Reads one image (C H W numbers) and writes all of another.
  using Map = std::function<void(std::span<const T> from, std::span<T> to)>;
  /// See LinearOperator.
  struct Constants {
    double norm2 = 1, rounding = 0, least2 = 0;
  };

  /// Throws ConfigError for a function that is missing or constants that are negative or not finite,
  /// ShapeError when domain and range have other numbers of images.
  HostOperator(const Shape& domain, const Shape& range, Map apply, Map adjoint, const Constants& constants);

  Shape domain() const override { return domain_; }
  Shape range() const override { return range_; }
  void apply(Context&, const Active&, View<const T> x, View<T> z) const override;
  void adjoint(Context&, const Active&, View<const T> z, View<T> x) const override;
  double norm2() const override { return constants_.norm2; }
  double least2() const override { return constants_.least2; }
  double rounding() const override { return constants_.rounding; }

 private:
  static void run(Context&, const Active&, const Map& map, View<const T> from, View<T> to);

  Shape domain_, range_;
  Map apply_, adjoint_;
  Constants constants_;
};

}  // namespace v0
}  // namespace bilevel
