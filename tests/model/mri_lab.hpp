#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "bilevel/core/device.hpp"
#include "bilevel/core/scalars.hpp"
#include "bilevel/core/tensor.hpp"
#include "tests/support/mri_setup.hpp"

namespace bilevel::testing_support {

/// A ComposedEnergy of Fourier data on its own device with memory for its batch; arrays cross as vectors of
/// double.
template <class T>
class MriLab {
 public:
  explicit MriLab(const MriProblem& problem, const std::string& device = test_device("cpu:2"))
      : MriLab(problem, parameters_of(problem), device) {
    energy_.bind(problem_.theta());
  }
  /// Another layout of theta, at its initial values.
  MriLab(const MriProblem& problem, const Parameters& parameters,
         const std::string& device = test_device("cpu:2"))
      : problem_(bound_problem<T>(problem)),
        n_(problem_.n),
        shape_(shape_of(problem_)),
        maps_(problem_),
        context_(Device::open(device)),
        frame_(context_),
        active_(context_, frame_, n_),
        energy_(context_, shape_, complex_of<T>(problem_.y, static_cast<std::size_t>(problem_.pixels())),
                pattern_of(problem_), parameters, options_of(problem_), maps_.maps()),
        x_(frame_.view<T>(shape_)),
        p_(frame_.view<T>(shape_)),
        out_(frame_.view<T>(shape_)),
        diagonal_(frame_.view<T>(shape_)),
        weights_(frame_.view<T>(times(energy_.weight_arrays()))),
        dual_(frame_.view<float>(times(energy_.dual_arrays()))),
        sums_(frame_.view<double>({std::max({energy_.mixed_sums(), energy_.bound_sums(), 3}), n_, 1, 1})),
        epsilon_(frame_.view<double>({n_, 1, 1, 1})),
        gradient_(frame_.view<double>({n_, 1, 1, 1})) {}

  /// The oracle's problem at exactly the theta and the data that the energy is bound to.
  const MriProblem& problem() const { return problem_; }
  ComposedEnergy<T>& energy() { return energy_; }
  Context& context() { return context_; }
  Shape shape() const { return shape_; }
  std::size_t unknowns() const { return shape_.image(); }

  struct Gradient {
    std::vector<double> gradient, value, norm2, rounding;
  };
  Gradient gradient(const std::vector<double>& x) {
    put(x, x_);
    energy_.value_and_gradient(context_, active(), x_, out_, {row(0), row(1), row(2)});
    return {get(out_), get(row(0)), get(row(1)), get(row(2))};
  }

  /// Inverse diagonal; the weights stay for hessian_product. An empty `dual` asks for the exact Hessian.
  /// Fields are the oracle's, image after image.
  std::vector<double> linearise(const std::vector<double>& x, const std::vector<double>& dual = {}) {
    put(x, x_);
    if (!dual.empty()) put_dual(dual);
    energy_.linearise(context_, active(), x_, dual.empty() ? View<const float>() : View<const float>(dual_),
                      weights_, diagonal_);
    return get(diagonal_);
  }
  struct Product {
    std::vector<double> product, inner;
  };
  Product hessian_product(const std::vector<double>& p) {
    put(p, p_);
    energy_.hessian_product(context_, active(), weights_, p_, out_, row(0));
    return {get(out_), get(row(0))};
  }
  std::vector<double> start_dual(const std::vector<double>& x) {
    put(x, x_);
    energy_.start_dual(context_, active(), x_, dual_);
    return field();
  }
  std::vector<double> update_dual(const std::vector<double>& x, const std::vector<double>& d, double step,
                                  const std::vector<double>& dual) {
    put(x, x_);
    put(d, p_);
    put_dual(dual);
    fill<double>(context_, epsilon_, step);
    energy_.update_dual(context_, active(), x_, p_, epsilon_, dual_);
    return field();
  }

  /// (B^T q)_i, [N][p].
  std::vector<double> mixed(const std::vector<double>& x, const std::vector<double>& q) {
    put(x, x_);
    put(q, p_);
    energy_.mixed_adjoint(context_, active(), x_, p_, rows(energy_.mixed_sums()));
    return energy_.mixed(get(rows(energy_.mixed_sums())));
  }
  struct Column {
    std::vector<double> out, norm2;
  };
  Column mixed_forward(const std::vector<double>& x, const std::vector<double>& direction) {
    put(x, x_);
    energy_.mixed_forward(context_, active(), x_, direction, out_, row(0));
    return {get(out_), get(row(0))};
  }

  /// Bounds of every image at x in the directions q and v (empty: none), with |xhat - x| <= epsilon and
  /// |grad Phi(x)| <= gradient.
  std::vector<DirectionalBound> directional(const std::vector<double>& x, const std::vector<double>& q,
                                            const std::vector<double>& v, const std::vector<double>& epsilon,
                                            const std::vector<double>& gradient) {
    put(x, x_);
    put(q, p_);
    if (!v.empty()) put(v, out_);
    upload<double>(context_, epsilon, epsilon_);
    upload<double>(context_, gradient, gradient_);
    const View<double> sums = rows(energy_.bound_sums());
    energy_.directional_sums(context_, active(), x_, p_, v.empty() ? View<const T>() : View<const T>(out_),
                             {epsilon_, gradient_}, sums);
    const std::vector<double> values = get(sums);
    std::vector<DirectionalBound> bounds;
    for (int i = 0; i < n_; ++i) {
      const double norm_q = norm(image_of(q, unknowns(), i));
      const double norm_v = v.empty() ? 0 : norm(image_of(v, unknowns(), i));
      bounds.push_back(energy_.directional(values, i, epsilon[static_cast<std::size_t>(i)], norm_q, norm_v));
    }
    return bounds;
  }
  std::vector<double> zero_filled() {
    energy_.fourier()->zero_filled(context_, active(), x_);
    return get(x_);
  }
  Active active() const { return active_.active(); }

 private:
  Shape times(int arrays) const { return {n_ * arrays, shape_.c, shape_.h, shape_.w}; }
  View<double> rows(int count) { return {sums_.device_data(), {count, n_, 1, 1}}; }
  Scalars row(int k) { return {sums_.device_data() + k * n_, {n_, 1, 1, 1}}; }
  void put(const std::vector<double>& values, View<T> target) {
    upload<T>(context_, narrow<T>(values), target);
  }
  template <class U>
  std::vector<double> get(View<U> view) {
    const std::vector<U> values = download<U>(context_, view);
    return {values.begin(), values.end()};
  }
  /// Calls visit(library entry, oracle entry): [direction][n][plane][pixel] and [n][plane][direction][pixel].
  template <class Visit>
  void for_dual(const Visit& visit) const {
    const auto pixels = static_cast<std::size_t>(problem_.pixels());
    const auto planes = static_cast<std::size_t>(problem_.planes()),
               directions = static_cast<std::size_t>(problem_.directions()), n = static_cast<std::size_t>(n_);
    for (std::size_t d = 0; d < directions; ++d)
      for (std::size_t plane = 0; plane < n * planes; ++plane)
        for (std::size_t p = 0; p < pixels; ++p)
          visit((d * n * planes + plane) * pixels + p, (plane * directions + d) * pixels + p);
  }
  std::vector<double> field() {
    const std::vector<double> values = get(dual_);
    std::vector<double> out(unknowns() * static_cast<std::size_t>(n_ * problem_.directions()));
    for_dual([&](std::size_t from, std::size_t to) { out[to] = values[from]; });
    return out;
  }
  void put_dual(const std::vector<double>& values) {
    std::vector<float> arrays(dual_.shape().count(), 0);
    for_dual([&](std::size_t to, std::size_t from) { arrays[to] = static_cast<float>(values[from]); });
    upload<float>(context_, arrays, dual_);
  }

  MriProblem problem_;
  int n_;
  Shape shape_;
  MapsOf maps_;
  Context context_;
  Frame frame_;
  ActiveSet active_;
  ComposedEnergy<T> energy_;
  View<T> x_, p_, out_, diagonal_, weights_;
  View<float> dual_;
  View<double> sums_, epsilon_, gradient_;
};

/// Noise whose differences, in units of nu, have about the given root mean square.
inline std::vector<double> noise_image(const MriProblem& m, double size, Random& random) {
  std::vector<double> x = random.normal_vector(static_cast<std::size_t>(m.unknowns()));
  const double scale = size * m.nu / std::sqrt(2.0 * m.planes() * m.directions());
  for (double& v : x) v *= scale;
  return x;
}

inline std::vector<double> noise_batch(const MriProblem& m, double size, Random& random) {
  std::vector<double> all;
  for (int i = 0; i < m.n; ++i) append(all, noise_image(m, size, random));
  return all;
}

}  // namespace bilevel::testing_support
