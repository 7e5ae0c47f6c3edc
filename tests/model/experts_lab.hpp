#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "bilevel/core/device.hpp"
#include "bilevel/core/scalars.hpp"
#include "bilevel/model/composed_energy.hpp"
#include "tests/model/tv_lab.hpp"
#include "tests/support/experts_setup.hpp"

namespace bilevel::testing_support {

/// A ComposedEnergy of experts on its own device with memory for its batch; arrays cross as vectors of
/// double.
template <class T>
class ExpertsLab {
 public:
  explicit ExpertsLab(const FoeProblem& problem, const ExpertsLayout& layout = {},
                      const std::string& device = test_device("cpu:2"))
      : parameters_(parameters_of(problem, layout)),
        problem_(bound_problem(problem, parameters_, layout)),
        map_(theta_map(problem_, layout)),
        n_(problem.n),
        shape_{n_, 1, problem.h, problem.w},
        context_(Device::open(device)),
        frame_(context_),
        active_(context_, frame_, n_),
        y_(context_, shape_, narrow<T>(problem.y)),
        energy_(context_, y_.view(), parameters_, options_of(problem)),
        x_(frame_.view<T>(shape_)),
        p_(frame_.view<T>(shape_)),
        out_(frame_.view<T>(shape_)),
        diagonal_(frame_.view<T>(shape_)),
        weights_(frame_.view<T>({n_ * energy_.weight_arrays(), 1, problem.h, problem.w})),
        dual_(frame_.view<float>({n_ * energy_.dual_arrays(), 1, problem.h, problem.w})),
        sums_(frame_.view<double>({std::max(energy_.mixed_sums(), energy_.bound_sums()) + 3, n_, 1, 1})),
        epsilon_(frame_.view<double>({n_, 1, 1, 1})),
        gradient_(frame_.view<double>({n_, 1, 1, 1})) {
    problem_.y = representable<T>(problem.y);
    problem_.x_true = representable<T>(problem.x_true);
  }

  /// The oracle's problem at exactly the theta and the data that the energy is bound to.
  const FoeProblem& problem() const { return problem_; }
  const Parameters& parameters() const { return parameters_; }
  const ThetaMap& map() const { return map_; }
  ComposedEnergy<T>& energy() { return energy_; }
  Context& context() { return context_; }
  Shape shape() const { return shape_; }
  std::size_t pixels() const { return shape_.image(); }

  struct Gradient {
    std::vector<double> gradient, value, norm2, rounding;
  };
  Gradient gradient(const std::vector<double>& x) {
    put(x, x_);
    energy_.value_and_gradient(context_, active(), x_, out_, {row(0), row(1), row(2)});
    return {get(out_), get(row(0)), get(row(1)), get(row(2))};
  }

  /// Inverse diagonal; the maps stay for hessian_product. An empty `dual` asks for the exact Hessian. Fields
  /// are the oracle's, image after image.
  std::vector<double> linearise(const std::vector<double>& x, const std::vector<double>& dual = {}) {
    put(x, x_);
    if (!dual.empty()) put_dual(dual);
    energy_.linearise(context_, active(), x_, dual.empty() ? View<const float>() : View<const float>(dual_),
                      weights_, diagonal_);
    return get(diagonal_);
  }
  std::vector<double> maps() { return field(get(weights_)); }
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
    return field(get(dual_));
  }
  std::vector<double> update_dual(const std::vector<double>& x, const std::vector<double>& d, double step,
                                  const std::vector<double>& dual) {
    put(x, x_);
    put(d, p_);
    put_dual(dual);
    fill<double>(context_, epsilon_, step);
    energy_.update_dual(context_, active(), x_, p_, epsilon_, dual_);
    return field(get(dual_));
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
      const double norm_q = norm(image_of(q, pixels(), i));
      const double norm_v = v.empty() ? 0 : norm(image_of(v, pixels(), i));
      bounds.push_back(energy_.directional(values, i, epsilon[static_cast<std::size_t>(i)], norm_q, norm_v));
    }
    return bounds;
  }
  Active active() const { return active_.active(); }

 private:
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
  /// Calls visit(plane entry, field entry): planes are [N][K][H][W] with the responses in the upper left
  /// corner, fields [N][K][response_height][response_width].
  template <class Visit>
  void for_responses(const Visit& visit) const {
    std::size_t to = 0;
    for (int plane = 0; plane < n_ * problem_.filters; ++plane)
      for (int r = 0; r < problem_.response_height(); ++r)
        for (int c = 0; c < problem_.response_width(); ++c)
          visit((static_cast<std::size_t>(plane) * problem_.h + r) * problem_.w + c, to++);
  }
  std::vector<double> field(const std::vector<double>& planes) const {
    std::vector<double> out;
    for_responses([&](std::size_t from, std::size_t) { out.push_back(planes[from]); });
    return out;
  }
  /// Outside the responses lies what must not be read.
  void put_dual(const std::vector<double>& values) {
    std::vector<float> planes(dual_.shape().count(), std::numeric_limits<float>::quiet_NaN());
    for_responses([&](std::size_t to, std::size_t from) { planes[to] = static_cast<float>(values[from]); });
    upload<float>(context_, planes, dual_);
  }

  Parameters parameters_;
  FoeProblem problem_;
  ThetaMap map_;
  int n_;
  Shape shape_;
  Context context_;
  Frame frame_;
  ActiveSet active_;
  Tensor<T> y_;
  ComposedEnergy<T> energy_;
  View<T> x_, p_, out_, diagonal_, weights_;
  View<float> dual_;
  View<double> sums_, epsilon_, gradient_;
};

}  // namespace bilevel::testing_support
