#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "bilevel/core/device.hpp"
#include "bilevel/core/scalars.hpp"
#include "bilevel/model/field_of_experts.hpp"
#include "tests/model/tv_lab.hpp"
#include "tests/oracle/foe_oracle.hpp"

namespace bilevel::testing_support {

using oracle::FoeProblem;

/// How theta is made of weight, smoothing and filters (parts 0, 1, 2).
struct ExpertsLayout {
  std::array<std::size_t, 3> order = {0, 1, 2};  ///< of the segments
  std::array<bool, 3> learned = {true, true, true};
  std::array<Transform, 3> transform = {Transform::exp, Transform::exp, Transform::identity};
};

inline ExpertsOptions options_of(const FoeProblem& problem) {
  return {problem.padding == oracle::Padding::valid ? FilterPadding::valid : FilterPadding::symmetric,
          problem.potential == oracle::Potential::huber_c2 ? TvPotential::huber_c2 : TvPotential::charbonnier,
          problem.zero_mean};
}

inline Parameters parameters_of(const FoeProblem& problem, const ExpertsLayout& layout = {}) {
  const auto count = static_cast<std::size_t>(problem.filters);
  std::array<std::vector<double>, 3> values;
  for (std::size_t k = 0; k < count; ++k) {
    values[0].push_back(problem.weight(static_cast<int>(k)));
    values[1].push_back(problem.smoothing(static_cast<int>(k)));
  }
  values[2].assign(problem.theta.begin() + 2 * problem.filters, problem.theta.end());
  const char* names[] = {"weight", "smoothing", "filters"};
  std::vector<Segment> segments;
  for (const std::size_t part : layout.order) {
    Segment s{names[part], layout.transform[part], 1, part == 2 ? -1e9 : 1e-12, 1e9, layout.learned[part]};
    if (part == 2 && layout.transform[part] != Transform::identity) s.lower = 1e-12;
    s.shape = part == 2 ? std::vector<int>{problem.filters, problem.size, problem.size}
                        : std::vector<int>{problem.filters};
    s.values = values[part];
    segments.push_back(s);
  }
  segments.push_back({"mu", Transform::identity, problem.mu, 0, 1e9, false});
  return Parameters(segments);
}

/// Entries of the library's theta in terms of the oracle's: d / d theta_j = factor_j d / d theta'_(entry_j).
struct ThetaMap {
  std::vector<std::size_t> entry;
  std::vector<double> factor;

  std::vector<double> gradient(const std::vector<double>& of_oracle) const {
    std::vector<double> out;
    for (std::size_t j = 0; j < entry.size(); ++j) out.push_back(factor[j] * of_oracle[entry[j]]);
    return out;
  }
  /// A direction of the oracle's theta, whose length is `size`.
  std::vector<double> direction(const std::vector<double>& d, std::size_t size) const {
    std::vector<double> out(size, 0);
    for (std::size_t j = 0; j < entry.size(); ++j) out[entry[j]] = factor[j] * d[j];
    return out;
  }
};

inline ThetaMap theta_map(const FoeProblem& problem, const ExpertsLayout& layout) {
  const auto count = static_cast<std::size_t>(problem.filters);
  const std::size_t sizes[] = {count, count, problem.theta.size() - 2 * count};
  const std::size_t first[] = {0, count, 2 * count};
  ThetaMap map;
  for (const std::size_t part : layout.order) {
    if (!layout.learned[part]) continue;
    for (std::size_t j = 0; j < sizes[part]; ++j) {
      const double theta = problem.theta[first[part] + j], value = part == 2 ? theta : std::exp(theta);
      const double slope = transform_slope(layout.transform[part], to_theta(layout.transform[part], value));
      map.entry.push_back(first[part] + j);
      map.factor.push_back(part == 2 ? slope : slope / value);
    }
  }
  return map;
}

/// The values that the library has at its theta: exact for logarithms of weight and smoothing.
inline FoeProblem bound_problem(FoeProblem problem, const Parameters& parameters,
                                const ExpertsLayout& layout) {
  const std::vector<double> theta = parameters.initial();
  const ThetaMap map = theta_map(problem, layout);
  for (std::size_t j = 0; j < theta.size(); ++j) {
    const Transform transform = parameters.learned(j).transform;
    const double value = to_value(transform, theta[j]);
    const bool taps = map.entry[j] >= 2 * static_cast<std::size_t>(problem.filters);
    problem.theta[map.entry[j]] = taps ? value : transform == Transform::exp ? theta[j] : std::log(value);
  }
  return problem;
}

/// A FieldOfExperts on its own device with memory for its batch; arrays cross as vectors of double.
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
  FieldOfExperts<T>& energy() { return energy_; }
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
  std::vector<LocalCurvature> local(const std::vector<double>& x, const std::vector<double>& epsilon) {
    put(x, x_);
    upload<double>(context_, epsilon, epsilon_);
    const View<double> sums = rows(energy_.local_sums());
    energy_.enqueue_local(context_, active(), x_, epsilon_, sums);
    const std::vector<double> values = get(sums);
    std::vector<LocalCurvature> bounds;
    for (int i = 0; i < n_; ++i) bounds.push_back(energy_.local(values, i));
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
  FieldOfExperts<T> energy_;
  View<T> x_, p_, out_, diagonal_, weights_;
  View<float> dual_;
  View<double> sums_, epsilon_, gradient_;
};

inline FoeProblem foe_shape(int n, int h, int w, int filters, int size, double mu = 1e-3) {
  FoeProblem shape;
  shape.n = n;
  shape.h = h;
  shape.w = w;
  shape.filters = filters;
  shape.size = size;
  shape.mu = mu;
  return shape;
}

inline std::string describe(const oracle::NamedFoe& named) {
  const FoeProblem& p = named.problem;
  return named.name + ", " + std::to_string(p.n) + " images " + std::to_string(p.h) + "x" +
         std::to_string(p.w) + ", " + std::to_string(p.filters) + " filters of size " +
         std::to_string(p.size);
}

/// Noise whose responses, in units of nu_k, have the given root mean square.
inline std::vector<double> image_with_responses(const FoeProblem& problem, double size, Random& random) {
  const std::vector<double> x = noise(problem.h, problem.w, 1, random);
  double square = 0;
  for (int k = 0; k < problem.filters; ++k) {
    const std::vector<double> t = oracle::correlate(problem, k, x);
    square += dot(t, t) / std::pow(problem.smoothing(k), 2) / (problem.filters * problem.responses());
  }
  return add_scaled(std::vector<double>(x.size(), 0), size / std::sqrt(square), x);
}

/// Maximises f over points: random moves whose size adapts, accepted when they raise f.
template <class F>
double climb(std::vector<double> point, double scale, int turns, Random& random, const F& f) {
  double best = f(point);
  for (int k = 0; k < turns; ++k) {
    const std::vector<double> trial = add_scaled(point, scale, random.normal_vector(point.size()));
    const double value = f(trial);
    if (value > best) {
      best = value;
      point = trial;
      scale *= 1.5;
    } else {
      scale *= 0.85;
    }
  }
  return best;
}

}  // namespace bilevel::testing_support
