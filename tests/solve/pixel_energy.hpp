#pragma once

#include "device/backend.hpp"
#include "tests/solve/solve_test_support.hpp"
#include "tests/support/active_images.hpp"

namespace bilevel::testing_support {

/// Phi_i(x) = sum_p f_p(x_p - c_{i,p}) computed by the host (operands are downloaded and results uploaded, so
/// that any device serves), with the minimiser c and constants that may be claimed wrongly.
///   quadratic: f_p(t) = lambda_p t^2 / 2
///   kinked:    f'(t) = 25 t for t < 1, t + 24 up to 2, 25 t - 24 beyond, the example of Lessard, Recht and
///   Packard
///              (2016, section 4.6), 1-strongly convex and 25-smooth, on which the heavy ball cycles from t
///              = 3.3.
template <class T>
class PixelEnergy final : public Energy<T> {
 public:
  PixelEnergy(Shape shape, Doubles lambda, std::vector<T> centre, Curvature claimed)
      : shape_(shape), lambda_(std::move(lambda)), centre_(std::move(centre)), claimed_(std::move(claimed)) {}

  /// Not inlined: GCC 12 warns about array bounds where it guesses this body for another energy.
  [[gnu::noinline]] Shape shape() const override { return shape_; }
  std::size_t parameters() const override { return 0; }
  void bind(std::span<const double>) override {}
  Curvature curvature() const override { return claimed_; }

  void value_and_gradient(Context& context, const Active& active, View<const T> x, View<T> gradient,
                          const GradientSums& sums) const override {
    const double unit = static_cast<double>(std::numeric_limits<T>::epsilon()) / 2;
    const std::vector<T> at = download(context, x);
    each(context, active, [&](int image, std::size_t first) {
      double value = 0, norm2 = 0, size2 = 0;
      std::vector<T> slopes;
      for (std::size_t p = 0; p < shape_.image(); ++p) {
        const T t = at[first + p] - centre_[first + p];
        const auto [f, slope] = potential(p, t);
        slopes.push_back(slope);
        value += f;
        norm2 += double(slope) * slope;
        size2 += double(t) * t + (lambda_.empty() ? 1 : 0);
      }
      put<T>(context, slopes, gradient.device_data() + first);
      put<double>(context, {value}, sums.value.device_data() + image);
      put<double>(context, {norm2}, sums.norm2.device_data() + image);
      put<double>(context, {unit * (lambda_.empty() ? 50 * std::sqrt(size2) : 3 * std::sqrt(norm2))},
                  sums.rounding.device_data() + image);
    });
  }

  int weight_arrays() const override { return 1; }
  int dual_arrays() const override { return 0; }
  void linearise(Context& context, const Active& active, View<const T> x, View<const float>, View<T> weights,
                 View<T> inverse_diagonal) const override {
    const std::vector<T> at = download(context, x);
    each(context, active, [&](int, std::size_t first) {
      std::vector<T> diagonal, inverse;
      for (std::size_t p = 0; p < shape_.image(); ++p) {
        const T t = at[first + p] - centre_[first + p];
        diagonal.push_back(lambda_.empty() ? T(t < 1 || t > 2 ? 25 : 1) : T(lambda_[p]));
        inverse.push_back(1 / diagonal.back());
      }
      put<T>(context, diagonal, weights.device_data() + first);
      put<T>(context, inverse, inverse_diagonal.device_data() + first);
    });
  }
  void hessian_product(Context& context, const Active& active, View<const T> weights, View<const T> p,
                       View<T> product, Scalars inner) const override {
    const std::vector<T> diagonal = download(context, weights), factor = download(context, p);
    each(context, active, [&](int image, std::size_t first) {
      double sum = 0;
      std::vector<T> products;
      for (std::size_t e = first; e < first + shape_.image(); ++e) {
        products.push_back(diagonal[e] * factor[e]);
        sum += double(products.back()) * factor[e];
      }
      put<T>(context, products, product.device_data() + first);
      put<double>(context, {sum}, inner.device_data() + image);
    });
  }
  void start_dual(Context&, const Active&, View<const T>, View<float>) const override {}
  void update_dual(Context&, const Active&, View<const T>, View<const T>, Scalars,
                   View<float>) const override {}
  int mixed_sums() const override { return 0; }
  void mixed_adjoint(Context&, const Active&, View<const T>, View<const T>, View<double>) const override {}
  Doubles mixed(std::span<const double>) const override { return {}; }
  void mixed_forward(Context&, const Active&, View<const T>, std::span<const double>, View<T>,
                     Scalars) const override {}
  int bound_sums() const override { return 0; }
  void directional_sums(Context&, const Active&, View<const T>, View<const T>, View<const T>,
                        const BallInputs&, View<double>) const override {}
  DirectionalBound directional(std::span<const double>, int, double, double, double) const override {
    return {};
  }

 private:
  std::pair<double, T> potential(std::size_t p, T t) const {
    if (!lambda_.empty()) return {0.5 * lambda_[p] * double(t) * t, T(lambda_[p]) * t};
    if (t < T(1)) return {12.5 * double(t) * t, 25 * t};
    if (t < T(2)) return {0.5 * double(t) * t + 24 * double(t) - 12, t + 24};
    return {12.5 * double(t) * t - 24 * double(t) + 36, 25 * t - 24};
  }
  /// f(image, first element) for every active image.
  template <class F>
  void each(Context& context, const Active& active, F f) const {
    for (const int image : active_images(context, active, shape_.n))
      f(image, static_cast<std::size_t>(image) * shape_.image());
  }
  template <class U>
  static void put(Context& context, const std::vector<U>& values, U* target) {
    upload<U>(context, values, View<U>(target, {1, 1, 1, static_cast<int>(values.size())}));
  }

  Shape shape_;
  Doubles lambda_;  // empty: kinked
  std::vector<T> centre_;
  Curvature claimed_;
};

/// mu, L and nothing else.
inline Curvature curvature_of(double mu, double lipschitz) { return {mu, lipschitz, 0, {}}; }

}  // namespace bilevel::testing_support
