#pragma once

#include <vector>

#include "bilevel/model/energy.hpp"
#include "bilevel/solve/report.hpp"
#include "tests/support/active_images.hpp"

namespace bilevel::testing_support {

/// Forwards to an energy and counts: calls, and applications to images that are active.
template <class T>
class CountingEnergy : public Energy<T> {
 public:
  /// `single` in place of the single precision of `inner`.
  explicit CountingEnergy(Energy<T>& inner, const Energy<float>* single = nullptr)
      : inner_(inner), single_(single ? single : inner.single_precision()) {}

  mutable Work work;                            ///< applications to active images
  mutable Work calls;                           ///< launches
  mutable std::uint64_t dual_updates = 0;       ///< applications of update_dual
  mutable std::uint64_t host_syncs = 0;         ///< of the counting itself
  mutable std::vector<std::uint64_t> products;  ///< Hessian products per image

  /// Not inlined: GCC 12 warns about array bounds where it guesses this body for another energy.
  [[gnu::noinline]] Shape shape() const override { return inner_.shape(); }
  std::size_t parameters() const override { return inner_.parameters(); }
  std::vector<std::size_t> blocks() const override { return inner_.blocks(); }
  void bind(std::span<const double> theta) override { inner_.bind(theta); }
  Curvature curvature() const override { return inner_.curvature(); }
  const Energy<float>* single_precision() const override { return single_; }
  const ProximalForm<T>* proximal() const override { return inner_.proximal() ? &split_ : nullptr; }
  void value_and_gradient(Context& c, const Active& a, View<const T> x, View<T> g,
                          const GradientSums& s) const override {
    work.gradients += active(c, a).size();
    calls.gradients += 1;
    inner_.value_and_gradient(c, a, x, g, s);
  }
  int weight_arrays() const override { return inner_.weight_arrays(); }
  int dual_arrays() const override { return inner_.dual_arrays(); }
  void linearise(Context& c, const Active& a, View<const T> x, View<const float> dual, View<T> w,
                 View<T> d) const override {
    work.other += active(c, a).size();
    calls.other += 1;
    inner_.linearise(c, a, x, dual, w, d);
  }
  void hessian_product(Context& c, const Active& a, View<const T> w, View<const T> p, View<T> out,
                       Scalars inner) const override {
    products.resize(static_cast<std::size_t>(shape().n));
    for (const int image : active(c, a)) {
      products[static_cast<std::size_t>(image)] += 1;
      work.hessian_products += 1;
    }
    calls.hessian_products += 1;
    inner_.hessian_product(c, a, w, p, out, inner);
  }
  void start_dual(Context& c, const Active& a, View<const T> x, View<float> dual) const override {
    inner_.start_dual(c, a, x, dual);
  }
  void update_dual(Context& c, const Active& a, View<const T> x, View<const T> d, Scalars step,
                   View<float> dual) const override {
    dual_updates += active(c, a).size();
    inner_.update_dual(c, a, x, d, step, dual);
  }
  int mixed_sums() const override { return inner_.mixed_sums(); }
  void mixed_adjoint(Context& c, const Active& a, View<const T> x, View<const T> q,
                     View<double> sums) const override {
    work.other += active(c, a).size();
    inner_.mixed_adjoint(c, a, x, q, sums);
  }
  std::vector<double> mixed(std::span<const double> sums) const override { return inner_.mixed(sums); }
  void mixed_forward(Context& c, const Active& a, View<const T> x, std::span<const double> direction,
                     View<T> out, Scalars norm2) const override {
    work.other += active(c, a).size();
    inner_.mixed_forward(c, a, x, direction, out, norm2);
  }
  int bound_sums() const override { return inner_.bound_sums(); }
  void directional_sums(Context& c, const Active& a, View<const T> x, View<const T> q, View<const T> v,
                        const BallInputs& ball, View<double> sums) const override {
    work.other += active(c, a).size();
    inner_.directional_sums(c, a, x, q, v, ball, sums);
  }
  DirectionalBound directional(std::span<const double> sums, int image, double epsilon, double norm_q,
                               double norm_v) const override {
    return inner_.directional(sums, image, epsilon, norm_q, norm_v);
  }

 private:
  std::vector<int> active(Context& c, const Active& a) const {
    const std::uint64_t before = c.counters().host_syncs;
    std::vector<int> images = active_images(c, a, shape().n);
    host_syncs += c.counters().host_syncs - before;
    return images;
  }
  /// A primal-dual step, counted where it moves x, is one other application.
  struct Split final : ProximalForm<T> {
    explicit Split(const CountingEnergy& e) : energy(e) {}
    ProximalConstants constants() const override { return energy.inner_.proximal()->constants(); }
    Shape dual_shape() const override { return energy.inner_.proximal()->dual_shape(); }
    void dual_step(Context& c, const Active& a, View<const T> x, double inverse_step,
                   View<T> w) const override {
      energy.inner_.proximal()->dual_step(c, a, x, inverse_step, w);
    }
    void primal_step(Context& c, const Active& a, View<const T> w, double tau, double theta, View<T> x,
                     View<T> extrapolated) const override {
      energy.work.other += energy.active(c, a).size();
      energy.inner_.proximal()->primal_step(c, a, w, tau, theta, x, extrapolated);
    }
    const CountingEnergy& energy;
  };

  Energy<T>& inner_;
  const Energy<float>* single_;
  const Split split_{*this};
};

}  // namespace bilevel::testing_support
