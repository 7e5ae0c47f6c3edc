#pragma once

#include "device/backend.hpp"
#include "tests/solve/solve_test_support.hpp"

namespace bilevel::testing_support {

/// Phi_i(x) = sum_p f_p(x_p - c_{i,p}) on the CPU, with the minimiser c and constants that may be claimed
/// wrongly.
///   quadratic: f_p(t) = lambda_p t^2 / 2
///   kinked:    f'(t) = 25 t for t < 1, t + 24 up to 2, 25 t - 24 beyond, the example of Lessard, Recht and
///   Packard
///              (2016, section 4.6), 1-strongly convex and 25-smooth, on which the heavy ball cycles from t
///              = 3.3.
template <class T>
class PixelEnergy final : public Energy<T> {
 public:
  PixelEnergy(Context& context, Shape shape, Doubles lambda, const std::vector<T>& centre, Curvature claimed)
      : shape_(shape),
        lambda_(std::move(lambda)),
        centre_(context, shape, centre),
        claimed_(std::move(claimed)) {}

  Shape shape() const override { return shape_; }
  std::size_t parameters() const override { return 0; }
  void bind(std::span<const double>) override {}
  Curvature curvature() const override { return claimed_; }

  void value_and_gradient(Context& context, const Active& active, View<const T> x, View<T> gradient,
                          const GradientSums& sums) const override {
    const double unit = static_cast<double>(std::numeric_limits<T>::epsilon()) / 2;
    each(context, active, [&](int image, std::size_t first) {
      double value = 0, norm2 = 0, size2 = 0;
      for (std::size_t p = 0; p < shape_.image(); ++p) {
        const T t = x.device_data()[first + p] - centre_.view().device_data()[first + p];
        const auto [f, slope] = potential(p, t);
        gradient.device_data()[first + p] = slope;
        value += f;
        norm2 += double(slope) * slope;
        size2 += double(t) * t + (lambda_.empty() ? 1 : 0);
      }
      sums.value.device_data()[image] = value;
      sums.norm2.device_data()[image] = norm2;
      sums.rounding.device_data()[image] =
          unit * (lambda_.empty() ? 50 * std::sqrt(size2) : 3 * std::sqrt(norm2));
    });
  }

  int weight_arrays() const override { return 1; }
  int dual_arrays() const override { return 0; }
  void linearise(Context& context, const Active& active, View<const T> x, View<const float>, View<T> weights,
                 View<T> inverse_diagonal) const override {
    each(context, active, [&](int, std::size_t first) {
      for (std::size_t p = 0; p < shape_.image(); ++p) {
        const T t = x.device_data()[first + p] - centre_.view().device_data()[first + p];
        weights.device_data()[first + p] = lambda_.empty() ? T(t < 1 || t > 2 ? 25 : 1) : T(lambda_[p]);
        inverse_diagonal.device_data()[first + p] = 1 / weights.device_data()[first + p];
      }
    });
  }
  void hessian_product(Context& context, const Active& active, View<const T> weights, View<const T> p,
                       View<T> product, Scalars inner) const override {
    each(context, active, [&](int image, std::size_t first) {
      double sum = 0;
      for (std::size_t e = first; e < first + shape_.image(); ++e) {
        product.device_data()[e] = weights.device_data()[e] * p.device_data()[e];
        sum += double(product.device_data()[e]) * p.device_data()[e];
      }
      inner.device_data()[image] = sum;
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
  int local_sums() const override { return 0; }
  void enqueue_local(Context&, const Active&, View<const T>, Scalars, View<double>) const override {}
  LocalCurvature local(std::span<const double>, int) const override { return {}; }

 private:
  std::pair<double, T> potential(std::size_t p, T t) const {
    if (!lambda_.empty()) return {0.5 * lambda_[p] * double(t) * t, T(lambda_[p]) * t};
    if (t < T(1)) return {12.5 * double(t) * t, 25 * t};
    if (t < T(2)) return {0.5 * double(t) * t + 24 * double(t) - 12, t + 24};
    return {12.5 * double(t) * t - 24 * double(t) + 36, 25 * t - 24};
  }
  /// f(image, first element) for every active image, as one launch.
  template <class F>
  void each(Context& context, const Active& active, F f) const {
    const kernels::LaunchScope scope(stream_of(context));
    for (int slot = 0; slot < active.count; ++slot) {
      const int image = active.index[slot];
      if (active.mask[image]) f(image, static_cast<std::size_t>(image) * shape_.image());
    }
  }

  Shape shape_;
  Doubles lambda_;  // empty: kinked
  Tensor<T> centre_;
  Curvature claimed_;
};

/// mu, L and nothing else.
inline Curvature curvature_of(double mu, double lipschitz) { return {mu, lipschitz, 0, {}}; }

}  // namespace bilevel::testing_support
