#pragma once

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "bilevel/model/bilevel_problem.hpp"
#include "tests/oracle/linear_algebra.hpp"
#include "tests/support/numeric.hpp"
#include "tests/support/random.hpp"

namespace bilevel::testing_support {

/// Phi(x, theta) = 1/2 <x, a x> - <x, C theta + b> with a diagonal a: xhat = (C theta + b)/a, and the upper
/// loss is a dense quadratic in theta, whose Gauss-Newton matrix is its Hessian. One image, on the CPU.
class DenseQuadratic final : public Energy<double> {
 public:
  DenseQuadratic(std::vector<double> stiffness, oracle::Matrix c, std::vector<double> b)
      : a_(std::move(stiffness)), c_(std::move(c)), b_(std::move(b)), theta_(columns(), 0) {}

  [[gnu::noinline]] Shape shape() const override { return {1, 1, 1, static_cast<int>(a_.size())}; }
  std::size_t parameters() const override { return columns(); }
  void bind(std::span<const double> theta) override { theta_.assign(theta.begin(), theta.end()); }
  Curvature curvature() const override {
    const auto [low, high] = std::minmax_element(a_.begin(), a_.end());
    return {*low, *high, 0, std::vector<double>(columns(), 0)};
  }
  std::vector<double> load(std::span<const double> theta) const {
    std::vector<double> out = oracle::multiply(c_, {theta.begin(), theta.end()});
    for (std::size_t i = 0; i < out.size(); ++i) out[i] += b_[i];
    return out;
  }
  std::vector<double> minimiser(std::span<const double> theta) const {
    std::vector<double> x = load(theta);
    for (std::size_t i = 0; i < x.size(); ++i) x[i] /= a_[i];
    return x;
  }

  void value_and_gradient(Context&, const Active&, View<const double> x, View<double> gradient,
                          const GradientSums& sums) const override {
    const std::vector<double> f = load(theta_);
    double value = 0, norm2 = 0, rounding = 0;
    for (std::size_t i = 0; i < a_.size(); ++i) {
      const double v = x.device_data()[i], g = a_[i] * v - f[i];
      value += v * (0.5 * a_[i] * v - f[i]);
      norm2 += g * g;
      rounding += std::pow(4e-16 * (std::abs(a_[i] * v) + 10 * std::abs(f[i])), 2);
      gradient.device_data()[i] = g;
    }
    *sums.value.device_data() = value;
    *sums.norm2.device_data() = norm2;
    *sums.rounding.device_data() = std::sqrt(rounding);
  }
  int weight_arrays() const override { return 1; }
  int dual_arrays() const override { return 1; }
  void linearise(Context&, const Active&, View<const double>, View<const float>, View<double>,
                 View<double> inverse) const override {
    for (std::size_t i = 0; i < a_.size(); ++i) inverse.device_data()[i] = 1 / a_[i];
  }
  void hessian_product(Context&, const Active&, View<const double>, View<const double> p, View<double> out,
                       Scalars inner) const override {
    double sum = 0;
    for (std::size_t i = 0; i < a_.size(); ++i) {
      const double v = p.device_data()[i];
      sum += a_[i] * v * v;
      out.device_data()[i] = a_[i] * v;
    }
    if (inner) *inner.device_data() = sum;
  }
  void start_dual(Context&, const Active&, View<const double>, View<float>) const override {}
  void update_dual(Context&, const Active&, View<const double>, View<const double>, Scalars,
                   View<float>) const override {}
  int mixed_sums() const override { return static_cast<int>(columns()); }
  void mixed_adjoint(Context&, const Active&, View<const double>, View<const double> q,
                     View<double> sums) const override {
    for (std::size_t j = 0; j < columns(); ++j) {
      double sum = 0;
      for (std::size_t i = 0; i < a_.size(); ++i) sum -= c_(row(i), row(j)) * q.device_data()[i];
      sums.device_data()[j] = sum;
    }
  }
  std::vector<double> mixed(std::span<const double> sums) const override {
    return {sums.begin(), sums.end()};
  }
  void mixed_forward(Context&, const Active&, View<const double>, std::span<const double> direction,
                     View<double> out, Scalars norm2) const override {
    const std::vector<double> v = oracle::multiply(c_, {direction.begin(), direction.end()});
    for (std::size_t i = 0; i < v.size(); ++i) out.device_data()[i] = -v[i];
    *norm2.device_data() = dot(v, v);
  }
  int bound_sums() const override { return 1; }
  void directional_sums(Context&, const Active&, View<const double>, View<const double>, View<const double>,
                        const BallInputs&, View<double>) const override {}
  DirectionalBound directional(std::span<const double>, int, double, double norm_q, double) const override {
    DirectionalBound out;
    out.hessian_qe = 0;
    out.mixed_q.assign(columns(), 0);
    out.energy_mixed.assign(columns(), 0);
    out.mixed_lipschitz.assign(columns(), 0);
    for (std::size_t j = 0; j < columns(); ++j) {
      double norm2 = 0;
      for (std::size_t i = 0; i < a_.size(); ++i) norm2 += std::pow(c_(row(i), row(j)), 2);
      out.norm_mixed.push_back(std::sqrt(norm2));
      out.rounding.push_back(1e-15 * out.norm_mixed.back() * norm_q);
    }
    return out;
  }

 private:
  static int row(std::size_t i) { return static_cast<int>(i); }
  std::size_t columns() const { return static_cast<std::size_t>(c_.cols); }
  std::vector<double> a_;
  oracle::Matrix c_;
  std::vector<double> b_, theta_;
};

}  // namespace bilevel::testing_support
